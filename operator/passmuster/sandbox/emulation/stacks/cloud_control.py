"""Cloud Control's GetResource: a resource as its type describes it, read from the simulated services.

The adoption of a resource begins with it, and drift of the same types is told by it, as AWS tells both by one handler.
A model is made only for types whose properties all come back from the read that is named here; any other type is
refused, because half a model would be imported as if it were whole. What AWS fills in where nobody said anything is in
the model, empty lists included: the traps of an adoption are these.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from passmuster.sandbox.emulation.operation import Handling, Operations, Output, Place
from passmuster.sandbox.emulation.stacks import engine
from passmuster.sandbox.emulation.stacks.kinds import unless_gone
from passmuster.sandbox.emulation.stacks.model import Properties
from passmuster.sandbox.emulation.wire import AWSError

Read = Callable[[Place, str], Properties | None]
"""The model of one resource by its identifier; None if there is none."""


def _log_group(place: Place, identifier: str) -> Properties | None:
    logs = place.client("logs")
    found = logs.describe_log_groups(logGroupNamePrefix=identifier)["logGroups"]
    group = next((one for one in found if one["logGroupName"] == identifier), None)
    if group is None:
        return None
    tags = logs.list_tags_log_group(logGroupName=identifier).get("tags", {})
    return {
        **_said(
            LogGroupName=identifier,
            Arn=group["arn"],
            RetentionInDays=group.get("retentionInDays"),
            KmsKeyId=group.get("kmsKeyId"),
            LogGroupClass=group.get("logGroupClass") or "STANDARD",
        ),
        "Tags": _tags(tags),
    }


def _repository(place: Place, identifier: str) -> Properties | None:
    ecr = place.client("ecr")
    found = ecr.describe_repositories(repositoryNames=[identifier])["repositories"][0]
    encryption = found.get("encryptionConfiguration") or {"encryptionType": "AES256"}
    tags = ecr.list_tags_for_resource(resourceArn=found["repositoryArn"]).get("tags", [])
    lifecycle = unless_gone(lambda: ecr.get_lifecycle_policy(repositoryName=identifier))
    policy = unless_gone(lambda: ecr.get_repository_policy(repositoryName=identifier))
    return {
        **_said(
            RepositoryName=identifier,
            Arn=found["repositoryArn"],
            RepositoryUri=found["repositoryUri"],
            ImageTagMutability=found.get("imageTagMutability"),
            ImageScanningConfiguration={
                "ScanOnPush": found.get("imageScanningConfiguration", {}).get("scanOnPush", False)
            },
            EncryptionConfiguration=_said(
                EncryptionType=encryption.get("encryptionType"), KmsKey=encryption.get("kmsKey")
            ),
            LifecyclePolicy=_said(
                LifecyclePolicyText=lifecycle["lifecyclePolicyText"], RegistryId=lifecycle["registryId"]
            )
            if lifecycle
            else None,
            RepositoryPolicyText=json.loads(policy["policyText"]) if policy else None,
        ),
        "Tags": [{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags],
    }


def _trail(place: Place, identifier: str) -> Properties | None:
    cloudtrail = place.client("cloudtrail")
    trails = cloudtrail.describe_trails(trailNameList=[identifier])["trailList"]
    if not trails:
        return None
    trail = trails[0]
    status = cloudtrail.get_trail_status(Name=trail["TrailARN"])
    selectors = cloudtrail.get_event_selectors(TrailName=trail["TrailARN"])
    listed = cloudtrail.list_tags(ResourceIdList=[trail["TrailARN"]])["ResourceTagList"]
    insights = trail.get("HasInsightSelectors") and cloudtrail.get_insight_selectors(TrailName=trail["TrailARN"])
    return {
        **_said(
            TrailName=trail["Name"],
            Arn=trail["TrailARN"],
            S3BucketName=trail["S3BucketName"],
            S3KeyPrefix=trail.get("S3KeyPrefix"),
            SnsTopicName=trail.get("SnsTopicName"),
            SnsTopicArn=trail.get("SnsTopicARN"),
            IncludeGlobalServiceEvents=trail.get("IncludeGlobalServiceEvents", False),
            IsMultiRegionTrail=trail.get("IsMultiRegionTrail", False),
            IsOrganizationTrail=trail.get("IsOrganizationTrail", False),
            EnableLogFileValidation=trail.get("LogFileValidationEnabled", False),
            CloudWatchLogsLogGroupArn=trail.get("CloudWatchLogsLogGroupArn"),
            CloudWatchLogsRoleArn=trail.get("CloudWatchLogsRoleArn"),
            KMSKeyId=trail.get("KmsKeyId"),
            IsLogging=bool(status.get("IsLogging")),
        ),
        "AggregationConfigurations": [],
        "EventSelectors": [_basic(one) for one in selectors.get("EventSelectors", [])],
        "AdvancedEventSelectors": [dict(one) for one in selectors.get("AdvancedEventSelectors", [])],
        "InsightSelectors": [dict(one) for one in insights["InsightSelectors"]] if insights else [],
        "Tags": [dict(tag) for tags in listed for tag in tags.get("TagsList", [])],
    }


def _basic(selector: Mapping[str, Any]) -> Properties:
    filled_in = {"ReadWriteType": "All", "IncludeManagementEvents": True}
    return {**filled_in, "DataResources": [], "ExcludeManagementEventSources": [], **selector}


_RESPONSE_HEADERS = (
    "access_control_allow_credentials",
    "access_control_allow_headers",
    "access_control_allow_methods",
    "access_control_allow_origin",
    "access_control_expose_headers",
    "access_control_max_age",
    "content_security_policy",
    "strict_transport_security",
    "x_content_type_options",
    "x_frame_options",
)


def _listener(place: Place, identifier: str) -> Properties | None:
    elbv2 = place.client("elbv2")
    found = elbv2.describe_listeners(ListenerArns=[identifier])["Listeners"][0]
    given = elbv2.describe_listener_attributes(ListenerArn=identifier)["Attributes"]
    attributes = {f"routing.http.response.{name}.header_value": "" for name in _RESPONSE_HEADERS}
    attributes |= {"routing.http.response.server.enabled": "true"}
    attributes |= {one["Key"]: one["Value"] for one in given if one["Key"].startswith("routing.")}
    secure = found.get("Protocol") == "HTTPS"
    return _said(
        ListenerArn=identifier,
        LoadBalancerArn=found["LoadBalancerArn"],
        Port=found.get("Port"),
        Protocol=found.get("Protocol"),
        SslPolicy=found.get("SslPolicy"),
        Certificates=[_said(CertificateArn=one["CertificateArn"]) for one in found.get("Certificates") or []],
        AlpnPolicy=found.get("AlpnPolicy"),
        DefaultActions=[_action(action) for action in found["DefaultActions"]],
        ListenerAttributes=[{"Key": key, "Value": value} for key, value in attributes.items()],
        MutualAuthentication=(found.get("MutualAuthentication") or {"Mode": "off"}) if secure else None,
    )


def _rule(place: Place, identifier: str) -> Properties | None:
    found = place.client("elbv2").describe_rules(RuleArns=[identifier])["Rules"][0]
    if found.get("IsDefault"):
        raise AWSError("InvalidRequestException", "A default rule is part of its listener", 400)
    return _said(
        RuleArn=identifier,
        IsDefault=False,
        Priority=int(found["Priority"]),
        Conditions=[dict(condition) for condition in found["Conditions"]],
        Actions=[_action(action) for action in found["Actions"]],
    )


def _action(action: Mapping[str, Any]) -> Properties:
    """An action without what AWS never tells."""
    told = _said(**action)
    if "AuthenticateOidcConfig" in told:
        told["AuthenticateOidcConfig"] = {
            name: value for name, value in told["AuthenticateOidcConfig"].items() if name != "ClientSecret"
        }
    return told


def _table(place: Place, identifier: str) -> Properties | None:
    dynamodb = place.client("dynamodb")
    table = dynamodb.describe_table(TableName=identifier)["Table"]
    backups = dynamodb.describe_continuous_backups(TableName=identifier)["ContinuousBackupsDescription"]
    told = backups.get("PointInTimeRecoveryDescription", {})
    recovers = told.get("PointInTimeRecoveryStatus") == "ENABLED"
    expiry = dynamodb.describe_time_to_live(TableName=identifier)["TimeToLiveDescription"]
    expires = expiry.get("TimeToLiveStatus") == "ENABLED"
    billing = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    throughput = table.get("ProvisionedThroughput", {})
    tags = dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"]).get("Tags", [])
    if table.get("LocalSecondaryIndexes") or table.get("Replicas"):
        raise AWSError("UnsupportedActionException", "The sandbox models no table with local indexes or replicas", 400)
    return {
        **_said(
            TableName=identifier,
            Arn=table["TableArn"],
            StreamArn=table.get("LatestStreamArn"),
            BillingMode=billing,
            ProvisionedThroughput=_said(
                ReadCapacityUnits=throughput.get("ReadCapacityUnits"),
                WriteCapacityUnits=throughput.get("WriteCapacityUnits"),
            )
            if billing == "PROVISIONED"
            else None,
            AttributeDefinitions=[dict(one) for one in table["AttributeDefinitions"]],
            KeySchema=[dict(one) for one in table["KeySchema"]],
            StreamSpecification=_said(StreamViewType=table.get("StreamSpecification", {}).get("StreamViewType")),
            DeletionProtectionEnabled=bool(table.get("DeletionProtectionEnabled")),
        ),
        "PointInTimeRecoverySpecification": {
            "PointInTimeRecoveryEnabled": recovers,
            **({"RecoveryPeriodInDays": told.get("RecoveryPeriodInDays", 35)} if recovers else {}),
        },
        "SSESpecification": _encryption(table.get("SSEDescription") or {}),
        "TimeToLiveSpecification": {
            "Enabled": expires,
            **({"AttributeName": expiry["AttributeName"]} if expires else {}),
        },
        "ContributorInsightsSpecification": {"Enabled": False},
        "WarmThroughput": _warm(table.get("WarmThroughput") or {}),
        "GlobalSecondaryIndexes": [_index(one) for one in table.get("GlobalSecondaryIndexes", [])],
        "Tags": [dict(tag) for tag in tags],
    }


def _encryption(described: Mapping[str, Any]) -> Properties:
    if described.get("Status") != "ENABLED":
        return {"SSEEnabled": False}
    return {"SSEEnabled": True, **_said(SSEType="KMS", KMSMasterKeyId=described.get("KMSMasterKeyArn"))}


def _index(index: Mapping[str, Any]) -> Properties:
    return {
        "IndexName": index["IndexName"],
        "KeySchema": [dict(one) for one in index["KeySchema"]],
        "Projection": dict(index["Projection"]),
        "ContributorInsightsSpecification": {"Enabled": False},
        "WarmThroughput": _warm(index.get("WarmThroughput") or {}),
    }


def _warm(described: Mapping[str, Any]) -> Properties:
    """What a table takes without warming up; AWS raises it with the traffic."""
    return {
        "ReadUnitsPerSecond": described.get("ReadUnitsPerSecond", 12000),
        "WriteUnitsPerSecond": described.get("WriteUnitsPerSecond", 4000),
    }


def _route(place: Place, identifier: str) -> Properties | None:
    table_id, _, destination = identifier.partition("|")
    table = place.client("ec2").describe_route_tables(RouteTableIds=[table_id])["RouteTables"][0]
    keys = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
    route = next((one for one in table["Routes"] if destination in [one.get(key) for key in keys]), None)
    if route is None or route.get("GatewayId") == "local":
        return None
    targets = ("GatewayId", "NatGatewayId", "TransitGatewayId", "VpcPeeringConnectionId", "NetworkInterfaceId")
    named = {name: route.get(name) for name in (*keys, *targets)}
    return _said(RouteTableId=table_id, CidrBlock=destination, **named)


def _said(**members: Any) -> Properties:
    return {name: value for name, value in members.items() if value not in (None, [], {})}


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


_READS: Mapping[str, Read] = {
    "AWS::CloudTrail::Trail": _trail,
    "AWS::DynamoDB::Table": _table,
    "AWS::EC2::Route": _route,
    "AWS::ECR::Repository": _repository,
    "AWS::ElasticLoadBalancingV2::Listener": _listener,
    "AWS::ElasticLoadBalancingV2::ListenerRule": _rule,
    "AWS::Logs::LogGroup": _log_group,
}


def model_of(kind: str, place: Place, identifier: str) -> Properties | None:
    """The model of a resource of a type that is read here; None if there is none."""
    return unless_gone(lambda: _READS[kind](place, identifier))


def is_read(kind: str) -> bool:
    """Whether a model is made of resources of this type."""
    return kind in _READS


@dataclass(frozen=True, slots=True)
class CloudControl:
    """The service, over the types that the engine knows."""

    engine: engine.Engine

    def operations(self) -> Operations:
        return {("cloudcontrol", "GetResource"): self.get_resource}

    def get_resource(self, handling: Handling) -> Output:
        kind, identifier = str(handling.params["TypeName"]), str(handling.params["Identifier"])
        if kind not in self.engine.kinds:
            raise AWSError("TypeNotFoundException", f"The type {kind} cannot be found", 400)
        if not is_read(kind):
            raise AWSError("UnsupportedActionException", f"Resource type {kind} does not support READ action", 400)
        model = model_of(kind, handling.place, identifier)
        if model is None:
            message = f"Resource of type '{kind}' with identifier '{identifier}' was not found."
            raise AWSError("ResourceNotFoundException", message, 400)
        described = {"Identifier": identifier, "Properties": json.dumps(model, default=str)}
        return {"TypeName": kind, "ResourceDescription": described}
