"""The reports of a policy as the API server has them, for `passmuster report`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from passmuster.api.resource import GROUP, VERSION
from passmuster.kube.connection import answering
from passmuster.model.errors import Unavailable, UserError


def reports_of(api: Any, namespace: str, policy: str) -> list[Mapping[str, Any]]:
    """Every ReadinessReport of the policy, by name. Raises UserError where there is none, or none may be read."""
    objects = client.CustomObjectsApi(api)
    try:
        with answering():
            listed = objects.list_namespaced_custom_object(GROUP, VERSION, namespace, "readinessreports")
    except ApiException as error:
        if error.status == 404:
            raise Unavailable(
                "the API server does not know ReadinessReports: apply the custom resource definitions first "
                "(kubectl apply --server-side -f crds/)"
            ) from error
        message = f"the API server refused to list the reports of the namespace {namespace} ({error.status})"
        way_out = "ask for the role passmuster-viewer" if error.status in (401, 403) else "try again"
        raise UserError(f"{message}: {way_out}") from error
    found = [body for body in listed["items"] if body["spec"]["policyRef"]["name"] == policy]
    if not found:
        raise UserError(
            f"there is no report of a policy {policy} in the namespace {namespace}: kubectl get rr -A lists them all"
        )
    return sorted(found, key=lambda body: str(body["metadata"]["name"]))
