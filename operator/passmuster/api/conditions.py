"""Conditions: what they are called, why they change, and the rules that every status we write obeys.

Used by the engine, which alone writes conditions, by the command line, which explains them, and by `problems`, which
the tests hold every written status against. The rules are those of kstatus:

- `Ready` is always there: the operator does its job for this object. It does not say that an account is compliant.
- `Reconciling`, `Stalled` and `ApprovalPolicyMissing` are there only while they are True.
- Every condition carries the generation it speaks of, and lastTransitionTime moves only when the status changes.
- Reasons are the constants below; the message is one sentence for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from passmuster.api.fields import Count, Observed, Sentence, Time, list_type


class ConditionType(StrEnum):
    """The conditions of our kinds."""

    READY = "Ready"
    """The operator does its job for this object."""
    RECONCILING = "Reconciling"
    """It is at work, or will try again by itself."""
    STALLED = "Stalled"
    """It waits until somebody changes something."""
    CREDENTIALS_VALID = "CredentialsValid"
    """The account answers with the configured role, and is the account that was named."""
    INSPECTED = "Inspected"
    """The account was inspected under the present spec."""
    COMPLIANT = "Compliant"
    """The level reached is at least the one declared, and the score at least the minimum."""
    REMEDIATION_PENDING = "RemediationPending"
    """There is a remediation that could still be carried out."""
    DRIFTED = "Drifted"
    """What was applied is not as it was made: a finding fails again, or others changed or deleted its stack."""
    EVIDENCE_STORED = "EvidenceStored"
    """What the last inspection found lies in the account's evidence store; absent where the account names none."""
    APPROVAL_POLICY_MISSING = "ApprovalPolicyMissing"
    """The admission policy of approvals is missing or altered: nothing is executed."""


ONLY_WHILE_TRUE = frozenset({ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.APPROVAL_POLICY_MISSING})
"""Conditions whose absence is the good news."""


