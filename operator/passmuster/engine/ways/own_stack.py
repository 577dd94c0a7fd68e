"""A stack of our own, from a change set that is all there is of it to its end: what additive stacks and adoption share.

What is done to a stack is written down before, and nothing is done to a stack that is not ours.
"""

from __future__ import annotations

from passmuster.api.conditions import ConditionReason
from passmuster.api.remediation import State
from passmuster.aws.stacks import MADE_AS, ChangeSet, Stack, Stacks
from passmuster.engine.life import SOON, Life, StackStuck
from passmuster.engine.ways.course import LastLook
from passmuster.model.errors import ChangeFailed, ChangeRefused

COMPLETE = ("CREATE_COMPLETE", "IMPORT_COMPLETE")
ROLLED_BACK = ("ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_COMPLETE")
"""The stack holds nothing of ours and can only be deleted."""


def is_made(life: Life, found: ChangeSet) -> bool:
    """Notes the change set; whether it is there to be read. Raises ChangeFailed where CloudFormation made none."""
    life.status["changeSet"] = {"name": life.token, "id": found.id, "status": found.status}
    if found.being_made:
        return False
    if found.status != "CREATE_COMPLETE":
        raise bad_change_set(found)
    return True


def ready(life: Life, name: str, found: ChangeSet, message: str) -> None:
    """The change set holds what was approved: the stack is this change set so far."""
    life.status["stack"] = {"name": name, "id": found.stack_id, "status": "REVIEW_IN_PROGRESS"}
    life.enter(State.CHANGE_SET_READY, ConditionReason.CHANGE_SET_READY, message)


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
    reasons = "; ".join(stacks.failures(life.stack_name())[:3]) or "AWS gave no reason"
    message = f"AWS took the change back, the account is as before: {reasons}"
    given_up(life, stacks, stack, ConditionReason.STACK_ROLLED_BACK, message)


def given_up(life: Life, stacks: Stacks, stack: Stack | None, reason: str, message: str) -> None:
    """This attempt is over and the account is as before; its stack goes, and another one needs a new approval."""
    identity, name = life.stack_name(), str(life.status["stack"]["name"])
    if stack is not None and stack.status != "DELETE_COMPLETE":
        stacks.delete(name, f"{life.token}-clear")
    life.status["stack"] = {"name": name, "id": identity, "status": "ROLLBACK_COMPLETE"}
    life.status["attempt"] = life.attempt + 1
    life.status["steps"] = []
    life.enter(State.ROLLED_BACK, reason, f"{message}. Approve it anew to try it again")


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
    life.next_attempt()
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


def other_intent(stack: Stack) -> ChangeRefused:
    """The error of a stack under our name that cannot be gone on with."""
    return ChangeRefused(
        ConditionReason.STACK_FAILED,
        f"The stack {stack.name} is {stack.status} and was made for another intent: delete it, or undo it first",
        retryable=False,
    )
