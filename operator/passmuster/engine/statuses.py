"""The status of policies and accounts: what the conditions say, what kubectl prints, and when it is written.

The one place where these are decided; a turn collects what it found out and hands it here. Nothing is written that
says nothing new, apart from a heartbeat. Reports and grants are written by `write_status`, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from passmuster.api.account import AWSAccount, AWSAccountStatus
from passmuster.api.conditions import (
    ConditionReason,
    ConditionType,
    conditions_document,
    set_condition,
    stored_conditions,
)
from passmuster.api.policy import ReadinessPolicy, ReadinessPolicyStatus
from passmuster.api.remediation import Remediation, State
from passmuster.assess import grants
from passmuster.assess.plan import Plan
from passmuster.engine import documents
from passmuster.engine.life import BEFORE, UNDER_WAY
from passmuster.engine.ports import ACCOUNTS, POLICIES, Key, Object
from passmuster.engine.services import HEARTBEAT, Services
from passmuster.model.errors import AccountError, TenancyError, UserError
from passmuster.model.report import Report
from passmuster.model.verdict import Reason, level_order

_WORDS = {Reason.DENIED: "denied", Reason.THROTTLED: "throttled", Reason.STALE: "not read in time"}


@dataclass(slots=True)
class Verdict:
    """What a turn found out about one account of a policy; `due_in` is when to look again, in seconds."""

    account: str
    report: Report | None = None
    plan: Plan | None = None
    error: AccountError | TenancyError | UserError | None = None
    due_in: float = 0.0


def write_status(services: Services, key: Key, stored: Mapping[str, Any], status: Mapping[str, Any]) -> Object | None:
    """Writes what is new in a status; the object as it is then, None where nothing is new or the object is gone."""
    patch = documents.merge_patch(stored, status)
    if not patch:
        return None
    answer = services.cluster.patch_status(key, patch)
    services.counters.wrote()
    if answer is not None:
        services.cache.put(key, answer)
    return answer


def policy_event(
    services: Services, policy: ReadinessPolicy, reason: str, message: str, *, warning: bool = False
) -> None:
    """Posts an event about a policy, where its status is not written."""
    body = {"metadata": policy.metadata.model_dump(include={"name", "namespace", "uid"})}
    services.cluster.event(body, kind="ReadinessPolicy", reason=reason, message=message, warning=warning)


class PolicyWriter:
    """Collects the new status of one policy and writes it if it says something new."""

    def __init__(self, services: Services, body: Object) -> None:
        self._services = services
        self._body = body
        self.key = Key.of(POLICIES, body)
        self._stored: Mapping[str, Any] = body.get("status") or {}
        self._conditions = stored_conditions(self._stored)
        self._generation = body["metadata"].get("generation") or 1

    def condition(self, kind: ConditionType, status: bool | None, reason: str, message: str) -> None:
        """Sets one condition."""
        now = self._services.clock()
        if not message:
            message = "-"
        self._conditions = set_condition(
            self._conditions, kind, status, reason, documents.sentence(message), self._generation, now
        )

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Posts an event about the policy."""
        self._services.cluster.event(
            self._body, kind="ReadinessPolicy", reason=reason, message=documents.sentence(message), warning=warning
        )

    def reason_before(self, kind: ConditionType) -> str | None:
        """The reason a condition had before this turn."""
        return next((c["reason"] for c in self._stored.get("conditions") or () if c["type"] == kind.value), None)

    def save(self, members: Mapping[str, Any]) -> None:
        """Writes the status with these members, if it says something new or the last one is old.

        The account that the policy names is shown also where there is no verdict on it.
        """
        known = {**self._stored, **members}
        named = ((self._body.get("spec") or {}).get("accountRef") or {}).get("name")
        status = {
            **known,
            "summary": {**(known.get("summary") or {}), **({"account": named} if named else {})},
            "observedGeneration": self._generation,
            "conditions": conditions_document(self._conditions),
        }
        status = ReadinessPolicyStatus.model_validate(status).body()
        if documents.substance(self._stored) != documents.substance(status) or self._heartbeat_due(status):
            write_status(self._services, self.key, self._stored, status)

    def _heartbeat_due(self, status: Mapping[str, Any]) -> bool:
        before = (self._stored.get("lastInspection") or {}).get("startedAt")
        after = (status.get("lastInspection") or {}).get("startedAt")
        if before is None or after is None:
            return before != after
        return abs(datetime.fromisoformat(after) - datetime.fromisoformat(before)) >= HEARTBEAT


