"""Waivers and attestations under the engine: what they change, when they end, and that AWS is never asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import apiserver
from passmuster.api.fields import written
from passmuster.cli import offline
from passmuster.engine.ports import ATTESTATIONS, POLICIES, REPORTS, WAIVERS, Key
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, SimulatedAWS
from turns import ACCOUNT, REPORT, Clock, World, build, condition, empty_account, objects

MEDIUM, CRITICAL, PROCESS = "budgets-configured", "cloudtrail-multi-region", "ci-cd-pipeline"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    with empty_account() as running:
        yield running


@pytest.fixture
def world(aws: SimulatedAWS, engine: tuple[offline.Engine, Clock]) -> Iterator[World]:
    """A policy that was judged once; from then on AWS must not be asked. No status may break the rules."""
    manifests = objects(mode="Observe")
    for document in manifests:
        if document["kind"] == "ReadinessPolicy":
            disabled = document["spec"]["checks"]["disabled"]
            document["spec"]["checks"]["disabled"] = [one for one in disabled if one not in (PROCESS, MEDIUM)]
    made = build(aws, engine, manifests)
    made.turn()
    made.cluster.events.clear()
    aws.requests.clear()
    yield made
    aws.faults.clear()
    assert made.cluster.faults == []


def waive(world: World, *by: str, check: str = MEDIUM, name: str = "legacy", ends: timedelta = 60 * DAY) -> Key:
    spec = {"expiresAt": written(world.clock() + ends), "approvals": [{"by": who} for who in by]}
    world.cluster.create(WAIVERS, apiserver.waiver("shop", name, check=check, **spec))
    return Key(WAIVERS, "shop", name)


def attest(world: World, *by: str, ends: timedelta = 60 * DAY) -> Key:
    dates = {"issuedAt": written(world.clock() - DAY), "expiresAt": written(world.clock() + ends)}
    approvals = [{"by": who} for who in by]
    body = apiserver.attestation("shop", "pipeline", check=PROCESS, approvals=approvals, **dates)
    world.cluster.create(ATTESTATIONS, body)
    return Key(ATTESTATIONS, "shop", "pipeline")


def body(world: World, key: Key) -> dict[str, Any]:
    return dict(world.cluster.get(key) or {})


def verdict(world: World, check: str) -> dict[str, Any]:
    report = world.cluster.get(REPORT) or {}
    return next(c for c in report["status"]["checks"] if c["id"] == check)


def told(world: World) -> list[str]:
    return [reason for _, reason, _ in world.cluster.events if "Waiver" in reason or "Attestation" in reason]


def expiries(world: World) -> list[tuple[str, str]]:
    return [(ends.kind, ends.name) for figures in world.fleet.figures() for ends in figures.expiries]


# it counts ------------------------------------------------------------------------------------------------------------


def test_an_approved_waiver_makes_the_check_pass_as_waived_without_asking_aws(world: World) -> None:
    before = world.policy["status"]
    key = waive(world, "ann")
    world.turn()
    found = verdict(world, MEDIUM)
    assert (found["status"], found["waived"]) == ("Pass", 1)
    assert [(f["status"], f["waivedBy"]) for f in found["findings"]] == [("Fail", "legacy")]
    after = world.policy["status"]
    assert after["checks"]["waived"] == 1
    assert after["checks"]["fail"] == before["checks"]["fail"] - 1
    assert after["lastInspection"] == before["lastInspection"]
    assert world.aws.requests == []
    status = body(world, key)["status"]
    assert (status["state"], status["findings"], status["summary"]["approved"]) == ("InForce", 1, "1/1")
    assert condition(body(world, key), "Ready")["reason"] == "InForce"
    assert expiries(world) == [("waivers", "legacy")]
    (shown,) = (world.cluster.get(REPORT) or {})["status"]["waivers"]
    assert (shown["name"], shown["state"], shown["approvedBy"]) == ("legacy", "InForce", ["ann"])


def test_a_waiver_that_lacks_approvals_changes_nothing_but_its_status(world: World) -> None:
    key = waive(world, "ann", check=CRITICAL)
    world.turn()
    assert world.check(CRITICAL) == "Fail"
    assert body(world, key)["status"]["state"] == "AwaitingApproval"
    assert body(world, key)["status"]["summary"]["approved"] == "1/2"
    world.cluster.patch(key, {"spec": {"approvals": [{"by": "ann"}, {"by": "bob"}]}})
    world.turn()
    assert world.check(CRITICAL) == "Pass"
    assert world.aws.requests == []


def test_an_approved_attestation_answers_the_check_without_asking_aws(world: World) -> None:
    assert world.check(PROCESS) == "Fail"
    key = attest(world)
    world.turn()
    assert world.check(PROCESS) == "Fail"
    world.cluster.patch(key, {"spec": {"approvals": [{"by": "ann"}]}})
    world.turn()
    assert world.check(PROCESS) == "Pass"
    assert [f["attestedBy"] for f in verdict(world, PROCESS)["findings"]] == ["pipeline"]
    assert world.aws.requests == []
    (shown,) = (world.cluster.get(REPORT) or {})["status"]["attestations"]
    assert (shown["owner"], shown["uri"]) == ("shop-team@example.com", "https://wiki.example.com/dr")
    assert expiries(world) == [("attestations", "pipeline")]


def test_a_waived_finding_gets_no_remediation(world: World) -> None:
    planned = {step["remediation"] for step in (world.cluster.get(REPORT) or {})["status"]["plan"]}
    waive(world, "ann", "bob", check=CRITICAL)
    world.turn()
    left = {step["remediation"] for step in (world.cluster.get(REPORT) or {})["status"]["plan"]}
    assert {name for name in planned - left if "cloudtrail" in name}
    assert not any("cloudtrail" in name for name in left)


@pytest.mark.parametrize("spec", [{"policyRef": {"name": "other"}}, {"accountRef": {"name": "another"}}])
def test_one_for_another_policy_or_account_changes_nothing(world: World, spec: dict[str, Any]) -> None:
    approvals = [{"by": "ann"}]
    world.cluster.create(WAIVERS, apiserver.waiver("shop", "legacy", check=MEDIUM, approvals=approvals, **spec))
    world.turn()
    assert world.check(MEDIUM) == "Fail"


def test_one_for_an_account_that_the_policy_does_not_govern_says_so(world: World) -> None:
    world.cluster.create(WAIVERS, apiserver.waiver("shop", "legacy", check=MEDIUM, accountRef={"name": "another"}))
    world.turn()
    ready = condition(body(world, Key(WAIVERS, "shop", "legacy")), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NotGoverned")


def test_one_without_a_policy_says_so(world: World) -> None:
    key = Key(WAIVERS, "shop", "legacy")
    world.cluster.create(WAIVERS, apiserver.waiver("shop", "legacy", policyRef={"name": "gone"}))
    world.reconciler.reconcile_grant(key)
    ready = condition(body(world, key), "Ready")
    assert (ready["reason"], "gone" in ready["message"]) == ("PolicyNotFound", True)


def test_without_the_guard_of_approvals_it_counts_for_nothing(world: World) -> None:
    key = waive(world, "ann")
    world.turn()
    world.cluster.guard = "The ValidatingAdmissionPolicy passmuster-approvals does not exist"
    world.turn()
    assert world.check(MEDIUM) == "Fail"
    assert condition(body(world, key), "Ready")["reason"] == "ApprovalsUnguarded"
    assert world.aws.requests == []


# it ends --------------------------------------------------------------------------------------------------------------


def test_the_next_turn_is_due_when_it_ends(world: World) -> None:
    waive(world, "ann", ends=timedelta(seconds=90))
    due = world.turn()
    assert due is not None
    assert 85 < due <= 90


def test_an_expired_waiver_makes_the_check_fail_again_without_asking_aws(world: World) -> None:
    key = waive(world, "ann", ends=timedelta(seconds=90))
    world.turn()
    world.clock.ahead += timedelta(seconds=91)
    due = world.turn()
    found = verdict(world, MEDIUM)
    assert (found["status"], found["waived"]) == ("Fail", 0)
    assert world.policy["status"]["checks"]["waived"] == 0
    assert world.aws.requests == []
    assert body(world, key)["status"]["state"] == "Expired"
    assert condition(body(world, key), "Ready")["reason"] == "WaiverExpired"
    assert expiries(world) == []
    assert due is not None
    assert due > 600
    world.turn(2)
    assert told(world) == ["Warning WaiverExpiresSoon", "Warning WaiverExpired"]


def test_an_expired_attestation_makes_the_check_fail_again(world: World) -> None:
    key = attest(world, "ann", ends=timedelta(seconds=90))
    world.turn()
    assert world.check(PROCESS) == "Pass"
    world.clock.ahead += timedelta(seconds=91)
    world.turn(2)
    assert world.check(PROCESS) == "Fail"
    assert condition(body(world, key), "Ready")["reason"] == "AttestationExpired"
    assert told(world) == ["Warning AttestationExpiresSoon", "Warning AttestationExpired"]
    assert world.aws.requests == []


def test_a_deleted_waiver_and_a_withdrawn_approval_take_effect_at_once(world: World) -> None:
    key = waive(world, "ann")
    world.turn()
    world.cluster.patch(key, {"spec": {"approvals": []}})
    world.turn()
    assert world.check(MEDIUM) == "Fail"
    world.cluster.patch(key, {"spec": {"approvals": [{"by": "ann"}]}})
    world.turn()
    assert world.check(MEDIUM) == "Pass"
    world.cluster.delete(key)
    world.turn()
    assert world.check(MEDIUM) == "Fail"
    assert (world.cluster.get(REPORT) or {})["status"].get("waivers", []) == []
    assert world.aws.requests == []


def test_fourteen_days_before_its_end_it_warns_once_and_the_condition_names_it(world: World) -> None:
    waive(world, "ann", ends=15 * DAY)
    world.turn()
    assert told(world) == []
    assert "legacy" not in condition(world.policy, "Compliant")["message"]
    world.clock.ahead += DAY + timedelta(minutes=1)
    for _ in range(3):
        world.turn()
        world.clock.ahead += DAY
    assert told(world) == ["Warning WaiverExpiresSoon"]
    assert "expires within 14 days: legacy" in condition(world.policy, "Compliant")["message"]


# whatever else goes wrong ---------------------------------------------------------------------------------------------


def deny(world: World) -> None:
    """The inspection role may not be assumed from now on."""
    world.engine.identities._held.clear()
    world.aws.faults.add("denied", service="sts", operation="AssumeRole")


def test_it_ends_also_while_the_account_lets_nobody_in(world: World) -> None:
    waive(world, "ann", ends=timedelta(seconds=90))
    world.turn()
    level = world.policy["status"]["checks"]
    deny(world)
    world.look()
    assert condition(world.policy, "CredentialsValid")["status"] == "False"
    assert world.check(MEDIUM) == "Pass"
    world.clock.ahead += timedelta(seconds=91)
    world.turn()
    assert world.check(MEDIUM) == "Fail"
    assert world.policy["status"]["checks"]["fail"] == level["fail"] + 1
    assert condition(world.policy, "CredentialsValid")["status"] == "False"
    assert condition(world.policy, "Ready")["status"] == "False"


def test_it_ends_also_under_a_suspended_policy(world: World) -> None:
    waive(world, "ann", ends=timedelta(seconds=90))
    world.turn()
    world.policy_spec(suspend=True)
    world.aws.requests.clear()
    due = world.turn()
    assert due is not None
    assert due <= 90
    world.clock.ahead += timedelta(seconds=91)
    assert world.turn() is None
    assert world.check(MEDIUM) == "Fail"
    assert world.policy["status"]["checks"]["waived"] == 0
    assert condition(world.policy, "Ready")["reason"] == "Suspended"
    assert world.aws.requests == []


def test_what_ended_while_no_process_ran_does_not_go_on_counting(world: World) -> None:
    waive(world, "ann", ends=timedelta(minutes=5))
    world.turn()
    world.cluster.events.clear()
    world.clock.ahead += timedelta(minutes=6)
    world.restart()
    world.turn()
    assert world.check(MEDIUM) == "Fail"
    assert told(world) == ["Warning WaiverExpired"]
    world.restart()
    world.turn()
    assert told(world) == ["Warning WaiverExpired"]


@pytest.mark.parametrize("how", ["denied", "suspended"])
def test_what_ended_does_not_go_on_counting_though_nothing_can_be_read_after_a_restart(world: World, how: str) -> None:
    before = world.policy["status"]
    waive(world, "ann", ends=timedelta(minutes=5))
    attest(world, "ann", ends=timedelta(minutes=5))
    world.turn()
    counting = world.policy["status"]
    plan = (world.cluster.get(REPORT) or {})["status"]["plan"]
    assert counting["checks"]["fail"] == before["checks"]["fail"] - 2
    if how == "denied":
        deny(world)
    else:
        world.policy_spec(suspend=True)
    world.cluster.events.clear()
    world.aws.requests.clear()
    world.clock.ahead += timedelta(minutes=6)
    world.restart()
    world.turn(2)
    assert world.check(MEDIUM) == "Fail"
    assert world.check(PROCESS) == "Unknown"
    assert "the account was not read since" in verdict(world, PROCESS)["findings"][0]["message"]
    assert {request.operation for request in world.aws.requests} <= {"AssumeRole"}
    status, report = world.policy["status"], (world.cluster.get(REPORT) or {})["status"]
    assert (status["checks"]["fail"], status["checks"]["waived"]) == (counting["checks"]["fail"] + 1, 0)
    assert status["checks"]["unknown"] == counting["checks"]["unknown"] + 1
    assert report["plan"] == plan
    assert report["counts"] == {**report["counts"], "fail": status["checks"]["fail"], "waived": 0}
    assert report["compliance"]["message"] == condition(world.policy, "Compliant")["message"]
    assert sorted(told(world)) == ["Warning AttestationExpired", "Warning WaiverExpired"]
    assert expiries(world) == []
    assert {c.id: c.status for f in world.fleet.figures() for c in f.checks}[MEDIUM] == "Fail"
    world.cluster.writes.clear()
    world.turn()
    assert [key for key, _ in world.cluster.writes if key == REPORT] == []
    if how == "suspended":
        world.policy_spec(suspend=False)
        world.turn()
        assert world.check(PROCESS) == "Fail"


def test_a_restart_while_it_counts_asks_aws_nothing_and_announces_nothing(world: World) -> None:
    waive(world, "ann", ends=10 * DAY)
    attest(world, "ann")
    world.turn()
    world.cluster.events.clear()
    world.restart()
    world.turn(2)
    assert world.aws.requests == []
    assert told(world) == []
    assert sorted(expiries(world)) == [("attestations", "pipeline"), ("waivers", "legacy")]


def test_a_turn_in_which_nothing_changes_writes_nothing(world: World) -> None:
    waive(world, "ann")
    attest(world, "ann")
    world.turn(2)
    world.cluster.writes.clear()
    world.turn(2)
    assert world.cluster.writes == []


def test_two_policies_of_one_account_have_waivers_of_their_own(world: World) -> None:
    spec = dict(world.policy["spec"])
    second = Key(POLICIES, "shop", "second")
    world.cluster.create(POLICIES, {"metadata": {"name": "second", "namespace": "shop"}, "spec": spec})
    waive(world, "ann")
    world.turn()
    world.reconciler.reconcile(second)
    other = world.cluster.get(Key(REPORTS, "shop", f"second-{DEFAULT_ACCOUNT}")) or {}
    assert next(c["status"] for c in other["status"]["checks"] if c["id"] == MEDIUM) == "Fail"
    assert world.check(MEDIUM) == "Pass"
    assert body(world, ACCOUNT)["status"]["policies"] == 2


# floors and leave -----------------------------------------------------------------------------------------------------


def test_a_floor_raises_a_looser_parameter_with_an_event_and_stands_in_the_report(world: World) -> None:
    check, looser, floor = "tls-certificates-valid", {"minDaysLeft": 10}, {"minDaysLeft": 30}
    world.policy_spec(checks={**world.policy["spec"]["checks"], "parameters": {check: looser}})
    world.turn()
    assert (world.cluster.get(REPORT) or {})["status"].get("raised", []) == []
    world.account_spec(floors={check: floor})
    world.turn(2)
    assert (world.cluster.get(REPORT) or {})["status"]["raised"] == [
        {"check": check, "parameter": "minDaysLeft", "asked": "10", "floor": "30"}
    ]
    events = [(reason, message) for _, reason, message in world.cluster.events if "Floor" in reason]
    assert [reason for reason, _ in events] == ["ParameterRaisedToFloor"]
    assert "minDaysLeft: 10 is looser than the account allows, 30 is used" in events[0][1]
    world.restart()
    world.look()
    assert len([1 for _, reason, _ in world.cluster.events if "Floor" in reason]) == 1


def test_a_disabled_check_is_shown_and_counted_and_holds_the_level_back_without_leave(world: World) -> None:
    disabled = [*world.policy["spec"]["checks"]["disabled"], MEDIUM]
    world.policy_spec(checks={"disabled": disabled})
    world.account_spec(mayDisable=disabled[:-1])
    world.turn()
    assert verdict(world, MEDIUM)["disabled"] is True
    assert world.check(MEDIUM) == "NotApplicable"
    counts = world.policy["status"]["checks"]
    assert counts["disabled"] == len(disabled)
    phases = {p["name"]: p for p in (world.cluster.get(REPORT) or {})["status"]["phases"]}
    assert any(MEDIUM in phase.get("missing", []) for phase in phases.values())
    world.account_spec(mayDisable=disabled)
    world.turn()
    phases = {p["name"]: p for p in (world.cluster.get(REPORT) or {})["status"]["phases"]}
    assert not any(MEDIUM in phase.get("missing", []) for phase in phases.values())


def test_an_optional_check_is_judged_only_when_the_policy_asks(world: World) -> None:
    checks = world.policy["spec"]["checks"]
    world.policy_spec(checks={**checks, "optional": []})
    world.turn()
    found = verdict(world, "global-accelerator-enabled")
    assert (found["status"], found["findings"][0]["reason"]) == ("NotApplicable", "NotRequested")
    world.policy_spec(checks={**checks, "optional": ["global-accelerator-enabled"]})
    world.turn()
    assert verdict(world, "global-accelerator-enabled")["findings"][0].get("reason") != "NotRequested"
