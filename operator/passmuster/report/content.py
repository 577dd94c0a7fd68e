"""What a report says, in its order and its words, before anybody lays it out.

`html` and `markdown` show this and decide nothing; so both lead with the level, and no number is counted twice. The
document is a function of report, plan and catalogue: no clock, no locale, no environment. Every text that came from an
account passes `phrasing.plain` here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from passmuster.assess.changes import ABSENT, DISABLED, Changes, Sighting
from passmuster.assess.plan import Plan, Step
from passmuster.assess.scoring import MINIMUM_COVERAGE
from passmuster.checks import catalogue
from passmuster.checks.declaration import Check, Controls
from passmuster.model.evidence import Waiver
from passmuster.model.finding import Finding
from passmuster.model.grant import Grant, Standing
from passmuster.model.report import CategoryScore, CheckResult, Counts, PhaseProgress, Refusal, Report
from passmuster.model.verdict import NO_LEVEL, Fix, Phase, Reason, Severity, Status, level_order
from passmuster.report.controls import Link, best_practices, config_rules, security_hub_controls
from passmuster.report.pages import address
from passmuster.report.phrasing import (
    counted,
    day,
    dollars,
    duration,
    listed,
    moment,
    percent,
    plain,
    stamp,
    tenths,
)

SAME_TIME = timedelta(minutes=1)
"""Observations no further apart than this are told as one span instead of one time a row."""

_WORDS = {
    Status.FAIL: "Fail",
    Status.UNKNOWN: "Unknown",
    Status.PASS: "Pass",
    Status.NOT_APPLICABLE: "Not applicable",
}
_MARKS = {Status.FAIL: "fail", Status.UNKNOWN: "unknown", Status.PASS: "pass", Status.NOT_APPLICABLE: "none"}
_WAYS = {
    Fix.ADDITIVE: "by something new",
    Fix.IN_PLACE: "in place",
    Fix.PROPOSAL: "by a proposal to its owner",
    Fix.ATTESTATION: "by an attestation",
}
_REASONS = {
    Reason.THROTTLED: "throttled; it is read again at the next inspection",
    Reason.STALE: "not read before the deadline; it is read again at the next inspection",
    Reason.PARTIAL: "answered in part only; it is read again at the next inspection",
    Reason.SERVICE_ERROR: "the service failed; it is read again at the next inspection",
    Reason.REGION_UNREADABLE: "the region does not answer: is it enabled for the account?",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is written out: rows of findings a check, of them rows nobody has to act on, steps of the plan."""

    rows: int = 20
    folded: int = 20
    steps: int = 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """A status: `mark` is one word for machines (fail, unknown, disabled, waived, pass, none), `word` is for people."""

    mark: str
    word: str


@dataclass(frozen=True, slots=True)
class Row:
    """One finding."""

    verdict: Verdict
    reason: str
    resource: str
    region: str
    message: str
    observed: str
    expected: str
    source: str
    at: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Findings of a check. What all rows share (`expected`, `region`, `read`) is said once and empty otherwise."""

    rows: tuple[Row, ...]
    total: int
    expected: str
    region: str
    read: str

    @property
    def shared(self) -> tuple[tuple[str, str], ...]:
        """What all rows share, each with its name."""
        named = (("Expected", self.expected), ("Region", self.region), ("Read from", self.read))
        return tuple((name, text) for name, text in named if text)

    @property
    def more(self) -> int:
        """How many findings are left out."""
        return self.total - len(self.rows)


@dataclass(frozen=True, slots=True)
class CheckEntry:
    """One check. `acute` findings want attention, `settled` ones pass or do not apply."""

    id: str
    title: str
    verdict: Verdict
    severity: str
    categories: str
    why: tuple[str, ...]
    notes: tuple[str, ...]
    since: str
    ways: str
    steps: tuple[int, ...]
    acute: Table | None
    settled: Table | None
    settled_label: str
    page: str

    @property
    def folded(self) -> bool:
        """Whether a glance at the title is enough."""
        return self.acute is None and self.verdict.mark in ("pass", "none")


@dataclass(frozen=True, slots=True)
class Group:
    """The checks of one phase, failing first."""

    phase: str
    summary: str
    checks: tuple[CheckEntry, ...]


@dataclass(frozen=True, slots=True)
class PhaseEntry:
    """One step of readiness; `missing` groups the checks that hold it back by what is wrong with them."""

    name: str
    mark: str
    state: str
    declared: bool
    complete: float | None
    share: str
    members: str
    missing: tuple[tuple[Verdict, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class CategoryEntry:
    """One chapter of the catalogue; `why` says why there is no score."""

    name: str
    score: float | None
    figure: str
    why: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Position:
    """One line of a step's bill; where it depends on usage, or is paid `once`, `amount` says so."""

    title: str
    amount: str
    once: bool = False


