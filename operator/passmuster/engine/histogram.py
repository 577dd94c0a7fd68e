"""Counts of observations in buckets, because what is counted must not depend on who exposes it.

Used by `fleet` and `queue`; the exposition turns it into Prometheus' own shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Histogram:
    """Cumulative bucket counts with sum, as Prometheus wants them."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    count: int = 0

    def observe(self, seconds: float) -> None:
        """Counts one observation."""
        if not self.counts:
            self.counts = [0] * len(self.bounds)
        for position, bound in enumerate(self.bounds):
            if seconds <= bound:
                self.counts[position] += 1
        self.total += seconds
        self.count += 1

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and cumulative counts, +Inf last."""
        counts = self.counts or [0] * len(self.bounds)
        return [*((repr(b), float(c)) for b, c in zip(self.bounds, counts, strict=True)), ("+Inf", float(self.count))]
