"""Every data store is backed up automatically, long enough and lately."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.dynamodb import CONTINUOUS_BACKUPS, TABLES
from passmuster.inventory.operations.efs import BACKUP_POLICY, FILE_SYSTEMS
from passmuster.inventory.operations.elasticache import REPLICATION_GROUPS, SERVERLESS_CACHES, SINGLE_CLUSTERS
from passmuster.inventory.operations.rds import (
    AUTOMATED_BACKUPS,
    DB_CLUSTERS,
    DB_INSTANCES,
    is_changing,
    is_going,
    is_replica,
    status,
)
from passmuster.inventory.snapshot import Row, View, any_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

LATELY = timedelta(hours=26)
STOPPED = ("stopped", "stopping")
CHANGING = ("creating", "modifying", "updating")
GOING = ("deleting", "deleted")
CREATION = ("InstanceCreateTime", "ClusterCreateTime")


@check(
    title="Data stores are backed up automatically",
    category=Category.BACKUP,
    phase=Phase.FOUNDATION,
    severity=Severity.CRITICAL,
    fix="I",
    calls=(
        DB_INSTANCES,
        DB_CLUSTERS,
        AUTOMATED_BACKUPS,
        TABLES,
        CONTINUOUS_BACKUPS,
        FILE_SYSTEMS,
        BACKUP_POLICY,
        REPLICATION_GROUPS,
        SINGLE_CLUSTERS,
        SERVERLESS_CACHES,
    ),
    nothing="There is no database, table, file system or cache",
    parameters=(
        Parameter(
            "minRetentionDays",
            Kind.INTEGER,
            7,
            Stricter.HIGHER,
            "How many days the automated backups of a database are kept at least.",
            minimum=1,
            maximum=35,
        ),
    ),
    controls=Controls(
        config=("DB_INSTANCE_BACKUP_ENABLED", "DYNAMODB_PITR_ENABLED", "RDS_CLUSTER_BACKUP_RETENTION_CHECK"),
        security_hub=("RDS.11", "DynamoDB.2", "EFS.2", "ElastiCache.1"),
        well_architected=("REL09-BP03",),
    ),
)
def automated_backups(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A backup that somebody has to remember is missing on the day it is needed.

    Databases need the retention of the policy and a backup of the last 26 hours; Aurora's default of one day is too
    short. Members of a cluster are judged by the cluster, read replicas by what they replicate. A database younger than
    26 hours is judged by its settings, and so is a stopped one, which has nothing new to back up. Tables need
    point-in-time recovery, file systems a backup policy, caches a snapshot retention; Memcached nodes cannot be backed
    up and are not judged.
    """
    minimum: int = parameters["minRetentionDays"]
    for judged in (
        _databases(view, _instances(view), minimum, evidence.now),
        _databases(view, _clusters(view), minimum, evidence.now),
        _tables(view, minimum, evidence.now),
        _file_systems(view),
        *(_caches(view, call) for call in (REPLICATION_GROUPS, SINGLE_CLUSTERS, SERVERLESS_CACHES)),
    ):
        with view.judging(view.account_id):
            yield from judged


def _databases(view: View, databases: Iterator[Row], minimum: int, now: datetime) -> Iterator[Finding]:
    for database in databases:
        with view.judging(_arn(database), database.region):
            yield _database(view, database, minimum, now)


def _instances(view: View) -> Iterator[Row]:
    for instance in view.rows(DB_INSTANCES):
        if not instance.get("DBClusterIdentifier") and not is_replica(instance) and not is_going(instance):
            yield instance


def _clusters(view: View) -> Iterator[Row]:
    for cluster in view.rows(DB_CLUSTERS):
        if not is_replica(cluster) and not is_going(cluster):
            yield cluster


def _arn(database: Row) -> str:
    arn: str = database.get("DBInstanceArn") or database["DBClusterArn"]
    return arn


