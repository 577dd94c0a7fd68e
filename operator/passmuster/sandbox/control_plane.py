"""Run a real kube-apiserver with its etcd on loopback, because only the real one validates, authorizes and admits.

Called by the demo and by the tests marked `apiserver`. The binaries come from `binaries.find`, which never downloads.

    folder (0700)   certificates, tokens, kubeconfigs, logs, etcd's data and socket; removed by stop()
    etcd            listens on a socket in that folder: no port, and nobody else on the machine reaches it
    kube-apiserver  listens on 127.0.0.1 with TLS; every user is a line of the token file; RBAC decides

What a cluster has beside these two is absent: nothing collects owned objects, deletes the content of a deleted
namespace or creates service accounts, and no pod ever runs.

How the processes end with us
-----------------------------
stop() sends SIGTERM, waits, and then sends SIGKILL; atexit calls it. They are leaders of their own sessions, so that
Ctrl-C reaches us first and not them. Against our own SIGKILL nothing of ours can run, so on Linux the kernel is asked
to kill them (PR_SET_PDEATHSIG). Two traps shape how:

- Code between fork and exec (`preexec_fn`) can deadlock when there are other threads. So a short Python command is
  executed instead, which makes the system call and then becomes the real program; pid and log stay the same.
- The signal is sent when the *thread* that forked ends, not the process. So one thread that lives as long as the
  control plane does all the forking: the only worker of a ThreadPoolExecutor.

Elsewhere than on Linux a SIGKILL of ours leaves them running. The folder of a process that was killed is removed by
the next start, which knows by the file lock in it that its owner is gone.
"""

import atexit
import base64
import contextlib
import csv
import datetime
import fcntl
import http.client
import io
import ipaddress
import os
import random
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from passmuster.sandbox import binaries

ADMIN: Final = "admin"
OPERATOR: Final = "system:serviceaccount:passmuster-system:passmuster"
"""The service account of the Helm chart, here with a token from the token file."""

_BUILT_IN: Final[Mapping[str, Sequence[str]]] = {
    ADMIN: ("system:masters",),
    OPERATOR: ("system:serviceaccounts", "system:serviceaccounts:passmuster-system", "system:authenticated"),
}

START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 10.0
_LOG_LINES: Final = 15
_PORT_ATTEMPTS: Final = 5
_PORTS: Final = (20_000, 32_000)
"""Below the range from which Linux and macOS take the ports of outgoing connections, so that none of them sits on our
port while the API server restarts."""

_FOLDER: Final = "passmuster-control-plane-"
_OWNER: Final = "owner.lock"
_LONGEST_PARENT: Final = 56
"""Bytes of the temporary folder's path: the name of a socket has at most 103 on macOS and 107 on Linux."""

_DIE_WITH_PARENT: Final = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != int(sys.argv[1]):  # the parent ended before the call
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class ControlPlaneFailed(Exception):
    """A process did not start or stay, or nothing runs; the message holds the last lines of its log."""


class _PortTaken(ControlPlaneFailed):
    """Somebody else listens on the port that was free a moment ago; retrying with another one helps."""