@dataclass(frozen=True, slots=True)
class StepEntry:
    """One change of the plan."""

    number: int
    title: str
    description: str
    remediation: str
    where: str
    target: str
    way: str
    fixes: tuple[str, ...]
    cost: Decimal
    positions: tuple[Position, ...]
    unpriced: tuple[str, ...]
    risk: str
    interrupts: str
    waits_for: tuple[str, ...]
    leads_to: tuple[str, ...]
    level_after: str
    score_after: str
    undo: str
    changes: tuple[str, ...]
    blocked: str


@dataclass(frozen=True, slots=True)
class Stage:
    """The steps of one phase. `rest` are steps that are not written out; their cost is in `cost`."""

    phase: str
    steps: tuple[StepEntry, ...]
    rest: int
    rest_cost: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class ByHand:
    """A failing check that no unblocked step fixes."""

    id: str
    title: str
    severity: str
    phase: str
    how: str


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """What to do next. `cost` is the sum of the stages; `blocked_cost` is in none of them."""

    lead: str
    stages: tuple[Stage, ...]
    steps: int
    cost: Decimal
    unpriced: tuple[str, ...]
    blocked: int
    blocked_cost: Decimal
    by_hand: tuple[ByHand, ...]


@dataclass(frozen=True, slots=True)
class RefusalEntry:
    """A read that brought no answer; `action` is empty where no permission would help."""

    action: str
    call: str
    region: str
    why: str
    code: str
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ControlEntry:
    """One check in the words of others, each with the address of AWS's page about it."""

    check: str
    verdict: Verdict
    config: tuple[Link, ...]
    security_hub: tuple[Link, ...]
    well_architected: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class MovedEntry:
    """A check whose verdict changed; `before` is what it was."""

    id: str
    title: str
    before: str


@dataclass(frozen=True, slots=True)
class MovedGroup:
    """Checks that changed to the same verdict."""

    verdict: Verdict
    label: str
    checks: tuple[MovedEntry, ...]


@dataclass(frozen=True, slots=True)
class ResourceEntry:
    """A resource on one side of a change, with the first check that names it."""

    resource: str
    region: str
    check: str


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources that appeared, or are gone."""

    label: str
    shown: tuple[ResourceEntry, ...]
    total: int

    @property
    def more(self) -> int:
        """How many are left out."""
        return self.total - len(self.shown)


@dataclass(frozen=True, slots=True)
class ChangesEntry:
    """What changed since the inspection before, gravest first."""

    lead: str
    groups: tuple[MovedGroup, ...]
    appeared: Resources
    gone: Resources


@dataclass(frozen=True, slots=True)
class GrantEntry:
    """A waiver or an attestation: what it is for, in whose name, until when, and whether it counts."""

    kind: str
    name: str
    check: str
    verdict: Verdict
    message: str
    words: str
    source: str
    until: str
    approved: str
    findings: int


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report."""

    title: str
    account: str
    regions: str
    inspected: str
    reached: str
    declared: str
    compliance: Verdict
    lead: str
    critical: int
    coverage: str
    coverage_note: str
    score: str
    score_note: str
    counts: Counts
    total: int
    phases: tuple[PhaseEntry, ...]
    categories: tuple[CategoryEntry, ...]
    plan: PlanEntry | None
    groups: tuple[Group, ...]
    refusals: tuple[RefusalEntry, ...]
    statement: str
    facts: tuple[tuple[str, str], ...]
    raised: tuple[tuple[str, str, str, str], ...]
    controls: tuple[ControlEntry, ...]
    changes: ChangesEntry | None
    granted: tuple[GrantEntry, ...]


