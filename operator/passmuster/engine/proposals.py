"""The Remediation objects of one policy, kept in step with the plan: made, renewed, superseded, removed.

A changed intent changes the same object and voids its approvals; what is under way is left alone; what was undone is
not proposed again until its intent changes. Called by the reconciler before the remediations take their steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from passmuster.api.conditions import ConditionReason, ConditionType, conditions_document, says, set_condition
from passmuster.api.fields import written
from passmuster.api.policy import ReadinessPolicy
from passmuster.api.remediation import Remediation, State, Way
from passmuster.api.resource import API_VERSION
from passmuster.assess.plan import Plan, Step
from passmuster.engine import documents
from passmuster.engine.fleet import OUTCOMES, RemediationFigure
from passmuster.engine.life import BEFORE, MOST_HISTORY, UNDER_WAY
from passmuster.engine.ports import REMEDIATIONS, Key, Object
from passmuster.engine.reports import owner_reference
from passmuster.engine.services import Services
from passmuster.engine.tenancy import Governed
from passmuster.model.verdict import Mode, Phase
from passmuster.remediation.rendering import Proposal


def steps_of(current: Plan) -> dict[str, Step]:
    """The steps of a plan by the name of their object."""
    return {step.proposal.name: step for step in current.steps}


@dataclass(frozen=True, slots=True)
class Proposals:
    """The Remediations of one policy."""

    services: Services
    key: Key
    policy: ReadinessPolicy

    def all(self) -> list[Remediation]:
        """Every Remediation of the policy."""
        return [Remediation.read(body) for _, body in self.services.cache.owned(REMEDIATIONS, self.key)]

    def stored(self, account_id: str) -> dict[str, Object]:
        """The objects of one account, by name."""
        owned = self.services.cache.owned(REMEDIATIONS, self.key)
        return {key.name: body for key, body in owned if body["spec"]["accountId"] == account_id}

    def order(self, current: Plan, account_id: str) -> list[str]:
        """The names to take a step with in one account: first what its plan no longer holds, then the plan's order."""
        planned = [step.proposal.name for step in current.steps]
        names = set(self.stored(account_id))
        rest = sorted(names - set(planned))
        return [*rest, *(name for name in planned if name in names)]

    def update(self, governed: Governed, current: Plan, stored: Mapping[str, Object]) -> None:
        """Objects for what is proposed now; what is no longer proposed is superseded or, in Observe, removed.

        `stored` only tells where to look: whatever is given up here is read again before.
        """
        steps = steps_of(current)
        for name, step in steps.items():
            if governed.modes[step.proposal.definition.phase] is Mode.OBSERVE:
                continue
            body = stored.get(name)
            if body is None:
                self.remember(self.services.cluster.create(REMEDIATIONS, self._manifest(step.proposal)))
            elif _is_outdated(Remediation.read(body), step.proposal):
                self._renew(name, step.proposal)
        for name, body in stored.items():
            if name in steps and governed.modes[Phase(body["spec"]["phase"])] is not Mode.OBSERVE:
                continue
            if _is_idle(Remediation.read(body)):
                self._give_up(name, governed)

    def leave(self, governed: Set[str]) -> None:
        """Of accounts that the policy no longer governs: what was only proposed is superseded, the rest says so."""
        for key, body in self.services.cache.owned(REMEDIATIONS, self.key):
            known = Remediation.read(body) if body["spec"]["accountId"] not in governed else None
            if known is None or not _is_left(known) or _is_told(known):
                continue
            now = self._as_it_is(key.name)
            fresh = Remediation.read(now) if now is not None else None
            if fresh is None or _is_told(fresh):
                continue
            if _is_prepared(fresh):
                self._say_left(fresh)
            elif _is_left(fresh):
                self._supersede(fresh, "The policy no longer governs the account")

    def _as_it_is(self, name: str) -> Object | None:
        """The object as the API server has it now: the watch may not have brought what was done in AWS since."""
        body = self.services.cluster.get(Key(REMEDIATIONS, self.key.namespace, name))
        if body is not None:
            self.remember(body)
        return body

    def _give_up(self, name: str, governed: Governed) -> None:
        """What is no longer proposed, and of which nothing is in AWS."""
        body = self._as_it_is(name)
        remediation = Remediation.read(body) if body is not None else None
        if remediation is None or not _is_idle(remediation):
            return
        if governed.modes[remediation.spec.phase] is Mode.OBSERVE:
            key = Key(REMEDIATIONS, self.key.namespace, name)
            self.services.cluster.delete(key)
            self.services.cache.drop(key)
            self.services.fleet.drop_remediation(key)
        elif remediation.status.stack is None:
            self._supersede(remediation, "What it would fix is fixed, or can no longer be fixed this way")

    def _manifest(self, proposal: Proposal) -> Object:
        return {
            "apiVersion": API_VERSION,
            "kind": "Remediation",
            "metadata": {
                "name": proposal.name,
                "namespace": self.key.namespace,
                "labels": {"passmuster.io/account": proposal.account_id},
                "ownerReferences": [owner_reference(self.key, self.policy)],
            },
            "spec": documents.remediation_spec(proposal, self.key.name),
        }

    def _renew(self, name: str, proposal: Proposal) -> None:
        """A changed intent replaces the old one, unless a change is under way; approvals of the old one are void."""
        body = self._as_it_is(name)
        if body is None or not _is_outdated(Remediation.read(body), proposal):
            return
        remediation = Remediation.read(body)
        same = remediation.spec.intent.digest == proposal.digest
        another_way = remediation.spec.way is not proposal.way
        if not same:
            key = Key(REMEDIATIONS, self.key.namespace, name)
            wanted = documents.remediation_spec(proposal, self.key.name)
            kept = {member: value for member, value in body["spec"].items() if member != "approvals"}
            version = {"metadata": {"resourceVersion": remediation.metadata.resource_version}}
            answer = self.services.cluster.patch(key, {**version, "spec": documents.merge_patch(kept, wanted)})
            if answer is None:
                return
            self.remember(answer)
            remediation = Remediation.read(answer)
            remediation.metadata.resource_version = None  # an approval that comes now may not keep them apart
        message = "The finding is back" if same else "The intent changed; earlier approvals do not count"
        anew: dict[str, Any] = {"attempt": None, "changeSet": None, "settlesUntil": None, "after": None, "steps": None}
        if another_way:
            anew["stack"] = None
        self._enter(remediation, State.PROPOSED, ConditionReason.PROPOSED, message, anew)

    def _supersede(self, remediation: Remediation, message: str) -> None:
        self._enter(remediation, State.SUPERSEDED, ConditionReason.SUPERSEDED, message, {})

    def _enter(
        self, remediation: Remediation, state: State, reason: ConditionReason, message: str, members: Mapping[str, Any]
    ) -> None:
        """Another state, for what happens to a proposal without a step of its own."""
        history = [h.model_dump(mode="json", by_alias=True, exclude_none=True) for h in remediation.status.history]
        entry = {"state": state.value, "at": written(self.services.clock()), "message": message}
        conditions = {ConditionType.READY: state is State.SUPERSEDED, ConditionType.STALLED: False}
        changed = {**members, "state": state.value, "history": [*history, entry][-MOST_HISTORY:]}
        self._write(remediation, conditions, reason, message, changed)

    def _say_left(self, remediation: Remediation) -> None:
        """Why what is in AWS, or was about to be, is not gone on with."""
        reason = ConditionReason.NOT_GOVERNED
        message = (
            f"The policy {self.key.name} no longer governs the account {remediation.spec.account_id}, so nothing goes "
            "on: name or select its AWSAccount in the policy again"
        )
        self._write(remediation, {ConditionType.READY: False, ConditionType.STALLED: True}, reason, message, {})
        body = {"metadata": remediation.metadata.model_dump(include={"name", "namespace", "uid"})}
        self.services.cluster.event(body, kind="Remediation", reason=reason, message=message, warning=True)

    def _write(
        self,
        remediation: Remediation,
        holding: Mapping[ConditionType, bool],
        reason: ConditionReason,
        message: str,
        members: Mapping[str, Any],
    ) -> None:
        """The status with these members and conditions; Conflict is raised where it is no longer as it was read."""
        metadata, conditions = remediation.metadata, remediation.status.conditions
        generation, now = metadata.generation or 1, self.services.clock()
        for kind, holds in {**holding, ConditionType.RECONCILING: False}.items():
            conditions = set_condition(conditions, kind, holds, reason, message, generation, now)
        patch = {**members, "observedGeneration": generation, "conditions": conditions_document(conditions)}
        key = Key(REMEDIATIONS, self.key.namespace, metadata.name)
        answer = self.services.cluster.patch_status(key, patch, metadata.resource_version)
        if answer is not None:
            self.remember(answer)

    def remember(self, body: Object) -> None:
        """The object as the API server answered it, for the cache and the metrics."""
        key = Key.of(REMEDIATIONS, body)
        self.services.cache.put(key, body)
        after = remediation_figure(body)
        before = self.services.fleet.put_remediation(key, after)
        if before is None or before.state == after.state:
            return
        took = _took(body, after.state)
        if took is not None:
            self.services.counters.remediated(after.state, took.total_seconds())


