"""S3 and EFS: what a fresh bucket has by default, where it is, and backup policies.

Since 2023 AWS encrypts every new bucket, blocks its public access and switches ACLs off; moto's fresh buckets have
none of it. Served by front.py.
"""

from passmuster.sandbox.emulation.operation import Handling, Operations, Output
from passmuster.sandbox.emulation.wire import AWSError

_DEFAULT_ENCRYPTION = {
    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]
}
_BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


def create_bucket(handling: Handling) -> Output:
    """CreateBucket with today's defaults, which a seed takes away as a person would."""
    answer = handling.moto()
    bucket = str(handling.params["Bucket"])
    s3 = handling.place.client("s3")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=_BLOCKED)
    if "ObjectOwnership" not in handling.params and "ACL" not in handling.params:
        rules = [{"ObjectOwnership": "BucketOwnerEnforced"}]
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": rules})
    return answer


def list_buckets(handling: Handling) -> Output:
    """ListBuckets, which tells the regions where it is asked for pages; moto never does."""
    answer = handling.moto()
    if "MaxBuckets" in handling.params:
        known = handling.place.backend("s3").buckets
        for bucket in answer.get("Buckets") or ():
            bucket["BucketRegion"] = known[bucket["Name"]].region_name
    return answer


def get_bucket_encryption(handling: Handling) -> Output:
    try:
        return handling.moto()
    except AWSError as error:
        if error.code != "ServerSideEncryptionConfigurationNotFoundError":
            raise
    return {"ServerSideEncryptionConfiguration": _DEFAULT_ENCRYPTION}


def put_backup_policy(handling: Handling) -> Output:
    """EFS's PutBackupPolicy, which moto can only set at creation."""
    systems, wanted = handling.place.backend("efs").file_systems_by_id, str(handling.params["FileSystemId"])
    if wanted not in systems:
        raise AWSError("FileSystemNotFound", f"File system '{wanted}' does not exist.", 404)
    policy = dict(handling.params["BackupPolicy"])
    systems[wanted]._backup = policy["Status"] == "ENABLED"
    return {"BackupPolicy": policy}


OPERATIONS: Operations = {
    ("s3", "CreateBucket"): create_bucket,
    ("s3", "ListBuckets"): list_buckets,
    ("s3", "GetBucketEncryption"): get_bucket_encryption,
    ("efs", "PutBackupPolicy"): put_backup_policy,
}
