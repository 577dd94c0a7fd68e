"""Reports, plans and proposals as the documents people see: status of objects, and what the command line prints.

One shape serves both: a ReadinessReport. In the cluster it is a digest (at most ten findings of a check, 256 KiB in
all); on the command line nothing is left out. Written by the reconciler, read back after a restart.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from passmuster.api.conditions import begins_well
from passmuster.api.fields import written
from passmuster.api.report import MOST_FINDINGS, MOST_GRANTS, MOST_RESOURCES
from passmuster.api.resource import API_VERSION
from passmuster.assess import scoring
from passmuster.assess.changes import Changes, Digest, Moved, Sighting
from passmuster.assess.plan import Plan, Step
from passmuster.engine.grant_documents import grant_documents, restored_grants
from passmuster.inventory.call import Call, Request
from passmuster.inventory.snapshot import Reading, mark
from passmuster.model.finding import Finding
from passmuster.model.parameter import Raised
from passmuster.model.report import CheckResult, Counts, Inspection, Refusal, Report
from passmuster.model.verdict import NO_LEVEL, Category, Phase, Reason, Severity, Status, level_order
from passmuster.remediation.rendering import Proposal

Document = dict[str, Any]

MOST_BYTES = 256 * 1024 - 8 * 1024
"""Bytes of a report in the cluster, with room for its metadata."""

MOST_ENTRIES = 500
"""Steps of the plan, refused reads and billed answers that a report in the cluster holds."""

_GRAVITY = (Status.FAIL, Status.UNKNOWN, Status.PASS, Status.NOT_APPLICABLE)
VOLATILE = frozenset({"observedAt", "lastInspection", "inspection", "billed"})
"""Members that change with every inspection and say nothing new; see `substance`."""


def report_document(
    name: str,
    namespace: str,
    policy: str,
    report: Report,
    plan: Plan | None,
    *,
    limit: int | None = MOST_FINDINGS,
    changes: Changes | None = None,
) -> Document:
    """A ReadinessReport object. `limit` None leaves no finding out; `changes` is what is different since before."""
    document: Document = {
        "apiVersion": API_VERSION,
        "kind": "ReadinessReport",
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "spec": {"policyRef": {"name": policy}, "accountId": report.account_id},
        "status": {**report_status(report, plan, limit), **changes_documents(changes, limit)},
    }
    return document if limit is None else trimmed(document)


def report_status(report: Report, plan: Plan | None, limit: int | None) -> Document:
    """The status of a ReadinessReport."""
    by_check = _remediation_names(plan)
    return {
        "catalogueVersion": report.catalogue_version,
        **sums_document(report),
        "regions": list(report.regions),
        "checks": [check_document(c, by_check.get(c.id), limit) for c in report.checks],
        **grant_documents(report.grants, None if limit is None else MOST_GRANTS),
        "raised": [
            {"check": r.check, "parameter": r.parameter, "asked": _plain(r.asked), "floor": _plain(r.floor)}
            for r in report.raised
        ],
        "plan": [
            step_document(step) if limit is not None else whole_step_document(step)
            for step in _first(limit, plan.steps if plan is not None else ())
        ],
        "inspection": inspection_document(report.inspection),
        "refusals": [
            {
                "call": r.call,
                "action": r.action,
                "region": r.region,
                "reason": r.reason.value,
                "code": r.code,
                "checks": list(r.checks),
            }
            for r in _first(limit, report.inspection.refusals)
        ],
    }


def sums_document(report: Report) -> Document:
    """What a report says as a whole: the members of its status that follow from its checks and what is declared."""
    return {
        "summary": {"score": tenths(report.score), "coverage": tenths(report.coverage)},
        "declared": report.declared.value,
        "level": report.level,
        "score": report.score,
        "coverage": report.coverage,
        "counts": counts_document(report.counts),
        "criticalFailing": report.critical_failing,
        "categories": [
            {"name": c.category.value, "score": c.score, **counts_document(c.counts)} for c in report.categories
        ],
        "phases": [
            {"name": p.phase.value, "complete": p.complete, "score": p.score, "missing": list(p.missing)}
            for p in report.phases
        ],
        "compliance": {
            "status": {True: "True", False: "False", None: "Unknown"}[report.compliant],
            "reason": report.compliant_reason,
            "message": report.compliant_message,
        },
    }


def changes_documents(changes: Changes | None, limit: int | None) -> Document:
    """The members `previous` and `changes` of a report's status; none where there is nothing to compare with."""
    if changes is None:
        return {}
    before = changes.before
    appeared, gone = (each if limit is None else each[:MOST_RESOURCES] for each in (changes.appeared, changes.gone))
    return {
        "previous": {
            "id": before.inspection,
            "startedAt": written(before.started_at),
            "declared": before.declared,
            "level": before.level,
            "score": before.score,
            "coverage": before.coverage,
            "criticalFailing": before.critical_failing,
            "counts": counts_document(before.counts),
            "catalogueVersion": before.catalogue_version,
            "checks": dict(sorted(before.checks.items())),
        },
        "changes": {
            "foundAt": written(changes.found_at),
            "levelAfter": changes.level_after,
            "scoreAfter": changes.score_after,
            "checks": [{"id": m.id, "before": m.before, "after": m.after} for m in changes.checks],
            "appeared": [_sighting_document(one) for one in appeared],
            "moreAppeared": changes.more_appeared + len(changes.appeared) - len(appeared),
            "gone": [_sighting_document(one) for one in gone],
            "moreGone": changes.more_gone + len(changes.gone) - len(gone),
        },
    }


