"""Adoption, type by type: what is imported is the resource as it is, and what is not ours to import is left alone.

Every type of the list has its remediations' closed loops too (`closed_loops`). Here are the traps: what AWS fills in
where nobody said anything, what it tells twice, what it keeps to itself, and who may hold the resource already. The
models in `TOLD` have the members that Cloud Control was seen to return for such resources of a real account.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from closed_loops import ROWS, Accounts, Adopted, Loop, prepared, simulated_accounts, world_of
from passmuster.inventory.snapshot import Reading, Snapshot
from passmuster.remediation import adoption, desired
from passmuster.remediation.adoption import ADOPTABLE, AdoptionUnread, described, refusal, stays_out
from passmuster.remediation.catalogue import load
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS
from replay import ACCOUNT, NOW, REGION

accounts = simulated_accounts
ELB = "arn:aws:elasticloadbalancing:eu-central-1:123456789012"


# a resource of each type, with what is easily lost --------------------------------------------------------------------


def log_group(aws: SimulatedAWS) -> str:
    """One that outlived its stack, whose tags it still has."""
    body = """
    Resources:
      Logs:
        Type: AWS::Logs::LogGroup
        DeletionPolicy: Retain
        Properties: {LogGroupName: /shop/pay, Tags: [{Key: Team, Value: pay}]}
    """
    stacks = aws.client("cloudformation", DEFAULT_REGION)
    stacks.create_stack(StackName="gone", TemplateBody=body)
    stacks.delete_stack(StackName="gone")
    return "/shop/pay"


def repository(aws: SimulatedAWS) -> str:
    ecr = aws.client("ecr", DEFAULT_REGION)
    ecr.create_repository(repositoryName="shop/web", tags=[{"Key": "Team", "Value": "web"}])
    rule = {"rulePriority": 1, "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan"}}
    rule["selection"] |= {"countNumber": 5}  # type: ignore[operator]
    policy = json.dumps({"rules": [{**rule, "action": {"type": "expire"}}]})
    ecr.put_lifecycle_policy(repositoryName="shop/web", lifecyclePolicyText=policy)
    statement = {"Sid": "pull", "Effect": "Allow", "Principal": "*", "Action": ["ecr:BatchGetImage"]}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ecr.set_repository_policy(repositoryName="shop/web", policyText=text)
    return "shop/web"


def trail(aws: SimulatedAWS) -> str:
    """One that was never told what to select: AWS tells nevertheless what it selects, and two empty lists."""
    prepared(aws, ROWS["trail-log-validation"])
    return "audit"


def _balancer(aws: SimulatedAWS) -> tuple[Any, str, str]:
    ec2, elbv2 = aws.client("ec2", DEFAULT_REGION), aws.client("elbv2", DEFAULT_REGION)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{i}.0/24", AvailabilityZone=f"{DEFAULT_REGION}{zone}")
        for i, zone in enumerate("ab")
    ]
    ids = [one["Subnet"]["SubnetId"] for one in subnets]
    balancer = elbv2.create_load_balancer(Name="shop", Subnets=ids)["LoadBalancers"][0]["LoadBalancerArn"]
    made = elbv2.create_target_group(Name="web", Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")
    return elbv2, balancer, made["TargetGroups"][0]["TargetGroupArn"]


def listener(aws: SimulatedAWS) -> str:
    """One that forwards, which AWS tells in two ways, with an attribute that somebody set."""
    elbv2, balancer, targets = _balancer(aws)
    actions = [{"Type": "forward", "TargetGroupArn": targets}]
    made = elbv2.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=actions)
    arn = str(made["Listeners"][0]["ListenerArn"])
    name = "routing.http.response.x_frame_options.header_value"
    elbv2.modify_listener_attributes(ListenerArn=arn, Attributes=[{"Key": name, "Value": "DENY"}])
    return arn


def rule(aws: SimulatedAWS) -> str:
    """One whose condition was given in the older way, and is told in both."""
    arn = listener(aws)
    elbv2 = aws.client("elbv2", DEFAULT_REGION)
    actions = elbv2.describe_listeners(ListenerArns=[arn])["Listeners"][0]["DefaultActions"]
    conditions = [
        {"Field": "path-pattern", "Values": ["/cart/*"]},
        {"Field": "host-header", "Values": ["shop.example"]},
    ]
    made = elbv2.create_rule(ListenerArn=arn, Priority=10, Conditions=conditions, Actions=actions)
    return str(made["Rules"][0]["RuleArn"])


def table(aws: SimulatedAWS) -> str:
    dynamodb = aws.client("dynamodb", DEFAULT_REGION)
    dynamodb.create_table(
        TableName="orders",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", "day")],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-day",
                "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["total", "buyer"]},
            }
        ],
        Tags=[{"Key": "Team", "Value": "orders"}],
    )
    expiry = {"Enabled": True, "AttributeName": "expires"}
    dynamodb.update_time_to_live(TableName="orders", TimeToLiveSpecification=expiry)
    return "orders"


def route(aws: SimulatedAWS) -> str:
    ec2 = aws.client("ec2", DEFAULT_REGION)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    table_id = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    gateways = [
        ec2.create_nat_gateway(SubnetId=subnet, AllocationId=ec2.allocate_address(Domain="vpc")["AllocationId"])
        for _ in range(2)
    ]
    own = gateways[0]["NatGateway"]["NatGatewayId"]
    ec2.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=own)
    return f"{table_id}|0.0.0.0/0"


def _other_gateway(aws: SimulatedAWS, model: Mapping[str, Any]) -> dict[str, Any]:
    found = aws.client("ec2", DEFAULT_REGION).describe_nat_gateways()["NatGateways"]
    return {"NatGatewayId": next(g["NatGatewayId"] for g in found if g["NatGatewayId"] != model["NatGatewayId"])}


REDIRECT = [{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}]
MANAGEMENT = {"Name": "all", "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]}
MADE: Mapping[str, tuple[Callable[[SimulatedAWS], str], Any]] = {
    "AWS::CloudTrail::Trail": (trail, {"EventSelectors": desired.ABSENT, "AdvancedEventSelectors": [MANAGEMENT]}),
    "AWS::DynamoDB::Table": (table, {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}),
    "AWS::EC2::Route": (route, _other_gateway),
    "AWS::ECR::Repository": (repository, {"ImageScanningConfiguration": {"ScanOnPush": True}}),
    "AWS::ElasticLoadBalancingV2::Listener": (listener, {"DefaultActions": REDIRECT}),
    "AWS::ElasticLoadBalancingV2::ListenerRule": (rule, {"Actions": REDIRECT}),
    "AWS::Logs::LogGroup": (log_group, {"RetentionInDays": 30}),
}
"""For each type of the list how such a resource is made, and what is then changed in it."""


# imported, changed, put back and released -----------------------------------------------------------------------------


@pytest.fixture(name="aws")
def empty_account(accounts: Accounts) -> SimulatedAWS:
    accounts.held = ""
    accounts.aws.reset()
    aws: SimulatedAWS = accounts.aws
    return aws


class Adopting:
    """The stack of one adoption, as CloudFormation has it."""

    def __init__(self, aws: SimulatedAWS, kind: str, identifier: str) -> None:
        self.client = aws.client("cloudformation", DEFAULT_REGION)
        self.resource = Adopted(aws, DEFAULT_REGION, kind, identifier)
        self.template = adoption.template(kind, described(kind, self.resource.model()), {}, "A test")
        self.made = 0

    def change(self, kind: str, **more: Any) -> list[dict[str, Any]]:
        """Makes and executes a change set; the changes that it says."""
        body = json.dumps(self.template)
        self.made += 1
        named = {"StackName": "adopted", "ChangeSetName": f"change-{self.made}"}
        self.client.create_change_set(**named, ChangeSetType=kind, TemplateBody=body, **more)
        told = self.client.describe_change_set(**named)
        assert told["Status"] == "CREATE_COMPLETE", told
        self.client.execute_change_set(**named)
        return [one["ResourceChange"] for one in told["Changes"]]

    def adopt(self) -> list[dict[str, Any]]:
        kind = self.resource.kind
        identifiers = adoption.identifiers(kind, self.resource.identifier)
        wanted = {"ResourceType": kind, "LogicalResourceId": adoption.LOGICAL_ID, "ResourceIdentifier": identifiers}
        return self.change("IMPORT", ResourcesToImport=[wanted])

    def set(self, properties: dict[str, Any]) -> None:
        self.template["Resources"][adoption.LOGICAL_ID]["Properties"] = properties
        (change,) = self.change("UPDATE")
        assert (change["Action"], change["Replacement"], change["Scope"]) == ("Modify", "False", ["Properties"])
        assert self.status() == "UPDATE_COMPLETE", self.client.describe_stack_events(StackName="adopted")

    def status(self) -> str:
        return str(self.client.describe_stacks(StackName="adopted")["Stacks"][0]["StackStatus"])

    def drift(self) -> str:
        told = self.client.detect_stack_resource_drift(StackName="adopted", LogicalResourceId=adoption.LOGICAL_ID)
        return str(told["StackResourceDrift"]["StackResourceDriftStatus"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(ADOPTABLE))
def test_a_resource_is_imported_as_it_is_changed_put_back_and_released_as_it_was(aws: SimulatedAWS, kind: str) -> None:
    make, wanted = MADE[kind]
    identifier = make(aws)
    stack = Adopting(aws, kind, identifier)
    before = stack.resource.model()
    (change,) = stack.adopt()
    assert (change["Action"], change["ResourceType"], change["PhysicalResourceId"]) == ("Import", kind, identifier)
    assert stack.status() == "IMPORT_COMPLETE"
    assert stack.resource.model() == before, "an import changes nothing"
    assert stack.drift() == "IN_SYNC", "what the template says is what is there"
    present = stack.template["Resources"][adoption.LOGICAL_ID]["Properties"]
    assert set(present) - {"ListenerArn"} <= set(before)
    asked = wanted(aws, before) if callable(wanted) else wanted
    prior = desired.prior_of(present, asked)
    stack.set(desired.laid_over(present, asked, {}))
    after = stack.resource.model()
    changed = {name for name in {*before, *after} if not desired.alike(before.get(name), after.get(name))}
    assert changed == set(asked), [(before.get(name), after.get(name)) for name in changed]
    assert stack.drift() == "IN_SYNC"
    stack.set(desired.put_back(stack.template["Resources"][adoption.LOGICAL_ID]["Properties"], prior))
    assert desired.alike(stack.resource.model(), before)
    stack.client.delete_stack(StackName="adopted")
    assert desired.alike(stack.resource.model(), before), "the resource outlives its stack as it was"


def test_every_type_of_the_list_is_made_here_and_has_a_closed_loop() -> None:
    assert set(MADE) == set(ADOPTABLE)
    adopting = {name for name, row in ROWS.items() if row.get("way") == "Adoption"}
    proven = {one.desired.type for one in load() if one.name in adopting and one.desired is not None}
    assert proven == set(ADOPTABLE)


def test_the_list_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "concepts.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(AWS::[A-Za-z0-9]+::[A-Za-z]+)`", text.partition("**Adopted**")[2].partition("\n\n")[0]))
    assert told == set(ADOPTABLE)


@pytest.mark.slow
def test_the_tags_of_a_stack_that_is_gone_are_not_imported(aws: SimulatedAWS) -> None:
    """CloudFormation refuses a template with tags that AWS keeps to itself."""
    stack = Adopting(aws, "AWS::Logs::LogGroup", log_group(aws))
    assert {tag["Key"] for tag in stack.resource.model()["Tags"]} > {"Team", "aws:cloudformation:stack-id"}
    properties = stack.template["Resources"][adoption.LOGICAL_ID]["Properties"]
    assert properties["Tags"] == [{"Key": "Team", "Value": "pay"}]
    properties["Tags"] = stack.resource.model()["Tags"]
    stack.adopt()
    assert stack.status() == "IMPORT_ROLLBACK_COMPLETE"


@pytest.mark.slow
def test_a_resource_that_was_changed_since_it_was_read_is_found_drifted_after_its_import(aws: SimulatedAWS) -> None:
    stack = Adopting(aws, "AWS::ElasticLoadBalancingV2::Listener", listener(aws))
    elbv2 = aws.client("elbv2", DEFAULT_REGION)
    elbv2.modify_listener(ListenerArn=stack.resource.identifier, DefaultActions=REDIRECT)
    stack.adopt()
    assert stack.drift() == "MODIFIED"


# what AWS tells, and what of it a template may say --------------------------------------------------------------------

TOLD: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "AWS::CloudTrail::Trail",
        {
            "TrailName": "audit",
            "Arn": "arn:aws:cloudtrail:eu-central-1:123456789012:trail/audit",
            "S3BucketName": "audit-logs",
            "IsLogging": True,
            "IncludeGlobalServiceEvents": False,
            "EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}],
            "AdvancedEventSelectors": [],
            "InsightSelectors": [],
            "AggregationConfigurations": [],
            "Tags": [],
        },
        {
            "TrailName": "audit",
            "S3BucketName": "audit-logs",
            "IsLogging": True,
            "IncludeGlobalServiceEvents": False,
            "EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}],
        },
    ),
    (
        "AWS::DynamoDB::Table",
        {
            "TableName": "orders",
            "Arn": "arn:aws:dynamodb:eu-central-1:123456789012:table/orders",
            "BillingMode": "PAY_PER_REQUEST",
            "WarmThroughput": {"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 4000},
            "GlobalSecondaryIndexes": [
                {"IndexName": "by-day", "WarmThroughput": {"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 4000}}
            ],
            "TimeToLiveSpecification": {"Enabled": False},
            "Tags": [],
        },
        {
            "TableName": "orders",
            "BillingMode": "PAY_PER_REQUEST",
            "GlobalSecondaryIndexes": [{"IndexName": "by-day"}],
            "TimeToLiveSpecification": {"Enabled": False},
        },
    ),
    (
        "AWS::ElasticLoadBalancingV2::Listener",
        {
            "ListenerArn": f"{ELB}:listener/app/shop/1/2",
            "LoadBalancerArn": f"{ELB}:loadbalancer/app/shop/1",
            "Protocol": "HTTPS",
            "SslPolicy": "ELBSecurityPolicy-2016-08",
            "MutualAuthentication": {"Mode": "off"},
            "ListenerAttributes": [
                {"Key": "routing.http.response.server.enabled", "Value": "true"},
                {"Key": "routing.http.request.x_amzn_tls_version.header_name", "Value": ""},
            ],
            "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}],
        },
        {
            "LoadBalancerArn": f"{ELB}:loadbalancer/app/shop/1",
            "Protocol": "HTTPS",
            "SslPolicy": "ELBSecurityPolicy-2016-08",
            "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}],
        },
    ),
    (
        "AWS::ElasticLoadBalancingV2::ListenerRule",
        {
            "RuleArn": f"{ELB}:listener-rule/app/shop/1/2/3",
            "IsDefault": False,
            "Priority": 1,
            "Conditions": [
                {"Field": "path-pattern", "Values": ["/a"], "PathPatternConfig": {"Values": ["/a"]}},
                {"Field": "path-pattern", "Values": ["/b"]},
            ],
        },
        {
            "ListenerArn": f"{ELB}:listener/app/shop/1/2",
            "Priority": 1,
            "Conditions": [
                {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/a"]}},
                {"Field": "path-pattern", "Values": ["/b"]},
            ],
        },
    ),
]


@pytest.mark.parametrize(("kind", "model", "said"), TOLD, ids=[kind for kind, _, _ in TOLD])
def test_a_template_says_nothing_that_aws_filled_in_or_told_twice(
    kind: str, model: dict[str, Any], said: dict[str, Any]
) -> None:
    assert described(kind, model) == said


def test_a_listener_that_asks_its_clients_for_certificates_goes_on_asking() -> None:
    mutual = {"Mode": "verify", "TrustStoreArn": f"{ELB}:truststore/clients/1", "IgnoreClientCertificateExpiry": False}
    model = {"ListenerArn": "arn", "MutualAuthentication": mutual}
    assert described("AWS::ElasticLoadBalancingV2::Listener", model) == {"MutualAuthentication": mutual}


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"Tags": [{"Key": "a"}, {"Key": "b"}]}, {"Tags": [{"Key": "b"}, {"Key": "a"}]}, True),
        ({"Values": ["/a", "/b"]}, {"Values": ["/b", "/a"]}, True),
        ({"Days": 30}, {"Days": "30"}, True),
        ({"Values": ["/a", "/b"]}, {"Values": ["/a", "/a"]}, False),
        ({"Days": 30}, {}, False),
    ],
)
def test_two_readings_are_alike_whatever_the_order_of_their_lists(one: Any, other: Any, alike: bool) -> None:
    assert desired.alike(one, other) is alike


# what stays out -------------------------------------------------------------------------------------------------------

SIGN_IN = {"Type": "authenticate-oidc", "AuthenticateOidcConfig": {"ClientId": "shop", "Issuer": "https://id.example"}}


def read_of(kind: str, row: Mapping[str, Any]) -> Snapshot:
    """An account in which what tells of these resources was read, and says this."""
    made = Snapshot(ACCOUNT, "aws", (REGION,), "us-east-1", NOW)
    call = adoption.CALLS[kind]
    parents = {"ListTables": "orders", "DescribeLoadBalancers": {"LoadBalancerArn": f"{ELB}:loadbalancer/app/shop/1"}}
    for link in call.chain():
        if link.each is None:
            root = Reading(NOW, rows=(parents[link.operation],))
            made.put(link, link.root_request(REGION), root)
            for request in call.requests(root.rows[0], link.root_request(REGION), REGION):
                made.put(call, request, Reading(NOW, rows=(row,)))
    return made


@pytest.mark.parametrize(
    ("kind", "row", "said"),
    [
        ("AWS::DynamoDB::Table", {"TableName": "orders", "BillingMode": "PROVISIONED"}, "provisioned capacity"),
        (
            "AWS::DynamoDB::Table",
            {"TableName": "orders", "BillingMode": "PAY_PER_REQUEST", "Replicas": [{"RegionName": "eu-west-1"}]},
            "replicas in other regions",
        ),
        ("AWS::DynamoDB::Table", {"TableName": "orders", "BillingMode": "PAY_PER_REQUEST"}, None),
        (
            "AWS::ElasticLoadBalancingV2::Listener",
            {"ListenerArn": "orders", "DefaultActions": [SIGN_IN]},
            "a client secret, which AWS does not tell",
        ),
        ("AWS::ElasticLoadBalancingV2::Listener", {"ListenerArn": "orders", "DefaultActions": REDIRECT}, None),
    ],
)
def test_what_would_be_reset_is_known_before_anything_is_proposed(kind: str, row: Any, said: str | None) -> None:
    found = stays_out(read_of(kind, row), REGION, kind, "orders")
    assert (found is None) if said is None else (found is not None and said in found)


def test_what_could_not_be_read_is_not_taken_for_fit() -> None:
    with pytest.raises(AdoptionUnread, match="orders"):
        stays_out(Snapshot(ACCOUNT, "aws", (REGION,), "us-east-1", NOW), REGION, "AWS::DynamoDB::Table", "orders")


@pytest.mark.slow
def test_a_secret_that_aws_takes_and_never_tells_keeps_its_listener_out(aws: SimulatedAWS) -> None:
    """An update would reset it: what the model does not say, the template cannot."""
    elbv2, balancer, targets = _balancer(aws)
    sign_in = {
        "Type": "authenticate-oidc",
        "Order": 1,
        "AuthenticateOidcConfig": {
            "Issuer": "https://id.example",
            "AuthorizationEndpoint": "https://id.example/authorize",
            "TokenEndpoint": "https://id.example/token",
            "UserInfoEndpoint": "https://id.example/me",
            "ClientId": "shop",
            "ClientSecret": "correct-horse",
        },
    }
    actions = [sign_in, {"Type": "forward", "Order": 2, "TargetGroupArn": targets}]
    made = elbv2.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=actions)
    arn = made["Listeners"][0]["ListenerArn"]
    model = Adopted(aws, DEFAULT_REGION, "AWS::ElasticLoadBalancingV2::Listener", arn).model()
    assert "correct-horse" not in json.dumps(model)
    assert "AWS does not tell" in str(refusal("AWS::ElasticLoadBalancingV2::Listener", model))


# whose the resource is ------------------------------------------------------------------------------------------------

HELD = {
    "AWS::CloudTrail::Trail": "trail-log-validation",
    "AWS::DynamoDB::Table": "table-recovery",
    "AWS::EC2::Route": "nat-route",
    "AWS::ECR::Repository": "image-scan-on-push",
    "AWS::ElasticLoadBalancingV2::Listener": "https-redirect",
    "AWS::ElasticLoadBalancingV2::ListenerRule": "https-redirect-rule",
    "AWS::Logs::LogGroup": "log-group-retention",
}
"""A remediation for each type, whose loop's account has such a resource of nobody."""