def _database(view: View, database: Row, minimum: int, now: datetime) -> Finding:
    arn = _arn(database)
    name = f"database {database.get('DBInstanceIdentifier') or database['DBClusterIdentifier']}"
    expected = f"backups kept {minimum} days or more, the latest under 26 hours old"
    if is_changing(database):
        message = f"The {name} is in the state {status(database)}"
        return unknown(database.origin, arn, message, Reason.IN_TRANSIT, observed=status(database), expected=expected)
    days = database.get("BackupRetentionPeriod") or 0
    observed = f"kept {days} days" if days else "no automated backups"
    key = "DBInstanceIdentifier" if "DBInstanceArn" in database else "DBClusterIdentifier"
    facts = {"kind": "database" if key == "DBInstanceIdentifier" else "cluster", key: database[key]}
    if days < minimum:
        message = f"The automated backups of the {name} are {'kept too short' if days else 'off'}"
        found = facts | {"missing": "retention"}
        return failed(database.origin, arn, message, observed=observed, expected=expected, facts=found)
    if status(database) in STOPPED:
        warning = f"the {name} is stopped, so no backup is taken"
        message = f"The {name} is backed up while it runs"
        return passed(database.origin, arn, message, observed=observed, expected=expected, warnings=(warning,))
    if not _is_young(database, now) and not _backed_up_lately(view, database, now):
        message = f"The latest automated backup of the {name} is missing or older than 26 hours"
        observed, found = f"{observed}, none of late", facts | {"missing": "backup"}
        return failed(database.origin, arn, message, observed=observed, expected=expected, facts=found)
    return passed(database.origin, arn, f"The {name} is backed up", observed=observed, expected=expected)


def _is_young(database: Row, now: datetime) -> bool:
    created = next((database[name] for name in CREATION if database.get(name)), None)
    return _is_fresh(created, now)


def _backed_up_lately(view: View, database: Row, now: datetime) -> bool:
    """By the store's own word or by its automated backup. A cluster without either is judged by its settings."""
    latest = database.get("LatestRestorableTime")
    if "DBClusterArn" in database:
        return latest is None or _is_fresh(latest, now)

    def fresh_backup() -> bool:
        return any(
            _is_of(backup, database) and _is_fresh((backup.get("RestoreWindow") or {}).get("LatestTime"), now)
            for backup in view.rows(AUTOMATED_BACKUPS)
        )

    return any_of(lambda: _is_fresh(latest, now), fresh_backup)


def _is_fresh(time: datetime | None, now: datetime) -> bool:
    return time is not None and now - time < LATELY


def _is_of(backup: Row, instance: Row) -> bool:
    """By the resource id, which a name used twice does not share; by the name where an id is missing."""
    ids = (backup.get("DbiResourceId"), instance.get("DbiResourceId"))
    if all(ids):
        return ids[0] == ids[1]
    return bool(backup.get("DBInstanceIdentifier") == instance["DBInstanceIdentifier"])


def _tables(view: View, minimum: int, now: datetime) -> Iterator[Finding]:
    for table in view.rows(TABLES):
        arn = f"arn:{view.partition}:dynamodb:{table.region}:{view.account_id}:table/{table.data}"
        with view.judging(arn, table.region):
            yield from _table(view, table, arn, minimum, now)


def _table(view: View, table: Row, arn: str, minimum: int, now: datetime) -> Iterator[Finding]:
    backups = view.row(CONTINUOUS_BACKUPS, table)
    if backups is None:
        return
    name, expected = f"table {table.data}", "point-in-time recovery ENABLED"
    state = backups.get("Status") or "DISABLED"
    latest, days = backups.get("LatestRestorableDateTime"), backups.get("RecoveryPeriodInDays")
    observed = f"point-in-time recovery {state}"
    if state != "ENABLED":
        message = f"Point-in-time recovery of the {name} is off"
        facts = {"kind": "table", "missing": "recovery", "TableName": str(table.data)}
        yield failed(backups.origin, arn, message, observed=observed, expected=expected, facts=facts)
    elif latest is not None and not _is_fresh(latest, now):
        message = f"The {name} cannot be restored to any time in the last 26 hours"
        yield failed(backups.origin, arn, message, observed="latest restorable time is stale", expected=expected)
    else:
        short = days is not None and days < minimum
        warnings = (f"the {name} can be restored to the last {days} days only",) if short else ()
        message = f"The {name} can be restored to any time"
        yield passed(backups.origin, arn, message, observed=observed, expected=expected, warnings=warnings)


