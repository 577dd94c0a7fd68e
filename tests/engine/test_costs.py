"""What a change costs is in its proposal, and nothing else is paid for.

A change is proved by what AWS bills as soon as it is made: each call once, at the price that was approved. Else the
proof of a monitor of costs would wait a week, until Cost Explorer is read anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from changing import role_of
from engine.conftest import Making
from passmuster.checks import catalogue as checks
from passmuster.engine.ports import REMEDIATIONS, Key
from passmuster.engine.remediate import BILLED_AFTER
from passmuster.inventory.call import union
from passmuster.inventory.operations import ce
from passmuster.remediation import catalogue as remediations
from passmuster.remediation.definition import Definition
from passmuster.remediation.rendering import EXECUTABLE
from passmuster.sandbox.accounts.review import REMEDIATION_ROLE
from passmuster.sandbox.simulated_aws import DEFAULT_REGION, SimulatedAWS
from turns import World

pytestmark = pytest.mark.slow

DETECTION = "cost-anomaly-detection"
MONITOR = "cost-anomaly-monitor"
PROOF = {"GetAnomalyMonitors": 1, "GetAnomalySubscriptions": 1}
MOMENT = BILLED_AFTER + timedelta(seconds=1)
WEEK = timedelta(days=7)
COSTS = {"contactEmail": "costs@example.com", "monthlyBudget": 500}


def asked(aws: SimulatedAWS) -> Counter[str]:
    """The requests to Cost Explorer since they were forgotten."""
    return Counter(r.operation for r in list(aws.requests) if r.service == ce.SERVICE)


@pytest.fixture
def world(making: Making) -> World:
    """An account without a monitor, judged by everything that reads Cost Explorer, and the change approved."""
    judged = (DETECTION, "cost-monitoring", "savings-plan-coverage", "reserved-instance-coverage")
    world = making(judged=judged, inputs=COSTS)
    world.approve(MONITOR)
    return world


@pytest.fixture
def show(aws: SimulatedAWS) -> Iterator[Callable[[], None]]:
    """AWS does not tell of monitors until it is called."""
    with ExitStack() as stack:
        stack.callback(aws.lift, aws.overlay("ce", "GetAnomalyMonitors", {"AnomalyMonitors": []}))
        yield stack.close


def settled(world: World, moment: timedelta = MOMENT) -> None:
    """The stack is made, and some time has passed."""
    world.until("Settling", name=MONITOR)
    world.clock.ahead += moment


def test_a_change_is_proved_by_one_request_for_each_billed_call_of_its_check(aws: SimulatedAWS, world: World) -> None:
    settled(world)
    assert asked(aws) == {}, "nothing is paid for before the change is made"
    world.turn()
    assert world.state(MONITOR) == "Applied"
    assert world.check(DETECTION) == "Pass"
    assert asked(aws) == PROOF
    world.clock.ahead += timedelta(hours=1)
    world.look()
    assert asked(aws) == PROOF, "nor again, until it is due for everybody"


def test_what_is_billed_is_not_read_before_aws_tells_of_the_change(aws: SimulatedAWS, world: World) -> None:
    settled(world, timedelta(seconds=2))
    world.turn()
    assert (world.state(MONITOR), asked(aws)) == ("Settling", {})
    world.clock.ahead += MOMENT
    world.turn()
    assert (world.state(MONITOR), asked(aws)) == ("Applied", PROOF)


def test_a_proof_that_fails_is_not_paid_for_again_until_the_calls_are_due(
    aws: SimulatedAWS, world: World, show: Callable[[], None]
) -> None:
    settled(world)
    for _ in range(5):
        world.turn()
        world.clock.ahead += timedelta(hours=5)
    assert (world.state(MONITOR), asked(aws)) == ("Settling", PROOF)
    show()
    world.clock.ahead += WEEK
    world.turn()
    assert world.state(MONITOR) == "Applied"
    assert asked(aws)["GetAnomalyMonitors"] == 2


def test_a_process_that_follows_another_does_not_pay_for_the_proof_again(
    aws: SimulatedAWS, world: World, show: Callable[[], None]
) -> None:
    settled(world)
    world.turn()
    assert asked(aws) == PROOF
    world.restart()
    world.clock.ahead += timedelta(hours=2)
    world.turn(2)
    assert (world.state(MONITOR), asked(aws)) == ("Settling", PROOF)


def test_what_was_taken_back_is_seen_to_be_gone_at_once(aws: SimulatedAWS, world: World) -> None:
    settled(world)
    world.until("Applied", name=MONITOR)
    aws.requests.clear()
    world.approve(MONITOR, action="Undo")
    world.until("Undone", name=MONITOR)
    assert world.check(DETECTION) == "Fail"
    assert asked(aws) == PROOF


INACTIVE: Any = [{"TagKey": key, "Status": "Inactive"} for key in ("Owner", "Project", "Environment")]
SUBSCRIBED = {"MonitorName": "services", "MonitorType": "DIMENSIONAL", "MonitorDimension": "SERVICE"}


@pytest.mark.parametrize("name", [MONITOR, "cost-anomaly-subscription", "cost-allocation-tag"])
def test_the_price_that_is_approved_is_that_of_the_requests_that_are_made(
    aws: SimulatedAWS, making: Making, name: str
) -> None:
    client = aws.client("ce", DEFAULT_REGION)
    made = client.create_anomaly_monitor(AnomalyMonitor=SUBSCRIBED) if "subscription" in name else None
    client.update_cost_allocation_tags_status(CostAllocationTagsStatus=INACTIVE)
    try:
        one = remediations.load().get(name)
        assert one is not None
        world = making(judged=one.fixes, inputs=COSTS)
        key = sorted(body["metadata"]["name"] for body in world.all(name))[0]
        body = next(body for body in world.all(name) if body["metadata"]["name"] == key)
        approve_one(world, body)
        before = world.counters.cost
        for _ in range(12):
            world.turn()
            world.clock.ahead += MOMENT
            state = next(b for b in world.all(name) if b["metadata"]["name"] == key)["status"]["state"]
            if state == "Applied":
                break
        assert state == "Applied"
        paid = round(sum(asked(aws).values()) * ce.PRICE, 2)
        assert paid == body["spec"]["cost"]["once"]
        changed = [r for r in list(aws.requests) if r.service == ce.SERVICE and REMEDIATION_ROLE in role_of(r)]
        assert world.counters.cost - before == pytest.approx(len(changed) * ce.PRICE)
        assert body["spec"]["cost"]["monthly"] == 0
    finally:
        if made is not None:
            client.delete_anomaly_monitor(MonitorArn=made["MonitorArn"])


def approve_one(world: World, body: dict[str, Any]) -> None:
    """Alice approves one of several changes of a remediation."""
    entry = {"by": "alice", "action": "Apply", "digest": body["spec"]["intent"]["digest"]}
    world.cluster.patch(Key.of(REMEDIATIONS, body), {"spec": {"approvals": [entry]}})


@pytest.mark.parametrize("one", [one for one in remediations.load() if one.way in EXECUTABLE], ids=lambda one: one.name)
def test_a_change_that_only_cost_explorer_proves_says_what_that_costs(one: Definition) -> None:
    read = {call for check in one.fixes for call in union(checks.load().get(check).calls)}
    once = [item.quantity or 0 for item in one.cost if item.once]
    assert bool(once) == all(call.billed for call in read)
    assert sum(once) >= len(read) * bool(once)


def test_what_is_not_in_the_approved_price_is_not_paid_for(aws: SimulatedAWS, making: Making) -> None:
    """A budget is free to read; the days of costs, which a check that it fixes wants to see, are not."""
    world = making(judged=("cost-monitoring", "budgets-configured"), inputs=COSTS)
    world.approve("budget")
    world.until("Settling", "Applied", name="budget")
    world.clock.ahead += MOMENT
    world.until("Applied", name="budget")
    assert asked(aws) == {}


def test_a_proposal_counts_with_the_usage_that_the_policy_expects(making: Making, nobodys: None) -> None:
    usage = {"container-insights/cloudwatch-custom-metric-month": 25, "container-insights/logs-ingestion-gb": 2}
    cost = making(inputs={"usage": usage}).remediation("container-insights")["spec"]["cost"]
    assert [(item["quantity"], item["monthly"]) for item in cost["items"]] == [(25, 7.5), (2, 1.26)]
    assert (cost["monthly"], cost["unpriced"]) == (8.76, [])


def test_without_an_expected_usage_a_proposal_names_what_it_does_not_count(making: Making, nobodys: None) -> None:
    usage = {"flow-log/flow-log-gb": 120}
    cost = making(inputs={"usage": usage}).remediation("container-insights")["spec"]["cost"]
    assert (cost["monthly"], cost.get("items", []), len(cost["unpriced"])) == (0, [], 2)