def document(
    report: Report,
    plan: Plan | PlanEntry | None,
    title: str = "",
    limits: Limits | None = None,
    changes: Changes | None = None,
    docs_url: str = "",
) -> Document:
    """The report in words. `title` names the subject; the account's id does where it is empty.

    A plan that was read back from a stored report comes as a `PlanEntry`. `docs_url` is where the pages of the checks
    are served, as `pages.address` takes it.
    """
    limits = limits or Limits()
    declarations = catalogue.load()
    known = {r.id: declarations.get(r.id) for r in report.checks if r.id in declarations}
    return Document(
        title=plain(title) or f"AWS account {report.account_id}",
        account=report.account_id,
        regions=listed([plain(region) for region in report.regions]) or "no region",
        inspected=moment(report.inspection.started_at),
        reached=_level(report.level),
        declared=f"{report.declared} declared",
        compliance=_compliance(report),
        lead=_lead(report),
        critical=report.critical_failing,
        coverage=percent(report.coverage),
        coverage_note=_coverage_note(report.counts),
        score=tenths(report.score),
        score_note=_score_note(report),
        counts=report.counts,
        total=len(report.checks),
        phases=tuple(_phase(progress, report) for progress in report.phases),
        categories=tuple(_category(category) for category in report.categories),
        plan=_plan(plan, report, limits.steps) if isinstance(plan, Plan) else plan,
        groups=tuple(_groups(report, known, _fixed_by(plan), limits, docs_url)),
        refusals=tuple(_refusal(refusal) for refusal in report.inspection.refusals),
        statement=_statement(report.inspection.refusals),
        facts=_facts(report),
        raised=tuple((r.check, r.parameter, plain(repr(r.asked)), plain(repr(r.floor))) for r in report.raised),
        controls=tuple(_control(r, known[r.id].controls) for r in _by_id(report.checks) if r.id in known),
        changes=_changes(changes, report, limits.rows) if changes is not None else None,
        granted=tuple(_grant(grant) for grant in report.grants),
    )


def verdict(result: CheckResult) -> Verdict:
    """A check's status for people: a pass that a waiver or an attestation made says so."""
    if result.disabled:
        return Verdict("disabled", "Disabled")
    if result.status is Status.PASS and result.has_waived_failure:
        return Verdict("waived", "Pass, waived")
    if result.status is Status.PASS and any(f.attested_by for f in result.findings):
        return Verdict("pass", "Pass, attested")
    return Verdict(_MARKS[result.status], _WORDS[result.status])


def _by_id(results: Iterable[CheckResult]) -> list[CheckResult]:
    return sorted(results, key=lambda r: r.id)


# -- the head ----------------------------------------------------------------------------------------------------------


def _level(level: str) -> str:
    return "No level reached" if level == NO_LEVEL else f"{level} reached"


def _compliance(report: Report) -> Verdict:
    if report.compliant is None:
        return Verdict("unknown", "Compliance unknown")
    return Verdict("pass", "Compliant") if report.compliant else Verdict("fail", "Not compliant")


def _lead(report: Report) -> str:
    enabled = [r for r in report.checks if not r.disabled]
    if not enabled:
        return "No check is enabled: the policy disables them all."
    if all(r.status is Status.UNKNOWN for r in enabled):
        return f"Nothing could be judged: all {len(enabled)} checks are Unknown."
    if report.compliant_reason in ("ScoreBelowMinimum", "NoScore"):
        return f"{report.compliant_message}."
    if not report.missing:
        return f"Nothing holds {report.declared} back." if report.compliant else f"{report.compliant_message}."
    kinds = Counter("disabled" if r.disabled else r.status.value for r in report.missing)
    parts = [(kinds["Fail"], "fails", "fail"), (kinds["Unknown"], "is Unknown", "are Unknown")]
    parts.append((kinds["disabled"], "is disabled without leave", "are disabled without leave"))
    told = listed([f"{number} {one if number == 1 else many}" for number, one, many in parts if number])
    return f"{counted(len(report.missing), 'check holds', 'checks hold')} {report.declared} back: {told}."


