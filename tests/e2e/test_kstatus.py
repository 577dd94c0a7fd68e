"""What Flux sees: every version of every object that the real operator wrote, as kstatus judges it.

The tests of this module tell one story in their order. `kubectl get --watch` records what the API server served, from
the moment an object was created and nobody had looked at it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import kstatus
from apiserver import PLURALS, waiver
from e2e.conftest import KINDS, World, manifests
from passmuster.api.remediation import State

pytestmark = [pytest.mark.apiserver, pytest.mark.kstatus, pytest.mark.slow]

Body = dict[str, Any]


class Watch:
    """What was served of our kinds since it began, and what kstatus makes of it."""

    def __init__(self, files: Mapping[str, Path], command: list[str]) -> None:
        self._files, self._command = files, command

    def versions(self, kind: str, name: str = "") -> list[tuple[Body, str]]:
        """Every version of the objects of a kind, or of one, oldest first, with its status for Flux."""
        bodies = [b for b in _documents(self._files[kind].read_text()) if name in ("", b["metadata"]["name"])]
        return list(zip(bodies, kstatus.told(self._command, bodies), strict=True))

    def seen(self, kind: str, name: str) -> list[str]:
        """The statuses that an object went through, without repetition."""
        statuses = [status for _, status in self.versions(kind, name)]
        return [one for one, before in zip(statuses, [None, *statuses], strict=False) if one != before]


def _documents(text: str) -> Iterator[Body]:
    """The JSON documents of a file that another process still writes: the last may not be whole."""
    decoder, start = json.JSONDecoder(), 0
    while (start := len(text) - len(text[start:].lstrip())) < len(text):
        try:
            body, start = decoder.raw_decode(text, start)
        except json.JSONDecodeError:
            return
        yield body


@pytest.fixture(scope="module")
def watch(world: World, kstatus_command: list[str], kubectl_program: Path) -> Iterator[Watch]:
    """kubectl watches every kind of ours."""
    files = {kind: world.folder / f"watched-{kind}.json" for kind in KINDS.values()}
    with ExitStack() as stack:
        for kind, path in files.items():
            output = stack.enter_context(path.open("wb"))
            arguments = ["get", f"{PLURALS[kind]}.passmuster.io", "--all-namespaces", "--watch", "--output", "json"]
            command = [str(kubectl_program), "--kubeconfig", str(world.plane.kubeconfig()), *arguments]
            process = stack.enter_context(subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL))
            stack.callback(process.kill)
        yield Watch(files, kstatus_command)


def test_what_nobody_looked_at_is_in_progress(world: World, watch: Watch) -> None:
    for document in manifests():
        answer = world.server.apply(document)
        assert answer.ok, answer.message
    world.until("the policy", lambda: watch.versions("ReadinessPolicy"), bool)
    world.until("the account", lambda: watch.versions("AWSAccount"), bool)
    assert watch.seen("ReadinessPolicy", "shop") == ["InProgress"]
    assert watch.seen("AWSAccount", "shop-production") == ["InProgress"]


def test_it_is_current_when_the_operator_has_done_its_job_and_not_before(world: World, watch: Watch) -> None:
    world.start_operator()
    for kind, name in (
        ("ReadinessPolicy", "shop"),
        ("AWSAccount", "shop-production"),
        ("ReadinessReport", f"shop-{world.account.account_id}"),
    ):
        seen = world.until(f"{kind} {name}", lambda k=kind, n=name: watch.seen(k, n), lambda s: s[-1:] == ["Current"])
        assert seen == ["InProgress", "Current"]


def test_a_change_is_in_progress_until_it_is_applied(world: World, watch: Watch) -> None:
    world.until("the proposal", lambda: world.state("cloudtrail"), lambda state: state == State.AWAITING_APPROVAL)
    name = world.remediation("cloudtrail")["metadata"]["name"]
    assert watch.seen("Remediation", name) == ["InProgress"]
    assert world.approve("cloudtrail").ok
    world.until("the change", lambda: world.state("cloudtrail"), lambda state: state == State.APPLIED)
    world.until("its end", lambda: watch.seen("Remediation", name), lambda seen: seen == ["InProgress", "Current"])
    states = {b["status"].get("state"): status for b, status in watch.versions("Remediation", name)}
    assert states.pop(State.APPLIED) == "Current"
    assert set(states.values()) == {"InProgress"}
    assert {State.AWAITING_APPROVAL, State.EXECUTING} <= set(states)


def test_what_waits_for_somebody_has_failed_and_recovers(world: World, watch: Watch) -> None:
    account = world.policy["spec"]["accountRef"]
    assert world.server.patch(world.policy, {"spec": {"accountRef": {"name": "nobody"}}}).ok
    world.until("the refusal", lambda: watch.seen("ReadinessPolicy", "shop"), lambda seen: seen[-1] == "Failed")
    assert world.server.patch(world.policy, {"spec": {"accountRef": account}}).ok
    world.until("the end", lambda: watch.seen("ReadinessPolicy", "shop"), lambda seen: seen[-1] == "Current")
    failed = [b for b, status in watch.versions("ReadinessPolicy", "shop") if status == "Failed"]
    assert all(b["status"]["observedGeneration"] == b["metadata"]["generation"] for b in failed)


def test_a_suspended_policy_and_an_unapproved_waiver_stay_in_progress(world: World, watch: Watch) -> None:
    assert world.server.create(waiver("shop", "no-health-endpoint")).ok
    world.until(
        "the waiver's first look",
        lambda: [b["status"].get("state") for b, _ in watch.versions("ReadinessWaiver")],
        lambda states: "AwaitingApproval" in states,
    )
    assert watch.seen("ReadinessWaiver", "no-health-endpoint") == ["InProgress"]
    assert world.server.patch(world.policy, {"spec": {"suspend": True}}).ok
    last = world.until(
        "the suspension",
        lambda: watch.versions("ReadinessPolicy", "shop")[-1],
        lambda found: "Suspended" in [c["reason"] for c in found[0]["status"].get("conditions", ())],
    )
    assert last[1] == "InProgress"


def test_every_version_of_every_object_has_the_status_of_the_documented_table(watch: Watch) -> None:
    counted = 0
    for kind in KINDS.values():
        for body, status in watch.versions(kind):
            assert status == documented(body), (kind, body["metadata"], body["status"])
            counted += 1
    assert counted > 40


def documented(body: Body) -> str:
    """The column Flux of the table in docs/install.md."""
    status = body["status"]
    if body["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if status["observedGeneration"] != body["metadata"]["generation"]:
        return "InProgress"
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    if "Stalled" in conditions:
        return "Failed"
    return "Current" if conditions["Ready"] == "True" else "InProgress"
