"""The main job on the real API server: a declared level, a live account, a verdict, a plan, a fix, and its undoing.

The tests of this module tell one story in their order, on one account.
"""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e.conftest import World, manifests
from passmuster.sandbox import binaries

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

ENDED = ("Applied", "Failed", "RolledBack")
LIFE = ["Proposed", "AwaitingApproval", "Scheduled", "ChangeSetReady", "Executing", "Settling", "Verifying", "Applied"]
CHAIN = ("tls-listener", "https-redirect", "alias-record", "dns-health-check")


def _condition(body: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = (body.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {})


def _kubectl(world: World, *arguments: str) -> str:
    found = binaries.find()
    if found is None or found.kubectl is None:
        pytest.skip("no kubectl here: `python -m passmuster.sandbox.binaries` gets it")
    command = [str(found.kubectl), "--kubeconfig", str(world.plane.kubeconfig()), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_the_operator_becomes_ready_and_leads(world: World) -> None:
    world.start_operator()
    assert world.operator.get("/healthz") == "ok\n"
    world.until("the lease", world.samples, lambda s: s.get("passmuster_leader") == 1.0)


def test_applying_a_policy_brings_level_score_and_evidence(world: World) -> None:
    for document in manifests():
        answer = world.server.apply(document)
        assert answer.ok, answer.message
    policy = world.until(
        "the verdict",
        lambda: world.get("readinesspolicies", "shop"),
        lambda body: _condition(body, "Ready").get("status") == "True" and body["status"].get("level"),
    )
    status = policy["status"]
    assert status["level"] == "Foundation"
    assert 0 < status["score"] < 100
    assert status["summary"]["score"] == f"{status['score']:.1f}"
    assert status["criticalFailing"] >= 4
    assert status["next"]["level"] == "Production"
    assert _condition(policy, "Compliant")["status"] == "False"
    assert _condition(policy, "CredentialsValid")["status"] == "True"
    trail = world.check("cloudtrail-multi-region")
    assert trail["status"] == "Fail"
    assert trail["findings"][0]["source"] == "cloudtrail:DescribeTrails"
    assert trail["findings"][0]["observedAt"]
    assert world.faults() == []


def test_kubectl_get_describe_and_wait_are_pleasant_and_true(world: World) -> None:
    listed = _kubectl(world, "get", "rp,rr,rem", "-A")
    assert "ACCOUNT" in listed
    assert "Foundation" in listed
    wide = _kubectl(world, "get", "rp", "-n", "shop", "-o", "wide")
    assert "shop-production" in wide
    described = _kubectl(world, "describe", "rp", "shop", "-n", "shop")
    assert "Foundation reached, Production declared" in described
    assert "First inspection: level Foundation" in described
    assert "condition met" in _kubectl(world, "wait", "--for=condition=Ready", "rp/shop", "-n", "shop", "--timeout=30s")
    explained = _kubectl(world, "explain", "readinesspolicy.spec.remediation.mode")
    assert "Propose" in explained


def test_remediations_are_proposed_with_cost_order_and_undo(world: World) -> None:
    world.until(
        "the proposals",
        lambda: world.list("remediations"),
        lambda found: len(found) >= 4 and all((r.get("status") or {}).get("state") for r in found),
    )
    trail = world.remediation("cloudtrail")
    assert trail["status"]["state"] == "AwaitingApproval"
    assert trail["spec"]["cost"]["monthly"] == 1.0
    assert "S3 storage of the logs" in trail["spec"]["cost"]["unpriced"]
    assert "stay" in trail["spec"]["undo"]
    assert any("AWS::CloudTrail::Trail" in line for line in trail["spec"]["intent"]["changes"])
    assert world.remediation("dns-health-check")["spec"]["requires"] == ["custom-domain", "tls-certificates-valid"]
    assert trail["status"]["summary"] == {"cost": "1.00", "approved": "0/1"}


def test_nothing_was_changed_in_the_account_before_an_approval(world: World) -> None:
    reads = ("Describe", "List", "Get", "BatchGet", "AssumeRole", "Decode")
    keys = set(world.aws.root_keys(world.account.account_id).for_boto3().values())
    changed = [
        entry for entry in world.aws.requests if entry.access_key not in keys and not entry.operation.startswith(reads)
    ]
    assert changed == []


def test_an_approval_without_the_verb_is_refused(world: World) -> None:
    answer = world.approve("cloudtrail", user="bob")
    assert answer.status == 403
    assert "approve" in answer.message


def test_an_approval_in_anothers_name_is_refused(world: World) -> None:
    body = world.remediation("cloudtrail")
    entry = {"by": "carol", "action": "Apply", "digest": body["spec"]["intent"]["digest"]}
    answer = world.server.patch(body, {"spec": {"approvals": [entry]}}, user="alice")
    assert answer.status == 403
    assert "user it names" in answer.message


def test_editing_the_rest_of_a_remediation_is_refused(world: World) -> None:
    body = world.remediation("cloudtrail")
    answer = world.server.patch(body, {"spec": {"intent": {"parameters": {"RetentionDays": "1"}}}}, user="alice")
    assert answer.status == 403


def test_an_approved_trail_is_applied_only_after_its_findings_pass(world: World) -> None:
    before = world.get("readinesspolicies", "shop")["status"]
    assert world.approve("cloudtrail").ok
    world.until(
        "the change", lambda: world.state("cloudtrail"), lambda state: state in ("Applied", "Failed", "RolledBack")
    )
    applied = world.remediation("cloudtrail")
    assert applied["status"]["state"] == "Applied", applied["status"]["conditions"]
    states = [entry["state"] for entry in applied["status"]["history"]]
    order = [
        "Proposed",
        "AwaitingApproval",
        "Scheduled",
        "ChangeSetReady",
        "Executing",
        "Settling",
        "Verifying",
        "Applied",
    ]
    assert [s for s in order if s in states] == order
    assert next(e for e in applied["status"]["history"] if e["state"] == "Scheduled")["by"] == ["alice"]
    for check in ("cloudtrail-multi-region", "cloudtrail-log-validation", "cloudtrail-encrypted"):
        world.until(check, lambda check=check: world.check(check).get("status"), lambda status: status == "Pass")
    after = world.until(
        "the better score",
        lambda: world.get("readinesspolicies", "shop")["status"],
        lambda s: s["score"] > before["score"],
    )
    assert after["criticalFailing"] == before["criticalFailing"] - 1
    assert applied["status"]["after"]["score"] > applied["status"]["before"]["score"]
    world.until("the statuses of what is proposed since", world.faults, lambda faults: faults == [])


def test_metrics_tell_the_same_story(world: World) -> None:
    status = world.get("readinesspolicies", "shop")["status"]
    samples = world.until(
        "the score",
        world.samples,
        lambda s: any("check_status" in n and "cloudtrail-multi-region" in n and "Pass" in n for n in s),
    )
    labels = f'account_id="{world.account.account_id}",policy="shop",policy_namespace="shop"'
    assert samples[f"passmuster_score_ratio{{{labels}}}"] == pytest.approx(status["score"] / 100)
    assert samples[f"passmuster_critical_failing{{{labels}}}"] == status["criticalFailing"]
    level = f'account_id="{world.account.account_id}",level="Foundation",policy="shop",policy_namespace="shop"'
    assert samples[f"passmuster_level{{{level}}}"] == 1.0
    assert any(name.startswith("passmuster_aws_api_requests_total") for name in samples)
    everywhere = world.server.call("GET", "/apis/passmuster.io/v1alpha1/remediations").body["items"]
    applied = [r for r in everywhere if (r.get("status") or {}).get("state") == "Applied"]
    told = [
        n for name, n in samples.items() if name.startswith("passmuster_remediations") and 'state="Applied"' in name
    ]
    assert sum(told) == len(applied)


def _inspected_again(world: World, token: str) -> dict[str, Any]:
    """The policy after an inspection that an annotation asked for."""
    policy = world.get("readinesspolicies", "shop")
    world.server.patch(policy, {"metadata": {"annotations": {"reconcile.passmuster.io/requestedAt": token}}})
    return dict(
        world.until(
            "the echo",
            lambda: world.get("readinesspolicies", "shop"),
            lambda body: body["status"].get("lastHandledReconcileAt") == token,
        )
    )


def test_a_second_inspection_of_an_unchanged_account_writes_nothing_but_the_echo(world: World) -> None:
    policy = _inspected_again(world, "settled")
    report = world.get("readinessreports", f"shop-{world.account.account_id}")
    echoed = _inspected_again(world, "again-1")
    unchanged = world.get("readinessreports", f"shop-{world.account.account_id}")
    assert unchanged["metadata"]["resourceVersion"] == report["metadata"]["resourceVersion"]
    times = [c["lastTransitionTime"] for c in policy["status"]["conditions"]]
    assert [c["lastTransitionTime"] for c in echoed["status"]["conditions"]] == times


def test_the_chain_to_a_watched_tls_endpoint_is_applied_in_its_order(world: World) -> None:
    for name in CHAIN:
        if name != "https-redirect":  # nothing to redirect to, until the TLS listener is there
            assert world.approve(name).ok
    waiting = world.remediation("dns-health-check")["status"]
    assert waiting["state"] in ("AwaitingApproval", "Scheduled")
    for name in CHAIN:
        world.until(
            name,
            lambda name=name: _approved_again(world, name),
            lambda state: state in ENDED,
        )
        assert world.state(name) == "Applied", world.remediation(name)["status"]
    for check in ("custom-domain", "dns-health-checks"):
        world.until(check, lambda check=check: world.check(check).get("status"), lambda status: status == "Pass")
    applied = {name: world.remediation(name)["status"]["history"][-1]["at"] for name in CHAIN}
    assert [applied[name] for name in CHAIN] == sorted(applied.values())
    world.until("the statuses of what is proposed since", world.faults, lambda faults: faults == [])


def _approved_again(world: World, name: str) -> str:
    """The state; an intent that changed because the account did is approved as it is now."""
    body = world.remediation(name)
    if (body.get("status") or {}).get("state") == "AwaitingApproval":
        world.approve(name)
    return str((body.get("status") or {}).get("state", ""))


def test_an_approved_undo_leaves_the_account_as_before_and_the_check_fails_again(world: World) -> None:
    cloudtrail = world.aws.client("cloudtrail", world.account.region)
    assert len(cloudtrail.describe_trails()["trailList"]) == 1
    assert world.approve("cloudtrail", action="Undo").ok
    world.until("the undoing", lambda: world.state("cloudtrail"), lambda state: state == "Undone")
    assert cloudtrail.describe_trails()["trailList"] == []
    world.until(
        "the failing check",
        lambda: world.check("cloudtrail-multi-region").get("status"),
        lambda status: status == "Fail",
    )
    undone = world.remediation("cloudtrail")
    assert "kept: LogKey, LogBucket, LogBucketPolicy" in _condition(undone, "Ready")["message"]


def test_what_was_undone_is_not_proposed_again(world: World) -> None:
    _inspected_again(world, "again-2")
    assert world.state("cloudtrail") == "Undone"


def test_a_restarted_operator_rebuilds_its_figures_before_it_is_ready_and_asks_aws_nothing(world: World) -> None:
    score = [name for name in world.samples() if name.startswith("passmuster_score_ratio")]
    before = {name: world.samples()[name] for name in score}
    assert world.operator.stop() == 0
    world.aws.requests.clear()
    world.start_operator()
    world.until("the lease", world.samples, lambda s: s.get("passmuster_leader") == 1.0)
    after = world.samples()
    assert {name: after.get(name) for name in score} == before
    assert [r for r in world.aws.requests if r.operation not in ("AssumeRole", "GetCallerIdentity")] == []


@contextmanager
def _resting(world: World) -> Iterator[None]:
    """The shop's policy is suspended, so that what AWS is asked within is not of its making."""
    policy = world.get("readinesspolicies", "shop")
    assert world.server.patch(policy, {"spec": {"suspend": True}}).ok
    world.until(
        "the suspension",
        lambda: world.get("readinesspolicies", "shop"),
        lambda body: _condition(body, "Ready").get("reason") == "Suspended",
    )
    world.aws.requests.clear()
    yield
    assert world.server.patch(policy, {"spec": {"suspend": False}}).ok
    world.until(
        "the return",
        lambda: world.get("readinesspolicies", "shop"),
        lambda body: _condition(body, "Ready").get("status") == "True",
    )


def test_a_suspended_policy_makes_no_aws_call(world: World) -> None:
    with _resting(world):
        _inspected_again(world, "again-3")
        assert world.aws.requests == []


def test_a_namespace_that_the_account_does_not_admit_is_refused_without_an_aws_call(world: World) -> None:
    world.server.namespace("intruder")
    policy = {
        "apiVersion": "passmuster.io/v1alpha1",
        "kind": "ReadinessPolicy",
        "metadata": {"name": "intruder", "namespace": "intruder"},
        "spec": {"accountRef": {"name": "shop-production"}, "level": "Production"},
    }
    with _resting(world):
        assert world.server.apply(policy).ok
        refused = world.until(
            "the refusal",
            lambda: world.get("readinesspolicies", "intruder", "intruder"),
            lambda body: _condition(body, "Stalled"),
        )
        assert _condition(refused, "Ready")["reason"] == "NamespaceNotAllowed"
        assert "allowedNamespaces" in _condition(refused, "Ready")["message"]
        assert world.aws.requests == []
    account = world.get("awsaccounts", "shop-production")
    admitted = {"spec": {"allowedNamespaces": {"names": ["shop", "intruder"]}}}
    assert world.server.patch(account, admitted).ok
    world.until(
        "the admission, without touching the policy",
        lambda: world.get("readinesspolicies", "intruder", "intruder"),
        lambda body: _condition(body, "Ready").get("status") == "True",
    )
    world.server.delete(policy)


def test_credentials_of_another_account_stall_the_policy(world: World) -> None:
    wrong = {
        "apiVersion": "passmuster.io/v1alpha1",
        "kind": "AWSAccount",
        "metadata": {"name": "other"},
        "spec": {"accountId": "999999999999", "regions": ["eu-central-1"], "allowedNamespaces": {"names": ["shop"]}},
    }
    policy = {
        "apiVersion": "passmuster.io/v1alpha1",
        "kind": "ReadinessPolicy",
        "metadata": {"name": "other", "namespace": "shop"},
        "spec": {"accountRef": {"name": "other"}, "level": "Production"},
    }
    assert world.server.apply(wrong).ok
    with _resting(world):
        assert world.server.apply(policy).ok
        refused = world.until(
            "the refusal", lambda: world.get("readinesspolicies", "other"), lambda body: _condition(body, "Stalled")
        )
        assert _condition(refused, "CredentialsValid")["reason"] == "AccountMismatch"
        assert {r.operation for r in world.aws.requests} == {"GetCallerIdentity"}
    world.server.delete(policy)
    world.server.delete(wrong)


def test_an_alert_brings_an_inspection_forward_and_needs_its_token(world: World) -> None:
    token = world.folder / "token"
    token.write_text("watchword\n")
    world.operator.stop()
    operator = world.start_operator("--alerts-token-file", str(token))
    world.until("the lease", world.samples, lambda s: s.get("passmuster_leader") == 1.0)
    alert = (
        '{"version":"4","status":"firing","truncatedAlerts":0,"alerts":[{"status":"firing","startsAt":'
        '"2026-11-21T10:00:00Z","fingerprint":"abcdef0123456789","labels":{"policy_namespace":"shop","policy":"shop",'
        '"check":"https-redirect"}}]}'
    )

    def post(body: str, bearer: str) -> int:
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{operator.url}/alerts", body.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code

    assert post(alert, "guess") == 401
    assert post("{}", "watchword") == 400
    assert post(alert, "watchword") == 202
    world.until(
        "the echo",
        lambda: world.get("readinesspolicies", "shop")["status"].get("lastHandledReconcileAt", ""),
        lambda echo: echo.startswith("alert-"),
    )


def test_a_standby_takes_over_from_a_leader_that_is_killed(world: World) -> None:
    leader = world.operator
    standby = world.start_operator()
    assert "passmuster_leader 0.0" in standby.get("/metrics")
    assert "passmuster_score_ratio{" not in standby.get("/metrics")
    leader.stop(abruptly=True)
    world.until("the takeover", world.samples, lambda s: s.get("passmuster_leader") == 1.0)
    assert "passmuster_score_ratio{" in standby.get("/metrics")


def test_a_deleted_policy_takes_its_report_and_its_series_with_it(world: World) -> None:
    world.server.delete(world.get("readinesspolicies", "shop"))
    for body in world.list("readinessreports"):
        world.server.delete(body)
    world.until(
        "the end of its series", world.samples, lambda s: not any(n.startswith("passmuster_score_ratio{") for n in s)
    )
