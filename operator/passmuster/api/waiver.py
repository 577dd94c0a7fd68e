"""ReadinessWaiver: failures of one check that somebody accepts until a date, and who agreed to it.

Written by people. Its own kind, so that RBAC decides who may grant one; nothing of it changes once it is made but its
approvals, so that what was approved is what counts. Read by the engine and by the command line.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from passmuster.api import grant
from passmuster.api.approval import Signatures
from passmuster.api.fields import SET, CheckId, Declared, Moment, Reference, unchanged
from passmuster.api.resource import Column, CustomResource

IMMUTABLE = unchanged(
    "a waiver stays as it was approved: delete it and create another",
    required=("policyRef", "check", "reason", "expiresAt"),
    optional=("accountRef", "resources"),
)


class ReadinessWaiverSpec(Declared):
    """What is accepted, why, and until when."""

    constraints: ClassVar = (IMMUTABLE,)

    policy_ref: Reference = Field(description=grant.POLICY_REF)
    account_ref: Reference | None = Field(default=None, description=grant.ACCOUNT_REF)
    check: CheckId = Field(description="Check whose failures are accepted; what is Unknown cannot be waived.")
    resources: Annotated[list[Annotated[str, Field(min_length=1, max_length=2048)]], Field(max_length=50)] = Field(
        default=[],
        description="ARNs or ids whose failures are accepted, with * for any text and ? for one character; "
        "unset means every resource of the check.",
        json_schema_extra=SET,
    )
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="Why the failures are accepted.")
    expires_at: Moment = Field(
        description="When the waiver ends and the failures count again, for example 2027-03-31T00:00:00Z."
    )
    approvals: Signatures = Field(default=[])


class ReadinessWaiver(CustomResource):
    """Accepted failures of one check."""

    definition: ClassVar = grant.definition(
        "ReadinessWaiver",
        "readinesswaivers",
        "rw",
        Column("Reason", ".spec.reason", "Why are the failures accepted?", wide=True),
    )
    description: ClassVar = (
        "ReadinessWaiver accepts failures of one check until a date, once it is approved: one approval, "
        "or two by different people for a Critical check."
    )

    kind: Literal["ReadinessWaiver"] = "ReadinessWaiver"
    spec: ReadinessWaiverSpec
    status: grant.GrantStatus = grant.GrantStatus()
