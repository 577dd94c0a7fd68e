"""ReadinessReport: the long answer for one policy and one account. Written by the engine alone.

The object is a digest: at most ten findings of a check and 256 KiB in all. From its status the metrics are rebuilt
after a restart, and billed observations survive it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from passmuster.api.conditions import Conditions, ConditionStatus
from passmuster.api.fields import (
    ATOMIC,
    AccountId,
    Constraint,
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
    Sentence,
    Time,
    Words,
    list_type,
)
from passmuster.api.policy import Counts, LastInspection, Level
from passmuster.api.resource import AGE, Column, CustomResource, Definition
from passmuster.model.grant import Standing
from passmuster.model.verdict import Category, Phase, Reason, Severity, Status

MOST_FINDINGS = 10
"""Findings of one check that a report shows; `truncated` says how many more there are."""

MOST_RESOURCES = 50
"""Resources that appeared or are gone that a report shows; a count says how many more there are."""


MOST_GRANTS = 100
"""Waivers, and attestations, that a report shows."""


class ReadinessReportSpec(Declared):
    """Whose report it is."""

    policy_ref: Reference = Field(description="The ReadinessPolicy in the same namespace.")
    account_id: AccountId = Field(description="The twelve digits of the account.")


class CategoryResult(Counts):
    """One chapter of the catalogue."""

    name: Category = Field(description="The category.")
    score: Percent | None = Field(default=None, description="The category's own score, 0 to 100, where there is one.")


class PhaseResult(Observed):
    """One step of readiness."""

    name: Phase = Field(description="The phase.")
    complete: Percent | None = Field(
        default=None, description="Percent of the phase's enabled checks that pass or are not applicable."
    )
    score: Percent | None = Field(default=None, description="The phase's own score, 0 to 100, where there is one.")
    missing: Annotated[list[Words], Field(max_length=200)] = Field(
        default=[], description="Checks that hold the phase back, gravest first.", json_schema_extra=ATOMIC
    )


class FindingResult(Observed):
    """The answer of a check for one resource."""

    status: Status = Field(description="Pass, Fail, Unknown or NotApplicable.")
    region: Words | None = Field(default=None, description="Region of the resource.")
    resource: Identifier = Field(description="ARN or id of the resource, or the account id.")
    reason: Reason | None = Field(default=None, description="Why the finding is Unknown or NotApplicable.")
    message: Sentence = Field(description="The finding as a sentence.")
    warnings: Annotated[list[Sentence], Field(max_length=20)] = Field(
        default=[], description="What will become a failure unless somebody acts.", json_schema_extra=ATOMIC
    )
    waived_by: Words | None = Field(default=None, description="Name of the waiver that accepts the failure.")
    attested_by: Words | None = Field(default=None, description="Name of the attestation that stands in for evidence.")
    observed: Sentence | None = Field(default=None, description="What was seen.")
    expected: Sentence | None = Field(default=None, description="What would pass.")
    source: Words | None = Field(default=None, description="The AWS operation that was read, as service:Operation.")
    observed_at: Time | None = Field(default=None, description="When it was read.")


class CheckVerdict(Observed):
    """One check's verdict."""

    id: Id = Field(description="Id of the check.")
    status: Status = Field(description="Pass, Fail, Unknown or NotApplicable.")
    category: Category = Field(description="Category of the check.")
    phase: Phase = Field(description="Phase of the check.")
    severity: Severity = Field(description="How much a failure matters.")
    since: Time | None = Field(default=None, description="When the check first had this status without interruption.")
    disabled: bool = Field(default=False, description="Whether the policy disables the check.")
    disabled_with_leave: bool = Field(
        default=False, description="Whether it does so with the account's leave, and the check holds no level back."
    )
    waived: Count = Field(default=0, description="How many of its failures are waived.")
    remediation: Words | None = Field(default=None, description="Name of the Remediation that would make it pass.")
    findings: Annotated[list[FindingResult], Field(max_length=MOST_FINDINGS)] = Field(
        default=[], description="Findings, at most ten, gravest first.", json_schema_extra=ATOMIC
    )
    truncated: Count = Field(default=0, description="How many more findings there are.")
    counts: Annotated[dict[str, Count], Field(max_length=4)] = Field(
        default={}, description="How many findings have which status, those that are not shown included."
    )


