"""The chart on a real API server: installed, upgraded from an older schema, uninstalled, installed again.

The tests of this module tell one story in their order, on one cluster.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver import account, eventually, monitoring_kinds, policy, remediation
from chart.conftest import Cluster
from chart.rendering import CHART, HOME, MATRIX, template
from passmuster.api import admission

pytestmark = [pytest.mark.apiserver, pytest.mark.helm, pytest.mark.slow]

POLICIES = "manifests/passmuster.io_readinesspolicies.yaml"
KEPT = {"customresourcedefinitions", "validatingadmissionpolicies", "validatingadmissionpolicybindings"}


@pytest.fixture(scope="module")
def older_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart of an older release: a policy cannot be suspended, and approvals need no digest."""
    folder = tmp_path_factory.mktemp("older") / "passmuster"
    shutil.copytree(CHART, folder)
    definition = yaml.safe_load((folder / POLICIES).read_text(encoding="utf-8"))
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert spec["properties"].pop("suspend")
    (folder / POLICIES).write_text(yaml.safe_dump(definition), encoding="utf-8")
    guard = folder / "manifests" / "approval-policy.yaml"
    documents = [d for d in yaml.safe_load_all(guard.read_text(encoding="utf-8")) if d]
    documents[0]["spec"]["validations"].pop()
    guard.write_text("---\n".join(yaml.safe_dump(d) for d in documents), encoding="utf-8")
    chart = folder / "Chart.yaml"
    chart.write_text(chart.read_text(encoding="utf-8").replace("version: 0.1.0", "version: 0.0.9"), encoding="utf-8")
    return folder


def _live(cluster: Cluster, kind: str) -> dict[str, Any]:
    done = cluster.kubectl("get", kind, admission.APPROVAL_POLICY, "-o", "json")
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def _guarded(cluster: Cluster) -> str | None:
    kinds = ("validatingadmissionpolicy", "validatingadmissionpolicybinding")
    return admission.altered(*(_live(cluster, kind) or None for kind in kinds))


def test_every_object_is_accepted_by_server_side_apply(cluster: Cluster) -> None:
    for definition in monitoring_kinds():
        assert cluster.server.apply(definition).ok
    cluster.server.namespace(HOME)
    for name, values in MATRIX.items():
        text = "---\n".join(yaml.safe_dump(o) for o in template(cluster.program, values).objects)
        tried = cluster.kubectl(
            "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", given=text
        )
        assert tried.returncode == 0, f"{name}: {tried.stderr}"
        assert "Warning" not in tried.stderr, f"{name}: {tried.stderr}"


def test_an_older_release_is_installed_and_used(cluster: Cluster, older_chart: Path) -> None:
    cluster.install(chart=older_chart)
    assert eventually(lambda: cluster.server.call("GET", "/apis/passmuster.io/v1alpha1/readinesspolicies").ok)
    cluster.server.namespace("shop")
    assert cluster.server.create(account("shop", allowedNamespaces={"names": ["shop"]})).ok
    assert cluster.server.create(policy("shop", "shop")).ok
    refused = cluster.server.create(policy("shop", "quiet", suspend=True))
    assert refused.status == 400
    assert "suspend" in refused.message
    assert "differs" in str(_guarded(cluster))


def test_an_upgrade_brings_the_new_schema_and_keeps_every_object(cluster: Cluster) -> None:
    before = cluster.server.get(policy("shop", "shop"))
    cluster.install(verb="upgrade")
    assert eventually(lambda: cluster.server.create(policy("shop", "quiet", suspend=True), dry=True).ok)
    after = cluster.server.get(policy("shop", "shop"))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == {**before["spec"], "suspend": False}
    assert _guarded(cluster) is None


def test_only_the_operator_writes_remediations_in_the_installed_cluster(cluster: Cluster) -> None:
    made = remediation("shop", "probe")
    assert eventually(lambda: cluster.server.create(made, dry=True).status == 403)


def test_its_pods_are_admitted_where_pod_security_enforces_restricted(cluster: Cluster) -> None:
    labels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
    assert cluster.kubectl("label", "namespace", HOME, "--overwrite", *labels).returncode == 0
    deployment = json.loads(cluster.kubectl("-n", HOME, "get", "deployment", "passmuster", "-o", "json").stdout)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": HOME},
        "spec": deployment["spec"]["template"]["spec"],
    }
    tried = cluster.kubectl("create", "--dry-run=server", "-f", "-", given=json.dumps(pod))
    assert tried.returncode == 0, tried.stderr
    assert "Warning" not in tried.stderr
    del pod["spec"]["containers"][0]["securityContext"]
    tried = cluster.kubectl("create", "--dry-run=server", "-f", "-", given=json.dumps(pod))
    assert "violates PodSecurity" in tried.stderr


def test_uninstalling_leaves_definitions_objects_and_the_guard_of_approvals(cluster: Cluster) -> None:
    said = cluster.uninstall()
    assert "readinesspolicies.passmuster.io" in said
    label = ("-l", "app.kubernetes.io/name=passmuster", "-A")
    everything = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").stdout.split()
    left = {kind.partition(".")[0] for kind in everything if cluster.names(kind, *label)}
    assert left == KEPT | {kind.replace("validating", "mutating") for kind in KEPT if kind.startswith("validating")}
    assert cluster.server.get(policy("shop", "shop"))
    assert cluster.server.create(remediation("shop", "probe"), dry=True).status == 403
    assert cluster.server.delete(policy("shop", "shop")).ok
    assert cluster.server.call("GET", "/apis/passmuster.io/v1alpha1/readinesspolicies").body["items"] == []


def test_the_next_installation_takes_up_what_was_kept(cluster: Cluster) -> None:
    notes = cluster.install({"crds": {"keep": False}})
    assert "kubectl get rp,rr,rem -A" in notes
    assert "rollout status deployment/passmuster" in notes
    assert cluster.server.get(account("shop"))["spec"]["accountId"] == "123456789012"


def test_where_nothing_is_to_be_kept_nothing_stays_and_nothing_hangs(cluster: Cluster) -> None:
    assert cluster.server.create(policy("shop", "shop")).ok
    cluster.uninstall()
    assert eventually(
        lambda: not {name for name in cluster.names("customresourcedefinitions") if "passmuster.io" in name}, 60
    )
    assert cluster.names("validatingadmissionpolicies") == set()
    assert cluster.names("clusterroles", "-l", "app.kubernetes.io/name=passmuster") == set()
