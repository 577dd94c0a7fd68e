"""The workload was made to fail over every quarter, and did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.arc_region_switch import EXECUTIONS
from passmuster.inventory.operations.ecs import SERVICE_PAGES
from passmuster.inventory.operations.fis import EXPERIMENTS, was_run
from passmuster.inventory.operations.rds import DB_CLUSTERS, DB_INSTANCES, is_rds
from passmuster.inventory.operations.workload import NO_WORKLOAD, WORKLOAD, has_workload
from passmuster.inventory.snapshot import Row, View, first_found, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

SWITCHED = ("completed", "completedMonitoringApplicationHealth")
EXERCISES = (EXPERIMENTS, *EXECUTIONS)


@check(
    title="A failover is exercised every quarter",
    category=Category.BACKUP,
    phase=Phase.STABLE,
    severity=Severity.MEDIUM,
    fix="AT",
    per="account",
    calls=(*WORKLOAD, *EXERCISES),
    nothing=NO_WORKLOAD,
    attestable=timedelta(days=92),
    parameters=(
        Parameter(
            "maxAgeDays",
            Kind.INTEGER,
            92,
            Stricter.LOWER,
            "How many days ago the last exercise was at most.",
            minimum=1,
            maximum=366,
        ),
    ),
    controls=Controls(well_architected=("REL12-BP05", "REL13-BP03", "REL13-BP05")),
)
def failover_exercised(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """What was never exercised is tried for the first time in the disaster.

    A completed experiment of the Fault Injection Service or a completed execution of a plan of ARC Region switch
    counts, in any governed region. A dry run, which skips every action of an experiment, is no exercise; neither is an
    execution with exceptions, nor the clearing up after one. A restored backup is no failover. AWS shows experiments of
    the last 120 days, so an older one needs an attestation.
    """
    if not has_workload(view):
        return
    since = evidence.now - timedelta(days=parameters["maxAgeDays"])
    expected = f"a completed experiment or Region switch in the last {parameters['maxAgeDays']} days"
    row = first_found(*(partial(_exercise, view, call, since) for call in EXERCISES))
    if row is None:
        target, origin = _target(view), view.origin(EXPERIMENTS)
        yield failed(
            replace(origin, region=target.pop("region", origin.region)),
            view.account_id,
            f"No failover was exercised in the last {parameters['maxAgeDays']} days",
            observed=_observed(view),
            expected=expected,
            facts=target,
        )
        return
    message = f"A failover was exercised by {_name(row)}"
    yield passed(row.origin, view.account_id, message, observed=_told(row), expected=expected)


def _target(view: View) -> dict[str, str]:
    """What an experiment could make fail over: a database with a standby, a cluster with a reader, or a service."""
    for database in seen(view.rows(DB_INSTANCES)):
        if database.get("MultiAZ") and is_rds(database) and not database.get("DBClusterIdentifier"):
            return {"target": "database", "databaseArn": str(database["DBInstanceArn"]), "region": database.region}
    for cluster in seen(view.rows(DB_CLUSTERS)):
        if is_rds(cluster) and (cluster.get("MultiAZ") or len(cluster.get("DBClusterMembers") or ()) > 1):
            return {"target": "cluster", "clusterArn": str(cluster["DBClusterArn"]), "region": cluster.region}
    for page in seen(view.rows(SERVICE_PAGES)):
        for arn in page.get("serviceArns") or ():
            parts = str(arn).rpartition(":")[2].split("/")
            if len(parts) == 3:
                named = {"clusterName": parts[1], "serviceName": parts[2], "region": page.region}
                return {"target": "service", "serviceArn": str(arn), **named}
    return {"target": "none"}


def _exercise(view: View, call: Call, since: datetime) -> Row | None:
    return next((row for row in view.rows(call) if _is_exercise(row, since)), None)


def _is_exercise(row: Row, since: datetime) -> bool:
    ended = _ended(row)
    if ended is None or ended < since:
        return False
    if row.call == EXPERIMENTS:
        return was_run(row)
    return row.get("executionState") in SWITCHED and row.get("executionAction") != "postRecovery"


def _ended(row: Row) -> datetime | None:
    """When it ended; of an experiment AWS lists only when it began."""
    return row.get("endTime") or row.get("startTime") or row.get("creationTime")


def _name(row: Row) -> str:
    if row.call == EXPERIMENTS:
        return f"the experiment {row['id']}"
    return f"the Region switch plan {str(row['planArn']).rpartition('/')[2].partition(':')[0]}"


def _told(row: Row) -> str:
    state, ended = row.get("status") or row.get("executionState"), _ended(row)
    skipped = ", actions skipped" if row.get("actionsMode") == "skip-all" else ""
    return f"{_name(row)}: {state}{skipped}" + (f" {ended:%Y-%m-%d}" if ended else "")


def _observed(view: View) -> str:
    """The last exercise that AWS tells of, whether it counts or not."""
    told = [(ended, row) for call in EXERCISES for row in seen(view.rows(call)) if (ended := _ended(row)) is not None]
    last = max(told, key=lambda one: one[0], default=None)
    return _told(last[1]) if last is not None else "no experiment and no Region switch"
