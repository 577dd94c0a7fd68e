"""The state machine of a remediation, on the review's account: what must hold before AWS is changed, and afterwards.

One simulated account is seeded for the module; every test has a cluster of its own and leaves the account as it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from engine.conftest import Building, Making
from passmuster.engine.ports import POLICIES, REMEDIATIONS, REPORTS, Key
from passmuster.sandbox.accounts import review
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS
from turns import ACCOUNT, EVERYTHING, JUDGED, POLICY, ROOT, World, condition, objects, review_account

pytestmark = pytest.mark.slow

LIFE = ["Proposed", "AwaitingApproval", "Scheduled", "ChangeSetReady", "Executing", "Settling", "Verifying", "Applied"]
TRAIL_CHECKS = JUDGED[:3]
ONCE = {"CreateChangeSet": 1, "ExecuteChangeSet": 1}


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    with review_account() as running:
        yield running


@pytest.fixture
def making(aws: SimulatedAWS, building: Building) -> Making:
    """Makes the world of a test; `remediation` are the rules of its policy."""

    def make(**remediation: Any) -> World:
        world = building(objects(**remediation))
        aws.requests.clear()
        return world

    return make


@pytest.fixture
def world(making: Making) -> World:
    """The example's policy in mode Propose after its first turn."""
    world = making()
    world.turn()
    return world


def _ready(world: World) -> None:
    """Approved, with the change set read back, and nothing executed yet."""
    world.approve()
    world.until("ChangeSetReady")
    assert world.mutations() == {"CreateChangeSet": 1}


# what must hold before anything is changed


def test_without_an_approval_nothing_in_aws_is_changed(world: World) -> None:
    world.turn(3)
    assert world.state() == "AwaitingApproval"
    assert "passmuster approve" in world.condition("Ready")["message"]
    assert world.changes() == []


def test_an_approved_change_runs_through_its_life_with_one_call_of_each_kind(world: World) -> None:
    assert world.check("cloudtrail-multi-region") == "Fail"
    world.approve()
    world.until("Applied")
    assert world.states() == LIFE
    assert world.mutations() == ONCE
    assert [world.check(check) for check in TRAIL_CHECKS] == ["Pass"] * 3
    assert world.status()["history"][2]["by"] == ["alice"]
    assert world.status()["after"]["score"] > world.status()["before"]["score"]
    assert condition(world.remediation(), "Ready")["status"] == "True"


def test_a_finished_remediation_is_not_written_again(world: World) -> None:
    world.approve()
    world.until("Applied")
    world.turn(2)
    world.cluster.writes.clear()
    events = len(world.cluster.events)
    world.turn(3)
    assert [key for key, _ in world.cluster.writes if key.plural == REMEDIATIONS] == []
    assert len(world.cluster.events) == events


def test_without_a_remediation_role_nothing_is_executed_and_blocked_says_why(world: World) -> None:
    world.account_spec(remediationRoleArn=None)
    world.approve()
    world.turn(3)
    assert world.state() == "Blocked"
    assert world.condition("Stalled")["reason"] == "RemediationRoleMissing"
    assert "remediationRoleArn" in world.condition("Ready")["message"]
    assert world.changes() == []
    role = f"arn:aws:iam::{DEFAULT_ACCOUNT}:role/{review.REMEDIATION_ROLE}"
    world.account_spec(remediationRoleArn=role)
    world.until("Applied")


def test_an_approval_of_an_old_digest_does_not_count(world: World) -> None:
    world.approve(digest="sha256:" + "a" * 64)
    world.turn(2)
    assert world.state() == "AwaitingApproval"
    assert world.status()["summary"]["approved"] == "0/1"
    assert world.changes() == []


def test_the_approval_of_the_policys_last_editor_does_not_count(world: World) -> None:
    world.cluster.patch(POLICY, {"metadata": {"annotations": {"passmuster.io/edited-by": "alice"}}})
    world.approve(by="alice")
    world.turn(2)
    assert world.state() == "AwaitingApproval"
    world.approve(by="bob")
    world.until("Applied")
    assert next(e for e in world.status()["history"] if e["state"] == "Scheduled")["by"] == ["bob"]


def test_two_approvals_are_two_people(world: World) -> None:
    world.account_spec(minApprovals=2)
    world.approve(by="alice")
    world.turn(2)
    assert world.state() == "AwaitingApproval"
    assert world.status()["summary"]["approved"] == "1/2"
    assert world.condition("Ready")["message"].startswith("1 more approval is needed")
    world.approve(by="bob")
    world.until("Applied")


