"""Every topic that alarms and budgets name reaches somebody who confirmed the subscription."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.budgets import SUBSCRIBERS, TOPIC_SUBSCRIPTIONS
from passmuster.inventory.operations.cloudwatch import ALARM_TOPICS, COMPOSITE_ALARMS, METRIC_ALARMS
from passmuster.inventory.operations.sns import (
    ALARM_TOPIC_DELIVERIES,
    ALARM_TOPIC_SUBSCRIPTIONS,
    BUDGET_TOPIC_DELIVERIES,
)
from passmuster.inventory.snapshot import Row, View, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "a confirmed subscription, and not every delivery of 30 days failed"
NOTIFYING = frozenset({"sns", "lambda", "ssm", "ssm-incidents", "aiops"})
UNREADABLE = frozenset({"InternalError", "Forbidden"})


@check(
    title="Alarm notifications arrive",
    category=Category.MONITORING,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="A",
    per="account",
    calls=(
        ALARM_TOPICS,
        ALARM_TOPIC_SUBSCRIPTIONS,
        ALARM_TOPIC_DELIVERIES,
        SUBSCRIBERS,
        TOPIC_SUBSCRIPTIONS,
        BUDGET_TOPIC_DELIVERIES,
        METRIC_ALARMS,
        COMPOSITE_ALARMS,
    ),
    nothing="No alarm and no budget names a topic",
    controls=Controls(
        config=("CLOUDFORMATION_STACK_NOTIFICATION_CHECK",),
        security_hub=("RDS.19", "RDS.20", "RDS.21", "RDS.22"),
        well_architected=("REL06-BP03",),
    ),
)
def alarm_notifications_delivered(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """An alarm that nobody receives is found out during the incident.

    Every topic that an alarm names for any of its states, or a budget for one of its notifications, is judged once. A
    topic without delivery metrics passes, because nothing was sent; one that an alarm names and that is gone fails.
    Where alarms exist of which none can notify anybody and no budget names a topic either, the account fails; alarms
    that only scale something need no topic.
    """
    judged: set[str] = set()
    with view.judging(view.account_id):
        for topic in view.rows(ALARM_TOPICS):
            yield from _named(view, topic, judged, ALARM_TOPIC_SUBSCRIPTIONS, ALARM_TOPIC_DELIVERIES)
    with view.judging(view.account_id):
        for topic in view.rows(SUBSCRIBERS):
            yield from _named(view, topic, judged, TOPIC_SUBSCRIPTIONS, BUDGET_TOPIC_DELIVERIES)
        if not judged:
            yield from _unheard(view)


def _named(view: View, topic: Row, judged: set[str], subscriptions: Call, deliveries: Call) -> Iterator[Finding]:
    arn = topic.get("TopicArn")
    if not arn or arn in judged:
        return
    judged.add(arn)
    with view.judging(arn, arn.split(":")[3]):
        yield _topic(view, topic, arn, subscriptions, deliveries)


def _topic(view: View, topic: Row, arn: str, subscriptions: Call, deliveries: Call) -> Finding:
    name = f"topic {arn.rpartition(':')[2]}"
    pages = list(view.rows(subscriptions, topic))
    if not pages:
        message = f"The {name} does not exist any more, but an alarm or a budget names it"
        facts = {"missing": "deleted-topic", "TopicName": arn.rpartition(":")[2]}
        return failed(topic.origin, arn, message, observed="no such topic", expected=EXPECTED, facts=facts)
    origin = pages[0].origin
    states = [one.get("SubscriptionArn") or "" for page in pages for one in page.get("Subscriptions") or []]
    confirmed = [state for state in states if state.startswith("arn:")]
    pending = states.count("PendingConfirmation")
    if not confirmed:
        observed = f"{pending} pending subscriptions" if pending else "no subscription"
        message = f"Nobody has confirmed a subscription to the {name}"
        facts = {"TopicArn": arn, "missing": "subscriber"}
        return failed(origin, arn, message, observed=observed, expected=EXPECTED, facts=facts)
    results = list(view.rows(deliveries, topic))
    if any(result.get("StatusCode") in UNREADABLE for result in results):
        message = f"CloudWatch did not say whether notifications of the {name} arrive"
        return unknown(results[0].origin, arn, message, Reason.SERVICE_ERROR, expected=EXPECTED)
    delivered, lost = (_sum(results, name) for name in ("delivered", "failed"))
    observed = f"{len(confirmed)} confirmed, {delivered:.0f} delivered and {lost:.0f} failed in 30 days"
    if lost > 0 and delivered == 0:
        message = f"Every notification of the {name} in 30 days failed"
        facts = {"TopicArn": arn, "missing": "delivery"}
        return failed(results[0].origin, arn, message, observed=observed, expected=EXPECTED, facts=facts)
    warnings = (f"{pending} subscriptions wait for confirmation",) if pending else ()
    message = f"The {name} has a confirmed subscription"
    return passed(origin, arn, message, observed=observed, expected=EXPECTED, warnings=warnings)


def _sum(results: list[Row], name: str) -> float:
    return sum(float(value) for result in results if result.get("Id") == name for value in result.get("Values") or [])


def _unheard(view: View) -> Iterator[Finding]:
    """The account's failure, if there are alarms and none of them can tell anybody anything."""
    alarms = [*seen(view.rows(METRIC_ALARMS)), *seen(view.rows(COMPOSITE_ALARMS))]
    actions = [alarm.get("AlarmActions") or [] for alarm in alarms]
    notify = any(_service(action) in NOTIFYING for some in actions for action in some)
    if not notify and not all(actions):
        yield failed(
            alarms[0].origin,
            view.account_id,
            "There are alarms, but none of them names a topic",
            observed="no topic",
            expected=EXPECTED,
            facts={"missing": "topic"},
        )


def _service(arn: str) -> str:
    parts = arn.split(":")
    return parts[2] if len(parts) > 2 else ""
