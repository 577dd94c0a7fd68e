"""The life of one remediation, step by step, from proposal to proof.

::

    Proposed > AwaitingApproval > Scheduled > ChangeSetReady > Executing > Settling > Verifying > Applied
        |______________|______________|              |             |           |                    |
              Blocked, Superseded          (intent changed)   RolledBack    Failed          Undoing > Undone

Here is decided whether and when something is done; how it is done is the matter of its way (`engine.ways`). What a step
decides is written before AWS is called, names and tokens are functions of the intent and the attempt, and where a step
begins is derived from what AWS describes: a process that dies anywhere is continued by the next one, and no token has
two effects. A change is applied when a fresh inspection says so, never because a stack is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from passmuster.api.approval import Action, approvers
from passmuster.api.conditions import ConditionReason, ConditionType
from passmuster.api.policy import Gating
from passmuster.api.remediation import OWN_STACKS, Remediation, State, Way
from passmuster.api.resource import EDITED_BY
from passmuster.assess import scoring
from passmuster.assess.plan import Step
from passmuster.aws.stacks import Stacks
from passmuster.engine.life import (
    BEFORE,
    SOON,
    UNDER_WAY,
    WAITING,
    Life,
    Situation,
    StackStuck,
    failing,
    rarer,
    standing,
)
from passmuster.engine.ports import Cluster, Object
from passmuster.engine.ways.additive import Additive
from passmuster.engine.ways.adoption import Adoption
from passmuster.engine.ways.api_step import ApiSteps
from passmuster.engine.ways.course import Course, Look
from passmuster.engine.ways.owner_stack import OwnerStack
from passmuster.engine.windows import open_now
from passmuster.model.errors import ChangeFailed, ChangeRefused, UserError
from passmuster.model.report import Report
from passmuster.model.verdict import Mode, Status, level_order
from passmuster.remediation.rendering import EXECUTABLE, Named, awaited, done

_AT_WORK = frozenset({State.CHANGE_SET_READY, State.EXECUTING, State.UNDOING})
_ALWAYS_APPROVED = frozenset({Way.OWNER_STACK, Way.API_STEP})
"""Ways that need an approval in every mode."""

ROLE_GONE = "The account has no remediation role any more"
RAREST_LOOK = 300.0
"""Seconds at most between two looks at whether the checks of a change pass."""

BILLED_AFTER = timedelta(seconds=10)
"""When a change is proved by what AWS bills: that is read once, so not before AWS tells of the change."""


class Remediator:
    """Takes remediations one step further. Stateless: everything is in the object and in AWS."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._clock = clock

    def step(self, body: Object, situation: Situation) -> float | None:
        """As far as it goes now; returns the seconds until another look is worth while, None if nothing is awaited."""
        life = Life(self._cluster, self._clock, body, situation)
        try:
            return _Steps(life).advance()
        except StackStuck as stuck:
            life.enter(State.BLOCKED, stuck.reason, str(stuck))
            return WAITING
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


