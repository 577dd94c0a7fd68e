"""What people grant: a waiver or an attestation with the answer to whether it counts now, and why not.

Made by assess (`grants`), carried by reports, shown by status, metrics, command line and reports for people alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from passmuster.model.evidence import Attestation, Waiver


class Standing(StrEnum):
    """Whether a waiver or an attestation counts."""

    IN_FORCE = "InForce"
    AWAITING_APPROVAL = "AwaitingApproval"
    NOT_YET = "NotYet"
    EXPIRED = "Expired"
    NOT_ACCEPTED = "NotAccepted"
    UNGUARDED = "Unguarded"


@dataclass(frozen=True, slots=True)
class Grant:
    """One waiver or attestation at one time.

    subject
        what was granted; its dates and its name are there.
    approved_by, needed
        the distinct subjects whose approval counts, and how many there must be.
    expiring
        whether it counts and ends within 14 days.
    message
        one sentence for people that says why it counts or does not, and until when.
    findings
        how many findings of the last verdict it changed; no part of what makes two grants equal.
    """

    subject: Waiver | Attestation
    standing: Standing
    message: str
    approved_by: tuple[str, ...] = ()
    needed: int = 1
    expiring: bool = False
    findings: int = field(default=0, compare=False)

    @property
    def kind(self) -> str:
        """The kind of its object."""
        return "ReadinessWaiver" if isinstance(self.subject, Waiver) else "ReadinessAttestation"

    @property
    def name(self) -> str:
        """Its name."""
        return self.subject.name

    @property
    def check(self) -> str:
        """The check that it speaks of."""
        return self.subject.check

    @property
    def expires_at(self) -> datetime:
        """When it ends."""
        return self.subject.expires_at

    @property
    def in_force(self) -> bool:
        """Whether it counts."""
        return self.standing is Standing.IN_FORCE

    @property
    def mark(self) -> tuple[str, str]:
        """What tells it from the others of a policy: kind and name."""
        return (self.kind, self.name)
