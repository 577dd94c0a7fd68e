"""The engine's cluster on a real API server: reads, pages, merges, conflicts, events, and the guard of approvals."""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import apiserver
from apiserver import ApiServer
from passmuster.api import admission
from passmuster.engine.ports import (
    ACCOUNTS,
    NAMESPACES,
    POLICIES,
    REMEDIATIONS,
    REPORTS,
    ClusterUnreachable,
    Conflict,
    Key,
)
from passmuster.kube import cluster as kube
from passmuster.kube.cluster import KubeCluster
from passmuster.kube.connection import connect
from passmuster.sandbox.control_plane import ADMIN, OPERATOR, ControlPlane
from passmuster.sandbox.server_process import free_port

pytestmark = pytest.mark.apiserver

READY = {
    "type": "Ready",
    "status": "True",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-11-21T12:00:00Z",
    "reason": "Succeeded",
    "message": "All is well",
}


@pytest.fixture
def cluster(server: ApiServer, operator: Any) -> KubeCluster:
    """The cluster with the operator's own rights."""
    return KubeCluster(operator, lambda: True, namespace="passmuster-system", instance="test")


@pytest.fixture
def policy(server: ApiServer, namespace: str) -> Key:
    answer = server.create(apiserver.policy(namespace, "shop"))
    assert answer.ok, answer.message
    return Key(POLICIES, namespace, "shop")


def _events(server: ApiServer, namespace: str) -> list[dict[str, Any]]:
    return list(server.call("GET", f"/api/v1/namespaces/{namespace}/events").body["items"])


def test_the_uid_is_that_of_kube_system(cluster: KubeCluster, server: ApiServer) -> None:
    answer = server.call("GET", "/api/v1/namespaces/kube-system")
    assert cluster.uid() == cluster.uid() == answer.body["metadata"]["uid"]


def test_the_kinds_that_are_not_served_are_named(cluster: KubeCluster) -> None:
    assert cluster.missing_kinds([POLICIES, ACCOUNTS, "blueprints"]) == ["blueprints"]


def test_an_object_that_is_not_there_is_none_everywhere(cluster: KubeCluster, namespace: str) -> None:
    gone = Key(POLICIES, namespace, "gone")
    assert cluster.get(gone) is None
    assert cluster.patch(gone, {"metadata": {"annotations": {"a": "b"}}}) is None
    assert cluster.patch_status(gone, {"accounts": 1}) is None
    cluster.delete(Key(REPORTS, namespace, "gone"))
    assert cluster.list(POLICIES, namespace) == []


def test_objects_of_every_scope_are_read(cluster: KubeCluster, server: ApiServer, policy: Key) -> None:
    assert (cluster.get(policy) or {})["spec"]["level"] == "Stable"
    assert (cluster.get(Key(NAMESPACES, "", policy.namespace)) or {})["kind"] == "Namespace"
    account = apiserver.account(f"acct-{policy.namespace}")
    assert server.create(account).ok
    assert (cluster.get(Key.of(ACCOUNTS, account)) or {})["spec"]["accountId"] == "123456789012"
    server.delete(account)


def test_creating_what_is_there_returns_it_as_it_is(cluster: KubeCluster, namespace: str) -> None:
    body = apiserver.remediation(namespace, "trail")
    made = cluster.create(REMEDIATIONS, body)
    changed = copy.deepcopy(body)
    changed["spec"]["cost"]["monthly"] = 99
    again = cluster.create(REMEDIATIONS, changed)
    assert again["metadata"]["uid"] == made["metadata"]["uid"]
    assert again["spec"]["cost"]["monthly"] == 1


def test_creating_in_a_namespace_that_is_gone_may_be_tried_again(cluster: KubeCluster) -> None:
    with pytest.raises(ClusterUnreachable, match="no namespace"):
        cluster.create(REMEDIATIONS, apiserver.remediation("no-such-namespace", "trail"))


def test_a_merge_changes_only_what_it_names(cluster: KubeCluster, policy: Key) -> None:
    cluster.patch(policy, {"metadata": {"annotations": {"a": "1", "b": "2"}}})
    after = cluster.patch(policy, {"metadata": {"annotations": {"a": None}}})
    assert after is not None
    annotations = after["metadata"]["annotations"]
    assert annotations["b"] == "2"
    assert "a" not in annotations


def test_a_status_is_merged_and_is_no_new_generation(cluster: KubeCluster, policy: Key) -> None:
    cluster.patch_status(policy, {"observedGeneration": 1, "accounts": 1, "conditions": [READY]})
    after = cluster.patch_status(policy, {"accounts": None, "level": "Foundation"})
    assert after is not None
    assert after["metadata"]["generation"] == 1
    assert after["status"] == {
        "observedGeneration": 1,
        "level": "Foundation",
        "conditions": [READY],
    } | {name: after["status"][name] for name in after["status"] if name == "summary"}


