"""Steady databases, caches and clusters are reserved where that would save money."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.ce import LAST_MONTH, PRICE, PROMISE, WEEK
from passmuster.inventory.snapshot import View, any_of, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

SERVICES = {
    "RDS": "Amazon Relational Database Service",
    "ElastiCache": "Amazon ElastiCache",
    "OpenSearch": "Amazon OpenSearch Service",
    "Redshift": "Amazon Redshift",
}
STEADY_HOURS = 504
"""70 percent of the hours of 30 days."""

_HOURS = "(Total || CoveragesByTime[0].Total).CoverageHours"
_SUMMARIES = "Recommendations[].to_number(RecommendationSummary.TotalEstimatedMonthlySavingsAmount)"
_DETAILS = "Recommendations[].RecommendationDetails[].to_number(EstimatedMonthlySavingsAmount)"


def _coverage(service: str) -> Call:
    """How many hours the service ran in 30 days, and how many of them were reserved."""
    return Call(
        "ce",
        "GetReservationCoverage",
        args={
            "TimePeriod": LAST_MONTH,
            "Filter": {"Dimensions": {"Key": "SERVICE", "Values": [service]}},
        },
        keep=f"{{Hours: to_number({_HOURS}.TotalRunningHours) || `0`, "
        f"Reserved: to_number({_HOURS}.ReservedHours) || `0`}}",
        absent=("DataUnavailableException",),
        billed=PRICE,
        freshness=WEEK,
    )


def _recommendation(service: str, coverage: Call) -> Call:
    """What reserving the service for a year would save a month; asked only where it runs steadily."""
    return Call(
        "ce",
        "GetReservationPurchaseRecommendation",
        each=coverage,
        over=f"Hours >= `{STEADY_HOURS}`",
        param={"Service": f"'{service}'"},
        args=PROMISE,
        keep=f"{{Saving: max([sum({_SUMMARIES} || `[]`), sum({_DETAILS} || `[]`)]), "
        "Currency: Recommendations[0].RecommendationSummary.CurrencyCode}",
        billed=PRICE,
        freshness=WEEK,
    )


COVERAGE = {name: _coverage(service) for name, service in SERVICES.items()}
RECOMMENDATION = {name: _recommendation(service, COVERAGE[name]) for name, service in SERVICES.items()}


@check(
    title="Steady usage is reserved",
    category=Category.COST,
    phase=Phase.ENTERPRISE,
    severity=Severity.LOW,
    fix="P",
    per="account",
    payer=True,
    calls=(*COVERAGE.values(), *RECOMMENDATION.values()),
    nothing="No database, cache, search domain or warehouse ran for 70 percent of the last 30 days",
    parameters=(
        Parameter(
            "minMonthlySaving",
            Kind.NUMBER,
            50,
            Stricter.LOWER,
            "The recommended saving a month, in the currency of the bill, from which a reservation is worth while.",
            minimum=1,
        ),
    ),
    controls=Controls(well_architected=("COST07-BP01",)),
)
def reserved_instance_coverage(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """What runs all the time costs a third less with a promise to keep it running.

    RDS, ElastiCache, OpenSearch and Redshift are judged where their instances together ran at least 70 percent of the
    hours of 30 days. What Cost Explorer expects reservations of one year without prepayment to save decides, summed
    over the services; it leaves out what a reservation or a savings plan covers already. The share that is reserved is
    told, and not judged. Nothing is ever bought.
    """
    limit = float(parameters["minMonthlySaving"])
    savings: dict[str, float] = {}

    def reaches(name: str) -> bool:
        for row in view.rows(RECOMMENDATION[name]):
            savings[name] = max(savings.get(name, 0.0), float(row["Saving"]))
        return sum(savings.values()) >= limit

    is_worth_while = any_of(*(partial(reaches, name) for name in SERVICES))
    if not savings:
        return
    currency = "USD"
    for name, call in RECOMMENDATION.items():
        for row in seen(view.rows(call)):
            savings[name] = max(savings.get(name, 0.0), float(row["Saving"]))
            currency = row.get("Currency") or currency
    total = f"{sum(savings.values()):.0f} {currency} a month"
    expected = f"less than {limit:g} {currency} a month to save by reservations"
    observed = "; ".join(f"{name} {_reserved(view, name)} % reserved, {savings[name]:.0f} to save" for name in savings)
    origin = view.origin(RECOMMENDATION[next(iter(savings))])
    if is_worth_while:
        message = f"Reservations would save {total}: {', '.join(savings)}"
        facts = {"amount": total, "services": ", ".join(savings), "saving": observed}
        yield failed(origin, view.account_id, message, observed=observed, expected=expected, facts=facts)
    else:
        message = f"Reservations would save no more than {total}"
        yield passed(origin, view.account_id, message, observed=observed, expected=expected)


def _reserved(view: View, name: str) -> int:
    coverage = seen(view.rows(COVERAGE[name]))
    return int(100 * sum(row["Reserved"] for row in coverage) / sum(row["Hours"] for row in coverage))
