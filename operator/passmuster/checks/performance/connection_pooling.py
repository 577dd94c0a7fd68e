"""No database runs out of connections because every caller opens its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from math import log2

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, UP_TO_NOW, Call, TimeAgo
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.rds import (
    DB_CLUSTERS,
    DB_INSTANCES,
    PROXIES,
    PROXY_TARGETS,
    is_changing,
    is_going,
    is_rds,
    status,
)
from passmuster.inventory.snapshot import Row, View, all_of, any_of, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

WINDOW = timedelta(days=14)
PROXIED = {
    "postgres": ("POSTGRESQL", "5432"),
    "mysql": ("MYSQL", "3306"),
    "mariadb": ("MYSQL", "3306"),
    "sqlserver": ("SQLSERVER", "1433"),
}
"""The engines that RDS Proxy knows, by how their names begin: its family and the engine's own port."""

PEAKS = Call(
    "cloudwatch",
    "GetMetricData",
    each=DB_INSTANCES,
    over='[@][?!contains(`["docdb", "neptune"]`, Engine)].DBInstanceIdentifier',
    args={"StartTime": TimeAgo(WINDOW), "EndTime": UP_TO_NOW},
    param={
        "MetricDataQueries": "[{Id: 'peak', MetricStat: {Period: `86400`, Stat: 'Maximum', Metric: {Namespace: "
        "'AWS/RDS', MetricName: 'DatabaseConnections', Dimensions: [{Name: 'DBInstanceIdentifier', Value: value}]}}}]"
    },
    items="MetricDataResults",
    keep=("Values",),
    billed=0.00001,
    freshness=timedelta(hours=24),
)
"""The highest number of connections of each day of the window."""

_LIMITS = "Parameters[?ParameterName == 'max_connections' || ParameterName == 'processes']"
PARAMETERS = Call(
    "rds",
    "DescribeDBParameters",
    each=DB_INSTANCES,
    over="DBParameterGroups[?!starts_with(DBParameterGroupName, 'default.')].DBParameterGroupName",
    param="DBParameterGroupName",
    args={"Source": "user"},
    items=_LIMITS,
    keep=("ParameterName", "ParameterValue"),
    absent=("DBParameterGroupNotFound",),
    freshness=RARELY,
)
CLUSTER_PARAMETERS = Call(
    "rds",
    "DescribeDBClusterParameters",
    each=DB_CLUSTERS,
    over="[@][?DBClusterParameterGroup && !starts_with(DBClusterParameterGroup, 'default.')].DBClusterParameterGroup",
    param="DBClusterParameterGroupName",
    args={"Source": "user"},
    items=_LIMITS,
    keep=("ParameterName", "ParameterValue"),
    absent=("DBParameterGroupNotFound",),
    freshness=RARELY,
)
"""What people set themselves; a default group is not asked, because its formula is known."""