@dataclass(frozen=True, slots=True)
class _Process:
    """A child of ours and the part of its log file that it wrote itself, which starts at `offset`."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    offset: int

    def stop(self, *, abruptly: bool = False) -> None:
        if not abruptly:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(timeout=STOP_SECONDS)
        self.popen.kill()
        self.popen.wait()

    def await_ready(self, ready: Callable[[], bool]) -> None:
        """Poll until ready; raises ControlPlaneFailed when the process ends or the time is over."""
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if (status := self.popen.poll()) is not None:
                raise self._failed(f"ended with status {status} instead of starting")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready within {START_SECONDS:.0f} s")
            time.sleep(0.05)

    def _failed(self, what: str) -> ControlPlaneFailed:
        said = self.log.read_bytes()[self.offset :].decode(errors="replace")
        lines = "\n".join(f"  {line}" for line in said.splitlines()[-_LOG_LINES:]) or "  (it is empty)"
        kind = _PortTaken if "address already in use" in said else ControlPlaneFailed
        return kind(f"{self.name} {what}; the last lines of its log:\n{lines}")


@dataclass(frozen=True, slots=True)
class _Site:
    """Where the processes run and with what: all that stays the same from start to stop."""

    folder: Path
    programs: binaries.Binaries
    spawner: ThreadPoolExecutor
    tls: ssl.SSLContext
    token: str
    arguments: Sequence[str]

    def start_etcd(self) -> _Process:
        process = self._spawn("etcd", _etcd_command(self.programs, self.folder))
        return _ready_or_ended(process, lambda: _accepts(self.folder / "etcd.sock"))

    def start_apiserver(self, port: int) -> _Process:
        command = [*_apiserver_command(self.programs, self.folder, port), *self.arguments]
        process = self._spawn("kube-apiserver", command)
        return _ready_or_ended(process, lambda: self._answers(port))

    def start_apiserver_somewhere(self) -> tuple[int, _Process]:
        for _ in range(_PORT_ATTEMPTS - 1):
            port = _free_port()
            with contextlib.suppress(_PortTaken):
                return port, self.start_apiserver(port)
        port = _free_port()
        return port, self.start_apiserver(port)

    def _spawn(self, name: str, command: Sequence[str]) -> _Process:
        """Start a process from the long-lived thread; the head of this file says why."""
        wrapper = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            offset = output.tell()
            popen = self.spawner.submit(
                subprocess.Popen,
                [*(wrapper if sys.platform == "linux" else []), *command],
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ).result()
        return _Process(name, popen, log, offset)

    def _answers(self, port: int) -> bool:
        """Ready, and the namespace `default` is there: the server makes it shortly after it says that it is ready."""
        paths = ("/readyz", "/api/v1/namespaces/default")
        return all(_get_succeeds(port, self.tls, self.token, path) for path in paths)


@dataclass(slots=True)
class _Running:
    """What exists between start and stop; a restart replaces the API server's process."""

    site: _Site
    etcd: _Process
    port: int
    apiserver: _Process

    def stop_apiserver(self) -> None:
        self.apiserver.stop()


