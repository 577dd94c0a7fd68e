"""Trails, whether they log, what they select, and the choice of the trail that the trail checks judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import Row, Unread, View
from passmuster.model.finding import Finding

T = TypeVar("T")

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

EVERY_KIND = frozenset({"reads", "writes"})
KINDS = {"All": EVERY_KIND, "ReadOnly": frozenset({"reads"}), "WriteOnly": frozenset({"writes"})}
"""What each setting of a basic selector takes."""

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
    """Whether the trail selects all management events: reads and writes, by one selector or by two.

    A trail without selectors has CloudTrail's default one, which does.
    """
    row = view.row(EVENT_SELECTORS, trail)
    if row is None:
        return False
    advanced, basic = row.get("AdvancedEventSelectors") or [], row.get("EventSelectors") or []
    kinds = [_kinds_of_advanced(one.get("FieldSelectors") or []) for one in advanced]
    kinds = kinds or [_kinds_of_basic(one) for one in basic] or [EVERY_KIND]
    return frozenset().union(*kinds) == EVERY_KIND


def _kinds_of_basic(selector: Mapping[str, Any]) -> frozenset[str]:
    """Reads, writes or both, of the management events that a basic selector takes."""
    if not selector.get("IncludeManagementEvents", True):
        return frozenset()
    return KINDS.get(selector.get("ReadWriteType") or "All", frozenset())


def _kinds_of_advanced(fields: list[dict[str, Any]]) -> frozenset[str]:
    """The same of an advanced selector; to leave out single sources is no narrowing, as it is none of a basic one."""
    kinds = EVERY_KIND
    management = False
    for field in fields:
        name, values = field.get("Field"), field.get("Equals") or []
        if name == "eventCategory":
            management = values == ["Management"]
        elif name == "readOnly":
            kinds = frozenset("reads" if str(value).lower() == "true" else "writes" for value in values)
        elif name != "eventSource" or {one for one in field if field[one]} - {"Field", "NotEquals"}:
            return frozenset()
    return kinds if management else frozenset()


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


def _met(view: View, trail: Row, now: datetime, *, unread: bool = False) -> int:
    """How many of the conditions the trail meets; `unread` is what stands for one that could not be read."""
    count = 0
    for question in conditions(view, trail, now).values():
        try:
            count += question()
        except Unread:
            count += unread
    return count


def best_trail(view: View, now: datetime) -> Row | None:
    """The trail that meets most conditions, ties by ARN; None without a trail; Unread if they cannot be listed."""
    candidates = trails(view)
    return min(candidates, key=lambda trail: (-_met(view, trail, now), trail["TrailARN"]), default=None)


def contenders(view: View, now: datetime) -> list[Row]:
    """The best trail, and every other that could be the best if what could not be read about it were known.

    One trail where everything was read. A check of one attribute of the best trail may judge as soon as all contenders
    agree on it.
    """
    best = best_trail(view, now)
    if best is None:
        return []
    floor = (-_met(view, best, now), best["TrailARN"])
    rivals = [trail for trail in trails(view) if trail["TrailARN"] != best["TrailARN"]]
    return [best, *(one for one in rivals if (-_met(view, one, now, unread=True), one["TrailARN"]) < floor)]


def judged_best(
    view: View, now: datetime, attribute: Callable[[Row], T], verdict: Callable[[Row, T], Finding]
) -> Iterator[Finding]:
    """The verdict on one attribute of the best trail; nothing without a trail.

    Where it cannot be told which of several trails is the best, the verdict stands if the attribute is the same in all
    of them; else the subject is Unknown for what is missing to tell.
    """
    candidates = contenders(view, now)
    if not candidates:
        return
    best, *rivals = candidates
    with view.judging(best["TrailARN"], best.region):
        found = attribute(best)
        if any(attribute(rival) != found for rival in rivals):
            for trail in candidates:
                for question in conditions(view, trail, now).values():
                    question()  # one of them raises Unread: where everything was read there are no rivals
        yield verdict(best, found)
