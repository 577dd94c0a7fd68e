"""Every data store has a copy in another region."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.arn import region_in
from passmuster.inventory.index import Index, by_region
from passmuster.inventory.operations.backup import (
    BACKUP_PLAN,
    COPIES_KEPT,
    COPY_JOBS,
    PROTECTED_RESOURCES,
    SELECTING,
    Selections,
    copied_to,
)
from passmuster.inventory.operations.dynamodb import TABLE, TABLES
from passmuster.inventory.operations.ecr import REGISTRY, Image, private_image
from passmuster.inventory.operations.ecs import TASK_DEFINITIONS
from passmuster.inventory.operations.efs import FILE_SYSTEMS, REPLICATIONS
from passmuster.inventory.operations.rds import (
    AUTOMATED_BACKUPS,
    DB_CLUSTERS,
    DB_INSTANCES,
    GLOBAL_CLUSTERS,
    is_changing,
    is_going,
    is_replica,
    status,
)
from passmuster.inventory.operations.s3 import (
    BUCKET_LOCATION,
    BUCKET_REPLICATION,
    BUCKET_VERSIONING,
    BUCKETS,
    is_versioned,
    located,
    replicated_to,
    target_bucket,
)
from passmuster.inventory.snapshot import Row, View, all_of, any_of, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, Origin, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "a copy in another region"
NEW = timedelta(days=2)
CHANGING = ("CREATING", "UPDATING", "creating", "updating")
GOING = ("DELETING", "deleting", "deleted")

Ways = Mapping[str, Callable[[], bool]]


@check(
    title="Data is copied to another region",
    category=Category.BACKUP,
    phase=Phase.STABLE,
    severity=Severity.HIGH,
    fix="IP",
    per="account",
    calls=(
        BUCKETS,
        BUCKET_LOCATION,
        BUCKET_REPLICATION,
        BUCKET_VERSIONING,
        DB_INSTANCES,
        DB_CLUSTERS,
        GLOBAL_CLUSTERS,
        AUTOMATED_BACKUPS,
        TABLES,
        TABLE,
        FILE_SYSTEMS,
        REPLICATIONS,
        *SELECTING,
        COPY_JOBS,
        PROTECTED_RESOURCES,
        TASK_DEFINITIONS,
        REGISTRY,
    ),
    nothing="There is no bucket, database, table, file system or running image",
    controls=Controls(
        config=("S3_BUCKET_CROSS_REGION_REPLICATION_ENABLED",),
        security_hub=("S3.7",),
        well_architected=("REL09-BP01", "REL13-BP02"),
    ),
)
def cross_region_replication(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """When a region is lost, so is every backup that is kept in it.

    Each bucket, database, table and file system of the governed regions needs one of: its own replication to another
    region (for a bucket with versioning on), or a rule of AWS Backup that copies to another region together with a copy
    completed in the last 30 days. A store younger than that passes by the rule once AWS Backup protects it, and one
    younger than two days if the plan selects it, because no night has passed. Caches are not judged. What is itself a
    copy - a read replica, the target of another bucket's or file system's replication - is judged by its source. Images
    are judged by their repository, and only those that active ECS services run from the account's own registry. A
    bucket that replicates to another account's bucket is Unknown: its region cannot be told.
    """
    if evidence.recovery.cross_region == "None":
        message = "The policy asks for no copies in another region"
        yield not_applicable(view.origin(BUCKETS), view.account_id, message, Reason.NOT_REQUESTED)
        return
    copies = _Copies(view, evidence.now)
    for stores in (_buckets, _instances, _clusters, _tables, _file_systems, _images):
        with view.judging(view.account_id):
            for store in stores(view):
                with view.judging(store.arn, store.region):
                    yield from _judged(store, copies)


@dataclass(frozen=True, slots=True)
class _Store:
    """A data store and the ways in which it may be copied, besides AWS Backup, by what they are called.

    `state` is set while it changes.
    """

    arn: str
    name: str
    region: str
    origin: Origin
    ways: Ways
    created: datetime | None = None
    state: str | None = None
    backed_up: bool = True
    is_copy: Callable[[], bool] = lambda: False
    untold: Callable[[], bool] = lambda: False


def _judged(store: _Store, copies: _Copies) -> Iterator[Finding]:
    if store.state is not None:
        message = f"The {store.name} is in the state {store.state}"
        yield unknown(store.origin, store.arn, message, Reason.IN_TRANSIT, observed=store.state, expected=EXPECTED)
        return
    ways: Ways = {**store.ways, "copies by AWS Backup": lambda: store.backed_up and copies.has(store)}
    way = first_of(ways, lambda one: ways[one]())
    if way is not None:
        message = f"The {store.name} has a copy in another region"
        yield passed(store.origin, store.arn, message, observed=way, expected=EXPECTED)
    elif store.untold():
        message = f"The {store.name} is replicated to a bucket of another account, whose region cannot be told"
        yield unknown(store.origin, store.arn, message, Reason.PARTIAL, expected=EXPECTED)
    elif not store.is_copy():
        kind, _, name = store.name.rpartition(" ")
        facts, observed = {"store": kind, "name": name}, "no copy in another region"
        message = f"The {store.name} has {observed}"
        yield failed(store.origin, store.arn, message, observed=observed, expected=EXPECTED, facts=facts)


def _is_elsewhere(arn: str | None, region: str) -> bool:
    """Whether the ARN names another region; a plain name means the same one."""
    return bool(arn) and region_in(arn) not in ("", region)


class _Copies:
    """What AWS Backup copies to other regions."""

    def __init__(self, view: View, now: datetime) -> None:
        self._now = now
        self._selections = Selections(view)
        self._plans = by_region(view.rows(BACKUP_PLAN))
        self._jobs = Index(lambda job: job.get("ResourceArn"), view.rows(COPY_JOBS))
        self._protected = Index(lambda row: row.get("ResourceArn"), view.rows(PROTECTED_RESOURCES))

    def has(self, store: _Store) -> bool:
        """Whether a rule copies elsewhere, and a copy of the store was completed or the store is too young for one."""
        return all_of(
            lambda: any(_copies_elsewhere(plan, store.region) for plan in self._plans.rows(store.region, store.region)),
            lambda: any_of(
                lambda: any(self._is_completed(job, store.region) for job in self._jobs.rows(store.arn, store.region)),
                lambda: self._is_younger(store, NEW) and self._is_to_be_copied(store),
                lambda: (
                    self._is_younger(store, COPIES_KEPT)
                    and any(True for _ in self._protected.rows(store.arn, store.region))
                ),
            ),
        )

    def _is_completed(self, job: Row, region: str) -> bool:
        done = job.get("CompletionDate")
        return (
            job.get("State") in (None, "COMPLETED")
            and _is_elsewhere(job.get("DestinationBackupVaultArn"), region)
            and (done is None or self._now - done < COPIES_KEPT)
        )

    def _is_to_be_copied(self, store: _Store) -> bool:
        plans = self._selections.plans(store.region, store.arn)
        return any(_copies_elsewhere(plan, store.region) for plan in plans)

    def _is_younger(self, store: _Store, age: timedelta) -> bool:
        return store.created is not None and self._now - store.created < age


def _copies_elsewhere(plan: Row, region: str) -> bool:
    return any(_is_elsewhere(vault, region) for vault in copied_to(plan))


def _buckets(view: View) -> Iterator[_Store]:
    buckets = list(located(view))
    homes = {bucket["Name"]: region for bucket, region in buckets}
    copies: dict[str, Index] = {}
    for bucket, region in buckets:
        if region in view.regions:
            if region not in copies:
                sources = [source for source, home in buckets if home != region]
                copies[region] = Index(target_bucket, *(view.rows(BUCKET_REPLICATION, source) for source in sources))
            yield _bucket(view, bucket, homes, copies[region])


def _bucket(view: View, bucket: Row, homes: Mapping[str, str], copies: Index) -> _Store:
    """`homes` are the regions of the account's buckets, `copies` the rules of buckets elsewhere by their target."""
    name, region = bucket["Name"], homes[bucket["Name"]]

    def copied(is_meant: Callable[[str | None], bool]) -> bool:
        return all_of(
            lambda: any(is_meant(homes.get(other)) for other in replicated_to(view, bucket)),
            lambda: is_versioned(view, bucket),
        )

    return _Store(
        arn=f"arn:{view.partition}:s3:::{name}",
        name=f"bucket {name}",
        region=region,
        origin=Origin(bucket.call.name, region, bucket.observed_at),
        ways={"replication rule": lambda: copied(lambda home: home not in (None, region))},
        created=bucket.get("CreationDate"),
        is_copy=lambda: any(rule.get("Status") == "Enabled" for rule in copies.rows(name)),
        untold=lambda: copied(lambda home: home is None),
    )


