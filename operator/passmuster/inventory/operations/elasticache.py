"""Caches: replication groups, clusters outside any group, and serverless caches."""

from passmuster.inventory.call import Call

REPLICATION_GROUPS = Call(
    "elasticache",
    "DescribeReplicationGroups",
    items="ReplicationGroups",
    keep=(
        "ReplicationGroupId",
        "ARN",
        "Status",
        "Engine",
        "MultiAZ",
        "AutomaticFailover",
        "MemberClusters",
        "NodeGroups",
        "ClusterEnabled",
        "CacheNodeType",
        "SnapshotRetentionLimit",
        "AtRestEncryptionEnabled",
        "StorageEncryptionType",
        "TransitEncryptionEnabled",
        "KmsKeyId",
        "GlobalReplicationGroupInfo",
        "ReplicationGroupCreateTime",
    ),
)
SINGLE_CLUSTERS = Call(
    "elasticache",
    "DescribeCacheClusters",
    args={"ShowCacheClustersNotInReplicationGroups": True},
    items="CacheClusters",
    keep=(
        "CacheClusterId",
        "ARN",
        "CacheClusterStatus",
        "Engine",
        "EngineVersion",
        "CacheNodeType",
        "NumCacheNodes",
        "ReplicationGroupId",
        "SnapshotRetentionLimit",
        "AtRestEncryptionEnabled",
        "TransitEncryptionEnabled",
        "CacheClusterCreateTime",
    ),
)
SERVERLESS_CACHES = Call(
    "elasticache",
    "DescribeServerlessCaches",
    items="ServerlessCaches",
    keep=(
        "ServerlessCacheName",
        "ARN",
        "Status",
        "Engine",
        "MajorEngineVersion",
        "SubnetIds",
        "KmsKeyId",
        "SnapshotRetentionLimit",
        "CreateTime",
    ),
)
