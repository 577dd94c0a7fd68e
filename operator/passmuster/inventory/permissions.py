"""The IAM actions that calls need, and the least-privilege policy made of them.

Read by the command line (`passmuster iam-policy`), by the judge (an Unknown names the missing action) and by the docs.
Most names follow from the operation; the exceptions are listed here and tested against the actions that exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from passmuster.inventory.call import Call, union

_PREFIXES = {
    "apigatewayv2": "apigateway",
    "cognito-idp": "cognito-idp",
    "efs": "elasticfilesystem",
    "elb": "elasticloadbalancing",
    "elbv2": "elasticloadbalancing",
    "opensearch": "es",
    "resourcegroupstaggingapi": "tag",
    "stepfunctions": "states",
}

_RENAMED = {
    "s3:ListBuckets": ("s3:ListAllMyBuckets",),
    "s3:GetBucketReplication": ("s3:GetReplicationConfiguration",),
    "s3:GetBucketEncryption": ("s3:GetEncryptionConfiguration",),
    "s3:GetBucketLifecycleConfiguration": ("s3:GetLifecycleConfiguration",),
    "s3:GetObjectLockConfiguration": ("s3:GetBucketObjectLockConfiguration",),
    "s3:GetPublicAccessBlock": ("s3:GetBucketPublicAccessBlock",),
    "budgets:DescribeBudgets": ("budgets:ViewBudget",),
    "budgets:DescribeNotificationsForBudget": ("budgets:ViewBudget",),
    "budgets:DescribeSubscribersForNotification": ("budgets:ViewBudget",),
}

IDENTITY_CALL = Call("sts", "GetCallerIdentity")
"""Made before anything else in an account; AWS allows it to everybody, so no policy names it."""

REGIONS_CALL = Call("ec2", "DescribeRegions", items="Regions", keep=("RegionName", "OptInStatus"))
"""Made once when neither policy nor account names regions."""


def actions(call: Call) -> tuple[str, ...]:
    """The IAM actions one request of this call needs."""
    if call.actions:
        return call.actions
    if call.name in _RENAMED:
        return _RENAMED[call.name]
    if call.service in ("apigateway", "apigatewayv2"):
        return ("apigateway:GET",)
    return (f"{_PREFIXES.get(call.service, call.service)}:{call.operation}",)


def all_actions(calls: Iterable[Call]) -> tuple[str, ...]:
    """The actions of all calls and of those they fan out from, sorted, each once."""
    return tuple(sorted({action for call in union(tuple(calls)) for action in actions(call)}))


def policy(calls: Iterable[Call], *, discover_regions: bool = True) -> dict[str, Any]:
    """The least-privilege IAM policy document of an inspection that makes these calls.

    Every action is a read on resources whose names are not known beforehand, hence `Resource: "*"`.
    """
    every = (*calls, REGIONS_CALL) if discover_regions else tuple(calls)
    grouped = groupby(all_actions(every), key=lambda action: action.split(":")[0])
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Read" + "".join(part.capitalize() for part in prefix.split("-")),
                "Effect": "Allow",
                "Action": list(members),
                "Resource": "*",
            }
            for prefix, members in grouped
        ],
    }