def test_an_approval_that_comes_while_the_status_is_written_is_not_overlooked(world: World) -> None:
    """The turn reads the object again after its step; the watch then brings nothing that is not known already."""
    world.account_spec(minApprovals=2)
    world.approve(by="alice")
    told: list[Key] = []

    def approve_once(key: Key, status: Mapping[str, Any]) -> None:
        if key == world.key() and not told:
            told.append(key)
            world.approve(by="bob")

    world.cluster.before_status = approve_once
    due = world.turn()
    assert (told, due) == ([world.key()], 0.0)
    world.cluster.faults.clear()  # that status speaks, as it says, of the object without bob's approval
    world.turn()
    assert "Scheduled" in world.states()


def test_a_change_waits_for_its_window(world: World) -> None:
    now = world.clock()
    opens = now + timedelta(hours=5)
    window = {"kind": "Allow", "schedule": f"0 {opens.hour} * * *", "duration": "1h"}
    world.remediation_rules(windows=[window])
    world.approve()
    world.turn(2)
    assert (world.state(), world.condition("Ready")["reason"]) == ("Scheduled", "OutsideWindow")
    assert world.changes() == []
    world.clock.ahead = opens.replace(minute=10) - now
    world.until("Applied")


def test_a_window_that_closes_before_the_execution_holds_the_change_back(world: World) -> None:
    _ready(world)
    world.remediation_rules(windows=[{"kind": "Deny", "schedule": "* * * * *", "duration": "5m"}])
    world.turn(2)
    assert (world.state(), world.condition("Ready")["reason"]) == ("ChangeSetReady", "OutsideWindow")
    assert world.mutations() == {"CreateChangeSet": 1}


def test_a_time_zone_that_does_not_exist_stalls_the_change_and_leaves_the_account_judged(world: World) -> None:
    window = {"kind": "Allow", "schedule": "0 2 * * *", "duration": "1h", "timeZone": "Mars/Olympus"}
    world.remediation_rules(windows=[window])
    world.approve()
    world.turn(2)
    assert world.condition("Stalled")["reason"] == "InvalidSpec"
    assert "Europe/Berlin" in world.condition("Stalled")["message"]
    assert condition(world.policy, "Ready")["status"] == "True"
    assert condition(world.policy, "CredentialsValid")["status"] == "True"
    assert world.changes() == []


def test_a_cost_beyond_the_cap_blocks_and_says_both_sums(making: Making) -> None:
    world = making(maxMonthlyCost=0.5)
    world.turn()
    world.approve()
    world.turn(2)
    assert world.state() == "Blocked"
    assert world.condition("Stalled")["reason"] == "CostCapExceeded"
    assert "$1.00 a month" in world.condition("Ready")["message"]
    assert "$0.50" in world.condition("Ready")["message"]
    assert world.changes() == []
    world.remediation_rules(maxMonthlyCost=60)
    world.until("Applied")


def test_a_blocked_change_is_not_written_again_and_again(making: Making) -> None:
    world = making(maxMonthlyCost=0.5)
    world.turn()
    world.approve()
    world.turn(2)
    history, events = world.states(), len(world.cluster.events)
    world.cluster.writes.clear()
    world.turn(3)
    assert world.states() == history
    assert len(world.cluster.events) == events
    assert [key for key, _ in world.cluster.writes if key.plural == REMEDIATIONS] == []


def test_no_more_changes_are_under_way_than_permitted(world: World) -> None:
    world.approve("cloudtrail")
    world.approve("tls-listener")
    world.turn(2)
    world.aws.stacks_take(1.0)
    world.turn(2)
    states = {name: world.state(name) for name in ("cloudtrail", "tls-listener")}
    waiting = next(name for name, state in states.items() if state == "Scheduled")
    assert sorted(states.values()) == ["Executing", "Scheduled"]
    assert world.condition("Ready", waiting)["reason"] == "AwaitingTurn"
    assert world.mutations()["ExecuteChangeSet"] == 1
    time.sleep(1.1)
    world.aws.stacks_take(0)
    world.until("Applied", "Settling", name=waiting)
    assert world.mutations()["ExecuteChangeSet"] == 2


