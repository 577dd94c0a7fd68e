"""The dashboard Account: one account under one policy, for the team that owns it."""

from __future__ import annotations

from collections.abc import Mapping

from passmuster.metrics import contract
from passmuster.observability.fleet import AGE_STEPS, COVERAGE_STEPS, MISSING_STEPS, NONE_STEPS, SCORE_STEPS
from passmuster.observability.panels import Column, Dashboard, Kind, Note, Panel, Query, Row, Step, Unit, Variable

MINE = 'policy_namespace="$namespace", policy="$policy", account_id="$account"'
THIS = f"{{{MINE}}}"

WORDS: Mapping[float, tuple[str, str]] = {
    0: ("✖ Fail", "red"),
    1: ("? Unknown", "orange"),
    2: ("– Not applicable", "text"),
    3: ("✔ Pass", "green"),
}
"""What the numbers of the state timeline stand for."""

FOREVER = 365
"""Days that stand for no progress at all."""


def _status(status: str, more: str = "") -> str:
    return f'{contract.CHECK.name}{{{MINE}, status="{status}"{more}}}'


_SEVERE = ', severity=~"$severity"'
_STATES = " or ".join(
    f"max by (check) ({number} * {_status(status, _SEVERE)})"
    for status, number in (("Pass", 3), ("NotApplicable", 2), ("Unknown", 1), ("Fail", 0))
)
_PHASE = f"max by (phase) ({contract.PHASE.name}{THIS})"
_PROGRESS = f"max by (phase) (delta({contract.PHASE.name}{THIS}[30d])) / 30"
_DAYS = f"clamp_max((1 - {_PHASE}) / ({_PROGRESS} > 0) or {FOREVER} * ((1 - {_PHASE}) > bool 0), {FOREVER})"

_STANDING = Row(
    "Where it stands",
    (
        Panel(
            Kind.STAT,
            "Level reached",
            "The highest level of which every check passes, and of every level below.",
            Unit.TEXT,
            (Query(f"max by (level) ({contract.LEVEL.name}{THIS}) == 1", "{{level}}"),),
            width=4,
            names=True,
        ),
        Panel(
            Kind.STAT,
            "Level declared",
            "The level that the policy declares.",
            Unit.TEXT,
            (Query(f"max by (level) ({contract.LEVEL_TARGET.name}{THIS}) == 1", "{{level}}"),),
            width=4,
            names=True,
        ),
        Panel(
            Kind.STAT,
            "Levels missing",
            "From the level reached to the one declared.",
            Unit.NUMBER,
            (Query(f"max({contract.LEVELS_MISSING.name}{THIS})"),),
            width=4,
            steps=MISSING_STEPS,
        ),
        Panel(
            Kind.STAT,
            "Critical checks failing",
            "Failing checks of severity Critical.",
            Unit.NUMBER,
            (Query(f"max({contract.CRITICAL.name}{THIS})"),),
            width=4,
            steps=NONE_STEPS,
        ),
        Panel(
            Kind.STAT,
            "Score",
            "Passing checks by their weight: Critical 10, High 5, Medium 3, Low 1.",
            Unit.RATIO,
            (Query(f"max({contract.SCORE.name}{THIS})"),),
            width=4,
            steps=SCORE_STEPS,
        ),
        Panel(
            Kind.STAT,
            "Coverage",
            "The share of enabled checks that could be judged; the rest is Unknown.",
            Unit.RATIO,
            (Query(f"max({contract.COVERAGE.name}{THIS})"),),
            width=4,
            steps=COVERAGE_STEPS,
        ),
        Panel(
            Kind.STAT,
            "Inspected before",
            "The age of the last inspection that brought a report.",
            Unit.SECONDS,
            (Query(f"time() - max({contract.INSPECTED.name}{THIS})"),),
            width=4,
            steps=AGE_STEPS,
        ),
        Panel(
            Kind.STAT,
            "Checks failing",
            "Failing checks of every severity.",
            Unit.NUMBER,
            (Query(f"count(max by (check) ({_status('Fail')})) or vector(0)"),),
            width=4,
            steps=NONE_STEPS,
        ),
        Panel(
            Kind.STAT,
            "Cost of the plan",
            "What the planned remediations cost a month; what depends on usage is not in it.",
            Unit.DOLLARS,
            (Query(f"sum(max by (phase) ({contract.PLAN_COST.name}{THIS})) or vector(0)"),),
            width=4,
        ),
        Panel(
            Kind.STAT,
            "Remediations",
            "Changes proposed or carried out for this account, by state.",
            Unit.NUMBER,
            (Query(f"sum by (state) (max by (phase, state) ({contract.REMEDIATIONS.name}{THIS}))", "{{state}}"),),
            width=12,
        ),
    ),
)

