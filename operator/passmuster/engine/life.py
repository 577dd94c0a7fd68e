"""One remediation during one step: its object, what a step may look at, and how its status is written.

`engine.remediate` decides what happens next, `engine.ways` does it; both write down what they do through `Life`, which
saves once at the end of a step and before every effect in AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from passmuster.api.conditions import (
    Condition,
    ConditionReason,
    ConditionType,
    conditions_document,
    says,
    set_condition,
)
from passmuster.api.fields import written
from passmuster.api.remediation import Remediation, RemediationStatus, State
from passmuster.assess.plan import Step
from passmuster.aws.stacks import MADE_AS, MADE_FOR, OWNED_BY_CLUSTER, OWNED_BY_POLICY, Stack, Stacks, made_by
from passmuster.aws.steps import Steps
from passmuster.engine.documents import merge_patch, sentence
from passmuster.engine.ports import REMEDIATIONS, Cluster, Key, Object
from passmuster.engine.tenancy import Governed
from passmuster.model.errors import ChangeRefused
from passmuster.model.report import Report
from passmuster.model.verdict import Status
from passmuster.remediation.definition import Definition
from passmuster.remediation.rendering import Proposal


class StackStuck(ChangeRefused):
    """A stack is in a state that only a person can resolve; the message says which and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(ConditionReason.STACK_FAILED, message, retryable=False)


BEFORE = frozenset({State.PROPOSED, State.AWAITING_APPROVAL, State.SCHEDULED, State.BLOCKED})
"""States in which nothing was done in AWS."""

UNDER_WAY = frozenset({State.CHANGE_SET_READY, State.EXECUTING, State.SETTLING, State.VERIFYING, State.UNDOING})
"""States in which AWS is, or was just, at work."""

_SUCCESS = frozenset({State.APPLIED, State.UNDONE, State.SUPERSEDED})
_TROUBLE = frozenset({State.BLOCKED, State.ROLLED_BACK, State.FAILED})

SOON = 2.0
WAITING = 30.0
MOST_HISTORY = 50


def rarer(waited: timedelta, longest: float) -> float:
    """Seconds until another look at what was waited for so long: soon at first, then the rarer the longer it takes."""
    return max(SOON, min(longest, waited.total_seconds() / 4))


@dataclass(slots=True)
class Situation:
    """What a step may look at. `refresh` inspects the fixed checks again and replaces `report` and `steps`; what AWS
    bills is read again only where the answer is older than the time it is given.

    `others` reads the remediations of the same policy and account; `stacks` and `api` give AWS in a region as the
    remediation role, None without one; `hold` sees to it that the policy does not go before its stacks, where it says
    so; `as_governed` reads policy and account again and says whether they still are what the step goes by; `inspected`
    says that the report is of this turn.
    """

    governed: Governed
    cluster_uid: str
    report: Report
    steps: Mapping[str, Step]
    others: Callable[[], Sequence[Remediation]]
    stacks: Callable[[str], Stacks | None]
    api: Callable[[str], Steps | None]
    definition: Callable[[str], Definition | None]
    refresh: Callable[[Sequence[str], datetime | None], tuple[Report, Mapping[str, Step]]]
    hold: Callable[[], None]
    as_governed: Callable[[], bool]
    inspected: bool = False

    def look_again(self, checks: Sequence[str], changed_at: datetime | None = None) -> None:
        """A fresh inspection of what these checks read; of what AWS bills, only what was read before the change."""
        self.report, self.steps = self.refresh(checks, changed_at)


