"""The objects as the watch streams last showed them. Fed by handlers, read by the reconciler; never written back.

Reports are kept in parcels: each is far larger than everything else of its policy, and is read once after a restart.
Which fields belong to which manager, and what kubectl noted of what it applied, is nobody's question here and is not
kept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from passmuster.engine.parcel import Parcel
from passmuster.engine.ports import OF_A_POLICY, REPORTS, Key, Object

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    body: Object | Parcel[Object]
    owner: tuple[str, str, str] | None

    @classmethod
    def of(cls, key: Key, body: Object) -> _Kept:
        metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
        if metadata.get("annotations"):
            metadata["annotations"] = kept_annotations(metadata)
        slim = {**body, "metadata": metadata}
        return cls(_version(body), Parcel(slim) if key.plural == REPORTS else slim, _owner(key, body))

    def open(self) -> Object:
        return self.body.open() if isinstance(self.body, Parcel) else self.body


class Cache:
    """Thread-safe. Bodies are treated as immutable: a newer event replaces the whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, dict[Key, _Kept]] = {}
        self._owned: dict[tuple[str, str, str], set[Key]] = {}

    def put(self, key: Key, body: Object) -> None:
        """The object as an event or an answer of the API server shows it; older versions are ignored."""
        # Asked once before the object is packed, which takes long, and once more under the lock.
        at_hand = self._objects.get(key.plural, {}).get(key)
        if at_hand is not None and at_hand.version >= _version(body) > 0:
            return
        kept = _Kept.of(key, body)
        with self._lock:
            known = self._objects.setdefault(key.plural, {})
            before = known.get(key)
            if before is None or kept.version >= before.version:
                known[key] = kept
                if before is not None:
                    self._disown(key, before)  # by a cut stream: it may be another one of that name, of another policy
                if kept.owner is not None:
                    self._owned.setdefault(kept.owner, set()).add(key)

    def drop(self, key: Key, last: Object | None = None) -> bool:
        """The object is gone, whose last version this was.

        Returns False, and keeps what is known, where one of the same name was made since.
        """
        with self._lock:
            kept = self._objects.get(key.plural, {}).get(key)
            if kept is not None and last is not None and kept.version > _version(last) > 0:
                return False
            self._objects.get(key.plural, {}).pop(key, None)
            if kept is not None:
                self._disown(key, kept)
        return True

    def _disown(self, key: Key, kept: _Kept) -> None:
        if kept.owner is not None:
            self._owned[kept.owner].discard(key)
            if not self._owned[kept.owner]:
                del self._owned[kept.owner]

    def get(self, key: Key) -> Object | None:
        """The object, if it is known."""
        kept = self._objects.get(key.plural, {}).get(key)
        return kept.open() if kept is not None else None

    def all(self, plural: str, namespace: str | None = None) -> Iterator[tuple[Key, Object]]:
        """Every known object of a kind, optionally of one namespace."""
        with self._lock:
            members = list(self._objects.get(plural, {}).items())
        return ((key, kept.open()) for key, kept in members if namespace is None or key.namespace == namespace)

    def keys(self, plural: str, namespace: str | None = None) -> list[Key]:
        """Every known key of a kind, optionally of one namespace."""
        with self._lock:
            members = list(self._objects.get(plural, {}))
        return [key for key in members if namespace is None or key.namespace == namespace]

    def owned(self, plural: str, policy: Key) -> list[tuple[Key, Object]]:
        """The reports, remediations, waivers or attestations of one policy, by name."""
        with self._lock:
            known = self._objects.get(plural, {})
            members = [(key, known[key]) for key in self._owned.get((plural, policy.namespace, policy.name), ())]
        return [(key, kept.open()) for key, kept in sorted(members, key=lambda member: member[0])]

    def count(self, plural: str) -> int:
        """How many objects of a kind are known."""
        return len(self._objects.get(plural, {}))


def kept_annotations(metadata: Mapping[str, Any]) -> dict[str, str]:
    """An object's annotations without what kubectl notes of what it applied, which is the whole object once more."""
    return {name: value for name, value in (metadata.get("annotations") or {}).items() if name != LAST_APPLIED}


def _owner(key: Key, body: Object) -> tuple[str, str, str] | None:
    """Under what an object of a policy is found; None for what belongs to none."""
    if key.plural not in OF_A_POLICY:
        return None
    return key.plural, key.namespace, body["spec"]["policyRef"]["name"]


def _version(body: Object) -> int:
    """Versions of one kind grow; they are compared as numbers, which every etcd-backed API server serves."""
    version = str(body["metadata"].get("resourceVersion", "0"))
    return int(version) if version.isdigit() else 0
