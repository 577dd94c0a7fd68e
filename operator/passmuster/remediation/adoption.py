"""What may be adopted: imported into a stack of ours as it is, and then updated there.

A type is on the list only if its schema has all five handlers and nothing write-only, volatile or secret is in use; a
test holds the list against the schemas of CloudFormation. Called by `rendering` to decide the way, and by
`engine.ways` to make the templates of both change sets.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from passmuster.inventory.call import Call
from passmuster.inventory.operations.dynamodb import TABLE
from passmuster.inventory.snapshot import Snapshot, Unread, View

LOGICAL_ID = "Adopted"
"""The one resource of such a stack."""

NOTE = "Passmuster"
"""The member of the template's metadata that says what was there before: it outlives our own memory of it."""


@dataclass(frozen=True, slots=True)
class Adoptable:
    """One type: its properties that identify a resource, that only AWS sets, and that AWS takes and never tells.

    What is never told is either not in use, or `refusal` says why the resource stays out.
    """

    identifiers: tuple[str, ...]
    read_only: tuple[str, ...] = ()
    write_only: tuple[str, ...] = ()


ADOPTABLE: Mapping[str, Adoptable] = {
    "AWS::CloudTrail::Trail": Adoptable(("TrailName",), ("Arn", "SnsTopicArn")),
    "AWS::DynamoDB::Table": Adoptable(("TableName",), ("Arn", "StreamArn"), ("ImportSourceSpecification",)),
    "AWS::EC2::Route": Adoptable(("RouteTableId", "CidrBlock"), ("CidrBlock",)),
    "AWS::ECR::Repository": Adoptable(("RepositoryName",), ("Arn", "RepositoryUri"), ("EmptyOnDelete",)),
    "AWS::ElasticLoadBalancingV2::Listener": Adoptable(
        ("ListenerArn",), ("ListenerArn",), ("DefaultActions/*/AuthenticateOidcConfig/ClientSecret",)
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


CALLS: Mapping[str, Call] = {"AWS::DynamoDB::Table": TABLE}
"""What must have been read, by type, to tell before anything is proposed which resources stay out."""


class AdoptionUnread(Exception):
    """Whether a resource may be adopted could not be read; the message names what was refused."""


def stays_out(snapshot: Snapshot, region: str, kind: str, identifier: str) -> bool:
    """Whether a resource of a type on the list is known to stay out, so that another way is proposed.

    Raises AdoptionUnread.
    """
    if kind not in CALLS:
        return False
    view = View(snapshot, (CALLS[kind],), region if region in snapshot.regions else None)
    try:
        for table in view.rows(CALLS[kind]):
            if table["TableName"] == identifier:
                return bool(table.get("BillingMode") != "PAY_PER_REQUEST")
    except Unread as unread:
        raise AdoptionUnread(f"whether {identifier} may be adopted could not be read: {unread}") from unread
    return False


def described(kind: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """The model of a resource as a template may state it: without what only AWS sets."""
    properties = copy.deepcopy(dict(model))
    for name in ADOPTABLE[kind].read_only:
        value = properties.pop(name, None)
        if name == "RuleArn" and value is not None:
            listener, _, _ = str(value).replace(":listener-rule/", ":listener/").rpartition("/")
            properties["ListenerArn"] = listener
    return properties


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
