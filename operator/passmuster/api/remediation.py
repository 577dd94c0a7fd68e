"""Remediation: one proposed or applied change to one account, with everything a person needs to decide about it.

Written by the engine; people write nothing but their own entry of `spec.approvals`, which the admission policy
(`admission`) enforces. Name and stack are stable; a changed intent changes `spec.intent` and voids the approvals.

::

    Proposed > AwaitingApproval > Scheduled > ChangeSetReady > Executing > Settling > Verifying > Applied
                                                                   |                     |           |
                     Blocked, Superseded (before executing)     RolledBack, Failed    Failed      Undoing > Undone
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from passmuster.api.approval import Approvals
from passmuster.api.conditions import Conditions
from passmuster.api.fields import (
    ATOMIC,
    AccountId,
    CheckId,
    Count,
    Declared,
    Digest,
    Dollars,
    Id,
    Identifier,
    Observed,
    ObservedGeneration,
    Percent,
    Reference,
    Region,
    Sentence,
    Time,
    Words,
)
from passmuster.api.policy import Level
from passmuster.api.resource import AGE, Column, CustomResource, Definition
from passmuster.model.verdict import Phase


class Way(StrEnum):
    """How the account is changed, from the safest."""

    ADDITIVE_STACK = "AdditiveStack"
    OWNER_STACK = "OwnerStack"
    ADOPTION = "Adoption"
    API_STEP = "ApiStep"
    PATCH = "Patch"
    GUIDE = "Guide"


OWN_STACKS = frozenset({Way.ADDITIVE_STACK, Way.ADOPTION})
"""Ways whose stack is ours to delete; that of an owner never is."""


class Risk(StrEnum):
    """How much can go wrong."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"


class State(StrEnum):
    """Where the change stands."""

    PROPOSED = "Proposed"
    AWAITING_APPROVAL = "AwaitingApproval"
    SCHEDULED = "Scheduled"
    CHANGE_SET_READY = "ChangeSetReady"
    EXECUTING = "Executing"
    SETTLING = "Settling"
    VERIFYING = "Verifying"
    APPLIED = "Applied"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"
    BLOCKED = "Blocked"
    SUPERSEDED = "Superseded"
    UNDOING = "Undoing"
    UNDONE = "Undone"


class WaitsFor(StrEnum):
    """Who ends the settling."""

    SERVICE = "service"
    SCHEDULE = "schedule"
    PERSON = "person"


class ResourceOwner(Declared):
    """Who owns the resource that is changed."""

    kind: Literal["Stack", "Tool", "Nobody"] = Field(
        description="Stack: a CloudFormation stack; Tool: Terraform or another tool, by its tags; Nobody."
    )
    name: Annotated[str, Field(max_length=256)] | None = Field(default=None, description="Name of the stack or tool.")
    stack_id: Annotated[str, Field(max_length=2048)] | None = Field(default=None, description="ARN of the stack.")
    logical_id: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Name of the resource in the template of the stack."
    )


class Instructions(Declared):
    """How a person makes the same change."""

    console: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=50)] = Field(
        default=[], description="Steps in the console.", json_schema_extra=ATOMIC
    )
    cli: Annotated[list[Annotated[str, Field(max_length=8192)]], Field(max_length=50)] = Field(
        default=[], description="Commands of the AWS command line.", json_schema_extra=ATOMIC
    )
    patch: Annotated[str, Field(max_length=16384)] | None = Field(
        default=None, description="Patch for the template or the Terraform configuration that owns the resource."
    )


class NamedFinding(Declared):
    """A failing finding that the change must make pass."""

    check: Id = Field(description="Id of the check.")
    region: Annotated[str, Field(max_length=32)] = Field(description="Region of the resource.")
    resource: Annotated[str, Field(max_length=2048)] = Field(description="ARN or id of the resource.")


class Intent(Declared):
    """Exactly what is approved."""

    digest: Digest = Field(description="Digest of everything that is approved; approvals must carry it.")
    template: Digest | None = Field(
        default=None, description="Digest of the CloudFormation template's bytes, where there is a template."
    )
    parameters: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=200)] = Field(
        default={}, description="Parameters of the template."
    )
    changes: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=500)] = Field(
        default=[],
        description="The change in words, step by step: + adds, ~ changes, - removes.",
        json_schema_extra=ATOMIC,
    )


