"""Canaries: what they run on, how often, and whether they run. No code and no environment is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from passmuster.inventory import schedules
from passmuster.inventory.call import Call
from passmuster.inventory.operations.cloudwatch import METRIC_ALARMS, metrics_of
from passmuster.inventory.operations.endpoints import plain
from passmuster.inventory.snapshot import Row, View, seen

CANARIES = Call(
    "synthetics",
    "DescribeCanaries",
    items="Canaries",
    keep="{Id: Id, Name: Name, RuntimeVersion: RuntimeVersion, Schedule: Schedule, State: Status.State, "
    "Timeline: Timeline, Tags: Tags}",
)
RUNTIMES = Call(
    "synthetics",
    "DescribeRuntimeVersions",
    items="RuntimeVersions",
    keep=("VersionName", "DeprecationDate"),
    freshness=timedelta(hours=24),
)
LAST_RUN = Call(
    "synthetics",
    "DescribeCanariesLastRun",
    each=CANARIES,
    over="Name",
    param={"Names": "[value]"},
    items="CanariesLastRun",
    keep="{CanaryName: CanaryName, State: LastRun.Status.State, Timeline: LastRun.Timeline}",
    absent=("ResourceNotFoundException",),
    max_age=timedelta(hours=1),
)
RUNS = Call(
    "synthetics",
    "GetCanaryRuns",
    each=CANARIES,
    over="[@][?State=='RUNNING'].Name",
    param="Name",
    args={"MaxResults": 100},
    keep="{runs: CanaryRuns[].[Status.State, Timeline.Started, ScheduledRunId]}",
    back=("CanaryRuns[-1].Timeline.Started", timedelta(hours=25)),
    absent=("ResourceNotFoundException",),
)
"""Of running canaries, the newest first, retries included; no further back than the day that is judged needs. One row
is a page; its runs are lists of three."""

DAY = timedelta(hours=24)
BROWSER = "syn-nodejs-puppeteer-"
"""How the names of the runtimes begin that run a script of the catalogue's canaries."""

CANARY_FUNCTION = "cwsyn-"
"""How the names of the functions begin that CloudWatch Synthetics makes for its canaries."""

TAG = "passmuster:endpoint"
"""The tag that says what a canary asks, because AWS does not."""


def host_of(address: str) -> str:
    """The host of an address, or the name itself: `https://shop.example.com:8443/health` is at shop.example.com."""
    return plain(re.sub(r"[/:?#].*", "", re.sub(r"^[a-z]+://", "", address.strip(), flags=re.IGNORECASE)))


def addresses(canary: Row) -> set[str]:
    """The hosts that the canary's tags say it asks."""
    tags = canary.get("Tags") or {}
    words = [word for key, value in tags.items() for word in value.split() if key == TAG or "://" in word]
    return {host_of(word) for word in words}


def is_current(view: View, canary: Row, now: datetime) -> bool:
    """Whether the runtime is one that AWS still lists and has not deprecated."""
    for runtime in view.rows(RUNTIMES):
        if (runtime.region, runtime["VersionName"]) == (canary.region, canary.get("RuntimeVersion")):
            end = runtime.get("DeprecationDate")
            return end is None or end > now
    return False


def newest(view: View, now: datetime) -> str:
    """The newest runtime for Node.js with a browser that AWS offers, as far as is known; "" without one."""
    offered = [
        str(row["VersionName"])
        for row in seen(view.rows(RUNTIMES))
        if str(row["VersionName"]).startswith(BROWSER)
        and (row.get("DeprecationDate") is None or row["DeprecationDate"] > now)
    ]
    return max(offered, key=lambda name: [int(number) for number in re.findall(r"\d+", name)], default="")


def _is_younger(canary: Row, window: timedelta, now: datetime, *moments: str) -> bool:
    timeline = canary.get("Timeline") or {}
    return any(timeline.get(moment) is not None and now - timeline[moment] < window for moment in moments)


def ran(view: View, canary: Row, now: datetime) -> bool:
    """Whether the last run, as it was observed, was less than two intervals ago."""
    window = 2 * _interval(str((canary.get("Schedule") or {}).get("Expression") or ""))
    if _is_younger(canary, window, now, "Created", "LastStarted"):
        return True
    return any(
        row.observed_at - timeline["Started"] < window
        for row in view.rows(LAST_RUN, canary)
        if (timeline := row.get("Timeline") or {}).get("Started") is not None
    )


def succeeds(view: View, canary: Row, now: datetime, least: float) -> bool:
    """Whether enough of the runs of the last day passed; where it runs more rarely, whether the last one did."""
    if _is_younger(canary, DAY, now, "Created"):
        return True
    runs: dict[object, bool] = {}
    for page in view.rows(RUNS, canary):
        for state, started, scheduled in page.get("runs") or ():
            if state != "RUNNING" and started is not None and page.observed_at - started < DAY:
                key = scheduled or started
                runs[key] = runs.get(key, False) or state == "PASSED"
    if runs:
        return 100 * sum(runs.values()) / len(runs) >= least
    return any(row.get("State") == "PASSED" for row in view.rows(LAST_RUN, canary))


def alarms(view: View, canary: Row) -> Iterator[Row]:
    """The alarms on the canary's success."""
    for alarm in view.rows(METRIC_ALARMS):
        for metric in metrics_of(alarm) if alarm.region == canary.region else ():
            if (metric.namespace, metric.name, metric.dimensions.get("CanaryName")) == (
                "CloudWatchSynthetics",
                "SuccessPercent",
                canary["Name"],
            ):
                yield alarm
                break


def _interval(expression: str) -> timedelta:
    """The longest time between two runs of a schedule; nothing for one that runs once or cannot be read."""
    regular = schedules.rate(expression)
    if regular is not None:
        return regular
    cron = re.fullmatch(r"cron\(([\d*/,-]+) ([\d*/,-]+) (\S+) (\S+) (\S+) \S+\)", expression)
    if not cron:
        return timedelta(0)
    times = sorted(
        60 * hour + minute for hour in schedules.values(cron[2], 0, 23) for minute in schedules.values(cron[1], 0, 59)
    )
    between = max(later - earlier for earlier, later in pairwise([*times, times[0] + 24 * 60]))
    any_day, any_month, any_weekday = (field in ("*", "?") for field in cron.groups()[2:])
    rest = timedelta(days=366 if not any_month else 31 if not any_day else 7 if not any_weekday else 0)
    return max(rest, timedelta(minutes=between))
