"""What is true of the account `ready` and cannot be made in the simulated AWS: laid as overlays by ready.py.

Every answer has the shape AWS gives, or it is refused when it is laid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from passmuster.sandbox.accounts import bill
from passmuster.sandbox.accounts.shop import DATABASE, Account

USAGE = bill.Usage(
    hours={bill.DATABASES: 3 * bill.HOURS, bill.CACHES: 2 * bill.HOURS},
    reserved={bill.DATABASES: 3 * bill.HOURS, bill.CACHES: 2 * bill.HOURS},
    computing=9.46,
    covered=8.5,
    saved_by={bill.DATABASES: 4.2, "COMPUTE_SP": 3.1},
)
"""Nearly everything that runs all the time is promised to run all the time."""


def lay_recovery(account: Account, buckets: Sequence[str], vault: str) -> None:
    """Backups were taken, copied and restored; the runbook of a disaster and a failover were tried."""
    now = datetime.now(UTC)
    stores = {
        f"arn:aws:rds:{account.region}:{account.id}:db:{DATABASE}": "RDS",
        **{f"arn:aws:s3:::{bucket}": "S3" for bucket in buckets},
    }
    night = now - timedelta(hours=6)
    account.lay(
        {
            ("backup", "ListProtectedResources"): {"Results": [_protected(*one, night) for one in stores.items()]},
            ("backup", "ListCopyJobs"): {"CopyJobs": [_copy(*one, vault, night) for one in stores.items()]},
            ("backup", "ListRestoreJobs"): {"RestoreJobs": [_restore(*one, now) for one in stores.items()]},
            ("ssm", "DescribeAutomationExecutions"): lambda asked: _executions(asked, ["dr"], now),
            ("fis", "ListExperiments"): {"experiments": [_experiment(now - timedelta(days=20))]},
        },
    )


def lay_operations(account: Account, runbooks: Sequence[str]) -> None:
    """Somebody is on call, every runbook was tried, tags repair themselves, and Trusted Advisor has nothing to say."""
    now, weeks = datetime.now(UTC), range(3)
    every = ["dr", *runbooks]
    account.lay(
        {
            ("ssm", "DescribeAutomationExecutions"): lambda asked: _executions(asked, every, now),
            ("ssm-contacts", "ListRotations"): {"Rotations": [_rotation(account)]},
            ("ssm-contacts", "ListRotationShifts"): {"RotationShifts": [_shift(account, now, n) for n in weeks]},
            ("config", "DescribeRemediationConfigurations"): {"RemediationConfigurations": [_repair()]},
            ("support", "DescribeTrustedAdvisorChecks"): {"checks": [_ADVICE]},
            ("trustedadvisor", "ListRecommendations"): {"recommendationSummaries": []},
        },
    )


def lay_foresight(account: Account, standby: str) -> None:
    """There is a plan to switch regions, and what always runs is reserved."""
    account.lay({("arc-region-switch", "ListPlans"): {"plans": [_switch(account, standby)]}})
    bill.lay(account, USAGE)


def _protected(arn: str, kind: str, at: datetime) -> dict[str, Any]:
    return {"ResourceArn": arn, "ResourceType": kind, "LastBackupTime": at}


def _copy(arn: str, kind: str, vault: str, at: datetime) -> dict[str, Any]:
    return {
        "CopyJobId": f"copy-{arn[-12:]}",
        "ResourceArn": arn,
        "ResourceType": kind,
        "State": "COMPLETED",
        "CompletionDate": at,
        "DestinationBackupVaultArn": vault,
    }


def _restore(arn: str, kind: str, now: datetime) -> dict[str, Any]:
    begun = now - timedelta(days=5)
    return {
        "RestoreJobId": f"restore-{arn[-12:]}",
        "SourceResourceArn": arn,
        "ResourceType": kind,
        "Status": "COMPLETED",
        "CreationDate": begun,
        "CompletionDate": begun + timedelta(minutes=47),
        "ValidationStatus": "SUCCESSFUL",
    }


def _executions(asked: Mapping[str, Any], runbooks: Sequence[str], now: datetime) -> dict[str, Any]:
    prefixes = [v for one in asked.get("Filters", []) if one["Key"] == "DocumentNamePrefix" for v in one["Values"]]
    at = now - timedelta(days=40)
    return {
        "AutomationExecutionMetadataList": [
            {
                "AutomationExecutionId": f"4105a4fc-f944-11e6-9d32-{number:012}",
                "DocumentName": f"shop-{runbook}",
                "AutomationExecutionStatus": "Success",
                "ExecutionStartTime": at,
                "ExecutionEndTime": at + timedelta(minutes=12),
            }
            for number, runbook in enumerate(runbooks)
            if any(f"shop-{runbook}".startswith(prefix) for prefix in prefixes)
        ]
    }


def _experiment(at: datetime) -> dict[str, Any]:
    """Half of the tasks of the web service were stopped, and nobody noticed."""
    return {
        "id": "EXPLoYkDLRAaCAzNsj",
        "experimentTemplateId": "EXT6oWVA1WrLNy4XS",
        "state": {"status": "completed", "reason": "Experiment completed."},
        "creationTime": at,
        "experimentOptions": {"actionsMode": "run-all"},
    }


def _contacts(account: Account) -> list[str]:
    place = f"arn:aws:ssm-contacts:{account.region}:{account.id}:contact"
    return [f"{place}/first", f"{place}/second"]


def _rotation(account: Account) -> dict[str, Any]:
    return {
        "RotationArn": f"arn:aws:ssm-contacts:{account.region}:{account.id}:rotation/shop",
        "Name": "shop",
        "ContactIds": _contacts(account),
        "TimeZoneId": "Europe/Berlin",
        "Recurrence": {"NumberOfOnCalls": 1, "RecurrenceMultiplier": 1, "WeeklySettings": []},
    }


def _shift(account: Account, now: datetime, week: int) -> dict[str, Any]:
    begins = now - timedelta(days=3) + timedelta(weeks=week)
    people = _contacts(account)
    return {"StartTime": begins, "EndTime": begins + timedelta(weeks=1), "ContactIds": [people[week % len(people)]]}


def _switch(account: Account, standby: str) -> dict[str, Any]:
    return {
        "arn": f"arn:aws:arc-region-switch::{account.id}:plan/shop:1a2b3c",
        "owner": account.id,
        "name": "shop",
        "regions": [account.region, standby],
        "primaryRegion": account.region,
        "recoveryApproach": "activePassive",
    }


def _repair() -> dict[str, Any]:
    """How the rule about tags repairs what it finds."""
    return {
        "ConfigRuleName": "required-tags",
        "TargetType": "SSM_DOCUMENT",
        "TargetId": "AWS-SetRequiredTags",
        "Automatic": True,
        "MaximumAutomaticAttempts": 5,
        "RetryAttemptSeconds": 60,
    }


_ADVICE = {
    "id": "Pfx0RwqBli",
    "name": "Amazon S3 Bucket Permissions",
    "description": "Checks buckets for open access permissions.",
    "category": "security",
    "metadata": [],
}
