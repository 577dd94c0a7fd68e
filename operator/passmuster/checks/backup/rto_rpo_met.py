"""How long recovery may take and how much data may be lost is declared, and backups and restores keep to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.backup import (
    BACKUP_PLAN,
    BACKUP_PLANS,
    BACKUP_SELECTIONS,
    RESTORE_JOBS,
    RESTORE_TIME_TARGETS,
    interval,
    rules,
    took,
    working_plans,
)
from passmuster.inventory.operations.protectable import STORE_CALLS, is_any_present
from passmuster.inventory.operations.resiliencehub import APP, APPS, LATEST_ASSESSMENT, RESILIENCY_POLICY
from passmuster.inventory.operations.workload import NO_WORKLOAD, WORKLOAD, has_workload
from passmuster.inventory.snapshot import Row, View, all_of, any_of, first_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Severity

CONTINUOUS = timedelta(minutes=15)
"""How much a continuous backup loses at most."""

RESTORE_TEST = "recovery-tested"
EXPECTED = "recovery objectives in the policy, and measurements that keep to them"


@check(
    title="Recovery objectives are declared and met",
    category=Category.BACKUP,
    phase=Phase.STABLE,
    severity=Severity.HIGH,
    fix="TA",
    per="account",
    calls=tuple(
        dict.fromkeys(
            (
                *WORKLOAD,
                *STORE_CALLS,
                APPS,
                LATEST_ASSESSMENT,
                APP,
                RESILIENCY_POLICY,
                BACKUP_PLANS,
                BACKUP_PLAN,
                BACKUP_SELECTIONS,
                RESTORE_JOBS,
            )
        )
    ),
    nothing=NO_WORKLOAD,
    attestable=timedelta(days=365),
    controls=Controls(
        config=RESTORE_TIME_TARGETS,
        well_architected=("REL13-BP01",),
    ),
)
def rto_rpo_met(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Without objectives nobody can say whether backups are frequent enough, and without measuring nobody knows.

    The policy must declare both recovery time and recovery point, and one of two must bear them out. Either Resilience
    Hub finds that an application meets a policy that asks for no less, and that none breaches its own. Or it is
    measured: in each region with backup plans some rule backs up at least once per recovery point, where a continuous
    backup loses fifteen minutes, and the last completed restore of each type of data took no longer than the recovery
    time. Where nothing was restored, an attestation that recovery is tested stands in for the restore. Point-in-time
    recovery that a database offers by itself is seen through Resilience Hub or attested. An account without any data
    that AWS Backup protects has nothing to measure and passes with a warning.
    """
    if not has_workload(view):
        return
    goals = evidence.recovery
    declared = {"recovery time": goals.rto, "recovery point": goals.rpo}
    missing = [name for name, goal in declared.items() if goal is None]
    if goals.rto is None or goals.rpo is None:
        message = f"The policy declares no {' and no '.join(missing)} objective"
        yield failed(
            view.origin(BACKUP_PLANS),
            view.account_id,
            message,
            observed="not declared",
            expected=EXPECTED,
            facts={"missing": "declaration"},
        )
        return
    yield _measured(view, _Objectives(view, goals.rto, goals.rpo, evidence.attestation(RESTORE_TEST) is not None))


def _measured(view: View, objectives: _Objectives) -> Finding:
    warnings: list[str] = []

    def has_nothing() -> bool:
        nothing = not is_any_present(view)
        if nothing:
            warnings.append("there is no data that AWS Backup protects, so nothing was measured")
        return nothing

    observed, expected = objectives.observed(), objectives.expected
    if any_of(objectives.are_met_in_resilience_hub, objectives.are_met_by_measure, has_nothing):
        breached = objectives.breached()
        warnings.extend(f"Resilience Hub finds that the application {name} breaches its policy" for name in breached)
        message = "The recovery objectives are declared, and nothing measured is worse"
        origin = view.origin(RESTORE_JOBS)
        return passed(origin, view.account_id, message, observed=observed, expected=expected, warnings=tuple(warnings))
    message = f"The declared recovery objectives are not borne out: {', '.join(unmet(objectives.measures()))}"
    return failed(
        view.origin(RESTORE_JOBS),
        view.account_id,
        message,
        observed=observed,
        expected=expected,
        facts={"missing": "measurement", **objectives.facts()},
    )


