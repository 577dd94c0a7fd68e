"""Databases of Amazon RDS and Aurora, and what their status says about judging them now.

The same operations also show DocumentDB and Neptune; `is_rds` tells them apart. No pending value is kept, because a
pending master password is among them.
"""

from __future__ import annotations

from passmuster.inventory.call import ONCE, RARELY, Call
from passmuster.inventory.snapshot import Row

DB_INSTANCES = Call(
    "rds",
    "DescribeDBInstances",
    items="DBInstances",
    keep=(
        "DBInstanceArn",
        "DBInstanceIdentifier",
        "DBInstanceClass",
        "DBInstanceStatus",
        "DbiResourceId",
        "DBClusterIdentifier",
        "Engine",
        "EngineVersion",
        "EngineLifecycleSupport",
        "InstanceCreateTime",
        "MultiAZ",
        "AvailabilityZone",
        "SecondaryAvailabilityZone",
        "DBSubnetGroup",
        "VpcSecurityGroups",
        "PubliclyAccessible",
        "ReadReplicaSourceDBInstanceIdentifier",
        "ReadReplicaSourceDBClusterIdentifier",
        "ReadReplicaDBInstanceIdentifiers",
        "BackupRetentionPeriod",
        "LatestRestorableTime",
        "DBInstanceAutomatedBackupsReplications",
        "StorageEncrypted",
        "StorageEncryptionType",
        "KmsKeyId",
        "MasterUserSecret",
        "IAMDatabaseAuthenticationEnabled",
        "EnabledCloudwatchLogsExports",
        "MonitoringInterval",
        "MonitoringRoleArn",
        "PerformanceInsightsEnabled",
        "PerformanceInsightsRetentionPeriod",
        "DatabaseInsightsMode",
        "DeletionProtection",
        "DBParameterGroups",
        "TagList",
    ),
)
DB_CLUSTERS = Call(
    "rds",
    "DescribeDBClusters",
    items="DBClusters",
    keep=(
        "DBClusterArn",
        "DBClusterIdentifier",
        "DbClusterResourceId",
        "Status",
        "Engine",
        "EngineMode",
        "EngineVersion",
        "EngineLifecycleSupport",
        "ClusterCreateTime",
        "MultiAZ",
        "AvailabilityZones",
        "DBClusterMembers",
        "DBClusterInstanceClass",
        "ServerlessV2ScalingConfiguration",
        "ReplicationSourceIdentifier",
        "ReadReplicaIdentifiers",
        "GlobalClusterIdentifier",
        "BackupRetentionPeriod",
        "EarliestRestorableTime",
        "LatestRestorableTime",
        "StorageEncrypted",
        "StorageEncryptionType",
        "KmsKeyId",
        "MasterUserSecret",
        "EnabledCloudwatchLogsExports",
        "MonitoringInterval",
        "PerformanceInsightsEnabled",
        "PerformanceInsightsRetentionPeriod",
        "DatabaseInsightsMode",
        "DeletionProtection",
        "DBClusterParameterGroup",
        "TagList",
    ),
)

AUTOMATED_BACKUPS = Call(
    "rds",
    "DescribeDBInstanceAutomatedBackups",
    items="DBInstanceAutomatedBackups",
    keep=(
        "DBInstanceArn",
        "DBInstanceIdentifier",
        "DbiResourceId",
        "Region",
        "Status",
        "RestoreWindow",
        "BackupRetentionPeriod",
        "DBInstanceAutomatedBackupsArn",
        "DBInstanceAutomatedBackupsReplications",
    ),
    absent=("DBInstanceAutomatedBackupNotFoundFault", "DBInstanceAutomatedBackupNotFound"),
)
"""Of the instances that exist, of deleted ones whose backups are kept, and of instances of another region that
replicate their backups to this one."""

GLOBAL_CLUSTERS = Call(
    "rds",
    "DescribeGlobalClusters",
    each=DB_CLUSTERS,
    over="DBClusterArn",
    param=ONCE,
    items="GlobalClusters",
    keep="{GlobalClusterIdentifier: GlobalClusterIdentifier, GlobalClusterArn: GlobalClusterArn, Status: Status, "
    "Engine: Engine, EngineVersion: EngineVersion, "
    "Members: GlobalClusterMembers[].{DBClusterArn: DBClusterArn, IsWriter: IsWriter, Readers: Readers}}",
    freshness=RARELY,
)
"""A global cluster shows in each region that it has a member in."""

PROXIES = Call(
    "rds",
    "DescribeDBProxies",
    each=DB_INSTANCES,
    over="DBInstanceArn",
    param=ONCE,
    items="DBProxies",
    keep=("DBProxyName", "DBProxyArn", "Status"),
    freshness=RARELY,
)
PROXY_TARGETS = Call(
    "rds",
    "DescribeDBProxyTargets",
    each=PROXIES,
    over="DBProxyName",
    param="DBProxyName",
    items="Targets",
    keep=("Type", "RdsResourceId", "TrackedClusterId", "TargetHealth"),
    absent=("DBProxyNotFoundFault", "DBProxyTargetGroupNotFoundFault"),
    freshness=RARELY,
)

_SOURCES = (
    "ReadReplicaSourceDBInstanceIdentifier",
    "ReadReplicaSourceDBClusterIdentifier",
    "ReplicationSourceIdentifier",
)
NOT_RDS = ("docdb", "neptune")
_GOING = frozenset({"deleting", "deleted", "delete-precheck"})
_CHANGING = frozenset(
    {
        "configuring-enhanced-monitoring",
        "configuring-iam-database-auth",
        "configuring-log-exports",
        "converting-to-vpc",
        "creating",
        "maintenance",
        "migrating",
        "modifying",
        "moving-to-vpc",
        "promoting",
        "rebooting",
        "renaming",
        "resetting-master-credentials",
        "starting",
        "upgrading",
    }
)


def status(database: Row) -> str:
    """The status of an instance or a cluster, in lower case."""
    return str(database.get("DBInstanceStatus") or database.get("Status") or "").lower()


def is_going(database: Row) -> bool:
    """Whether the instance or cluster is being deleted, and is judged no more."""
    return status(database) in _GOING


def is_changing(database: Row) -> bool:
    """Whether the instance or cluster is in transit; backups and storage optimization do not change what it is."""
    return status(database) in _CHANGING


def is_replica(database: Row) -> bool:
    """Whether the instance or cluster is a copy that another one feeds."""
    return any(database.get(source) for source in _SOURCES)


def is_rds(database: Row) -> bool:
    """Whether the instance or cluster belongs to RDS or Aurora rather than to DocumentDB or Neptune."""
    return database["Engine"] not in NOT_RDS


def is_aurora(database: Row) -> bool:
    """Whether the instance or cluster runs Aurora, whose storage and logs belong to the cluster."""
    return str(database["Engine"]).startswith("aurora")
