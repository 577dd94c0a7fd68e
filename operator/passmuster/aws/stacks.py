"""CloudFormation for remediations: stacks made and unmade, updated and imported into, always by change set.

Names and tokens are the caller's, and deterministic, so that a repeated call has no second effect. What changes
something goes through `Actor.mutate`, which asks its gate right before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from passmuster.aws.actor import Actor, Words
from passmuster.inventory.operations.cloudformation import RELEASED

OWNED_BY_POLICY = "passmuster:policy-uid"
OWNED_BY_CLUSTER = "passmuster:cluster-uid"
MADE_FOR = "passmuster:remediation"
MADE_AS = "passmuster:digest"

WORDS = Words(unreachable="CloudFormationUnreachable", refused="CloudFormationRefused")
MOST_TEMPLATE_BYTES = 51_200
"""The largest template that a request may carry."""

_NO_CHANGE_SET = ("ChangeSetNotFound", "ChangeSetNotFoundException")


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as CloudFormation describes it; `resolved` are the values of parameters that name another place."""

    id: str
    name: str
    status: str
    reason: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    capabilities: tuple[str, ...] = ()
    resolved: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""

    @property
    def busy(self) -> bool:
        """Whether an operation is under way, ours or somebody's."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a change set; `scope` and `targets` (attribute and name) say which parts of the resource change."""

    action: str
    logical_id: str
    type: str
    replacement: str
    scope: tuple[str, ...] = ()
    targets: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A change set as CloudFormation describes it; `status` CREATE_COMPLETE and `execution` AVAILABLE mean ready."""

    id: str
    stack_id: str
    status: str
    execution: str
    reason: str
    changes: tuple[Change, ...]
    parameters: Mapping[str, str]
    resolved: Mapping[str, str] = field(default_factory=dict)

    @property
    def being_made(self) -> bool:
        """Whether CloudFormation still compares."""
        return self.status in ("CREATE_PENDING", "CREATE_IN_PROGRESS")


@dataclass(frozen=True, slots=True)
class Import:
    """A resource that a change set takes into the stack."""

    type: str
    logical_id: str
    identifiers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Intent:
    """What to make: everything CreateChangeSet needs, already approved.

    `kind` is CREATE, UPDATE or IMPORT. Without `tags` a stack's tags stay as they are; `keep` names parameters whose
    value stays.
    """

    stack: str
    change_set: str
    token: str
    template: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    capabilities: tuple[str, ...]
    description: str
    kind: str = "CREATE"
    keep: tuple[str, ...] = ()
    imports: tuple[Import, ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """Where a resource is held: the stack and the resource's name in its template."""

    stack: str
    stack_id: str
    logical_id: str
    type: str


