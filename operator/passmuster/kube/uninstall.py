"""What would hang once the operator is gone, for `passmuster uninstall`.

The only thing is our finalizer: a policy with deletionPolicy Delete waits, when it is deleted, until the operator has
deleted its stacks. Without an operator it would wait for ever, and its namespace with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from passmuster.api.policy import ReadinessPolicy
from passmuster.api.remediation import Remediation, has_own_stack
from passmuster.api.resource import FINALIZER, GROUP, VERSION
from passmuster.kube.connection import MERGE, answering
from passmuster.kube.lease import DURATION, NAME
from passmuster.model.errors import UserError


@dataclass(frozen=True, slots=True)
class Held:
    """A policy that waits for the operator when it is deleted, and the stacks that it waits for."""

    namespace: str
    name: str
    finalizers: tuple[str, ...]
    stacks: tuple[str, ...]


@answering()
def held(api: Any) -> list[Held]:
    """Every policy of the cluster that has our finalizer, in the order of their names.

    Raises UserError where the caller may not list policies, and Unavailable where nothing answers.
    """
    policies = _every(api, ReadinessPolicy.definition.plural)
    found = [body for body in policies if FINALIZER in (body["metadata"].get("finalizers") or ())]
    remediations = _every(api, Remediation.definition.plural) if found else []
    return sorted(
        (
            Held(
                body["metadata"]["namespace"],
                body["metadata"]["name"],
                tuple(body["metadata"]["finalizers"]),
                tuple(_stack(one) for one in remediations if _has_stack_of(one, body)),
            )
            for body in found
        ),
        key=lambda one: (one.namespace, one.name),
    )


@answering()
def let_go(api: Any, policies: list[Held]) -> None:
    """Takes our finalizer off. What is in AWS stays as it is.

    Raises UserError where the caller may not, and Unavailable where nothing answers.
    """
    objects = client.CustomObjectsApi(api)
    plural = ReadinessPolicy.definition.plural
    for one in policies:
        patch = {"metadata": {"finalizers": [name for name in one.finalizers if name != FINALIZER]}}
        try:
            objects.patch_namespaced_custom_object(
                GROUP, VERSION, one.namespace, plural, one.name, patch, _content_type=MERGE
            )
        except ApiException as error:
            if error.status != 404:
                raise _refused(error, "patch") from error


@answering()
def working(api: Any, namespace: str) -> str | None:
    """The process that holds the lease now; None where none does. Raises as `let_go` does."""
    try:
        spec = client.CoordinationV1Api(api).read_namespaced_lease(NAME, namespace).spec
    except ApiException as error:
        if error.status == 404:
            return None
        raise _refused(error, "read the lease of") from error
    if not spec.holder_identity or spec.renew_time is None:
        return None
    fresh = datetime.now(UTC) - spec.renew_time < timedelta(seconds=2 * (spec.lease_duration_seconds or DURATION))
    return str(spec.holder_identity) if fresh else None


def _every(api: Any, plural: str) -> list[dict[str, Any]]:
    try:
        listed = client.CustomObjectsApi(api).list_cluster_custom_object(GROUP, VERSION, plural)
    except ApiException as error:
        if error.status == 404:  # the definitions are gone, and every object with them
            return []
        raise _refused(error, "list") from error
    return list(listed["items"])


def _has_stack_of(remediation: dict[str, Any], policy: dict[str, Any]) -> bool:
    return (
        has_own_stack(remediation)
        and remediation["metadata"]["namespace"] == policy["metadata"]["namespace"]
        and remediation["spec"]["policyRef"]["name"] == policy["metadata"]["name"]
    )


def _stack(remediation: dict[str, Any]) -> str:
    spec = remediation["spec"]
    return f"{remediation['status']['stack']['name']} (account {spec['accountId']}, {spec['region']})"


def _refused(error: ApiException, verb: str) -> UserError:
    return UserError(
        f"the API server does not let you {verb} ReadinessPolicies ({error.status} {error.reason}): use a kubeconfig "
        "of somebody who may, with --kubeconfig or --context"
    )
