"""Leadership on a real API server: one at a time, a takeover by one's own clock, a release noticed at once."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from apiserver import ApiServer
from passmuster.kube.connection import connect
from passmuster.kube.lease import DURATION, RENEW_DEADLINE, RETRY, Lease, boottime
from passmuster.sandbox.control_plane import OPERATOR, ControlPlane

pytestmark = pytest.mark.apiserver

HOME = "passmuster-system"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Contest:
    """One lease and any number of competitors, each with a clock of its own."""

    def __init__(self, server: ApiServer, api: Any) -> None:
        self.server, self.api = server, api
        self.name = f"lease-{uuid.uuid4().hex[:8]}"
        self.clocks: dict[str, Clock] = {}
        self.told: dict[str, list[bool]] = {}

    def competitor(self, identity: str, api: Any = None) -> Lease:
        clock = self.clocks[identity] = Clock()
        told = self.told[identity] = []
        return Lease(
            api or self.api, namespace=HOME, name=self.name, identity=identity, on_change=told.append, clock=clock
        )

    @property
    def path(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/{self.name}"

    def stored(self) -> dict[str, Any]:
        return dict(self.server.call("GET", self.path).body["spec"])

    def try_once(self, lease: Lease) -> bool:
        """One round of the competitor's loop."""
        lease._become(lease._try())
        return lease.leading()


@pytest.fixture
def contest(server: ApiServer, operator: Any) -> Iterator[Contest]:
    made = Contest(server, operator)
    yield made
    server.call("DELETE", made.path)


def test_the_first_one_leads_and_the_lease_says_who(contest: Contest) -> None:
    lease = contest.competitor("a")
    assert not lease.leading()
    assert contest.try_once(lease)
    stored = contest.stored()
    assert (stored["holderIdentity"], stored["leaseDurationSeconds"]) == ("a", int(DURATION))
    assert stored["renewTime"]
    assert contest.told["a"] == [True]


def test_a_second_one_waits_while_the_first_renews(contest: Contest) -> None:
    first, second = contest.competitor("a"), contest.competitor("b")
    contest.try_once(first)
    for _ in range(10):
        contest.clocks["a"].now += RETRY
        contest.clocks["b"].now += RETRY
        assert contest.try_once(first)
        assert not contest.try_once(second)
    assert contest.told["b"] == []
    assert contest.stored()["leaseTransitions"] == 0


def test_a_renewal_keeps_the_time_of_the_acquisition(contest: Contest) -> None:
    lease = contest.competitor("a")
    contest.try_once(lease)
    acquired = contest.stored()["acquireTime"]
    time.sleep(0.01)
    contest.try_once(lease)
    after = contest.stored()
    assert after["acquireTime"] == acquired
    assert after["renewTime"] >= acquired


def test_who_does_not_renew_loses_by_the_clock_of_the_one_who_waits(contest: Contest) -> None:
    first, second = contest.competitor("a"), contest.competitor("b")
    contest.try_once(first)
    assert not contest.try_once(second)
    contest.clocks["b"].now += DURATION - 0.1
    assert not contest.try_once(second)
    contest.clocks["b"].now += 0.2
    assert contest.try_once(second)
    stored = contest.stored()
    assert (stored["holderIdentity"], stored["leaseTransitions"]) == ("b", 1)


def test_a_clock_far_ahead_takes_nothing_from_a_holder_it_has_just_seen(contest: Contest) -> None:
    first, second = contest.competitor("a"), contest.competitor("b")
    contest.try_once(first)
    contest.clocks["b"].now += 10_000_000
    assert not contest.try_once(second)


def test_who_wakes_from_a_suspension_finds_himself_expired(contest: Contest) -> None:
    first, second = contest.competitor("a"), contest.competitor("b")
    contest.try_once(first)
    contest.try_once(second)
    contest.clocks["a"].now += 60
    assert not first.leading()
    contest.clocks["b"].now += 60
    assert contest.try_once(second)
    assert not contest.try_once(first)
    assert contest.told["a"] == [True, False]


def test_leading_ends_with_the_renew_deadline_before_the_lease_does() -> None:
    assert RENEW_DEADLINE + RETRY < DURATION
    clock = Clock()
    lease = Lease(None, namespace=HOME, name="never", identity="a", clock=clock)
    lease._leads, lease._renewed = True, clock.now
    clock.now += RENEW_DEADLINE - 0.1
    assert lease.leading()
    clock.now += 0.2
    assert not lease.leading()


