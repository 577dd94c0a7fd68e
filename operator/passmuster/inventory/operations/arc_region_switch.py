"""Plans of ARC Region switch and their executions.

One control plane lists the plans for the partition, so they are read once; executions are told where they ran.
"""

from passmuster.inventory.call import RARELY, Call, Where

PLANS = Call(
    "arc-region-switch",
    "ListPlans",
    where=Where.GLOBAL,
    items="plans",
    keep=("arn", "name", "owner", "regions", "recoveryApproach", "primaryRegion"),
    freshness=RARELY,
)
EXECUTIONS = tuple(
    Call(
        "arc-region-switch",
        "ListPlanExecutions",
        each=PLANS,
        over="arn",
        param="planArn",
        region_of=f"regions[{place}]",
        items="items",
        keep=("planArn", "executionState", "executionAction", "startTime", "endTime"),
        absent=("ResourceNotFoundException",),
        freshness=RARELY,
    )
    for place in (0, 1)
)
"""In each of the two regions of a plan."""
