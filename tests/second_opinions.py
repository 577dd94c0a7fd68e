"""The programs that give a second opinion of what we make, each kept apart from the project's own packages.

Called by the fixtures of `conftest` (`find`, which installs nothing), and by make and CI as
`python tests/second_opinions.py`, which obtains them all (`obtain`).

    checkov       judges the templates of the remediations    an environment of its own in the user's cache, of exactly
    ministack     another simulated CloudFormation            the packages that tools/<name>.txt lists
    awscli        takes the `aws` commands of the documents
    kubeconform   judges what the chart renders               built once from the Go modules that tools/<name>/go.sum
    kstatus       says what Flux makes of an object           pins; kstatus is a library, its main.go is ours
    definitions   of kinds of other projects, by which        out of the projects' Go modules, of a pinned checksum
                  kubeconform judges objects of theirs
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from passmuster.sandbox.binaries import (
    HEARTBEAT_SECONDS,
    Build,
    BuildFailed,
    GoUnavailable,
    Say,
    cache_folder,
    elapsed,
    executable,
    fresh_folder,
    go_build,
    go_toolchain,
    locked,
    writable_cache,
)

PINS: Final = Path(__file__).with_name("tools")
COMMAND: Final = "python tests/second_opinions.py"
GO: Final = (1, 26)


class ToolUnavailable(Exception):
    """A program cannot be had here. The message is one sentence that says what to do; retrying does not help."""


class _NotInstalled(Exception):
    """A command failed; the message is the last line that it said."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python program, run as a module in an environment of its own; `size` is on disk, for people."""

    name: str
    version: str
    module: str
    size: str

    @property
    def pins(self) -> Path:
        """The file that lists every package with its version."""
        return PINS / f"{self.name}.txt"

    @property
    def needed_for(self) -> str:
        """How PASSMUSTER_REQUIRE names the tests that need it."""
        return self.name

    @property
    def made_of(self) -> bytes:
        """All that decides what it is."""
        return self.pins.read_bytes()

    def command(self, folder: Path) -> list[str] | None:
        """How it is run; None where it is not there."""
        python = executable(folder / "bin" / "python")
        return [str(python), "-m", self.module] if python else None

    def make(self, folder: Path, say: Say) -> None:
        """Fills a folder; raises ToolUnavailable."""
        say(f"Installing {self.name} {self.version} into an environment of its own, once ({self.size}).")
        try:
            with fresh_folder(folder) as filling:
                for command in _installing(filling, self.pins):
                    _run(command, f"installing {self.name}", say)
        except _NotInstalled as failure:
            raise ToolUnavailable(
                f"{self.name} {self.version} could not be installed ({failure}): let pip reach its package index."
            ) from failure


@dataclass(frozen=True, slots=True)
class Program:
    """A Go command; `usually` is how long its build takes on two cores, without the download of its modules."""

    name: str
    version: str
    package: str
    usually: str
    stamps: tuple[str, ...] = ()

    @property
    def pins(self) -> Path:
        """The file that lists every module with its checksum."""
        return PINS / self.name / "go.sum"

    @property
    def needed_for(self) -> str:
        """How PASSMUSTER_REQUIRE names the tests that need it."""
        return self.name

    @property
    def made_of(self) -> bytes:
        """All that decides what it is."""
        return b"\0".join(path.read_bytes() for path in sorted(self.pins.parent.iterdir()))

    def command(self, folder: Path) -> list[str] | None:
        """How it is run; None where it is not there."""
        program = executable(folder / self.name)
        return [str(program)] if program else None

    def make(self, folder: Path, say: Say) -> None:
        """Fills a folder; raises ToolUnavailable."""
        try:
            go, stated = go_toolchain(GO)
        except GoUnavailable as lack:
            raise ToolUnavailable(
                f"There is no {self.name} on this machine, and {lack} to build it: install Go {GO[0]}.{GO[1]} or newer."
            ) from lack
        say(f"Building {self.name} {self.version} once with {stated}.")
        build = Build(self.name, self.package, self.usually, self.version, self.stamps)
        with fresh_folder(folder) as filling:
            try:
                go_build(go, (build,), module=self.pins.parent, into=filling, say=say)
            except BuildFailed as failure:
                raise ToolUnavailable(f"{failure}: let Go reach its module proxy.") from failure


