"""The outcome of an inspection: what each check says, the level reached, the score and the coverage.

Made by assess, shown by status, metrics, command line and reports; none of them changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from passmuster.model.finding import Finding
from passmuster.model.grant import Grant
from passmuster.model.parameter import Raised
from passmuster.model.verdict import Category, Fix, Phase, Reason, Severity, Status


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's verdict on one account, with every finding behind it.

    `since` is when the check first had this status without interruption; None until assess has set it. `truncated` is
    how many findings a stored digest left out; 0 where all are there.
    """

    id: str
    title: str
    category: Category
    phase: Phase
    severity: Severity
    fix: tuple[Fix, ...]
    status: Status
    findings: tuple[Finding, ...]
    categories: tuple[Category, ...] = ()
    disabled: bool = False
    disabled_with_leave: bool = False
    waived: int = 0
    since: datetime | None = None
    truncated: int = 0

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The failures that nobody waived."""
        return tuple(f for f in self.findings if f.status is Status.FAIL and f.waived_by is None)

    @property
    def has_waived_failure(self) -> bool:
        """Whether a waiver, not the account, makes this check pass."""
        return self.status is Status.PASS and self.waived > 0

    @property
    def holds_level_back(self) -> bool:
        """Whether a level that includes this check's phase is out of reach."""
        if self.disabled:
            return not self.disabled_with_leave
        return self.status in (Status.FAIL, Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many checks have which status; `disabled` ones are in no other number, `waived` ones are also in `passed`."""

    passed: int = 0
    failed: int = 0
    unknown: int = 0
    not_applicable: int = 0
    disabled: int = 0
    waived: int = 0

    @property
    def enabled(self) -> int:
        """How many checks are judged."""
        return self.passed + self.failed + self.unknown + self.not_applicable


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """A category's own score (percent, None where there is nothing to judge or too little is known) and counts."""

    category: Category
    score: float | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class PhaseProgress:
    """A phase's completeness in percent of its enabled checks (None when none is enabled), and what is missing."""

    phase: Phase
    complete: float | None
    score: float | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A read that did not succeed: `call` is service:Operation, `action` the IAM action it needs."""

    call: str
    action: str
    region: str
    reason: Reason
    code: str
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """Facts about one pass over one account. `duration` and `cpu` are seconds; `billed_cost` is dollars."""

    id: str
    started_at: datetime
    duration: float
    calls: int
    billed_calls: int = 0
    billed_cost: float = 0.0
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on one account under one policy.

    `score` and `coverage` are percentages with one decimal; `score` is None with nothing to judge or a coverage under
    80 %. `compliant` is None while it cannot be told.
    """

    account_id: str
    regions: tuple[str, ...]
    declared: Phase
    level: str
    score: float | None
    coverage: float | None
    counts: Counts
    critical_failing: int
    categories: tuple[CategoryScore, ...]
    phases: tuple[PhaseProgress, ...]
    checks: tuple[CheckResult, ...]
    compliant: bool | None
    compliant_reason: str
    compliant_message: str
    catalogue_version: str
    inspection: Inspection
    minimum_score: float | None = None
    raised: tuple[Raised, ...] = ()
    grants: tuple[Grant, ...] = ()

    def check(self, check_id: str) -> CheckResult:
        """The result of one check. Raises KeyError for an id that was not judged."""
        return self._by_id()[check_id]

    def _by_id(self) -> Mapping[str, CheckResult]:
        return {result.id: result for result in self.checks}

    @property
    def missing(self) -> tuple[CheckResult, ...]:
        """The checks that hold the declared level back, gravest first."""
        held = [c for c in self.checks if c.phase in self.declared.up_to() and c.holds_level_back]
        return tuple(sorted(held, key=lambda c: (c.phase.order, -c.severity.weight, c.id)))