class Stacks:
    """CloudFormation in one region of one account, as the remediation role. Every method may raise ChangeFailed."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def stack(self, name: str) -> Stack | None:
        """The stack of that name or id; None if there is none."""
        answer = self._read("DescribeStacks", absent="does not exist", StackName=name)
        if answer is None or not answer["Stacks"]:
            return None
        return _stack(answer["Stacks"][0])

    def every(self) -> Iterator[Stack]:
        """Every stack of the region, whoever made it; none that is deleted."""
        token: str | None = None
        while True:
            more = {"NextToken": token} if token else {}
            answer = self._read("DescribeStacks", absent="", **more) or {}
            yield from map(_stack, answer.get("Stacks", ()))
            token = answer.get("NextToken")
            if not token:
                return

    def change_set(self, stack: str, name: str) -> ChangeSet | None:
        """The change set of that name; None if there is none."""
        changes: list[Change] = []
        token: str | None = None
        while True:
            more = {"NextToken": token} if token else {}
            answer = self._read(
                "DescribeChangeSet", absent="does not exist", StackName=stack, ChangeSetName=name, **more
            )
            if answer is None:
                return None
            changes.extend(
                _change(one["ResourceChange"]) for one in answer.get("Changes", []) if "ResourceChange" in one
            )
            token = answer.get("NextToken")
            if not token:
                break
        parameters, resolved = _parameters(answer)
        return ChangeSet(
            id=answer["ChangeSetId"],
            stack_id=answer["StackId"],
            status=answer["Status"],
            execution=answer.get("ExecutionStatus", ""),
            reason=answer.get("StatusReason", ""),
            changes=tuple(changes),
            parameters=parameters,
            resolved=resolved,
        )

    def change_sets(self, stack: str) -> tuple[str, ...]:
        """The names of the change sets of a stack that somebody may still execute, or that are being made."""
        names: list[str] = []
        token: str | None = None
        while True:
            more = {"NextToken": token} if token else {}
            answer = self._read("ListChangeSets", absent="does not exist", StackName=stack, **more)
            if answer is None:
                return ()
            names += [one["ChangeSetName"] for one in answer.get("Summaries", []) if _waits(one)]
            token = answer.get("NextToken")
            if not token:
                return tuple(names)

    def template(self, stack: str, change_set: str | None = None) -> str:
        """The template's text as CloudFormation holds it, for a change set or as the stack has it; "" without one."""
        which = {"ChangeSetName": change_set} if change_set is not None else {}
        answer = self._read("GetTemplate", absent="", StackName=stack, TemplateStage="Original", **which)
        body = answer["TemplateBody"] if answer is not None else ""
        return body if isinstance(body, str) else json.dumps(body)

    def failures(self, stack_id: str) -> tuple[str, ...]:
        """Why resources failed, newest first, for people: `LogBucket: name already taken`."""
        answer = self._read("DescribeStackEvents", absent="does not exist", StackName=stack_id)
        events: Sequence[Mapping[str, Any]] = answer["StackEvents"] if answer is not None else ()
        return tuple(
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events
            if event.get("ResourceStatus", "").endswith("_FAILED")
            and event.get("ResourceStatusReason")
            and "cancelled" not in event["ResourceStatusReason"]
        )

    def latest(self, stack_id: str) -> str:
        """The token of the latest operation on a stack, by its newest event; "" where it had none."""
        answer = self._read("DescribeStackEvents", absent="does not exist", StackName=stack_id)
        newest: Mapping[str, Any] = next(iter(answer["StackEvents"]), {}) if answer is not None else {}
        return str(newest.get("ClientRequestToken", ""))

    def holding(self, kind: str, physical_ids: Sequence[str]) -> Holding | None:
        """The stack that holds a resource of that type under one of these ids; None if no stack does."""
        for physical_id in dict.fromkeys(physical_ids):
            answer = self._read("DescribeStackResources", absent="does not exist", PhysicalResourceId=physical_id)
            for found in answer["StackResources"] if answer is not None else ():
                gone = found.get("ResourceStatus") in RELEASED
                if found["ResourceType"] == kind and found.get("PhysicalResourceId") == physical_id and not gone:
                    return Holding(found["StackName"], found["StackId"], found["LogicalResourceId"], kind)
        return None

    def drift(self, stack: str, logical_id: str) -> str:
        """Whether one resource is as its template says: IN_SYNC, MODIFIED, DELETED or NOT_CHECKED."""
        answer = self._read(
            "DetectStackResourceDrift", absent="not currently supported", StackName=stack, LogicalResourceId=logical_id
        )
        return str(answer["StackResourceDrift"]["StackResourceDriftStatus"]) if answer is not None else "NOT_CHECKED"

    def model(self, kind: str, identifier: str) -> dict[str, Any] | None:
        """The properties of a resource as its type describes them, from Cloud Control; None if it does not exist."""
        answer = self._actor.read(
            "cloudcontrol",
            "GetResource",
            WORDS,
            lambda code, _message: code == "ResourceNotFoundException",
            TypeName=kind,
            Identifier=identifier,
        )
        if answer is None:
            return None
        properties: dict[str, Any] = json.loads(answer["ResourceDescription"]["Properties"])
        return properties

    def create_change_set(self, intent: Intent) -> None:
        """Asks for a change set; one that exists under the name already is left as it is."""
        arguments: dict[str, Any] = {
            "StackName": intent.stack,
            "ChangeSetName": intent.change_set,
            "ChangeSetType": intent.kind,
            "ClientToken": intent.token,
            "TemplateBody": intent.template,
            "Parameters": [
                *({"ParameterKey": k, "ParameterValue": v} for k, v in sorted(intent.parameters.items())),
                *({"ParameterKey": k, "UsePreviousValue": True} for k in sorted(intent.keep)),
            ],
            "Capabilities": list(intent.capabilities),
            "Description": intent.description,
        }
        if intent.tags:
            arguments["Tags"] = [{"Key": k, "Value": v} for k, v in sorted(intent.tags.items())]
        if intent.kind == "CREATE":
            arguments |= {"OnStackFailure": "DELETE", "ImportExistingResources": True}
        if intent.imports:
            arguments["ResourcesToImport"] = [
                {"ResourceType": one.type, "LogicalResourceId": one.logical_id, "ResourceIdentifier": one.identifiers}
                for one in intent.imports
            ]
        self._mutate("CreateChangeSet", harmless=("AlreadyExistsException",), **arguments)

    def execute(self, stack: str, change_set: str, token: str) -> None:
        """Executes a change set; one that is already under way is left alone."""
        self._mutate(
            "ExecuteChangeSet",
            harmless=("InvalidChangeSetStatus", "InvalidChangeSetStatusException"),
            StackName=stack,
            ChangeSetName=change_set,
            ClientRequestToken=token,
        )

    def delete_change_set(self, stack: str, change_set: str) -> None:
        """Withdraws a change set that was not executed."""
        self._mutate("DeleteChangeSet", harmless=_NO_CHANGE_SET, StackName=stack, ChangeSetName=change_set)

    def delete(self, stack: str, token: str) -> None:
        """Deletes a stack; what its template retains stays."""
        self._mutate("DeleteStack", StackName=stack, ClientRequestToken=token)

    def _read(self, operation: str, absent: str, **arguments: Any) -> dict[str, Any] | None:
        def is_absent(code: str, message: str) -> bool:
            return code in _NO_CHANGE_SET or (bool(absent) and absent in message)

        return self._actor.read("cloudformation", operation, WORDS, is_absent, **arguments)

    def _mutate(self, operation: str, harmless: tuple[str, ...] = (), **arguments: Any) -> None:
        self._actor.mutate("cloudformation", operation, WORDS, harmless, **arguments)


