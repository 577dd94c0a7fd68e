"""Everything that keeps data is encrypted at rest, and new volumes are encrypted by default."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.dynamodb import TABLE, TABLES
from passmuster.inventory.operations.ec2 import EBS_ENCRYPTION_BY_DEFAULT, VOLUMES
from passmuster.inventory.operations.efs import FILE_SYSTEMS
from passmuster.inventory.operations.elasticache import REPLICATION_GROUPS, SERVERLESS_CACHES, SINGLE_CLUSTERS
from passmuster.inventory.operations.kms import ALIASES, aws_managed_keys, names_key, names_own_alias
from passmuster.inventory.operations.opensearch import DOMAIN_NAMES, DOMAINS
from passmuster.inventory.operations.rds import DB_CLUSTERS, DB_INSTANCES, is_changing, is_going
from passmuster.inventory.operations.redshift import CLUSTERS
from passmuster.inventory.operations.s3 import BUCKET_ENCRYPTION, BUCKET_LOCATION, BUCKETS, located
from passmuster.inventory.operations.sns import TOPIC_ATTRIBUTES, TOPICS
from passmuster.inventory.operations.sqs import QUEUE_ATTRIBUTES, QUEUES
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

CUSTOMER = "customer"
GOING = frozenset({"deleting", "deleted", "final-snapshot"})
CHANGING = frozenset({"creating", "modifying", "updating"})
KMS = ("aws:kms", "aws:kms:dsse")


@check(
    title="Data is encrypted at rest",
    category=Category.SECURITY,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="IP",
    calls=(
        EBS_ENCRYPTION_BY_DEFAULT,
        VOLUMES,
        DB_INSTANCES,
        DB_CLUSTERS,
        FILE_SYSTEMS,
        BUCKETS,
        BUCKET_LOCATION,
        BUCKET_ENCRYPTION,
        TABLES,
        TABLE,
        TOPICS,
        TOPIC_ATTRIBUTES,
        QUEUES,
        QUEUE_ATTRIBUTES,
        REPLICATION_GROUPS,
        SINGLE_CLUSTERS,
        SERVERLESS_CACHES,
        CLUSTERS,
        DOMAIN_NAMES,
        DOMAINS,
        ALIASES,
    ),
    parameters=(
        Parameter(
            "kms",
            Kind.CHOICE,
            "any",
            Stricter.LATER,
            "Which keys count: any, or customer for keys that the customer manages.",
            choices=("any", CUSTOMER),
        ),
    ),
    controls=Controls(
        config=("RDS_STORAGE_ENCRYPTED", "EC2_EBS_ENCRYPTION_BY_DEFAULT", "ENCRYPTED_VOLUMES"),
        security_hub=("RDS.3", "EC2.3", "EC2.7", "EFS.1"),
        well_architected=("SEC08-BP02",),
    ),
)
def encryption_at_rest(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A copied snapshot or a discarded disk gives nothing away if its data is encrypted.

    Every store is judged, and whether new EBS volumes are encrypted by default in the region. Buckets and tables are
    always encrypted by AWS and fail only where the policy wants keys that the customer manages; then a key of AWS's own
    (`alias/aws/...`) fails too. Queues may use the key of SQS. Members of a database cluster are judged by the cluster;
    Memcached nodes store nothing at rest.
    """
    judge = _Judge(view, parameters["kms"] == CUSTOMER)
    for kind in (
        _default,
        _volumes,
        _databases,
        _clusters,
        _file_systems,
        _buckets,
        _tables,
        _topics,
        _queues,
        _replication_groups,
        _single_caches,
        _serverless_caches,
        _warehouses,
        _domains,
    ):
        with view.judging(view.account_id):
            yield from kind(view, judge)


class _Judge:
    """The verdict on one store, for all kinds of stores."""

    def __init__(self, view: View, customer: bool) -> None:
        self._managed: Callable[[], frozenset[str]] = cache(lambda: aws_managed_keys(view))
        self._view = view
        self.customer = customer
        self.expected = "encrypted with a key of the customer" if customer else "encrypted"

    def __call__(
        self,
        row: Row,
        arn: str,
        name: str,
        *,
        kind: str,
        identifier: str,
        encrypted: bool,
        key: str | None = None,
        status: str = "",
    ) -> Iterator[Finding]:
        """`kind` and `identifier` are what a remediation knows the store by."""
        if status.lower() in GOING:
            return
        facts = {"kind": kind, "Id": identifier, "Arn": arn}
        with self._view.judging(arn, row.region):
            if status.lower() in CHANGING:
                yield unknown(row.origin, arn, f"The {name} is {status}", Reason.IN_TRANSIT, expected=self.expected)
            elif not encrypted:
                message = f"The {name} is not encrypted"
                found = facts | {"missing": "encryption"}
                yield failed(row.origin, arn, message, observed="not encrypted", expected=self.expected, facts=found)
            elif self.customer and not self._is_of_customer(key):
                message = f"The {name} is not encrypted with a key of the customer"
                found = facts | {"missing": "customer-key"}
                yield failed(row.origin, arn, message, observed="a key of AWS", expected=self.expected, facts=found)
            else:
                yield passed(row.origin, arn, f"The {name} is encrypted", observed="encrypted", expected=self.expected)

    def _is_of_customer(self, key: str | None) -> bool:
        if not key or not names_key(key) or names_own_alias(key):
            return False
        return ":alias/" in key or key.startswith("alias/") or key.rpartition("/")[2] not in self._managed()


