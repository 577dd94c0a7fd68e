"""The way of a request: TLS policies AWS still has, listeners and rules as AWS tells them, endpoints, routes, names.

moto knows the newer policies; the old ones are what the TLS check must recognise. Served by front.py.
"""

from typing import Any

from moto.elbv2.ssl_policies import SSL_POLICIES

from passmuster.sandbox.emulation import wire
from passmuster.sandbox.emulation.operation import Handling, Operations, Output

_LIKE = {
    "ELBSecurityPolicy-2015-05": "ELBSecurityPolicy-2016-08",
    "ELBSecurityPolicy-TLS-1-0-2015-04": "ELBSecurityPolicy-2016-08",
    "ELBSecurityPolicy-FS-2018-06": "ELBSecurityPolicy-2016-08",
    "ELBSecurityPolicy-FS-1-1-2019-08": "ELBSecurityPolicy-TLS-1-1-2017-01",
    "ELBSecurityPolicy-FS-1-2-2019-08": "ELBSecurityPolicy-TLS-1-2-Ext-2018-06",
    "ELBSecurityPolicy-FS-1-2-Res-2019-08": "ELBSecurityPolicy-FS-1-2-Res-2020-10",
}


def add_old_policies() -> None:
    """Give moto the policies it does not list; called once when the emulation is installed."""
    for name, like in _LIKE.items():
        SSL_POLICIES.setdefault(name, {**SSL_POLICIES[like], "name": name})


def describe_ssl_policies(handling: Handling) -> Output:
    """DescribeSSLPolicies; a name that does not exist is an error."""
    unknown = [name for name in handling.params.get("Names", []) if name not in SSL_POLICIES]
    if unknown:
        raise wire.AWSError("SSLPolicyNotFound", f"SSL policy '{unknown[0]}' not found", 400)
    return handling.moto()


def create_vpc_endpoint(handling: Handling) -> Output:
    """EC2's CreateVpcEndpoint makes a gateway endpoint unless told otherwise; moto then cannot delete what it made."""
    if "VpcEndpointType" in handling.params:
        return handling.moto()
    given = {**handling.params, "VpcEndpointType": "Gateway"}
    answer: Output = handling.place.client("ec2").create_vpc_endpoint(**given)
    return {"VpcEndpoint": answer["VpcEndpoint"]}


def delete_vpc_endpoints(handling: Handling) -> Output:
    """EC2's DeleteVpcEndpoints; moto goes on listing what is deleted."""
    answer = handling.moto()
    known = handling.place.backend("ec2").vpc_end_points
    for endpoint in handling.params["VpcEndpointIds"]:
        known.pop(endpoint, None)
    return answer


def change_record_sets(handling: Handling) -> Output:
    """Route 53's ChangeResourceRecordSets; moto refuses to make again what was made and deleted before."""
    answer = handling.moto()
    zone = handling.place.backend("route53").zones[str(handling.params["HostedZoneId"]).rpartition("/")[2]]
    gone = {_record(change) for change in handling.params["ChangeBatch"]["Changes"] if change["Action"] == "DELETE"}
    zone.rr_changes[:] = [change for change in zone.rr_changes if _record(change) not in gone]
    return answer


def _record(change: Output) -> tuple[str, str, str]:
    record = change["ResourceRecordSet"]
    return str(record["Name"]).strip("."), str(record["Type"]), str(record.get("SetIdentifier", ""))


def describe_target_groups(handling: Handling) -> Output:
    """DescribeTargetGroups; moto names a load balancer once for each listener it ever had, also when none is left."""
    answer = handling.moto()
    balancers = handling.place.backend("elbv2").load_balancers
    for group in answer["TargetGroups"]:
        arn = str(group["TargetGroupArn"])
        group["LoadBalancerArns"] = sorted(name for name, one in balancers.items() if _forwards(one, arn))
    return answer


def _forwards(balancer: Any, group: str) -> bool:
    """Whether a listener of the load balancer, or one of its rules, forwards to the target group."""
    return any(
        group in str(action.data)
        for listener in balancer.listeners.values()
        for actions in (listener.default_actions, *(rule.actions for rule in listener.rules.values()))
        for action in actions
    )


_MIRRORED = {"host-header": "HostHeaderConfig", "path-pattern": "PathPatternConfig"}
"""Conditions whose values AWS tells twice, whichever way they were given."""


def describe_listeners(handling: Handling) -> Output:
    """DescribeListeners; AWS tells where a listener forwards to in both of the ways in which it can be said."""
    answer = handling.moto()
    for listener in answer["Listeners"]:
        listener["DefaultActions"] = [_told(action) for action in listener.get("DefaultActions", [])]
    return answer


def describe_rules(handling: Handling) -> Output:
    """DescribeRules; AWS tells targets, and the values of paths and hosts, in both of the ways to say them."""
    answer = handling.moto()
    for rule in answer["Rules"]:
        rule["Actions"] = [_told(action) for action in rule.get("Actions", [])]
        for condition in rule.get("Conditions", []):
            name = _MIRRORED.get(str(condition.get("Field")))
            if name is not None:
                values = condition.get("Values") or condition.get(name, {}).get("Values", [])
                condition |= {"Values": values, name: {"Values": values}}
    return answer


def _told(action: Output) -> Output:
    if action.get("Type") != "forward":
        return action
    forward = action.get("ForwardConfig") or {"TargetGroups": [{"TargetGroupArn": action["TargetGroupArn"]}]}
    groups = [{"Weight": 1, **group} for group in forward["TargetGroups"]]
    sticky = forward.get("TargetGroupStickinessConfig") or {"Enabled": False}
    alone = {"TargetGroupArn": groups[0]["TargetGroupArn"]} if len(groups) == 1 else {}
    return {**action, **alone, "ForwardConfig": {"TargetGroups": groups, "TargetGroupStickinessConfig": sticky}}


def delete_nat_gateway(handling: Handling) -> Output:
    """EC2's DeleteNatGateway; moto leaves its network interface behind."""
    backend = handling.place.backend("ec2")
    gateway = backend.nat_gateways.get(str(handling.params["NatGatewayId"]))
    answer = handling.moto()
    backend.enis.pop(gateway._eni.id, None)
    return answer


OPERATIONS: Operations = {
    ("elbv2", "DescribeListeners"): describe_listeners,
    ("elbv2", "DescribeRules"): describe_rules,
    ("elbv2", "DescribeTargetGroups"): describe_target_groups,
    ("ec2", "DeleteNatGateway"): delete_nat_gateway,
    ("route53", "ChangeResourceRecordSets"): change_record_sets,
    ("ec2", "DeleteVpcEndpoints"): delete_vpc_endpoints,
    ("ec2", "CreateVpcEndpoint"): create_vpc_endpoint,
    ("elbv2", "DescribeSSLPolicies"): describe_ssl_policies,
}
