"""The change-set engine against two CloudFormations that different people simulate: the sandbox's own, and ministack.

One story for both, told by what `aws.stacks` does for a remediation. What they do not agree about is written down where
it is expected:

- Of a changed property ministack says that it may mean a replacement (`Conditional`) whatever the property is; the
  sandbox and CloudFormation itself know each property. The engine takes `Conditional` for a replacement.
- ministack finds no stack by the id of a resource (DescribeStackResources) and has no Cloud Control, so who owns a
  resource, and its model, are asked of the sandbox alone.
- A create that meets a resource which exists and would not be kept is refused by ministack with the change set, and
  fails in the sandbox when it is executed. Nothing happens to the resource either way.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from ministack import Ministack
from passmuster.aws.actor import Actor
from passmuster.aws.clients import Clients
from passmuster.aws.principal import KeyRing, Principal
from passmuster.aws.stacks import ChangeSet, Import, Intent, Stack, Stacks
from passmuster.model.errors import ChangeFailed
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS

pytestmark = pytest.mark.slow

SECONDS = 60.0
KEPT = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
NAMED = ("CAPABILITY_NAMED_IAM",)
OWNER = {"passmuster:policy-uid": "11111111-2222-3333-4444-555555555555"}


@dataclass(frozen=True)
class Account:
    """One simulated account: our engine in it, and somebody who changes log groups by hand."""

    name: str
    stacks: Stacks
    logs: Any

    def groups(self, prefix: str) -> dict[str, int | None]:
        """The log groups whose names begin so, with their retention in days."""
        found = self.logs.describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]
        return {group["logGroupName"]: group.get("retentionInDays") for group in found}

    def made(self, intent: Intent) -> ChangeSet:
        """The change set of an intent when CloudFormation has compared."""
        self.stacks.create_change_set(intent)
        found = _until(lambda: self.stacks.change_set(intent.stack, intent.change_set), lambda c: not c.being_made)
        assert isinstance(found, ChangeSet)
        return found

    def executed(self, intent: Intent) -> Stack:
        """The stack after an intent was carried out, well or not."""
        change_set = self.made(intent)
        assert (change_set.status, change_set.execution) == ("CREATE_COMPLETE", "AVAILABLE"), change_set.reason
        self.stacks.execute(intent.stack, intent.change_set, intent.token)
        return self.settled(change_set.stack_id)

    def settled(self, stack_id: str) -> Stack:
        """The stack when nothing is under way, even if it is deleted by then."""
        idle = lambda stack: not stack.busy and stack.status != "REVIEW_IN_PROGRESS"  # noqa: E731
        found = _until(lambda: self.stacks.stack(stack_id), idle)
        assert isinstance(found, Stack)
        return found

    def deleted(self, stack: str) -> None:
        """Deletes a stack and waits until there is none."""
        self.stacks.delete(stack, f"delete-{stack}")
        _until(lambda: self.stacks.stack(stack) or "gone", lambda found: found == "gone")


def _until(read: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + SECONDS
    while True:
        found = read()
        if found is not None and good(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture(scope="module", params=["sandbox", pytest.param("ministack", marks=pytest.mark.ministack)])
def account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An empty account of each."""
    if request.param == "ministack":
        command = request.getfixturevalue("ministack_command")
        with Ministack(command, tmp_path_factory.mktemp("ministack"), DEFAULT_ACCOUNT) as server:
            keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "none"}
            yield _account("ministack", server.url, keys)
    else:
        with SimulatedAWS() as aws:
            yield _account("sandbox", aws.url, aws.root_keys(DEFAULT_ACCOUNT).for_boto3())


def _account(name: str, url: str, keys: dict[str, Any]) -> Account:
    ring = KeyRing()
    ring.prove(keys["aws_access_key_id"], DEFAULT_ACCOUNT)
    principal = Principal(
        DEFAULT_ACCOUNT, keys["aws_access_key_id"], keys["aws_secret_access_key"], keys.get("aws_session_token")
    )
    clients = Clients(ring, endpoint_url=url)
    actor = Actor(clients, principal, DEFAULT_ACCOUNT, DEFAULT_REGION, lambda: None, lambda *_: None)
    return Account(name, Stacks(actor), boto3.client("logs", endpoint_url=url, region_name=DEFAULT_REGION, **keys))


