"""Waivers and attestations on the real API server: asked for, approved, counting, and ending by themselves.

The tests of this module tell one story in their order, on one account. Once the account was inspected, AWS is not
asked anything: a request would fail the test it came in.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apiserver import attestation, eventually, waiver
from e2e.conftest import World, manifests

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

HIGH, CRITICAL = "health-endpoint-dedicated", "https-redirect"
SECONDS = 5.0
"""How long anything may take to have its effect, beyond its own date."""


def _at(delay: timedelta) -> str:
    return (datetime.now(UTC) + delay).strftime("%Y-%m-%dT%H:%M:%SZ")


def _approve(world: World, body: dict[str, Any], user: str) -> Any:
    stored = world.server.get(body)
    approvals = [*stored["spec"].get("approvals", []), {"by": user}]
    return world.server.patch(body, {"spec": {"approvals": approvals}}, user=user)


def _state(world: World, body: dict[str, Any]) -> str:
    return str(world.server.get(body).get("status", {}).get("state", ""))


def _until_status(world: World, check: str, status: str) -> float:
    """Seconds until the report says so of a check."""
    begun = time.monotonic()
    world.until(check, lambda: world.check(check).get("status"), lambda found: found == status, seconds=20)
    return time.monotonic() - begun


@pytest.fixture(autouse=True)
def unasked(world: World) -> Iterator[None]:
    """No AWS request is made while a test waits for what people granted."""
    world.aws.requests.clear()
    yield
    if world.operators:
        assert [request.operation for request in world.aws.requests] == []


@pytest.fixture(scope="module", autouse=True)
def inspected(world: World) -> None:
    """The account was judged once, by an operator that leads; carol approves beside alice, bob edits."""
    world.server.bind("shop", "carol", role="passmuster-approver")
    world.server.bind("shop", "bob", role="passmuster-editor")
    world.start_operator()
    for document in manifests():
        if document["kind"] == "ReadinessPolicy":
            document["spec"]["remediation"] = {"mode": "Observe"}
        answer = world.server.apply(document)
        assert answer.ok, answer.message
    world.until("the verdict", lambda: world.check(CRITICAL).get("status"), lambda status: status == "Fail")
    world.until(
        "a quiet operator",
        lambda: len(world.aws.requests),
        lambda before: (time.sleep(1.5), len(world.aws.requests) == before)[1],
    )
    kinds = [f"passmuster.io/{plural}" for plural in ("readinesswaivers", "readinessattestations")]
    assert eventually(lambda: all(world.server.may("bob", "create", kind, "shop") for kind in kinds))
    assert eventually(lambda: all(world.server.may("carol", "approve", kind, "shop") for kind in kinds))


def test_a_waiver_counts_once_somebody_else_approved_it(world: World) -> None:
    body = waiver("shop", "legacy", check=HIGH, expiresAt=_at(timedelta(days=60)))
    answer = world.server.create(body, user="bob")
    assert answer.ok, answer.message
    world.until("its state", lambda: _state(world, body), lambda state: state == "AwaitingApproval", seconds=20)
    assert world.check(HIGH)["status"] == "Fail"
    refused = _approve(world, body, "bob")
    assert (refused.status, "approving needs the verb approve" in refused.message) == (403, True)
    counts = world.policy["status"]["checks"]
    assert _approve(world, body, "alice").ok
    assert _until_status(world, HIGH, "Pass") < SECONDS
    assert world.check(HIGH)["waived"] >= 1
    assert {f["waivedBy"] for f in world.check(HIGH)["findings"] if f["status"] == "Fail"} == {"legacy"}
    after = world.until(
        "the policy",
        lambda: world.policy["status"]["checks"],
        lambda found: found["waived"] == 1,
        seconds=20,
    )
    assert after["fail"] == counts["fail"] - 1
    world.until("its state", lambda: _state(world, body), lambda state: state == "InForce", seconds=20)
    samples = world.samples()
    assert any(name.startswith("passmuster_waiver_expiry_timestamp_seconds{") for name in samples)
    assert world.faults() == []


def test_a_deleted_waiver_stops_counting_at_once(world: World) -> None:
    assert world.server.delete(waiver("shop", "legacy"), user="bob").ok
    assert _until_status(world, HIGH, "Fail") < SECONDS
    world.until(
        "the series to go",
        world.samples,
        lambda s: not any(n.startswith("passmuster_waiver_expiry_timestamp_seconds{") for n in s),
        seconds=20,
    )


def test_a_waiver_of_a_critical_check_needs_two_people(world: World) -> None:
    body = waiver("shop", "callback", check=CRITICAL, expiresAt=_at(timedelta(days=60)))
    assert world.server.create(body, user="bob").ok
    assert _approve(world, body, "alice").ok
    world.until(
        "the first approval",
        lambda: world.server.get(body).get("status", {}).get("summary", {}).get("approved"),
        lambda approved: approved == "1/2",
        seconds=20,
    )
    assert world.check(CRITICAL)["status"] == "Fail"
    again = _approve(world, body, "alice")
    assert again.status == 422, "the same person twice is refused as a duplicate"
    assert _approve(world, body, "carol").ok
    assert _until_status(world, CRITICAL, "Pass") < SECONDS
    assert world.server.delete(body, user="bob").ok
    assert _until_status(world, CRITICAL, "Fail") < SECONDS


def test_a_waiver_ends_within_seconds_of_its_date(world: World) -> None:
    body = waiver("shop", "brief", check=HIGH, expiresAt=_at(timedelta(seconds=8)))
    assert world.server.create(body, user="bob").ok
    assert _approve(world, body, "alice").ok
    _until_status(world, HIGH, "Pass")
    ends = datetime.fromisoformat(body["spec"]["expiresAt"])
    _until_status(world, HIGH, "Fail")
    late = (datetime.now(UTC) - ends).total_seconds()
    assert 0 <= late < SECONDS
    world.until("its state", lambda: _state(world, body), lambda state: state == "Expired", seconds=20)
    world.until(
        "the level again",
        lambda: world.policy["status"]["checks"]["waived"],
        lambda n: n == 0,
    )
    events = [e for e in _events(world) if "brief" in e["message"]]
    assert [(e["reason"], e["type"], e["count"]) for e in events] == [
        ("WaiverExpiresSoon", "Warning", 1),
        ("WaiverExpired", "Warning", 1),
    ]
    assert world.faults() == []


def _events(world: World) -> list[dict[str, Any]]:
    items = world.server.call("GET", "/api/v1/namespaces/shop/events").body["items"]
    return sorted(items, key=lambda event: int(event["metadata"]["resourceVersion"]))


def test_an_attestation_answers_until_it_ends(world: World) -> None:
    issued, ends = _at(timedelta(minutes=-5)), _at(timedelta(seconds=8))
    body = attestation("shop", "endpoint", check=HIGH, issuedAt=issued, expiresAt=ends)
    assert world.server.create(body, user="bob").ok
    assert world.check(HIGH)["status"] == "Fail"
    assert _approve(world, body, "carol").ok
    _until_status(world, HIGH, "Pass")
    assert {f.get("attestedBy") for f in world.check(HIGH)["findings"]} >= {"endpoint"}
    assert world.check(HIGH)["waived"] == 0
    _until_status(world, HIGH, "Fail")
    assert 0 <= (datetime.now(UTC) - datetime.fromisoformat(ends)).total_seconds() < SECONDS
    world.until("its state", lambda: _state(world, body), lambda state: state == "Expired", seconds=20)
    assert ("AttestationExpired", "Warning") in [
        (e["reason"], e["type"]) for e in _events(world) if "endpoint" in e["message"]
    ]


def test_one_without_its_policy_says_so(world: World) -> None:
    body = waiver("shop", "stray", policyRef={"name": "gone"})
    assert world.server.create(body, user="bob").ok
    found = world.until(
        "its status",
        lambda: world.server.get(body).get("status", {}),
        lambda status: status.get("conditions"),
        seconds=20,
    )
    assert found["conditions"][0]["reason"] == "PolicyNotFound"
    assert world.faults() == []
