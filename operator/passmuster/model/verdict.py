"""The closed word lists of a verdict: what a finding can say, how grave it is, and where it belongs.

Used by every layer. The spelling is that of the custom resources and of the reports, so no layer translates.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What was found. Unknown is never Pass and never Fail."""

    PASS = "Pass"
    FAIL = "Fail"
    UNKNOWN = "Unknown"
    NOT_APPLICABLE = "NotApplicable"


class Reason(StrEnum):
    """Why a finding is Unknown or NotApplicable."""

    DENIED = "Denied"
    THROTTLED = "Throttled"
    STALE = "Stale"
    PARTIAL = "Partial"
    SERVICE_ERROR = "ServiceError"
    IN_TRANSIT = "InTransit"
    REGION_UNREADABLE = "RegionUnreadable"
    JUDGED_IN_PAYER_ACCOUNT = "JudgedInPayerAccount"
    NO_SUPPORT_PLAN = "NoSupportPlan"
    NOT_REQUESTED = "NotRequested"
    NOTHING_OF_THAT_KIND = "NothingOfThatKind"
    NOT_IN_PARTITION = "NotInPartition"
    DISABLED = "Disabled"
    OUTSIDE_SCOPE = "OutsideScope"


class Severity(StrEnum):
    """How much a failing check matters."""

    CRITICAL = "Critical"
    HIGH = "High"
    MEDIUM = "Medium"
    LOW = "Low"

    @property
    def weight(self) -> int:
        """The share of a check in the score: Critical 10, High 5, Medium 3, Low 1."""
        return {"Critical": 10, "High": 5, "Medium": 3, "Low": 1}[self.value]


class Category(StrEnum):
    """The eight chapters of the readiness catalogue. Backup is backup and disaster recovery."""

    INFRASTRUCTURE = "Infrastructure"
    SECURITY = "Security"
    MONITORING = "Monitoring"
    BACKUP = "Backup"
    COMPLIANCE = "Compliance"
    OPERATIONS = "Operations"
    PERFORMANCE = "Performance"
    COST = "Cost"


class Phase(StrEnum):
    """The five steps of readiness, in order; a level has the name of the phase it completes."""

    FOUNDATION = "Foundation"
    PRODUCTION = "Production"
    STABLE = "Stable"
    HARDENED = "Hardened"
    ENTERPRISE = "Enterprise"

    @property
    def order(self) -> int:
        """The place of the phase, 0 for Foundation."""
        return list(Phase).index(self)

    @property
    def folder(self) -> str:
        """The folder of what belongs to it, for example 1-production."""
        return f"{self.order}-{self.lower()}"

    def up_to(self) -> tuple[Phase, ...]:
        """This phase and all before it."""
        return tuple(phase for phase in Phase if phase.order <= self.order)


NO_LEVEL = "None"
"""The level of an account that has not even reached Foundation."""


def level_order(level: str) -> int:
    """The place of a level: -1 for none, 0 for Foundation, 4 for Enterprise."""
    return -1 if level == NO_LEVEL else Phase(level).order


class Fix(StrEnum):
    """How a failing check can be fixed: additive, in place, by proposal only, or by attestation."""

    ADDITIVE = "A"
    IN_PLACE = "I"
    PROPOSAL = "P"
    ATTESTATION = "T"


class Mode(StrEnum):
    """What the operator may do about failing checks."""

    OBSERVE = "Observe"
    PROPOSE = "Propose"
    APPLY = "Apply"
