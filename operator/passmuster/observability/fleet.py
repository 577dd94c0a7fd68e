"""The dashboard Fleet: every account under every policy, for whoever answers for all of them."""

from __future__ import annotations

from passmuster.metrics import contract
from passmuster.observability.alerts import COVERED, EXPIRES_WITHIN
from passmuster.observability.panels import Column, Dashboard, Kind, Panel, Query, Row, Step, Unit, Variable
from passmuster.observability.queries import POLICY

HERE = '{policy_namespace=~"$namespace"}'
UID = "passmuster-fleet"

SCORE_STEPS = (Step(None, "red", "low"), Step(0.7, "orange", "middling"), Step(0.9, "green", "high"))
COVERAGE_STEPS = (Step(None, "red", "low"), Step(COVERED, "orange", "incomplete"), Step(1.0, "green", "complete"))
NONE_STEPS = (Step(None, "green", "none"), Step(1, "red", "some"))
MISSING_STEPS = (Step(None, "green", "reached"), Step(1, "orange", "missing"))
DAYS_LEFT = (
    Step(None, "red", "ends within days"),
    Step(3 * 86400, "orange", "ends soon"),
    Step(EXPIRES_WITHIN * 86400, "green", "later"),
)
AGE_STEPS = (Step(None, "green", "fresh"), Step(3 * 3600, "orange", "old"), Step(24 * 3600, "red", "very old"))

_PARTS = ", ".join(f'"{label}"' for label in contract.POLICY_LABELS)
WHOSE = (Column("policy_namespace", "Namespace"), Column("policy", "Policy"), Column("account_id", "Account"))
"""The columns that name one account under one policy."""


def _named(series: str) -> str:
    """The series with one label that names policy and account together."""
    return f'label_join({series}, "account", " / ", {_PARTS})'


def _by_policy(name: str) -> str:
    return f"max by ({POLICY}) ({name}{HERE})"


_CATEGORIES = f"max by (account, category) ({_named(f'{contract.CATEGORY.name}{HERE}')})"
_SCORES = _named(_by_policy(contract.SCORE.name))
_LEVELS = f"sum by (level) (max by ({POLICY}, level) ({contract.LEVEL.name}{HERE}))"
_INSPECTED = _by_policy(contract.INSPECTED.name)
_AGE = f"time() - {_INSPECTED}"
_DUE = _by_policy(contract.INTERVAL.name)
_STALE = f"count(({_AGE}) > 3 * {_DUE} or ({_DUE} unless {_INSPECTED})) or vector(0)"

_GLANCE = Row(
    "At a glance",
    (
        Panel(
            Kind.STAT,
            "Accounts",
            "Accounts under policies; an account under two policies counts twice.",
            Unit.NUMBER,
            (Query(f"count({_by_policy(contract.LEVEL_TARGET.name)})"),),
            width=4,
        ),
        Panel(
            Kind.STAT,
            "At the declared level",
            "How many of them have reached the level that their policy declares.",
            Unit.NUMBER,
            (Query(f"count({_by_policy(contract.LEVELS_MISSING.name)} == 0) or vector(0)"),),
            width=4,
        ),
        Panel(
            Kind.STAT,
            "Critical checks failing",
            "Failing checks of severity Critical, over all accounts.",
            Unit.NUMBER,
            (Query(f"sum({_by_policy(contract.CRITICAL.name)})"),),
            width=4,
            steps=NONE_STEPS,
        ),
        Panel(
            Kind.STAT,
            "Mean score",
            "The mean of all scores. Without a level it says little: one missing TLS listener still scores high.",
            Unit.RATIO,
            (Query(f"avg({_by_policy(contract.SCORE.name)})"),),
            width=4,
            steps=SCORE_STEPS,
        ),
        Panel(
            Kind.STAT,
            "Lowest coverage",
            "The account of which least could be judged; the rest of it is Unknown.",
            Unit.RATIO,
            (Query(f"min({_by_policy(contract.COVERAGE.name)})"),),
            width=4,
            steps=COVERAGE_STEPS,
        ),
        Panel(
            Kind.STAT,
            "Not inspected in time",
            "Accounts whose last inspection is older than three intervals of their policy, or that never had one.",
            Unit.NUMBER,
            (Query(_STALE),),
            width=4,
            steps=NONE_STEPS,
        ),
    ),
)

