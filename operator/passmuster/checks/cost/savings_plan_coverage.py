"""Steady computing is covered by a savings plan where that would save money."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.ce import LAST_MONTH, PRICE, PROMISE, WEEK
from passmuster.inventory.snapshot import Row, View, any_of, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

COMPUTING = [
    "Amazon Elastic Compute Cloud - Compute",
    "Amazon Elastic Container Service",
    "Amazon Elastic Container Service for Kubernetes",
    "AWS Lambda",
]
STEADY_DAYS = 21
"""70 percent of 30 days."""

COVERAGE = Call(
    "ce",
    "GetSavingsPlansCoverage",
    args={
        "TimePeriod": LAST_MONTH,
        "Granularity": "DAILY",
        "Filter": {"Dimensions": {"Key": "SERVICE", "Values": COMPUTING}},
    },
    items="SavingsPlansCoverages",
    keep="{Start: TimePeriod.Start, End: TimePeriod.End, Total: to_number(Coverage.TotalCost) || `0`, "
    "Covered: to_number(Coverage.SpendCoveredBySavingsPlans) || `0`}",
    absent=("DataUnavailableException",),
    billed=PRICE,
    freshness=WEEK,
)
"""What a savings plan could cover, day by day; reserved instances are left out by Cost Explorer."""

_ADVICE = "SavingsPlansPurchaseRecommendation"


def _recommendation(kind: str) -> Call:
    """What the best plan of that kind for a year would save a month; asked only where anything is computed."""
    return Call(
        "ce",
        "GetSavingsPlansPurchaseRecommendation",
        each=COVERAGE,
        over="Total > `0`",
        param={"SavingsPlansType": f"'{kind}'"},
        args=PROMISE,
        keep=f"{{Saving: max([to_number({_ADVICE}.{_ADVICE}Summary.EstimatedMonthlySavingsAmount) || `0`, "
        f"sum({_ADVICE}.{_ADVICE}Details[].to_number(EstimatedMonthlySavingsAmount) || `[]`)]), "
        f"Currency: {_ADVICE}.{_ADVICE}Summary.CurrencyCode}}",
        billed=PRICE,
        freshness=WEEK,
    )


TYPES = {"Compute Savings Plan": "COMPUTE_SP", "EC2 Instance Savings Plan": "EC2_INSTANCE_SP"}
RECOMMENDATION = {name: _recommendation(kind) for name, kind in TYPES.items()}


@check(
    title="Steady computing has a savings plan",
    category=Category.COST,
    phase=Phase.ENTERPRISE,
    severity=Severity.LOW,
    fix="P",
    per="account",
    payer=True,
    calls=(COVERAGE, *RECOMMENDATION.values()),
    nothing="Nothing that a savings plan covers was computed on 70 percent of the last 30 days",
    parameters=(
        Parameter(
            "minMonthlySaving",
            Kind.NUMBER,
            50,
            Stricter.LOWER,
            "The recommended saving a month, in the currency of the bill, from which a savings plan is worth while.",
            minimum=1,
        ),
    ),
    controls=Controls(well_architected=("COST07-BP01",)),
)
def savings_plan_coverage(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """What computes all the time costs a quarter less with a promise to keep computing.

    EC2, Fargate and Lambda are judged where they cost something on at least 70 percent of 30 days. What Cost Explorer
    expects a plan of one year without prepayment to save decides; the kinds of plans are alternatives, so the better
    one counts and they are not summed. What a plan or a reserved instance covers already is left out of it. The share
    that is covered is told, and not judged. Nothing is ever bought.
    """
    days = list(view.rows(COVERAGE))
    if sum(_length(day) for day in days if day["Total"] > 0) < STEADY_DAYS:
        return
    limit = float(parameters["minMonthlySaving"])

    def reaches(call: Call) -> bool:
        return _saving(list(view.rows(call))) >= limit

    is_worth_while = any_of(*(partial(reaches, call) for call in RECOMMENDATION.values()))
    advice = {name: seen(view.rows(call)) for name, call in RECOMMENDATION.items()}
    best = max(advice, key=lambda name: _saving(advice[name]))
    currency = next((row["Currency"] for row in advice[best] if row.get("Currency")), "USD")
    total = f"{_saving(advice[best]):.0f} {currency} a month"
    observed = f"{_covered(days)} % covered, {total} to save"
    expected = f"less than {limit:g} {currency} a month to save by a savings plan"
    origin = view.origin(RECOMMENDATION[best])
    if is_worth_while:
        article = "An" if best.startswith("E") else "A"
        message = f"{article} {best} would save {total}"
        facts = {"amount": total, "plan": best, "type": TYPES[best], "saving": observed}
        yield failed(origin, view.account_id, message, observed=observed, expected=expected, facts=facts)
    else:
        message = f"A savings plan would save no more than {total}"
        yield passed(origin, view.account_id, message, observed=observed, expected=expected)


def _length(period: Row) -> int:
    """How many days the row is about: one, unless Cost Explorer says otherwise."""
    if not period.get("Start") or not period.get("End"):
        return 1
    return (date.fromisoformat(period["End"][:10]) - date.fromisoformat(period["Start"][:10])).days


def _saving(advice: Sequence[Row]) -> float:
    return max((float(row["Saving"]) for row in advice), default=0.0)


def _covered(days: Sequence[Row]) -> int:
    return int(100 * sum(day["Covered"] for day in days) / sum(day["Total"] for day in days))
