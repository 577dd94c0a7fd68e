"""The operator does its whole job under exactly the rights that the chart gives its service account, and uses them.

The tests of this module tell one story in their order, on one cluster; the API server's audit log is the witness.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from apiserver import attestation, pod_kubeconfig, waiver
from chart.conftest import Cluster
from chart.rendering import HOME
from e2e.conftest import World, manifests
from passmuster.api import rbac
from passmuster.api.resource import FINALIZER
from passmuster.sandbox.accounts import review
from passmuster.sandbox.simulated_aws import SimulatedAWS

pytestmark = [pytest.mark.apiserver, pytest.mark.helm, pytest.mark.slow]

IDENTITY = f"system:serviceaccount:{HOME}:passmuster"
ALERT = {
    "version": "4",
    "status": "firing",
    "truncatedAlerts": 0,
    "alerts": [
        {
            "status": "firing",
            "startsAt": "2026-11-21T10:00:00Z",
            "fingerprint": "abcdef0123456789",
            "labels": {"policy_namespace": "shop", "policy": "shop", "check": "https-redirect"},
        }
    ],
}


class Right(NamedTuple):
    """One thing that a role permits: a verb on a resource or subresource of an API group."""

    group: str
    resource: str
    verb: str


class Request(NamedTuple):
    """One request of the operator, by the audit log."""

    right: Right
    name: str
    code: int


def granted() -> set[Right]:
    """What the operator's roles permit."""
    roles = [
        o for o in rbac.objects() if o["kind"] in ("ClusterRole", "Role") and o["metadata"]["name"] == "passmuster"
    ]
    rules = [rule for role in roles for rule in role["rules"]]
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def requests(cluster: Cluster) -> Iterator[Request]:
    """What the operator asked of the API server so far, about objects."""
    for line in cluster.audit_log.read_text().splitlines():
        event = json.loads(line)
        about = event.get("objectRef")
        if event["user"]["username"] == IDENTITY and about is not None:
            resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
            right = Right(about.get("apiGroup", ""), resource, event["verb"])
            yield Request(right, about.get("name", ""), event["responseStatus"]["code"])


def refused(cluster: Cluster) -> set[Right]:
    """What it asked for and was not allowed."""
    return {request.right for request in requests(cluster) if request.code == 403}


@pytest.fixture(scope="module")
def kubeconfig(cluster: Cluster) -> Path:
    """The chart installed, and a kubeconfig with a token of its service account, as its pods have one."""
    return installed(cluster)


def installed(cluster: Cluster) -> Path:
    """Installs the chart; a kubeconfig of its service account, which is another one after each installation."""
    cluster.install({"alerts": {"secretName": "passmuster-alerts"}})
    return pod_kubeconfig(cluster.server, cluster.plane, cluster.folder / "service-account.yaml")


@pytest.fixture(scope="module")
def world(cluster: Cluster, kubeconfig: Path) -> Iterator[World]:
    """A seeded account, and a person who may approve."""
    with SimulatedAWS() as aws:
        made = World(aws, review.seed(aws), cluster.plane, cluster.server, cluster.folder)
        made.server.namespace("shop")
        made.server.bind("shop", "alice", role="passmuster-approver")
        try:
            yield made
        finally:
            for process in made.operators:
                process.stop()


def start(world: World, kubeconfig: Path) -> None:
    """One more process with the arguments of the chart's container that matter here."""
    token = world.folder / "token"
    token.write_text("watchword\n")
    world.start_operator("--alerts-token-file", str(token), kubeconfig=kubeconfig, POD_NAMESPACE=HOME)


