"""The Remediation objects of one policy, kept in step with the plan: made, renewed, superseded, removed.

A changed intent changes the same object and voids its approvals; what is under way is left alone; what was undone is
not proposed again until its intent changes. Called by the reconciler before the remediations take their steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from passmuster.api.conditions import ConditionReason, ConditionType, conditions_document, set_condition
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
from passmuster.model.verdict import Mode
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
        """Objects for what is proposed now; what is no longer proposed is superseded or, in Observe, removed."""
        cluster = self.services.cluster
        steps = steps_of(current)
        for name, step in steps.items():
            phase = step.proposal.definition.phase
            if governed.modes[phase] is Mode.OBSERVE:
                continue
            body = stored.get(name)
            if body is None:
                self.remember(cluster.create(REMEDIATIONS, self._manifest(step.proposal)))
                continue
            self._renew(Remediation.read(body), step.proposal)
        for name, body in stored.items():
            remediation = Remediation.read(body)
            observed = governed.modes[remediation.spec.phase] is Mode.OBSERVE
            state = remediation.status.state or State.PROPOSED
            if state not in BEFORE or (state is State.BLOCKED and _left_standing(remediation)):
                continue
            if observed:
                key = Key(REMEDIATIONS, self.key.namespace, name)
                cluster.delete(key)
                self.services.cache.drop(key)
                self.services.fleet.drop_remediation(key)
            elif name not in steps and remediation.status.stack is None:
                self._supersede(body)

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

    def _renew(self, remediation: Remediation, proposal: Proposal) -> None:
        """A changed intent replaces the old one, unless a change is under way; approvals of the old one are void."""
        state = remediation.status.state or State.PROPOSED
        key = Key(REMEDIATIONS, self.key.namespace, remediation.metadata.name)
        same = remediation.spec.intent.digest == proposal.digest
        if state in UNDER_WAY or (same and state is not State.SUPERSEDED):
            return
        if state is State.APPLIED or (state in (State.FAILED, State.BLOCKED) and _left_standing(remediation)):
            return
        another_way = remediation.spec.way is not proposal.way
        if not same:
            before = self.services.cluster.get(key)
            if before is None:
                return
            wanted = documents.remediation_spec(proposal, self.key.name)
            kept = {name: value for name, value in before["spec"].items() if name != "approvals"}
            answer = self.services.cluster.patch(key, {"spec": documents.merge_patch(kept, wanted)})
            if answer is not None:
                self.remember(answer)
            remediation = Remediation.read(answer or before)
        message = "The finding is back" if same else "The intent changed; earlier approvals do not count"
        anew: dict[str, Any] = {"attempt": None, "changeSet": None, "settlesUntil": None, "after": None, "steps": None}
        if another_way:
            anew["stack"] = None
        self._enter(remediation, State.PROPOSED, ConditionReason.PROPOSED, message, anew)

    def _supersede(self, body: Object) -> None:
        message = "What it would fix is fixed, or can no longer be fixed this way"
        self._enter(Remediation.read(body), State.SUPERSEDED, ConditionReason.SUPERSEDED, message, {})

    def _enter(
        self, remediation: Remediation, state: State, reason: ConditionReason, message: str, members: Mapping[str, Any]
    ) -> None:
        """Another state, for what happens to a proposal without a step of its own."""
        key = Key(REMEDIATIONS, self.key.namespace, remediation.metadata.name)
        generation, now = remediation.metadata.generation or 1, self.services.clock()
        conditions = remediation.status.conditions
        for kind, status in (
            (ConditionType.READY, state is State.SUPERSEDED),
            (ConditionType.RECONCILING, False),
            (ConditionType.STALLED, False),
        ):
            conditions = set_condition(conditions, kind, status, reason, message, generation, now)
        history = [h.model_dump(mode="json", by_alias=True, exclude_none=True) for h in remediation.status.history]
        entry = {"state": state.value, "at": written(now), "message": message}
        patch = {
            **members,
            "state": state.value,
            "observedGeneration": generation,
            "history": [*history, entry][-MOST_HISTORY:],
            "conditions": conditions_document(conditions),
        }
        answer = self.services.cluster.patch_status(key, patch)
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


def _left_standing(remediation: Remediation) -> bool:
    """Whether a failed change left something behind, to be undone before anything else is made in its place."""
    if any(step.made_at is not None and step.undone_at is None for step in remediation.status.steps):
        return True
    stack = remediation.status.stack if remediation.spec.way is not Way.OWNER_STACK else None
    gone = (None, "REVIEW_IN_PROGRESS", "DELETE_COMPLETE", "ROLLBACK_COMPLETE")
    return stack is not None and stack.status not in gone
