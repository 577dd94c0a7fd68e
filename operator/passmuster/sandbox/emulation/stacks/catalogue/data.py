"""Resource types of databases and caches. Every flag the checks read is kept, and changes are applied at once."""

from passmuster.sandbox.emulation.stacks.kinds import Api, Kind, Simple, Step, Tagging, Work
from passmuster.sandbox.emulation.stacks.model import Properties

_RDS_TAGS = Tagging(
    param="Tags",
    put=Api("add_tags_to_resource", {"ResourceName": "@arn", "Tags": "@tags"}),
    take=Api("remove_tags_from_resource", {"ResourceName": "@arn", "TagKeys": "@keys"}),
)


class _Deleted(Simple):
    """A database that is deleted without a final snapshot; deletion protection is honoured."""

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is not None:
            getattr(work.client("rds"), self.delete_op)(
                **self._filled(self.by, work, properties), SkipFinalSnapshot=True
            )


class Instance(_Deleted):
    """AWS::RDS::DBInstance; Ref is the identifier."""

    def create(self, work: Work, properties: Properties) -> str:
        given = dict(properties)
        if "SourceDBInstanceIdentifier" not in given:
            return super().create(work, given)
        source = str(given["SourceDBInstanceIdentifier"])
        kept = ("DBInstanceIdentifier", "DBInstanceClass", "MultiAZ", "AvailabilityZone")
        client = work.client("rds")
        client.create_db_instance_read_replica(
            SourceDBInstanceIdentifier=source, **{name: given[name] for name in kept if name in given}
        )
        return work.made(str(given["DBInstanceIdentifier"]))

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        exports_before, exports = old.get("EnableCloudwatchLogsExports", []), new.get("EnableCloudwatchLogsExports", [])
        plain = ({k: v for k, v in p.items() if k != "EnableCloudwatchLogsExports"} for p in (old, new))
        super().update(work, *plain)
        if exports_before != exports:
            change = {
                "EnableLogTypes": [kind for kind in exports if kind not in exports_before],
                "DisableLogTypes": [kind for kind in exports_before if kind not in exports],
            }
            work.client("rds").modify_db_instance(
                DBInstanceIdentifier=work.physical_id, CloudwatchLogsExportConfiguration=change, ApplyImmediately=True
            )


class Table(Simple):
    """AWS::DynamoDB::Table; Ref is the name."""

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("dynamodb").delete_table(TableName=work.physical_id)