def _coverage_note(counts: Counts) -> str:
    if not counts.enabled:
        return "no check is enabled"
    return f"{counts.enabled - counts.unknown} of {counted(counts.enabled, 'check')} could be judged"


def _score_note(report: Report) -> str:
    minimum = "" if report.minimum_score is None else f"; the policy asks for {report.minimum_score:g}"
    if report.score is not None:
        return f"of 100, to follow the trend; the level decides{minimum}"
    if report.coverage is None:
        return f"no score: no check is enabled{minimum}"
    if report.coverage < MINIMUM_COVERAGE:
        return f"no score: coverage is {percent(report.coverage)}, a score needs {MINIMUM_COVERAGE:g} %{minimum}"
    return f"no score: no check passes or fails{minimum}"


# -- what changed, and what people granted -----------------------------------------------------------------------------

_MOVES = (
    ("Fail", Verdict("fail", "Fail"), "newly failing"),
    ("Unknown", Verdict("unknown", "Unknown"), "newly unknown"),
    ("Pass", Verdict("pass", "Pass"), "newly passing"),
    ("NotApplicable", Verdict("none", "Not applicable"), "no longer applicable"),
    (DISABLED, Verdict("disabled", "Disabled"), "newly disabled"),
    (ABSENT, Verdict("none", "Absent"), "no longer in the catalogue"),
)
"""Every standing that a check can change to, gravest first."""

_STANDINGS = {status.value: word for status, word in _WORDS.items()}


def _changes(changes: Changes, report: Report, most: int) -> ChangesEntry:
    titles = {result.id: result.title for result in report.checks}
    groups = tuple(
        MovedGroup(
            shown,
            label,
            tuple(MovedEntry(m.id, titles.get(m.id, m.id), _STANDINGS.get(m.before, m.before.lower())) for m in moved),
        )
        for word, shown, label in _MOVES
        if (moved := changes.newly(word))
    )
    return ChangesEntry(
        lead=_changes_lead(changes, groups),
        groups=groups,
        appeared=_resources(
            "Resources that findings name now and did not before", changes.appeared, changes.more_appeared, most
        ),
        gone=_resources("Resources that findings no longer name", changes.gone, changes.more_gone, most),
    )


def _changes_lead(changes: Changes, groups: Sequence[MovedGroup]) -> str:
    since = f"since the inspection of {moment(changes.before.started_at)}"
    if not changes:
        return f"Nothing changed {since}."
    before, after = changes.before.level, changes.level_after
    parts = []
    if before != after:
        word = "rose" if level_order(after) > level_order(before) else "fell"
        parts.append(f"The level {word} from {_no_level(before)} to {_no_level(after)}")
    else:
        parts.append(f"The level is {_no_level(after)} as before")
    if changes.score_moved:
        parts.append(f"the score went from {tenths(changes.before.score)} to {tenths(changes.score_after)}")
    told = "; ".join(parts)
    counts = listed([f"{counted(len(group.checks), 'check')} {group.label}" for group in groups])
    verdicts = f" {counts[:1].upper()}{counts[1:]}." if counts else " No verdict changed."
    return f"{told} {since}.{verdicts}"


def _no_level(level: str) -> str:
    return "none" if level == NO_LEVEL else level


def _resources(label: str, sightings: Sequence[Sighting], more: int, most: int) -> Resources:
    shown = tuple(ResourceEntry(plain(s.resource), plain(s.region), s.check) for s in sightings[:most])
    return Resources(label, shown, len(sightings) + more)


