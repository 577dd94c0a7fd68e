"""The kinds as people meet them: columns, selectors, what a status holds, and how old and new get along."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from apiserver import DIGEST, OTHER_DIGEST, ApiServer, account, attestation, policy, remediation, waiver
from passmuster.api.account import AWSAccount
from passmuster.api.approval import Action, Approval, approvers
from passmuster.api.conditions import problems
from passmuster.api.fields import NEVER_OBSERVED, LabelSelector
from passmuster.api.policy import Counts, LastInspection, ReadinessPolicy
from passmuster.api.remediation import Remediation
from passmuster.api.report import FindingResult, ReadinessReport, ReadinessReportStatus
from passmuster.api.schema import KINDS
from passmuster.model.verdict import Reason, Status
from passmuster.sandbox.control_plane import OPERATOR, ControlPlane

NOW = datetime(2026, 11, 21, 10, 0, 2, tzinfo=UTC)

POLICY_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "lastHandledReconcileAt": "2026-11-21T10:00:00Z",
    "accounts": 1,
    "summary": {"account": "shop-production", "score": "71.4", "coverage": "98.6"},
    "level": "Foundation",
    "score": 71.4,
    "coverage": 98.6,
    "checks": {"pass": 48, "fail": 17, "unknown": 1, "notApplicable": 7, "disabled": 0, "waived": 1},
    "criticalFailing": 3,
    "next": {"level": "Production", "missing": ["https-redirect"], "monthlyCost": 1.0},
    "lastInspection": {
        "id": "01JD",
        "startedAt": "2026-11-21T10:00:00Z",
        "duration": "4.2s",
        "calls": 231,
        "billedCalls": 0,
    },
    "heartbeats": {"pager": "2026-11-21T09:58:00Z"},
    "probes": {"shop": "2026-11-21T09:59:00Z"},
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Succeeded",
            "message": "Inspected 73 checks in 4.2 s",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-11-21T10:00:00Z",
        }
    ],
}
REPORT_STATUS: dict[str, Any] = {
    "catalogueVersion": "1.0",
    "summary": {"score": "71.4", "coverage": "98.6"},
    "level": "Foundation",
    "score": None,
    "coverage": 98.6,
    "counts": {"pass": 48, "fail": 17},
    "categories": [{"name": "Security", "score": None, "pass": 8, "fail": 6, "unknown": 1, "notApplicable": 1}],
    "phases": [{"name": "Production", "complete": 66.7, "score": None, "missing": ["https-redirect"]}],
    "inspection": {"id": "01JD", "startedAt": "2026-11-21T10:00:00Z", "duration": "4.2s", "calls": 231},
    "refusals": [
        {
            "call": "guardduty:GetDetector",
            "action": "guardduty:GetDetector",
            "region": "eu-central-1",
            "reason": "Denied",
            "code": "AccessDeniedException",
            "checks": ["guardduty-enabled"],
        }
    ],
    "plan": [{"remediation": "shop-cloudtrail", "phase": "Production", "fixes": ["x"], "monthlyCost": 1.0}],
    "billed": [
        {
            "call": "ce:GetAnomalies",
            "region": "us-east-1",
            "request": {"mark": "abc", "deep": {"er": [1]}},
            "observedAt": "2026-11-21T10:00:00Z",
            "rows": [{"any": {"thing": [1, None, "x"]}}, "text", 5],
        }
    ],
    "checks": [
        {
            "id": "https-redirect",
            "status": "Fail",
            "category": "Security",
            "phase": "Production",
            "severity": "Critical",
            "since": None,
            "disabled": False,
            "truncated": 0,
            "counts": {"Fail": 1},
            "findings": [
                {
                    "status": "Fail",
                    "region": "eu-central-1",
                    "resource": "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/shop/1/2",
                    "reason": None,
                    "message": "The listener on port 80 forwards clear text",
                    "warnings": [],
                    "waivedBy": None,
                    "attestedBy": None,
                    "observed": "default action: forward",
                    "expected": "redirect to HTTPS",
                    "source": "elbv2:DescribeListeners",
                    "observedAt": "2026-11-21T10:00:02Z",
                }
            ],
        }
    ],
}
REMEDIATION_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "state": "Applied",
    "summary": {"cost": "1.00", "approved": "1/1"},
    "stack": {"name": "passmuster-shop-cloudtrail", "status": "CREATE_COMPLETE"},
    "changeSet": {"name": "passmuster-9f31-1"},
    "attempt": 1,
    "waitsFor": "service",
    "before": {"level": "Foundation", "score": 71.4},
    "after": {"level": "Foundation", "score": None},
    "history": [
        {"state": "Proposed", "at": "2026-11-21T10:00:00Z"},
        {"state": "Scheduled", "at": "2026-11-21T11:00:00Z", "by": ["alice"], "message": "Approved"},
    ],
}


def report(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "passmuster.io/v1alpha1",
        "kind": "ReadinessReport",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"policyRef": {"name": "shop"}, "accountId": "123456789012"},
    }


# shapes


@pytest.mark.parametrize(
    ("kind", "made", "status"),
    [
        (ReadinessPolicy, policy("shop", "shop"), POLICY_STATUS),
        (ReadinessReport, report("shop", "shop-1"), REPORT_STATUS),
        (Remediation, remediation("shop", "shop-cloudtrail"), REMEDIATION_STATUS),
        (AWSAccount, account("shop"), {"policies": 1, "observedGeneration": 1}),
    ],
)
def test_what_is_read_is_written_back(kind: Any, made: dict[str, Any], status: dict[str, Any]) -> None:
    read = kind.read({**made, "status": status})
    again = kind.read({**made, "status": read.status.body()})
    assert again == read
    assert read.kind == kind.definition.kind


def test_a_status_is_written_in_the_words_of_the_examples() -> None:
    status = ReadinessPolicy.read({**policy("shop", "shop"), "status": POLICY_STATUS}).status
    assert status.body() == POLICY_STATUS
    assert problems(status.body(), 1) == []
    inspection = LastInspection(id="01JD", started_at=NOW, duration=4.19, calls=231)
    assert inspection.body()["duration"] == "4.2s"
    assert Counts(passed=1, failed=2).body() == {
        "pass": 1,
        "fail": 2,
        "unknown": 0,
        "notApplicable": 0,
        "disabled": 0,
        "waived": 0,
    }


def test_an_old_operator_ignores_what_a_new_status_adds_and_refuses_what_a_new_spec_adds() -> None:
    made = policy("shop", "shop")
    assert ReadinessPolicy.read({**made, "status": {"brandNew": 1}}).status.accounts is None
    with pytest.raises(ValidationError):
        ReadinessPolicy.read(policy("shop", "shop", brandNew=1))


def test_an_object_without_a_status_has_an_empty_one() -> None:
    assert ReadinessPolicy.read(policy("shop", "shop")).status.conditions == []


def test_a_finding_that_says_too_much_is_cut() -> None:
    finding = FindingResult(status=Status.UNKNOWN, resource="x" * 5000, message="y" * 5000, reason=Reason.DENIED)
    assert len(finding.resource) == 2048
    assert len(finding.message) == 4096
    assert finding.message.endswith("…")


def test_names_and_columns_are_unique() -> None:
    definitions = [kind.definition for kind in KINDS]
    assert len({d.plural for d in definitions}) == len({d.short for d in definitions}) == len(KINDS)
    for definition in definitions:
        names = [column.name for column in definition.columns]
        assert len(set(names)) == len(names)
        assert all(column.description.endswith(("?", ".")) for column in definition.columns)
        assert len(definition.selectable) <= 8


# approvals and selectors


def test_only_distinct_approvals_of_the_current_intent_count() -> None:
    given = [
        Approval(by="alice", digest=DIGEST),
        Approval(by="alice", digest=DIGEST, action=Action.UNDO),
        Approval(by="bob", digest=OTHER_DIGEST),
        Approval(by="carol", digest=DIGEST),
    ]
    assert approvers(given, DIGEST) == ("alice", "carol")
    assert approvers(given, DIGEST, except_for="carol") == ("alice",)
    assert approvers(given, DIGEST, Action.UNDO) == ("alice",)
    assert approvers(given, OTHER_DIGEST) == ("bob",)
    assert approvers([], DIGEST) == ()


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ({}, {}, True),
        ({"matchLabels": {"team": "shop"}}, {"team": "shop", "stage": "test"}, True),
        ({"matchLabels": {"team": "shop"}}, {}, False),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["shop", "pay"]}]}, {"team": "pay"}, True),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["shop"]}]}, {}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["shop"]}]}, {}, True),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["shop"]}]}, {"team": "shop"}, False),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, {"team": ""}, True),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, {"team": ""}, False),
        (
            {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]},
            {"a": "1"},
            False,
        ),
    ],
)
def test_labels_select_as_they_do_in_kubernetes(
    selector: dict[str, Any], labels: dict[str, str], selected: bool
) -> None:
    assert LabelSelector.model_validate(selector).selects(labels) is selected


# on the real API server


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    return [without_nulls(child) for child in value] if isinstance(value, list) else value


@pytest.fixture
def filled(server: ApiServer, namespace: str) -> str:
    """A namespace with one object of each kind and its status."""
    for made, status in (
        (policy(namespace, "shop"), POLICY_STATUS),
        (report(namespace, "shop-123456789012"), REPORT_STATUS),
        (remediation(namespace, "shop-cloudtrail"), REMEDIATION_STATUS),
    ):
        created = server.create(made, user=OPERATOR if made["kind"] == "Remediation" else "admin")
        assert created.ok, created.message
        answer = server.patch(made, {"status": status}, user=OPERATOR, subresource="status")
        assert answer.ok, answer.message
    return namespace


@pytest.mark.apiserver
@pytest.mark.parametrize(
    ("plural", "columns", "cells"),
    [
        (
            "readinesspolicies",
            "NAME ACCOUNT DECLARED REACHED SCORE FAILING READY INSPECTED AGE",
            ["shop", "shop-production", "Stable", "Foundation", "71.4", 17, "True"],
        ),
        (
            "remediations",
            "NAME POLICY PHASE WAY STATE COST/MO APPROVED AGE",
            ["shop-cloudtrail", "shop", "Production", "AdditiveStack", "Applied", "1.00", "1/1"],
        ),
        (
            "readinessreports",
            "NAME ACCOUNT LEVEL SCORE COVERAGE FAILING INSPECTED AGE",
            ["shop-123456789012", "123456789012", "Foundation", "71.4", "98.6", 17],
        ),
    ],
)
def test_kubectl_get_answers_a_persons_questions(
    server: ApiServer, filled: str, plural: str, columns: str, cells: list[Any]
) -> None:
    found, rows = server.table(plural, filled)
    assert [column["name"].upper() for column in found if column["priority"] == 0] == columns.split()
    assert rows[0][: len(cells)] == cells


@pytest.mark.apiserver
def test_accounts_are_listed_with_what_is_wrong(server: ApiServer, named: Callable[[], str]) -> None:
    made = account(named())
    assert server.create(made).ok
    ready = POLICY_STATUS["conditions"][0] | {"status": "False", "reason": "AssumeRoleDenied"}
    status = {"observedGeneration": 1, "policies": 2, "conditions": [ready]}
    assert server.patch(made, {"status": status}, user=OPERATOR, subresource="status").ok
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = server.call("GET", "/apis/passmuster.io/v1alpha1/awsaccounts", accept=accept).body
    names = [column["name"].upper() for column in table["columnDefinitions"] if column["priority"] == 0]
    assert names == ["NAME", "ACCOUNT-ID", "READY", "REASON", "POLICIES", "AGE"]
    row = next(row["cells"] for row in table["rows"] if row["cells"][0] == made["metadata"]["name"])
    assert row[1:5] == ["123456789012", "False", "AssumeRoleDenied", 2]


@pytest.mark.apiserver
def test_nothing_of_a_status_is_pruned_but_nulls(server: ApiServer, filled: str) -> None:
    stored = server.get(report(filled, "shop-123456789012"))["status"]
    assert stored == {"observedGeneration": NEVER_OBSERVED} | without_nulls(REPORT_STATUS)  # a merge patch means null
    read = ReadinessReportStatus.model_validate(stored)
    assert read.checks[0].findings[0].reason is None
    assert read.billed[0].rows == REPORT_STATUS["billed"][0]["rows"]


@pytest.mark.apiserver
def test_a_whole_status_with_nulls_is_accepted(server: ApiServer, filled: str) -> None:
    whole = server.get(policy(filled, "shop"))
    whole["status"] |= {"level": None, "score": None, "coverage": None, "next": None, "criticalFailing": None}
    path = f"/apis/passmuster.io/v1alpha1/namespaces/{filled}/readinesspolicies/shop/status"
    answer = server.call("PUT", path, whole)
    assert answer.ok, answer.message
    assert ReadinessPolicy.read(answer.body).status.level is None


@pytest.mark.apiserver
@pytest.mark.parametrize(
    ("plural", "selector", "found"),
    [
        ("readinesspolicies", "spec.accountRef.name=shop", 1),
        ("readinesspolicies", "spec.level=Production", 0),
        ("remediations", "status.state=Applied,spec.policyRef.name=shop", 1),
        ("remediations", "spec.phase=Stable", 0),
        ("readinessreports", "spec.accountId=123456789012", 1),
    ],
)
def test_fields_select(server: ApiServer, filled: str, plural: str, selector: str, found: int) -> None:
    path = f"/apis/passmuster.io/v1alpha1/namespaces/{filled}/{plural}?fieldSelector={selector.replace('=', '%3D')}"
    answer = server.call("GET", path)
    assert answer.ok, answer.message
    assert len(answer.body["items"]) == found


@pytest.mark.apiserver
def test_the_server_writes_the_documented_defaults(server: ApiServer, namespace: str) -> None:
    made = policy(namespace, "plain", remediation={"windows": [{"schedule": "0 2 * * *", "duration": "1h"}]})
    spec = ReadinessPolicy.read(server.create(made).body).spec
    assert spec == ReadinessPolicy.read(made).spec
    stored = server.get(made)["spec"]
    assert (stored["interval"], stored["deletionPolicy"], stored["suspend"]) == ("1h", "Retain", False)
    assert stored["remediation"]["windows"][0] == {
        "kind": "Allow",
        "schedule": "0 2 * * *",
        "duration": "1h",
        "timeZone": "UTC",
    }
    assert "checks" not in stored


@pytest.mark.apiserver
def test_an_object_that_nobody_looked_at_says_so_whatever_its_manifest_says(server: ApiServer, namespace: str) -> None:
    made = [
        account(f"shop-{namespace}"),
        policy(namespace, "new"),
        report(namespace, "new-123456789012"),
        waiver(namespace, "new"),
        attestation(namespace, "new"),
        remediation(namespace, "new-cloudtrail"),
    ]
    assert {manifest["kind"] for manifest in made} == {kind.definition.kind for kind in KINDS}
    for manifest in made:
        user = OPERATOR if manifest["kind"] == "Remediation" else "admin"
        created = server.create({**manifest, "status": {"observedGeneration": 1, "conditions": []}}, user=user)
        assert created.ok, created.message
        assert server.get(manifest)["status"] == {"observedGeneration": NEVER_OBSERVED}
        assert server.get(manifest)["metadata"]["generation"] == 1
    server.delete(made[0])


@pytest.mark.apiserver
def test_kubectl_explains_every_field(server: ApiServer, control_plane: ControlPlane, kubectl_program: Path) -> None:
    command = [str(kubectl_program), f"--kubeconfig={control_plane.kubeconfig()}", "explain"]
    for what, said in (
        ("rp.spec.remediation.mode", "Observe (the default) only reports"),
        ("rem.spec.approvals.by", "Your user name as the API server sees it"),
        ("awsacct.spec.floors", "Loosest parameters that policies may use"),
        ("rr.status.checks.findings", "Findings, at most ten, gravest first."),
    ):
        told = subprocess.run([*command, what], capture_output=True, text=True, check=True, timeout=60).stdout
        assert " ".join(said.split()) in " ".join(told.split())
