"""What changed between two inspections, and what is not concluded from what was not seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

import reports
from passmuster.assess.changes import ABSENT, DISABLED, Moved, Sighting, compare
from passmuster.model.report import CheckResult, Inspection, Report
from passmuster.model.verdict import Status
from replay import ACCOUNT, NOW, REGION

BEFORE = Inspection("01BEFORE", NOW - timedelta(hours=1), 1.0, 10)


def _before(*results: CheckResult) -> Report:
    return reports.report(results, inspection=BEFORE)


def _result(check_id: str, *numbers: int, status: Status = Status.PASS, **changes: bool | int) -> CheckResult:
    return reports.result(check_id, *(reports.finding(n, status) for n in numbers), **changes)


def _resource(number: int) -> str:
    return f"{reports.LISTENER}/{number}"


def test_two_equal_reports_differ_in_nothing() -> None:
    report = reports.report([_result("https-redirect", 80, status=Status.FAIL), _result("custom-domain", 81)])
    changes = compare(report, report)
    assert not changes
    assert (changes.checks, changes.appeared, changes.gone) == ((), (), ())


def test_checks_move_between_all_standings() -> None:
    old = _before(
        _result("a", 1),
        _result("b", 2, status=Status.FAIL),
        _result("c", 3),
        _result("d", 4),
        _result("e", 5, status=Status.FAIL),
        _result("gone", 6),
    )
    new = reports.report(
        [
            _result("a", 1, status=Status.FAIL),
            _result("b", 2),
            _result("c", 3, status=Status.UNKNOWN),
            _result("d", status=Status.NOT_APPLICABLE),
            _result("e", 5, status=Status.FAIL, disabled=True),
            _result("new", 7),
        ]
    )
    changes = compare(old, new)
    assert changes.newly("Fail") == (Moved("a", "Pass", "Fail"),)
    assert changes.newly("Pass") == (Moved("b", "Fail", "Pass"), Moved("new", ABSENT, "Pass"))
    assert changes.newly("Unknown") == (Moved("c", "Pass", "Unknown"),)
    assert changes.newly(DISABLED) == (Moved("e", "Fail", DISABLED),)
    assert changes.newly(ABSENT) == (Moved("gone", "Pass", ABSENT),)


def test_level_and_score_stand_before_and_after() -> None:
    changes = compare(_before(_result("a", 1, status=Status.FAIL)), reports.report([_result("a", 1)]))
    assert changes
    assert (changes.before.score, changes.score_after) == (0.0, 100.0)
    assert changes.before.level != changes.level_after
    assert changes.before.inspection == "01BEFORE"
    assert changes.found_at == NOW


def test_resources_appear_and_go() -> None:
    changes = compare(_before(_result("a", 1, 2)), reports.report([_result("a", 2, 3)]))
    assert changes.appeared == (Sighting("a", REGION, _resource(3)),)
    assert changes.gone == (Sighting("a", REGION, _resource(1)),)


def test_a_resource_that_another_check_still_names_is_not_gone() -> None:
    old = _before(_result("a", 1), _result("b", 1))
    new = reports.report([_result("a", status=Status.NOT_APPLICABLE), _result("b", 1)])
    assert compare(old, new).gone == ()


def test_what_could_not_be_listed_is_not_gone() -> None:
    denied = replace(reports.finding(0, Status.UNKNOWN), resource=ACCOUNT)
    new = reports.report([reports.result("a", denied)])
    assert compare(_before(_result("a", 1, 2)), new).gone == ()


def test_what_a_digest_left_out_has_not_appeared() -> None:
    old = _before(_result("a", 1, truncated=3))
    assert compare(old, reports.report([_result("a", 1, 2, 3, 4)])).appeared == ()


def test_a_check_that_is_judged_again_brings_no_new_resources() -> None:
    old = _before(_result("a", 1, disabled=True))
    assert compare(old, reports.report([_result("a", 1, 2)])).appeared == ()


def test_the_account_itself_is_no_resource() -> None:
    whole = replace(reports.finding(0), resource=ACCOUNT)
    changes = compare(_before(reports.result("a", whole)), reports.report([_result("a", 1)]))
    assert changes.gone == ()


SOME = st.lists(st.tuples(st.sampled_from("abcdef"), st.sets(st.integers(0, 5), min_size=1)), unique_by=lambda r: r[0])


@given(SOME, SOME)
def test_a_comparison_backwards_is_the_same_in_the_other_direction(
    first: list[tuple[str, set[int]]], second: list[tuple[str, set[int]]]
) -> None:
    old, new = (reports.report([_result(name, *sorted(numbers)) for name, numbers in one]) for one in (first, second))
    there, back = compare(old, new), compare(new, old)
    assert {(m.id, m.before, m.after) for m in there.checks} == {(m.id, m.after, m.before) for m in back.checks}
    assert {s.resource for s in there.appeared} == {s.resource for s in back.gone}
    assert bool(there) == bool(back)