_GRANTED = {
    Standing.IN_FORCE: Verdict("pass", "In force"),
    Standing.AWAITING_APPROVAL: Verdict("unknown", "Awaiting approval"),
    Standing.NOT_YET: Verdict("unknown", "Not yet valid"),
    Standing.EXPIRED: Verdict("fail", "Expired"),
    Standing.NOT_ACCEPTED: Verdict("fail", "Not accepted"),
    Standing.UNGUARDED: Verdict("fail", "Not counted"),
}


def _grant(grant: Grant) -> GrantEntry:
    subject = grant.subject
    waives = isinstance(subject, Waiver)
    shown = _GRANTED[grant.standing]
    if grant.expiring:
        shown = Verdict("unknown", "In force, expiring")
    return GrantEntry(
        kind="Waiver" if waives else "Attestation",
        name=plain(grant.name),
        check=grant.check,
        verdict=shown,
        message=plain(grant.message),
        words=plain(subject.reason if isinstance(subject, Waiver) else subject.statement),
        source="" if isinstance(subject, Waiver) else plain(f"{subject.owner}: {subject.uri}"),
        until=day(grant.expires_at),
        approved=listed([plain(by) for by in grant.approved_by]) or "nobody",
        findings=grant.findings,
    )


# -- phases and categories ---------------------------------------------------------------------------------------------


def _phase(progress: PhaseProgress, report: Report) -> PhaseEntry:
    members = [r for r in report.checks if r.phase is progress.phase and not r.disabled]
    met = sum(r.status in (Status.PASS, Status.NOT_APPLICABLE) for r in members)
    results = {r.id: r for r in report.checks}
    missing: dict[Verdict, list[str]] = {}
    for check_id in progress.missing:
        missing.setdefault(verdict(results[check_id]), []).append(check_id)
    if level_order(report.level) >= progress.phase.order:
        mark, state = "reached", "reached"
    elif progress.missing:
        mark, state = "missing", f"{counted(len(progress.missing), 'check')} missing"
    else:
        earlier = next((p.phase for p in report.phases if p.missing), progress.phase)
        mark, state = "waiting", f"complete, waits for {earlier}"
    return PhaseEntry(
        name=progress.phase.value,
        mark=mark,
        state=state,
        declared=progress.phase is report.declared,
        complete=progress.complete,
        share=percent(progress.complete),
        members=f"{met} of {counted(len(members), 'check')}" if members else "no check is enabled",
        missing=tuple((kind, tuple(ids)) for kind, ids in sorted(missing.items(), key=lambda m: _rank(m[0]))),
    )


def _rank(shown: Verdict) -> int:
    return ("fail", "unknown", "disabled", "waived", "pass", "none").index(shown.mark)


def _category(category: CategoryScore) -> CategoryEntry:
    counts = category.counts
    why = ""
    if category.score is None:
        known = counts.enabled - counts.unknown
        little = counts.enabled and 100 * known / counts.enabled < MINIMUM_COVERAGE
        why = "too little is known" if little else "nothing to score"
    return CategoryEntry(category.category.value, category.score, tenths(category.score), why, counts)


# -- the plan ----------------------------------------------------------------------------------------------------------


def _fixed_by(plan: Plan | PlanEntry | None) -> Mapping[str, tuple[int, ...]]:
    """The steps that make a check pass, blocked ones included."""
    match plan:
        case None:
            return {}
        case Plan():
            return _numbers((number, step.proposal.fixes) for number, step in enumerate(plan.steps, start=1))
        case PlanEntry():
            return _numbers((step.number, step.fixes) for stage in plan.stages for step in stage.steps)


def _numbers(steps: Iterable[tuple[int, Iterable[str]]]) -> Mapping[str, tuple[int, ...]]:
    """The numbers of steps by check, from each step's number with the checks that it makes pass."""
    found: dict[str, list[int]] = {}
    for number, fixes in steps:
        for check_id in fixes:
            found.setdefault(check_id, []).append(number)
    return {check_id: tuple(numbers) for check_id, numbers in found.items()}


def _plan(plan: Plan, report: Report, most: int) -> PlanEntry:
    steps = [(step.proposal.definition.phase, _step(number, step)) for number, step in enumerate(plan.steps, start=1)]
    return arranged(steps, plan.by_hand, report, most)


