"""Plans of ARC Region switch. One control plane lists them for the partition, so they are read once."""

from passmuster.inventory.call import Call, Where

PLANS = Call(
    "arc-region-switch",
    "ListPlans",
    where=Where.GLOBAL,
    items="plans",
    keep=("arn", "name", "owner", "regions", "recoveryApproach", "primaryRegion"),
)
