"""The files of the account's trail are encrypted with a KMS key that is enabled."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.cloudtrail import (
    EVENT_SELECTORS,
    TRAIL_KEY,
    TRAIL_STATUS,
    TRAILS,
    change_facts,
    judged_best,
)
from passmuster.inventory.operations.kms import ALIASES
from passmuster.inventory.snapshot import Row, View, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "a KMS key in the state Enabled"
KEY_ALIAS = "alias/passmuster-trail"
"""The name of the key that was made for a trail which had none; the trail is set to it afterwards."""

TRANSIENT = ("Creating", "Updating")


@check(
    title="CloudTrail files are encrypted with a KMS key",
    category=Category.COMPLIANCE,
    phase=Phase.PRODUCTION,
    severity=Severity.MEDIUM,
    fix="I",
    per="account",
    calls=(TRAILS, TRAIL_STATUS, EVENT_SELECTORS, TRAIL_KEY, ALIASES),
    nothing="No trail records the account's events, so there are no files to encrypt",
    controls=Controls(
        config=("CLOUD_TRAIL_ENCRYPTION_ENABLED",),
        security_hub=("CloudTrail.2",),
        well_architected=("SEC08-BP02",),
    ),
)
def cloudtrail_encrypted(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """With a key of one's own, reading the log takes the key's permission besides the bucket's.

    The trail that comes nearest to recording every region is judged, an organization's trail included. A key that is
    disabled, waits for its deletion or no longer exists fails, because CloudTrail then cannot deliver. A key of another
    account that may not be described is Unknown.
    """
    return judged_best(
        view, evidence.now, lambda trail: _judged(view, trail).status, lambda trail, _: _judged(view, trail)
    )


def _judged(view: View, trail: Row) -> Finding:
    name, arn, facts = trail["Name"], trail["TrailARN"], change_facts(view, trail)
    if not trail.get("KmsKeyId"):
        message = f"The files of the trail {name} are not encrypted with a KMS key"
        return failed(
            trail.origin, arn, message, observed="no key", expected=EXPECTED, facts={**facts, **_key_made(view, trail)}
        )
    key = view.row(TRAIL_KEY, trail)
    if key is None:
        message = f"The key of the trail {name} does not exist"
        return failed(
            view.origin(TRAIL_KEY),
            arn,
            message,
            observed="a key that does not exist",
            expected=EXPECTED,
            facts={**facts, "missing": "usable-key"},
        )
    state = key.get("KeyState") or ("Enabled" if key.get("Enabled") else "Disabled")
    if state == "Enabled":
        message = f"The files of the trail {name} are encrypted with a KMS key"
        return passed(key.origin, arn, message, observed="key Enabled", expected=EXPECTED)
    if state in TRANSIENT:
        message = f"The key of the trail {name} is in the state {state}"
        return unknown(key.origin, arn, message, Reason.IN_TRANSIT, observed=f"key {state}", expected=EXPECTED)
    message = f"The trail {name} cannot encrypt its files: its key is in the state {state}"
    unusable = {**facts, "missing": "usable-key", "KeyArn": str(key.get("Arn") or trail["KmsKeyId"])}
    return failed(key.origin, arn, message, observed=f"key {state}", expected=EXPECTED, facts=unusable)


def _key_made(view: View, trail: Row) -> dict[str, str]:
    """Whether the key that the trail is to be encrypted with was made already."""
    for alias in seen(view.rows(ALIASES)):
        if alias["AliasName"] == KEY_ALIAS and alias.region == trail.get("HomeRegion") and alias.get("TargetKeyId"):
            place = f"arn:{view.partition}:kms:{alias.region}:{view.account_id}"
            return {"missing": "encryption", "KeyArn": f"{place}:key/{alias['TargetKeyId']}"}
    return {"missing": "key"}