def _default(view: View, judge: _Judge) -> Iterator[Finding]:
    for row in view.rows(EBS_ENCRYPTION_BY_DEFAULT):
        on = bool(row.get("EbsEncryptionByDefault"))
        observed, expected = f"EBS encryption by default: {'on' if on else 'off'}", "EBS encryption by default: on"
        if on:
            message = f"New volumes in {row.region} are encrypted"
            yield passed(row.origin, view.account_id, message, observed=observed, expected=expected)
        else:
            message, facts = f"New volumes in {row.region} are not encrypted by default", {"missing": "default"}
            yield failed(row.origin, view.account_id, message, observed=observed, expected=expected, facts=facts)


def _volumes(view: View, judge: _Judge) -> Iterator[Finding]:
    for row in view.rows(VOLUMES):
        arn = f"arn:{view.partition}:ec2:{row.region}:{view.account_id}:volume/{row['VolumeId']}"
        name = f"volume {row['VolumeId']}"
        encrypted, key, state = bool(row.get("Encrypted")), row.get("KmsKeyId"), row.get("State") or ""
        yield from judge(
            row, arn, name, kind="volume", identifier=row["VolumeId"], encrypted=encrypted, key=key, status=state
        )


def _databases(view: View, judge: _Judge) -> Iterator[Finding]:
    for row in view.rows(DB_INSTANCES):
        if not row.get("DBClusterIdentifier"):
            yield from _database(row, row["DBInstanceArn"], "database", row["DBInstanceIdentifier"], judge)


def _clusters(view: View, judge: _Judge) -> Iterator[Finding]:
    for row in view.rows(DB_CLUSTERS):
        yield from _database(row, row["DBClusterArn"], "cluster", row["DBClusterIdentifier"], judge)


def _database(row: Row, arn: str, kind: str, identifier: str, judge: _Judge) -> Iterator[Finding]:
    status = "deleting" if is_going(row) else "modifying" if is_changing(row) else ""
    encrypted, key = bool(row.get("StorageEncrypted")) or _has_type(row), row.get("KmsKeyId")
    yield from judge(
        row,
        arn,
        f"database {identifier}",
        kind=kind,
        identifier=identifier,
        encrypted=encrypted,
        key=key,
        status=status,
    )


def _has_type(row: Row) -> bool:
    """Newer answers name the kind of encryption, keys that AWS owns included."""
    return str(row.get("StorageEncryptionType") or "none").startswith("sse-")


def _file_systems(view: View, judge: _Judge) -> Iterator[Finding]:
    for row in view.rows(FILE_SYSTEMS):
        arn = row.get("FileSystemArn") or (
            f"arn:{view.partition}:elasticfilesystem:{row.region}:{view.account_id}:file-system/{row['FileSystemId']}"
        )
        yield from judge(
            row,
            arn,
            f"file system {row.get('Name') or row['FileSystemId']}",
            kind="file-system",
            identifier=row["FileSystemId"],
            encrypted=bool(row.get("Encrypted")),
            key=row.get("KmsKeyId"),
            status=row.get("LifeCycleState") or "",
        )


def _buckets(view: View, judge: _Judge) -> Iterator[Finding]:
    for bucket, place in located(view):
        if place != view.region:
            continue
        arn = f"arn:{view.partition}:s3:::{bucket['Name']}"
        with view.judging(arn, view.region):
            row = view.row(BUCKET_ENCRYPTION, bucket)
            rules = (row.get("Rules") or []) if row is not None else []
            keys = [rule.get("KMSMasterKeyID") for rule in rules if rule and rule.get("SSEAlgorithm") in KMS]
            name, key, found = bucket["Name"], next(iter(keys), None), row if row is not None else bucket
            verdicts = judge(found, arn, f"bucket {name}", kind="bucket", identifier=name, encrypted=True, key=key)
            yield from (replace(verdict, region=place) for verdict in verdicts)


