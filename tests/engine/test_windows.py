"""When changes may begin, at the edges of windows and in the nights in which the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passmuster.api.policy import Window, WindowKind
from passmuster.engine.windows import open_now
from passmuster.model.errors import UserError

NIGHT = Window(kind=WindowKind.ALLOW, schedule="0 2 * * 1-5", duration=timedelta(hours=3), time_zone="Europe/Berlin")
FREEZE = Window(kind=WindowKind.DENY, schedule="0 0 20 12 *", duration=timedelta(days=14), time_zone="UTC")


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_without_windows_a_change_may_begin_at_any_time() -> None:
    assert open_now([], _at("2026-11-22T12:00:00"))


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-23T00:59:59", False),  # Monday, 01:59:59 in Berlin
        ("2026-11-23T01:00:00", True),
        ("2026-11-23T03:59:59", True),
        ("2026-11-23T04:00:00", False),
        ("2026-11-22T01:30:00", False),  # Sunday
    ],
)
def test_a_window_is_open_from_its_schedule_until_its_duration_is_over(moment: str, is_open: bool) -> None:
    assert open_now([NIGHT], _at(moment)) is is_open


def test_a_deny_window_overrides_an_allow_window() -> None:
    assert not open_now([NIGHT, FREEZE], _at("2026-12-21T02:00:00"))
    assert open_now([NIGHT, FREEZE], _at("2026-12-14T02:00:00"))


def test_with_deny_windows_only_everything_else_is_allowed() -> None:
    assert open_now([FREEZE], _at("2026-06-01T12:00:00"))
    assert not open_now([FREEZE], _at("2027-01-02T23:59:59"))
    assert open_now([FREEZE], _at("2027-01-03T00:00:00"))


def test_one_open_allow_window_of_several_is_enough() -> None:
    noon = Window(schedule="0 12 * * *", duration=timedelta(minutes=30))
    assert open_now([NIGHT, noon], _at("2026-11-23T12:10:00"))
    assert not open_now([NIGHT, noon], _at("2026-11-23T12:30:00"))


def test_a_window_across_midnight_belongs_to_the_day_it_opened() -> None:
    late = Window(schedule="0 23 * * 5", duration=timedelta(hours=4))
    assert open_now([late], _at("2026-11-28T02:00:00"))
    assert not open_now([late], _at("2026-11-29T02:00:00"))


@pytest.mark.parametrize(
    ("opens", "utc"),
    [
        ("30 1 29 3 *", "2026-03-29T00:30:00"),  # the hour from 2 to 3 does not exist
        ("30 1 25 10 *", "2026-10-24T23:30:00"),  # the hour from 2 to 3 exists twice
    ],
)
@pytest.mark.parametrize("kind", list(WindowKind))
def test_the_duration_is_elapsed_time_when_the_clocks_change(opens: str, utc: str, kind: WindowKind) -> None:
    window = Window(kind=kind, schedule=opens, duration=timedelta(hours=3), time_zone="Europe/Berlin")
    begin, inside = _at(utc), kind is WindowKind.ALLOW
    for minutes in range(0, 180, 5):
        assert open_now([window], begin + timedelta(minutes=minutes)) is inside, minutes
    assert open_now([window], begin + timedelta(hours=3)) is not inside
    assert open_now([window], begin - timedelta(seconds=1)) is not inside


def test_a_schedule_in_the_hour_that_does_not_exist_opens_when_the_clocks_have_changed() -> None:
    window = Window(schedule="30 2 * * *", duration=timedelta(hours=1), time_zone="Europe/Berlin")
    assert open_now([window], _at("2026-03-29T01:05:00"))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "zone"])
def test_an_unknown_time_zone_is_refused_with_an_example(zone: str) -> None:
    window = Window(schedule="0 2 * * *", duration=timedelta(hours=1), time_zone=zone)
    with pytest.raises(UserError, match="Europe/Berlin"):
        open_now([window], _at("2026-11-23T01:00:00"))


def test_a_schedule_that_is_none_is_refused_in_words() -> None:
    window = Window(schedule="99 2 * * *", duration=timedelta(hours=1))
    with pytest.raises(UserError, match="is not a schedule"):
        open_now([window], _at("2026-11-23T01:00:00"))


def test_a_day_that_no_calendar_has_is_refused() -> None:
    window = Window(schedule="0 0 30 2 *", duration=timedelta(hours=1))
    with pytest.raises(UserError):
        open_now([window], _at("2026-11-23T01:00:00"))


MOMENTS = st.integers(0, 2 * 365 * 24 * 60).map(lambda minutes: _at("2026-01-01T00:00:00") + timedelta(minutes=minutes))
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])


@given(MOMENTS, st.integers(0, 23), st.integers(1, 23), ZONES)
@settings(max_examples=100)
def test_a_deny_window_is_open_exactly_when_the_same_allow_window_is(
    now: datetime, hour: int, hours: int, zone: str
) -> None:
    shape = {"schedule": f"0 {hour} * * *", "duration": timedelta(hours=hours), "time_zone": zone}
    allows = open_now([Window(kind=WindowKind.ALLOW, **shape)], now)
    assert open_now([Window(kind=WindowKind.DENY, **shape)], now) is not allows
