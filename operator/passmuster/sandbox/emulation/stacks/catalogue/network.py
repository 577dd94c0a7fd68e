"""Resource types of VPC networking: what NAT, endpoint, flow-log and security-group remediations deploy."""

from typing import Any

from passmuster.sandbox.emulation.stacks.kinds import Api, Kind, Refused, Simple, Step, Tagging, Work
from passmuster.sandbox.emulation.stacks.model import Properties

EC2_TAGS = Tagging(
    put=Api("create_tags", {"Resources": ["@"], "Tags": "@tags"}),
    take=Api("delete_tags", {"Resources": ["@"], "Tags": "@tags"}),
)


def _vpc_attribute(name: str) -> Step:
    return Step(
        name,
        put=lambda ec2, vpc, value: ec2.modify_vpc_attribute(
            VpcId=vpc, **{name: {"Value": str(value).lower() == "true"}}
        ),
    )


class ElasticIp(Simple):
    """AWS::EC2::EIP. Ref is the address, everything else goes by the allocation id."""

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        live = self.read(work)
        if live:
            work.client("ec2").release_address(AllocationId=live["AllocationId"])

    def retag(self, work: Work, old: Properties, new: Properties) -> None:
        del work, old, new


class SecurityGroup(Simple):
    """AWS::EC2::SecurityGroup with its inline rules."""

    def create(self, work: Work, properties: Properties) -> str:
        group = super().create(work, properties)
        ec2 = work.client("ec2")
        if rules := properties.get("SecurityGroupIngress"):
            ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission(rule) for rule in rules])
        if rules := properties.get("SecurityGroupEgress"):
            ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[_ANYWHERE])
            ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[permission(rule) for rule in rules])
        return group

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        ec2 = work.client("ec2")
        for name, revoke, authorize in (
            ("SecurityGroupIngress", ec2.revoke_security_group_ingress, ec2.authorize_security_group_ingress),
            ("SecurityGroupEgress", ec2.revoke_security_group_egress, ec2.authorize_security_group_egress),
        ):
            before, after = old.get(name, []), new.get(name, [])
            if gone := [permission(rule) for rule in before if rule not in after]:
                revoke(GroupId=work.physical_id, IpPermissions=gone)
            if added := [permission(rule) for rule in after if rule not in before]:
                authorize(GroupId=work.physical_id, IpPermissions=added)
        self.retag(work, old, new)


_ANYWHERE = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def permission(rule: Properties) -> dict[str, Any]:
    """A rule's properties as EC2's IpPermission."""
    described = {"Description": rule["Description"]} if "Description" in rule else {}
    made: dict[str, Any] = {"IpProtocol": str(rule["IpProtocol"])}
    made |= {name: int(rule[name]) for name in ("FromPort", "ToPort") if name in rule}
    group = rule.get("SourceSecurityGroupId") or rule.get("DestinationSecurityGroupId")
    prefix_list = rule.get("SourcePrefixListId") or rule.get("DestinationPrefixListId")
    if "CidrIp" in rule:
        made["IpRanges"] = [{"CidrIp": rule["CidrIp"], **described}]
    if "CidrIpv6" in rule:
        made["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"], **described}]
    if group:
        made["UserIdGroupPairs"] = [{"GroupId": group, **described}]
    if prefix_list:
        made["PrefixListIds"] = [{"PrefixListId": prefix_list, **described}]
    return made


class SecurityGroupRule(Kind):
    """AWS::EC2::SecurityGroupIngress and Egress: one rule of a group that is defined elsewhere."""

    def __init__(self, direction: str) -> None:
        self.type_name = f"AWS::EC2::SecurityGroup{direction.capitalize()}"
        self.direction = direction

    def create(self, work: Work, properties: Properties) -> str:
        authorize = getattr(work.client("ec2"), f"authorize_security_group_{self.direction}")
        answer = authorize(GroupId=properties["GroupId"], IpPermissions=[permission(properties)])
        return work.made(str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]))

    def read(self, work: Work) -> Any:
        rules = work.client("ec2").describe_security_group_rules()["SecurityGroupRules"]
        return next((rule for rule in rules if rule["SecurityGroupRuleId"] == work.physical_id), None)

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        if {**old, "Description": ""} != {**new, "Description": ""}:
            raise Refused(f"the sandbox updates only the description of {self.type_name}")
        self.delete(work, old)
        self.create(work, new)

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is not None:
            revoke = getattr(work.client("ec2"), f"revoke_security_group_{self.direction}")
            revoke(GroupId=properties["GroupId"], IpPermissions=[permission(properties)])

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        return {"Id": work.physical_id}


