"""Schedules as AWS writes them, `rate(1 day)` and `cron(0 5 ? * * *)`, and how long they leave something alone.

Read where backups, canaries and rotations are judged by how often they happen.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

_MONTH = timedelta(days=31)
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def rate(schedule: str) -> timedelta | None:
    """The time between two runs of a rate; None for any other schedule.

    >>> rate("rate(12 hours)")
    datetime.timedelta(seconds=43200)
    """
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", schedule)
    return timedelta(**{f"{found[2]}s": int(found[1])}) if found else None


@lru_cache(maxsize=1000)
def longest_gap(schedule: str) -> timedelta | None:
    """The longest time between two runs of a schedule; None for one that cannot be read.

    >>> longest_gap("cron(0 1,13 * * ? *)")
    datetime.timedelta(seconds=43200)
    """
    regular = rate(schedule)
    if regular is not None:
        return regular
    fields = schedule.removeprefix("cron(").removesuffix(")").upper().split()
    if len(fields) not in (5, 6):
        return None
    if re.search(r"L|W|#", fields[2] + re.sub("[A-Z]{3}", "", fields[4])):
        return _MONTH
    try:
        return _by_calendar(fields)
    except ValueError:
        return None


def _by_calendar(fields: list[str]) -> timedelta | None:
    minutes, hours = values(fields[0], 0, 59), values(fields[1], 0, 23)
    days, months = values(fields[2], 1, 31), values(fields[3], 1, 12, _MONTHS)
    weekdays = values(fields[4], 1, 7, _DAYS)
    begins = sorted(60 * hour + minute for hour in hours for minute in minutes)
    today = date(2026, 1, 1)
    fires = [
        n
        for n in range(800)
        if (day := today + timedelta(days=n)).month in months
        and day.day in days
        and day.isoweekday() % 7 + 1 in weekdays
    ]
    if len(fires) < 2:
        return None
    within = max((later - one for one, later in pairwise(begins)), default=0)
    across = max(later - one for one, later in pairwise(fires)) * 24 * 60 - (begins[-1] - begins[0])
    return timedelta(minutes=max(within, across))


def values(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    """The values that a field of a cron expression stands for."""
    found: set[int] = set()
    for part in field.split(","):
        for position, name in enumerate(names):
            part = part.replace(name, str(low + position))
        span, _, step = part.partition("/")
        first, _, last = ("", "", "") if span in ("*", "?") else span.partition("-")
        begin = int(first) if first else low
        end = int(last) if last else high if step or not first else begin
        # A span may wrap, as from Friday to Monday.
        whole = range(begin, end + 1) if begin <= end else [*range(begin, high + 1), *range(low, end + 1)]
        found.update(list(whole)[:: int(step or 1)])
    return found
