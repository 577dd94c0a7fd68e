"""The binaries are found in a fixed order, fetched only with the pinned checksum, and built at most once."""

import contextlib
import hashlib
import http.server
import io
import re
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from passmuster.sandbox import binaries
from passmuster.sandbox.binaries import Archive, Binaries, BinariesUnavailable

pytestmark = pytest.mark.slow

NAMES = ("kube-apiserver", "etcd", "kubectl")
TOOLCHAIN = Path(binaries.__file__).with_name("toolchain")

Serve = Callable[[bytes], str]

GO = """\
#!{python} -S
import os, pathlib, sys
if sys.argv[1] == "version":
    print("go version {version} linux/amd64")
    sys.exit()
if {failure!r}:
    sys.exit({failure!r})
calls = pathlib.Path({calls!r})
words = [*sys.argv[1:], os.environ["GOFLAGS"], os.environ["CGO_ENABLED"], *sorted(os.listdir())]
with calls.open("a") as log:
    log.write(" ".join(words) + "\\n")
built = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
built.write_text("built")
built.chmod(0o755)
"""


def install(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or NAMES:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def packed(*names: str, prefix: str = "controller-tools/envtest/") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name in names or NAMES:
            member = tarfile.TarInfo(prefix + name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return content.getvalue()


def only(url: str, sha512: str) -> dict[str, Archive]:
    return {binaries.system_name(): Archive(url, sha512)}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any of it: an empty PATH, an empty cache, no assets."""
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def cache(machine: Path) -> Path:
    return machine / "cache" / "passmuster" / "toolchain"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve some bytes on loopback; the URL."""
    with contextlib.ExitStack() as stack:

        def start(content: bytes) -> str:
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

                def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
                    """Nothing: a test's output is its own."""

            server = stack.enter_context(http.server.HTTPServer(("127.0.0.1", 0), Handler))
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return f"http://127.0.0.1:{server.server_port}/envtest.tar.gz"

        yield start


@pytest.fixture
def unreachable() -> dict[str, Archive]:
    """The archive as a network that refuses it shows it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, now and by no accident later
        port = taken.getsockname()[1]
    return only(f"http://127.0.0.1:{port}/envtest.tar.gz", "0" * 128)


@pytest.fixture
def go(machine: Path) -> Callable[..., Path]:
    """Put a stand-in for the Go toolchain on PATH; the file to which it writes its builds."""

    def install_go(*, version: str = "go1.26.8", failure: str = "") -> Path:
        calls = machine / "calls"
        program = machine / "bin" / "go"
        program.write_text(GO.format(python=sys.executable, version=version, failure=failure, calls=str(calls)))
        program.chmod(0o755)
        return calls

    return install_go


def test_a_machine_without_them_has_none(machine: Path) -> None:
    assert binaries.find() is None
    assert not (machine / "cache").exists()


def test_the_order_is_assets_then_path_then_what_was_built_then_what_was_fetched(
    machine: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_in = []

    def look() -> None:
        found = binaries.find()
        assert found is not None
        assert found == Binaries(*(found.etcd.parent / name for name in NAMES))
        found_in.append(found.etcd.parent)

    fetched = install(cache / binaries.FETCHED)
    look()
    built = install(cache / binaries.BUILT)
    look()
    on_path = install(machine / "bin")
    look()
    assets = install(machine / "assets")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    look()
    assert found_in == [fetched, built, on_path, assets]


@pytest.mark.parametrize("missing", ["kube-apiserver", "etcd"])
def test_a_folder_with_only_one_of_both_is_passed_over(
    machine: Path, cache: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    incomplete = [name for name in NAMES if name != missing]
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(install(machine / "assets", *incomplete)))
    install(machine / "bin", *incomplete)
    install(cache / binaries.BUILT, *incomplete)
    assert binaries.find() is None


def test_what_may_not_be_executed_is_not_found(cache: Path) -> None:
    (install(cache / binaries.BUILT) / "etcd").chmod(0o644)
    assert binaries.find() is None


def test_kubectl_comes_from_the_same_folder_else_from_path_else_not_at_all(machine: Path, cache: Path) -> None:
    folder = install(cache / binaries.BUILT, "kube-apiserver", "etcd")
    assert binaries.find() == Binaries(folder / "kube-apiserver", folder / "etcd", None)
    install(machine / "bin", "kubectl")
    assert binaries.find() == Binaries(folder / "kube-apiserver", folder / "etcd", machine / "bin" / "kubectl")
    install(folder, "kubectl")
    assert binaries.find() == Binaries(*(folder / name for name in NAMES))


def test_a_relative_cache_is_ignored_as_its_standard_demands(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(machine / "home"))
    folder = install(machine / "home" / ".cache" / "passmuster" / "toolchain" / binaries.BUILT)
    assert binaries.find() == Binaries(*(folder / name for name in NAMES))


def test_what_is_there_is_obtained_without_a_word(cache: Path, unreachable: dict[str, Archive]) -> None:
    folder = install(cache / binaries.BUILT)
    said: list[str] = []
    assert binaries.obtain(said.append, unreachable).etcd == folder / "etcd"
    assert said == []


def test_assets_that_hold_nothing_are_named(
    machine: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, unreachable: dict[str, Archive]
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(machine / "nowhere"))
    install(cache / binaries.BUILT)
    said: list[str] = []
    binaries.obtain(said.append, unreachable)
    assert said == [
        f"KUBEBUILDER_ASSETS names {machine}/nowhere, which holds no kube-apiserver and etcd; looking further."
    ]


def test_an_archive_with_the_pinned_checksum_is_unpacked_once(cache: Path, serve: Serve) -> None:
    content = packed(*NAMES, "README")
    archives = only(serve(content), hashlib.sha512(content).hexdigest())
    said: list[str] = []
    folder = cache / binaries.FETCHED
    assert binaries.obtain(said.append, archives) == Binaries(*(folder / name for name in NAMES))
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    assert (folder / "etcd").read_bytes() == b"etcd"
    assert said[0].startswith("Fetching http://127.0.0.1:")
    assert re.fullmatch(rf"Fetched in \d+ s: {re.escape(str(folder))}", said[1])
    assert binaries.obtain(said.append, archives) == binaries.find()
    assert len(said) == 2


def test_a_wrong_checksum_is_refused_and_leaves_nothing(machine: Path, cache: Path, serve: Serve) -> None:
    content = packed()
    said: list[str] = []
    with pytest.raises(BinariesUnavailable, match="does not have the pinned SHA-512 and was thrown away"):
        binaries.obtain(said.append, only(serve(content), hashlib.sha512(content + b"x").hexdigest()))
    assert binaries.find() is None
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_no_path_in_an_archive_decides_where_it_is_unpacked(machine: Path, cache: Path, serve: Serve) -> None:
    content = packed(prefix="../../../../escaped/")
    binaries.obtain(lambda line: None, only(serve(content), hashlib.sha512(content).hexdigest()))
    assert sorted(path.name for path in (cache / binaries.FETCHED).iterdir()) == sorted(NAMES)
    assert {path.name for path in machine.iterdir()} == {"bin", "cache"}


def test_a_server_that_never_answers_is_given_up_in_seconds(machine: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/envtest.tar.gz"
        with pytest.raises(BinariesUnavailable, match=r"cannot be reached \(no answer within 5 s\)"):
            binaries.obtain(lambda line: None, only(url, "0" * 128))


def test_without_go_and_network_one_sentence_says_what_to_install(
    machine: Path, unreachable: dict[str, Archive]
) -> None:
    said: list[str] = []
    with pytest.raises(BinariesUnavailable) as refusal:
        binaries.obtain(said.append, unreachable)
    assert re.fullmatch(
        r"There is no kube-apiserver and etcd on this machine, the envtest archive cannot be reached \([^()]+\), and"
        r" there is no Go on PATH to build them: install Go 1\.26 or newer, or set KUBEBUILDER_ASSETS to a folder that"
        r" holds both\.",
        str(refusal.value),
    )
    assert len(said) == 2


def test_a_system_without_an_archive_goes_on_to_build(machine: Path) -> None:
    with pytest.raises(BinariesUnavailable, match=r"there is no envtest archive for .*, and there is no Go on PATH"):
        binaries.obtain(lambda line: None, {})


@pytest.mark.parametrize("version", ["go1.25.9", "go1.4", "devel"])
def test_a_go_that_is_too_old_is_named(go: Callable[..., Path], version: str, unreachable: dict[str, Archive]) -> None:
    calls = go(version=version)
    with pytest.raises(BinariesUnavailable, match=rf"the Go on PATH is too old \(.*{version}.*\) to build them"):
        binaries.obtain(lambda line: None, unreachable)
    assert not calls.exists()


@pytest.mark.parametrize("version", ["go1.26.0", "go1.27rc1", "devel go1.28-0123abc", "go2.0"])
def test_a_go_that_is_new_enough_builds_all_three_beside_the_pinned_modules(
    go: Callable[..., Path], cache: Path, version: str, unreachable: dict[str, Archive]
) -> None:
    calls = go(version=version)
    said: list[str] = []
    folder = cache / binaries.BUILT
    assert binaries.obtain(said.append, unreachable) == Binaries(*(folder / name for name in NAMES))
    built = calls.read_text().splitlines()
    assert [re.findall(r"(\S+) -buildvcs=false 0 go\.mod go\.sum$", line) for line in built] == [
        ["go.etcd.io/etcd/server/v3"],
        ["k8s.io/kubernetes/cmd/kube-apiserver"],
        ["k8s.io/kubernetes/cmd/kubectl"],
    ]
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in built[1]
    assert [line.split(",")[0] for line in said if line.startswith("  building")] == [
        "  building etcd 3.7.3",
        "  building kube-apiserver 1.36.3",
        "  building kubectl 1.36.3",
    ]


def test_a_build_that_fails_is_quoted_and_leaves_nothing(
    go: Callable[..., Path], cache: Path, unreachable: dict[str, Archive]
) -> None:
    go(failure="module lookup disabled")
    with pytest.raises(BinariesUnavailable) as refusal:
        binaries.obtain(lambda line: None, unreachable)
    assert str(refusal.value) == (
        "`go build go.etcd.io/etcd/server/v3` failed (module lookup disabled): let Go reach its module proxy, or set"
        " KUBEBUILDER_ASSETS to a folder that holds kube-apiserver and etcd."
    )
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_two_at_once_build_once(go: Callable[..., Path], unreachable: dict[str, Archive]) -> None:
    calls = go()
    found: list[Binaries] = []
    threads = [
        threading.Thread(target=lambda: found.append(binaries.obtain(lambda line: None, unreachable))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(calls.read_text().splitlines()) == 3


def test_what_an_interrupted_build_left_is_removed_by_the_next(
    go: Callable[..., Path], cache: Path, unreachable: dict[str, Archive]
) -> None:
    go()
    install(cache / ".filling-interrupted")
    install(cache / binaries.BUILT, "etcd")
    binaries.obtain(lambda line: None, unreachable)
    assert sorted(path.name for path in cache.iterdir()) == sorted([binaries.BUILT, "lock"])


def test_a_cache_that_cannot_be_written_is_explained(machine: Path, unreachable: dict[str, Archive]) -> None:
    (machine / "cache").write_text("a file where the folder should be")
    with pytest.raises(BinariesUnavailable, match="set XDG_CACHE_HOME to a folder that can be written"):
        binaries.obtain(lambda line: None, unreachable)


def test_the_command_prints_paths_or_exits_with_the_sentence(machine: Path, cache: Path) -> None:
    command = [sys.executable, "-m", "passmuster.sandbox.binaries"]
    folder = install(cache / binaries.BUILT)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name}: {folder / name}" for name in NAMES]
    assert done.stderr == ""

    (machine / "cache").rename(machine / "elsewhere")
    (machine / "cache").write_text("")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"kube-apiserver and etcd cannot be kept in the cache \(.*\): set .*\.\n", done.stderr)


def test_it_needs_nothing_but_the_standard_library() -> None:
    command = [sys.executable, "-S", binaries.__file__]
    environment = {"KUBEBUILDER_ASSETS": "", "PATH": "", "XDG_CACHE_HOME": "/dev/null"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


def test_the_versions_are_those_that_the_module_pins() -> None:
    module = (TOOLCHAIN / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{binaries.KUBERNETES}\n" in module
    assert re.search(rf"go\.etcd\.io/etcd/server/v3 v{re.escape(binaries.ETCD)}\b", module)
    assert re.search(rf"^go {binaries.GO[0]}\.{binaries.GO[1]}\b", module, re.MULTILINE)
    assert binaries.KUBERNETES.rpartition(".")[0] == binaries.ENVTEST.rpartition(".")[0]


def test_every_archive_is_pinned_to_its_own_system_and_checksum() -> None:
    assert set(binaries.ARCHIVES) == {"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"}
    for system, archive in binaries.ARCHIVES.items():
        assert archive.url.endswith(f"/envtest-v{binaries.ENVTEST}/envtest-v{binaries.ENVTEST}-{system}.tar.gz")
        assert re.fullmatch(r"[0-9a-f]{128}", archive.sha512)
    assert len({archive.sha512 for archive in binaries.ARCHIVES.values()}) == len(binaries.ARCHIVES)
