"""A stack of our own with new resources only; deleting it leaves the account as it was."""

from __future__ import annotations

from dataclasses import dataclass

from passmuster.api.conditions import ConditionReason
from passmuster.api.remediation import State
from passmuster.aws.stacks import MADE_AS, ChangeSet, Intent, Stack, Stacks
from passmuster.engine.life import SOON, Life, StackStuck
from passmuster.engine.ways.course import LastLook
from passmuster.model.errors import ChangeFailed, ChangeRefused
from passmuster.remediation.rendering import Proposal, digest_of

COMPLETE = ("CREATE_COMPLETE", "IMPORT_COMPLETE")
ROLLED_BACK = ("ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_COMPLETE")
"""The stack holds nothing of ours and can only be deleted."""


@dataclass(slots=True)
class Additive:
    """See `course.Course`."""

    life: Life
    stacks: Stacks

    def prepare(self, proposal: Proposal) -> float | None:
        life = self.life
        stack = self.stacks.stack(proposal.stack)
        if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
            taken = self._existing(stack)
            if taken is not None:
                return taken
        found = self.stacks.change_set(proposal.stack, life.token) if stack is not None else None
        if found is None:
            life.status["attempt"] = life.attempt
            life.status["stack"] = {"name": proposal.stack}
            life.status["changeSet"] = {"name": life.token}
            life.note_before()
            life.wait(ConditionReason.APPROVED, "The change set is being made")
            life.save()
            self.stacks.create_change_set(self._intent(proposal))
            return SOON
        life.status["changeSet"] = {"name": life.token, "id": found.id, "status": found.status}
        if found.being_made:
            return SOON
        if found.status != "CREATE_COMPLETE":
            raise bad_change_set(found)
        self._demand_equal(proposal, found)
        life.status["stack"] = {"name": proposal.stack, "id": found.stack_id, "status": "REVIEW_IN_PROGRESS"}
        message = "The change set was read back and holds exactly what was approved"
        life.enter(State.CHANGE_SET_READY, ConditionReason.CHANGE_SET_READY, message)
        return 0.0

    def _existing(self, stack: Stack) -> float | None:
        """What to do about a stack that is there already under our name."""
        life = self.life
        demand_ours(life, stack)
        if stack.busy:
            life.note_stack(stack)
            return SOON
        if stack.status in ROLLED_BACK:
            self.stacks.delete(stack.name, f"{life.token}-clear")
            return SOON
        if stack.tags.get(MADE_AS) == life.digest and stack.status in COMPLETE:
            life.note_stack(stack)
            life.made()
            return 0.0
        raise ChangeRefused(
            ConditionReason.STACK_FAILED,
            f"The stack {stack.name} is {stack.status} and was made for another intent: delete it, or undo it first",
            retryable=False,
        )

    def _intent(self, proposal: Proposal) -> Intent:
        return Intent(
            stack=proposal.stack,
            change_set=self.life.token,
            token=self.life.token,
            template=proposal.body,
            parameters=proposal.parameters,
            tags=self.life.tags(proposal),
            capabilities=proposal.definition.capabilities,
            description=proposal.definition.title,
        )

    def _demand_equal(self, proposal: Proposal, found: ChangeSet) -> None:
        """The change set as AWS describes it must be the approved intent and nothing else."""
        intent = self.life.object.spec.intent
        announced = {line.split(" ")[2] for line in intent.changes}
        held = {change.logical_id for change in found.changes}
        foreign = [c for c in found.changes if c.action not in ("Add", "Import") or c.logical_id not in announced]
        differing = {k for k, v in proposal.parameters.items() if found.parameters.get(k) != v}
        body = self.stacks.template(proposal.stack, self.life.token)
        if foreign or held != announced or differing or digest_of(body) != intent.template:
            self.stacks.delete_change_set(proposal.stack, self.life.token)
            named = (
                ", ".join(sorted({c.logical_id for c in foreign} | (held ^ announced) | differing)) or "its template"
            )
            raise ChangeFailed(
                ConditionReason.WOULD_CHANGE_MORE, f"The change set is not what was approved; it differs in {named}"
            )

    def proceed(self, look: LastLook) -> float | None:
        life = self.life
        stack = self.stacks.stack(life.stack_name())
        if stack is not None and stack.status == "REVIEW_IN_PROGRESS":
            return begin(life, self.stacks, look)
        if life.state is State.CHANGE_SET_READY and (stack is None or stack.status == "DELETE_COMPLETE"):
            life.start_over(State.PROPOSED, ConditionReason.PROPOSED, "The change set is gone; nothing was done")
            return 0.0
        life.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS makes the change")
        if stack is None or stack.status == "DELETE_COMPLETE":
            rolled_back(life, self.stacks, stack)
            return None
        life.note_stack(stack)
        if stack.busy:
            return SOON
        if stack.status in COMPLETE:
            life.made()
            return 0.0
        if stack.status in ROLLED_BACK:
            rolled_back(life, self.stacks, stack)
            return None
        raise StackStuck(f"The stack is {stack.status}: {why(self.stacks, stack)}. Resolve it in CloudFormation")

    def withdraw(self) -> float | None:
        name = self.life.stack_name()
        return withdraw(self.life, self.stacks, self.stacks.stack(name)) if name else None

    def undoable(self) -> bool:
        return bool(self.life.status.get("stack"))

    def undo_refusal(self) -> tuple[str, str] | None:
        return None

    def undo(self) -> float | None:
        life = self.life
        stack = self.stacks.stack(life.stack_name())
        if stack is None or stack.status == "DELETE_COMPLETE":
            life.status["stack"] = {**life.status["stack"], "status": "DELETE_COMPLETE"}
            kept = [line for line in life.object.spec.intent.changes if "(kept on deletion)" in line]
            rest = f"; kept: {', '.join(line.split(' ')[2] for line in kept)}" if kept else ""
            life.undone(f"The stack is deleted{rest}")
            return None
        return delete(life, self.stacks, stack)

    def departure(self) -> str | None:
        stack = self.stacks.stack(self.life.stack_name())
        if stack is not None and stack.status in ("UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"):
            return f"the stack {stack.name} was updated by somebody else"
        return departure(self.life, stack)

    def resolved(self) -> bool:
        return resolved(self.life, self.stacks)


