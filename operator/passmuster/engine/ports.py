"""What the engine needs of a cluster. The kube layer implements it; the cluster-free demo and tests do so in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Object = Mapping[str, Any]
"""A Kubernetes object as JSON."""

ACCOUNTS = "awsaccounts"
POLICIES = "readinesspolicies"
REPORTS = "readinessreports"
REMEDIATIONS = "remediations"
WAIVERS = "readinesswaivers"
ATTESTATIONS = "readinessattestations"
NAMESPACES = "namespaces"

GRANTED = (WAIVERS, ATTESTATIONS)
"""What people grant."""

OF_A_POLICY = (REMEDIATIONS, REPORTS, *GRANTED)
"""Kinds whose objects belong to the policy that their spec names."""

KINDS = {
    ACCOUNTS: "AWSAccount",
    POLICIES: "ReadinessPolicy",
    REPORTS: "ReadinessReport",
    REMEDIATIONS: "Remediation",
    WAIVERS: "ReadinessWaiver",
    ATTESTATIONS: "ReadinessAttestation",
    NAMESPACES: "Namespace",
}


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names one object: plural, namespace ("" for cluster-scoped kinds) and name."""

    plural: str
    namespace: str
    name: str

    @classmethod
    def of(cls, plural: str, body: Object) -> Key:
        """The key of an object."""
        metadata = body["metadata"]
        return cls(plural, metadata.get("namespace") or "", metadata["name"])

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Conflict(Exception):
    """The object changed since it was read: read it again and decide again."""


class ClusterUnreachable(Exception):
    """The API server did not answer, or refused the operator; retrying may help."""


class Cluster(Protocol):
    """Reads and writes of objects. Every method may raise ClusterUnreachable."""

    def uid(self) -> str:
        """What tells this cluster from another: the UID of the namespace kube-system."""

    def get(self, key: Key) -> Object | None:
        """The object as the API server has it now."""

    def list(self, plural: str, namespace: str = "", labels: str = "") -> Sequence[Object]:
        """All objects of a kind, optionally of one namespace and with labels."""

    def create(self, plural: str, body: Object) -> Object:
        """Creates an object; one that is already there is returned as it is."""

    def patch(self, key: Key, patch: Object) -> Object | None:
        """Merges into metadata and spec; None if the object is gone. Raises Conflict with a stale resourceVersion."""

    def patch_status(self, key: Key, status: Object, resource_version: str | None = None) -> Object | None:
        """Merges into status; None if the object is gone. Raises Conflict with a stale resourceVersion."""

    def delete(self, key: Key) -> None:
        """Deletes an object that may already be gone."""

    def event(self, body: Object, *, kind: str, reason: str, message: str, warning: bool = False) -> None:
        """Posts an event about an object."""

    def approvals_guarded(self) -> str | None:
        """None while the approval policy is in force as rendered; else one sentence about what is wrong with it."""

    def leading(self) -> bool:
        """Whether this process holds the lease right now."""
