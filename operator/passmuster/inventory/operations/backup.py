"""Plans of AWS Backup, what they protect, the copies made in the last thirty days, and what was restored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any

from passmuster.inventory.call import Call, TimeAgo
from passmuster.inventory.snapshot import Row, View

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

REGION_SETTINGS = Call("backup", "DescribeRegionSettings", keep=("ResourceTypeOptInPreference",))
"""Which types of resources AWS Backup protects in the region."""

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
)
"""Those that ended in the last year, by restore testing or by hand."""

RESTORE_TESTING_PLANS = Call(
    "backup",
    "ListRestoreTestingPlans",
    items="RestoreTestingPlans",
    keep=("RestoreTestingPlanArn", "RestoreTestingPlanName", "ScheduleExpression", "LastExecutionTime"),
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
)


def working_plans(view: View) -> Iterator[Row]:
    """The plans that select something; one without a selection backs nothing up."""
    for listed in view.rows(BACKUP_PLANS):
        for plan in view.rows(BACKUP_PLAN, listed):
            if any(True for _ in view.rows(BACKUP_SELECTIONS, listed)):
                yield plan


def rules(plan: Row) -> list[dict[str, Any]]:
    """The rules of a plan: when it backs up, into which vault, and for how long."""
    return (plan.get("BackupPlan") or {}).get("Rules") or []


def took(job: Row) -> timedelta | None:
    """How long a restore took; None where its times are not told."""
    begun, ended = job.get("CreationDate"), job.get("CompletionDate")
    return ended - begun if begun and ended else None


DEFAULT_SCHEDULE = "cron(0 5 ? * * *)"
"""What AWS Backup takes for a rule without a schedule."""

_MONTH = timedelta(days=31)
_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def interval(rule: Mapping[str, Any]) -> timedelta | None:
    """The longest time between two backups of a rule, by its schedule; None for a schedule that cannot be read.

    >>> interval({"ScheduleExpression": "cron(0 1,13 * * ? *)"})
    datetime.timedelta(seconds=43200)
    """
    return _interval(str(rule.get("ScheduleExpression") or DEFAULT_SCHEDULE).strip())


@lru_cache(maxsize=1000)
def _interval(schedule: str) -> timedelta | None:
    rate = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", schedule)
    if rate:
        return int(rate[1]) * _UNITS[rate[2]]
    fields = schedule.removeprefix("cron(").removesuffix(")").upper().split()
    if len(fields) not in (5, 6):
        return None
    if re.search(r"L|W|#", fields[2] + re.sub("[A-Z]{3}", "", fields[4])):
        return _MONTH
    try:
        return _longest_gap(fields)
    except ValueError:
        return None


def _longest_gap(fields: list[str]) -> timedelta | None:
    minutes, hours = _values(fields[0], 0, 59), _values(fields[1], 0, 23)
    days, months = _values(fields[2], 1, 31), _values(fields[3], 1, 12, _MONTHS)
    weekdays = _values(fields[4], 1, 7, _DAYS)
    begins = sorted(60 * hour + minute for hour in hours for minute in minutes)
    today = date(2026, 1, 1)
    fires = [
        n
        for n in range(800)
        if (day := today + timedelta(days=n)).month in months
        and day.day in days
        and day.isoweekday() % 7 + 1 in weekdays
    ]
    if len(fires) < 2:
        return None
    within = max((later - one for one, later in pairwise(begins)), default=0)
    across = max(later - one for one, later in pairwise(fires)) * 24 * 60 - (begins[-1] - begins[0])
    return timedelta(minutes=max(within, across))


def _values(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    """The values that a field of a cron expression stands for."""
    values: set[int] = set()
    for part in field.split(","):
        for position, name in enumerate(names):
            part = part.replace(name, str(low + position))
        span, _, step = part.partition("/")
        first, _, last = ("", "", "") if span in ("*", "?") else span.partition("-")
        begin = int(first) if first else low
        end = int(last) if last else high if step or not first else begin
        # A span may wrap, as from Friday to Monday.
        whole = range(begin, end + 1) if begin <= end else [*range(begin, high + 1), *range(low, end + 1)]
        values.update(list(whole)[:: int(step or 1)])
    return values