def proposed(accounts: Accounts, name: str, take: Callable[[Adopted], None]) -> dict[str, Any]:
    """What is proposed for the resource of a loop after somebody took it."""
    row, definition = ROWS[name], load().get(name)
    assert definition is not None
    accounts.give(row.get("account", "review"))
    accounts.held = ""
    known = prepared(accounts.aws, row)
    with accounts.aws.enforce_iam():
        first = Loop(accounts.aws, definition, row, world_of(accounts, definition, row), known)
        first.propose()
        spec = first.object()["spec"]
        assert spec["way"] == "Adoption"
        take(Adopted.of(accounts.aws, spec))
        first.world.look()
        return dict(first.object()["spec"])


def _stack(resource: Adopted) -> None:
    body = adoption.template(resource.kind, described(resource.kind, resource.model()), {}, "Theirs")
    wanted = {
        "ResourceType": resource.kind,
        "LogicalResourceId": adoption.LOGICAL_ID,
        "ResourceIdentifier": adoption.identifiers(resource.kind, resource.identifier),
    }
    client = resource.aws.client("cloudformation", resource.region)
    named = {"StackName": "theirs", "ChangeSetName": "first"}
    client.create_change_set(**named, ChangeSetType="IMPORT", TemplateBody=json.dumps(body), ResourcesToImport=[wanted])
    client.execute_change_set(**named)