def _sighting_document(sighting: Sighting) -> Document:
    return {"check": sighting.check, "region": sighting.region, "resource": sighting.resource}


def restored_changes(status: Mapping[str, Any]) -> Changes | None:
    """The last change that a stored report tells of; None where it tells of none."""
    before, told = status.get("previous"), status.get("changes")
    started = _moment((before or {}).get("startedAt"))
    found = _moment((told or {}).get("foundAt"))
    if not before or not told or started is None or found is None:
        return None
    counts = before.get("counts") or {}
    return Changes(
        before=Digest(
            inspection=before.get("id", ""),
            started_at=started,
            declared=before.get("declared") or "",
            level=before.get("level") or NO_LEVEL,
            score=before.get("score"),
            coverage=before.get("coverage"),
            critical_failing=before.get("criticalFailing") or 0,
            counts=Counts(
                passed=counts.get("pass", 0),
                failed=counts.get("fail", 0),
                unknown=counts.get("unknown", 0),
                not_applicable=counts.get("notApplicable", 0),
                disabled=counts.get("disabled", 0),
                waived=counts.get("waived", 0),
            ),
            catalogue_version=before.get("catalogueVersion") or "",
            checks=dict(before.get("checks") or {}),
        ),
        found_at=found,
        checks=tuple(Moved(one["id"], one["before"], one["after"]) for one in told.get("checks") or ()),
        appeared=tuple(_restored_sighting(one) for one in told.get("appeared") or ()),
        gone=tuple(_restored_sighting(one) for one in told.get("gone") or ()),
        level_after=told.get("levelAfter") or NO_LEVEL,
        score_after=told.get("scoreAfter"),
        more_appeared=told.get("moreAppeared") or 0,
        more_gone=told.get("moreGone") or 0,
    )


def _restored_sighting(one: Mapping[str, Any]) -> Sighting:
    return Sighting(one["check"], one.get("region") or "", one["resource"])


def _first(limit: int | None, members: Sequence[Any]) -> Sequence[Any]:
    """As many as the schema of a report lets be in one list, where it is limited at all."""
    return members if limit is None else members[:MOST_ENTRIES]


def counts_document(counts: Counts) -> Document:
    """Numbers of checks by status."""
    return {
        "pass": counts.passed,
        "fail": counts.failed,
        "unknown": counts.unknown,
        "notApplicable": counts.not_applicable,
        "disabled": counts.disabled,
        "waived": counts.waived,
    }


def inspection_document(inspection: Inspection) -> Document:
    """Facts about one pass."""
    return {
        "id": inspection.id,
        "startedAt": written(inspection.started_at),
        "duration": f"{inspection.duration:.1f}s",
        "calls": inspection.calls,
        "billedCalls": inspection.billed_calls,
    }


