"""Buckets, each with the region it is in, and where they are replicated to."""

from collections.abc import Iterator

from passmuster.inventory.call import RARELY, Call, Where
from passmuster.inventory.snapshot import Gap, Row, Unread, View

BUCKETS = Call(
    "s3",
    "ListBuckets",
    args={"MaxBuckets": 1000},
    where=Where.GLOBAL,
    items="Buckets",
    keep=("Name", "BucketRegion", "CreationDate"),
)
"""One list for all regions. The number of buckets in a page makes AWS add their regions."""

BUCKET_LOCATION = Call(
    "s3",
    "GetBucketLocation",
    each=BUCKETS,
    over="[@][?!BucketRegion].Name",
    param="Bucket",
    keep="{Place: LocationConstraint || 'us-east-1'}",
    absent=("NoSuchBucket",),
)
"""Where a bucket is that the list says no region of: not asked of AWS itself, but of what stands in for it."""

_FIRST_NAMES = {"EU": "eu-west-1"}
"""What S3 still calls a region by where a bucket was made under that name."""

BUCKET_ENCRYPTION = Call(
    "s3",
    "GetBucketEncryption",
    each=BUCKETS,
    over="Name",
    param="Bucket",
    region_of="BucketRegion",
    keep="{Rules: ServerSideEncryptionConfiguration.Rules[].ApplyServerSideEncryptionByDefault}",
    absent=("ServerSideEncryptionConfigurationNotFoundError", "NoSuchBucket"),
)

BUCKET_REPLICATION = Call(
    "s3",
    "GetBucketReplication",
    each=BUCKETS,
    over="Name",
    param="Bucket",
    region_of="BucketRegion",
    items="ReplicationConfiguration.Rules",
    keep="{Status: Status, Bucket: Destination.Bucket, Account: Destination.Account}",
    absent=("ReplicationConfigurationNotFoundError", "NoSuchBucket"),
    freshness=RARELY,
)
"""One row is a rule: whether it is enabled and the ARN of the bucket it replicates to."""

BUCKET_VERSIONING = Call(
    "s3",
    "GetBucketVersioning",
    each=BUCKET_REPLICATION,
    over="Status == 'Enabled'",
    param={"Bucket": "request.Bucket"},
    keep=("Status", "MFADelete"),
    absent=("NoSuchBucket",),
    freshness=RARELY,
)
"""Of buckets with a rule that replicates them."""


def located(view: View) -> Iterator[tuple[Row, str]]:
    """Every bucket with its region; then Unread for those whose region could not be read."""
    gaps: list[Gap] = []
    for bucket in view.rows(BUCKETS):
        try:
            place = bucket.get("BucketRegion") or _place(view, bucket)
        except Unread as unread:
            gaps.extend(unread.gaps)
        else:
            if place:
                yield bucket, str(place)
    if gaps:
        raise Unread(gaps)


def _place(view: View, bucket: Row) -> str | None:
    """Where the bucket itself says that it is; None for one that is gone."""
    found = view.row(BUCKET_LOCATION, bucket)
    return _FIRST_NAMES.get(found["Place"], found["Place"]) if found is not None else None


def target_bucket(rule: Row) -> str:
    """The name of the bucket that a rule replicates to."""
    return str(rule.get("Bucket") or "").rpartition(":")[2]


def replicated_to(view: View, bucket: Row) -> Iterator[str]:
    """The names of the buckets that the enabled rules of a bucket replicate to."""
    return (target_bucket(rule) for rule in view.rows(BUCKET_REPLICATION, bucket) if rule.get("Status") == "Enabled")


def is_versioned(view: View, bucket: Row) -> bool:
    """Whether a bucket that has rules of replication keeps versions, without which nothing is replicated."""
    return any(
        row.get("Status") == "Enabled"
        for rule in view.rows(BUCKET_REPLICATION, bucket)
        for row in view.rows(BUCKET_VERSIONING, rule)
    )
