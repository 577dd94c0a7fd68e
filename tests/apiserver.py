"""A small client of the real API server for tests: every verb, as any user, with what the server said.

`install` gives the server everything in `crds/`, as a person would with kubectl apply, and waits until it counts.
"""

from __future__ import annotations

import copy
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from passmuster.sandbox.control_plane import ADMIN, OPERATOR, ControlPlane

CRDS = Path(__file__).parents[1] / "crds"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
PLURALS = {
    "AWSAccount": "awsaccounts",
    "ReadinessPolicy": "readinesspolicies",
    "ReadinessReport": "readinessreports",
    "ReadinessWaiver": "readinesswaivers",
    "ReadinessAttestation": "readinessattestations",
    "Remediation": "remediations",
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "CustomResourceDefinition": "customresourcedefinitions",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
}


KINDS = (
    "AWSAccount",
    "ReadinessPolicy",
    "ReadinessReport",
    "ReadinessWaiver",
    "ReadinessAttestation",
    "Remediation",
)
"""The kinds of `crds/`."""


LOADING = "a delay between when CustomResourceDefinitions are created and when they are available"
"""What the API server says of a kind until it can apply admission policies to it: for up to a minute."""


@dataclass(frozen=True)
class Answer:
    """What the server answered: the HTTP status and the decoded body."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def message(self) -> str:
        return str(self.body.get("message", "")) if isinstance(self.body, Mapping) else str(self.body)


class ApiServer:
    """The API server of a control plane. Requests validate strictly, as kubectl's do."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        tls = ssl.create_default_context(cafile=plane.ca_file)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        )

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str = ADMIN,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        """One request; again, where the API server says that it has not yet loaded the schema of a new kind."""
        answer = self._once(method, path, body, user, content, accept)
        for _ in range(60):
            if answer.status != 503 or LOADING not in answer.message:
                break
            time.sleep(1.0)
            answer = self._once(method, path, body, user, content, accept)
        return answer

    def _once(self, method: str, path: str, body: object, user: str, content: str, accept: str) -> Answer:
        request = urllib.request.Request(
            self._plane.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._plane.token(user)}",
                "Content-Type": content,
                "Accept": accept,
            },
            method=method,
        )
        try:
            with self._opener.open(request, timeout=30) as response:
                status, answer = response.status, response.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                status, answer = refusal.code, refusal.read()
        return Answer(status, json.loads(answer) if answer.startswith(b"{") else answer.decode())

    def create(self, manifest: Mapping[str, Any], *, user: str = ADMIN, dry: bool = False) -> Answer:
        """POST."""
        return self.call("POST", f"{_collection(manifest)}?{_query(dry)}", manifest, user=user)

    def get(self, manifest: Mapping[str, Any], *, user: str = ADMIN) -> dict[str, Any]:
        """The object as it is now; it must exist."""
        answer = self.call("GET", _path(manifest), user=user)
        assert answer.ok, answer.message
        return dict(answer.body)

    def patch(
        self,
        manifest: Mapping[str, Any],
        patch: object,
        *,
        user: str = ADMIN,
        content: str = MERGE,
        subresource: str = "",
        dry: bool = False,
    ) -> Answer:
        """PATCH of the object that the manifest names."""
        path = _path(manifest) + (f"/{subresource}" if subresource else "")
        return self.call("PATCH", f"{path}?{_query(dry)}", patch, user=user, content=content)

    def apply(
        self, manifest: Mapping[str, Any], *, user: str = ADMIN, manager: str = "tests", dry: bool = False
    ) -> Answer:
        """Server-side apply."""
        query = f"{_query(dry)}&fieldManager={manager}&force=true"
        return self.call("PATCH", f"{_path(manifest)}?{query}", manifest, user=user, content=APPLY)

    def replace(self, manifest: Mapping[str, Any], *, user: str = ADMIN, dry: bool = False) -> Answer:
        """PUT."""
        return self.call("PUT", f"{_path(manifest)}?{_query(dry)}", manifest, user=user)

    def delete(self, manifest: Mapping[str, Any], *, user: str = ADMIN) -> Answer:
        """DELETE."""
        return self.call("DELETE", _path(manifest), user=user)

    def table(self, plural: str, namespace: str) -> tuple[list[dict[str, Any]], list[list[Any]]]:
        """What kubectl get prints: the columns and the cells of every row."""
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
        path = f"/apis/passmuster.io/v1alpha1/namespaces/{namespace}/{plural}"
        answer = self.call("GET", path, accept=accept)
        return answer.body["columnDefinitions"], [row["cells"] for row in answer.body["rows"]]

    def may(self, user: str, verb: str, resource: str, namespace: str = "", name: str = "") -> bool:
        """Whether RBAC lets a user do something; `resource` is group/resource or group/resource/subresource."""
        group, _, rest = resource.partition("/")
        plural, _, subresource = rest.partition("/")
        attributes = {
            "group": group,
            "resource": plural,
            "subresource": subresource,
            "verb": verb,
            "namespace": namespace,
            "name": name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "groups": list(self._plane.users[user]),
                "resourceAttributes": attributes,
            },
        }
        answer = self.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer.body["status"]["allowed"])

    def namespace(self, name: str) -> str:
        """A namespace of that name, made if it is not there."""
        answer = self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        assert answer.ok or answer.status == 409, answer.message
        return name

    def bind(self, namespace: str, user: str, *rules: Mapping[str, Any], role: str = "") -> None:
        """Gives a user, in one namespace, a ClusterRole or a role of these rules."""
        name = f"{user}-{role or 'extra'}"
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole" if role else "Role"}
        if rules:
            made = {"kind": "Role", "metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}
            assert self.apply({"apiVersion": "rbac.authorization.k8s.io/v1", **made}).ok
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {**reference, "name": role or name},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        }
        answer = self.apply(binding)
        assert answer.ok, answer.message

    def unbind(self, namespace: str, user: str, role: str) -> None:
        """Takes a ClusterRole away again."""
        metadata = {"name": f"{user}-{role}", "namespace": namespace}
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata}
        assert self.delete(binding).ok


