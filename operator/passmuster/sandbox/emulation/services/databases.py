"""Databases: flags that moto never stores, changes that wait for the maintenance window, groups that go, table tags.

RDS keeps Performance Insights, Database Insights and IAM authentication, and without ApplyImmediately a change of
class, storage, availability or backups only becomes pending, as in AWS. Served by front.py.
"""

from typing import Any

from passmuster.sandbox.emulation.operation import Handling, Operations, Output
from passmuster.sandbox.emulation.wire import AWSError

_KEPT = {
    "EnablePerformanceInsights": "PerformanceInsightsEnabled",
    "PerformanceInsightsRetentionPeriod": "PerformanceInsightsRetentionPeriod",
    "PerformanceInsightsKMSKeyId": "PerformanceInsightsKMSKeyId",
    "DatabaseInsightsMode": "DatabaseInsightsMode",
    "EnableIAMDatabaseAuthentication": "IAMDatabaseAuthenticationEnabled",
}
_DEFAULTS: dict[str, Any] = {
    "PerformanceInsightsEnabled": False,
    "DatabaseInsightsMode": "standard",
    "IAMDatabaseAuthenticationEnabled": False,
}
_DEFERRED = (
    "AllocatedStorage",
    "BackupRetentionPeriod",
    "DBInstanceClass",
    "EngineVersion",
    "Iops",
    "MultiAZ",
    "StorageType",
)


def create_instance(handling: Handling) -> Output:
    """CreateDBInstance and CreateDBInstanceReadReplica with every flag kept."""
    answer = handling.moto()
    identifier = answer["DBInstance"]["DBInstanceIdentifier"]
    _flags(handling).pop(identifier, None)
    _pending(handling).pop(identifier, None)
    _note_flags(handling, identifier)
    return {"DBInstance": _told(handling, answer["DBInstance"])}


def modify_instance(handling: Handling) -> Output:
    """ModifyDBInstance: what needs the maintenance window waits for it unless it is to be applied at once.

    An instance that is no longer monitored has no monitoring role either.
    """
    identifier = str(handling.params["DBInstanceIdentifier"]).lower()
    database = handling.place.backend("rds").databases.get(identifier)
    before = _deferrable(database) if database else {}
    answer = handling.moto()
    _note_flags(handling, identifier)
    if handling.params.get("MonitoringInterval") == 0:
        database.monitoring_role_arn = None
        answer["DBInstance"].pop("MonitoringRoleArn", None)
    if handling.params.get("ApplyImmediately"):
        _pending(handling).pop(identifier, None)
        return {"DBInstance": _told(handling, answer["DBInstance"])}
    asked = {name: handling.params[name] for name in _DEFERRED if name in handling.params}
    waiting = {name: value for name, value in asked.items() if str(value) != str(before[name])}
    for name in waiting:
        setattr(database, _attribute(name), before[name])
        answer["DBInstance"][name] = before[name]
    if waiting:
        _pending(handling)[identifier] = _pending(handling).get(identifier, {}) | waiting
    return {"DBInstance": _told(handling, answer["DBInstance"])}


def modify_cluster(handling: Handling) -> Output:
    """ModifyDBCluster with the log exports that moto reads under another name."""
    answer = handling.moto()
    clusters = handling.place.backend("rds").clusters
    cluster = clusters.get(str(handling.params["DBClusterIdentifier"]).lower())
    asked = handling.params.get("CloudwatchLogsExportConfiguration")
    if cluster is not None and asked:
        kept = [log for log in cluster.enabled_cloudwatch_logs_exports if log not in asked.get("DisableLogTypes", [])]
        added = [log for log in asked.get("EnableLogTypes", []) if log not in kept]
        cluster.enabled_cloudwatch_logs_exports = [*kept, *added]
        answer["DBCluster"]["EnabledCloudwatchLogsExports"] = [*kept, *added]
    return answer


