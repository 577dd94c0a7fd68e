"""Objects judged by kubeconform without a cluster and without network, for tests of what people apply.

The schemas are Kubernetes' own, of every release, as the package kubernetes-validate carries them, and those of custom
resources, ours out of `crds/`. All are written as kubeconform reads them: beside each other, and with references that
lead to files and not to a web site.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

OURS = sorted((Path(__file__).parents[1] / "crds").glob("passmuster.io_*.yaml"))
CUSTOM = "{{ .Group }}/{{ .ResourceKind }}_{{ .ResourceAPIVersion }}.json"
KUBERNETES = "{{ .NormalizedKubernetesVersion }}{{ .StrictSuffix }}/{{ .ResourceKind }}{{ .KindSuffix }}.json"
ABSOLUTE = '"$ref": "/api/'


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML in which `=` is a text: an operator of Alertmanager's matchers, and not the value of YAML 1.1."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


@dataclass(frozen=True)
class Verdict:
    """What kubeconform says: how many objects it found valid, and what is wrong with the others, each as a line."""

    valid: int
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Kubeconform:
    """kubeconform with the schemas in a folder, to which it adds those of Kubernetes release by release."""

    command: Sequence[str]
    folder: Path

    @classmethod
    def knowing(cls, definitions: Iterable[Path], *, command: Sequence[str], folder: Path) -> Kubeconform:
        """With the schemas of these custom resource definitions in the folder."""
        for path in definitions:
            spec = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)["spec"]
            (folder / spec["group"]).mkdir(exist_ok=True)
            for version in spec["versions"]:
                name = f"{spec['names']['singular']}_{version['name']}.json"
                schema = closed(version["schema"]["openAPIV3Schema"])
                (folder / spec["group"] / name).write_text(json.dumps(schema), encoding="utf-8")
        return cls(command, folder)

    def judge(self, objects: Iterable[Mapping[str, Any]], release: str) -> Verdict:
        """Strictly: an unknown field is wrong, and so is an object of a kind without a schema."""
        self._kubernetes(f"v{release}.0")
        locations = [f"-schema-location={self.folder / layout}" for layout in (KUBERNETES, CUSTOM)]
        arguments = ["-strict", "-summary", "-output=json", f"-kubernetes-version={release}.0", *locations]
        done = subprocess.run(
            [*self.command, *arguments],
            input="\n---\n".join(json.dumps(one) for one in objects),
            env={**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.stdout, done.stderr
        answer = json.loads(done.stdout)
        summary = answer["summary"]
        assert summary["skipped"] == 0
        wrong = tuple(f"{one['kind']} {one['name']}: {one['msg']}" for one in answer.get("resources") or ())
        assert len(wrong) == summary["invalid"] + summary["errors"]
        assert (done.returncode == 0) == (not wrong)
        return Verdict(summary["valid"], wrong)

    def _kubernetes(self, release: str) -> None:
        """Schemas name themselves and each other by an address on kubernetes.io; here they are files."""
        made = self.folder / f"{release}-strict"
        if made.exists():
            return
        made.mkdir(parents=True)
        packed = files("kubernetes_validate") / "kubernetes-json-schema" / f"{release}-local-strict"
        for path in packed.iterdir():
            text = path.read_text(encoding="utf-8").replace(ABSOLUTE, '"$ref": "')
            schema = {key: value for key, value in json.loads(text).items() if key not in ("$schema", "$id")}
            (made / path.name).write_text(json.dumps(schema), encoding="utf-8")


def closed(node: Any) -> Any:
    """A structural schema as JSON Schema that admits what it names and nothing else."""
    if isinstance(node, list):
        return [closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {key: closed(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        made["additionalProperties"] = bool(node.get("x-kubernetes-preserve-unknown-fields"))
    if node.get("nullable") is True and isinstance(node.get("type"), str):
        made["type"] = [node["type"], "null"]
    return made
