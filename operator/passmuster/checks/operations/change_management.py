"""Somebody has to agree before production is changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.operations.codepipeline import PIPELINES
from passmuster.inventory.operations.ssm import DOCUMENTS
from passmuster.inventory.snapshot import Row, View, first_found, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Severity

STAGES = Call(
    "codepipeline",
    "GetPipeline",
    each=PIPELINES,
    over="name",
    param="name",
    keep="{stages: pipeline.stages[].{actions: actions[].{order: runOrder, category: actionTypeId.category}}}",
    absent=("PipelineNotFoundException",),
    freshness=RARELY,
)
"""The order of the actions; their configuration is not kept."""

CALENDARS = Call(
    "ssm",
    "GetCalendarState",
    each=DOCUMENTS,
    over="[@][?DocumentType=='ChangeCalendar'].Name",
    param={"CalendarNames": "[value]"},
    keep=("State", "NextTransitionTime"),
    absent=("InvalidDocument", "InvalidDocumentType"),
)
APPROVED = timedelta(days=365)
EXPECTED = "an approval before a pipeline deploys, a change template, a change calendar in use, or approved changes"


@check(
    title="Changes are approved",
    category=Category.OPERATIONS,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="T",
    per="account",
    calls=(PIPELINES, STAGES, DOCUMENTS, CALENDARS),
    attestable=timedelta(days=365),
    controls=Controls(well_architected=("OPS06-BP01", "REL08-BP05")),
)
def change_management(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Most outages begin with a change that nobody but its author had looked at.

    One of four suffices: a pipeline of CodePipeline with a manual approval before the last of its actions that deploys
    (in a pipeline without such actions, before the last that builds or invokes something); an approved change template
    of Change Manager; a calendar of Change Calendar that is closed now or has its next event, because an empty open one
    holds nothing back; a change that this operator applied in the last 365 days after a person had approved it. What a
    forge protects with its branches AWS does not see: attest it.
    """
    found = first_found(
        lambda: _operated(evidence),
        lambda: _told("the pipeline {name} waits for an approval", _pipeline(view)),
        lambda: _told("the change template {name} is approved", _template(view)),
        lambda: _told("the change calendar {name} is in use", _calendar(view)),
    )
    if found is not None:
        row, observed = found
        origin = row.origin if row is not None else view.origin(PIPELINES)
        message = f"Changes are approved: {observed}"
        yield passed(origin, view.account_id, message, observed=observed, expected=EXPECTED)
        return
    yield failed(
        view.origin(PIPELINES),
        view.account_id,
        "Nobody has to agree before the account is changed: no pipeline waits, no calendar or template is in use",
        observed="no approval",
        expected=EXPECTED,
    )


def _told(phrase: str, row: Row | None) -> tuple[Row | None, str] | None:
    """What was found, and the phrase about it."""
    return None if row is None else (row, phrase.format(name=row.get("Name") or row.get("name")))


def _operated(evidence: Evidence) -> tuple[Row | None, str] | None:
    """The phrase about a change of this operator, which no row tells of."""
    approved_at = evidence.change_approved_at
    if approved_at is None or evidence.now - approved_at >= APPROVED:
        return None
    return None, f"an approved change was applied on {approved_at:%Y-%m-%d}"


def _pipeline(view: View) -> Row | None:
    return first_of(view.rows(PIPELINES), lambda row: any(_waits(stages) for stages in view.rows(STAGES, row)))


def _waits(pipeline: Row) -> bool:
    """Whether a manual approval comes before the last action that changes something."""
    steps = [
        (number, action.get("order") or 1, action.get("category"))
        for number, stage in enumerate(pipeline.get("stages") or [])
        for action in stage.get("actions") or []
    ]
    changing = [step for step in steps if step[2] == "Deploy"]
    changing = changing or [step for step in steps if step[2] in ("Build", "Invoke", "Compute")]
    last = max((step[:2] for step in changing), default=(0, 0))
    return any(step[:2] < last for step in steps if step[2] == "Approval")


def _template(view: View) -> Row | None:
    """A template that lost or awaits its review cannot be used."""
    return first_of(
        view.rows(DOCUMENTS),
        lambda row: (
            row.get("DocumentType") == "Automation.ChangeTemplate" and row.get("ReviewStatus") in (None, "APPROVED")
        ),
    )


def _calendar(view: View) -> Row | None:
    return first_of(view.rows(DOCUMENTS), lambda row: any(_is_in_use(state) for state in view.rows(CALENDARS, row)))


def _is_in_use(calendar: Row) -> bool:
    return calendar.get("State") == "CLOSED" or bool(calendar.get("NextTransitionTime"))
