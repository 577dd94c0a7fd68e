"""What goes wrong around a running operator: the API server, the role, single services, single actions, a hanging AWS.

The tests of this module tell one story in their order, on one account.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from e2e.conftest import World, manifests
from turns import condition

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

IDENTITY = {"AssumeRole", "GetCallerIdentity"}


def _level(body: dict[str, Any]) -> str:
    return str((body.get("status") or {}).get("level") or "")


def _restart(world: World) -> None:
    """The API server is killed and comes back; for some seconds its admission does not know our kinds."""
    world.plane.restart_apiserver(abruptly=True)
    world.until("the kinds", lambda: world.policy, bool)
    world.until("admission", lambda: world.server.apply(manifests()[-1], dry=True).status, lambda status: status == 200)


def _findings(world: World, check: str) -> list[dict[str, Any]]:
    return list(world.check(check).get("findings", ()))


def test_an_account_is_judged_before_anything_goes_wrong(world: World) -> None:
    for document in manifests():
        assert world.server.apply(document).ok
    world.start_operator()
    policy = world.until("the verdict", lambda: world.policy, _level)
    assert condition(policy, "Inspected")["reason"] == "InspectionComplete"
    assert world.faults() == []


def test_a_restart_of_the_api_server_loses_nothing(world: World) -> None:
    before = world.policy["status"]
    score = {name: value for name, value in world.samples().items() if name.startswith("passmuster_score_ratio")}
    assert score
    _restart(world)
    world.until("health", lambda: world.operator.get("/healthz"), lambda text: text == "ok\n")
    world.until("the lease", world.samples, lambda samples: samples.get("passmuster_leader") == 1.0)
    after = {name: value for name, value in world.samples().items() if name in score}
    assert after == score
    policy = world.inspected("after-the-restart")
    assert policy["status"]["level"] == before["level"]
    assert policy["status"]["score"] == before["score"]
    assert world.operator.get("/healthz") == "ok\n"
    assert world.faults() == []


def test_a_policy_deleted_while_the_api_server_restarts_leaves_no_series(world: World) -> None:
    spec = {**world.policy["spec"], "remediation": {"mode": "Observe"}}
    other = {
        "apiVersion": "passmuster.io/v1alpha1",
        "kind": "ReadinessPolicy",
        "metadata": {"name": "brief", "namespace": "shop"},
        "spec": spec,
    }
    assert world.server.apply(other).ok

    def series() -> list[str]:
        return [name for name in world.samples() if 'policy="brief"' in name]

    world.until("its series", series, lambda found: found)
    assert world.server.delete(other).ok
    _restart(world)
    world.until("the operator's answer", world.samples, lambda samples: samples.get("passmuster_leader") == 1.0)
    world.until("the end of its series", series, lambda found: not found)


def test_a_throttled_service_is_unknown_beside_findings_that_stand(world: World) -> None:
    before = {c["id"]: c["status"] for c in _report(world)["checks"]}
    fault = world.aws.faults.add("throttled", service="cloudtrail")
    try:
        policy = world.inspected("throttled")
    finally:
        world.aws.faults.remove(fault)
    assert condition(policy, "Inspected")["reason"] == "Throttled"
    assert condition(policy, "Ready")["status"] == "True"
    trail = _findings(world, "cloudtrail-multi-region")
    assert {finding["status"] for finding in trail} == {"Unknown"}
    assert trail[0]["reason"] == "Throttled"
    after = {c["id"]: c["status"] for c in _report(world)["checks"]}
    changed = {check for check in before if before[check] != after[check]}
    assert changed
    assert {after[check] for check in changed} == {"Unknown"}
    assert all("trail" in check or "log" in check for check in changed), changed
    assert after["https-redirect"] == "Fail"
    assert world.faults() == []


def test_a_denied_action_is_named_and_the_rest_is_judged(world: World) -> None:
    fault = world.aws.faults.add("denied", service="elbv2", operation="DescribeListeners")
    try:
        policy = world.inspected("denied-action")
    finally:
        world.aws.faults.remove(fault)
    inspected = condition(policy, "Inspected")
    assert (inspected["status"], inspected["reason"]) == ("True", "PartialInspection")
    assert "elbv2:DescribeListeners denied" in inspected["message"]
    findings = _findings(world, "https-redirect")
    told = {(finding["status"], finding.get("reason")) for finding in findings}
    assert told <= {("Unknown", "Denied"), ("Pass", None)}
    assert (findings[0]["status"], world.check("https-redirect")["status"]) == ("Unknown", "Unknown")
    assert "elasticloadbalancing:DescribeListeners" in findings[0]["message"]
    refused = _report(world)["refusals"]
    assert [(r["call"], r["reason"]) for r in refused] == [("elbv2:DescribeListeners", "Denied")]
    assert world.check("cloudtrail-multi-region")["status"] == "Fail"
    assert world.faults() == []


def test_when_it_is_allowed_again_everything_is_as_before(world: World) -> None:
    policy = world.inspected("allowed-again")
    assert condition(policy, "Inspected")["reason"] == "InspectionComplete"
    assert world.check("https-redirect")["status"] == "Fail"


def test_a_role_that_may_not_be_assumed_backs_off_and_only_identity_is_asked_for(world: World) -> None:
    world.operator.stop()
    world.aws.faults.add("denied", service="sts", operation="AssumeRole")
    world.aws.requests.clear()
    world.start_operator()
    world.until("the lease", world.samples, lambda samples: samples.get("passmuster_leader") == 1.0)
    world.ask("denied-role")
    refused = world.until(
        "the refusal", lambda: world.policy, lambda body: condition(body, "CredentialsValid")["status"] == "False"
    )
    assert condition(refused, "CredentialsValid")["reason"] == "AssumeRoleDenied"
    assert condition(refused, "Reconciling")["status"] == "True"
    assert condition(refused, "Ready")["status"] == "False"
    assert not condition(refused, "Stalled")
    account = world.get("awsaccounts", "shop-production")
    assert condition(account, "CredentialsValid")["reason"] == "AssumeRoleDenied"
    asked = list(world.aws.requests)
    time.sleep(3)
    later = list(world.aws.requests)
    assert {request.operation for request in later} <= IDENTITY
    assert len(later) <= len(asked) + 1
    assert world.operator.get("/healthz") == "ok\n"
    assert _report(world)["checks"]
    assert world.faults() == []


def test_sigterm_during_an_inspection_that_hangs_ends_the_process_in_five_seconds(world: World) -> None:
    world.operator.stop()
    world.aws.faults.clear()
    world.start_operator()
    world.until("the lease", world.samples, lambda samples: samples.get("passmuster_leader") == 1.0)
    hang = world.aws.faults.add("hang", service="ec2", seconds=30.0)
    world.ask("hangs")
    world.until("the hanging call", lambda: hang.hits, lambda hits: hits > 0)
    began = time.monotonic()
    code = world.operator.stop()
    took = time.monotonic() - began
    world.aws.faults.clear()
    assert code == 0, world.operator.tail()
    assert took < 5, world.operator.tail()
    lease = world.server.call("GET", "/apis/coordination.k8s.io/v1/namespaces/passmuster-system/leases/passmuster")
    assert not lease.body["spec"].get("holderIdentity")


def _report(world: World) -> dict[str, Any]:
    return dict(world.get("readinessreports", f"shop-{world.account.account_id}")["status"])
