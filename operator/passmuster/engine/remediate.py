"""The life of one remediation, step by step, from proposal to proof.

::

    Proposed > AwaitingApproval > Scheduled > ChangeSetReady > Executing > Settling > Verifying > Applied
        |______________|______________|              |             |           |                    |
              Blocked, Superseded          (intent changed)   RolledBack    Failed          Undoing > Undone

What a step decides is written before AWS is called, names and tokens are functions of the intent and the attempt, and
where a step begins is derived from what AWS describes: a process that dies anywhere is continued by the next one, and
no token has two effects. A change is applied when a fresh inspection says so, never because a stack is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from passmuster.api.approval import Action, approvers
from passmuster.api.conditions import Condition, ConditionReason, ConditionType, set_condition
from passmuster.api.fields import written
from passmuster.api.policy import Gating
from passmuster.api.remediation import Remediation, RemediationStatus, State
from passmuster.api.resource import EDITED_BY
from passmuster.assess.plan import Step
from passmuster.aws.stacks import (
    MADE_AS,
    MADE_FOR,
    OWNED_BY_CLUSTER,
    OWNED_BY_POLICY,
    ChangeSet,
    Intent,
    Stack,
    Stacks,
)
from passmuster.engine.documents import merge_patch
from passmuster.engine.ports import REMEDIATIONS, Cluster, Key, Object
from passmuster.engine.tenancy import Governed
from passmuster.engine.windows import open_now
from passmuster.model.errors import ChangeFailed, ChangeRefused, UserError
from passmuster.model.report import Report
from passmuster.model.verdict import Mode, level_order
from passmuster.remediation.definition import Definition
from passmuster.remediation.rendering import EXECUTABLE, Named, Proposal, awaited, digest_of, fixed

BEFORE = frozenset({State.PROPOSED, State.AWAITING_APPROVAL, State.SCHEDULED, State.BLOCKED})
"""States in which nothing was done in AWS."""

UNDER_WAY = frozenset({State.CHANGE_SET_READY, State.EXECUTING, State.SETTLING, State.VERIFYING, State.UNDOING})
"""States in which AWS is, or was just, at work."""

_STACK_AT_WORK = frozenset({State.CHANGE_SET_READY, State.EXECUTING, State.UNDOING})
_SUCCESS = frozenset({State.APPLIED, State.UNDONE, State.SUPERSEDED})
_TROUBLE = frozenset({State.BLOCKED, State.ROLLED_BACK, State.FAILED})

ROLE_GONE = "The account has no remediation role any more"
SOON = 2.0
WAITING = 30.0
MOST_HISTORY = 50


@dataclass(slots=True)
class Situation:
    """What a step may look at. `refresh` inspects the fixed checks again and replaces `report` and `steps`."""

    governed: Governed
    cluster_uid: str
    report: Report
    steps: Mapping[str, Step]
    others: Sequence[Remediation]
    stacks: Callable[[str], Stacks | None]
    definition: Callable[[str], Definition | None]
    refresh: Callable[[Proposal | None, Sequence[str]], tuple[Report, Mapping[str, Step]]]

    def look_again(self, checks: Sequence[str]) -> None:
        """A fresh inspection of what these checks read."""
        self.report, self.steps = self.refresh(None, checks)


class Remediator:
    """Takes remediations one step further. Stateless: everything is in the object and in AWS."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._clock = clock

    def step(self, body: Object, situation: Situation) -> float | None:
        """As far as it goes now; returns the seconds until another look is worth while, None if nothing is awaited."""
        life = _Life(self._cluster, self._clock, body, situation)
        try:
            return life.advance()
        except ChangeRefused as refused:
            life.wait(refused.reason, str(refused), stalled=not refused.retryable)
            return WAITING if refused.retryable else None
        except ChangeFailed as failed:
            if failed.retryable:
                life.wait(failed.reason, str(failed))
                return WAITING
            life.enter(State.FAILED, failed.reason, str(failed))
            return None
        finally:
            life.save()


