"""Find or install Prometheus and Alertmanager with their tools, because alerts and panels are tested on the real ones.

Called by the tests (`find`, which installs nothing), and by make and CI as
`python -m passmuster.sandbox.prometheus_binaries` (`obtain`). It runs before anything else is set up, so it imports the
standard library only.

    find      PATH
    obtain    find -> the packages of Debian or Ubuntu, by apt-get, for root only

The packages are services too. None is started: while they are installed, policy-rc.d says no, as Debian means it. (To
unpack them into a cache instead would need no root, but Debian's Alertmanager looks for its templates in /usr/share.)
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Say = Callable[[str], None]

PACKAGES: Final = ("prometheus", "prometheus-alertmanager")
COMMAND: Final = "python -m passmuster.sandbox.prometheus_binaries"
POLICY: Final = Path("/usr/sbin/policy-rc.d")
INSTALL: Final = ("apt-get", "install", "-y", "-qq", "--no-install-recommends")
APT_SECONDS: Final = 600
WANTED: Final = "put prometheus, promtool, alertmanager and amtool on PATH"


class PrometheusUnavailable(Exception):
    """There is no Prometheus to run. The message is one sentence that says what to install; retrying does not help."""


class _AptFailed(Exception):
    """A command failed; the message is the end of what it said."""


@dataclass(frozen=True, slots=True)
class PrometheusBinaries:
    """Absolute paths of executables."""

    prometheus: Path
    promtool: Path
    alertmanager: Path
    amtool: Path


def find() -> PrometheusBinaries | None:
    """What is on PATH, all of it, or None. Debian calls Alertmanager prometheus-alertmanager."""
    found = [
        shutil.which("prometheus"),
        shutil.which("promtool"),
        shutil.which("alertmanager") or shutil.which("prometheus-alertmanager"),
        shutil.which("amtool"),
    ]
    paths = [Path(program).absolute() for program in found if program]
    return PrometheusBinaries(*paths) if len(paths) == len(found) else None


def obtain(say: Say, *, root: bool | None = None, policy: Path = POLICY) -> PrometheusBinaries:
    """What is on PATH, else installed from the packages of the distribution. Raises PrometheusUnavailable.

    `root` is whether this user may install packages, by default whether it is the superuser.
    """
    if found := find():
        return found
    packages = " and ".join(PACKAGES)
    if not shutil.which("apt-get"):
        raise PrometheusUnavailable(
            f"There is no Prometheus and Alertmanager on this machine, and no apt-get to get them with: {WANTED}."
        )
    if not (os.geteuid() == 0 if root is None else root):
        raise PrometheusUnavailable(
            f"There is no Prometheus and Alertmanager on this machine: install the packages {packages} as root, or"
            f" {WANTED}."
        )
    say(f"Installing {packages} with apt-get (about 35 MB); no service is started.")
    try:
        with _no_service_starts(policy):
            _install(say)
    except (_AptFailed, OSError) as failure:
        raise PrometheusUnavailable(
            f"The packages {packages} could not be installed ({failure}): let apt-get reach its mirror, or {WANTED}."
        ) from failure
    if found := find():
        return found
    raise PrometheusUnavailable(f"The packages {packages} do not hold what is needed: {WANTED}.")


@contextlib.contextmanager
def _no_service_starts(policy: Path) -> Iterator[None]:
    """While it lasts, packages that are installed start no service; a policy that is there already is left alone."""
    try:
        with policy.open("x", encoding="utf-8") as script:
            script.write("#!/bin/sh\nexit 101\n")
    except FileExistsError:
        yield
        return
    try:
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink()


def _install(say: Say) -> None:
    """With fresh lists, if there are none or they are old."""
    try:
        _run([*INSTALL, *PACKAGES])
    except _AptFailed:
        say("  apt-get update, because its lists do not name them or are old")
        _run(["apt-get", "update", "-qq"])
        _run([*INSTALL, *PACKAGES])


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=APT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise _AptFailed(f"{command[0]} did not end within {APT_SECONDS} s") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("W:")]
        raise _AptFailed(said[-1] if said else f"{command[0]} ended with status {done.returncode}")


def version(program: Path) -> tuple[int, ...]:
    """The version that a program of Prometheus or Alertmanager states, for instance (2, 42, 0)."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    stated = re.search(r"version (\d+(?:\.\d+)*)", done.stdout + done.stderr)
    return tuple(int(part) for part in stated[1].split(".")) if stated else ()


def main() -> int:
    """Obtain the binaries, with a line for each step; 0, or 1 with the sentence on stderr."""

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    try:
        found = obtain(say)
    except PrometheusUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for name in ("prometheus", "promtool", "alertmanager", "amtool"):
        say(f"{name}: {getattr(found, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
