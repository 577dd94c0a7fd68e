"""Security Hub CSPM: whether the account uses it, and the standards it judges the account by."""

from passmuster.inventory.call import ONCE, RARELY, Call

NOT_SUBSCRIBED = ("InvalidAccessException", "ResourceNotFoundException")
"""What Security Hub answers where the account does not use it."""

HUB = Call("securityhub", "DescribeHub", keep=("HubArn",), absent=NOT_SUBSCRIBED, freshness=RARELY)
STANDARDS = Call(
    "securityhub",
    "GetEnabledStandards",
    each=HUB,
    over="HubArn",
    param=ONCE,
    items="StandardsSubscriptions",
    keep=("StandardsSubscriptionArn", "StandardsArn", "StandardsStatus", "StandardsStatusReason"),
    absent=NOT_SUBSCRIBED,
    freshness=RARELY,
)
HUB_V2 = Call("securityhub", "DescribeSecurityHubV2", keep=("HubV2Arn",), absent=NOT_SUBSCRIBED, freshness=RARELY)
"""The newer Security Hub, which is enabled by itself."""

AGGREGATORS = Call(
    "securityhub",
    "ListFindingAggregators",
    each=HUB,
    over="HubArn",
    param={"MaxResults": "`100`"},
    items="FindingAggregators",
    keep=("FindingAggregatorArn",),
    absent=NOT_SUBSCRIBED,
    freshness=RARELY,
)
"""Every region with a hub names the same aggregator, whose ARN is in the region that findings are brought to."""

AGGREGATOR = Call(
    "securityhub",
    "GetFindingAggregator",
    each=AGGREGATORS,
    over="FindingAggregatorArn",
    param="FindingAggregatorArn",
    region_of="FindingAggregatorArn",
    keep=("FindingAggregationRegion", "RegionLinkingMode", "Regions"),
    absent=NOT_SUBSCRIBED,
    freshness=RARELY,
)
