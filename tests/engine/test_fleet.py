"""What the operator knows in memory: figures of reports, states of remediations, totals; safe among threads."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reports
from passmuster.api.report import ReadinessReportStatus
from passmuster.assess.plan import Plan
from passmuster.engine.cache import Cache
from passmuster.engine.documents import report_document
from passmuster.engine.fleet import BUCKETS, Counters, Figures, Fleet, RemediationFigure
from passmuster.engine.histogram import Histogram
from passmuster.engine.ports import POLICIES, REMEDIATIONS, REPORTS, Key
from passmuster.model.verdict import Phase, Status
from replay import ACCOUNT, NOW

POLICY = Key(POLICIES, "shop", "shop")
REPORT = Key(REPORTS, "shop", f"shop-{ACCOUNT}")


def _stored(report: Any, plan: Plan | None = None) -> dict[str, Any]:
    """The object as the API server gives it back."""
    document = report_document(REPORT.name, "shop", "shop", report, plan)
    status = ReadinessReportStatus.model_validate(document["status"]).body()
    return dict(json.loads(json.dumps({**document, "status": status})))


def test_figures_are_those_of_the_report() -> None:
    results = [
        reports.result("https-redirect", reports.finding(80), reports.finding(81, Status.PASS)),
        reports.result("waf-enabled", reports.finding(1, Status.PASS), phase=Phase.FOUNDATION),
    ]
    report = reports.report(results)
    plan = Plan((reports.step("one", "1.00"), reports.step("two", "2.50")), ())
    figures = Figures.of(POLICY, _stored(report, plan), 90.0)
    assert (figures.policy, figures.account_id, figures.level) == (POLICY, ACCOUNT, report.level)
    assert (figures.score, figures.target, figures.coverage) == (report.score, 90.0, report.coverage)
    assert figures.critical_failing == report.critical_failing
    assert figures.plan_cost == {"Production": 3.5}
    assert figures.inspected_at == NOW
    redirect = next(c for c in figures.checks if c.id == "https-redirect")
    assert (redirect.status, redirect.findings) == ("Fail", {"Fail": 1, "Pass": 1})


def test_findings_that_a_report_no_longer_shows_are_still_counted() -> None:
    result = reports.result("https-redirect", *(reports.finding(n) for n in range(40)))
    figures = Figures.of(POLICY, _stored(reports.report([result])), None)
    assert figures.checks[0].findings == {"Fail": 40}


def test_a_report_without_a_status_has_no_figures_but_its_names() -> None:
    figures = Figures.of(POLICY, {"spec": {"accountId": ACCOUNT}}, None)
    assert (figures.level, figures.score, figures.checks, figures.inspected_at) == ("None", None, (), None)


def test_what_is_stored_gives_the_same_figures_as_what_was_inspected() -> None:
    report, plan = reports.from_fixtures()
    document = report_document(REPORT.name, "shop", "shop", report, plan)
    live = {**document, "status": ReadinessReportStatus.model_validate(document["status"]).body()}
    assert Figures.of(POLICY, live, 80.0) == Figures.of(POLICY, _stored(report, plan), 80.0)


def test_figures_go_with_their_report_and_with_their_policy() -> None:
    fleet = Fleet()
    figures = Figures.of(POLICY, _stored(reports.crowd(3, 1)), None)
    other = Key(POLICIES, "shop", "other")
    fleet.put(REPORT, figures)
    fleet.put(Key(REPORTS, "shop", "other-1"), Figures.of(other, _stored(reports.crowd(3, 1)), None))
    fleet.drop_policy(other)
    assert [f.policy for f in fleet.figures()] == [POLICY]
    fleet.drop(REPORT)
    fleet.drop(REPORT)
    assert fleet.figures() == []


def test_remediations_are_counted_by_phase_and_state() -> None:
    fleet = Fleet()
    keys = [Key(REMEDIATIONS, "shop", str(n)) for n in range(3)]
    proposed, applied = (
        RemediationFigure("shop", "shop", ACCOUNT, "Production", state) for state in ("Proposed", "Applied")
    )
    assert [fleet.put_remediation(key, proposed) for key in keys] == [None, None, None]
    assert fleet.put_remediation(keys[0], applied) == proposed
    assert fleet.remediations() == {proposed: 2, applied: 1}
    fleet.drop_remediation(keys[0])
    fleet.drop_remediation(keys[0])
    assert fleet.remediations() == {proposed: 2}


def test_counters_tell_outcomes_throttles_and_dollars() -> None:
    counters = Counters()
    counters.request("ec2", "DescribeVpcs", "ok", 0.02)
    counters.request("ec2", "DescribeVpcs", "throttled", 0.5)
    counters.billed(0.01)
    counters.billed(0.01)
    counters.inspected(3.0)
    counters.failed("AssumeRoleDenied")
    counters.wrote()
    assert counters.requests == {("ec2", "DescribeVpcs", "ok"): 1, ("ec2", "DescribeVpcs", "throttled"): 1}
    assert counters.throttles == {"ec2": 1}
    assert counters.cost == pytest.approx(0.02)
    assert counters.inspections.count == counters.status_writes == 1
    assert counters.inspection_failures == {"AssumeRoleDenied": 1}


@given(st.lists(st.floats(0, 1000), max_size=50))
def test_buckets_are_cumulative_and_end_with_everything(seconds: list[float]) -> None:
    histogram = Histogram(BUCKETS)
    for value in seconds:
        histogram.observe(value)
    buckets = histogram.buckets()
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert buckets[-1] == ("+Inf", len(seconds))
    assert histogram.total == pytest.approx(sum(seconds))
    for bound, count in buckets[:-1]:
        assert count == sum(value <= float(bound) for value in seconds)


def test_totals_are_right_when_many_threads_count() -> None:
    counters, fleet = Counters(), Fleet()
    figures = Figures.of(POLICY, _stored(reports.crowd(3, 1)), None)

    def work(number: int) -> None:
        for turn in range(200):
            counters.request("ec2", "DescribeVpcs", "ok", 0.01)
            fleet.put(Key(REPORTS, "shop", f"{number}-{turn % 5}"), figures)
            fleet.figures()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert counters.requests[("ec2", "DescribeVpcs", "ok")] == 1200
    assert counters.seconds["ec2"].count == 1200
    assert len(fleet.figures()) == 30


# the cache that the figures are restored from


def _body(version: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": "shop", "namespace": "shop", "resourceVersion": version}, **more}


def test_the_cache_keeps_the_newest_version_whatever_the_order_of_events() -> None:
    cache = Cache()
    cache.put(POLICY, _body("9", spec=1))
    cache.put(POLICY, _body("10", spec=2))
    cache.put(POLICY, _body("9", spec=1))
    found = cache.get(POLICY)
    assert found is not None
    assert found["spec"] == 2
    cache.drop(POLICY)
    assert cache.get(POLICY) is None


def test_the_cache_lists_by_kind_and_namespace() -> None:
    cache = Cache()
    for namespace in ("a", "b"):
        key = Key(POLICIES, namespace, "shop")
        cache.put(key, {"metadata": {"name": "shop", "namespace": namespace, "resourceVersion": "1"}})
    assert [key.namespace for key, _ in cache.all(POLICIES)] == ["a", "b"]
    assert [key.namespace for key, _ in cache.all(POLICIES, "b")] == ["b"]
    assert cache.count(POLICIES) == 2
    assert list(cache.all(REPORTS)) == []


def test_a_moment_in_the_report_is_aware() -> None:
    figures = Figures.of(POLICY, _stored(reports.crowd(1, 1)), None)
    assert figures.inspected_at is not None
    assert figures.inspected_at.utcoffset() == timedelta(0)
