"""Find, fetch or build kube-apiserver, etcd and kubectl, because the sandbox and the tests run against the real API.

Called by `control_plane` and by the tests (`find`, which never downloads), by the demo (`obtain`), and by make and CI
as `python -m passmuster.sandbox.binaries`. It runs before anything else is set up, so it imports the standard library
only.

    find      KUBEBUILDER_ASSETS -> PATH -> the user's cache
    obtain    find -> fetch (envtest archive, pinned SHA-512) -> build (Go modules, pinned by go.sum)

Fetching and building fill a folder beside the cache entry and rename it when it is complete, under a file lock: a
second process waits and then finds what the first one made, and an interrupted one leaves nothing that is found.
"""

import contextlib
import fcntl
import hashlib
import http.client
import os
import platform
import queue
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

Say = Callable[[str], None]

ASSETS: Final = "KUBEBUILDER_ASSETS"

KUBERNETES: Final = "1.36.3"
"""The release that is built; toolchain/go.mod pins it."""

ETCD: Final = "3.7.3"
"""The release that is built; toolchain/go.mod pins it."""

ENVTEST: Final = "1.36.2"
"""The archive that is fetched: the newest of the same minor release as `KUBERNETES`, so that both ways behave alike."""

BUILT: Final = f"k8s-{KUBERNETES}-etcd-{ETCD}"
FETCHED: Final = f"envtest-{ENVTEST}"
"""The folders in the cache. What was fetched never passes for what was built."""

GO: Final = (1, 26)
"""The oldest Go that builds this Kubernetes."""

_FILLING: Final = ".filling-"
"""How the folders are called that are not complete yet; what a killed process left is removed by the next."""

CONNECT_SECONDS: Final = 5.0
STALL_SECONDS: Final = 20.0
HEARTBEAT_SECONDS: Final = 20.0


class BinariesUnavailable(Exception):
    """There is no API server to run. The message is one sentence that says what to install; retrying does not help."""


class GoUnavailable(Exception):
    """There is no Go that is new enough; the message is a clause that says so."""


class BuildFailed(Exception):
    """Go could not build a command; the message is a clause with the last line that it said."""


class _NotFetched(Exception):
    """The archive could not be had; the message is a clause that says why. Building is the next step."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Absolute paths of executables that belong together; kubectl is a convenience and may be missing."""

    kube_apiserver: Path
    etcd: Path
    kubectl: Path | None


@dataclass(frozen=True, slots=True)
class Archive:
    """One envtest archive: where it is, and the SHA-512 (hexadecimal) that it must have."""

    url: str
    sha512: str


def _envtest(system: str, sha512: str) -> Archive:
    releases = "https://github.com/kubernetes-sigs/controller-tools/releases/download"
    return Archive(f"{releases}/envtest-v{ENVTEST}/envtest-v{ENVTEST}-{system}.tar.gz", sha512)


# As envtest-releases.yaml of kubernetes-sigs/controller-tools states them.
ARCHIVES: Final[Mapping[str, Archive]] = {
    system: _envtest(system, sha512)
    for system, sha512 in {
        "darwin-amd64": (
            "b4fe9f973cd1992e3880f8b230ed32c0c243b83371591e3e3315f4404df2cdbe"
            "f8ee94eeb9bb245b7e5feb987d5c4a76c43e0877654ab73f00d7bbc2b9984514"
        ),
        "darwin-arm64": (
            "9278f9e5af556b2f1f2d139769c1f0d717c7b4426917fdebdba898bcb725a916"
            "e4910d6160886194ff9be9589ea7c5c32c2b8ae0754703874b7c8ba8ddfc41ce"
        ),
        "linux-amd64": (
            "ea743186c8a799f5cf8faf16969f86189d003cb7d130e0ac4b58789f1e5748dc"
            "f30ebe91c837a10d5ac415383da3e10b9e64d65785c938c23e739781cfb76f08"
        ),
        "linux-arm64": (
            "2d72ee985a8e262a3c57dc9f7f0fd891f6a8c7bf7ebaa2db6dc6d8eac8ae2818"
            "1afe51c1f368b67756cdb40b10de9b205609e1726e5f27f7c6d824dd9c6649ac"
        ),
    }.items()
}


@dataclass(frozen=True, slots=True)
class Build:
    """One Go command that is built, and how long that takes on two cores when the modules are already there."""

    name: str
    package: str
    usually: str
    version: str
    stamps: tuple[str, ...] = ()
    """What the linker writes into variables of the program: NAME=VALUE, by their full names."""


