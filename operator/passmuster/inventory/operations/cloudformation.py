"""Stacks that exist, with what their last drift detection found, and the resources they own."""

from __future__ import annotations

import re

from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.snapshot import View

STACKS = Call(
    "cloudformation",
    "ListStacks",
    args={
        "StackStatusFilter": [
            "CREATE_IN_PROGRESS",
            "CREATE_FAILED",
            "CREATE_COMPLETE",
            "ROLLBACK_IN_PROGRESS",
            "ROLLBACK_FAILED",
            "ROLLBACK_COMPLETE",
            "DELETE_IN_PROGRESS",
            "DELETE_FAILED",
            "UPDATE_IN_PROGRESS",
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
            "UPDATE_COMPLETE",
            "UPDATE_FAILED",
            "UPDATE_ROLLBACK_IN_PROGRESS",
            "UPDATE_ROLLBACK_FAILED",
            "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
            "UPDATE_ROLLBACK_COMPLETE",
            "IMPORT_IN_PROGRESS",
            "IMPORT_COMPLETE",
            "IMPORT_ROLLBACK_IN_PROGRESS",
            "IMPORT_ROLLBACK_FAILED",
            "IMPORT_ROLLBACK_COMPLETE",
        ]
    },
    items="StackSummaries[?StackStatus != 'DELETE_COMPLETE' && StackStatus != 'REVIEW_IN_PROGRESS']",
    keep=(
        "StackId",
        "StackName",
        "StackStatus",
        "CreationTime",
        "LastUpdatedTime",
        "DriftInformation",
        "ParentId",
        "RootId",
    ),
)
"""Without the deleted ones, which AWS lists for ninety days, and without those that are only a change set so far."""

STACK_RESOURCES = Call(
    "cloudformation",
    "ListStackResources",
    each=STACKS,
    over="StackId",
    param="StackName",
    items="StackResourceSummaries",
    keep=("LogicalResourceId", "PhysicalResourceId", "ResourceType", "ResourceStatus"),
    absent=("ValidationError",),
    freshness=RARELY,
)
"""A stack that was deleted since it was listed owns nothing."""

RELEASED = ("DELETE_COMPLETE", "DELETE_SKIPPED")
"""States of a resource that its stack holds no longer; one whose deletion failed is still the stack's."""

NAMESPACES = {
    "amazonmq": "mq",
    "apigatewayv2": "apigateway",
    "certificatemanager": "acm",
    "cognito": "cognito-idp",
    "directoryservice": "ds",
    "docdb": "rds",
    "efs": "elasticfilesystem",
    "elasticloadbalancingv2": "elasticloadbalancing",
    "elasticsearch": "es",
    "emr": "elasticmapreduce",
    "kinesisfirehose": "firehose",
    "kinesisanalyticsv2": "kinesisanalytics",
    "msk": "kafka",
    "neptune": "rds",
    "opensearchserverless": "aoss",
    "opensearchservice": "es",
    "stepfunctions": "states",
}
"""CloudFormation's name of a service, in lower case, where ARNs use another one; dashes aside."""


def owned_by_stacks(view: View) -> set[tuple[str, str]]:
    """Service, without its dashes, and physical id of everything the stacks say they own."""
    found: set[tuple[str, str]] = set()
    for row in view.rows(STACK_RESOURCES):
        kind, physical = (row.get("ResourceType") or "").split("::"), row.get("PhysicalResourceId")
        if physical and len(kind) > 2 and row.get("ResourceStatus") not in RELEASED:
            service = NAMESPACES.get(kind[1].lower(), kind[1].lower())
            name = physical.rsplit("/", 1)[-1] if physical.startswith("https://") else physical
            found.add((service.replace("-", ""), name.lstrip("/")))
    return found


def names_of(arn: str) -> set[tuple[str, str]]:
    """Every way in which a stack may name the resource: the ARN, what follows the account in it, or its last part.

    Slashes at the beginning do not count: of log groups and parameters ARNs and names do not agree on them.
    """
    parts = arn.split(":", 5)
    rest = parts[5]
    last, after_kind = re.split("[:/]", rest)[-1], re.split("[:/]", rest, maxsplit=1)[-1]
    return {(parts[2].replace("-", ""), name.lstrip("/")) for name in (arn, rest, last, after_kind)}