def test_two_changes_that_are_ready_when_the_limit_is_lowered_do_not_wait_for_each_other(making: Making) -> None:
    world = making(maxConcurrentStacks=2)
    world.turn()
    world.approve("cloudtrail")
    world.approve("tls-listener")
    world.turn(2)
    assert world.state("cloudtrail") == world.state("tls-listener") == "ChangeSetReady"
    world.remediation_rules(maxConcurrentStacks=1)
    world.until("Applied", name="cloudtrail")


def test_a_change_waits_for_what_it_requires(world: World) -> None:
    world.approve("dns-health-check")
    world.turn(2)
    assert world.state("dns-health-check") == "Scheduled"
    assert world.condition("Ready", "dns-health-check")["reason"] == "AwaitingRequirement"
    assert "tls-certificates-valid" in world.condition("Ready", "dns-health-check")["message"]
    assert world.changes() == []


def test_an_input_that_is_missing_blocks_and_names_its_field(making: Making) -> None:
    world = making(inputs={})
    world.turn()
    assert world.state("tls-listener") == "Blocked"
    assert world.condition("Stalled", "tls-listener")["reason"] == "InputMissing"
    assert "spec.remediation.inputs.domain" in world.condition("Ready", "tls-listener")["message"]


def test_a_missing_approval_policy_means_no_execution(world: World) -> None:
    world.cluster.guard = "The ValidatingAdmissionPolicy passmuster-approvals does not exist"
    world.approve()
    world.turn(3)
    assert world.condition("ApprovalPolicyMissing")["reason"] == "PolicyMissing"
    assert world.changes() == []
    world.cluster.guard = None
    world.until("Applied")
    assert world.condition("ApprovalPolicyMissing") == {}


def test_an_approval_policy_altered_before_the_execution_holds_the_change_back(world: World) -> None:
    _ready(world)
    world.cluster.guard = "The ValidatingAdmissionPolicy passmuster-approvals differs from the shipped one in spec.x"
    world.turn(2)
    assert world.condition("ApprovalPolicyMissing")["reason"] == "PolicyAltered"
    assert world.mutations() == {"CreateChangeSet": 1}


def test_a_process_that_lost_the_lease_changes_nothing(world: World) -> None:
    _ready(world)
    world.cluster.leads = False
    world.turn(2)
    assert world.mutations() == {"CreateChangeSet": 1}
    assert world.trails() == []
    world.cluster.leads = True
    world.until("Applied")
    assert world.mutations() == ONCE


def test_mode_apply_needs_no_approval_but_keeps_the_cap(making: Making) -> None:
    world = making(mode="Apply", maxMonthlyCost=0.5)
    world.account_spec(minApprovals=0)
    world.turn()
    world.until("Applied", name="tls-listener")
    assert world.status("tls-listener")["summary"]["approved"] == "0/0"
    assert world.state("cloudtrail") == "Blocked"
    assert world.condition("Stalled", "cloudtrail")["reason"] == "CostCapExceeded"
    world.remediation_rules(maxMonthlyCost=1.0)
    world.until("Applied")


# between approval and execution


def test_an_approval_withdrawn_after_the_change_set_deletes_it_and_executes_nothing(world: World) -> None:
    _ready(world)
    world.withdraw()
    world.turn()
    assert world.state() == "AwaitingApproval"
    assert world.mutations() == {"CreateChangeSet": 1, "DeleteChangeSet": 1}
    assert world.trails() == []
    world.turn(2)
    assert world.mutations()["ExecuteChangeSet"] == 0
    world.approve()
    world.until("Applied")
    assert world.status()["attempt"] == 2


def test_an_approval_withdrawn_after_a_crash_before_the_execution_counts(world: World) -> None:
    _ready(world)
    world.reset_status({**world.status(), "state": "Executing"})
    world.withdraw()
    world.restart()
    world.turn(3)
    assert world.mutations()["ExecuteChangeSet"] == 0
    assert world.trails() == []
    assert world.state() == "AwaitingApproval"


def test_an_intent_that_changes_voids_the_approvals(world: World) -> None:
    before = world.remediation()["spec"]["intent"]
    world.approve()
    world.remediation_rules(inputs={"logRetentionDays": 400})
    world.turn(3)
    after = world.remediation()["spec"]
    assert after["intent"]["digest"] != before["digest"]
    assert after["intent"]["parameters"]["RetentionDays"] == "400"
    assert world.state() == "AwaitingApproval"
    assert world.status()["summary"]["approved"] == "0/1"
    assert world.mutations()["ExecuteChangeSet"] == 0
    assert any("earlier approvals do not count" in e.get("message", "") for e in world.status()["history"])
    world.approve()
    world.until("Applied")