@check(
    title="Connections are pooled",
    category=Category.PERFORMANCE,
    phase=Phase.FOUNDATION,
    severity=Severity.LOW,
    fix="A",
    calls=(DB_INSTANCES, DB_CLUSTERS, PROXIES, PROXY_TARGETS, FUNCTIONS, PEAKS, PARAMETERS, CLUSTER_PARAMETERS),
    nothing="There is no database of RDS or Aurora",
    parameters=(
        Parameter(
            "maxConnectionPercent",
            Kind.INTEGER,
            60,
            Stricter.LOWER,
            "The share of a database's connections, in percent, below which its peak of 14 days must stay.",
            minimum=1,
            maximum=100,
        ),
    ),
    attestable=timedelta(days=180),
    controls=Controls(well_architected=("PERF03",)),
)
def connection_pooling(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Functions scale to hundreds at once, each with a connection of its own, and the database refuses the next one.

    An instance passes if an available RDS Proxy has an available target for it or its cluster, or if the peak of its
    connections over 14 days stays below the policy's share of what it accepts. It is not judged where the peak is low
    and no function is in its VPC. An instance younger than 14 days is judged by its configuration alone: by the
    functions in its VPC and by its proxy. One that was stopped had no connections; one that reports none although it
    runs is Unknown.

    What an instance accepts is what its own parameter group says, else its cluster's, else the default formula of its
    engine, with the nominal memory of its class (of Serverless v2: of its highest capacity), which is a little more
    than the database has to itself. A value that is not understood makes the limit unknown, not low.
    """
    for database in view.rows(DB_INSTANCES):
        if is_rds(database) and not is_going(database):
            with view.judging(database["DBInstanceArn"], database.region):
                created = database.get("InstanceCreateTime")
                young = created is not None and evidence.now - created < WINDOW
                yield _database(view, database, parameters["maxConnectionPercent"], young=young)


def _database(view: View, database: Row, maximum: int, *, young: bool) -> Finding:
    arn, name = database["DBInstanceArn"], database["DBInstanceIdentifier"]
    expected = f"an available RDS Proxy, or a 14-day peak below {maximum} % of the connections"
    if is_changing(database):
        message = f"The database {name} is being changed"
        return unknown(database.origin, arn, message, Reason.IN_TRANSIT, observed=status(database), expected=expected)

    def low() -> bool:
        return not young and _is_low(view, database, maximum)

    ways = {
        "quiet": lambda: all_of(lambda: young or low(), lambda: not _has_functions(view, database)),
        "pooled": lambda: _is_pooled(view, database),
        "low": low,
    }
    way = first_of(ways, lambda one: ways[one]())
    if way == "quiet":
        message = f"No function is near the database {name}" + ("" if young else ", and it has connections to spare")
        return not_applicable(database.origin, arn, message, observed="no function in its VPC")
    if way == "pooled":
        message = f"The database {name} is reached through an RDS Proxy"
        return passed(database.origin, arn, message, observed="RDS Proxy with an available target", expected=expected)
    if way == "low":
        message = f"The database {name} has connections to spare"
        return passed(database.origin, arn, message, observed=_usage(view, database), expected=expected)
    if any_of(*(partial(_is_starting, view, database, proxy) for proxy in view.rows(PROXIES))):
        message = f"The RDS Proxy of the database {name} is not available yet"
        return unknown(database.origin, arn, message, Reason.IN_TRANSIT, expected=expected)
    if not young and _share(view, database) is None:
        message = f"How many of its connections the database {name} uses is not reported"
        return unknown(
            database.origin, arn, message, Reason.PARTIAL, observed=_usage(view, database), expected=expected
        )
    if young:
        message = f"Functions are near the young database {name}, which has no RDS Proxy"
        observed = "functions in its VPC, no RDS Proxy"
    else:
        message = f"The database {name} has no RDS Proxy and comes near the end of its connections"
        observed = f"{_usage(view, database)}, no RDS Proxy"
    facts = _facts(database)
    return failed(database.origin, arn, message, observed=observed, expected=expected, facts=facts)


def _facts(database: Row) -> dict[str, str]:
    """What a proxy in front of the database must know; one leads to the whole cluster where there is one."""
    engine = next((one for one in PROXIED if str(database["Engine"]).removeprefix("aurora-").startswith(one)), "")
    family, port = PROXIED.get(engine, ("", ""))
    group, cluster = database.get("DBSubnetGroup") or {}, database.get("DBClusterIdentifier") or ""
    groups = [one.get("VpcSecurityGroupId") for one in database.get("VpcSecurityGroups") or ()]
    subnets = [one.get("SubnetIdentifier") for one in group.get("Subnets") or ()]
    return {
        "database": database["DBInstanceIdentifier"],
        "cluster": cluster,
        "instanceToProxy": "" if cluster else database["DBInstanceIdentifier"],
        "proxyFor": f"cluster/{cluster}" if cluster else f"instance/{database['DBInstanceIdentifier']}",
        "engineFamily": family,
        "port": port,
        "vpcId": group.get("VpcId") or "",
        "subnetIds": ",".join(str(one) for one in subnets if one),
        "securityGroupId": str(next(iter(groups), "") or ""),
        "secretArn": (database.get("MasterUserSecret") or {}).get("SecretArn") or "",
    }


def _has_functions(view: View, database: Row) -> bool:
    """Whether a function is in the database's VPC, by the VPC itself or by a subnet that both are in."""
    group = database.get("DBSubnetGroup") or {}
    here = {group.get("VpcId"), *(one.get("SubnetIdentifier") for one in group.get("Subnets") or ())} - {None}
    networks = (function.get("VpcConfig") or {} for function in view.rows(FUNCTIONS))
    return any(here & {network.get("VpcId"), *(network.get("SubnetIds") or ())} for network in networks)


def _is_pooled(view: View, database: Row) -> bool:
    proxies = (proxy for proxy in view.rows(PROXIES) if proxy.get("Status") == "available")
    return first_of(proxies, lambda proxy: "AVAILABLE" in _targets(view, database, proxy)) is not None


def _is_starting(view: View, database: Row, proxy: Row) -> bool:
    """Whether the proxy leads to the database and either of them still has to come up."""
    states = list(_targets(view, database, proxy))
    return "REGISTERING" in states or (bool(states) and proxy.get("Status") in ("creating", "modifying"))


def _targets(view: View, database: Row, proxy: Row) -> Iterator[str]:
    """The health of the proxy's targets that are the database or its cluster."""
    ids = {database["DBInstanceIdentifier"], database.get("DBClusterIdentifier")} - {None}
    for target in view.rows(PROXY_TARGETS, proxy):
        if ids & {target.get("RdsResourceId"), target.get("TrackedClusterId")}:
            yield str((target.get("TargetHealth") or {}).get("State") or "")


def _peak(view: View, database: Row) -> float | None:
    """The most connections at once in the window, None if the database reported none although it ran."""
    values = [value for row in view.rows(PEAKS, database) for value in row.get("Values") or ()]
    return max(values, default=0.0 if status(database) == "stopped" else None)


def _share(view: View, database: Row) -> float | None:
    """The peak in percent of the limit, None if either is not known."""
    peak = _peak(view, database)
    if not peak:
        return peak
    limit = _limit(view, database)
    return 100 * peak / limit if limit else None


def _is_low(view: View, database: Row, maximum: int) -> bool:
    share = _share(view, database)
    return share is not None and share < maximum


def _usage(view: View, database: Row) -> str:
    peak = _peak(view, database)
    if peak is None:
        return "no connections reported in 14 days"
    share = _share(view, database)
    if share is None:
        return f"peak of {peak:g} connections of an unknown limit"
    return f"peak of {peak:g} connections in 14 days, {share:.0f} % of the limit"


def _limit(view: View, database: Row) -> float | None:
    """How many connections the instance accepts."""
    cluster = _cluster(view, database)
    own = view.row(PARAMETERS, database)
    if own is None and cluster is not None:
        own = view.row(CLUSTER_PARAMETERS, cluster)
    memory = _memory(database["DBInstanceClass"], cluster)
    if own is not None and own.get("ParameterValue"):
        return _evaluated(str(own["ParameterValue"]), memory)
    return _default(database["Engine"], memory)


def _cluster(view: View, database: Row) -> Row | None:
    name = database.get("DBClusterIdentifier")
    if not name:
        return None
    return next((row for row in view.rows(DB_CLUSTERS) if row["DBClusterIdentifier"] == name), None)


_EXPRESSION = re.compile(r"(?:LEAST\()?\{DBInstanceClassMemory/(\d+)\}(?:,\s*(\d+)\))?")


def _evaluated(value: str, memory: float | None) -> float | None:
    """A number, or a part of the memory with or without an upper bound."""
    if value.isdigit():
        return float(value)
    found = _EXPRESSION.fullmatch(value.strip())
    if found is None or memory is None:
        return None
    return min(memory // int(found[1]), float(found[2] or "inf"))


def _default(engine: str, memory: float | None) -> float | None:
    """The default limit of the engine for an instance with that much memory, in bytes.

    Source: the quotas of Amazon RDS and the guides of Aurora, "maximum connections".
    """
    if engine.startswith("sqlserver"):
        return 32767
    if memory is None:
        return None
    if engine in ("aurora", "aurora-mysql"):
        return max(log2(memory / 805306368) * 45, log2(memory / 8187281408) * 1000)
    if engine in ("postgres", "aurora-postgresql"):
        return min(memory // 9531392, 5000)
    if engine == "mysql":
        return memory // 12582880
    if engine == "mariadb":
        return min(memory // 25165760, 12000)
    return min(memory // 9868951, 20000) if engine.startswith("oracle") else None


GIB = 1024**3
OF_LARGE = {"micro": 0.125, "small": 0.25, "medium": 0.5, "large": 1.0}
GIB_OF_LARGE = {"c": 4, "m": 8, "m3": 7.5, "r": 16, "r3": 15.25, "r4": 15.25, "t": 8, "x": 32} | {
    "x1": 30.5,
    "x1e": 61,
    "x2iedn": 64,
    "x2iezn": 64,
    "z": 16,
}
"""The memory of a family's size large, in GiB; the other sizes are multiples of it."""


def _memory(instance_class: str, cluster: Row | None) -> float | None:
    """The nominal memory of an instance class in bytes, None if the class is not known."""
    if instance_class == "db.serverless":
        scaling = (cluster.get("ServerlessV2ScalingConfiguration") if cluster is not None else None) or {}
        return scaling["MaxCapacity"] * 2 * GIB if scaling.get("MaxCapacity") else None
    found = re.match(r"db\.([a-z]+)(\d\w*)\.(?:(\d*)xlarge|(\w+))(?:\..*?mem(\d)x)?", instance_class)
    if found is None:
        return None
    letters, rest, times, size, more = found.groups()
    large = GIB_OF_LARGE.get(letters + rest, GIB_OF_LARGE.get(letters))
    multiple = OF_LARGE.get(size) if size else 2.0 * int(times or 1)
    return None if large is None or multiple is None else large * multiple * int(more or 1) * GIB
