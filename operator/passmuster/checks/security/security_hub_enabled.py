"""Security Hub judges the account in every governed region by a current standard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.index import by_region
from passmuster.inventory.operations.securityhub import AGGREGATOR, AGGREGATORS, HUB, HUB_V2, STANDARDS
from passmuster.inventory.snapshot import Row, View, first_found, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "a ready standard (AWS Foundational Security Best Practices, or CIS 3.0 or later), or the newer Security Hub"
FOUNDATIONAL = "aws-foundational-security-best-practices"
CIS = re.compile(r"cis-aws-foundations-benchmark/v/(\d+)\.(\d+)")
CURRENT, ACCEPTED = (3, 0), (1, 4)
"""Versions of the CIS benchmark: those from the first on are current, the second is accepted with a warning."""


@check(
    title="Security Hub judges the account",
    category=Category.SECURITY,
    phase=Phase.STABLE,
    severity=Severity.MEDIUM,
    fix="A",
    per="account",
    calls=(HUB, STANDARDS, AGGREGATORS, AGGREGATOR, HUB_V2),
    controls=Controls(config=("SECURITYHUB_ENABLED",), well_architected=("SEC04-BP01", "SEC04-BP03")),
)
def security_hub_enabled(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Somebody must look at hundreds of settings every day, and Security Hub does it unasked.

    Every governed region is judged; where an aggregator in a governed region brings the findings of all of them
    together, its region alone. A region passes with Security Hub CSPM and a standard that is ready, or incomplete only
    for want of a recorder of AWS Config, which is a warning and another check's question. The standard is AWS
    Foundational Security Best Practices or the CIS benchmark from version 3.0 on; CIS 1.4 passes with a warning. A
    region passes with the newer Security Hub, too. A standard that is being set up is in transit.
    """
    if view.absent_everywhere(HUB, Reason.NOT_IN_PARTITION):
        return
    hubs = _Hubs(view)
    for region in view.regions:
        with view.judging(view.account_id, region):
            yield from _region(view, hubs, region)


class _Hubs:
    """What was read about each region, and the regions that an aggregator brings together."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._hubs = by_region(view.rows(HUB))
        self._standards = by_region(view.rows(STANDARDS))
        self._newer = by_region(view.rows(HUB_V2))

    def hub(self, region: str) -> Row | None:
        """The hub of Security Hub CSPM, None where it is not enabled."""
        return next((row for row in self._hubs.rows(region, region) if row.get("HubArn")), None)

    def newer(self, region: str) -> Row | None:
        """The newer Security Hub, None where it is not enabled."""
        return next((row for row in self._newer.rows(region, region) if row.get("HubV2Arn")), None)

    def standards(self, region: str) -> Iterator[Row]:
        """The standards that are switched on, if there is a hub."""
        if self.hub(region) is not None:
            yield from self._standards.rows(region, region)

    def home(self) -> str | None:
        """The region to which an aggregator brings the findings of every governed region."""
        aggregator = first_of(self._view.rows(AGGREGATOR), lambda row: _covers(row, self._view.regions))
        return None if aggregator is None else str(aggregator["FindingAggregationRegion"])


def _region(view: View, hubs: _Hubs, region: str) -> Iterator[Finding]:
    found = first_found(partial(_by_standard, hubs, region), partial(_by_newer, hubs, region))
    if found is not None:
        yield found
        return
    home = hubs.home() if len(view.regions) > 1 else None
    if home in (None, region):
        yield _missing(view, hubs, region)


def _by_standard(hubs: _Hubs, region: str) -> Finding | None:
    """A Pass by the standard with the fewest warnings, None if none will do."""
    for warned in (False, True):
        for standard in hubs.standards(region):
            warnings = _warnings(standard)
            if warnings is not None and bool(warnings) is warned:
                hub, name = hubs.hub(region), _name(standard)
                arn = str(hub["HubArn"]) if hub is not None else ""
                message = f"Security Hub in {region} judges the account by {name}"
                return passed(standard.origin, arn, message, observed=name, expected=EXPECTED, warnings=warnings)
    return None


def _by_newer(hubs: _Hubs, region: str) -> Finding | None:
    hub = hubs.newer(region)
    if hub is None:
        return None
    message = f"The newer Security Hub is enabled in {region}"
    return passed(hub.origin, hub["HubV2Arn"], message, observed="Security Hub enabled", expected=EXPECTED)


def _missing(view: View, hubs: _Hubs, region: str) -> Finding:
    hub, standards = hubs.hub(region), list(hubs.standards(region))
    if any(row.get("StandardsStatus") == "PENDING" and _version_warnings(row) is not None for row in standards):
        message = f"The standard of Security Hub in {region} is being set up"
        origin = standards[0].origin
        return unknown(origin, view.account_id, message, Reason.IN_TRANSIT, observed="PENDING", expected=EXPECTED)
    observed = ", ".join(f"{_name(row)} {row.get('StandardsStatus')}" for row in standards) or "no standard"
    return failed(
        replace(view.origin(HUB), region=region) if hub is None else hub.origin,
        view.account_id,
        f"Security Hub is not enabled in {region}"
        if hub is None
        else f"Security Hub in {region} has no ready standard",
        observed="not enabled" if hub is None else observed,
        expected=EXPECTED,
        facts={"missing": "hub" if hub is None else "standard"},
    )


def _warnings(standard: Row) -> tuple[str, ...] | None:
    """What is not quite as it should be about a standard that will do; None if it will not do."""
    warnings = _version_warnings(standard)
    status = standard.get("StandardsStatus")
    reason = (standard.get("StandardsStatusReason") or {}).get("StatusReasonCode")
    if warnings is not None and status == "INCOMPLETE" and reason == "NO_AVAILABLE_CONFIGURATION_RECORDER":
        return (*warnings, f"{_name(standard)} is incomplete for want of a recorder of AWS Config")
    return warnings if status == "READY" else None


def _version_warnings(standard: Row) -> tuple[str, ...] | None:
    arn = str(standard.get("StandardsArn"))
    cis = CIS.search(arn)
    version = (int(cis[1]), int(cis[2])) if cis is not None else None
    if FOUNDATIONAL in arn or (version is not None and version >= CURRENT):
        return ()
    return ("CIS 1.4 is outdated; version 3.0 or later is current",) if version == ACCEPTED else None


def _name(standard: Row) -> str:
    """The standard without what its ARN begins with, for example `cis-aws-foundations-benchmark/v/3.0.0`."""
    return re.split(r"standards/|ruleset/", str(standard.get("StandardsArn")))[-1]


def _covers(aggregator: Row, regions: tuple[str, ...]) -> bool:
    """Whether the aggregator is in a governed region and links all others."""
    home, mode = aggregator.get("FindingAggregationRegion"), aggregator.get("RegionLinkingMode")
    others, listed = set(regions) - {home}, set(aggregator.get("Regions") or [])
    linked = {
        "ALL_REGIONS": True,
        "ALL_REGIONS_EXCEPT_SPECIFIED": not others & listed,
        "SPECIFIED_REGIONS": others <= listed,
    }
    return home in regions and linked.get(str(mode), False)
