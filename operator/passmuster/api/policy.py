"""ReadinessPolicy: the readiness level a team declares for an account, and what the operator may do about the rest.

Written by people; its status is the short answer, the ReadinessReport the long one.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from passmuster.api.conditions import Conditions
from passmuster.api.fields import (
    ATOMIC,
    SET,
    CheckId,
    Constraint,
    Count,
    Declared,
    Dollars,
    Duration,
    Elapsed,
    LabelSelector,
    Observed,
    ObservedGeneration,
    OptionalCheckId,
    Percent,
    Reference,
    Region,
    Slot,
    Time,
    TimeZone,
    Words,
    at_least,
    list_type,
)
from passmuster.api.resource import AGE, Column, CustomResource, Definition
from passmuster.model.verdict import Mode, Phase


class CrossRegion(StrEnum):
    """Whether data must exist in a second region."""

    REQUIRED = "Required"
    NONE = "None"


class Gating(StrEnum):
    """Whether phases wait for one another."""

    STRICT = "Strict"
    NONE = "None"


class Proposals(StrEnum):
    """How a proposal is made."""

    OFFLINE = "Offline"
    CHANGE_SET = "ChangeSet"


class WindowKind(StrEnum):
    """What a window does."""

    ALLOW = "Allow"
    DENY = "Deny"


class DeletionPolicy(StrEnum):
    """What becomes of our stacks when the policy is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


def _cron(*fields: str) -> str:
    """The pattern of a schedule: per field a list of `*` or values or ranges, each with an optional step."""
    items = (f"([*]|({value})(-({value}))?)(/[1-9][0-9]?)?" for value in fields)
    return "^" + " +".join(f"{item}(,{item}){{0,30}}" for item in items) + "$"


CRON = _cron(
    "[0-5]?[0-9]",
    "[01]?[0-9]|2[0-3]",
    "0?[1-9]|[12][0-9]|3[01]",
    "0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC",
    "[0-7]|SUN|MON|TUE|WED|THU|FRI|SAT",
)
"""Minute, hour, day of the month, month, day of the week."""


class PhaseMode(Declared):
    """The mode of one phase."""

    phase: Phase = Field(description="The phase.")
    mode: Mode = Field(description="Mode for the remediations of this phase, instead of spec.remediation.mode.")


class Window(Declared):
    """Hours in which changes may, or may not, begin."""

    kind: WindowKind = Field(
        default=WindowKind.ALLOW,
        description="Allow (the default) permits changes to begin within the window, Deny forbids them.",
    )
    schedule: Annotated[
        str,
        Field(max_length=120),
        Constraint(
            rule=f"self.matches('{CRON}')",
            message="schedule has five fields, minute hour day month weekday, for example 0 2 * * 1-5",
            holds=lambda schedule: re.fullmatch(CRON, schedule) is not None,
        ),
    ] = Field(description="When the window opens, as five cron fields, for example 0 2 * * 1-5.")
    duration: Annotated[Duration, at_least(timedelta(minutes=1), "a window is open for at least 1m")] = Field(
        description="How long the window stays open, for example 3h."
    )
    time_zone: TimeZone = Field(default="UTC", description="IANA time zone of the schedule; UTC unless set.")


class Recovery(Declared):
    """What the workload needs after a disaster."""

    rto: Duration | None = Field(
        default=None, description="Recovery time objective: how long the workload may be down, for example 4h."
    )
    rpo: Duration | None = Field(
        default=None, description="Recovery point objective: how much data, in time, may be lost, for example 1h."
    )
    secondary_region: Region | None = Field(
        default=None, description="Region in which the workload would be recovered."
    )
    cross_region: CrossRegion = Field(
        default=CrossRegion.REQUIRED,
        description="Whether data must exist in a second region: Required (the default) or None.",
    )


class Checks(Declared):
    """Which checks are judged, and how strictly."""

    constraints: ClassVar = (
        Constraint(
            rule="!has(self.optional) || !has(self.disabled) || self.optional.all(o, !(o in self.disabled))",
            message="a check cannot be both asked for and disabled: remove it from optional or from disabled",
            holds=lambda self: not set(self.optional) & set(self.disabled),
        ),
    )

    disabled: Annotated[list[CheckId], Field(max_length=200)] = Field(
        default=[],
        description="Checks that are not judged; each holds the level back unless the account's mayDisable lists it.",
        json_schema_extra=SET,
    )
    optional: Annotated[list[OptionalCheckId], Field(max_length=50)] = Field(
        default=[],
        description="Optional checks that this policy asks for; without that they are NotApplicable.",
        json_schema_extra=SET,
    )
    parameters: Annotated[dict[str, dict[str, Any]], Slot.PARAMETERS] = Field(
        default={},
        description="Parameters of checks, by check; looser than the account's floor has no effect.",
    )


class RequiredTag(Declared):
    """A tag that a resource in scope has."""

    key: Annotated[str, Field(min_length=1, max_length=128)] = Field(description="Key of the tag; case counts.")
    values: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=20)] = Field(
        default=[], description="Values of which it has one; unset means any value.", json_schema_extra=SET
    )