def _mark(resource: Adopted) -> None:
    """The tag by which a tool knows what it owns, as AWS lists it; of these kinds the simulated list knows but some."""
    service, _, name = resource.kind.removeprefix("AWS::").partition("::")
    arns = {
        "CloudTrail": f"cloudtrail:{resource.region}:{DEFAULT_ACCOUNT}:trail/{resource.identifier}",
        "DynamoDB": f"dynamodb:{resource.region}:{DEFAULT_ACCOUNT}:table/{resource.identifier}",
        "EC2": f"ec2:{resource.region}:{DEFAULT_ACCOUNT}:route-table/{resource.identifier.partition('|')[0]}",
        "ECR": f"ecr:{resource.region}:{DEFAULT_ACCOUNT}:repository/{resource.identifier}",
        "Logs": f"logs:{resource.region}:{DEFAULT_ACCOUNT}:log-group:{resource.identifier}",
    }
    arn = resource.identifier if name.startswith("Listener") else f"arn:aws:{arns[service]}"
    row = {"ResourceARN": arn, "Tags": [{"Key": "pulumi:project", "Value": "shop"}]}
    resource.aws.overlay("resourcegroupstaggingapi", "GetResources", {"ResourceTagMappingList": [row]})


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(ADOPTABLE))
def test_a_resource_that_a_stack_holds_is_not_adopted(accounts: Accounts, kind: str) -> None:
    spec = proposed(accounts, HELD[kind], _stack)
    assert (spec["way"], spec["owner"]["kind"], spec["owner"]["name"]) == ("OwnerStack", "Stack", "theirs")
    assert spec["owner"]["logicalId"] == adoption.LOGICAL_ID


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(ADOPTABLE))
def test_a_resource_that_a_tool_marked_as_its_own_is_not_adopted(accounts: Accounts, kind: str) -> None:
    spec = proposed(accounts, HELD[kind], _mark)
    assert (spec["way"], spec["owner"]) == ("Patch", {"kind": "Tool", "name": "Pulumi"})
    assert spec["instructions"]["patch"].startswith('resource "aws_')
