"""Somebody hears what the account costs, and can look up why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call, DaysAgo, Where
from passmuster.inventory.operations.budgets import (
    BUDGETS,
    NOTIFICATIONS,
    SUBSCRIBERS,
    TOPIC_SUBSCRIPTIONS,
    watches_cost,
)
from passmuster.inventory.operations.ce import PRICE, WEEK
from passmuster.inventory.operations.cloudwatch import METRIC_ALARMS
from passmuster.inventory.snapshot import Row, View, any_of, first_of, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

BILLING_ALARMS = replace(
    METRIC_ALARMS,
    where=Where.CONTROL,
    items="MetricAlarms[?Namespace == 'AWS/Billing' || Metrics[?MetricStat.Metric.Namespace == 'AWS/Billing']]",
    keep=("AlarmName", "ActionsEnabled", "AlarmActions"),
)
"""Alarms on the estimated charges, whose metric lives in the control region only."""

ALARM_SUBSCRIPTIONS = Call(
    "sns",
    "ListSubscriptionsByTopic",
    each=BILLING_ALARMS,
    over="AlarmActions[?contains(@, ':sns:')]",
    param="TopicArn",
    keep="{Subscriptions: Subscriptions[].{SubscriptionArn: SubscriptionArn, Protocol: Protocol}}",
    absent=("NotFound", "NotFoundException"),
)
COSTS = Call(
    "ce",
    "GetCostAndUsage",
    args={
        "TimePeriod": {"Start": DaysAgo(7), "End": DaysAgo(0)},
        "Granularity": "DAILY",
        "Metrics": ["UnblendedCost"],
    },
    keep="{Days: length(ResultsByTime || `[]`)}",
    absent=("DataUnavailableException",),
    billed=PRICE,
    freshness=WEEK,
)
"""Asked to learn whether Cost Explorer answers at all; no amount is kept."""

REPORTS = Call(
    "cur",
    "DescribeReportDefinitions",
    items="ReportDefinitions",
    keep=("ReportName", "S3Bucket", "ReportStatus"),
    freshness=RARELY,
)
EXPORTS = Call(
    "bcm-data-exports",
    "ListExports",
    items="Exports",
    keep=("ExportName", "ExportStatus"),
    where=Where.GLOBAL,
    freshness=RARELY,
)
HEARD = "a budget or billing alarm that reaches somebody"
EXPLAINED = "Cost Explorer or a cost and usage report"


@check(
    title="Costs are monitored",
    category=Category.COST,
    phase=Phase.FOUNDATION,
    severity=Severity.MEDIUM,
    fix="A",
    per="account",
    payer=True,
    also=(Category.MONITORING,),
    calls=(
        BUDGETS,
        NOTIFICATIONS,
        SUBSCRIBERS,
        TOPIC_SUBSCRIPTIONS,
        BILLING_ALARMS,
        ALARM_SUBSCRIPTIONS,
        COSTS,
        REPORTS,
        EXPORTS,
    ),
    controls=Controls(well_architected=("COST03-BP04",)),
)
def cost_monitoring(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A cost that nobody watches is found at the end of the month, when it is paid.

    Two things are asked. A cost budget or an alarm on the estimated charges reaches somebody: an address, or a topic
    with a confirmed subscription; a subscription that waits for confirmation is nobody. And the costs can be looked
    into: Cost Explorer answers at all, or a cost and usage report or data export is set up and not failing. Whether the
    budget has a sensible limit is another check's question.
    """
    if all(view.absent_everywhere(call, Reason.NOT_IN_PARTITION) for call in (BUDGETS, COSTS)):
        message = f"Billing does not exist in the partition {view.partition}"
        yield not_applicable(view.origin(COSTS), view.account_id, message, Reason.NOT_IN_PARTITION)
        return
    missing = unmet(
        {
            HEARD: lambda: any_of(lambda: _budget_is_heard(view, evidence.now), lambda: _alarm_is_heard(view)),
            EXPLAINED: lambda: any_of(
                lambda: view.row(COSTS) is not None,
                lambda: any(_is_delivering(report) for report in view.rows(REPORTS)),
                lambda: any(_is_healthy(export) for export in view.rows(EXPORTS)),
            ),
        }
    )
    expected = f"{HEARD}, and {EXPLAINED}"
    if missing:
        yield failed(
            view.origin(BUDGETS if HEARD in missing else COSTS),
            view.account_id,
            f"The account's cost is not monitored: it lacks {' and '.join(missing)}",
            observed=f"missing: {'; '.join(missing)}",
            expected=expected,
            facts={"missing": "notification" if HEARD in missing else "explanation"},
        )
        return
    message = "Somebody hears what the account costs and can look up why"
    yield passed(view.origin(BUDGETS), view.account_id, message, observed=expected, expected=expected)


def _budget_is_heard(view: View, now: datetime) -> bool:
    budgets = (budget for budget in view.rows(BUDGETS) if watches_cost(budget, now))
    return first_of(budgets, lambda budget: _notifies(view, budget)) is not None


def _notifies(view: View, budget: Row) -> bool:
    notifications = view.rows(NOTIFICATIONS, budget)
    return first_of(notifications, lambda notification: _reaches(view, notification)) is not None


def _reaches(view: View, notification: Row) -> bool:
    subscribers = view.rows(SUBSCRIBERS, notification)
    return first_of(subscribers, lambda subscriber: _is_somebody(view, subscriber)) is not None


def _is_somebody(view: View, subscriber: Row) -> bool:
    if subscriber.get("SubscriptionType") != "SNS":
        return True
    return any(_has_confirmed(page) for page in view.rows(TOPIC_SUBSCRIPTIONS, subscriber))


def _alarm_is_heard(view: View) -> bool:
    alarms = (alarm for alarm in view.rows(BILLING_ALARMS) if alarm.get("ActionsEnabled"))
    return first_of(alarms, lambda alarm: _alarms_somebody(view, alarm)) is not None


def _alarms_somebody(view: View, alarm: Row) -> bool:
    return any(_has_confirmed(page) for page in view.rows(ALARM_SUBSCRIPTIONS, alarm))


def _has_confirmed(page: Row) -> bool:
    """Whether a page of subscriptions has a confirmed one: only those have an ARN."""
    return any(one["SubscriptionArn"].startswith("arn:") for one in page.get("Subscriptions") or [])


def _is_delivering(report: Row) -> bool:
    return not str((report.get("ReportStatus") or {}).get("lastStatus") or "").startswith("ERROR")


def _is_healthy(export: Row) -> bool:
    return bool((export.get("ExportStatus") or {}).get("StatusCode") != "UNHEALTHY")
