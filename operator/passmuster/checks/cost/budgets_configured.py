"""A budget says how much the account may cost, and somebody hears when it costs more."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.budgets import BUDGETS, NOTIFICATIONS, SUBSCRIBERS, arn, watches_cost
from passmuster.inventory.snapshot import Row, View, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "a cost budget with a limit above zero and a notification that has a subscriber"
GENEROUS = 3.0


@check(
    title="A budget is set",
    category=Category.COST,
    phase=Phase.FOUNDATION,
    severity=Severity.MEDIUM,
    fix="A",
    per="account",
    payer=True,
    calls=(BUDGETS, NOTIFICATIONS, SUBSCRIBERS),
    controls=Controls(well_architected=("COST02-BP05",)),
)
def budgets_configured(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Without a budget the bill is the first to tell that something runs which should not.

    One cost budget with a limit above zero and a notification that has a subscriber is enough; a budget of usage,
    reservations or savings plans sets no limit to money, and one whose period is over watches nothing. The limits of a
    planned budget count where one of them is above zero. A limit of more than three times the spend that AWS forecasts
    for the period is a warning: it will hardly ever be reached.
    """
    if view.absent_everywhere(BUDGETS, Reason.NOT_IN_PARTITION):
        message = f"AWS Budgets does not exist in the partition {view.partition}"
        yield not_applicable(view.origin(BUDGETS), view.account_id, message, Reason.NOT_IN_PARTITION)
        return
    budgets = [budget for budget in view.rows(BUDGETS) if watches_cost(budget, evidence.now)]
    limited = [budget for budget in budgets if _limit(budget) > 0]
    budget = first_of(limited, lambda budget: _is_heard(view, budget))
    if budget is not None:
        yield passed(
            budget.origin,
            arn(view, budget),
            f"The budget {budget['BudgetName']} limits the account's cost and somebody hears of it",
            observed=f"limit {_limit(budget):g} {_unit(budget)}".strip(),
            expected=EXPECTED,
            warnings=_warnings(budget),
        )
        return
    names = ", ".join(sorted(budget["BudgetName"] for budget in limited or budgets))
    if limited:
        message, observed = f"No notification of {names} has a subscriber", "no notification with a subscriber"
        missing = "subscriber"
    elif budgets:
        message, observed = f"The limit of {names} is zero", "no cost budget with a limit above zero"
        missing = "limit"
    else:
        message, observed, missing = "No budget limits the account's cost", "no cost budget", "budget"
    facts = {"missing": missing, "Budgets": names}
    yield failed(view.origin(BUDGETS), view.account_id, message, observed=observed, expected=EXPECTED, facts=facts)


def _is_heard(view: View, budget: Row) -> bool:
    notifications = view.rows(NOTIFICATIONS, budget)
    return first_of(notifications, lambda one: view.row(SUBSCRIBERS, one) is not None) is not None


def _limit(budget: Row) -> float:
    """The limit of the budget, or the highest of a planned budget's."""
    planned = (budget.get("PlannedBudgetLimits") or {}).values()
    limits = [spend for spend in (budget.get("BudgetLimit"), *planned) if spend]
    return max((float(spend.get("Amount") or 0) for spend in limits), default=0.0)


def _unit(budget: Row) -> str:
    return str((budget.get("BudgetLimit") or {}).get("Unit") or "")


def _warnings(budget: Row) -> tuple[str, ...]:
    forecast = float(((budget.get("CalculatedSpend") or {}).get("ForecastedSpend") or {}).get("Amount") or 0)
    if forecast > 0 and _limit(budget) > GENEROUS * forecast:
        return (f"The limit is more than three times the forecast of {forecast:g} {_unit(budget)}".rstrip(),)
    return ()