class ConditionStatus(StrEnum):
    """The status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Who(StrEnum):
    """Who acts next on a reason."""

    NOBODY = "nobody"
    OPERATOR = "the operator, by itself"
    TEAM = "the team that owns the policy"
    PLATFORM = "the platform team that owns the AWSAccount"
    APPROVER = "somebody who may approve"
    CLUSTER = "whoever installed the operator"


class ConditionReason(StrEnum):
    """Why a condition has its status: `when` it is set, and `who` acts next."""

    when: str
    who: Who

    def __new__(cls, value: str, when: str, who: Who) -> ConditionReason:
        """A member that is its own name, with its contract."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.when = when
        member.who = who
        return member

    # the object as a whole
    SUCCEEDED = "Succeeded", "everything that the spec asks of the operator was done", Who.NOBODY
    PROGRESSING = "Progressing", "the first work on this generation is under way", Who.OPERATOR
    SUSPENDED = "Suspended", "spec.suspend is true: no AWS call is made", Who.TEAM
    INVALID_SPEC = "InvalidSpec", "the spec contradicts itself in a way the schema cannot see", Who.TEAM
    OPERATOR_ERROR = "OperatorError", "the operator met a defect of its own and tries again", Who.CLUSTER

    # the platform team's rules
    ACCOUNT_NOT_FOUND = "AccountNotFound", "no AWSAccount has the name in accountRef", Who.TEAM
    NO_ACCOUNT_SELECTED = "NoAccountSelected", "accountSelector matches no AWSAccount", Who.TEAM
    ACCOUNT_NOT_UNIQUE = "AccountNotUnique", "accountSelector matches several AWSAccounts of one account", Who.TEAM
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed", "the AWSAccount does not admit this namespace", Who.PLATFORM
    MODE_NOT_ALLOWED = "ModeNotAllowed", "the policy asks for a mode beyond the account's allowedModes", Who.PLATFORM
    REGION_NOT_ALLOWED = "RegionNotAllowed", "the policy names a region that the account does not list", Who.TEAM
    CHECK_DISABLED_WITHOUT_LEAVE = (
        "CheckDisabledWithoutLeave",
        "a disabled check is not in the account's mayDisable and counts against the level",
        Who.PLATFORM,
    )
    PARAMETER_RAISED_TO_FLOOR = (
        "ParameterRaisedToFloor",
        "a parameter was looser than the account's floor; the floor is used",
        Who.TEAM,
    )
    PAYER_ACCOUNT_NOT_FOUND = "PayerAccountNotFound", "no AWSAccount has the name in payerAccountRef", Who.PLATFORM

    # credentials
    IDENTITY_CONFIRMED = "IdentityConfirmed", "GetCallerIdentity answered with the account that was named", Who.NOBODY
    ASSUME_ROLE_DENIED = "AssumeRoleDenied", "there are no credentials, or the role may not be assumed", Who.PLATFORM
    ACCOUNT_MISMATCH = "AccountMismatch", "the credentials belong to another account than the one named", Who.PLATFORM
    ACCOUNT_UNREACHABLE = "AccountUnreachable", "no endpoint of the account answered", Who.OPERATOR
    WRONG_CREDENTIALS = "WrongCredentials", "a request with another account's key was stopped", Who.CLUSTER
    ACCOUNT_ERROR = "AccountError", "the account as a whole could not be inspected", Who.OPERATOR
    EXTERNAL_ID_MISSING = "ExternalIdMissing", "a role of another account is assumed without externalId", Who.PLATFORM
    NOT_USED = "NotUsed", "no policy uses the account, so its role was not tried", Who.NOBODY

    # inspection
    INSPECTION_COMPLETE = "InspectionComplete", "every read of the last inspection succeeded", Who.NOBODY
    PARTIAL_INSPECTION = "PartialInspection", "some reads were refused or failed; the message names them", Who.PLATFORM
    THROTTLED = "Throttled", "AWS throttled reads until the deadline; they are read next time", Who.OPERATOR
    INSPECTION_FAILED = "InspectionFailed", "nothing of the account could be judged", Who.OPERATOR
    NOT_INSPECTED = "NotInspected", "the account was not inspected yet", Who.OPERATOR

    # the evidence store
    EVIDENCE_KEPT = "EvidenceKept", "the full report lies in the account's evidence store", Who.NOBODY
    EVIDENCE_STORE_DENIED = (
        "EvidenceStoreDenied",
        "the evidence role may not be assumed, or may not put objects under the prefix",
        Who.PLATFORM,
    )
    EVIDENCE_STORE_UNREACHABLE = (
        "EvidenceStoreUnreachable",
        "the evidence store did not take the report; it is tried again at the next inspection",
        Who.OPERATOR,
    )
    EVIDENCE_FOLDER_MISSING = (
        "EvidenceFolderMissing",
        "the account names a folder and the operator runs without --evidence-dir, or cannot write there",
        Who.CLUSTER,
    )

    # compliance
    LEVEL_REACHED = "LevelReached", "the level reached is at least the one declared", Who.NOBODY
    CHECKS_FAILING = "ChecksFailing", "checks within the declared level fail", Who.TEAM
    CHECKS_DISABLED = "ChecksDisabled", "checks within the level are disabled without the account's leave", Who.TEAM
    CHECKS_UNKNOWN = "ChecksUnknown", "checks within the level could not be judged", Who.PLATFORM
    SCORE_BELOW_MINIMUM = "ScoreBelowMinimum", "the score is below minimumScore", Who.TEAM
    NO_SCORE = "NoScore", "too little is known for a score, and minimumScore asks for one", Who.PLATFORM
    NOTHING_JUDGED = "NothingJudged", "no check of the level applies to the account", Who.TEAM

    # remediations
    NOTHING_PENDING = "NothingPending", "no remediation is left to carry out", Who.NOBODY
    PROPOSED = "Proposed", "remediations are proposed; none waits for an approval", Who.TEAM
    AWAITING_APPROVAL = "AwaitingApproval", "too few valid approvals of what is there now", Who.APPROVER
    APPROVED = "Approved", "enough valid approvals; it is carried out when its turn comes", Who.OPERATOR
    OUTSIDE_WINDOW = "OutsideWindow", "no window is open now", Who.OPERATOR
    AWAITING_PHASE = "AwaitingPhase", "gating Strict: remediations of an earlier phase come first", Who.OPERATOR
    AWAITING_REQUIREMENT = "AwaitingRequirement", "what the remediation requires does not hold yet", Who.OPERATOR
    AWAITING_TURN = "AwaitingTurn", "maxConcurrentStacks changes are under way", Who.OPERATOR
    COST_CAP_EXCEEDED = "CostCapExceeded", "it would take the month's cost beyond maxMonthlyCost", Who.TEAM
    INPUT_MISSING = "InputMissing", "an input it needs is not in spec.remediation.inputs", Who.TEAM
    CLOUDFORMATION_UNREACHABLE = "CloudFormationUnreachable", "CloudFormation did not answer", Who.OPERATOR
    LEVEL_FELL = "LevelFell", "after the change the account is at a lower level than before", Who.TEAM
    FACT_MISSING = "FactMissing", "the account does not tell what the change must know", Who.TEAM
    PORT_NOT_ADMITTED = (
        "PortNotAdmitted",
        "a security group or a network ACL keeps the world from a port that the change relies on",
        Who.TEAM,
    )
    ZONE_NOT_FOUND = "ZoneNotFound", "no public hosted zone of the account covers the domain", Who.TEAM
    ZONE_NOT_DELEGATED = "ZoneNotDelegated", "nothing proves that the domain is delegated to its zone", Who.TEAM
    ZONE_UNREADABLE = "ZoneUnreadable", "the hosted zones could not be read", Who.PLATFORM
    REMEDIATION_DENIED = "RemediationDenied", "the remediation role may not do what the change needs", Who.PLATFORM
    CLOUDFORMATION_REFUSED = "CloudFormationRefused", "CloudFormation refused a request", Who.TEAM
    REMEDIATION_ROLE_MISSING = "RemediationRoleMissing", "the AWSAccount has no remediationRoleArn", Who.PLATFORM
    API_STEPS_NOT_ALLOWED = "ApiStepsNotAllowed", "the change is an API step and allowApiSteps is false", Who.TEAM
    OWNER_STACK_NOT_ALLOWED = (
        "OwnerStackUpdateNotAllowed",
        "the resource belongs to a stack of its owner and allowOwnerStackUpdates is false",
        Who.TEAM,
    )
    REPLACEMENT_NOT_ALLOWED = "ReplacementNotAllowed", "it would replace or remove a resource that holds data", Who.TEAM
    NOT_EXECUTABLE = "NotExecutable", "its way is a patch or a guide: a person carries it out", Who.TEAM
    OWNER_UNREAD = "OwnerUnread", "who owns the resource could not be read; nothing is changed without it", Who.PLATFORM
    OWNER_STACK_UNFIT = (
        "OwnerStackUnfit",
        "the owner's stack may not be updated by others than its owner; the message says why",
        Who.TEAM,
    )
    ADOPTION_REFUSED = "AdoptionRefused", "the resource cannot be imported as it is; the message says why", Who.TEAM
    VALUE_CHANGED = "ValueChanged", "somebody else changed the value; nothing of theirs is overwritten", Who.TEAM
    API_STEP_REFUSED = "ApiStepRefused", "AWS refused the call of an API step", Who.TEAM
    API_STEP_UNREACHABLE = "ApiStepUnreachable", "the service of an API step did not answer", Who.OPERATOR
    AWAITING_RESOURCE = "AwaitingResource", "the resource is being changed by somebody; it is waited for", Who.OPERATOR
    NEWLY_FAILING = "NewlyFailing", "after the change findings fail that did not fail before", Who.TEAM
    FAILS_AGAIN = "FailsAgain", "a finding that the applied change had fixed fails again", Who.TEAM
    WOULD_CHANGE_MORE = "WouldChangeMore", "the change set holds more than the approved intent", Who.TEAM
    NOT_OURS = "NotOurs", "a stack of that name exists and is not of this policy and cluster", Who.PLATFORM
    CHANGE_SET_EMPTY = "ChangeSetEmpty", "AWS sees nothing to change, though the check fails", Who.TEAM
    CHANGE_SET_FAILED = "ChangeSetFailed", "AWS refused to make the change set", Who.TEAM
    CHANGE_SET_READY = "ChangeSetReady", "the change set was read back and equals the intent", Who.OPERATOR
    EXECUTING = "Executing", "AWS makes the change", Who.OPERATOR
    SETTLING = "Settling", "the change is made; the check passes only after a while", Who.OPERATOR
    VERIFYING = "Verifying", "the change is made and its checks are judged again", Who.OPERATOR
    VERIFIED = "Verified", "every finding that the intent names passes", Who.NOBODY
    STILL_FAILING = "StillFailing", "the change was made and a finding still fails past its deadline", Who.TEAM
    STACK_ROLLED_BACK = "StackRolledBack", "AWS rolled the stack back; the account is as before", Who.TEAM
    STACK_FAILED = "StackFailed", "the stack is in a state that only a person can resolve", Who.TEAM
    SUPERSEDED = "Superseded", "what it would fix is fixed, or another remediation fixes it", Who.NOBODY
    UNDOING = "Undoing", "an approved undo is under way", Who.OPERATOR
    UNDONE = "Undone", "an approved undo took the change back", Who.NOBODY
    STACK_DRIFTED = "StackDrifted", "AWS reports that a stack of ours was changed by others", Who.TEAM
    IN_PLACE = "InPlace", "what was applied is as it was made", Who.NOBODY

    # waivers and attestations
    IN_FORCE = "InForce", "the waiver or attestation is approved and counts", Who.NOBODY
    WAIVER_EXPIRES_SOON = "WaiverExpiresSoon", "the waiver counts and ends within 14 days", Who.TEAM
    ATTESTATION_EXPIRES_SOON = "AttestationExpiresSoon", "the attestation counts and ends within 14 days", Who.TEAM
    WAIVER_EXPIRED = "WaiverExpired", "the waiver has ended; the failures count again", Who.TEAM
    ATTESTATION_EXPIRED = "AttestationExpired", "the attestation has ended; the check is judged without it", Who.TEAM
    NOT_YET_ISSUED = "NotYetIssued", "the attestation is issued at a time that has not come", Who.TEAM
    NOT_ACCEPTED = "NotAccepted", "the check does not exist, or takes no attestation of that length", Who.TEAM
    POLICY_NOT_FOUND = "PolicyNotFound", "no ReadinessPolicy of the namespace has the name in policyRef", Who.TEAM
    NOT_GOVERNED = "NotGoverned", "the policy does not govern the account that the object is about", Who.TEAM
    APPROVALS_UNGUARDED = "ApprovalsUnguarded", "the admission policy of approvals is missing or altered", Who.CLUSTER

    # scope
    SCOPE_EMPTY = "ScopeEmpty", "no resource has the tags of spec.scope, so there is nothing to comply with", Who.TEAM
    SCOPE_UNREADABLE = "ScopeUnreadable", "the tags that spec.scope goes by could not be read", Who.PLATFORM

    # the cluster
    POLICY_MISSING = "PolicyMissing", "the admission policy of approvals or its binding does not exist", Who.CLUSTER
    POLICY_ALTERED = "PolicyAltered", "the admission policy of approvals differs from the shipped one", Who.CLUSTER