@dataclass(frozen=True, slots=True)
class Definitions:
    """The custom resource definitions in a folder of a Go module; `checksum` is that of the module, as in a go.sum."""

    name: str
    version: str
    module: str
    folder: str
    checksum: str

    @property
    def needed_for(self) -> str:
        """How PASSMUSTER_REQUIRE names the tests that need it."""
        return "kubeconform"

    @property
    def made_of(self) -> bytes:
        """All that decides what it is."""
        return self.checksum.encode()

    def command(self, folder: Path) -> list[str] | None:
        """Not a command: the files, or None where there are none."""
        return [str(path) for path in sorted(folder.glob("*.yaml"))] or None

    def make(self, folder: Path, say: Say) -> None:
        """Fills a folder; raises ToolUnavailable."""
        try:
            go, _ = go_toolchain(GO)
        except GoUnavailable as lack:
            raise ToolUnavailable(
                f"The definitions of {self.name} are not on this machine, and {lack} to fetch them: install Go"
                f" {GO[0]}.{GO[1]} or newer."
            ) from lack
        say(f"Fetching the definitions of {self.name} {self.version} from its Go module, once.")
        with tempfile.TemporaryDirectory(prefix="passmuster-definitions-") as outside_of_any_module:
            done = subprocess.run(
                [go, "mod", "download", "-json", f"{self.module}@v{self.version}"],
                cwd=outside_of_any_module,
                env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOWORK": "off"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        answer = json.loads(done.stdout or "{}")
        if done.returncode != 0:
            why = str(answer.get("Error") or done.stderr).strip().splitlines() or ["go said nothing"]
            raise ToolUnavailable(
                f"The definitions of {self.name} could not be fetched ({why[-1].strip()}): let Go reach its module"
                " proxy."
            )
        if answer["Sum"] != self.checksum:
            raise ToolUnavailable(f"The Go module of {self.name} does not have the pinned checksum and was not used.")
        with fresh_folder(folder) as filling:
            for path in Path(answer["Dir"], self.folder).glob("*.yaml"):
                shutil.copyfile(path, filling / path.name)


TOOLS: Final[Mapping[str, Environment | Program | Definitions]] = {
    tool.name: tool
    for tool in (
        Environment("checkov", "3.3.30", "checkov.main", "about 200 MB"),
        Environment("ministack", "1.5.33", "ministack", "about 40 MB"),
        Environment("awscli", "1.46.3", "awscli", "about 160 MB"),
        Program(
            "kubeconform",
            "0.8.0",
            "github.com/yannh/kubeconform/cmd/kubeconform",
            "10 s",
            ("main.version=v0.8.0",),
        ),
        Program("kstatus", "1.2.2", "passmuster.io/tests/tools/kstatus", "1 min"),
        Definitions(
            "prometheus-operator",
            "0.85.0",
            "github.com/prometheus-operator/prometheus-operator",
            "example/prometheus-operator-crd",
            "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        ),
        Definitions(
            "kustomize-controller",
            "1.6.0",
            "github.com/fluxcd/kustomize-controller",
            "config/crd/bases",
            "h1:13S+wqCQ44njSg59DNgm1qMqVkK6+0eoZs+jv4+EWCs=",
        ),
    )
}
"""Every program by its name. The version of kstatus is that of Flux's cli-utils, which holds it."""


def find(name: str) -> list[str] | None:
    """The command of a program that is there, or the files of definitions, or None. Installs and writes nothing."""
    cache = cache_folder()
    return TOOLS[name].command(cache / _folder(TOOLS[name])) if cache is not None else None


def obtain(name: str, say: Say) -> list[str]:
    """What `find` finds, which is installed, built or fetched if it is not there; `say` gets a line for each step.

    Raises ToolUnavailable.
    """
    if found := find(name):
        return found
    tool = TOOLS[name]
    started = time.monotonic()
    try:
        cache = writable_cache()
        with locked(cache, say, name):
            folder = cache / _folder(tool)
            if tool.command(folder) is None:
                tool.make(folder, say)
                say(f"  done in {elapsed(started)}: {folder}")
    except OSError as error:
        raise ToolUnavailable(
            f"{name} cannot be kept in the cache ({error}): set XDG_CACHE_HOME to a folder that can be written."
        ) from error
    if found := find(name):
        return found
    raise ToolUnavailable(f"{folder} holds no {name}: remove that folder and run `{COMMAND}` again.")


def _folder(tool: Environment | Program | Definitions) -> str:
    """The folder in the cache: another one as soon as a pin, or what we build, changes."""
    return f"{tool.name}-{tool.version}-{hashlib.sha256(tool.made_of).hexdigest()[:8]}"


def _installing(folder: Path, pins: Path) -> list[list[str]]:
    """The commands that make an environment: with uv where it is, else with venv and pip, as `.ci/setup` does."""
    python = folder / "bin" / "python"
    listed = ["--no-deps", "--requirement", str(pins)]
    if uv := _uv():
        return [
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(python), *listed],
        ]
    return [
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *listed],
    ]


def _uv() -> str | None:
    cache = cache_folder()
    kept = [cache.parent / name / "bin" / "uv" for name in ("uv", "uv-packages")] if cache is not None else []
    return shutil.which("uv") or next((str(path) for path in kept if executable(path)), None)


def _run(command: Sequence[str], doing: str, say: Say) -> None:
    started = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    status = process.wait(timeout=HEARTBEAT_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    say(f"  still {doing}, {elapsed(started)}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace").strip().splitlines()
    if status != 0:
        raise _NotInstalled(said[-1].strip() if said else f"{command[0]} ended with status {status}")


def main() -> int:
    """Obtain every program, with a line for each step; 1 where PASSMUSTER_REQUIRE names one that cannot be had."""

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    required = os.environ.get("PASSMUSTER_REQUIRE", "").split(",")
    status = 0
    for name, tool in TOOLS.items():
        try:
            found = obtain(name, say)
            say(f"{name}: {f'{len(found)} files' if isinstance(tool, Definitions) else ' '.join(found)}")
        except ToolUnavailable as lack:
            sys.stderr.write(f"{lack}\n")
            if tool.needed_for in required:
                status = 1
            else:
                say(f"Going on without: what needs {name} is left out, and says so.")
    return status


if __name__ == "__main__":
    sys.exit(main())
