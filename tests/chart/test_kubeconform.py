"""kubeconform as a second opinion: what the chart renders, the Kustomize base and the examples fit their schemas.

The schemas are those of Kubernetes, of our kinds, of the Prometheus Operator and of Flux's Kustomization. Argo CD's
kinds and Flux's other two have none here.
"""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.rendering import MATRIX, ROOT, template
from kubeconform import OURS, Kubeconform

pytestmark = [pytest.mark.kubeconform, pytest.mark.slow]

RELEASES = ("1.32", "1.34", "1.36", "1.37")
UNJUDGED = {
    "argoproj.io/v1alpha1",
    "source.toolkit.fluxcd.io/v1",
    "helm.toolkit.fluxcd.io/v2",
    "kustomize.config.k8s.io/v1beta1",
}
"""What there is no schema of; the last is a file for kubectl and no object."""

Body = dict[str, Any]


@pytest.fixture(scope="module")
def kubeconform(
    kubeconform_command: list[str], foreign_definitions: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Kubeconform:
    """kubeconform with a folder for its schemas."""
    folder = tmp_path_factory.mktemp("schemas")
    return Kubeconform.knowing([*OURS, *foreign_definitions], command=kubeconform_command, folder=folder)


def judged(objects: list[Body], release: str) -> list[Body]:
    """The objects that there is a schema of, and that Kubernetes of that release serves."""
    return [
        one
        for one in objects
        if one["apiVersion"] not in UNJUDGED and (release >= "1.36" or not one["kind"].startswith("Mutating"))
    ]


@pytest.mark.helm
@pytest.mark.parametrize("release", RELEASES)
def test_every_object_of_the_chart_is_valid(kubeconform: Kubeconform, chart: list[Body], release: str) -> None:
    objects = judged(chart, release)
    verdict = kubeconform.judge(objects, release)
    assert verdict.wrong == ()
    assert verdict.valid == len(objects) > 40
    assert {"Deployment", "CustomResourceDefinition", "ServiceMonitor", "PrometheusRule"} <= {
        o["kind"] for o in objects
    }


@pytest.fixture(scope="module")
def chart(helm_program: Path) -> list[Body]:
    """What the chart renders under every row of the matrix, each distinct object once."""
    distinct: dict[str, Body] = {}
    for values in MATRIX.values():
        made = template(helm_program, values)
        assert made.status == 0, made.said
        distinct |= {json.dumps(body): body for body in made.objects}
    return list(distinct.values())


def test_every_object_of_the_kustomize_base_is_valid(kubeconform: Kubeconform, kubectl_program: Path) -> None:
    command = [str(kubectl_program), "kustomize", str(ROOT / "examples" / "gitops" / "kustomize")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    verdict = kubeconform.judge(objects, "1.36")
    assert verdict.wrong == ()
    assert verdict.valid == len(objects) > 15


def examples() -> Iterator[Body]:
    """Every object of `examples/` that there is a schema of."""
    for path in sorted((ROOT / "examples").glob("**/*.yaml")):
        found = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
        yield from judged(found, "1.36")


def test_every_example_is_valid(kubeconform: Kubeconform) -> None:
    objects = list(examples())
    ours = {"AWSAccount", "ReadinessPolicy", "ReadinessWaiver", "ReadinessAttestation"}
    assert ours | {"Kustomization", "ConfigMap"} <= {one["kind"] for one in objects}
    verdict = kubeconform.judge(objects, "1.36")
    assert verdict.wrong == ()
    assert verdict.valid == len(objects)


def _spec(body: Body) -> Body:
    spec: Body = body["spec"]
    return spec


WRONG: Mapping[str, tuple[str, Callable[[Body], object], str]] = {
    "a field that Kubernetes does not have": ("Deployment", lambda b: _spec(b).update(replicaz=2), "replicaz"),
    "a word for a number": ("Deployment", lambda b: _spec(b).update(replicas="two"), "/spec/replicas"),
    "a field that we do not have": ("ReadinessPolicy", lambda b: _spec(b).update(mode="Observe"), "mode"),
    "a level that is none": ("ReadinessPolicy", lambda b: _spec(b).update(level="Perfect"), "/spec/level"),
    "a policy without an account's name": ("ReadinessPolicy", lambda b: _spec(b).update(accountRef={}), "accountRef"),
    "a field that Flux does not have": ("Kustomization", lambda b: _spec(b).update(pruned=True), "pruned"),
    "a kind that nobody serves": ("ReadinessPolicy", lambda b: b.update(kind="Readyness"), "could not find schema"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_object_that_is_wrong_is_refused(kubeconform: Kubeconform, name: str) -> None:
    kind, spoil, said = WRONG[name]
    body = copy.deepcopy(next(one for one in examples() if one["kind"] == kind))
    assert kubeconform.judge([body], "1.36").wrong == ()
    spoil(body)
    verdict = kubeconform.judge([body], "1.36")
    assert verdict.valid == 0
    assert len(verdict.wrong) == 1
    assert said in verdict.wrong[0]
