"""A finding: the answer of one check for one resource, with the evidence for it.

Checks yield findings, assess adds waivers and attestations, everything later only shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from passmuster.model.verdict import Reason, Status

_NO_FACTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a fact was read: the operation, the region and the time of the observation.

    `source` is `service:Operation` with the boto3 service name, for example `elbv2:DescribeListeners`.
    """

    source: str
    region: str
    observed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One resource, one answer.

    `resource` is an ARN or id, or the account id for a fact about the account. `observed` and `expected` are short
    phrases for people and never hold a secret value. `facts` are machine-readable values that a remediation of this
    finding fills its parameters from; they stay in memory and reach no status, log or report.
    """

    status: Status
    resource: str
    message: str
    region: str
    source: str
    observed_at: datetime | None = None
    observed: str = ""
    expected: str = ""
    reason: Reason | None = None
    warnings: tuple[str, ...] = ()
    waived_by: str | None = None
    attested_by: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """What makes two findings of a check speak of the same thing: region and resource."""
        return (self.region, self.resource)

    def waived(self, waiver: str) -> Finding:
        """The same finding, accepted by the named waiver."""
        return replace(self, waived_by=waiver)


def _make(
    status: Status,
    origin: Origin,
    resource: str,
    message: str,
    *,
    observed: str,
    expected: str,
    reason: Reason | None = None,
    warnings: tuple[str, ...] = (),
    facts: Mapping[str, str] = _NO_FACTS,
) -> Finding:
    return Finding(
        status=status,
        resource=resource,
        message=message,
        region=origin.region,
        source=origin.source,
        observed_at=origin.observed_at,
        observed=observed,
        expected=expected,
        reason=reason,
        warnings=warnings,
        facts=facts,
    )


def passed(
    origin: Origin,
    resource: str,
    message: str,
    *,
    observed: str = "",
    expected: str = "",
    warnings: tuple[str, ...] = (),
) -> Finding:
    """The resource meets the check."""
    return _make(Status.PASS, origin, resource, message, observed=observed, expected=expected, warnings=warnings)


def failed(
    origin: Origin,
    resource: str,
    message: str,
    *,
    observed: str = "",
    expected: str = "",
    warnings: tuple[str, ...] = (),
    facts: Mapping[str, str] = _NO_FACTS,
) -> Finding:
    """The resource does not meet the check; `facts` are what a remediation needs to know about it."""
    return _make(
        Status.FAIL, origin, resource, message, observed=observed, expected=expected, warnings=warnings, facts=facts
    )


def not_applicable(
    origin: Origin, resource: str, message: str, reason: Reason = Reason.NOTHING_OF_THAT_KIND, *, observed: str = ""
) -> Finding:
    """The check does not speak of this resource or account."""
    return _make(Status.NOT_APPLICABLE, origin, resource, message, observed=observed, expected="", reason=reason)


def unknown(
    origin: Origin, resource: str, message: str, reason: Reason, *, observed: str = "", expected: str = ""
) -> Finding:
    """The fact could not be had: refused, throttled, in transit, or not reported by the service."""
    return _make(Status.UNKNOWN, origin, resource, message, observed=observed, expected=expected, reason=reason)