def begin(life: Life, stacks: Stacks, look: LastLook) -> float | None:
    """Executes a change set of a stack that is only a change set so far, after the last look.

    Also where a process died between writing that it begins and beginning: what was withdrawn since, counts.
    """
    name = str(life.status["stack"]["name"])
    if life.state is State.EXECUTING and _begun(life, stacks, name):
        return SOON
    seen = look(lambda: stacks.delete_change_set(name, life.token))
    if not seen.go:
        return seen.wait
    life.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS makes the change")
    life.save()
    stacks.execute(name, life.token, life.token)
    return SOON


def _begun(life: Life, stacks: Stacks, name: str) -> bool:
    """Whether AWS has taken the execution, although the stack does not show it yet."""
    found = stacks.change_set(name, life.token)
    if found is not None and found.execution in ("EXECUTE_FAILED", "OBSOLETE"):
        reason = found.reason or found.execution
        raise ChangeFailed(ConditionReason.CHANGE_SET_FAILED, f"AWS did not execute the change set: {reason}")
    return found is not None and found.execution in ("EXECUTE_IN_PROGRESS", "EXECUTE_COMPLETE")


def rolled_back(life: Life, stacks: Stacks, stack: Stack | None) -> None:
    """AWS took the change back by itself; the stack, which holds nothing any more, goes."""
    identity, name = life.stack_name(), str(life.status["stack"]["name"])
    reasons = "; ".join(stacks.failures(identity)[:3]) or "AWS gave no reason"
    if stack is not None and stack.status != "DELETE_COMPLETE":
        stacks.delete(name, f"{life.token}-clear")
    life.status["stack"] = {"name": name, "id": identity, "status": "ROLLBACK_COMPLETE"}
    life.status["attempt"] = life.attempt + 1
    message = f"AWS took the change back, the account is as before: {reasons}. Approve it anew to try it again"
    life.enter(State.ROLLED_BACK, ConditionReason.STACK_ROLLED_BACK, message)


def delete(life: Life, stacks: Stacks, stack: Stack) -> float | None:
    """Deletes a stack of ours once, and waits; one that AWS cannot delete is left to a person."""
    demand_ours(life, stack)
    life.note_stack(stack)
    if stack.status == "DELETE_FAILED":
        raise StackStuck(f"The stack could not be deleted: {why(stacks, stack)}. Delete it in CloudFormation")
    if not stack.busy:
        stacks.delete(stack.name, f"{life.token}-undo")
    return SOON


def withdraw(life: Life, stacks: Stacks, stack: Stack | None) -> float | None:
    """Of a step that is no longer planned: what was prepared goes, what was made unseen is gone on with."""
    made = stack is not None and (stack.busy or stack.status in COMPLETE)
    if stack is not None and life.owns(stack) and stack.tags.get(MADE_AS) == life.digest and made:
        life.note_stack(stack)
        life.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS makes the change")
        return 0.0
    if stack is not None and stack.status != "DELETE_COMPLETE":
        if stack.status != "REVIEW_IN_PROGRESS":
            return None
        stacks.delete_change_set(stack.name, life.token)
    life.status["attempt"] = life.attempt + 1
    life.status["stack"] = life.status["changeSet"] = None
    return 0.0


def departure(life: Life, stack: Stack | None) -> str | None:
    """What happened to a stack of ours since it was made."""
    name = str((life.status.get("stack") or {}).get("name", ""))
    if stack is None or stack.status.startswith("DELETE_"):
        return f"the stack {name} was deleted by somebody else"
    if not life.owns(stack) or stack.tags.get(MADE_AS) != life.digest:
        return f"the stack {name} was changed by somebody else"
    return None


def resolved(life: Life, stacks: Stacks) -> bool:
    """Whether a stack that was stuck is so no more."""
    stack = stacks.stack(life.stack_name())
    return stack is None or not stack.status.endswith("_FAILED")


def demand_ours(life: Life, stack: Stack) -> None:
    """Raises ChangeRefused for a stack that is not of this policy and cluster."""
    if not life.owns(stack):
        raise ChangeRefused(
            ConditionReason.NOT_OURS,
            f"A stack {stack.name} exists that is not of this policy and cluster: rename or remove it",
            retryable=False,
        )


def why(stacks: Stacks, stack: Stack) -> str:
    """What CloudFormation says about a stack that failed."""
    return "; ".join(stacks.failures(stack.id)[:3]) or stack.reason or "CloudFormation gives no reason"


def bad_change_set(found: ChangeSet) -> ChangeFailed:
    """The error of a change set that CloudFormation did not make."""
    if "didn't contain changes" in found.reason or "No updates" in found.reason:
        return ChangeFailed(ConditionReason.CHANGE_SET_EMPTY, f"AWS sees nothing to change: {found.reason}")
    return ChangeFailed(ConditionReason.CHANGE_SET_FAILED, f"AWS made no change set: {found.reason}")
