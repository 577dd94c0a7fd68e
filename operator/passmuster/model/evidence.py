"""Dated facts that are not AWS calls, and the exceptions people grant: attestations, waivers, recovery goals.

Collected by the outer layers, frozen like the snapshot, read by checks and by assess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

WARN_BEFORE_EXPIRY = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Attestation:
    """Human evidence for a process item, valid from `issued_at` until `expires_at`."""

    name: str
    check: str
    statement: str
    uri: str
    owner: str
    issued_at: datetime
    expires_at: datetime
    sha256: str = ""

    def holds(self, now: datetime) -> bool:
        """Whether the attestation counts at this time."""
        return self.issued_at <= now < self.expires_at


@dataclass(frozen=True, slots=True)
class Waiver:
    """An accepted failure, until `expires_at`; without `resources` it covers every resource of the check.

    A pattern of `resources` matches a whole ARN or id: `*` stands for any text, `?` for one character.
    """

    name: str
    check: str
    reason: str
    expires_at: datetime
    resources: tuple[str, ...] = ()

    def covers(self, check: str, resource: str, now: datetime) -> bool:
        """Whether the waiver accepts this check's failure for this resource at this time."""
        if check != self.check or now >= self.expires_at:
            return False
        return not self.resources or any(_matches(resource, p) for p in self.resources)


def _matches(resource: str, pattern: str) -> bool:
    return fnmatchcase(resource, pattern.replace("[", "[[]"))


@dataclass(frozen=True, slots=True)
class Recovery:
    """The recovery goals of the policy."""

    rto: timedelta | None = None
    rpo: timedelta | None = None
    secondary_region: str | None = None
    cross_region: str = "Required"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The third input of a check: the time, and dated facts that no AWS call reports.

    heartbeats
        the last sign of life of each Alertmanager receiver, by its name.
    probes
        when each external probe was last reported to succeed, by the name of its Prometheus job.
    report_stored_at
        when a readiness report was last written to the account's evidence store.
    change_approved_at
        when a change to this account was last applied after a person had approved it by digest.
    """

    now: datetime
    recovery: Recovery = Recovery()
    attestations: tuple[Attestation, ...] = ()
    heartbeats: Mapping[str, datetime] = field(default_factory=dict)
    probes: Mapping[str, datetime] = field(default_factory=dict)
    report_stored_at: datetime | None = None
    change_approved_at: datetime | None = None

    def attestation(self, check: str) -> Attestation | None:
        """The attestation of that check that holds longest, if one holds."""
        holding = [a for a in self.attestations if a.check == check and a.holds(self.now)]
        return max(holding, key=lambda a: a.expires_at, default=None)
