"""Every business metric that the policy names has an alarm that gets data and tells somebody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import UP_TO_NOW, Call, TimeAgo
from passmuster.inventory.operations.cloudwatch import (
    COMPOSITE_ALARMS,
    METRIC_ALARMS,
    NAMED,
    acts,
    alarm_topic,
    metrics_of,
)
from passmuster.inventory.snapshot import Row, View, first_found, first_of, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

FRESH = timedelta(hours=1)
_OWN = "{Namespace: Namespace, MetricName: MetricName, Dimensions: Dimensions || `[]`}"
_PARTS = "Metrics[?MetricStat].MetricStat.Metric"
DATA = Call(
    "cloudwatch",
    "GetMetricData",
    each=METRIC_ALARMS,
    over=f"[[@][?MetricName].{_OWN}, {_PARTS}.{_OWN}][][] | [?Namespace && !starts_with(Namespace, 'AWS/')]",
    args={"StartTime": TimeAgo(FRESH), "EndTime": UP_TO_NOW},
    param={
        "MetricDataQueries": "[{Id: 'recent', MetricStat: {Period: `300`, Stat: 'SampleCount', Metric: value}}]",
    },
    items="MetricDataResults",
    keep=("Values",),
    billed=0.00001,
    freshness=timedelta(hours=24),
)
"""How many values the metrics of alarms got in the last hour, of those that are not AWS's own."""

OBJECTIVES = Call(
    "application-signals",
    "ListServiceLevelObjectives",
    items="SloSummaries",
    keep=("Arn", "Name"),
    freshness=timedelta(hours=6),
)
OF_AWS = "AWS/"
ACTION, RECENT = "an alarm with an action", "data in the last hour"
EXPECTED = f"{ACTION} and {RECENT}, or a service level objective"


@check(
    title="Business metrics have alarms",
    category=Category.MONITORING,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="A",
    per="account",
    calls=(METRIC_ALARMS, COMPOSITE_ALARMS, DATA, OBJECTIVES),
    nothing="The policy names no business metric",
    parameters=(
        Parameter(
            "metrics",
            Kind.METRICS,
            [],
            Stricter.MORE,
            "The metrics of the business that must have an alarm, by namespace and name.",
        ),
    ),
    controls=Controls(well_architected=("OPS04-BP01", "OPS08-BP04")),
)
def business_metric_alarms(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """The servers may be well while nobody can buy anything.

    Each metric that the policy names is judged: some alarm of a governed region looks at it, also by metric math, the
    metric got data in the last hour, and the alarm, or a composite alarm that fires with it, has its actions enabled
    and has one. Metrics of AWS's own namespaces are no business metrics. A service level objective of Application
    Signals stands in for any of them, since AWS does not list what it looks at. An alarm that waits for its first data
    since less than an hour is in transit.
    """
    if not parameters["metrics"]:
        message = "The policy names no business metric"
        yield not_applicable(view.origin(METRIC_ALARMS), view.account_id, message, Reason.NOT_REQUESTED)
        return
    for wanted in parameters["metrics"]:
        metric = (wanted["namespace"], wanted["metric"])
        with view.judging("/".join(metric)):
            yield _judged(view, metric, evidence.now)


def _judged(view: View, metric: tuple[str, str], now: datetime) -> Finding:
    resource, name = "/".join(metric), f"business metric {metric[1]}"
    watching = first_found(
        lambda: first_of(_alarms(view, metric), lambda alarm: not unmet(_conditions(view, alarm, metric))),
        lambda: view.row(OBJECTIVES),
    )
    if watching is not None:
        way = "service level objective" if watching.call == OBJECTIVES else "alarm"
        watcher = str(watching.get("AlarmName") or watching.get("Name"))
        message = f"The {way} {watcher} watches the {name}"
        return passed(watching.origin, resource, message, observed=f"{way} {watcher}", expected=EXPECTED)
    alarm = min(_alarms(view, metric), key=lambda alarm: len(unmet(_conditions(view, alarm, metric))), default=None)
    facts = {"namespace": metric[0], "metric": metric[1], "TopicArn": alarm_topic(view)}
    if alarm is None:
        facts["missing"] = "nothing" if metric[0].startswith(OF_AWS) else "alarm"
        why = "is of a namespace of AWS" if metric[0].startswith(OF_AWS) else "has no alarm"
        origin = view.origin(METRIC_ALARMS)
        return failed(origin, resource, f"The {name} {why}", observed="no alarm", expected=EXPECTED, facts=facts)
    lacking = unmet(_conditions(view, alarm, metric))
    if lacking == [RECENT] and _is_waiting(alarm, now):
        message = f"The alarm {alarm['AlarmName']} on the {name} waits for its first data"
        return unknown(alarm.origin, resource, message, Reason.IN_TRANSIT, expected=EXPECTED)
    observed = f"{alarm['AlarmName']}: {', '.join(f'not {phrase}' for phrase in lacking)}"
    message = f"The alarm {alarm['AlarmName']} on the {name} lacks: {', '.join(lacking)}"
    facts["missing"] = "alarm" if ACTION in lacking else "data"
    return failed(alarm.origin, resource, message, observed=observed, expected=EXPECTED, facts=facts)


def _alarms(view: View, metric: tuple[str, str]) -> Iterator[Row]:
    """The alarms that look at the metric, whatever its dimensions."""
    for alarm in view.rows(METRIC_ALARMS) if not metric[0].startswith(OF_AWS) else ():
        for one in metrics_of(alarm):
            if (one.namespace, one.name) == metric and one.account in (None, view.account_id):
                yield alarm
                break


def _conditions(view: View, alarm: Row, metric: tuple[str, str]) -> dict[str, Callable[[], bool]]:
    return {
        ACTION: lambda: _tells(view, alarm, frozenset()),
        RECENT: lambda: any(row.get("Values") for row in view.rows(DATA, alarm) if _asked(row) == metric),
    }


def _asked(row: Row) -> tuple[str, str]:
    """The metric that the values are of."""
    metric = row.asked("MetricDataQueries")[0]["MetricStat"]["Metric"]
    return metric["Namespace"], metric["MetricName"]


def _tells(view: View, alarm: Row, below: frozenset[str]) -> bool:
    """Whether the alarm, or a composite alarm that fires with it, does anything when it goes off."""
    if acts(alarm):
        return True
    below |= {alarm["AlarmName"]}
    above = (one for one in view.rows(COMPOSITE_ALARMS) if one["AlarmName"] not in below and _fires_with(one, alarm))
    return first_of(above, lambda composite: _tells(view, composite, below)) is not None


def _fires_with(composite: Row, alarm: Row) -> bool:
    names = {alarm["AlarmName"], alarm.get("AlarmArn")}
    found = NAMED.findall(composite.get("AlarmRule") or "")
    return composite.region == alarm.region and any(not no and "".join(name) in names for no, *name in found)


def _is_waiting(alarm: Row, now: datetime) -> bool:
    since = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
    return alarm.get("StateValue") == "INSUFFICIENT_DATA" and since is not None and now - since < FRESH
