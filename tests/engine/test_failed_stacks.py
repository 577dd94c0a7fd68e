"""Stacks that failed, ours and the owner's: left alone where only a person can resolve them, gone on with afterwards.

Nothing is ever forced: no resource is skipped, no stack of somebody else's is deleted, and a stack that holds data is
never replaced to get out of a state.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.conftest import GROUP, OWNERS_TEMPLATE, Making, groups, owners_stack, owners_template
from passmuster.aws.stacks import MADE_AS, MADE_FOR, OWNED_BY_CLUSTER, OWNED_BY_POLICY
from passmuster.remediation.adoption import NOTE
from passmuster.sandbox.simulated_aws import DEFAULT_REGION, SimulatedAWS
from turns import World

pytestmark = pytest.mark.slow

LOGS = "log-group-retention"
LIFE = ["AwaitingApproval", "Scheduled", "ChangeSetReady", "Executing", "Settling", "Verifying", "Applied"]


def _stays_blocked(world: World, *words: str) -> None:
    """Blocked, with these words, told once; nothing is done and nothing more is written, however often it is looked at.

    What AWS was asked to change before does not count.
    """
    world.until("Blocked", name=LOGS)
    stalled = world.condition("Stalled", LOGS)
    assert (stalled["status"], stalled["reason"]) == ("True", "StackFailed")
    for word in words:
        assert word in stalled["message"], stalled
    assert [reason for _, reason, _ in world.cluster.events].count("Warning StackFailed") == 1
    states = world.states(LOGS)
    world.aws.requests.clear()
    world.look()
    world.restart()
    world.turn(3)
    assert world.states(LOGS) == states
    assert world.changes() == []
    assert "Blocked" in {figure.state for figure in world.fleet.remediations()}
    assert [reason for _, reason, _ in world.cluster.events].count("Warning StackFailed") == 1


def _owners_with(timeout: int, **more: Any) -> str:
    template = json.loads(json.dumps(OWNERS_TEMPLATE))
    template["Resources"]["Queue"]["Properties"]["VisibilityTimeout"] = timeout
    template["Resources"].update(more)
    return json.dumps(template)


# the owner's ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("owners")
def test_an_owners_stack_whose_rollback_failed_is_left_to_its_owner(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    client = aws.client("cloudformation", DEFAULT_REGION)
    aws.fail_resource("create", logical_id="New")
    blocked = aws.faults.add(
        "denied",
        service="sqs",
        operation="SetQueueAttributes",
        inside_stacks=True,
        when=lambda call: '"30"' in json.dumps(call.params),
    )
    client.update_stack(
        StackName="owners", TemplateBody=_owners_with(60, New={"Type": "AWS::SNS::Topic", "DependsOn": "Queue"})
    )
    assert owners_stack(aws)["StackStatus"] == "UPDATE_ROLLBACK_FAILED"
    world.approve(LOGS)
    _stays_blocked(world, "The stack owners is UPDATE_ROLLBACK_FAILED", "Queue", "Resolve it in CloudFormation")
    aws.faults.remove(blocked)
    client.continue_update_rollback(StackName="owners")
    assert owners_stack(aws)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    world.until("Applied", name=LOGS)
    assert groups(aws)[GROUP] == 30
    assert owners_template(aws)["Resources"]["Queue"] == OWNERS_TEMPLATE["Resources"]["Queue"]


@pytest.mark.usefixtures("owners")
def test_an_owners_stack_that_could_not_be_deleted_is_left_to_its_owner(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    client = aws.client("cloudformation", DEFAULT_REGION)
    aws.fail_resource("delete", logical_id="PayLogs", reason="the log group is protected")
    client.delete_stack(StackName="owners")
    assert owners_stack(aws)["StackStatus"] == "DELETE_FAILED"
    world.approve(LOGS)
    _stays_blocked(world, "The stack owners is DELETE_FAILED", "the log group is protected")
    client.delete_stack(StackName="owners", RetainResources=["PayLogs"])
    world.look()
    world.turn(2)
    assert world.remediation(LOGS)["spec"]["way"] == "Adoption", "it is nobody's now"
    assert world.state(LOGS) == "AwaitingApproval", "an approval of the update is no approval of the adoption"
    assert groups(aws)[GROUP] is None


@pytest.mark.usefixtures("owners")
def test_our_update_whose_rollback_failed_is_left_to_the_owner(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    template = owners_template(aws)
    failure = aws.fail_resource("update", logical_id="PayLogs", reason="the retention is locked", count=None)
    world.approve(LOGS)
    world.until("Blocked", name=LOGS)
    assert world.mutations() == {"CreateChangeSet": 1, "ExecuteChangeSet": 1}
    _stays_blocked(world, "UPDATE_ROLLBACK_FAILED", "the retention is locked")
    failure.count = 0
    aws.client("cloudformation", DEFAULT_REGION).continue_update_rollback(StackName="owners")
    world.until("RolledBack", name=LOGS)
    assert owners_template(aws) == template
    assert groups(aws)[GROUP] is None
    world.approve(LOGS, by="bob")
    world.until("Applied", name=LOGS)
    assert world.status(LOGS)["attempt"] == 2


def test_a_stack_that_was_rolled_back_when_it_was_made_is_to_be_deleted_by_its_owner(
    making: Making, aws: SimulatedAWS
) -> None:
    template = json.loads(_owners_with(30, New={"Type": "AWS::SNS::Topic", "DependsOn": "PayLogs"}))
    template["Resources"]["PayLogs"]["DeletionPolicy"] = "Retain"
    client = aws.client("cloudformation", DEFAULT_REGION)
    aws.fail_resource("create", logical_id="New")
    client.create_stack(StackName="owners", TemplateBody=json.dumps(template))
    assert owners_stack(aws)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert groups(aws) == {GROUP: None}
    world = making()
    world.approve(LOGS)
    _stays_blocked(world, "The stack owners was rolled back when it was made", "delete it")
    client.delete_stack(StackName="owners")
    world.look()
    world.turn(2)
    assert world.remediation(LOGS)["spec"]["way"] == "Adoption"
    world.approve(LOGS)
    world.until("Applied", name=LOGS)
    assert groups(aws)[GROUP] == 30


@pytest.mark.usefixtures("owners")
def test_change_sets_of_the_owner_that_failed_are_no_hindrance(making: Making, aws: SimulatedAWS) -> None:
    """A deployment without changes leaves one behind, which nobody can execute."""
    client = aws.client("cloudformation", DEFAULT_REGION)
    body = json.dumps(owners_template(aws))
    client.create_change_set(StackName="owners", ChangeSetName="no-change", TemplateBody=body)
    (left,) = client.list_change_sets(StackName="owners")["Summaries"]
    assert (left["Status"], left["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    world = making()
    world.approve(LOGS)
    world.until("Applied", name=LOGS)


# ours -----------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nobodys")
def test_our_stack_whose_rollback_failed_is_left_to_a_person(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    failure = aws.fail_resource("update", logical_id="Adopted", reason="the retention is locked", count=None)
    world.approve(LOGS)
    world.until("Blocked", name=LOGS)
    (stack,) = world.stacks()
    assert world.stacks() == {stack: "UPDATE_ROLLBACK_FAILED"}
    _stays_blocked(world, "UPDATE_ROLLBACK_FAILED", "the retention is locked", "Resolve it in CloudFormation")
    failure.count = 0
    aws.client("cloudformation", DEFAULT_REGION).continue_update_rollback(StackName=stack)
    world.until("RolledBack", name=LOGS)
    assert groups(aws)[GROUP] is None
    world.turn()
    assert world.stacks() == {}
    assert world.mutations() == {"DeleteStack": 1}


@pytest.mark.usefixtures("nobodys")
@pytest.mark.parametrize("name", ["cloudtrail", LOGS])
def test_our_stack_that_rolled_back_and_holds_nothing_is_deleted_and_made_anew(
    making: Making, aws: SimulatedAWS, name: str
) -> None:
    """A version before this one made it without automatic deletion, and died before it wrote anything down."""
    world = making(judged=("cloudtrail-multi-region", "workload-logs-retained"))
    body = world.remediation(name)
    stack = f"passmuster-{body['metadata']['name']}"
    tags = {
        OWNED_BY_POLICY: world.policy["metadata"]["uid"],
        OWNED_BY_CLUSTER: world.cluster.uid(),
        MADE_FOR: body["metadata"]["name"],
        MADE_AS: body["spec"]["intent"]["digest"],
    }
    aws.fail_resource("create", logical_id="Topic")
    failing = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Metadata": {NOTE: {"Tags": tags}}}
    aws.client("cloudformation", DEFAULT_REGION).create_stack(
        StackName=stack,
        TemplateBody=json.dumps(failing),
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    assert world.stacks() == {stack: "ROLLBACK_COMPLETE"}
    aws.requests.clear()
    world.approve(name)
    world.until("Applied", name=name)
    assert world.states(name)[-7:] == LIFE
    assert world.stacks()[stack] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    assert world.mutations()["DeleteStack"] == 1


@pytest.mark.usefixtures("nobodys")
@pytest.mark.parametrize("name", ["cloudtrail", LOGS])
def test_a_rolled_back_stack_of_another_cluster_is_not_deleted(making: Making, aws: SimulatedAWS, name: str) -> None:
    world = making(judged=("cloudtrail-multi-region", "workload-logs-retained"))
    stack = f"passmuster-{world.remediation(name)['metadata']['name']}"
    tags = {OWNED_BY_POLICY: world.policy["metadata"]["uid"], OWNED_BY_CLUSTER: "another"}
    aws.fail_resource("create", logical_id="Topic")
    failing = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Metadata": {NOTE: {"Tags": tags}}}
    aws.client("cloudformation", DEFAULT_REGION).create_stack(
        StackName=stack,
        TemplateBody=json.dumps(failing),
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    aws.requests.clear()
    world.approve(name)
    world.turn(3)
    assert world.condition("Stalled", name)["reason"] == "NotOurs"
    assert world.stacks() == {stack: "ROLLBACK_COMPLETE"}
    assert world.changes() == []