def _instances(view: View) -> Iterator[_Store]:
    replicas = Index(lambda row: row.get("ReadReplicaSourceDBInstanceIdentifier"), view.rows(DB_INSTANCES))
    backups = Index(lambda row: row.get("DBInstanceArn"), view.rows(AUTOMATED_BACKUPS))
    for instance in view.rows(DB_INSTANCES):
        if not instance.get("DBClusterIdentifier") and not is_replica(instance) and not is_going(instance):
            yield _instance(instance, replicas, backups)


def _instance(instance: Row, replicas: Index, backups: Index) -> _Store:
    arn, region = instance["DBInstanceArn"], instance.region
    return _Store(
        arn=arn,
        name=f"database {instance['DBInstanceIdentifier']}",
        region=region,
        origin=instance.origin,
        ways={
            "read replica": lambda: (
                any(_is_elsewhere(one, region) for one in instance.get("ReadReplicaDBInstanceIdentifiers") or ())
                or any(replica.region != region for replica in replicas.rows(arn))
            ),
            "replicated automated backups": lambda: (
                any(_is_elsewhere(copy, region) for copy in _copies(instance))
                or any(_is_backup_elsewhere(backup, region) for backup in backups.rows(arn))
            ),
        },
        created=instance.get("InstanceCreateTime"),
        state=status(instance) if is_changing(instance) else None,
    )


