"""Resource types that hold data: buckets and their policies, registries, file systems."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from passmuster.sandbox.emulation.stacks.kinds import Api, Kind, Refused, Simple, Step, Tagging, Work, conform
from passmuster.sandbox.emulation.stacks.model import Properties


def _put(op: str, argument: str) -> Any:
    """A step that hands a property over in the API's own shape."""

    def put(s3: Any, bucket: str, value: Any) -> None:
        method = s3.meta.method_to_api_mapping[op]
        shape = s3.meta.service_model.operation_model(method).input_shape.members[argument]
        getattr(s3, op)(Bucket=bucket, **{argument: conform(value, shape, f"AWS::S3::Bucket {argument}")})

    return put


def _encryption(s3: Any, bucket: str, value: Mapping[str, Any]) -> None:
    rules = []
    for rule in value["ServerSideEncryptionConfiguration"]:
        default = rule.get("ServerSideEncryptionByDefault", {})
        key = {"KMSMasterKeyID": default["KMSMasterKeyID"]} if "KMSMasterKeyID" in default else {}
        told: dict[str, Any] = {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": default.get("SSEAlgorithm", "AES256"), **key}
        }
        if "BucketKeyEnabled" in rule:
            told["BucketKeyEnabled"] = str(rule["BucketKeyEnabled"]).lower() == "true"
        rules.append(told)
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})


def _lifecycle(s3: Any, bucket: str, value: Mapping[str, Any]) -> None:
    rules = [_lifecycle_rule(rule, index) for index, rule in enumerate(value["Rules"])]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def _lifecycle_rule(rule: Mapping[str, Any], index: int) -> dict[str, Any]:
    made: dict[str, Any] = {"ID": rule.get("Id", f"rule-{index}"), "Status": rule["Status"]}
    made["Filter"] = {"Prefix": rule.get("Prefix", "")}
    if "ExpirationInDays" in rule:
        made["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if str(rule.get("ExpiredObjectDeleteMarker", "")).lower() == "true":
        made["Expiration"] = {"ExpiredObjectDeleteMarker": True}
    transitions = rule.get("Transitions") or ([rule["Transition"]] if "Transition" in rule else [])
    if transitions:
        made["Transitions"] = [
            {"Days": int(t["TransitionInDays"]), "StorageClass": t["StorageClass"]} for t in transitions
        ]
    old = rule.get("NoncurrentVersionExpiration", {})
    if "NoncurrentVersionExpirationInDays" in rule or old:
        days = rule.get("NoncurrentVersionExpirationInDays") or old["NoncurrentDays"]
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(days)}
    if "AbortIncompleteMultipartUpload" in rule:
        days = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": int(days)}
    return made


def _logging(s3: Any, bucket: str, value: Mapping[str, Any]) -> None:
    target = {
        "TargetBucket": value.get("DestinationBucketName", bucket),
        "TargetPrefix": value.get("LogFilePrefix", ""),
    }
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": target})


def _replication(s3: Any, bucket: str, value: Mapping[str, Any]) -> None:
    _put("put_bucket_replication", "ReplicationConfiguration")(
        s3, bucket, {**value, "Rules": [{"ID": f"rule-{n}", **_renamed_id(r)} for n, r in enumerate(value["Rules"])]}
    )


