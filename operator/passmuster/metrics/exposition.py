"""A custom collector that reads the operator's memory at scrape time, so that a series cannot outlive its object."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from passmuster import __version__
from passmuster.engine.cache import Cache
from passmuster.engine.declared import credentials, declared
from passmuster.engine.fleet import Counters, Figures, Fleet
from passmuster.engine.histogram import Histogram
from passmuster.engine.queue import WorkQueue
from passmuster.metrics import contract
from passmuster.metrics.contract import Metric
from passmuster.model.verdict import NO_LEVEL, Phase, level_order

ELSEWHERE = (contract.LEVEL_TARGET, contract.LEVELS_MISSING, contract.INTERVAL, contract.REMEDIATIONS)
"""Metrics of a policy that do not come from a report."""

PLAIN, OPEN = "text/plain", "application/openmetrics-text"
"""The formats of an exposition; only the second has room for exemplars."""

LEVELS = (NO_LEVEL, *(phase.value for phase in Phase))


class Exposition(Collector):
    """Everything in `contract.CONTRACT`. A standby exports no figure of any account."""

    def __init__(
        self,
        cache: Cache,
        fleet: Fleet,
        counters: Counters,
        queue: WorkQueue[Any],
        *,
        leading: Callable[[], bool],
        canary_age: Callable[[], float],
        catalogue: str,
    ) -> None:
        self._cache = cache
        self._fleet = fleet
        self._counters = counters
        self._queue = queue
        self._leading = leading
        self._canary_age = canary_age
        self._catalogue = catalogue
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its content type: OpenMetrics for who accepts that at least as gladly as plain text."""
        gladness = _gladness(accept)
        if 0.0 < gladness.get(OPEN, 0.0) >= gladness.get(PLAIN, 0.0):
            text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def describe(self) -> Iterable[Any]:
        """Nothing is collected at registration."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Every family: those of the accounts while this process leads, then its own."""
        leads = self._leading()
        if leads:
            everything = self._fleet.figures()
            yield from self._accounts(everything)
            yield from self._declared(everything)
            yield _gauge(contract.REMEDIATIONS, self._remediations())
        yield from self._operator()
        yield _gauge(contract.LEADER, [((), float(leads))])
        yield _gauge(contract.CANARY, [((), self._canary_age())])
        yield _gauge(contract.BUILD, [((__version__, self._catalogue), 1.0)])

    def _accounts(self, everything: list[Figures]) -> Iterator[Any]:
        families = {
            metric.name: GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for metric in contract.CONTRACT
            if metric.labels[:3] == contract.POLICY_LABELS and metric not in ELSEWHERE
        }
        for figures in everything:
            labels = (figures.policy.namespace, figures.policy.name, figures.account_id)

            def add(metric: Metric, value: float | None, *more: str, labels: tuple[str, str, str] = labels) -> None:
                if value is not None:
                    families[metric.name].add_metric((*labels, *more), value)

            for level in LEVELS:
                add(contract.LEVEL, float(level == figures.level), level)
            add(contract.SCORE, _ratio(figures.score))
            add(contract.SCORE_TARGET, _ratio(figures.target))
            add(contract.COVERAGE, _ratio(figures.coverage))
            add(contract.CRITICAL, float(figures.critical_failing))
            for category, score in figures.categories.items():
                add(contract.CATEGORY, _ratio(score), category)
            for phase, complete in figures.phases.items():
                add(contract.PHASE, _ratio(complete), phase)
            for check in figures.checks:
                add(contract.CHECK, 1.0, check.id, check.category, check.severity, check.phase, check.status)
                for status, count in sorted(check.findings.items()):
                    add(contract.FINDINGS, float(count), check.id, status)
            for check_id, since in figures.failing_since:
                add(contract.FAILING_SINCE, since.timestamp(), check_id)
            for check_id, dollars in figures.fix_cost:
                add(contract.FIX_COST, dollars, check_id)
            add(contract.INSPECTED, figures.inspected_at.timestamp() if figures.inspected_at is not None else None)
            for ends in figures.expiries:
                metric = contract.WAIVER_EXPIRY if ends.kind == "waivers" else contract.ATTESTATION_EXPIRY
                add(metric, ends.at.timestamp(), ends.check, ends.name)
            for phase, dollars in sorted(figures.plan_cost.items()):
                add(contract.PLAN_COST, dollars, phase)
        yield from families.values()

    def _declared(self, everything: list[Figures]) -> Iterator[Any]:
        """What policies and accounts say of themselves, reports or no reports."""
        reached = {(f.policy.namespace, f.policy.name, f.account_id): level_order(f.level) for f in everything}
        missing: list[tuple[tuple[str, ...], float]] = []
        targets: list[tuple[tuple[str, ...], float]] = []
        intervals: list[tuple[tuple[str, ...], float]] = []
        for one in declared(self._cache):
            labels = (one.policy.namespace, one.policy.name, one.account_id)
            targets.append(((*labels, one.level), 1.0))
            if labels in reached:
                missing.append((labels, float(max(0, level_order(one.level) - reached[labels]))))
            if one.interval is not None:
                intervals.append((labels, one.interval))
        yield _gauge(contract.LEVEL_TARGET, targets)
        yield _gauge(contract.LEVELS_MISSING, missing)
        yield _gauge(contract.INTERVAL, intervals)
        known = [one for one in credentials(self._cache) if one.valid is not None]
        yield _gauge(contract.CREDENTIALS, (((one.account, one.account_id), float(one.valid or 0)) for one in known))

    def _remediations(self) -> Iterator[tuple[tuple[str, ...], float]]:
        for one, count in sorted(self._fleet.remediations().items()):
            yield (one.namespace, one.policy, one.account_id, one.phase, one.state), float(count)

    def _operator(self) -> Iterator[Any]:
        counters, statistics = self._counters, self._queue.statistics
        with counters.lock:
            yield _histogram(contract.INSPECTION_SECONDS, [((), counters.inspections)])
            yield _histogram(
                contract.REMEDIATION_SECONDS, [((k,), h) for k, h in sorted(counters.remediations.items())]
            )
            failures = [((reason,), float(n)) for reason, n in sorted(counters.inspection_failures.items())]
            yield _counter(contract.INSPECTION_FAILURES, failures)
            yield _counter(contract.REQUESTS, [(key, float(n)) for key, n in sorted(counters.requests.items())])
            yield _counter(contract.THROTTLES, [((key,), float(n)) for key, n in sorted(counters.throttles.items())])
            yield _histogram(contract.REQUEST_SECONDS, [((s,), h) for s, h in sorted(counters.seconds.items())])
            yield _counter(contract.API_COST, [((), counters.cost)])
            yield _counter(contract.ALERTS, [((key,), float(n)) for key, n in sorted(counters.notifications.items())])
            last, writes = counters.last_notification, float(counters.status_writes)
        yield _gauge(contract.QUEUE_DEPTH, [((), float(self._queue.depth))])
        yield _counter(contract.QUEUE_ADDS, [((), float(statistics.adds))])
        yield _counter(contract.QUEUE_RETRIES, [((), float(statistics.retries))])
        yield _histogram(contract.QUEUE_SECONDS, [((), statistics.work)])
        yield _gauge(contract.QUEUE_OLDEST, [((), self._queue.oldest_due)])
        yield _gauge(contract.LAST_ALERT, [((), last.timestamp())] if last is not None else [])
        yield _counter(contract.STATUS_WRITES, [((), writes)])