def remediation_figure(body: Object) -> RemediationFigure:
    """A Remediation as the metrics count it."""
    spec, status = body["spec"], body.get("status") or {}
    return RemediationFigure(
        namespace=body["metadata"].get("namespace") or "",
        policy=spec["policyRef"]["name"],
        account_id=spec["accountId"],
        phase=spec["phase"],
        state=status.get("state", State.PROPOSED.value),
    )


def _took(body: Object, ended: str) -> timedelta | None:
    """How long a remediation took that just ended, from when it was scheduled or its undoing began."""
    if ended not in OUTCOMES:
        return None
    began = State.UNDOING if ended == State.UNDONE else State.SCHEDULED
    history = (body.get("status") or {}).get("history") or ()
    starts = [entry["at"] for entry in history if entry["state"] == began.value]
    ends = [entry["at"] for entry in history if entry["state"] == ended]
    if not starts or not ends:
        return None
    return max(timedelta(0), datetime.fromisoformat(ends[-1]) - datetime.fromisoformat(starts[-1]))


def _is_outdated(remediation: Remediation, proposal: Proposal) -> bool:
    """Whether what is proposed now is to be written into the object: another intent, or the same one anew."""
    state = remediation.status.state or State.PROPOSED
    same = remediation.spec.intent.digest == proposal.digest
    if state in UNDER_WAY or (same and state is not State.SUPERSEDED):
        return False
    return not (state is State.APPLIED or (state in (State.FAILED, State.BLOCKED) and _left_standing(remediation)))