class Vpc(Simple):
    """AWS::EC2::VPC, which tells its default security group and network ACL."""

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        ec2 = work.client("ec2")
        here = {"Name": "vpc-id", "Values": [work.physical_id]}
        groups = ec2.describe_security_groups(Filters=[here, {"Name": "group-name", "Values": ["default"]}])
        acls = ec2.describe_network_acls(Filters=[here, {"Name": "default", "Values": ["true"]}])
        return super().attributes(work, properties) | {
            "DefaultSecurityGroup": groups["SecurityGroups"][0]["GroupId"],
            "DefaultNetworkAcl": acls["NetworkAcls"][0]["NetworkAclId"],
        }


KINDS: tuple[Kind, ...] = (
    Vpc(
        type_name="AWS::EC2::VPC",
        service="ec2",
        create_op="create_vpc",
        made="Vpc.VpcId",
        by={"VpcId": "@"},
        read_api=Api("describe_vpcs", {"VpcIds": ["@"]}, "Vpcs[0]"),
        delete_op="delete_vpc",
        steps=(_vpc_attribute("EnableDnsSupport"), _vpc_attribute("EnableDnsHostnames")),
        tagging=EC2_TAGS,
        attribute_paths={"VpcId": "@", "CidrBlock": "CidrBlock"},
    ),
    Simple(
        type_name="AWS::EC2::Subnet",
        service="ec2",
        create_op="create_subnet",
        made="Subnet.SubnetId",
        by={"SubnetId": "@"},
        read_api=Api("describe_subnets", {"SubnetIds": ["@"]}, "Subnets[0]"),
        delete_op="delete_subnet",
        steps=(
            Step(
                "MapPublicIpOnLaunch",
                put=lambda ec2, subnet, value: ec2.modify_subnet_attribute(
                    SubnetId=subnet, MapPublicIpOnLaunch={"Value": str(value).lower() == "true"}
                ),
            ),
        ),
        tagging=EC2_TAGS,
        attribute_paths={
            "SubnetId": "@",
            "AvailabilityZone": "AvailabilityZone",
            "VpcId": "VpcId",
            "CidrBlock": "CidrBlock",
        },
    ),
    Simple(
        type_name="AWS::EC2::InternetGateway",
        service="ec2",
        create_op="create_internet_gateway",
        made="InternetGateway.InternetGatewayId",
        by={"InternetGatewayId": "@"},
        read_api=Api("describe_internet_gateways", {"InternetGatewayIds": ["@"]}, "InternetGateways[0]"),
        delete_op="delete_internet_gateway",
        tagging=EC2_TAGS,
        attribute_paths={"InternetGatewayId": "@"},
    ),
    Simple(
        type_name="AWS::EC2::VPCGatewayAttachment",
        service="ec2",
        create_op="attach_internet_gateway",
        made="$InternetGatewayId|VpcId",
        by={"InternetGatewayId": "@1", "VpcId": "@2"},
        read_api=Api(
            "describe_internet_gateways", {"InternetGatewayIds": ["@1"]}, "InternetGateways[0].Attachments[0]"
        ),
        delete_op="detach_internet_gateway",
    ),
    Simple(
        type_name="AWS::EC2::RouteTable",
        service="ec2",
        create_op="create_route_table",
        made="RouteTable.RouteTableId",
        by={"RouteTableId": "@"},
        read_api=Api("describe_route_tables", {"RouteTableIds": ["@"]}, "RouteTables[0]"),
        delete_op="delete_route_table",
        tagging=EC2_TAGS,
        attribute_paths={"RouteTableId": "@"},
    ),
    Simple(
        type_name="AWS::EC2::Route",
        service="ec2",
        create_op="create_route",
        made="$RouteTableId|DestinationCidrBlock",
        by={"RouteTableId": "@1", "DestinationCidrBlock": "@2"},
        read_api=Api(
            "describe_route_tables",
            {"RouteTableIds": ["@1"]},
            "RouteTables[0].Routes[?DestinationCidrBlock=='{2}'] | [0]",
        ),
        update_op="replace_route",
        delete_op="delete_route",
    ),
    Simple(
        type_name="AWS::EC2::SubnetRouteTableAssociation",
        service="ec2",
        create_op="associate_route_table",
        made="AssociationId",
        by={"AssociationId": "@"},
        read_api=Api(
            "describe_route_tables",
            {"Filters": [{"Name": "association.route-table-association-id", "Values": ["@"]}]},
            "RouteTables[].Associations[?RouteTableAssociationId=='{id}'] | [0][0]",
        ),
        delete_op="disassociate_route_table",
        attribute_paths={"Id": "@"},
    ),
    ElasticIp(
        type_name="AWS::EC2::EIP",
        service="ec2",
        create_op="allocate_address",
        made="PublicIp",
        by={"PublicIps": ["@"]},
        read_api=Api("describe_addresses", {"PublicIps": ["@"]}, "Addresses[0]"),
        tagging=Tagging(),
        attribute_paths={"AllocationId": "AllocationId", "PublicIp": "PublicIp"},
    ),
    Simple(
        type_name="AWS::EC2::NatGateway",
        service="ec2",
        create_op="create_nat_gateway",
        made="NatGateway.NatGatewayId",
        by={"NatGatewayId": "@"},
        read_api=Api("describe_nat_gateways", {"NatGatewayIds": ["@"]}, "NatGateways[?State!='deleted'] | [0]"),
        delete_op="delete_nat_gateway",
        tagging=EC2_TAGS,
        attribute_paths={"NatGatewayId": "@"},
    ),
    SecurityGroup(
        type_name="AWS::EC2::SecurityGroup",
        service="ec2",
        create_op="create_security_group",
        made="GroupId",
        by={"GroupId": "@"},
        read_api=Api("describe_security_groups", {"GroupIds": ["@"]}, "SecurityGroups[0]"),
        delete_op="delete_security_group",
        name_property="GroupName",
        name_limit=255,
        renamed={"GroupDescription": "Description"},
        apart=("SecurityGroupIngress", "SecurityGroupEgress"),
        tagging=EC2_TAGS,
        attribute_paths={"GroupId": "@", "VpcId": "VpcId"},
    ),
    SecurityGroupRule("ingress"),
    SecurityGroupRule("egress"),
    Simple(
        type_name="AWS::EC2::VPCEndpoint",
        service="ec2",
        create_op="create_vpc_endpoint",
        made="VpcEndpoint.VpcEndpointId",
        by={"VpcEndpointIds": ["@"]},
        read_api=Api("describe_vpc_endpoints", {"VpcEndpointIds": ["@"]}, "VpcEndpoints[0]"),
        delete_op="delete_vpc_endpoints",
        steps=(),
        tagging=EC2_TAGS,
        attribute_paths={
            "Id": "@",
            "CreationTimestamp": "to_string(CreationTimestamp)",
            "DnsEntries": "DnsEntries[].DnsName",
        },
    ),
    Simple(
        type_name="AWS::EC2::FlowLog",
        service="ec2",
        create_op="create_flow_logs",
        made="FlowLogIds[0]",
        by={"FlowLogIds": ["@"]},
        read_api=Api("describe_flow_logs", {"FlowLogIds": ["@"]}, "FlowLogs[0]"),
        delete_op="delete_flow_logs",
        renamed={"ResourceId": "ResourceIds"},
        tagging=EC2_TAGS,
        attribute_paths={"Id": "@"},
    ),
    Simple(
        type_name="AWS::EC2::LaunchTemplate",
        service="ec2",
        create_op="create_launch_template",
        made="LaunchTemplate.LaunchTemplateId",
        by={"LaunchTemplateId": "@"},
        read_api=Api("describe_launch_templates", {"LaunchTemplateIds": ["@"]}, "LaunchTemplates[0]"),
        delete_op="delete_launch_template",
        name_property="LaunchTemplateName",
        attribute_paths={
            "LaunchTemplateId": "@",
            "LatestVersionNumber": "to_string(LatestVersionNumber)",
            "DefaultVersionNumber": "to_string(DefaultVersionNumber)",
        },
    ),
)