class Scope(Declared):
    """Which resources are judged."""

    tags: Annotated[list[RequiredTag], Field(min_length=1, max_length=10)] = Field(
        description="Tags that a resource must have, all of them; one without tags is outside.",
        json_schema_extra=list_type("map", "key"),
    )


class RemediationRules(Declared):
    """What the operator may do about failing checks."""

    constraints: ClassVar = (
        Constraint(
            rule="has(self.maxMonthlyCost) || !((has(self.mode) && self.mode == 'Apply')"
            " || (has(self.phases) && self.phases.exists(p, p.mode == 'Apply')))",
            message="mode Apply needs maxMonthlyCost, in dollars a month",
            holds=lambda self: self.max_monthly_cost is not None or Mode.APPLY not in self.modes,
            at="maxMonthlyCost",
            required=True,
        ),
    )

    mode: Mode = Field(
        default=Mode.OBSERVE,
        description="Observe (the default) only reports, Propose makes Remediations that wait for approval, "
        "Apply carries out what the account's rules permit.",
    )
    phases: Annotated[list[PhaseMode], Field(max_length=5)] = Field(
        default=[],
        description="Other modes for single phases; never beyond the account's allowedModes.",
        json_schema_extra=list_type("map", "phase"),
    )
    inputs: Annotated[dict[str, Any], Slot.INPUTS] = Field(
        default={},
        description="What remediations must know and cannot find out; one that lacks an input is Blocked.",
    )
    gating: Gating = Field(
        default=Gating.STRICT,
        description="Strict (the default): a phase waits for the applicable remediations of the phases before it; "
        "None: it does not.",
    )
    max_monthly_cost: Dollars | None = Field(
        default=None,
        description="Most dollars a month that all remediations of an account may add; required for mode Apply.",
    )
    max_concurrent_stacks: Annotated[int, Field(ge=1, le=20)] = Field(
        default=1, description="Changes that may be under way in one account at the same time; 1 unless set."
    )
    windows: Annotated[list[Window], Field(max_length=20)] = Field(
        default=[],
        description="When changes may begin; without an Allow window always, and a Deny window overrides.",
        json_schema_extra=ATOMIC,
    )
    allow_replacement: bool = Field(
        default=False,
        description="Whether an approved change may replace or remove a resource that holds data; false unless set.",
    )
    allow_api_steps: bool = Field(
        default=False,
        description="Whether an approved change may call an AWS API where CloudFormation cannot; false unless set.",
    )
    allow_owner_stack_updates: bool = Field(
        default=False,
        description="Whether an approved change may update a stack that the workload's owner made; false unless set.",
    )
    proposals: Proposals = Field(
        default=Proposals.OFFLINE,
        description="Offline (the default) renders proposals without AWS; ChangeSet makes change sets, "
        "which needs the remediation role.",
    )

    @property
    def modes(self) -> frozenset[Mode]:
        """Every mode that some phase is in."""
        return frozenset({self.mode, *(phase.mode for phase in self.phases)})

    def mode_of(self, phase: Phase) -> Mode:
        """The mode of one phase."""
        return next((entry.mode for entry in self.phases if entry.phase is phase), self.mode)


class ReadinessPolicySpec(Declared):
    """The desired level, and the way to it."""

    constraints: ClassVar = (
        Constraint(
            rule="has(self.accountRef) != has(self.accountSelector)",
            message="give either accountRef or accountSelector",
            holds=lambda self: (self.account_ref is None) != (self.account_selector is None),
        ),
    )

    account_ref: Reference | None = Field(default=None, description="The AWSAccount that is held to the level.")
    account_selector: LabelSelector | None = Field(
        default=None,
        description="Labels of the AWSAccounts that are held to the level, instead of accountRef; "
        "an empty selector means all.",
    )
    level: Phase = Field(
        description="Level the account must have, every check of that phase and of those before it passing: "
        "Foundation, Production, Stable, Hardened or Enterprise."
    )
    minimum_score: Percent | None = Field(
        default=None, description="Least score, 0 to 100, that counts as compliant; unset means any."
    )
    regions: Annotated[list[Region], Field(min_length=1, max_length=50)] | None = Field(
        default=None,
        description="Regions to inspect; unset means the account's regions, or every enabled region.",
        json_schema_extra=SET,
    )
    interval: Annotated[Duration, at_least(timedelta(minutes=5), "interval must be at least 5m")] = Field(
        default=timedelta(hours=1), description="Time between inspections, at least 5m; 1h unless set."
    )
    suspend: bool = Field(default=False, description="True stops every AWS call for this policy; false unless set.")
    checks: Checks = Field(default=Checks(), description="Which checks are judged, and how strictly.")
    scope: Scope | None = Field(
        default=None,
        description="Narrows the verdict to resources of workloads with these tags; facts about the account and its "
        "controls (trails, detectors, budgets, Auto Scaling groups ...) are always judged. Unset means every resource "
        "of the governed regions.",
    )
    recovery: Recovery = Field(default=Recovery(), description="What the workload needs after a disaster.")
    remediation: RemediationRules = Field(
        default=RemediationRules(), description="What the operator may do about failing checks."
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="What becomes of this policy's stacks when it is deleted: Retain (the default) or Delete.",
    )


