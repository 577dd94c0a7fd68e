"""Tables, their settings and their continuous backups."""

from passmuster.inventory.call import Call

TABLES = Call("dynamodb", "ListTables", items="TableNames")
"""Rows are names, in their `data`."""

TABLE = Call(
    "dynamodb",
    "DescribeTable",
    each=TABLES,
    param="TableName",
    keep="(Table || `{}`).{TableName: TableName, TableArn: TableArn, TableStatus: TableStatus, TableId: TableId, "
    "CreationDateTime: CreationDateTime, BillingMode: BillingModeSummary.BillingMode, "
    "ReadCapacityUnits: ProvisionedThroughput.ReadCapacityUnits, "
    "WriteCapacityUnits: ProvisionedThroughput.WriteCapacityUnits, "
    "GlobalSecondaryIndexes: GlobalSecondaryIndexes[].IndexName, SSEDescription: SSEDescription, "
    "DeletionProtectionEnabled: DeletionProtectionEnabled, GlobalTableVersion: GlobalTableVersion, "
    "Replicas: Replicas[].{RegionName: RegionName, ReplicaStatus: ReplicaStatus}, "
    "GlobalTableWitnesses: GlobalTableWitnesses}",
    absent=("ResourceNotFoundException",),
)
"""A table that was deleted since it was listed has no row."""

CONTINUOUS_BACKUPS = Call(
    "dynamodb",
    "DescribeContinuousBackups",
    each=TABLES,
    param="TableName",
    keep="ContinuousBackupsDescription.PointInTimeRecoveryDescription.{Status: PointInTimeRecoveryStatus, "
    "RecoveryPeriodInDays: RecoveryPeriodInDays, LatestRestorableDateTime: LatestRestorableDateTime} "
    "|| {Status: 'DISABLED'}",
    absent=("TableNotFoundException", "ResourceNotFoundException"),
)
