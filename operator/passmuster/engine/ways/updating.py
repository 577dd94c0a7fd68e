"""One update of one resource of a stack, by change set: made, read back, and only if it is exactly what was approved.

Used for stacks of their owners and for adopted resources, to make a change and to take it back. Where an update stands
is told by the stack itself: it is done when the stack's own template says what was wanted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto
from typing import Any

from passmuster.api.conditions import ConditionReason
from passmuster.aws.stacks import MOST_TEMPLATE_BYTES, ChangeSet, Intent, Stack, Stacks
from passmuster.engine.life import StackStuck
from passmuster.engine.ways.own_stack import bad_change_set, why
from passmuster.model.errors import ChangeFailed, ChangeRefused
from passmuster.remediation.definition import Desired
from passmuster.remediation.desired import laid_over, put_back, same
from passmuster.remediation.template import parsed

Document = dict[str, Any]
STABLE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"})
"""A stack that may be updated."""


class Stands(Enum):
    """Where an update stands."""

    WAITING = auto()
    READY = auto()
    DONE = auto()
    ROLLED_BACK = auto()


@dataclass(frozen=True, slots=True)
class Update:
    """What to update: properties of one resource, under a name for the change set that is also its token.

    `properties` makes the resource's properties from those that the template has; `names` are the ones it changes.
    """

    name: str
    logical_id: str
    properties: Callable[[Mapping[str, Any]], dict[str, Any]]
    names: frozenset[str]
    description: str
    replacement: bool = False

    @classmethod
    def to(cls, wanted: Desired, logical_id: str, name: str, description: str, *, replacement: bool = False) -> Update:
        """The update that lays a desired state over the resource."""
        return cls(
            name=name,
            logical_id=logical_id,
            properties=lambda present: laid_over(present, wanted.properties, wanted.keys),
            names=frozenset(wanted.properties),
            description=description,
            replacement=replacement,
        )

    @classmethod
    def back(cls, prior: Mapping[str, Any], logical_id: str, name: str) -> Update:
        """The update that puts back what was there before."""
        return cls(
            name=name,
            logical_id=logical_id,
            properties=lambda present: put_back(present, prior),
            names=frozenset(prior),
            description="What was there before",
        )


def stands(stacks: Stacks, stack: Stack, update: Update, *, make: bool) -> Stands:
    """Where the update stands; with `make` the change set is asked for where there is none.

    Raises ChangeFailed for what AWS refused or what would change more, ChangeRefused, StackStuck.
    """
    if stack.busy:
        return Stands.WAITING
    demand_stable(stacks, stack)
    document = document_of(stacks.template(stack.id))
    present = resource_of(document, update.logical_id, stack.name)
    wanted = update.properties(present.get("Properties") or {})
    if same(wanted, present.get("Properties") or {}):
        return Stands.DONE
    found = stacks.change_set(stack.id, update.name)
    if found is None:
        if make:
            present["Properties"] = wanted
            stacks.create_change_set(_intent(stack, update, text_of(document)))
        return Stands.WAITING
    if found.being_made or found.execution == "EXECUTE_IN_PROGRESS":
        return Stands.WAITING
    if found.status != "CREATE_COMPLETE":
        raise bad_change_set(found)
    if found.execution == "AVAILABLE":
        _demand_exact(stacks, stack, update, found)
        return Stands.READY
    if found.execution == "EXECUTE_COMPLETE" or stack.status == "UPDATE_ROLLBACK_COMPLETE":
        return Stands.ROLLED_BACK
    raise ChangeFailed(
        ConditionReason.CHANGE_SET_FAILED, f"AWS did not execute the change set: {found.reason or found.execution}"
    )


def demand_stable(stacks: Stacks, stack: Stack) -> None:
    """Raises StackStuck for a stack at rest that may not be updated: only a person can resolve it."""
    if stack.status not in STABLE:
        said = f"The stack {stack.name} is {stack.status}: {why(stacks, stack)}"
        raise StackStuck(f"{said}. Resolve it in CloudFormation")


def execute(stacks: Stacks, stack: Stack, update: Update) -> None:
    """Executes the change set of an update that is READY."""
    stacks.execute(stack.id, update.name, update.name)


def document_of(body: str) -> Document:
    """A template as a mapping of its own, in long form."""
    copied: Document = json.loads(json.dumps(parsed(body), default=_written))
    return copied


def text_of(document: Document) -> str:
    """The template as text again. Raises ChangeRefused where it is larger than a request may be."""
    body = json.dumps(document, indent=1)
    if len(body.encode()) > MOST_TEMPLATE_BYTES:
        body = json.dumps(document, separators=(",", ":"))
    if len(body.encode()) > MOST_TEMPLATE_BYTES:
        raise ChangeRefused(
            ConditionReason.OWNER_STACK_UNFIT,
            "The template is larger than a request may carry: make the change in the template itself",
            retryable=False,
        )
    return body


def resource_of(document: Document, logical_id: str, stack: str) -> dict[str, Any]:
    """One resource of a template. Raises ChangeRefused where it is not there."""
    found = document["Resources"].get(logical_id)
    if not isinstance(found, dict):
        raise ChangeRefused(
            ConditionReason.OWNER_STACK_UNFIT,
            f"The template of the stack {stack} has no resource {logical_id}",
            retryable=False,
        )
    return found


def _intent(stack: Stack, update: Update, template: str) -> Intent:
    return Intent(
        stack=stack.id,
        change_set=update.name,
        token=update.name,
        template=template,
        parameters={},
        tags={},
        capabilities=stack.capabilities,
        description=update.description,
        kind="UPDATE",
        keep=tuple(stack.parameters),
    )


def _demand_exact(stacks: Stacks, stack: Stack, update: Update, found: ChangeSet) -> None:
    """The change set must change exactly these properties of exactly this resource, and replace nothing."""
    fault = _fault(stack, update, found)
    if fault is None:
        return
    stacks.delete_change_set(stack.id, update.name)
    replaces = any(change.replacement in ("True", "Conditional") for change in found.changes)
    reason = ConditionReason.REPLACEMENT_NOT_ALLOWED if replaces else ConditionReason.WOULD_CHANGE_MORE
    raise ChangeFailed(reason, f"The change set is not what was approved: {fault}")


def _fault(stack: Stack, update: Update, found: ChangeSet) -> str | None:
    others = sorted({c.logical_id for c in found.changes if c.logical_id != update.logical_id})
    if others:
        return f"it also changes {', '.join(others)}"
    if len(found.changes) != 1 or found.changes[0].action != "Modify":
        return f"it does not modify {update.logical_id}"
    (change,) = found.changes
    if change.replacement in ("True", "Conditional") and not update.replacement:
        return f"it would replace {change.logical_id}; set allowReplacement to permit that"
    more = sorted(set(change.scope) - {"Properties"})
    if more:
        return f"it also changes {', '.join(more)} of {change.logical_id}"
    names = {name for attribute, name in change.targets if attribute == "Properties"}
    if not names <= update.names:
        return f"it also changes {', '.join(sorted(names - update.names))} of {change.logical_id}"
    if found.resolved != stack.resolved:
        differing = sorted(k for k in found.resolved if stack.resolved.get(k) != found.resolved[k])
        return f"a parameter has another value than when the stack was last updated: {', '.join(differing)}"
    return None


def _written(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a template holds {type(value).__name__}")
