"""What becomes of a command when its output is piped, cut short, or has nowhere to go: run as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FULL = Path("/dev/full")


def _passmuster(*arguments: str, **options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "passmuster.cli.start", *arguments]
    environment = {**os.environ, **options}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def _to_a_reader_that_leaves(*arguments: str) -> tuple[int, str]:
    """The exit code and what was said, where nobody reads the output from the start."""
    process = _passmuster(*arguments)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    return process.wait(timeout=60), said


@pytest.mark.parametrize("arguments", [("checks",), ("checks", "-o", "json"), ("crds",), ("inspect", "--help")])
def test_a_reader_that_leaves_early_changes_no_exit_code(arguments: tuple[str, ...]) -> None:
    assert _to_a_reader_that_leaves(*arguments) == (0, "")


def test_an_error_keeps_its_exit_code_when_nobody_reads_it() -> None:
    command = [sys.executable, "-m", "passmuster.cli.start", "report", "-f", "nowhere.json"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert subprocess.run(command, stdout=writing, stderr=writing, timeout=60, check=False).returncode == 2
    finally:
        os.close(writing)


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full on this system")
@pytest.mark.parametrize("arguments", [("checks",), ("checks", "-o", "json"), ("bootstrap", "role")])
def test_a_full_disk_is_one_sentence_and_an_error(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "passmuster.cli.start", *arguments]
    with FULL.open("wb") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("Error: standard output cannot be written: No space left on device")
    assert "Traceback" not in ended.stderr


def test_documents_are_utf_8_whatever_the_locale() -> None:
    out, said = _passmuster("checks", "https-redirect", PYTHONIOENCODING="ascii", PYTHONUTF8="0").communicate()
    assert said == b""
    assert "https-redirect · Production" in out.decode("utf-8")
    out, said = _passmuster("checks", "-o", "json", PYTHONIOENCODING="latin-1", PYTHONUTF8="0").communicate()
    assert json.loads(out.decode("utf-8"))