def arranged(
    steps: Sequence[tuple[Phase, StepEntry]], by_hand: Sequence[CheckResult], report: Report, most: int
) -> PlanEntry:
    """The steps by phase with their sums, at most `most` of them written out, and the checks left to people."""
    stages: list[Stage] = []
    for phase in Phase:
        members = [step for of, step in steps if of is phase]
        rest = [step for step in members if step.number > most]
        if members:
            stages.append(
                Stage(
                    phase=phase.value,
                    steps=tuple(step for step in members if step.number <= most),
                    rest=len(rest),
                    rest_cost=_cost(rest),
                    cost=_cost(members),
                )
            )
    every = [step for _, step in steps]
    blocked = [step for step in every if step.blocked]
    numbers = _numbers((step.number, step.fixes) for step in every)
    return PlanEntry(
        lead=_plan_lead(every, report),
        stages=tuple(stages),
        steps=len(every),
        cost=sum((stage.cost for stage in stages), Decimal(0)),
        unpriced=tuple(dict.fromkeys(title for step in every if not step.blocked for title in step.unpriced)),
        blocked=len(blocked),
        blocked_cost=sum((step.cost for step in blocked), Decimal(0)),
        by_hand=tuple(_by_hand(result, numbers.get(result.id, ())) for result in by_hand),
    )


def _cost(steps: Iterable[StepEntry]) -> Decimal:
    return sum((step.cost for step in steps if not step.blocked), Decimal(0))


def after(level: str) -> str:
    """The level after a step, in words."""
    return "no level" if level == NO_LEVEL else level


def _plan_lead(steps: Sequence[StepEntry], report: Report) -> str:
    possible = [step for step in steps if not step.blocked]
    if not report.counts.failed:
        if report.counts.unknown:
            return "No check fails. What is Unknown can only be settled by reading it."
        return "No check fails: there is nothing to do."
    if not possible and steps:
        return "Every change waits for something; what it is stands with each of them."
    if not possible:
        return "No remediation of this release fixes what fails here; it is work for people."
    last = possible[-1]
    cost = f"for {dollars(_cost(possible))} a month"
    if any(step.unpriced for step in possible):
        cost += " and what depends on usage"
    start = "Carried out in this order, " + counted(len(possible), "change leads", "changes lead")
    if last.level_after == after(report.level):
        level = "no level yet" if report.level == NO_LEVEL else report.level
        end = f"to a score of {last.score_after} {cost}. The level stays as it is ({level})"
        return f"{start} {end} until what is listed under By hand is done."
    reaching = next(n for n, step in enumerate(possible, start=1) if step.level_after == last.level_after)
    when = "" if reaching == len(possible) else f" (reached after {counted(reaching, 'change')})"
    return f"{start} to {last.level_after}{when} and a score of {last.score_after} {cost}."


def _step(number: int, step: Step) -> StepEntry:
    proposal = step.proposal
    definition = proposal.definition
    account_wide = proposal.target == proposal.account_id
    return StepEntry(
        number=number,
        title=definition.title,
        description=" ".join(definition.description.split()),
        remediation=definition.name,
        where=plain(proposal.region),
        target="" if account_wide else plain(proposal.target),
        way=in_words(proposal.way.value),
        fixes=proposal.fixes,
        cost=proposal.cost.monthly,
        positions=tuple(position(p.title, p.monthly, p.once) for p in proposal.cost.positions),
        unpriced=tuple(dict.fromkeys(plain(title) for title in proposal.cost.unpriced)),
        risk=definition.risk,
        interrupts=definition.interrupts,
        waits_for=step.waits_for,
        leads_to=definition.leads_to,
        level_after=after(step.level_after),
        score_after=tenths(step.score_after),
        undo=definition.undo,
        changes=tuple(plain(change) for change in proposal.changes),
        blocked="" if step.blocked is None else plain(f"{step.blocked.reason}: {step.blocked.message}"),
    )


