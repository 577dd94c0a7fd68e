"""Who owns a resource: a CloudFormation stack, another tool, or nobody. Decides the way in which it may be changed.

Read from the snapshot that the inspection took, and again from AWS right before anything is done (`engine.ways`). What
could not be read is never taken for nobody: a change to a resource that a pipeline owns is reverted by its next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from passmuster.inventory.operations.cloudformation import RELEASED, STACK_RESOURCES, STACKS
from passmuster.inventory.operations.tagging import TAGGED, TAGGED_GLOBAL, tags
from passmuster.inventory.snapshot import Row, Snapshot, Unread, View

CALLS = (TAGGED, TAGGED_GLOBAL, STACKS, STACK_RESOURCES)
"""What must have been read to tell that nobody owns a resource."""

MARKERS_OF = "infrastructure-as-code"
"""The check whose parameter `terraformTags` says how the policy's Terraform marks what it owns."""

_STACK_ID = "aws:cloudformation:stack-id"
_LOGICAL_ID = "aws:cloudformation:logical-id"
_ROUTE = "AWS::EC2::Route"
_TOOLS = {
    "crossplane-name": "Crossplane",
    "services.k8s.aws/controller-version": "AWS Controllers for Kubernetes",
    "elbv2.k8s.aws/cluster": "the AWS Load Balancer Controller",
    "eks:cluster-name": "Amazon EKS",
    "pulumi:project": "Pulumi",
}
"""Tags by which tools mark what they own, and revert what others change in it."""


class OwnerKind(StrEnum):
    """What owns a resource."""

    STACK = "Stack"
    TOOL = "Tool"
    NOBODY = "Nobody"


@dataclass(frozen=True, slots=True)
class Ownership:
    """The owner of one resource: `name` of the stack or the tool, `stack_id` and `logical_id` for a stack.

    `logical_id` is empty where only a tag tells of the stack.
    """

    kind: OwnerKind
    name: str = ""
    stack_id: str = ""
    logical_id: str = ""

    def __str__(self) -> str:
        match self.kind:
            case OwnerKind.STACK:
                return f"owned by the stack {self.name}"
            case OwnerKind.TOOL:
                return f"owned by {self.name}"
            case OwnerKind.NOBODY:
                return "owned by nobody"


NOBODY = Ownership(OwnerKind.NOBODY)


class OwnerUnread(Exception):
    """Who owns the resource could not be read; the message names what was refused."""


def owner_of(
    snapshot: Snapshot, region: str, kind: str, physical_id: str, arn: str, markers: Mapping[str, str]
) -> Ownership:
    """The owner of a resource of a CloudFormation type. Raises OwnerUnread.

    `markers` are tags of which one marks a resource as Terraform's; a value may hold wildcards, an empty one is any.
    """
    place = _region_of(arn)
    if place and place not in snapshot.regions:
        raise OwnerUnread(
            f"who owns {physical_id} cannot be told: {place} is not among the regions of the policy and the account"
        )
    view = View(snapshot, CALLS, region if region in snapshot.regions else None)
    try:
        found = _tags_of(view, arn)
        if _STACK_ID in found and _lives(view, found[_STACK_ID]) and _is_of_type(view, found, kind):
            stack_id = found[_STACK_ID]
            return Ownership(OwnerKind.STACK, stack_name(stack_id), stack_id, found.get(_LOGICAL_ID, ""))
        listed = _listed(view.rows(STACK_RESOURCES), region, kind, {physical_id, arn})
        if listed is not None:
            return listed
        _demand_named(view.rows(STACK_RESOURCES), region, kind, physical_id)
    except Unread as unread:
        raise OwnerUnread(f"who owns {physical_id} could not be read: {unread}") from unread
    tool = marked_by(found, markers)
    return NOBODY if tool is None else Ownership(OwnerKind.TOOL, tool)


def marked_by(found: Mapping[str, str], markers: Mapping[str, str]) -> str | None:
    """The tool whose mark is among the tags of a resource, None if there is none."""
    if any(key in found and fnmatchcase(found[key], value or "*") for key, value in markers.items()):
        return "Terraform"
    return next((tool for key, tool in _TOOLS.items() if key in found), None)


def stack_name(stack_id: str) -> str:
    """The name in the ARN of a stack."""
    parts = stack_id.split("/")
    return parts[1] if len(parts) > 1 else stack_id


def _tags_of(view: View, arn: str) -> Mapping[str, str]:
    plain = arn.removesuffix(":*")
    for call in (TAGGED, TAGGED_GLOBAL):
        for row in view.rows(call):
            if str(row["ResourceARN"]).removesuffix(":*") == plain:
                return tags(row)
    return {}


def _lives(view: View, stack_id: str) -> bool:
    """Whether the stack that a tag names is still there; a resource outlives the stack that retained it.

    A stack in a region whose stacks are not listed is believed to be.
    """
    listed = (view.region,) if view.region is not None else view.regions
    return _region_of(stack_id) not in listed or any(row["StackId"] == stack_id for row in view.rows(STACKS))


def _region_of(arn: str) -> str:
    """The region in an ARN; empty where it has none."""
    parts = arn.split(":", 4)
    return parts[3] if len(parts) == 5 else ""


def _is_of_type(view: View, found: Mapping[str, str], kind: str) -> bool:
    """Whether the tags speak of a resource of this type: a route has none, and is found by its table's tags.

    Where the stack does not list the resource that they name, they are believed.
    """
    named = [
        row["ResourceType"]
        for row in view.rows(STACK_RESOURCES)
        if row.asked("StackName") == found[_STACK_ID] and row["LogicalResourceId"] == found.get(_LOGICAL_ID)
    ]
    return not named or kind in named


def _demand_named(rows: Iterable[Row], region: str, kind: str, physical_id: str) -> None:
    """Raises OwnerUnread where a stack holds routes under ids that do not say which ones they are, as old stacks do.

    `infra-Route-HUBGXRIBOOLM` may be any route; newer ids are table and destination, `rtb-1|0.0.0.0/0`.
    """
    if kind != _ROUTE:
        return
    for row in rows:
        held = str(row.get("PhysicalResourceId") or "")
        gone = row.get("ResourceStatus") in RELEASED
        if row["ResourceType"] == kind and row.region == region and held and "|" not in held and not gone:
            raise OwnerUnread(
                f"who owns the route {physical_id} cannot be told: the stack {stack_name(str(row.asked('StackName')))} "
                f"holds a route under the old id {held}, which does not say which route it is. If it is this one, "
                "change it in that stack"
            )


def _listed(rows: Iterable[Row], region: str, kind: str, ids: set[str]) -> Ownership | None:
    for row in rows:
        gone = row.get("ResourceStatus") in RELEASED
        if gone or row.region != region or row["ResourceType"] != kind or row.get("PhysicalResourceId") not in ids:
            continue
        stack_id = str(row.asked("StackName"))
        return Ownership(OwnerKind.STACK, stack_name(stack_id), stack_id, str(row["LogicalResourceId"]))
    return None
