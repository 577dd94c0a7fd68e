"""Spans: what the parts of a turn took and how they ended, for whoever traces them.

Who does the work opens spans through this port; `handlers.otlp` sends them to a collector, and where nobody asked for
that `OFF` does nothing. A span names what was done. It never holds what was asked for, what was answered, or the
message of an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

Value = str | int | float | Sequence[str]
Attributes = Mapping[str, Value]
"""What is told of a span: names of OpenTelemetry where it has one, else with the prefix `passmuster.`."""

ACCOUNT_ID = "passmuster.account_id"
ACCOUNT_IDS = "passmuster.account_ids"
OUTCOME = "passmuster.outcome"
TRIGGER = "passmuster.trigger"


class Span(Protocol):
    """A part of a trace that is under way."""

    @property
    def trace_id(self) -> str:
        """The id of the trace, 32 hexadecimal digits; "" where nothing is recorded, so that no id leads nowhere."""

    def note(self, attributes: Attributes, /) -> None:
        """Tells more of it."""

    def fail(self, kind: str, /) -> None:
        """It did not end well; `kind` is the class or the code of the error."""

    def end(self) -> None:
        """It has ended, now."""


class Tracer(Protocol):
    """Opens spans. Thread-safe; what is under way is a matter of the context (`contextvars`)."""

    def trace(self, name: str, attributes: Attributes, /) -> AbstractContextManager[Span]:
        """A new trace, to which belongs what is opened within. An exception that leaves it is told by its class."""

    def span(self, name: str, attributes: Attributes, /) -> AbstractContextManager[Span]:
        """A part of what is under way; nothing where no trace is."""

    def request(self, name: str, attributes: Attributes, /) -> Span:
        """A request to another system, part of what is under way; who sends it has to end it."""

    def current(self) -> Span:
        """What is under way."""

    def close(self) -> None:
        """Hands over what was recorded, if that takes no longer than a moment."""


class _Off:
    """A tracer and its only span, which record nothing."""

    trace_id = ""

    def note(self, attributes: Attributes, /) -> None:
        """Nothing."""

    def fail(self, kind: str, /) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def trace(self, *_: object) -> _Off:
        """Nothing."""
        return self

    span = request = trace

    def current(self) -> _Off:
        """Nothing."""
        return self

    def close(self) -> None:
        """Nothing."""

    def __enter__(self) -> _Off:
        return self

    def __exit__(self, *_: object) -> None:
        return None


OFF: Tracer = _Off()
"""Where nobody asked for traces."""
NOTHING: Span = _Off()
"""What is under way where nothing is."""
