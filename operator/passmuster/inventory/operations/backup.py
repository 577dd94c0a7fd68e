"""Plans of AWS Backup, what they protect, the copies made in the last thirty days, and what was restored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from passmuster.inventory import schedules
from passmuster.inventory.call import RARELY, Call, TimeAgo
from passmuster.inventory.index import Index
from passmuster.inventory.operations.tagging import TAGGED, tags
from passmuster.inventory.snapshot import Row, View, all_of, any_of, first_of

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
BACKUP_SELECTIONS = Call(
    "backup",
    "ListBackupSelections",
    each=BACKUP_PLANS,
    over="BackupPlanId",
    param="BackupPlanId",
    items="BackupSelectionsList",
    keep=("SelectionId", "SelectionName", "BackupPlanId"),
    absent=("ResourceNotFoundException",),
)
BACKUP_SELECTION = Call(
    "backup",
    "GetBackupSelection",
    each=BACKUP_SELECTIONS,
    over="SelectionId",
    param={"SelectionId": "value", "BackupPlanId": "request.BackupPlanId"},
    keep="(BackupSelection || `{}`).{Resources: Resources, NotResources: NotResources, "
    "AnyTag: ListOfTags[].{ConditionKey: ConditionKey, ConditionValue: ConditionValue}, Conditions: Conditions}",
    absent=("ResourceNotFoundException",),
)
"""What a selection takes into its plan: by ARN, or by tag."""

SELECTING = (BACKUP_PLANS, BACKUP_PLAN, BACKUP_SELECTIONS, BACKUP_SELECTION, TAGGED)
"""What `Selections` reads; a check that asks it declares these calls."""

BACKUP_VAULT = Call(
    "backup",
    "DescribeBackupVault",
    each=BACKUP_PLAN,
    over="BackupPlan.Rules[].TargetBackupVaultName",
    param="BackupVaultName",
    keep=("BackupVaultName", "BackupVaultArn", "EncryptionKeyArn", "EncryptionKeyType", "Locked"),
    absent=("ResourceNotFoundException",),
)
"""The vaults that plans put their backups into."""

REGION_SETTINGS = Call("backup", "DescribeRegionSettings", keep=("ResourceTypeOptInPreference",), freshness=RARELY)
"""Which types of resources AWS Backup protects in the region."""

PROTECTED_RESOURCES = Call(
    "backup",
    "ListProtectedResources",
    items="Results",
    keep=("ResourceArn", "ResourceType", "LastBackupTime", "LastBackupVaultArn"),
    freshness=RARELY,
)
COPIES_KEPT = timedelta(days=30)
"""How far back AWS Backup lists its jobs."""

COPY_JOBS = Call(
    "backup",
    "ListCopyJobs",
    args={"ByState": "COMPLETED", "ByCompleteAfter": TimeAgo(COPIES_KEPT)},
    items="CopyJobs",
    keep=("CopyJobId", "ResourceArn", "ResourceType", "State", "CompletionDate", "DestinationBackupVaultArn"),
    freshness=RARELY,
)

RESTORES_READ = timedelta(days=365)
RESTORE_JOBS = Call(
    "backup",
    "ListRestoreJobs",
    args={"ByCompleteAfter": TimeAgo(RESTORES_READ)},
    items="RestoreJobs",
    keep=(
        "RestoreJobId",
        "SourceResourceArn",
        "ResourceType",
        "Status",
        "CreationDate",
        "CompletionDate",
        "ValidationStatus",
        "CreatedBy",
    ),
    freshness=RARELY,
)
"""Those that ended in the last year, by restore testing or by hand."""

RESTORE_TIME_TARGETS = tuple(
    f"{kind}_MEETS_RESTORE_TIME_TARGET" for kind in ("AURORA", "DYNAMODB", "EBS", "EC2", "EFS", "FSX", "RDS", "S3")
)
"""The rules of AWS Config that ask how long a restore takes, one for each type of resource."""

RESTORE_TESTING_PLANS = Call(
    "backup",
    "ListRestoreTestingPlans",
    items="RestoreTestingPlans",
    keep=("RestoreTestingPlanArn", "RestoreTestingPlanName", "ScheduleExpression"),
    freshness=RARELY,
)
RESTORE_TESTING_SELECTIONS = Call(
    "backup",
    "ListRestoreTestingSelections",
    each=RESTORE_TESTING_PLANS,
    over="RestoreTestingPlanName",
    param="RestoreTestingPlanName",
    items="RestoreTestingSelections",
    keep=("RestoreTestingPlanName", "RestoreTestingSelectionName", "ProtectedResourceType"),
    absent=("ResourceNotFoundException",),
    freshness=RARELY,
)


def working_plans(view: View) -> Iterator[Row]:
    """The plans that select something; one without a selection backs nothing up."""
    for listed in view.rows(BACKUP_PLANS):
        for plan in view.rows(BACKUP_PLAN, listed):
            if any(True for _ in view.rows(BACKUP_SELECTIONS, listed)):
                yield plan


class Selections:
    """Which resources the plans take in, for a resource that is too young to have a backup."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._tagged = Index(lambda row: row["ResourceARN"], view.rows(TAGGED))

    def plans(self, region: str, *arns: str) -> Iterator[Row]:
        """The plans of the region that select one of these resources."""
        for listed in self._view.rows(BACKUP_PLANS):
            if listed.region == region and self._is_selected(listed, region, arns):
                yield from self._view.rows(BACKUP_PLAN, listed)

    def _is_selected(self, listed: Row, region: str, arns: tuple[str, ...]) -> bool:
        found = (
            document
            for selection in self._view.rows(BACKUP_SELECTIONS, listed)
            for document in self._view.rows(BACKUP_SELECTION, selection)
        )
        return first_of(found, lambda document: any(self._takes(document, region, arn) for arn in arns)) is not None

    def _takes(self, document: Row, region: str, arn: str) -> bool:
        """One of the ARNs or one of the tags, if it names any; then every condition, and none of the exceptions."""
        named, tagged = document.get("Resources") or (), document.get("AnyTag") or ()
        return all_of(
            lambda: not _names(document.get("NotResources") or (), arn),
            lambda: any_of(
                lambda: not (named or tagged),
                lambda: _names(named, arn),
                lambda: any(_value(self._tags(region, arn), one) == one.get("ConditionValue") for one in tagged),
            ),
            lambda: all(self._meets(condition, region, arn) for condition in _conditions(document)),
        )

    def _meets(self, condition: tuple[str, Mapping[str, str]], region: str, arn: str) -> bool:
        operator, one = condition
        wanted, found = one.get("ConditionValue") or "", _value(self._tags(region, arn), one)
        alike = operator.endswith("Like") and found is not None and _names((wanted,), found)
        same = alike or found == wanted
        return same is not ("Not" in operator)

    def _tags(self, region: str, arn: str) -> Mapping[str, str]:
        return next((tags(row) for row in self._tagged.rows(arn, region)), {})


