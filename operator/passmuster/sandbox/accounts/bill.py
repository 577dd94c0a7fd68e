"""What a seeded account ran and paid for, as Cost Explorer tells it: laid as overlays, for nothing really runs here.

The accounts call `lay` with their usage; what they do not mention did not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from passmuster.sandbox.accounts.shop import Account
from passmuster.sandbox.emulation.services.costs import reservation_coverage

HOURS = 30 * 24
"""How many hours one instance runs in the thirty days that coverage is asked about."""

DATABASES = "Amazon Relational Database Service"
CACHES = "Amazon ElastiCache"


@dataclass(frozen=True, slots=True)
class Usage:
    """Thirty days of an account.

    `hours` and `reserved` are instance hours by the name Cost Explorer has for the service; `computing` is what EC2,
    Fargate and Lambda cost a day and `covered` the part of it under a savings plan, both in dollars. `saved_by` is what
    Cost Explorer expects to be saved a month, in dollars, by a service's name or by the type of a savings plan.
    """

    hours: Mapping[str, float] = field(default_factory=dict)
    reserved: Mapping[str, float] = field(default_factory=dict)
    computing: float = 0.0
    covered: float = 0.0
    saved_by: Mapping[str, float] = field(default_factory=dict)


def lay(account: Account, usage: Usage) -> None:
    """Let Cost Explorer answer from this usage."""
    account.lay(
        {
            ("ce", "GetReservationCoverage"): lambda asked: _reservations(usage, asked),
            ("ce", "GetReservationPurchaseRecommendation"): lambda asked: _reservation_advice(usage, asked),
            ("ce", "GetSavingsPlansCoverage"): lambda asked: _plans(usage, asked),
            ("ce", "GetSavingsPlansPurchaseRecommendation"): lambda asked: _plan_advice(usage, asked),
        }
    )


def _reservations(usage: Usage, asked: Mapping[str, Any]) -> dict[str, Any]:
    service = asked["Filter"]["Dimensions"]["Values"][0]
    return reservation_coverage(asked, usage.hours.get(service, 0.0), usage.reserved.get(service, 0.0))


def _reservation_advice(usage: Usage, asked: Mapping[str, Any]) -> dict[str, Any]:
    saved = usage.saved_by.get(asked["Service"], 0.0)
    summary = {"TotalEstimatedMonthlySavingsAmount": f"{saved:.2f}", "CurrencyCode": "USD"}
    advice = {"TermInYears": "ONE_YEAR", "PaymentOption": "NO_UPFRONT", "RecommendationSummary": summary}
    return {"Metadata": {}, "Recommendations": [advice] if saved else []}


def _plans(usage: Usage, asked: Mapping[str, Any]) -> dict[str, Any]:
    first, end = (date.fromisoformat(asked["TimePeriod"][name]) for name in ("Start", "End"))
    days = [first + timedelta(days=n) for n in range((end - first).days)]
    share = 100 * usage.covered / usage.computing if usage.computing else 0
    coverage = {
        "SpendCoveredBySavingsPlans": f"{usage.covered:.2f}",
        "OnDemandCost": f"{usage.computing - usage.covered:.2f}",
        "TotalCost": f"{usage.computing:.2f}",
        "CoveragePercentage": f"{share:g}",
    }
    return {
        "SavingsPlansCoverages": [
            {
                "Attributes": {},
                "Coverage": coverage,
                "TimePeriod": {"Start": day.isoformat(), "End": (day + timedelta(days=1)).isoformat()},
            }
            for day in days
        ]
    }


def _plan_advice(usage: Usage, asked: Mapping[str, Any]) -> dict[str, Any]:
    saved = usage.saved_by.get(asked["SavingsPlansType"], 0.0)
    summary = {"EstimatedMonthlySavingsAmount": f"{saved:.2f}", "CurrencyCode": "USD"}
    advice = {"SavingsPlansType": asked["SavingsPlansType"], "SavingsPlansPurchaseRecommendationSummary": summary}
    return {"Metadata": {}, "SavingsPlansPurchaseRecommendation": advice}
