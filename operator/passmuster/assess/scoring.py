"""Score, coverage, level and compliance, as functions of check results and nothing else.

::

    score     100 x weights of passing / weights of passing and failing; a check that passes only because its
              failures are waived is in neither sum
    coverage  100 x (1 - Unknown / enabled)
    complete  100 x (Pass + NotApplicable) / enabled, of a phase
    level     the highest whose phase, and every phase before it, has nothing that holds it back
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from passmuster.model.report import CategoryScore, CheckResult, Counts, PhaseProgress
from passmuster.model.verdict import NO_LEVEL, Category, Phase, Severity, Status, level_order

MINIMUM_COVERAGE = 80.0
"""Percent of the enabled checks that must be known before a score means anything."""


def score(results: Iterable[CheckResult]) -> float | None:
    """Percent with one decimal; None with nothing to judge, or with less than 80 % known."""
    results = tuple(results)
    known = coverage(results)
    if known is None or known < MINIMUM_COVERAGE:
        return None
    judged = [r for r in results if not r.disabled]
    passing = sum(r.severity.weight for r in judged if r.status is Status.PASS and not r.has_waived_failure)
    failing = sum(r.severity.weight for r in judged if r.status is Status.FAIL)
    return round(100 * passing / (passing + failing), 1) if passing + failing else None


def coverage(results: Iterable[CheckResult]) -> float | None:
    """Percent of the enabled checks that are not Unknown, with one decimal; None when none is enabled."""
    enabled = [r for r in results if not r.disabled]
    if not enabled:
        return None
    return round(100 * (1 - sum(r.status is Status.UNKNOWN for r in enabled) / len(enabled)), 1)


def counts(results: Iterable[CheckResult]) -> Counts:
    """How many checks have which status."""
    results = tuple(results)
    enabled = [r for r in results if not r.disabled]

    def having(status: Status) -> int:
        return sum(r.status is status for r in enabled)

    return Counts(
        passed=having(Status.PASS),
        failed=having(Status.FAIL),
        unknown=having(Status.UNKNOWN),
        not_applicable=having(Status.NOT_APPLICABLE),
        disabled=len(results) - len(enabled),
        waived=sum(r.has_waived_failure for r in enabled),
    )


def level(results: Sequence[CheckResult]) -> str:
    """The highest level reached, or `None` (the word) below Foundation."""
    reached = NO_LEVEL
    for phase in Phase:
        if any(r.holds_level_back for r in results if r.phase is phase):
            break
        reached = phase.value
    return reached


def critical_failing(results: Iterable[CheckResult]) -> int:
    """How many Critical checks fail."""
    return sum(r.status is Status.FAIL and r.severity is Severity.CRITICAL and not r.disabled for r in results)


def categories(results: Sequence[CheckResult]) -> tuple[CategoryScore, ...]:
    """Every category that has a check; a check shown in two is scored in both."""
    grouped = ((c, [r for r in results if c is r.category or c in r.categories]) for c in Category)
    return tuple(CategoryScore(c, score(members), counts(members)) for c, members in grouped if members)


def phases(results: Sequence[CheckResult]) -> tuple[PhaseProgress, ...]:
    """Every phase in order, with what is missing from it."""
    progress = []
    for phase in Phase:
        members = [r for r in results if r.phase is phase]
        enabled = [r for r in members if not r.disabled]
        met = sum(r.status in (Status.PASS, Status.NOT_APPLICABLE) for r in enabled)
        complete = round(100 * met / len(enabled), 1) if enabled else None
        missing = sorted((r for r in members if r.holds_level_back), key=lambda r: (-r.severity.weight, r.id))
        progress.append(PhaseProgress(phase, complete, score(members), tuple(r.id for r in missing)))
    return tuple(progress)


@dataclass(frozen=True, slots=True)
class Compliance:
    """Whether the account is what the policy declares: True, False, or None while it cannot be told."""

    met: bool | None
    reason: str
    message: str


def compliance(
    results: Sequence[CheckResult], declared: Phase, reached: str, points: float | None, minimum: float | None
) -> Compliance:
    """The verdict behind the condition Compliant."""
    within = [r for r in results if r.phase in declared.up_to()]
    failing = [r for r in within if not r.disabled and r.status is Status.FAIL]
    barred = [r for r in within if r.disabled and not r.disabled_with_leave]
    unknown = [r for r in within if not r.disabled and r.status is Status.UNKNOWN]
    standing = "No level reached" if reached == NO_LEVEL else f"{reached} reached"
    if failing:
        noun = "check fails" if len(failing) == 1 else "checks fail"
        return Compliance(False, "ChecksFailing", f"{standing}, {declared} declared: {len(failing)} {noun}")
    if barred:
        names = ", ".join(sorted(r.id for r in barred))
        return Compliance(False, "ChecksDisabled", f"{standing}: disabled without the account's leave: {names}")
    if minimum is not None and points is not None and points < minimum:
        return Compliance(False, "ScoreBelowMinimum", f"The score {points:g} is below the minimum {minimum:g}")
    if unknown:
        noun = "check is" if len(unknown) == 1 else "checks are"
        return Compliance(None, "ChecksUnknown", f"{standing}, {declared} declared: {len(unknown)} {noun} Unknown")
    if minimum is not None and points is None:
        return Compliance(None, "NoScore", f"Too little is known for a score; the minimum is {minimum:g}")
    if level_order(reached) >= declared.order:
        return Compliance(True, "LevelReached", f"{standing}, {declared} declared")
    return Compliance(None, "NothingJudged", f"{standing}, {declared} declared")


class Sums(TypedDict):
    """The members of a report that its checks' results add up to."""

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


def sums(results: Iterable[CheckResult], reached: str, points: float | None, verdict: Compliance) -> Sums:
    """What a report with these results says at this level and score, and with this verdict on compliance."""
    results = tuple(results)
    return Sums(
        level=reached,
        score=points,
        coverage=coverage(results),
        counts=counts(results),
        critical_failing=critical_failing(results),
        categories=categories(results),
        phases=phases(results),
        checks=results,
        compliant=verdict.met,
        compliant_reason=verdict.reason,
        compliant_message=verdict.message,
    )