def test_an_account_that_changed_since_the_approval_is_left_alone(world: World) -> None:
    _ready(world)
    buckets = world.aws.client("s3", DEFAULT_REGION)
    bucket = "passmuster-trail-by-hand"
    buckets.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": DEFAULT_REGION})
    statement = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "s3:*"}
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": resources}]}
    buckets.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    client = world.aws.client("cloudtrail", DEFAULT_REGION)
    client.create_trail(Name="by-hand", S3BucketName=bucket, IsMultiRegionTrail=True)
    client.start_logging(Name="by-hand")
    try:
        world.turn(3)
        assert world.state() in ("Proposed", "Superseded")
        assert world.mutations() == {"CreateChangeSet": 1, "DeleteChangeSet": 1}
        assert world.trails() == ["by-hand"]
    finally:
        client.delete_trail(Name="by-hand")


def test_a_change_set_that_holds_more_than_was_approved_is_deleted(world: World) -> None:
    changes = world.remediation()["spec"]["intent"]["changes"]
    world.cluster.patch(world.key(), {"spec": {"intent": {"changes": changes[:-1]}}})
    world.approve()
    world.until("Failed")
    assert world.condition("Stalled")["reason"] == "WouldChangeMore"
    assert changes[-1].split(" ")[2] in world.condition("Ready")["message"]
    assert world.mutations() == {"CreateChangeSet": 1, "DeleteChangeSet": 1}
    assert world.trails() == []


def test_a_change_set_made_from_another_template_is_deleted(world: World) -> None:
    world.cluster.patch(world.key(), {"spec": {"intent": {"template": "sha256:" + "0" * 64}}})
    world.approve()
    world.until("Failed")
    assert "its template" in world.condition("Ready")["message"]
    assert world.mutations() == {"CreateChangeSet": 1, "DeleteChangeSet": 1}


def test_a_stack_of_that_name_that_is_not_ours_is_not_touched(world: World) -> None:
    name = f"passmuster-{world.key().name}"
    client = world.aws.client("cloudformation", DEFAULT_REGION)
    template = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    client.create_stack(StackName=name, TemplateBody=template)
    world.aws.requests.clear()
    world.approve()
    world.turn(3)
    assert world.condition("Stalled")["reason"] == "NotOurs"
    assert name in world.condition("Stalled")["message"]
    assert world.changes() == []
    assert world.stacks()[name] == "CREATE_COMPLETE"


def test_a_stack_that_is_being_changed_by_somebody_is_waited_for(world: World) -> None:
    _ready(world)
    world.aws.stacks_take(0.6)
    world.until("Executing")
    world.turn(2)
    assert world.state() == "Executing"
    assert world.mutations() == ONCE
    time.sleep(0.7)
    world.until("Applied")
    assert world.mutations() == ONCE


# when it goes wrong


def test_a_resource_that_fails_rolls_back_and_the_reason_is_told(world: World) -> None:
    before = world.policy["status"]["score"]
    world.aws.fail_resource("create", logical_id="Trail", reason="the trail limit of 5 is reached")
    world.approve()
    world.until("RolledBack")
    assert world.condition("Stalled")["reason"] == "StackRolledBack"
    assert "the trail limit of 5 is reached" in world.condition("Ready")["message"]
    assert world.stacks() == {}
    assert world.trails() == []
    world.look()
    assert world.policy["status"]["score"] == before
    assert world.check("cloudtrail-multi-region") == "Fail"


def test_what_rolled_back_is_tried_again_only_after_a_new_approval(world: World) -> None:
    world.aws.fail_resource("create", logical_id="Trail")
    world.approve()
    world.until("RolledBack")
    world.aws.requests.clear()
    world.look()
    world.turn(3)
    assert world.state() == "RolledBack"
    assert world.changes() == []
    assert "Approve it anew" in world.condition("Ready")["message"]
    world.withdraw()
    world.turn(2)
    assert world.state() == "AwaitingApproval"
    world.approve()
    world.until("Applied")
    assert world.status()["attempt"] == 2
    assert world.mutations() == ONCE


