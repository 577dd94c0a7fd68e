"""The IAM actions that calls need, and the least-privilege policy made of them.

Read by the command line (`passmuster iam-policy`), by the judge (an Unknown names the missing action) and by the docs.
Most names follow from the operation; the exceptions are listed here and tested against the actions that exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from passmuster.inventory.call import Call, union

_PREFIXES = {
    "accessanalyzer": "access-analyzer",
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

MANAGED_POLICY_SIZE = 6144
"""The most characters of a managed policy. A role takes ten of them unless its account has a higher quota."""

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
    return _document(granting("Read", all_actions(every)))


def policies(calls: Iterable[Call], *, discover_regions: bool = True) -> tuple[dict[str, Any], ...]:
    """The same permissions, each document small enough for a managed policy, in a stable order."""
    return parts(policy(calls, discover_regions=discover_regions)["Statement"])


def parts(statements: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Policy documents that hold these statements, each as full as a managed policy may be."""
    documents: list[list[dict[str, Any]]] = [[]]
    for statement in statements:
        if documents[-1] and size(_document([*documents[-1], statement])) > MANAGED_POLICY_SIZE:
            documents.append([])
        documents[-1].append(statement)
    return tuple(_document(members) for members in documents)


def granting(verb: str, actions: Iterable[str]) -> list[dict[str, Any]]:
    """Statements that allow these actions, which must be sorted: one per service, more where a managed policy could not
    hold it; `verb` begins the Sid."""
    statements: list[dict[str, Any]] = []
    for prefix, members in groupby(actions, key=lambda action: action.split(":")[0]):
        title = verb + "".join(part.capitalize() for part in prefix.split("-"))
        statements += _allowing(title, _chunks(list(members)))
    return statements


def together(title: str, actions: Iterable[str]) -> list[dict[str, Any]]:
    """Statements that allow these actions, which must be sorted: as few as managed policies can hold, whatever the
    services, and without what a wildcard among them allows already; the Sid is the title, numbered from the second."""
    named = list(actions)
    wide = [action for action in named if "*" in action]
    needed = [a for a in named if not any(a != one and fnmatchcase(a, one) for one in wide)]
    return _allowing(title, _chunks(needed, MANAGED_POLICY_SIZE * 15 // 16))


def _allowing(title: str, chunks: Iterable[list[str]]) -> list[dict[str, Any]]:
    """A statement for each chunk that has an action; the Sid is the title, numbered from the second."""
    return [
        {"Sid": title if number == 1 else f"{title}{number}", "Effect": "Allow", "Action": some, "Resource": "*"}
        for number, some in enumerate(chunks, start=1)
        if some
    ]


def _chunks(actions: list[str], most: int = MANAGED_POLICY_SIZE * 3 // 4) -> Iterator[list[str]]:
    chunk: list[str] = []
    for action in actions:
        if chunk and sum(len(one) + 3 for one in (*chunk, action)) > most:
            yield chunk
            chunk = []
        chunk.append(action)
    yield chunk


def size(document: Mapping[str, Any]) -> int:
    """The characters of a policy as IAM counts them: without white space."""
    return len("".join(json.dumps(document).split()))


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}
