"""What may be adopted: imported into a stack of ours as it is, and then updated there.

A type is on the list only if its schema has all five handlers and nothing write-only, volatile or secret is in use; a
test holds the list against the schemas of CloudFormation, and each type has its closed loops. Called by `rendering` to
decide the way, and by `engine.ways` to make the templates of both change sets.

What AWS tells of a resource is not yet what a template may say of it: it tells what AWS set, what it filled in, the
same thing in two ways, and tags that are its own. `described` is what is left.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from passmuster.inventory.call import Call
from passmuster.inventory.operations.dynamodb import TABLE
from passmuster.inventory.operations.elbv2 import LISTENERS
from passmuster.inventory.snapshot import Snapshot, Unread, View

LOGICAL_ID = "Adopted"
"""The one resource of such a stack."""

NOTE = "Passmuster"
"""The member of the template's metadata that says what was there before: it outlives our own memory of it."""


@dataclass(frozen=True, slots=True)
class Adoptable:
    """One type: its properties that identify a resource, that only AWS sets, and that AWS takes and never tells.

    What is never told is either not in use, or `refusal` says why the resource stays out. `filled_in` are paths of what
    AWS sets by itself where nobody did, and changes or tells unreliably: a template that does not name it leaves it as
    it is, and a stack that does would be found drifted.
    """

    identifiers: tuple[str, ...]
    read_only: tuple[str, ...] = ()
    write_only: tuple[str, ...] = ()
    filled_in: tuple[str, ...] = ()


ADOPTABLE: Mapping[str, Adoptable] = {
    "AWS::CloudTrail::Trail": Adoptable(("TrailName",), ("Arn", "SnsTopicArn")),
    "AWS::DynamoDB::Table": Adoptable(
        ("TableName",),
        ("Arn", "StreamArn"),
        ("ImportSourceSpecification",),
        ("WarmThroughput", "GlobalSecondaryIndexes/*/WarmThroughput"),
    ),
    "AWS::EC2::Route": Adoptable(("RouteTableId", "CidrBlock"), ("CidrBlock",)),
    "AWS::ECR::Repository": Adoptable(("RepositoryName",), ("Arn", "RepositoryUri"), ("EmptyOnDelete",)),
    "AWS::ElasticLoadBalancingV2::Listener": Adoptable(
        ("ListenerArn",),
        ("ListenerArn",),
        ("DefaultActions/*/AuthenticateOidcConfig/ClientSecret",),
        ("ListenerAttributes",),
    ),
    "AWS::ElasticLoadBalancingV2::ListenerRule": Adoptable(
        ("RuleArn",), ("RuleArn", "IsDefault"), ("Actions/*/AuthenticateOidcConfig/ClientSecret", "ListenerArn")
    ),
    "AWS::Logs::LogGroup": Adoptable(("LogGroupName",), ("Arn",)),
}
"""The proven list; everything else is changed in another way."""


def refusal(kind: str, model: Mapping[str, Any]) -> str | None:
    """Why a resource of a type on the list stays out nevertheless; None if it may be adopted."""
    if kind == "AWS::DynamoDB::Table" and model.get("BillingMode") != "PAY_PER_REQUEST":
        return "the table has provisioned capacity, which auto scaling changes at any time"
    actions = [*(model.get("DefaultActions") or ()), *(model.get("Actions") or ())]
    if any(isinstance(action, Mapping) and "AuthenticateOidcConfig" in action for action in actions):
        return "an action authenticates with a client secret, which AWS does not tell"
    return None


CALLS: Mapping[str, Call] = {"AWS::DynamoDB::Table": TABLE, "AWS::ElasticLoadBalancingV2::Listener": LISTENERS}
"""What must have been read, by type, to tell before anything is proposed which resources stay out."""


class AdoptionUnread(Exception):
    """Whether a resource may be adopted could not be read; the message names what was refused."""


def stays_out(snapshot: Snapshot, region: str, kind: str, identifier: str) -> str | None:
    """Why a resource of a type on the list stays out, so that another way is proposed; None where nothing says so.

    Raises AdoptionUnread.
    """
    if kind not in CALLS:
        return None
    view = View(snapshot, (CALLS[kind],), region if region in snapshot.regions else None)
    try:
        for row in view.rows(CALLS[kind]):
            if identifier in (row.get("TableName"), row.get("ListenerArn")):
                return _replicated(row) or refusal(kind, row)
    except Unread as unread:
        raise AdoptionUnread(f"whether {identifier} may be adopted could not be read: {unread}") from unread
    return None


def _replicated(row: Mapping[str, Any]) -> str | None:
    replicas = row.get("Replicas")
    return "the table has replicas in other regions, which its type does not know" if replicas else None


def described(kind: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """The model of a resource as a template may state it: what AWS was told, said once, and nothing else."""
    properties = copy.deepcopy(dict(model))
    for name in ADOPTABLE[kind].read_only:
        value = properties.pop(name, None)
        if name == "RuleArn" and value is not None:
            listener, _, _ = str(value).replace(":listener-rule/", ":listener/").rpartition("/")
            properties["ListenerArn"] = listener
    for path in ADOPTABLE[kind].filled_in:
        _leave_out(properties, path.split("/"))
    for condition in properties.get("Conditions") or ():
        if any(name.endswith("Config") for name in condition):
            condition.pop("Values", None)  # told a second time, in the older way
    if properties.get("MutualAuthentication") == {"Mode": "off"}:
        del properties["MutualAuthentication"]
    if properties.get("Tags"):
        properties["Tags"] = [tag for tag in properties["Tags"] if not str(tag.get("Key", "")).startswith("aws:")]
    return {name: value for name, value in properties.items() if value not in (None, "", [], {})}


def _leave_out(value: Any, path: list[str]) -> None:
    """Takes the member at a path out of a model; `*` stands for every member of a list."""
    first, *rest = path
    if first == "*":
        for member in value:
            _leave_out(member, rest)
    elif rest:
        _leave_out(value.get(first) or [], rest)
    else:
        value.pop(first, None)


def identifiers(kind: str, identifier: str) -> dict[str, str]:
    """The identifying properties of a resource from its identifier in Cloud Control."""
    names = ADOPTABLE[kind].identifiers
    return dict(zip(names, identifier.split("|"), strict=True))


def template(kind: str, properties: Mapping[str, Any], note: Mapping[str, Any], title: str) -> dict[str, Any]:
    """The template of a stack that holds one adopted resource; deleting the stack leaves the resource alone.

    `note` says whose the stack is and what was there before. Tags of the stack would say it too, but an update would
    put them on the resource, which nobody asked for.
    """
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": title,
        "Metadata": {NOTE: dict(note)},
        "Resources": {
            LOGICAL_ID: {
                "Type": kind,
                "DeletionPolicy": "Retain",
                "UpdateReplacePolicy": "Retain",
                "Properties": dict(properties),
            }
        },
    }


def note_in(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The note in the template of such a stack; empty in that of another stack."""
    noted: Mapping[str, Any] = (document.get("Metadata") or {}).get(NOTE) or {}
    return noted