def test_what_rolled_back_is_proposed_again_with_a_new_intent(world: World) -> None:
    world.aws.fail_resource("create", logical_id="Trail")
    world.approve()
    world.until("RolledBack")
    world.remediation_rules(inputs={"logRetentionDays": 400})
    world.turn(2)
    assert world.state() == "AwaitingApproval"
    world.approve()
    world.until("Applied")


def test_a_check_that_still_fails_past_its_deadline_fails_the_remediation(world: World) -> None:
    world.approve()
    world.until("Settling")
    world.aws.client("cloudtrail", DEFAULT_REGION).stop_logging(Name=world.trails()[0])
    world.turn(2)
    assert world.state() == "Settling"
    assert "cloudtrail-multi-region" in world.condition("Reconciling")["message"]
    world.clock.ahead = timedelta(minutes=31)
    world.until("Failed")
    assert world.condition("Stalled")["reason"] == "StillFailing"
    assert "cloudtrail-multi-region" in world.condition("Ready")["message"]
    assert world.mutations() == ONCE


def test_a_deadline_is_known_also_when_the_first_check_passes_before_the_stack_is_seen_complete(world: World) -> None:
    _ready(world)
    world.aws.stacks_take(0.4)
    world.until("Executing")
    time.sleep(0.5)
    world.restart()
    world.turn()
    assert world.state() == "Settling"
    assert world.status()["settlesUntil"]


def test_what_the_remediation_role_may_not_do_is_named_and_tried_again(world: World) -> None:
    fault = world.aws.faults.add("denied", service="cloudformation", operation="CreateChangeSet")
    world.approve()
    world.turn(2)
    assert world.condition("Ready")["reason"] == "RemediationDenied"
    assert world.state() == "Scheduled"
    world.aws.faults.remove(fault)
    world.until("Applied")


@pytest.mark.parametrize("operation", ["DescribeStacks", "ExecuteChangeSet", "DescribeChangeSet"])
def test_a_server_error_of_cloudformation_is_tried_again_with_the_same_token(world: World, operation: str) -> None:
    world.aws.faults.add("server_error", service="cloudformation", operation=operation, count=2)
    world.approve()
    world.until("Applied", turns=16)
    assert world.trails() != []
    assert set(world.mutations()) == set(ONCE)


# a process that dies anywhere


def _dying_at(world: World, state: str) -> dict[str, Any]:
    """Lets it go on until the stack is complete; returns the status as it was when it entered the state."""
    seen: dict[str, dict[str, Any]] = {}
    world.approve()
    for _ in range(12):
        seen.setdefault(world.state(), world.status())
        if world.state() == "Applied":
            break
        world.turn()
    return seen[state]


@pytest.mark.parametrize("state", ["Scheduled", "ChangeSetReady", "Executing", "Settling"])
@pytest.mark.parametrize("fresh", [True, False], ids=["a new process", "the same process"])
def test_a_stack_that_was_made_before_the_status_was_written_is_adopted(world: World, state: str, fresh: bool) -> None:
    status = _dying_at(world, state)
    world.reset_status(status)
    assert world.state() == state
    if fresh:
        world.restart()
    world.until("Applied")
    assert world.mutations() == ONCE
    assert len(world.trails()) == 1


def test_a_change_set_that_was_made_before_the_status_was_written_is_adopted(world: World) -> None:
    awaiting = world.status()
    _ready(world)
    world.reset_status(awaiting)
    world.restart()
    world.until("Applied")
    assert world.mutations() == ONCE


def test_a_process_that_dies_between_intent_and_call_makes_the_call_once(world: World) -> None:
    world.approve()

    class Died(Exception):
        """The process ends here."""

    def die(key: Key, status: Any) -> None:
        if key.plural == REMEDIATIONS and status.get("state") == "Executing":
            world.cluster.before_status = lambda key, status: None
            raise Died

    world.cluster.before_status = die
    with pytest.raises(Died):
        world.until("Applied")
    world.restart()
    world.until("Applied")
    assert world.mutations() == ONCE


# taking it back


def test_an_undo_needs_an_approval_of_its_own_and_keeps_what_is_retained(world: World) -> None:
    world.approve()
    world.until("Applied")
    world.turn(2)
    assert world.mutations()["DeleteStack"] == 0
    world.approve(action="Undo")
    world.until("Undone")
    assert world.trails() == []
    assert world.stacks() == {}
    assert "LogBucket" in world.condition("Ready")["message"]
    assert world.mutations()["DeleteStack"] == 1
    buckets = world.aws.client("s3", DEFAULT_REGION).list_buckets()["Buckets"]
    assert [b["Name"] for b in buckets if b["Name"].startswith("passmuster-trail-")]
    world.look()
    assert world.check("cloudtrail-multi-region") == "Fail"
    assert world.state() == "Undone"
    world.turn(2)
    assert world.mutations() == {**ONCE, "DeleteStack": 1}


