"""Every database exports the logs of its engine to CloudWatch Logs."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.rds import DB_CLUSTERS, DB_INSTANCES, is_changing, is_going, is_rds, status
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

LOGS = {
    "aurora-mysql": (("error", "slowquery"), ("audit", "general")),
    "aurora-postgresql": (("postgresql",), ()),
    "aurora": (("error", "slowquery"), ("audit", "general")),
    "mysql": (("error", "slowquery"), ("audit", "general")),
    "mariadb": (("error", "slowquery"), ("audit", "general")),
    "postgres": (("postgresql", "upgrade"), ()),
    "oracle": (("alert", "listener"), ("audit",)),
    "sqlserver": (("error",), ()),
    "db2": (("diag.log",), ()),
}
"""By the beginning of an engine's name: the logs that must be exported, and those a policy can ask for beside them."""


@check(
    title="Databases export their logs",
    category=Category.MONITORING,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="I",
    calls=(DB_INSTANCES, DB_CLUSTERS),
    nothing="There is no RDS or Aurora database",
    parameters=(
        Parameter(
            "extra",
            Kind.STRINGS,
            [],
            Stricter.MORE,
            "Further logs that must be exported where the engine has them: audit, general.",
        ),
    ),
    controls=Controls(
        config=(
            "RDS_LOGGING_ENABLED",
            "RDS_POSTGRESQL_LOGS_TO_CLOUDWATCH",
            "RDS_AURORA_MYSQL_AUDIT_LOGGING_ENABLED",
            "RDS_AURORA_POSTGRESQL_LOGS_TO_CLOUDWATCH",
        ),
        security_hub=("RDS.9", "RDS.34", "RDS.36", "RDS.37"),
        well_architected=("SEC04-BP01", "REL06-BP01"),
    ),
)
def database_log_exports(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A log that stays on the instance is gone with it, and nobody can put an alarm on it.

    Clusters are judged as clusters and their members are not, because the cluster's setting is the one that counts.
    The logs depend on the engine; Aurora PostgreSQL has no upgrade log to export. Engines that export nothing, such as
    RDS Custom, are not applicable.
    """
    extra = frozenset(parameters["extra"])
    with view.judging(view.account_id):
        for database in view.rows(DB_INSTANCES):
            if not database.get("DBClusterIdentifier") and is_rds(database) and not is_going(database):
                yield _database(database, database["DBInstanceArn"], database["DBInstanceIdentifier"], extra)
    with view.judging(view.account_id):
        for database in view.rows(DB_CLUSTERS):
            if is_rds(database) and not is_going(database):
                yield _database(database, database["DBClusterArn"], database["DBClusterIdentifier"], extra)


def _database(database: Row, arn: str, identifier: str, extra: frozenset[str]) -> Finding:
    name = f"database {identifier}"
    if is_changing(database):
        return unknown(database.origin, arn, f"The {name} is {status(database)}", Reason.IN_TRANSIT)
    required = _required(str(database["Engine"]), extra)
    if not required:
        message = f"The engine of the {name}, {database['Engine']}, exports no logs"
        return not_applicable(database.origin, arn, message)
    exported = database.get("EnabledCloudwatchLogsExports") or []
    missing = [log for log in required if log not in exported]
    observed = f"exports {', '.join(exported) or 'nothing'}"
    expected = f"exports {', '.join(required)}"
    if not missing:
        return passed(database.origin, arn, f"The {name} exports its logs", observed=observed, expected=expected)
    return failed(
        database.origin,
        arn,
        f"The {name} does not export {', '.join(missing)}",
        observed=observed,
        expected=expected,
        facts={
            "Identifier": identifier,
            "kind": "cluster" if ":cluster:" in arn else "instance",
            "Logs": ",".join(sorted({*exported, *required})),
            "MissingLogs": ",".join(sorted(missing)),
        },
    )


def _required(engine: str, extra: frozenset[str]) -> list[str]:
    for beginning, (always, on_request) in LOGS.items():
        if engine == beginning or engine.startswith(f"{beginning}-"):
            return [*always, *(log for log in on_request if log in extra)]
    return []