def install(server: ApiServer) -> None:
    """Applies `crds/` and returns when the kinds are served and the admission policies are in force."""
    manifests = [
        document
        for path in sorted(CRDS.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    rank = {"CustomResourceDefinition": 0, "Namespace": 1}
    for manifest in sorted(manifests, key=lambda m: rank.get(m["kind"], 2)):
        answer = server.apply(manifest, manager="install")
        assert answer.ok, f"{manifest['kind']} {manifest['metadata']['name']}: {answer.message}"
    assert eventually(lambda: _served(server)), "the kinds are not served"
    assert eventually(lambda: in_force(server)), "the admission policies are not in force"


def pod_kubeconfig(server: ApiServer, plane: ControlPlane, path: Path) -> Path:
    """A kubeconfig with a token of the operator's service account, as its pods have one; the account must exist.

    An account that was deleted and made again is another one, whose pods need another token.
    """
    _, _, home, name = OPERATOR.split(":")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = server.call("POST", f"/api/v1/namespaces/{home}/serviceaccounts/{name}/token", request)
    assert made.ok, made.message
    config = yaml.safe_load(plane.kubeconfig().read_text())
    config["users"] = [{"name": ADMIN, "user": {"token": made.body["status"]["token"]}}]
    path.write_text(yaml.safe_dump(config))
    return path


def monitoring_kinds() -> Iterator[dict[str, Any]]:
    """The kinds of the Prometheus Operator, without their schemas."""
    for kind, plural in (("ServiceMonitor", "servicemonitors"), ("PrometheusRule", "prometheusrules")):
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        yield {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.monitoring.coreos.com"},
            "spec": {
                "group": "monitoring.coreos.com",
                "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                "scope": "Namespaced",
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}],
            },
        }


