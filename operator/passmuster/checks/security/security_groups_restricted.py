"""Nothing but the public ports of load balancers is open to the world, and default security groups are empty."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.ec2 import (
    NETWORK_INTERFACES,
    PREFIX_LIST_ENTRIES,
    SECURITY_GROUP_RULES,
    SECURITY_GROUPS,
)
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS
from passmuster.inventory.snapshot import Row, View, all_of, any_of, first_of, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

LOAD_BALANCER_INTERFACES = ("load_balancer", "network_load_balancer", "gateway_load_balancer")
WITH_PORTS = ("tcp", "udp", "6", "17")
SHOWN = 5

Grouped = Callable[[], dict[str, list[Row]]]
Names = Callable[[], frozenset[str]]


@check(
    title="Security groups are closed to the world",
    category=Category.SECURITY,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="I",
    calls=(SECURITY_GROUPS, SECURITY_GROUP_RULES, PREFIX_LIST_ENTRIES, NETWORK_INTERFACES, LOAD_BALANCERS),
    nothing="No security group is in use and there is no default security group",
    parameters=(
        Parameter(
            "allowedPublicPorts",
            Kind.INTEGERS,
            [80, 443],
            Stricter.FEWER,
            "Ports that security groups of load balancers may open to the whole internet.",
            minimum=0,
            maximum=65535,
        ),
    ),
    controls=Controls(
        config=("VPC_DEFAULT_SECURITY_GROUP_CLOSED", "VPC_SG_OPEN_ONLY_TO_AUTHORIZED_PORTS"),
        security_hub=("EC2.2", "EC2.18", "EC2.19"),
        well_architected=("SEC05-BP02",),
    ),
)
def security_groups_restricted(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A database port that the whole internet can reach is found within minutes.

    A group is judged when a network interface or a load balancer uses it. Ingress from any /0 fails, whether written
    into the rule or into a prefix list it names; the exception are rules whose whole port range lies within the allowed
    ports, on a group that nothing but load balancers uses. Protocols without ports, ICMP included, are no exception.
    The default group of every VPC must have no rule at all, because whatever names no group lands in it.
    """
    interfaces: Grouped = cache(lambda: _interfaces_by_group(view))
    rules: Grouped = cache(lambda: _rules_by_group(view))
    balanced: Names = cache(lambda: _on_load_balancers(view))
    allowed = frozenset(parameters["allowedPublicPorts"])
    for group in view.rows(SECURITY_GROUPS):
        arn = _arn(view, group)
        with view.judging(arn, group.region):
            if group.get("GroupName") == "default":
                yield _default(group, arn, rules().get(group["GroupId"], []))
                continue
            if any_of(partial(_has_interface, group, interfaces), partial(_on_load_balancer, group, balanced)):
                yield _used(view, group, arn, rules().get(group["GroupId"], []), interfaces, allowed)


def _arn(view: View, group: Row) -> str:
    owner = group.get("OwnerId") or view.account_id
    return f"arn:{view.partition}:ec2:{group.region}:{owner}:security-group/{group['GroupId']}"


def _has_interface(group: Row, interfaces: Grouped) -> bool:
    return group["GroupId"] in interfaces()


def _on_load_balancer(group: Row, balanced: Names) -> bool:
    return group["GroupId"] in balanced()


def _on_load_balancers(view: View) -> frozenset[str]:
    return frozenset(group for row in view.rows(LOAD_BALANCERS) for group in row.get("SecurityGroups") or ())


def _interfaces_by_group(view: View) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for interface in view.rows(NETWORK_INTERFACES):
        for group in interface.get("Groups") or []:
            grouped[group["GroupId"]].append(interface)
    return dict(grouped)


def _rules_by_group(view: View) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for rule in view.rows(SECURITY_GROUP_RULES):
        grouped[rule["GroupId"]].append(rule)
    return dict(grouped)


def _default(group: Row, arn: str, rules: list[Row]) -> Finding:
    name = f"default security group {group['GroupId']} of {group.get('VpcId')}"
    expected = "no rule in the default security group"
    if not rules:
        return passed(group.origin, arn, f"The {name} is empty", observed="no rule", expected=expected)
    return failed(
        rules[0].origin,
        arn,
        f"The {name} has rules, so whatever names no group can talk",
        observed=_listed([_described(rule) for rule in rules]),
        expected=expected,
        facts={
            "GroupId": group["GroupId"],
            "kind": "default",
            "RuleIds": _ids(rules),
            "IngressRuleIds": _ids([rule for rule in rules if not rule.get("IsEgress")]),
            "EgressRuleIds": _ids([rule for rule in rules if rule.get("IsEgress")]),
        },
    )


