"""Reports to render: one invented with every shape a report can have, and one judged from the checks' own fixtures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cases import cases_of
from passmuster.api.remediation import Way
from passmuster.assess import plan as planning
from passmuster.assess import scoring
from passmuster.assess.assessment import refusals, status_of
from passmuster.assess.plan import Plan, Step
from passmuster.checks import catalogue
from passmuster.checks.judge import calls_of, judge
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, Origin, failed, not_applicable, passed, unknown
from passmuster.model.report import CheckResult, Inspection, Report
from passmuster.model.verdict import Category, Fix, Phase, Reason, Severity, Status
from passmuster.remediation.catalogue import load as remediations
from passmuster.remediation.definition import Definition, Place, Target
from passmuster.remediation.pricing import Cost, Position
from passmuster.remediation.rendering import Blocked, Owner, Proposal
from replay import ACCOUNT, NOW, REGION, Replay, collect

LISTENER = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:listener/app/shop/50dc6c495c0c9188"
ORIGIN = Origin("elbv2:DescribeListeners", REGION, NOW)


def finding(number: int, status: Status = Status.FAIL, **changes: Any) -> Finding:
    """A finding about the listener of that number."""
    resource = f"{LISTENER}/{number}"
    made = {
        Status.FAIL: lambda: failed(
            ORIGIN,
            resource,
            f"The listener on port {number} forwards clear text",
            observed="default action: forward",
            expected="a redirect to HTTPS on a port with a TLS listener",
        ),
        Status.PASS: lambda: passed(
            ORIGIN,
            resource,
            f"The listener on port {number} redirects to HTTPS",
            observed="default action: redirect",
            expected="a redirect to HTTPS on a port with a TLS listener",
        ),
        Status.UNKNOWN: lambda: unknown(
            ORIGIN,
            resource,
            "elbv2:DescribeRules was denied (AccessDenied): the role needs elasticloadbalancing:DescribeRules",
            Reason.DENIED,
            observed="AccessDenied",
            expected="an answer from elbv2:DescribeRules",
        ),
        Status.NOT_APPLICABLE: lambda: not_applicable(ORIGIN, ACCOUNT, "There is no load balancer"),
    }[status]()
    return replace(made, **changes)


def result(
    check_id: str,
    *findings: Finding,
    phase: Phase = Phase.PRODUCTION,
    severity: Severity = Severity.HIGH,
    category: Category = Category.SECURITY,
    **changes: Any,
) -> CheckResult:
    """A check's result with these findings."""
    return CheckResult(
        id=check_id,
        title=changes.pop("title", f"Title of {check_id}"),
        category=category,
        phase=phase,
        severity=severity,
        fix=(Fix.IN_PLACE, Fix.PROPOSAL),
        status=changes.pop("status", status_of(findings)),
        findings=findings,
        categories=(category,),
        waived=sum(f.waived_by is not None for f in findings),
        since=NOW - timedelta(days=1),
        **changes,
    )


def report(
    results: Sequence[CheckResult],
    *,
    declared: Phase = Phase.STABLE,
    minimum: float | None = None,
    regions: tuple[str, ...] = (REGION,),
    inspection: Inspection | None = None,
) -> Report:
    """The report that these results make."""
    level, score = scoring.level(results), scoring.score(results)
    compliance = scoring.compliance(results, declared, level, score, minimum)
    return Report(
        account_id=ACCOUNT,
        regions=regions,
        declared=declared,
        **scoring.sums(results, level, score, compliance),
        catalogue_version=catalogue.VERSION,
        inspection=inspection or Inspection("01JD7Q4Z8M", NOW, 4.23, 231),
        minimum_score=minimum,
    )