class CostItem(Declared):
    """One position of the month's bill."""

    title: Annotated[str, Field(max_length=256)] = Field(description="What is paid for.")
    quantity: Annotated[float, Field(ge=0)] | None = Field(default=None, description="How many of it.")
    monthly: Dollars = Field(description="Dollars a month.")


class MonthlyCost(Declared):
    """What the change adds to the bill."""

    monthly: Dollars = Field(default=0, description="Dollars a month, the sum of the items.")
    items: Annotated[list[CostItem], Field(max_length=100)] = Field(
        default=[], description="Priced positions.", json_schema_extra=ATOMIC
    )
    once: Dollars = Field(
        default=0, description="Dollars that making and proving the change costs once, for requests that AWS bills."
    )
    unpriced: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=100)] = Field(
        default=[], description="Positions that depend on usage; they are not in monthly.", json_schema_extra=ATOMIC
    )


class RemediationSpec(Declared):
    """The change."""

    remediation: Id = Field(description="Name of the remediation in the catalogue.")
    policy_ref: Reference = Field(description="The ReadinessPolicy in the same namespace.")
    account_id: AccountId = Field(description="The twelve digits of the account.")
    region: Region = Field(description="Region in which the change is made.")
    phase: Phase = Field(description="Phase of the remediation.")
    way: Way = Field(
        description="How the account is changed: AdditiveStack adds resources only, OwnerStack updates the owner's "
        "stack, Adoption imports a resource into a stack of ours, ApiStep calls an AWS API, Patch and Guide are for "
        "people."
    )
    fixes: Annotated[list[CheckId], Field(max_length=50)] = Field(
        default=[], description="Checks that it makes pass.", json_schema_extra=ATOMIC
    )
    findings: Annotated[list[NamedFinding], Field(max_length=1000)] = Field(
        default=[],
        description="Findings that must pass before the remediation counts as applied.",
        json_schema_extra=ATOMIC,
    )
    target: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None, description="ARN or id of the resource that it is about, or the account id."
    )
    owner: ResourceOwner | None = Field(
        default=None, description="Who owns the resource that is changed; absent where it is not one that exists."
    )
    intent: Intent = Field(description="Exactly what is approved.")
    instructions: Instructions = Field(
        default=Instructions(), description="How a person makes the same change, where the remediation says so."
    )
    cost: MonthlyCost = Field(default=MonthlyCost(), description="What it adds to the month's bill.")
    risk: Risk = Field(default=Risk.LOW, description="How much can go wrong: Low, Medium or High.")
    interrupts: Annotated[str, Field(max_length=1024)] = Field(
        default="nothing", description="What it interrupts, or nothing."
    )
    requires: Annotated[list[Id], Field(max_length=50)] = Field(
        default=[],
        description="Remediations or checks that must hold before it is carried out.",
        json_schema_extra=ATOMIC,
    )
    leads_to: Annotated[list[Id], Field(max_length=50)] = Field(
        default=[],
        description="Checks that may ask for more once the change is made, because of what is there then; that they "
        "fail is no failure of the change, and what they ask for is proposed next.",
        json_schema_extra=ATOMIC,
    )
    undo: Annotated[str, Field(max_length=1024)] | None = Field(default=None, description="How it is taken back.")
    approvals: Approvals = Field(default=[])


class RemediationSummary(Observed):
    """What kubectl get prints."""

    cost: Words | None = Field(default=None, description="Dollars a month with two decimals.")
    approved: Words | None = Field(default=None, description="Valid approvals of those needed, for example 1/2.")


class StackState(Observed):
    """The CloudFormation stack of the change."""

    name: Words = Field(description="Name of the stack.")
    id: Identifier | None = Field(default=None, description="ARN of the stack.")
    status: Words | None = Field(default=None, description="Status as AWS reports it, for example CREATE_COMPLETE.")


class ChangeSetState(Observed):
    """The change set of the present intent and attempt."""

    name: Words = Field(description="Name of the change set.")
    id: Identifier | None = Field(default=None, description="ARN of the change set.")
    status: Words | None = Field(default=None, description="Status as AWS reports it, for example CREATE_COMPLETE.")