def write_account(services: Services, account: AWSAccount, policies: int, error: AccountError | None) -> None:
    """The status of an AWSAccount: whether it answered, and how many policies use it."""
    key = Key(ACCOUNTS, "", account.metadata.name)
    body = services.cache.get(key)
    if body is None:
        return
    stored: Mapping[str, Any] = body.get("status") or {}
    generation = body["metadata"].get("generation") or 1
    conditions = stored_conditions(stored)
    now = services.clock()

    def put(kind: ConditionType, status: bool | None, reason: str, message: str) -> None:
        nonlocal conditions
        conditions = set_condition(conditions, kind, status, reason, documents.sentence(message), generation, now)

    if policies == 0:
        message = "No policy uses the account, so its role was not tried"
        put(ConditionType.READY, True, ConditionReason.NOT_USED, message)
        put(ConditionType.CREDENTIALS_VALID, None, ConditionReason.NOT_USED, message)
    elif error is None:
        cross = account.spec.role_arn is not None and not account.spec.external_id
        confirmed = "GetCallerIdentity answered with this account"
        reason = ConditionReason.IDENTITY_CONFIRMED
        if cross:
            reason = ConditionReason.EXTERNAL_ID_MISSING
            confirmed += "; without externalId whoever may use the operator could be used to reach the role"
        put(ConditionType.READY, True, ConditionReason.SUCCEEDED, "The account can be inspected")
        put(ConditionType.CREDENTIALS_VALID, True, reason, confirmed)
    else:
        put(ConditionType.READY, False, error.reason, str(error))
        put(ConditionType.CREDENTIALS_VALID, False, error.reason, str(error))
    put(ConditionType.STALLED, error is not None and not error.retryable, _reason(error), str(error or "-"))
    put(ConditionType.RECONCILING, error is not None and error.retryable, _reason(error), str(error or "-"))
    status = {
        **stored,
        "observedGeneration": generation,
        "policies": policies,
        "conditions": conditions_document(conditions),
    }
    write_status(services, key, stored, AWSAccountStatus.model_validate(status).body())


def _reason(error: AccountError | None) -> str:
    return error.reason if error is not None else ConditionReason.SUCCEEDED


def refuse(writer: PolicyWriter, refused: TenancyError, token: str | None) -> None:
    """The account's rules refuse the policy: it stalls until somebody changes something."""
    changed = writer.reason_before(ConditionType.STALLED) != refused.reason
    writer.condition(ConditionType.READY, False, refused.reason, str(refused))
    writer.condition(ConditionType.RECONCILING, False, refused.reason, str(refused))
    writer.condition(ConditionType.STALLED, True, refused.reason, str(refused))
    if changed:
        writer.event(refused.reason, str(refused), warning=True)
    writer.save({"lastHandledReconcileAt": token} if token else {})


def sum_up(
    writer: PolicyWriter,
    accounts: Sequence[AWSAccount],
    verdicts: Sequence[Verdict],
    remediations: Sequence[Remediation],
    token: str | None,
) -> None:
    """The whole status of a policy from what a turn found out; of several accounts the worst."""
    errors = [v for v in verdicts if v.error is not None]
    reports = [v.report for v in verdicts if v.report is not None]
    if errors:
        _say_error(writer, errors, len(verdicts))
    elif reports:
        _say_done(writer, reports)
    members: dict[str, Any] = {"accounts": len(accounts)}
    if token is not None:
        members["lastHandledReconcileAt"] = token
    made_now = all(
        report.phases for report in reports
    )  # a report restored after a restart has none: it says nothing new
    if reports and made_now:
        members |= _members(accounts, verdicts, reports)
        _say_compliance(writer, reports)
        _say_pending(writer, remediations)
    writer.save(members)


def suspend(
    writer: PolicyWriter, accounts: Sequence[AWSAccount], verdicts: Sequence[Verdict], token: str | None
) -> None:
    """The status of a suspended policy; `verdicts` are those that changed with what people grant, if any did."""
    message = "Suspended by spec.suspend: no AWS call is made"
    writer.condition(ConditionType.READY, None, ConditionReason.SUSPENDED, message)
    writer.condition(ConditionType.RECONCILING, False, ConditionReason.SUSPENDED, message)
    writer.condition(ConditionType.STALLED, False, ConditionReason.SUSPENDED, message)
    members: dict[str, Any] = {"lastHandledReconcileAt": token} if token else {}
    reports = [v.report for v in verdicts if v.report is not None]
    if reports and len(reports) == len(accounts):
        members |= _members(accounts, verdicts, reports)
        _say_compliance(writer, reports)
    writer.save(members)


def _say_error(writer: PolicyWriter, errors: Sequence[Verdict], accounts: int) -> None:
    error = errors[0].error
    if error is None:
        return
    where = f" ({errors[0].account}, {len(errors)} of {accounts} accounts)" if accounts > 1 else ""
    message = f"{error}{where}"
    if isinstance(error, TenancyError):
        changed = writer.reason_before(ConditionType.STALLED) != error.reason
    else:
        changed = writer.reason_before(ConditionType.CREDENTIALS_VALID) != error.reason
        kind = ConditionType.CREDENTIALS_VALID
        writer.condition(kind, False if error.reason != "AccountUnreachable" else None, error.reason, message)
        reason = ConditionReason.INSPECTION_FAILED
        writer.condition(ConditionType.INSPECTED, False, reason, "Nothing of the account could be judged")
    writer.condition(ConditionType.READY, False, error.reason, message)
    writer.condition(ConditionType.RECONCILING, error.retryable, error.reason, message)
    writer.condition(ConditionType.STALLED, not error.retryable, error.reason, message)
    if changed:
        writer.event(error.reason, message, warning=True)


