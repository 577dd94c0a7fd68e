"""Judges every check on a snapshot and adds up the report. Called by the engine, and by nothing that talks to AWS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from passmuster.assess import scoring
from passmuster.assess.demand import Demand
from passmuster.assess.scope import Scope
from passmuster.checks.catalogue import Catalogue
from passmuster.checks.declaration import Check
from passmuster.checks.judge import calls_of, explain, judge
from passmuster.inventory.permissions import actions
from passmuster.inventory.snapshot import Gap, Snapshot
from passmuster.model.evidence import Evidence, Waiver
from passmuster.model.finding import Finding, Origin, not_applicable
from passmuster.model.grant import Grant
from passmuster.model.parameter import Parameters, Raised
from passmuster.model.report import CheckResult, Inspection, Refusal, Report
from passmuster.model.verdict import NO_LEVEL, Reason, Status

TRANSIT_LIMIT = timedelta(hours=1)
"""How long the last verdict of a resource stands in while the resource is in transit."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a verdict depends on. `payer` is the snapshot of the account that pays, where there is one."""

    snapshot: Snapshot
    demand: Demand
    evidence: Evidence
    previous: Report | None = None
    payer: Snapshot | None = None


def assess(catalogue: Catalogue, inputs: Inputs, inspection: Inspection) -> Report:
    """The report on one account under one policy."""
    demand, snapshot = inputs.demand, inputs.snapshot
    raised: list[Raised] = []
    scope = Scope(demand.scope, snapshot) if demand.scope else None
    results = tuple(_result(check, inputs, raised, scope) for check in catalogue)
    reached = scoring.level(results)
    points = scoring.score(results)
    compliance = scoring.compliance(results, demand.level, reached, points, demand.minimum_score)
    if scope is not None and scope.empty:
        reached, points, compliance = NO_LEVEL, None, _nothing_in(scope)
    return Report(
        account_id=snapshot.account_id,
        regions=snapshot.regions,
        declared=demand.level,
        **scoring.sums(results, reached, points, compliance),
        catalogue_version=catalogue.version,
        inspection=replace(inspection, refusals=refusals(demand.enabled(catalogue), snapshot)),
        minimum_score=demand.minimum_score,
        raised=tuple(raised),
        grants=tuple(replace(grant, findings=_changed_by(grant, results)) for grant in demand.grants),
    )


def _nothing_in(scope: Scope) -> scoring.Compliance:
    """Compliance where no resource is known to be in scope: nothing can be said of it, whatever passes."""
    if scope.unread is not None:
        message = f"Which resources are in spec.scope cannot be told: {explain(scope.unread)}"
        return scoring.Compliance(None, "ScopeUnreadable", message)
    return scoring.Compliance(None, "ScopeEmpty", "No resource of the governed regions has the tags of spec.scope")


def _changed_by(grant: Grant, results: Iterable[CheckResult]) -> int:
    findings = (f for result in results if result.id == grant.check for f in result.findings)
    waives = isinstance(grant.subject, Waiver)
    return sum((f.waived_by if waives else f.attested_by) == grant.name for f in findings)


def _result(check: Check, inputs: Inputs, raised: list[Raised], scope: Scope | None) -> CheckResult:
    demand, evidence = inputs.demand, inputs.evidence
    parameters = demand.parameters_of(check)
    disabled = check.id in demand.disabled
    if demand.judges(check):
        raised.extend(parameters.raised)
        findings = _judged(check, inputs, parameters, scope)
    else:
        findings = (_not_judged(check, inputs.snapshot, disabled=disabled),)
    findings = tuple(_waived(check, finding, demand, evidence.now) for finding in findings)
    status = status_of(findings)
    return CheckResult(
        id=check.id,
        title=check.title,
        category=check.category,
        phase=check.phase,
        severity=check.severity,
        fix=check.fix,
        status=status,
        findings=findings,
        categories=check.categories,
        disabled=disabled,
        disabled_with_leave=disabled and check.id in demand.may_disable,
        waived=sum(f.waived_by is not None for f in findings),
        since=_since(check.id, status, inputs),
    )


