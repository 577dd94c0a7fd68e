"""The report as Markdown, for pull requests, tickets and terminals: the content of the HTML in another form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from passmuster.assess.changes import Changes
from passmuster.assess.plan import Plan
from passmuster.model.report import Report
from passmuster.report.content import (
    ChangesEntry,
    CheckEntry,
    Document,
    PlanEntry,
    StepEntry,
    Table,
    Verdict,
    document,
)
from passmuster.report.phrasing import dollars
from passmuster.report.writing import code, codes, inert, table

MARKS = {"fail": "✗", "unknown": "?", "pass": "✓", "waived": "✓", "disabled": "–", "none": "–"}


def render(
    report: Report,
    plan: Plan | PlanEntry | None,
    *,
    title: str = "",
    changes: Changes | None = None,
    docs_url: str = "",
) -> str:
    """One Markdown document; the same input gives the same bytes."""
    return "\n".join(_lines(document(report, plan, title, changes=changes, docs_url=docs_url))) + "\n"


def _lines(shown: Document) -> Iterator[str]:
    yield f"# {inert(shown.title)}: {shown.reached}"
    yield ""
    yield f"{inert(shown.declared)} · {_verdict(shown.compliance)} · account {shown.account} · {shown.regions}"
    yield ""
    yield inert(shown.lead)
    yield ""
    score = f"score {shown.score} ({shown.score_note})"
    yield f"Critical failing **{shown.critical}** · coverage {shown.coverage} · {score}"
    yield ""
    yield "## Phases"
    yield ""
    yield from _table(
        ("Phase", "State", "Complete", "Missing"),
        (
            (
                entry.name,
                entry.state,
                entry.share,
                "; ".join(f"{_verdict(verdict)}: {codes(ids)}" for verdict, ids in entry.missing),
            )
            for entry in shown.phases
        ),
    )
    yield ""
    yield "## Categories"
    yield ""
    yield from _table(
        ("Category", "Score", "Fail", "Unknown", "Pass"),
        (
            (e.name, e.figure, str(e.counts.failed), str(e.counts.unknown), str(e.counts.passed))
            for e in shown.categories
        ),
    )
    if shown.changes is not None:
        yield from _changes(shown.changes)
    if shown.plan is not None:
        yield from _plan(shown.plan)
    yield ""
    yield "## Every check"
    for group in shown.groups:
        yield ""
        yield f"### {group.phase}"
        yield ""
        yield inert(group.summary)
        for check in group.checks:
            yield ""
            yield from _check(check)
    if shown.granted:
        yield ""
        yield "## Waivers and attestations"
        yield ""
        yield from _table(
            ("Kind", "Check", "State", "Until", "Words", "Approved by"),
            (
                (
                    f"{g.kind} `{g.name}`",
                    f"`{g.check}`",
                    f"{_verdict(g.verdict)}: {g.message}",
                    g.until,
                    g.words,
                    g.approved,
                )
                for g in shown.granted
            ),
        )
    if shown.refusals:
        yield ""
        yield "## Reads without an answer"
        yield ""
        yield from _table(
            ("Operation", "Region", "Why", "IAM action", "Checks"),
            ((r.call, r.region, f"{r.why} ({r.code})", r.action, codes(r.checks)) for r in shown.refusals),
        )
    yield ""
    yield "## About the inspection"
    yield ""
    yield from (f"- {inert(name)}: {inert(value)}" for name, value in shown.facts)


def _changes(changes: ChangesEntry) -> Iterator[str]:
    yield ""
    yield "## What changed"
    yield ""
    yield inert(changes.lead)
    if changes.groups:
        yield ""
        yield from _table(
            ("Change", "Checks"),
            (
                (
                    f"{_verdict(group.verdict)}: {group.label}",
                    ", ".join(f"`{c.id}` (before: {c.before})" for c in group.checks),
                )
                for group in changes.groups
            ),
        )
    for resources in (changes.appeared, changes.gone):
        if resources.total:
            yield ""
            yield f"{resources.label}:"
            yield ""
            yield from (f"- {code(r.resource)} in {r.region}, by `{r.check}`" for r in resources.shown)
            if resources.more:
                yield f"- and {resources.more} more"


def _plan(plan: PlanEntry) -> Iterator[str]:
    yield ""
    yield "## What to do next"
    yield ""
    yield inert(plan.lead)
    for stage in plan.stages:
        yield ""
        yield f"### {stage.phase}: {dollars(stage.cost)} a month"
        for step in stage.steps:
            yield ""
            yield from _step(step)
        if stage.rest:
            yield ""
            yield f"{stage.rest} more steps for {dollars(stage.rest_cost)} a month"
    if plan.by_hand:
        yield ""
        yield "### By hand"
        yield ""
        yield from _table(
            ("Phase", "Severity", "Check", "How"),
            ((b.phase, b.severity, f"{b.title} `{b.id}`", b.how) for b in plan.by_hand),
        )


def _step(step: StepEntry) -> Iterator[str]:
    yield f"{step.number}. **{inert(step.title)}**, {dollars(step.cost)} a month, risk {step.risk}"
    lines = [("fixes", codes(step.fixes)), ("where", f"{step.where}, {step.way}")]
    lines += [("interrupts", step.interrupts), ("waits for", codes(step.waits_for))]
    lines += [("leads to", codes(step.leads_to))]
    lines += [("blocked", step.blocked), ("after it", f"{step.level_after}, {step.score_after}")]
    lines += [("costs beside", ", ".join(f"{p.title}: {p.amount}" for p in step.positions if p.once))]
    lines += [("depends on usage", ", ".join(step.unpriced)), ("undo", step.undo)]
    lines += [("makes", codes(step.changes))]
    yield from (f"   - {name}: {inert(value)}" for name, value in lines if value)


def _check(check: CheckEntry) -> Iterator[str]:
    yield f"#### {_verdict(check.verdict)} {inert(check.title)} `{check.id}` ({check.severity})"
    if check.folded:
        return
    for paragraph in check.why[:1]:
        yield ""
        yield inert(paragraph)
    yield ""
    yield f"[How it is judged and fixed]({check.page})"
    for note in check.notes:
        yield ""
        yield f"> {inert(note)}"
    if check.acute is not None:
        yield ""
        yield from _findings(check.acute)


def _findings(findings: Table) -> Iterator[str]:
    for name, text in findings.shared:
        yield f"{name}: {inert(text)}"
        yield ""
    yield from _table(
        ("Status", "Resource", "Finding", "Observed", "Expected"),
        ((_verdict(r.verdict), code(r.resource), r.message, r.observed, r.expected) for r in findings.rows),
    )
    if findings.more:
        yield ""
        yield f"{findings.more} more in the JSON"


def _verdict(verdict: Verdict) -> str:
    return f"{MARKS.get(verdict.mark, '')} {verdict.word}".strip()


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    return table(header, rows, inert)