Level = Literal["None", "Foundation", "Production", "Stable", "Hardened", "Enterprise"]
"""A level as a status shows it; None is below Foundation."""


class Counts(Observed):
    """How many checks have which status."""

    passed: Count = Field(
        default=0,
        validation_alias="pass",
        serialization_alias="pass",
        description="Checks that pass, those with waived failures included.",
    )
    failed: Count = Field(
        default=0, validation_alias="fail", serialization_alias="fail", description="Checks that fail."
    )
    unknown: Count = Field(default=0, description="Checks that could not be judged.")
    not_applicable: Count = Field(default=0, description="Checks that do not speak of this account.")
    disabled: Count = Field(default=0, description="Checks that the policy disables; in no other number.")
    waived: Count = Field(default=0, description="Passing checks that a waiver makes pass.")


class NextLevel(Observed):
    """The nearest level above the one reached."""

    level: Level = Field(description="The level.")
    missing: Annotated[list[Words], Field(max_length=200)] = Field(
        default=[], description="Checks that hold it back, gravest first.", json_schema_extra=ATOMIC
    )
    monthly_cost: Dollars | None = Field(
        default=None, description="Dollars a month that the proposed remediations towards it would add."
    )


class LastInspection(Observed):
    """Facts about one pass over an account."""

    id: Words = Field(description="Id of the inspection; logs carry it too.")
    started_at: Time = Field(description="When it began.")
    duration: Elapsed | None = Field(default=None, description="Seconds that it took, for example 4.2s.")
    calls: Count = Field(default=0, description="AWS requests made.")
    billed_calls: Count = Field(default=0, description="Requests among them that AWS bills.")


class PolicySummary(Observed):
    """What kubectl get prints."""

    account: Words | None = Field(default=None, description="Name of the account, or how many there are.")
    score: Words | None = Field(default=None, description="The score with one decimal, or a dash without one.")
    coverage: Words | None = Field(default=None, description="The coverage in percent with one decimal.")


class ReadinessPolicyStatus(Observed):
    """The short answer; of several accounts the worst."""

    observed_generation: ObservedGeneration = None
    last_handled_reconcile_at: Words | None = Field(
        default=None, description="The token of the last reconcile.passmuster.io/requestedAt that was handled."
    )
    accounts: Count | None = Field(default=None, description="How many accounts the policy governs.")
    summary: PolicySummary = Field(default=PolicySummary(), description="Texts that kubectl get prints.")
    level: Level | None = Field(default=None, description="The level reached; of several accounts the lowest.")
    score: Percent | None = Field(
        default=None, description="The score, 0 to 100; absent while too little is known; of several the lowest."
    )
    coverage: Percent | None = Field(
        default=None, description="Percent of the enabled checks that could be judged; of several accounts the lowest."
    )
    checks: Counts | None = Field(default=None, description="How many checks have which status; of several the sum.")
    critical_failing: Count | None = Field(default=None, description="How many Critical checks fail.")
    next: NextLevel | None = Field(default=None, description="The next level, and what is missing for it.")
    last_inspection: LastInspection | None = Field(
        default=None, description="The last inspection; of several accounts the oldest."
    )
    heartbeats: Annotated[dict[str, Time], Field(max_length=20)] = Field(
        default={},
        description="Last sign of life of the Alertmanager receivers that the policy's checks ask about, by name.",
    )
    probes: Annotated[dict[str, Time], Field(max_length=20)] = Field(
        default={},
        description="When the external probes that the policy's checks ask about last succeeded, by Prometheus job.",
    )
    conditions: Conditions = Field(default=[])


class ReadinessPolicy(CustomResource):
    """The level a team declares for an account, and how far it is."""

    definition: ClassVar = Definition(
        kind="ReadinessPolicy",
        plural="readinesspolicies",
        short="rp",
        scope="Namespaced",
        columns=(
            Column("Account", ".status.summary.account", "Which account?"),
            Column("Declared", ".spec.level", "Which level must it have?"),
            Column("Reached", ".status.level", "Which level does it have?"),
            Column("Score", ".status.summary.score", "How close is it, of 100?"),
            Column("Failing", ".status.checks.fail", "How many checks fail?", "integer"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Does the operator do its job for it?"),
            Column("Inspected", ".status.lastInspection.startedAt", "How old is the answer?", "date"),
            AGE,
            Column("Compliant", '.status.conditions[?(@.type=="Compliant")].status', "Is it as declared?", wide=True),
            Column("Coverage", ".status.summary.coverage", "How much of it could be judged?", wide=True),
            Column("Mode", ".spec.remediation.mode", "What may the operator do?", wide=True),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', "What does it say?", wide=True),
        ),
        selectable=(".spec.accountRef.name", ".spec.level"),
    )
    description: ClassVar = (
        "ReadinessPolicy declares the readiness level of an AWS account, and what the operator may do to reach it."
    )

    kind: Literal["ReadinessPolicy"] = "ReadinessPolicy"
    spec: ReadinessPolicySpec
    status: ReadinessPolicyStatus = ReadinessPolicyStatus()
