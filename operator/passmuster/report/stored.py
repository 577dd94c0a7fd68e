"""A stored ReadinessReport as a report for people again: from a file, from an evidence store, or from the cluster.

Called by `passmuster report`, and by `passmuster inspect --previous`. Nothing is judged anew. What the document does
not hold is taken from the catalogue where it describes a check, and added up from the verdicts where it is a sum.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from passmuster.assess import scoring
from passmuster.assess.changes import Changes
from passmuster.checks import catalogue
from passmuster.engine import documents
from passmuster.model.errors import InvalidManifest
from passmuster.model.parameter import Raised
from passmuster.model.report import CheckResult, Report
from passmuster.model.verdict import NO_LEVEL, Phase, Status
from passmuster.report import content
from passmuster.report.content import PlanEntry, Position, StepEntry
from passmuster.report.phrasing import plain, tenths

MOST_STEPS = 100
"""Steps of a stored plan that are written out."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A report with its plan and the last change, and the policy that it is under, as namespace/name."""

    report: Report
    plan: PlanEntry
    changes: Changes | None
    policy: str


def parsed(text: str, source: str) -> list[Mapping[str, Any]]:
    """The ReadinessReports of a JSON text: one, or a List. Raises InvalidManifest with what is wrong."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidManifest(f"{source}: this is not JSON: {error}") from error
    items = document.get("items") if isinstance(document, Mapping) and document.get("kind") == "List" else [document]
    if not isinstance(items, list) or not items:
        raise InvalidManifest(f"{source}: the List is empty")
    if not all(map(_is_report, items)):
        hint = "give what `passmuster inspect --output json` printed, or a file of the evidence store"
        raise InvalidManifest(f"{source}: this is no ReadinessReport; {hint}")
    return items


def _is_report(document: Any) -> bool:
    """Whether it is of the kind, and what it says of account and policy can be read."""
    if not isinstance(document, Mapping) or document.get("kind") != "ReadinessReport":
        return False
    spec = document.get("spec")
    return isinstance(spec, Mapping) and isinstance(spec.get("policyRef", {}), Mapping)


def of_account(documents: Iterable[Mapping[str, Any]], account_id: str) -> list[Mapping[str, Any]]:
    """Those of the documents that are reports on an account."""
    return [one for one in documents if one["spec"].get("accountId") == account_id]


def read(document: Mapping[str, Any], source: str) -> Stored:
    """The report of a ReadinessReport document. Raises InvalidManifest where it holds no inspection, or is damaged."""
    try:
        report = documents.restored(document)
        if report is None:
            raise InvalidManifest(f"{source}: the report holds no inspection yet")
        whole = _completed(report, document["status"])
        metadata = document.get("metadata") or {}
        policy = document["spec"]["policyRef"]["name"]
        namespace = metadata.get("namespace") or ""
        return Stored(
            report=whole,
            plan=_plan(document["status"].get("plan") or (), whole),
            changes=documents.restored_changes(document["status"]),
            policy=f"{namespace}/{policy}" if namespace else policy,
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InvalidManifest(f"{source}: the report is damaged ({type(error).__name__}: {error})") from error


def _completed(report: Report, status: Mapping[str, Any]) -> Report:
    checks = tuple(_described(result) for result in report.checks)
    inspection, compliance = status.get("inspection") or {}, status.get("compliance") or {}
    return replace(
        report,
        checks=checks,
        categories=scoring.categories(checks),
        phases=scoring.phases(checks),
        compliant={"True": True, "False": False}.get(compliance.get("status", "")),
        compliant_reason=compliance.get("reason") or "",
        compliant_message=compliance.get("message") or "",
        inspection=replace(
            report.inspection,
            duration=float(str(inspection.get("duration") or "0s").removesuffix("s")),
            billed_calls=inspection.get("billedCalls") or 0,
        ),
        raised=tuple(
            Raised(one["check"], one["parameter"], _value(one["asked"]), _value(one["floor"]))
            for one in status.get("raised") or ()
        ),
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _described(result: CheckResult) -> CheckResult:
    """The result with what the catalogue says of its check; one that the catalogue no longer has keeps its id."""
    known = catalogue.load()
    if result.id not in known:
        return replace(result, title=result.id, categories=(result.category,))
    check = known.get(result.id)
    return replace(result, title=check.title, fix=check.fix, categories=check.categories)


def _plan(steps: Any, report: Report) -> PlanEntry:
    entries = [(Phase(step["phase"]), _step(number, step)) for number, step in enumerate(steps, start=1)]
    covered = {check_id for _, step in entries if not step.blocked for check_id in step.fixes}
    failing = [r for r in report.checks if r.status is Status.FAIL and not r.disabled and r.id not in covered]
    return content.arranged(entries, failing, report, MOST_STEPS)


def _step(number: int, step: Mapping[str, Any]) -> StepEntry:
    target = step.get("target") or ""
    return StepEntry(
        number=number,
        title=plain(step.get("title") or step["remediation"]),
        description=step.get("description") or "",
        remediation=step.get("definition") or step["remediation"],
        where=plain(step.get("region") or ""),
        target="" if target.isdigit() else plain(target),
        way=content.in_words(step.get("way") or ""),
        fixes=tuple(step.get("fixes") or ()),
        cost=Decimal(str(step.get("monthlyCost") or 0)),
        positions=tuple(_position(one) for one in step.get("positions") or ()),
        unpriced=tuple(plain(title) for title in step.get("unpriced") or ()),
        risk=step.get("risk") or "",
        interrupts=step.get("interrupts") or "nothing",
        waits_for=tuple(step.get("waitsFor") or ()),
        leads_to=tuple(step.get("leadsTo") or ()),
        level_after=content.after(step.get("levelAfter") or NO_LEVEL),
        score_after=tenths(step.get("scoreAfter")),
        undo=step.get("undo") or "",
        changes=tuple(plain(change) for change in step.get("changes") or ()),
        blocked=plain(step.get("blocked") or ""),
    )


def _position(one: Mapping[str, Any]) -> Position:
    monthly, once = (None if one.get(key) is None else Decimal(str(one[key])) for key in ("monthly", "once"))
    return content.position(one["title"], monthly, once)
