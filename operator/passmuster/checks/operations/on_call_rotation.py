"""Somebody is on call, now and for the week to come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call, TimeAgo
from passmuster.inventory.snapshot import Row, View, all_of, first_found, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

AHEAD = timedelta(days=7)
ALIVE = timedelta(hours=24)
CONTACTS = 2
NOT_SET_UP = ("ResourceNotFoundException", "ValidationException")
"""What Incident Manager answers where it was never set up; it takes no new customers."""

ROTATIONS = Call(
    "ssm-contacts",
    "ListRotations",
    items="Rotations",
    keep=("RotationArn", "Name", "ContactIds"),
    absent=NOT_SET_UP,
    freshness=RARELY,
)
SHIFTS = Call(
    "ssm-contacts",
    "ListRotationShifts",
    each=ROTATIONS,
    over="RotationArn",
    param="RotationId",
    args={"StartTime": TimeAgo(timedelta(0)), "EndTime": TimeAgo(-(AHEAD + timedelta(days=2)))},
    items="RotationShifts",
    keep="{StartTime: StartTime, EndTime: EndTime, People: length(ContactIds || `[]`)}",
    absent=("ResourceNotFoundException",),
)
"""Two days more than are judged, because an answer may be a day old when it is."""

EXPECTED = "a rotation of two or more contacts without a gap for 7 days, or a receiver seen alive in the last 24 hours"


@check(
    title="Somebody is on call",
    category=Category.OPERATIONS,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="T",
    per="account",
    calls=(ROTATIONS, SHIFTS),
    attestable=timedelta(days=90),
    parameters=(
        Parameter(
            "receiver",
            Kind.STRING,
            None,
            Stricter.SAME,
            "The Alertmanager receiver that pages the person on call, and whose heartbeat the operator sees.",
            max_length=128,
        ),
    ),
    controls=Controls(well_architected=("OPS10-BP04", "SEC10-BP01")),
)
def on_call_rotation(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """An alarm at night helps only if it wakes somebody who knows that it is their turn.

    One of two suffices: a rotation of Incident Manager with at least two contacts, whose shifts leave no moment of the
    next seven days without somebody; or the receiver that the policy names, whose heartbeat was seen in the last day.
    Each rotation is judged by itself, because two of different teams do not stand in for each other. Incident Manager
    takes no new customers and is never required: a duty that is organized elsewhere is attested.
    """
    receiver = parameters["receiver"]
    heartbeat = evidence.heartbeats.get(receiver) if receiver else None

    def living_receiver() -> tuple[Row | None, str] | None:
        lives = heartbeat is not None and evidence.now - heartbeat < ALIVE
        return (None, f"the receiver {receiver} is alive") if lives else None

    def covering_rotation() -> tuple[Row | None, str] | None:
        row = first_of(view.rows(ROTATIONS), lambda rotation: _is_manned(view, rotation, evidence.now))
        return (row, f"the rotation {row['Name']} has no gap") if row is not None else None

    found = first_found(living_receiver, covering_rotation)
    if found is not None:
        row, observed = found
        origin = row.origin if row is not None else view.origin(ROTATIONS)
        message = f"Somebody is on call: {observed}"
        yield passed(origin, view.account_id, message, observed=observed, expected=EXPECTED)
        return
    observed = "; ".join(_shortcomings(view, evidence.now, receiver, heartbeat))
    message = f"Nobody can be seen to be on call: {observed}"
    yield failed(view.origin(ROTATIONS), view.account_id, message, observed=observed, expected=EXPECTED)


def _is_manned(view: View, rotation: Row, now: datetime) -> bool:
    return all_of(lambda: _is_shared(rotation), lambda: _covers(view.rows(SHIFTS, rotation), now))


def _is_shared(rotation: Row) -> bool:
    return len(set(rotation.get("ContactIds") or ())) >= CONTACTS


def _covers(shifts: Iterator[Row], now: datetime) -> bool:
    """Whether the shifts that have somebody follow each other without a gap from now on to the end of the week."""
    reached = now
    for shift in sorted((shift for shift in shifts if shift["People"]), key=lambda shift: shift["StartTime"]):
        if shift["StartTime"] > reached:
            break
        reached = max(reached, shift["EndTime"])
    return reached >= now + AHEAD


def _shortcomings(view: View, now: datetime, receiver: str | None, heartbeat: datetime | None) -> Iterator[str]:
    rotations = list(view.rows(ROTATIONS))
    for rotation in rotations[:5]:
        if _is_shared(rotation):
            yield f"the rotation {rotation['Name']} leaves a gap in the next 7 days"
        else:
            yield f"the rotation {rotation['Name']} has fewer than {CONTACTS} contacts"
    if not rotations:
        yield "no rotation"
    if receiver:
        seen = f"was last heard of at {heartbeat:%Y-%m-%d %H:%M} UTC" if heartbeat else "was never heard of"
        yield f"the receiver {receiver} {seen}"
