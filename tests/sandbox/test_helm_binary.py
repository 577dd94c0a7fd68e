"""helm is found where it is new enough, else built once, and otherwise a sentence says what to install."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from passmuster.sandbox import binaries, helm_binary
from passmuster.sandbox.helm_binary import HelmUnavailable

MODULE = Path(binaries.__file__).with_name("toolchain") / "helm"

GO = """\
#!{python} -S
import os, pathlib, sys
if sys.argv[1] == "version":
    print("go version go1.26.8 linux/amd64")
    sys.exit()
if {failure!r}:
    sys.exit({failure!r})
pathlib.Path({calls!r}).write_text(" ".join([*sys.argv[1:], *sorted(os.listdir())]))
built = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
built.write_text("#!/bin/sh\\necho v{version}\\n")
built.chmod(0o755)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without helm and Go: an empty PATH, an empty cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def helm(machine: Path, stated: str) -> Path:
    return program(machine / "bin" / "helm", f"#!{sys.executable} -S\nprint({stated!r})\n")


def go(machine: Path, failure: str = "") -> Path:
    calls = machine / "calls"
    text = GO.format(python=sys.executable, failure=failure, calls=str(calls), version=helm_binary.HELM)
    program(machine / "bin" / "go", text)
    return calls


def test_a_helm_on_path_is_taken_if_it_is_new_enough(machine: Path) -> None:
    assert helm_binary.find() is None
    found = helm(machine, "v3.18.0+g1234567")
    assert helm_binary.find() == found
    helm(machine, "v3.9.4+g1234567")
    assert helm_binary.find() is None
    helm(machine, "no version at all")
    assert helm_binary.find() is None


def test_an_old_helm_on_path_does_not_hide_the_one_in_the_cache(machine: Path) -> None:
    helm(machine, "v3.9.4")
    cached = program(machine / "cache" / "passmuster" / "toolchain" / helm_binary.BUILT / "helm", "#!/bin/sh\n")
    assert helm_binary.find() == cached


def test_it_is_built_once_with_its_own_module_and_says_how_long_that_takes(machine: Path) -> None:
    calls = go(machine)
    said: list[str] = []
    built = helm_binary.obtain(said.append)
    assert built == machine / "cache" / "passmuster" / "toolchain" / helm_binary.BUILT / "helm"
    assert "helm.sh/helm/v4/cmd/helm go.mod go.sum" in calls.read_text()
    assert f"helm.sh/helm/v4/internal/version.version=v{helm_binary.HELM}" in calls.read_text()
    assert "the first time takes 2 to 9 minutes" in said[0]
    calls.unlink()
    assert helm_binary.obtain(said.append) == built
    assert not calls.exists()


def test_without_go_a_sentence_says_what_to_install(machine: Path) -> None:
    with pytest.raises(HelmUnavailable, match=r"there is no Go on PATH.*install Go 1\.26 or newer, or put helm 3\.18"):
        helm_binary.obtain(lambda line: None)


def test_a_build_that_fails_leaves_nothing_and_is_explained(machine: Path) -> None:
    go(machine, failure="dial tcp: no route to host")
    with pytest.raises(HelmUnavailable, match=r"no route to host.*let Go reach its module proxy"):
        helm_binary.obtain(lambda line: None)
    assert helm_binary.find() is None
    assert [p.name for p in (machine / "cache" / "passmuster" / "toolchain").iterdir()] == ["lock"]


def test_the_command_exits_with_the_sentence(machine: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "passmuster.sandbox.helm_binary"],
        env={**os.environ, "PATH": str(machine / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"There is no helm on this machine, .*\.\n", done.stderr)


def test_the_version_is_the_one_that_the_module_pins() -> None:
    module = (MODULE / "go.mod").read_text()
    assert re.search(rf"helm\.sh/helm/v4 v{re.escape(helm_binary.HELM)}\b", module)
    assert re.search(rf"^go {helm_binary.GO[0]}\.{helm_binary.GO[1]}\b", module, re.MULTILINE)
    assert "tool helm.sh/helm/v4/cmd/helm" in module
    assert (MODULE / "go.sum").stat().st_size > 1000