KINDS: tuple[Kind, ...] = (
    Instance(
        type_name="AWS::RDS::DBInstance",
        service="rds",
        create_op="create_db_instance",
        made="DBInstance.DBInstanceIdentifier",
        by={"DBInstanceIdentifier": "@"},
        read_api=Api("describe_db_instances", {"DBInstanceIdentifier": "@"}, "DBInstances[0]"),
        update_op="modify_db_instance",
        update_by={"DBInstanceIdentifier": "@", "ApplyImmediately": True},
        delete_op="delete_db_instance",
        name_property="DBInstanceIdentifier",
        name_limit=63,
        name_lower=True,
        renamed={"VPCSecurityGroups": "VpcSecurityGroupIds"},
        apart=("DeleteAutomatedBackups", "AllowMajorVersionUpgrade", "ApplyImmediately"),
        tagging=_RDS_TAGS,
        arn="arn:aws:rds:{region}:{account}:db:{id}",
        attribute_paths={
            "Endpoint.Address": "Endpoint.Address",
            "Endpoint.Port": "to_string(Endpoint.Port)",
            "DBInstanceArn": "DBInstanceArn",
            "DbiResourceId": "DbiResourceId",
            "MasterUserSecret.SecretArn": "MasterUserSecret.SecretArn",
        },
    ),
    _Deleted(
        type_name="AWS::RDS::DBCluster",
        service="rds",
        create_op="create_db_cluster",
        made="DBCluster.DBClusterIdentifier",
        by={"DBClusterIdentifier": "@"},
        read_api=Api("describe_db_clusters", {"DBClusterIdentifier": "@"}, "DBClusters[0]"),
        update_op="modify_db_cluster",
        update_by={"DBClusterIdentifier": "@", "ApplyImmediately": True},
        delete_op="delete_db_cluster",
        name_property="DBClusterIdentifier",
        name_limit=63,
        name_lower=True,
        tagging=_RDS_TAGS,
        arn="arn:aws:rds:{region}:{account}:cluster:{id}",
        attribute_paths={
            "Endpoint.Address": "Endpoint",
            "Endpoint.Port": "to_string(Port)",
            "ReadEndpoint.Address": "ReaderEndpoint",
            "DBClusterArn": "DBClusterArn",
            "DBClusterResourceId": "DbClusterResourceId",
        },
    ),
    Simple(
        type_name="AWS::RDS::DBSubnetGroup",
        service="rds",
        create_op="create_db_subnet_group",
        made="DBSubnetGroup.DBSubnetGroupName",
        by={"DBSubnetGroupName": "@"},
        read_api=Api("describe_db_subnet_groups", {"DBSubnetGroupName": "@"}, "DBSubnetGroups[0]"),
        update_op="modify_db_subnet_group",
        delete_op="delete_db_subnet_group",
        name_property="DBSubnetGroupName",
        name_limit=255,
        name_lower=True,
        tagging=_RDS_TAGS,
        arn="arn:aws:rds:{region}:{account}:subgrp:{id}",
        attribute_paths={"DBSubnetGroupArn": "DBSubnetGroupArn"},
    ),
    Simple(
        type_name="AWS::RDS::DBParameterGroup",
        service="rds",
        create_op="create_db_parameter_group",
        made="DBParameterGroup.DBParameterGroupName",
        by={"DBParameterGroupName": "@"},
        read_api=Api("describe_db_parameter_groups", {"DBParameterGroupName": "@"}, "DBParameterGroups[0]"),
        delete_op="delete_db_parameter_group",
        name_property="DBParameterGroupName",
        name_lower=True,
        renamed={"Family": "DBParameterGroupFamily"},
        steps=(
            Step(
                "Parameters",
                put=lambda rds, name, value: rds.modify_db_parameter_group(
                    DBParameterGroupName=name,
                    Parameters=[
                        {"ParameterName": key, "ParameterValue": str(text), "ApplyMethod": "pending-reboot"}
                        for key, text in value.items()
                    ],
                ),
            ),
        ),
        tagging=_RDS_TAGS,
        arn="arn:aws:rds:{region}:{account}:pg:{id}",
    ),
    Simple(
        type_name="AWS::RDS::DBProxy",
        service="rds",
        create_op="create_db_proxy",
        made="DBProxy.DBProxyName",
        by={"DBProxyName": "@"},
        read_api=Api("describe_db_proxies", {"DBProxyName": "@"}, "DBProxies[0]"),
        delete_op="delete_db_proxy",
        name_property="DBProxyName",
        tagging=Tagging(param="Tags"),
        attribute_paths={"DBProxyArn": "DBProxyArn", "Endpoint": "Endpoint"},
    ),
    Simple(
        type_name="AWS::RDS::DBProxyTargetGroup",
        service="rds",
        create_op="register_db_proxy_targets",
        made="$DBProxyName|TargetGroupName",
        by={"DBProxyName": "@1", "TargetGroupName": "@2", "DBInstanceIdentifiers": "$DBInstanceIdentifiers"},
        read_api=Api("describe_db_proxy_target_groups", {"DBProxyName": "@1"}, "TargetGroups[0]"),
        delete_op="deregister_db_proxy_targets",
        apart=("ConnectionPoolConfigurationInfo",),
        attribute_paths={"TargetGroupArn": "TargetGroupArn"},
    ),
    Table(
        type_name="AWS::DynamoDB::Table",
        service="dynamodb",
        create_op="create_table",
        made="@name",
        by={"TableName": "@"},
        read_api=Api("describe_table", {"TableName": "@"}, "Table"),
        update_op="update_table",
        delete_op="delete_table",
        name_property="TableName",
        name_limit=255,
        steps=(
            Step(
                "PointInTimeRecoverySpecification",
                put=lambda dynamodb, table, value: dynamodb.update_continuous_backups(
                    TableName=table,
                    PointInTimeRecoverySpecification={
                        "PointInTimeRecoveryEnabled": str(value.get("PointInTimeRecoveryEnabled", False)).lower()
                        == "true"
                    },
                ),
            ),
            Step(
                "TimeToLiveSpecification",
                put=lambda dynamodb, table, value: dynamodb.update_time_to_live(
                    TableName=table,
                    TimeToLiveSpecification={
                        "AttributeName": value["AttributeName"],
                        "Enabled": str(value["Enabled"]).lower() == "true",
                    },
                ),
            ),
        ),
        tagging=Tagging(
            param="Tags",
            put=Api("tag_resource", {"ResourceArn": "@arn", "Tags": "@tags"}),
            take=Api("untag_resource", {"ResourceArn": "@arn", "TagKeys": "@keys"}),
        ),
        arn="arn:aws:dynamodb:{region}:{account}:table/{id}",
        attribute_paths={"Arn": "TableArn", "StreamArn": "LatestStreamArn"},
    ),
    Simple(
        type_name="AWS::ElastiCache::ReplicationGroup",
        service="elasticache",
        create_op="create_replication_group",
        made="ReplicationGroup.ReplicationGroupId",
        by={"ReplicationGroupId": "@"},
        read_api=Api("describe_replication_groups", {"ReplicationGroupId": "@"}, "ReplicationGroups[0]"),
        update_op="modify_replication_group",
        update_by={"ReplicationGroupId": "@", "ApplyImmediately": True},
        delete_op="delete_replication_group",
        name_property="ReplicationGroupId",
        name_limit=40,
        name_lower=True,
        tagging=Tagging(param="Tags"),
        attribute_paths={
            "PrimaryEndPoint.Address": "NodeGroups[0].PrimaryEndpoint.Address",
            "PrimaryEndPoint.Port": "to_string(NodeGroups[0].PrimaryEndpoint.Port)",
            "ReaderEndPoint.Address": "NodeGroups[0].ReaderEndpoint.Address",
            "ConfigurationEndPoint.Address": "ConfigurationEndpoint.Address",
        },
    ),
    Simple(
        type_name="AWS::ElastiCache::SubnetGroup",
        service="elasticache",
        create_op="create_cache_subnet_group",
        made="CacheSubnetGroup.CacheSubnetGroupName",
        by={"CacheSubnetGroupName": "@"},
        read_api=Api("describe_cache_subnet_groups", {"CacheSubnetGroupName": "@"}, "CacheSubnetGroups[0]"),
        delete_op="delete_cache_subnet_group",
        name_property="CacheSubnetGroupName",
        name_lower=True,
        renamed={"Description": "CacheSubnetGroupDescription"},
        tagging=Tagging(param="Tags"),
    ),
)
