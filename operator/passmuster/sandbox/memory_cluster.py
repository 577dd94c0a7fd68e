"""A cluster in memory: enough of an API server for the engine to work without one.

Used by `passmuster demo --no-cluster`, for machines where no kube-apiserver can be had. It keeps generations and
resource versions and merges patches as the API server does; it validates nothing, enforces no approval policy and no
RBAC, and the demo says so. Tests of anything the API server decides use the real one.
"""

from __future__ import annotations

import copy
import itertools
import threading
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from passmuster.api.fields import written
from passmuster.engine.cache import Cache
from passmuster.engine.ports import KINDS, Conflict, Key, Object


class MemoryCluster:
    """Objects in a dictionary, mirrored into the engine's cache as a watch would."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._objects: dict[Key, dict[str, Any]] = {}
        self._versions = itertools.count(1)
        self._lock = threading.RLock()
        self._uid = str(uuid.uuid4())
        self.events: list[tuple[str, str, str]] = []

    def uid(self) -> str:
        """An identity for the life of the process."""
        return self._uid

    def get(self, key: Key) -> Object | None:
        """A copy of the object."""
        with self._lock:
            found = self._objects.get(key)
            return copy.deepcopy(found) if found is not None else None

    def list(self, plural: str, namespace: str = "", labels: str = "") -> Sequence[Object]:
        """Copies of all objects of a kind; label selectors of the form a=b,c=d."""
        wanted = dict(pair.split("=", 1) for pair in labels.split(",") if pair)
        with self._lock:
            return [
                copy.deepcopy(body)
                for key, body in self._objects.items()
                if key.plural == plural
                and (not namespace or key.namespace == namespace)
                and wanted.items() <= (body["metadata"].get("labels") or {}).items()
            ]

    def create(self, plural: str, body: Object) -> Object:
        """Stores an object, or returns the one that is there."""
        with self._lock:
            key = Key.of(plural, body)
            if key in self._objects:
                return copy.deepcopy(self._objects[key])
            made = copy.deepcopy(dict(body))
            made.setdefault("kind", KINDS[plural])
            metadata = made["metadata"] = dict(made["metadata"])
            metadata |= {
                "uid": str(uuid.uuid4()),
                "generation": 1,
                "creationTimestamp": written(datetime.now(UTC)),
            }
            return self._stored(key, made)

    def patch(self, key: Key, patch: Object) -> Object | None:
        """Merges into metadata and spec; a changed spec is a new generation."""
        with self._lock:
            known = self._objects.get(key)
            if known is None:
                return None
            self._demand_version(known, patch)
            changed = merged(known, {k: v for k, v in patch.items() if k in ("metadata", "spec")})
            if changed.get("spec") != known.get("spec"):
                changed["metadata"]["generation"] = known["metadata"]["generation"] + 1
            if changed["metadata"].get("deletionTimestamp") and not changed["metadata"].get("finalizers"):
                self._removed(key)
                return dict(changed)
            return self._stored(key, changed)

    def patch_status(self, key: Key, status: Object, resource_version: str | None = None) -> Object | None:
        """Merges into status."""
        with self._lock:
            known = self._objects.get(key)
            if known is None:
                return None
            if resource_version is not None:
                self._demand_version(known, {"metadata": {"resourceVersion": resource_version}})
            return self._stored(key, merged(known, {"status": status}))

    def delete(self, key: Key) -> None:
        """Removes an object; one with finalizers when they are gone."""
        with self._lock:
            known = self._objects.get(key)
            if known is not None and known["metadata"].get("finalizers"):
                marked = {"metadata": {"deletionTimestamp": written(datetime.now(UTC))}}
                self._stored(key, merged(known, marked))
                return
            self._removed(key)

    def event(self, body: Object, *, kind: str, reason: str, message: str, warning: bool = False) -> None:
        """Remembers the event."""
        mark = "Warning " if warning else ""
        self.events.append((f"{kind}/{body['metadata']['name']}", f"{mark}{reason}", message))

    def approvals_guarded(self) -> str | None:
        """There is nobody else who could approve."""
        return None

    def leading(self) -> bool:
        """There is no other process."""
        return True

    def _removed(self, key: Key) -> None:
        self._objects.pop(key, None)
        self._cache.drop(key)

    def _stored(self, key: Key, body: dict[str, Any]) -> Object:
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self._objects[key] = body
        self._cache.put(key, copy.deepcopy(body))
        return copy.deepcopy(body)

    def _demand_version(self, known: Object, patch: Object) -> None:
        version = (patch.get("metadata") or {}).get("resourceVersion")
        if version is not None and version != known["metadata"]["resourceVersion"]:
            raise Conflict(f"{known['metadata']['name']} changed")


def merged(target: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386) of a copy."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = copy.deepcopy(dict(target)) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