def _tables(view: View, judge: _Judge) -> Iterator[Finding]:
    for table in view.rows(TABLES):
        arn = f"arn:{view.partition}:dynamodb:{table.region}:{view.account_id}:table/{table.data}"
        with view.judging(arn, table.region):
            for row in view.rows(TABLE, table):
                settings = row.get("SSEDescription") or {}
                key = settings.get("KMSMasterKeyArn") if settings.get("Status") in ("ENABLED", "UPDATING") else None
                status = row.get("TableStatus") or ""
                yield from judge(
                    row,
                    row.get("TableArn") or arn,
                    f"table {table.data}",
                    kind="table",
                    identifier=str(table.data),
                    encrypted=True,
                    key=key,
                    status="" if status == "UPDATING" else status,
                )


def _topics(view: View, judge: _Judge) -> Iterator[Finding]:
    for topic in view.rows(TOPICS):
        arn = topic["TopicArn"]
        with view.judging(arn, topic.region):
            for row in view.rows(TOPIC_ATTRIBUTES, topic):
                key, name = row.get("KmsMasterKeyId"), f"topic {arn.rpartition(':')[2]}"
                yield from judge(row, arn, name, kind="topic", identifier=arn, encrypted=bool(key), key=key)


def _queues(view: View, judge: _Judge) -> Iterator[Finding]:
    for queue in view.rows(QUEUES):
        name = str(queue.data).rpartition("/")[2]
        arn = f"arn:{view.partition}:sqs:{queue.region}:{view.account_id}:{name}"
        with view.judging(arn, queue.region):
            for row in view.rows(QUEUE_ATTRIBUTES, queue):
                key = row.get("KmsMasterKeyId")
                encrypted = bool(key) or str(row.get("SqsManagedSseEnabled")).lower() == "true"
                own, url = row.get("QueueArn") or arn, str(queue.data)
                yield from judge(row, own, f"queue {name}", kind="queue", identifier=url, encrypted=encrypted, key=key)


def _replication_groups(view: View, judge: _Judge) -> Iterator[Finding]:
    for row in view.rows(REPLICATION_GROUPS):
        arn = row.get("ARN") or _cache_arn(view, row, "replicationgroup", row["ReplicationGroupId"])
        yield from judge(
            row,
            arn,
            f"cache {row['ReplicationGroupId']}",
            kind="replication-group",
            identifier=row["ReplicationGroupId"],
            encrypted=bool(row.get("AtRestEncryptionEnabled")) or _has_type(row),
            key=row.get("KmsKeyId"),
            status=row.get("Status") or "",
        )


def _single_caches(view: View, judge: _Judge) -> Iterator[Finding]:
    for row in view.rows(SINGLE_CLUSTERS):
        if row.get("Engine") == "memcached" or row.get("ReplicationGroupId"):
            continue
        arn = row.get("ARN") or _cache_arn(view, row, "cluster", row["CacheClusterId"])
        encrypted, status = bool(row.get("AtRestEncryptionEnabled")), row.get("CacheClusterStatus") or ""
        name = row["CacheClusterId"]
        yield from judge(
            row, arn, f"cache {name}", kind="cache-cluster", identifier=name, encrypted=encrypted, status=status
        )


def _serverless_caches(view: View, judge: _Judge) -> Iterator[Finding]:
    """They are always encrypted; a key is named only where the customer brought one."""
    for row in view.rows(SERVERLESS_CACHES):
        arn = row.get("ARN") or _cache_arn(view, row, "serverlesscache", row["ServerlessCacheName"])
        key, status, name = row.get("KmsKeyId"), row.get("Status") or "", row["ServerlessCacheName"]
        yield from judge(
            row, arn, f"cache {name}", kind="serverless-cache", identifier=name, encrypted=True, key=key, status=status
        )


def _cache_arn(view: View, row: Row, kind: str, name: str) -> str:
    return f"arn:{view.partition}:elasticache:{row.region}:{view.account_id}:{kind}:{name}"


def _warehouses(view: View, judge: _Judge) -> Iterator[Finding]:
    for row in view.rows(CLUSTERS):
        name = row["ClusterIdentifier"]
        arn = f"arn:{view.partition}:redshift:{row.region}:{view.account_id}:cluster:{name}"
        encrypted, key, status = bool(row.get("Encrypted")), row.get("KmsKeyId"), row.get("ClusterStatus") or ""
        yield from judge(
            row,
            arn,
            f"warehouse {name}",
            kind="warehouse",
            identifier=name,
            encrypted=encrypted,
            key=key,
            status=status,
        )


def _domains(view: View, judge: _Judge) -> Iterator[Finding]:
    for row in view.rows(DOMAINS):
        status = "creating" if row.get("Created") is False else row.get("Processing") or ""
        yield from judge(
            row,
            row["ARN"],
            f"search domain {row['DomainName']}",
            kind="search-domain",
            identifier=row["DomainName"],
            encrypted=bool(row.get("Encrypted")),
            key=row.get("KmsKeyId"),
            status="deleting" if row.get("Deleted") else status,
        )