def _served(server: ApiServer) -> bool:
    kinds = [plural for kind, plural in PLURALS.items() if kind in KINDS]
    return all(server.call("GET", f"/apis/passmuster.io/v1alpha1/{kind}").ok for kind in kinds)


def in_force(server: ApiServer) -> bool:
    """The admin may not create a Remediation, the operator may, and the last editor of a policy is recorded."""
    probe = remediation("default", "probe")
    refused = server.create(probe, dry=True)
    edited = server.create(policy("default", "probe"), dry=True)
    annotations = edited.body.get("metadata", {}).get("annotations", {})
    return (
        refused.status == 403
        and server.create(probe, user=OPERATOR, dry=True).ok
        and annotations.get("passmuster.io/edited-by") == ADMIN
    )


def policy(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A ReadinessPolicy manifest."""
    whole = {"accountRef": {"name": "shop"}, "level": "Stable", **spec}
    return _object(
        "ReadinessPolicy", name, {key: value for key, value in whole.items() if value is not None}, namespace
    )


def account(name: str, **spec: Any) -> dict[str, Any]:
    """An AWSAccount manifest."""
    return _object("AWSAccount", name, {"accountId": "123456789012", **spec})


DIGEST = f"sha256:{'a' * 64}"
OTHER_DIGEST = f"sha256:{'b' * 64}"


def remediation(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A Remediation manifest as the operator writes it."""
    whole = {
        "remediation": "cloudtrail",
        "policyRef": {"name": "shop"},
        "accountId": "123456789012",
        "region": "eu-central-1",
        "phase": "Production",
        "way": "AdditiveStack",
        "fixes": ["cloudtrail-multi-region"],
        "findings": [{"check": "cloudtrail-multi-region", "region": "eu-central-1", "resource": "123456789012"}],
        "intent": {"digest": DIGEST, "parameters": {"Name": "trail"}, "changes": ["+ AWS::CloudTrail::Trail Trail"]},
        "cost": {"monthly": 1, "items": [{"title": "KMS key", "quantity": 1, "monthly": 1}]},
        "undo": "delete the stack",
        **copy.deepcopy(spec),
    }
    return _object("Remediation", name, whole, namespace)


def waiver(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A ReadinessWaiver manifest of a check that is not Critical."""
    whole = {
        "policyRef": {"name": "shop"},
        "check": "health-endpoint-dedicated",
        "reason": "The legacy shop has no health endpoint until March",
        "expiresAt": "2027-03-31T00:00:00Z",
        **spec,
    }
    return _object("ReadinessWaiver", name, _given(whole), namespace)


def attestation(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A ReadinessAttestation manifest."""
    whole = {
        "policyRef": {"name": "shop"},
        "check": "dr-runbooks",
        "statement": "The runbook was rehearsed",
        "evidence": {"uri": "https://wiki.example.com/dr", "sha256": "c" * 64},
        "owner": "shop-team@example.com",
        "issuedAt": "2026-01-01T00:00:00Z",
        "expiresAt": "2026-12-31T00:00:00Z",
        **spec,
    }
    return _object("ReadinessAttestation", name, _given(whole), namespace)


def _given(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if value is not None}


def _object(kind: str, name: str, spec: Mapping[str, Any], namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "passmuster.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": dict(spec)}


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _collection(manifest: Mapping[str, Any]) -> str:
    group = manifest["apiVersion"]
    namespace = manifest["metadata"].get("namespace")
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    return f"{root}{f'/namespaces/{namespace}' if namespace else ''}/{PLURALS[manifest['kind']]}"


def _path(manifest: Mapping[str, Any]) -> str:
    return f"{_collection(manifest)}/{urllib.parse.quote(manifest['metadata']['name'])}"


def _query(dry: bool) -> str:
    parts: Iterable[str] = ["fieldValidation=Strict", *(["dryRun=All"] if dry else [])]
    return "&".join(parts)
