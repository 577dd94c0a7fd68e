"""Stacks that exist, with what their last drift detection found, and the resources they own."""

from passmuster.inventory.call import Call

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
)
"""A stack that was deleted since it was listed owns nothing."""
