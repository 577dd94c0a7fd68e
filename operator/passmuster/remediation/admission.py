"""Whether the world can reach a port of a load balancer: through its security groups and its subnets' network ACLs.

Read from the snapshot that the inspection took; what could not be read blocks the proposal instead of guessing. So no
second admission is added beside the first, and nobody is redirected to a port that does not answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from passmuster.inventory.operations.ec2 import NETWORK_ACLS, SECURITY_GROUP_RULES
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS
from passmuster.inventory.snapshot import Row, Snapshot, Unread, View

CALLS = (SECURITY_GROUP_RULES, NETWORK_ACLS, LOAD_BALANCERS)
"""What must have been read to tell whether a port is reached."""

EPHEMERAL = (1024, 32768, 65535)
"""Ports that clients speak from, which answers must get out to: the least, a common one and the greatest."""

_TCP = ("-1", "6", "tcp")


class AdmissionUnread(Exception):
    """What stands in front of the port could not be read."""


class NotAdmitted(Exception):
    """The world cannot reach the port; the message says what to change."""


def admits(snapshot: Snapshot, region: str, group_id: str, port: int) -> bool:
    """Whether the group lets every IPv4 address reach a TCP port. Raises AdmissionUnread."""
    view = View(snapshot, (SECURITY_GROUP_RULES,), region)
    try:
        return any(_opens(row, group_id, port) for row in view.rows(SECURITY_GROUP_RULES))
    except Unread as unread:
        raise AdmissionUnread(f"the rules of {group_id} could not be read: {unread}") from unread


def demand_network(snapshot: Snapshot, region: str, balancer_arn: str, port: int) -> None:
    """Raises NotAdmitted where a network ACL in front of the load balancer keeps the port or its answers back."""
    view = View(snapshot, CALLS, region)
    try:
        subnets = {zone.get("SubnetId") for zone in _balancer(view, balancer_arn).get("AvailabilityZones") or ()}
        for acl in view.rows(NETWORK_ACLS):
            shut = sorted(str(subnet) for subnet in subnets & set(acl.get("SubnetIds") or ()))
            fault = _fault(acl, port) if shut else None
            if fault is not None:
                raise NotAdmitted(
                    f"the network ACL {acl['NetworkAclId']} of {', '.join(shut)} {fault}: add a rule before it that "
                    "does, with a lower number"
                )
    except Unread as unread:
        raise AdmissionUnread(f"the network ACLs could not be read: {unread}") from unread


def demand_reached(snapshot: Snapshot, region: str, balancer_arn: str, port: int) -> None:
    """Raises NotAdmitted where security groups or network ACLs keep the world from a port of the load balancer."""
    view = View(snapshot, CALLS, region)
    try:
        groups = _balancer(view, balancer_arn).get("SecurityGroups") or ()
    except Unread as unread:
        raise AdmissionUnread(f"the load balancer could not be read: {unread}") from unread
    if groups and not any(admits(snapshot, region, str(group), port) for group in groups):
        raise NotAdmitted(f"no security group of the load balancer lets the world reach port {port}: open it first")
    demand_network(snapshot, region, balancer_arn, port)


def _balancer(view: View, arn: str) -> Row | dict[str, Any]:
    return next((row for row in view.rows(LOAD_BALANCERS) if row["LoadBalancerArn"] == arn), {})


def _opens(row: Row, group_id: str, port: int) -> bool:
    if row["GroupId"] != group_id or row.get("IsEgress"):
        return False
    cidr = row.get("CidrIpv4")
    if not cidr or ip_network(cidr, strict=False).prefixlen != 0:
        return False
    return str(row.get("IpProtocol")) in _TCP and _in_range(row, port)


def _in_range(bounds: Any, port: int) -> bool:
    """Whether a rule of a security group is for the port; one for all protocols is for all ports."""
    if str(bounds.get("IpProtocol")) == "-1":
        return True
    return bool(bounds.get("FromPort", -1) <= port <= bounds.get("ToPort", -1))


def _fault(acl: Row, port: int) -> str | None:
    """What the ACL keeps back: requests to the port, or answers to the ports that clients speak from."""
    if not _lets(acl, port, egress=False):
        return f"does not let the world in to port {port}"
    if not all(_lets(acl, answered, egress=True) for answered in EPHEMERAL):
        return f"does not let answers out to the ports {EPHEMERAL[0]} to {EPHEMERAL[-1]}"
    return None


def _lets(acl: Row, port: int, *, egress: bool) -> bool:
    """By the first of its entries, in the order of their numbers, that is about the whole IPv4 world and the port."""
    return next((entry.get("RuleAction") == "allow" for entry in _entries(acl, port, egress=egress)), False)


def _entries(acl: Row, port: int, *, egress: bool) -> Iterator[dict[str, Any]]:
    for entry in sorted(acl.get("Entries") or (), key=lambda one: one.get("RuleNumber") or 0):
        cidr, ports = entry.get("CidrBlock"), entry.get("PortRange")
        about = cidr is not None and ip_network(cidr, strict=False).prefixlen == 0
        spoken = str(entry.get("Protocol")) in _TCP
        ranged = (
            not ports or str(entry.get("Protocol")) == "-1" or ports.get("From", 0) <= port <= ports.get("To", 65535)
        )
        if bool(entry.get("Egress")) is egress and about and spoken and ranged:
            yield entry