# The API server compares its own version with those of features; without these it claims to be v0.0.0.
_STAMPS: Final = (
    f"k8s.io/component-base/version.gitVersion=v{KUBERNETES}",
    f"k8s.io/component-base/version.gitMajor={KUBERNETES.split('.')[0]}",
    f"k8s.io/component-base/version.gitMinor={KUBERNETES.split('.')[1]}",
    f"k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}",
)

_BUILDS: Final = (
    Build("etcd", "go.etcd.io/etcd/server/v3", "45 s", ETCD),
    Build("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", "3 min", KUBERNETES, _STAMPS),
    Build("kubectl", "k8s.io/kubernetes/cmd/kubectl", "25 s", KUBERNETES, _STAMPS),
)


def find() -> Binaries | None:
    """What is on this machine already, or None. Downloads nothing, builds nothing, writes nothing."""
    assets = os.environ.get(ASSETS)
    candidates = [Path(assets)] if assets else []
    if found := _first_in(candidates):
        return found
    kube_apiserver, etcd = shutil.which("kube-apiserver"), shutil.which("etcd")
    if kube_apiserver and etcd:
        return _together(Path(kube_apiserver), Path(etcd))
    return _first_in(_cached())


def obtain(say: Say, archives: Mapping[str, Archive] = ARCHIVES) -> Binaries:
    """What is on this machine, else fetched, else built; minutes may pass, and `say` gets a line for each step.

    Raises BinariesUnavailable.
    """
    assets = os.environ.get(ASSETS)
    if assets and not _first_in([Path(assets)]):
        say(f"{ASSETS} names {assets}, which holds no kube-apiserver and etcd; looking further.")
    if found := find():
        return found
    try:
        cache = writable_cache()
        with locked(cache, say):
            return find() or _fetch_or_build(cache, archives, say)
    except OSError as error:
        raise BinariesUnavailable(
            f"kube-apiserver and etcd cannot be kept in the cache ({error}): set XDG_CACHE_HOME to a folder that can"
            f" be written, or {ASSETS} to a folder that holds both."
        ) from error


def _fetch_or_build(cache: Path, archives: Mapping[str, Archive], say: Say) -> Binaries:
    try:
        return _fetch(cache, archives, say)
    except _NotFetched as reason:
        say(f"Not fetched: {reason}. Building from the Go modules instead.")
        return _build(cache, str(reason), say)


def executable(path: Path) -> Path | None:
    """The path, if this user may execute what is there."""
    return path if path.is_file() and os.access(path, os.X_OK) else None


def _together(kube_apiserver: Path, etcd: Path) -> Binaries:
    kubectl = executable(kube_apiserver.parent / "kubectl")
    if kubectl is None and (on_path := shutil.which("kubectl")):
        kubectl = Path(on_path)
    return Binaries(kube_apiserver.absolute(), etcd.absolute(), kubectl.absolute() if kubectl else None)


def _first_in(folders: list[Path]) -> Binaries | None:
    for folder in folders:
        kube_apiserver, etcd = executable(folder / "kube-apiserver"), executable(folder / "etcd")
        if kube_apiserver and etcd:
            return _together(kube_apiserver, etcd)
    return None


