"""One turn of a policy: when it asks AWS, what it writes, and what it says while an account does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passmuster.engine.ports import POLICIES, REPORTS, Key
from passmuster.sandbox.accounts import review
from passmuster.sandbox.simulated_aws import SimulatedAWS
from turns import ACCOUNT, EVERYTHING, POLICY, REPORT, ROOT, World, condition, empty_account

OTHER = "222222222222"
IDENTITY = {"AssumeRole", "GetCallerIdentity"}


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    """Two empty accounts."""
    with empty_account() as running:
        running.role_with_policy(OTHER, EVERYTHING, name=review.INSPECTION_ROLE, trusted=ROOT)
        yield running


def _asked(world: World) -> set[str]:
    return {request.operation for request in world.aws.requests}


def _deny(world: World) -> Any:
    """The inspection role may not be assumed from now on."""
    world.engine.identities._held.clear()
    return world.aws.faults.add("denied", service="sts", operation="AssumeRole")


def test_a_first_turn_judges_reports_and_sums_up(world: World) -> None:
    status = world.policy["status"]
    assert condition(world.policy, "Ready")["reason"] == "Succeeded"
    assert condition(world.policy, "CredentialsValid")["reason"] == "IdentityConfirmed"
    assert condition(world.policy, "Compliant")["status"] == "False"
    assert world.check("cloudtrail-multi-region") == "Fail"
    assert status["accounts"] == 1
    assert status["summary"]["account"] == "shop-production"
    assert condition(world.cluster.get(ACCOUNT) or {}, "Ready")["status"] == "True"
    assert (world.cluster.get(ACCOUNT) or {})["status"]["policies"] == 1


def test_a_turn_in_which_nothing_is_due_asks_aws_nothing_and_writes_nothing(world: World) -> None:
    world.turn()
    world.cluster.writes.clear()
    world.aws.requests.clear()
    due = world.turn()
    assert world.aws.requests == []
    assert world.cluster.writes == []
    assert due is not None
    assert 3000 < due <= 3600 * 1.05


def test_an_unchanged_account_costs_only_a_heartbeat(world: World) -> None:
    world.turn()
    world.cluster.writes.clear()
    world.look()
    world.look()
    assert [key for key, _ in world.cluster.writes if key.plural == REPORTS] == []
    assert [status for key, status in world.cluster.writes if key == POLICY and "conditions" in status] == []


def test_a_requested_inspection_is_echoed_when_it_is_done(world: World) -> None:
    world.cluster.patch(POLICY, {"metadata": {"annotations": {"reconcile.passmuster.io/requestedAt": "now"}}})
    world.turn()
    assert world.policy["status"]["lastHandledReconcileAt"] == "now"
    assert "DescribeTrails" in _asked(world)
    world.aws.requests.clear()
    world.turn()
    assert world.aws.requests == []


def test_a_hint_reads_only_what_its_checks_need(world: World) -> None:
    prefix = "reconcile.passmuster.io"
    annotations = {f"{prefix}/requestedAt": "alert", f"{prefix}/hint": "cloudtrail-encrypted"}
    world.cluster.patch(POLICY, {"metadata": {"annotations": annotations}})
    world.turn()
    services = {request.service for request in world.aws.requests} - {"sts"}
    assert "cloudtrail" in services
    assert not services & {"elbv2", "route53", "acm"}


def test_an_inspection_is_due_after_the_interval(world: World) -> None:
    world.clock.ahead = timedelta(hours=1, minutes=4)
    world.turn()
    assert world.aws.requests != []


def test_a_changed_policy_is_inspected_at_once(world: World) -> None:
    world.policy_spec(level="Stable")
    world.turn()
    assert world.policy["status"]["observedGeneration"] == 2
    assert condition(world.policy, "Ready")["observedGeneration"] == 2


def test_a_role_that_may_not_be_assumed_is_told_and_only_identity_is_asked_for(world: World) -> None:
    _deny(world)
    world.look()
    assert condition(world.policy, "CredentialsValid")["reason"] == "AssumeRoleDenied"
    assert condition(world.policy, "Reconciling")["status"] == "True"
    assert condition(world.policy, "Stalled") == {}
    assert _asked(world) <= IDENTITY
    assert condition(world.cluster.get(ACCOUNT) or {}, "CredentialsValid")["status"] == "False"
    assert world.counters.inspection_failures["AssumeRoleDenied"] >= 1


def test_between_two_tries_the_refusal_is_not_forgotten(world: World) -> None:
    _deny(world)
    world.look()
    world.aws.requests.clear()
    world.turn(2)
    assert world.aws.requests == []
    assert condition(world.policy, "CredentialsValid")["reason"] == "AssumeRoleDenied"
    assert condition(world.policy, "Ready")["status"] == "False"


def test_tries_grow_apart_up_to_ten_minutes(world: World) -> None:
    _deny(world)
    world.look()
    waits = []
    for _ in range(7):
        due = world.turn()
        assert due is not None
        waits.append(round(due / 30) * 30)
        world.clock.ahead += timedelta(seconds=due + 1)
        world.turn()
    assert waits == [30, 60, 120, 240, 480, 600, 600]


def test_an_account_that_answers_again_is_ready_again(world: World) -> None:
    fault = _deny(world)
    world.look()
    world.aws.faults.remove(fault)
    world.clock.ahead += timedelta(seconds=31)
    world.turn()
    assert condition(world.policy, "Ready")["status"] == "True"
    assert condition(world.policy, "CredentialsValid")["status"] == "True"
    assert condition(world.policy, "Reconciling") == {}


def test_a_refusal_is_an_event_once(world: World) -> None:
    _deny(world)
    world.look()
    for _ in range(3):
        world.clock.ahead += timedelta(minutes=11)
        world.turn()
    told = [reason for who, reason, _ in world.cluster.events if who == "ReadinessPolicy/shop" and "Denied" in reason]
    assert told == ["Warning AssumeRoleDenied"]


# a restart


def test_a_restarted_process_asks_nothing_while_nothing_is_due(world: World) -> None:
    world.turn()
    before = world.policy["status"]
    figures = world.fleet.figures()
    world.restart()
    world.turn(2)
    assert world.aws.requests == []
    assert world.policy["status"] == before
    assert [(f.score, f.checks, f.level) for f in world.fleet.figures()] == [
        (f.score, f.checks, f.level) for f in figures
    ]


def test_the_time_of_the_last_inspection_does_not_go_back_at_a_restart(world: World) -> None:
    for _ in range(3):
        world.clock.ahead += timedelta(minutes=70)
        world.look()
    stored = (world.cluster.get(REPORT) or {})["status"]["inspection"]["startedAt"]
    told = world.policy["status"]["lastInspection"]["startedAt"]
    world.restart()
    (figures,) = world.fleet.figures()
    assert figures.inspected_at is not None
    assert figures.inspected_at.isoformat().replace("+00:00", "Z") == max(stored, told)


def test_a_refusal_is_not_forgotten_by_a_restart(world: World) -> None:
    _deny(world)
    world.look()
    world.restart()
    world.turn()
    assert condition(world.policy, "CredentialsValid")["reason"] == "AssumeRoleDenied"
    assert condition(world.policy, "Ready")["status"] == "False"


def test_a_partial_inspection_is_not_forgotten_by_a_restart(world: World) -> None:
    world.aws.faults.add("denied", service="cloudtrail", operation="DescribeTrails")
    world.look()
    before = condition(world.policy, "Inspected")
    assert before["reason"] == "PartialInspection"
    assert "cloudtrail:DescribeTrails denied" in before["message"]
    world.restart()
    world.turn()
    assert condition(world.policy, "Inspected") == before


def test_a_clock_that_was_set_back_stops_no_inspection(world: World) -> None:
    world.clock.ahead = timedelta(days=2)
    world.look()
    world.clock.ahead = timedelta(0)
    world.aws.requests.clear()
    due = world.turn()
    assert "DescribeTrails" in _asked(world)
    assert due is not None
    assert due <= 3600 * 1.05
    world.restart()
    world.clock.ahead = -timedelta(days=2)
    world.turn()
    assert condition(world.policy, "Ready")["status"] == "True"
    assert (world.cluster.get(REPORT) or {})["status"]["inspection"]["startedAt"] < (
        datetime.now(UTC) - timedelta(days=1)
    ).isoformat()


# the rules of the account


def test_a_policy_without_its_account_stalls_and_says_what_to_do(world: World) -> None:
    world.policy_spec(accountRef={"name": "gone"})
    world.turn()
    assert condition(world.policy, "Stalled")["reason"] == "AccountNotFound"
    assert "gone" in condition(world.policy, "Stalled")["message"]
    assert world.policy["status"]["summary"]["account"] == "gone"
    assert world.aws.requests == []


def test_a_namespace_that_is_not_admitted_asks_nothing(world: World) -> None:
    world.account_spec(allowedNamespaces={"names": ["other"]})
    world.turn()
    assert condition(world.policy, "Stalled")["reason"] == "NamespaceNotAllowed"
    assert world.aws.requests == []
    world.account_spec(allowedNamespaces={"names": ["shop"]})
    world.turn()
    assert condition(world.policy, "Ready")["status"] == "True"


def test_a_spec_that_cannot_be_read_stalls(world: World) -> None:
    world.policy_spec(level="Perfect")
    assert world.turn() is None
    assert condition(world.policy, "Stalled")["reason"] == "InvalidSpec"
    assert "level" in condition(world.policy, "Stalled")["message"]


def test_a_deleted_policy_takes_its_series_with_it(world: World) -> None:
    assert len(world.fleet.figures()) == 1
    world.cluster.delete(POLICY)
    assert world.turn() is None
    assert world.fleet.figures() == []


def test_an_account_that_the_policy_no_longer_names_takes_its_report_and_series_with_it(world: World) -> None:
    other = (world.cluster.get(ACCOUNT) or {})["spec"] | {"accountId": OTHER}
    other |= {"roleArn": f"arn:aws:iam::{OTHER}:role/{review.INSPECTION_ROLE}", "remediationRoleArn": None}
    spec = {name: value for name, value in other.items() if value is not None}
    body = {"apiVersion": "passmuster.io/v1alpha1", "kind": "AWSAccount", "metadata": {"name": "other"}, "spec": spec}
    world.cluster.create("awsaccounts", body)
    world.policy_spec(accountRef={"name": "other"})
    world.turn()
    assert [key.name for key, _ in world.cache.all(REPORTS)] == [f"shop-{OTHER}"]
    assert [figures.account_id for figures in world.fleet.figures()] == [OTHER]


def test_an_account_that_nobody_uses_says_so(world: World) -> None:
    world.cluster.delete(POLICY)
    world.reconciler.reconcile_account(ACCOUNT)
    body = world.cluster.get(ACCOUNT) or {}
    assert condition(body, "CredentialsValid")["reason"] == "NotUsed"
    assert body["status"]["policies"] == 0


def test_a_report_that_somebody_deleted_comes_back_with_the_next_inspection(world: World) -> None:
    world.cluster.delete(REPORT)
    world.look()
    assert world.check("cloudtrail-multi-region") == "Fail"


def test_two_policies_on_one_account_cost_one_inspection(world: World) -> None:
    second = Key(POLICIES, "shop", "second")
    body = {**world.policy, "metadata": {"name": "second", "namespace": "shop"}}
    world.cluster.create(POLICIES, {name: value for name, value in body.items() if name != "status"})
    world.aws.requests.clear()
    world.reconciler.reconcile(second)
    assert _asked(world) <= IDENTITY
    assert (world.cluster.get(second) or {})["status"]["level"] == world.policy["status"]["level"]
