"""What waivers and attestations have in common: whom they are for, and what the operator says about them.

Used by `waiver` and `attestation`. Whether one counts is decided by assess (`grants`), and written here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from passmuster.api.conditions import Conditions
from passmuster.api.fields import ATOMIC, Count, Observed, ObservedGeneration, Sentence, Words
from passmuster.api.resource import AGE, Column, Definition
from passmuster.model.grant import Standing

POLICY_REF = "The ReadinessPolicy in the same namespace that it is for."
ACCOUNT_REF = "The AWSAccount that it is limited to; unset means every account of the policy."


class GrantSummary(Observed):
    """What kubectl get prints."""

    approved: Words | None = Field(default=None, description="Valid approvals of those needed, for example 1/2.")


class GrantStatus(Observed):
    """Whether it counts."""

    observed_generation: ObservedGeneration = None
    state: Standing | None = Field(
        default=None,
        description="InForce: it counts; AwaitingApproval, NotYet, Expired, NotAccepted or Unguarded: it does not.",
    )
    message: Sentence | None = Field(default=None, description="Why, and until when, as a sentence.")
    summary: GrantSummary = Field(default=GrantSummary(), description="Texts that kubectl get prints.")
    approved_by: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=20)] = Field(
        default=[], description="Who approved it, each once.", json_schema_extra=ATOMIC
    )
    findings: Count | None = Field(default=None, description="How many findings it changes now, of all accounts.")
    conditions: Conditions = Field(default=[])


def definition(kind: str, plural: str, short: str, *said: Column) -> Definition:
    """How a kind that grants something is served; `said` are the columns of what people say in it."""
    return Definition(
        kind=kind,
        plural=plural,
        short=short,
        scope="Namespaced",
        columns=(
            Column("Policy", ".spec.policyRef.name", "Which policy is it for?"),
            Column("Check", ".spec.check", "Which check does it speak of?"),
            Column("State", ".status.state", "Does it count?"),
            Column("Approved", ".status.summary.approved", "How many of the needed approvals are there?"),
            Column("Expires", ".spec.expiresAt", "When does it end?"),
            Column("Findings", ".status.findings", "How many findings does it change?", "integer"),
            AGE,
            Column("Account", ".spec.accountRef.name", "Which account is it limited to?", wide=True),
            *said,
            Column("Message", ".status.message", "What does it say?", wide=True),
        ),
        selectable=(".spec.policyRef.name", ".spec.check", ".status.state"),
    )