class Life:
    """One remediation during one step. Writes its status through `save`, once or before every effect."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime], body: Object, situation: Situation) -> None:
        self.cluster = cluster
        self.clock = clock
        self.situation = situation
        self.object = Remediation.read(body)
        self.key = Key.of(REMEDIATIONS, body)
        self._body = body
        self._stored: Mapping[str, Any] = body.get("status") or {}
        self.status: dict[str, Any] = dict(self._stored)
        self._conditions: list[Condition] = list(self.object.status.conditions)

    @property
    def state(self) -> State:
        """Where it stands now, written or not."""
        return State(self.status.get("state", State.PROPOSED))

    @property
    def digest(self) -> str:
        """The digest of the present intent."""
        return self.object.spec.intent.digest

    @property
    def attempt(self) -> int:
        """Which try of the present intent this is, from 1."""
        return int(self.status.get("attempt") or 1)

    @property
    def token(self) -> str:
        """What names the present attempt in AWS."""
        return token_of(self.digest, self.attempt)

    @property
    def definition(self) -> Definition | None:
        """The remediation of the catalogue, None if this version has it no more."""
        return self.situation.definition(self.object.spec.remediation)

    @property
    def pays_for_proof(self) -> bool:
        """Whether the approved price holds requests that AWS bills, by which the change is proved."""
        return self.object.spec.cost.once > 0

    def tags(self, proposal: Proposal) -> dict[str, str]:
        """The tags of a stack that this change makes, by which it is known to be ours."""
        return {
            **proposal.tags,
            OWNED_BY_POLICY: self.situation.governed.policy.metadata.uid or "",
            OWNED_BY_CLUSTER: self.situation.cluster_uid,
            MADE_FOR: proposal.name[-128:],
            MADE_AS: proposal.digest,
        }

    def owns(self, stack: Stack) -> bool:
        """Whether the stack was made by this policy of this cluster."""
        return made_by(stack.tags, self.situation.governed.policy.metadata.uid or "", self.situation.cluster_uid)

    def note_stack(self, stack: Stack) -> None:
        """Writes down a stack as AWS describes it."""
        self.status["stack"] = {"name": stack.name, "id": stack.id, "status": stack.status}

    def stack_name(self) -> str:
        """The id of the stack of the change where it is known, else its name; "" where there is none."""
        known = self.status.get("stack") or {}
        return str(known.get("id") or known.get("name") or "")

    def note_step(self, number: int, **members: Any) -> None:
        """Writes members of one of the change's steps down."""
        noted = [dict(step) for step in self.status.get("steps") or ()]
        noted[number] |= members
        self.status["steps"] = noted

    def note_before(self) -> None:
        """Writes down how the account stands before the change, to judge it by afterwards."""
        report = self.situation.report
        unjudged = sorted(r.id for r in report.checks if r.status is Status.NOT_APPLICABLE and not r.disabled)
        self.status["before"] = {**standing(report), "failing": list(failing(report)), "notApplicable": unjudged}

    def note_change_set(self) -> None:
        """Writes down, before AWS is asked for the change set of the present attempt, that it will be."""
        self.status["attempt"] = self.attempt
        self.status["changeSet"] = {"name": self.token}
        self.note_before()
        self.wait(ConditionReason.APPROVED, "The change set is being made")
        self.save()

    def next_attempt(self) -> None:
        """Forgets what was prepared; the next attempt has names and tokens of its own."""
        self.status["attempt"] = self.attempt + 1
        self.status["stack"] = self.status["changeSet"] = None
        self.status["steps"] = []

    def start_over(self, state: State, reason: str, message: str) -> None:
        """Back to before anything was done."""
        self.next_attempt()
        self.enter(state, reason, message)

    def made(self) -> None:
        """AWS has made the change: from here on its checks are judged until they pass."""
        definition = self.definition
        if definition is not None:
            self.status["settlesUntil"] = written(self.clock() + definition.settles)
            self.status["waitsFor"] = definition.waits_for.value
        message = "The change is made; its checks are judged until they pass"
        self.enter(State.SETTLING, ConditionReason.SETTLING, message)

    def undone(self, message: str) -> None:
        """AWS has taken the change back."""
        self.situation.look_again(self.object.spec.fixes, self.clock() if self.pays_for_proof else None)
        self.status["after"] = standing(self.situation.report)
        self.enter(State.UNDONE, ConditionReason.UNDONE, message)

    def enter(self, state: State, reason: str, message: str, by: Sequence[str] = ()) -> None:
        """A new state, with its condition and a line of history; the same state again only renews the condition."""
        now = self.clock()
        if self.status.get("state") != state.value:
            entry: dict[str, Any] = {"state": state.value, "at": written(now)}
            if by:
                entry["by"] = list(by)
            if state in _TROUBLE:
                entry["message"] = message
            self.status["state"] = state.value
            self.status["history"] = [*(self.status.get("history") or ()), entry][-MOST_HISTORY:]
            self.event(reason, message, warning=state in _TROUBLE)
        self._say(state, reason, message)

    def wait(self, reason: str, message: str, *, stalled: bool = False) -> None:
        """The state stays; why it does not go on is said."""
        self._say(self.state, reason, message, stalled=stalled)

    def event(self, reason: str, message: str, *, warning: bool) -> None:
        """An event about the remediation."""
        self.cluster.event(self._body, kind="Remediation", reason=reason, message=message, warning=warning)

    def put(self, kind: ConditionType, holds: bool, reason: str, message: str) -> bool:
        """Sets a condition beside those of the state; whether its status changed."""
        before = {c.type: c.status for c in self._conditions}
        generation = self.object.metadata.generation or 1
        self._conditions = set_condition(
            self._conditions, kind, holds, reason, sentence(message), generation, self.clock()
        )
        return before.get(kind) != {c.type: c.status for c in self._conditions}.get(kind)

    def says(self, reason: ConditionReason) -> bool:
        """Whether a condition is there for this reason."""
        return says(self._conditions, reason)

    def holds(self, kind: ConditionType) -> bool:
        """Whether a condition is True."""
        return any(c.type is kind and c.status == "True" for c in self._conditions)

    def entered(self, state: State) -> datetime | None:
        """When it last came into a state."""
        for entry in reversed(self.status.get("history") or ()):
            if entry["state"] == state.value:
                return datetime.fromisoformat(entry["at"])
        return None

    def read_again(self) -> bool:
        """The object as the API server has it now; False if it is gone."""
        fresh = self.cluster.get(self.key)
        if fresh is None:
            return False
        self.object = Remediation.read(fresh)
        return True

    def save(self) -> None:
        """Writes what changed; nothing changed, nothing is written. All of it speaks of the object as it was read.

        Nor is anything written by a process that lost the lease meanwhile: who leads may have gone further since, and
        the record of that is not to be written over.
        """
        generation = self.object.metadata.generation or 1
        self._conditions = [c.model_copy(update={"observed_generation": generation}) for c in self._conditions]
        self.status["observedGeneration"] = generation
        self.status["conditions"] = conditions_document(self._conditions)
        status = RemediationStatus.model_validate(self.status).body()
        patch = merge_patch(self._stored, status)
        if not patch or not self.cluster.leading():
            return
        self.cluster.patch_status(self.key, patch)
        self._stored = status

    def _say(self, state: State, reason: str, message: str, *, stalled: bool = False) -> None:
        trouble = stalled or state in _TROUBLE
        self.put(ConditionType.READY, state in _SUCCESS and not trouble, reason, message)
        at_work = state in UNDER_WAY and not trouble
        self.put(ConditionType.RECONCILING, at_work, reason, message)
        self.put(ConditionType.STALLED, trouble, reason, message)


def token_of(digest: str, what: object) -> str:
    """What names in AWS something that is done for an intent, so that it has one effect."""
    return f"passmuster-{digest[7:17]}-{what}"


def standing(report: Report) -> dict[str, Any]:
    """Level and score of the account."""
    return {"level": report.level, "score": report.score}


def failing(report: Report) -> tuple[str, ...]:
    """The checks that fail, sorted."""
    return tuple(sorted(r.id for r in report.checks if r.status is Status.FAIL and not r.disabled))
