"""Requests whose parameters follow from the inspection: what is sent changes, the identity of the request does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from passmuster.inventory.call import THIS_ACCOUNT, Call, DaysAgo, TimeAgo
from replay import ACCOUNT, NOW, REGION, Replay, collect

COSTS = Call(
    "ce",
    "GetCostAndUsage",
    args={"TimePeriod": {"Start": DaysAgo(7), "End": DaysAgo(0)}, "Granularity": "MONTHLY", "Metrics": ["BlendedCost"]},
    billed=0.01,
    freshness=timedelta(days=7),
)
DATABASES = Call(
    "rds", "DescribeDBInstances", items="DBInstances", keep=("DBInstanceIdentifier", "LatestRestorableTime")
)
PEAKS = Call(
    "cloudwatch",
    "GetMetricData",
    each=DATABASES,
    over="DBInstanceIdentifier",
    args={"StartTime": TimeAgo(timedelta(days=14)), "EndTime": TimeAgo(timedelta(0))},
    param={
        "MetricDataQueries": "[{Id: 'peak', MetricStat: {Period: `86400`, Stat: 'Maximum', Metric: {Namespace: "
        "'AWS/RDS', MetricName: 'DatabaseConnections', Dimensions: [{Name: 'DBInstanceIdentifier', Value: value}]}}}]"
    },
    items="MetricDataResults",
    billed=0.00001,
    freshness=timedelta(hours=24),
)
ONE_DATABASE = {
    "rds:DescribeDBInstances": {"DBInstances": [{"DBInstanceIdentifier": "shop", "LatestRestorableTime": NOW}]}
}
ONE_PEAK = {"cloudwatch:GetMetricData": {"MetricDataResults": [{"Id": "peak", "Values": [12.0]}]}}


def test_days_ago_is_sent_as_a_date_at_any_depth() -> None:
    sent = COSTS.root_request("us-east-1").sent(NOW, ACCOUNT).arguments()
    assert sent["TimePeriod"] == {"Start": "2026-11-14", "End": "2026-11-21"}
    assert sent["Metrics"] == ["BlendedCost"]


def test_time_ago_is_sent_as_a_time_of_a_whole_minute() -> None:
    late = datetime(2026, 11, 21, 12, 0, 59, 5, tzinfo=UTC)
    (request,) = PEAKS.requests({"DBInstanceIdentifier": "shop"}, DATABASES.root_request(REGION), REGION)
    sent = request.sent(late, ACCOUNT).arguments()
    assert sent["StartTime"] == NOW - timedelta(days=14)
    assert sent["EndTime"] == NOW
    assert sent["MetricDataQueries"][0]["MetricStat"]["Metric"]["Dimensions"] == [
        {"Name": "DBInstanceIdentifier", "Value": "shop"}
    ]


def test_a_request_without_times_is_sent_as_it_is() -> None:
    request = DATABASES.root_request(REGION)
    assert request.sent(NOW, ACCOUNT) == request


def test_what_is_sent_differs_from_day_to_day_and_the_request_does_not() -> None:
    today, tomorrow = COSTS.root_request(REGION), COSTS.root_request(REGION)
    assert today == tomorrow
    assert hash(today) == hash(tomorrow)
    assert today.sent(NOW, ACCOUNT) != today.sent(NOW + timedelta(days=1), ACCOUNT)


def test_calls_that_look_back_differently_far_are_different_requests() -> None:
    further = replace(COSTS, args={**COSTS.args, "TimePeriod": {"Start": DaysAgo(30), "End": DaysAgo(0)}})
    assert further != COSTS
    assert further.root_request(REGION) != COSTS.root_request(REGION)


def test_a_billed_call_with_dates_is_made_once_in_its_freshness() -> None:
    monday = collect((COSTS,), Replay({}))
    asked_later = []
    for days in (1, 6, 8):
        later = Replay({})
        collect((COSTS,), later, now=NOW + timedelta(days=days), previous=monday)
        asked_later.append(len(later.asked))
    assert asked_later == [0, 0, 1]


def test_the_transport_is_asked_with_dates() -> None:
    transport = Replay({})
    collect((COSTS,), transport)
    assert [request.arguments()["TimePeriod"]["Start"] for request in transport.asked] == ["2026-11-14"]


def test_a_billed_fan_out_is_not_asked_again_because_its_parent_row_changed() -> None:
    before = collect((PEAKS,), Replay({**ONE_DATABASE, **ONE_PEAK}))
    changed = {"DBInstanceIdentifier": "shop", "LatestRestorableTime": NOW + timedelta(minutes=55)}
    later = Replay({"rds:DescribeDBInstances": {"DBInstances": [changed]}, **ONE_PEAK})
    after = collect((PEAKS,), later, now=NOW + timedelta(hours=1), previous=before)
    assert [request.operation for request in later.asked] == ["DescribeDBInstances"]
    assert [reading.rows for reading in after.readings[PEAKS].values()] == [({"Id": "peak", "Values": [12.0]},)]
    next_day = Replay({**ONE_DATABASE, **ONE_PEAK})
    collect((PEAKS,), next_day, now=NOW + timedelta(hours=25), previous=before)
    assert "GetMetricData" in [request.operation for request in next_day.asked]


def test_this_account_is_sent_as_the_id_of_the_inspected_account() -> None:
    budgets = Call("budgets", "DescribeBudgets", args={"AccountId": THIS_ACCOUNT})
    transport = Replay({})
    collect((budgets,), transport, account="999999999999")
    assert [request.arguments() for request in transport.asked] == [{"AccountId": "999999999999"}]


def test_a_fan_out_goes_to_the_region_of_an_arn() -> None:
    topic = "arn:aws:sns:eu-west-3:123456789012:bills"
    rows = Call("budgets", "DescribeSubscribersForNotification", items="Subscribers")
    subscriptions = Call(
        "sns", "ListSubscriptionsByTopic", each=rows, over="Address", param="TopicArn", region_of="Address"
    )
    (request,) = subscriptions.requests({"Address": topic}, rows.root_request("us-east-1"), "us-east-1")
    assert request.region == "eu-west-3"
