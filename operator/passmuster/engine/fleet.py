"""What the operator knows in memory, for metrics and health: the figures of every report, and the counters.

Figures are built from a report's status and from nothing else, so that a restarted operator rebuilds exactly what it
exported before from the reports in the cluster.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from passmuster.engine.ports import Key

BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 45.0, 90.0, 180.0, 360.0)
REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class CheckFigure:
    """One check of one report: its labels, its status and how many findings have which status."""

    id: str
    category: str
    severity: str
    phase: str
    status: str
    findings: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers of one report. Percentages as in status; times are aware."""

    policy: Key
    account_id: str
    level: str
    score: float | None
    target: float | None
    coverage: float | None
    critical_failing: int
    categories: Mapping[str, float | None]
    phases: Mapping[str, float | None]
    checks: tuple[CheckFigure, ...]
    plan_cost: Mapping[str, float]
    inspected_at: datetime | None

    @classmethod
    def of(cls, policy: Key, body: Mapping[str, Any], target: float | None) -> Figures:
        """From a ReadinessReport object."""
        status = body.get("status") or {}
        inspected = (status.get("inspection") or {}).get("startedAt")
        costs: dict[str, float] = {}
        for step in status.get("plan") or ():
            if step.get("blocked"):
                continue
            costs[step["phase"]] = costs.get(step["phase"], 0.0) + float(step.get("monthlyCost") or 0)
        return cls(
            policy=policy,
            account_id=body["spec"]["accountId"],
            level=status.get("level", "None"),
            score=status.get("score"),
            target=target,
            coverage=status.get("coverage"),
            critical_failing=status.get("criticalFailing") or 0,
            categories={c["name"]: c.get("score") for c in status.get("categories") or ()},
            phases={p["name"]: p.get("complete") for p in status.get("phases") or ()},
            checks=tuple(_check(one) for one in status.get("checks") or ()),
            plan_cost=costs,
            inspected_at=datetime.fromisoformat(inspected) if inspected else None,
        )

    def seen(self, last_inspection: Mapping[str, Any]) -> Figures:
        """The figures of a stored report, which is not written again while nothing changes, as of the inspection that
        the policy's status tells of."""
        started = last_inspection.get("startedAt")
        moments = [datetime.fromisoformat(started)] if started else []
        if self.inspected_at is not None:
            moments.append(self.inspected_at)
        return replace(self, inspected_at=max(moments, default=None))


def _check(entry: Mapping[str, Any]) -> CheckFigure:
    found = Counter(finding["status"] for finding in entry.get("findings") or ())
    for status, more in (entry.get("counts") or {}).items():
        found[status] = more
    labels = (entry[name] for name in ("id", "category", "severity", "phase", "status"))
    return _figure(*labels, tuple(sorted(found.items())))


@lru_cache(maxsize=20_000)
def _figure(
    check: str, category: str, severity: str, phase: str, status: str, findings: tuple[tuple[str, int], ...]
) -> CheckFigure:
    """One object for all reports that say the same of a check; most of a fleet does."""
    return CheckFigure(check, category, severity, phase, status, MappingProxyType(dict(findings)))


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


class Counters:
    """Totals since the start. Thread-safe; implements the collector's observer."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.throttles: Counter[str] = Counter()
        self.seconds: dict[str, Histogram] = {}
        self.cost = 0.0
        self.inspections = Histogram(BUCKETS)
        self.inspection_failures: Counter[str] = Counter()
        self.status_writes = 0

    def request(self, service: str, operation: str, outcome: str, seconds: float) -> None:
        """One request was sent and answered, or failed."""
        with self.lock:
            self.requests[(service, operation, outcome)] += 1
            if outcome == "throttled":
                self.throttles[service] += 1
            self.seconds.setdefault(service, Histogram(REQUEST_BUCKETS)).observe(seconds)

    def billed(self, dollars: float) -> None:
        """AWS charges for a request."""
        with self.lock:
            self.cost += dollars

    def inspected(self, seconds: float) -> None:
        """An inspection ended with a report."""
        with self.lock:
            self.inspections.observe(seconds)

    def failed(self, reason: str) -> None:
        """An inspection ended without a report."""
        with self.lock:
            self.inspection_failures[reason] += 1

    def wrote(self) -> None:
        """A status was written."""
        with self.lock:
            self.status_writes += 1


class Fleet:
    """The figures of every report, and the state of every remediation. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._figures: dict[Key, Figures] = {}
        self._remediations: dict[Key, tuple[str, str]] = {}

    def put(self, report: Key, figures: Figures) -> None:
        """Replaces what is known of a report."""
        with self._lock:
            self._figures[report] = figures

    def drop(self, report: Key) -> None:
        """The report is gone, and its series with it."""
        with self._lock:
            self._figures.pop(report, None)

    def drop_policy(self, policy: Key) -> None:
        """The policy is gone, and the series of its reports with it, whenever the reports themselves go."""
        with self._lock:
            self._figures = {key: known for key, known in self._figures.items() if known.policy != policy}

    def put_remediation(self, key: Key, phase: str, state: str) -> None:
        """A remediation changed its state."""
        with self._lock:
            self._remediations[key] = (phase, state)

    def drop_remediation(self, key: Key) -> None:
        """The remediation is gone."""
        with self._lock:
            self._remediations.pop(key, None)

    def figures(self) -> list[Figures]:
        """A copy for a scrape."""
        with self._lock:
            return list(self._figures.values())

    def remediations(self) -> Counter[tuple[str, str]]:
        """How many remediations are in which phase and state."""
        with self._lock:
            return Counter(self._remediations.values())
