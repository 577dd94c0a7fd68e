"""What the plan counts with: the price list, hours and quantities of a month, expected usage, and cents."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.api.parameters import faults
from passmuster.cli import offline
from passmuster.model.errors import UserError
from passmuster.model.parameter import Kind
from passmuster.remediation.catalogue import load
from passmuster.remediation.definition import USAGE, LineItem
from passmuster.remediation.pricing import PRICED_IN, Cost, cost, prices
from passmuster.remediation.rendering import expected_usage

HOURS = 730
"""Hours of a month, as AWS counts them: 8,760 a year."""


def bill(name: str, region: str = PRICED_IN, **usage: float) -> Cost:
    """The bill of one remediation; each of its parameters has one value."""
    one = load().get(name)
    assert one is not None
    expected = {f"{name}/{key.replace('_', '-')}": quantity for key, quantity in usage.items()}
    values = {parameter: "one" for item in one.cost for parameter in item.times}
    return cost(one.cost, region, values, expected_usage(one, {USAGE: expected}))


# regions


def test_us_east_1_has_every_price_itself() -> None:
    assert all(price.title_in(PRICED_IN) == price.title for price in prices().values())
    assert all(PRICED_IN not in price.by_region for price in prices().values())


def test_a_price_that_holds_everywhere_has_no_other_by_region() -> None:
    for price in prices().values():
        assert not (price.everywhere and price.by_region), price.key
        assert price.dollars is not None or not (price.everywhere or price.by_region), price.key
        assert price.everywhere or price.dollars != 0, f"{price.key} costs nothing in no region"


def test_a_price_of_another_region_is_named_as_such() -> None:
    canary = prices()["canary-run"]
    assert canary.title_in("eu-central-1") == f"{canary.title}, at the price of us-east-1"
    assert prices()["kms-key-month"].title_in("eu-central-1") == prices()["kms-key-month"].title
    assert prices()["kms-key-month"].title_in("cn-north-1").endswith(", at the price of us-east-1")
    nat = prices()["nat-gateway-hour"]
    assert (nat.title_in("eu-central-1"), nat.in_region("eu-central-1")) == (nat.title, Decimal("0.052"))
    assert (nat.title_in("sa-east-1"), nat.in_region("sa-east-1")) == (
        f"{nat.title}, at the price of us-east-1",
        Decimal("0.045"),
    )


# a month


def test_what_is_paid_by_the_hour_is_counted_for_730_hours() -> None:
    hourly = [(one.name, item) for one in load() for item in one.cost if item.key.endswith("-hour")]
    assert {item.quantity for _, item in hourly} == {HOURS, None}


@pytest.mark.parametrize(
    ("key", "region", "hourly"),
    [
        ("vpc-interface-endpoint-az-month", "us-east-1", "0.01"),
        ("vpc-interface-endpoint-az-month", "eu-central-1", "0.012"),
        ("vpc-interface-endpoint-az-month", "eu-west-1", "0.011"),
        ("accelerator-month", "us-west-2", "0.025"),
        ("elasticache-serverless-least-month", "us-east-1", "0.0084"),
    ],
)
def test_a_price_for_the_month_is_that_of_its_hours(key: str, region: str, hourly: str) -> None:
    assert prices()[key].in_region(region) == Decimal(hourly) * HOURS


def test_the_runs_of_a_canary_are_those_of_a_month_of_hours() -> None:
    canary = load().get("canary")
    assert canary is not None
    assert next(item.quantity for item in canary.cost if item.key == "canary-run") == HOURS * 6


@pytest.mark.parametrize(("subnets", "monthly"), [("a", "8.76"), ("a,b", "17.52"), ("a,b,c", "26.28")])
def test_an_endpoint_is_paid_for_in_every_availability_zone(subnets: str, monthly: str) -> None:
    one = load().get("interface-endpoint")
    assert one is not None
    assert cost(one.cost, "eu-central-1", {"Subnets": subnets}).monthly == Decimal(monthly)


# usage


REVIEW = [
    ("extra NAT gateway", {"nat-gateway-hour": HOURS}, "32.85"),
    ("hosted zone", {"route53-hosted-zone-month": 1}, "0.50"),
    ("health check", {"route53-health-check-month": 1}, "0.50"),
    ("GuardDuty", {"guardduty-events": 1, "guardduty-logs-gb": 0.5}, "4.50"),
    ("Backup", {"efs-backup-gb-month": 100}, "5.00"),
    ("Performance Insights", {"database-insights-vcpu-hour": 560}, "7.00"),
    ("Container Insights", {"cloudwatch-custom-metric-month": 25, "logs-ingestion-gb": 2}, "8.50"),
    ("X-Ray", {"xray-traces": 1}, "5.00"),
    ("canary", {"canary-run": 4000}, "4.80"),
    ("Config", {"config-item": 600, "config-evaluation": 200}, "2.00"),
    ("enhanced monitoring", {"logs-ingestion-gb": 36.4}, "18.20"),
]
"""The review's bill in us-east-1, and a usage at which the price list gives it. The review names no usage."""


