"""Objects in the sandbox's API server: applied as kubectl would, and shown as `kubectl get` shows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError
from rich.table import Table

from passmuster.api.resource import GROUP, VERSION
from passmuster.kube.connection import request

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
LAST_EDITOR_KINDS = frozenset({"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"})
"""Kinds that only newer API servers serve; without them the last editor is not recorded."""


def api_client(kubeconfig: Path) -> Any:
    """An ApiClient for a kubeconfig."""
    settings = client.Configuration()
    config.load_kube_config(config_file=str(kubeconfig), client_configuration=settings)
    return client.ApiClient(settings)


class Objects:
    """One user's view of the API server."""

    def __init__(self, kubeconfig: Path) -> None:
        self.api = api_client(kubeconfig)
        self._custom = client.CustomObjectsApi(self.api)

    def close(self) -> None:
        """Closes the connections."""
        self.api.close()

    def apply(self, documents: Iterable[Mapping[str, Any]], field_manager: str = "sandbox") -> list[str]:
        """Server-side apply; returns `kind/name` of each."""
        dynamic = DynamicClient(self.api)
        applied = []
        for document in documents:
            kind, metadata = document["kind"], document["metadata"]
            resource = self._resource(dynamic, document)
            if resource is None:
                continue
            write = partial(
                resource.server_side_apply,
                body=dict(document),
                name=metadata["name"],
                namespace=metadata.get("namespace"),
                field_manager=field_manager,
                force_conflicts=True,
            )
            self._patiently(write)
            applied.append(f"{kind.lower()}/{metadata['name']}")
        return applied

    @staticmethod
    def _patiently(write: Callable[[], Any], timeout: float = 20.0) -> None:
        """A kind that was just defined is answered with 503 or 404 for a moment."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                write()
            except ApiException as error:
                if error.status not in (404, 503) or time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
            else:
                return

    def _resource(self, dynamic: DynamicClient, document: Mapping[str, Any], timeout: float = 20.0) -> Any:
        """The resource of a document's kind; a kind that was just defined is waited for."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return dynamic.resources.get(api_version=document["apiVersion"], kind=document["kind"])
            except ResourceNotFoundError:
                if document["kind"] in LAST_EDITOR_KINDS:
                    return None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
                dynamic.resources.invalidate_cache()

    def apply_file(self, path: Path) -> list[str]:
        """Server-side apply of every document of a file."""
        return self.apply(d for d in yaml.safe_load_all(path.read_text()) if d)

    def get(self, plural: str, name: str, namespace: str = "") -> dict[str, Any]:
        """One of our objects."""
        if namespace:
            return dict(self._custom.get_namespaced_custom_object(GROUP, VERSION, namespace, plural, name))
        return dict(self._custom.get_cluster_custom_object(GROUP, VERSION, plural, name))

    def every(self, plural: str, namespace: str = "") -> list[dict[str, Any]]:
        """All objects of one of our kinds."""
        if namespace:
            return list(self._custom.list_namespaced_custom_object(GROUP, VERSION, namespace, plural)["items"])
        return list(self._custom.list_cluster_custom_object(GROUP, VERSION, plural)["items"])

    def patch(self, plural: str, name: str, namespace: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Merges into an object, as `kubectl patch --type=merge`."""
        merge = "application/merge-patch+json"
        return dict(
            self._custom.patch_namespaced_custom_object(
                GROUP, VERSION, namespace, plural, name, dict(patch), _content_type=merge
            )
        )

    def events(self, namespace: str) -> list[tuple[str, str, str]]:
        """Type, reason and message of every event of a namespace, oldest first."""
        found = client.CoreV1Api(self.api).list_namespaced_event(namespace).items
        found.sort(key=lambda event: event.last_timestamp or event.event_time)
        return [(event.type, event.reason, event.message) for event in found]

    def table(self, plural: str, namespace: str = "") -> Table:
        """What `kubectl get` prints, from the API server's own table of the printer columns."""
        path = f"/apis/{GROUP}/{VERSION}" + (f"/namespaces/{namespace}" if namespace else "") + f"/{plural}"
        answer = request(self.api, "GET", path, accept=TABLE)
        table = Table(box=None, pad_edge=False)
        columns = [c for c in answer["columnDefinitions"] if c.get("priority", 0) == 0]
        for column in columns:
            table.add_column(column["name"].upper(), no_wrap=True)
        for row in answer["rows"]:
            table.add_row(*(_cell(value) for value in row["cells"][: len(columns)]))
        return table


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def refused(error: ApiException) -> str:
    """What the API server said when it refused."""
    text = str(error.body or error.reason)
    marker = '"message":"'
    return text.partition(marker)[2].partition('","')[0] if marker in text else text
