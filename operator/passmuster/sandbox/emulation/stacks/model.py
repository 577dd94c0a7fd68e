"""A stack, its resources, events and change sets: what the engine works on and the API tells.

The records live in moto's CloudFormation backend of the account and region, so that a reset forgets them and the
tagging API finds the stacks.
"""

import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.backends import get_backend

from passmuster.sandbox.emulation.operation import Place
from passmuster.sandbox.emulation.stacks.templates import Template

STACK_TYPE = "AWS::CloudFormation::Stack"
Properties = dict[str, Any]


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Resource:
    """One resource of a stack. `properties` are resolved."""

    logical_id: str
    type: str
    physical_id: str = ""
    properties: Properties = field(default_factory=dict)
    definition: Mapping[str, Any] = field(default_factory=dict)
    status: str = "CREATE_IN_PROGRESS"
    reason: str = ""
    changed: datetime = field(default_factory=now)
    generated_name: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    imported: bool = False
    drift: dict[str, Any] = field(default_factory=dict)

    @property
    def deletion_policy(self) -> str:
        return str(self.definition.get("DeletionPolicy", "Delete"))

    @property
    def replace_policy(self) -> str:
        return str(self.definition.get("UpdateReplacePolicy", "Delete"))


@dataclass(frozen=True, slots=True)
class Event:
    stack_id: str
    stack_name: str
    logical_id: str
    physical_id: str
    type: str
    status: str
    reason: str
    token: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    at: datetime = field(default_factory=now)


@dataclass(slots=True)
class Change:
    """One line of a change set."""

    action: str
    logical_id: str
    type: str
    physical_id: str = ""
    replacement: str = ""
    scope: list[str] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    policy_action: str = ""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


@dataclass(slots=True)
class Request:
    """What a client asked a stack to become."""

    template: Template
    parameters: dict[str, str]
    tags: dict[str, str]
    capabilities: list[str]
    role: str = ""
    notifications: list[str] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)
    on_failure: str = "ROLLBACK"
    token: str = ""


@dataclass(slots=True)
class ChangeSet:
    id: str
    name: str
    kind: str
    request: Request
    description: str = ""
    client_token: str = ""
    status: str = "CREATE_COMPLETE"
    reason: str = ""
    execution: str = "AVAILABLE"
    execution_token: str = ""
    import_existing: bool = False
    changes: list[Change] = field(default_factory=list)
    made: datetime = field(default_factory=now)
    ready_at: float = 0.0


@dataclass(slots=True)
class Stack:
    """One stack. `tags` and `name` carry moto's names for them, because moto's tagging API reads them.

    `parent` is the id of the stack that this one is nested in; `left_changed` are its resources as they were before an
    update whose rollback failed.
    """

    stack_id: str
    name: str
    place: Place
    status: str = "REVIEW_IN_PROGRESS"
    reason: str = ""
    request: Request | None = None
    tags: dict[str, str] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    change_sets: dict[str, ChangeSet] = field(default_factory=dict)
    outputs: list[dict[str, str]] = field(default_factory=list)
    last_change_set: str = ""
    made: datetime = field(default_factory=now)
    updated: datetime | None = None
    deleted: datetime | None = None
    protected: bool = False
    policy: str = ""
    drift: str = "NOT_CHECKED"
    token: str = ""
    tokens: set[str] = field(default_factory=set)
    parent: str = ""
    left_changed: Mapping[str, Resource] = field(default_factory=dict)
    running: Iterator[str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def busy(self) -> bool:
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    def became(self, status: str, reason: str = "") -> None:
        """Set the stack's status, with its event."""
        self.status, self.reason = status, reason
        self._event(self.name, self.stack_id, STACK_TYPE, status, reason)

    def resource_became(self, resource: Resource, status: str, reason: str = "") -> None:
        """Set a resource's status, with its event."""
        resource.status, resource.reason, resource.changed = status, reason, now()
        self._event(resource.logical_id, resource.physical_id, resource.type, status, reason)

    def _event(self, logical_id: str, physical_id: str, type_: str, status: str, reason: str) -> None:
        event = Event(self.stack_id, self.name, logical_id, physical_id, type_, status, reason, self.token)
        self.events.append(event)


def new_stack_id(place: Place, name: str) -> str:
    return f"arn:aws:cloudformation:{place.region}:{place.account}:stack/{name}/{uuid.uuid4()}"


def new_change_set_id(place: Place, name: str) -> str:
    return f"arn:aws:cloudformation:{place.region}:{place.account}:changeSet/{name}/{uuid.uuid4()}"


def all_stacks(place: Place) -> list[Stack]:
    """Every stack of the account and region, deleted ones too, oldest first."""
    backend = place.backend("cloudformation")
    everything = [*backend.stacks.values(), *backend.deleted_stacks.values()]
    return sorted((stack for stack in everything if isinstance(stack, Stack)), key=lambda stack: stack.made)


def stacks_everywhere() -> Iterator[Stack]:
    """The living stacks of every account and region."""
    for regions in list(get_backend("cloudformation").values()):
        for backend in list(regions.values()):
            yield from (stack for stack in list(backend.stacks.values()) if isinstance(stack, Stack))


def keep(place: Place, stack: Stack) -> None:
    place.backend("cloudformation").stacks[stack.stack_id] = stack


def bury(place: Place, stack: Stack) -> None:
    """The stack is deleted: found by its id only from now on."""
    backend = place.backend("cloudformation")
    backend.deleted_stacks[stack.stack_id] = backend.stacks.pop(stack.stack_id, stack)


def find(place: Place, name_or_id: str) -> Stack | None:
    """A living stack by name or id, or a deleted one by id."""
    for stack in all_stacks(place):
        if stack.stack_id == name_or_id or (stack.name == name_or_id and stack.status != "DELETE_COMPLETE"):
            return stack
    return None