class PlanStep(Observed):
    """One remediation of the plan, and where it would lead."""

    remediation: Words = Field(description="Name of the remediation.")
    phase: Phase = Field(description="Phase of the remediation.")
    fixes: Annotated[list[Words], Field(max_length=50)] = Field(
        default=[], description="Checks that it makes pass.", json_schema_extra=ATOMIC
    )
    monthly_cost: Dollars | None = Field(default=None, description="Dollars a month that it adds.")
    unpriced: Annotated[list[Words], Field(max_length=50)] = Field(
        default=[], description="What depends on usage and is not in monthlyCost.", json_schema_extra=ATOMIC
    )
    risk: Words | None = Field(default=None, description="Low, Medium or High.")
    interrupts: Sentence | None = Field(default=None, description="What it interrupts, or nothing.")
    level_after: Level | None = Field(default=None, description="Level after this and all steps before it.")
    score_after: Percent | None = Field(default=None, description="Score after this and all steps before it.")
    blocked: Sentence | None = Field(default=None, description="Why it cannot be carried out yet.")


class RefusedRead(Observed):
    """A read that did not succeed."""

    call: Words = Field(description="The AWS operation, as service:Operation.")
    action: Words = Field(description="The IAM action that permits it.")
    region: Words = Field(description="Region of the request.")
    reason: Reason = Field(description="Why there was no complete answer.")
    code: Words = Field(description="Error code of AWS or of the transport.")
    checks: Annotated[list[Words], Field(max_length=200)] = Field(
        default=[], description="Checks that are Unknown because of it.", json_schema_extra=ATOMIC
    )


class BilledObservation(Observed):
    """An answer that AWS billed, kept so that a restart does not ask again."""

    call: Words = Field(description="The AWS operation, as service:Operation.")
    region: Words = Field(description="Region of the request.")
    request: Annotated[
        Any, Field(json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    ] = Field(default=None, description="Parameters of the request.")
    observed_at: Time = Field(description="When it was answered.")
    rows: Annotated[
        list[Annotated[Any, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]],
        Field(max_length=2000),
    ] = Field(default=[], description="The kept fields of the answer.", json_schema_extra=ATOMIC)


class PreviousInspection(Observed):
    """The inspection before the last change, in figures."""

    id: Words = Field(description="Id of that inspection.")
    started_at: Time = Field(description="When it began.")
    declared: Level | None = Field(default=None, description="The level that the policy declared then.")
    level: Level | None = Field(default=None, description="The level reached then.")
    score: Percent | None = Field(default=None, description="The score then, 0 to 100, where there was one.")
    coverage: Percent | None = Field(default=None, description="Percent of the enabled checks judged then.")
    critical_failing: Count | None = Field(default=None, description="How many Critical checks failed then.")
    counts: Counts | None = Field(default=None, description="How many checks had which status then.")
    catalogue_version: Words | None = Field(default=None, description="Version of the catalogue then.")
    checks: Annotated[dict[str, Words], Field(max_length=200)] = Field(
        default={}, description="Status of every check then, by its id; Disabled where the policy disabled it."
    )


class ChangedCheck(Observed):
    """A check whose verdict changed."""

    id: Id = Field(description="Id of the check.")
    before: Words = Field(description="Its status before; Disabled, or Absent where the catalogue did not have it.")
    after: Words = Field(description="Its status after; Disabled, or Absent.")


class ChangedResource(Observed):
    """A resource that findings name on one side of the change only."""

    check: Id = Field(description="The first check that names it.")
    region: Words | None = Field(default=None, description="Region of the resource.")
    resource: Identifier = Field(description="ARN or id of the resource.")


class LastChange(Observed):
    """What changed at the last inspection that found something changed."""

    found_at: Time = Field(description="When the inspection that found it began.")
    level_after: Level | None = Field(default=None, description="The level reached after the change.")
    score_after: Percent | None = Field(default=None, description="The score after the change, where there is one.")
    checks: Annotated[list[ChangedCheck], Field(max_length=200)] = Field(
        default=[], description="Checks whose verdict changed.", json_schema_extra=ATOMIC
    )
    appeared: Annotated[list[ChangedResource], Field(max_length=MOST_RESOURCES)] = Field(
        default=[],
        description="Resources that findings name now and did not before, at most fifty.",
        json_schema_extra=ATOMIC,
    )
    more_appeared: Count = Field(default=0, description="How many more appeared.")
    gone: Annotated[list[ChangedResource], Field(max_length=MOST_RESOURCES)] = Field(
        default=[], description="Resources that findings no longer name, at most fifty.", json_schema_extra=ATOMIC
    )
    more_gone: Count = Field(default=0, description="How many more are gone.")


class StoredEvidence(Observed):
    """The last full report in the account's evidence store."""

    uri: Identifier = Field(description="Where the report lies: an s3:// address, or a path below the folder.")
    sha256: Digest = Field(description="Digest of its bytes.")
    content: Digest = Field(description="Digest of what it says, times apart; it is stored again when that changes.")
    inspection: Words = Field(description="Id of the inspection that it is of.")
    stored_at: Time = Field(description="When it was stored.")


class GrantResult(Observed):
    """A waiver or an attestation of the policy and account, and whether it counts."""

    name: Words = Field(description="Name of the object.")
    check: Id = Field(description="Check that it speaks of.")
    state: Standing = Field(description="InForce, AwaitingApproval, NotYet, Expired, NotAccepted or Unguarded.")
    message: Sentence = Field(description="Why it counts or does not, and until when.")
    approved_by: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=20)] = Field(
        default=[], description="Who approved it.", json_schema_extra=ATOMIC
    )
    approvals_needed: Count = Field(default=1, description="How many different people must approve it.")
    expires_at: Time = Field(description="When it ends.")
    expiring: bool = Field(default=False, description="Whether it counts and ends within 14 days.")
    findings: Count = Field(default=0, description="How many findings it changes.")


