"""ElastiCache's serverless caches, which moto does not have. Served by front.py; deployed by the cache remediation."""

from datetime import UTC, datetime

from passmuster.sandbox.emulation.operation import Handling, Operations, Output
from passmuster.sandbox.emulation.wire import AWSError

_TAKEN = (
    "Description",
    "Engine",
    "MajorEngineVersion",
    "CacheUsageLimits",
    "KmsKeyId",
    "SecurityGroupIds",
    "SubnetIds",
    "SnapshotRetentionLimit",
    "DailySnapshotTime",
    "UserGroupId",
)
_PORT = 6379


def _known(handling: Handling) -> dict[str, Output]:
    return handling.place.state("serverless-caches")


def _one(handling: Handling) -> Output:
    name = str(handling.params["ServerlessCacheName"])
    if name not in _known(handling):
        raise AWSError("ServerlessCacheNotFoundFault", f"The serverless cache {name} does not exist", 404)
    return _known(handling)[name]


def create(handling: Handling) -> Output:
    """CreateServerlessCache, in subnets and behind security groups that exist."""
    params, place = handling.params, handling.place
    name = str(params["ServerlessCacheName"])
    if name in _known(handling):
        raise AWSError("ServerlessCacheAlreadyExistsFault", f"The serverless cache {name} exists already", 400)
    ec2 = place.client("ec2")
    if params.get("SubnetIds"):
        ec2.describe_subnets(SubnetIds=list(params["SubnetIds"]))
    if params.get("SecurityGroupIds"):
        ec2.describe_security_groups(GroupIds=list(params["SecurityGroupIds"]))
    host = f"{name}.serverless.{handling.call.region}.cache.amazonaws.com"
    made = {
        **{member: params[member] for member in _TAKEN if member in params},
        "ServerlessCacheName": name,
        "ARN": f"arn:aws:elasticache:{handling.call.region}:{handling.call.account}:serverlesscache:{name}",
        "CreateTime": datetime.now(UTC),
        "Status": "available",
        "Endpoint": {"Address": host, "Port": _PORT},
        "ReaderEndpoint": {"Address": host, "Port": _PORT + 1},
    }
    _known(handling)[name] = made
    return {"ServerlessCache": made}


def modify(handling: Handling) -> Output:
    cache = _one(handling)
    cache.update({member: handling.params[member] for member in _TAKEN if member in handling.params})
    return {"ServerlessCache": cache}


def describe(handling: Handling) -> Output:
    if "ServerlessCacheName" in handling.params:
        return {"ServerlessCaches": [_one(handling)]}
    return {"ServerlessCaches": list(_known(handling).values())}


def delete(handling: Handling) -> Output:
    cache = _one(handling)
    del _known(handling)[cache["ServerlessCacheName"]]
    return {"ServerlessCache": {**cache, "Status": "deleting"}}


OPERATIONS: Operations = {
    ("elasticache", "CreateServerlessCache"): create,
    ("elasticache", "ModifyServerlessCache"): modify,
    ("elasticache", "DescribeServerlessCaches"): describe,
    ("elasticache", "DeleteServerlessCache"): delete,
}
