"""What Application Auto Scaling knows: scalable targets and their policies, asked where there is something to scale."""

from passmuster.inventory.call import ONCE, Call
from passmuster.inventory.operations.dynamodb import TABLE
from passmuster.inventory.operations.ecs import SERVICES
from passmuster.inventory.operations.lambda_ import PROVISIONED
from passmuster.inventory.operations.rds import DB_CLUSTERS

SCALES = {
    "ecs": (SERVICES, "status == 'ACTIVE'"),
    "dynamodb": (TABLE, "ReadCapacityUnits"),
    "rds": (DB_CLUSTERS, "length(DBClusterMembers[?!IsClusterWriter] || `[]`) > `0`"),
    "lambda": (PROVISIONED, "FunctionArn"),
}
"""What scales in each namespace: the call that lists it, and of a row what is there if it may. A table on demand has a
capacity of zero."""

TARGETS = {
    namespace: Call(
        "application-autoscaling",
        "DescribeScalableTargets",
        each=subjects,
        over=which,
        param=ONCE,
        args={"ServiceNamespace": namespace},
        items="ScalableTargets",
        keep=("ResourceId", "ScalableDimension", "MinCapacity", "MaxCapacity", "SuspendedState"),
    )
    for namespace, (subjects, which) in SCALES.items()
}
SCALING = {
    namespace: Call(
        "application-autoscaling",
        "DescribeScalingPolicies",
        each=targets,
        param=ONCE,
        args={"ServiceNamespace": namespace},
        items="ScalingPolicies",
        keep=("ResourceId", "ScalableDimension", "PolicyType"),
    )
    for namespace, targets in TARGETS.items()
}
"""A policy belongs to a target."""
