"""Score, coverage, level and compliance: the rules of the catalogue as examples, and what must hold for any account."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.assess import scoring
from passmuster.assess.assessment import status_of
from passmuster.model.finding import Finding
from passmuster.model.report import CheckResult
from passmuster.model.verdict import Category, Phase, Severity, Status, level_order

PASS, FAIL, UNKNOWN, ABSENT = Status.PASS, Status.FAIL, Status.UNKNOWN, Status.NOT_APPLICABLE


def result(
    status: Status,
    severity: Severity = Severity.MEDIUM,
    phase: Phase = Phase.FOUNDATION,
    name: str = "a-check",
    category: Category = Category.SECURITY,
    also: tuple[Category, ...] = (),
    *,
    disabled: bool = False,
    leave: bool = False,
    waived: int = 0,
) -> CheckResult:
    return CheckResult(
        id=name,
        title=name,
        category=category,
        phase=phase,
        severity=severity,
        fix=(),
        status=ABSENT if disabled else status,
        findings=(),
        categories=(category, *also),
        disabled=disabled,
        disabled_with_leave=disabled and leave,
        waived=waived,
    )


@st.composite
def results(draw: st.DrawFn, least: int = 0) -> list[CheckResult]:
    """Any verdicts on any account, one for each check."""
    found = []
    for number in range(draw(st.integers(least, 25))):
        status = draw(st.sampled_from(Status))
        disabled = draw(st.sampled_from([False, False, False, True]))
        found.append(
            result(
                status,
                draw(st.sampled_from(Severity)),
                draw(st.sampled_from(Phase)),
                f"check-{number}",
                draw(st.sampled_from(Category)),
                disabled=disabled,
                leave=draw(st.booleans()),
                waived=draw(st.integers(0, 2)) if status is not ABSENT and not disabled else 0,
            )
        )
    return found


def turned(members: list[CheckResult], position: int, status: Status) -> list[CheckResult]:
    changed = list(members)
    changed[position] = replace(members[position], status=status, waived=0)
    return changed


# a check's status -----------------------------------------------------------------------------------------------------


def finding(status: Status, *, waived: bool = False) -> Finding:
    return Finding(status, "r", "m", "eu-west-1", "ec2:DescribeVpcs", waived_by="w" if waived else None)


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([PASS], PASS),
        ([PASS, FAIL], FAIL),
        ([UNKNOWN, PASS], UNKNOWN),
        ([UNKNOWN, FAIL], FAIL),
        ([ABSENT, PASS], PASS),
        ([ABSENT, UNKNOWN], UNKNOWN),
        ([ABSENT, ABSENT], ABSENT),
        ([], ABSENT),
    ],
)
def test_a_failure_counts_first_then_what_is_unknown_then_what_passes(findings: list[Status], status: Status) -> None:
    assert status_of(finding(one) for one in findings) is status


def test_a_check_whose_failures_are_all_waived_passes_unless_something_is_unknown() -> None:
    waived = finding(FAIL, waived=True)
    assert status_of([waived, waived]) is PASS
    assert status_of([waived, finding(ABSENT)]) is PASS
    assert status_of([waived, finding(UNKNOWN)]) is UNKNOWN
    assert status_of([waived, finding(FAIL)]) is FAIL


@given(st.lists(st.sampled_from(Status), min_size=1))
def test_the_order_of_findings_does_not_matter(statuses: list[Status]) -> None:
    assert status_of(map(finding, statuses)) is status_of(map(finding, reversed(statuses)))


# the score ------------------------------------------------------------------------------------------------------------


def test_the_score_is_the_share_of_the_weights_that_pass() -> None:
    members = [
        result(PASS, Severity.CRITICAL),
        result(FAIL, Severity.HIGH),
        result(PASS, Severity.MEDIUM),
        result(FAIL, Severity.LOW),
    ]
    assert scoring.score(members) == round(100 * (10 + 3) / (10 + 5 + 3 + 1), 1) == 68.4


@pytest.mark.parametrize(("severity", "weight"), list(zip(Severity, [10, 5, 3, 1], strict=True)))
def test_the_weights_are_those_of_the_catalogue(severity: Severity, weight: int) -> None:
    assert severity.weight == weight
    one = [result(PASS, severity), result(FAIL, Severity.LOW)]
    assert scoring.score(one) == round(100 * weight / (weight + 1), 1)


@pytest.mark.parametrize(
    "neutral",
    [
        result(ABSENT, Severity.CRITICAL),
        result(FAIL, Severity.CRITICAL, disabled=True),
        result(PASS, Severity.CRITICAL, waived=2),
    ],
    ids=["not applicable", "disabled", "passing by waiver"],
)
def test_what_does_not_count_is_in_neither_sum(neutral: CheckResult) -> None:
    members = [result(PASS, Severity.HIGH), result(FAIL, Severity.HIGH)]
    assert scoring.score([*members, neutral]) == scoring.score(members) == 50.0


def test_a_check_that_fails_beside_a_waived_failure_fails() -> None:
    assert scoring.score([result(PASS), result(FAIL, waived=1)]) == 50.0


@pytest.mark.parametrize("members", [[], [result(ABSENT)], [result(FAIL, disabled=True)], [result(PASS, waived=1)]])
def test_with_nothing_to_judge_there_is_no_score_and_neither_0_nor_100(members: list[CheckResult]) -> None:
    assert scoring.score(members) is None


@pytest.mark.parametrize(
    ("unknown", "known", "score"), [(0, 10, 100.0), (1, 9, 100.0), (2, 8, 100.0), (3, 7, None), (10, 0, None)]
)
def test_with_less_than_80_percent_known_there_is_no_score(unknown: int, known: int, score: float | None) -> None:
    members = [result(UNKNOWN)] * unknown + [result(PASS)] * known
    assert scoring.coverage(members) == 10.0 * known
    assert scoring.score(members) == score


def test_coverage_leaves_disabled_checks_out_and_counts_what_is_not_applicable() -> None:
    members = [result(UNKNOWN), result(ABSENT), result(PASS), result(FAIL, disabled=True)]
    assert scoring.coverage(members) == 66.7
    assert scoring.coverage([result(FAIL, disabled=True)]) is None


@given(results())
def test_score_and_coverage_are_percentages_with_one_decimal_or_nothing(members: list[CheckResult]) -> None:
    for value in (scoring.score(members), scoring.coverage(members)):
        assert value is None or (0 <= value <= 100 and value == round(value, 1))
    if scoring.score(members) is not None:
        assert (scoring.coverage(members) or 0) >= 80


@given(results(least=1), st.data())
def test_mending_a_failure_never_lowers_score_or_level(members: list[CheckResult], data: st.DataObject) -> None:
    failing = [n for n, one in enumerate(members) if one.status is FAIL]
    if not failing:
        return
    after = turned(members, data.draw(st.sampled_from(failing)), PASS)
    before_score, after_score = scoring.score(members), scoring.score(after)
    assert (before_score is None) == (after_score is None)
    assert before_score is None or after_score is None or after_score >= before_score
    assert level_order(scoring.level(after)) >= level_order(scoring.level(members))
    assert scoring.critical_failing(after) <= scoring.critical_failing(members)


@given(results(least=1), st.data())
def test_what_is_unknown_never_raises_the_level(members: list[CheckResult], data: st.DataObject) -> None:
    enabled = [n for n, one in enumerate(members) if not one.disabled]
    if not enabled:
        return
    after = turned(members, data.draw(st.sampled_from(enabled)), UNKNOWN)
    assert level_order(scoring.level(after)) <= level_order(scoring.level(members))
    assert (scoring.coverage(after) or 0) <= (scoring.coverage(members) or 0)


@given(results(), st.randoms())
def test_the_order_of_checks_does_not_matter(members: list[CheckResult], shuffle: object) -> None:
    mixed = list(members)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    assert scoring.score(mixed) == scoring.score(members)
    assert scoring.level(mixed) == scoring.level(members)
    assert scoring.counts(mixed) == scoring.counts(members)
    assert scoring.phases(mixed) == scoring.phases(members)


# counts, categories, phases -------------------------------------------------------------------------------------------


def test_a_check_counts_as_waived_only_where_it_passes_by_waiver() -> None:
    counts = scoring.counts([result(PASS, waived=1), result(FAIL, waived=1), result(UNKNOWN, waived=1), result(PASS)])
    assert (counts.waived, counts.passed, counts.failed, counts.unknown) == (1, 2, 1, 1)


@given(results())
def test_every_check_is_in_exactly_one_count(members: list[CheckResult]) -> None:
    counts = scoring.counts(members)
    parts = (counts.passed, counts.failed, counts.unknown, counts.not_applicable, counts.disabled)
    assert sum(parts) == len(members)
    assert counts.waived <= counts.passed


def test_a_check_shown_in_two_categories_is_scored_in_both_and_counted_once_in_the_total() -> None:
    cost = result(FAIL, name="cost-monitoring", category=Category.COST, also=(Category.MONITORING,))
    members = [cost, result(PASS, name="other", category=Category.MONITORING)]
    by_category = {score.category: score for score in scoring.categories(members)}
    assert set(by_category) == {Category.COST, Category.MONITORING}
    assert by_category[Category.COST].score == 0.0
    assert by_category[Category.MONITORING].score == 50.0
    assert by_category[Category.MONITORING].counts.failed == 1
    assert scoring.counts(members).failed == 1
    assert scoring.score(members) == 50.0


def test_a_phase_is_complete_by_what_passes_or_does_not_apply_of_what_is_enabled() -> None:
    members = [
        result(PASS, phase=Phase.PRODUCTION, name="passes"),
        result(ABSENT, phase=Phase.PRODUCTION, name="absent"),
        result(FAIL, Severity.LOW, Phase.PRODUCTION, "fails-a-little"),
        result(UNKNOWN, Severity.CRITICAL, Phase.PRODUCTION, "unknown"),
        result(FAIL, phase=Phase.PRODUCTION, name="disabled", disabled=True),
        result(FAIL, phase=Phase.PRODUCTION, name="with-leave", disabled=True, leave=True),
    ]
    production = scoring.phases(members)[1]
    assert production.phase is Phase.PRODUCTION
    assert production.complete == 50.0
    assert production.missing == ("unknown", "disabled", "fails-a-little"), "gravest first"
    assert scoring.phases(members)[0].complete is None


@given(results())
def test_a_phase_without_anything_missing_lets_the_level_pass(members: list[CheckResult]) -> None:
    reached = level_order(scoring.level(members))
    for progress in scoring.phases(members):
        if progress.phase.order <= reached:
            assert progress.missing == ()
    if reached < Phase.ENTERPRISE.order:
        assert scoring.phases(members)[reached + 1].missing


# the level ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holding", "level"),
    [
        (result(FAIL, phase=Phase.PRODUCTION), "Foundation"),
        (result(UNKNOWN, phase=Phase.PRODUCTION), "Foundation"),
        (result(FAIL, phase=Phase.FOUNDATION), "None"),
        (result(FAIL, phase=Phase.ENTERPRISE), "Hardened"),
        (result(ABSENT, phase=Phase.PRODUCTION), "Enterprise"),
        (result(PASS, phase=Phase.PRODUCTION, waived=1), "Enterprise"),
        (result(FAIL, phase=Phase.STABLE, disabled=True), "Production"),
        (result(FAIL, phase=Phase.STABLE, disabled=True, leave=True), "Enterprise"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status} {value.phase} disabled={value.disabled}",
)
def test_the_level_is_the_highest_below_which_nothing_is_missing(holding: CheckResult, level: str) -> None:
    rest = [result(PASS, phase=phase, name=f"in-{phase.lower()}") for phase in Phase]
    assert scoring.level([*rest, holding]) == level


def test_a_failure_in_an_early_phase_is_not_made_up_for_by_later_ones() -> None:
    members = [result(FAIL, phase=Phase.FOUNDATION), *(result(PASS, phase=p) for p in list(Phase)[1:])]
    assert scoring.level(members) == "None"
    assert (scoring.score(members) or 0) > 75


# compliance -----------------------------------------------------------------------------------------------------------


def judged(
    members: list[CheckResult], declared: Phase = Phase.PRODUCTION, minimum: float | None = None
) -> scoring.Compliance:
    return scoring.compliance(members, declared, scoring.level(members), scoring.score(members), minimum)


@pytest.mark.parametrize(
    ("members", "minimum", "met", "reason"),
    [
        ([result(PASS)], None, True, "LevelReached"),
        ([result(PASS), result(FAIL, phase=Phase.STABLE)], None, True, "LevelReached"),
        ([result(FAIL), result(UNKNOWN)], None, False, "ChecksFailing"),
        ([result(PASS), result(PASS, disabled=True)], None, False, "ChecksDisabled"),
        ([result(PASS), result(PASS, disabled=True, leave=True)], None, True, "LevelReached"),
        ([result(PASS)] * 9 + [result(UNKNOWN)], None, None, "ChecksUnknown"),
        ([result(PASS), result(FAIL, phase=Phase.STABLE)], 80.0, False, "ScoreBelowMinimum"),
        ([result(PASS), result(FAIL, phase=Phase.STABLE)], 50.0, True, "LevelReached"),
        ([result(ABSENT)], 50.0, None, "NoScore"),
    ],
)
def test_compliance_says_what_stands_in_the_way(
    members: list[CheckResult], minimum: float | None, met: bool | None, reason: str
) -> None:
    verdict = judged(members, minimum=minimum)
    assert (verdict.met, verdict.reason) == (met, reason)
    assert verdict.message
    assert not verdict.message.endswith(".")


@given(results(), st.sampled_from(Phase), st.none() | st.floats(0, 100))
def test_compliant_means_that_nothing_fails_is_unknown_or_barred_up_to_the_declared_level(
    members: list[CheckResult], declared: Phase, minimum: float | None
) -> None:
    verdict = judged(members, declared, minimum)
    within = [one for one in members if one.phase in declared.up_to()]
    points = scoring.score(members)
    if verdict.met is True:
        assert not any(one.holds_level_back for one in within)
        assert level_order(scoring.level(members)) >= declared.order
        assert minimum is None or (points is not None and points >= minimum)
    elif verdict.met is False:
        failing = any(one.status is FAIL and not one.disabled for one in within)
        barred = any(one.disabled and not one.disabled_with_leave for one in within)
        assert failing or barred or (minimum is not None and points is not None and points < minimum)
    else:
        assert not any(one.status is FAIL and not one.disabled for one in within)