def _copies(row: Row) -> list[str | None]:
    """The ARNs of the copies of an instance's automated backups."""
    replications = row.get("DBInstanceAutomatedBackupsReplications") or []
    return [replication.get("DBInstanceAutomatedBackupsArn") for replication in replications]


def _is_backup_elsewhere(backup: Row, region: str) -> bool:
    """By where the backup was listed, by its own ARN, or by the ARNs of its copies."""
    arns = (backup.get("DBInstanceAutomatedBackupsArn"), *_copies(backup))
    return backup.region != region or any(_is_elsewhere(arn, region) for arn in arns)


def _clusters(view: View) -> Iterator[_Store]:
    for cluster in view.rows(DB_CLUSTERS):
        if not is_replica(cluster) and not is_going(cluster):
            yield _cluster(view, cluster)


def _cluster(view: View, cluster: Row) -> _Store:
    arn, region = cluster["DBClusterArn"], cluster.region

    def replica() -> bool:
        return any(_is_elsewhere(one, region) for one in cluster.get("ReadReplicaIdentifiers") or [])

    def global_member() -> bool:
        for row in view.rows(GLOBAL_CLUSTERS):
            members = row.get("Members") or []
            arns = {one.get("DBClusterArn") for one in members} | {
                r for one in members for r in one.get("Readers") or []
            }
            if arn in arns and any(_is_elsewhere(one, region) for one in arns):
                return True
        return False

    return _Store(
        arn=arn,
        name=f"database {cluster['DBClusterIdentifier']}",
        region=region,
        origin=cluster.origin,
        ways={"read replica": replica, "global cluster": global_member},
        created=cluster.get("ClusterCreateTime"),
        state=status(cluster) if is_changing(cluster) else None,
    )