def _is_idle(remediation: Remediation) -> bool:
    """Whether nothing was done in AWS, and nothing was left there."""
    state = remediation.status.state or State.PROPOSED
    return state in BEFORE and not (state is State.BLOCKED and _left_standing(remediation))


def _is_left(remediation: Remediation) -> bool:
    """Whether it is to be said that nobody takes the remediation further; one that is stuck says already why."""
    state = remediation.status.state or State.PROPOSED
    return state in UNDER_WAY | {State.APPLIED} or _is_idle(remediation)


def _is_told(remediation: Remediation) -> bool:
    """Whether it says already that the policy governs its account no more."""
    return says(remediation.status.conditions, ConditionReason.NOT_GOVERNED)


def _is_prepared(remediation: Remediation) -> bool:
    """Whether there is something in AWS, if only a change set."""
    return _is_left(remediation) and not (_is_idle(remediation) and remediation.status.stack is None)


def _left_standing(remediation: Remediation) -> bool:
    """Whether a failed change left something behind, to be undone before anything else is made in its place."""
    if any(step.made_at is not None and step.undone_at is None for step in remediation.status.steps):
        return True
    stack = remediation.status.stack if remediation.spec.way is not Way.OWNER_STACK else None
    gone = (None, "REVIEW_IN_PROGRESS", "DELETE_COMPLETE", "ROLLBACK_COMPLETE")
    return stack is not None and stack.status not in gone
