"""A collector on loopback for the tests of tracing: it takes OTLP over HTTP, and decodes what it was sent."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

NAME, ACCOUNT, REGION = r"[a-z0-9.-]+", r"\d{12}", r"[a-z]{2}(-[a-z]+)+-\d"
TOLD: dict[str, dict[str, str]] = {
    "turn": {
        "passmuster.policy_namespace": NAME,
        "passmuster.policy": NAME,
        "passmuster.trigger": "start|due|retry|request|alert|[A-Z][A-Za-z]+",
        "passmuster.account_ids": ACCOUNT,
    },
    "inspection": {"passmuster.account_id": ACCOUNT},
    "collect": {"passmuster.account_id": ACCOUNT},
    "assess": {"passmuster.account_id": ACCOUNT},
    "plan": {"passmuster.account_id": ACCOUNT},
    "remediation": {
        "passmuster.account_id": ACCOUNT,
        "passmuster.remediation": NAME,
        "passmuster.remediation_name": NAME,
        "passmuster.way": "[A-Z][A-Za-z]+",
        "passmuster.state": "[A-Z][A-Za-z]+",
        "cloud.region": REGION,
    },
    "SERVICE.OPERATION": {
        "rpc.system": "aws-api",
        "rpc.service": "[a-z0-9-]+",
        "rpc.method": "[A-Z][A-Za-z0-9]+",
        "cloud.region": REGION,
        "passmuster.outcome": "[a-z]+",
    },
    "METHOD RESOURCE": {
        "http.request.method": "POST|PATCH|DELETE",
        "passmuster.resource": "[a-z]+(/status)?",
        "passmuster.outcome": "[a-z]+",
    },
}
"""Every attribute that a kind of span has, and how its whole value is written: nothing else has room in it."""


@dataclass(frozen=True)
class Received:
    """One span as a collector sees it. Times are seconds since the epoch."""

    name: str
    trace_id: str
    span_id: str
    parent: str
    kind: str
    begun: float
    ended: float
    failed: bool
    attributes: Mapping[str, Any]

    @property
    def sort(self) -> str:
        """Which of `TOLD` it is."""
        if "rpc.system" in self.attributes:
            return "SERVICE.OPERATION"
        return "METHOD RESOURCE" if "http.request.method" in self.attributes else self.name


@dataclass
class Receiver:
    """What was sent so far; `raw` is every body as it came, `headers` those of the last request."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    raw: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """One request of an exporter."""
        assert path == "/v1/traces"
        assert headers["content-type"] == "application/x-protobuf"
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.raw.append(plain)
        self.headers = dict(headers)
        for of_resource in ExportTraceServiceRequest.FromString(plain).resource_spans:
            self.resource = _attributes(of_resource.resource.attributes)
            for scope in of_resource.scope_spans:
                for span in scope.spans:
                    self.notes += [*(event.name for event in span.events), *filter(None, [span.status.message])]
                    self.spans.append(_received(span))

    def named(self, name: str) -> list[Received]:
        """The spans of a name, in the order in which they began."""
        return sorted((span for span in list(self.spans) if span.name == name), key=lambda span: span.begun)

    def until(self, good: Callable[[Receiver], Any], seconds: float = 30.0) -> Any:
        """What `good` says once it is content."""
        deadline = time.monotonic() + seconds
        while not (found := good(self)):
            assert time.monotonic() < deadline, sorted({span.name for span in self.spans})
            time.sleep(0.05)
        return found

    def below(self, parent: Received) -> list[Received]:
        """The spans right below one, in the order in which they began."""
        found = (span for span in list(self.spans) if span.parent == parent.span_id)
        return sorted(found, key=lambda span: span.begun)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A collector that listens."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.take(
                self.path,
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(int(self.headers["Content-Length"])),
            )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by the class it overrides
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _received(span: Span) -> Received:
    return Received(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        begun=span.start_time_unix_nano / 1e9,
        ended=span.end_time_unix_nano / 1e9,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        attributes=_attributes(span.attributes),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    if value.HasField("array_value"):
        return [_value(one) for one in value.array_value.values]
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind is not None else None
