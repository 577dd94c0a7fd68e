"""What changed between two inspections of one account: verdicts, resources, level and score.

Called by the engine, which keeps the last change in the ReadinessReport, and by the command line, which compares with a
stored report. Pure: both reports are arguments, and neither is judged again.

Nothing is concluded from what was not seen. A resource counts as gone or new only by checks that both inspections
judged whole: enabled in both, with no list left unread and no finding cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from passmuster.model.report import CheckResult, Counts, Report
from passmuster.model.verdict import Status

DISABLED = "Disabled"
"""Stands for a status where the policy disables the check."""

ABSENT = "Absent"
"""Stands for a status where the catalogue of that inspection did not have the check."""


@dataclass(frozen=True, slots=True)
class Digest:
    """One inspection in figures; `checks` is the standing of every check by its id: a status, or Disabled."""

    inspection: str
    started_at: datetime
    declared: str
    level: str
    score: float | None
    coverage: float | None
    critical_failing: int
    counts: Counts
    catalogue_version: str
    checks: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Moved:
    """A check whose standing changed; `before` and `after` are statuses, or Disabled, or Absent."""

    id: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A resource that the findings of a check name."""

    check: str
    region: str
    resource: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different. `appeared` are resources that findings name now and did not before, `gone` the reverse.

    `more_appeared` and `more_gone` count what a stored digest left out.
    """

    before: Digest
    found_at: datetime
    checks: tuple[Moved, ...] = ()
    appeared: tuple[Sighting, ...] = ()
    gone: tuple[Sighting, ...] = ()
    level_after: str = ""
    score_after: float | None = None
    more_appeared: int = 0
    more_gone: int = 0

    def __bool__(self) -> bool:
        level = self.before.level != self.level_after
        return bool(level or self.score_moved or self.checks or self.appeared or self.gone)

    @property
    def score_moved(self) -> bool:
        """Whether the score is another one, to the tenth that people see."""
        return _tenth(self.before.score) != _tenth(self.score_after)

    def newly(self, standing: str) -> tuple[Moved, ...]:
        """The checks that have this standing now and had another one before."""
        return tuple(moved for moved in self.checks if moved.after == standing)


def _tenth(score: float | None) -> float | None:
    return None if score is None else round(score, 1)


def standing(result: CheckResult) -> str:
    """A check's status, or Disabled."""
    return DISABLED if result.disabled else result.status.value


def digest(report: Report) -> Digest:
    """The figures of a report."""
    return Digest(
        inspection=report.inspection.id,
        started_at=report.inspection.started_at,
        declared=report.declared.value,
        level=report.level,
        score=report.score,
        coverage=report.coverage,
        critical_failing=report.critical_failing,
        counts=report.counts,
        catalogue_version=report.catalogue_version,
        checks={result.id: standing(result) for result in report.checks},
    )


def compare(previous: Report, report: Report) -> Changes:
    """What changed from the previous report to this one; false when nothing did. Both are of the same account."""
    before, after = digest(previous), digest(report)
    appeared, gone = _resources(previous, report)
    return Changes(
        before=before,
        found_at=after.started_at,
        checks=tuple(_moved(before.checks, after.checks)),
        appeared=appeared,
        gone=gone,
        level_after=after.level,
        score_after=after.score,
    )


def _moved(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Moved]:
    for check_id in sorted({*before, *after}):
        was, is_now = before.get(check_id, ABSENT), after.get(check_id, ABSENT)
        if was != is_now:
            yield Moved(check_id, was, is_now)


def _resources(previous: Report, report: Report) -> tuple[tuple[Sighting, ...], tuple[Sighting, ...]]:
    old = {result.id: result for result in previous.checks}
    whole = [
        (old[result.id], result)
        for result in report.checks
        if result.id in old and _whole(old[result.id], report.account_id) and _whole(result, report.account_id)
    ]
    known_before = {(s.region, s.resource) for s in _sightings(previous.checks, report.account_id)}
    known_now = {(s.region, s.resource) for s in _sightings(report.checks, report.account_id)}
    appeared = _once(_sightings((now for _, now in whole), report.account_id), known_before)
    gone = _once(_sightings((was for was, _ in whole), report.account_id), known_now)
    return appeared, gone


def _whole(result: CheckResult, account_id: str) -> bool:
    """Whether the findings name everything that the check speaks of."""
    unread = any(f.status is Status.UNKNOWN and f.resource == account_id for f in result.findings)
    return not result.disabled and not result.truncated and not unread


def _sightings(results: Iterable[CheckResult], account_id: str) -> Iterator[Sighting]:
    for result in results:
        for finding in result.findings:
            if finding.resource != account_id:
                yield Sighting(result.id, finding.region, finding.resource)


def _once(sightings: Iterable[Sighting], known: set[tuple[str, str]]) -> tuple[Sighting, ...]:
    """Each resource that is not known, by the first check that names it."""
    found: dict[tuple[str, str], Sighting] = {}
    for sighting in sightings:
        key = (sighting.region, sighting.resource)
        if key not in known:
            found.setdefault(key, sighting)
    return tuple(sorted(found.values(), key=lambda s: (s.region, s.resource)))