def _names(patterns: Iterable[str], text: str) -> bool:
    """Whether the text is one of these, in which an asterisk stands for anything."""
    return any(fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]")) for pattern in patterns)


def _value(found: Mapping[str, str], condition: Mapping[str, str]) -> str | None:
    return found.get(str(condition.get("ConditionKey") or "").removeprefix("aws:ResourceTag/"))


def _conditions(document: Row) -> Iterator[tuple[str, Mapping[str, str]]]:
    for operator, ones in (document.get("Conditions") or {}).items():
        yield from ((operator, one) for one in ones or ())


def rules(plan: Row) -> list[dict[str, Any]]:
    """The rules of a plan: when it backs up, into which vault, and for how long."""
    return (plan.get("BackupPlan") or {}).get("Rules") or []


def copied_to(plan: Row) -> Iterator[str | None]:
    """The vaults, as ARNs, that the rules of a plan copy backups to."""
    return (action.get("DestinationBackupVaultArn") for rule in rules(plan) for action in rule.get("CopyActions") or ())


def took(job: Row) -> timedelta | None:
    """How long a restore took; None where its times are not told."""
    begun, ended = job.get("CreationDate"), job.get("CompletionDate")
    return ended - begun if begun and ended else None


DEFAULT_SCHEDULE = "cron(0 5 ? * * *)"
"""What AWS Backup takes for a rule without a schedule."""


def interval(rule: Mapping[str, Any]) -> timedelta | None:
    """The longest time between two backups of a rule, by its schedule; None for a schedule that cannot be read.

    >>> interval({"ScheduleExpression": "cron(0 1,13 * * ? *)"})
    datetime.timedelta(seconds=43200)
    """
    return schedules.longest_gap(str(rule.get("ScheduleExpression") or DEFAULT_SCHEDULE).strip())
