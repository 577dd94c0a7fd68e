"""The HTTP server of the simulated AWS: loopback only, keep-alive, quiet, and able to break a connection.

werkzeug's server closes every connection and sends whole answers; the engine's tests need thousands of requests over
kept connections and answers that stop in the middle. simulated_aws.py starts it, front.py decides what it sends.
"""

import io
import socket
import threading
from typing import Any, Protocol

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.wsgi import get_input_stream

from passmuster.sandbox.emulation import wire


class Dropped(Exception):
    """The connection is to be closed after `sent`, without a whole answer."""

    def __init__(self, sent: bytes = b"") -> None:
        super().__init__(len(sent))
        self.sent = sent


class Answering(Protocol):
    def answer(self, environ: dict[str, Any], body: bytes) -> wire.Answer: ...


class LoopbackServer(ThreadedWSGIServer):  # type: ignore[misc]  # werkzeug is not typed here
    """Threads per connection on 127.0.0.1, on a port of the system's choice."""

    def __init__(self, front: Answering) -> None:
        super().__init__("127.0.0.1", 0, app=None, handler=_Handler)
        self.front = front
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, name="simulated-aws", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the listener and every kept connection."""
        self.shutdown()
        self._thread.join()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _hang_up(connection)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)


class _Handler(MotoRequestHandler):  # type: ignore[misc]  # moto is not typed here
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def run_wsgi(self) -> None:
        if self.headers.get("Expect", "").lower().strip() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        environ = self.make_environ()
        body = get_input_stream(environ, safe_fallback=True).read()
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        try:
            answer = self.server.front.answer(environ, body)
        except Dropped as dropped:
            self._drop(dropped)
        else:
            self._send(answer)

    def _send(self, answer: wire.Answer) -> None:
        self.wfile.write(head(answer, size=len(answer.body)))
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def _drop(self, dropped: Dropped) -> None:
        self.close_connection = True
        if dropped.sent:
            self.wfile.write(dropped.sent)
            self.wfile.flush()
        _hang_up(self.connection)

    def log(self, *_: Any) -> None:
        """No access log."""


def head(answer: wire.Answer, *, size: int | None) -> bytes:
    """Status line and headers; `size` None leaves Content-Length out, which ends the body with the connection."""
    kept = [(n, v) for n, v in answer.headers if n.lower() not in ("content-length", "connection", "status", "date")]
    framing = ("Connection", "close") if size is None else ("Content-Length", _length(answer, size))
    lines = [f"HTTP/1.1 {answer.status} {'OK' if answer.ok else 'Error'}", *(f"{n}: {v}" for n, v in [*kept, framing])]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _length(answer: wire.Answer, size: int) -> str:
    """An object's HEAD has no body but says how long it would be."""
    stated = {name.lower(): value for name, value in answer.headers}.get("content-length")
    return stated if stated and not size else str(size)


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster
