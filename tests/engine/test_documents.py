"""The documents people see: their shape, their size, and the patches that bring them to the API server."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reports
from passmuster.api.report import MOST_FINDINGS, MOST_RESOURCES, ReadinessReport, ReadinessReportStatus
from passmuster.assess.changes import compare
from passmuster.assess.plan import Plan
from passmuster.engine import documents
from passmuster.engine.documents import merge_patch, report_document, restored, substance, trimmed
from passmuster.model.evidence import Attestation, Waiver
from passmuster.model.finding import Finding
from passmuster.model.grant import Grant, Standing
from passmuster.model.parameter import Raised
from passmuster.model.report import Inspection, Refusal, Report
from passmuster.model.verdict import Reason, Status
from passmuster.remediation.rendering import Blocked
from passmuster.sandbox.memory_cluster import merged
from replay import ACCOUNT, NOW, REGION

MOST = 256 * 1024
CHECK_MEMBERS = {"id", "status", "category", "phase", "severity", "since", "disabled", "findings", "truncated"}
FINDING_MEMBERS = {
    "status",
    "region",
    "resource",
    "reason",
    "message",
    "warnings",
    "waivedBy",
    "attestedBy",
    "observed",
    "expected",
    "source",
    "observedAt",
}


def _document(report: Report, plan: Plan | None = None, limit: int | None = MOST_FINDINGS) -> dict[str, Any]:
    return report_document("shop-1", "shop", "shop", report, plan, limit=limit)


def _size(document: dict[str, Any]) -> int:
    return len(json.dumps(document, ensure_ascii=False).encode())


# the shape


def test_a_report_has_the_shape_that_was_promised() -> None:
    report = reports.report([reports.result("https-redirect", reports.finding(80), reports.finding(81, Status.PASS))])
    plan = Plan((reports.step("https-redirect", "1.00"),), ())
    document = _document(report, plan, limit=None)
    assert document["kind"] == "ReadinessReport"
    assert document["spec"] == {"policyRef": {"name": "shop"}, "accountId": ACCOUNT}
    status = document["status"]
    assert {"catalogueVersion", "level", "score", "coverage", "categories", "phases", "checks"} <= set(status)
    assert {"name", "score", "pass", "fail", "unknown", "notApplicable"} <= set(status["categories"][0])
    assert {"name", "complete", "missing"} <= set(status["phases"][0])
    check = status["checks"][0]
    assert set(check) >= {*CHECK_MEMBERS, "remediation"}
    assert check["remediation"] == "shop-https-redirect"
    assert [set(finding) for finding in check["findings"]] == [FINDING_MEMBERS] * 2
    assert check["findings"][0] == {
        "status": "Fail",
        "region": REGION,
        "resource": f"{reports.LISTENER}/80",
        "reason": None,
        "message": "The listener on port 80 forwards clear text",
        "warnings": [],
        "waivedBy": None,
        "attestedBy": None,
        "observed": "default action: forward",
        "expected": "a redirect to HTTPS on a port with a TLS listener",
        "source": "elbv2:DescribeListeners",
        "observedAt": "2026-11-21T12:00:00Z",
    }


def test_unknown_and_not_applicable_say_why() -> None:
    results = [
        reports.result("https-redirect", reports.finding(80, Status.UNKNOWN)),
        reports.result("waf-enabled", reports.finding(0, Status.NOT_APPLICABLE)),
    ]
    first, second = _document(reports.report(results))["status"]["checks"]
    assert first["findings"][0]["reason"] == "Denied"
    assert second["findings"][0]["reason"] == "NothingOfThatKind"


def test_waivers_attestations_and_warnings_are_shown() -> None:
    finding = reports.finding(80, waived_by="legacy", warnings=("it expires in 20 days",), attested_by="on-call")
    shown = _document(reports.report([reports.result("https-redirect", finding)]))["status"]["checks"][0]
    assert shown["waived"] == 1
    assert shown["findings"][0]["waivedBy"] == "legacy"
    assert shown["findings"][0]["attestedBy"] == "on-call"
    assert shown["findings"][0]["warnings"] == ["it expires in 20 days"]


def test_a_score_that_does_not_exist_is_null_and_a_dash_never_zero() -> None:
    report = reports.report([reports.result("https-redirect", reports.finding(80, Status.UNKNOWN))])
    status = _document(report)["status"]
    assert report.score is None
    assert status["score"] is None
    assert status["summary"]["score"] == "-"
    assert json.loads(json.dumps(status))["score"] is None
    assert "score" not in ReadinessReportStatus.model_validate(status).body()


def test_the_gravest_findings_come_first_and_the_rest_is_counted() -> None:
    mixed = [reports.finding(n, [Status.PASS, Status.UNKNOWN, Status.FAIL][n % 3]) for n in range(30)]
    check = _document(reports.report([reports.result("https-redirect", *mixed)]))["status"]["checks"][0]
    assert [f["status"] for f in check["findings"]] == ["Fail"] * MOST_FINDINGS
    assert check["truncated"] == 30 - MOST_FINDINGS
    assert check["counts"] == {"Fail": 10, "Pass": 10, "Unknown": 10}


def test_on_the_command_line_no_finding_is_left_out() -> None:
    document = _document(reports.crowd(findings=100), limit=None)
    assert all(len(c["findings"]) == 100 and c["truncated"] == 0 for c in document["status"]["checks"])


def test_a_report_of_the_real_checks_is_what_the_api_server_takes() -> None:
    report, plan = reports.from_fixtures()
    document = _document(report, plan)
    status = ReadinessReportStatus.model_validate(document["status"]).body()
    read = ReadinessReport.read({**document, "status": status})
    assert {c.id for c in read.status.checks} == {c.id for c in report.checks}
    assert read.status.level == report.level


def test_a_blocked_step_says_why() -> None:
    plan = Plan((reports.step("trail", "1.00", blocked=Blocked("InputMissing", "set the domain")),), ())
    steps = _document(reports.crowd(2), plan)["status"]["plan"]
    assert steps[0]["blocked"] == "InputMissing: set the domain"
    assert steps[0]["monthlyCost"] == 1.0


# the size


def _long(report: Report, length: int) -> Report:
    def longer(finding: Finding) -> Finding:
        return replace(finding, resource=finding.resource.ljust(length, "x"), observed="o" * 200)

    checks = tuple(replace(c, findings=tuple(longer(f) for f in c.findings)) for c in report.checks)
    return replace(report, checks=checks)


@pytest.fixture(scope="module")
def huge() -> Report:
    """73 checks with 1,000 findings of ARNs as long as they get."""
    return _long(reports.crowd(73, 1000), 1500)


def test_the_largest_account_fits_into_256_kib_without_losing_a_verdict(huge: Report) -> None:
    began = time.process_time()
    document = _document(huge)
    assert time.process_time() - began < 3
    assert _size(document) <= MOST
    checks = document["status"]["checks"]
    assert [(c["id"], c["status"]) for c in checks] == [(c.id, c.status.value) for c in huge.checks]
    for check in checks:
        assert check["truncated"] + len(check["findings"]) == 1000
        assert sum(check["counts"].values()) == 1000
    assert any(check["findings"] for check in checks)
    assert _size({"status": ReadinessReportStatus.model_validate(document["status"]).body()}) <= MOST


def test_a_short_list_is_left_whole_while_long_ones_are_cut(huge: Report) -> None:
    small = reports.result("https-redirect", reports.finding(80))
    document = _document(replace(huge, checks=(small, *huge.checks[1:])))
    assert document["status"]["checks"][0]["findings"]


def test_what_aws_billed_does_not_crowd_out_the_evidence() -> None:
    document = _document(reports.crowd(73, 5))
    row = {"call": "ce:GetCost", "region": REGION, "observedAt": "2026-11-21T12:00:00Z", "rows": ["x" * 2000]}
    document["status"]["billed"] = [row] * 1000
    status = trimmed(document)["status"]
    assert _size(document) <= MOST
    assert all(len(c["findings"]) == 5 for c in status["checks"])
    assert len(status["billed"]) > 10
    ReadinessReportStatus.model_validate(status)


def test_a_long_plan_and_many_refusals_are_cut_and_the_api_server_takes_the_rest() -> None:
    steps = tuple(reports.step(f"trail-{n}", "1.00", target="x" * 500) for n in range(700))
    refusals = tuple(
        Refusal("ec2:DescribeVpcs", "ec2:DescribeVpcs", f"{REGION}-{n}", Reason.DENIED, "Denied", ("check-id",) * 60)
        for n in range(700)
    )
    report = replace(reports.crowd(73, 10), inspection=Inspection("id", NOW, 1.0, 1, refusals=refusals))
    document = _document(report, Plan(steps, ()))
    assert _size(document) <= MOST
    status = ReadinessReportStatus.model_validate(document["status"])
    assert len(status.checks) == 73
    assert status.plan[0].remediation == "shop-trail-0"
    assert status.refusals


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2500)), min_size=1, max_size=73),
    st.integers(0, 600),
    st.integers(0, 600),
)
@settings(max_examples=25)
def test_trimming_never_loses_a_verdict_nor_a_count(shape: list[tuple[int, int]], plan: int, billed: int) -> None:
    checks = [
        {
            "id": f"check-{n}",
            "status": "Fail",
            "findings": [{"resource": "r" * length}] * min(count, 10),
            "truncated": count - min(count, 10),
        }
        for n, (count, length) in enumerate(shape)
    ]
    status = {"checks": checks, "plan": [{"fixes": "x" * 300}] * plan, "refusals": [], "billed": [{"a": 1}] * billed}
    after = trimmed({"status": status})
    assert _size(after) <= documents.MOST_BYTES
    assert [c["id"] for c in after["status"]["checks"]] == [f"check-{n}" for n in range(len(shape))]
    assert [c["truncated"] + len(c["findings"]) for c in after["status"]["checks"]] == [count for count, _ in shape]


# what is written


SCALARS = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5))
NAMES = st.sampled_from(["a", "b", "c", "observedAt", "id"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
@settings(max_examples=300)
def test_applying_the_patch_gives_the_target(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, merge_patch(before, after)) == after


@given(OBJECTS)
def test_nothing_to_do_is_an_empty_patch(value: dict[str, Any]) -> None:
    assert merge_patch(value, json.loads(json.dumps(value))) == {}


@given(OBJECTS, OBJECTS)
def test_a_patch_names_only_what_differs(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = merge_patch(before, after)
    assert all(before.get(name) != after.get(name) or (name in before) != (name in after) for name in patch)


def test_a_member_that_is_unset_on_both_sides_is_not_written() -> None:
    assert merge_patch({"a": 1}, {"a": 1, "b": None}) == {}
    assert merge_patch({"a": 1, "b": 2}, {"a": 1, "b": None}) == {"b": None}


@given(OBJECTS)
def test_substance_is_stable_and_does_not_touch_its_argument(value: dict[str, Any]) -> None:
    before = json.dumps(value, sort_keys=True)
    once = substance(value)
    assert substance(once) == once
    assert json.dumps(value, sort_keys=True) == before


def test_two_inspections_of_an_unchanged_account_have_the_same_substance() -> None:
    first = reports.crowd(10, 3)
    later = NOW.replace(hour=13)
    again = replace(
        first,
        checks=tuple(
            replace(c, findings=tuple(replace(f, observed_at=later) for f in c.findings)) for c in first.checks
        ),
        inspection=Inspection("another", later, 9.9, 5, 1),
    )
    assert substance(_document(first)["status"]) == substance(_document(again)["status"])


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, id="another-check"),
        lambda c: replace(c, status=Status.PASS),
        lambda c: replace(c, findings=(replace(c.findings[0], observed="something else"), *c.findings[1:])),
        lambda c: replace(c, findings=(replace(c.findings[0], waived_by="legacy"), *c.findings[1:])),
        lambda c: replace(c, disabled=True),
    ],
)
def test_everything_that_a_person_would_want_to_know_is_substance(change: Any) -> None:
    report = reports.crowd(3, 2)
    changed = replace(report, checks=(change(report.checks[0]), *report.checks[1:]))
    assert substance(_document(report)["status"]) != substance(_document(changed)["status"])


# what is read back


def test_a_stored_report_tells_after_a_restart_what_it_told_before() -> None:
    report = reports.crowd(20, 4)
    document = _document(report)
    stored = {**document, "status": ReadinessReportStatus.model_validate(document["status"]).body()}
    again = restored(json.loads(json.dumps(stored)))
    assert again is not None
    assert (again.level, again.score, again.coverage) == (report.level, report.score, report.coverage)
    assert again.inspection.started_at == report.inspection.started_at
    assert [(c.id, c.status, c.since) for c in again.checks] == [(c.id, c.status, c.since) for c in report.checks]
    assert {f.key for c in again.checks for f in c.findings} == {f.key for c in report.checks for f in c.findings}


def test_a_report_without_a_status_tells_nothing() -> None:
    assert restored({"spec": {"accountId": ACCOUNT}}) is None
    assert restored({"spec": {"accountId": ACCOUNT}, "status": {"checks": []}}) is None


# what people granted and what the account raised


def test_waivers_and_attestations_and_raised_parameters_survive_a_restart() -> None:
    until = NOW + timedelta(days=3)
    grants = (
        Grant(
            Waiver("legacy", "https-redirect", "It moves", until, ("*:x",)), Standing.IN_FORCE, "Counts", ("a", "b"), 2
        ),
        Grant(Waiver("old", "https-redirect", "It moved", NOW), Standing.EXPIRED, "Expired"),
        Grant(
            Attestation("dr", "dr-runbooks", "Rehearsed", "https://e.example", "ann", NOW, until, "c" * 64),
            Standing.AWAITING_APPROVAL,
            "Has 0 of 1 approval",
            expiring=True,
            findings=3,
        ),
    )
    raised = (Raised("dr-runbooks", "maxAgeDays", 400, 365), Raised("dr-runbooks", "documents", ["a"], []))
    report = replace(
        reports.report([reports.result("https-redirect", reports.finding(80))]), grants=grants, raised=raised
    )
    stored = ReadinessReportStatus.model_validate(_document(report)["status"]).body()
    again = restored({"spec": {"accountId": ACCOUNT}, "status": json.loads(json.dumps(stored))})
    assert again is not None
    assert again.grants == grants
    assert again.grants[2].findings == 3
    assert again.raised == raised


def test_a_thousand_long_waivers_do_not_make_a_report_too_large() -> None:
    many = tuple(
        Grant(Waiver(f"w{n}", "https-redirect", "x" * 1024, NOW, ("y" * 2000,) * 3), Standing.EXPIRED, "Expired")
        for n in range(1000)
    )
    report = replace(reports.report([reports.result("https-redirect", reports.finding(80))]), grants=many)
    document = _document(report)
    assert _size(document) < MOST
    assert [check["id"] for check in document["status"]["checks"]] == ["https-redirect"]
    assert len(_document(report, limit=None)["status"]["waivers"]) == 1000


# what changed


def _crowds() -> tuple[Report, Report]:
    """A large account before and after all of its resources were replaced."""
    many = [reports.result("https-redirect", *(reports.finding(n) for n in range(3000)))]
    others = [reports.result("https-redirect", *(reports.finding(n, Status.PASS) for n in range(3000, 6000)))]
    return reports.report(many), reports.report(others)


def test_what_changed_is_bounded_in_the_cluster_and_whole_on_the_command_line() -> None:
    old, new = _crowds()
    changes = compare(old, new)
    whole = report_document("shop-1", "shop", "shop", new, None, limit=None, changes=changes)["status"]["changes"]
    assert (len(whole["appeared"]), whole["moreAppeared"]) == (3000, 0)
    digest = report_document("shop-1", "shop", "shop", new, None, changes=changes)["status"]["changes"]
    assert (len(digest["appeared"]), digest["moreAppeared"]) == (MOST_RESOURCES, 3000 - MOST_RESOURCES)
    assert (len(digest["gone"]), digest["moreGone"]) == (MOST_RESOURCES, 3000 - MOST_RESOURCES)


def test_a_report_with_changes_passes_the_schema_and_reads_back() -> None:
    old, new = _crowds()
    changes = compare(old, new)
    document = report_document("shop-1", "shop", "shop", new, None, changes=changes)
    assert _size(document) <= MOST
    status = ReadinessReportStatus.model_validate(document["status"]).body()
    again = documents.restored_changes(status)
    assert again is not None
    assert (again.checks, again.before.level, again.before.checks) == (
        changes.checks,
        changes.before.level,
        changes.before.checks,
    )
    assert len(again.appeared) + again.more_appeared == 3000


def test_what_changed_is_cut_before_a_verdict_is_lost() -> None:
    old, new = _crowds()
    long = [
        replace(finding, resource=f"arn:aws:s3:::{'x' * 1900}{n}")
        for n, finding in enumerate(new.check("https-redirect").findings[:MOST_RESOURCES])
    ]
    wide = [reports.result(f"check-{n}", *long[:10]) for n in range(80)]
    changes = compare(old, reports.report([reports.result("https-redirect", *long)]))
    document = report_document("shop-1", "shop", "shop", reports.report(wide), None, changes=changes)
    assert _size(document) <= MOST
    assert len(document["status"]["checks"]) == 80
    told = document["status"]["changes"]
    assert len(told["appeared"]) + told["moreAppeared"] == MOST_RESOURCES


def test_without_a_comparison_nothing_is_said_of_one() -> None:
    status = report_document("shop-1", "shop", "shop", reports.report([]), None)["status"]
    assert not {"previous", "changes"} & set(status)
    assert documents.restored_changes(status) is None


def test_what_people_granted_survives_in_the_findings() -> None:
    waived = replace(reports.finding(80), waived_by="legacy", warnings=("it ends soon",))
    attested = replace(reports.finding(81, Status.PASS), attested_by="drill")
    report = reports.report([reports.result("https-redirect", waived, attested)])
    again = restored(json.loads(json.dumps(_document(report))))
    assert again is not None
    assert {(f.waived_by, f.attested_by, f.warnings) for f in again.check("https-redirect").findings} == {
        ("legacy", None, ("it ends soon",)),
        (None, "drill", ()),
    }
    assert again.check("https-redirect").waived == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the role is gone", "The role is gone"),
        ("arn:aws:iam::123456789012:role/x is gone", "arn:aws:iam::123456789012:role/x is gone"),
        ("", ""),
    ],
)
def test_a_message_begins_with_a_capital_letter_unless_with_a_name_to_copy(text: str, said: str) -> None:
    assert documents.sentence(text) == said
