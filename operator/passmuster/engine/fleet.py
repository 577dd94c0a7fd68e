"""What the operator knows in memory, for metrics and health: the figures of every report, and the counters.

Figures are built from a report's status and from nothing else, so that a restarted operator rebuilds exactly what it
exported before from the reports in the cluster.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from passmuster.engine.histogram import Histogram
from passmuster.engine.ports import Key
from passmuster.model.grant import Standing
from passmuster.model.verdict import Status

BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 45.0, 90.0, 180.0, 360.0)
REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REMEDIATION_BUCKETS = (10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0, 604800.0)

OUTCOMES = ("Applied", "RolledBack", "Failed", "Undone")
"""States in which a remediation that was begun comes to its end."""


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
class Expiry:
    """A waiver or an attestation that counts, and when it ends; `kind` is waivers or attestations."""

    kind: str
    name: str
    check: str
    at: datetime


@dataclass(frozen=True, slots=True, order=True)
class RemediationFigure:
    """One remediation: whose it is, its phase and its state."""

    namespace: str
    policy: str
    account_id: str
    phase: str
    state: str


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
    expiries: tuple[Expiry, ...] = ()
    failing_since: tuple[tuple[str, datetime], ...] = ()
    fix_cost: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, policy: Key, body: Mapping[str, Any], target: float | None) -> Figures:
        """From a ReadinessReport object."""
        status = body.get("status") or {}
        inspected = (status.get("inspection") or {}).get("startedAt")
        costs: dict[str, float] = {}
        fixes: dict[str, float] = {}
        for step in status.get("plan") or ():
            if step.get("blocked"):
                continue
            dollars = float(step.get("monthlyCost") or 0)
            costs[step["phase"]] = costs.get(step["phase"], 0.0) + dollars
            for check in step.get("fixes") or ():
                fixes[check] = fixes.get(check, 0.0) + dollars
        failing = [c for c in status.get("checks") or () if c["status"] == Status.FAIL and not c.get("disabled")]
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
            expiries=tuple(
                Expiry(kind, one["name"], one["check"], datetime.fromisoformat(one["expiresAt"]))
                for kind in ("waivers", "attestations")
                for one in status.get(kind) or ()
                if one["state"] == Standing.IN_FORCE
            ),
            failing_since=tuple((c["id"], datetime.fromisoformat(c["since"])) for c in failing if c.get("since")),
            fix_cost=tuple((c["id"], fixes[c["id"]]) for c in failing if c["id"] in fixes),
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
        self.remediations = {outcome: Histogram(REMEDIATION_BUCKETS) for outcome in OUTCOMES}
        self.notifications: Counter[str] = Counter()
        self.last_notification: datetime | None = None
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

    def inspected(self, seconds: float, trace_id: str = "", at: float = 0.0) -> None:
        """An inspection ended with a report, at a Unix time; `trace_id` is "" where it was not traced."""
        with self.lock:
            self.inspections.observe(seconds, trace_id, at)

    def failed(self, reason: str) -> None:
        """An inspection ended without a report."""
        with self.lock:
            self.inspection_failures[reason] += 1

    def remediated(self, outcome: str, seconds: float) -> None:
        """A remediation came to one of `OUTCOMES`, so many seconds after it, or its undoing, was permitted."""
        with self.lock:
            self.remediations[outcome].observe(seconds)

    def awaits_notifications(self, outcomes: Sequence[str], now: datetime) -> None:
        """Notifications of Alertmanager are taken from now on, with one of these outcomes each."""
        with self.lock:
            self.notifications.update(dict.fromkeys(outcomes, 0))
            self.last_notification = now

    def notified(self, outcome: str, at: datetime | None) -> None:
        """A notification was answered; `at` is when, if it was taken."""
        with self.lock:
            self.notifications[outcome] += 1
            self.last_notification = at or self.last_notification

    def wrote(self) -> None:
        """A status was written."""
        with self.lock:
            self.status_writes += 1


class Fleet:
    """The figures of every report, and the state of every remediation. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._figures: dict[Key, Figures] = {}
        self._remediations: dict[Key, RemediationFigure] = {}

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

    def put_remediation(self, key: Key, figure: RemediationFigure) -> RemediationFigure | None:
        """Replaces what is known of a remediation; returns what was known of it before."""
        with self._lock:
            before = self._remediations.get(key)
            self._remediations[key] = figure
            return before

    def drop_remediation(self, key: Key) -> None:
        """The remediation is gone."""
        with self._lock:
            self._remediations.pop(key, None)

    def figures(self) -> list[Figures]:
        """A copy for a scrape."""
        with self._lock:
            return list(self._figures.values())

    def remediations(self) -> Counter[RemediationFigure]:
        """How many remediations of a policy and account are in which phase and state."""
        with self._lock:
            return Counter(self._remediations.values())
