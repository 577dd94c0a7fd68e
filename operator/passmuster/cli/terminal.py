"""What people see in a terminal: reports and plans as tables, progress on what takes long, errors as a sentence.

Results go to standard output, everything else to standard error, so that output can be piped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from passmuster.assess.changes import Changes
from passmuster.assess.plan import Plan, Step
from passmuster.assess.scoring import MINIMUM_COVERAGE
from passmuster.aws.collector import Progress as Advance
from passmuster.checks.catalogue import Catalogue
from passmuster.cli import totals
from passmuster.cli.plan_folder import left_over, owner_in_words
from passmuster.engine.documents import tenths
from passmuster.model.errors import UserError
from passmuster.model.evidence import Attestation, Waiver
from passmuster.model.grant import Grant
from passmuster.model.report import CheckResult, Report
from passmuster.model.verdict import Reason, Status, level_order
from passmuster.report.phrasing import moment, plain

SYMBOLS: Mapping[str, tuple[str, str]] = {
    Status.PASS: ("✓", "green"),
    Status.FAIL: ("✗", "red"),
    Status.UNKNOWN: ("?", "yellow"),
    Status.NOT_APPLICABLE: ("–", "dim"),
}
NARROW = 72
"""Columns of a terminal under which what is said about a check stands under its name."""

SHOWN_FINDINGS = 3
SHOWN_RESOURCES = 10


def fail(message: str) -> None:
    """One sentence on standard error."""
    Console(stderr=True).print(Text.assemble(("Error:", "bold red"), " ", message), soft_wrap=True)


def note(message: str) -> None:
    """A line for people on standard error."""
    Console(stderr=True).print(Text(message), soft_wrap=True)


def deliver(text: str, path: Path | None) -> None:
    """Prints a text, or writes it to a file. Raises UserError where the file cannot be written."""
    if path is None:
        print(text, end="")
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; choose another place with -o") from error
    note(f"wrote {path}")


def _silent(_done: int, _known: int) -> None:
    """Shows nothing: standard error is no terminal."""


@contextmanager
def progress(label: str) -> Iterator[Advance]:
    """A bar on standard error while requests are made; nothing where that is not a terminal, also with FORCE_COLOR."""
    console = Console(stderr=True)
    if sys.stderr is None or not sys.stderr.isatty():
        yield _silent
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("calls"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)

        def advance(done: int, known: int) -> None:
            bar.update(task, completed=done, total=known)

        yield advance


def print_report(
    report: Report, plan: Plan | None, catalogue: Catalogue, *, name: str = "", verbose: bool = False
) -> None:
    """The report as `passmuster inspect` shows it: level first, then what fails, phase by phase, then what to do.

    `name` is for people who see several.
    """
    console = Console(highlight=False)
    inspection = report.inspection
    where = ", ".join(report.regions)
    console.print(
        f"{_account(report, name)} · {where} · {len(report.checks)} checks · {inspection.calls} calls · "
        f"{inspection.duration:.1f} s"
    )
    style = {True: "bold green", False: "bold red", None: "bold yellow"}[report.compliant]
    coverage = "-" if report.coverage is None else f"{report.coverage:.1f} %"
    console.print(
        f"Level  [{style}]{report.level}[/] ({report.declared} declared)   Score {tenths(report.score)}   "
        f"Coverage {coverage}   Critical failing {report.critical_failing}"
    )
    if report.score is None and report.coverage is not None and report.coverage < MINIMUM_COVERAGE:
        console.print(f"[dim]Too much is Unknown for a score: coverage is under {MINIMUM_COVERAGE:.0f} %.[/]")
    for progress_of in report.phases:
        members = [c for c in report.checks if c.phase is progress_of.phase]
        shown = [c for c in members if verbose or c.holds_level_back]
        if not shown:
            continue
        complete = "-" if progress_of.complete is None else f"{progress_of.complete:.0f} % complete"
        console.print(f"\n  [bold]{progress_of.phase}[/] [dim]{complete}[/]")
        console.print(_checks(shown, narrow=console.width < NARROW))
    _granted(console, report)
    _what_next(console, report, plan)
    _refused(console, report)
    if not verbose:
        known = sum(c.status in (Status.PASS, Status.NOT_APPLICABLE) for c in report.checks)
        console.print(f"\n[dim]{known} checks pass or do not apply; --verbose shows them. {len(catalogue)} in all.[/]")


def _account(report: Report, name: str) -> str:
    """The account, and where there are several its name, in rich's markup."""
    return f"Account [bold]{report.account_id}[/]" + (f" · {name}" if name else "")