def _judged(check: Check, inputs: Inputs, parameters: Parameters, scope: Scope | None) -> tuple[Finding, ...]:
    snapshot = inputs.snapshot if scope is None else scope.narrowed
    findings = judge(check, snapshot, parameters, inputs.evidence, inputs.payer)
    if scope is not None and not (check.payer and inputs.payer is not None):
        findings = scope.applied(findings)
    findings = tuple(_steadied(check.id, finding, inputs) for finding in findings)
    attestation = inputs.evidence.attestation(check.id)
    if check.attestable is None or check.weighs_attestation or attestation is None:
        return findings
    return tuple(
        replace(f, status=Status.PASS, reason=None, attested_by=attestation.name)
        if f.status in (Status.FAIL, Status.UNKNOWN)
        else f
        for f in findings
    )


def _steadied(check_id: str, finding: Finding, inputs: Inputs) -> Finding:
    """The last verdict of a resource in transit, while that is under an hour old; without what people granted then."""
    if finding.reason is not Reason.IN_TRANSIT or inputs.previous is None:
        return finding
    for result in inputs.previous.checks:
        if result.id != check_id:
            continue
        for before in result.findings:
            observed = before.status in (Status.PASS, Status.FAIL) and before.attested_by is None
            if before.key == finding.key and observed:
                recent = before.observed_at is not None and inputs.evidence.now - before.observed_at < TRANSIT_LIMIT
                return replace(before, waived_by=None) if recent else finding
    return finding


def _not_judged(check: Check, snapshot: Snapshot, *, disabled: bool) -> Finding:
    origin = Origin(check.calls[0].name, snapshot.control_region)
    if disabled:
        return not_applicable(origin, snapshot.account_id, "Disabled by the policy", Reason.DISABLED)
    message = f"Optional: ask for it with spec.checks.optional: [{check.id}]"
    return not_applicable(origin, snapshot.account_id, message, Reason.NOT_REQUESTED)


def _waived(check: Check, finding: Finding, demand: Demand, now: datetime) -> Finding:
    if finding.status is not Status.FAIL:
        return finding
    waiver = next((w for w in demand.waivers if w.covers(check.id, finding.resource, now)), None)
    return finding.waived(waiver.name) if waiver is not None else finding


def status_of(findings: Iterable[Finding]) -> Status:
    """A check's status from its findings: a failure counts first, then what is unknown, then what passes."""
    statuses = {Status.PASS if f.waived_by is not None else f.status for f in findings}
    for status in (Status.FAIL, Status.UNKNOWN, Status.PASS):
        if status in statuses:
            return status
    return Status.NOT_APPLICABLE


def _since(check_id: str, status: Status, inputs: Inputs) -> datetime:
    if inputs.previous is not None:
        for before in inputs.previous.checks:
            if before.id == check_id and before.status is status and before.since is not None:
                return before.since
    return inputs.evidence.now


def refusals(checks: Iterable[Check], snapshot: Snapshot) -> tuple[Refusal, ...]:
    """What could not be read, with the checks that wanted it; one entry per operation, region and code."""
    readers: dict[str, list[str]] = {}
    for check in checks:
        for call in calls_of(check):
            for link in call.chain():
                readers.setdefault(link.name, []).append(check.id)
    found: dict[tuple[str, str, str], Gap] = {}
    for gap in snapshot.gaps():
        found.setdefault((gap.call.name, gap.request.region, gap.code), gap)
    return tuple(
        Refusal(
            call=gap.call.name,
            action=", ".join(actions(gap.call)),
            region=gap.request.region,
            reason=gap.reason,
            code=gap.code,
            checks=tuple(sorted(set(readers.get(gap.call.name, ())))),
        )
        for _, gap in sorted(found.items())
    )
