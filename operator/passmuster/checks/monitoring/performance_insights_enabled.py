"""Every database that can says which queries load it: Performance Insights is on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import UNCHANGING, Call
from passmuster.inventory.operations.rds import DB_CLUSTERS, DB_INSTANCES, is_changing, is_going, is_rds, status
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

ORDERABLE = Call(
    "rds",
    "DescribeOrderableDBInstanceOptions",
    each=DB_INSTANCES,
    over="[@][?!PerformanceInsightsEnabled && Engine != 'neptune'].DBInstanceClass",
    param={"Engine": "row.Engine", "EngineVersion": "row.EngineVersion", "DBInstanceClass": "value"},
    keep="{supported: OrderableDBInstanceOptions[].SupportsPerformanceInsights}",
    freshness=UNCHANGING,
)
"""Whether the class supports it with that engine and version; asked once per combination, and only where it is off."""

MODES = ("any", "standard", "advanced")
ADVANCED_RETENTION = 465
"""Days of history that the advanced mode of Database Insights comes with."""

_TOO_SMALL = {
    "mysql": re.compile(r"db\.(t2|t3|t4g)\.(micro|small)"),
    "mariadb": re.compile(r"db\.(t2|t3|t4g)\.(micro|small)"),
    "aurora": re.compile(r"db\.t\d.*"),
    "aurora-mysql": re.compile(r"db\.t\d.*"),
}
"""Classes without Performance Insights, for versions that AWS no longer offers and so says nothing about."""


@check(
    title="Databases have Performance Insights",
    category=Category.MONITORING,
    phase=Phase.STABLE,
    severity=Severity.MEDIUM,
    fix="I",
    calls=(DB_INSTANCES, DB_CLUSTERS, ORDERABLE),
    nothing="There is no RDS, Aurora or DocumentDB instance",
    parameters=(
        Parameter(
            "databaseInsights",
            Kind.CHOICE,
            "any",
            Stricter.LATER,
            "The mode of Database Insights that RDS and Aurora must have; advanced also needs 465 days of history.",
            choices=MODES,
        ),
    ),
    controls=Controls(well_architected=("PERF03-BP03", "REL06-BP01")),
)
def performance_insights_enabled(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """When a database is slow, somebody has to be able to say which query it is, and since when.

    Each instance of RDS, Aurora and DocumentDB is judged, members of clusters and read replicas included. One whose
    class does not support Performance Insights with its engine and version does not apply. Neptune has none. The mode
    of Database Insights is judged if the policy names one: that of the instance, else that of its cluster, else
    standard, which is what AWS puts a database into; DocumentDB has no modes.
    """
    for database in view.rows(DB_INSTANCES):
        if database["Engine"] != "neptune" and not is_going(database):
            with view.judging(database["DBInstanceArn"], database.region):
                yield _instance(view, database, parameters["databaseInsights"])


def _instance(view: View, database: Row, wanted: str) -> Finding:
    arn, name = database["DBInstanceArn"], f"database {database['DBInstanceIdentifier']}"
    wanted = wanted if is_rds(database) else "any"
    expected = "Performance Insights on" + ("" if wanted == "any" else f", Database Insights {wanted}")
    facts = {"DBInstanceIdentifier": str(database["DBInstanceIdentifier"])}
    if is_changing(database):
        message = f"The {name} is {status(database)}"
        return unknown(database.origin, arn, message, Reason.IN_TRANSIT, expected=expected)
    if not database.get("PerformanceInsightsEnabled"):
        what = f"{database['DBInstanceClass']} with {database['Engine']} {database.get('EngineVersion') or ''}".strip()
        if not _is_supported(view, database):
            message = f"The class of the {name} does not support Performance Insights"
            return not_applicable(database.origin, arn, message, observed=what)
        message = f"Performance Insights is off for the {name}"
        facts["missing"] = "performance-insights"
        return failed(database.origin, arn, message, observed=f"off, {what}", expected=expected, facts=facts)
    if wanted == "any":
        message = f"Performance Insights is on for the {name}"
        return passed(database.origin, arn, message, observed="on", expected=expected)
    mode, days = _mode(view, database), database.get("PerformanceInsightsRetentionPeriod") or 0
    observed = f"Database Insights {mode}, {days} days"
    facts["missing"] = "mode"
    if MODES.index(mode) < MODES.index(wanted):
        message = f"Database Insights of the {name} is only {mode}"
        return failed(database.origin, arn, message, observed=observed, expected=expected, facts=facts)
    if wanted == "advanced" and days < ADVANCED_RETENTION:
        message = f"Database Insights of the {name} keeps less than {ADVANCED_RETENTION} days"
        return failed(database.origin, arn, message, observed=observed, expected=expected, facts=facts)
    message = f"Database Insights is {mode} for the {name}"
    return passed(database.origin, arn, message, observed=observed, expected=expected)


def _is_supported(view: View, database: Row) -> bool:
    options = [one for row in view.rows(ORDERABLE, database) for one in row.get("supported") or ()]
    if options:
        return any(options)
    small = _TOO_SMALL.get(database["Engine"])
    return small is None or not small.fullmatch(database["DBInstanceClass"])


def _mode(view: View, database: Row) -> str:
    """The mode of Database Insights in effect."""
    mode = database.get("DatabaseInsightsMode")
    cluster = database.get("DBClusterIdentifier")
    if not mode and cluster:
        found = next((row for row in view.rows(DB_CLUSTERS) if row["DBClusterIdentifier"] == cluster), None)
        mode = found.get("DatabaseInsightsMode") if found is not None else None
    return str(mode or "standard")
