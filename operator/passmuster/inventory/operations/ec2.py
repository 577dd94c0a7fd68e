"""Networks, security groups and volumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.snapshot import Row

SECURITY_GROUPS = Call(
    "ec2",
    "DescribeSecurityGroups",
    items="SecurityGroups",
    keep=("GroupId", "GroupName", "VpcId", "OwnerId"),
)
SECURITY_GROUP_RULES = Call(
    "ec2",
    "DescribeSecurityGroupRules",
    items="SecurityGroupRules",
    keep=(
        "SecurityGroupRuleId",
        "GroupId",
        "IsEgress",
        "IpProtocol",
        "FromPort",
        "ToPort",
        "CidrIpv4",
        "CidrIpv6",
        "PrefixListId",
        "ReferencedGroupInfo",
    ),
)
PREFIX_LIST_ENTRIES = Call(
    "ec2",
    "GetManagedPrefixListEntries",
    each=SECURITY_GROUP_RULES,
    over="[@][?!IsEgress].PrefixListId",
    param="PrefixListId",
    items="Entries",
    keep=("Cidr",),
    absent=("InvalidPrefixListID.NotFound", "InvalidPrefixListId.NotFound"),
)
"""What the prefix lists of ingress rules stand for."""

NETWORK_INTERFACES = Call(
    "ec2",
    "DescribeNetworkInterfaces",
    items="NetworkInterfaces",
    keep=(
        "NetworkInterfaceId",
        "InterfaceType",
        "RequesterId",
        "RequesterManaged",
        "Description",
        "Groups",
        "SubnetId",
        "VpcId",
        "AvailabilityZone",
        "Status",
    ),
)
VOLUMES = Call(
    "ec2",
    "DescribeVolumes",
    items="Volumes",
    keep="{VolumeId: VolumeId, State: State, Encrypted: Encrypted, KmsKeyId: KmsKeyId, CreateTime: CreateTime, "
    "Instances: Attachments[].InstanceId}",
)
EBS_ENCRYPTION_BY_DEFAULT = Call("ec2", "GetEbsEncryptionByDefault", keep=("EbsEncryptionByDefault",))
INSTANCES = Call(
    "ec2",
    "DescribeInstances",
    items="Reservations[].Instances[]",
    keep=("InstanceId", "State", "VpcId", "SubnetId", "Placement", "LaunchTime", "ImageId", "InstanceType"),
    freshness=RARELY,
)
SUBNETS = Call(
    "ec2",
    "DescribeSubnets",
    items="Subnets",
    keep=("SubnetId", "SubnetArn", "VpcId", "OwnerId", "AvailabilityZone", "DefaultForAz", "State"),
)
"""Those that other accounts share too: `OwnerId` tells."""

NETWORK_ACLS = Call(
    "ec2",
    "DescribeNetworkAcls",
    items="NetworkAcls",
    keep="{NetworkAclId: NetworkAclId, VpcId: VpcId, SubnetIds: Associations[].SubnetId, Entries: Entries}",
)
ROUTE_TABLES = Call(
    "ec2",
    "DescribeRouteTables",
    items="RouteTables",
    keep=("RouteTableId", "VpcId", "OwnerId", "Associations", "Routes"),
)
NAT_GATEWAYS = Call(
    "ec2",
    "DescribeNatGateways",
    items="NatGateways",
    keep=("NatGatewayId", "VpcId", "SubnetId", "State", "ConnectivityType", "AvailabilityMode"),
)


def route_table_of(subnet: Row, tables: Iterable[Row]) -> Row | None:
    """The route table that a subnet uses: the one associated with it, else the main one of its network."""
    main = None
    for table in tables:
        if table.get("VpcId") != subnet["VpcId"]:
            continue
        for association in table.get("Associations") or ():
            gone = (association.get("AssociationState") or {}).get("State") in ("disassociated", "failed")
            if association.get("SubnetId") == subnet["SubnetId"] and not gone:
                return table
            if association.get("Main"):
                main = table
    return main


def destination(route: Mapping[str, Any]) -> str | None:
    """The addresses that a route is for."""
    return route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock")


def leads_out(table: Row) -> bool:
    """Whether the route table has a default route to an internet gateway."""
    return any(
        destination(route) in ("0.0.0.0/0", "::/0") and str(route.get("GatewayId") or "").startswith("igw-")
        for route in table.get("Routes") or ()
    )


VPCS = Call("ec2", "DescribeVpcs", items="Vpcs", keep=("VpcId", "OwnerId", "IsDefault", "State", "CidrBlock"))
FLOW_LOGS = Call(
    "ec2",
    "DescribeFlowLogs",
    items="FlowLogs",
    keep=(
        "FlowLogId",
        "ResourceId",
        "FlowLogStatus",
        "DeliverLogsStatus",
        "DeliverLogsErrorMessage",
        "TrafficType",
        "LogDestinationType",
        "LogDestination",
        "LogGroupName",
        "CreationTime",
    ),
)
