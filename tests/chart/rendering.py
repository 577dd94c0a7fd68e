"""What the chart renders, by the real helm, for the tests of this folder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "passmuster"
HOME = "passmuster-system"
IMAGE = {"image": {"repository": "registry.example.com/passmuster"}}
LAST_EDITOR_API = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
IRSA = {"credentials": "IRSA", "roleArn": "arn:aws:iam::111111111111:role/passmuster-operator"}

MATRIX: Mapping[str, Mapping[str, Any]] = {
    "defaults": {},
    "one process": {"replicas": 1},
    "irsa": {"aws": IRSA},
    "irsa in China": {"aws": {"credentials": "IRSA", "roleArn": "arn:aws-cn:iam::111111111111:role/a/b"}},
    "instance profile": {"aws": {"credentials": "InstanceProfile", "region": "eu-central-1"}},
    "access keys": {"aws": {"credentials": "Secret", "secretName": "aws"}},
    "a digest": {"image": {"digest": "sha256:" + "0" * 64, "pullSecrets": [{"name": "registry"}]}},
    "alerts and evidence": {"alerts": {"secretName": "passmuster-alerts"}, "evidence": {"claimName": "reports"}},
    "monitored": {
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Passmuster"}},
        }
    },
    "traced": {"tracing": {"endpoint": "http://otel.observability:4318", "secretName": "collector"}},
    "traced by a vendor": {"tracing": {"endpoint": "https://otlp.example.com/team", "samplingRatio": 0.25}},
    "by others": {"crds": {"install": False}, "admission": {"install": False}, "rbac": {"install": False}},
    "not kept, not aggregated": {"crds": {"keep": False}, "rbac": {"aggregate": False}},
    "two namespaces": {
        "operator": {"namespaces": ["shop", "pay"], "workers": 8, "requestsPerSecond": 2.5, "leaseDuration": 20}
    },
    "a proxy": {
        "operator": {"extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}]},
        "networkPolicy": {
            "apiServerPorts": [6443],
            "ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "extraEgress": [{"ports": [{"port": 3128, "protocol": "TCP"}]}],
        },
    },
    "placed": {
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "resources": {"limits": {"memory": "2Gi"}},
        "serviceAccount": {"annotations": {"example.com/owner": "platform"}},
        "service": {"annotations": {"prometheus.io/scrape": "true"}},
        "pod": {
            "labels": {"team": "platform"},
            "annotations": {"example.com/owner": "platform"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "platform", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": [
                {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
            ],
            "priorityClassName": "system-cluster-critical",
        },
    },
}
"""Values that between them take every branch of every template."""


@dataclass(frozen=True)
class Rendered:
    """What helm said and made."""

    status: int
    said: str
    objects: Sequence[dict[str, Any]]

    def one(self, kind: str, name: str = "passmuster") -> dict[str, Any]:
        """The object of that kind and name."""
        return next(o for o in self.objects if (o["kind"], o["metadata"]["name"]) == (kind, name))

    def kinds(self) -> set[str]:
        """Every kind among the objects."""
        return {o["kind"] for o in self.objects}

    def container(self) -> dict[str, Any]:
        """The operator's container."""
        found: dict[str, Any] = self.one("Deployment")["spec"]["template"]["spec"]["containers"][0]
        return found


def run(helm: Path, *arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """One helm command, with values on its standard input."""
    given = [] if values is None else ["--values", "-"]
    return subprocess.run(
        [str(helm), *arguments, *given],
        input=None if values is None else json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def template(
    helm: Path,
    values: Mapping[str, Any] | None = None,
    *,
    namespace: str = HOME,
    kubernetes: str = "1.36.0",
    apis: Sequence[str] = (LAST_EDITOR_API,),
    chart: Path = CHART,
) -> Rendered:
    """`helm template` with an image and these values."""
    whole = merged(IMAGE, values or {})
    served = [word for api in apis for word in ("--api-versions", api)]
    where = ["--namespace", namespace, "--kube-version", kubernetes]
    done = run(helm, "template", "passmuster", str(chart), *where, *served, values=whole)
    objects = [one for one in yaml.safe_load_all(done.stdout) if one] if done.returncode == 0 else []
    return Rendered(done.returncode, done.stderr, objects)


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Values laid over values, as helm does it."""
    whole = dict(one)
    for key, value in other.items():
        mine = whole.get(key)
        whole[key] = merged(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return whole