def position(title: str, monthly: Decimal | None, once: Decimal | None = None) -> Position:
    """A line of a step's bill; without both prices it depends on usage."""
    if once is not None:
        return Position(plain(title), f"{dollars(once)} once", once=True)
    return Position(plain(title), "depends on usage" if monthly is None else dollars(monthly))


def in_words(way: str) -> str:
    """A way as words, for example additive stack."""
    return " ".join(word.lower() for word in re.findall("[A-Z][a-z]+", way)).replace("api", "API")


def _by_hand(result: CheckResult, numbers: Sequence[int]) -> ByHand:
    if numbers:
        how = f"{counted(len(numbers), 'step is blocked', 'steps are blocked')}: " + ", ".join(map(str, numbers))
    else:
        how = listed([_WAYS[way] for way in result.fix])
    return ByHand(result.id, result.title, result.severity.value, result.phase.value, how)


# -- the checks --------------------------------------------------------------------------------------------------------


def _groups(
    report: Report, known: Mapping[str, Check], steps: Mapping[str, tuple[int, ...]], limits: Limits, docs_url: str
) -> Iterable[Group]:
    severities = list(Severity)
    for phase in Phase:
        members = [r for r in report.checks if r.phase is phase]
        ordered = sorted(members, key=lambda r: (_rank(verdict(r)), severities.index(r.severity), r.id))
        if ordered:
            entries = tuple(_check(r, known.get(r.id), steps.get(r.id, ()), limits, docs_url) for r in ordered)
            yield Group(phase.value, _tally(verdict(r).word for r in ordered), entries)


def _tally(words: Iterable[str]) -> str:
    """How often each word occurs, in the order in which they first do."""
    return ", ".join(f"{number} {word[0].lower() + word[1:]}" for word, number in Counter(words).items())


def _check(
    result: CheckResult, declared: Check | None, steps: tuple[int, ...], limits: Limits, docs_url: str
) -> CheckEntry:
    acute = sorted((f for f in result.findings if _is_acute(f)), key=_gravity)
    settled = sorted((f for f in result.findings if not _is_acute(f)), key=_gravity)
    room = min(limits.folded, max(0, limits.rows - len(acute)))
    return CheckEntry(
        id=result.id,
        title=result.title,
        verdict=verdict(result),
        severity=result.severity.value,
        categories=listed([c.value for c in result.categories or (result.category,)]),
        why=_paragraphs(declared.description if declared is not None else ""),
        notes=tuple(_notes(result)),
        since=day(result.since) if result.since is not None else "",
        ways=listed([_WAYS[way] for way in result.fix]),
        steps=steps,
        acute=_table(acute, limits.rows) if acute else None,
        settled=_table(settled, room) if settled else None,
        settled_label=_tally(_row_verdict(f).word for f in settled),
        page=address(docs_url, result.id),
    )


def _is_acute(finding: Finding) -> bool:
    calm = finding.status in (Status.PASS, Status.NOT_APPLICABLE)
    return not calm or bool(finding.warnings or finding.attested_by or finding.waived_by)


def _gravity(finding: Finding) -> int:
    return _rank(_row_verdict(finding))


def _row_verdict(finding: Finding) -> Verdict:
    if finding.waived_by is not None:
        return Verdict("waived", "Fail, waived")
    if finding.attested_by is not None:
        return Verdict("pass", "Pass, attested")
    return Verdict(_MARKS[finding.status], _WORDS[finding.status])


def _notes(result: CheckResult) -> Iterable[str]:
    if result.truncated:
        told = counted(result.truncated, "further finding is", "further findings are")
        yield f"{told} in the full report; this is made from a digest."
    if result.disabled:
        leave = "with" if result.disabled_with_leave else "without"
        effect = "it holds no level back" if result.disabled_with_leave else f"it holds {result.phase} back"
        yield f"Disabled by the policy, {leave} the account's leave: {effect}."
    waivers = sorted({plain(f.waived_by) for f in result.findings if f.waived_by is not None})
    if waivers:
        yield f"{counted(result.waived, 'failure')} waived by {listed(waivers)}; a waived pass is in no score."
    attestations = sorted({plain(f.attested_by) for f in result.findings if f.attested_by is not None})
    if attestations:
        yield f"Attested by {listed(attestations)}: people's word stands in for evidence from AWS."


