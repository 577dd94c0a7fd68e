"""What a check asks for by time reaches as far as its verdict speaks of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from passmuster.checks.catalogue import load
from passmuster.inventory.call import Call, Request, freeze, union
from replay import ACCOUNT, REGION

METRICS = [call for call in union([call for check in load() for call in check.calls]) if "Metric" in call.operation]
"""Every read of metrics, whichever check makes it."""


def test_the_metrics_of_connections_deliveries_and_business_are_read() -> None:
    assert {call.args["StartTime"].span for call in METRICS} == {timedelta(14), timedelta(30), timedelta(hours=1)}


@pytest.mark.parametrize("call", METRICS, ids=lambda call: f"{call.each.name} {call.args['StartTime'].span}")
@pytest.mark.parametrize("second", [0, 37, 59])
def test_a_window_of_metrics_reaches_to_now(call: Call, second: int) -> None:
    now = datetime(2026, 11, 21, 12, 5, second, tzinfo=UTC)
    sent = Request(call.service, call.operation, REGION, freeze(call.args)).sent(now, ACCOUNT).arguments()
    begin = now - call.args["StartTime"].span
    assert begin - timedelta(minutes=1) < sent["StartTime"] <= begin
    assert now < sent["EndTime"] <= now + timedelta(minutes=1)