def test_writes_carry_our_field_manager(cluster: KubeCluster, policy: Key) -> None:
    after = cluster.patch_status(policy, {"accounts": 1})
    assert after is not None
    assert kube.MANAGER in {entry["manager"] for entry in after["metadata"]["managedFields"]}


def test_a_stale_version_is_a_conflict_and_nothing_is_written(cluster: KubeCluster, policy: Key) -> None:
    before = cluster.get(policy) or {}
    version = before["metadata"]["resourceVersion"]
    assert cluster.patch_status(policy, {"accounts": 1}, version) is not None
    with pytest.raises(Conflict):
        cluster.patch_status(policy, {"accounts": 2}, version)
    with pytest.raises(Conflict):
        cluster.patch(policy, {"metadata": {"resourceVersion": version, "annotations": {"a": "b"}}})
    assert (cluster.get(policy) or {})["status"]["accounts"] == 1


def test_a_refusal_is_told_with_what_the_api_server_said(cluster: KubeCluster, policy: Key) -> None:
    with pytest.raises(ClusterUnreachable, match="422") as refused:
        cluster.patch_status(policy, {"level": "Perfect"})
    assert "Perfect" in str(refused.value)


def test_what_rbac_refuses_is_told(cluster: KubeCluster, policy: Key) -> None:
    with pytest.raises(ClusterUnreachable, match="403"):
        cluster.delete(policy)


@contextmanager
def _elsewhere(
    control_plane: ControlPlane, folder: Path, *, server: str = "", token: str = ""
) -> Iterator[KubeCluster]:
    """The cluster through a kubeconfig with another server or token."""
    config = yaml.safe_load(control_plane.kubeconfig(ADMIN).read_text())
    if server:
        config["clusters"][0]["cluster"]["server"] = server
    if token:
        config["users"][0]["user"]["token"] = token
    path = folder / "kubeconfig.yaml"
    path.write_text(yaml.safe_dump(config))
    api = connect(path)
    try:
        yield KubeCluster(api, lambda: True, namespace="passmuster-system", instance="test")
    finally:
        api.close()


def test_an_api_server_that_does_not_answer_is_unreachable(control_plane: ControlPlane, tmp_path: Path) -> None:
    with _elsewhere(control_plane, tmp_path, server=f"https://127.0.0.1:{free_port()}") as away:
        with pytest.raises(ClusterUnreachable):
            away.get(Key(POLICIES, "shop", "shop"))
        with pytest.raises(ClusterUnreachable):
            away.list(POLICIES)
        with pytest.raises(ClusterUnreachable):
            away.uid()


def test_a_wrong_token_is_unreachable_not_absent(control_plane: ControlPlane, tmp_path: Path) -> None:
    with (
        _elsewhere(control_plane, tmp_path, token="wrong") as stranger,
        pytest.raises(ClusterUnreachable, match="401"),
    ):
        stranger.get(Key(POLICIES, "shop", "shop"))


# lists


def test_lists_are_by_namespace_and_label(cluster: KubeCluster, namespace: str) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2"})):
        body = apiserver.remediation(namespace, name)
        body["metadata"]["labels"] = labels
        cluster.create(REMEDIATIONS, body)
    assert {r["metadata"]["name"] for r in cluster.list(REMEDIATIONS, namespace)} == {"a", "b"}
    assert [r["metadata"]["name"] for r in cluster.list(REMEDIATIONS, namespace, "x=2")] == ["b"]
    assert {"a", "b"} <= {r["metadata"]["name"] for r in cluster.list(REMEDIATIONS)}


def test_a_list_of_metadata_brings_nothing_else(cluster: KubeCluster, policy: Key) -> None:
    (found,) = cluster.list(POLICIES, policy.namespace, metadata_only=True)
    assert Key.of(POLICIES, found) == policy
    assert found["metadata"]["resourceVersion"]
    assert "spec" not in found
    assert "status" not in found


@pytest.fixture(scope="module")
def crowd(server: ApiServer, admin: Any) -> Iterator[tuple[str, int]]:
    """A namespace with more objects than a page holds."""
    namespace, number = server.namespace("kube-crowd"), 520
    writer = KubeCluster(admin, lambda: True, namespace="passmuster-system", instance="test")
    for n in range(number):
        writer.create(POLICIES, apiserver.policy(namespace, f"policy-{n:04}"))
    yield namespace, number
    server.call("DELETE", f"/apis/passmuster.io/v1alpha1/namespaces/{namespace}/{POLICIES}")


@pytest.mark.slow
@pytest.mark.parametrize("metadata_only", [True, False])
def test_a_list_longer_than_a_page_is_whole(cluster: KubeCluster, crowd: tuple[str, int], metadata_only: bool) -> None:
    namespace, number = crowd
    found = cluster.list(POLICIES, namespace, metadata_only=metadata_only)
    assert Counter(body["metadata"]["name"] for body in found) == {f"policy-{n:04}": 1 for n in range(number)}


# events


