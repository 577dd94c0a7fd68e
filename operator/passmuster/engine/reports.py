"""The ReadinessReport objects: written when they say something new, announced by events on transitions only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from passmuster.api.conditions import Condition, ConditionReason, ConditionType, set_condition
from passmuster.api.policy import ReadinessPolicy
from passmuster.api.report import ReadinessReportStatus
from passmuster.api.resource import API_VERSION
from passmuster.assess.plan import Plan
from passmuster.aws.collector import billed_readings
from passmuster.engine import documents
from passmuster.engine.fleet import Figures
from passmuster.engine.inspection import Outcome
from passmuster.engine.ports import REPORTS, Key
from passmuster.engine.services import REPORT_HEARTBEAT, Services
from passmuster.engine.statuses import PolicyWriter
from passmuster.model.report import Report
from passmuster.model.verdict import Status, level_order


def report_key(policy: Key, account_id: str) -> Key:
    """One report per policy and account."""
    return Key(REPORTS, policy.namespace, f"{policy.name}-{account_id}")


def write_report(services: Services, owner: Key, policy: ReadinessPolicy, outcome: Outcome, plan: Plan) -> None:
    """The report of an inspection: in the cluster if it says something new, in the metrics always."""
    key = report_key(owner, outcome.report.account_id)
    document = documents.report_document(key.name, key.namespace, owner.name, outcome.report, plan)
    billed = documents.billed_documents(billed_readings(outcome.snapshot))
    status = documents.trimmed({**document, "status": {**document["status"], "billed": billed}})["status"]
    stored = services.cluster.get(key)
    if stored is None:
        document["metadata"]["ownerReferences"] = [owner_reference(owner, policy)]
        stored = services.cluster.create(REPORTS, {k: v for k, v in document.items() if k != "status"})
    before = stored.get("status") or {}
    status["observedGeneration"] = stored["metadata"].get("generation") or 1
    status["conditions"] = _conditions(services, before, status["observedGeneration"])
    status = ReadinessReportStatus.model_validate(status).body()
    same = documents.substance(before) == documents.substance(status)
    if not same or _aged(before, status):
        answer = services.cluster.patch_status(key, documents.merge_patch(before, status))
        services.counters.wrote()
        if answer is not None:
            services.cache.put(key, answer)
    merged = {**stored, "status": status}
    services.fleet.put(key, Figures.of(owner, merged, policy.spec.minimum_score))


def _conditions(services: Services, before: Mapping[str, Any], generation: int) -> list[dict[str, Any]]:
    conditions = [Condition.model_validate(c) for c in before.get("conditions") or ()]
    message = "The report holds the last inspection"
    conditions = set_condition(
        conditions,
        ConditionType.READY,
        True,
        ConditionReason.SUCCEEDED,
        message,
        generation,
        services.clock(),
    )
    return [c.model_dump(mode="json", by_alias=True) for c in conditions]


def announce(writer: PolicyWriter, previous: Report | None, report: Report) -> None:
    """Events on transitions only: level, checks that begin or cease to fail, the catalogue."""
    if previous is None:
        score = documents.tenths(report.score)
        writer.event("Inspected", f"First inspection: level {report.level}, score {score}")
        return
    if previous.level != report.level:
        fell = level_order(report.level) < level_order(previous.level)
        word = "LevelFell" if fell else "LevelRose"
        writer.event(word, f"Level {previous.level} -> {report.level}", warning=fell)
    if previous.catalogue_version and previous.catalogue_version != report.catalogue_version:
        versions = f"{previous.catalogue_version} -> {report.catalogue_version}"
        writer.event("CatalogueChanged", f"The catalogue of checks changed: {versions}; scores may move")
    before = {c.id: c.status for c in previous.checks}
    for check in report.checks:
        if check.id in before and before[check.id] is not check.status:
            failing = check.status is Status.FAIL
            name = {Status.FAIL: "CheckFailing", Status.PASS: "CheckPassing"}.get(check.status)
            if name is not None:
                why = f": {check.failures[0].message}" if failing and check.failures else ""
                writer.event(name, f"{check.id} {before[check.id]} -> {check.status}{why}", warning=failing)


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


def _aged(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    old = (before.get("inspection") or {}).get("startedAt")
    new = str(after["inspection"]["startedAt"])
    return old is None or datetime.fromisoformat(new) - datetime.fromisoformat(old) >= REPORT_HEARTBEAT