def test_an_undo_of_the_last_editor_does_not_count(world: World) -> None:
    world.approve(by="bob")
    world.until("Applied")
    world.cluster.patch(POLICY, {"metadata": {"annotations": {"passmuster.io/edited-by": "alice"}}})
    world.approve(by="alice", action="Undo")
    world.turn(2)
    assert world.state() == "Applied"


def test_a_second_apply_takes_the_retained_resources_back(world: World) -> None:
    world.approve()
    world.until("Applied")
    world.approve(action="Undo")
    world.until("Undone")
    world.remediation_rules(inputs={"logRetentionDays": 400})
    world.look()
    world.until("AwaitingApproval")
    world.approve()
    world.until("Applied")
    assert len(world.trails()) == 1
    buckets = world.aws.client("s3", DEFAULT_REGION).list_buckets()["Buckets"]
    assert len([b for b in buckets if b["Name"].startswith("passmuster-trail-")]) == 1


def test_an_undo_that_aws_refuses_is_told_once_and_not_repeated_by_itself(world: World) -> None:
    world.approve()
    world.until("Applied")
    failure = world.aws.fail_resource("delete", logical_id="Trail", reason="the trail is protected", count=None)
    world.approve(action="Undo")
    world.until("Blocked")
    assert world.condition("Stalled")["reason"] == "StackFailed"
    assert "the trail is protected" in world.condition("Ready")["message"]
    world.turn()
    history, deletions = world.states(), world.mutations()["DeleteStack"]
    world.turn(3)
    assert world.states() == history
    assert world.mutations()["DeleteStack"] == deletions == 1
    failure.count = 0
    world.aws.client("cloudformation", DEFAULT_REGION).delete_stack(StackName=world.status()["stack"]["name"])
    world.until("Undone")


def test_a_process_that_dies_during_an_undo_ends_it_with_one_deletion(world: World) -> None:
    world.approve()
    world.until("Applied")
    world.approve(action="Undo")
    world.aws.stacks_take(0.5)
    world.turn()
    undoing = world.status()
    assert undoing["state"] == "Undoing"
    world.restart()
    world.turn(2)
    time.sleep(0.6)
    world.until("Undone")
    assert world.mutations()["DeleteStack"] == 1


def test_an_applied_change_whose_finding_fails_again_is_not_made_again_by_itself(world: World) -> None:
    world.approve()
    world.until("Applied")
    world.aws.client("cloudtrail", DEFAULT_REGION).stop_logging(Name=world.trails()[0])
    world.look()
    world.turn(3)
    assert world.check("cloudtrail-multi-region") == "Fail"
    assert world.mutations() == ONCE


# what the rules of account and policy allow


def test_in_observe_unexecuted_remediations_go(world: World) -> None:
    assert world.all("cloudtrail")
    world.remediation_rules(mode="Observe")
    world.turn()
    assert world.cluster.list(REMEDIATIONS) == []
    assert world.fleet.remediations() == {}


def test_in_observe_what_was_applied_stays(world: World) -> None:
    world.approve()
    world.until("Applied")
    world.remediation_rules(mode="Observe")
    world.turn(2)
    assert world.state() == "Applied"


def test_a_mode_beyond_the_accounts_stalls_the_policy_without_an_aws_call(world: World) -> None:
    world.account_spec(allowedModes=["Observe"])
    world.approve()
    world.aws.requests.clear()
    world.turn(2)
    assert condition(world.policy, "Stalled")["reason"] == "ModeNotAllowed"
    assert world.aws.requests == []


def test_a_suspended_policy_takes_no_step(world: World) -> None:
    _ready(world)
    world.policy_spec(suspend=True)
    world.aws.requests.clear()
    assert world.turn(2) is None
    assert world.aws.requests == []
    assert condition(world.policy, "Ready")["reason"] == "Suspended"
    world.policy_spec(suspend=False)
    world.until("Applied")


