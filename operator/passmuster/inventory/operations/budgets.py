"""Budgets, what they notify about and whom. No address is kept: addresses are personal, only topics are named."""

from __future__ import annotations

from datetime import datetime

from passmuster.inventory.call import THIS_ACCOUNT, Call
from passmuster.inventory.snapshot import Row, View

BUDGETS = Call(
    "budgets",
    "DescribeBudgets",
    args={"AccountId": THIS_ACCOUNT},
    items="Budgets",
    keep=("BudgetName", "BudgetType", "BudgetLimit", "PlannedBudgetLimits", "CalculatedSpend", "TimePeriod"),
    absent=("NotFoundException",),
)
NOTIFICATIONS = Call(
    "budgets",
    "DescribeNotificationsForBudget",
    each=BUDGETS,
    over="BudgetName",
    args={"AccountId": THIS_ACCOUNT},
    param="BudgetName",
    items="Notifications",
    keep="{NotificationType: NotificationType, ComparisonOperator: ComparisonOperator, Threshold: Threshold, "
    "ThresholdType: not_null(ThresholdType, 'PERCENTAGE')}",
    absent=("NotFoundException",),
)
"""The row is what AWS wants back to name the notification; its state is not part of that."""

SUBSCRIBERS = Call(
    "budgets",
    "DescribeSubscribersForNotification",
    each=NOTIFICATIONS,
    args={"AccountId": THIS_ACCOUNT},
    param={"BudgetName": "request.BudgetName", "Notification": "value"},
    items="Subscribers",
    keep="{SubscriptionType: SubscriptionType, TopicArn: SubscriptionType == 'SNS' && Address || ''}",
    absent=("NotFoundException",),
)
TOPIC_SUBSCRIPTIONS = Call(
    "sns",
    "ListSubscriptionsByTopic",
    each=SUBSCRIBERS,
    over="TopicArn",
    param="TopicArn",
    region_of="TopicArn",
    keep="{Subscriptions: Subscriptions[].{SubscriptionArn: SubscriptionArn, Protocol: Protocol}}",
    absent=("NotFound", "NotFoundException"),
)
"""The subscriptions of the topics that budgets name, asked where the topic is. One row is a page; a deleted topic has
none."""


def watches_cost(budget: Row, now: datetime) -> bool:
    """Whether the budget is about money and its period is not over."""
    end = (budget.get("TimePeriod") or {}).get("End")
    return budget.get("BudgetType") == "COST" and (end is None or end > now)


def arn(view: View, budget: Row) -> str:
    """The budget's ARN, which AWS does not return."""
    return f"arn:{view.partition}:budgets::{view.account_id}:budget/{budget['BudgetName']}"
