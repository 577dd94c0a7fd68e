"""The operator's HTTP port: /healthz, /readyz, /metrics and, where a token file is given, POST /alerts.

Served by threads of their own, so that it answers whatever the watches and the workers do.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from passmuster import __version__
from passmuster.handlers.alerts import Receiver, length_of
from passmuster.model.errors import UserError

Answer = Callable[[], str | None]
"""None while all is well, else one sentence about what is wrong."""

Exposed = Callable[[str], tuple[bytes, str]]
"""The metrics for an Accept header, and their content type."""

MOST_DRAINED = 4 * 1024 * 1024
"""Bytes of a refused body that are read and forgotten, so that the sender sees the refusal."""


class Port:
    """The HTTP server; `address` is HOST:PORT, port 0 picks a free one."""

    def __init__(
        self, address: str, *, health: Answer, readiness: Answer, metrics: Exposed, alerts: Receiver | None
    ) -> None:
        host, _, port = address.rpartition(":")
        if not port.isdigit():
            raise UserError(f"{address!r} is not HOST:PORT, for example 0.0.0.0:8080")
        handler = _handler(health, readiness, metrics, alerts)
        try:
            self._server = _Server((host.strip("[]") or "0.0.0.0", int(port)), handler)
        except OSError as error:
            raise UserError(f"the address {address} cannot be served: {error.strerror}; choose another port") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def url(self) -> str:
        """Where the port answers."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the five of the standard library reset connections in a flood

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody who does not wait for the answer, as a scrape that ran out of time, is no fault of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(
    health: Answer, readiness: Answer, metrics: Exposed, alerts: Receiver | None
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = f"passmuster/{__version__}"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, *metrics(",".join(self.headers.get_all("Accept", []))))
            elif path in ("/healthz", "/readyz"):
                fault = health() if path == "/healthz" else readiness()
                self._say(200 if fault is None else 503, fault or "ok")
            else:
                self._say(404, "there are /healthz, /readyz, /metrics and POST /alerts")

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            if self.path.partition("?")[0] != "/alerts" or alerts is None:
                self._say(404, "alerts are taken at /alerts, where the operator was given --alerts-token-file")
                return
            self.close_connection = True
            headers = {name.title(): value for name, value in self.headers.items()}
            left = min(length_of(headers) or 0, MOST_DRAINED)

            def read(size: int) -> bytes:
                nonlocal left
                left -= size
                return self.rfile.read(size)

            self._say(*alerts.receive(headers, read))
            self.wfile.flush()
            while left > 0 and (rest := self.rfile.read(min(left, 65536))):
                left -= len(rest)  # a body that nobody reads would reset the connection before its answer is seen

        def _say(self, code: int, text: str) -> None:
            self._answer(code, f"{text}\n".encode(), "text/plain; charset=utf-8")

        def _answer(self, code: int, body: bytes, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Requests are counted, not logged."""

    return Handler
