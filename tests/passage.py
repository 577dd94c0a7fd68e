"""A passage on loopback between a process and a server, on which the process can be killed at a named moment.

The process speaks plain HTTP to the passage, which hands every request on, to a server with TLS or without, and every
answer back. A `Trap` says at which request the process dies: before the server has got it, before the process hears the
answer, or when an answer says something. No hook in the process is needed, and nothing of it has an effect after that.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader


@dataclass(frozen=True, slots=True)
class Message:
    """One request as it passes."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Trap:
    """Kills the process once, at the first request that fits.

    With `answered` the server has got the request and has answered it, and the process does not hear of it; without,
    the request never arrives. `saying` is what the answer must hold, where that decides. `sprung` is set afterwards.
    """

    point: str
    fits: Callable[[Message], bool]
    answered: bool = False
    saying: bytes = b""
    sprung: bool = False


class Fate:
    """Of one process, whatever passages it speaks through: it dies once, and then nothing of it passes any more.

    `kill` ends the process and returns when it has ended.
    """

    def __init__(self, traps: list[Trap], kill: Callable[[], object]) -> None:
        self._traps, self._kill = traps, kill
        self._lock = threading.Lock()
        self._over = False

    def meets(self, fits: Callable[[Trap], bool]) -> bool:
        """Whether it is over with the process: at the first trap that is set and that fits, or already."""
        with self._lock:
            trap = next((trap for trap in self._traps if not trap.sprung and fits(trap)), None)
            if trap is not None and not self._over:
                self._over = True
                self._kill()
                trap.sprung = True
            return self._over


class Passage:
    """Listens on loopback and hands on to the server at `host` and `port`."""

    def __init__(self, host: str, port: int, fate: Fate, tls: ssl.SSLContext | None = None) -> None:
        self._server, self._tls = (host, port), tls
        self._fate = fate
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, name="passage", daemon=True).start()

    def close(self) -> None:
        """Nothing passes any more."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                process, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._hand_on, args=(process,), name="passage", daemon=True).start()

    def _hand_on(self, process: socket.socket) -> None:
        """One connection, request by request, until either side ends it or the process dies."""
        with process, contextlib.suppress(OSError, ValueError), self._connected() as server:
            for connection in (process, server):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked, told = process.makefile("rb"), server.makefile("rb")
            while head := _head(asked):
                body = asked.read(_length(_headers(head)))
                method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
                message = Message(method, path, _headers(head), body)
                if self._fate.meets(lambda trap, seen=message: not trap.answered and trap.fits(seen)):
                    return
                server.sendall(head + body)
                if not self._answered(message, told, process):
                    return

    def _answered(self, message: Message, told: BufferedReader, process: socket.socket) -> bool:
        """Hands the answer back; whether the connection goes on."""
        head = _head(told)
        if not head:
            return False
        if _headers(head).get("transfer-encoding") == "chunked":
            if self._fate.meets(lambda trap: trap.answered and not trap.saying and trap.fits(message)):
                return False
            process.sendall(head)
            for chunk in _chunks(told):
                process.sendall(chunk)
            return True
        bodiless = message.method == "HEAD" or head.split(b" ", 2)[1] in (b"204", b"304")
        body = b"" if bodiless else told.read(_length(_headers(head)))
        if self._fate.meets(lambda trap: trap.answered and trap.saying in body and trap.fits(message)):
            return False
        process.sendall(head + body)
        return True

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(self._server, timeout=400) as plain:
            if self._tls is None:
                yield plain
                return
            with self._tls.wrap_socket(plain, server_hostname=self._server[0]) as secured:
                yield secured


def _head(reader: BufferedReader) -> bytes:
    """Everything up to the empty line; empty at the end of the connection."""
    lines = []
    while line := reader.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _headers(head: bytes) -> dict[str, str]:
    """By name in small letters."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _length(headers: Mapping[str, str]) -> int:
    return int(headers.get("content-length", 0))


def _chunks(reader: BufferedReader) -> Iterator[bytes]:
    """The chunks of a body with their frames, the last one and what follows it included."""
    while size := reader.readline():
        length = int(size.split(b";")[0], 16)
        if length == 0:
            yield size + reader.readline()
            return
        yield size + reader.read(length + 2)
