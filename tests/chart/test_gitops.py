"""Argo CD, Flux and Kustomize: health by the Lua of Argo CD, by the kstatus of Flux, and a base that builds."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime

import kstatus
from apiserver import KINDS
from chart.rendering import CHART, HOME, ROOT, run, template
from passmuster.api.fields import NEVER_OBSERVED
from passmuster.sandbox import binaries

pytestmark = pytest.mark.slow

GITOPS = ROOT / "examples" / "gitops"
HEALTH = yaml.safe_load((GITOPS / "argocd" / "argocd-cm.yaml").read_text(encoding="utf-8"))["data"]
PREFIX = "resource.customizations.health.passmuster.io_"
ADDED = {"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "app.kubernetes.io/version"}
"""Labels that say how the chart was installed."""

Said = tuple[str, str]


def condition(kind: str, status: str, message: str = "A sentence") -> dict[str, Any]:
    """A condition as the operator writes it."""
    return {"type": kind, "status": status, "reason": "Succeeded", "message": message, "observedGeneration": 2}


def body(*conditions: Mapping[str, Any], generation: int = 2, observed: int | None = 2, **more: Any) -> dict[str, Any]:
    """An object of ours with these conditions; `state` and `suspend` are where they belong."""
    status: dict[str, Any] = {} if observed is None else {"observedGeneration": observed}
    status |= {"conditions": list(conditions)} if conditions else {}
    status |= {"state": more["state"]} if "state" in more else {}
    spec = {"suspend": True} if more.get("suspend") else {}
    return {"metadata": {"generation": generation}, "spec": spec, "status": status}


READY = condition("Ready", "True", "Inspected 73 checks")
NOT_READY = condition("Ready", "False", "The role may not be assumed")
UNKNOWN = condition("Ready", "Unknown", "Suspended")
RECONCILING = condition("Reconciling", "True", "It tries again")
STALLED = condition("Stalled", "True", "The namespace is not allowed")

# Each object with its health for Argo CD and its status for Flux.
OBJECTS: Mapping[str, tuple[dict[str, Any], str, str]] = {
    "just created": (body(generation=1, observed=NEVER_OBSERVED), "Progressing", "InProgress"),
    "changed and not seen yet": (body(READY, generation=3), "Progressing", "InProgress"),
    "ready": (body(READY), "Healthy", "Current"),
    "ready and not compliant": (body(READY, condition("Compliant", "False")), "Healthy", "Current"),
    "trying again": (body(NOT_READY, RECONCILING), "Progressing", "InProgress"),
    "waiting for somebody": (body(NOT_READY, STALLED), "Degraded", "Failed"),
    "suspended": (body(UNKNOWN, suspend=True), "Suspended", "InProgress"),
    "a change without its approvals": (body(NOT_READY, state="AwaitingApproval"), "Suspended", "InProgress"),
    "a change under way": (body(NOT_READY, RECONCILING, state="Executing"), "Progressing", "InProgress"),
    "an applied change": (body(READY, state="Applied"), "Healthy", "Current"),
    "a failed change": (body(NOT_READY, STALLED, state="Failed"), "Degraded", "Failed"),
    "an approved waiver": (body(READY, state="InForce"), "Healthy", "Current"),
    "an expired waiver": (body(NOT_READY, state="Expired"), "Degraded", "InProgress"),
}


def argo(script: str, obj: Mapping[str, Any]) -> Said:
    """What Argo CD makes of an object: health and message. Its Lua is 5.1, without modules of the system."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    for name in ("os", "io", "require", "package", "debug", "dofile", "loadfile"):
        lua.globals()[name] = None
    lua.globals()["obj"] = lua.table_from(obj, recursive=True)
    health = lua.execute(script)
    return str(health["status"]), str(health["message"])


def test_every_kind_has_its_health() -> None:
    assert set(HEALTH) == {PREFIX + kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OBJECTS)
def test_argo_cd_shows_the_health(kind: str, name: str) -> None:
    obj, health, _ = OBJECTS[name]
    said, message = argo(HEALTH[PREFIX + kind], obj)
    assert said == health
    assert message


