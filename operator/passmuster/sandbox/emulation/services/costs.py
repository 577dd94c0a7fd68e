"""Budgets and Cost Explorer: subscribers, anomaly detection, cost allocation tags.

moto has budgets without updates and subscribers, and Cost Explorer without anomaly detection, coverage and advice. What
the account spends is an overlay; without one it spent nothing. Served by front.py, deployed by the budget and anomaly
remediations.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from passmuster.sandbox.emulation.operation import Handling, Operations, Output, always
from passmuster.sandbox.emulation.wire import AWSError


def update_budget(handling: Handling) -> Output:
    changed = handling.params["NewBudget"]
    budget = _budget(handling, str(changed["BudgetName"]))
    budget.budget.update(changed)
    return {}


def describe_subscribers(handling: Handling) -> Output:
    """DescribeSubscribersForNotification."""
    budget = _budget(handling, str(handling.params["BudgetName"]))
    wanted = handling.params["Notification"]
    for notification in budget.notifications:
        if _same_notification(notification.details, wanted):
            return {"Subscribers": notification.subscribers}
    raise AWSError("NotFoundException", "Unable to get subscribers - the notification doesn't exist.", 400)


def describe_notifications(handling: Handling) -> Output:
    """DescribeNotificationsForBudget; moto fails on a budget it does not know."""
    _budget(handling, str(handling.params["BudgetName"]))
    return handling.moto()


def _same_notification(known: Output, wanted: Output) -> bool:
    names = ("NotificationType", "ComparisonOperator")
    same_threshold = float(known["Threshold"]) == float(wanted["Threshold"])
    return same_threshold and all(known.get(name) == wanted.get(name) for name in names)


def _budget(handling: Handling, name: str) -> Any:
    budgets = handling.place.backend("budgets").budgets[handling.params["AccountId"]]
    if name not in budgets:
        raise AWSError("NotFoundException", f"Unable to get budget: {name} - the budget doesn't exist.", 400)
    return budgets[name]


def get_cost_and_usage(handling: Handling) -> Output:
    """GetCostAndUsage of an account that spent nothing: one period, every asked-for metric zero."""
    answer = handling.moto()
    if answer.get("ResultsByTime"):
        return answer
    zero = {metric: {"Amount": "0", "Unit": "USD"} for metric in handling.params.get("Metrics", [])}
    period = {"TimePeriod": handling.params["TimePeriod"], "Total": zero, "Groups": [], "Estimated": False}
    return {"ResultsByTime": [period], "DimensionValueAttributes": []}


def create_monitor(handling: Handling) -> Output:
    given = handling.params["AnomalyMonitor"]
    arn = f"arn:aws:ce::{handling.call.account}:anomalymonitor/{uuid.uuid4()}"
    _known(handling, "monitors")[arn] = {
        **given,
        "MonitorArn": arn,
        "CreationDate": _today(),
        "DimensionalValueCount": 0,
    }
    return {"MonitorArn": arn}


def get_monitors(handling: Handling) -> Output:
    wanted = handling.params.get("MonitorArnList") or []
    found = [m for arn, m in _known(handling, "monitors").items() if not wanted or arn in wanted]
    return {"AnomalyMonitors": found}


def update_monitor(handling: Handling) -> Output:
    monitor = _one(handling, "monitors", "MonitorArn", "UnknownMonitorException")
    monitor["MonitorName"] = handling.params.get("MonitorName", monitor["MonitorName"])
    return {"MonitorArn": monitor["MonitorArn"]}


def delete_monitor(handling: Handling) -> Output:
    monitor = _one(handling, "monitors", "MonitorArn", "UnknownMonitorException")
    del _known(handling, "monitors")[monitor["MonitorArn"]]
    return {}


def create_subscription(handling: Handling) -> Output:
    given = handling.params["AnomalySubscription"]
    if unknown := set(given["MonitorArnList"]) - set(_known(handling, "monitors")):
        raise AWSError("UnknownMonitorException", f"Unknown monitors: {sorted(unknown)}", 400)
    arn = f"arn:aws:ce::{handling.call.account}:anomalysubscription/{uuid.uuid4()}"
    subscribers = [{"Status": "CONFIRMED", **subscriber} for subscriber in given["Subscribers"]]
    told = {**given, "SubscriptionArn": arn, "AccountId": handling.call.account, "Subscribers": subscribers}
    _known(handling, "subscriptions")[arn] = told
    return {"SubscriptionArn": arn}


def get_subscriptions(handling: Handling) -> Output:
    wanted = handling.params.get("SubscriptionArnList") or []
    monitor = handling.params.get("MonitorArn")
    found = [
        subscription
        for arn, subscription in _known(handling, "subscriptions").items()
        if (not wanted or arn in wanted) and (not monitor or monitor in subscription["MonitorArnList"])
    ]
    return {"AnomalySubscriptions": found}


def update_subscription(handling: Handling) -> Output:
    subscription = _one(handling, "subscriptions", "SubscriptionArn", "UnknownSubscriptionException")
    subscription.update(handling.params)
    return {"SubscriptionArn": subscription["SubscriptionArn"]}


def delete_subscription(handling: Handling) -> Output:
    subscription = _one(handling, "subscriptions", "SubscriptionArn", "UnknownSubscriptionException")
    del _known(handling, "subscriptions")[subscription["SubscriptionArn"]]
    return {}


def list_allocation_tags(handling: Handling) -> Output:
    """ListCostAllocationTags; a seed's tags become known to billing by being switched on or off."""
    status, kind = handling.params.get("Status"), handling.params.get("Type")
    keys = handling.params.get("TagKeys") or []
    found = [
        tag
        for tag in _known(handling, "tags").values()
        if (not status or tag["Status"] == status)
        and (not kind or tag["Type"] == kind)
        and (not keys or tag["TagKey"] in keys)
    ]
    return {"CostAllocationTags": found}


