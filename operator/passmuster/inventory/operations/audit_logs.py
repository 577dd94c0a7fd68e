"""Where the account's audit logs lie, and what is asked about the buckets and log groups that keep them.

::

    trail             -> bucket, log group       asked where the trail lives, governed or not
    flow log          -> bucket or log group
    web ACL's logging -> bucket or log group     those of distributions in the control region

A fan-out from whatever names a bucket asks about that bucket alone, however many the account has.
"""

from __future__ import annotations

from dataclasses import dataclass

from passmuster.inventory.call import RARELY, THIS_ACCOUNT, Call, Where
from passmuster.inventory.operations.cloudtrail import TRAILS
from passmuster.inventory.operations.ec2 import FLOW_LOGS
from passmuster.inventory.operations.logs import LOG_GROUPS
from passmuster.inventory.operations.wafv2 import EDGE_LOGGING, REGIONAL_LOGGING
from passmuster.inventory.snapshot import Row, View

ACCOUNT_ACCESS = Call(
    "s3control",
    "GetPublicAccessBlock",
    args={"AccountId": THIS_ACCOUNT},
    where=Where.GLOBAL,
    keep=("PublicAccessBlockConfiguration",),
    absent=("NoSuchPublicAccessBlockConfiguration",),
    actions=("s3:GetAccountPublicAccessBlock",),
    freshness=RARELY,
)
"""What the account blocks for all its buckets."""


@dataclass(frozen=True, slots=True)
class Source:
    """What writes audit logs, and what is asked about the places it names.

    `folder` is what the keys of its logs say after the account; `groups` lists log groups.
    """

    call: Call
    folder: str
    lifecycle: Call
    lock: Call
    versioning: Call
    policy: Call
    access: Call
    groups: Call

    @property
    def calls(self) -> tuple[Call, ...]:
        return (self.lifecycle, self.lock, self.versioning, self.policy, self.access, self.groups)


def _source(call: Call, folder: str, over: str, bucket: str, region_of: str = "", groups: Call = LOG_GROUPS) -> Source:
    """`over` gives the places that are buckets, `bucket` makes of such a `value` the name."""

    def about(operation: str, keep: tuple[str, ...] | str, *absent: str, items: str = "") -> Call:
        return Call(
            "s3",
            operation,
            each=call,
            over=over,
            param={"Bucket": bucket},
            region_of=region_of,
            items=items,
            keep=keep,
            absent=("NoSuchBucket", *absent),
            freshness=RARELY,
        )

    rules = (
        "{Status: Status, Prefix: not_null(Filter.And.Prefix, Filter.Prefix, Prefix), "
        "Tagged: Filter.Tag != `null` || Filter.And.Tags != `null`, Days: Expiration.Days, Date: Expiration.Date}"
    )
    return Source(
        call,
        folder,
        about("GetBucketLifecycleConfiguration", rules, "NoSuchLifecycleConfiguration", items="Rules"),
        about(
            "GetObjectLockConfiguration",
            "{Mode: ObjectLockConfiguration.Rule.DefaultRetention.Mode}",
            "ObjectLockConfigurationNotFoundError",
        ),
        about("GetBucketVersioning", ("Status", "MFADelete")),
        about("GetBucketPolicy", ("Policy",), "NoSuchBucketPolicy"),
        about("GetPublicAccessBlock", ("PublicAccessBlockConfiguration",), "NoSuchPublicAccessBlockConfiguration"),
        groups,
    )


def _groups(call: Call, over: str, region_of: str = "") -> Call:
    """The log groups that a source names, asked where they are: that region may not be governed."""
    return Call(
        "logs",
        "DescribeLogGroups",
        each=call,
        over=over,
        param={"logGroupNamePrefix": "first_of(last_of(value, ':log-group:'), ':')"},
        region_of=region_of,
        items="logGroups",
        keep=("logGroupName", "retentionInDays"),
        freshness=RARELY,
    )


NAMED = "first_of(last_of(value, ':::'), '/')"
TO_BUCKETS = "LogDestinationConfigs[?contains(@, ':s3:::')]"
SOURCES = (
    _source(
        TRAILS,
        "cloudtrail",
        "S3BucketName",
        "value",
        "HomeRegion",
        _groups(TRAILS, "CloudWatchLogsLogGroupArn", "CloudWatchLogsLogGroupArn"),
    ),
    _source(FLOW_LOGS, "vpcflowlogs", "[@][?LogDestinationType=='s3'].LogDestination", NAMED),
    _source(REGIONAL_LOGGING, "waflogs", TO_BUCKETS, NAMED),
    _source(
        EDGE_LOGGING,
        "waflogs",
        TO_BUCKETS,
        NAMED,
        groups=_groups(EDGE_LOGGING, "LogDestinationConfigs[?contains(@, ':log-group:')]"),
    ),
)

SOURCE_CALLS = tuple(dict.fromkeys(call for source in SOURCES for call in source.calls))
"""What is read about all sources."""


def places(view: View, row: Row) -> list[str]:
    """Where a source's logs go, as ARNs; a trail of another account stands for itself."""
    if row.call == TRAILS:
        if row["TrailARN"].split(":")[4] != view.account_id:
            return [row["TrailARN"]]
        prefix = f"/{row['S3KeyPrefix']}" if row.get("S3KeyPrefix") else ""
        bucket = f"arn:{view.partition}:s3:::{row['S3BucketName']}{prefix}" if row.get("S3BucketName") else ""
        return [_plain(place) for place in (bucket, row.get("CloudWatchLogsLogGroupArn")) if place]
    if row.call == FLOW_LOGS:
        group = f"arn:{view.partition}:logs:{row.region}:{view.account_id}:log-group:{row.get('LogGroupName')}"
        named = row.get("LogDestination") or (group if row.get("LogGroupName") else "")
        return [_plain(named)] if named else []
    return [_plain(place) for place in row.get("LogDestinationConfigs") or []]


def _plain(place: str) -> str:
    """An ARN without what stands for the streams of a log group, and without a slash at the end of a prefix."""
    return place.removesuffix(":*").rstrip("/")