@pytest.mark.kstatus
def test_flux_waits_and_fails_as_it_should(kstatus_command: list[str]) -> None:
    objects = [{"apiVersion": "passmuster.io/v1alpha1", **obj} for obj, _, _ in OBJECTS.values()]
    for kind in KINDS:
        told = kstatus.told(kstatus_command, [{"kind": kind, **obj} for obj in objects])
        assert dict(zip(OBJECTS, told, strict=True)) == {name: status for name, (_, _, status) in OBJECTS.items()}


@pytest.mark.kstatus
def test_without_our_default_flux_would_take_an_object_that_nobody_looked_at_for_current(
    kstatus_command: list[str],
) -> None:
    new = {"apiVersion": "passmuster.io/v1alpha1", "kind": "ReadinessPolicy", "metadata": {"generation": 1}}
    assert kstatus.told(kstatus_command, [new]) == ["Current"]


def test_argo_cd_says_what_is_wrong_in_our_words() -> None:
    assert argo(HEALTH[PREFIX + "ReadinessPolicy"], body(NOT_READY, STALLED))[1] == "The namespace is not allowed"


@pytest.mark.helm
def test_the_manifests_give_values_that_the_chart_takes(helm_program: Path) -> None:
    """The values of both examples, rendered by the chart where they say that it is installed."""
    applications = list(yaml.safe_load_all((GITOPS / "argocd" / "applications.yaml").read_text(encoding="utf-8")))
    releases = list(yaml.safe_load_all((GITOPS / "flux" / "passmuster.yaml").read_text(encoding="utf-8")))
    app = next(a["spec"] for a in applications if a["metadata"]["name"] == "passmuster")
    release = next(r["spec"] for r in releases if r["kind"] == "HelmRelease")
    assert ROOT / app["source"]["path"] == CHART == ROOT / release["chart"]["spec"]["chart"]
    for values, namespace in (
        (app["source"]["helm"]["valuesObject"], app["destination"]["namespace"]),
        (release["values"], release["targetNamespace"]),
    ):
        made = template(helm_program, values, namespace=namespace)
        assert made.status == 0, made.said
        assert {"ServiceMonitor", "PrometheusRule"} <= made.kinds()


@pytest.fixture(scope="module")
def built() -> Callable[[str], list[dict[str, Any]]]:
    """Builds a folder with `kubectl kustomize`."""
    found = binaries.find()
    kubectl = str(found.kubectl) if found and found.kubectl else shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl here: `python -m passmuster.sandbox.binaries` gets it")

    def build(folder: str) -> list[dict[str, Any]]:
        done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return [one for one in yaml.safe_load_all(done.stdout) if one]

    return build


def test_the_base_builds_and_holds_all_that_is_shipped(built: Callable[[str], list[dict[str, Any]]]) -> None:
    made = built(str(GITOPS / "kustomize"))
    shipped = [d for path in (ROOT / "crds").glob("*.yaml") for d in yaml.safe_load_all(path.read_text()) if d]

    def key(one: Mapping[str, Any]) -> tuple[str, str]:
        return one["kind"], one["metadata"]["name"]

    assert {key(one) for one in shipped} <= {key(one) for one in made}


def test_an_overlay_names_the_image(built: Callable[[str], list[dict[str, Any]]], tmp_path: Path) -> None:
    for folder in ("examples/gitops/kustomize", "charts/passmuster/manifests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    images = [{"name": "passmuster", "newName": "registry.example.com/passmuster", "newTag": "0.1.0"}]
    content = {"resources": ["../examples/gitops/kustomize"], "images": images}
    (overlay / "kustomization.yaml").write_text(json.dumps(content))
    deployment = next(one for one in built(str(overlay)) if one["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.com/passmuster:0.1.0"


@pytest.mark.helm
def test_the_base_is_what_the_chart_renders(helm_program: Path) -> None:
    apart = {"crds": {"install": False}, "admission": {"install": False}, "rbac": {"install": False}}
    values = {"image": {"repository": "passmuster"}, **apart}
    done = run(helm_program, "template", "passmuster", str(CHART), "--namespace", HOME, values=values)
    rendered = [one for one in yaml.safe_load_all(done.stdout) if one and one["kind"] != "ServiceAccount"]
    written = (GITOPS / "kustomize" / "operator.yaml").read_text(encoding="utf-8")
    assert list(yaml.safe_load_all(written)) == [_without(one) for one in rendered]


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(child) for key, child in value.items() if key not in ADDED}
    return [_without(child) for child in value] if isinstance(value, list) else value
