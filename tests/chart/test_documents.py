"""The helm commands of the documents are run: their flags exist, and the chart takes the values that they set."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from chart.rendering import CHART, HOME, ROOT, run

pytestmark = pytest.mark.helm

DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), CHART / "templates" / "NOTES.txt"])
FENCE = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMAGE = ["--set", "image.repository=registry.example.com/passmuster"]
ONLY_UPGRADE = {"--reuse-values", "--reset-then-reuse-values", "--create-namespace", "--take-ownership"}


def _commands() -> list[list[str]]:
    """Every helm command of the documents, as words."""
    blocks = [block for path in DOCUMENTS for block in FENCE.findall(path.read_text(encoding="utf-8"))]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("helm ")]


COMMANDS = _commands()


def test_the_documents_install_upgrade_and_uninstall() -> None:
    assert {words[0] for words in COMMANDS} == {"install", "upgrade", "uninstall"}
    assert all(words[1] == "passmuster" for words in COMMANDS)
    assert all(words[words.index("--namespace") + 1] == HOME for words in COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_helm_command_has_flags_that_exist(helm_program: Path, words: list[str]) -> None:
    known = set(re.findall(r"--[a-z-]+", run(helm_program, words[0], "--help").stdout))
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("words", [c for c in COMMANDS if c[0] != "uninstall"], ids=" ".join)
def test_the_chart_takes_what_a_command_sets(helm_program: Path, words: list[str]) -> None:
    """The same words as `helm template`, beside the image that was set before."""
    assert ROOT / words[2] == CHART
    kept = [word for word in words[3:] if word not in ONLY_UPGRADE]
    done = run(helm_program, "template", "passmuster", str(CHART), *IMAGE, *kept, "--kube-version", "1.36.0")
    assert done.returncode == 0, done.stderr
    assert "image: registry.example.com/passmuster:" in done.stdout.replace('"', "")


def test_every_value_that_the_table_names_exists() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z][A-Za-z]+(?:\.[A-Za-z]+)+)`", text))
    dotted = {name for name in named if name.partition(".")[0] in values}
    assert len(dotted) > 10
    for name in dotted:
        found = values
        for part in name.split("."):
            assert part in found, name
            found = found[part]
