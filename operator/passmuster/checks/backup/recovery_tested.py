"""Every type of backup is restored regularly to see that it can be, and fast enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.backup import (
    PROTECTED_RESOURCES,
    RESTORE_JOBS,
    RESTORE_TESTING_PLANS,
    RESTORE_TESTING_SELECTIONS,
    RESTORE_TIME_TARGETS,
    took,
)
from passmuster.inventory.operations.protectable import STORE_CALLS, STORES, is_any_present, is_present
from passmuster.inventory.snapshot import Row, View, all_of, any_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

RESTORED = (*STORES, "EC2")
"""The types whose restore counts; an instance is restored with its volumes."""

UNTESTED = "no restore testing of"


@check(
    title="Recovery from backups is tested",
    category=Category.BACKUP,
    phase=Phase.STABLE,
    severity=Severity.HIGH,
    fix="A",
    calls=(*STORE_CALLS, PROTECTED_RESOURCES, RESTORE_TESTING_PLANS, RESTORE_TESTING_SELECTIONS, RESTORE_JOBS),
    nothing="There is no data store that AWS Backup protects",
    attestable=timedelta(days=90),
    parameters=(
        Parameter(
            "maxAgeDays",
            Kind.INTEGER,
            90,
            Stricter.LOWER,
            "How many days ago a backup was last restored at most.",
            minimum=1,
            maximum=365,
        ),
        Parameter(
            "requireValidation",
            Kind.BOOLEAN,
            False,
            Stricter.TRUE,
            "Whether somebody must have reported that the restored data was valid.",
        ),
    ),
    controls=Controls(
        config=RESTORE_TIME_TARGETS,
        well_architected=("REL09-BP04", "REL13-BP03", "REL12-BP05"),
    ),
)
def recovery_tested(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A backup that was never restored is a hope.

    Each region with data stores that AWS Backup can protect is judged as a whole. Restore testing must have a selection
    for every type of store that is protected there, and a restore must have been completed lately, by restore testing
    or by hand, in no more than the policy's recovery time if it names one. A type whose restores all failed or took
    longer fails; one that was not restored yet is a warning while another was. A restore that nobody validated counts
    unless the policy requires it, one whose validation failed does not. An experiment is no restore.
    """
    if not is_any_present(view):
        return
    tests = _Tests(view, parameters, evidence)
    lacking = unmet(tests.conditions())
    origin, account = view.origin(RESTORE_JOBS), view.account_id
    if lacking:
        message = f"Recovery is not tested: {', '.join(lacking)}"
        none = not seen(view.rows(RESTORE_TESTING_SELECTIONS))
        untested = none or any(phrase.startswith(UNTESTED) for phrase in lacking)
        facts = {"missing": "restore-testing" if untested else "restore"}
        yield failed(origin, account, message, observed=tests.observed(), expected=tests.expected, facts=facts)
    else:
        message = "Backups were restored successfully, and are regularly"
        observed, warnings = tests.observed(), tests.warnings()
        yield passed(origin, account, message, observed=observed, expected=tests.expected, warnings=warnings)


class _Tests:
    """What restore testing covers, and what was restored lately."""

    def __init__(self, view: View, parameters: Parameters, evidence: Evidence) -> None:
        self._view = view
        self._since = evidence.now - timedelta(days=parameters["maxAgeDays"])
        self._rto = evidence.recovery.rto
        self._validated: bool = parameters["requireValidation"]
        fast = f" within {_hours(self._rto)}" if self._rto else ""
        self.expected = (
            f"restore testing of every protected type, and a restore{fast} in the last {parameters['maxAgeDays']} days"
        )

    def conditions(self) -> dict[str, Callable[[], bool]]:
        found: dict[str, Callable[[], bool]] = {
            "no restore was completed lately": lambda: any(self._is_good(job) for job in self._jobs(*RESTORED))
        }
        for kind in STORES:
            found[f"{UNTESTED} {kind}"] = partial(self._unless_unneeded, kind, self._is_selected)
            found[f"restores of {kind} failed or took too long"] = partial(
                self._unless_unneeded, kind, self._is_not_bad
            )
        return found

    def observed(self) -> str:
        jobs = seen(self._jobs(*RESTORED))
        told = [f"{job.get('ResourceType')} {job.get('Status')}{_duration(job)}" for job in jobs]
        return ", ".join(dict.fromkeys(told)) or "no restore"

    def warnings(self) -> tuple[str, ...]:
        restored = {str(job.get("ResourceType")) for job in seen(self._jobs(*RESTORED))}
        protected = {str(row.get("ResourceType")) for row in seen(self._view.rows(PROTECTED_RESOURCES))}
        missing = [kind for kind in STORES if kind in protected - restored and seen(STORES[kind](self._view))]
        return tuple(f"no {kind} backup was restored lately" for kind in missing)

    def _unless_unneeded(self, kind: str, holds: Callable[[str], bool]) -> bool:
        return any_of(
            lambda: not all_of(partial(is_present, self._view, kind), lambda: self._is_protected(kind)),
            lambda: holds(kind),
        )

    def _is_protected(self, kind: str) -> bool:
        return any(row.get("ResourceType") == kind for row in self._view.rows(PROTECTED_RESOURCES))

    def _is_selected(self, kind: str) -> bool:
        selections = self._view.rows(RESTORE_TESTING_SELECTIONS)
        return any(str(row.get("ProtectedResourceType")).lower() == kind.lower() for row in selections)

    def _is_not_bad(self, kind: str) -> bool:
        """Whether a restore of the type was good, or there was none."""
        return any_of(
            lambda: any(self._is_good(job) for job in self._jobs(kind)),
            lambda: not any(True for _ in self._jobs(kind)),
        )

    def _jobs(self, *kinds: str) -> Iterator[Row]:
        """The restores of these types that ended lately, well or badly."""
        for job in self._view.rows(RESTORE_JOBS):
            ended = job.get("CompletionDate") or job.get("CreationDate")
            lately = ended is not None and ended >= self._since
            if lately and job.get("ResourceType") in kinds and job.get("Status") in ("COMPLETED", "FAILED"):
                yield job

    def _is_good(self, job: Row) -> bool:
        validation, duration = job.get("ValidationStatus"), took(job)
        if job["Status"] != "COMPLETED" or validation == "FAILED":
            return False
        in_time = self._rto is None or (duration is not None and duration <= self._rto)
        return in_time and (validation == "SUCCESSFUL" or not self._validated)


def _duration(job: Row) -> str:
    duration = took(job)
    return f" in {_hours(duration)}" if duration is not None else ""


def _hours(span: timedelta) -> str:
    hours, minutes = divmod(round(span.total_seconds() / 60), 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m"
