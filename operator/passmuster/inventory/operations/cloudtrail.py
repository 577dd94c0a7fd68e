"""Trails, whether they log, what they select, and the choice of the trail that the trail checks judge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import Row, Unread, View

TRAILS = Call(
    "cloudtrail",
    "DescribeTrails",
    args={"includeShadowTrails": True},
    items="trailList",
    keep=(
        "Name",
        "TrailARN",
        "HomeRegion",
        "S3BucketName",
        "S3KeyPrefix",
        "IsMultiRegionTrail",
        "IncludeGlobalServiceEvents",
        "IsOrganizationTrail",
        "LogFileValidationEnabled",
        "KmsKeyId",
        "CloudWatchLogsLogGroupArn",
    ),
)
TRAIL_STATUS = Call(
    "cloudtrail",
    "GetTrailStatus",
    each=TRAILS,
    over="TrailARN",
    param="Name",
    region_of="HomeRegion",
    keep=("IsLogging", "LatestDeliveryTime", "LatestDeliveryError", "StartLoggingTime"),
)
"""Asked in the trail's home region, governed or not."""

EVENT_SELECTORS = Call(
    "cloudtrail",
    "GetEventSelectors",
    each=TRAILS,
    over="TrailARN",
    param="TrailName",
    region_of="HomeRegion",
    keep=("EventSelectors", "AdvancedEventSelectors"),
)

TRAIL_KEY = Call(
    "kms",
    "DescribeKey",
    each=TRAILS,
    over="KmsKeyId",
    param="KeyId",
    region_of="contains(KmsKeyId || '', ':') && KmsKeyId || HomeRegion",
    keep="{Arn: KeyMetadata.Arn, KeyState: KeyMetadata.KeyState, Enabled: KeyMetadata.Enabled}",
    absent=("NotFoundException",),
)
"""The key that a trail encrypts with, asked where the key lives: beside the bucket, not always beside the trail."""

DELIVERED = "delivered in the last 24 hours"
DELIVERED_WITHIN = timedelta(hours=24)
FIRST_DELIVERY = timedelta(hours=1)
"""A trail delivers its first file some minutes after it starts; until then its delivery is in transit."""


def trails(view: View) -> list[Row]:
    """Every trail that covers the governed regions, each once however many regions show it: by its home if possible."""
    shown = sorted(view.rows(TRAILS), key=_is_home)
    return list({row["TrailARN"]: row for row in shown}.values())


def _is_home(trail: Row) -> bool:
    return bool(trail.get("HomeRegion") == trail.region)


def change_facts(view: View, trail: Row) -> dict[str, str]:
    """What a change to the trail must know; `trail` says whether this account can make it in this region."""
    own = trail["TrailARN"].split(":")[4] == view.account_id
    where = "here" if own and _is_home(trail) else "elsewhere"
    facts = {
        "trail": where if own else "foreign",
        "TrailName": trail.get("Name"),
        "TrailArn": trail["TrailARN"],
        "HomeRegion": trail.get("HomeRegion"),
    }
    return {name: str(value) for name, value in facts.items() if value}


def records_management_events(view: View, trail: Row) -> bool:
    """Whether the trail selects all management events, reads and writes."""
    row = view.row(EVENT_SELECTORS, trail)
    if row is None:
        return False
    advanced = row.get("AdvancedEventSelectors") or []
    if advanced:
        return any(_selects_all_management(selector.get("FieldSelectors") or []) for selector in advanced)
    return any(
        selector.get("IncludeManagementEvents") and selector.get("ReadWriteType", "All") == "All"
        for selector in row.get("EventSelectors") or []
    )


def _selects_all_management(fields: list[dict[str, object]]) -> bool:
    management = any(f.get("Field") == "eventCategory" and f.get("Equals") == ["Management"] for f in fields)
    return management and not any(f.get("Field") == "readOnly" for f in fields)


def conditions(view: View, trail: Row, now: datetime) -> dict[str, Callable[[], bool]]:
    """What a trail must be, as questions that may raise Unread; the keys are phrases for people.

    A trail in its first hour that has delivered nothing yet is judged by `in_first_hour` before this.
    """

    def status() -> Row:
        row = view.row(TRAIL_STATUS, trail)
        return row if row is not None else trail

    def delivers() -> bool:
        delivered = status().get("LatestDeliveryTime")
        return delivered is not None and now - delivered < DELIVERED_WITHIN

    return {
        "covers all regions": lambda: bool(trail.get("IsMultiRegionTrail")),
        "is logging": lambda: bool(status().get("IsLogging")),
        "includes global service events": lambda: bool(trail.get("IncludeGlobalServiceEvents")),
        "records all management events": lambda: records_management_events(view, trail),
        "has no delivery error": lambda: not status().get("LatestDeliveryError"),
        DELIVERED: delivers,
    }


def in_first_hour(view: View, trail: Row, now: datetime) -> bool:
    """Whether the trail logs, was started less than an hour ago and simply has not delivered yet."""
    status = view.row(TRAIL_STATUS, trail)
    if status is None or not status.get("IsLogging") or status.get("LatestDeliveryTime") is not None:
        return False
    started = status.get("StartLoggingTime")
    return started is not None and not status.get("LatestDeliveryError") and now - started < FIRST_DELIVERY


def met(view: View, trail: Row, now: datetime) -> int:
    """How many of the conditions the trail is known to meet."""
    count = 0
    for question in conditions(view, trail, now).values():
        try:
            count += question()
        except Unread:
            continue
    return count


def best_trail(view: View, now: datetime) -> Row | None:
    """The trail that meets most conditions, ties by ARN; None without a trail; Unread if they cannot be listed."""
    candidates = trails(view)
    return min(candidates, key=lambda trail: (-met(view, trail, now), trail["TrailARN"]), default=None)


def contenders(view: View, now: datetime) -> list[Row]:
    """The best trail, and every other that could be the best if what could not be read about it were known.

    One trail where everything was read. A check of one attribute of the best trail may judge as soon as all contenders
    agree on it.
    """
    best = best_trail(view, now)
    if best is None:
        return []
    floor = (-met(view, best, now), best["TrailARN"])
    rivals = [trail for trail in trails(view) if trail["TrailARN"] != best["TrailARN"]]
    return [best, *(trail for trail in rivals if (-_at_most(view, trail, now), trail["TrailARN"]) < floor)]


def _at_most(view: View, trail: Row, now: datetime) -> int:
    """How many of the conditions the trail may meet, with what could not be read in its favour."""
    count = 0
    for question in conditions(view, trail, now).values():
        try:
            count += question()
        except Unread:
            count += 1
    return count


def demand_best_trail(view: View, now: datetime) -> None:
    """Raises Unread with what is missing to tell the best trail from its rivals; silent where everything was read."""
    for trail in contenders(view, now):
        for question in conditions(view, trail, now).values():
            question()