def _say_done(writer: PolicyWriter, reports: Sequence[Report]) -> None:
    judged = sum(len(r.checks) for r in reports)
    message = f"Inspected {judged} checks" + (f" in {len(reports)} accounts" if len(reports) > 1 else "")
    writer.condition(ConditionType.READY, True, ConditionReason.SUCCEEDED, message)
    writer.condition(ConditionType.RECONCILING, False, ConditionReason.SUCCEEDED, message)
    writer.condition(ConditionType.STALLED, False, ConditionReason.SUCCEEDED, message)
    confirmed = "The account answered with the configured identity"
    writer.condition(ConditionType.CREDENTIALS_VALID, True, ConditionReason.IDENTITY_CONFIRMED, confirmed)
    refused = [refusal for r in reports for refusal in r.inspection.refusals]
    unknown = sum(r.counts.unknown for r in reports)
    if refused:
        throttled = all(refusal.reason.value == "Throttled" for refusal in refused)
        reason = ConditionReason.THROTTLED if throttled else ConditionReason.PARTIAL_INSPECTION
        noun = "check is" if unknown == 1 else "checks are"
        calls = ", ".join(dict.fromkeys(f"{r.call} {_WORDS.get(r.reason, 'failed')}" for r in refused))
        writer.condition(ConditionType.INSPECTED, True, reason, f"{unknown} {noun} Unknown: {calls}"[:1000])
    else:
        complete = "Every read of the last inspection succeeded"
        writer.condition(ConditionType.INSPECTED, True, ConditionReason.INSPECTION_COMPLETE, complete)


def _say_compliance(writer: PolicyWriter, reports: Sequence[Report]) -> None:
    order = {False: 0, None: 1, True: 2}
    worst = min(reports, key=lambda r: order[r.compliant])
    message = worst.compliant_message
    if ending := grants.ending_soon(grant for report in reports for grant in report.grants):
        message += f"; expires within 14 days: {ending}"
    writer.condition(ConditionType.COMPLIANT, worst.compliant, worst.compliant_reason, message)


def _say_pending(writer: PolicyWriter, remediations: Sequence[Remediation]) -> None:
    pending = [r for r in remediations if (r.status.state or State.PROPOSED) in BEFORE | UNDER_WAY]
    awaiting = [r for r in pending if r.status.state is State.AWAITING_APPROVAL]
    busy = [r for r in pending if r.status.state in UNDER_WAY]
    kind = ConditionType.REMEDIATION_PENDING
    if busy:
        message = f"{len(busy)} under way, {len(pending)} pending"
        writer.condition(kind, True, ConditionReason.EXECUTING, message)
    elif awaiting:
        message = f"{len(pending)} proposed, {len(awaiting)} awaiting approval"
        writer.condition(kind, True, ConditionReason.AWAITING_APPROVAL, message)
    elif pending:
        writer.condition(kind, True, ConditionReason.PROPOSED, f"{len(pending)} proposed, none awaits approval")
    else:
        writer.condition(kind, False, ConditionReason.NOTHING_PENDING, "No remediation is left to carry out")


def _members(accounts: Sequence[AWSAccount], verdicts: Sequence[Verdict], reports: Sequence[Report]) -> dict[str, Any]:
    lowest = min(reports, key=lambda r: level_order(r.level))
    scores = [r.score for r in reports]
    points = None if None in scores else min(s for s in scores if s is not None)
    coverages = [r.coverage for r in reports if r.coverage is not None]
    known = min(coverages, default=None)
    totals = [documents.counts_document(r.counts) for r in reports]
    oldest = min(reports, key=lambda r: r.inspection.started_at)
    plans = {id(v.report): v.plan for v in verdicts}
    name = accounts[0].metadata.name if len(accounts) == 1 else f"{len(accounts)} accounts"
    return {
        "summary": {
            "account": name,
            "score": documents.tenths(points),
            "coverage": documents.tenths(known),
        },
        "level": lowest.level,
        "score": points,
        "coverage": known,
        "checks": {key: sum(total[key] for total in totals) for key in totals[0]},
        "criticalFailing": sum(r.critical_failing for r in reports),
        "next": documents.next_level(lowest, plans.get(id(lowest))) if lowest.phases else None,
        "lastInspection": documents.inspection_document(oldest.inspection),
    }
