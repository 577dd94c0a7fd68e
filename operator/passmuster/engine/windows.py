"""When changes may begin: the windows of a policy at a moment. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from passmuster.api.policy import Window, WindowKind
from passmuster.model.errors import UserError


def open_now(windows: Sequence[Window], now: datetime) -> bool:
    """Whether a change may begin: no Deny window is open, and an Allow window is, if there are any."""
    if any(_contains(window, now) for window in windows if window.kind is WindowKind.DENY):
        return False
    allowing = [window for window in windows if window.kind is WindowKind.ALLOW]
    return not allowing or any(_contains(window, now) for window in allowing)


def _contains(window: Window, now: datetime) -> bool:
    """Whether the window opened within its duration before now. Raises UserError for what is no schedule.

    The duration is elapsed time, also in the nights in which the clocks change.
    """
    try:
        zone = ZoneInfo(window.time_zone)
        opened = next(CronSim(window.schedule, (now - window.duration).astimezone(zone)), None)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UserError(
            f"there is no time zone {window.time_zone!r}: use an IANA name such as Europe/Berlin"
        ) from error
    except CronSimError as error:
        raise UserError(f"{window.schedule!r} is not a schedule: {error}") from error
    return opened is not None and opened.astimezone(UTC) <= now
