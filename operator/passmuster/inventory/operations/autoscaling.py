"""Auto Scaling groups: their size, zones, targets and how they judge an instance's health."""

from passmuster.inventory.call import Call

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
    ),
)
