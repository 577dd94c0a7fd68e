"""ReadinessAttestation: what people answer to a check that AWS cannot answer, with the evidence for it and an end.

Written by people; nothing of it changes once it is made but its approvals. How long one lasts at most is declared by
the check and put into the schema from the catalogue (`Slot.ATTESTATION`). Read by the engine and the command line.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from passmuster.api import grant
from passmuster.api.approval import Signatures
from passmuster.api.fields import (
    AttestableCheckId,
    Constraint,
    Declared,
    Moment,
    Reference,
    Sha256,
    Slot,
    unchanged,
)
from passmuster.api.resource import Column, CustomResource

IMMUTABLE = unchanged(
    "an attestation stays as it was approved: delete it and create another",
    required=("policyRef", "check", "statement", "evidence", "owner", "issuedAt", "expiresAt"),
    optional=("accountRef",),
)


class AttestedEvidence(Declared):
    """Where the proof is, and what it was."""

    uri: Annotated[str, Field(min_length=1, max_length=2048)] = Field(
        description="Where people find the evidence; the operator never opens it."
    )
    sha256: Sha256 = Field(description="SHA-256 of the evidence as it was when it was attested, 64 hexadecimal digits.")


class ReadinessAttestationSpec(Declared):
    """What is attested, by whom, and from when until when."""

    constraints: ClassVar = (
        IMMUTABLE,
        Constraint(
            rule="self.expiresAt > self.issuedAt",
            message="an attestation expires after it is issued",
            holds=lambda self: self.expires_at > self.issued_at,
            at="expiresAt",
        ),
    )

    policy_ref: Reference = Field(description=grant.POLICY_REF)
    account_ref: Reference | None = Field(default=None, description=grant.ACCOUNT_REF)
    check: AttestableCheckId = Field(description="Check that is answered; not every check takes an attestation.")
    statement: Annotated[str, Field(min_length=1, max_length=2048)] = Field(description="What is true, as a sentence.")
    evidence: AttestedEvidence = Field(description="Where the proof is, and what it was.")
    owner: Annotated[str, Field(min_length=1, max_length=512)] = Field(description="Who answers for the statement.")
    issued_at: Moment = Field(description="When it was attested; not later than the creation of the object.")
    expires_at: Moment = Field(
        description="When it ends; each check says how many days after issuedAt at most (passmuster checks ID)."
    )
    approvals: Signatures = Field(default=[])


class ReadinessAttestation(CustomResource):
    """People's answer to one check."""

    definition: ClassVar = grant.definition(
        "ReadinessAttestation",
        "readinessattestations",
        "ra",
        Column("Owner", ".spec.owner", "Who answers for it?", wide=True),
        Column("Statement", ".spec.statement", "What is attested?", wide=True),
    )
    description: ClassVar = (
        "ReadinessAttestation is people's answer to a check that AWS cannot answer, with evidence and an end; "
        "it counts once somebody approved it."
    )

    kind: Literal["ReadinessAttestation"] = "ReadinessAttestation"
    spec: Annotated[ReadinessAttestationSpec, Slot.ATTESTATION]
    status: grant.GrantStatus = grant.GrantStatus()