def test_a_release_lets_the_next_one_in_at_once(contest: Contest) -> None:
    first, second = contest.competitor("a"), contest.competitor("b")
    contest.try_once(first)
    assert not contest.try_once(second)
    first.stop()
    assert not first.leading()
    assert not contest.stored().get("holderIdentity")
    assert contest.try_once(second)


def test_who_does_not_hold_it_releases_nothing(contest: Contest) -> None:
    first, second = contest.competitor("a"), contest.competitor("b")
    contest.try_once(first)
    contest.try_once(second)
    second.stop()
    assert contest.stored()["holderIdentity"] == "a"
    second._release()
    assert contest.stored()["holderIdentity"] == "a"


def test_of_two_that_see_it_expire_one_wins(contest: Contest) -> None:
    holder = contest.competitor("holder")
    contest.try_once(holder)
    others = [contest.competitor(f"other-{n}") for n in range(4)]
    for lease in others:
        contest.try_once(lease)
        contest.clocks[lease.identity].now += DURATION + 1
    barrier = threading.Barrier(len(others))

    def compete(lease: Lease) -> None:
        barrier.wait(10)
        contest.try_once(lease)

    threads = [threading.Thread(target=compete, args=(lease,)) for lease in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    leaders = [lease.identity for lease in others if lease.leading()]
    assert leaders == [contest.stored()["holderIdentity"]]


def test_of_two_that_create_it_one_wins(contest: Contest) -> None:
    leases = [contest.competitor(f"racer-{n}") for n in range(4)]
    barrier = threading.Barrier(len(leases))

    def compete(lease: Lease) -> None:
        barrier.wait(10)
        try:
            contest.try_once(lease)
        except Exception:  # noqa: BLE001 - the loop takes it for a failed round
            return

    threads = [threading.Thread(target=compete, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert [lease.identity for lease in leases if lease.leading()] == [contest.stored()["holderIdentity"]]


def test_a_lease_that_somebody_deleted_is_made_again(contest: Contest) -> None:
    lease = contest.competitor("a")
    contest.try_once(lease)
    contest.server.call("DELETE", contest.path)
    assert contest.try_once(lease)
    assert contest.stored()["holderIdentity"] == "a"


def test_a_lease_that_somebody_made_empty_is_taken(contest: Contest) -> None:
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": contest.name}}
    assert contest.server.call("POST", contest.path.rpartition("/")[0], body).ok
    assert contest.try_once(contest.competitor("a"))
    assert contest.stored()["holderIdentity"] == "a"


def test_the_default_clock_counts_suspension() -> None:
    first = boottime()
    assert boottime() >= first


# the loop


def _wait(holds: Any, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.slow
def test_two_loops_have_one_leader_and_a_stop_hands_over_within_seconds(contest: Contest) -> None:
    told: list[tuple[str, bool]] = []

    def made(identity: str) -> Lease:
        return Lease(
            contest.api,
            namespace=HOME,
            name=contest.name,
            identity=identity,
            on_change=lambda leads: told.append((identity, leads)),
        )

    first, second = made("a"), made("b")
    first.start()
    assert _wait(first.leading)
    second.start()
    try:
        assert first.alive
        assert second.alive
        assert not second.leading()
        began = time.monotonic()
        first.stop()
        assert _wait(second.leading, 2 * RETRY + 3)
        assert time.monotonic() - began < 2 * RETRY + 3
        assert not first.leading()
        assert told == [("a", True), ("b", True)]
    finally:
        first.stop()
        second.stop()
    assert not second.alive


@pytest.mark.slow
def test_a_restart_of_the_api_server_costs_the_leader_nothing(contest: Contest, control_plane: ControlPlane) -> None:
    api = connect(control_plane.kubeconfig(OPERATOR))
    told: list[bool] = []
    lease = Lease(api, namespace=HOME, name=contest.name, identity="a", on_change=told.append)
    lease.start()
    try:
        assert _wait(lease.leading)
        control_plane.restart_apiserver()
        before = contest.stored()["renewTime"]
        assert _wait(lambda: contest.stored()["renewTime"] > before)
        assert lease.leading()
        assert lease.alive
        assert contest.stored()["leaseTransitions"] == 0
    finally:
        lease.stop()
        api.close()
    assert told[0] is True