class _Objectives:
    """What was declared, and what Resilience Hub and AWS Backup say to it."""

    def __init__(self, view: View, rto: timedelta, rpo: timedelta, attested: bool) -> None:
        self._view = view
        self._rto = rto
        self._rpo = rpo
        self._attested = attested
        self.expected = f"recovery time {_told(rto)}, recovery point {_told(rpo)}"

    def are_met_in_resilience_hub(self) -> bool:
        return all_of(
            lambda: first_of(self._view.rows(APPS), self._is_met) is not None,
            lambda: all(self._compliance(app) != "PolicyBreached" for app in self._view.rows(APPS)),
        )

    def are_met_by_measure(self) -> bool:
        return not unmet(self.measures())

    def measures(self) -> dict[str, Callable[[], bool]]:
        return {
            "no backup plan backs anything up": lambda: any(True for _ in working_plans(self._view)),
            "backups are rarer than the recovery point allows": lambda: all(
                any(every <= self._rpo for every in _intervals(self._plans_in(plan.region)))
                for plan in working_plans(self._view)
            ),
            "nothing was restored yet": lambda: self._attested or any(True for _ in self._restores()),
            "a restore took longer than the recovery time": self._is_fast,
        }

    def facts(self) -> dict[str, str]:
        """The objectives in seconds, as a policy of Resilience Hub has them."""
        return {
            "rtoSeconds": str(round(self._rto.total_seconds())),
            "rpoSeconds": str(round(self._rpo.total_seconds())),
        }

    def breached(self) -> list[str]:
        apps = seen(self._view.rows(APPS))
        return [str(app.get("name")) for app in apps if app.get("complianceStatus") == "PolicyBreached"]

    def observed(self) -> str:
        every = min(_intervals(seen(working_plans(self._view))), default=None)
        slowest = max((took(job) or timedelta() for job in _latest(seen(self._restores()))), default=None)
        backups = f"a backup every {_told(every)}" if every is not None else "no backup plan"
        return f"{backups}, {f'a restore in {_told(slowest)}' if slowest is not None else 'no restore'}"

    def _is_fast(self) -> bool:
        latest = _latest(self._restores())
        return all((duration := took(job)) is not None and duration <= self._rto for job in latest)

    def _restores(self) -> Iterator[Row]:
        return (job for job in self._view.rows(RESTORE_JOBS) if job.get("Status") == "COMPLETED")

    def _plans_in(self, region: str) -> Iterator[Row]:
        return (plan for plan in working_plans(self._view) if plan.region == region)

    def _is_met(self, app: Row) -> bool:
        """Whether the application meets a policy whose every objective is at least as strict as the declared one."""
        return all_of(
            lambda: app.get("status") != "Deleting",
            lambda: self._compliance(app) == "PolicyMet",
            lambda: any(
                self._is_as_strict(policy)
                for described in self._view.rows(APP, app)
                for policy in self._view.rows(RESILIENCY_POLICY, described)
            ),
        )

    def _compliance(self, app: Row) -> str | None:
        """What the list says of the application; where it leaves that out, what the last assessment said."""
        if app.get("complianceStatus"):
            return str(app["complianceStatus"])
        assessment = self._view.row(LATEST_ASSESSMENT, app)
        return assessment.get("complianceStatus") if assessment is not None else None

    def _is_as_strict(self, policy: Row) -> bool:
        goals = policy.get("goals") or []
        times = [goal.get("rtoInSecs") for goal in goals]
        points = [goal.get("rpoInSecs") for goal in goals]
        return bool(goals) and all(
            seconds is not None and seconds <= limit.total_seconds()
            for found, limit in ((times, self._rto), (points, self._rpo))
            for seconds in found
        )


def _intervals(plans: Iterable[Row]) -> Iterator[timedelta]:
    for plan in plans:
        for rule in rules(plan):
            every = CONTINUOUS if rule.get("EnableContinuousBackup") else interval(rule)
            if every is not None:
                yield every


def _latest(jobs: Iterable[Row]) -> list[Row]:
    """The last restore of each type in each region."""
    last: dict[tuple[str, str], Row] = {}
    for job in sorted((job for job in jobs if job.get("CompletionDate")), key=lambda job: job["CompletionDate"]):
        last[job.region, str(job.get("ResourceType"))] = job
    return list(last.values())


def _told(span: timedelta) -> str:
    """A span as people write it: 4h, 1h30m."""
    hours, minutes = divmod(round(span.total_seconds() / 60), 60)
    return f"{hours}h" * bool(hours) + f"{minutes}m" * bool(minutes or not hours)
