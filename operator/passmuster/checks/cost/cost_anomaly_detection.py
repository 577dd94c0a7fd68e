"""Somebody hears of an unusual cost before it has grown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import Row, View, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

MONITORS = Call(
    "ce",
    "GetAnomalyMonitors",
    items="AnomalyMonitors",
    keep=("MonitorArn", "MonitorName"),
    billed=0.01,
    freshness=timedelta(days=7),
)
SUBSCRIPTIONS = Call(
    "ce",
    "GetAnomalySubscriptions",
    items="AnomalySubscriptions",
    keep="{SubscriptionArn: SubscriptionArn, SubscriptionName: SubscriptionName, MonitorArnList: MonitorArnList, "
    "Reached: length(Subscribers[?Address && Status != 'DECLINED'] || `[]`), Threshold: Threshold, "
    "ThresholdExpression: ThresholdExpression}",
    billed=0.01,
    freshness=timedelta(days=7),
)
"""`Reached` is the number of subscribers with an address that have not declined; the addresses are not kept."""

IMPACT = "ANOMALY_TOTAL_IMPACT_ABSOLUTE"


@check(
    title="Cost anomalies are detected",
    category=Category.COST,
    phase=Phase.FOUNDATION,
    severity=Severity.LOW,
    fix="A",
    per="account",
    payer=True,
    calls=(MONITORS, SUBSCRIPTIONS),
    parameters=(
        Parameter(
            "maxThreshold",
            Kind.NUMBER,
            100,
            Stricter.LOWER,
            "The highest impact in US dollars from which an anomaly must be told.",
            minimum=0,
        ),
    ),
    controls=Controls(well_architected=("COST03-BP04", "COST02-BP05")),
)
def cost_anomaly_detection(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A stolen key or a loop costs most on the days before anybody looks at the bill.

    One subscription must belong to a monitor that exists, have a subscriber that has not declined, and tell of
    anomalies from at most the policy's amount. Where a threshold joins an amount and a percentage, the amount is judged
    (AWS sets up accounts with 100 dollars and 40 percent, told as a warning); a percentage alone promises no amount.
    """
    if view.absent_everywhere(MONITORS, Reason.NOT_IN_PARTITION):
        message = f"Cost Anomaly Detection does not exist in the partition {view.partition}"
        yield not_applicable(view.origin(MONITORS), view.account_id, message, Reason.NOT_IN_PARTITION)
        return
    limit = parameters["maxThreshold"]
    expected = f"a monitor with a subscription that tells somebody of anomalies from at most {limit:g} USD"
    good: list[Row] = []

    def subscribed() -> bool:
        good.extend(row for row in view.rows(SUBSCRIPTIONS) if _tells(row, limit))
        return bool(good)

    missing = unmet({"monitor": lambda: view.row(MONITORS) is not None, "subscription": subscribed})
    if "monitor" in missing:
        message, observed, facts = "No monitor watches for unusual costs", "no anomaly monitor", {"missing": "monitor"}
        yield failed(view.origin(MONITORS), view.account_id, message, observed=observed, expected=expected, facts=facts)
        return
    known = {"missing": "subscription", "MonitorArn": next((m["MonitorArn"] for m in seen(view.rows(MONITORS))), "")}
    if missing:
        message, observed = _shortcoming(list(view.rows(SUBSCRIPTIONS)), limit)
        origin = view.origin(SUBSCRIPTIONS)
        yield failed(origin, view.account_id, message, observed=observed, expected=expected, facts=known)
        return
    monitors = {row["MonitorArn"] for row in view.rows(MONITORS)}
    attached = [row for row in good if monitors & set(row.get("MonitorArnList") or ())]
    if not attached:
        message = "No subscription that would tell somebody belongs to a monitor"
        observed, origin = "monitor without subscription", view.origin(SUBSCRIPTIONS)
        yield failed(origin, view.account_id, message, observed=observed, expected=expected, facts=known)
        return
    best = min(attached, key=lambda row: (_amount(row), row["SubscriptionArn"]))
    yield passed(
        best.origin,
        best["SubscriptionArn"],
        f"The subscription {best['SubscriptionName']} tells of unusual costs",
        observed=f"from {_amount(best):g} USD",
        expected=expected,
        warnings=_warnings(best),
    )


def _tells(subscription: Row, limit: float) -> bool:
    return subscription["Reached"] > 0 and _amount(subscription) <= limit


def _amount(subscription: Row) -> float:
    """The impact in dollars from which the subscription tells of an anomaly, infinite if it names none."""
    expression = subscription.get("ThresholdExpression")
    if expression:
        return _least(expression)
    threshold = subscription.get("Threshold")
    return float("inf") if threshold is None else float(threshold)


def _least(expression: Mapping[str, Any]) -> float:
    """Of an amount its value; of alternatives the lowest; of a conjunction the highest of the amounts in it."""
    if expression.get("Or"):
        return min(_least(part) for part in expression["Or"])
    if expression.get("And"):
        amounts = [amount for part in expression["And"] if (amount := _least(part)) != float("inf")]
        return max(amounts, default=float("inf"))
    dimensions = expression.get("Dimensions") or {}
    values = dimensions.get("Values") or ()
    return float(values[0]) if dimensions.get("Key") == IMPACT and values else float("inf")


def _warnings(subscription: Row) -> tuple[str, ...]:
    joined = (subscription.get("ThresholdExpression") or {}).get("And") or ()
    if any(_least(part) == float("inf") for part in joined):
        return ("An anomaly is told only if it also exceeds a percentage of the expected cost",)
    return ()


def _shortcoming(subscriptions: list[Row], limit: float) -> tuple[str, str]:
    """What is wrong with the nearest subscription: a sentence and a phrase."""
    if not subscriptions:
        return "Nobody is subscribed to the anomaly monitors", "monitor without subscription"
    reaching = [row for row in subscriptions if row["Reached"] > 0]
    if not reaching:
        return "No anomaly subscription has a subscriber who accepted", "subscription without address"
    lowest = min(_amount(row) for row in reaching)
    if lowest == float("inf"):
        return "No anomaly subscription names an amount from which it tells", "threshold without an amount"
    return f"Anomalies are told from {lowest:g} USD only, not from {limit:g}", f"threshold {lowest:g} USD"