def check_document(check: CheckResult, remediation: str | None, limit: int | None) -> Document:
    """One check's verdict with its findings, gravest first."""
    ordered = sorted(check.findings, key=lambda f: (_GRAVITY.index(f.status), f.region, f.resource))
    shown = ordered if limit is None else ordered[:limit]
    found = Counter(f.status.value for f in ordered)
    document: Document = {
        "id": check.id,
        "status": check.status.value,
        "category": check.category.value,
        "phase": check.phase.value,
        "severity": check.severity.value,
        "since": written(check.since) if check.since is not None else None,
        "disabled": check.disabled,
        "disabledWithLeave": check.disabled_with_leave,
        "waived": check.waived,
        "findings": [finding_document(f) for f in shown],
        "truncated": len(ordered) - len(shown),
        "counts": {status: found[status] for status in sorted(found)},
    }
    if remediation is not None:
        document["remediation"] = remediation
    return document


def finding_document(finding: Finding) -> Document:
    """One finding."""
    return {
        "status": finding.status.value,
        "region": finding.region,
        "resource": finding.resource,
        "reason": finding.reason.value if finding.reason is not None else None,
        "message": finding.message,
        "warnings": list(finding.warnings),
        "waivedBy": finding.waived_by,
        "attestedBy": finding.attested_by,
        "observed": finding.observed,
        "expected": finding.expected,
        "source": finding.source,
        "observedAt": written(finding.observed_at) if finding.observed_at is not None else None,
    }


def step_document(step: Step) -> Document:
    """One step of the plan."""
    proposal = step.proposal
    document: Document = {
        "remediation": proposal.name,
        "phase": proposal.definition.phase.value,
        "fixes": list(proposal.fixes),
        "monthlyCost": float(proposal.cost.monthly),
        "unpriced": list(proposal.cost.unpriced),
        "risk": proposal.definition.risk,
        "interrupts": proposal.definition.interrupts,
        "levelAfter": step.level_after,
        "scoreAfter": step.score_after,
    }
    if step.blocked is not None:
        document["blocked"] = f"{step.blocked.reason}: {step.blocked.message}"
    return document


def whole_step_document(step: Step) -> Document:
    """One step of the plan with everything that a person decides by; where there is no object that says the rest."""
    proposal = step.proposal
    return {
        **step_document(step),
        "definition": proposal.definition.name,
        "title": proposal.definition.title,
        "description": " ".join(proposal.definition.description.split()),
        "region": proposal.region,
        "target": proposal.target,
        "way": proposal.way.value,
        "waitsFor": list(step.waits_for),
        "leadsTo": list(proposal.definition.leads_to),
        "changes": list(proposal.changes),
        "undo": proposal.definition.undo,
        "positions": [
            {"title": p.title, "monthly": None if p.monthly is None else float(p.monthly)}
            | ({"once": float(p.once)} if p.once is not None else {})
            for p in proposal.cost.positions
        ],
    }


def remediation_spec(proposal: Proposal, policy: str) -> Document:
    """The spec of a Remediation, without approvals."""
    definition = proposal.definition
    return {
        "remediation": definition.name,
        "policyRef": {"name": policy},
        "accountId": proposal.account_id,
        "region": proposal.region,
        "phase": definition.phase.value,
        "way": proposal.way.value,
        "fixes": list(definition.fixes),
        "findings": [{"check": n.check, "region": n.region, "resource": n.resource} for n in proposal.findings],
        "target": proposal.target,
        **_owner(proposal),
        **_instructions(proposal),
        "intent": {
            "digest": proposal.digest,
            "template": proposal.template_digest,
            "parameters": dict(sorted(proposal.parameters.items())),
            "changes": list(proposal.changes),
        },
        "cost": {
            "monthly": float(proposal.cost.monthly),
            "items": [
                {"title": p.title, "quantity": p.quantity, "monthly": float(p.monthly)}
                for p in proposal.cost.positions
                if p.monthly is not None
            ],
            **({"once": float(proposal.cost.once)} if proposal.cost.once else {}),
            "unpriced": list(proposal.cost.unpriced),
        },
        "risk": definition.risk,
        "interrupts": definition.interrupts,
        "requires": list(definition.requires),
        "leadsTo": list(definition.leads_to),
        "undo": definition.undo,
    }


