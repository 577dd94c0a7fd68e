"""Topics, their attributes and their subscriptions. No endpoint is kept: addresses are personal."""

from datetime import timedelta

from passmuster.inventory.call import UP_TO_NOW, Call, TimeAgo
from passmuster.inventory.operations.budgets import SUBSCRIBERS
from passmuster.inventory.operations.cloudwatch import ALARM_TOPICS

GONE = ("NotFound", "NotFoundException")

TOPICS = Call("sns", "ListTopics", items="Topics", keep=("TopicArn",))
TOPIC_ATTRIBUTES = Call(
    "sns",
    "GetTopicAttributes",
    each=TOPICS,
    over="TopicArn",
    param="TopicArn",
    keep="{TopicArn: Attributes.TopicArn, KmsMasterKeyId: Attributes.KmsMasterKeyId}",
    absent=GONE,
)
ALARM_TOPIC_SUBSCRIPTIONS = Call(
    "sns",
    "ListSubscriptionsByTopic",
    each=ALARM_TOPICS,
    over="TopicArn",
    param="TopicArn",
    keep="{Subscriptions: Subscriptions[].{SubscriptionArn: SubscriptionArn, Protocol: Protocol}}",
    absent=GONE,
)
"""One row is a page; a topic that exists has at least one, a deleted topic has none."""

WINDOW = timedelta(days=30)


def _deliveries(topics: Call) -> Call:
    """Two metrics of each named topic, delivered and failed, in days of the window; AWS bills the metrics."""
    stat = (
        "{Period: `86400`, Stat: 'Sum', Metric: {Namespace: 'AWS/SNS', MetricName: 'NumberOfNotifications%s', "
        "Dimensions: [{Name: 'TopicName', Value: last_of(value, ':')}]}}"
    )
    queries = ", ".join(f"{{Id: '{word.lower()}', MetricStat: {stat % word}}}" for word in ("Delivered", "Failed"))
    return Call(
        "cloudwatch",
        "GetMetricData",
        each=topics,
        over="TopicArn",
        region_of="TopicArn",
        args={"StartTime": TimeAgo(WINDOW), "EndTime": UP_TO_NOW},
        param={"MetricDataQueries": f"[{queries}]"},
        items="MetricDataResults",
        keep=("Id", "StatusCode", "Values"),
        billed=0.00002,
        freshness=timedelta(hours=24),
    )


ALARM_TOPIC_DELIVERIES = _deliveries(ALARM_TOPICS)
BUDGET_TOPIC_DELIVERIES = _deliveries(SUBSCRIBERS)