def group(name: str, days: int | None = None, **more: Any) -> dict[str, Any]:
    """A log group."""
    retention = {} if days is None else {"RetentionInDays": days}
    return {"Type": "AWS::Logs::LogGroup", **more, "Properties": {"LogGroupName": name, **retention}}


def impossible() -> dict[str, Any]:
    """A policy of a role that does not exist: it fails after the resource `Logs` was made."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
    properties = {"PolicyName": "none", "Roles": ["nobody"], "PolicyDocument": document}
    return {"Type": "AWS::IAM::Policy", "DependsOn": "Logs", "Properties": properties}


def intent(stack: str, number: int = 1, kind: str = "CREATE", imports: tuple[Import, ...] = (), **made: Any) -> Intent:
    """An intent that makes a stack of these resources; the number tells one attempt from the next."""
    return Intent(
        stack=f"passmuster-{stack}",
        change_set=f"passmuster-{number}",
        token=f"{stack}-{number}",
        template=json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": made}),
        parameters={},
        tags=OWNER if kind == "CREATE" else {},
        capabilities=NAMED,
        description="A test",
        kind=kind,
        imports=imports,
    )


def test_a_stack_is_made_as_approved_and_a_replay_has_no_second_effect(account: Account) -> None:
    one = intent("made", Logs=group("/made", 30))
    change_set = account.made(one)
    assert [(c.action, c.logical_id, c.type, c.replacement) for c in change_set.changes] == [
        ("Add", "Logs", "AWS::Logs::LogGroup", "")
    ]
    assert account.groups("/made") == {}, "a change set changes nothing"
    again = account.made(one)
    assert again.id == change_set.id
    made = account.executed(one)
    assert (made.status, dict(made.tags)) == ("CREATE_COMPLETE", OWNER)
    account.stacks.execute(one.stack, one.change_set, one.token)
    assert account.settled(made.id) == made
    assert json.loads(account.stacks.template(one.stack)) == json.loads(one.template)
    assert account.groups("/made") == {"/made": 30}
    account.deleted(one.stack)
    assert account.groups("/made") == {}


def test_a_changed_property_is_told_as_what_it_is(account: Account) -> None:
    account.executed(intent("changed", Logs=group("/changed", 30)))
    update = intent("changed", 2, "UPDATE", Logs=group("/changed", 90))
    (change,) = account.made(update).changes
    assert (change.action, change.scope, change.targets) == (
        "Modify",
        ("Properties",),
        (("Properties", "RetentionInDays"),),
    )
    assert change.replacement == {"sandbox": "False", "ministack": "Conditional"}[account.name]
    assert account.executed(update).status == "UPDATE_COMPLETE"
    assert account.groups("/changed") == {"/changed": 90}


def test_what_changes_nothing_cannot_be_executed(account: Account) -> None:
    account.executed(intent("same", Logs=group("/same", 30)))
    change_set = account.made(intent("same", 2, "UPDATE", Logs=group("/same", 30)))
    assert (change_set.status, change_set.execution, change_set.changes) == ("FAILED", "UNAVAILABLE", ())
    assert "didn't contain changes" in change_set.reason


def test_a_replacement_is_never_told_as_none_and_a_withdrawn_change_set_is_gone(account: Account) -> None:
    account.executed(intent("replaced", Logs=group("/replaced", 30)))
    update = intent("replaced", 2, "UPDATE", Logs=group("/replaced-by", 30))
    (change,) = account.made(update).changes
    assert change.replacement == {"sandbox": "True", "ministack": "Conditional"}[account.name]
    assert update.change_set in account.stacks.change_sets(update.stack)
    account.stacks.delete_change_set(update.stack, update.change_set)
    account.stacks.delete_change_set(update.stack, update.change_set)
    assert update.change_set not in account.stacks.change_sets(update.stack)
    assert account.stacks.change_set(update.stack, update.change_set) is None
    assert account.groups("/replaced") == {"/replaced": 30}


def test_a_stack_that_cannot_be_made_leaves_nothing_and_says_why(account: Account) -> None:
    stack = account.executed(intent("failing", Logs=group("/failing", 30), Policy=impossible()))
    assert stack.status == "DELETE_COMPLETE"
    assert any(one.startswith("Policy: ") and "nobody" in one for one in account.stacks.failures(stack.id))
    assert account.groups("/failing") == {}


def test_a_resource_that_needs_another_which_is_not_there_fails(account: Account) -> None:
    metric = {"MetricName": "errors", "MetricNamespace": "shop", "MetricValue": "1"}
    properties = {"LogGroupName": "/not-there", "FilterPattern": "ERROR", "MetricTransformations": [metric]}
    stack = account.executed(intent("needing", Filter={"Type": "AWS::Logs::MetricFilter", "Properties": properties}))
    assert stack.status == "DELETE_COMPLETE"
    assert any("log group does not exist" in one for one in account.stacks.failures(stack.id))


def test_an_update_that_fails_is_rolled_back_to_what_was(account: Account) -> None:
    account.executed(intent("rolled", Logs=group("/rolled", 30)))
    update = intent("rolled", 2, "UPDATE", Logs=group("/rolled", 90), Policy=impossible())
    stack = account.executed(update)
    assert stack.status == "UPDATE_ROLLBACK_COMPLETE"
    assert any(one.startswith("Policy: ") and "nobody" in one for one in account.stacks.failures(stack.id))
    assert account.groups("/rolled") == {"/rolled": 30}


def test_a_resource_is_adopted_as_it_is_changed_and_outlives_its_stack(account: Account) -> None:
    account.logs.create_log_group(logGroupName="/adopted")
    found = Import("AWS::Logs::LogGroup", "Adopted", {"LogGroupName": "/adopted"})
    adoption = intent("adopted", 1, "IMPORT", (found,), Adopted=group("/adopted", **KEPT))
    (change,) = account.made(adoption).changes
    assert (change.action, change.logical_id, change.replacement) == ("Import", "Adopted", "")
    assert account.executed(adoption).status == "IMPORT_COMPLETE"
    assert account.groups("/adopted") == {"/adopted": None}, "an import changes nothing"
    update = intent("adopted", 2, "UPDATE", Adopted=group("/adopted", 90, **KEPT))
    assert account.executed(update).status == "UPDATE_COMPLETE"
    assert account.groups("/adopted") == {"/adopted": 90}
    account.deleted(update.stack)
    assert account.groups("/adopted") == {"/adopted": 90}


def test_what_is_not_there_cannot_be_adopted(account: Account) -> None:
    found = Import("AWS::Logs::LogGroup", "Adopted", {"LogGroupName": "/nowhere"})
    change_set = account.made(intent("nowhere", 1, "IMPORT", (found,), Adopted=group("/nowhere", **KEPT)))
    assert (change_set.status, change_set.execution) == ("FAILED", "UNAVAILABLE")
    assert "was not found" in change_set.reason


def test_what_an_earlier_stack_left_behind_is_taken_again_only_if_it_is_kept(account: Account) -> None:
    account.logs.create_log_group(logGroupName="/left")
    kept = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
    bare = intent("left-bare", Logs=group("/left"))
    if account.name == "ministack":
        change_set = account.made(bare)
        assert (change_set.status, change_set.execution) == ("FAILED", "UNAVAILABLE")
        assert "'Retain' or 'RetainExceptOnCreate'" in change_set.reason
    else:
        assert account.executed(bare).status == "DELETE_COMPLETE"
    assert account.groups("/left") == {"/left": None}
    again = intent("left", Logs=group("/left", **kept))
    assert [c.action for c in account.made(again).changes] == ["Import"]
    assert account.executed(again).status == "CREATE_COMPLETE"


def test_drift_is_seen_for_each_resource(account: Account) -> None:
    account.executed(intent("drifting", Logs=group("/drifting", 30)))
    assert account.stacks.drift("passmuster-drifting", "Logs") == "IN_SYNC"
    account.logs.put_retention_policy(logGroupName="/drifting", retentionInDays=7)
    assert account.stacks.drift("passmuster-drifting", "Logs") == "MODIFIED"
    account.logs.delete_log_group(logGroupName="/drifting")
    assert account.stacks.drift("passmuster-drifting", "Logs") == "DELETED"


def test_what_does_not_exist_is_none_and_an_impossible_request_is_refused_with_aws_words(account: Account) -> None:
    assert account.stacks.stack("passmuster-none") is None
    assert account.stacks.change_set("passmuster-none", "none") is None
    assert account.stacks.change_sets("passmuster-none") == ()
    with pytest.raises(ChangeFailed, match="AWS refused cloudformation:CreateChangeSet: ValidationError"):
        account.stacks.create_change_set(intent("none", 1, "UPDATE", Logs=group("/none")))