def _renamed_id(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {"ID" if name == "Id" else name: inner for name, inner in rule.items()}


def _object_lock(s3: Any, bucket: str, value: Mapping[str, Any]) -> None:
    _put("put_object_lock_configuration", "ObjectLockConfiguration")(s3, bucket, value)


class Bucket(Simple):
    """AWS::S3::Bucket with every setting the checks read. Deleted only when empty, as AWS insists."""

    def create(self, work: Work, properties: Properties) -> str:
        s3, name = work.client("s3"), str(properties["BucketName"])
        region = work.place.region
        extra: dict[str, Any] = {}
        if region != "us-east-1":
            extra["CreateBucketConfiguration"] = {"LocationConstraint": region}
        if str(properties.get("ObjectLockEnabled", "")).lower() == "true":
            extra["ObjectLockEnabledForBucket"] = True
        s3.create_bucket(Bucket=name, **extra)
        work.made(name)
        for step in self.steps:
            if step.property in properties:
                step.put(s3, name, properties[step.property])
        self.retag(work, {}, properties)
        return name

    def retag(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        # S3 refuses tags of AWS itself from callers, so they are written where S3 keeps them
        tags = {tag["Key"]: tag["Value"] for tag in work.all_tags(new.get("Tags"))}
        backend = work.place.backend("s3")
        backend.tagger.delete_all_tags_for_resource(backend.get_bucket(work.physical_id).arn)
        backend.put_bucket_tagging(work.physical_id, tags)

    def read(self, work: Work) -> Any:
        try:
            work.client("s3").head_bucket(Bucket=work.physical_id)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return {"BucketName": work.physical_id}

    def live(self, work: Work, properties: Properties) -> Mapping[str, Any] | None:
        if self.read(work) is None:
            return None
        versioning = work.client("s3").get_bucket_versioning(Bucket=work.physical_id).get("Status", "Suspended")
        told = {"BucketName": work.physical_id, "VersioningConfiguration": {"Status": versioning}}
        return {name: value for name, value in told.items() if name in properties}

    def _read(self, work: Work, properties: Properties) -> Any:
        del properties
        return self.read(work)

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("s3").delete_bucket(Bucket=work.physical_id)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        name, region = work.physical_id, work.place.region
        return {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": f"{name}.s3.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
            "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
            "WebsiteURL": f"http://{name}.s3-website.{region}.amazonaws.com",
        }


class BucketPolicy(Kind):
    """AWS::S3::BucketPolicy; Ref is the bucket."""

    type_name = "AWS::S3::BucketPolicy"

    def create(self, work: Work, properties: Properties) -> str:
        bucket = str(properties["Bucket"])
        work.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps(properties["PolicyDocument"]))
        return work.made(bucket)

    def read(self, work: Work) -> Any:
        try:
            answer = work.client("s3").get_bucket_policy(Bucket=work.physical_id)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchBucketPolicy", "NoSuchBucket"):
                return None
            raise
        return {"Bucket": work.physical_id, "PolicyDocument": json.loads(answer["Policy"])}

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        if old["Bucket"] != new["Bucket"]:
            raise Refused("a bucket policy cannot move to another bucket")
        self.create(work, new)

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("s3").delete_bucket_policy(Bucket=work.physical_id)


class RegistryScanning(Kind):
    """AWS::ECR::RegistryScanningConfiguration, a setting of the account; deleted, it is basic and empty again."""

    type_name = "AWS::ECR::RegistryScanningConfiguration"

    def create(self, work: Work, properties: Properties) -> str:
        rules = [
            {
                "scanFrequency": rule["ScanFrequency"],
                "repositoryFilters": [
                    {"filter": f["Filter"], "filterType": f["FilterType"]} for f in rule["RepositoryFilters"]
                ],
            }
            for rule in properties["Rules"]
        ]
        ecr = work.client("ecr")
        ecr.put_registry_scanning_configuration(scanType=properties["ScanType"], rules=rules)
        return work.made(work.place.account)

    def read(self, work: Work) -> Any:
        return work.client("ecr").get_registry_scanning_configuration()["scanningConfiguration"]

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        self.create(work, new)

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        work.client("ecr").put_registry_scanning_configuration(scanType="BASIC", rules=[])


KINDS: tuple[Kind, ...] = (
    Bucket(
        type_name="AWS::S3::Bucket",
        service="s3",
        create_op="create_bucket",
        made="@name",
        by={"Bucket": "@"},
        read_api=Api("head_bucket"),
        delete_op="delete_bucket",
        name_property="BucketName",
        name_limit=63,
        name_lower=True,
        apart=("ObjectLockEnabled",),
        steps=(
            Step(
                "VersioningConfiguration",
                put=_put("put_bucket_versioning", "VersioningConfiguration"),
                drop=lambda s3, bucket: s3.put_bucket_versioning(
                    Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}
                ),
            ),
            Step("OwnershipControls", put=_put("put_bucket_ownership_controls", "OwnershipControls")),
            Step("AccessControl", put=lambda s3, bucket, value: s3.put_bucket_acl(Bucket=bucket, ACL=_acl(value))),
            Step(
                "BucketEncryption",
                put=_encryption,
                drop=lambda s3, bucket: s3.delete_bucket_encryption(Bucket=bucket),
            ),
            Step(
                "PublicAccessBlockConfiguration",
                put=_put("put_public_access_block", "PublicAccessBlockConfiguration"),
                drop=lambda s3, bucket: s3.delete_public_access_block(Bucket=bucket),
            ),
            Step(
                "LifecycleConfiguration",
                put=_lifecycle,
                drop=lambda s3, bucket: s3.delete_bucket_lifecycle(Bucket=bucket),
            ),
            Step("ObjectLockConfiguration", put=_object_lock),
            Step("LoggingConfiguration", put=_logging),
            Step(
                "ReplicationConfiguration",
                put=_replication,
                drop=lambda s3, bucket: s3.delete_bucket_replication(Bucket=bucket),
            ),
        ),
        attribute_paths={},
    ),
    BucketPolicy(),
    Simple(
        type_name="AWS::ECR::Repository",
        service="ecr",
        create_op="create_repository",
        made="repository.repositoryName",
        by={"repositoryName": "@"},
        read_api=Api("describe_repositories", {"repositoryNames": ["@"]}, "repositories[0]"),
        delete_op="delete_repository",
        name_property="RepositoryName",
        name_lower=True,
        apart=("EmptyOnDelete",),
        steps=(
            Step(
                "ImageScanningConfiguration",
                put=lambda ecr, name, value: ecr.put_image_scanning_configuration(
                    repositoryName=name,
                    imageScanningConfiguration={"scanOnPush": str(value.get("ScanOnPush", False)).lower() == "true"},
                ),
            ),
            Step(
                "ImageTagMutability",
                put=lambda ecr, name, value: ecr.put_image_tag_mutability(
                    repositoryName=name, imageTagMutability=value
                ),
            ),
            Step(
                "LifecyclePolicy",
                put=lambda ecr, name, value: ecr.put_lifecycle_policy(
                    repositoryName=name, lifecyclePolicyText=value["LifecyclePolicyText"]
                ),
                drop=lambda ecr, name: ecr.delete_lifecycle_policy(repositoryName=name),
            ),
            Step(
                "RepositoryPolicyText",
                put=lambda ecr, name, value: ecr.set_repository_policy(
                    repositoryName=name, policyText=json.dumps(value)
                ),
                drop=lambda ecr, name: ecr.delete_repository_policy(repositoryName=name),
            ),
        ),
        tagging=Tagging(
            param="tags",
            put=Api("tag_resource", {"resourceArn": "@arn", "tags": "@tags"}),
            take=Api("untag_resource", {"resourceArn": "@arn", "tagKeys": "@keys"}),
        ),
        arn="arn:aws:ecr:{region}:{account}:repository/{id}",
        attribute_paths={"Arn": "repositoryArn", "RepositoryUri": "repositoryUri"},
    ),
    RegistryScanning(),
    Simple(
        type_name="AWS::EFS::FileSystem",
        service="efs",
        create_op="create_file_system",
        made="FileSystemId",
        by={"FileSystemId": "@"},
        read_api=Api("describe_file_systems", {"FileSystemId": "@"}, "FileSystems[0]"),
        delete_op="delete_file_system",
        steps=(
            Step(
                "BackupPolicy",
                put=lambda efs, system, value: efs.put_backup_policy(FileSystemId=system, BackupPolicy=dict(value)),
            ),
            Step(
                "LifecyclePolicies",
                put=lambda efs, system, value: efs.put_lifecycle_configuration(
                    FileSystemId=system, LifecyclePolicies=list(value)
                ),
            ),
        ),
        tagging=Tagging(
            param="Tags",
            put=Api("tag_resource", {"ResourceId": "@", "Tags": "@tags"}),
            take=Api("untag_resource", {"ResourceId": "@", "TagKeys": "@keys"}),
        ),
        tag_property="FileSystemTags",
        attribute_paths={"FileSystemId": "@", "Arn": "FileSystemArn"},
    ),
)


def _acl(value: str) -> str:
    """`LogDeliveryWrite` as S3 writes it: `log-delivery-write`."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in value).lstrip("-")
