"""What all custom resources share: group and version, metadata, and how kubectl lists them.

Each kind is a `CustomResource` with a `Definition`; `schema` turns both into a CustomResourceDefinition, and the engine
and the command line read and write objects through them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from passmuster.api.fields import Declared, Observed, Time

GROUP = "passmuster.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "passmuster"

REQUESTED_AT = f"reconcile.{GROUP}/requestedAt"
"""Annotation: a new token asks for an inspection now; it is echoed in status.lastHandledReconcileAt."""

BY_ALERT = "alert-"
"""How the tokens begin with which alerts ask: they are answered at a measured pace, those of people at once."""

HINT = f"reconcile.{GROUP}/hint"
"""Annotation beside requestedAt: check ids, joined by commas, that the inspection is wanted for; without it, all."""

EDITED_BY = f"{GROUP}/edited-by"
"""Annotation: who last changed the spec of a ReadinessPolicy, written by the admission policy and by nobody else."""

FINALIZER = f"{GROUP}/stacks"
"""On a policy only while its deletionPolicy is Delete and a stack of ours exists."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; a `wide` one only with -o wide."""

    name: str
    path: str
    description: str
    type: Literal["string", "integer", "date"] = "string"
    wide: bool = False


AGE = Column("Age", ".metadata.creationTimestamp", "When the object was created.", "date")


@dataclass(frozen=True, slots=True)
class Definition:
    """How a kind is served: its names, scope, columns, and the fields that a field selector may name."""

    kind: str
    plural: str
    short: str
    scope: Literal["Cluster", "Namespaced"]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


class _Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class OwnerReference(_Camel):
    """The object that another one belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class Metadata(_Camel):
    """The part of Kubernetes' metadata that we read or write."""

    name: str = ""
    namespace: str | None = None
    uid: str | None = None
    generation: int | None = None
    resource_version: str | None = None
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class CustomResource(_Camel):
    """An object of ours; each kind adds `spec` and `status`."""

    definition: ClassVar[Definition]
    description: ClassVar[str]

    api_version: Literal["passmuster.io/v1alpha1"] = "passmuster.io/v1alpha1"
    kind: str
    metadata: Metadata

    spec: Declared
    status: Observed

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """The object as the API server returned it. Raises pydantic's ValidationError for another shape."""
        return cls.model_validate(stored)

    def manifest(self) -> dict[str, Any]:
        """The object as a person would write it: camelCase, JSON values, without status and without what is default."""
        short = self.model_dump(
            mode="json", by_alias=True, exclude={"status"}, exclude_none=True, exclude_defaults=True
        )
        return {"apiVersion": API_VERSION, "kind": self.definition.kind, **short}
