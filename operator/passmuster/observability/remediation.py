"""The dashboard Remediation: what is proposed, under way, done and failed, for whoever approves and carries out."""

from __future__ import annotations

from passmuster.metrics import contract
from passmuster.observability.fleet import HERE, NAMESPACE, NONE_STEPS, WHOSE
from passmuster.observability.panels import Column, Dashboard, Kind, Panel, Query, Row, Step, Unit
from passmuster.observability.queries import POLICY

SECONDS = contract.REMEDIATION_SECONDS.name
UNDER_WAY = "ChangeSetReady|Executing|Settling|Verifying|Undoing"
TROUBLE = "Failed|RolledBack|Blocked"


def _by_state(matchers: str = HERE) -> str:
    return f"max by ({POLICY}, phase, state) ({contract.REMEDIATIONS.name}{matchers})"


def _among(states: str) -> str:
    """The remediations that are in one of these states."""
    return _by_state(f'{HERE[:-1]}, state=~"{states}"}}')


def _count(states: str) -> str:
    """How many remediations are in one of these states; 0 if none."""
    return f"sum({_among(states)}) or vector(0)"


def _quantile(share: float) -> str:
    return f"histogram_quantile({share}, sum by (outcome, le) ({SECONDS}_bucket)) > 0"


_ALL = _by_state()

_FUNNEL = Row(
    "From proposal to proof",
    (
        Panel(
            Kind.STAT,
            "Awaiting approval",
            "Proposed changes that wait for somebody who may approve them.",
            Unit.NUMBER,
            (Query(_count("AwaitingApproval")),),
            steps=(Step(None, "green", "none"), Step(1, "orange", "some")),
        ),
        Panel(
            Kind.STAT,
            "Under way",
            "Changes that AWS is making, or whose checks are awaited to pass.",
            Unit.NUMBER,
            (Query(_count(UNDER_WAY)),),
        ),
        Panel(
            Kind.STAT,
            "Applied",
            "Changes whose every named finding was seen to pass.",
            Unit.NUMBER,
            (Query(_count("Applied")),),
        ),
        Panel(
            Kind.STAT,
            "Failed or rolled back",
            "Approved changes that did not come to their end.",
            Unit.NUMBER,
            (Query(_count("Failed|RolledBack")),),
            steps=NONE_STEPS,
        ),
        Panel(
            Kind.BARS,
            "Funnel",
            "How many remediations are in which state.",
            Unit.NUMBER,
            (Query(f"sort_desc(sum by (state) ({_ALL}))", "{{state}}"),),
            width=12,
            height=8,
        ),
        Panel(
            Kind.SERIES,
            "States over time",
            "How many remediations were in which state.",
            Unit.NUMBER,
            (Query(f"sum by (state) ({_ALL})", "{{state}}"),),
            width=12,
            height=8,
            stacked=True,
        ),
        Panel(
            Kind.TABLE,
            "By policy and account",
            "Every policy and account with its remediations by phase and state.",
            Unit.NUMBER,
            (Query(_ALL),),
            width=24,
            height=8,
            columns=(
                *WHOSE,
                Column("phase", "Phase"),
                Column("state", "State"),
                Column("Value", "Remediations"),
            ),
            sort="Remediations",
        ),
    ),
)

_TIME = Row(
    "How long it takes",
    (
        Panel(
            Kind.BARS,
            "Half of them take less than",
            "The median time from being scheduled to the end, since the operator started, by outcome.",
            Unit.SECONDS,
            (Query(_quantile(0.5), "{{outcome}}"),),
            width=8,
            height=7,
        ),
        Panel(
            Kind.BARS,
            "Nineteen of twenty take less than",
            "The 95th percentile of the time from being scheduled to the end, by outcome.",
            Unit.SECONDS,
            (Query(_quantile(0.95), "{{outcome}}"),),
            width=8,
            height=7,
        ),
        Panel(
            Kind.SERIES,
            "Ended in the last hour",
            "How many remediations came to which end within the hour before.",
            Unit.NUMBER,
            (Query(f"sum by (outcome) (increase({SECONDS}_count[1h]))", "{{outcome}}"),),
            width=8,
            height=7,
        ),
    ),
)

_MONEY = Row(
    "Cost and trouble",
    (
        Panel(
            Kind.BARS,
            "Planned cost a month, by phase",
            "What the planned remediations cost a month; what depends on usage is not in it.",
            Unit.DOLLARS,
            (Query(f"sum by (phase) (max by ({POLICY}, phase) ({contract.PLAN_COST.name}{HERE}))", "{{phase}}"),),
            width=6,
            height=7,
        ),
        Panel(
            Kind.TABLE,
            "Planned cost a month, by account",
            "The same for every policy and account.",
            Unit.DOLLARS,
            (Query(f"sum by ({POLICY}) (max by ({POLICY}, phase) ({contract.PLAN_COST.name}{HERE}))"),),
            width=7,
            height=7,
            columns=(*WHOSE, Column("Value", "A month", Unit.DOLLARS)),
            sort="A month",
        ),
        Panel(
            Kind.TABLE,
            "Failed, rolled back or blocked",
            "Where somebody has to look. `kubectl describe rem` has AWS's reason.",
            Unit.NUMBER,
            (Query(_among(TROUBLE)),),
            width=11,
            height=7,
            columns=(
                *WHOSE,
                Column("phase", "Phase"),
                Column("state", "State"),
                Column("Value", "Remediations"),
            ),
        ),
    ),
)

REMEDIATION = Dashboard(
    uid="passmuster-remediation",
    title="Passmuster / Remediation",
    description="What is proposed, under way, done and failed, how long it takes, and what it costs.",
    variables=(NAMESPACE,),
    rows=(_FUNNEL, _TIME, _MONEY),
)
