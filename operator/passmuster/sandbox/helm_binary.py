"""Find or build helm, because the chart is rendered and installed in the tests by the program that people use.

Called by the tests (`find`, which builds nothing), and by make and CI as `python -m passmuster.sandbox.helm_binary`
(`obtain`). It runs before anything else is set up, so it imports the standard library only.

    find      PATH -> the user's cache
    obtain    find -> build (Go module, pinned by go.sum)
"""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from passmuster.sandbox.binaries import (
    Build,
    BuildFailed,
    GoUnavailable,
    Say,
    cache_folder,
    command,
    elapsed,
    executable,
    fresh_folder,
    go_build,
    go_toolchain,
    locked,
    writable_cache,
)

HELM: Final = "4.3.1"
"""The release that is built; toolchain/helm/go.mod pins it."""

OLDEST: Final = (3, 18)
"""The oldest helm on PATH that will do: it knows what the values schema says, and `--take-ownership`."""

BUILT: Final = f"helm-{HELM}"
"""The folder in the cache."""

GO: Final = (1, 26)
"""The oldest Go that builds this helm."""

COMMAND: Final = "python -m passmuster.sandbox.helm_binary"
WANTED: Final = f"put helm {OLDEST[0]}.{OLDEST[1]} or newer on PATH"

_BUILD: Final = Build(
    "helm", "helm.sh/helm/v4/cmd/helm", "3 min", HELM, (f"helm.sh/helm/v4/internal/version.version=v{HELM}",)
)


class HelmUnavailable(Exception):
    """There is no helm to run. The message is one sentence that says what to install; retrying does not help."""


def find() -> Path | None:
    """The helm of this machine that is new enough, or None. Builds nothing, writes nothing."""
    on_path = shutil.which("helm")
    if on_path and version(Path(on_path)) >= OLDEST:
        return Path(on_path).absolute()
    cache = cache_folder()
    return executable(cache / BUILT / "helm") if cache is not None else None


def obtain(say: Say) -> Path:
    """The helm of this machine, else built once; minutes may pass, and `say` gets a line for each step.

    Raises HelmUnavailable.
    """
    if found := find():
        return found
    try:
        cache = writable_cache()
        with locked(cache, say, "helm"):
            return find() or _build(cache / BUILT, say)
    except OSError as error:
        raise HelmUnavailable(
            f"helm cannot be kept in the cache ({error}): set XDG_CACHE_HOME to a folder that can be written, or"
            f" {WANTED}."
        ) from error


def version(program: Path) -> tuple[int, int]:
    """Major and minor version as the program states it; (0, 0) where it states none."""
    done = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=False)
    stated = re.search(r"v(\d+)\.(\d+)", done.stdout)
    return (int(stated[1]), int(stated[2])) if stated else (0, 0)


def _build(folder: Path, say: Say) -> Path:
    try:
        go, stated = go_toolchain(GO)
    except GoUnavailable as lack:
        raise HelmUnavailable(
            f"There is no helm on this machine, and {lack} to build it: install Go {GO[0]}.{GO[1]} or newer, or"
            f" {WANTED}."
        ) from lack
    started = time.monotonic()
    say(f"Building helm {HELM} once with {stated}; the first time takes 2 to 9 minutes.")
    with fresh_folder(folder) as filling:
        try:
            go_build(go, (_BUILD,), module=Path(__file__).with_name("toolchain") / "helm", into=filling, say=say)
        except BuildFailed as failure:
            raise HelmUnavailable(f"{failure}: let Go reach its module proxy, or {WANTED}.") from failure
    say(f"Built in {elapsed(started)}: {folder}")
    found = find()
    if found is None:
        raise HelmUnavailable(
            f"{folder} holds no helm that this user may execute: set XDG_CACHE_HOME to a folder on a file system that"
            " allows executables."
        )
    return found


if __name__ == "__main__":
    sys.exit(command(lambda say: {"helm": obtain(say)}, HelmUnavailable))