_WAY = Row(
    "The way to the level",
    (
        Panel(
            Kind.BARS,
            "Phases",
            "The share of a phase's checks that pass or do not apply.",
            Unit.RATIO,
            (Query(_PHASE, "{{phase}}"),),
            width=8,
            height=8,
            steps=SCORE_STEPS,
            highest=1.0,
        ),
        Panel(
            Kind.BARS,
            "Categories",
            "The score within each category.",
            Unit.RATIO,
            (Query(f"max by (category) ({contract.CATEGORY.name}{THIS})", "{{category}}"),),
            width=8,
            height=8,
            steps=SCORE_STEPS,
            highest=1.0,
        ),
        Panel(
            Kind.BARS,
            "Days to ready",
            f"Days until a phase is complete, at its pace of the last 30 days; {FOREVER} stands for no progress, and 0 "
            "for complete.",
            Unit.DAYS,
            (Query(_DAYS, "{{phase}}"),),
            width=8,
            height=8,
            steps=(Step(None, "green", "soon"), Step(30, "orange", "months"), Step(180, "red", "far")),
            highest=float(FOREVER),
        ),
        Panel(
            Kind.TABLE,
            "Failing checks",
            "What fails, since when, and what the planned fix costs a month. A click on a check opens its page: why it "
            "matters and how it is mended.",
            Unit.NUMBER,
            (
                Query(f"max by (check, severity, phase, category) ({_status('Fail')})"),
                Query(f"time() - max by (check) ({contract.FAILING_SINCE.name}{THIS})"),
                Query(f"max by (check) ({contract.FIX_COST.name}{THIS})"),
            ),
            width=24,
            height=10,
            columns=(
                Column("check", "Check", link="checks/${__value.text}/"),
                Column("severity", "Severity"),
                Column("phase", "Phase"),
                Column("category", "Category"),
                Column("Value #A", ""),
                Column("Value #B", "Fails for", Unit.SECONDS),
                Column("Value #C", "Fix a month", Unit.DOLLARS),
            ),
            sort="Fails for",
        ),
    ),
)

_TREND = Row(
    "Over time",
    (
        Panel(
            Kind.SERIES,
            "Score and target",
            "The score, and the minimumScore that the policy declares. Marks show changes of the score and alerts.",
            Unit.RATIO,
            (
                Query(f"max({contract.SCORE.name}{THIS})", "score"),
                Query(f"max({contract.SCORE_TARGET.name}{THIS})", "minimumScore"),
            ),
            width=12,
            height=8,
            highest=1.0,
        ),
        Panel(
            Kind.SERIES,
            "Findings",
            "How many findings have which status: one for each resource and check.",
            Unit.NUMBER,
            (Query(f"sum by (status) (max by (check, status) ({contract.FINDINGS.name}{THIS}))", "{{status}}"),),
            width=12,
            height=8,
        ),
        Panel(
            Kind.STATES,
            "Checks",
            "The status of every check over time.",
            Unit.NUMBER,
            (Query(_STATES, "{{check}}"),),
            width=24,
            height=22,
            words=WORDS,
        ),
    ),
)

ACCOUNT = Dashboard(
    uid="passmuster-account",
    title="Passmuster / Account",
    description="One account under one policy: its level, what fails, since when, and the way to the declared level.",
    variables=(
        Variable("namespace", "Namespace", "policy_namespace", contract.LEVEL_TARGET.name),
        Variable("policy", "Policy", "policy", f'{contract.LEVEL_TARGET.name}{{policy_namespace="$namespace"}}'),
        Variable(
            "account",
            "Account",
            "account_id",
            f'{contract.LEVEL_TARGET.name}{{policy_namespace="$namespace", policy="$policy"}}',
        ),
        Variable("severity", "Severity", "severity", f"{contract.CHECK.name}{THIS}", several=True),
    ),
    rows=(_STANDING, _WAY, _TREND),
    notes=(
        Note(
            "Score changed",
            f"max(changes({contract.SCORE.name}{THIS}[$__rate_interval])) > 0",
            "The score changed",
            "blue",
        ),
        Note(
            "Alerts",
            f'max by (alertname, severity) (ALERTS{{alertname=~"Passmuster.+", alertstate="firing", {MINE}}})',
            "{{alertname}}",
            "red",
        ),
    ),
)