def _tables(view: View) -> Iterator[_Store]:
    for listed in view.rows(TABLES):
        arn = f"arn:{view.partition}:dynamodb:{listed.region}:{view.account_id}:table/{listed.data}"
        with view.judging(arn, listed.region):
            table = view.row(TABLE, listed)
            if table is not None and table.get("TableStatus") not in GOING:
                yield _table(table, arn, str(listed.data))


def _table(table: Row, arn: str, name: str) -> _Store:
    def replicated() -> bool:
        replicas = table.get("Replicas")
        if replicas is None:
            return table.get("GlobalTableVersion") == "2017.11.29"
        return any(
            one.get("RegionName") != table.region and one.get("ReplicaStatus") in (None, "ACTIVE", "UPDATING")
            for one in replicas
        )

    return _Store(
        arn=arn,
        name=f"table {name}",
        region=table.region,
        origin=table.origin,
        ways={"global table": replicated},
        created=table.get("CreationDateTime"),
        state=table["TableStatus"] if table.get("TableStatus") in CHANGING else None,
    )


def _file_systems(view: View) -> Iterator[_Store]:
    for system in view.rows(FILE_SYSTEMS):
        copy = (system.get("FileSystemProtection") or {}).get("ReplicationOverwriteProtection") == "REPLICATING"
        if system.get("LifeCycleState") not in GOING and not copy:
            yield _file_system(view, system)


def _file_system(view: View, system: Row) -> _Store:
    def replicated() -> bool:
        return any(
            row.get("SourceFileSystemId") == system["FileSystemId"]
            and any(
                one.get("Region") not in (None, system.region) and one.get("Status") == "ENABLED"
                for one in row.get("Destinations") or []
            )
            for row in view.rows(REPLICATIONS)
        )

    place = f"arn:{view.partition}:elasticfilesystem:{system.region}:{view.account_id}"
    return _Store(
        arn=system.get("FileSystemArn") or f"{place}:file-system/{system['FileSystemId']}",
        name=f"file system {system.get('Name') or system['FileSystemId']}",
        region=system.region,
        origin=system.origin,
        ways={"replication": replicated},
        created=system.get("CreationTime"),
        state=system["LifeCycleState"] if system.get("LifeCycleState") in CHANGING else None,
    )


def _images(view: View) -> Iterator[_Store]:
    seen: set[tuple[str, str]] = set()
    for definition in view.rows(TASK_DEFINITIONS):
        for container in definition.get("containerDefinitions") or []:
            image = private_image(container.get("image") or "")
            if image is None or image.account != view.account_id or image.region not in view.regions:
                continue
            if (image.region, image.name) not in seen:
                seen.add((image.region, image.name))
                yield _repository(view, image, definition.origin)


def _repository(view: View, image: Image, origin: Origin) -> _Store:
    def replicated() -> bool:
        """To another region, or from one: either way the image is in two."""
        return any(
            _covers(rule, image.name)
            and (image.region in regions if registry.region != image.region else bool(regions - {image.region}))
            for registry in view.rows(REGISTRY)
            for rule in registry.get("rules") or []
            for regions in [set(rule.get("regions") or [])]
        )

    return _Store(
        arn=f"arn:{view.partition}:ecr:{image.region}:{view.account_id}:repository/{image.name}",
        name=f"repository {image.name}",
        region=image.region,
        origin=origin,
        ways={"replication of the registry": replicated},
        backed_up=False,
    )


def _covers(rule: dict[str, list[str]], name: str) -> bool:
    prefixes = rule.get("prefixes") or []
    return not prefixes or any(name.startswith(prefix) for prefix in prefixes)
