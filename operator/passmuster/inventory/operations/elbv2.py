"""Load balancers, their listeners, rules, target groups and the health of targets."""

from datetime import timedelta

from passmuster.inventory.call import ONCE, Call
from passmuster.inventory.snapshot import Row, View, seen

LOAD_BALANCERS = Call(
    "elbv2",
    "DescribeLoadBalancers",
    items="LoadBalancers",
    keep=(
        "LoadBalancerArn",
        "LoadBalancerName",
        "DNSName",
        "CanonicalHostedZoneId",
        "CreatedTime",
        "Scheme",
        "VpcId",
        "State",
        "Type",
        "AvailabilityZones",
        "SecurityGroups",
    ),
)
LOAD_BALANCER_ATTRIBUTES = Call(
    "elbv2",
    "DescribeLoadBalancerAttributes",
    each=LOAD_BALANCERS,
    over="LoadBalancerArn",
    param="LoadBalancerArn",
    items="Attributes",
)
LISTENERS = Call(
    "elbv2",
    "DescribeListeners",
    each=LOAD_BALANCERS,
    over="LoadBalancerArn",
    param="LoadBalancerArn",
    items="Listeners",
    keep=("ListenerArn", "LoadBalancerArn", "Port", "Protocol", "Certificates", "SslPolicy", "DefaultActions"),
)
RULES = Call(
    "elbv2",
    "DescribeRules",
    each=LISTENERS,
    over="[@][?Protocol=='HTTP'].ListenerArn",
    param="ListenerArn",
    items="Rules",
    keep=("RuleArn", "Priority", "Conditions", "Actions", "IsDefault"),
)
"""The rules of HTTP listeners only: what TLS listeners forward is not clear text."""

TARGET_GROUPS = Call(
    "elbv2",
    "DescribeTargetGroups",
    items="TargetGroups",
    keep=(
        "TargetGroupArn",
        "TargetGroupName",
        "Protocol",
        "Port",
        "VpcId",
        "TargetType",
        "HealthCheckEnabled",
        "HealthCheckPath",
        "HealthCheckProtocol",
        "Matcher",
        "LoadBalancerArns",
    ),
)
TARGET_HEALTH = Call(
    "elbv2",
    "DescribeTargetHealth",
    each=TARGET_GROUPS,
    over="TargetGroupArn",
    param="TargetGroupArn",
    items="TargetHealthDescriptions",
    keep=("Target", "TargetHealth"),
)
SSL_POLICIES = Call(
    "elbv2",
    "DescribeSSLPolicies",
    each=LISTENERS,
    over="SslPolicy",
    param=ONCE,
    items="SslPolicies",
    keep=("Name", "SslProtocols"),
    freshness=timedelta(hours=24),
)
"""What AWS's own policies accept, which says nothing of the account; only where a listener has one."""


def is_dedicated(path: str | None) -> bool:
    """Whether a path was made for health checks: not the start page, under whatever of its names."""
    plain = (path or "").partition("?")[0].lower()
    return bool(plain.strip("/")) and not plain.startswith("/index.")


def served_groups(view: View) -> list[Row]:
    """The target groups that a load balancer serves, by name, as far as they could be read."""
    groups = [row for row in seen(view.rows(TARGET_GROUPS)) if row.get("LoadBalancerArns")]
    return sorted(groups, key=lambda row: str(row["TargetGroupArn"]))
