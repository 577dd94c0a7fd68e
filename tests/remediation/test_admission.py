"""Whether the world reaches a port of a load balancer: by its groups, and by the first entry of a network ACL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from passmuster.inventory.call import Request
from passmuster.inventory.snapshot import Snapshot
from passmuster.remediation.admission import CALLS, AdmissionUnread, NotAdmitted, demand_network, demand_reached
from replay import collect

BALANCER = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/shop/1"
WORLD = "0.0.0.0/0"
ALL = {"RuleNumber": 100, "Protocol": "-1", "RuleAction": "allow", "CidrBlock": WORLD}
LAST = {"RuleNumber": 32767, "Protocol": "-1", "RuleAction": "deny", "CidrBlock": WORLD}
OPEN = [{**ALL, "Egress": False}, {**ALL, "Egress": True}, {**LAST, "Egress": False}, {**LAST, "Egress": True}]


class Answers:
    """A transport that gives each operation one answer; what is not named may not be read."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers

    def offers(self, service: str, partition: str) -> bool:
        return True

    def pages(self, request: Request) -> Iterator[Mapping[str, Any]]:
        yield self.answers[request.operation]


def account(entries: list[dict[str, Any]], *, cidr: str = WORLD, port: int = 443) -> Snapshot:
    rule = {"GroupId": "sg-1", "IsEgress": False, "IpProtocol": "tcp", "FromPort": port, "ToPort": port}
    zones = [{"SubnetId": "subnet-a"}, {"SubnetId": "subnet-b"}]
    acl = {"NetworkAclId": "acl-1", "Associations": [{"SubnetId": "subnet-b"}, {"SubnetId": "subnet-c"}]}
    answers = {
        "DescribeLoadBalancers": {
            "LoadBalancers": [
                {"LoadBalancerArn": BALANCER, "AvailabilityZones": zones, "SecurityGroups": ["sg-0", "sg-1"]}
            ]
        },
        "DescribeSecurityGroupRules": {"SecurityGroupRules": [{**rule, "CidrIpv4": cidr}]},
        "DescribeNetworkAcls": {"NetworkAcls": [{**acl, "Entries": entries}]},
    }
    return collect(CALLS, Answers(answers))


def refusal(snapshot: Snapshot, port: int = 443) -> str | None:
    try:
        demand_reached(snapshot, "eu-central-1", BALANCER, port)
    except NotAdmitted as refused:
        return str(refused)
    return None


def entry(number: int, action: str, first: int, last: int, **more: Any) -> dict[str, Any]:
    ports = {"PortRange": {"From": first, "To": last}, "Protocol": "6", "CidrBlock": WORLD, "Egress": False}
    return {"RuleNumber": number, "RuleAction": action, **ports, **more}


def test_an_open_group_behind_an_open_acl_is_reached() -> None:
    assert refusal(account(OPEN)) is None


def test_a_group_that_admits_another_port_or_a_part_of_the_world_keeps_the_port_back() -> None:
    assert "no security group" in (refusal(account(OPEN, port=80)) or "")
    assert "no security group" in (refusal(account(OPEN, cidr="10.0.0.0/8")) or "")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry(50, "deny", 443, 443), *OPEN], "does not let the world in to port 443"),
        ([entry(150, "deny", 443, 443), *OPEN], None),
        ([entry(50, "deny", 443, 443, CidrBlock="203.0.113.0/24"), *OPEN], None),
        ([entry(50, "deny", 443, 443, Protocol="17"), *OPEN], None),
        ([entry(50, "allow", 443, 443), {**LAST, "Egress": False}, *OPEN[1::2]], None),
        ([entry(50, "allow", 80, 80), {**LAST, "Egress": False}, *OPEN[1::2]], "to port 443"),
        ([OPEN[0], entry(50, "allow", 1024, 65535, Egress=True), OPEN[3]], None),
        ([OPEN[0], entry(50, "allow", 443, 443, Egress=True), OPEN[3]], "answers out to the ports 1024 to 65535"),
        ([OPEN[0], entry(50, "deny", 30000, 40000, Egress=True), OPEN[1]], "answers out"),
        ([], "to port 443"),
    ],
)
def test_the_first_entry_about_the_whole_world_and_the_port_decides(entries: list[Any], said: str | None) -> None:
    found = refusal(account(entries))
    assert (found is None) if said is None else (said in (found or ""))
    if said is not None:
        assert "acl-1 of subnet-b" in (found or "")


def test_what_could_not_be_read_is_neither_open_nor_closed() -> None:
    empty = Snapshot("123456789012", "aws", ("eu-central-1",), "us-east-1", account(OPEN).taken_at)
    with pytest.raises(AdmissionUnread):
        demand_reached(empty, "eu-central-1", BALANCER, 443)
    with pytest.raises(AdmissionUnread):
        demand_network(empty, "eu-central-1", BALANCER, 443)
