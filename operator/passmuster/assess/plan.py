"""What to do next: every change that could be made, in order, with its cost and the level and score after it.

The figures after a change are simulated: the findings it names are taken as passing, everything else stays as it is.
Used by status, the command line and the reports; the verdicts themselves only ever come from an inspection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from passmuster.assess import scoring
from passmuster.assess.assessment import status_of
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.finding import Finding
from passmuster.model.parameter import Value
from passmuster.model.report import CheckResult, Report
from passmuster.model.verdict import Phase, Status
from passmuster.remediation.catalogue import Remediations
from passmuster.remediation.definition import Target
from passmuster.remediation.rendering import (
    Blocked,
    CheckParameters,
    Owner,
    Proposal,
    awaited,
    listed,
    proposals,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One change in its place, with what the account would be after it and all before it.

    `waits_for` names the checks that must pass first and do not yet. A blocked step changes nothing in the simulation.
    """

    proposal: Proposal
    level_after: str
    score_after: float | None
    waits_for: tuple[str, ...] = ()

    @property
    def blocked(self) -> Blocked | None:
        """Why the step cannot be taken yet."""
        return self.proposal.blocked


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in order, and the failing checks that no remediation of this release fixes by itself."""

    steps: tuple[Step, ...]
    by_hand: tuple[CheckResult, ...]

    def monthly_cost(self, upto: Phase | None = None) -> Decimal:
        """Dollars a month of the steps that are not blocked, optionally only up to a phase."""
        phases = upto.up_to() if upto is not None else tuple(Phase)
        return sum(
            (
                s.proposal.cost.monthly
                for s in self.steps
                if s.blocked is None and s.proposal.definition.phase in phases
            ),
            Decimal(0),
        )


def plan(
    report: Report,
    snapshot: Snapshot,
    remediations: Remediations,
    owner: Owner,
    inputs: Mapping[str, Value],
    parameters: CheckParameters | None = None,
) -> Plan:
    """Every change the catalogue offers for the failing checks of a report; `parameters` are those of the checks."""
    offered = [
        p for definition in remediations for p in proposals(definition, report, snapshot, owner, inputs, parameters)
    ]
    ordered = list(_ordered(offered))
    results = {r.id: r for r in report.checks}
    now = dict(results)
    steps: list[Step] = []
    covered = {check for p in offered if p.blocked is None for check in p.fixes}
    for proposal in ordered:
        if proposal.blocked is None:
            for check_id in proposal.fixes:
                if check_id in results:
                    results[check_id] = _after(results[check_id], proposal)
        values = tuple(results.values())
        steps.append(Step(proposal, scoring.level(values), scoring.score(values), awaited(proposal, now)))
    by_hand = tuple(r for r in report.checks if r.status is Status.FAIL and not r.disabled and r.id not in covered)
    return Plan(tuple(steps), by_hand)


def _ordered(offered: Sequence[Proposal]) -> Iterator[Proposal]:
    """By phase, and within it after the proposals that make required checks pass."""
    left = sorted(offered, key=lambda p: (p.definition.phase.order, p.definition.name, p.region, p.target))
    while left:
        ready = next(
            (p for p in left if not any(_fixes_required(other, p) for other in left if other is not p)), left[0]
        )
        left.remove(ready)
        yield ready


def _fixes_required(other: Proposal, proposal: Proposal) -> bool:
    return any(check in proposal.definition.requires for check in other.fixes)


def _after(result: CheckResult, proposal: Proposal) -> CheckResult:
    """The check as it would be: named findings pass; a check that had nothing to judge passes with the new resource."""
    named = {(n.region, n.resource) for n in proposal.findings if n.check == result.id}
    whole = proposal.definition.target is Target.ACCOUNT
    findings = tuple(
        _mended(f, proposal) if f.key in named or (whole and f.status in (Status.FAIL, Status.NOT_APPLICABLE)) else f
        for f in result.findings
    )
    return replace(result, findings=findings, status=status_of(findings))


def _mended(finding: Finding, proposal: Proposal) -> Finding:
    """The finding as passing; one that lists several resources only when none is left."""
    each = proposal.definition.each
    left = [one for one in listed(finding.facts.get(each, "")) if one != proposal.target] if each is not None else []
    if left and each is not None:
        return replace(finding, facts={**finding.facts, each: ",".join(left)})
    return replace(finding, status=Status.PASS)