class _Steps:
    """What happens next in one life."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._situation = life.situation

    @property
    def _object(self) -> Remediation:
        return self._life.object

    def advance(self) -> float | None:
        life = self._life
        if "state" not in life.status:
            life.enter(State.PROPOSED, ConditionReason.PROPOSED, "Proposed; nothing was changed")
        if life.says(ConditionReason.NOT_GOVERNED):
            life.wait(ConditionReason.PROGRESSING, "The policy governs the account again")
        match life.state:
            case State.BLOCKED if self._stuck():
                return self._stuck_still()
            case State.PROPOSED | State.AWAITING_APPROVAL | State.SCHEDULED | State.BLOCKED:
                return self._before()
            case State.CHANGE_SET_READY | State.EXECUTING:
                return self._course().proceed(self._last_look)
            case State.SETTLING | State.VERIFYING:
                return self._settle()
            case State.UNDOING:
                return self._course().undo()
            case State.APPLIED:
                return self._applied()
            case State.FAILED | State.ROLLED_BACK:
                return self._failed()
            case State.SUPERSEDED | State.UNDONE:
                return None

    def _course(self) -> Course:
        """The way of the intent. Raises ChangeRefused where the account has no remediation role."""
        life, region = self._life, self._object.spec.region
        stacks = self._stacks(region)
        match self._object.spec.way:
            case Way.ADDITIVE_STACK:
                return Additive(life, stacks)
            case Way.OWNER_STACK:
                return OwnerStack(life, stacks)
            case Way.ADOPTION:
                return Adoption(life, stacks)
            case Way.API_STEP:
                steps = self._situation.api(region)
                if steps is None:
                    raise ChangeRefused(ConditionReason.REMEDIATION_ROLE_MISSING, ROLE_GONE)
                return ApiSteps(life, steps, stacks)
            case Way.PATCH | Way.GUIDE:
                raise ChangeRefused(ConditionReason.NOT_EXECUTABLE, "This way is for people", retryable=False)

    def _stacks(self, region: str) -> Stacks:
        stacks = self._situation.stacks(region)
        if stacks is None:
            raise ChangeRefused(ConditionReason.REMEDIATION_ROLE_MISSING, ROLE_GONE)
        return stacks

    # before anything is done

    def _before(self) -> float | None:
        life = self._life
        step = self._situation.steps.get(self._object.metadata.name)
        if step is None or step.proposal.digest != life.digest:
            return self._no_longer_planned()
        approved = self._summarize(Action.APPLY)
        proposal = step.proposal
        if proposal.blocked is not None:
            life.enter(State.BLOCKED, proposal.blocked.reason, proposal.blocked.message)
            return None
        unpermitted = self._unpermitted(proposal.way)
        if unpermitted is not None:
            life.enter(State.BLOCKED, *unpermitted)
            return None
        if len(approved) < self._needed:
            missing = self._needed - len(approved)
            noun = "approval is" if missing == 1 else "approvals are"
            message = f"{missing} more {noun} needed: passmuster approve {life.key.name} -n {life.key.namespace}"
            life.enter(State.AWAITING_APPROVAL, ConditionReason.AWAITING_APPROVAL, message)
            return None
        barred = self._barred()
        if barred is not None:
            life.enter(State.BLOCKED, *barred)
            return WAITING
        life.enter(
            State.SCHEDULED, ConditionReason.APPROVED, "Approved; it is carried out when its turn comes", by=approved
        )
        held = self._held_up(step)
        if held is not None:
            life.wait(*held)
            return WAITING
        self._demand_guard()
        if proposal.way in OWN_STACKS:
            self._situation.hold()
        return self._course().prepare(proposal)

    def _unpermitted(self, way: Way) -> tuple[ConditionReason, str] | None:
        """Why this way is not carried out by the operator at all, None if it is."""
        rules = self._situation.governed.policy.spec.remediation
        if way not in EXECUTABLE:
            message = "This is not carried out by the operator: follow spec.instructions"
            return ConditionReason.NOT_EXECUTABLE, message
        if way is Way.OWNER_STACK and not rules.allow_owner_stack_updates:
            owner = self._object.spec.owner
            name = owner.name if owner is not None else "its owner"
            message = (
                f"The resource belongs to the stack {name}: make the change in its template (spec.instructions.patch), "
                "or set spec.remediation.allowOwnerStackUpdates in the policy"
            )
            return ConditionReason.OWNER_STACK_NOT_ALLOWED, message
        if way is Way.API_STEP and not rules.allow_api_steps:
            message = (
                "It calls an AWS API where CloudFormation cannot make the change: set "
                "spec.remediation.allowApiSteps in the policy, or follow spec.instructions"
            )
            return ConditionReason.API_STEPS_NOT_ALLOWED, message
        return None

    @property
    def _needed(self) -> int:
        """Approvals that a change needs: in Propose at least one, in Apply as many as the account's owner says.

        A change to what somebody else made, or past CloudFormation, always needs one.
        """
        governed, spec = self._situation.governed, self._object.spec
        least = governed.account.spec.min_approvals
        always = governed.modes[spec.phase] is Mode.PROPOSE or spec.way in _ALWAYS_APPROVED
        replaces = governed.policy.spec.remediation.allow_replacement and spec.way is not Way.ADDITIVE_STACK
        return max(1, least) if always or replaces else least

    def _approvers(self, action: Action) -> tuple[str, ...]:
        editor = self._situation.governed.policy.metadata.annotations.get(EDITED_BY)
        return approvers(self._object.spec.approvals, self._life.digest, action, except_for=editor)

    def _summarize(self, action: Action) -> tuple[str, ...]:
        """The valid approvals; the summary that kubectl prints is kept with them."""
        approved = self._approvers(action)
        self._life.status["summary"] = {
            "cost": f"{self._object.spec.cost.monthly:.2f}",
            "approved": f"{len(approved)}/{self._needed}",
        }
        return approved

    def _no_longer_planned(self) -> float | None:
        """The plan has no such step: because this very change was made and not written down, or it is not needed.

        What was prepared for it is withdrawn; then the object may be superseded.
        """
        life = self._life
        if not life.status.get("stack") and not life.status.get("steps"):
            return None
        if self._situation.stacks(self._object.spec.region) is None or self._object.spec.way not in EXECUTABLE:
            return None
        return self._course().withdraw()

    def _barred(self) -> tuple[ConditionReason, str] | None:
        """Why an approved change cannot begin until somebody changes something, None if nothing is in its way."""
        governed, cost = self._situation.governed, self._object.spec.cost.monthly
        if governed.account.spec.remediation_role_arn is None:
            message = f"The AWSAccount {governed.account.metadata.name} has no remediationRoleArn: nothing is executed"
            return ConditionReason.REMEDIATION_ROLE_MISSING, message
        unpermitted = self._unpermitted(self._object.spec.way)
        if unpermitted is not None:
            return unpermitted
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
        others = self._others
        earlier = [r for r in others if self._comes_first(r)]
        if rules.gating is Gating.STRICT and earlier:
            return ConditionReason.AWAITING_PHASE, f"Gating is Strict: {earlier[0].metadata.name} comes first"
        if not self._in_window():
            return ConditionReason.OUTSIDE_WINDOW, "No window of the policy is open now"
        busy = [r for r in others if r.status.state in _AT_WORK and not self._yields(r)]
        if len(busy) >= rules.max_concurrent_stacks:
            return ConditionReason.AWAITING_TURN, f"{busy[0].metadata.name} is under way"
        return None

    def _in_window(self) -> bool:
        try:
            return open_now(self._situation.governed.policy.spec.remediation.windows, self._life.clock())
        except UserError as error:
            message = f"A window of the policy cannot be read: {error}"
            raise ChangeRefused(ConditionReason.INVALID_SPEC, message, retryable=False) from error

    @property
    def _others(self) -> list[Remediation]:
        return [r for r in self._situation.others() if r.metadata.name != self._life.key.name]

    def _yields(self, other: Remediation) -> bool:
        """Of two that are ready at the same time one goes first, or each would wait for the other."""
        ready = self._life.state is other.status.state is State.CHANGE_SET_READY
        return ready and self._life.key.name < other.metadata.name

    def _comes_first(self, other: Remediation) -> bool:
        """Whether a remediation of an earlier phase is applicable and not yet done."""
        return (
            other.spec.phase.order < self._object.spec.phase.order
            and self._unpermitted(other.spec.way) is None
            and (other.status.state is None or other.status.state in BEFORE | UNDER_WAY)
            and other.status.state is not State.BLOCKED
        )

    def _demand_guard(self) -> None:
        """Raises ChangeRefused unless the approval policy is in force exactly as this version renders it."""
        fault = self._life.cluster.approvals_guarded()
        reason = _guard_reason(fault) if fault is not None else ConditionReason.SUCCEEDED
        self._life.put(ConditionType.APPROVAL_POLICY_MISSING, fault is not None, reason, fault or "-")
        if fault is not None:
            raise ChangeRefused(reason, fault)

    # making the change

    def _last_look(self, withdraw: Callable[[], None]) -> Look:
        """The last look before an effect: the facts, the approvals, the rules."""
        life = self._life
        self._situation.look_again(self._object.spec.fixes)
        step = self._situation.steps.get(life.key.name)
        if step is None or step.proposal.digest != life.digest or step.blocked is not None:
            withdraw()
            message = "The account changed since the approval; nothing was done"
            life.start_over(State.PROPOSED, ConditionReason.PROPOSED, message)
            return Look(go=False, wait=0.0)
        if not life.read_again():
            withdraw()
            return Look(go=False)
        if len(self._approvers(Action.APPLY)) < self._needed:
            withdraw()
            message = "An approval was withdrawn; nothing was done"
            life.start_over(State.AWAITING_APPROVAL, ConditionReason.AWAITING_APPROVAL, message)
            return Look(go=False)
        held = self._barred() or self._held_up(step)
        if held is not None:
            life.wait(*held)
            return Look(go=False, wait=WAITING)
        self._demand_guard()
        if not self._situation.as_governed():
            life.wait(
                ConditionReason.PROGRESSING, "The policy or its AWSAccount changed: what it says now is looked at"
            )
            return Look(go=False, wait=SOON)
        return Look(go=True)

    def _stuck(self) -> bool:
        """Whether a stack of this change is in a state that a person must resolve."""
        stack = self._life.status.get("stack") or {}
        status = str(stack.get("status", ""))
        return status.endswith("_FAILED") or status == "ROLLBACK_COMPLETE"

    def _stuck_still(self) -> float | None:
        """A stuck stack is left alone; once a person resolved it, the life goes on where the stack now is."""
        if not self._course().resolved():
            return WAITING * 4
        stack = self._life.status["stack"]
        self._life.status["stack"] = {**stack, "status": "RESOLVED"}
        past = [State(e["state"]) for e in self._life.status.get("history") or () if e["state"] != State.BLOCKED.value]
        if past and past[-1] is State.UNDOING:
            self._life.enter(State.UNDOING, ConditionReason.UNDOING, "The stack is free again; the undo goes on")
        elif past and past[-1] in _AT_WORK:
            self._life.enter(State.EXECUTING, ConditionReason.EXECUTING, "The stack is free again")
        else:
            self._life.enter(State.PROPOSED, ConditionReason.PROPOSED, "The stack is free again; nothing was changed")
        return 0.0

    def _failed(self) -> float | None:
        """What failed or rolled back waits for somebody who takes it back, or who approves another attempt."""
        state = self._life.state
        wait = self._undo_if_asked()
        return wait if self._life.state is not state else self._again_if_asked()

    def _again_if_asked(self) -> float | None:
        """What failed is tried again only with an approval that it did not have, or that was withdrawn since."""
        step = self._situation.steps.get(self._life.key.name)
        if step is None or step.proposal.digest != self._life.digest:
            return None
        approved = self._summarize(Action.APPLY)
        attempts = [e for e in self._life.status.get("history") or () if e["state"] == State.SCHEDULED.value]
        used = attempts[-1].get("by") or () if attempts else ()
        if len(approved) < self._needed or set(approved) - set(used):
            if self._life.state is not State.ROLLED_BACK:
                self._life.status["attempt"] = self._life.attempt + 1
                self._life.status["steps"] = []
            return self._before()
        return None

    # proving it

    def _settle(self) -> float | None:
        life, spec = self._life, self._object.spec
        now = life.clock()
        entered = life.entered(State.SETTLING) or now
        told_at = entered + BILLED_AFTER
        self._situation.look_again(spec.fixes, told_at if life.pays_for_proof and now >= told_at else None)
        report = self._situation.report
        results = {r.id: r for r in report.checks}
        waiting = [
            n
            for n in spec.findings
            if not done(Named(n.check, n.region, n.resource), results.get(n.check), life.definition, spec.target)
        ]
        deadline = self._object.status.settles_until
        late = deadline is not None and now > deadline
        names = ", ".join(sorted({n.check for n in waiting}))
        again = rarer(now - entered, RAREST_LOOK)
        if waiting and late:
            raise ChangeFailed(
                ConditionReason.STILL_FAILING, f"The change is made, but past its deadline these do not pass: {names}"
            )
        if waiting:
            life.wait(ConditionReason.SETTLING, f"The change is made; it is awaited that these pass: {names}")
            return again
        life.enter(State.VERIFYING, ConditionReason.VERIFYING, "Every finding it names passes")
        worse = self._newly_failing(report)
        if worse and not late:
            life.wait(ConditionReason.NEWLY_FAILING, f"Its findings pass, but these fail since: {', '.join(worse)}")
            return again
        return self._verified(report, worse)

    def _newly_failing(self, report: Report) -> tuple[str, ...]:
        """Checks that fail now and passed before the change; none of them where the state before is not known.

        A check that had nothing to judge before fails because of what is there now, a trail without data events for
        example: that is the next thing to do, and no worsening. Nor is what a change is declared to lead to.
        """
        before = self._life.status.get("before") or {}
        if "failing" not in before:
            return ()
        known = {*before["failing"], *before.get("notApplicable", ()), *self._led_to()}
        return tuple(check for check in failing(report) if check not in known)

    def _led_to(self) -> frozenset[str]:
        """The checks that ask for more because of this change, or of another that was made meanwhile."""
        since = self._life.entered(State.SCHEDULED)
        made = [
            r.spec.remediation
            for r in self._others
            if r.status.state in UNDER_WAY
            or any(h.state is State.APPLIED and since is not None and h.at >= since for h in r.status.history)
        ]
        changes = (self._situation.definition(name) for name in (self._object.spec.remediation, *made))
        return frozenset(check for change in changes if change is not None for check in change.leads_to)

    def _verified(self, report: Report, worse: tuple[str, ...]) -> float | None:
        life = self._life
        before = life.status.get("before") or {}
        led = self._led_to()
        reached = scoring.level(tuple(r for r in report.checks if r.id not in led)) if led else report.level
        if level_order(reached) < level_order(str(before.get("level", reached))):
            raise ChangeFailed(
                ConditionReason.LEVEL_FELL,
                f"Its findings pass, but the account fell from {before['level']} to {report.level}: look at what "
                "fails, and undo the change if it is the cause",
            )
        if worse:
            raise ChangeFailed(
                ConditionReason.NEWLY_FAILING,
                f"Its findings pass, but these fail since: {', '.join(worse)}. Look at what fails, and undo the change "
                "if it is the cause",
            )
        life.status["after"] = standing(report)
        life.put(ConditionType.DRIFTED, False, ConditionReason.IN_PLACE, "It is as it was made")
        score = "" if report.score is None else f", score {report.score:.1f}"
        more = sorted(led.intersection(failing(report)))
        next_up = f"; these ask for more now, see what is proposed for them: {', '.join(more)}" if more else ""
        message = f"Every finding it names passes: {report.level}{score}{next_up}"
        life.enter(State.APPLIED, ConditionReason.VERIFIED, message)
        return None

    def _applied(self) -> float | None:
        """What was applied is watched; it is taken back, or made again, only when somebody approves that."""
        wait = self._undo_if_asked()
        if self._life.state is not State.APPLIED:
            return wait
        if self._life.holds(ConditionType.STALLED) and not self._undo_is_asked():
            self._life.enter(State.APPLIED, ConditionReason.VERIFIED, "It is applied; no undo is asked for any more")
        if self._situation.inspected:
            self._watch()
        return self._again_if_asked() if self._life.holds(ConditionType.DRIFTED) else None

    def _watch(self) -> None:
        """Says whether the change is still in place: its findings pass, and nobody changed or deleted its stack."""
        life, spec = self._life, self._object.spec
        results = {r.id: r for r in self._situation.report.checks}
        again = sorted(
            {
                n.check
                for n in spec.findings
                if any(
                    f.status is Status.FAIL and f.waived_by is None
                    for f in (results[n.check].findings if n.check in results else ())
                    if (f.region, f.resource) == (n.region, n.resource)
                )
                and not done(Named(n.check, n.region, n.resource), results.get(n.check), life.definition, spec.target)
            }
        )
        departed = None
        if spec.way in EXECUTABLE and self._situation.stacks(spec.region) is not None:
            departed = self._course().departure()
        told = [f"these fail again: {', '.join(again)}"] if again else []
        told += [departed] if departed else []
        reason = ConditionReason.FAILS_AGAIN if again else ConditionReason.STACK_DRIFTED
        message = f"{'; '.join(told)}. Nothing is overwritten; approve it anew to make it again" if told else "-"
        if not told:
            life.put(ConditionType.DRIFTED, False, ConditionReason.IN_PLACE, "It is as it was made")
        elif life.put(ConditionType.DRIFTED, True, reason, message):
            life.event(reason, message, warning=True)

    # taking it back

    def _undo_is_asked(self) -> tuple[str, ...]:
        undoers = self._approvers(Action.UNDO)
        return undoers if len(undoers) >= max(1, self._situation.governed.account.spec.min_approvals) else ()

    def _undo_if_asked(self) -> float | None:
        undoers = self._undo_is_asked()
        if not undoers or self._object.spec.way not in EXECUTABLE:
            return None
        course = self._course()
        if not course.undoable():
            return None
        refusal = course.undo_refusal()
        if refusal is not None:
            reason, message = refusal
            self._life.wait(reason, message, stalled=True)
            return None
        self._demand_guard()
        self._life.enter(State.UNDOING, ConditionReason.UNDOING, "The change is being taken back", by=undoers)
        self._life.save()
        return course.undo()


def _guard_reason(fault: str) -> ConditionReason:
    return ConditionReason.POLICY_ALTERED if "differ" in fault else ConditionReason.POLICY_MISSING