REASONS = {str(reason): reason for reason in ConditionReason}
"""Every reason by its word."""


class Condition(Observed):
    """One observation about an object, in the shape of Kubernetes' own conditions."""

    type: ConditionType = Field(description="What is observed.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: Count = Field(
        default=0, description="The metadata.generation of the object that the condition speaks of."
    )
    last_transition_time: Time = Field(description="When the status last changed.")
    reason: Annotated[str, Field(max_length=128, json_schema_extra={"pattern": "^[A-Z][A-Za-z0-9]*$"})] = Field(
        description="Why, as one word of a fixed list."
    )
    message: Sentence = Field(description="Why, as a sentence.")


Conditions = Annotated[
    list[Condition],
    Field(
        max_length=16,
        description="What the operator observes; Ready is always among them.",
        json_schema_extra=list_type("map", "type"),
    ),
]


def stored_conditions(status: Mapping[str, Any]) -> list[Condition]:
    """The conditions of a status as it is stored."""
    return [Condition.model_validate(condition) for condition in status.get("conditions") or ()]


def conditions_document(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """The member `conditions` of a status."""
    return [condition.model_dump(mode="json", by_alias=True) for condition in conditions]


def get(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """The condition of that type."""
    return next((condition for condition in conditions if condition.type is kind), None)


def says(conditions: Iterable[Condition], reason: str) -> bool:
    """Whether a condition is there for this reason."""
    return any(condition.reason == reason for condition in conditions)


def set_condition(
    conditions: Sequence[Condition],
    kind: ConditionType,
    status: ConditionStatus | bool | None,
    reason: str,
    message: str,
    generation: int,
    now: datetime,
) -> list[Condition]:
    """The conditions with this one set; None is Unknown, and `reason` is a ConditionReason or its word.

    lastTransitionTime moves only when the status changes. What is there only while True is removed when it is not.
    """
    status = _status(status)
    if kind in ONLY_WHILE_TRUE and status is not ConditionStatus.TRUE:
        return [condition for condition in conditions if condition.type is not kind]
    before = get(conditions, kind)
    made = Condition(
        type=kind,
        status=status,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and before.status is status else now,
        reason=str(reason),
        message=message,
    )
    if before is None:
        return [*conditions, made]
    return [made if condition.type is kind else condition for condition in conditions]


def _status(status: ConditionStatus | bool | None) -> ConditionStatus:
    if isinstance(status, ConditionStatus):
        return status
    return {True: ConditionStatus.TRUE, False: ConditionStatus.FALSE, None: ConditionStatus.UNKNOWN}[status]


_CAMEL = re.compile(r"[A-Z][A-Za-z0-9]*")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def problems(status: Mapping[str, Any], generation: int) -> list[str]:
    """What is wrong with a status as it is written (camelCase, JSON), each as a sentence; empty when nothing is.

    `generation` is the object's metadata.generation at the time of writing.
    """
    return list(_problems(status, generation))


def _problems(status: Mapping[str, Any], generation: int) -> Iterator[str]:
    if status.get("observedGeneration") != generation:
        yield f"status.observedGeneration is {status.get('observedGeneration')}, the generation is {generation}"
    conditions = list(status.get("conditions") or [])
    kinds = [str(condition.get("type")) for condition in conditions]
    yield from (f"{kind} is there more than once" for kind in sorted({k for k in kinds if kinds.count(k) > 1}))
    by_type = {str(condition.get("type")): condition for condition in conditions}
    ready = by_type.get(ConditionType.READY)
    if ready is None:
        yield "Ready is missing"
    elif ready.get("observedGeneration") != generation:
        yield f"Ready speaks of generation {ready.get('observedGeneration')}, not of {generation}"
    for kind, condition in by_type.items():
        yield from (f"{kind}: {fault}" for fault in _faults(kind, condition, generation))
    yield from _contradictions({kind: str(condition.get("status")) for kind, condition in by_type.items()})


def _faults(kind: str, condition: Mapping[str, Any], generation: int) -> Iterator[str]:
    status, reason = condition.get("status"), str(condition.get("reason") or "")
    observed = condition.get("observedGeneration")
    if kind not in list(ConditionType):
        yield "no such condition type"
    if status not in list(ConditionStatus):
        yield f"the status {status!r} is not True, False or Unknown"
    if kind in ONLY_WHILE_TRUE and status != ConditionStatus.TRUE:
        yield f"it is {status}; it must be absent unless True"
    if not isinstance(observed, int) or not 0 < observed <= generation:
        yield f"observedGeneration is {observed}, which is no generation up to {generation}"
    if _MOMENT.fullmatch(str(condition.get("lastTransitionTime"))) is None:
        yield f"lastTransitionTime is {condition.get('lastTransitionTime')!r}, not a moment in UTC"
    if _CAMEL.fullmatch(reason) is None:
        yield f"the reason {reason!r} is not CamelCase"
    elif reason not in REASONS:
        yield f"the reason {reason} is not in the list of reasons"
    yield from _not_a_sentence(condition.get("message"))


def begins_well(message: str) -> bool:
    """With a capital letter, a number, or a name that is written as it is: `arn:…`, `spec.level:`."""
    first = message[:1]
    return first.isupper() or first.isdigit() or ":" in message.partition(" ")[0]


def _not_a_sentence(message: object) -> Iterator[str]:
    if not isinstance(message, str) or not message.strip():
        yield "the message is empty"
    elif message != message.strip() or "\n" in message or not begins_well(message):
        yield f"the message is not one sentence that begins with a capital letter or a number: {message!r}"
    elif " " not in message:
        yield f"the message is a word, not a sentence: {message!r}"
    elif "Traceback" in message or "object at 0x" in message:
        yield "the message is for programmers, not for people"


def _contradictions(statuses: Mapping[str, str]) -> Iterator[str]:
    if ConditionType.RECONCILING in statuses and ConditionType.STALLED in statuses:
        yield "Reconciling and Stalled: the operator either tries again or waits for somebody"
    for kind in (ConditionType.RECONCILING, ConditionType.STALLED):
        if kind in statuses and statuses.get(ConditionType.READY) == ConditionStatus.TRUE:
            yield f"Ready is True beside {kind}"
