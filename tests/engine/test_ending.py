"""What goes with a policy that is deleted, where its Remediations do not tell, or tell of an account no more."""

from __future__ import annotations

import copy

import pytest

from engine.conftest import GROUP, Making, changed_for_good, groups
from passmuster.engine.ports import ACCOUNTS, Key
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, SimulatedAWS
from turns import ACCOUNT, POLICY, World

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nobodys")]

MADE = {"cloudtrail": ("cloudtrail-multi-region",), "log-group-retention": ("workload-logs-retained",)}
"""A stack of new resources, whose tags say whose it is, and an adoption, of which its template says so."""

BOTH = pytest.mark.parametrize("name", MADE)


def applied(making: Making, name: str) -> World:
    """A policy with deletionPolicy Delete after a change."""
    world = changed_for_good(making, MADE[name], name)
    world.turn()
    return world


def leave(world: World) -> None:
    """The policy is deleted, and goes."""
    world.cluster.delete(POLICY)
    world.turn(4)
    assert world.policy == {}


def told(world: World) -> list[str]:
    """The events about what could not be deleted."""
    return [message for _, _, message in world.cluster.events if "could not be deleted" in message]


@BOTH
def test_a_foreground_deletion_that_takes_the_remediations_first_takes_the_stacks_along(
    making: Making, name: str
) -> None:
    world = applied(making, name)
    world.cluster.delete(world.key(name))
    leave(world)
    assert world.stacks() == {}
    assert world.mutations()["DeleteStack"] == 1


@BOTH
def test_a_stack_whose_remediation_somebody_deleted_still_holds_the_policy(making: Making, name: str) -> None:
    world = applied(making, name)
    world.cluster.delete(world.key(name))
    world.turn(2)
    assert world.policy["metadata"]["finalizers"] == ["passmuster.io/stacks"]
    assert len(world.stacks()) == 1
    leave(world)
    assert world.stacks() == {}


def test_a_stack_of_another_policy_of_that_name_stays(making: Making) -> None:
    """As after a policy that was deleted with Retain and made again."""
    world = applied(making, "cloudtrail")
    world.cluster.delete(world.key("cloudtrail"))
    world.cluster.patch(POLICY, {"metadata": {"uid": "another"}})
    leave(world)
    assert len(world.stacks()) == 1
    assert world.mutations()["DeleteStack"] == 0


def test_another_object_for_the_same_account_does_not_stand_in_for_the_policys_own(making: Making) -> None:
    world = applied(making, "cloudtrail")
    mine = world.cluster.get(ACCOUNT) or {}
    for name in ("a-look", "zero"):
        other = copy.deepcopy({"kind": "AWSAccount", "metadata": {"name": name}, "spec": mine["spec"]})
        del other["spec"]["remediationRoleArn"]
        world.cluster.create(ACCOUNTS, {"apiVersion": mine["apiVersion"], **other})
    leave(world)
    assert world.stacks() == {}
    assert told(world) == []


def test_a_stack_that_nobody_may_delete_any_more_stays_and_is_told(making: Making) -> None:
    world = applied(making, "cloudtrail")
    world.account_spec(remediationRoleArn=None)
    leave(world)
    assert len(world.stacks()) == 1
    (said,) = told(world)
    assert said.endswith("the AWSAccount shop-production has no remediationRoleArn any more")


def test_a_stack_in_an_account_without_its_object_stays_and_is_told(making: Making) -> None:
    world = applied(making, "cloudtrail")
    world.cluster.delete(ACCOUNT)
    world.cache.drop(Key(ACCOUNTS, "", "shop-production"))
    leave(world)
    assert len(world.stacks()) == 1
    (said,) = told(world)
    assert said.endswith(f"there is no AWSAccount for {DEFAULT_ACCOUNT} any more")


def test_the_policy_waits_while_nobody_can_tell_what_aws_holds(making: Making, aws: SimulatedAWS) -> None:
    world = applied(making, "cloudtrail")
    world.cluster.delete(world.key("cloudtrail"))
    aws.faults.add("denied", service="cloudformation", operation="DescribeStacks")
    world.turn(2)
    assert world.policy["metadata"]["finalizers"] == ["passmuster.io/stacks"]
    world.cluster.delete(POLICY)
    world.turn(2)
    assert world.policy
    assert "cloudformation:DescribeStacks" in told(world)[0]
    aws.faults.clear()
    world.turn(4)
    assert world.policy == {}
    assert world.stacks() == {}


def test_what_was_adopted_is_released_as_it_is(making: Making, aws: SimulatedAWS) -> None:
    world = applied(making, "log-group-retention")
    world.cluster.delete(world.key("log-group-retention"))
    leave(world)
    assert groups(aws)[GROUP] == 30
