"""The data stores that AWS Backup protects: databases, tables, file systems, buckets and volumes.

Read by the checks of backup plans, restores and recovery goals, which must agree on what there is to protect. Copies
are left out, because they are protected by what they copy: read replicas, and the targets of a file system's
replication. Members of a cluster belong to their cluster, instances to their volumes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from passmuster.inventory.call import Call
from passmuster.inventory.operations.backup import REGION_SETTINGS
from passmuster.inventory.operations.dynamodb import TABLE
from passmuster.inventory.operations.ec2 import VOLUMES
from passmuster.inventory.operations.efs import FILE_SYSTEMS
from passmuster.inventory.operations.rds import (
    DB_CLUSTERS,
    DB_INSTANCES,
    is_aurora,
    is_changing,
    is_going,
    is_rds,
    is_replica,
    status,
)
from passmuster.inventory.operations.s3 import BUCKET_LOCATION, BUCKETS, located
from passmuster.inventory.snapshot import Row, View, any_of
from passmuster.model.finding import Origin

STORE_CALLS: tuple[Call, ...] = (
    REGION_SETTINGS,
    DB_INSTANCES,
    DB_CLUSTERS,
    TABLE,
    FILE_SYSTEMS,
    BUCKETS,
    BUCKET_LOCATION,
    VOLUMES,
)
"""What `STORES` and the questions about them read."""

_GOING = ("deleting", "deleted", "error", "archived")
_CHANGING = ("creating", "updating", "archiving")


@dataclass(frozen=True, slots=True)
class Store:
    """A data store; `kind` is the type as AWS Backup names it.

    `state` is set while the store is changing, `carriers` are the ARNs of what holds it: instances whose own backup has
    their volumes in it.
    """

    arn: str
    name: str
    kind: str
    region: str
    origin: Origin
    created: datetime | None = None
    state: str | None = None
    stopped: bool = False
    carriers: tuple[str, ...] = ()


def _databases(view: View, kind: str) -> Iterator[Store]:
    """Of RDS or of Aurora. A cluster of RDS without Aurora counts to RDS."""
    for row in view.rows(DB_INSTANCES) if kind == "RDS" else ():
        if is_rds(row) and not is_going(row) and not is_replica(row) and not row.get("DBClusterIdentifier"):
            yield _database(row, kind, row["DBInstanceArn"], row["DBInstanceIdentifier"], row.get("InstanceCreateTime"))
    for row in view.rows(DB_CLUSTERS):
        meant = is_rds(row) and is_aurora(row) == (kind == "Aurora")
        if meant and not is_going(row) and not is_replica(row):
            yield _database(row, kind, row["DBClusterArn"], row["DBClusterIdentifier"], row.get("ClusterCreateTime"))


def _database(row: Row, kind: str, arn: str, name: str, created: datetime | None) -> Store:
    return Store(
        arn=arn,
        name=f"database {name}",
        kind=kind,
        region=row.region,
        origin=row.origin,
        created=created,
        state=status(row) if is_changing(row) else None,
        stopped=status(row) in ("stopped", "stopping"),
    )


def _tables(view: View) -> Iterator[Store]:
    for row in view.rows(TABLE):
        state = str(row.get("TableStatus") or "").lower()
        if row.get("TableName") and state not in _GOING:
            place = f"arn:{view.partition}:dynamodb:{row.region}:{view.account_id}"
            yield Store(
                arn=row.get("TableArn") or f"{place}:table/{row['TableName']}",
                name=f"table {row['TableName']}",
                kind="DynamoDB",
                region=row.region,
                origin=row.origin,
                created=row.get("CreationDateTime"),
                state=state if state in _CHANGING else None,
            )


def _file_systems(view: View) -> Iterator[Store]:
    for row in view.rows(FILE_SYSTEMS):
        state = row.get("LifeCycleState")
        copy = (row.get("FileSystemProtection") or {}).get("ReplicationOverwriteProtection") == "REPLICATING"
        if state not in _GOING and not copy:
            place = f"arn:{view.partition}:elasticfilesystem:{row.region}:{view.account_id}"
            yield Store(
                arn=row.get("FileSystemArn") or f"{place}:file-system/{row['FileSystemId']}",
                name=f"file system {row.get('Name') or row['FileSystemId']}",
                kind="EFS",
                region=row.region,
                origin=row.origin,
                created=row.get("CreationTime"),
                state=state if state in _CHANGING else None,
            )


def _buckets(view: View) -> Iterator[Store]:
    regions = (view.region,) if view.region else view.regions
    for row, region in located(view):
        if region in regions:
            yield Store(
                arn=f"arn:{view.partition}:s3:::{row['Name']}",
                name=f"bucket {row['Name']}",
                kind="S3",
                region=region,
                origin=Origin(row.call.name, region, row.observed_at),
                created=row.get("CreationDate"),
            )


def _volumes(view: View) -> Iterator[Store]:
    for row in view.rows(VOLUMES):
        if row.get("State") not in _GOING:
            place = f"arn:{view.partition}:ec2:{row.region}:{view.account_id}"
            yield Store(
                arn=f"{place}:volume/{row['VolumeId']}",
                name=f"volume {row['VolumeId']}",
                kind="EBS",
                region=row.region,
                origin=row.origin,
                created=row.get("CreateTime"),
                state=row["State"] if row.get("State") in _CHANGING else None,
                carriers=tuple(f"{place}:instance/{one}" for one in row.get("Instances") or () if one),
            )


STORES: dict[str, Callable[[View], Iterator[Store]]] = {
    "RDS": partial(_databases, kind="RDS"),
    "Aurora": partial(_databases, kind="Aurora"),
    "DynamoDB": _tables,
    "EFS": _file_systems,
    "S3": _buckets,
    "EBS": _volumes,
}
"""The data stores of each type, as AWS Backup names the type."""


def has_store(view: View) -> bool:
    """Whether there is a data store of any type; Unread if none was read and something could not be."""
    return any_of(*(partial(_holds_any, view, kind) for kind in STORES))


def _holds_any(view: View, kind: str) -> bool:
    return any(True for _ in STORES[kind](view))


def is_present(view: View, kind: str) -> bool:
    """Whether there is a data store of the type, and the type is switched on in AWS Backup."""
    return any(is_switched_on(view, kind, store.region) for store in STORES[kind](view))


def is_any_present(view: View) -> bool:
    """Whether there is a data store of any type that is switched on; Unread if none was read and some could not be."""
    return any_of(*(partial(is_present, view, kind) for kind in STORES))


def is_switched_on(view: View, kind: str, region: str) -> bool:
    """Whether AWS Backup protects this type in the region; where it tells of no type, it protects all."""
    for row in view.rows(REGION_SETTINGS):
        if row.region == region:
            choices = row.get("ResourceTypeOptInPreference") or {}
            return bool(choices.get(kind, not choices))
    return True
