"""However many alerts ask, an account is inspected again at most once in a window, and nobody's request is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from passmuster.engine.ports import POLICIES, Key
from passmuster.engine.reconcile import ALERT_WINDOW, MOST_REQUESTS
from passmuster.sandbox.simulated_aws import SimulatedAWS
from turns import POLICY, World, empty_account

REQUESTED, HINT = "reconcile.passmuster.io/requestedAt", "reconcile.passmuster.io/hint"
SECOND = Key(POLICIES, "shop", "second")


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    with empty_account() as running:
        yield running


def _ask(world: World, token: str, key: Key = POLICY, hint: str | None = "cloudtrail-encrypted") -> float | None:
    """An alert's request, and the turn that follows from it."""
    world.cluster.patch(key, {"metadata": {"annotations": {REQUESTED: token, HINT: hint}}})
    return world.reconciler.reconcile(key)


def _trail_reads(world: World) -> int:
    return sum(request.operation == "DescribeTrails" for request in world.aws.requests)


def _handled(world: World, key: Key = POLICY) -> str:
    return str((world.cluster.get(key) or {})["status"].get("lastHandledReconcileAt", ""))


def _second(world: World) -> None:
    """Another policy on the same account, judged once."""
    body = dict(world.cluster.get(POLICY) or {})
    body = {**body, "metadata": {"name": "second", "namespace": "shop"}, "status": {}}
    world.cluster.create(POLICIES, body)
    world.reconciler.reconcile(SECOND)
    world.aws.requests.clear()


def test_the_first_alert_is_answered_at_once(world: World) -> None:
    _ask(world, "alert-1")
    assert (_trail_reads(world), _handled(world)) == (1, "alert-1")


def test_a_flood_of_different_alerts_is_two_inspections_and_the_last_one_is_answered(world: World) -> None:
    dues = [_ask(world, f"alert-{number}") for number in range(50)]
    assert _trail_reads(world) == 1
    assert _handled(world) == "alert-0"
    assert all(0 < (due or 0) <= ALERT_WINDOW.total_seconds() for due in dues[1:])
    world.clock.ahead += ALERT_WINDOW
    world.turn()
    assert (_trail_reads(world), _handled(world)) == (2, "alert-49")


def test_a_person_is_answered_at_once_in_the_midst_of_a_flood(world: World) -> None:
    for number in range(5):
        _ask(world, f"alert-{number}")
    _ask(world, "by-hand")
    assert (_trail_reads(world), _handled(world)) == (2, "by-hand")


def test_one_notification_about_two_policies_of_an_account_reads_it_once(world: World) -> None:
    _second(world)
    _ask(world, "alert-1")
    _ask(world, "alert-1", SECOND)
    assert _trail_reads(world) == 1
    assert (_handled(world), _handled(world, SECOND)) == ("alert-1", "alert-1")


def test_notifications_about_different_policies_of_an_account_share_the_window(world: World) -> None:
    _second(world)
    _ask(world, "alert-1")
    due = _ask(world, "alert-2", SECOND)
    assert _trail_reads(world) == 1
    assert _handled(world, SECOND) != "alert-2"
    assert 0 < (due or 0) <= ALERT_WINDOW.total_seconds()
    world.clock.ahead += ALERT_WINDOW
    world.reconciler.reconcile(SECOND)
    assert (_trail_reads(world), _handled(world, SECOND)) == (2, "alert-2")


def test_an_account_that_refuses_is_asked_once_in_a_window_however_many_alerts_come(world: World) -> None:
    world.engine.identities._held.clear()
    fault = world.aws.faults.add("denied", service="sts", operation="AssumeRole")
    try:
        for number in range(20):
            _ask(world, f"alert-{number}")
        assert sum(request.operation == "AssumeRole" for request in world.aws.requests) <= 1
    finally:
        world.aws.faults.remove(fault)


def test_what_is_remembered_of_requests_is_bounded(world: World) -> None:
    for number in range(MOST_REQUESTS + 10):
        world.reconciler.asked_at(f"alert-{number}")
    memory: dict[str, Any] = world.reconciler._asked
    assert len(memory) == MOST_REQUESTS
    assert world.reconciler.asked_at(f"alert-{MOST_REQUESTS + 9}") == memory[f"alert-{MOST_REQUESTS + 9}"]


def test_a_deferred_request_is_not_lost_when_the_interval_comes_first(world: World) -> None:
    _ask(world, "alert-1")
    _ask(world, "alert-2")
    world.clock.ahead += timedelta(hours=2)
    world.turn()
    assert _handled(world) == "alert-2"
