"""A stack of our own with new resources only; deleting it leaves the account as it was."""

from __future__ import annotations

from dataclasses import dataclass

from passmuster.api.conditions import ConditionReason
from passmuster.api.remediation import State, Way
from passmuster.aws.stacks import MADE_AS, ChangeSet, Intent, Stack, Stacks
from passmuster.engine.life import SOON, Life, StackStuck
from passmuster.engine.ways import own_stack
from passmuster.engine.ways.course import LastLook
from passmuster.model.errors import ChangeFailed
from passmuster.remediation.rendering import Proposal, digest_of


@dataclass(slots=True)
class Additive:
    """See `course.Course`."""

    life: Life
    stacks: Stacks

    def prepare(self, proposal: Proposal) -> float | None:
        life = self.life
        stack = self.stacks.stack(proposal.stack)
        if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
            return self._existing(stack)
        found = self.stacks.change_set(proposal.stack, life.token) if stack is not None else None
        if found is None:
            life.status["stack"] = {"name": proposal.stack}
            life.note_change_set()
            self.stacks.create_change_set(self._intent(proposal))
            return SOON
        if not own_stack.is_made(life, found):
            return SOON
        self._demand_equal(proposal, found)
        message = "The change set was read back and holds exactly what was approved"
        own_stack.ready(life, proposal.stack, found, message)
        return 0.0

    def _existing(self, stack: Stack) -> float:
        """What to do about a stack that is there already under our name."""
        life = self.life
        own_stack.demand_ours(life, stack)
        if stack.busy:
            life.note_stack(stack)
            return SOON
        if stack.status in own_stack.ROLLED_BACK:
            self.stacks.delete(stack.name, f"{life.token}-clear")
            return SOON
        if stack.tags.get(MADE_AS) == life.digest and stack.status in own_stack.COMPLETE:
            life.note_stack(stack)
            life.made()
            return 0.0
        raise own_stack.other_intent(stack)

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
            return own_stack.begin(life, self.stacks, look)
        if life.state is State.CHANGE_SET_READY and (stack is None or stack.status == "DELETE_COMPLETE"):
            life.start_over(State.PROPOSED, ConditionReason.PROPOSED, "The change set is gone; nothing was done")
            return 0.0
        life.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS makes the change")
        if stack is None or stack.status == "DELETE_COMPLETE":
            own_stack.rolled_back(life, self.stacks, stack)
            return None
        life.note_stack(stack)
        if stack.busy:
            return SOON
        if stack.status in own_stack.COMPLETE:
            life.made()
            return 0.0
        if stack.status in own_stack.ROLLED_BACK:
            own_stack.rolled_back(life, self.stacks, stack)
            return None
        why = own_stack.why(self.stacks, stack)
        raise StackStuck(f"The stack is {stack.status}: {why}. Resolve it in CloudFormation")

    def withdraw(self) -> float | None:
        name = self.life.stack_name()
        return own_stack.withdraw(self.life, self.stacks, self.stacks.stack(name)) if name else None

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
        return own_stack.delete(life, self.stacks, stack)

    def departure(self) -> str | None:
        stack = self.stacks.stack(self.life.stack_name())
        updated = stack is not None and stack.status in ("UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
        if stack is not None and updated and self.stacks.latest(stack.id) not in self._later_changes(stack):
            return f"the stack {stack.name} was updated by somebody else"
        return own_stack.departure(self.life, stack)

    def _later_changes(self, stack: Stack) -> frozenset[str]:
        """The tokens of this policy's own changes to what the stack holds, and of taking them back."""
        made = [
            str(other.status.change_set.name)
            for other in self.life.situation.others()
            if other.spec.way is Way.OWNER_STACK
            and other.status.change_set is not None
            and other.status.stack is not None
            and other.status.stack.id == stack.id
        ]
        return frozenset((*made, *(f"{token}-undo" for token in made)))

    def resolved(self) -> bool:
        return own_stack.resolved(self.life, self.stacks)
