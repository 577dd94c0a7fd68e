"""CloudTrail: whether logs are really delivered, the selectors a trail has, and the bucket it needs.

moto says that every logging trail delivers and accepts any bucket. Here a trail delivers only while its bucket exists
and the bucket's policy lets CloudTrail write, which CreateTrail and UpdateTrail ask for as AWS does. Served by
front.py; read by the audit-trail checks and proven by the trail remediation.
"""

from datetime import timedelta
from typing import Any

from moto.cloudtrail.models import cloudtrail_backends
from moto.core.utils import utcnow
from moto.s3.models import s3_backends

from passmuster.sandbox.emulation import wire
from passmuster.sandbox.emulation.access import policies
from passmuster.sandbox.emulation.operation import Handling, Operations, Output

_SERVICE = "cloudtrail.amazonaws.com"
_DEFAULT_SELECTOR = {
    "ReadWriteType": "All",
    "IncludeManagementEvents": True,
    "DataResources": [],
    "ExcludeManagementEventSources": [],
}


def get_trail_status(handling: Handling) -> Output:
    """GetTrailStatus: the last delivery, or why there is none."""
    handling.moto()
    trail = _trail(handling, str(handling.params["Name"]))
    status = trail.status
    answer: Output = {"IsLogging": status.is_logging}
    if status.started:
        answer["StartLoggingTime"] = status.started
    if status.stopped:
        answer["StopLoggingTime"] = status.stopped
    if status.started:
        answer |= _delivery(trail)
    return answer


def _delivery(trail: Any) -> Output:
    error = delivery_error(trail)
    if error:
        return {"LatestDeliveryError": error}
    recent = max(trail.status.started, utcnow() - timedelta(minutes=2))
    latest = recent if trail.status.is_logging else trail.status.stopped
    answer: Output = {"LatestDeliveryTime": latest}
    if trail.log_validation:
        answer["LatestDigestDeliveryTime"] = latest
    if trail.cw_log_group_arn:
        answer["LatestCloudWatchLogsDeliveryTime"] = latest
    return answer


def delivery_error(trail: Any) -> str:
    """Why CloudTrail cannot write to the trail's bucket, "" if it can."""
    bucket = _bucket(trail.bucket_name)
    if bucket is None:
        return "NoSuchBucket"
    return "" if _may_write(trail, bucket) else "AccessDenied"


def _bucket(name: str) -> Any:
    if name not in s3_backends.bucket_accounts:
        return None
    partition, account = s3_backends.bucket_accounts[name]
    return s3_backends[account][partition].buckets.get(name)


def _may_write(trail: Any, bucket: Any) -> bool:
    if not bucket.policy:
        return False
    arn = f"arn:aws:s3:::{trail.bucket_name}"
    prefix = f"{trail.s3_key_prefix}/" if trail.s3_key_prefix else ""
    context = {
        "s3:x-amz-acl": ["bucket-owner-full-control"],
        "aws:sourcearn": [trail.arn],
        "aws:sourceaccount": [trail.account_id],
        "aws:securetransport": ["true"],
    }
    log = f"{arn}/{prefix}AWSLogs/{trail.account_id}/CloudTrail/{trail.region_name}/log.json.gz"
    asked = (("s3:GetBucketAcl", arn), ("s3:PutObject", log))
    document = bucket.policy.decode() if isinstance(bucket.policy, bytes) else str(bucket.policy)
    return all(
        policies.allows([document], policies.Question(action, resource, (_SERVICE,), context))
        for action, resource in asked
    )


def change_trail(handling: Handling) -> Output:
    """CreateTrail and UpdateTrail: refused, with nothing changed, if CloudTrail could not write to the bucket."""
    trails = handling.place.backend("cloudtrail").trails
    name = str(handling.params["Name"]).rpartition("/")[2]
    before = dict(vars(trails[name])) if name in trails else None
    answer = handling.moto()
    if "S3BucketName" not in handling.params or not delivery_error(trails[name]):
        return answer
    if before is None:
        del trails[name]
    else:
        vars(trails[name]).update(before)
    message = f"Incorrect S3 bucket policy is detected for bucket: {handling.params['S3BucketName']}"
    raise wire.AWSError("InsufficientS3BucketPolicyException", message, 400)


def delete_trail(handling: Handling) -> Output:
    """DeleteTrail by name or ARN; moto ignores ARNs and unknown names."""
    trail = _trail(handling, str(handling.params["Name"]))
    del cloudtrail_backends[trail.account_id][trail.region_name].trails[trail.trail_name]
    return {}


def describe_trails(handling: Handling) -> Output:
    """DescribeTrails with the asked-for trails only, and whether they have selectors of their own."""
    wanted = handling.params.get("trailNameList") or []
    found = [trail for trail in handling.moto()["trailList"] if not wanted or _named(trail, wanted)]
    return {"trailList": [_described(handling, trail) for trail in found]}


def get_trail(handling: Handling) -> Output:
    """GetTrail, by ARN from any region the trail shadows."""
    trail = _trail(handling, str(handling.params["Name"]))
    return {"Trail": _described(handling, {**trail.description(include_region=True)})}


def _named(trail: Output, wanted: list[str]) -> bool:
    return trail["Name"] in wanted or trail["TrailARN"] in wanted


def _described(handling: Handling, described: Output) -> Output:
    trail = _trail(handling, described["TrailARN"])
    described["HasCustomEventSelectors"] = bool(trail.event_selectors or trail.advanced_event_selectors)
    described["HasInsightSelectors"] = bool(trail.insight_selectors)
    return {name: value for name, value in described.items() if value not in (None, "")}


def get_event_selectors(handling: Handling) -> Output:
    """GetEventSelectors: management events of both kinds unless selectors were put."""
    trail = _trail(handling, str(handling.params["TrailName"]))
    if trail.advanced_event_selectors and not trail.event_selectors:
        return {"TrailARN": trail.arn, "AdvancedEventSelectors": trail.advanced_event_selectors}
    return {"TrailARN": trail.arn, "EventSelectors": trail.event_selectors or [_DEFAULT_SELECTOR]}


def _trail(handling: Handling, name: str) -> Any:
    """The trail of this name in the region, or of this ARN in any; shadow trails are seen from every region."""
    regions = cloudtrail_backends[handling.call.account]
    for region, backend in list(regions.items()):
        for trail in backend.trails.values():
            here = region == handling.call.region or trail.is_multi_region
            if trail.arn == name or (trail.trail_name == name and here):
                return trail
    message = f"Unknown trail: {name} for the user: {handling.call.account}"
    raise wire.AWSError("TrailNotFoundException", message, 400)


OPERATIONS: Operations = {
    ("cloudtrail", "GetTrailStatus"): get_trail_status,
    ("cloudtrail", "CreateTrail"): change_trail,
    ("cloudtrail", "UpdateTrail"): change_trail,
    ("cloudtrail", "DeleteTrail"): delete_trail,
    ("cloudtrail", "DescribeTrails"): describe_trails,
    ("cloudtrail", "GetTrail"): get_trail,
    ("cloudtrail", "GetEventSelectors"): get_event_selectors,
}