def test_the_same_event_again_is_counted_not_multiplied(cluster: KubeCluster, server: ApiServer, policy: Key) -> None:
    body = cluster.get(policy) or {}
    for _ in range(3):
        cluster.event(body, kind="ReadinessPolicy", reason="LevelFell", message="Level A -> B", warning=True)
    (event,) = _events(server, policy.namespace)
    assert (event["count"], event["type"], event["reason"]) == (3, "Warning", "LevelFell")
    assert event["involvedObject"]["uid"] == body["metadata"]["uid"]
    cluster.event(body, kind="ReadinessPolicy", reason="LevelRose", message="Level B -> A")
    assert len(_events(server, policy.namespace)) == 2


def test_an_event_about_an_object_of_the_cluster_is_in_default(cluster: KubeCluster, server: ApiServer) -> None:
    account = apiserver.account("event-account")
    made = server.create(account)
    cluster.event(made.body, kind="AWSAccount", reason="AssumeRoleDenied", message="It may not be assumed")
    assert any(event["involvedObject"]["name"] == "event-account" for event in _events(server, "default"))
    server.delete(account)


def test_a_message_of_any_length_is_an_event(cluster: KubeCluster, server: ApiServer, policy: Key) -> None:
    body = cluster.get(policy) or {}
    cluster.event(body, kind="ReadinessPolicy", reason="CheckFailing", message="x" * 5000)
    (event,) = _events(server, policy.namespace)
    assert len(event["message"]) == 1024


def test_an_event_in_a_namespace_that_is_going_is_let_be(cluster: KubeCluster, server: ApiServer, policy: Key) -> None:
    """Nothing is made there any more: a policy that waits for its event would hold the namespace for ever."""
    body = cluster.get(policy) or {}
    assert server.call("DELETE", f"/api/v1/namespaces/{policy.namespace}").ok
    assert "deletionTimestamp" in (cluster.get(Key(NAMESPACES, "", policy.namespace)) or {})["metadata"]
    cluster.event(body, kind="ReadinessPolicy", reason="StackFailed", message="It stays", warning=True)
    assert _events(server, policy.namespace) == []
    with pytest.raises(ClusterUnreachable, match="403"):
        cluster.create(REMEDIATIONS, apiserver.remediation(policy.namespace, "trail"))


# the guard of approvals


@pytest.fixture
def guarded(server: ApiServer) -> Iterator[None]:
    """The approval policy is put back as it was."""
    yield
    for manifest in admission.approval_policy():
        server.delete(manifest)
        assert server.create(manifest).ok
    assert apiserver.eventually(lambda: apiserver.in_force(server))


def test_the_shipped_approval_policy_is_in_force(cluster: KubeCluster) -> None:
    assert cluster.approvals_guarded() is None


@pytest.mark.parametrize("which", [0, 1], ids=["policy", "binding"])
def test_a_missing_approval_policy_is_noticed(
    cluster: KubeCluster, server: ApiServer, guarded: None, which: int
) -> None:
    manifest = admission.approval_policy()[which]
    assert server.delete(manifest).ok
    fault = cluster.approvals_guarded()
    assert fault is not None
    assert "does not exist" in fault
    assert manifest["kind"] in fault


@pytest.mark.parametrize(
    ("which", "patch"),
    [
        (0, {"spec": {"failurePolicy": "Ignore"}}),
        (0, {"spec": {"validations": [{"expression": "true"}]}}),
        (0, {"spec": {"matchConditions": [{"name": "never", "expression": "false"}]}}),
        (0, {"spec": {"matchConstraints": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}}),
        (1, {"spec": {"validationActions": ["Audit"]}}),
        (1, {"spec": {"matchResources": {"objectSelector": {"matchLabels": {"a": "b"}}}}}),
    ],
)
def test_an_altered_approval_policy_is_noticed(
    cluster: KubeCluster, server: ApiServer, guarded: None, which: int, patch: dict[str, Any]
) -> None:
    answer = server.patch(admission.approval_policy()[which], patch)
    assert answer.ok, answer.message
    fault = cluster.approvals_guarded()
    assert fault is not None
    assert "differs from the shipped one" in fault


# the API server goes away


@pytest.fixture
def served_again(server: ApiServer) -> Iterator[None]:
    """Afterwards the API server knows our kinds and their admission again."""
    yield
    assert apiserver.eventually(lambda: apiserver.in_force(server))


@pytest.mark.slow
def test_a_restart_of_the_api_server_is_survived_by_the_same_client(
    cluster: KubeCluster, control_plane: ControlPlane, policy: Key, served_again: None
) -> None:
    cluster.patch_status(policy, {"accounts": 1})
    control_plane.restart_apiserver(abruptly=True)
    deadline = time.monotonic() + 30
    while True:
        try:
            body = cluster.get(policy)
            break
        except ClusterUnreachable:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert (body or {})["status"]["accounts"] == 1
    assert cluster.patch_status(policy, {"accounts": 2}) is not None
    assert OPERATOR in control_plane.users
