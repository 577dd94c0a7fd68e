"""The ReadinessReport objects: written when they say something new, announced by events on transitions only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from passmuster.api.account import AWSAccount
from passmuster.api.conditions import (
    ConditionReason,
    ConditionType,
    conditions_document,
    set_condition,
    stored_conditions,
)
from passmuster.api.policy import ReadinessPolicy
from passmuster.api.report import MOST_FINDINGS, ReadinessReportStatus
from passmuster.api.resource import API_VERSION
from passmuster.assess.changes import Changes, compare
from passmuster.assess.plan import Plan
from passmuster.aws.collector import billed_readings
from passmuster.engine import documents, evidence
from passmuster.engine.fleet import Figures
from passmuster.engine.inspection import Outcome
from passmuster.engine.ports import REPORTS, Key, Object
from passmuster.engine.services import REPORT_HEARTBEAT, Services
from passmuster.engine.statuses import PolicyWriter, policy_event, write_status
from passmuster.model.errors import EvidenceRefused
from passmuster.model.report import Report
from passmuster.model.verdict import Status, level_order
from passmuster.remediation.rendering import digest_of

LONGEST_NAME = 253 - len("-123456789012")
"""Characters of a policy's name, so that its reports have one that Kubernetes takes."""


def report_key(policy: Key, account_id: str) -> Key:
    """One report per policy and account."""
    return Key(REPORTS, policy.namespace, f"{policy.name}-{account_id}")


def write_report(
    services: Services,
    owner: Key,
    policy: ReadinessPolicy,
    account: AWSAccount,
    outcome: Outcome,
    plan: Plan,
    previous: Report | None,
) -> None:
    """The report of an inspection: in the cluster and in the account's evidence store if it says something new, in the
    metrics always. `previous` is the report before it."""
    key = report_key(owner, outcome.report.account_id)
    document = documents.report_document(key.name, key.namespace, owner.name, outcome.report, plan)
    billed = documents.billed_documents(billed_readings(outcome.snapshot))
    stored = services.cluster.get(key)
    if stored is not None and not _is_of(stored, policy):
        services.cluster.delete(key)
        stored = None
    if stored is None:
        document["metadata"]["ownerReferences"] = [owner_reference(owner, policy)]
        stored = services.cluster.create(REPORTS, {k: v for k, v in document.items() if k != "status"})
    before = stored.get("status") or {}
    changes = _changes(before, previous, outcome.report)
    told = _Told(outcome.report, plan, changes, before)
    kept = _keep(services, owner, account, told, silent=policy.spec.suspend)
    status = {**document["status"], "billed": billed, **documents.changes_documents(changes, MOST_FINDINGS)}
    if kept.stored:
        status["evidence"] = kept.stored
    status = documents.trimmed({**document, "status": status})["status"]
    status["observedGeneration"] = stored["metadata"].get("generation") or 1
    status["conditions"] = _conditions(services, before, kept, status["observedGeneration"])
    status = ReadinessReportStatus.model_validate(status).body()
    _tell(services, policy, kept, before)
    same = documents.substance(before) == documents.substance(status)
    if not same or _aged(before, status) or _paid(before) != _paid(status):
        write_status(services, key, before, status)
    merged = {**stored, "status": status}
    services.fleet.put(key, Figures.of(owner, merged, policy.spec.minimum_score))


def _is_of(stored: Object, policy: ReadinessPolicy) -> bool:
    """Whether a report is this policy's: that of another one of its name, deleted since, goes with that one."""
    return any(owner["uid"] == policy.metadata.uid for owner in stored["metadata"].get("ownerReferences") or ())


def correct_report(
    services: Services, owner: Key, policy: ReadinessPolicy, stored: Mapping[str, Any], corrected: Mapping[str, Any]
) -> None:
    """Writes a stored report from which something was taken out, without an inspection."""
    key = Key.of(REPORTS, stored)
    status = ReadinessReportStatus.model_validate(corrected["status"]).body()
    answer = write_status(services, key, stored["status"], status)
    if answer is not None:
        services.fleet.put(key, Figures.of(owner, answer, policy.spec.minimum_score))


def _changes(before: Mapping[str, Any], previous: Report | None, report: Report) -> Changes | None:
    """What changed since the previous inspection; where nothing did, what the stored report tells stays true."""
    found = compare(previous, report) if previous is not None else None
    return found if found else documents.restored_changes(before)


@dataclass(frozen=True, slots=True)
class _Kept:
    """How it stands with the evidence store: `stored` is the status member, `refused` why this report is not there."""

    asked: bool
    stored: Mapping[str, Any] = field(default_factory=dict)
    refused: EvidenceRefused | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    """What there is to keep, and the status of the report as it was stored before."""

    report: Report
    plan: Plan
    changes: Changes | None
    before: Mapping[str, Any]