def describe_instances(handling: Handling) -> Output:
    answer = handling.moto()
    return answer | {"DBInstances": [_told(handling, instance) for instance in answer["DBInstances"]]}


def _note_flags(handling: Handling, identifier: str) -> None:
    given = {told: handling.params[name] for name, told in _KEPT.items() if name in handling.params}
    _flags(handling)[identifier] = _flags(handling).get(identifier, {}) | given


def _told(handling: Handling, instance: Output) -> Output:
    identifier = instance["DBInstanceIdentifier"]
    pending = _pending(handling).get(identifier)
    told = instance | _DEFAULTS | _flags(handling).get(identifier, {})
    return told | ({"PendingModifiedValues": pending} if pending else {})


def _flags(handling: Handling) -> dict[str, dict[str, Any]]:
    return handling.place.state("rds-flags")


def _attribute(name: str) -> str:
    return {"DBInstanceClass": "db_instance_class", "MultiAZ": "multi_az"}.get(
        name, "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    )


def _deferrable(database: Any) -> dict[str, Any]:
    return {name: getattr(database, _attribute(name), None) for name in _DEFERRED}


def _pending(handling: Handling) -> dict[str, dict[str, Any]]:
    return handling.place.state("rds-pending")


def delete_replication_group(handling: Handling) -> Output:
    """ElastiCache's DeleteReplicationGroup; moto leaves the group in `deleting` for ever."""
    answer = handling.moto()
    handling.place.backend("elasticache").replication_groups.pop(handling.params["ReplicationGroupId"], None)
    return answer


def delete_subnet_group(handling: Handling) -> Output:
    """ElastiCache's DeleteCacheSubnetGroup."""
    groups, wanted = handling.place.backend("elasticache").cache_subnet_groups, handling.params["CacheSubnetGroupName"]
    if wanted not in groups:
        raise AWSError("CacheSubnetGroupNotFoundFault", f"Cache Subnet Group {wanted} does not exist.", 400)
    del groups[wanted]
    return {}


def modify_cache_cluster(handling: Handling) -> Output:
    """ElastiCache's ModifyCacheCluster of a single node: how long its snapshots are kept, and nothing else."""
    name = handling.params["CacheClusterId"]
    clusters = handling.place.backend("elasticache").cache_clusters
    if name not in clusters:
        raise AWSError("CacheClusterNotFound", f"Cache cluster {name} not found.", 404)
    refused = set(handling.params) - {"CacheClusterId", "SnapshotRetentionLimit", "ApplyImmediately"}
    if refused:
        raise AWSError("InvalidParameterValue", f"the sandbox does not change {', '.join(sorted(refused))}", 400)
    if "SnapshotRetentionLimit" in handling.params:
        clusters[name].snapshot_retention_limit = int(handling.params["SnapshotRetentionLimit"])
    described = handling.place.client("elasticache").describe_cache_clusters(CacheClusterId=name)
    return {"CacheCluster": described["CacheClusters"][0]}


def tag_table(handling: Handling) -> Output:
    """DynamoDB's TagResource; moto keeps a tag that is given again twice."""
    keys = [tag["Key"] for tag in handling.params["Tags"]]
    handling.place.client("dynamodb").untag_resource(ResourceArn=handling.params["ResourceArn"], TagKeys=keys)
    return handling.moto()


OPERATIONS: Operations = {
    ("dynamodb", "TagResource"): tag_table,
    ("elasticache", "ModifyCacheCluster"): modify_cache_cluster,
    ("elasticache", "DeleteCacheSubnetGroup"): delete_subnet_group,
    ("rds", "CreateDBInstance"): create_instance,
    ("rds", "CreateDBInstanceReadReplica"): create_instance,
    ("rds", "ModifyDBCluster"): modify_cluster,
    ("rds", "ModifyDBInstance"): modify_instance,
    ("rds", "DescribeDBInstances"): describe_instances,
    ("elasticache", "DeleteReplicationGroup"): delete_replication_group,
}