Samples = Iterable[tuple[tuple[str, ...], float]]


def _gladness(accept: str) -> dict[str, float]:
    """How gladly each media type of an Accept header is taken, 0 to 1.

    >>> _gladness("application/openmetrics-text;version=1.0.0,text/plain;q=0.5,*/*;q=x")
    {'application/openmetrics-text': 1.0, 'text/plain': 0.5, '*/*': 0.0}
    """
    found: dict[str, float] = {}
    for part in accept.lower().split(","):
        kind, *parameters = (one.strip() for one in part.split(";"))
        given = next((one.removeprefix("q=") for one in parameters if one.startswith("q=")), "1")
        weight = float(given) if re.fullmatch(r"[01](\.\d{0,3})?", given) else 0.0
        found[kind] = max(found.get(kind, 0.0), weight)
    return found


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _gauge(metric: Metric, samples: Samples) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _counter(metric: Metric, samples: Samples) -> CounterMetricFamily:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, samples: Iterable[tuple[tuple[str, ...], Histogram]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, histogram in samples:
        family.add_metric(labels, [_bucket(histogram, *bucket) for bucket in histogram.buckets()], histogram.total)
    return family


def _bucket(histogram: Histogram, bound: str, count: float) -> tuple[str, float] | tuple[str, float, Exemplar]:
    found = histogram.exemplars.get(bound)
    if found is None:
        return bound, count
    return bound, count, Exemplar({"trace_id": found.trace_id}, found.value, found.at)