def uninstall(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`passmuster uninstall` as the administrator."""
    command = [sys.executable, "-m", "passmuster.cli.main", "uninstall", *arguments]
    environment = {**os.environ, "KUBECONFIG": str(cluster.plane.kubeconfig()), "POD_NAMESPACE": HOME}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_it_inspects_proposes_and_applies_what_was_approved(world: World, kubeconfig: Path) -> None:
    start(world, kubeconfig)
    for document in manifests():
        assert world.server.apply(document).ok
    world.until("the proposal", lambda: world.state("tls-listener"), lambda state: state == "AwaitingApproval")
    assert world.approve("tls-listener").ok
    world.until(
        "the change",
        lambda: world.remediation("tls-listener").get("status"),
        lambda s: s["state"] in ("Applied", "Failed"),
    )
    assert world.state("tls-listener") == "Applied", world.remediation("tls-listener")["status"]
    assert world.faults() == []


def test_it_judges_waivers_takes_alerts_and_says_what_it_does_in_events(world: World, cluster: Cluster) -> None:
    made = waiver("shop", "legacy", check="health-endpoint-dedicated")
    assert world.server.create(made).ok
    assert world.server.create(attestation("shop", "runbooks")).ok
    assert world.server.patch(made, {"spec": {"approvals": [{"by": "alice"}]}}, user="alice").ok
    world.until(
        "the waiver",
        lambda: (world.get("readinesswaivers", "legacy").get("status") or {}).get("state"),
        lambda state: state == "InForce",
    )
    world.until(
        "the attestation",
        lambda: (world.get("readinessattestations", "runbooks").get("status") or {}).get("state"),
        bool,
    )
    headers = {"Authorization": "Bearer watchword", "Content-Type": "application/json"}
    post = urllib.request.Request(f"{world.operator.url}/alerts", json.dumps(ALERT).encode(), headers)
    with urllib.request.urlopen(post, timeout=10) as answer:
        assert answer.status == 202
    world.until(
        "the echo",
        lambda: world.policy["status"].get("lastHandledReconcileAt", ""),
        lambda echo: echo.startswith("alert-"),
    )
    assert "reports" not in cluster.names("events", "-n", "shop")
    assert cluster.names("events", "-n", "shop")


def test_a_standby_takes_over(world: World, kubeconfig: Path) -> None:
    leader = world.operator
    start(world, kubeconfig)
    assert leader.stop() == 0
    world.until("the takeover", world.samples, lambda s: s.get("passmuster_leader") == 1.0)


def test_a_policy_that_would_hang_without_the_operator_is_named_before_it_goes(world: World, cluster: Cluster) -> None:
    assert uninstall(cluster).returncode == 0
    policy = world.policy
    assert world.server.patch(policy, {"spec": {"deletionPolicy": "Delete"}}).ok
    world.until(
        "the finalizer",
        lambda: world.policy["metadata"].get("finalizers", []),
        lambda names: FINALIZER in names,
    )
    named = uninstall(cluster)
    assert named.returncode == 1
    assert "shop/shop waits for the operator to delete its stacks: passmuster-" in named.stdout
    assert "Delete them while it runs" in named.stderr + named.stdout
    kept = uninstall(cluster, "--yes")
    assert kept.returncode == 2
    assert "the operator still works" in kept.stderr


def test_nothing_it_asked_for_was_refused(world: World, cluster: Cluster) -> None:
    assert len(list(requests(cluster))) > 100
    assert refused(cluster) == set()


UNUSED: dict[Right, str] = {
    Right("", "events", "get"): "the count of an event that is there already",
    Right("", "events", "patch"): "the same",
    Right("passmuster.io", "readinesswaivers", "get"): "one that the watch streams missed",
    Right("passmuster.io", "readinessattestations", "get"): "the same",
    Right("passmuster.io", "readinessreports", "delete"): "an account that the policy governs no longer",
    Right("passmuster.io", "remediations", "patch"): "an intent that changed after it was proposed",
    Right("passmuster.io", "remediations", "delete"): "a proposal that nothing asks for any more",
}
"""What the story of this module has no occasion for, and what it is for."""


def test_every_right_that_the_chart_grants_is_used(world: World, cluster: Cluster) -> None:
    used = {request.right for request in requests(cluster)}
    assert used - granted() == set()
    assert granted() - used <= set(UNUSED)


def test_after_the_operator_is_gone_nothing_waits_for_it_any_more(world: World, cluster: Cluster) -> None:
    assert world.operator.stop() == 0
    cluster.uninstall()
    policy = world.policy
    assert world.server.delete(policy).ok
    assert world.policy["metadata"]["deletionTimestamp"]
    released = uninstall(cluster, "--yes")
    assert released.returncode == 0, released.stderr
    assert world.policy == {}
    assert uninstall(cluster).returncode == 0
    stacks = world.aws.client("cloudformation", world.account.region).list_stacks()["StackSummaries"]
    assert any(s["StackName"].startswith("passmuster-") and s["StackStatus"] == "CREATE_COMPLETE" for s in stacks)


def test_a_right_that_is_missing_would_have_been_seen(world: World, cluster: Cluster) -> None:
    kubeconfig = installed(cluster)
    role: dict[str, Any] = next(
        o for o in rbac.objects() if (o["kind"], o["metadata"]["name"]) == ("ClusterRole", "passmuster")
    )
    rules = [rule for rule in role["rules"] if rule["resources"] != ["events"]]
    assert len(rules) == len(role["rules"]) - 1
    assert world.server.patch(role, {"rules": rules}).ok
    start(world, kubeconfig)
    for document in manifests():
        assert world.server.apply(document).ok
    world.until("a refusal", lambda: sorted(refused(cluster)), bool)
    assert refused(cluster) == {Right("", "events", "create")}