@pytest.mark.parametrize(("name", "usage", "monthly"), REVIEW, ids=[name for name, _, _ in REVIEW])
def test_the_price_list_gives_the_figures_of_the_review(name: str, usage: dict[str, float], monthly: str) -> None:
    items = [LineItem(key, None) for key in usage]
    assert cost(items, "us-east-1", {}, usage) == cost(items, "us-east-1", {}, {**usage, "kms-requests": 9.0})
    assert cost(items, "us-east-1", {}, usage).monthly == Decimal(monthly)
    assert cost(items, "us-east-1", {}, usage).unpriced == ()
    assert cost(items, "us-east-1", {}).unpriced == tuple(prices()[key].title for key in usage)


@pytest.mark.parametrize(
    ("name", "usage", "monthly"),
    [
        ("guardduty-detector", {"guardduty_events": 1, "guardduty_logs_gb": 0.5}, "4.50"),
        ("file-system-backups", {"efs_backup_gb_month": 100}, "5.00"),
        ("database-insights-mode", {"database_insights_vcpu_hour": 560}, "7.00"),
        ("container-insights", {"cloudwatch_custom_metric_month": 25, "logs_ingestion_gb": 2}, "8.50"),
        ("trace-service", {"xray_traces": 1}, "5.00"),
        ("enhanced-monitoring", {"logs_ingestion_gb": 36.4}, "18.20"),
    ],
)
def test_the_remediations_give_them_by_the_usage_that_is_expected(
    name: str, usage: dict[str, float], monthly: str
) -> None:
    assert bill(name).monthly == 0
    assert len(bill(name).unpriced) >= len(usage)
    assert bill(name, **usage).monthly == Decimal(monthly)
    assert len(bill(name, **usage).unpriced) == len(bill(name).unpriced) - len(usage)


def test_the_recorder_and_the_rules_of_config_are_the_reviews_two_dollars() -> None:
    parts = bill("config-recorder", config_item=600), bill("config-rules", config_evaluation=200)
    assert [part.monthly for part in parts] == [Decimal("1.80"), Decimal("0.20")]


def test_a_usage_is_that_of_its_remediation_and_of_no_other() -> None:
    one, other = load().get("flow-log"), load().get("canary")
    assert one is not None
    assert other is not None
    given = {USAGE: {"flow-log/s3-standard-gb-month": 10, "flow-log/flow-log-gb": 120}}
    assert cost(one.cost, "us-east-1", {}, expected_usage(one, given)).monthly == Decimal("30.23")
    assert expected_usage(other, given) == {}
    assert expected_usage(one, {}) == {}


def test_an_expected_usage_says_that_it_is_one() -> None:
    (position, _) = bill("flow-log", "eu-central-1", flow_log_gb=1).positions
    assert position.title == "flow logs delivered to S3, at the price of us-east-1, as much as the policy expects"


