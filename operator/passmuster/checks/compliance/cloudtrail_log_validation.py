"""The files of the account's trail cannot be changed unnoticed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.cloudtrail import (
    EVENT_SELECTORS,
    TRAIL_STATUS,
    TRAILS,
    change_facts,
    judged_best,
)
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Severity

EXPECTED = "log file validation on"


@check(
    title="CloudTrail files are validated",
    category=Category.COMPLIANCE,
    phase=Phase.PRODUCTION,
    severity=Severity.HIGH,
    fix="I",
    per="account",
    calls=(TRAILS, TRAIL_STATUS, EVENT_SELECTORS),
    nothing="No trail records the account's events, so there are no files to validate",
    controls=Controls(
        config=("CLOUD_TRAIL_LOG_FILE_VALIDATION_ENABLED",),
        security_hub=("CloudTrail.4",),
        well_architected=("SEC04-BP02",),
    ),
)
def cloudtrail_log_validation(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Whoever covers his tracks edits the log; signed digests show that a file was changed or is missing.

    The trail that comes nearest to recording every region is judged, an organization's trail included. Where it cannot
    be told which of two trails that is, the verdict stands if both are configured alike.
    """
    return judged_best(view, evidence.now, _validated, partial(_judged, view))


def _validated(trail: Row) -> bool:
    return bool(trail.get("LogFileValidationEnabled"))


def _judged(view: View, trail: Row, validated: bool) -> Finding:
    name, arn = trail["Name"], trail["TrailARN"]
    if validated:
        message = f"The files of the trail {name} are signed with digests"
        return passed(trail.origin, arn, message, observed="log file validation on", expected=EXPECTED)
    message = f"A changed or deleted file of the trail {name} would go unnoticed"
    facts = change_facts(view, trail)
    return failed(trail.origin, arn, message, observed="log file validation off", expected=EXPECTED, facts=facts)
