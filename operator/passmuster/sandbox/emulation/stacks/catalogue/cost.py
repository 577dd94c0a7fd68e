"""Resource types of cost control: budgets and anomaly detection."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from passmuster.sandbox.emulation.stacks.kinds import Api, Kind, Refused, Simple, Tagging, Work
from passmuster.sandbox.emulation.stacks.model import Properties


class Budget(Kind):
    """AWS::Budgets::Budget with its notifications; Ref is the name."""

    type_name = "AWS::Budgets::Budget"

    def create(self, work: Work, properties: Properties) -> str:
        budget = _budget(properties["Budget"])
        budget.setdefault("BudgetName", work.generated_name(100))
        work.client("budgets").create_budget(
            AccountId=work.place.account,
            Budget=budget,
            NotificationsWithSubscribers=[
                _notified(entry) for entry in properties.get("NotificationsWithSubscribers", [])
            ],
        )
        return work.made(str(budget["BudgetName"]))

    def read(self, work: Work) -> Any:
        try:
            return work.client("budgets").describe_budget(AccountId=work.place.account, BudgetName=work.physical_id)[
                "Budget"
            ]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NotFoundException":
                return None
            raise

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        if old.get("NotificationsWithSubscribers") != new.get("NotificationsWithSubscribers"):
            raise Refused("notifications of a budget are replaced with it, never updated")
        changed = {**_budget(new["Budget"]), "BudgetName": work.physical_id}
        work.client("budgets").update_budget(AccountId=work.place.account, NewBudget=changed)

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("budgets").delete_budget(AccountId=work.place.account, BudgetName=work.physical_id)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        return {"Id": work.physical_id}


def _budget(given: Mapping[str, Any]) -> dict[str, Any]:
    budget = dict(given)
    if "BudgetLimit" in budget:
        limit = budget["BudgetLimit"]
        budget["BudgetLimit"] = {"Amount": str(limit["Amount"]), "Unit": limit["Unit"]}
    return budget


def _notified(entry: Mapping[str, Any]) -> dict[str, Any]:
    notification = {**entry["Notification"], "Threshold": float(entry["Notification"]["Threshold"])}
    return {"Notification": notification, "Subscribers": [dict(subscriber) for subscriber in entry["Subscribers"]]}


class AnomalySubscription(Simple):
    """AWS::CE::AnomalySubscription; Ref is the ARN. A template gives the threshold expression as JSON in a text."""

    def create(self, work: Work, properties: Properties) -> str:
        return super().create(work, _parsed(properties))

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        super().update(work, _parsed(old), _parsed(new))


def _parsed(properties: Properties) -> Properties:
    expression = properties.get("ThresholdExpression")
    if expression is None:
        return properties
    if not isinstance(expression, str):
        raise Refused("ThresholdExpression of AWS::CE::AnomalySubscription is a text with JSON in it")
    return {**properties, "ThresholdExpression": json.loads(expression)}


KINDS: tuple[Kind, ...] = (
    Budget(),
    Simple(
        type_name="AWS::CE::AnomalyMonitor",
        service="ce",
        create_op="create_anomaly_monitor",
        made="MonitorArn",
        by={"MonitorArn": "@"},
        read_api=Api("get_anomaly_monitors", {}, "AnomalyMonitors[?MonitorArn=='{id}'] | [0]"),
        update_op="update_anomaly_monitor",
        delete_op="delete_anomaly_monitor",
        within="AnomalyMonitor",
        tag_property="ResourceTags",
        tagging=Tagging(param="ResourceTags"),
        attribute_paths={"MonitorArn": "@", "CreationDate": "CreationDate"},
    ),
    AnomalySubscription(
        type_name="AWS::CE::AnomalySubscription",
        service="ce",
        create_op="create_anomaly_subscription",
        made="SubscriptionArn",
        by={"SubscriptionArn": "@"},
        read_api=Api("get_anomaly_subscriptions", {}, "AnomalySubscriptions[?SubscriptionArn=='{id}'] | [0]"),
        update_op="update_anomaly_subscription",
        delete_op="delete_anomaly_subscription",
        within="AnomalySubscription",
        tag_property="ResourceTags",
        tagging=Tagging(param="ResourceTags"),
        attribute_paths={"SubscriptionArn": "@"},
    ),
)
