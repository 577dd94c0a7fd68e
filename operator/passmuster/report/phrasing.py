"""Numbers, times and foreign text as people read them, the same in every format and every locale.

Used by `content`, the pages and the terminal; nothing here knows HTML or Markdown.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

NOTHING = "–"
"""Stands where there is no number."""

LONGEST = 400
"""Characters of one foreign text; more of it is evidence for the JSON, not for a table."""

_MONTHS = "January February March April May June July August September October November December"
"""In the order of the year; strftime would follow the locale."""

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def plain(text: str) -> str:
    """Foreign text on one line: no control characters, no change of writing direction, at most `LONGEST` long."""
    line = _UNSAFE.sub("\ufffd", " ".join(text.split()))
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def tenths(value: float | None) -> str:
    """One decimal, or a dash for no number.

    >>> tenths(71.44), tenths(None)
    ('71.4', '–')
    """
    return NOTHING if value is None else f"{value:.1f}"


def percent(value: float | None) -> str:
    """A share with one decimal, or a dash for no number."""
    return NOTHING if value is None else f"{value:.1f} %"


def dollars(amount: Decimal) -> str:
    """An exact amount of dollars and cents.

    >>> dollars(Decimal("1234.5"))
    '$1,234.50'
    """
    return f"${amount:,.2f}"


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "check"), counted(2, "check"), counted(2, "check fails", "checks fail")
    ('1 check', '2 checks', '2 checks fail')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def day(time: datetime) -> str:
    """A day in UTC, for example 21 November 2026."""
    time = time.astimezone(UTC)
    return f"{time.day} {_MONTHS.split()[time.month - 1]} {time.year}"


def moment(time: datetime) -> str:
    """A time to the second, for example 21 November 2026, 12:00:02 UTC."""
    return f"{day(time)}, {time.astimezone(UTC):%H:%M:%S} UTC"


def stamp(time: datetime) -> str:
    """A time to the second for tables, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """How long something took: 4.2 s, or 3 min 5 s."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def span(length: timedelta) -> str:
    """A length of time in the largest unit that it is a whole number of.

    >>> span(timedelta(hours=36)), span(timedelta(days=1))
    ('36 hours', '1 day')
    """
    seconds = int(length.total_seconds())
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds % size == 0:
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def listed(items: tuple[str, ...] | list[str]) -> str:
    """Words joined as in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))
