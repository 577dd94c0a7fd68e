"""Counts of observations in buckets, because what is counted must not depend on who exposes it.

Used by `fleet` and `queue`; the exposition turns it into Prometheus' own shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation with the trace that shows what took so long; `at` is a Unix time in seconds."""

    trace_id: str
    value: float
    at: float


@dataclass(slots=True)
class Histogram:
    """Cumulative bucket counts with sum, as Prometheus wants them; the last exemplar of buckets, by their bounds."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    count: int = 0
    exemplars: dict[str, Exemplar] = field(default_factory=dict)

    def observe(self, seconds: float, trace_id: str = "", at: float = 0.0) -> None:
        """Counts one observation; with the id of a trace it is an exemplar of the smallest bucket that holds it."""
        if not self.counts:
            self.counts = [0] * len(self.bounds)
        for position, bound in enumerate(self.bounds):
            if seconds <= bound:
                self.counts[position] += 1
        self.total += seconds
        self.count += 1
        if trace_id:
            bucket = next((repr(bound) for bound in self.bounds if seconds <= bound), "+Inf")
            self.exemplars[bucket] = Exemplar(trace_id, seconds, at)

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and cumulative counts, +Inf last."""
        counts = self.counts or [0] * len(self.bounds)
        return [*((repr(b), float(c)) for b, c in zip(self.bounds, counts, strict=True)), ("+Inf", float(self.count))]