def _grid(names: int) -> Table:
    """A table without lines: a symbol, names that are never cut, and what there is to say."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=3, justify="right")
    for _ in range(names):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _checks(checks: list[CheckResult], *, narrow: bool) -> Table:
    """Check, severity and why side by side, or where that leaves no room, under each other."""
    table = _grid(names=0 if narrow else 2)
    order = list(SYMBOLS)
    for check in sorted(
        checks, key=lambda c: (order.index(c.status) if c.status is not Status.PASS else 9, -c.severity.weight, c.id)
    ):
        symbol, style = SYMBOLS[check.status]
        severity = Text(check.severity.value, "dim")
        if narrow:
            table.add_row(Text(symbol, style), Text.assemble(check.id, "  ", severity, "\n", _why(check)))
        else:
            table.add_row(Text(symbol, style), check.id, severity, _why(check))
    return table


def _why(check: CheckResult) -> Text:
    telling = [f for f in check.findings if f.status is check.status] or list(check.findings)
    lines = list(dict.fromkeys(plain(f.message) for f in telling))
    text = Text("\n".join(lines[:SHOWN_FINDINGS]))
    if len(lines) > SHOWN_FINDINGS:
        text.append(f"\n… {len(lines) - SHOWN_FINDINGS} more (--output json lists all)", "dim")
    for warning in dict.fromkeys(w for f in check.findings for w in f.warnings):
        text.append(f"\n! {plain(warning)}", "yellow")
    return text


def _granted(console: Console, report: Report) -> None:
    """What people granted, with what it changes and until when."""
    if not report.grants:
        return
    console.print("\n  [bold]Waivers and attestations[/]")
    table = _grid(names=2)
    for grant in report.grants:
        symbol, style = ("!", "yellow") if grant.expiring or not grant.in_force else ("✓", "green")
        told = Text(f"{grant.subject.reason if isinstance(grant.subject, Waiver) else grant.subject.statement}\n")
        told.append(_terms(grant), "dim")
        table.add_row(Text(symbol, style), grant.name, grant.check, told)
    console.print(table)


def _terms(grant: Grant) -> str:
    """Who stands for it, what it changes, and until when."""
    parts = [grant.message]
    if isinstance(grant.subject, Attestation):
        parts.append(f"{grant.subject.owner} answers for it, evidence {grant.subject.uri}")
    if grant.approved_by:
        parts.append(f"approved by {', '.join(grant.approved_by)}")
    noun = "finding" if grant.findings == 1 else "findings"
    parts.append(f"changes {grant.findings} {noun}")
    return "; ".join(parts)


def _what_next(console: Console, report: Report, plan: Plan | None) -> None:
    if plan is None or report.compliant:
        return
    ready = [step for step in plan.steps if step.blocked is None]
    if ready:
        noun = "fix" if len(ready) == 1 else "fixes"
        last = ready[-1]
        leads = [last.level_after] if level_order(last.level_after) >= 0 else []
        leads += [f"score {tenths(last.score_after)}"] if last.score_after is not None else []
        then = f": {', '.join(leads)}" if leads else ""
        console.print(
            f"\n  Next: [bold]passmuster plan[/]   ({len(ready)} {noun} for ${plan.monthly_cost():.2f} a month{then})"
        )


def _refused(console: Console, report: Report) -> None:
    """Where the identity may not read everything: how many checks that leaves open, and what gives it the right."""
    denied = [c for c in report.checks if any(f.reason is Reason.DENIED for f in c.findings)]
    if denied:
        noun = "check lacks" if len(denied) == 1 else "checks lack"
        console.print(
            f"\n  {len(denied)} {noun} a permission to read: [bold]passmuster iam-policy[/] prints all of them"
        )


def print_changes(changes: Changes | None) -> None:
    """What changed since the report before, where there is one."""
    if changes is None:
        return
    console = Console(highlight=False)
    before = changes.before
    console.print(f"\n  [bold]Changed[/] [dim]since {moment(before.started_at)}[/]")
    if not changes:
        console.print("  nothing")
        return
    level = before.level if before.level == changes.level_after else f"{before.level} -> {changes.level_after}"
    score = tenths(before.score)
    score = f"{score} -> {tenths(changes.score_after)}" if changes.score_moved else score
    console.print(f"  level {level}   score {score}")
    table = _grid(names=1)
    for moved in changes.checks:
        symbol, style = SYMBOLS.get(moved.after, ("–", "dim"))
        table.add_row(Text(symbol, style), moved.id, Text(f"{moved.before} -> {moved.after}", "dim"))
    for sightings, more, sign in (
        (changes.appeared, changes.more_appeared, "+"),
        (changes.gone, changes.more_gone, "-"),
    ):
        for one in sightings[:SHOWN_RESOURCES]:
            table.add_row(Text(sign), one.check, Text(plain(one.resource)))
        rest = len(sightings) + more - min(len(sightings), SHOWN_RESOURCES)
        if rest:
            table.add_row(Text(sign), "", Text(f"{rest} more (--output json lists all)", "dim"))
    console.print(table)


def _print_step(console: Console, number: int, step: Step) -> None:
    proposal, definition = step.proposal, step.proposal.definition
    console.print(f"\n{number}. [bold]{definition.title}[/]   {totals.of_step(step)}   risk {definition.risk}")
    facts = [("fixes", ", ".join(proposal.fixes)), ("interrupts", definition.interrupts)]
    if step.blocked is not None:
        flag = " (or here: --input NAME=VALUE)" if step.blocked.reason == "InputMissing" else ""
        facts.append(("blocked", f"{step.blocked.message}{flag}"))
    else:
        facts.append(("then", f"level {step.level_after}, score {tenths(step.score_after)}"))
    if step.waits_for:
        facts.append(("after", f"{', '.join(step.waits_for)} pass"))
    if definition.leads_to:
        facts.append(("leads to", f"{', '.join(definition.leads_to)}: may ask for more, which is proposed next"))
    if proposal.cost.unpriced:
        facts.append(("usage", ", ".join(proposal.cost.unpriced)))
    facts.append(("undo", definition.undo))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True, min_width=12, justify="right")
    table.add_column(overflow="fold")
    table.add_row("name", f"{proposal.name} in {proposal.region}")
    table.add_row("owner", Text.assemble(owner_in_words(proposal), ("   by way of ", "dim"), proposal.way.value))
    if proposal.changes:
        table.add_row("changes", Text("\n".join(map(plain, proposal.changes)), "green"))
    for name, value in facts:
        table.add_row(name, Text(value))
    console.print(table)


def print_plan(report: Report, plan: Plan, *, name: str = "") -> None:
    """The plan: what each step fixes, costs, risks and leads to. `name` is for people who see several."""
    console = Console(highlight=False)
    console.print(
        f"{_account(report, name)}   Level [bold]{report.level}[/]   Score {tenths(report.score)}   "
        f"({report.declared} declared)"
    )
    number = 0
    for total in totals.phases(plan):
        console.print(f"\n[bold]{total.phase}[/]: {total}")
        for step in total.steps:
            number += 1
            _print_step(console, number, step)
    if plan.steps:
        console.print(f"\n[bold]In all[/]: {totals.whole(plan)}")
    else:
        console.print("No remediation of this release applies to what fails.")
    if plan.by_hand:
        console.print(f"\n[bold]Left[/]: {len(plan.by_hand)} checks fail still when every step is made")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for check, why in left_over(plan):
            table.add_row(f"  {check}", Text(why.replace("`", ""), "dim"))
        console.print(table)