_ACCOUNTS = Row(
    "Accounts",
    (
        Panel(
            Kind.TABLE,
            "Account by category",
            "The score of every account in every category.",
            Unit.RATIO,
            (Query(_CATEGORIES),),
            width=24,
            height=8,
            steps=SCORE_STEPS,
            matrix=("account", "category"),
        ),
        Panel(
            Kind.BARS,
            "Worst ten",
            "The ten lowest scores, by policy and account.",
            Unit.RATIO,
            (Query(f"bottomk(10, {_SCORES})", "{{account}}"),),
            width=12,
            height=8,
            steps=SCORE_STEPS,
            highest=1.0,
        ),
        Panel(
            Kind.BARS,
            "Levels",
            "How many accounts have reached which level.",
            Unit.NUMBER,
            (Query(_LEVELS, "{{level}}"),),
            width=12,
            height=8,
        ),
        Panel(
            Kind.TABLE,
            "Every account",
            "Levels missing, score, coverage, failing Critical checks, and the age of the inspection.",
            Unit.NUMBER,
            (
                Query(_by_policy(contract.LEVELS_MISSING.name)),
                Query(_by_policy(contract.SCORE.name)),
                Query(_by_policy(contract.COVERAGE.name)),
                Query(_by_policy(contract.CRITICAL.name)),
                Query(_AGE),
            ),
            width=24,
            height=8,
            columns=(
                *WHOSE,
                Column("Value #A", "Levels missing", Unit.NUMBER, MISSING_STEPS),
                Column("Value #B", "Score", Unit.RATIO, SCORE_STEPS),
                Column("Value #C", "Coverage", Unit.RATIO, COVERAGE_STEPS),
                Column("Value #D", "Critical failing", Unit.NUMBER, NONE_STEPS),
                Column("Value #E", "Inspected before", Unit.SECONDS, AGE_STEPS),
            ),
            sort="Levels missing",
        ),
    ),
)


def _ending(title: str, description: str, grant: Column, series: str) -> Panel:
    """What people granted for a time, the next to end first."""
    return Panel(
        Kind.TABLE,
        title,
        description,
        Unit.SECONDS,
        (Query(f"max by ({POLICY}, check, {grant.field}) ({series}{HERE}) - time()"),),
        width=12,
        height=7,
        columns=(
            *WHOSE,
            Column("check", "Check", link="checks/${__value.text}/"),
            grant,
            Column("Value", "Ends in", Unit.SECONDS, DAYS_LEFT),
        ),
        sort="-Ends in",
    )


_TIME = Row(
    "Over time",
    (
        Panel(
            Kind.SERIES,
            "Scores",
            "The score of every account. It is the trend; the level is the verdict.",
            Unit.RATIO,
            (Query(_SCORES, "{{account}}"),),
            width=12,
            height=8,
            highest=1.0,
        ),
        Panel(
            Kind.SERIES,
            "Levels reached",
            "How many accounts stand at which level.",
            Unit.NUMBER,
            (Query(_LEVELS, "{{level}}"),),
            width=12,
            height=8,
            stacked=True,
        ),
        _ending(
            "Waivers by their end",
            "Waivers that count now. When one ends, the failures it accepts count again.",
            Column("waiver", "Waiver"),
            contract.WAIVER_EXPIRY.name,
        ),
        _ending(
            "Attestations by their end",
            "Attestations that count now. When one ends, its check is judged by what AWS shows.",
            Column("attestation", "Attestation"),
            contract.ATTESTATION_EXPIRY.name,
        ),
        Panel(
            Kind.TABLE,
            "Accounts that let the operator in",
            "Whether the role of an AWSAccount was accepted the last time it was tried.",
            Unit.NUMBER,
            (Query(f"max by (account, account_id) ({contract.CREDENTIALS.name})"),),
            width=24,
            height=5,
            words={1: ("✔ valid", "green"), 0: ("✖ refused", "red")},
            columns=(Column("account", "AWSAccount"), Column("account_id", "Account"), Column("Value", "Credentials")),
        ),
    ),
)

NAMESPACE = Variable("namespace", "Namespace", "policy_namespace", contract.LEVEL_TARGET.name, several=True)

FLEET = Dashboard(
    uid=UID,
    title="Passmuster / Fleet",
    description="Every account under every policy: levels, scores, coverage, and what ends soon.",
    variables=(NAMESPACE,),
    rows=(_GLANCE, _ACCOUNTS, _TIME),
)
