"""The review's account goes to Production by remediations alone, each approved by a person, in the only safe order.

zone delegated > certificate validated > TLS listener > port 443 admitted > HTTPS redirect > alias record > health check
with its alarm; beside it the trail, the NAT gateways with their routes, and the path of the health checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from passmuster.checks.catalogue import load as load_checks
from passmuster.engine.ports import REMEDIATIONS, Key
from passmuster.model.verdict import Phase
from passmuster.sandbox.accounts import review, shop
from passmuster.sandbox.simulated_aws import DEFAULT_REGION, SimulatedAWS
from turns import REPORT, World, build, clocked_engine, condition, objects, review_account

pytestmark = pytest.mark.slow

EXECUTED = ("AdditiveStack", "OwnerStack", "Adoption", "ApiStep")
DONE = ("Applied", "Superseded")
CHAIN = ("tls-listener", "https-redirect", "alias-record", "dns-health-check")
ROUTES = ("nat-gateway", "nat-route")


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    with review_account() as running:
        yield running


def world_on(aws: SimulatedAWS, judged: set[str]) -> World:
    """An operator whose policy judges these checks and permits every way, with approval."""
    inputs = {"domain": review.DOMAIN, "healthPath": "/health", "tags": shop.TAGS}
    disabled = sorted(check.id for check in load_checks() if check.id not in judged and not check.optional)
    manifests = objects(inputs=inputs, maxMonthlyCost=500, allowApiSteps=True, maxConcurrentStacks=4)
    for document in manifests:
        if document["kind"] == "AWSAccount":
            document["spec"]["mayDisable"] = disabled
        if document["kind"] == "ReadinessPolicy":
            document["spec"]["checks"] = {"disabled": disabled}
    return build(aws, clocked_engine(aws), manifests)


def proposed(world: World) -> list[dict[str, Any]]:
    """What of the Production phase can be carried out."""
    return [
        dict(body)
        for body in world.cluster.list(REMEDIATIONS)
        if body["spec"]["way"] in EXECUTED and body["spec"]["phase"] == Phase.PRODUCTION
    ]


def state_of(body: dict[str, Any]) -> str:
    return str((body.get("status") or {}).get("state", ""))


def approve_what_waits(world: World, names: tuple[str, ...] = ()) -> None:
    """A person approves what waits for approval, or only what has one of these names."""
    for body in proposed(world):
        if state_of(body) == "AwaitingApproval" and (not names or body["spec"]["remediation"] in names):
            entry = {"by": "alice", "action": "Apply", "digest": body["spec"]["intent"]["digest"]}
            world.cluster.patch(Key.of(REMEDIATIONS, body), {"spec": {"approvals": [entry]}})


def report(world: World) -> dict[str, Any]:
    return dict((world.cluster.get(REPORT) or {})["status"])


def first_time(world: World, name: str, state: str) -> str:
    """When the first change of a remediation was in a state."""
    return min(
        entry["at"]
        for body in proposed(world)
        if body["spec"]["remediation"] == name
        for entry in body["status"].get("history", ())
        if entry["state"] == state
    )


def test_the_review_account_reaches_production_by_approved_remediations_in_their_order(aws: SimulatedAWS) -> None:
    judged = {check.id for check in load_checks() if check.phase in (Phase.FOUNDATION, Phase.PRODUCTION)}
    judged.add("guardduty-enabled")  # of the next phase, so that the level ends where it should
    with aws.enforce_iam():
        world = world_on(aws, judged)
        world.turn()
        before = report(world)
        assert before["level"] == "Foundation"
        failing = sorted(check["id"] for check in before["checks"] if check["status"] == "Fail")
        assert failing
        for _ in range(60):
            approve_what_waits(world)
            world.look()
            if report(world)["level"] == "Production" and all(state_of(body) in DONE for body in proposed(world)):
                break
        told = {body["metadata"]["name"]: (state_of(body), condition(body, "Ready")) for body in proposed(world)}
        left = [check for check in report(world)["checks"] if check["status"] == "Fail"]
        assert report(world)["level"] == "Production", (left, told)
        assert {body["spec"]["remediation"] for body in proposed(world)} >= {
            *CHAIN,
            *ROUTES,
            "cloudtrail",
            "health-check-path",
        }
        for earlier, later in (*pairwise(CHAIN), ROUTES):
            assert first_time(world, earlier, "Applied") <= first_time(world, later, "Executing"), (earlier, later)
        assert world.cluster.faults == []
        monthly = sum(Decimal(str(body["spec"]["cost"]["monthly"])) for body in proposed(world))
        assert monthly > Decimal("40"), "a second NAT gateway alone is more"


def test_nobody_is_redirected_to_a_port_that_a_network_acl_closes(aws: SimulatedAWS) -> None:
    """The TLS listener is not proposed either: a person opens the network ACL, and then both go on."""
    aws.reset()
    review.seed(aws)
    ec2 = aws.client("ec2", DEFAULT_REGION)
    balancer = aws.client("elbv2", DEFAULT_REGION).describe_load_balancers()["LoadBalancers"][0]
    subnet = balancer["AvailabilityZones"][0]["SubnetId"]
    (acl,) = ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["NetworkAcls"]
    rule = {"NetworkAclId": acl["NetworkAclId"], "RuleNumber": 50, "Egress": False}
    closed = {"Protocol": "6", "PortRange": {"From": 443, "To": 443}, "CidrBlock": "0.0.0.0/0", "RuleAction": "deny"}
    ec2.create_network_acl_entry(**rule, **closed)
    with aws.enforce_iam():
        world = world_on(aws, {"tls-certificates-valid", "https-redirect"})
        world.turn(2)
        assert world.state("tls-listener") == "Blocked"
        assert world.condition("Stalled", "tls-listener")["reason"] == "PortNotAdmitted"
        message = world.condition("Ready", "tls-listener")["message"]
        assert acl["NetworkAclId"] in message
        assert "port 443" in message
        ec2.delete_network_acl_entry(**rule)
        world.look()
        approve_what_waits(world, ("tls-listener",))
        for _ in range(12):
            world.look()
            if world.state("tls-listener") == "Applied":
                break
        assert world.state("tls-listener") == "Applied"
        ec2.create_network_acl_entry(**rule, **closed)
        world.look()
        assert world.state("https-redirect") == "Blocked"
        assert world.condition("Stalled", "https-redirect")["reason"] == "PortNotAdmitted"
        ec2.delete_network_acl_entry(**rule)
        world.look()
        assert world.state("https-redirect") == "AwaitingApproval"