def _file_systems(view: View) -> Iterator[Finding]:
    for file_system in view.rows(FILE_SYSTEMS):
        if file_system.get("LifeCycleState") not in GOING and not _is_copy(file_system):
            with view.judging(_file_system_arn(view, file_system), file_system.region):
                yield _file_system(view, file_system)


def _is_copy(file_system: Row) -> bool:
    protection = file_system.get("FileSystemProtection") or {}
    return protection.get("ReplicationOverwriteProtection") == "REPLICATING"


def _file_system_arn(view: View, file_system: Row) -> str:
    place = f"arn:{view.partition}:elasticfilesystem:{file_system.region}:{view.account_id}"
    return file_system.get("FileSystemArn") or f"{place}:file-system/{file_system['FileSystemId']}"


def _file_system(view: View, file_system: Row) -> Finding:
    arn = _file_system_arn(view, file_system)
    name, expected = f"file system {file_system.get('Name') or file_system['FileSystemId']}", "backup policy ENABLED"
    state = file_system.get("LifeCycleState")
    if state in CHANGING:
        message = f"The {name} is in the state {state}"
        return unknown(file_system.origin, arn, message, Reason.IN_TRANSIT, observed=str(state), expected=expected)
    policy = view.row(BACKUP_POLICY, file_system)
    status = (policy.get("Status") if policy is not None else None) or "DISABLED"
    origin = policy.origin if policy is not None else view.origin(BACKUP_POLICY)
    observed = f"backup policy {status}"
    if status == "ENABLING":
        message = f"The backup policy of the {name} is being switched on"
        return unknown(origin, arn, message, Reason.IN_TRANSIT, observed=observed, expected=expected)
    if status != "ENABLED":
        message = f"The {name} has no automatic backups"
        facts = {"kind": "file-system", "missing": "policy", "FileSystemId": file_system["FileSystemId"]}
        return failed(origin, arn, message, observed=observed, expected=expected, facts=facts)
    return passed(origin, arn, f"The {name} is backed up", observed=observed, expected=expected)


def _caches(view: View, call: Call) -> Iterator[Finding]:
    for cache in view.rows(call):
        grouped = cache.call == SINGLE_CLUSTERS and cache.get("ReplicationGroupId")
        node_of_memcached = cache.call == SINGLE_CLUSTERS and cache.get("Engine") == "memcached"
        if not grouped and not node_of_memcached and _cache_state(cache) not in GOING:
            yield _cache(view, cache)


def _cache_state(cache: Row) -> str | None:
    return cache.get("Status") or cache.get("CacheClusterStatus")


def _cache(view: View, cache: Row) -> Finding:
    kind, key = {
        REPLICATION_GROUPS: ("replicationgroup", "ReplicationGroupId"),
        SINGLE_CLUSTERS: ("cluster", "CacheClusterId"),
        SERVERLESS_CACHES: ("serverlesscache", "ServerlessCacheName"),
    }[cache.call]
    place = f"arn:{view.partition}:elasticache:{cache.region}:{view.account_id}"
    arn, name = cache.get("ARN") or f"{place}:{kind}:{cache[key]}", f"cache {cache[key]}"
    state = _cache_state(cache)
    days, expected = cache.get("SnapshotRetentionLimit") or 0, "snapshots kept 1 day or more"
    observed = f"snapshots kept {days} days"
    if state in CHANGING:
        message = f"The {name} is in the state {state}"
        return unknown(cache.origin, arn, message, Reason.IN_TRANSIT, observed=str(state), expected=expected)
    if days < 1:
        message = f"No automatic snapshots of the {name} are taken"
        facts = {"kind": kind, "missing": "snapshots", key: cache[key]}
        return failed(cache.origin, arn, message, observed="no automatic snapshots", expected=expected, facts=facts)
    return passed(cache.origin, arn, f"The {name} is backed up", observed=observed, expected=expected)
