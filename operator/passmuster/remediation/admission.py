"""Whether a security group already lets the world reach a port, so that no second admission is added beside the first.

Read from the snapshot that the inspection took; what could not be read blocks the proposal instead of guessing.
"""

from __future__ import annotations

from ipaddress import ip_network

from passmuster.inventory.operations.ec2 import SECURITY_GROUP_RULES
from passmuster.inventory.snapshot import Row, Snapshot, Unread, View


class AdmissionUnread(Exception):
    """The rules of the group could not be read."""


def admits(snapshot: Snapshot, region: str, group_id: str, port: int) -> bool:
    """Whether the group lets every IPv4 address reach a TCP port. Raises AdmissionUnread."""
    view = View(snapshot, (SECURITY_GROUP_RULES,), region)
    try:
        return any(_opens(row, group_id, port) for row in view.rows(SECURITY_GROUP_RULES))
    except Unread as unread:
        raise AdmissionUnread(f"the rules of {group_id} could not be read: {unread}") from unread


def _opens(row: Row, group_id: str, port: int) -> bool:
    if row["GroupId"] != group_id or row.get("IsEgress"):
        return False
    cidr = row.get("CidrIpv4")
    if not cidr or ip_network(cidr, strict=False).prefixlen != 0:
        return False
    protocol = str(row.get("IpProtocol"))
    if protocol == "-1":
        return True
    return protocol in ("tcp", "6") and row.get("FromPort", -1) <= port <= row.get("ToPort", -1)