def _keep(services: Services, owner: Key, account: AWSAccount, told: _Told, *, silent: bool) -> _Kept:
    """Keeps the full report if it is due; `silent` while no AWS call may be made."""
    if account.spec.evidence is None:
        return _Kept(asked=False)
    report, plan, changes = told.report, told.plan, told.changes
    earlier = evidence.kept_of(account, told.before)
    name = report_key(owner, report.account_id).name
    document = documents.report_document(name, owner.namespace, owner.name, report, plan, limit=None, changes=changes)
    content, now = evidence.content_of(document, report.checks), services.clock()
    if silent or not evidence.is_due(earlier, content, now) or not services.cluster.leading():
        return _Kept(asked=True, stored=earlier)
    inspection = report.inspection
    as_json, as_html = evidence.keys(
        report.account_id, owner.namespace, owner.name, inspection.id, inspection.started_at
    )
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        store = evidence.store_of(services, account)
        uri = store.put(as_json, text.encode(), "application/json")
        if services.page is not None:
            page = services.page(report, plan, changes, str(owner))
            store.put(as_html, page.encode(), "text/html; charset=utf-8")
    except EvidenceRefused as refused:
        return _Kept(asked=True, stored=earlier, refused=refused)
    made = evidence.Stored(uri, digest_of(text), content, inspection.id, now)
    return _Kept(asked=True, stored=made.document())


def _conditions(services: Services, before: Mapping[str, Any], kept: _Kept, generation: int) -> list[dict[str, Any]]:
    conditions = stored_conditions(before)
    message = "The report holds the last inspection"
    now = services.clock()
    conditions = set_condition(
        conditions, ConditionType.READY, True, ConditionReason.SUCCEEDED, message, generation, now
    )
    kind = ConditionType.EVIDENCE_STORED
    if not kept.asked:
        conditions = [condition for condition in conditions if condition.type is not kind]
    elif kept.refused is not None:
        said = documents.sentence(str(kept.refused))
        conditions = set_condition(conditions, kind, False, kept.refused.reason, said, generation, now)
    elif kept.stored:
        said = f"The full report is kept at {kept.stored['uri']}"
        conditions = set_condition(conditions, kind, True, ConditionReason.EVIDENCE_KEPT, said, generation, now)
    return conditions_document(conditions)


def _tell(services: Services, policy: ReadinessPolicy, kept: _Kept, before: Mapping[str, Any]) -> None:
    """An event when the store begins to refuse, or refuses for another reason, and when it takes reports again."""
    earlier = next((c for c in before.get("conditions") or () if c["type"] == ConditionType.EVIDENCE_STORED), None)
    was_refused = earlier is not None and earlier["status"] == "False"
    if kept.refused is not None:
        if earlier is None or earlier["reason"] != kept.refused.reason:
            said = f"The full report was not kept: {kept.refused}"
            policy_event(services, policy, kept.refused.reason, said, warning=True)
    elif was_refused and kept.asked:
        policy_event(services, policy, ConditionReason.EVIDENCE_KEPT, "The evidence store takes reports again")


def announce(writer: PolicyWriter, previous: Report | None, report: Report) -> None:
    """Events on transitions only: level, checks that begin or cease to fail, the catalogue."""
    if previous is None:
        score = documents.tenths(report.score)
        writer.event("Inspected", f"First inspection: level {report.level}, score {score}")
        announce_raised(writer, None, report)
        return
    if previous.level != report.level:
        fell = level_order(report.level) < level_order(previous.level)
        word = "LevelFell" if fell else "LevelRose"
        writer.event(word, f"Level {previous.level} -> {report.level}", warning=fell)
    if previous.catalogue_version and previous.catalogue_version != report.catalogue_version:
        versions = f"{previous.catalogue_version} -> {report.catalogue_version}"
        writer.event("CatalogueChanged", f"The catalogue of checks changed: {versions}; scores may move")
    announce_raised(writer, previous, report)
    before = {c.id: c.status for c in previous.checks}
    for check in report.checks:
        if check.id in before and before[check.id] is not check.status:
            failing = check.status is Status.FAIL
            name = {Status.FAIL: "CheckFailing", Status.PASS: "CheckPassing"}.get(check.status)
            if name is not None:
                why = f": {check.failures[0].message}" if failing and check.failures else ""
                writer.event(name, f"{check.id} {before[check.id]} -> {check.status}{why}", warning=failing)


def announce_raised(writer: PolicyWriter, previous: Report | None, report: Report) -> None:
    """Events about parameters that a floor of the account made stricter, when one begins to."""
    known = {str(raised) for raised in previous.raised} if previous is not None else set()
    for told in sorted({str(raised) for raised in report.raised} - known):
        writer.event(ConditionReason.PARAMETER_RAISED_TO_FLOOR, told)


def owner_reference(owner: Key, policy: ReadinessPolicy) -> dict[str, Any]:
    """What ties an object to its policy, so that the cluster removes it with the policy."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ReadinessPolicy",
        "name": owner.name,
        "uid": policy.metadata.uid or "",
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _paid(status: Mapping[str, Any]) -> dict[str, str]:
    """When each answer was read that AWS billed: what was paid for must be there for a process that follows."""
    return {one["request"]["mark"]: one["observedAt"] for one in status.get("billed") or ()}


def _aged(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    old = (before.get("inspection") or {}).get("startedAt")
    new = str(after["inspection"]["startedAt"])
    return old is None or abs(datetime.fromisoformat(new) - datetime.fromisoformat(old)) >= REPORT_HEARTBEAT
