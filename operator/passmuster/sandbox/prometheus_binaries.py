"""Find or unpack Prometheus and Alertmanager with their tools, because alerts and panels are tested on the real ones.

Called by `prometheus` and by the tests (`find`, which never downloads), and by make and CI as
`python -m passmuster.sandbox.prometheus_binaries` (`obtain`). It runs before anything else is set up, so it imports the
standard library only.

    find      PATH -> the user's cache
    obtain    find -> the packages of Debian or Ubuntu, unpacked into the cache

The packages are downloaded by apt-get, which checks them against the signed lists, and unpacked instead of installed:
that needs no root, starts no service and opens no port.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from passmuster.sandbox.binaries import Say, cache_folder, executable, fresh_folder, locked, writable_cache

PACKAGES: Final = ("prometheus", "prometheus-alertmanager")
UNPACKED: Final = "prometheus"
"""The folder in the cache."""

COMMAND: Final = "python -m passmuster.sandbox.prometheus_binaries"
APT_SECONDS: Final = 300


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
    """What is on this machine already, or None. Downloads nothing, writes nothing."""
    on_path = [shutil.which(name) for name in ("prometheus", "promtool", "amtool")]
    server = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
    if server and all(on_path):
        prometheus, promtool, amtool = (Path(str(name)).absolute() for name in on_path)
        return PrometheusBinaries(prometheus, promtool, Path(server).absolute(), amtool)
    cache = cache_folder()
    return _unpacked_in(cache / UNPACKED) if cache is not None else None


def obtain(say: Say) -> PrometheusBinaries:
    """What is on this machine, else unpacked from the packages of the distribution. Raises PrometheusUnavailable."""
    if found := find():
        return found
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise PrometheusUnavailable(
            "There is no Prometheus and Alertmanager on this machine, and no apt-get to get them with: put prometheus,"
            " promtool, alertmanager and amtool on PATH."
        )
    try:
        cache = writable_cache()
        with locked(cache, say, "Prometheus and Alertmanager"):
            return find() or _unpack(cache / UNPACKED, say)
    except OSError as error:
        raise PrometheusUnavailable(
            f"Prometheus and Alertmanager cannot be kept in the cache ({error}): set XDG_CACHE_HOME to a folder that"
            " can be written, or put them on PATH."
        ) from error


def _unpacked_in(folder: Path) -> PrometheusBinaries | None:
    programs = folder / "usr" / "bin"
    names = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
    found = [path for name in names if (path := executable(programs / name))]
    return PrometheusBinaries(*found) if len(found) == len(names) else None


def _unpack(folder: Path, say: Say) -> PrometheusBinaries:
    say(f"Downloading the packages {' and '.join(PACKAGES)} with apt-get (about 30 MB), to be unpacked, not installed.")
    with fresh_folder(folder) as filling, tempfile.TemporaryDirectory(prefix="passmuster-packages-") as temporary:
        try:
            _download(Path(temporary), say)
            for package in sorted(Path(temporary).glob("*.deb")):
                _run(["dpkg-deb", "--extract", str(package), str(filling)], filling)
        except _AptFailed as failure:
            raise PrometheusUnavailable(
                f"The packages {' and '.join(PACKAGES)} could not be had ({failure}): let apt-get reach its mirror, run"
                " `apt-get update` as root, or put prometheus, promtool, alertmanager and amtool on PATH."
            ) from failure
        if _unpacked_in(filling) is None:
            raise PrometheusUnavailable(
                f"The packages {' and '.join(PACKAGES)} do not hold what is needed: put prometheus, promtool,"
                " alertmanager and amtool on PATH."
            )
    found = _unpacked_in(folder)
    if found is None:
        raise PrometheusUnavailable(
            f"{folder} holds nothing that this user may execute: set XDG_CACHE_HOME to a folder on a file system that"
            " allows executables."
        )
    say(f"Unpacked: {folder}")
    return found


def _download(into: Path, say: Say) -> None:
    """The packages into a folder; with fresh lists if there were none and this user may renew them."""
    try:
        _run(["apt-get", "-qq", "download", *PACKAGES], into)
    except _AptFailed:
        if os.geteuid() != 0:
            raise
        say("  apt-get update, because its lists do not name them or are old")
        _run(["apt-get", "-qq", "update"], into)
        _run(["apt-get", "-qq", "download", *PACKAGES], into)


def _run(command: Sequence[str], folder: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
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
