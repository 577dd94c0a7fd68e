"""Takes what people no longer grant out of a stored report, where the account cannot be judged anew.

The last resort, after a restart: nothing of the account is in memory, and it lets nobody in, or its policy is
suspended. A failure that a waiver covered fails again; a finding that an attestation answered is Unknown, because what
the account itself would answer is not stored. A verdict only ever gets worse here, and nothing new begins to count.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from passmuster.api.fields import written
from passmuster.api.report import MOST_GRANTS
from passmuster.assess import scoring
from passmuster.assess.demand import Demand
from passmuster.checks.catalogue import Catalogue
from passmuster.engine import documents
from passmuster.engine.grant_documents import grant_documents
from passmuster.model.evidence import Waiver
from passmuster.model.report import CheckResult, Report
from passmuster.model.verdict import Reason, Status, level_order

Document = dict[str, Any]


def lapsed(
    stored: Mapping[str, Any], previous: Report, demand: Demand, catalogue: Catalogue, now: datetime
) -> tuple[Document, Report]:
    """The ReadinessReport without what ended, and what it says; `previous` is what it said before."""
    counting = {grant.mark for grant in demand.grants if grant.in_force}
    ended = [grant for grant in previous.grants if grant.in_force and grant.mark not in counting]
    waivers = {grant.name for grant in ended if isinstance(grant.subject, Waiver)}
    attestations = {grant.name for grant in ended} - waivers
    document: Document = copy.deepcopy(dict(stored))
    status = document["status"]
    for check in status["checks"]:
        _correct(check, waivers, attestations, now)
    read = documents.restored(document)
    results = tuple(_known(result, demand, catalogue) for result in (read or previous).checks)
    report = _summed(previous, results, demand)
    status |= {**documents.sums_document(report), **grant_documents(demand.grants, MOST_GRANTS)}
    return document, report


def _correct(check: Document, waivers: Set[str], attestations: Set[str], now: datetime) -> None:
    """One check without what ended; findings that the report left out were those that weigh least."""
    before, counts = check["status"], dict(check.get("counts") or {})
    for finding in check.get("findings") or ():
        if finding.get("waivedBy") in waivers:
            del finding["waivedBy"]
            check["waived"] = max(0, (check.get("waived") or 0) - 1)
            check["status"] = Status.FAIL.value
        if finding.get("attestedBy") in attestations:
            name = finding.pop("attestedBy")
            counts[finding["status"]] = counts.get(finding["status"], 1) - 1
            counts[Status.UNKNOWN.value] = counts.get(Status.UNKNOWN.value, 0) + 1
            said = f"The attestation {name} has ended, and the account was not read since"
            finding |= {"status": Status.UNKNOWN.value, "reason": Reason.STALE.value, "message": said}
            if check["status"] != Status.FAIL:
                check["status"] = Status.UNKNOWN.value
    check["counts"] = {status: number for status, number in sorted(counts.items()) if number}
    if check["status"] != before:
        check["since"] = written(now)


def _known(result: CheckResult, demand: Demand, catalogue: Catalogue) -> CheckResult:
    """The result with what a stored report does not hold."""
    categories = catalogue.get(result.id).categories if result.id in catalogue else (result.category,)
    leave = result.disabled and result.id in demand.may_disable
    return replace(result, categories=categories, disabled_with_leave=leave)


def _summed(previous: Report, results: tuple[CheckResult, ...], demand: Demand) -> Report:
    level = min(scoring.level(results), previous.level, key=level_order)
    score = scoring.score(results) if previous.score is not None else None
    compliance = scoring.compliance(results, demand.level, level, score, demand.minimum_score)
    return replace(
        previous,
        declared=demand.level,
        **scoring.sums(results, level, score, compliance),
        minimum_score=demand.minimum_score,
        grants=demand.grants,
    )
