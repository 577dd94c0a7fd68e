"""Durations as Kubernetes writes them: Go's notation, hours, minutes and seconds, for example 1h30m.

Used by the models, the manifest loader and whatever prints a duration to a person.
"""

from __future__ import annotations

import re
from datetime import timedelta

PATTERN = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"
"""Bounded digits, because Go's durations overflow; also the pattern of the custom resources' schema."""

SHORTEST, LONGEST = 2, 24
"""Characters of a duration."""

_PARTS = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")
_DAYS = re.compile(r"([0-9]+)\s*(d|days?|w|weeks?)", re.IGNORECASE)
_FRACTION = re.compile(r"[0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h)")


def parse(text: str) -> timedelta:
    """The duration that the text says. Raises ValueError with a sentence that says what to write instead.

    >>> parse("1h30m")
    datetime.timedelta(seconds=5400)
    """
    match = _PARTS.fullmatch(text)
    if match is not None and text:
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    days = _DAYS.fullmatch(text.strip())
    if days is not None:
        hours = int(days[1]) * (24 if days[2].lower().startswith("d") else 168)
        raise ValueError(f"{text!r}: days and weeks are not Go durations, write {hours}h")
    if _FRACTION.fullmatch(text):
        raise ValueError(f"{text!r}: write whole hours, minutes and seconds, for example 1h30m")
    raise ValueError(f"{text!r} is not a duration: write hours, minutes and seconds in that order, for example 1h30m")


def text(duration: timedelta) -> str:
    """The shortest way to write a duration of whole seconds.

    >>> text(timedelta(hours=36))
    '36h'
    """
    rest, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(rest, 60)
    parts = [f"{amount}{unit}" for amount, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if amount]
    return "".join(parts) or "0s"
