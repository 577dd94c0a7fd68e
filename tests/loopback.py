"""An HTTP server on loopback that answers each request with what a function says.

A tiny AWS for the tests that must see real bytes on a real socket, and an exporter for a real Prometheus.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """The operation of a JSON protocol: the end of X-Amz-Target."""
        return self.headers.get("X-Amz-Target", "").rpartition(".")[2]

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of a JSON protocol."""
        found: dict[str, Any] = json.loads(self.body or b"{}")
        return found


@dataclass(frozen=True)
class Said:
    """One answer. `length` is the Content-Length to declare, if another than that of the body; -1 for none."""

    body: bytes = b"{}"
    status: int = 200
    content_type: str = "application/x-amz-json-1.1"
    length: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False


def said(answer: Mapping[str, Any], status: int = 200) -> Said:
    """An answer in JSON."""
    return Said(json.dumps(answer).encode(), status)


def mistake(code: str, status: int = 400, message: str = "") -> Said:
    """An error in JSON."""
    return said({"__type": code, "message": message or code}, status)


@contextmanager
def loopback(answer: Callable[[Asked], Said]) -> Iterator[str]:
    """The URL of a server that answers so while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = answer(Asked(self.command, self.path, dict(self.headers.items()), body))
            if reply.hang_up:
                self.close_connection = True
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            length = len(reply.body) if reply.length is None else reply.length
            if length >= 0:
                self.send_header("Content-Length", str(length))
            if length != len(reply.body):
                self.send_header("Connection", "close")
                self.close_connection = True
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_HEAD = do_POST  # noqa: N815  # the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """A client that went away is no error of the server's."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
