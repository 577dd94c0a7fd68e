"""Sends spans to a collector by OTLP over HTTP: the one module that imports OpenTelemetry, an extra.

`tracing` imports it when the environment names an endpoint. The provider is this process's own and not OpenTelemetry's
global one, so that no library adds spans of its own with what we would not tell. Endpoint, headers, sampling, limits
and batches are read from the environment by OpenTelemetry itself. An exporter that finds nobody loses spans and holds
up nothing.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from types import TracebackType

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from passmuster import __version__
from passmuster.model.trace import NOTHING, OFF, Attributes, Span

LONGEST_CLOSE = 2.0
"""Seconds for which the end of the process waits for a collector."""


def tracer(instance: str) -> OtlpTracer:
    """A tracer that sends to the collector of the environment. Raises ValueError for a variable out of range."""
    told = {"service.name": "passmuster", "service.version": __version__, "service.instance.id": instance}
    resource = Resource.create({**told, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtlpTracer(provider)


class _Recorded:
    """A span of OpenTelemetry; as a context manager what is under way."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._token: object = None

    @property
    def trace_id(self) -> str:
        """The id of a trace that is sampled."""
        context = self._span.get_span_context()
        return trace.format_trace_id(context.trace_id) if context.trace_flags.sampled else ""

    def note(self, attributes: Attributes, /) -> None:
        """Sets attributes."""
        self._span.set_attributes(attributes)

    def fail(self, kind: str, /) -> None:
        """The status is ERROR, without the message of the error."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(trace.StatusCode.ERROR)

    def end(self) -> None:
        """Ends it."""
        self._span.end()

    def __enter__(self) -> Span:
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        contexts.detach(self._token)  # type: ignore[arg-type]  # the token of `attach`, which has no public type
        if kind is not None:
            self.fail(kind.__name__)
        self.end()


class OtlpTracer:
    """The port on OpenTelemetry."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("passmuster", __version__)

    def trace(self, name: str, attributes: Attributes, /) -> _Recorded:
        """A root span."""
        return _Recorded(self._tracer.start_span(name, contexts.Context(), attributes=attributes))

    def span(self, name: str, attributes: Attributes, /) -> AbstractContextManager[Span]:
        """A span within the one under way."""
        if not trace.get_current_span().get_span_context().is_valid:
            return OFF.span(name, attributes)
        return _Recorded(self._tracer.start_span(name, attributes=attributes))

    def request(self, name: str, attributes: Attributes, /) -> Span:
        """A span of the kind CLIENT within the one under way."""
        if not trace.get_current_span().get_span_context().is_valid:
            return NOTHING
        return _Recorded(self._tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes))

    def current(self) -> Span:
        """The span of the context."""
        span = trace.get_current_span()
        return _Recorded(span) if span.get_span_context().is_valid else NOTHING

    def close(self) -> None:
        """Sends what is left, and leaves a collector that does not answer behind."""
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-end", daemon=True)
        ending.start()
        ending.join(timeout=LONGEST_CLOSE)
