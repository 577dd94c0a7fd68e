"""AWS Config records every kind of resource in every governed region."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import ONCE, Call
from passmuster.inventory.snapshot import Row, View, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

RECORDERS = Call(
    "config",
    "DescribeConfigurationRecorders",
    items="ConfigurationRecorders",
    keep=("name", "arn", "recordingGroup", "recordingScope", "servicePrincipal"),
    absent=("NoSuchConfigurationRecorderException",),
)
RECORDER_STATUS = Call(
    "config",
    "DescribeConfigurationRecorderStatus",
    each=RECORDERS,
    param=ONCE,
    items="ConfigurationRecordersStatus",
    keep=("name", "arn", "recording", "lastStatus", "lastErrorCode", "servicePrincipal"),
    absent=("NoSuchConfigurationRecorderException",),
)
CHANNELS = Call(
    "config",
    "DescribeDeliveryChannels",
    each=RECORDERS,
    param=ONCE,
    items="DeliveryChannels",
    keep=("name", "s3BucketName"),
    absent=("NoSuchDeliveryChannelException",),
)
CHANNEL_STATUS = Call(
    "config",
    "DescribeDeliveryChannelStatus",
    each=CHANNELS,
    param=ONCE,
    items="DeliveryChannelsStatus",
    keep="{name: name, snapshot: configSnapshotDeliveryInfo.lastStatus, "
    "history: configHistoryDeliveryInfo.lastStatus, stream: configStreamDeliveryInfo.lastStatus}",
    absent=("NoSuchDeliveryChannelException",),
)
RECORDS_WELL = "its last status is SUCCESS"


@check(
    title="AWS Config records",
    category=Category.COMPLIANCE,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="A",
    calls=(RECORDERS, RECORDER_STATUS, CHANNELS, CHANNEL_STATUS),
    parameters=(
        Parameter(
            "resourceTypes",
            Kind.STRINGS,
            [],
            Stricter.MORE,
            "The resource types that must be recorded, such as AWS::EC2::Instance; none means all supported ones.",
            empty_is_all=True,
        ),
    ),
    controls=Controls(
        security_hub=("Config.1",),
        well_architected=("SEC04-BP01", "REL06-BP01"),
    ),
)
def config_recorder_recording(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """What was not recorded cannot be looked up after an incident, and no Config rule sees it.

    The account's own recorder is judged; recorders that belong to an AWS service record for that service alone. A
    recorder whose last status is still pending is Unknown, unless something else already keeps it from passing. A
    delivery channel counts while no delivery of it has failed.
    """
    recorders = [row for row in view.rows(RECORDERS) if not _is_service_linked(row)]
    types = parameters["resourceTypes"]
    expected = f"a recorder of {', '.join(types) or 'all supported types'} that records and delivers"
    if view.absent_everywhere(RECORDERS, Reason.NOT_IN_PARTITION):
        return
    if not recorders:
        message = "No recorder records the configuration of resources in this region"
        origin = view.origin(RECORDERS)
        home = "true" if view.region == view.regions[0] else "false"
        facts = {"missing": "recorder", "globalTypes": home}
        yield failed(origin, view.account_id, message, observed="no recorder", expected=expected, facts=facts)
    for recorder in recorders:
        arn = _arn(view, recorder)
        with view.judging(arn, recorder.region):
            yield _recorder(view, recorder, arn, types, expected)


def _is_service_linked(row: Row) -> bool:
    return bool(row.get("servicePrincipal")) or row.get("recordingScope") == "INTERNAL"


def _arn(view: View, recorder: Row) -> str:
    place = f"arn:{view.partition}:config:{recorder.region}:{view.account_id}"
    return recorder.get("arn") or f"{place}:configuration-recorder/{recorder['name']}"


def _recorder(view: View, recorder: Row, arn: str, types: list[str], expected: str) -> Finding:
    name = f"recorder {recorder['name']}"
    missing = unmet(
        {
            "it is recording": lambda: bool(_status(view, recorder).get("recording")),
            f"it records {', '.join(types) or 'all supported types'}": lambda: _records(recorder, types),
            "it has a delivery channel": lambda: any(row.get("s3BucketName") for row in view.rows(CHANNELS)),
            "its deliveries succeed": lambda: not any(_delivery_failed(row) for row in view.rows(CHANNEL_STATUS)),
            RECORDS_WELL: lambda: _last_status(view, recorder) == "SUCCESS",
        }
    )
    if missing == [RECORDS_WELL] and _last_status(view, recorder) == "PENDING":
        message = f"The {name} has just been started or changed and has not recorded yet"
        return unknown(recorder.origin, arn, message, Reason.IN_TRANSIT, observed="status PENDING", expected=expected)
    if missing:
        return failed(
            recorder.origin,
            arn,
            f"The {name} does not meet: {', '.join(missing)}",
            observed=", ".join(f"not: {phrase}" for phrase in missing),
            expected=expected,
        )
    return passed(recorder.origin, arn, f"The {name} records and delivers", observed="recording", expected=expected)


def _status(view: View, recorder: Row) -> Row:
    """The status row of the recorder; one that is missing says neither that it records nor how."""
    for row in view.rows(RECORDER_STATUS):
        if row.get("name") == recorder["name"] and not row.get("servicePrincipal"):
            return row
    return Row(RECORDER_STATUS, recorder.request, {}, recorder.observed_at)


def _last_status(view: View, recorder: Row) -> str:
    """In capitals: AWS documents Success and sends SUCCESS. A recorder that records without a status is pending."""
    status = _status(view, recorder)
    return str(status.get("lastStatus") or ("PENDING" if status.get("recording") else "")).upper()


def _records(recorder: Row, types: list[str]) -> bool:
    group = recorder.get("recordingGroup") or {}
    if group.get("allSupported"):
        return True
    strategy = (group.get("recordingStrategy") or {}).get("useOnly")
    if strategy == "ALL_SUPPORTED_RESOURCE_TYPES":
        return True
    if strategy == "EXCLUSION_BY_RESOURCE_TYPES":
        excluded = (group.get("exclusionByResourceTypes") or {}).get("resourceTypes") or []
        return bool(types) and not set(types) & set(excluded)
    return bool(types) and set(types) <= set(group.get("resourceTypes") or [])


def _delivery_failed(row: Row) -> bool:
    return any(str(row.get(kind) or "").upper() == "FAILURE" for kind in ("snapshot", "history", "stream"))
