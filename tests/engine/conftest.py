"""The worlds of the tests of the engine, and a small account for those of the ways.

Who owns its log group and its cluster decides how they are changed. The account has one function with a log group that
never forgets, and one cluster without Container Insights. The remediation role has exactly the permissions that
`passmuster bootstrap role` gives it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from passmuster.cli import offline
from passmuster.sandbox.accounts import shop, templates
from passmuster.sandbox.accounts.review import EXTERNAL_ID
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS
from passmuster.sandbox.story import own_identity
from turns import Clock, World, build, clocked_engine, objects

JUDGED = ("workload-logs-retained", "container-insights-enabled")
GROUP, CLUSTER = "/aws/lambda/pay", "shop"
ALLOWED = {"allowApiSteps": True, "allowOwnerStackUpdates": True, "gating": "None"}

OWNERS_TEMPLATE: dict[str, Any] = {
    "Resources": {
        "PayLogs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": GROUP}},
        "Cluster": {
            "Type": "AWS::ECS::Cluster",
            "Properties": {
                "ClusterName": CLUSTER,
                "ClusterSettings": [{"Name": "containerInsights", "Value": "disabled"}],
            },
        },
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 30}},
    }
}
"""A stack of the account's people that owns both."""

Making = Callable[..., World]
Manifests = Sequence[Mapping[str, Any]]
Building = Callable[[Manifests], World]


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    with SimulatedAWS() as running, own_identity(running):
        seed(running)
        yield running


def seed(aws: SimulatedAWS) -> shop.Account:
    """The two roles and the function."""
    account = shop.Account(aws, DEFAULT_ACCOUNT, DEFAULT_REGION)
    trusted = f"arn:aws:iam::{DEFAULT_ACCOUNT}:root"
    account.deploy("passmuster-access", templates.access(), TrustedPrincipal=trusted, ExternalId=EXTERNAL_ID)
    function = {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"AssumeRolePolicyDocument": _trust("lambda.amazonaws.com")},
        },
        "Pay": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "FunctionName": "pay",
                "Runtime": "python3.13",
                "Handler": "index.handler",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Code": {"ZipFile": "def handler(event, context): return 1"},
            },
        },
    }
    account.deploy("pay", json.dumps({"Resources": function}))
    return account


def _trust(service: str) -> dict[str, Any]:
    allow = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [allow]}


@pytest.fixture(scope="module")
def engine(aws: SimulatedAWS) -> tuple[offline.Engine, Clock]:
    return clocked_engine(aws)


@pytest.fixture
def world(aws: SimulatedAWS, engine: tuple[offline.Engine, Clock]) -> Iterator[World]:
    """A policy that was judged once. No status may break the rules."""
    made = build(aws, engine, objects())
    made.turn()
    aws.requests.clear()
    yield made
    aws.faults.clear()
    assert made.cluster.faults == []


@pytest.fixture
def building(aws: SimulatedAWS, engine: tuple[offline.Engine, Clock]) -> Iterator[Building]:
    """Makes worlds of manifests; afterwards the account is as it was, and no status broke the rules."""
    made: list[World] = []

    def built(manifests: Manifests) -> World:
        made.append(build(aws, engine, manifests))
        return made[-1]

    yield built
    for world in made:
        world.clean()
    for world in made:
        assert world.cluster.faults == []


@pytest.fixture
def making(aws: SimulatedAWS, bare: None, building: Building) -> Making:
    """Makes the world of a test after its first turn; `remediation` are the rules of its policy."""

    def make(**remediation: Any) -> World:
        judged, parameters = remediation.pop("judged", JUDGED), remediation.pop("parameters", {})
        manifests = objects(judged, **{**ALLOWED, **remediation})
        manifests[-1]["spec"]["checks"]["parameters"] = parameters
        world = building(manifests)
        world.turn()
        aws.requests.clear()
        return world

    return make


def changed_for_good(making: Making, judged: Sequence[str], name: str = "cloudtrail") -> World:
    """A policy after a change that it takes along when it goes."""
    world = making(judged=judged)
    world.policy_spec(deletionPolicy="Delete")
    world.approve(name)
    world.until("Applied", name=name)
    return world


@pytest.fixture
def bare(aws: SimulatedAWS) -> Iterator[None]:
    """Once the changes of a test are taken back, what it changed goes too."""
    yield
    logs, ecs, stacks = (aws.client(name, DEFAULT_REGION) for name in ("logs", "ecs", "cloudformation"))
    stacks.delete_stack(StackName="owners")
    if GROUP in groups(aws):
        logs.delete_log_group(logGroupName=GROUP)
    for cluster in ecs.list_clusters()["clusterArns"]:
        ecs.delete_cluster(cluster=cluster)


def groups(aws: SimulatedAWS) -> dict[str, int | None]:
    """The retention of every log group, by name."""
    found = aws.client("logs", DEFAULT_REGION).describe_log_groups()["logGroups"]
    return {group["logGroupName"]: group.get("retentionInDays") for group in found}


def insights(aws: SimulatedAWS) -> str:
    found = aws.client("ecs", DEFAULT_REGION).describe_clusters(clusters=[CLUSTER], include=["SETTINGS"])
    return str(found["clusters"][0]["settings"][0]["value"])


@pytest.fixture
def nobodys(aws: SimulatedAWS) -> None:
    """A log group and a cluster that somebody clicked together."""
    click_together(aws)


def click_together(aws: SimulatedAWS) -> None:
    """A log group that never forgets and a cluster without Container Insights, both nobody's."""
    aws.client("logs", DEFAULT_REGION).create_log_group(logGroupName=GROUP, tags={"team": "shop"})
    aws.client("ecs", DEFAULT_REGION).create_cluster(clusterName=CLUSTER)


@pytest.fixture
def owners(aws: SimulatedAWS) -> None:
    """The same in a stack of the account's people."""
    deploy(aws, OWNERS_TEMPLATE)


def deploy(aws: SimulatedAWS, template: dict[str, Any]) -> None:
    shop.Account(aws, DEFAULT_ACCOUNT, DEFAULT_REGION).deploy("owners", json.dumps(template))


def owners_stack(aws: SimulatedAWS) -> dict[str, Any]:
    found: dict[str, Any] = aws.client("cloudformation", DEFAULT_REGION).describe_stacks(StackName="owners")["Stacks"][
        0
    ]
    return found


def owners_template(aws: SimulatedAWS) -> dict[str, Any]:
    body = aws.client("cloudformation", DEFAULT_REGION).get_template(StackName="owners")["TemplateBody"]
    return body if isinstance(body, dict) else json.loads(body)