class WaiverResult(GrantResult):
    """A waiver."""

    reason: Sentence = Field(description="Why the failures are accepted.")
    resources: Annotated[list[Identifier], Field(max_length=50)] = Field(
        default=[], description="Resources that it covers; none means every resource.", json_schema_extra=ATOMIC
    )


class AttestationResult(GrantResult):
    """An attestation."""

    statement: Sentence = Field(description="What is attested.")
    uri: Identifier = Field(description="Where people find the evidence.")
    sha256: Words | None = Field(default=None, description="SHA-256 of the evidence.")
    owner: Words = Field(description="Who answers for the statement.")
    issued_at: Time = Field(description="When it was attested.")


class RaisedParameter(Observed):
    """A parameter of the policy that was looser than the account allows."""

    check: Id = Field(description="Id of the check.")
    parameter: Words = Field(description="Name of the parameter.")
    asked: Words = Field(description="What the policy asked for.")
    floor: Words = Field(description="The account's floor, which is used.")


class Compliance(Observed):
    """Whether this account is as the policy declares it."""

    status: ConditionStatus = Field(description="True, False or Unknown, as in the policy's condition Compliant.")
    reason: Words | None = Field(default=None, description="Why, as one word.")
    message: Sentence | None = Field(default=None, description="Why, as a sentence.")


class ReportSummary(Observed):
    """What kubectl get prints."""

    score: Words | None = Field(default=None, description="The score with one decimal, or a dash without one.")
    coverage: Words | None = Field(default=None, description="The coverage in percent with one decimal.")