def update_allocation_tags(handling: Handling) -> Output:
    """UpdateCostAllocationTagsStatus."""
    for entry in handling.params["CostAllocationTagsStatus"]:
        kind = "AWSGenerated" if entry["TagKey"].startswith("aws:") else "UserDefined"
        _known(handling, "tags")[entry["TagKey"]] = {**entry, "Type": kind, "LastUpdatedDate": _today()}
    return {"Errors": []}


def get_coverage(handling: Handling) -> Output:
    """GetReservationCoverage of an account in which nothing ran that could be reserved."""
    return reservation_coverage(handling.params, ran=0, reserved=0)


def reservation_coverage(asked: Mapping[str, Any], ran: float, reserved: float) -> Output:
    """What GetReservationCoverage answers when so many instance hours ran, of which so many were reserved."""
    hours = {
        "OnDemandHours": f"{ran - reserved:g}",
        "ReservedHours": f"{reserved:g}",
        "TotalRunningHours": f"{ran:g}",
        "CoverageHoursPercentage": f"{100 * reserved / ran if ran else 0:g}",
    }
    period = {"TimePeriod": asked["TimePeriod"], "Groups": [], "Total": {"CoverageHours": hours}}
    return {"CoveragesByTime": [period], "Total": {"CoverageHours": hours}}


def get_plans_coverage(_: Handling) -> Output:
    """GetSavingsPlansCoverage; where nothing was computed, Cost Explorer has no data."""
    raise AWSError("DataUnavailableException", "The requested data is unavailable.", 400)


def _known(handling: Handling, what: str) -> dict[str, Any]:
    return handling.place.state(f"ce-{what}", everywhere=True)


def _one(handling: Handling, what: str, name: str, error: str) -> dict[str, Any]:
    known, wanted = _known(handling, what), str(handling.params[name])
    if wanted not in known:
        raise AWSError(error, f"{wanted} does not exist", 400)
    found: dict[str, Any] = known[wanted]
    return found


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def get_enrollment(handling: Handling) -> Output:
    """Compute Optimizer's GetEnrollmentStatus; what it recommends is an overlay."""
    status = handling.place.state("compute-optimizer", everywhere=True).get("status", "Inactive")
    return {"status": status, "memberAccountsEnrolled": False}


def update_enrollment(handling: Handling) -> Output:
    handling.place.state("compute-optimizer", everywhere=True)["status"] = str(handling.params["status"])
    return {"status": handling.params["status"]}


OPERATIONS: Operations = {
    ("compute-optimizer", "GetEnrollmentStatus"): get_enrollment,
    ("compute-optimizer", "UpdateEnrollmentStatus"): update_enrollment,
    ("budgets", "UpdateBudget"): update_budget,
    ("budgets", "DescribeSubscribersForNotification"): describe_subscribers,
    ("budgets", "DescribeNotificationsForBudget"): describe_notifications,
    ("ce", "GetCostAndUsage"): get_cost_and_usage,
    ("ce", "GetReservationCoverage"): get_coverage,
    ("ce", "GetReservationPurchaseRecommendation"): always({"Metadata": {}, "Recommendations": []}),
    ("ce", "GetSavingsPlansCoverage"): get_plans_coverage,
    ("ce", "GetSavingsPlansPurchaseRecommendation"): always({"Metadata": {}, "SavingsPlansPurchaseRecommendation": {}}),
    ("ce", "CreateAnomalyMonitor"): create_monitor,
    ("ce", "GetAnomalyMonitors"): get_monitors,
    ("ce", "UpdateAnomalyMonitor"): update_monitor,
    ("ce", "DeleteAnomalyMonitor"): delete_monitor,
    ("ce", "CreateAnomalySubscription"): create_subscription,
    ("ce", "GetAnomalySubscriptions"): get_subscriptions,
    ("ce", "UpdateAnomalySubscription"): update_subscription,
    ("ce", "DeleteAnomalySubscription"): delete_subscription,
    ("ce", "ListCostAllocationTags"): list_allocation_tags,
    ("ce", "UpdateCostAllocationTagsStatus"): update_allocation_tags,
}
