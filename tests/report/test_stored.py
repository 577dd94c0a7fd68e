"""A stored report is the report again: nothing is judged anew, and what is damaged is refused in a sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

import reports
from passmuster.assess.changes import compare
from passmuster.assess.plan import Plan
from passmuster.engine import documents
from passmuster.model.errors import InvalidManifest
from passmuster.model.report import Report
from passmuster.model.verdict import Status
from passmuster.remediation.rendering import Blocked
from passmuster.report import content, html, stored


def _json(report: Report, plan: Plan | None, limit: int | None = None, **more: Any) -> Any:
    document = documents.report_document("shop-1", "shop", "shop", report, plan, limit=limit, **more)
    return json.loads(json.dumps(document))


@pytest.fixture(scope="module")
def judged() -> tuple[Report, Plan]:
    return reports.from_fixtures()


def test_a_full_report_is_shown_as_it_was(judged: tuple[Report, Plan]) -> None:
    report, plan = judged
    again = stored.read(_json(report, plan), "file")
    before, after = content.document(report, plan, "shop"), content.document(again.report, again.plan, "shop")
    assert after.plan == before.plan
    assert (after.reached, after.declared, after.lead, after.phases) == (
        before.reached,
        before.declared,
        before.lead,
        before.phases,
    )
    assert after.categories == before.categories
    assert after.refusals == before.refusals
    assert [(c.id, c.title, c.verdict, c.severity) for g in after.groups for c in g.checks] == [
        (c.id, c.title, c.verdict, c.severity) for g in before.groups for c in g.checks
    ]
    assert again.policy == "shop/shop"


def test_a_digest_says_that_findings_are_left_out() -> None:
    report = reports.report([reports.result("https-redirect", *(reports.finding(n) for n in range(30)))])
    again = stored.read(_json(report, None, limit=10), "cluster")
    (entry,) = content.document(again.report, again.plan).groups[0].checks
    assert entry.notes == ("20 further findings are in the full report; this is made from a digest.",)


def test_changes_waivers_and_leave_are_read_back() -> None:
    waived = replace(reports.finding(80), waived_by="legacy")
    old = reports.report([reports.result("https-redirect", reports.finding(81))])
    new = reports.report(
        [
            reports.result("https-redirect", waived),
            reports.result("custom-domain", reports.finding(1), disabled=True, disabled_with_leave=True),
        ]
    )
    changes = compare(old, new)
    again = stored.read(_json(new, None, changes=changes), "file")
    assert again.changes == changes
    assert again.report.check("https-redirect").findings[0].waived_by == "legacy"
    assert again.report.check("https-redirect").has_waived_failure
    assert again.report.check("custom-domain").disabled_with_leave
    assert "What changed" in html.render(again.report, again.plan, changes=again.changes)


def test_a_plan_keeps_order_costs_and_what_is_blocked() -> None:
    report = reports.report([reports.result("https-redirect", reports.finding(80))])
    steps = (
        reports.step("one", "1.25", unpriced="requests"),
        reports.step("two", "2.35", blocked=Blocked("InputMissing", "name a domain")),
    )
    again = stored.read(_json(report, Plan(steps, ())), "file")
    assert again.plan == content.document(report, Plan(steps, ())).plan


def test_a_check_that_the_catalogue_no_longer_has_keeps_its_verdict() -> None:
    document = _json(reports.report([reports.result("https-redirect", reports.finding(80))]), None)
    document["status"]["checks"][0]["id"] = "a-check-of-long-ago"
    again = stored.read(document, "file").report
    assert [(c.id, c.title, c.status) for c in again.checks] == [
        ("a-check-of-long-ago", "a-check-of-long-ago", Status.FAIL)
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "this is not JSON"),
        ("[]", "this is no ReadinessReport"),
        ('{"kind": "List", "items": []}', "the List is empty"),
        ('{"kind": "ReadinessPolicy"}', "this is no ReadinessReport"),
        ('"text"', "this is no ReadinessReport"),
        ('{"kind": "ReadinessReport", "spec": 3}', "this is no ReadinessReport"),
        ('{"kind": "ReadinessReport", "spec": {"policyRef": "shop"}}', "this is no ReadinessReport"),
        ("[" * 100_000, "this is not JSON"),
    ],
)
def test_what_is_no_report_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidManifest, match=said):
        stored.parsed(text, "file.json")


@pytest.mark.parametrize("damage", ["spec", "phase", "status", "startedAt", "step"])
def test_a_damaged_report_is_refused_in_a_sentence(damage: str) -> None:
    report = reports.report([reports.result("https-redirect", reports.finding(80))])
    document = _json(report, Plan((reports.step("one", "1.25"),), ()))
    if damage == "spec":
        del document["spec"]
    elif damage == "startedAt":
        document["status"]["inspection"]["startedAt"] = "yesterday"
    elif damage == "step":
        document["status"]["plan"][0]["monthlyCost"] = "much"
    else:
        document["status"]["checks"][0][damage] = "Perfect"
    with pytest.raises(InvalidManifest, match=r"^file\.json: the report is damaged"):
        stored.read(document, "file.json")


def test_a_report_without_an_inspection_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="holds no inspection yet"):
        stored.read({"kind": "ReadinessReport", "spec": {"accountId": "1"}}, "shop/shop")