def _stack(found: Mapping[str, Any]) -> Stack:
    parameters, resolved = _parameters(found)
    return Stack(
        id=found["StackId"],
        name=found["StackName"],
        status=found["StackStatus"],
        reason=found.get("StackStatusReason", ""),
        parameters=parameters,
        tags={t["Key"]: t["Value"] for t in found.get("Tags", [])},
        capabilities=tuple(found.get("Capabilities", ())),
        resolved=resolved,
        parent=found.get("ParentId", "") or found.get("RootId", ""),
    )


def _parameters(found: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """What a stack or a change set was given, by parameter, and what was found where that names another place."""
    given = found.get("Parameters", [])
    values = {one["ParameterKey"]: one.get("ParameterValue", "") for one in given}
    return values, {one["ParameterKey"]: one["ResolvedValue"] for one in given if "ResolvedValue" in one}


def made_by(tags: Mapping[str, str], policy_uid: str, cluster_uid: str) -> bool:
    """Whether tags say that a stack was made for this policy of this cluster."""
    return (tags.get(OWNED_BY_POLICY), tags.get(OWNED_BY_CLUSTER)) == (policy_uid, cluster_uid)


def _waits(summary: Mapping[str, Any]) -> bool:
    """Whether a change set is still to be executed: not one that failed, when it was made or executed."""
    executable = summary.get("ExecutionStatus", "AVAILABLE") in ("AVAILABLE", "UNAVAILABLE")
    return executable and summary.get("Status") != "FAILED"


def _change(change: Mapping[str, Any]) -> Change:
    return Change(
        action=change["Action"],
        logical_id=change["LogicalResourceId"],
        type=change["ResourceType"],
        replacement=change.get("Replacement", ""),
        scope=tuple(change.get("Scope", ())),
        targets=tuple(_targets(change.get("Details", ()))),
    )


def _targets(details: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for detail in details:
        target = detail.get("Target", {})
        yield str(target.get("Attribute", "")), str(target.get("Name", ""))