class ControlPlane:
    """A Kubernetes API on this machine, as a context manager or by start() and stop(); each start begins empty.

    `users` are names with their groups, beside `ADMIN` (system:masters) and `OPERATOR`; `arguments` are more flags of
    kube-apiserver. The methods may be called from any thread.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, Sequence[str]] = MappingProxyType({}),
        programs: binaries.Binaries | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        if reserved := sorted(set(users) & set(_BUILT_IN)):
            raise ValueError(f"these users exist already, with their own groups: {', '.join(reserved)}")
        self._groups: Mapping[str, Sequence[str]] = MappingProxyType({**_BUILT_IN, **users})
        self._tokens = {user: secrets.token_urlsafe(32) for user in self._groups}
        self._programs = programs
        self._arguments = tuple(arguments)
        self._changing = threading.RLock()
        self._running: _Running | None = None
        self._undo = contextlib.ExitStack()
        self._owner = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """`https://127.0.0.1:<port>`; the port survives restart_apiserver()."""
        return f"https://127.0.0.1:{self._state().port}"

    @property
    def ca_file(self) -> Path:
        """The certificate (PEM) that verifies `url`."""
        return self._state().site.folder / "ca.crt"

    @property
    def pids(self) -> Mapping[str, int]:
        """`etcd` and `kube-apiserver` with the process ids they have now."""
        state = self._state()
        return {process.name: process.popen.pid for process in (state.etcd, state.apiserver)}

    @property
    def logs(self) -> Mapping[str, Path]:
        """`etcd` and `kube-apiserver` with their log files, which stop() removes."""
        state = self._state()
        return {process.name: process.log for process in (state.etcd, state.apiserver)}

    @property
    def users(self) -> Mapping[str, Sequence[str]]:
        """Every user that has a token, with the groups that the token file gives it."""
        return self._groups

    def token(self, user: str = ADMIN) -> str:
        """The bearer token of a user; raises KeyError for one that was not named at construction."""
        return self._tokens[user]

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """Write a self-contained kubeconfig (0600) for that user; it is valid until stop()."""
        token, authority = self.token(user), base64.b64encode(self.ca_file.read_bytes()).decode()
        name = "passmuster-sandbox"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "current-context": name,
        }
        path = self._state().site.folder / f"kubeconfig-{urllib.parse.quote(user, safe='')}.yaml"
        _write_private(path, yaml.safe_dump(config, sort_keys=False).encode())
        return path

    def start(self) -> None:
        """Start both processes and return when the API answers, usually after 3 to 4 s.

        Raises BinariesUnavailable and ControlPlaneFailed; then nothing is left behind.
        """
        with self._changing, contextlib.ExitStack() as undo:
            if self._running is not None:
                raise ControlPlaneFailed("The control plane runs already.")
            programs = self._programs or binaries.find()
            if programs is None:
                raise binaries.BinariesUnavailable(
                    "There is no kube-apiserver and etcd on this machine: `python -m passmuster.sandbox.binaries`"
                    " fetches or builds them once."
                )
            folder = undo.enter_context(_own_folder())
            _write_certificates(folder)
            _write_private(folder / "tokens.csv", self._token_file())
            tls = ssl.create_default_context(cafile=folder / "ca.crt")
            spawner = undo.enter_context(ThreadPoolExecutor(max_workers=1, thread_name_prefix="control-plane"))
            site = _Site(folder, programs, spawner, tls, self._tokens[ADMIN], self._arguments)
            etcd = site.start_etcd()
            undo.callback(etcd.stop)
            running = _Running(site, etcd, *site.start_apiserver_somewhere())
            undo.callback(running.stop_apiserver)
            self._owner = os.getpid()
            atexit.register(self._at_exit)
            self._running, self._undo = running, undo.pop_all()

    def stop(self) -> None:
        """End both processes and remove the folder; does nothing when nothing runs."""
        with self._changing:
            if self._running is None:
                return
            try:
                self._undo.close()
            finally:
                self._running = None
                atexit.unregister(self._at_exit)

    def restart_apiserver(self, *, abruptly: bool = False) -> None:
        """Stop the API server and start it on the same port with the same etcd; with `abruptly`, by SIGKILL.

        Open watches end, connections are refused for about 2 s, and no object is lost.
        """
        with self._changing:
            state = self._state()
            state.apiserver.stop(abruptly=abruptly)
            deadline = time.monotonic() + STOP_SECONDS
            while True:
                try:
                    state.apiserver = state.site.start_apiserver(state.port)
                except _PortTaken:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)
                else:
                    return

    def _state(self) -> _Running:
        if self._running is None:
            raise ControlPlaneFailed("The control plane does not run.")
        return self._running

    def _at_exit(self) -> None:
        if os.getpid() == self._owner:  # a forked child inherits the handler, and these are not its processes
            self.stop()

    def _token_file(self) -> bytes:
        lines = io.StringIO()
        rows = csv.writer(lines, lineterminator="\n")
        for user, groups in self._groups.items():
            rows.writerow([self._tokens[user], user, f"sandbox:{user}", ",".join(groups)])
        return lines.getvalue().encode()


def _etcd_command(programs: binaries.Binaries, folder: Path) -> list[str]:
    clients, peers = f"unix://{folder}/etcd.sock", f"unix://{folder}/peer.sock"
    return [
        str(programs.etcd),
        "--name=sandbox",
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=sandbox={peers}",
        "--unsafe-no-fsync",  # the data ends with the process
        "--log-level=error",
    ]


def _apiserver_command(programs: binaries.Binaries, folder: Path, port: int) -> list[str]:
    return [
        str(programs.kube_apiserver),
        f"--etcd-servers=unix://{folder}/etcd.sock",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",  # else it looks for a default route and fails without one
        "--endpoint-reconciler-type=none",  # no pod reaches the API through the service `kubernetes`
        f"--secure-port={port}",
        f"--tls-cert-file={folder}/server.crt",
        f"--tls-private-key-file={folder}/server.key",
        f"--cert-dir={folder}",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/service-accounts.key",
        f"--service-account-signing-key-file={folder}/service-accounts.key",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",  # it waits for service accounts that nobody creates here
        "--profiling=false",
        "--shutdown-watch-termination-grace-period=1s",  # else one open watch delays the end by a minute
    ]


def _ready_or_ended(process: _Process, ready: Callable[[], bool]) -> _Process:
    """The process when it is ready; when it does not get there, or we are interrupted, it is ended first."""
    with contextlib.ExitStack() as undo:
        undo.callback(process.stop, abruptly=True)
        process.await_ready(ready)
        undo.pop_all()
    return process


def _environment() -> dict[str, str]:
    """Ours without what would configure etcd or send loopback traffic to a proxy."""
    proxies = {"http_proxy", "https_proxy", "all_proxy"}
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ETCD_") and name.lower() not in proxies
    }


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def _get_succeeds(port: int, tls: ssl.SSLContext, token: str, path: str) -> bool:
    # http.client rather than urllib, which would ask a configured proxy for 127.0.0.1.
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=tls)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    """A port that can be bound now; somebody may still take it before the API server does."""
    while True:
        port = random.SystemRandom().randrange(*_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """A private folder that holds a lock of ours while it exists; first removes those whose owners were killed."""
    parent = Path(tempfile.gettempdir())
    if len(os.fsencode(parent)) > _LONGEST_PARENT:
        parent = Path("/tmp")
    _remove_orphans(parent)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=parent))
    claim = folder / "claim"
    with claim.open("w") as lock:  # until the folder is gone
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            claim.rename(folder / _OWNER)  # nobody ever sees it unlocked while we live
            yield folder
        finally:
            shutil.rmtree(folder)


def _remove_orphans(parent: Path) -> None:
    for claim in parent.glob(f"{_FOLDER}*/{_OWNER}"):
        # Not ours, or gone meanwhile, or locked, which means that its owner lives.
        with contextlib.suppress(PermissionError, FileNotFoundError, BlockingIOError), claim.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if claim.parent.lstat().st_uid == os.getuid():
                shutil.rmtree(claim.parent, ignore_errors=True)  # another start may be removing it too


def _write_private(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - of a descriptor
        file.write(content)


def _write_certificates(folder: Path) -> None:
    """An authority of our own, the server certificate it signs for loopback, and the key of service account tokens."""
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "passmuster sandbox")])
    signed_by_itself = _certificate(issuer, issuer, authority.public_key(), authority.public_key())
    root = signed_by_itself.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(_key_usage(signs_certificates=True), critical=True)

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    leaf = _certificate(subject, issuer, server.public_key(), authority.public_key())
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_key_usage(signs_certificates=False), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    leaf = leaf.add_extension(x509.SubjectAlternativeName(names), critical=False)

    pem = serialization.Encoding.PEM
    _write_private(folder / "ca.crt", root.sign(authority, hashes.SHA256()).public_bytes(pem))
    _write_private(folder / "server.crt", leaf.sign(authority, hashes.SHA256()).public_bytes(pem))
    _write_private(folder / "server.key", _key(server))
    _write_private(folder / "service-accounts.key", _key(ec.generate_private_key(ec.SECP256R1())))


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    """What both certificates have, including the key identifiers that Python 3.13 insists on."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key(key: ec.EllipticCurvePrivateKey) -> bytes:
    # The traditional form: out of the other one kube-apiserver reads no public key to verify its tokens with.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
