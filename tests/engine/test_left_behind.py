"""A change whose policy, account or process goes from under it: nothing is lost, and what waits says for what."""

from __future__ import annotations

from typing import Any

import pytest

from engine.conftest import Making, changed_for_good, insights
from passmuster.engine.ports import ACCOUNTS, REMEDIATIONS, Key, Object
from passmuster.sandbox.simulated_aws import SimulatedAWS
from turns import ACCOUNT, POLICY, World, condition

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nobodys")]

TRAIL = ("cloudtrail-multi-region",)
INSIGHTS = ("container-insights-enabled",)
ELSEWHERE = "222222222222"


@pytest.fixture
def selecting(making: Making) -> World:
    """A policy that selects the account, and another one that nobody can get into."""
    world = making(judged=TRAIL)
    world.cluster.patch(ACCOUNT, {"metadata": {"labels": {"team": "shop"}}})
    role = f"arn:aws:iam::{ELSEWHERE}:role/nobody"
    spec = {**(world.cluster.get(ACCOUNT) or {})["spec"], "accountId": ELSEWHERE, "roleArn": role}
    del spec["remediationRoleArn"]
    metadata = {"name": "elsewhere", "labels": {"team": "shop"}}
    body = {"apiVersion": "passmuster.io/v1alpha1", "kind": "AWSAccount", "metadata": metadata, "spec": spec}
    world.cluster.create(ACCOUNTS, body)
    world.policy_spec(accountRef=None, accountSelector={"matchLabels": {"team": "shop"}})
    world.turn()
    return world


def belongs_to(world: World, team: str) -> None:
    world.cluster.patch(ACCOUNT, {"metadata": {"labels": {"team": team}}})


def as_it_was(world: World, key: Key, before: Object) -> None:
    """The watch lags behind: it shows the object as it was."""
    world.cache.drop(key)
    world.cache.put(key, before)


# the account goes


@pytest.mark.parametrize("state", ["ChangeSetReady", "Settling", "Applied"])
def test_a_change_in_an_account_that_the_policy_left_says_so_and_goes_on_where_it_was(
    selecting: World, state: str
) -> None:
    selecting.approve()
    selecting.until(state)
    belongs_to(selecting, "pay")
    selecting.turn(2)
    assert selecting.state() == state
    assert selecting.condition("Stalled")["reason"] == "NotGoverned"
    assert "no longer governs the account 123456789012" in selecting.condition("Ready")["message"]
    assert [reason for _, reason, _ in selecting.cluster.events].count("Warning NotGoverned") == 1
    belongs_to(selecting, "shop")
    selecting.turn()
    selecting.until("Applied")
    assert selecting.condition("Stalled") == {}
    assert selecting.condition("Ready")["status"] == "True"


def test_an_object_that_cannot_be_read_is_named_with_what_is_wrong_in_it(making: Making) -> None:
    world = making(judged=TRAIL)
    world.account_spec(future={"of": "another version"})
    world.turn()
    stalled = condition(world.policy, "Stalled")
    assert stalled["reason"] == "InvalidSpec"
    assert stalled["message"].startswith("The AWSAccount shop-production cannot be read: spec.future")


def test_a_policy_is_not_let_go_while_an_account_cannot_be_read(making: Making) -> None:
    world = changed_for_good(making, TRAIL)
    world.account_spec(future={"of": "another version"})
    world.cluster.delete(POLICY)
    world.turn(2)
    assert world.policy
    assert any("AWSAccount shop-production cannot be read" in message for _, _, message in world.cluster.events)
    world.account_spec(future=None)
    world.turn(4)
    assert world.policy == {}
    assert world.stacks() == {}


# the policy goes


@pytest.mark.parametrize("hindrance", ["suspended", "refused"])
def test_a_policy_that_does_nothing_is_held_nevertheless_once_it_says_delete(making: Making, hindrance: str) -> None:
    world = making(judged=TRAIL)
    world.approve()
    world.until("Applied")
    if hindrance == "suspended":
        world.policy_spec(suspend=True)
    else:
        world.account_spec(allowedModes=["Observe"])
    world.turn()
    world.policy_spec(deletionPolicy="Delete")
    world.turn()
    world.account_spec(allowedModes=["Observe", "Propose"])
    world.cluster.delete(POLICY)
    world.turn(4)
    assert world.policy == {}
    assert world.stacks() == {}


