"""The engine's cluster, on a real API server through the official client.

One writer of status: everything the engine writes passes through here, as merge patches with our field manager, and
only what the engine decided to write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from passmuster.api import admission
from passmuster.api.resource import API_VERSION, GROUP
from passmuster.engine.ports import KINDS, NAMESPACES, ClusterUnreachable, Conflict, Key, Object
from passmuster.kube.connection import MERGE, request
from passmuster.model.trace import OFF, OUTCOME, Tracer

MANAGER = "passmuster"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
TIMEOUT = (5, 30)
PAGE, PAGE_OF_METADATA = 100, 500
"""How many objects the API server gives at once: a page is in memory as a whole, and a report is large."""


class _NamespaceEnds(ClusterUnreachable):
    """Nothing is made any more in a namespace that is being deleted."""


class KubeCluster:
    """Thread-safe: the client's connection pool is shared by all workers."""

    def __init__(
        self, api: Any, leading: Callable[[], bool], *, namespace: str, instance: str, tracer: Tracer = OFF
    ) -> None:
        self._api = api
        self._leading = leading
        self._namespace = namespace
        self._instance = instance
        self._tracer = tracer
        self._uid = ""

    def uid(self) -> str:
        """The UID of kube-system."""
        if not self._uid:
            found = self._call("GET", "/api/v1/namespaces/kube-system")
            self._uid = str(found["metadata"]["uid"]) if found is not None else ""
        return self._uid

    def get(self, key: Key) -> Object | None:
        """The object as the API server has it now."""
        found: Object | None = self._call("GET", self._path(key.plural, key.namespace, key.name))
        return found

    def missing_kinds(self, plurals: Sequence[str]) -> Sequence[str]:
        """Which of our kinds the API server does not serve."""
        found = self._call("GET", f"/apis/{API_VERSION}")
        served = {resource["name"] for resource in (found or {}).get("resources", [])}
        return [plural for plural in plurals if plural not in served]

    def list(
        self, plural: str, namespace: str = "", labels: str = "", *, metadata_only: bool = False
    ) -> Sequence[Object]:
        """All objects of a kind; with `metadata_only` nothing else of them."""
        return [*self.each(plural, namespace, labels, metadata_only=metadata_only)]

    def each(
        self, plural: str, namespace: str = "", labels: str = "", *, metadata_only: bool = False
    ) -> Iterator[Object]:
        """All objects of a kind, one after the other, of which no more than a page is in memory."""
        accept = PARTIAL if metadata_only else "application/json"
        proceed = ""
        while True:
            query = [("limit", str(PAGE_OF_METADATA if metadata_only else PAGE))]
            if labels:
                query.append(("labelSelector", labels))
            if proceed:
                query.append(("continue", proceed))
            page = self._call("GET", self._path(plural, namespace), query=query, accept=accept)
            if page is None:
                return
            yield from page["items"] or ()
            proceed = page["metadata"].get("continue", "")
            if not proceed:
                return

    def create(self, plural: str, body: Object) -> Object:
        """Creates an object, or returns the one that is there."""
        namespace = body["metadata"].get("namespace", "")
        try:
            made = self._write("POST", plural, self._path(plural, namespace), body)
        except Conflict:
            made = self.get(Key.of(plural, body))
        if made is None:
            raise ClusterUnreachable(f"{KINDS[plural]} {body['metadata']['name']} could not be created: no namespace")
        answer: Object = made
        return answer

    def patch(self, key: Key, patch: Object) -> Object | None:
        """Merges into metadata and spec."""
        path = self._path(key.plural, key.namespace, key.name)
        patched: Object | None = self._write("PATCH", key.plural, path, patch)
        return patched

    def patch_status(self, key: Key, status: Object, resource_version: str | None = None) -> Object | None:
        """Merges into the status subresource."""
        body: dict[str, Any] = {"status": status}
        if resource_version is not None:
            body["metadata"] = {"resourceVersion": resource_version}
        path = self._path(key.plural, key.namespace, key.name) + "/status"
        patched: Object | None = self._write("PATCH", f"{key.plural}/status", path, body)
        return patched

    def delete(self, key: Key) -> None:
        """Deletes an object that may already be gone."""
        self._write("DELETE", key.plural, self._path(key.plural, key.namespace, key.name))

    def event(self, body: Object, *, kind: str, reason: str, message: str, warning: bool = False) -> None:
        """Posts an event; the same event about the same object again raises its count.

        In a namespace that is being deleted nobody can: what a policy still has to do there is done without.
        """
        metadata = body["metadata"]
        namespace = metadata.get("namespace") or "default"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        mark = hashlib.sha256(f"{metadata.get('uid')}/{reason}/{message}".encode()).hexdigest()[:16]
        name = f"{metadata['name'][:200]}.{mark}"
        path = f"/api/v1/namespaces/{namespace}/events"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:1024],
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": MANAGER},
            "reportingComponent": f"{GROUP}/{MANAGER}",
            "reportingInstance": self._instance,
            "involvedObject": {
                "apiVersion": body.get("apiVersion", API_VERSION),
                "kind": kind,
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata.get("uid", ""),
            },
        }
        try:
            self._write("POST", "events", path, event)
        except Conflict:
            known = self._call("GET", f"{path}/{name}") or {}
            again = {"count": int(known.get("count", 1)) + 1, "lastTimestamp": now}
            self._write("PATCH", "events", f"{path}/{name}", again)
        except _NamespaceEnds:
            return

    def approvals_guarded(self) -> str | None:
        """Compares the approval policy in the cluster with the one this version renders."""
        base = "/apis/admissionregistration.k8s.io/v1"
        policy = self._call("GET", f"{base}/validatingadmissionpolicies/{admission.APPROVAL_POLICY}")
        binding = self._call("GET", f"{base}/validatingadmissionpolicybindings/{admission.APPROVAL_POLICY}")
        return admission.altered(policy, binding)

    def leading(self) -> bool:
        """Whether this process holds the lease right now."""
        return self._leading()

    def _path(self, plural: str, namespace: str = "", name: str = "") -> str:
        base = "/api/v1" if plural == NAMESPACES else f"/apis/{API_VERSION}"
        scoped = f"{base}/namespaces/{namespace}/{plural}" if namespace and plural != NAMESPACES else f"{base}/{plural}"
        return f"{scoped}/{name}" if name else scoped

    def _write(self, method: str, resource: str, path: str, body: Object | None = None) -> Any:
        """A request that changes something, with a span of its own; `resource` is the plural, and its subresource."""
        attributes = {"http.request.method": method, "passmuster.resource": resource}
        span = self._tracer.request(f"{method} {resource}", attributes)
        try:
            answer = self._call(method, path, body=body)
            span.note({OUTCOME: "ok" if answer is not None else "gone"})
        except (Conflict, ClusterUnreachable) as error:
            span.note({OUTCOME: "conflict" if isinstance(error, Conflict) else "failed"})
            span.fail(type(error).__name__)
            raise
        finally:
            span.end()
        return answer

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: Sequence[tuple[str, str]] = (),
        accept: str = "application/json",
    ) -> Any:
        """One request. None for 404; raises Conflict for 409 and ClusterUnreachable for everything else."""
        parameters = [*query, ("fieldManager", MANAGER)] if method in ("PATCH", "POST") else [*query]
        kind = MERGE if method == "PATCH" else "application/json"
        try:
            answer = request(
                self._api, method, path, body=body, query=parameters, accept=accept, content_type=kind, timeout=TIMEOUT
            )
        except ApiException as error:
            if error.status == 404:
                return None
            if error.status == 409:
                raise Conflict(f"{method} {path}: {error.reason}") from error
            failure = _NamespaceEnds if "NamespaceTerminating" in (error.body or "") else ClusterUnreachable
            raise failure(f"{method} {path}: {error.status} {_message(error)}") from error
        except HTTPError as error:
            raise ClusterUnreachable(f"{method} {path}: {error}") from error
        return answer


def _message(error: ApiException) -> str:
    return (error.body or error.reason or "")[:500]
