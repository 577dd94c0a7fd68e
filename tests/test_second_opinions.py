"""The programs of the second opinions are pinned, made once and apart, and a sentence says what to do without them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import second_opinions
from second_opinions import PINS, TOOLS, Environment, Program, ToolUnavailable

ROOT = Path(__file__).parents[1]

UV = """\
#!{python} -S
import pathlib, sys
with pathlib.Path({calls!r}).open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if {failure!r}:
    sys.exit({failure!r})
if sys.argv[1] == "venv":
    program = pathlib.Path(sys.argv[-1]) / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\\n")
    program.chmod(0o755)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any program: an empty PATH, an empty cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def uv(machine: Path, failure: str = "") -> Path:
    """A uv that only notes how it was called."""
    calls, program = machine / "calls", machine / "bin" / "uv"
    program.write_text(UV.format(python=sys.executable, calls=str(calls), failure=failure))
    program.chmod(0o755)
    return calls


@pytest.mark.parametrize("name", [n for n, tool in TOOLS.items() if isinstance(tool, Environment)])
def test_every_package_of_an_environment_has_its_version(name: str) -> None:
    lines = TOOLS[name].pins.read_text().splitlines()
    assert f"{name}=={TOOLS[name].version}" in lines
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+( ; .+)?", line) for line in lines)


@pytest.mark.parametrize("name", [n for n, tool in TOOLS.items() if isinstance(tool, Program)])
def test_every_module_of_a_program_has_its_checksum(name: str) -> None:
    module = (PINS / name / "go.mod").read_text()
    assert re.search(rf" v{re.escape(TOOLS[name].version)}( // indirect)?\n", module)
    assert f"\ngo {second_opinions.GO[0]}.{second_opinions.GO[1]}" in module
    assert all(line.count(" ") == 2 and " h1:" in line for line in TOOLS[name].pins.read_text().splitlines())


def test_none_of_them_is_a_package_of_the_project() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    assert not {package["name"] for package in locked} & set(TOOLS)


def test_an_environment_is_made_once_of_exactly_the_listed_packages(machine: Path) -> None:
    calls, said = uv(machine), list[str]()
    assert second_opinions.find("checkov") is None
    command = second_opinions.obtain("checkov", said.append)
    assert command[1:] == ["-m", "checkov.main"]
    assert Path(command[0]).is_relative_to(machine / "cache" / "passmuster" / "toolchain")
    assert "--no-deps --requirement" in calls.read_text()
    assert said[0].startswith("Installing checkov ")
    calls.unlink()
    assert second_opinions.obtain("checkov", said.append) == command
    assert not calls.exists()


def test_an_installation_that_fails_leaves_nothing_and_says_why(machine: Path) -> None:
    uv(machine, failure="error: no route to host")
    with pytest.raises(ToolUnavailable, match=r"could not be installed \(error: no route to host\): let pip reach"):
        second_opinions.obtain("ministack", lambda line: None)
    assert second_opinions.find("ministack") is None
    assert [p.name for p in (machine / "cache" / "passmuster" / "toolchain").iterdir()] == ["lock"]


def test_without_go_a_sentence_says_what_to_install(machine: Path) -> None:
    with pytest.raises(ToolUnavailable, match=r"no kstatus on this machine, and there is no Go on PATH.*Go 1\.26"):
        second_opinions.obtain("kstatus", lambda line: None)


@pytest.mark.parametrize(("required", "status"), [("apiserver", 0), ("kstatus", 1)])
def test_the_command_fails_only_without_what_is_required(machine: Path, required: str, status: int) -> None:
    uv(machine)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "second_opinions.py")],
        env={**os.environ, "PASSMUSTER_REQUIRE": required},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == status
    assert "checkov: " in done.stdout
    assert ("what needs kstatus is left out" in done.stdout) == (status == 0)
    assert "There is no kubeconform on this machine" in done.stderr
    assert "The definitions of prometheus-operator are not on this machine" in done.stderr
