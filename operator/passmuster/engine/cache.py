"""The objects as the watch streams last showed them. Fed by handlers, read by the reconciler; never written back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from passmuster.engine.ports import Key, Object


class Cache:
    """Thread-safe. Bodies are treated as immutable: a newer event replaces the whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, dict[Key, Object]] = {}

    def put(self, key: Key, body: Object) -> None:
        """The object as an event or an answer of the API server shows it; older versions are ignored."""
        with self._lock:
            known = self._objects.setdefault(key.plural, {})
            before = known.get(key)
            if before is None or _version(body) >= _version(before):
                known[key] = body

    def drop(self, key: Key) -> None:
        """The object is gone."""
        with self._lock:
            self._objects.get(key.plural, {}).pop(key, None)

    def get(self, key: Key) -> Object | None:
        """The object, if it is known."""
        return self._objects.get(key.plural, {}).get(key)

    def all(self, plural: str, namespace: str | None = None) -> Iterator[tuple[Key, Object]]:
        """Every known object of a kind, optionally of one namespace."""
        with self._lock:
            members = list(self._objects.get(plural, {}).items())
        return ((key, body) for key, body in members if namespace is None or key.namespace == namespace)

    def count(self, plural: str) -> int:
        """How many objects of a kind are known."""
        return len(self._objects.get(plural, {}))


def _version(body: Object) -> int:
    """Versions of one kind grow; they are compared as numbers, which every etcd-backed API server serves."""
    version = str(body["metadata"].get("resourceVersion", "0"))
    return int(version) if version.isdigit() else 0
