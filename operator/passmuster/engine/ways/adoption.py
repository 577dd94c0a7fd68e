"""A resource that nobody owns, imported into a stack of ours as it is and then updated there.

One approval covers both change sets. The stack's own template remembers what was there before, so that an undo puts it
back even if our memory is lost; then the stack is deleted, and the resource stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from passmuster.api.conditions import ConditionReason
from passmuster.api.fields import written
from passmuster.api.remediation import State
from passmuster.aws.stacks import MADE_AS, MADE_FOR, ChangeSet, Import, Intent, Stack, Stacks
from passmuster.engine.life import SOON, Life, StackStuck
from passmuster.engine.ways import own_stack, recording
from passmuster.engine.ways.course import LastLook
from passmuster.engine.ways.resource import demand_free, demanded
from passmuster.engine.ways.updating import STABLE, Stands, Update, document_of, execute, stands
from passmuster.model.errors import ChangeFailed, ChangeRefused
from passmuster.remediation import adoption, desired
from passmuster.remediation.adoption import LOGICAL_ID
from passmuster.remediation.definition import Desired
from passmuster.remediation.rendering import Proposal

DEPARTED = frozenset({"MODIFIED", "DELETED"})
"""Drift of a resource that is not as its template says."""


@dataclass(slots=True)
class Adoption:
    """See `course.Course`."""

    life: Life
    stacks: Stacks

    def prepare(self, proposal: Proposal) -> float | None:
        life = self.life
        wanted = demanded(proposal.desired)
        stack = self._stack(proposal.stack)
        if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
            return self._existing(stack, wanted)
        model = self._model(wanted)
        found = self.stacks.change_set(proposal.stack, life.token) if stack is not None else None
        if found is None:
            demand_free(self.stacks, wanted)
            prior = desired.prior_of(model, wanted.properties)
            life.status["stack"] = {"name": proposal.stack}
            life.status["steps"] = [recording.of_desired(wanted, prior)]
            life.note_change_set()
            self.stacks.create_change_set(self._intent(proposal, wanted, model, prior))
            return SOON
        if not own_stack.is_made(life, found):
            return SOON
        self._demand_equal(proposal.stack, wanted, model, found)
        message = "The change set was read back and imports exactly the resource as it is; its update follows"
        own_stack.ready(life, proposal.stack, found, message)
        return 0.0

    def _existing(self, stack: Stack, wanted: Desired) -> float:
        """A stack that is there already under our name: of an attempt that was not written down, or that failed."""
        life = self.life
        own_stack.demand_ours(life, stack)
        life.note_stack(stack)
        if stack.busy:
            return SOON
        if stack.status in own_stack.ROLLED_BACK:
            self.stacks.delete(stack.name, f"{life.token}-clear")
            return SOON
        if stack.tags.get(MADE_AS) == life.digest and stack.status in STABLE:
            if not life.status.get("steps"):
                prior = self._note(stack)["Prior"]
                life.status["steps"] = [recording.of_desired(wanted, prior)]
            life.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS makes the change")
            return 0.0
        raise own_stack.other_intent(stack)

    def _stack(self, name: str) -> Stack | None:
        """The stack, with what its template notes in place of its tags."""
        stack = self.stacks.stack(name)
        if stack is None or stack.status in ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE"):
            return stack
        return replace(stack, tags=self._note(stack).get("Tags", {}))

    def _note(self, stack: Stack) -> Mapping[str, Any]:
        return _note_of(self.stacks, stack)

    def _model(self, wanted: Desired) -> dict[str, Any]:
        """The resource as AWS describes it right now. Raises ChangeRefused where it may not be adopted."""
        model = self.stacks.model(wanted.type, wanted.model or wanted.identifier)
        if model is None:
            message = f"The resource {wanted.identifier} does not exist any more"
            raise ChangeRefused(ConditionReason.VALUE_CHANGED, message)
        said = adoption.refusal(wanted.type, model)
        if said is not None:
            message = f"The resource {wanted.identifier} is not adopted: {said}"
            raise ChangeRefused(ConditionReason.ADOPTION_REFUSED, message, retryable=False)
        return adoption.described(wanted.type, model)

    def _intent(self, proposal: Proposal, wanted: Desired, model: dict[str, Any], prior: dict[str, Any]) -> Intent:
        note = {"Prior": prior, "Tags": self.life.tags(proposal)}
        document = adoption.template(wanted.type, model, note, proposal.definition.title)
        identifiers = adoption.identifiers(wanted.type, wanted.model or wanted.identifier)
        return Intent(
            stack=proposal.stack,
            change_set=self.life.token,
            token=self.life.token,
            template=json.dumps(document, indent=1, sort_keys=True),
            parameters={},
            tags={},
            capabilities=(),
            description=proposal.definition.title,
            kind="IMPORT",
            imports=(Import(wanted.type, LOGICAL_ID, identifiers),),
        )

    def _demand_equal(self, stack: str, wanted: Desired, model: dict[str, Any], found: ChangeSet) -> None:
        """The import must take exactly this resource, described as it is at this moment."""
        changes = [(c.action, c.logical_id, c.type) for c in found.changes]
        document = document_of(self.stacks.template(stack, self.life.token))
        held = document["Resources"].get(LOGICAL_ID, {}).get("Properties", {})
        if changes == [("Import", LOGICAL_ID, wanted.type)] and desired.alike(held, model):
            return
        self.stacks.delete_change_set(stack, self.life.token)
        if not desired.alike(held, model):
            self.life.status["attempt"] = self.life.attempt + 1
            message = f"The resource {wanted.identifier} was changed while its import was prepared; it is prepared anew"
            raise ChangeRefused(ConditionReason.VALUE_CHANGED, message)
        raise ChangeFailed(
            ConditionReason.WOULD_CHANGE_MORE, "The change set does not import the resource and nothing else"
        )

    def proceed(self, look: LastLook) -> float | None:
        life = self.life
        stack = self._stack(life.stack_name())
        if stack is not None and stack.status == "REVIEW_IN_PROGRESS":
            return own_stack.begin(life, self.stacks, look)
        if life.state is State.CHANGE_SET_READY and (stack is None or stack.status == "DELETE_COMPLETE"):
            life.start_over(State.PROPOSED, ConditionReason.PROPOSED, "The change set is gone; nothing was done")
            return 0.0
        life.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS makes the change")
        if stack is None or stack.status == "DELETE_COMPLETE" or stack.status in own_stack.ROLLED_BACK:
            own_stack.rolled_back(life, self.stacks, stack)
            return None
        life.note_stack(stack)
        if stack.busy:
            return SOON
        return self._update(stack)

    def _update(self, stack: Stack) -> float | None:
        """The second change set, which the same approval covers: it follows the import at once.

        But only where the template says what is there: else the update could reset what nobody meant, and later an undo
        could not tell what somebody changed since.
        """
        life = self.life
        wanted = recording.desired_in(life.status["steps"][0])
        update = Update.to(wanted, LOGICAL_ID, f"{life.token}-update", life.object.spec.remediation)
        if stack.status == "IMPORT_COMPLETE" and self.stacks.change_set(stack.id, update.name) is None:
            drift = self.stacks.drift(stack.id, LOGICAL_ID)
            if drift in DEPARTED:
                message = (
                    f"CloudFormation finds the resource {drift.lower()} right after its import: it was released as it "
                    "is, and nothing was changed. Where that comes again, follow spec.instructions"
                )
                own_stack.given_up(life, self.stacks, stack, ConditionReason.VALUE_CHANGED, message)
                return None
        where = stands(self.stacks, stack, update, make=True)
        if where is Stands.READY:
            execute(self.stacks, stack, update)
            return SOON
        if where is Stands.ROLLED_BACK:
            own_stack.rolled_back(life, self.stacks, stack)
            return None
        if where is Stands.DONE:
            life.note_step(0, madeAt=written(life.clock()))
            life.made()
            return 0.0
        return SOON

    def withdraw(self) -> float | None:
        life = self.life
        if not life.stack_name():
            life.status["steps"] = []
            return None
        stack = self._stack(life.stack_name())
        ours = stack is not None and life.owns(stack) and stack.tags.get(MADE_AS) == life.digest
        if stack is not None and ours and stack.status in STABLE and life.status.get("steps"):
            life.note_stack(stack)
            life.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS makes the change")
            return 0.0
        return own_stack.withdraw(life, self.stacks, stack)

    def undoable(self) -> bool:
        return bool(self.life.status.get("stack"))

    def undo_refusal(self) -> tuple[str, str] | None:
        stack = self._stack(self.life.stack_name())
        if stack is None or stack.status not in STABLE:
            return None
        if self.stacks.drift(stack.id, LOGICAL_ID) == "MODIFIED":
            return (
                ConditionReason.VALUE_CHANGED,
                f"Somebody changed the resource since, which an undo would overwrite: delete the stack {stack.name} to "
                "release the resource as it is",
            )
        return None

    def undo(self) -> float | None:
        life = self.life
        stack = self._stack(life.stack_name())
        if stack is None or stack.status == "DELETE_COMPLETE":
            life.status["stack"] = {**life.status["stack"], "status": "DELETE_COMPLETE"}
            if life.status.get("steps"):
                life.note_step(0, undoneAt=written(life.clock()))
            life.undone("What was there before is put back, and the resource is nobody's again")
            return None
        own_stack.demand_ours(life, stack)
        life.note_stack(stack)
        if stack.busy:
            return SOON
        if stack.status not in STABLE:
            return own_stack.delete(life, self.stacks, stack)
        update = Update.back(self._note(stack)["Prior"], LOGICAL_ID, f"{life.token}-undo")
        where = stands(self.stacks, stack, update, make=True)
        if where is Stands.DONE:
            return own_stack.delete(life, self.stacks, stack)
        if where is Stands.READY:
            execute(self.stacks, stack, update)
        if where is Stands.ROLLED_BACK:
            why = own_stack.why(self.stacks, stack)
            raise StackStuck(f"AWS rolled the undo back: {why}. Undo it in CloudFormation")
        return SOON

    def departure(self) -> str | None:
        return own_stack.departure(self.life, self._stack(self.life.stack_name()))

    def resolved(self) -> bool:
        return own_stack.resolved(self.life, self.stacks)


def tags_of(stacks: Stacks, stack: Stack) -> Mapping[str, str]:
    """What says for whom a stack was made: its tags, or what the template of an adoption notes in place of them."""
    if MADE_FOR in stack.tags:
        return stack.tags
    noted: Mapping[str, str] = _note_of(stacks, stack).get("Tags", {})
    return noted


def _note_of(stacks: Stacks, stack: Stack) -> Mapping[str, Any]:
    """What the template of an adoption notes; nothing in any other."""
    body = stacks.template(stack.id)
    return adoption.note_in(document_of(body)) if body else {}
