"""Makes and unmakes CloudFormation stacks by change set. The only module that changes anything in AWS.

Every mutating call goes through `Stacks._mutate`, which asks a gate right before: the gate raises unless this process
still holds the lease and the change is still permitted. Names and tokens are the caller's, and deterministic, so that a
repeated call has no second effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from passmuster.aws.clients import Clients
from passmuster.aws.principal import Principal, acting_as
from passmuster.aws.transport import translated
from passmuster.model.errors import ChangeFailed
from passmuster.model.verdict import Reason

OWNED_BY_POLICY = "passmuster:policy-uid"
OWNED_BY_CLUSTER = "passmuster:cluster-uid"
MADE_FOR = "passmuster:remediation"
MADE_AS = "passmuster:digest"


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as CloudFormation describes it."""

    id: str
    name: str
    status: str
    reason: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def busy(self) -> bool:
        """Whether an operation is under way, ours or somebody's."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a change set."""

    action: str
    logical_id: str
    type: str
    replacement: str


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
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Intent:
    """What to make: everything CreateChangeSet needs, already approved."""

    stack: str
    change_set: str
    token: str
    template: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    capabilities: tuple[str, ...]
    description: str


class Stacks:
    """CloudFormation in one region of one account, as the remediation role."""

    def __init__(
        self,
        clients: Clients,
        principal: Principal,
        account_id: str,
        region: str,
        gate: Callable[[], None],
        observe: Callable[[str, str], None] | None = None,
    ) -> None:
        self._clients = clients
        self._principal = principal
        self._account_id = account_id
        self._region = region
        self._gate = gate
        self._observe = observe

    def stack(self, name: str) -> Stack | None:
        """The stack of that name or id; None if there is none."""
        answer = self._read("describe_stacks", absent="does not exist", StackName=name)
        if answer is None or not answer["Stacks"]:
            return None
        found = answer["Stacks"][0]
        return Stack(
            id=found["StackId"],
            name=found["StackName"],
            status=found["StackStatus"],
            reason=found.get("StackStatusReason", ""),
            parameters={p["ParameterKey"]: p.get("ParameterValue", "") for p in found.get("Parameters", [])},
            tags={t["Key"]: t["Value"] for t in found.get("Tags", [])},
        )

    def change_set(self, stack: str, name: str) -> ChangeSet | None:
        """The change set of that name; None if there is none."""
        changes: list[Change] = []
        token: str | None = None
        while True:
            more = {"NextToken": token} if token else {}
            answer = self._read(
                "describe_change_set", absent="does not exist", StackName=stack, ChangeSetName=name, **more
            )
            if answer is None:
                return None
            changes.extend(
                _change(one["ResourceChange"]) for one in answer.get("Changes", []) if "ResourceChange" in one
            )
            token = answer.get("NextToken")
            if not token:
                break
        return ChangeSet(
            id=answer["ChangeSetId"],
            stack_id=answer["StackId"],
            status=answer["Status"],
            execution=answer.get("ExecutionStatus", ""),
            reason=answer.get("StatusReason", ""),
            changes=tuple(changes),
            parameters={p["ParameterKey"]: p.get("ParameterValue", "") for p in answer.get("Parameters", [])},
            capabilities=tuple(answer.get("Capabilities", ())),
        )

    def template(self, stack: str, change_set: str) -> str:
        """The template's text as CloudFormation holds it for a change set."""
        answer = self._read(
            "get_template", absent="", StackName=stack, ChangeSetName=change_set, TemplateStage="Original"
        )
        body = answer["TemplateBody"] if answer is not None else ""
        return body if isinstance(body, str) else str(body)

    def failures(self, stack_id: str) -> tuple[str, ...]:
        """Why resources failed, newest first, for people: `LogBucket: name already taken`."""
        answer = self._read("describe_stack_events", absent="does not exist", StackName=stack_id)
        events: Sequence[Mapping[str, Any]] = answer["StackEvents"] if answer is not None else ()
        return tuple(
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events
            if event.get("ResourceStatus", "").endswith("_FAILED")
            and event.get("ResourceStatusReason")
            and "cancelled" not in event["ResourceStatusReason"]
        )

    def physical_ids(self, stack: str) -> tuple[str, ...]:
        """The names of everything in a stack."""
        answer = self._read("describe_stack_resources", absent="does not exist", StackName=stack)
        found = answer["StackResources"] if answer is not None else []
        return tuple(r["PhysicalResourceId"] for r in found if r.get("PhysicalResourceId"))

    def create_change_set(self, intent: Intent) -> None:
        """Asks for the change set of a new stack; one that exists under the name already is left as it is."""
        self._mutate(
            "create_change_set",
            harmless=("AlreadyExistsException",),
            StackName=intent.stack,
            ChangeSetName=intent.change_set,
            ChangeSetType="CREATE",
            ClientToken=intent.token,
            TemplateBody=intent.template,
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(intent.parameters.items())],
            Tags=[{"Key": k, "Value": v} for k, v in sorted(intent.tags.items())],
            Capabilities=list(intent.capabilities),
            Description=intent.description,
            OnStackFailure="DELETE",
            ImportExistingResources=True,
        )

    def execute(self, stack: str, change_set: str, token: str) -> None:
        """Executes a change set; one that is already under way is left alone."""
        self._mutate(
            "execute_change_set",
            harmless=("InvalidChangeSetStatus", "InvalidChangeSetStatusException"),
            StackName=stack,
            ChangeSetName=change_set,
            ClientRequestToken=token,
        )

    def delete_change_set(self, stack: str, change_set: str) -> None:
        """Withdraws a change set that was not executed."""
        self._mutate(
            "delete_change_set",
            harmless=("ChangeSetNotFound", "ChangeSetNotFoundException"),
            StackName=stack,
            ChangeSetName=change_set,
        )

    def delete(self, stack: str, token: str) -> None:
        """Deletes a stack; what its template retains stays."""
        self._mutate("delete_stack", StackName=stack, ClientRequestToken=token)

    def _read(self, operation: str, absent: str, **arguments: Any) -> dict[str, Any] | None:
        try:
            return self._call(operation, arguments)
        except ClientError as error:
            detail = error.response.get("Error", {})
            missing = detail.get("Code") in ("ChangeSetNotFound", "ChangeSetNotFoundException")
            if missing or (absent and absent in str(detail.get("Message", ""))):
                return None
            raise self._failed(operation, error) from error
        except BotoCoreError as error:
            raise ChangeFailed("CloudFormationUnreachable", f"{operation}: {error}", retryable=True) from error

    def _mutate(self, operation: str, harmless: tuple[str, ...] = (), **arguments: Any) -> None:
        self._gate()
        try:
            self._call(operation, arguments)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in harmless:
                return
            raise self._failed(operation, error) from error
        except BotoCoreError as error:
            raise ChangeFailed("CloudFormationUnreachable", f"{operation}: {error}", retryable=True) from error

    def _call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        client = self._clients.client("cloudformation", self._region)
        outcome = "ok"
        try:
            with acting_as(self._principal, self._account_id):
                answer: dict[str, Any] = getattr(client, operation)(**arguments)
        except ClientError:
            outcome = "error"
            raise
        finally:
            if self._observe is not None:
                self._observe(operation, outcome)
        return answer

    def _failed(self, operation: str, error: ClientError) -> ChangeFailed:
        said = translated(error)
        retryable = said.transient or said.reason is Reason.DENIED
        reason = "RemediationDenied" if said.reason is Reason.DENIED else "CloudFormationRefused"
        return ChangeFailed(reason, f"cloudformation:{operation}: {said.code}: {said.message}", retryable=retryable)


def _change(change: Mapping[str, Any]) -> Change:
    return Change(
        action=change["Action"],
        logical_id=change["LogicalResourceId"],
        type=change["ResourceType"],
        replacement=change.get("Replacement", ""),
    )