def cache_folder() -> Path | None:
    """The folder of all versions; None where the user has neither XDG_CACHE_HOME nor a home."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    if Path(configured).is_absolute():
        return Path(configured) / "passmuster" / "toolchain"
    try:
        return Path.home() / ".cache" / "passmuster" / "toolchain"
    except RuntimeError:
        return None


def _cached() -> list[Path]:
    cache = cache_folder()
    return [cache / BUILT, cache / FETCHED] if cache else []


def writable_cache() -> Path:
    """The folder of all versions, made if it is not there; raises OSError where it cannot be."""
    cache = cache_folder()
    if cache is None:
        raise FileNotFoundError("this user has no home folder")
    cache.mkdir(parents=True, exist_ok=True)
    return cache


@contextlib.contextmanager
def locked(cache: Path, say: Say, what: str = "kube-apiserver and etcd") -> Iterator[None]:
    """One fetch or build at a time. The lock ends with its process, so that a crash cannot leave it behind."""
    with (cache / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another process is fetching or building {what}; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for interrupted in cache.glob(f"{_FILLING}*"):
            shutil.rmtree(interrupted, ignore_errors=True)
        yield


@contextlib.contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """A fresh folder that becomes `folder` when the block ends well, and disappears when it does not."""
    filling = Path(tempfile.mkdtemp(prefix=_FILLING, dir=folder.parent))
    try:
        yield filling
        filling.chmod(0o755)
        if folder.exists():  # incomplete, or it would have been found
            shutil.rmtree(folder)
        filling.rename(folder)
    finally:
        shutil.rmtree(filling, ignore_errors=True)


def _found_in(folder: Path) -> Binaries:
    found = _first_in([folder])
    if found is None:
        raise BinariesUnavailable(
            f"{folder} was filled and still holds no kube-apiserver and etcd that this user may execute: set"
            f" XDG_CACHE_HOME to a folder on a file system that allows executables."
        )
    return found


def system_name() -> str:
    """This machine as the archives name it, for instance `linux-amd64`."""
    machine = platform.machine().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    return f"{platform.system().lower()}-{machine}"


# --- fetch -----------------------------------------------------------------------------------------------------------


def _fetch(cache: Path, archives: Mapping[str, Archive], say: Say) -> Binaries:
    archive = archives.get(system_name())
    if archive is None:
        raise _NotFetched(f"there is no envtest archive for {system_name()}")
    started = time.monotonic()
    say(f"Fetching {archive.url} (about 50 MB, usually seconds).")
    folder = cache / FETCHED
    with fresh_folder(folder) as filling, tempfile.TemporaryFile(dir=filling) as packed:
        try:
            checksum = _download(archive.url, packed, say)
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise _NotFetched(f"the envtest archive cannot be reached ({reason})") from error
        if checksum != archive.sha512:
            raise _NotFetched("what came as the envtest archive does not have the pinned SHA-512 and was thrown away")
        packed.seek(0)
        _unpack(packed, filling)
    say(f"Fetched in {elapsed(started)}: {folder}")
    return _found_in(folder)


def _download(url: str, into: IO[bytes], say: Say) -> str:
    """Write what `url` gives into a file; returns its SHA-512 in hexadecimal."""
    digest = hashlib.sha512()
    heartbeat = time.monotonic() + HEARTBEAT_SECONDS
    received = 0
    with _connect(url) as response:
        while block := response.read(1 << 20):
            into.write(block)
            digest.update(block)
            received += len(block)
            if time.monotonic() > heartbeat:
                heartbeat += HEARTBEAT_SECONDS
                say(f"  still fetching, {received / 1e6:.0f} MB so far")
    return digest.hexdigest()


def _connect(url: str) -> IO[bytes]:
    """Open `url` within CONNECT_SECONDS in all, or raise TimeoutError.

    In a thread, because the timeout of urlopen covers neither name resolution, which a network that drops packets
    stretches to a minute, nor the sum over several addresses and redirects.
    """
    outcomes: queue.SimpleQueue[IO[bytes] | Exception] = queue.SimpleQueue()
    abandoned = threading.Event()

    def connect() -> None:
        try:
            response = urllib.request.urlopen(url, timeout=STALL_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            outcomes.put(error)
            return
        if abandoned.is_set():
            response.close()
        outcomes.put(response)

    threading.Thread(target=connect, name="fetch-envtest", daemon=True).start()
    try:
        outcome = outcomes.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        abandoned.set()
        raise TimeoutError(f"no answer within {CONNECT_SECONDS:.0f} s") from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _unpack(packed: IO[bytes], folder: Path) -> None:
    """Take the executables out of the archive by their names alone, so that no path in it decides where we write."""
    wanted = {build.name for build in _BUILDS}
    with tarfile.open(fileobj=packed, mode="r:gz") as archive:
        for member in archive:
            name = Path(member.name).name
            content = archive.extractfile(member) if member.isfile() and name in wanted else None
            if content is not None:
                with content, (folder / name).open("wb") as target:
                    shutil.copyfileobj(content, target)
                (folder / name).chmod(0o755)


# --- build -----------------------------------------------------------------------------------------------------------


def _build(cache: Path, why_not_fetched: str, say: Say) -> Binaries:
    try:
        go, version = go_toolchain(GO)
    except GoUnavailable as lack:
        raise BinariesUnavailable(
            f"There is no kube-apiserver and etcd on this machine, {why_not_fetched}, and {lack} to build them:"
            f" install Go {GO[0]}.{GO[1]} or newer, or set {ASSETS} to a folder that holds both."
        ) from lack
    started = time.monotonic()
    say(f"Building Kubernetes {KUBERNETES} and etcd {ETCD} once with {version}; the first time takes about 5 minutes.")
    folder = cache / BUILT
    with fresh_folder(folder) as filling:
        try:
            go_build(go, _BUILDS, module=Path(__file__).with_name("toolchain"), into=filling, say=say)
        except BuildFailed as failure:
            raise BinariesUnavailable(
                f"{failure}: let Go reach its module proxy, or set {ASSETS} to a folder that holds kube-apiserver and"
                " etcd."
            ) from failure
    say(f"Built in {elapsed(started)}: {folder}")
    return _found_in(folder)


def go_toolchain(oldest: tuple[int, int]) -> tuple[str, str]:
    """The path of a Go that is new enough, and its version as it states it; raises GoUnavailable."""
    go = shutil.which("go")
    stated = _go_version(go) if go else ""
    version = re.search(r"\bgo(\d+)\.(\d+)\S*", stated)
    if go and version and (int(version[1]), int(version[2])) >= oldest:
        return go, version[0]
    raise GoUnavailable(
        f"the Go on PATH is too old ({version[0] if version else stated})" if go else "there is no Go on PATH"
    )


def _go_version(go: str) -> str:
    # GOTOOLCHAIN=local: without it, an old Go would silently download a new one.
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    answer = subprocess.run([go, "version"], capture_output=True, text=True, check=False, env=environment)
    return (answer.stdout or answer.stderr).strip()


def go_build(go: str, builds: Iterable[Build], *, module: Path, into: Path, say: Say) -> None:
    """Build commands of the Go module in a folder (go.mod, go.sum, Go files of ours if any); raises BuildFailed."""
    with tempfile.TemporaryDirectory(prefix="passmuster-toolchain-") as temporary:
        # A copy, because the package may be installed read-only and go wants to write beside go.mod.
        copied = Path(temporary) / "module"
        copied.mkdir()
        for path in (module / "go.mod", module / "go.sum", *module.glob("*.go")):
            shutil.copyfile(path, copied / path.name)
        for build in builds:
            _go_build(go, build, module=copied, into=into, say=say)


def _go_build(go: str, build: Build, *, module: Path, into: Path, say: Say) -> None:
    say(f"  building {build.name} {build.version}, usually {build.usually} on two cores, plus the modules' download")
    started = time.monotonic()
    flags = " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in build.stamps)])
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [go, "build", "-ldflags", flags, "-o", str(into / build.name), build.package],
            cwd=module,
            env=_go_environment(module.parent),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its compilers and linkers are ended with it
        )
        try:
            status = _wait(process, build, started, say)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace").strip().splitlines()
    if status != 0:
        raise BuildFailed(f"`go build {build.package}` failed ({said[-1] if said else f'exit status {status}'})")
    say(f"  built {build.name} in {elapsed(started)}")


def _wait(process: subprocess.Popen[bytes], build: Build, started: float, say: Say) -> int:
    while True:
        try:
            return process.wait(timeout=HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"  still building {build.name}, {elapsed(started)}")


def _go_environment(temporary: Path) -> dict[str, str]:
    """The user's environment without what would build something else: cross-compiling, workspaces, vendoring."""
    kept = {name: value for name, value in os.environ.items() if name not in {"GOOS", "GOARCH"}}
    ours = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    return {**kept, **ours, "GOTMPDIR": str(temporary)}  # go leaves its files there when it is interrupted


def elapsed(started: float) -> str:
    """The time since then, for people."""
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def command(get: Callable[[Say], Mapping[str, Path | None]], lack: type[Exception]) -> int:
    """Obtain programs and print where they are, with a line for each step before.

    The exit code: 0, or 1 with the sentence of `lack` on stderr, or 128 + signal.
    """

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    # As an exception it passes the places that end what is being built and remove what is half filled.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        found = get(say)
    except lack as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    for name, path in found.items():
        say(f"{name}: {path or 'not found; nothing here needs it'}")
    return 0


def _by_name(say: Say) -> dict[str, Path | None]:
    found = obtain(say)
    return {"kube-apiserver": found.kube_apiserver, "etcd": found.etcd, "kubectl": found.kubectl}


if __name__ == "__main__":
    sys.exit(command(_by_name, BinariesUnavailable))
