"""SNS, Logs and Synthetics: subscriptions that wait for a person, metric filters that change, canaries that run.

moto confirms an e-mail subscription at once; here it stays PendingConfirmation until `SimulatedAWS.confirm` plays the
person who clicks. Served by front.py.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from moto.core.utils import utcnow

from passmuster.sandbox.emulation.operation import Handling, Operations, Output, Place
from passmuster.sandbox.emulation.wire import AWSError

PENDING = "PendingConfirmation"
_BY_HAND = ("email", "email-json", "http", "https")
_RUNTIMES = {
    "syn-nodejs-3.1": None,
    "syn-nodejs-puppeteer-13.1": None,
    "syn-nodejs-puppeteer-9.1": None,
    "syn-nodejs-puppeteer-7.0": datetime(2026, 1, 22, tzinfo=UTC),
    "syn-nodejs-puppeteer-6.0": datetime(2024, 3, 8, tzinfo=UTC),
}


def subscribe(handling: Handling) -> Output:
    """Subscribe: the ARN of an endpoint that must confirm is told only if it is asked for."""
    answer = handling.moto()
    by_hand = handling.params["Protocol"] in _BY_HAND and not handling.params.get("ReturnSubscriptionArn")
    if by_hand and not _is_confirmed(handling.place, answer["SubscriptionArn"]):
        return {"SubscriptionArn": "pending confirmation"}
    return answer


def list_subscriptions(handling: Handling) -> Output:
    """ListSubscriptions and ListSubscriptionsByTopic."""
    answer = handling.moto()
    for subscription in answer["Subscriptions"]:
        arn = subscription["SubscriptionArn"]
        if subscription["Protocol"] in _BY_HAND and not _is_confirmed(handling.place, arn):
            subscription["SubscriptionArn"] = PENDING
    return answer


def get_subscription_attributes(handling: Handling) -> Output:
    answer = handling.moto()
    subscription = handling.place.backend("sns").subscriptions[handling.params["SubscriptionArn"]]
    waits = subscription.protocol in _BY_HAND and not _is_confirmed(handling.place, subscription.arn)
    answer["Attributes"]["PendingConfirmation"] = "true" if waits else "false"
    return answer


def get_topic_attributes(handling: Handling) -> Output:
    """GetTopicAttributes with subscriptions counted."""
    answer = handling.moto()
    mine = [
        s for s in handling.place.backend("sns").subscriptions.values() if s.topic.arn == handling.params["TopicArn"]
    ]
    waiting = [s for s in mine if s.protocol in _BY_HAND and not _is_confirmed(handling.place, s.arn)]
    answer["Attributes"]["SubscriptionsPending"] = str(len(waiting))
    answer["Attributes"]["SubscriptionsConfirmed"] = str(len(mine) - len(waiting))
    return answer


def confirm(place: Place, endpoint: str | None) -> int:
    """Confirm what waits in this region, for one endpoint or for all; how many there were."""
    waiting = [
        subscription
        for subscription in place.backend("sns").subscriptions.values()
        if subscription.protocol in _BY_HAND
        and not _is_confirmed(place, subscription.arn)
        and endpoint in (None, subscription.endpoint)
    ]
    for subscription in waiting:
        place.state("sns-confirmed")[subscription.arn] = True
    return len(waiting)


def _is_confirmed(place: Place, arn: str) -> bool:
    return arn in place.state("sns-confirmed")


def put_metric_filter(handling: Handling) -> Output:
    """Logs' PutMetricFilter: it needs its log group and replaces a filter of the same name; moto asks for no group and
    keeps both."""
    logs = handling.place.backend("logs")
    filters = logs.filters
    name, group = handling.params["filterName"], handling.params["logGroupName"]
    if group not in logs.groups:
        raise AWSError("ResourceNotFoundException", "The specified log group does not exist.", 400)
    filters.metric_filters = [
        known for known in filters.metric_filters if (known["filterName"], known["logGroupName"]) != (name, group)
    ]
    return handling.moto()


def get_canary(handling: Handling) -> Output:
    _canary(handling)
    answer = handling.moto()
    answer["Canary"]["Status"] = _status(_canary(handling))
    return answer


def describe_canaries(handling: Handling) -> Output:
    known = handling.place.backend("synthetics").canaries
    wanted = handling.params.get("Names") or list(known)
    answer = handling.moto()
    found = [canary for canary in answer["Canaries"] if canary["Name"] in wanted]
    for canary in found:
        canary["Status"] = _status(known[canary["Name"]])
    return {"Canaries": found}


def start_canary(handling: Handling) -> Output:
    canary = _canary(handling)
    canary.state, canary.timeline["LastStarted"] = "RUNNING", utcnow()
    return {}


def stop_canary(handling: Handling) -> Output:
    canary = _canary(handling)
    canary.state, canary.timeline["LastStopped"] = "STOPPED", utcnow()
    return {}


def update_canary(handling: Handling) -> Output:
    canary = _canary(handling)
    kept = {
        "Code": "code",
        "ExecutionRoleArn": "execution_role_arn",
        "RuntimeVersion": "runtime_version",
        "Schedule": "schedule",
        "RunConfig": "run_config",
    }
    for parameter, attribute in kept.items():
        if parameter in handling.params:
            setattr(canary, attribute, handling.params[parameter])
    canary.timeline["LastModified"] = utcnow()
    return {}


def delete_canary(handling: Handling) -> Output:
    canary = _canary(handling)
    if canary.state == "RUNNING":
        raise AWSError("ConflictException", f"Canary {canary.name} is in a state that can't be deleted: RUNNING", 409)
    del handling.place.backend("synthetics").canaries[canary.name]
    return {}


def get_canary_runs(handling: Handling) -> Output:
    """GetCanaryRuns: a running canary has passed once, when it was started."""
    canary = _canary(handling)
    return {"CanaryRuns": [_run(canary, canary.timeline["LastStarted"])] if canary.timeline["LastStarted"] else []}


def describe_canaries_last_run(handling: Handling) -> Output:
    wanted = handling.params.get("Names")
    return {
        "CanariesLastRun": [
            {"CanaryName": canary.name, "LastRun": _run(canary, canary.timeline["LastStarted"])}
            for canary in handling.place.backend("synthetics").canaries.values()
            if canary.timeline["LastStarted"] and (not wanted or canary.name in wanted)
        ]
    }


def describe_runtimes(_: Handling) -> Output:
    """DescribeRuntimeVersions: three that are supported, and two that AWS has deprecated."""
    return {
        "RuntimeVersions": [
            {"VersionName": name, "ReleaseDate": datetime(2024, 1, 1, tzinfo=UTC)}
            | ({"DeprecationDate": end} if end is not None else {})
            for name, end in _RUNTIMES.items()
        ]
    }


def _run(canary: Any, at: datetime) -> Output:
    status = {"State": "PASSED", "StateReason": "", "StateReasonCode": ""}
    return {
        "Id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{canary.id}{at}")),
        "Name": canary.name,
        "Status": {"State": status["State"]},
        "Timeline": {"Started": at, "Completed": at},
    }


def _status(canary: Any) -> Output:
    return {"State": canary.state, "StateReason": ""}


def _canary(handling: Handling) -> Any:
    name = str(handling.params["Name"])
    canaries = handling.place.backend("synthetics").canaries
    if name not in canaries:
        raise AWSError("ResourceNotFoundException", f"Canary {name} does not exist", 404)
    return canaries[name]


OPERATIONS: Operations = {
    ("sns", "Subscribe"): subscribe,
    ("sns", "ListSubscriptions"): list_subscriptions,
    ("sns", "ListSubscriptionsByTopic"): list_subscriptions,
    ("sns", "GetSubscriptionAttributes"): get_subscription_attributes,
    ("sns", "GetTopicAttributes"): get_topic_attributes,
    ("logs", "PutMetricFilter"): put_metric_filter,
    ("synthetics", "GetCanary"): get_canary,
    ("synthetics", "DescribeCanaries"): describe_canaries,
    ("synthetics", "StartCanary"): start_canary,
    ("synthetics", "StopCanary"): stop_canary,
    ("synthetics", "UpdateCanary"): update_canary,
    ("synthetics", "DeleteCanary"): delete_canary,
    ("synthetics", "DescribeRuntimeVersions"): describe_runtimes,
    ("synthetics", "GetCanaryRuns"): get_canary_runs,
    ("synthetics", "DescribeCanariesLastRun"): describe_canaries_last_run,
}