class _Life:
    """One remediation during one step. Writes its status through `save`, once or before every effect."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime], body: Object, situation: Situation) -> None:
        self._cluster = cluster
        self._clock = clock
        self._body = body
        self._situation = situation
        self.object = Remediation.read(body)
        self.key = Key.of(REMEDIATIONS, body)
        self._stored: Mapping[str, Any] = body.get("status") or {}
        self._status: dict[str, Any] = dict(self._stored)
        self._conditions: list[Condition] = list(self.object.status.conditions)

    @property
    def state(self) -> State:
        return State(self._status.get("state", State.PROPOSED))

    @property
    def digest(self) -> str:
        return self.object.spec.intent.digest

    @property
    def _attempt(self) -> int:
        return int(self._status.get("attempt") or 1)

    @property
    def _token(self) -> str:
        return f"passmuster-{self.digest[7:17]}-{self._attempt}"

    def advance(self) -> float | None:
        if "state" not in self._status:
            self.enter(State.PROPOSED, ConditionReason.PROPOSED, "Proposed; nothing was changed")
        match self.state:
            case State.PROPOSED | State.AWAITING_APPROVAL | State.SCHEDULED | State.BLOCKED:
                return self._before()
            case State.CHANGE_SET_READY | State.EXECUTING:
                return self._execute()
            case State.SETTLING | State.VERIFYING:
                return self._settle()
            case State.UNDOING:
                return self._undo()
            case State.APPLIED | State.FAILED:
                return self._undo_if_asked()
            case State.ROLLED_BACK:
                return self._again_if_asked()
            case State.SUPERSEDED | State.UNDONE:
                return None

    # before anything is done

    def _before(self) -> float | None:
        step = self._situation.steps.get(self.object.metadata.name)
        spec = self.object.spec
        if step is None or step.proposal.digest != self.digest:
            return self._no_longer_planned()
        approved = self._summarize(Action.APPLY)
        proposal = step.proposal
        if proposal.blocked is not None:
            self.enter(State.BLOCKED, proposal.blocked.reason, _sentence(proposal.blocked.message))
            return None
        if proposal.definition.way not in EXECUTABLE:
            message = "This way is not carried out by the operator: follow its steps by hand"
            self.enter(State.BLOCKED, ConditionReason.NOT_EXECUTABLE, message)
            return None
        if len(approved) < self._needed:
            missing = self._needed - len(approved)
            noun = "approval is" if missing == 1 else "approvals are"
            message = f"{missing} more {noun} needed: passmuster approve {self.key.name} -n {self.key.namespace}"
            self.enter(State.AWAITING_APPROVAL, ConditionReason.AWAITING_APPROVAL, message)
            return None
        barred = self._barred()
        if barred is not None:
            self.enter(State.BLOCKED, *barred)
            return WAITING
        self.enter(
            State.SCHEDULED, ConditionReason.APPROVED, "Approved; it is carried out when its turn comes", by=approved
        )
        held = self._held_up(step)
        if held is not None:
            self.wait(*held)
            return WAITING
        self._demand_guard()
        stacks = self._situation.stacks(spec.region)
        if stacks is None:
            raise ChangeRefused(ConditionReason.REMEDIATION_ROLE_MISSING, ROLE_GONE)
        return self._make_change_set(stacks, proposal)

    @property
    def _needed(self) -> int:
        """Approvals that a change needs: in Propose at least one, in Apply as many as the account's owner says."""
        governed = self._situation.governed
        least = governed.account.spec.min_approvals
        return max(1, least) if governed.modes[self.object.spec.phase] is Mode.PROPOSE else least

    def _approvers(self, action: Action) -> tuple[str, ...]:
        editor = self._situation.governed.policy.metadata.annotations.get(EDITED_BY)
        return approvers(self.object.spec.approvals, self.digest, action, except_for=editor)

    def _summarize(self, action: Action) -> tuple[str, ...]:
        """The valid approvals; the summary that kubectl prints is kept with them."""
        approved = self._approvers(action)
        self._status["summary"] = {
            "cost": f"{self.object.spec.cost.monthly:.2f}",
            "approved": f"{len(approved)}/{self._needed}",
        }
        return approved

    def _no_longer_planned(self) -> float | None:
        """The plan has no such step: because this very change was made and not written down, or it is not needed.

        A change set that was made for it is withdrawn; then the object may be superseded.
        """
        known = self.object.status.stack
        stacks = self._situation.stacks(self.object.spec.region) if known is not None else None
        if known is None:
            return None
        stack = stacks.stack(known.id or known.name) if stacks is not None else None
        if stack is not None and self._ours(stack) and stack.tags.get(MADE_AS) == self.digest and self._made(stack):
            self._status["stack"] = {"name": stack.name, "id": stack.id, "status": stack.status}
            self.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS makes the change")
            return 0.0
        if stacks is not None and stack is not None and stack.status != "DELETE_COMPLETE":
            if stack.status != "REVIEW_IN_PROGRESS":
                return None
            stacks.delete_change_set(stack.name, self._token)
        self._status["attempt"] = self._attempt + 1
        self._status["stack"] = self._status["changeSet"] = None
        return 0.0

    @staticmethod
    def _made(stack: Stack) -> bool:
        return stack.busy or stack.status in ("CREATE_COMPLETE", "IMPORT_COMPLETE")

    def _barred(self) -> tuple[ConditionReason, str] | None:
        """Why an approved change cannot begin until somebody changes something, None if nothing is in its way."""
        governed, cost = self._situation.governed, self.object.spec.cost.monthly
        if governed.account.spec.remediation_role_arn is None:
            message = f"The AWSAccount {governed.account.metadata.name} has no remediationRoleArn: nothing is executed"
            return ConditionReason.REMEDIATION_ROLE_MISSING, message
        spent = sum(
            r.spec.cost.monthly for r in self._others if r.status.state in UNDER_WAY or r.status.state is State.APPLIED
        )
        cap = governed.policy.spec.remediation.max_monthly_cost
        if cap is not None and spent + cost > cap:
            message = (
                f"It adds ${cost:.2f} a month to the ${spent:.2f} of others, beyond the cap of "
                f"${cap:.2f}: raise spec.remediation.maxMonthlyCost or undo something"
            )
            return ConditionReason.COST_CAP_EXCEEDED, message
        return None

    def _held_up(self, step: Step) -> tuple[ConditionReason, str] | None:
        """Why an approved change does not begin now, None if it may."""
        rules = self._situation.governed.policy.spec.remediation
        unmet = awaited(step.proposal, {r.id: r for r in self._situation.report.checks})
        if unmet:
            return ConditionReason.AWAITING_REQUIREMENT, f"It waits until these checks pass: {', '.join(unmet)}"
        earlier = [r for r in self._others if self._comes_first(r)]
        if rules.gating is Gating.STRICT and earlier:
            return ConditionReason.AWAITING_PHASE, f"Gating is Strict: {earlier[0].metadata.name} comes first"
        if not self._in_window():
            return ConditionReason.OUTSIDE_WINDOW, "No window of the policy is open now"
        busy = [r for r in self._others if r.status.state in _STACK_AT_WORK and not self._yields(r)]
        if len(busy) >= rules.max_concurrent_stacks:
            return ConditionReason.AWAITING_TURN, f"{busy[0].metadata.name} is under way"
        return None

    def _in_window(self) -> bool:
        try:
            return open_now(self._situation.governed.policy.spec.remediation.windows, self._clock())
        except UserError as error:
            message = f"A window of the policy cannot be read: {error}"
            raise ChangeRefused(ConditionReason.INVALID_SPEC, message, retryable=False) from error

    @property
    def _others(self) -> list[Remediation]:
        return [r for r in self._situation.others if r.metadata.name != self.key.name]

    def _yields(self, other: Remediation) -> bool:
        """Of two that are ready at the same time one goes first, or each would wait for the other."""
        ready = self.state is other.status.state is State.CHANGE_SET_READY
        return ready and self.key.name < other.metadata.name

    def _comes_first(self, other: Remediation) -> bool:
        """Whether a remediation of an earlier phase is applicable and not yet done."""
        return (
            other.spec.phase.order < self.object.spec.phase.order
            and other.spec.way.value in {way.value for way in EXECUTABLE}
            and (other.status.state is None or other.status.state in BEFORE | UNDER_WAY)
            and other.status.state is not State.BLOCKED
        )

    def _demand_guard(self) -> None:
        """Raises ChangeRefused unless the approval policy is in force exactly as this version renders it."""
        fault = self._cluster.approvals_guarded()
        generation = self.object.metadata.generation or 1
        self._set(ConditionType.APPROVAL_POLICY_MISSING, fault is not None, fault or "", generation)
        if fault is not None:
            raise ChangeRefused(_guard_reason(fault), fault)

    def _set(self, kind: ConditionType, holds: bool, message: str, generation: int) -> None:
        self._conditions = set_condition(
            self._conditions,
            kind,
            holds,
            _guard_reason(message) if holds else ConditionReason.SUCCEEDED,
            message or "-",
            generation,
            self._clock(),
        )

    # making the change

    def _make_change_set(self, stacks: Stacks, proposal: Proposal) -> float | None:
        stack = stacks.stack(proposal.stack)
        if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
            taken = self._existing(stacks, stack)
            if taken is not None:
                return taken
        found = stacks.change_set(proposal.stack, self._token) if stack is not None else None
        if found is None:
            self._status["attempt"] = self._attempt
            self._status["stack"] = {"name": proposal.stack}
            self._status["changeSet"] = {"name": self._token}
            self._status["before"] = _standing(self._situation.report)
            self.wait(ConditionReason.APPROVED, "The change set is being made")
            self.save()
            stacks.create_change_set(self._intent(proposal))
            return SOON
        self._status["changeSet"] = {"name": self._token, "id": found.id, "status": found.status}
        if found.status in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            return SOON
        if found.status != "CREATE_COMPLETE":
            raise self._bad_change_set(found)
        self._demand_equal(stacks, proposal, found)
        self._status["stack"] = {"name": proposal.stack, "id": found.stack_id, "status": "REVIEW_IN_PROGRESS"}
        message = "The change set was read back and holds exactly what was approved"
        self.enter(State.CHANGE_SET_READY, ConditionReason.CHANGE_SET_READY, message)
        return 0.0

    def _existing(self, stacks: Stacks, stack: Stack) -> float | None:
        """What to do about a stack that is there already under our name."""
        if not self._ours(stack):
            raise ChangeRefused(
                ConditionReason.NOT_OURS,
                f"A stack {stack.name} exists that is not of this policy and cluster: rename or remove it",
                retryable=False,
            )
        if stack.busy:
            self._status["stack"] = {"name": stack.name, "id": stack.id, "status": stack.status}
            return SOON
        if stack.status == "ROLLBACK_COMPLETE":
            stacks.delete(stack.name, f"{self._token}-clear")
            return SOON
        if stack.tags.get(MADE_AS) == self.digest and stack.status in ("CREATE_COMPLETE", "IMPORT_COMPLETE"):
            self._complete(stack)
            return 0.0
        raise ChangeRefused(
            ConditionReason.STACK_FAILED,
            f"The stack {stack.name} is {stack.status} and was made for another intent: delete it, or undo it first",
            retryable=False,
        )

    def _ours(self, stack: Stack) -> bool:
        governed = self._situation.governed
        return (
            stack.tags.get(OWNED_BY_POLICY) == (governed.policy.metadata.uid or "")
            and stack.tags.get(OWNED_BY_CLUSTER) == self._situation.cluster_uid
        )

    def _intent(self, proposal: Proposal) -> Intent:
        tags = {
            **proposal.tags,
            OWNED_BY_POLICY: self._situation.governed.policy.metadata.uid or "",
            OWNED_BY_CLUSTER: self._situation.cluster_uid,
            MADE_FOR: proposal.name[-128:],
            MADE_AS: proposal.digest,
        }
        return Intent(
            stack=proposal.stack,
            change_set=self._token,
            token=self._token,
            template=proposal.body,
            parameters=proposal.parameters,
            tags=tags,
            capabilities=proposal.definition.capabilities,
            description=proposal.definition.title,
        )

    def _bad_change_set(self, found: ChangeSet) -> ChangeFailed:
        if "didn't contain changes" in found.reason or "No updates" in found.reason:
            return ChangeFailed(ConditionReason.CHANGE_SET_EMPTY, f"AWS sees nothing to change: {found.reason}")
        return ChangeFailed(ConditionReason.CHANGE_SET_FAILED, f"AWS made no change set: {found.reason}")

    def _demand_equal(self, stacks: Stacks, proposal: Proposal, found: ChangeSet) -> None:
        """The change set as AWS describes it must be the approved intent and nothing else."""
        announced = {line.split(" ")[2] for line in self.object.spec.intent.changes}
        held = {change.logical_id for change in found.changes}
        foreign = [c for c in found.changes if c.action not in ("Add", "Import") or c.logical_id not in announced]
        differing = {k for k, v in proposal.parameters.items() if found.parameters.get(k) != v}
        body = stacks.template(proposal.stack, self._token)
        if foreign or held != announced or differing or digest_of(body) != self.object.spec.intent.template:
            stacks.delete_change_set(proposal.stack, self._token)
            named = (
                ", ".join(sorted({c.logical_id for c in foreign} | (held ^ announced) | differing)) or "its template"
            )
            raise ChangeFailed(
                ConditionReason.WOULD_CHANGE_MORE, f"The change set is not what was approved; it differs in {named}"
            )

    def _execute(self) -> float | None:
        spec = self.object.spec
        stacks = self._situation.stacks(spec.region)
        if stacks is None:
            raise ChangeRefused(
                ConditionReason.REMEDIATION_ROLE_MISSING, "The account has no remediation role any more"
            )
        name = str(self._status["stack"]["name"])
        stack = stacks.stack(self._status["stack"].get("id") or name)
        if stack is not None and stack.status == "REVIEW_IN_PROGRESS":
            return self._begin(stacks, name)
        if self.state is State.CHANGE_SET_READY and (stack is None or stack.status == "DELETE_COMPLETE"):
            self._start_over(State.PROPOSED, ConditionReason.PROPOSED, "The change set is gone; nothing was done")
            return 0.0
        self.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS makes the change")
        if stack is None or stack.status == "DELETE_COMPLETE":
            self._rolled_back(stacks, name, stack)
            return None
        self._status["stack"] = {"name": stack.name, "id": stack.id, "status": stack.status}
        if stack.busy:
            return SOON
        if stack.status in ("CREATE_COMPLETE", "IMPORT_COMPLETE"):
            self._complete(stack)
            return 0.0
        if stack.status == "ROLLBACK_COMPLETE":
            self._rolled_back(stacks, name, stack)
            return None
        why = "; ".join(stacks.failures(stack.id)[:3]) or stack.reason
        raise ChangeFailed(ConditionReason.STACK_FAILED, f"The stack is {stack.status}: {why}")

    def _begin(self, stacks: Stacks, name: str) -> float | None:
        """The last look before the change: the facts, the approvals, the lease; then it begins.

        Also where a process died between writing that it begins and beginning: what was withdrawn since, counts.
        """
        if self.state is State.EXECUTING and self._begun(stacks, name):
            return SOON
        self._situation.look_again(self.object.spec.fixes)
        step = self._situation.steps.get(self.key.name)
        if step is None or step.proposal.digest != self.digest or step.blocked is not None:
            stacks.delete_change_set(name, self._token)
            message = "The account changed since the approval; nothing was done"
            self._start_over(State.PROPOSED, ConditionReason.PROPOSED, message)
            return 0.0
        fresh = self._cluster.get(self.key)
        if fresh is None:
            stacks.delete_change_set(name, self._token)
            return None
        self.object = Remediation.read(fresh)
        if len(self._approvers(Action.APPLY)) < self._needed:
            stacks.delete_change_set(name, self._token)
            message = "An approval was withdrawn; nothing was done"
            self._start_over(State.AWAITING_APPROVAL, ConditionReason.AWAITING_APPROVAL, message)
            return None
        held = self._barred() or self._held_up(step)
        if held is not None:
            self.wait(*held)
            return WAITING
        self._demand_guard()
        self.enter(State.EXECUTING, ConditionReason.EXECUTING, "AWS makes the change")
        self.save()
        stacks.execute(name, self._token, self._token)
        return SOON

    def _begun(self, stacks: Stacks, name: str) -> bool:
        """Whether AWS has taken the execution, although the stack does not show it yet."""
        found = stacks.change_set(name, self._token)
        if found is not None and found.execution in ("EXECUTE_FAILED", "OBSOLETE"):
            why = found.reason or found.execution
            raise ChangeFailed(ConditionReason.CHANGE_SET_FAILED, f"AWS did not execute the change set: {why}")
        return found is not None and found.execution in ("EXECUTE_IN_PROGRESS", "EXECUTE_COMPLETE")

    def _start_over(self, state: State, reason: str, message: str) -> None:
        """Back to before anything was done; the next change set has a name and a token of its own."""
        self._status["attempt"] = self._attempt + 1
        self._status["stack"] = self._status["changeSet"] = None
        self.enter(state, reason, message)

    def _complete(self, stack: Stack) -> None:
        definition = self._situation.definition(self.object.spec.remediation)
        self._status["stack"] = {"name": stack.name, "id": stack.id, "status": stack.status}
        if definition is not None:
            self._status["settlesUntil"] = written(self._clock() + definition.settles)
            self._status["waitsFor"] = definition.waits_for.value
        self.enter(
            State.SETTLING, ConditionReason.SETTLING, "The change is made; its checks are judged until they pass"
        )

    def _rolled_back(self, stacks: Stacks, name: str, stack: Stack | None) -> None:
        identity = str(self._status["stack"].get("id") or name)
        why = "; ".join(stacks.failures(identity)[:3]) or "AWS gave no reason"
        if stack is not None and stack.status == "ROLLBACK_COMPLETE":
            stacks.delete(name, f"{self._token}-clear")
        self._status["stack"] = {"name": name, "id": identity, "status": "ROLLBACK_COMPLETE"}
        self._status["attempt"] = self._attempt + 1
        message = f"AWS took the change back, the account is as before: {why}. Approve it anew to try it again"
        self.enter(State.ROLLED_BACK, ConditionReason.STACK_ROLLED_BACK, message)

    def _again_if_asked(self) -> float | None:
        """What rolled back is tried again only with an approval that it did not have, or that was withdrawn since."""
        step = self._situation.steps.get(self.key.name)
        if step is None or step.proposal.digest != self.digest:
            return None
        approved = self._summarize(Action.APPLY)
        attempts = [e for e in self._status.get("history") or () if e["state"] == State.SCHEDULED.value]
        used = attempts[-1].get("by") or () if attempts else ()
        if len(approved) < self._needed or set(approved) - set(used):
            return self._before()
        return None

    # proving it

    def _settle(self) -> float | None:
        spec = self.object.spec
        self._situation.look_again(spec.fixes)
        report = self._situation.report
        results = {r.id: r for r in report.checks}
        waiting = [n for n in spec.findings if not fixed(Named(n.check, n.region, n.resource), results.get(n.check))]
        now = self._clock()
        entered = self._entered(State.SETTLING) or now
        deadline = self.object.status.settles_until
        if not waiting:
            self.enter(State.VERIFYING, ConditionReason.VERIFYING, "Every finding it names passes")
            return self._verified(report)
        if deadline is not None and now > deadline:
            names = ", ".join(sorted({n.check for n in waiting}))
            raise ChangeFailed(
                ConditionReason.STILL_FAILING, f"The change is made, but past its deadline these do not pass: {names}"
            )
        names = ", ".join(sorted({n.check for n in waiting}))
        self.wait(ConditionReason.SETTLING, f"The change is made; it is awaited that these pass: {names}")
        return min(300.0, max(SOON, (now - entered).total_seconds() / 4))

    def _verified(self, report: Report) -> float | None:
        before = self._status.get("before") or {}
        if level_order(report.level) < level_order(str(before.get("level", report.level))):
            raise ChangeFailed(
                ConditionReason.LEVEL_FELL,
                f"Its findings pass, but the account fell from {before['level']} to {report.level}: look at what "
                "fails, and undo the change if it is the cause",
            )
        self._status["after"] = _standing(report)
        score = "" if report.score is None else f", score {report.score:.1f}"
        self.enter(State.APPLIED, ConditionReason.VERIFIED, f"Every finding it names passes: {report.level}{score}")
        return None

    # taking it back

    def _undo_if_asked(self) -> float | None:
        undoers = self._approvers(Action.UNDO)
        if not self._status.get("stack"):
            return None
        if len(undoers) < max(1, self._situation.governed.account.spec.min_approvals):
            return None
        if self._status["stack"].get("status") == "DELETE_FAILED" and self._still_there():
            return None
        self._demand_guard()
        self.enter(State.UNDOING, ConditionReason.UNDOING, "The stack is being deleted", by=undoers)
        self.save()
        return self._undo()

    def _still_there(self) -> bool:
        """Whether a stack that AWS could not delete still waits for a person; it is not deleted again by itself."""
        stacks = self._situation.stacks(self.object.spec.region)
        stack = stacks.stack(self._status["stack"].get("id") or self._status["stack"]["name"]) if stacks else None
        return stack is not None and stack.status == "DELETE_FAILED"

    def _undo(self) -> float | None:
        stacks = self._situation.stacks(self.object.spec.region)
        if stacks is None:
            raise ChangeRefused(
                ConditionReason.REMEDIATION_ROLE_MISSING, "The account has no remediation role any more"
            )
        name = str(self._status["stack"]["name"])
        stack = stacks.stack(self._status["stack"].get("id") or name)
        if stack is None or stack.status == "DELETE_COMPLETE":
            self._status["stack"] = {**self._status["stack"], "status": "DELETE_COMPLETE"}
            self._situation.look_again(self.object.spec.fixes)
            self._status["after"] = _standing(self._situation.report)
            kept = [line for line in self.object.spec.intent.changes if "(kept on deletion)" in line]
            rest = f"; kept: {', '.join(line.split(' ')[2] for line in kept)}" if kept else ""
            self.enter(State.UNDONE, ConditionReason.UNDONE, f"The stack is deleted{rest}")
            return None
        if not self._ours(stack):
            raise ChangeRefused(ConditionReason.NOT_OURS, f"The stack {name} is not of this policy and cluster")
        self._status["stack"] = {"name": stack.name, "id": stack.id, "status": stack.status}
        if stack.status == "DELETE_FAILED":
            why = "; ".join(stacks.failures(stack.id)[:3]) or stack.reason
            raise ChangeFailed(ConditionReason.STACK_FAILED, f"The stack could not be deleted: {why}")
        if not stack.busy:
            stacks.delete(name, f"{self._token}-undo")
        return SOON

    # writing it down

    def enter(self, state: State, reason: str, message: str, by: Sequence[str] = ()) -> None:
        """A new state, with its condition and a line of history; the same state again only renews the condition."""
        now = self._clock()
        if self._status.get("state") != state.value:
            entry: dict[str, Any] = {"state": state.value, "at": written(now)}
            if by:
                entry["by"] = list(by)
            if state in _TROUBLE:
                entry["message"] = message
            self._status["state"] = state.value
            self._status["history"] = [*(self._status.get("history") or ()), entry][-MOST_HISTORY:]
            self._situation_event(state, reason, message)
        self._condition(state, reason, message)

    def wait(self, reason: str, message: str, *, stalled: bool = False) -> None:
        """The state stays; why it does not go on is said."""
        self._condition(self.state, reason, _sentence(message), stalled=stalled)

    def _condition(self, state: State, reason: str, message: str, *, stalled: bool = False) -> None:
        now, generation = self._clock(), self.object.metadata.generation or 1
        ready = state in _SUCCESS
        trouble = stalled or state in _TROUBLE
        message = _sentence(message)

        def put(kind: ConditionType, status: bool) -> None:
            self._conditions = set_condition(self._conditions, kind, status, reason, message, generation, now)

        put(ConditionType.READY, ready)
        put(ConditionType.RECONCILING, state in UNDER_WAY and not ready and not trouble)
        put(ConditionType.STALLED, trouble)

    def _situation_event(self, state: State, reason: str, message: str) -> None:
        self._cluster.event(self._body, kind="Remediation", reason=reason, message=message, warning=state in _TROUBLE)

    def _entered(self, state: State) -> datetime | None:
        for entry in reversed(self._status.get("history") or ()):
            if entry["state"] == state.value:
                return datetime.fromisoformat(entry["at"])
        return None

    def save(self) -> None:
        """Writes what changed; nothing changed, nothing is written. All of it speaks of the object as it was read."""
        generation = self.object.metadata.generation or 1
        self._conditions = [c.model_copy(update={"observed_generation": generation}) for c in self._conditions]
        self._status["observedGeneration"] = generation
        self._status["conditions"] = [c.model_dump(mode="json", by_alias=True) for c in self._conditions]
        status = RemediationStatus.model_validate(self._status).body()
        patch = merge_patch(self._stored, status)
        if not patch:
            return
        self._cluster.patch_status(self.key, patch)
        self._stored = status


def _standing(report: Report) -> dict[str, Any]:
    return {"level": report.level, "score": report.score}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _guard_reason(fault: str) -> ConditionReason:
    return ConditionReason.POLICY_ALTERED if "differ" in fault else ConditionReason.POLICY_MISSING
