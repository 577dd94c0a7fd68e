"""The account's trail records reads and writes of the objects in buckets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.cloudtrail import (
    EVENT_SELECTORS,
    TRAIL_STATUS,
    TRAILS,
    change_facts,
    judged_best,
)
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

OBJECTS = "AWS::S3::Object"
KINDS = {"reads": ("All", "ReadOnly"), "writes": ("All", "WriteOnly")}
"""The two kinds of events, each with the settings of a basic selector that include it."""

NEGATIVE = ("NotEquals", "NotStartsWith")
"""Operators that leave objects out by how their ARN begins; one that looks at the end always narrows."""
ALWAYS = {"eventCategory": "Data", "resources.type": OBJECTS, "eventSource": "s3.amazonaws.com"}
"""Fields of an advanced selector that say no more than that it is about objects."""


@check(
    title="CloudTrail records access to objects",
    category=Category.COMPLIANCE,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="I",
    per="account",
    calls=(TRAILS, TRAIL_STATUS, EVENT_SELECTORS),
    nothing="No trail records the account's events, so it cannot record access to objects",
    parameters=(
        Parameter(
            "buckets",
            Kind.STRINGS,
            ["*"],
            Stricter.MORE,
            "The buckets whose objects must be watched: names, or beginnings of names with a * after them.",
            max_length=64,
            prefixes=True,
        ),
    ),
    controls=Controls(
        config=("CLOUDTRAIL_S3_DATAEVENTS_ENABLED",),
        security_hub=("S3.22", "S3.23"),
        well_architected=("SEC04-BP01",),
    ),
)
def cloudtrail_data_events(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """After a leak only data events tell which objects were read; management events know nothing of them.

    The trail that comes nearest to recording every region is judged, an organization's trail included. Reads and writes
    must both be selected, by one selector or by two, for every bucket of the policy: `*` asks for all buckets, present
    and to come, which a list of today's buckets is not. Leaving out the bucket that the trail writes to is no gap,
    because its own deliveries would be recorded without end; any other narrowing is one.
    """
    buckets = parameters["buckets"]
    return judged_best(
        view,
        evidence.now,
        lambda trail: _missing(view, trail, buckets),
        lambda trail, missing: _judged(view, trail, buckets, missing),
    )


def _judged(view: View, trail: Row, buckets: list[str], missing: list[str]) -> Finding:
    name, arn = trail["Name"], trail["TrailARN"]
    what = "all buckets" if "*" in buckets else ", ".join(buckets) or "no bucket"
    expected = f"reads and writes of objects in {what}"
    if not missing:
        message = f"The trail {name} records who reads and writes objects"
        return passed(trail.origin, arn, message, observed=expected, expected=expected)
    message = f"The trail {name} does not record {' and '.join(missing)} of objects in {what}"
    observed = ", ".join(f"{kind} not selected" for kind in missing)
    own = f"arn:{view.partition}:s3:::{trail.get('S3BucketName')}/"
    facts = {**change_facts(view, trail), "ownObjects": own}
    facts["change"] = "here" if facts["trail"] == "here" and _may_be_added_to(view, trail) else "hand"
    return failed(trail.origin, arn, message, observed=observed, expected=expected, facts=facts)


def _may_be_added_to(view: View, trail: Row) -> bool:
    """Whether advanced selectors can be added without losing basic ones that say more than every trail's first do."""
    row = view.row(EVENT_SELECTORS, trail)
    return row is None or all(
        one.get("ReadWriteType", "All") == "All"
        and not one.get("DataResources")
        and not one.get("ExcludeManagementEventSources")
        for one in row.get("EventSelectors") or []
    )


def _missing(view: View, trail: Row, buckets: list[str]) -> list[str]:
    """The kinds of events that the trail does not select for each of the buckets."""
    row = view.row(EVENT_SELECTORS, trail)
    advanced = (row.get("AdvancedEventSelectors") or []) if row is not None else []
    basic = (row.get("EventSelectors") or []) if row is not None else []

    def selects(kind: str, bucket: str) -> bool:
        start = f"arn:{view.partition}:s3:::{bucket.rstrip('*')}" + ("" if bucket.endswith("*") else "/")
        own = f"arn:{view.partition}:s3:::{trail.get('S3BucketName')}" if bucket.endswith("*") else None
        if advanced:
            return any(_advanced(one.get("FieldSelectors") or [], kind, start, own) for one in advanced)
        return any(_basic(one, kind, start) for one in basic)

    return [kind for kind in KINDS if not all(selects(kind, bucket) for bucket in buckets)]


def _basic(selector: Mapping[str, Any], kind: str, start: str) -> bool:
    if selector.get("ReadWriteType", "All") not in KINDS[kind]:
        return False
    return any(
        start.startswith(value)
        for resource in selector.get("DataResources") or []
        if resource.get("Type") == OBJECTS
        for value in resource.get("Values") or []
    )


def _advanced(fields: list[dict[str, Any]], kind: str, start: str, own: str | None) -> bool:
    """Whether the selector takes every event of that kind on objects whose ARN begins like that."""
    named = {field.get("Field") for field in fields}
    return {"eventCategory", "resources.type"} <= named and all(_admits(field, kind, start, own) for field in fields)


def _admits(field: dict[str, Any], kind: str, start: str, own: str | None) -> bool:
    name = field.get("Field")
    if name == "readOnly":
        return [str(value).lower() for value in field.get("Equals") or []] == [str(kind == "reads").lower()]
    if name in ALWAYS:
        return ALWAYS[name] in (field.get("Equals") or [])
    if name != "resources.ARN" or any(field.get(operator) for operator in ("Equals", "EndsWith", "NotEndsWith")):
        return False
    begun = field.get("StartsWith") or []
    barred = [value for operator in NEGATIVE for value in field.get(operator) or []]
    return (not begun or any(start.startswith(value) for value in begun)) and not any(
        _overlaps(value, start) and not _is_own(value, own) for value in barred
    )


def _overlaps(value: str, start: str) -> bool:
    return value.startswith(start) or start.startswith(value)


def _is_own(value: str, own: str | None) -> bool:
    return own is not None and (value == own or value.startswith(f"{own}/"))