def test_no_usage_at_all_is_no_position_and_nothing_unpriced() -> None:
    assert prices()["flow-log-gb"].title not in bill("flow-log", flow_log_gb=0).unpriced


def test_every_usage_that_may_be_expected_has_a_price_and_is_of_a_remediation() -> None:
    (usage,) = (given for given in load().inputs() if given.name == USAGE)
    assert usage.kind is Kind.QUANTITIES
    for choice in usage.choices:
        name, _, key = choice.partition("/")
        one = load().get(name)
        assert one is not None
        assert any(item.key == key and item.quantity is None for item in one.cost)
        assert prices()[key].dollars is not None


@pytest.mark.parametrize(
    ("value", "at", "what"),
    [
        ({"flow-log/flow-logs-gb": 1}, ("flow-log/flow-logs-gb",), "did you mean flow-log/flow-log-gb"),
        ({"flow-log/flow-log-gb": -1}, ("flow-log/flow-log-gb",), "-1 is less than 0"),
        ({"flow-log/flow-log-gb": "12"}, ("flow-log/flow-log-gb",), "'12' is not a number"),
        ({"flow-log/flow-log-gb": float("nan")}, ("flow-log/flow-log-gb",), "NaN is not a number"),
        (["flow-log/flow-log-gb"], (), "is not a map of names to values"),
    ],
)
def test_a_usage_that_cannot_be_counted_with_is_refused(value: object, at: tuple[str, ...], what: str) -> None:
    (usage,) = (given for given in load().inputs() if given.name == USAGE)
    (fault,) = faults(usage, value)
    assert fault.at == at
    assert what in fault.what


def test_the_command_line_takes_a_usage_in_parts() -> None:
    given = ["usage=flow-log/flow-log-gb:120,flow-log/s3-standard-gb-month:10", "usage=macie/macie-gb:0.5"]
    assert offline.inputs(given)[USAGE] == {
        "flow-log/flow-log-gb": 120,
        "flow-log/s3-standard-gb-month": 10,
        "macie/macie-gb": 0.5,
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("flow-log/flow-log-gb", "write name:number instead of 'flow-log/flow-log-gb'"),
        ("flow-log/flow-log-gb:much", "write name:number"),
        ("flow-log/flow:1", "did you mean flow-log/flow-log-gb"),
        ("flow-log/flow-log-gb:-1", "-1.0 is less than 0"),
    ],
)
def test_a_mistake_in_a_usage_on_the_command_line_is_explained(given: str, message: str) -> None:
    with pytest.raises(UserError, match="--input usage") as raised:
        offline.inputs([f"usage={given}"])
    assert message in str(raised.value)


# cents


def test_half_a_cent_is_a_cent_and_less_is_none() -> None:
    found = [cost([LineItem("config-evaluation", quantity)], "us-east-1", {}).monthly for quantity in (4, 5, 14, 15)]
    assert found == [Decimal("0.00"), Decimal("0.01"), Decimal("0.01"), Decimal("0.02")]


QUANTITIES = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=6)


@given(QUANTITIES)
def test_a_sum_is_exactly_that_of_its_rounded_positions(quantities: list[float]) -> None:
    items = [LineItem("xray-traces", quantity) for quantity in quantities]
    whole = cost(items, "us-east-1", {})
    each = [cost([item], "us-east-1", {}).monthly for item in items]
    assert whole.monthly == sum(each, Decimal(0))
    assert all(dollars == dollars.quantize(Decimal("0.01")) for dollars in each)
    exact = [Decimal(str(quantity)) * 5 for quantity in quantities]
    assert all(abs(dollars - wanted) <= Decimal("0.005") for dollars, wanted in zip(each, exact, strict=True))


# once


def test_what_is_paid_once_is_in_no_month_and_not_left_to_usage() -> None:
    items = [LineItem("kms-key-month", 2), LineItem("cost-explorer-request", 6, once=True)]
    found = cost(items, "eu-central-1", {})
    assert (found.monthly, found.once, found.unpriced) == (Decimal("2.00"), Decimal("0.06"), ())