def _ids(rules: list[Row]) -> str:
    return ",".join(rule["SecurityGroupRuleId"] for rule in rules)


def _used(
    view: View,
    group: Row,
    arn: str,
    rules: list[Row],
    interfaces: Grouped,
    allowed: frozenset[int],
) -> Finding:
    name = f"security group {group.get('GroupName')} ({group['GroupId']})"
    expected = f"no ingress from the whole internet, but ports {_ports(allowed)} of load balancers"
    ingress = [rule for rule in rules if not rule.get("IsEgress")]
    public = [rule for rule in ingress if _within(rule, allowed)]
    guilty = _open(view, [rule for rule in ingress if not _within(rule, allowed)])
    message = f"The {name} is open to the world"
    if not guilty and all_of(lambda: bool(_open(view, public)), lambda: not _balancers_only(interfaces(), group)):
        guilty = _open(view, public)
        message += " and more than load balancers use it"
    if not guilty:
        message = f"The {name} opens nothing but public ports of load balancers"
        observed = _listed([_described(rule) for rule in ingress]) or "no ingress"
        return passed(group.origin, arn, message, observed=observed, expected=expected)
    users = [row for row in seen(view.rows(NETWORK_INTERFACES)) if _has(row, group)]
    return failed(
        guilty[0].origin,
        arn,
        message,
        observed=_listed([_described(rule) for rule in guilty])
        + (f" on {_listed([user['NetworkInterfaceId'] for user in users])}" if users else ""),
        expected=expected,
        facts={
            "GroupId": group["GroupId"],
            "kind": "world-open",
            "RuleIds": _ids(guilty),
            "Rules": _listed([_described(rule) for rule in guilty]),
            "Users": _listed([user["NetworkInterfaceId"] for user in users]) or "no network interface",
        },
    )


def _has(interface: Row, group: Row) -> bool:
    return any(one.get("GroupId") == group["GroupId"] for one in interface.get("Groups") or [])


def _open(view: View, rules: list[Row]) -> list[Row]:
    """The rules that admit the whole internet; of several that do so by a prefix list, the first."""
    literal = [rule for rule in rules if _is_world(rule.get("CidrIpv4")) or _is_world(rule.get("CidrIpv6"))]
    if literal:
        return literal
    listed = first_of([rule for rule in rules if rule.get("PrefixListId")], lambda rule: _lists_world(view, rule))
    return [listed] if listed is not None else []


def _is_world(cidr: str | None) -> bool:
    return cidr is not None and cidr.endswith("/0")


def _lists_world(view: View, rule: Row) -> bool:
    return any(_is_world(entry.get("Cidr")) for entry in view.rows(PREFIX_LIST_ENTRIES, rule))


def _within(rule: Row, allowed: frozenset[int]) -> bool:
    """Whether every port of the rule is an allowed one."""
    first, last = rule.get("FromPort"), rule.get("ToPort")
    if rule.get("IpProtocol") not in WITH_PORTS or first is None or last is None or first < 0:
        return False
    return last - first < len(allowed) and all(port in allowed for port in range(first, last + 1))


def _balancers_only(interfaces: dict[str, list[Row]], group: Row) -> bool:
    return all(
        user.get("InterfaceType") in LOAD_BALANCER_INTERFACES or user.get("RequesterId") == "amazon-elb"
        for user in interfaces.get(group["GroupId"], ())
    )


def _described(rule: Row) -> str:
    protocol, first, last = rule.get("IpProtocol"), rule.get("FromPort"), rule.get("ToPort")
    ports = "" if first is None or first < 0 else f" {first}" if first == last else f" {first}-{last}"
    source = rule.get("CidrIpv4") or rule.get("CidrIpv6") or rule.get("PrefixListId") or "a security group"
    way = "to" if rule.get("IsEgress") else "from"
    what = "all traffic" if protocol == "-1" else f"{protocol}{ports}"
    return f"{rule['SecurityGroupRuleId']}: {what} {way} {source}"


def _ports(allowed: frozenset[int]) -> str:
    return ", ".join(str(port) for port in sorted(allowed)) or "none"


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