def _paragraphs(description: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in description.split("\n\n") if part.strip())


def _control(result: CheckResult, controls: Controls) -> ControlEntry:
    return ControlEntry(
        result.id,
        verdict(result),
        config_rules(controls.config),
        security_hub_controls(controls.security_hub),
        best_practices(controls.well_architected),
    )


# -- findings ----------------------------------------------------------------------------------------------------------


def _table(findings: Sequence[Finding], most: int) -> Table:
    return Table(
        rows=tuple(_row(finding) for finding in findings[:most]),
        total=len(findings),
        expected=plain(_shared([f.expected for f in findings])),
        region=plain(_shared([f.region for f in findings])),
        read=_read(findings),
    )


def _row(finding: Finding) -> Row:
    notes = [f"Warning: {plain(warning)}" for warning in finding.warnings]
    if finding.waived_by is not None:
        notes.append(f"Waived by {plain(finding.waived_by)}")
    if finding.attested_by is not None:
        notes.append(f"Attested by {plain(finding.attested_by)}")
    return Row(
        verdict=_row_verdict(finding),
        reason=finding.reason.value if finding.reason is not None else "",
        resource=plain(finding.resource),
        region=plain(finding.region),
        message=plain(finding.message),
        observed=plain(finding.observed),
        expected=plain(finding.expected),
        source=plain(finding.source),
        at=stamp(finding.observed_at) if finding.observed_at is not None else "",
        notes=tuple(notes),
    )


def _shared(values: Sequence[str]) -> str:
    """What all of several values are; empty where they differ."""
    return values[0] if len(set(values)) == 1 else ""


def _read(findings: Sequence[Finding]) -> str:
    """Operation and time of all findings, if they were read by one operation within `SAME_TIME`."""
    source = _shared([f.source for f in findings])
    times = sorted(f.observed_at for f in findings if f.observed_at is not None)
    if not source or len(times) not in (0, len(findings)):
        return ""
    if not times:
        return plain(source)
    if times[-1] - times[0] > SAME_TIME:
        return ""
    first, last = stamp(times[0]), stamp(times[-1])
    span = first if first == last else f"{first} to {last[-8:]}"
    return f"{plain(source)}, {span} UTC"


# -- reads and facts ---------------------------------------------------------------------------------------------------


def _refusal(refusal: Refusal) -> RefusalEntry:
    denied = refusal.reason is Reason.DENIED
    return RefusalEntry(
        action=plain(refusal.action) if denied else "",
        call=plain(refusal.call),
        region=plain(refusal.region),
        why="denied" if denied else _REASONS.get(refusal.reason, refusal.reason.value),
        code=plain(refusal.code),
        checks=refusal.checks,
    )


def _statement(refusals: Iterable[Refusal]) -> str:
    """The IAM statement that would permit what was denied; empty where nothing was."""
    denied = {a.strip() for r in refusals if r.reason is Reason.DENIED for a in plain(r.action).split(",") if a.strip()}
    if not denied:
        return ""
    return json.dumps({"Effect": "Allow", "Action": sorted(denied), "Resource": "*"}, indent=2)


def _facts(report: Report) -> tuple[tuple[str, str], ...]:
    inspection = report.inspection
    billed = counted(inspection.billed_calls, "billed call")
    if inspection.billed_calls:
        billed += f", ${inspection.billed_cost:.2f}"
    return (
        ("Account", report.account_id),
        ("Regions", listed([plain(region) for region in report.regions]) or "none"),
        ("Inspection", plain(inspection.id)),
        ("Started", moment(inspection.started_at)),
        ("Duration", duration(inspection.duration)),
        ("AWS calls", f"{inspection.calls:,}, of them {billed}"),
        ("Catalogue", f"version {plain(report.catalogue_version)}, {counted(len(report.checks), 'check')}"),
        ("Verdict", f"{plain(report.compliant_reason)}: {plain(report.compliant_message)}"),
    )