class ReadinessReportStatus(Observed):
    """Everything that was found."""

    observed_generation: ObservedGeneration = None
    catalogue_version: Words | None = Field(default=None, description="Version of the catalogue of checks.")
    summary: ReportSummary = Field(default=ReportSummary(), description="Texts that kubectl get prints.")
    declared: Level | None = Field(default=None, description="The level that the policy declared.")
    level: Level | None = Field(default=None, description="The level reached.")
    score: Percent | None = Field(default=None, description="The score, 0 to 100; absent while too little is known.")
    coverage: Percent | None = Field(default=None, description="Percent of the enabled checks that could be judged.")
    counts: Counts | None = Field(default=None, description="How many checks have which status.")
    critical_failing: Count | None = Field(default=None, description="How many Critical checks fail.")
    regions: Annotated[list[Words], Field(max_length=50)] = Field(
        default=[], description="Regions that were inspected.", json_schema_extra=ATOMIC
    )
    categories: Annotated[list[CategoryResult], Field(max_length=20)] = Field(
        default=[], description="Scores by category.", json_schema_extra=list_type("map", "name")
    )
    phases: Annotated[list[PhaseResult], Field(max_length=5)] = Field(
        default=[], description="Progress by phase.", json_schema_extra=list_type("map", "name")
    )
    checks: Annotated[list[CheckVerdict], Field(max_length=200)] = Field(
        default=[], description="Verdicts, check by check.", json_schema_extra=list_type("map", "id")
    )
    waivers: Annotated[list[WaiverResult], Field(max_length=MOST_GRANTS)] = Field(
        default=[], description="Waivers of the policy and account.", json_schema_extra=ATOMIC
    )
    attestations: Annotated[list[AttestationResult], Field(max_length=MOST_GRANTS)] = Field(
        default=[], description="Attestations of the policy and account.", json_schema_extra=ATOMIC
    )
    raised: Annotated[list[RaisedParameter], Field(max_length=500)] = Field(
        default=[], description="Parameters that were looser than the account's floors.", json_schema_extra=ATOMIC
    )
    plan: Annotated[list[PlanStep], Field(max_length=500)] = Field(
        default=[], description="Remediations in the order they would be carried out.", json_schema_extra=ATOMIC
    )
    inspection: LastInspection | None = Field(default=None, description="The inspection that this report is of.")
    refusals: Annotated[list[RefusedRead], Field(max_length=500)] = Field(
        default=[], description="Reads that did not succeed.", json_schema_extra=ATOMIC
    )
    compliance: Compliance | None = Field(
        default=None, description="Whether the level reached is at least the one declared, and the score high enough."
    )
    previous: PreviousInspection | None = Field(
        default=None, description="The inspection before the last change, in figures."
    )
    changes: LastChange | None = Field(default=None, description="What changed since that inspection.")
    evidence: StoredEvidence | None = Field(
        default=None, description="The last full report in the account's evidence store, where there is one."
    )
    billed: Annotated[list[BilledObservation], Field(max_length=500)] = Field(
        default=[],
        description="Answers that AWS billed and that are not asked for again yet.",
        json_schema_extra=ATOMIC,
    )
    conditions: Conditions = Field(default=[])


class ReadinessReport(CustomResource):
    """What was found in one account under one policy."""

    definition: ClassVar = Definition(
        kind="ReadinessReport",
        plural="readinessreports",
        short="rr",
        scope="Namespaced",
        columns=(
            Column("Account", ".spec.accountId", "Which account?"),
            Column("Level", ".status.level", "Which level does it have?"),
            Column("Score", ".status.summary.score", "How close is it, of 100?"),
            Column("Coverage", ".status.summary.coverage", "How much of it could be judged, in percent?"),
            Column("Failing", ".status.counts.fail", "How many checks fail?", "integer"),
            Column("Inspected", ".status.inspection.startedAt", "How old is the answer?", "date"),
            AGE,
            Column("Policy", ".spec.policyRef.name", "Under which policy?", wide=True),
            Column("Critical", ".status.criticalFailing", "How many Critical checks fail?", "integer", wide=True),
        ),
        selectable=(".spec.accountId", ".spec.policyRef.name"),
    )
    description: ClassVar = (
        "ReadinessReport is what the operator found in one account under one policy: verdicts, evidence and the plan."
    )

    kind: Literal["ReadinessReport"] = "ReadinessReport"
    spec: Annotated[
        ReadinessReportSpec,
        Constraint(
            rule="self == oldSelf",
            message="a report stays with its policy and account: delete it and the operator writes another",
        ),
    ]
    status: ReadinessReportStatus = ReadinessReportStatus()
