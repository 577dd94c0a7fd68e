"""A process that dies anywhere in the life of a remediation: the next one ends it as if nothing had happened.

Each way is lived through once undisturbed, from approval to Applied and by an approved undo to Undone. Then it is lived
through again for each point that was passed: before and after each status is written, and after each request that
changes AWS. At the point the process dies, and nothing of it has an effect any more; another process goes on with what
the API server and AWS hold.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from engine.conftest import GROUP, Making, groups, insights
from passmuster.sandbox.simulated_aws import DEFAULT_REGION, SimulatedAWS
from turns import MUTATING, POLICY, Died, World

pytestmark = pytest.mark.slow

TRAIL_CHECKS = ("cloudtrail-multi-region", "cloudtrail-log-validation", "cloudtrail-encrypted")
MADE = ("CreateChangeSet sent", "before writing ChangeSetReady", "ExecuteChangeSet sent")
CHANGING = (*MUTATING, "UpdateClusterSettings", "PutRetentionPolicy", "DeleteRetentionPolicy")


def _effects(world: World) -> Counter[str]:
    """How often AWS received which request that changes something."""
    return Counter(r.operation for r in list(world.aws.requests) if r.operation in CHANGING)


def _live(world: World, name: str) -> None:
    """From approval to Applied, and back."""
    world.survive("AwaitingApproval", name=name)
    world.approve(name)
    world.survive("Applied", name=name)
    world.approve(name, action="Undo")
    world.survive("Undone", name=name)


def _story(world: World, name: str) -> dict[str, Any]:
    """What is left of it, apart from times, and of what AWS was asked."""
    status = world.status(name)
    return {
        "states": [entry["state"] for entry in status["history"]],
        "effects": dict(_effects(world)),
        "attempt": status.get("attempt"),
        "stacks": world.stacks(),
        "groups": groups(world.aws),
        "insights": insights(world.aws),
    }


def _repeat(making: Making, name: str, judged: tuple[str, ...]) -> list[str]:
    """Lives through it once undisturbed, then once for each point that it passed; returns the points."""
    world = making(judged=judged)
    world.cluster.mortality.points.clear()
    _live(world, name)
    undisturbed, points = _story(world, name), list(world.cluster.mortality.points)
    world.clean()
    for number, point in enumerate(points):
        world = making(judged=judged)
        world.cluster.mortality.points.clear()
        world.cluster.mortality.at = number
        _live(world, name)
        assert world.cluster.mortality.points[number] == point
        assert _story(world, name) == undisturbed, f"after a death at point {number}: {point}"
        assert world.cluster.faults == []
        world.clean()
    return points


def _demand(points: list[str], *named: str) -> None:
    """The points that must be among those that were tried, whatever a way adds."""
    for point in (*named, "before writing Executing", "after writing Executing", "before writing Applied"):
        assert point in points, points
    for point in ("after writing Applied", "before writing Undoing", "before writing Undone", "after writing Undone"):
        assert point in points, points


@pytest.mark.usefixtures("nobodys")
def test_an_additive_stack_survives_every_death(making: Making) -> None:
    points = _repeat(making, "cloudtrail", TRAIL_CHECKS)
    _demand(points, "after writing Scheduled", *MADE, "DeleteStack sent")


@pytest.mark.usefixtures("nobodys")
def test_an_adoption_survives_every_death(making: Making) -> None:
    points = _repeat(making, "log-group-retention", ("workload-logs-retained",))
    _demand(points, "after writing Scheduled", *MADE, "DeleteStack sent")
    assert points.count("CreateChangeSet sent") == points.count("ExecuteChangeSet sent") == 3


@pytest.mark.usefixtures("nobodys")
def test_an_api_step_survives_every_death(making: Making) -> None:
    points = _repeat(making, "container-insights", ("container-insights-enabled",))
    _demand(points, "UpdateClusterSettings sent", "after writing ChangeSetReady")


@pytest.mark.usefixtures("owners")
def test_an_update_of_the_owners_stack_survives_every_death(making: Making) -> None:
    points = _repeat(making, "log-group-retention", ("workload-logs-retained",))
    _demand(points, "after writing Scheduled", *MADE)


@pytest.mark.usefixtures("nobodys")
def test_a_death_while_a_stack_is_at_work_changes_nothing(making: Making, aws: SimulatedAWS) -> None:
    for name, check in (("cloudtrail", TRAIL_CHECKS), ("log-group-retention", ("workload-logs-retained",))):
        world = making(judged=check)
        world.approve(name)
        aws.stacks_take(0.3)
        busy = 0
        while world.state(name) != "Applied":
            busy += any(status.endswith("_IN_PROGRESS") for status in world.stacks().values())
            world.restart()
            world.turn()
            time.sleep(0.05)
        aws.stacks_take(0)
        assert busy > 1
        expected = (
            {"CreateChangeSet": 1, "ExecuteChangeSet": 1}
            if name == "cloudtrail"
            else {"CreateChangeSet": 2, "ExecuteChangeSet": 2}
        )
        assert _effects(world) == expected
        world.clean()


@pytest.mark.usefixtures("nobodys")
def test_a_death_in_the_finalizer_still_ends_with_one_deletion(making: Making, aws: SimulatedAWS) -> None:
    for name, check in (("cloudtrail", TRAIL_CHECKS), ("log-group-retention", ("workload-logs-retained",))):
        for at in (0, 1):
            world = making(judged=check)
            world.policy_spec(deletionPolicy="Delete")
            world.approve(name)
            world.survive("Applied", name=name)
            world.turn()
            world.cluster.delete(POLICY)
            world.cluster.mortality.points.clear()
            world.cluster.mortality.at = at
            for _ in range(6):
                try:
                    world.turn()
                except Died:
                    world.restart()
            assert world.policy == {}
            assert world.stacks() == {}
            assert _effects(world)["DeleteStack"] == 1
            if name != "cloudtrail":
                assert groups(aws)[GROUP] == 30, "what was adopted is released as it is"
                aws.client("logs", DEFAULT_REGION).delete_retention_policy(logGroupName=GROUP)
            world.clean()


@pytest.mark.usefixtures("nobodys")
def test_a_policy_that_is_deleted_after_a_death_takes_its_stack_along(making: Making) -> None:
    for point in ("CreateChangeSet sent", "before writing ChangeSetReady", "ExecuteChangeSet sent"):
        world = making(judged=TRAIL_CHECKS)
        world.policy_spec(deletionPolicy="Delete")
        world.survive("AwaitingApproval", name="cloudtrail")
        world.approve("cloudtrail")
        world.cluster.mortality.at = point
        with pytest.raises(Died, match=point):
            world.turn(9)
        world.cluster.mortality.at = None
        world.restart()
        assert world.stacks(), point
        world.cluster.delete(POLICY)
        for _ in range(6):
            world.turn()
        assert world.policy == {}
        assert world.stacks() == {}, point
        assert _effects(world)["DeleteStack"] == 1
        world.clean()
