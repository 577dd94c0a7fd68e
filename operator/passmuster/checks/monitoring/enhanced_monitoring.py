"""Every database instance reports the metrics of its operating system at least once a minute."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call, Where
from passmuster.inventory.operations.rds import DB_INSTANCES, is_changing, is_going, is_rds, status
from passmuster.inventory.snapshot import Row, View, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

WRITER = Call(
    "iam",
    "GetRole",
    args={"RoleName": "passmuster-rds-monitoring"},
    where=Where.GLOBAL,
    keep="{Arn: Role.Arn}",
    absent=("NoSuchEntity",),
    freshness=RARELY,
)
"""The role that a remediation makes for instances to write the metrics with."""

INTERVALS = (1, 5, 10, 15, 30, 60)
"""The seconds between two reports that RDS accepts."""


@check(
    title="Databases have enhanced monitoring",
    category=Category.MONITORING,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="IA",
    calls=(DB_INSTANCES, WRITER),
    nothing="There is no RDS or Aurora instance",
    parameters=(
        Parameter(
            "maxIntervalSeconds",
            Kind.INTEGER,
            60,
            Stricter.LOWER,
            "The longest interval at which an instance may report the metrics of its operating system.",
            minimum=1,
            maximum=60,
        ),
    ),
    controls=Controls(
        config=("RDS_ENHANCED_MONITORING_ENABLED",),
        security_hub=("RDS.6",),
        well_architected=("REL06-BP01",),
    ),
)
def enhanced_monitoring(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """The hypervisor's CPU metric does not show which process inside the instance takes it.

    Each instance is judged, members of clusters and read replicas included: an interval above zero, at most the
    policy's, and a role that may write the metrics.
    """
    writer = _writer(view)
    for database in view.rows(DB_INSTANCES):
        if is_rds(database) and not is_going(database):
            yield _instance(database, parameters["maxIntervalSeconds"], writer)


def _instance(database: Row, longest: int, writer: str) -> Finding:
    arn, name = database["DBInstanceArn"], f"database {database['DBInstanceIdentifier']}"
    interval, role = database.get("MonitoringInterval") or 0, database.get("MonitoringRoleArn")
    expected = f"an interval of 1 to {longest} s and a monitoring role"
    observed = f"interval {interval} s" + ("" if role else ", no role")
    if is_changing(database):
        message = f"The {name} is {status(database)}"
        return unknown(database.origin, arn, message, Reason.IN_TRANSIT, observed=observed, expected=expected)
    if 0 < interval <= longest and role:
        message = f"The {name} reports every {interval} s"
        return passed(database.origin, arn, message, observed=observed, expected=expected)
    why = "does not report" if interval == 0 else "has no monitoring role" if not role else "reports too seldom"
    known = str(role or writer)
    facts = {"DBInstanceIdentifier": database["DBInstanceIdentifier"], "missing": "" if known else "role"}
    facts |= {"MonitoringRoleArn": known, "Interval": str(max(i for i in INTERVALS if i <= longest))}
    return failed(database.origin, arn, f"The {name} {why}", observed=observed, expected=expected, facts=facts)


def _writer(view: View) -> str:
    """A role that may write the metrics: that of some instance, or ours; "" as far as known."""
    used = [str(row["MonitoringRoleArn"]) for row in seen(view.rows(DB_INSTANCES)) if row.get("MonitoringRoleArn")]
    made = [str(row["Arn"]) for row in seen(view.rows(WRITER))]
    return next(iter([*sorted(used), *made]), "")
