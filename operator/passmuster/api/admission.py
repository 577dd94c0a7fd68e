"""Who may approve, decided by the API server: two admission policies without a webhook, and a look at the live one.

`files` writes them to `crds/`; the engine calls `altered` at start and before every execution, because a policy that
somebody removed or loosened would let an editor approve in another's name.

The expressions are tried on a real API server by the tests. `object` is dynamic in an admission policy, so the rest of
a spec can be compared without naming its fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.policy import ReadinessPolicy
from passmuster.api.remediation import Remediation
from passmuster.api.resource import EDITED_BY, GROUP
from passmuster.api.waiver import ReadinessWaiver

Manifest = dict[str, Any]

API_VERSION = "admissionregistration.k8s.io/v1"
NAMESPACE = "passmuster-system"
SERVICE_ACCOUNT = "passmuster"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
"""The user name of the operator, the only one that writes Remediations."""

APPROVAL_POLICY = "passmuster-approvals"
LAST_EDITOR_POLICY = "passmuster-last-editor"
VERB = "approve"
"""The RBAC verb that approving needs."""

_REMEDIATIONS, _WAIVERS, _ATTESTATIONS = (
    kind.definition.plural for kind in (Remediation, ReadinessWaiver, ReadinessAttestation)
)
APPROVED_KINDS = (_REMEDIATIONS, _WAIVERS, _ATTESTATIONS)
"""What people approve."""

LABELS = {"app.kubernetes.io/name": "passmuster"}
DESCRIPTION = "kubernetes.io/description"

_MINE_UNCHANGED = "variables.mineAfter == variables.mineBefore"


def metadata(name: str, description: str, **more: Any) -> Manifest:
    """Metadata of an object that we ship, with a sentence that says what it is for."""
    return {"name": name, **more, "labels": LABELS, "annotations": {DESCRIPTION: description}}


def approval_policy() -> tuple[Manifest, Manifest]:
    """The ValidatingAdmissionPolicy of approvals and its binding."""
    policy = {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata(
            APPROVAL_POLICY,
            "Only the operator writes Remediations; people add, change or remove their own approval of a remediation, "
            "waiver or attestation, with the verb approve on its kind.",
        ),
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": _rules(*APPROVED_KINDS),
            "variables": [{"name": name, "expression": expression} for name, expression in _variables()],
            "validations": [_only_the_operator(), *_own_entry_only(), _current_digest(), _issued_by_then()],
        },
    }
    binding = {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata(APPROVAL_POLICY, f"Enforces {APPROVAL_POLICY} in every namespace."),
        "spec": {"policyName": APPROVAL_POLICY, "validationActions": ["Deny"]},
    }
    return policy, binding


def _rules(*plurals: str) -> Manifest:
    rule = {
        "apiGroups": [GROUP],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": list(plurals),
    }
    return {"resourceRules": [rule]}


def _variables() -> Iterator[tuple[str, str]]:
    yield "operator", f"request.userInfo.username == '{OPERATOR}'"
    yield "user", "request.userInfo.username"
    yield "kind", "request.resource.resource"
    yield "before", "oldObject != null && has(oldObject.spec.approvals) ? oldObject.spec.approvals : []"
    yield "after", "has(object.spec.approvals) ? object.spec.approvals : []"
    yield "mineBefore", "variables.before.filter(a, a.by == variables.user)"
    yield "mineAfter", "variables.after.filter(a, a.by == variables.user)"


def _only_the_operator() -> Manifest:
    return {
        "reason": "Forbidden",
        "message": "only the operator writes a Remediation; a person adds or removes their own entry of spec.approvals",
        "expression": f"variables.kind != '{_REMEDIATIONS}' || variables.operator || (oldObject != null"
        " && object.spec.all(k, k == 'approvals' || (k in oldObject.spec && object.spec[k] == oldObject.spec[k]))"
        " && oldObject.spec.all(k, k == 'approvals' || k in object.spec))",
    }


def _own_entry_only() -> list[Manifest]:
    """A person touches only their own entry, and needs the verb to approve; withdrawing needs none."""
    allowed = (
        f"authorizer.group('{GROUP}').resource(variables.kind).namespace(object.metadata.namespace)"
        f".name(object.metadata.name).check('{VERB}').allowed()"
    )
    return [
        {
            "reason": "Forbidden",
            "message": "an entry of spec.approvals is added, changed or removed only by the user it names "
            "(by = your user name)",
            "expression": "variables.after.all(a, a.by == variables.user || variables.before.exists(b, b == a))"
            " && variables.before.all(b, b.by == variables.user || variables.after.exists(a, a == b))",
        },
        {
            "reason": "Forbidden",
            "message": f"approving needs the verb {VERB} on the kind",
            "messageExpression": f"'approving needs the verb {VERB} on ' + variables.kind",
            "expression": f"{_MINE_UNCHANGED} || size(variables.mineAfter) == 0 || {allowed}",
        },
    ]


def _current_digest() -> Manifest:
    return {
        "message": "the approval is for another intent; its digest must be the current spec.intent.digest",
        "messageExpression": "'the approval is for another intent; the current one is ' + object.spec.intent.digest",
        "expression": f"variables.kind != '{_REMEDIATIONS}' || {_MINE_UNCHANGED}"
        " || variables.mineAfter.all(a, a.digest == object.spec.intent.digest)",
    }


def _issued_by_then() -> Manifest:
    return {
        "message": "issuedAt is later than now: an attestation speaks of what was seen",
        "expression": f"variables.kind != '{_ATTESTATIONS}' || oldObject != null"
        " || timestamp(object.spec.issuedAt) <= timestamp(object.metadata.creationTimestamp)",
    }


def last_editor_policy() -> tuple[Manifest, Manifest]:
    """The MutatingAdmissionPolicy that records who last changed a ReadinessPolicy's spec, and its binding.

    Nobody can write the annotation by hand: whatever a request says about it is overwritten. A JSON patch, because an
    apply configuration would answer a wrong type in the spec with an error of its own instead of the schema's. Served
    as v1 from Kubernetes 1.36 on.
    """
    policy = {
        "apiVersion": API_VERSION,
        "kind": "MutatingAdmissionPolicy",
        "metadata": metadata(
            LAST_EDITOR_POLICY,
            "Records who last changed the spec of a ReadinessPolicy; the approval of that person does not count.",
        ),
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": _rules(ReadinessPolicy.definition.plural),
            "variables": [{"name": name, "expression": expression} for name, expression in _editor_variables()],
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _editor_patch()}}],
        },
    }
    binding = {
        "apiVersion": API_VERSION,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": metadata(LAST_EDITOR_POLICY, f"Applies {LAST_EDITOR_POLICY} in every namespace."),
        "spec": {"policyName": LAST_EDITOR_POLICY},
    }
    return policy, binding


def _editor_variables() -> Iterator[tuple[str, str]]:
    yield "annotations", "has(object.metadata.annotations) ? object.metadata.annotations : {}"
    yield "before", "oldObject != null && has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}"
    yield "edited", "oldObject == null || !has(object.spec) || object.spec != oldObject.spec"
    yield "known", f"variables.edited || '{EDITED_BY}' in variables.before"
    yield "editor", f"variables.edited ? request.userInfo.username : variables.before[?'{EDITED_BY}'].orValue('')"


def _editor_patch() -> str:
    """Sets the annotation, or takes away what somebody wrote where there is no editor to tell."""
    path = f"/metadata/annotations/{EDITED_BY.replace('/', '~1')}"
    first = "has(object.metadata.annotations) ? [] : [JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}]"
    add = f"[JSONPatch{{op: 'add', path: '{path}', value: variables.editor}}]"
    remove = f"'{EDITED_BY}' in variables.annotations ? [JSONPatch{{op: 'remove', path: '{path}'}}] : []"
    return f"variables.known ? ({first}) + {add} : ({remove})"


def altered(live_policy: Mapping[str, Any] | None, live_binding: Mapping[str, Any] | None) -> str | None:
    """What is missing from the approval policy in the cluster, or differs from the one we ship; None when nothing is.

    The arguments are the objects as the API server returns them, None where it has none. What the server adds by
    itself does not count; everything else in the spec does, so a further condition or a narrower scope is found.
    """
    policy, binding = approval_policy()
    for shipped, live in ((policy, live_policy), (binding, live_binding)):
        name = f"{shipped['kind']} {APPROVAL_POLICY}"
        if live is None:
            return f"The {name} does not exist"
        difference = _difference(_completed(shipped["spec"]), _completed(live.get("spec") or {}))
        if difference is not None:
            return f"The {name} differs from the shipped one in spec.{difference}"
    return None


def _completed(spec: Mapping[str, Any]) -> Any:
    """A spec with the API server's defaults in it and without empty values, so that two can be compared."""
    whole: Manifest = {"failurePolicy": "Fail", **spec} if "policyName" not in spec else dict(spec)
    if "matchConstraints" in whole:
        match = {"matchPolicy": "Equivalent", **whole["matchConstraints"]}
        match["resourceRules"] = [{"scope": "*", **rule} for rule in match.get("resourceRules") or []]
        whole["matchConstraints"] = match
    return _without_empty(whole)


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: _without_empty(child) for key, child in value.items()}
        return {key: child for key, child in kept.items() if child not in ({}, [], None, "")}
    return [_without_empty(child) for child in value] if isinstance(value, list) else value


def _difference(shipped: Any, live: Any, path: str = "") -> str | None:
    """Where two specs first differ, as a path; None where they are equal."""
    if isinstance(shipped, Mapping) and isinstance(live, Mapping):
        for key in sorted({*shipped, *live}):
            child = f"{path}.{key}" if path else key
            if key not in shipped or key not in live:
                return child
            if (found := _difference(shipped[key], live[key], child)) is not None:
                return found
        return None
    if isinstance(shipped, list) and isinstance(live, list) and len(shipped) == len(live):
        for index, (one, other) in enumerate(zip(shipped, live, strict=True)):
            if (found := _difference(one, other, f"{path}[{index}]")) is not None:
                return found
        return None
    return None if shipped == live else path
