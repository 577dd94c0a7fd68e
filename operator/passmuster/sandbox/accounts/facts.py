"""What is true of the account of the review and cannot be made in the simulated AWS: laid as overlays.

review.py calls `lay` last. Every answer has the shape AWS gives, or it is refused when it is laid.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from passmuster.sandbox.accounts import bill
from passmuster.sandbox.accounts.shop import IMAGE_TAG, REPOSITORY, Account


def lay(account: Account) -> None:
    """The pipeline ran lately, the image was scanned, root has a second factor, and what runs is paid by the hour."""
    now = datetime.now(UTC)
    account.lay(
        {
            ("codepipeline", "ListPipelineExecutions"): _executions(now - timedelta(days=2)),
            ("ecr", "DescribeImageScanFindings"): _scan(account, now - timedelta(days=2)),
            ("iam", "GetAccountSummary"): {"SummaryMap": _SUMMARY},
        }
    )
    bill.lay(account, USAGE)


USAGE = bill.Usage(
    hours={bill.DATABASES: 3 * bill.HOURS},
    computing=9.46,
    saved_by={bill.DATABASES: 131.40, "COMPUTE_SP": 56.76},
)
"""The database in two zones and its replica, and three to four tasks of the web service, all of them on demand."""

_SUMMARY = {
    "AccountMFAEnabled": 1,
    "AccountAccessKeysPresent": 0,
    "AccountPasswordPresent": 1,
    "AccountSigningCertificatesPresent": 0,
    "Users": 0,
    "Groups": 0,
    "MFADevices": 1,
    "MFADevicesInUse": 1,
}


def _executions(at: datetime) -> dict[str, Any]:
    run = {
        "pipelineExecutionId": "5b1f6e0c-2d0c-4f56-9c0a-7a1f4f0e6a11",
        "status": "Succeeded",
        "startTime": at,
        "lastUpdateTime": at + timedelta(minutes=9),
    }
    return {"pipelineExecutionSummaries": [run]}


def _scan(account: Account, at: datetime) -> dict[str, Any]:
    return {
        "registryId": account.id,
        "repositoryName": REPOSITORY,
        "imageId": {"imageTag": IMAGE_TAG},
        "imageScanStatus": {"status": "COMPLETE", "description": "The scan was completed successfully."},
        "imageScanFindings": {
            "imageScanCompletedAt": at,
            "vulnerabilitySourceUpdatedAt": at,
            "findings": [{"name": "CVE-2025-8941", "severity": "MEDIUM"}],
            "findingSeverityCounts": {"MEDIUM": 1},
        },
    }
