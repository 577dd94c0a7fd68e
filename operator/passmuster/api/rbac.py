"""Who may do what in the cluster: the operator's own rights, and roles for people. `files` writes them to `crds/`.

What the roles for people add up to:

- The viewer and editor roles are aggregated into Kubernetes' view, edit and admin, so a namespace's people have them.
  An editor writes ReadinessPolicies, and waivers and attestations, which count for nothing until they are approved and
  cannot be changed afterwards; nothing of it touches a Remediation.
- To approve one needs two things: patch or update on its kind, to reach spec.approvals at all, and the verb approve,
  which the admission policy asks for. Only the approver role has that verb; it is aggregated into nothing and must be
  bound to somebody on purpose. Whoever has the verb `*`, as cluster administrators do, approves too.
- AWSAccounts are the platform team's: no role here lets anybody write them.
"""

from __future__ import annotations

from typing import Any

from passmuster.api.account import AWSAccount
from passmuster.api.admission import APPROVAL_POLICY, LABELS, NAMESPACE, SERVICE_ACCOUNT, VERB, Manifest, metadata
from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.policy import ReadinessPolicy
from passmuster.api.remediation import Remediation
from passmuster.api.report import ReadinessReport
from passmuster.api.resource import GROUP
from passmuster.api.waiver import ReadinessWaiver

_RBAC = "rbac.authorization.k8s.io"
_ACCOUNTS, _POLICIES, _REPORTS, _REMEDIATIONS = (
    kind.definition.plural for kind in (AWSAccount, ReadinessPolicy, ReadinessReport, Remediation)
)
_GRANTS = [kind.definition.plural for kind in (ReadinessWaiver, ReadinessAttestation)]
_STATUSES = [f"{kind}/status" for kind in (_ACCOUNTS, _POLICIES, _REPORTS, _REMEDIATIONS, *_GRANTS)]
_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch", "delete")
_ADMISSION = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")


def objects() -> list[Manifest]:
    """The namespace, the service account, the operator's roles and bindings, and the roles for people."""
    return [_namespace(), _service_account(), *_operator(), _viewer(), _editor(), _approver()]


def _namespace() -> Manifest:
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    namespace = metadata(NAMESPACE, "Home of the Passmuster operator.")
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {**namespace, "labels": {**LABELS, **restricted}}}


def _service_account() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(
            SERVICE_ACCOUNT,
            "The identity of the operator, and the only one that writes Remediations.",
            namespace=NAMESPACE,
        ),
    }


def _operator() -> list[Manifest]:
    """Cluster-wide what is watched and written; the lease only in the operator's own namespace."""
    everywhere = _role(
        "ClusterRole",
        SERVICE_ACCOUNT,
        "What the operator does: reads accounts, policies, waivers and attestations, writes reports and remediations.",
        _rule(GROUP, [_ACCOUNTS, *_GRANTS], _READ),
        _rule(GROUP, [_POLICIES], (*_READ, "patch")),
        _rule(GROUP, [_REPORTS], (*_READ, "create", "delete")),
        _rule(GROUP, [_REMEDIATIONS], (*_READ, "create", "patch", "delete")),
        _rule(GROUP, _STATUSES, ("patch",)),
        _rule("", ["namespaces"], _READ),
        _rule("", ["events"], ("get", "create", "patch")),
        _rule("admissionregistration.k8s.io", list(_ADMISSION), ("get",), names=[APPROVAL_POLICY]),
    )
    at_home = _role(
        "Role",
        SERVICE_ACCOUNT,
        "The lease that decides which replica works.",
        _rule("coordination.k8s.io", ["leases"], ("get", "create", "update")),
        namespace=NAMESPACE,
    )
    return [everywhere, _bound(everywhere), at_home, _bound(at_home)]


def _viewer() -> Manifest:
    return _role(
        "ClusterRole",
        f"{SERVICE_ACCOUNT}-viewer",
        "Reads everything of Passmuster; part of view, edit and admin.",
        _rule(GROUP, [_ACCOUNTS, _POLICIES, _REPORTS, _REMEDIATIONS, *_GRANTS], _READ),
        aggregated=("view", "edit", "admin"),
    )


def _editor() -> Manifest:
    return _role(
        "ClusterRole",
        f"{SERVICE_ACCOUNT}-editor",
        "Writes ReadinessPolicies, waivers and attestations, and approves nothing; part of edit and admin.",
        _rule(GROUP, [_POLICIES, *_GRANTS], (*_WRITE, "deletecollection")),
        aggregated=("edit", "admin"),
    )


def _approver() -> Manifest:
    return _role(
        "ClusterRole",
        f"{SERVICE_ACCOUNT}-approver",
        "Approves Remediations, waivers and attestations: reaches spec.approvals, and has the verb that the admission "
        "policy asks for; part of no other role.",
        _rule(GROUP, [_REMEDIATIONS, *_GRANTS], (*_READ, "update", "patch", VERB)),
        _rule(GROUP, [_POLICIES, _REPORTS], _READ),
    )


def _role(
    kind: str, name: str, description: str, *rules: Manifest, aggregated: tuple[str, ...] = (), **more: Any
) -> Manifest:
    described = metadata(name, description, **more)
    into = {f"{_RBAC}/aggregate-to-{role}": "true" for role in aggregated}
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": kind,
        "metadata": {**described, "labels": {**LABELS, **into}},
        "rules": list(rules),
    }


def _rule(group: str, resources: list[str], verbs: tuple[str, ...], *, names: list[str] | None = None) -> Manifest:
    limited = {"resourceNames": names} if names else {}
    return {"apiGroups": [group], "resources": resources, **limited, "verbs": list(verbs)}


def _bound(role: Manifest) -> Manifest:
    """The binding of a role of the operator to its service account."""
    named = role["metadata"]
    home = {"namespace": named["namespace"]} if "namespace" in named else {}
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": f"{role['kind']}Binding",
        "metadata": metadata(named["name"], "Gives the operator its rights.", **home),
        "roleRef": {"apiGroup": _RBAC, "kind": role["kind"], "name": named["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": NAMESPACE}],
    }