class ChangeStep(Observed):
    """One change to a resource that exists, with what was there before."""

    what: Annotated[str, Field(max_length=1024)] = Field(description="The operation, or the type and its resource.")
    change: Annotated[str, Field(max_length=32768)] | None = Field(
        default=None, description="The change itself, as JSON: it is gone on with and taken back by it."
    )
    prior: Annotated[str, Field(max_length=32768)] | None = Field(
        default=None, description="What was there before, as JSON; it is what an undo puts back."
    )
    needed: bool = Field(default=True, description="False where it was as wanted already, and nothing was changed.")
    made_at: Time | None = Field(default=None, description="When AWS took the change.")
    undo_called_at: Time | None = Field(default=None, description="When AWS was asked to take the change back.")
    undone_at: Time | None = Field(default=None, description="When AWS had taken the change back.")


class Standing(Observed):
    """How the account stood at one time."""

    level: Level | None = Field(default=None, description="The level.")
    score: Percent | None = Field(default=None, description="The score, 0 to 100, where there was one.")
    failing: Annotated[list[CheckId], Field(max_length=200)] = Field(
        default=[], description="Checks that failed.", json_schema_extra=ATOMIC
    )
    not_applicable: Annotated[list[CheckId], Field(max_length=200)] = Field(
        default=[],
        description="Checks that had nothing to judge; what they find wrong with what the change made is no worsening.",
        json_schema_extra=ATOMIC,
    )


class HistoryEntry(Observed):
    """A state that the change was in."""

    state: State = Field(description="The state.")
    at: Time = Field(description="When it was entered.")
    by: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=20)] = Field(
        default=[], description="Who approved, where approvals led to it.", json_schema_extra=ATOMIC
    )
    message: Sentence | None = Field(default=None, description="Why, where it is worth saying.")


class RemediationStatus(Observed):
    """Where the change stands."""

    observed_generation: ObservedGeneration = None
    state: State | None = Field(default=None, description="Where the change stands.")
    summary: RemediationSummary = Field(default=RemediationSummary(), description="Texts that kubectl get prints.")
    stack: StackState | None = Field(default=None, description="The CloudFormation stack of the change.")
    change_set: ChangeSetState | None = Field(default=None, description="The change set of the present intent.")
    steps: Annotated[list[ChangeStep], Field(max_length=20)] = Field(
        default=[],
        description="Changes to resources that exist, in order, with what was there before.",
        json_schema_extra=ATOMIC,
    )
    attempt: Count | None = Field(default=None, description="How often the present intent was tried, from 1.")
    settles_until: Time | None = Field(
        default=None, description="Deadline by which the checks must pass after the change is made."
    )
    waits_for: WaitsFor | None = Field(
        default=None, description="Who ends the settling: the service, a schedule, or a person."
    )
    before: Standing | None = Field(default=None, description="Level and score of the account before the change.")
    after: Standing | None = Field(default=None, description="Level and score of the account after it was verified.")
    history: Annotated[list[HistoryEntry], Field(max_length=50)] = Field(
        default=[], description="States that the change was in, oldest first.", json_schema_extra=ATOMIC
    )
    conditions: Conditions = Field(default=[])


class Remediation(CustomResource):
    """One proposed or applied change."""

    definition: ClassVar = Definition(
        kind="Remediation",
        plural="remediations",
        short="rem",
        scope="Namespaced",
        columns=(
            Column("Policy", ".spec.policyRef.name", "Which policy is it for?"),
            Column("Phase", ".spec.phase", "Which level does it lead to?"),
            Column("Way", ".spec.way", "How is the account changed?"),
            Column("State", ".status.state", "Where does it stand?"),
            Column("Cost/Mo", ".status.summary.cost", "How many dollars a month does it add?"),
            Column("Approved", ".status.summary.approved", "How many of the needed approvals are there?"),
            AGE,
            Column("Account", ".spec.accountId", "Which account?", wide=True),
            Column("Region", ".spec.region", "In which region?", wide=True),
            Column("Risk", ".spec.risk", "How much can go wrong?", wide=True),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', "What does it wait for?", wide=True),
        ),
        selectable=(".spec.accountId", ".spec.policyRef.name", ".spec.phase", ".status.state"),
    )
    description: ClassVar = (
        "Remediation is one proposed or applied change to an AWS account; people only add their approval to it."
    )

    kind: Literal["Remediation"] = "Remediation"
    spec: RemediationSpec
    status: RemediationStatus = RemediationStatus()


def has_own_stack(body: Mapping[str, Any]) -> bool:
    """Whether a stack of ours is there or was about to be made, by a Remediation as the API server returned it."""
    stack = (body.get("status") or {}).get("stack") or {}
    return body["spec"]["way"] in OWN_STACKS and bool(stack) and stack.get("status") != "DELETE_COMPLETE"
