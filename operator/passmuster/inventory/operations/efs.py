"""File systems, their backup policy and their replication."""

from passmuster.inventory.call import ONCE, RARELY, Call

FILE_SYSTEMS = Call(
    "efs",
    "DescribeFileSystems",
    items="FileSystems",
    keep=(
        "FileSystemId",
        "FileSystemArn",
        "Name",
        "CreationTime",
        "LifeCycleState",
        "Encrypted",
        "KmsKeyId",
        "AvailabilityZoneName",
        "FileSystemProtection",
        "NumberOfMountTargets",
        "Tags",
    ),
)
BACKUP_POLICY = Call(
    "efs",
    "DescribeBackupPolicy",
    each=FILE_SYSTEMS,
    over="FileSystemId",
    param="FileSystemId",
    keep="{Status: BackupPolicy.Status}",
    absent=("PolicyNotFound",),
)
REPLICATIONS = Call(
    "efs",
    "DescribeReplicationConfigurations",
    each=FILE_SYSTEMS,
    over="FileSystemId",
    param=ONCE,
    items="Replications",
    keep=("SourceFileSystemArn", "SourceFileSystemId", "SourceFileSystemRegion", "Destinations"),
    absent=("ReplicationNotFound",),
    freshness=RARELY,
)