def _owner(proposal: Proposal) -> Document:
    owner = proposal.owner
    if owner is None:
        return {}
    members = {"name": owner.name, "stackId": owner.stack_id, "logicalId": owner.logical_id}
    return {"owner": {"kind": owner.kind.value, **{name: value for name, value in members.items() if value}}}


def _instructions(proposal: Proposal) -> Document:
    given = proposal.instructions
    members: Document = {"console": list(given.console), "cli": list(given.cli), "patch": given.patch}
    said = {name: value for name, value in members.items() if value}
    return {"instructions": said} if said else {}


def next_level(report: Report, plan: Plan | None) -> Document | None:
    """The nearest level above the one reached, what is missing for it, and the cost of the way there."""
    order = level_order(report.level) + 1
    if order >= len(Phase):
        return None
    phase = list(Phase)[order]
    progress = next(p for p in report.phases if p.phase is phase)
    return {
        "level": phase.value,
        "missing": list(progress.missing),
        "monthlyCost": float(plan.monthly_cost(phase)) if plan is not None else None,
    }


def tenths(number: float | None) -> str:
    """A number as a column prints it: one decimal, or a dash."""
    return "-" if number is None else f"{number:.1f}"


def sentence(text: str) -> str:
    """A message as a condition holds it: it begins with a capital letter, unless with a name such as an ARN's."""
    return text if begins_well(text) else text[:1].upper() + text[1:]


def _plain(value: Any) -> str:
    """A parameter's value as YAML would hold it."""
    return json.dumps(value, default=list, ensure_ascii=False)


def _remediation_names(plan: Plan | None) -> Mapping[str, str]:
    if plan is None:
        return {}
    return {check: step.proposal.name for step in reversed(plan.steps) for check in step.proposal.fixes}


