"""GuardDuty's detectors, and who manages them."""

from __future__ import annotations

from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import Row, View, seen

DETECTORS = Call("guardduty", "ListDetectors", items="DetectorIds")
"""Rows are ids, in their `data`; there is one per region at most."""

DETECTOR = Call(
    "guardduty",
    "GetDetector",
    each=DETECTORS,
    param="DetectorId",
    keep="{Status: Status, FindingPublishingFrequency: FindingPublishingFrequency, "
    "Features: Features[].{Name: Name, Status: Status}}",
)
ADMINISTRATOR = Call(
    "guardduty",
    "GetAdministratorAccount",
    each=DETECTORS,
    param="DetectorId",
    keep="{AccountId: Administrator.AccountId, RelationshipStatus: Administrator.RelationshipStatus}",
)


def administrator(view: View, detector: Row) -> str | None:
    """The account that manages the detector, None if it is this one or cannot be told: it changes no verdict."""
    managed = (row for row in seen(view.rows(ADMINISTRATOR, detector)) if row.get("RelationshipStatus") == "Enabled")
    return next((str(row["AccountId"]) for row in managed), None)


def is_on(detector: Row, feature: str) -> bool:
    """Whether the detector has the feature on; runtime monitoring includes that of Kubernetes."""
    names = (feature, "RUNTIME_MONITORING") if feature == "EKS_RUNTIME_MONITORING" else (feature,)
    return any(one.get("Name") in names and one.get("Status") == "ENABLED" for one in detector.get("Features") or [])
