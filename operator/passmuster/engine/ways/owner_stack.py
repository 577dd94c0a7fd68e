"""The stack that owns a resource, updated for its owner: only where nothing of theirs can be lost by it.

Executed only with `allowOwnerStackUpdates`; everybody else gets the patch for the template. Our tags never go on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from passmuster.api.conditions import ConditionReason
from passmuster.api.fields import written
from passmuster.api.remediation import State
from passmuster.aws.stacks import Stack, Stacks
from passmuster.engine.life import SOON, Life, StackStuck
from passmuster.engine.ways import recording
from passmuster.engine.ways.course import LastLook
from passmuster.engine.ways.own_stack import why
from passmuster.engine.ways.resource import demanded
from passmuster.engine.ways.updating import (
    STABLE,
    Document,
    Stands,
    Update,
    demand_stable,
    document_of,
    execute,
    resource_of,
    stands,
)
from passmuster.model.errors import ChangeRefused
from passmuster.remediation import desired
from passmuster.remediation.definition import Desired
from passmuster.remediation.rendering import Proposal

_REFERENCE = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^}]*)\}\}")


@dataclass(slots=True)
class OwnerStack:
    """See `course.Course`."""

    life: Life
    stacks: Stacks

    def prepare(self, proposal: Proposal) -> float | None:
        life, wanted = self.life, demanded(proposal.desired)
        stack, logical_id = self._stack(wanted)
        self._demand_fit(stack, logical_id, life.token)
        life.note_stack(stack)
        if not life.status.get("steps"):
            present = resource_of(document_of(self.stacks.template(stack.id)), logical_id, stack.name)
            prior = desired.prior_of(present.get("Properties") or {}, wanted.properties)
            life.status["steps"] = [recording.of_desired(wanted, prior)]
            life.note_change_set()
        where = stands(self.stacks, stack, self._forward(logical_id, wanted), make=True)
        if where is Stands.READY:
            message = "The change set was read back and changes exactly what was approved"
            life.enter(State.CHANGE_SET_READY, ConditionReason.CHANGE_SET_READY, message)
            return 0.0
        return self._further(where, stack)

    def proceed(self, look: LastLook) -> float | None:
        life = self.life
        wanted = recording.desired_in(life.status["steps"][0])
        stack, logical_id = self._stack(wanted)
        life.note_stack(stack)
        update = self._forward(logical_id, wanted)
        where = stands(self.stacks, stack, update, make=False)
        if where is not Stands.READY:
            if where is Stands.WAITING and not stack.busy and self.stacks.change_set(stack.id, update.name) is None:
                life.start_over(State.PROPOSED, ConditionReason.PROPOSED, "The change set is gone; nothing was done")
                return 0.0
            return self._further(where, stack)
        self._demand_fit(stack, logical_id, update.name)
        seen = look(lambda: self.stacks.delete_change_set(stack.id, update.name))
        if not seen.go:
            return seen.wait
        life.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS updates the stack of the resource's owner")
        life.save()
        execute(self.stacks, stack, update)
        return SOON

    def _further(self, where: Stands, stack: Stack) -> float | None:
        life = self.life
        if where is Stands.WAITING:
            return SOON
        if where is Stands.ROLLED_BACK:
            reasons = "; ".join(self.stacks.failures(stack.id)[:3]) or "AWS gave no reason"
            life.status["attempt"] = life.attempt + 1
            life.status["steps"] = []
            message = f"AWS took the change back, the stack is as before: {reasons}. Approve it anew to try it again"
            life.enter(State.ROLLED_BACK, ConditionReason.STACK_ROLLED_BACK, message)
            return None
        self._made()
        return 0.0

    def _made(self) -> None:
        self.life.note_step(0, madeAt=written(self.life.clock()))
        self.life.made()

    def withdraw(self) -> float | None:
        life = self.life
        if not life.stack_name():
            return None
        name = life.stack_name()
        if self.stacks.change_set(name, life.token) is not None:
            self.stacks.delete_change_set(name, life.token)
        life.next_attempt()
        return 0.0

    def undoable(self) -> bool:
        return any(step.get("madeAt") for step in self.life.status.get("steps") or ())

    def undo_refusal(self) -> tuple[str, str] | None:
        try:
            stack, logical_id = self._held()
            self._demand_fit(stack, logical_id, self._undo_token)
        except ChangeRefused as refused:
            return refused.reason, f"It cannot be taken back: {refused}"
        return None

    def undo(self) -> float | None:
        life = self.life
        stack, logical_id = self._held()
        update = Update.back(recording.prior_in(life.status["steps"][0]), logical_id, self._undo_token)
        where = stands(self.stacks, stack, update, make=True)
        if where is Stands.WAITING:
            return SOON
        if where is Stands.READY:
            self._demand_fit(stack, logical_id, update.name)
            execute(self.stacks, stack, update)
            return SOON
        if where is Stands.ROLLED_BACK:
            said = f"The stack {stack.name} rolled the undo back: {why(self.stacks, stack)}"
            raise StackStuck(f"{said}. Undo it in its own template")
        life.note_step(0, undoneAt=written(life.clock()))
        life.undone("The stack of the resource's owner says again what it said before")
        return None

    def departure(self) -> str | None:
        return None

    def resolved(self) -> bool:
        stack = self.stacks.stack(self.life.stack_name())
        return stack is None or stack.status in STABLE or stack.status == "DELETE_COMPLETE"

    @property
    def _undo_token(self) -> str:
        return f"{self.life.token}-undo"

    def _forward(self, logical_id: str, wanted: Desired) -> Update:
        replacement = self.life.situation.governed.policy.spec.remediation.allow_replacement
        name, description = self.life.token, self.life.object.spec.remediation
        return Update.to(wanted, logical_id, name, description, replacement=replacement)

    def _stack(self, wanted: Desired) -> tuple[Stack, str]:
        """The stack that holds the resource right now, which must be the one of the intent."""
        owner = self.life.object.spec.owner
        found = self.stacks.holding(wanted.type, (wanted.identifier, wanted.arn))
        if found is None or owner is None or found.stack_id != owner.stack_id:
            if found is None and owner is not None and owner.stack_id:
                self._demand_alive(owner.stack_id)
            holder = "no stack" if found is None else f"the stack {found.stack}"
            message = f"The resource {wanted.identifier} is held by {holder} now; it is proposed anew"
            raise ChangeRefused(ConditionReason.VALUE_CHANGED, message)
        stack = self.stacks.stack(found.stack_id)
        if stack is None:
            raise ChangeRefused(ConditionReason.VALUE_CHANGED, f"The stack {found.stack} is gone; it is proposed anew")
        return stack, found.logical_id

    def _demand_alive(self, stack_id: str) -> None:
        """Raises StackStuck for a stack that was rolled back when it was made: what it retained is not its own."""
        left = self.stacks.stack(stack_id)
        if left is not None and left.status == "ROLLBACK_COMPLETE":
            self.life.note_stack(left)
            raise StackStuck(
                f"The stack {left.name} was rolled back when it was made and holds nothing: delete it in "
                "CloudFormation, and the resource is proposed anew as nobody's"
            )

    def _held(self) -> tuple[Stack, str]:
        """The stack that still holds the resource, for an undo."""
        return self._stack(recording.desired_in(self.life.status["steps"][0]))

    def _demand_fit(self, stack: Stack, logical_id: str, ours: str) -> None:
        """Raises ChangeRefused unless the owner's stack may be updated without losing anything of theirs."""
        if stack.busy:
            raise ChangeRefused(ConditionReason.AWAITING_RESOURCE, f"The stack {stack.name} is {stack.status}")
        if stack.status not in STABLE:
            self.life.note_stack(stack)
        demand_stable(self.stacks, stack)
        unfit = next(self._unfit(stack, logical_id, ours), None)
        if unfit is not None:
            message = f"The stack {stack.name} {unfit}: make the change in its own template (spec.instructions.patch)"
            raise ChangeRefused(ConditionReason.OWNER_STACK_UNFIT, message, retryable=False)

    def _unfit(self, stack: Stack, logical_id: str, ours: str) -> Iterator[str]:
        if stack.parent:
            yield "is nested in another stack"
        if stack.name.startswith("StackSet-"):
            yield "belongs to a stack set"
        body = self.stacks.template(stack.id)
        document = document_of(body)
        yield from unfit_template(document, body)
        foreign = [name for name in self.stacks.change_sets(stack.id) if name != ours]
        if foreign:
            yield f"has a change set that waits ({foreign[0]}), which an update would delete"
        drift = self.stacks.drift(stack.id, logical_id)
        if drift != "IN_SYNC":
            known = {"MODIFIED": "was changed by hand", "DELETED": "is gone"}
            yield f"holds {logical_id}, which {known.get(drift, 'cannot be compared with its template')}"


def unfit_template(document: Document, body: str) -> Iterator[str]:
    """Why a template may not be sent again by others than its owner: what made it would make it anew, or its values
    may have changed since."""
    if document.get("Transform") or "Fn::Transform" in body:
        yield "is made by a transform"
    for resource in document["Resources"].values():
        metadata = resource.get("Metadata") or {}
        if resource["Type"] == "AWS::CDK::Metadata" or "aws:cdk:path" in metadata:
            yield "is made by the AWS CDK, whose next deployment would revert it"
        if "SamResourceId" in metadata:
            yield "is made by AWS SAM, whose next deployment would revert it"
    for service, reference in _REFERENCE.findall(body):
        if not _versioned(service, reference):
            yield f"resolves {service}:{reference} without a version, which may be another value by now"


def _versioned(service: str, reference: str) -> bool:
    parts = reference.split(":")
    if service == "secretsmanager":
        arn = reference.startswith("arn:")
        rest = parts[7:] if arn else parts[1:]
        return len(rest) >= 4 and bool(rest[3])
    return len(parts) > 1 and parts[-1].isdigit()
