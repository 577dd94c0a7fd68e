"""Approving from the command line: one's own entry of `spec.approvals`, for what is there now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from passmuster.api.approval import Action, Approval, Signature
from passmuster.api.remediation import Remediation, State
from passmuster.api.resource import GROUP, VERSION, Definition
from passmuster.assess.grants import Granted
from passmuster.kube.connection import MERGE, answering
from passmuster.model.errors import UserError
from passmuster.remediation.rendering import EXECUTABLE

_OVER = {
    State.UNDONE: "{name} was undone, so an approval does nothing: to have it proposed again, delete it "
    "(kubectl delete rem {name} -n {namespace})",
    State.SUPERSEDED: "{name} is not needed now, so an approval does nothing: it is proposed when its check fails",
}
"""States from which no approval leads on, and what does."""


def approve(api: Any, namespace: str, name: str, *, undo: bool = False) -> Approval:
    """Adds the caller's approval, or renews it. Raises UserError where the API server refuses, with its reason."""
    action = Action.UNDO if undo else Action.APPLY
    with _asked_of(namespace, name, Remediation.definition):
        body = _read(api, namespace, Remediation.definition, name)
        remediation = Remediation.read(body)
        if remediation.spec.way not in EXECUTABLE:
            raise UserError(
                f"{name} is done by people, so there is nothing to approve: its spec.instructions say how "
                f"(kubectl get rem {name} -n {namespace} -o yaml), and the next inspection sees it"
            )
        if action is Action.APPLY and remediation.status.state in _OVER:
            raise UserError(_OVER[remediation.status.state].format(name=name, namespace=namespace))
        entry = Approval(by=whoami(api), action=action, digest=remediation.spec.intent.digest)
        kept = [a for a in remediation.spec.approvals if (a.by, a.action) != (entry.by, entry.action)]
        _write(api, body, Remediation.definition, (*kept, entry))
    return entry


def current(api: Any, namespace: str, name: str) -> Remediation:
    """The Remediation as the API server has it now. Raises UserError where there is none, or it may not be read."""
    with _asked_of(namespace, name, Remediation.definition):
        return Remediation.read(_read(api, namespace, Remediation.definition, name))


def approve_grant(api: Any, namespace: str, kind: type[Granted], name: str, *, withdraw: bool = False) -> str:
    """Adds the caller's approval of a waiver or an attestation, or takes it away; returns the caller's user name.

    Raises UserError where the API server refuses, with its reason.
    """
    with _asked_of(namespace, name, kind.definition):
        body = _read(api, namespace, kind.definition, name)
        who = whoami(api)
        kept = [signature for signature in kind.read(body).spec.approvals if signature.by != who]
        _write(api, body, kind.definition, kept if withdraw else (*kept, Signature(by=who)))
    return who


def _read(api: Any, namespace: str, kind: Definition, name: str) -> Any:
    return client.CustomObjectsApi(api).get_namespaced_custom_object(GROUP, VERSION, namespace, kind.plural, name)


def _write(api: Any, body: Any, kind: Definition, approvals: Iterable[Signature]) -> None:
    """The approvals of an object in place of those that it had when it was read; another's meanwhile is a conflict."""
    metadata = body["metadata"]
    patch = {
        "metadata": {"resourceVersion": metadata["resourceVersion"]},
        "spec": {"approvals": [one.model_dump(mode="json", by_alias=True) for one in approvals]},
    }
    client.CustomObjectsApi(api).patch_namespaced_custom_object(
        GROUP, VERSION, metadata["namespace"], kind.plural, metadata["name"], patch, _content_type=MERGE
    )


@contextmanager
def _asked_of(namespace: str, name: str, kind: Definition) -> Iterator[None]:
    """Says what the API server refuses, or that it does not answer, for people."""
    try:
        with answering():
            yield
    except ApiException as error:
        raise _explained(error, namespace, name, kind) from error


def whoami(api: Any) -> str:
    """The user name the API server sees."""
    review = client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
    return str(review.status.user_info.username)


def _explained(error: ApiException, namespace: str, name: str, kind: Definition) -> UserError:
    if error.status == 404:
        lists = f"kubectl get {kind.short} -A lists them"
        return UserError(f"there is no {kind.kind} {name} in the namespace {namespace}: {lists}")
    if error.status == 409:
        return UserError(f"{name} changed just now: look at it again, then approve again")
    if error.status in (403, 422):
        return UserError(f"the API server refused the approval: {_message(error)}")
    return UserError(f"the API server answered {error.status}: {_message(error)}")


def _message(error: ApiException) -> str:
    text = str(error.body or error.reason)
    marker = '"message":"'
    return text.partition(marker)[2].partition('","')[0] if marker in text else text[:300]