def trimmed(document: Document) -> Document:
    """The report within its size: the longest lists are cut first, and no verdict is lost."""
    status = document["status"]
    if "billed" in status:
        status["billed"] = _within(status["billed"], MOST_BYTES // 4)
    excess = _bytes(document) - MOST_BYTES
    while excess > 0:
        lists = [(owner, name) for owner, name in _cuttable(status) if owner[name]]
        if not lists:
            break
        owner, name = max(lists, key=lambda entry: len(entry[0][entry[1]]))
        keep = len(owner[name]) // 2
        excess -= _bytes(owner[name][keep:])
        if name in _LEFT_OUT:
            owner[_LEFT_OUT[name]] += len(owner[name]) - keep
        owner[name] = owner[name][:keep]
    return document


_LEFT_OUT = {"findings": "truncated", "appeared": "moreAppeared", "gone": "moreGone"}
"""Which member counts what was cut from a list."""


def _cuttable(status: Document) -> Iterator[tuple[Document, str]]:
    yield from ((status, name) for name in ("plan", "refusals", "waivers", "attestations") if name in status)
    yield from ((status["changes"], name) for name in ("appeared", "gone") if "changes" in status)
    yield from ((check, "findings") for check in status["checks"])


def _within(rows: Sequence[Document], most: int) -> list[Document]:
    """As many of the first rows as fit into that many bytes."""
    kept: list[Document] = []
    for row in rows[:MOST_ENTRIES]:
        most -= _bytes(row) + 2
        if most < 0:
            break
        kept.append(row)
    return kept


def _bytes(value: Any) -> int:
    return len(json.dumps(value).encode())


def substance(value: Any) -> Any:
    """A status without what changes by itself: two equal substances need no write."""
    if isinstance(value, Mapping):
        return {k: substance(v) for k, v in value.items() if k not in VOLATILE and v is not None}
    if isinstance(value, list):
        return [substance(member) for member in value]
    return value


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> Document:
    """The JSON merge patch that turns one into the other; empty when there is nothing to do."""
    patch: Document = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            inner = merge_patch(old, value)
            if inner:
                patch[name] = inner
        elif value != old and not (value is None and name not in before):
            patch[name] = value
    return patch


def restored_if_known(document: Mapping[str, Any]) -> Report | None:
    """The same as `restored`; also None where another version wrote what this one does not know."""
    try:
        return restored(document)
    except (KeyError, ValueError):
        return None


def restored(document: Mapping[str, Any]) -> Report | None:
    """What a stored report still tells after a restart: statuses, since when, and findings; None without a status.

    Raises KeyError or ValueError where it says what no report of this version says.
    """
    status = document.get("status") or {}
    if not status.get("checks"):
        return None
    inspection = status.get("inspection") or {}
    started = inspection.get("startedAt")
    moment = _moment(started)
    if moment is None:
        return None
    checks = tuple(_restored_check(one) for one in status["checks"])
    return Report(
        account_id=document["spec"]["accountId"],
        regions=tuple(status.get("regions") or ()),
        declared=Phase(status.get("declared") or Phase.PRODUCTION),
        level=_known_level(status.get("level")),
        score=status.get("score"),
        coverage=status.get("coverage"),
        counts=scoring.counts(checks),
        critical_failing=status.get("criticalFailing") or 0,
        categories=(),
        phases=(),
        checks=checks,
        compliant=None,
        compliant_reason="",
        compliant_message="",
        catalogue_version=status.get("catalogueVersion", ""),
        inspection=Inspection(
            inspection.get("id", ""),
            moment,
            0.0,
            inspection.get("calls", 0),
            refusals=tuple(_restored_refusal(one) for one in status.get("refusals") or ()),
        ),
        raised=tuple(_restored_raised(one) for one in status.get("raised") or ()),
        grants=restored_grants(status),
    )


def _known_level(level: str | None) -> str:
    """Raises ValueError for a level that this version does not know."""
    level_order(level or NO_LEVEL)
    return level or NO_LEVEL


def _restored_raised(one: Mapping[str, Any]) -> Raised:
    return Raised(one["check"], one["parameter"], _value(one["asked"]), _value(one["floor"]))


def _value(text: str) -> Any:
    """A parameter's value from its text, which is kept where it was cut."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _restored_refusal(one: Mapping[str, Any]) -> Refusal:
    return Refusal(
        call=one["call"],
        action=one["action"],
        region=one["region"],
        reason=Reason(one["reason"]),
        code=one["code"],
        checks=tuple(one.get("checks") or ()),
    )


def _restored_check(one: Mapping[str, Any]) -> CheckResult:
    return CheckResult(
        id=one["id"],
        title="",
        category=Category(one["category"]),
        phase=Phase(one["phase"]),
        severity=Severity(one["severity"]),
        fix=(),
        status=Status(one["status"]),
        findings=tuple(_restored_finding(f) for f in one.get("findings") or ()),
        disabled=bool(one.get("disabled")),
        disabled_with_leave=bool(one.get("disabledWithLeave")),
        waived=one.get("waived") or 0,
        since=_moment(one.get("since")),
        truncated=one.get("truncated") or 0,
    )


def _restored_finding(finding: Mapping[str, Any]) -> Finding:
    return Finding(
        status=Status(finding["status"]),
        resource=finding["resource"],
        message=finding.get("message", ""),
        region=finding.get("region") or "",
        source=finding.get("source") or "",
        observed_at=_moment(finding.get("observedAt")),
        observed=finding.get("observed") or "",
        expected=finding.get("expected") or "",
        reason=Reason(finding["reason"]) if finding.get("reason") else None,
        warnings=tuple(finding.get("warnings") or ()),
        waived_by=finding.get("waivedBy"),
        attested_by=finding.get("attestedBy"),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def billed_documents(readings: Iterable[tuple[Call, Request, Reading]]) -> list[Document]:
    """Observations that AWS charged for, as a report keeps them across restarts."""
    return [
        {
            "call": call.name,
            "region": request.region,
            "request": {"mark": mark(call, request)},
            "observedAt": written(reading.observed_at),
            "rows": list(reading.rows),
        }
        for call, request, reading in readings
    ]


def carried(documents: Iterable[Mapping[str, Any]]) -> dict[str, Reading]:
    """The billed observations of a stored report, for the snapshot of the next inspection."""
    found = {}
    for document in documents:
        observed = _moment(document.get("observedAt"))
        if observed is not None:
            found[document["request"]["mark"]] = Reading(observed, tuple(document.get("rows") or ()))
    return found