def test_a_finding_fixed_by_hand_supersedes_the_remediation(world: World) -> None:
    world.policy_spec(checks={"disabled": [*world.policy["spec"]["checks"]["disabled"], *TRAIL_CHECKS]})
    world.turn()
    assert world.state() == "Superseded"
    assert condition(world.remediation(), "Ready")["status"] == "True"


# the end of a policy


def test_with_deletion_policy_delete_the_stack_goes_before_the_policy(world: World) -> None:
    world.policy_spec(deletionPolicy="Delete")
    world.approve()
    world.until("Applied")
    assert "passmuster.io/stacks" in world.policy["metadata"]["finalizers"]
    world.cluster.delete(POLICY)
    assert world.policy["metadata"]["deletionTimestamp"]
    for _ in range(4):
        world.turn()
    assert world.policy == {}
    assert world.stacks() == {}
    assert world.trails() == []
    assert world.fleet.figures() == []
    assert world.mutations()["DeleteStack"] == 1


def test_with_deletion_policy_retain_the_stack_stays_and_nothing_holds_the_policy(world: World) -> None:
    world.approve()
    world.until("Applied")
    assert not world.policy["metadata"].get("finalizers")
    world.cluster.delete(POLICY)
    world.turn()
    assert world.policy == {}
    assert len(world.trails()) == 1
    assert world.mutations()["DeleteStack"] == 0


def test_the_finalizer_is_there_only_while_a_stack_exists(world: World) -> None:
    world.policy_spec(deletionPolicy="Delete")
    world.turn()
    assert not world.policy["metadata"].get("finalizers")
    world.approve()
    world.until("Applied")
    world.approve(action="Undo")
    world.until("Undone")
    world.turn()
    assert not world.policy["metadata"].get("finalizers")


def test_a_policy_whose_namespace_is_no_longer_admitted_can_still_be_deleted(world: World) -> None:
    world.policy_spec(deletionPolicy="Delete")
    world.approve()
    world.until("Applied")
    world.account_spec(allowedNamespaces={"names": ["other"]})
    world.cluster.delete(POLICY)
    world.turn(4)
    assert world.policy == {}
    assert len(world.trails()) == 1


# two accounts under one policy


def test_a_change_in_one_account_is_never_judged_by_another_account(making: Making) -> None:
    world = making()
    other = "222222222222"
    roles = [a["RoleName"] for a in world.aws.client("iam", account_id=other).list_roles()["Roles"]]
    if "everything" not in roles:
        world.aws.role_with_policy(other, EVERYTHING, name="everything", trusted=ROOT)
    role = f"arn:aws:iam::{other}:role/everything"
    spec = {**(world.cluster.get(ACCOUNT) or {})["spec"], "accountId": other}
    spec |= {"roleArn": role, "remediationRoleArn": role, "externalId": None, "minApprovals": 0}
    labels = {"team": "shop", "stage": "other"}
    manifest = {"apiVersion": "passmuster.io/v1alpha1", "kind": "AWSAccount"}
    world.cluster.create(
        "awsaccounts",
        {**manifest, "metadata": {"name": "a-other", "labels": labels}, "spec": {k: v for k, v in spec.items() if v}},
    )
    world.policy_spec(accountRef=None, accountSelector={"matchLabels": {"team": "shop"}})
    world.turn()
    ours = next(r for r in world.all("cloudtrail") if r["spec"]["accountId"] == DEFAULT_ACCOUNT)
    key = Key.of(REMEDIATIONS, ours)
    approval = {"by": "alice", "action": "Apply", "digest": ours["spec"]["intent"]["digest"]}
    world.cluster.patch(key, {"spec": {"approvals": [approval]}})
    world.aws.stacks_take(0.5)
    seen = []
    for _ in range(14):
        world.turn()
        status = (world.cluster.get(key) or {})["status"]
        if not seen or seen[-1] != status["state"]:
            seen.append(status["state"])
        if status["state"] in ("Applied", "RolledBack", "Failed"):
            break
        time.sleep(0.1)
    world.aws.stacks_take(0)
    assert seen[-1] == "Applied", status
    theirs = next(r for r in world.all("cloudtrail") if r["spec"]["accountId"] == other)
    assert theirs["status"]["state"] == "AwaitingApproval"
    assert {key.name for key, _ in world.cache.all(REPORTS)} == {f"shop-{DEFAULT_ACCOUNT}", f"shop-{other}"}
    assert len(list(world.cache.all(POLICIES))) == 1
