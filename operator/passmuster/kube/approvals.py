"""Approving from the command line: one's own entry of `spec.approvals`, for what is there now."""

from __future__ import annotations

from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from passmuster.api.approval import Action, Approval
from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.remediation import Remediation
from passmuster.api.resource import GROUP, VERSION
from passmuster.api.waiver import ReadinessWaiver
from passmuster.model.errors import Unavailable, UserError

Granted = ReadinessWaiver | ReadinessAttestation
"""What people approve beside remediations."""


def approve(api: Any, namespace: str, name: str, *, undo: bool = False) -> Approval:
    """Adds the caller's approval, or renews it. Raises UserError where the API server refuses, with its reason."""
    objects = client.CustomObjectsApi(api)
    try:
        body = objects.get_namespaced_custom_object(GROUP, VERSION, namespace, "remediations", name)
        remediation = Remediation.read(body)
        entry = Approval(
            by=whoami(api), action=Action.UNDO if undo else Action.APPLY, digest=remediation.spec.intent.digest
        )
        kept = [a for a in remediation.spec.approvals if (a.by, a.action) != (entry.by, entry.action)]
        approvals = [a.model_dump(mode="json", by_alias=True) for a in (*kept, entry)]
        patch = {
            "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]},
            "spec": {"approvals": approvals},
        }
        objects.patch_namespaced_custom_object(
            GROUP, VERSION, namespace, "remediations", name, patch, _content_type="application/merge-patch+json"
        )
    except ApiException as error:
        raise _explained(error, namespace, name) from error
    except HTTPError as error:
        raise _unanswered(error) from error
    return entry


def current(api: Any, namespace: str, name: str) -> Remediation:
    """The Remediation as the API server has it now. Raises UserError where there is none, or it may not be read."""
    try:
        body = client.CustomObjectsApi(api).get_namespaced_custom_object(
            GROUP, VERSION, namespace, "remediations", name
        )
    except ApiException as error:
        raise _explained(error, namespace, name) from error
    except HTTPError as error:
        raise _unanswered(error) from error
    return Remediation.read(body)


def approve_grant(api: Any, namespace: str, kind: type[Granted], name: str, *, withdraw: bool = False) -> str:
    """Adds the caller's approval of a waiver or an attestation, or takes it away; returns the caller's user name.

    Raises UserError where the API server refuses, with its reason.
    """
    objects, served = client.CustomObjectsApi(api), kind.definition
    try:
        body = objects.get_namespaced_custom_object(GROUP, VERSION, namespace, served.plural, name)
        who = whoami(api)
        kept = [signature.by for signature in kind.read(body).spec.approvals if signature.by != who]
        patch = {
            "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]},
            "spec": {"approvals": [{"by": by} for by in (*kept, *([] if withdraw else [who]))]},
        }
        objects.patch_namespaced_custom_object(
            GROUP, VERSION, namespace, served.plural, name, patch, _content_type="application/merge-patch+json"
        )
    except ApiException as error:
        raise _explained(error, namespace, name, served.kind, served.short) from error
    except HTTPError as error:
        raise _unanswered(error) from error
    return who


def whoami(api: Any) -> str:
    """The user name the API server sees."""
    review = client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
    return str(review.status.user_info.username)


def _explained(
    error: ApiException, namespace: str, name: str, kind: str = "Remediation", short: str = "rem"
) -> UserError:
    if error.status == 404:
        return UserError(f"there is no {kind} {name} in the namespace {namespace}: kubectl get {short} -A lists them")
    if error.status == 409:
        return UserError(f"{name} changed just now: look at it again, then approve again")
    if error.status in (403, 422):
        return UserError(f"the API server refused the approval: {_message(error)}")
    return UserError(f"the API server answered {error.status}: {_message(error)}")


def _unanswered(error: HTTPError) -> Unavailable:
    return Unavailable(
        f"the API server did not answer ({type(error).__name__}): see that the cluster runs, or name another with "
        "--kubeconfig or --context"
    )


def _message(error: ApiException) -> str:
    text = str(error.body or error.reason)
    marker = '"message":"'
    return text.partition(marker)[2].partition('","')[0] if marker in text else text[:300]