@pytest.mark.parametrize("gone", ["account", "role"])
def test_what_nobody_can_look_for_any_more_is_told_as_the_policy_goes(making: Making, gone: str) -> None:
    """As where everything is deleted at once, and the Remediations went first."""
    world = changed_for_good(making, TRAIL)
    uid = world.policy["metadata"]["uid"]
    world.cluster.delete(POLICY)
    world.cluster.delete(world.key())
    if gone == "account":
        world.cluster.delete(ACCOUNT)
    else:
        world.account_spec(remediationRoleArn=None)
    world.turn()
    assert world.policy == {}
    (said,) = [message for _, _, message in world.cluster.events if "could not be deleted" in message]
    assert said == (
        "What was made for the policy could not be deleted: no AWSAccount of the policy has a remediationRoleArn and "
        "admits it any more, so look for stacks with the tag passmuster:policy-uid "
        f"{uid}"
    )


def test_the_finalizers_of_others_stay(making: Making) -> None:
    world = changed_for_good(making, TRAIL)
    world.turn()

    def somebody_holds_it_too(_: Key, status: Object) -> None:
        if status.get("state") == "Undone":
            held = world.policy["metadata"]["finalizers"]
            world.cluster.patch(POLICY, {"metadata": {"finalizers": [*held, "example.com/other"]}})

    world.cluster.before_status = somebody_holds_it_too
    world.approve(action="Undo")
    world.until("Undone")
    world.turn()
    assert world.policy["metadata"]["finalizers"] == ["example.com/other"]


def test_what_was_made_for_another_policy_of_that_name_is_not_taken_along(making: Making) -> None:
    """As where a policy was deleted with its Remediations orphaned, and made again."""
    world = making(judged=TRAIL)
    world.approve()
    world.until("Applied")
    world.cluster.patch(POLICY, {"metadata": {"uid": "another"}, "spec": {"deletionPolicy": "Delete"}})
    world.turn()
    world.cluster.delete(POLICY)
    world.turn(4)
    assert world.policy == {}
    assert len(world.stacks()) == 1


# the process goes, or knows less than the API server


def test_a_process_that_loses_the_lease_within_a_step_writes_no_more_of_it(making: Making) -> None:
    """Another process has taken the change over, perhaps further: its record may not be written over."""
    world = making(judged=TRAIL)
    world.approve()
    written: list[Any] = []

    def the_lease_goes(key: Key, status: Object) -> None:
        if key.plural == REMEDIATIONS:
            written.append(status)
            world.cluster.leads = False

    world.cluster.before_status = the_lease_goes
    world.turn(2)
    assert len(written) == 1
    assert world.mutations() == {}
    world.cluster.leads, world.cluster.before_status = True, lambda key, status: None
    world.restart()
    world.until("Applied")


def test_what_is_under_way_is_not_given_up_because_the_watch_lags(making: Making, aws: SimulatedAWS) -> None:
    world = making(judged=INSIGHTS)
    name = "container-insights"
    world.turn()
    before = world.remediation(name)
    world.approve(name)
    world.until("Settling", name=name)
    world.restart()
    as_it_was(world, world.key(name), before)
    world.remediation_rules(inputs={"tags": {"team": "shop"}})
    world.turn()
    assert world.status(name)["steps"][0]["madeAt"]
    world.until("Applied", name=name)
    world.approve(name, action="Undo")
    world.until("Undone", name=name)
    assert insights(aws) == "disabled"


def test_nothing_is_carried_out_by_rules_that_were_changed_since(making: Making) -> None:
    world = making(judged=TRAIL)
    world.approve()
    world.until("ChangeSetReady")
    before = world.cluster.get(ACCOUNT) or {}
    world.account_spec(minApprovals=2)
    as_it_was(world, ACCOUNT, before)
    world.turn()
    assert world.mutations()["ExecuteChangeSet"] == 0
    assert world.condition("Ready")["reason"] == "Progressing"
    assert world.until("AwaitingApproval")
    assert world.mutations()["ExecuteChangeSet"] == 0
