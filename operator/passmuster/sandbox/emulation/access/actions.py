"""Which IAM action and which resource a call needs, where they differ from the operation's name.

iam.py judges calls by it while access control is enforced. The names follow the Service Authorization Reference.
"""

from passmuster.sandbox.emulation import wire

_PREFIXES = {
    "cloudwatch": "cloudwatch",
    "resourcegroupstaggingapi": "tag",
    "cloudcontrol": "cloudformation",
    "s3control": "s3",
}

_S3 = {
    "ListBuckets": "ListAllMyBuckets",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadObject": "GetObject",
    "DeleteObjects": "DeleteObject",
    "CopyObject": "PutObject",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketReplication": "GetReplicationConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "PutBucketCors": "PutBucketCORS",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
}

_OTHERS = {
    ("s3control", "GetPublicAccessBlock"): "s3:GetAccountPublicAccessBlock",
    ("s3control", "PutPublicAccessBlock"): "s3:PutAccountPublicAccessBlock",
    ("budgets", "DescribeBudgets"): "budgets:ViewBudget",
    ("budgets", "DescribeBudget"): "budgets:ViewBudget",
    ("budgets", "DescribeNotificationsForBudget"): "budgets:ViewBudget",
    ("budgets", "DescribeSubscribersForNotification"): "budgets:ViewBudget",
    ("budgets", "CreateBudget"): "budgets:ModifyBudget",
    ("budgets", "UpdateBudget"): "budgets:ModifyBudget",
    ("budgets", "DeleteBudget"): "budgets:ModifyBudget",
    ("budgets", "CreateNotification"): "budgets:ModifyBudget",
    ("budgets", "CreateSubscriber"): "budgets:ModifyBudget",
}

_REST_VERBS = ("apigateway", "apigatewayv2")
_STACK_OPERATIONS = "cloudformation"


def action_of(call: wire.Call) -> str:
    """The IAM action of this call, `service:Action`."""
    if call.service == "s3":
        return f"s3:{_S3.get(call.operation, call.operation)}"
    if call.service in _REST_VERBS:
        return f"apigateway:{call.environ['REQUEST_METHOD']}"
    other = _OTHERS.get((call.service, call.operation))
    return other or f"{_prefix(call)}:{call.operation}"


def _prefix(call: wire.Call) -> str:
    metadata = wire.service_model(call.service).metadata
    return _PREFIXES.get(call.service) or str(metadata.get("signingName") or metadata["endpointPrefix"])


def resource_of(call: wire.Call) -> str:
    """The ARN this call is about; "" where it cannot be told from the request."""
    params = call.params
    if call.service == "s3":
        return _bucket_or_object(params)
    if call.service == _STACK_OPERATIONS and "StackName" in params:
        name = str(params["StackName"])
        return name if name.startswith("arn:") else f"{_stack_arn(call, name)}/*"
    if call.service == "iam" and "RoleName" in params:
        return f"arn:aws:iam::{call.account}:role/{params['RoleName']}"
    arns = [value for value in params.values() if isinstance(value, str) and value.startswith("arn:")]
    return arns[0] if arns else ""


def _bucket_or_object(params: dict[str, object]) -> str:
    bucket = params.get("Bucket")
    if not bucket:
        return ""
    return f"arn:aws:s3:::{bucket}/{params['Key']}" if "Key" in params else f"arn:aws:s3:::{bucket}"


def _stack_arn(call: wire.Call, name: str) -> str:
    return f"arn:aws:cloudformation:{call.region}:{call.account}:stack/{name}"


def passed_role(call: wire.Call) -> str:
    """The role that this call hands to a service, which needs iam:PassRole; "" if none."""
    if call.service != _STACK_OPERATIONS:
        return ""
    return str(call.params.get("RoleARN", ""))