def crowd(checks: int = 73, findings: int = 10) -> Report:
    """A large report: that many checks of every status, with that many findings each."""
    known = [check.id for check in catalogue.load()]
    ids = [*known, *(f"invented-check-{n}" for n in range(checks))][:checks]
    categories, phases, severities = list(Category), list(Phase), list(Severity)
    statuses = [Status.FAIL, Status.PASS, Status.PASS, Status.UNKNOWN, Status.NOT_APPLICABLE, Status.PASS]
    return report(
        [
            result(
                check_id,
                *(finding(port, statuses[n % len(statuses)]) for port in range(8000, 8000 + findings)),
                phase=phases[n % len(phases)],
                severity=severities[n % len(severities)],
                category=categories[n % len(categories)],
            )
            for n, check_id in enumerate(ids)
        ]
    )


def step(
    name: str,
    monthly: str,
    *,
    phase: Phase = Phase.PRODUCTION,
    fixes: tuple[str, ...] = ("https-redirect",),
    unpriced: str = "",
    blocked: Blocked | None = None,
    target: str = ACCOUNT,
    level: str = "Foundation",
    score: float | None = 80.0,
    waits_for: tuple[str, ...] = (),
) -> Step:
    """One step of a plan, with a bill of two positions and perhaps one without a price."""
    amount = Decimal(monthly)
    cent = Decimal("0.01")
    positions = [Position("first position", 1, amount - cent), Position("second position", 1, cent)]
    if unpriced:
        positions.append(Position(unpriced, None, None))
    definition = Definition(
        name=name,
        title=f"Title of {name}",
        description=f"Makes `{name}`.",
        phase=phase,
        fixes=fixes,
        way=Way.ADDITIVE_STACK,
        target=Target.ACCOUNT,
        place=Place.HOME,
        template="Resources: {}",
        undo=f"delete the stack of {name}",
    )
    proposal = Proposal(
        definition=definition,
        name=f"shop-{name}",
        stack=f"passmuster-shop-{name}",
        account_id=ACCOUNT,
        region=REGION,
        target=target,
        subject=target,
        body=definition.template,
        findings=(),
        parameters={},
        tags={},
        changes=("+ AWS::S3::Bucket Logs (kept on deletion)",),
        cost=Cost(tuple(positions)),
        digest="sha256:0",
        template_digest="sha256:0",
        blocked=blocked,
    )
    return Step(proposal, level, score, waits_for)


def from_fixtures() -> tuple[Report, Plan]:
    """Every real check, judged from one case of its fixture: one status after the other."""
    results: list[CheckResult] = []
    merged: Snapshot | None = None
    turns = ("Fail", "Pass", "Pass", "Fail", "NotApplicable", "Pass", "Unknown", "Pass")
    evidence = Evidence(now=NOW)
    checks = [check for check in catalogue.load() if cases_of(check)]
    for number, check in enumerate(checks):
        cases = [case for case in cases_of(check) if "payer" not in case.raw]
        case = next((case for case in cases if case.expect == turns[number % len(turns)]), cases[0])
        regions = tuple(case.raw.get("regions", [REGION]))
        snapshot = collect(calls_of(check), Replay(case.answers, case.missing), regions=regions)
        findings = judge(check, snapshot, case.parameters, evidence)
        results.append(
            CheckResult(
                check.id,
                check.title,
                check.category,
                check.phase,
                check.severity,
                check.fix,
                status_of(findings),
                findings,
                check.categories,
                since=NOW - timedelta(days=number),
            )
        )
        merged = merged or replace(snapshot, readings={})
        for call, readings in snapshot.readings.items():
            merged.readings.setdefault(call, {}).update(readings)
    assert merged is not None, "no check has a fixture"
    calls = sum(len(readings) for readings in merged.readings.values())
    inspection = Inspection("01JD7Q4Z8M3V5T", NOW, 4.23, calls, 2, 0.02, refusals(checks, merged))
    judged = report(results, inspection=inspection)
    inputs = {"domain": "shop.example.com"}
    return judged, planning.plan(judged, merged, remediations(), Owner("shop", namespace="shop"), inputs)


def moments(judged: Report) -> Iterator[datetime]:
    """Every time in a report."""
    yield judged.inspection.started_at
    for check in judged.checks:
        for found in check.findings:
            if found.observed_at is not None:
                yield found.observed_at
