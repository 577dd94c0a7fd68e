"""One trail records the management events of every region."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.cloudtrail import (
    DELIVERED,
    EVENT_SELECTORS,
    TRAIL_STATUS,
    TRAILS,
    best_trail,
    change_facts,
    conditions,
    contenders,
    in_first_hour,
)
from passmuster.inventory.snapshot import View, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "a logging trail of all regions with global service events and all management events, delivered within 24 h"


@check(
    title="CloudTrail records every region",
    category=Category.COMPLIANCE,
    phase=Phase.PRODUCTION,
    severity=Severity.CRITICAL,
    fix="A",
    per="account",
    calls=(TRAILS, TRAIL_STATUS, EVENT_SELECTORS),
    controls=Controls(
        config=("MULTI_REGION_CLOUD_TRAIL_ENABLED", "CLOUD_TRAIL_ENABLED", "CLOUDTRAIL_SECURITY_TRAIL_ENABLED"),
        security_hub=("CloudTrail.1", "CloudTrail.3"),
        well_architected=("SEC04-BP01",),
    ),
)
def cloudtrail_multi_region(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Without a trail nobody can say who changed what; a trail of one region misses an attacker in another.

    The trail that meets most conditions is judged, an organization's trail included; while another one may still be
    found to meet them all, nothing fails. A trail that started logging less than an hour ago and has not delivered yet
    is in transit, unless another condition already fails.
    """
    trail = best_trail(view, evidence.now)
    if trail is None:
        yield failed(
            view.origin(TRAILS),
            view.account_id,
            "No trail records the account's events",
            observed="no trail",
            expected=EXPECTED,
            facts={"missing": "trail"},
        )
        return
    name, arn = trail["Name"], trail["TrailARN"]
    with view.judging(arn, trail.region):
        missing = unmet(conditions(view, trail, evidence.now))
        if missing == [DELIVERED] and in_first_hour(view, trail, evidence.now):
            message = f"The trail {name} started less than an hour ago and has not delivered yet"
            yield unknown(trail.origin, arn, message, Reason.IN_TRANSIT, expected=EXPECTED)
        elif missing:
            for rival in contenders(view, evidence.now)[1:]:
                unmet(conditions(view, rival, evidence.now))  # Unread where the rival may be what this one is not
            yield failed(
                trail.origin,
                arn,
                f"The trail {name} does not meet: {', '.join(missing)}",
                observed=", ".join(f"not: {phrase}" for phrase in missing),
                expected=EXPECTED,
                facts={**change_facts(view, trail), "lacks": ", ".join(missing)},
            )
        else:
            message = f"The trail {name} records every region"
            yield passed(trail.origin, arn, message, observed=EXPECTED, expected=EXPECTED)
