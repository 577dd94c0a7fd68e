"""Durations are Go's, bounded so that nothing overflows, and an error says what to write instead."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.api import durations


@pytest.mark.parametrize(
    ("written", "seconds"), [("1h30m", 5400), ("90m", 5400), ("45s", 45), ("0s", 0), ("36h", 129600), ("1h0m5s", 3605)]
)
def test_hours_minutes_and_seconds_are_read(written: str, seconds: int) -> None:
    assert durations.parse(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("1d", "'1d': days and weeks are not Go durations, write 24h"),
        ("2 weeks", "'2 weeks': days and weeks are not Go durations, write 336h"),
        ("1.5h", "'1.5h': write whole hours, minutes and seconds, for example 1h30m"),
        ("500ms", "'500ms': write whole hours, minutes and seconds, for example 1h30m"),
        ("30m1h", "'30m1h' is not a duration: write hours, minutes and seconds in that order, for example 1h30m"),
        ("60", "'60' is not a duration: write hours, minutes and seconds in that order, for example 1h30m"),
        ("", "'' is not a duration: write hours, minutes and seconds in that order, for example 1h30m"),
        ("1h\n", "'1h\\n' is not a duration: write hours, minutes and seconds in that order, for example 1h30m"),
        ("9999999h", "'9999999h': write whole hours, minutes and seconds, for example 1h30m"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_write(written: str, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        durations.parse(written)
    assert str(refused.value) == said


@given(st.integers(min_value=0, max_value=999_999 * 3600 + 3599))
def test_what_is_written_is_read_back_and_has_the_shape_of_the_schema(seconds: int) -> None:
    written = durations.text(timedelta(seconds=seconds))
    assert durations.parse(written) == timedelta(seconds=seconds)
    assert re.fullmatch(durations.PATTERN, written)
    assert durations.SHORTEST <= len(written) <= durations.LONGEST
