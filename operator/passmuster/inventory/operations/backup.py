"""Plans of AWS Backup, what they protect, and the copies that were made in the last thirty days."""

from datetime import timedelta

from passmuster.inventory.call import Call, TimeAgo

BACKUP_PLANS = Call(
    "backup",
    "ListBackupPlans",
    items="BackupPlansList",
    keep=("BackupPlanId", "BackupPlanArn", "BackupPlanName", "VersionId"),
)
BACKUP_PLAN = Call(
    "backup",
    "GetBackupPlan",
    each=BACKUP_PLANS,
    over="BackupPlanId",
    param="BackupPlanId",
    keep=("BackupPlanId", "BackupPlanArn", "BackupPlan"),
    absent=("ResourceNotFoundException",),
)
PROTECTED_RESOURCES = Call(
    "backup",
    "ListProtectedResources",
    items="Results",
    keep=("ResourceArn", "ResourceType", "LastBackupTime", "LastBackupVaultArn"),
)
COPIES_KEPT = timedelta(days=30)
"""How far back AWS Backup lists its jobs."""

COPY_JOBS = Call(
    "backup",
    "ListCopyJobs",
    args={"ByState": "COMPLETED", "ByCompleteAfter": TimeAgo(COPIES_KEPT)},
    items="CopyJobs",
    keep=("CopyJobId", "ResourceArn", "ResourceType", "State", "CompletionDate", "DestinationBackupVaultArn"),
)
