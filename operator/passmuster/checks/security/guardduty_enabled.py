"""GuardDuty watches every governed region, with the features that its resources need."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.ec2 import INSTANCES
from passmuster.inventory.operations.ecs import CLUSTERS as ECS_CLUSTERS
from passmuster.inventory.operations.eks import CLUSTERS as EKS_CLUSTERS
from passmuster.inventory.operations.guardduty import ADMINISTRATOR, DETECTOR, DETECTORS, administrator, is_on
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.rds import DB_INSTANCES, is_rds
from passmuster.inventory.operations.s3 import BUCKET_LOCATION, BUCKETS, located
from passmuster.inventory.snapshot import Row, View, all_of, any_of, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

FREQUENCIES = ("SIX_HOURS", "ONE_HOUR", "FIFTEEN_MINUTES")
EXPECTED = "an enabled detector that publishes often enough, with the required features on"


@check(
    title="GuardDuty watches every region",
    category=Category.SECURITY,
    phase=Phase.STABLE,
    severity=Severity.HIGH,
    fix="A",
    calls=(
        DETECTORS,
        DETECTOR,
        ADMINISTRATOR,
        BUCKETS,
        BUCKET_LOCATION,
        DB_INSTANCES,
        FUNCTIONS,
        EKS_CLUSTERS,
        ECS_CLUSTERS,
        INSTANCES,
    ),
    parameters=(
        Parameter(
            "features",
            Kind.STRINGS,
            ["S3_DATA_EVENTS", "RDS_LOGIN_EVENTS", "LAMBDA_NETWORK_LOGS"],
            Stricter.MORE,
            "Detector features that must be on where the service they protect has resources.",
        ),
        Parameter(
            "maxPublishingFrequency",
            Kind.CHOICE,
            "ONE_HOUR",
            Stricter.LATER,
            "The longest interval at which updated findings may be published.",
            choices=FREQUENCIES,
        ),
    ),
    controls=Controls(
        config=(
            "GUARDDUTY_ENABLED_CENTRALIZED",
            "GUARDDUTY_S3_PROTECTION_ENABLED",
            "GUARDDUTY_RDS_PROTECTION_ENABLED",
            "GUARDDUTY_LAMBDA_PROTECTION_ENABLED",
        ),
        security_hub=(
            "GuardDuty.1",
            "GuardDuty.5",
            "GuardDuty.6",
            "GuardDuty.7",
            "GuardDuty.8",
            "GuardDuty.9",
            "GuardDuty.10",
            "GuardDuty.11",
            "GuardDuty.12",
            "GuardDuty.13",
        ),
        well_architected=("SEC04-BP01",),
    ),
)
def guardduty_enabled(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A stolen key is used in the region that nobody looks at, so every governed region is judged, empty or not.

    A required feature counts only where its service has resources in the region; one that we cannot tie to a service
    always counts. A detector that an administrator account manages is judged in the same way; its own account cannot
    fix it.
    """
    region = view.region or ""
    if view.absent_everywhere(DETECTORS, Reason.NOT_IN_PARTITION):
        message = f"GuardDuty is not offered in {region}"
        yield not_applicable(view.origin(DETECTORS), view.account_id, message, Reason.NOT_IN_PARTITION)
        return
    detector = None
    for detector in view.rows(DETECTORS):
        arn = f"arn:{view.partition}:guardduty:{detector.region}:{view.account_id}:detector/{detector.data}"
        with view.judging(arn, detector.region):
            for settings in view.rows(DETECTOR, detector):
                yield _detector(view, detector, settings, arn, parameters)
    if detector is None:
        yield failed(
            view.origin(DETECTORS),
            view.account_id,
            f"GuardDuty is not enabled in {region}",
            observed="no detector",
            expected=EXPECTED,
            facts={"missing": "detector"},
        )


def _detector(view: View, detector: Row, settings: Row, arn: str, parameters: Parameters) -> Finding:
    region = settings.region
    conditions = _conditions(view, settings, parameters)
    missing = unmet(conditions)
    if not missing:
        return passed(settings.origin, arn, f"GuardDuty watches {region}", observed="enabled", expected=EXPECTED)
    manager = administrator(view, detector)
    message = f"GuardDuty in {region} does not meet: {', '.join(missing)}"
    return failed(
        settings.origin,
        arn,
        message + (f"; the administrator account {manager} manages it" if manager else ""),
        observed=", ".join(f"not: {phrase}" for phrase in missing),
        expected=EXPECTED,
        facts={"missing": "setting", "DetectorId": str(detector.data), "ManagedBy": manager or ""},
    )


def _conditions(view: View, settings: Row, parameters: Parameters) -> dict[str, Callable[[], bool]]:
    longest = parameters["maxPublishingFrequency"]
    frequency = settings.get("FindingPublishingFrequency")
    often = frequency in FREQUENCIES and FREQUENCIES.index(frequency) >= FREQUENCIES.index(longest)
    conditions: dict[str, Callable[[], bool]] = {
        "enabled": lambda: settings.get("Status") == "ENABLED",
        f"publishes findings every {longest} or more often (now {frequency})": lambda: often,
    }
    for feature in dict.fromkeys(parameters["features"]):
        conditions[f"{feature} on"] = _covered(view, settings, feature)
    return conditions


def _covered(view: View, settings: Row, feature: str) -> Callable[[], bool]:
    """A feature that is on needs no look at its service; one that is off fails only where there is something."""
    return lambda: any_of(lambda: is_on(settings, feature), lambda: not _in_use(view, feature))


def _in_use(view: View, feature: str) -> bool:
    match feature:
        case "S3_DATA_EVENTS":
            return any(place == view.region for _, place in located(view))
        case "RDS_LOGIN_EVENTS":
            return any(is_rds(database) for database in view.rows(DB_INSTANCES))
        case "LAMBDA_NETWORK_LOGS":
            return view.row(FUNCTIONS) is not None
        case "EKS_AUDIT_LOGS" | "EKS_RUNTIME_MONITORING":
            return view.row(EKS_CLUSTERS) is not None
        case "EBS_MALWARE_PROTECTION":
            return _instances(view)
        case "RUNTIME_MONITORING":
            return not all_of(
                lambda: view.row(EKS_CLUSTERS) is None,
                lambda: view.row(ECS_CLUSTERS) is None,
                lambda: not _instances(view),
            )
        case _:
            return True


def _instances(view: View) -> bool:
    return any((row.get("State") or {}).get("Name") != "terminated" for row in view.rows(INSTANCES))
