"""Documented calls for what CloudFormation cannot do: the prior value recorded first, read again right before.

A step is one call that sets one value. Where it stands is told by the value: the prior one, the wanted one, or one that
somebody else set, which is never overwritten. So a process that dies between call and status makes no second call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from passmuster.api.conditions import ConditionReason
from passmuster.api.fields import written
from passmuster.api.remediation import State
from passmuster.aws.stacks import Stacks
from passmuster.aws.steps import Steps
from passmuster.engine.life import WAITING, Life, rarer
from passmuster.engine.ways import recording
from passmuster.engine.ways.course import LastLook
from passmuster.engine.ways.resource import demand_free
from passmuster.model.errors import ChangeFailed
from passmuster.remediation.definition import PRIOR, ApiStep, Operation
from passmuster.remediation.desired import same
from passmuster.remediation.rendering import Proposal
from passmuster.remediation.wording import filled

LONGEST = 3600.0
"""Seconds between two looks at a value that AWS takes days to set; each look at Cost Explorer is billed."""


@dataclass(slots=True)
class ApiSteps:
    """See `course.Course`."""

    life: Life
    steps: Steps
    stacks: Stacks

    def prepare(self, proposal: Proposal) -> float | None:
        """Reads and records what is there, and is ready; nothing is called yet."""
        life = self.life
        if proposal.desired is not None:
            demand_free(self.stacks, proposal.desired)
        recorded = []
        for step in proposal.api:
            value, ready = self.steps.value(step)
            if not ready and not same(value, step.wanted):
                return self._busy()
            recorded.append(recording.of_step(step, value, needed=not same(value, step.wanted)))
        life.status["attempt"] = life.attempt
        life.status["steps"] = recorded
        life.note_before()
        life.enter(State.CHANGE_SET_READY, ConditionReason.CHANGE_SET_READY, "What is there now was read and recorded")
        return 0.0

    def proceed(self, look: LastLook) -> float | None:
        """The first step whose value is not there yet; a call is made after the last look, and once."""
        for number, noted in enumerate(self._noted()):
            step, prior = recording.step_in(noted), recording.prior_in(noted)
            if noted.get("needed") is False:
                continue
            value, ready = self.steps.value(step)
            if same(value, step.wanted):
                if not noted.get("madeAt"):
                    self.life.note_step(number, madeAt=written(self.life.clock()))
                continue
            if not same(value, prior):
                return self._changed_meanwhile(step, value)
            if noted.get("madeAt"):
                return self._awaited(ready=ready)
            if not ready:
                return self._busy()
            return self._call(number, step, prior, look)
        self.life.made()
        return 0.0

    def _call(self, number: int, step: ApiStep, prior: Any, look: LastLook) -> float | None:
        life = self.life
        seen = look(lambda: None)
        if not seen.go:
            return seen.wait
        value, ready = self.steps.value(step)
        if not ready or not same(value, prior):
            return 0.0
        message = f"AWS is asked to change it: {step.change.service}:{step.change.operation}"
        life.enter(State.EXECUTING, ConditionReason.EXECUTING, message)
        life.save()
        self.steps.call(step.change)
        life.note_step(number, madeAt=written(life.clock()))
        life.save()
        return 0.0

    def _busy(self) -> float:
        message = "The resource is being changed by somebody: it is waited for"
        self.life.wait(ConditionReason.AWAITING_RESOURCE, message)
        return WAITING

    def _awaited(self, *, ready: bool) -> float | None:
        """The call was taken and the value is not there yet."""
        life = self.life
        definition = life.definition
        since = life.entered(State.EXECUTING) or life.clock()
        if ready and definition is not None and life.clock() > since + definition.settles:
            raise ChangeFailed(
                ConditionReason.STILL_FAILING, "AWS took the call, but the value did not change within its time"
            )
        life.wait(ConditionReason.EXECUTING, "AWS took the call; its value is awaited")
        return self._pace(since)

    def _pace(self, since: datetime) -> float:
        """Seconds until the next look at a value that was asked for then."""
        return rarer(self.life.clock() - since, LONGEST)

    def _changed_meanwhile(self, step: ApiStep, value: Any) -> float | None:
        life = self.life
        if any(one.get("madeAt") for one in self._noted()):
            raise ChangeFailed(
                ConditionReason.VALUE_CHANGED,
                f"Somebody else set what {step.change.service}:{step.change.operation} sets ({_shown(value)}); it is "
                "left as it is",
            )
        message = f"Somebody set another value meanwhile ({_shown(value)}); nothing was done"
        life.start_over(State.PROPOSED, ConditionReason.VALUE_CHANGED, message)
        return WAITING

    def withdraw(self) -> float | None:
        """Nothing is prepared in AWS."""
        self.life.status["steps"] = []
        return None

    def undoable(self) -> bool:
        return bool(self._standing())

    def undo_refusal(self) -> tuple[str, str] | None:
        for _, noted in self._standing():
            step = recording.step_in(noted)
            value, _ = self.steps.value(step)
            if not same(value, step.wanted) and not same(value, recording.prior_in(noted)):
                return ConditionReason.VALUE_CHANGED, _foreign(value)
        return None

    def undo(self) -> float | None:
        """The inverse calls, last step first, each only while the value is still ours."""
        life = self.life
        for number, noted in reversed(self._standing()):
            step, prior = recording.step_in(noted), recording.prior_in(noted)
            value, ready = self.steps.value(step)
            if same(value, prior):
                life.note_step(number, undoneAt=written(life.clock()))
                continue
            if not same(value, step.wanted):
                raise ChangeFailed(ConditionReason.VALUE_CHANGED, _foreign(value))
            if not ready:
                return self._busy()
            called_at = noted.get("undoCalledAt")
            if not called_at:
                self.steps.call(_inverse(step, prior))
                life.note_step(number, undoCalledAt=written(life.clock()))
                life.save()
                return 0.0
            return self._pace(datetime.fromisoformat(called_at))
        life.undone("What was there before is set again")
        return None

    def departure(self) -> str | None:
        return None

    def resolved(self) -> bool:
        return True

    def _noted(self) -> list[Mapping[str, Any]]:
        return list(self.life.status.get("steps") or ())

    def _standing(self) -> list[tuple[int, Mapping[str, Any]]]:
        """The steps that were made and not taken back, with their number."""
        return [
            (number, noted)
            for number, noted in enumerate(self._noted())
            if noted.get("madeAt") and not noted.get("undoneAt")
        ]


def _inverse(step: ApiStep, prior: Any) -> Operation:
    operation = step.undo if prior is not None or step.undo_absent is None else step.undo_absent
    return Operation(
        operation.service, operation.operation, filled(operation.arguments, {PRIOR: prior}), operation.actions
    )


def _foreign(value: Any) -> str:
    """Why a step is not taken back."""
    return f"Somebody set another value since ({_shown(value)}), which is not ours to take back: set it by hand"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 200 else f"{text[:200]}..."
