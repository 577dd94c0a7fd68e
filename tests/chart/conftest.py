"""What the tests of the chart share: an API server of their own, and helm and kubectl that speak to it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apiserver import ApiServer
from chart.rendering import CHART, HOME, IMAGE, merged
from passmuster.sandbox.control_plane import ControlPlane

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


@dataclass(frozen=True)
class Cluster:
    """An API server, and what a person uses to reach it."""

    plane: ControlPlane
    server: ApiServer
    program: Path
    kubectl_program: Path
    folder: Path
    audit_log: Path

    def helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """One helm command as the administrator, in the operator's namespace."""
        homes = {f"HELM_{name}_HOME": str(self.folder / name) for name in ("CONFIG", "CACHE", "DATA")}
        given = [] if values is None else ["--values", "-"]
        return subprocess.run(
            [str(self.program), *arguments, "--namespace", HOME, *given],
            env={**os.environ, **homes, "KUBECONFIG": str(self.plane.kubeconfig())},
            input=None if values is None else json.dumps(merged(IMAGE, values)),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def install(self, values: Mapping[str, Any] | None = None, chart: Path = CHART, verb: str = "install") -> str:
        """`helm install` or `helm upgrade`, which must succeed; what it said."""
        more = ["--create-namespace"] if verb == "install" else []
        done = self.helm(verb, "passmuster", str(chart), *more, values=values or {})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def uninstall(self) -> str:
        """`helm uninstall`, which must succeed; what it said."""
        done = self.helm("uninstall", "passmuster", "--timeout", "60s")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubectl(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """One kubectl command as the administrator."""
        return subprocess.run(
            [str(self.kubectl_program), "--kubeconfig", str(self.plane.kubeconfig()), *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def names(self, kind: str, *more: str) -> set[str]:
        """The names of all objects of a kind, as kubectl names them."""
        done = self.kubectl("get", kind, "-o", "name", *more)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())


@pytest.fixture(scope="module")
def cluster(helm_program: Path, kubectl_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An empty cluster of the module's own, because helm takes no objects that others made; every request is logged."""
    folder = tmp_path_factory.mktemp("cluster")
    policy, log = folder / "audit-policy.yaml", folder / "audit.log"
    policy.write_text(AUDIT_POLICY)
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking-strict")
    with ControlPlane(users={"alice": ["system:authenticated"]}, arguments=flags) as plane:
        yield Cluster(plane, ApiServer(plane), helm_program, kubectl_program, folder, log)
