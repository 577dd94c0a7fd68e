"""Buckets, each with the region it is in."""

from passmuster.inventory.call import Call, Where
from passmuster.inventory.snapshot import Row

BUCKETS = Call(
    "s3",
    "ListBuckets",
    args={"MaxBuckets": 1000},
    where=Where.GLOBAL,
    items="Buckets",
    keep=("Name", "BucketRegion", "CreationDate"),
)
"""One list for all regions. The number of buckets in a page makes AWS add their regions."""

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
)
"""One row is a rule: whether it is enabled and the ARN of the bucket it replicates to."""

BUCKET_VERSIONING = Call(
    "s3",
    "GetBucketVersioning",
    each=BUCKETS,
    over="Name",
    param="Bucket",
    region_of="BucketRegion",
    keep=("Status", "MFADelete"),
    absent=("NoSuchBucket",),
)


def is_in(bucket: Row, region: str | None) -> bool:
    """Whether the bucket is in the region; one whose region AWS does not tell is where the list was read."""
    return (bucket.get("BucketRegion") or bucket.region) == region
