"""The commands of the documents are taken by the AWS command line itself, up to the request that it would send.

Each is parsed, and its request checked against the shapes of the API, and answered in place of AWS with nothing. A file
that a command names is made from the skeleton of its input. `aws cloudformation deploy` makes several requests that
depend on each other; tests/e2e/test_commands.py runs it.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from documents import PAGES, ROOT, commands

pytestmark = [pytest.mark.awscli, pytest.mark.slow]

DRIVER = """\
import contextlib, io, json, sys, types
from awscli.clidriver import create_clidriver
for line in sys.stdin:
    out, err, asked = io.StringIO(), io.StringIO(), []
    def answer(model, **_):
        asked.append(model.name)
        return types.SimpleNamespace(status_code=200), {}
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        command_line = create_clidriver()
        command_line.session.register("before-call.*.*", answer)
        try:
            code = command_line.main(json.loads(line))
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, out.getvalue(), err.getvalue(), asked]), flush=True)
"""
"""Takes one command after the other in one process, because half of a second goes into each start."""

INSTEAD: Mapping[str, str] = {
    r"\b[A-Z_]+_ARN\b": "arn:aws:service:eu-central-1:123456789012:resource/name",
    r"\bACCOUNT_ID\b": "123456789012",
    r"\b(SECOND_)?REGION\b": "eu-west-1",
    r"\bKEY\b": "AKIAIOSFODNN7EXAMPLE",
    r"\bRECOMMENDATION\b": "arn:aws:trustedadvisor::123456789012:recommendation/name",
}
"""Placeholders whose form the command line looks at."""

DEPLOY = "aws cloudformation deploy "
WRITTEN = sorted({one.text for page in PAGES for one in commands(page) if one.program == "aws"})
COMMANDS = [text for text in WRITTEN if not text.startswith(DEPLOY)]


class Said(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str
    asked: list[str]
    """The operations that it would have asked AWS for."""


class CommandLine:
    """The AWS command line as a process that takes one command after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, *words: str) -> Said:
        """One command, without the first word."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return Said(*json.loads(self._process.stdout.readline()))


@pytest.fixture(scope="module")
def aws(awscli_command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The AWS command line in an empty home, with a region and no credentials."""
    home = str(tmp_path_factory.mktemp("home"))
    with subprocess.Popen(
        [awscli_command[0], "-c", DRIVER],
        env={"HOME": home, "PATH": "/usr/bin:/bin", "AWS_DEFAULT_REGION": "eu-central-1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield CommandLine(process)


def _filled(value: Any) -> Any:
    """An input's skeleton with values that are long and large enough; the command line knows no upper bounds."""
    if isinstance(value, dict):
        return {name: _filled(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_filled(member) for member in value] * 3
    if isinstance(value, str):
        return value or "x" * 64
    if value is None:  # bytes
        return "x"
    return value if isinstance(value, bool) else 600


def _with_files(aws: CommandLine, words: list[str], folder: Path) -> list[str]:
    """The words with each file that they name put into a folder."""
    if not any(word.startswith("file://") for word in words):
        return words
    skeleton = _filled(json.loads(aws(*words[:2], "--generate-cli-skeleton", "input").out))
    members = {re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower(): value for name, value in skeleton.items()}
    changed = []
    for option, word in zip(["", *words], words, strict=False):
        if word.startswith("file://"):
            content = skeleton if option == "--cli-input-json" else members[option.removeprefix("--")]
            path = folder / word.removeprefix("file://")
            path.write_text(content if isinstance(content, str) else json.dumps(content))
            word = f"file://{path}"
        changed.append(word)
    return changed


@pytest.mark.parametrize("text", COMMANDS, ids=lambda text: text[:80])
def test_a_command_is_complete(aws: CommandLine, text: str, tmp_path: Path) -> None:
    for placeholder, value in INSTEAD.items():
        text = re.sub(placeholder, value, text)
    words = _with_files(aws, shlex.split(text)[1:], tmp_path)
    said = aws(*words)
    assert said.code == 0, said.err
    assert [name.lower() for name in said.asked] == [words[1].replace("-", "")]


def test_a_command_with_a_wrong_parameter_or_without_one_is_refused(aws: CommandLine) -> None:
    right = [
        "ecs",
        "update-cluster-settings",
        "--cluster",
        "shop",
        "--settings",
        "name=containerInsights,value=enabled",
    ]
    assert aws(*right).asked == ["UpdateClusterSettings"]
    for wrong in (right[:4], [*right, "--clusters", "shop"], [*right[:-1], "name=containerInsights,colour=red"]):
        said = aws(*wrong)
        assert said.code != 0
        assert said.asked == []


def test_what_is_deployed_by_hand_is_there() -> None:
    deployed = [text for text in WRITTEN if text.startswith(f"{DEPLOY}--stack-name") and "remediations/" in text]
    assert len(deployed) > 40
    assert [t for t in deployed if not (ROOT / t.split("--template-file ")[1].split()[0]).is_file()] == []
