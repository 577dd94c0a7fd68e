"""Alarms, metric and composite, and the topics that they name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import Row, View, seen

_BOTH = {"AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
"""Without it only metric alarms come back."""

METRIC_ALARMS = Call(
    "cloudwatch",
    "DescribeAlarms",
    args=_BOTH,
    items="MetricAlarms",
    keep=(
        "AlarmName",
        "AlarmArn",
        "ActionsEnabled",
        "AlarmActions",
        "StateValue",
        "StateTransitionedTimestamp",
        "StateUpdatedTimestamp",
        "Namespace",
        "MetricName",
        "Dimensions",
        "Metrics",
        "TreatMissingData",
        "Threshold",
        "ComparisonOperator",
    ),
)
COMPOSITE_ALARMS = Call(
    "cloudwatch",
    "DescribeAlarms",
    args=_BOTH,
    items="CompositeAlarms",
    keep=("AlarmName", "AlarmArn", "AlarmRule", "ActionsEnabled", "AlarmActions", "StateValue"),
)
ALARM_TOPICS = Call(
    "cloudwatch",
    "DescribeAlarms",
    args=_BOTH,
    items="[MetricAlarms, CompositeAlarms][][].[AlarmActions, OKActions, InsufficientDataActions][][] "
    "| [?contains(@, ':sns:')]",
    keep="{TopicArn: @}",
)
"""The topics that alarms name, whatever the alarm and the action; one that two alarms name comes twice."""

NAMED = re.compile(r"(\bNOT\s*\(?\s*)?\bALARM\s*\(\s*(?:\"([^\"]+)\"|'([^']+)'|([^)\s]+))\s*\)", re.IGNORECASE)
"""In the rule of a composite alarm: whether it is negated, and the name or ARN of an alarm, in one of three groups."""


class Metric(NamedTuple):
    """One metric that an alarm looks at. `account` is set where it is another account's."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    account: str | None


def metrics_of(alarm: Row) -> Iterator[Metric]:
    """Every metric that a metric alarm looks at, those of metric math and of anomaly detection included."""
    if alarm.get("MetricName"):
        yield _metric(alarm, None)
    for query in alarm.get("Metrics") or []:
        metric = (query.get("MetricStat") or {}).get("Metric")
        if metric:
            yield _metric(metric, query.get("AccountId"))


def _metric(source: Any, account: str | None) -> Metric:
    dimensions = {one["Name"]: one["Value"] for one in source.get("Dimensions") or []}
    return Metric(source.get("Namespace") or "", source["MetricName"], dimensions, account)


def acts(alarm: Row) -> bool:
    """Whether the alarm does anything when it goes off."""
    return bool(alarm.get("ActionsEnabled", True) and alarm.get("AlarmActions"))


def alarm_topic(view: View) -> str:
    """The topic of the home region that most of the account's alarms notify, as far as is known; "" without one."""
    home = view.regions[0] if view.regions else ""
    named = Counter(
        action
        for alarm in seen(view.rows(METRIC_ALARMS))
        if alarm.region == home
        for action in alarm.get("AlarmActions") or ()
        if action.startswith("arn:") and action.split(":")[2:5] == ["sns", home, view.account_id]
    )
    return min(named, key=lambda arn: (-named[arn], arn), default="")
