"""Auto Scaling groups: their size, zones, targets and how they judge an instance's health."""

from __future__ import annotations

from passmuster.inventory.call import ONCE, Call
from passmuster.inventory.snapshot import Row

GROUPS = Call(
    "autoscaling",
    "DescribeAutoScalingGroups",
    items="AutoScalingGroups",
    keep=(
        "AutoScalingGroupName",
        "AutoScalingGroupARN",
        "MinSize",
        "MaxSize",
        "DesiredCapacity",
        "AvailabilityZones",
        "LoadBalancerNames",
        "TargetGroupARNs",
        "TrafficSources",
        "HealthCheckType",
        "HealthCheckGracePeriod",
        "Status",
        "SuspendedProcesses",
    ),
)
POLICIES = Call(
    "autoscaling",
    "DescribePolicies",
    each=GROUPS,
    over="AutoScalingGroupName",
    param=ONCE,
    items="ScalingPolicies",
    keep="{AutoScalingGroupName: AutoScalingGroupName, PolicyName: PolicyName, PolicyType: PolicyType, "
    "Enabled: Enabled, PredictiveMode: PredictiveScalingConfiguration.Mode}",
)


def target_groups(group: Row) -> set[str]:
    """The target groups that a group's instances are registered in."""
    sources = group.get("TrafficSources") or ()
    attached = {str(source["Identifier"]) for source in sources if source.get("Type") == "elbv2"}
    return attached | set(group.get("TargetGroupARNs") or ())
