"""What a check sees of an account: rows, gaps that surface by themselves, and three-valued logic over them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.inventory.call import Call, Request, Where
from passmuster.inventory.snapshot import (
    Gap,
    Reading,
    Snapshot,
    Unread,
    View,
    all_of,
    any_of,
    first_of,
    mark,
    seen,
    unmet,
)
from passmuster.model.errors import UndeclaredCall
from passmuster.model.verdict import Reason
from replay import ACCOUNT, NOW, REGION

VPCS = Call("ec2", "DescribeVpcs", items="Vpcs", keep=("VpcId",))
SUBNETS = Call("ec2", "DescribeSubnets", each=VPCS, over="VpcId", param="VpcId", items="Subnets")
ROLES = Call("iam", "ListRoles", items="Roles")
ALARMS = Call("cloudwatch", "DescribeAlarms", items="MetricAlarms", where=Where.CONTROL)
OTHER = "eu-west-1"


def gap(call: Call, request: Request, reason: Reason = Reason.DENIED) -> Gap:
    return Gap(call, request, reason, "AccessDenied", "", NOW)


def snapshot(**by_region: list[str] | None) -> Snapshot:
    """VPCs by region (with `_` for `-`), each with one subnet; None: they could not be read."""
    regions = tuple(name.replace("_", "-") for name in by_region)
    made = Snapshot(ACCOUNT, "aws", regions, "us-east-1", NOW)
    for region, vpcs in zip(regions, by_region.values(), strict=True):
        request = VPCS.root_request(region)
        if vpcs is None:
            made.put(VPCS, request, Reading(NOW, gap=gap(VPCS, request)))
            continue
        made.put(VPCS, request, Reading(NOW, tuple({"VpcId": vpc} for vpc in vpcs)))
        for vpc in vpcs:
            (asked,) = SUBNETS.requests({"VpcId": vpc}, request, region)
            made.put(SUBNETS, asked, Reading(NOW, ({"SubnetId": f"subnet-of-{vpc}"},)))
    return made


# rows -----------------------------------------------------------------------------------------------------------------


def test_rows_of_every_region_are_seen_by_an_account_wide_view_and_of_one_by_a_regional_one() -> None:
    made = snapshot(eu_central_1=["a"], eu_west_1=["b", "c"])
    assert [row["VpcId"] for row in View(made, (VPCS,)).rows(VPCS)] == ["a", "b", "c"]
    assert [row["VpcId"] for row in View(made, (VPCS,), OTHER).rows(VPCS)] == ["b", "c"]
    assert View(made, (VPCS,), OTHER).regions == (REGION, OTHER)


def test_what_was_read_comes_first_and_then_the_gap_is_raised() -> None:
    view, found = View(snapshot(eu_central_1=["a"], eu_west_1=None), (VPCS,)), []
    with pytest.raises(Unread) as unread:
        found.extend(row["VpcId"] for row in view.rows(VPCS))
    with pytest.raises(Unread):
        list(view.rows(VPCS))
    assert [gap.request.region for gap in unread.value.gaps] == [OTHER]
    assert str(unread.value) == "ec2:DescribeVpcs AccessDenied"


def test_a_verdict_that_needs_one_row_is_reached_before_the_gap() -> None:
    view = View(snapshot(eu_central_1=["a"], eu_west_1=None), (VPCS,))
    assert any(row["VpcId"] == "a" for row in view.rows(VPCS))
    assert not all(row["VpcId"] == "b" for row in view.rows(VPCS))
    with pytest.raises(Unread):
        any(row["VpcId"] == "b" for row in view.rows(VPCS))
    with pytest.raises(Unread):
        all(row["VpcId"] == "a" for row in view.rows(VPCS))


def test_the_rows_that_belong_to_a_row_are_those_it_led_to() -> None:
    view = View(snapshot(eu_central_1=["a", "b"]), (SUBNETS,))
    for vpc in view.rows(VPCS):
        (subnet,) = view.rows(SUBNETS, vpc)
        assert subnet["SubnetId"] == f"subnet-of-{vpc['VpcId']}"
        assert subnet.asked("VpcId") == vpc["VpcId"]
        assert subnet.asked("Nothing") is None
    assert view.row(SUBNETS, next(view.rows(VPCS))) is not None


def test_what_was_never_asked_is_a_gap_and_not_nothing() -> None:
    made = snapshot(eu_central_1=["a"])
    del made.readings[SUBNETS]
    with pytest.raises(Unread) as unread:
        list(View(made, (SUBNETS,)).rows(SUBNETS))
    assert [(one.reason, one.code) for one in unread.value.gaps] == [(Reason.STALE, "NotRead")]


def test_a_parent_that_could_not_be_read_is_a_gap_of_its_children() -> None:
    view = View(snapshot(eu_central_1=["a"], eu_west_1=None), (SUBNETS,))
    with pytest.raises(Unread) as unread:
        list(view.rows(SUBNETS))
    assert [one.call for one in unread.value.gaps] == [VPCS]


def test_the_first_row_is_none_only_where_it_is_known_that_there_is_none() -> None:
    assert View(snapshot(eu_central_1=[]), (VPCS,)).row(VPCS) is None
    with pytest.raises(Unread):
        View(snapshot(eu_central_1=None), (VPCS,)).row(VPCS)


def test_a_call_that_was_not_declared_may_not_be_read_and_a_parent_may() -> None:
    made = snapshot(eu_central_1=["a"])
    assert list(View(made, (SUBNETS,)).rows(VPCS))
    view = View(made, (VPCS,))
    with pytest.raises(UndeclaredCall, match="ec2:DescribeSubnets"):
        list(view.rows(SUBNETS))
    with pytest.raises(UndeclaredCall):
        view.origin(SUBNETS)
    with pytest.raises(UndeclaredCall, match="does not fan out from"):
        list(View(made, (SUBNETS, ROLES)).rows(ROLES, next(View(made, (VPCS,)).rows(VPCS))))


def test_rows_can_be_had_for_warnings_whatever_was_not_read() -> None:
    view = View(snapshot(eu_central_1=["a"], eu_west_1=None), (VPCS,))
    assert [row["VpcId"] for row in seen(view.rows(VPCS))] == ["a"]


def test_a_row_knows_where_it_was_read_and_shows_it() -> None:
    (row,) = View(snapshot(eu_central_1=["a"]), (VPCS,)).rows(VPCS)
    assert (row.region, row.origin.source, row.origin.observed_at) == (REGION, "ec2:DescribeVpcs", NOW)
    assert repr(row) == "<ec2:DescribeVpcs {'VpcId': 'a'}>"
    assert dict(row) == {"VpcId": "a"}
    assert row.get("Nothing") is None


# where ----------------------------------------------------------------------------------------------------------------


def test_a_global_call_is_read_once_and_a_control_call_in_the_control_region() -> None:
    made = snapshot(eu_central_1=[], eu_west_1=[])
    assert made.regions_of(VPCS) == (REGION, OTHER)
    assert made.regions_of(ROLES) == made.regions_of(ALARMS) == ("us-east-1",)
    made.put(ROLES, ROLES.root_request("us-east-1"), Reading(NOW, ({"RoleName": "r"},)))
    for region in (None, REGION, OTHER):
        assert len(list(View(made, (ROLES,), region).rows(ROLES))) == 1


def test_an_absence_has_an_origin() -> None:
    later = NOW + timedelta(minutes=5)
    made = snapshot(eu_central_1=[])
    made.taken_at = later
    origin = View(made, (SUBNETS,), REGION).origin(SUBNETS)
    assert (origin.source, origin.region, origin.observed_at) == ("ec2:DescribeSubnets", REGION, NOW)
    origin = View(made, (ROLES,)).origin(ROLES)
    assert (origin.region, origin.observed_at) == ("us-east-1", later)


def test_a_service_is_absent_in_a_view_only_if_it_is_in_all_of_its_regions() -> None:
    made = snapshot(eu_central_1=[], eu_west_1=[])
    absent = Reading(NOW, absent=Reason.NOT_IN_PARTITION)
    made.put(VPCS, VPCS.root_request(OTHER), absent)
    for call in (VPCS, SUBNETS):
        assert View(made, (SUBNETS,), OTHER).absent_everywhere(call, Reason.NOT_IN_PARTITION)
        assert not View(made, (SUBNETS,), REGION).absent_everywhere(call, Reason.NOT_IN_PARTITION)
        assert not View(made, (SUBNETS,)).absent_everywhere(call, Reason.NOT_IN_PARTITION)
    made.put(VPCS, VPCS.root_request(REGION), absent)
    assert View(made, (SUBNETS,)).absent_everywhere(SUBNETS, Reason.NOT_IN_PARTITION)
    assert not View(made, (SUBNETS,)).absent_everywhere(SUBNETS, Reason.NOTHING_OF_THAT_KIND)


def test_what_was_not_asked_at_all_is_not_absent() -> None:
    made = Snapshot(ACCOUNT, "aws", (REGION,), "us-east-1", NOW)
    assert not View(made, (VPCS,)).absent_everywhere(VPCS, Reason.NOT_IN_PARTITION)


def test_the_mark_of_a_billed_answer_tells_requests_and_kept_fields_apart() -> None:
    request = VPCS.root_request(REGION)
    asking = Call("ec2", "DescribeVpcs", items="Vpcs", keep=("VpcId",), args={"MaxResults": 5})
    marks = {
        mark(VPCS, request),
        mark(VPCS, VPCS.root_request(OTHER)),
        mark(Call("ec2", "DescribeVpcs", items="Vpcs"), request),
        mark(Call("ec2", "DescribeVpcs", keep=("VpcId",)), request),
        mark(asking, asking.root_request(REGION)),
    }
    assert len(marks) == 5
    assert mark(VPCS, request) == mark(VPCS, VPCS.root_request(REGION))


# subjects -------------------------------------------------------------------------------------------------------------


def test_what_one_subject_lacks_makes_that_subject_incomplete_and_no_other() -> None:
    made = snapshot(eu_central_1=["a", "b", "c"])
    (asked,) = SUBNETS.requests({"VpcId": "b"}, VPCS.root_request(REGION), REGION)
    made.put(SUBNETS, asked, Reading(NOW, gap=gap(SUBNETS, asked)))
    view, judged = View(made, (SUBNETS,), REGION), []
    for vpc in view.rows(VPCS):
        with view.judging(vpc["VpcId"], vpc.region):
            list(view.rows(SUBNETS, vpc))
            judged.append(vpc["VpcId"])
    assert judged == ["a", "c"]
    assert [(one.resource, one.region, len(one.gaps)) for one in view.incomplete] == [("b", REGION, 1)]


def test_a_block_swallows_nothing_but_what_could_not_be_read() -> None:
    view = View(snapshot(eu_central_1=[]), (VPCS,))
    with pytest.raises(ZeroDivisionError), view.judging("x"):
        raise ZeroDivisionError
    assert view.incomplete == []


# three-valued logic ---------------------------------------------------------------------------------------------------

Answers = list[bool | None]
ANSWERS = st.lists(st.sampled_from([True, False, None]), max_size=6)


def asks(answer: bool | None, number: int = 0) -> Callable[[], bool]:
    def question() -> bool:
        if answer is None:
            request = Request("ec2", "DescribeVpcs", REGION, (("n", number),))
            raise Unread([gap(VPCS, request)])
        return answer

    return question


def outcome(function: Callable[[], bool]) -> tuple[bool | None, int]:
    """The value, None where it is not known, and how many gaps were told."""
    try:
        return function(), 0
    except Unread as unread:
        return None, len(unread.gaps)


@given(ANSWERS)
def test_any_of_is_true_by_one_false_by_all_and_else_names_every_gap(answers: Answers) -> None:
    value, gaps = outcome(lambda: any_of(*(asks(a, n) for n, a in enumerate(answers))))
    if True in answers:
        assert value is True
    elif None in answers:
        assert (value, gaps) == (None, answers.count(None))
    else:
        assert value is False


@given(ANSWERS)
def test_all_of_is_false_by_one_true_by_all_and_else_names_every_gap(answers: Answers) -> None:
    value, gaps = outcome(lambda: all_of(*(asks(a, n) for n, a in enumerate(answers))))
    if False in answers:
        assert value is False
    elif None in answers:
        assert (value, gaps) == (None, answers.count(None))
    else:
        assert value is True


@given(ANSWERS)
def test_the_two_are_each_other_s_negation(answers: Answers) -> None:
    either = outcome(lambda: any_of(*(asks(a) for a in answers)))
    neither = outcome(lambda: all_of(*(asks(None if a is None else not a) for a in answers)))
    assert either == (None if neither[0] is None else not neither[0], neither[1])


@given(ANSWERS)
def test_the_first_of_candidates_is_found_past_a_gap_and_missed_by_none(answers: Answers) -> None:
    candidates = list(enumerate(answers))
    try:
        found = first_of(candidates, lambda one: asks(one[1])())
    except Unread as unread:
        assert True not in answers
        assert len(unread.gaps) == answers.count(None)  # noqa: PT017  # the value, not the error, is the subject
    else:
        assert found == next((one for one in candidates if one[1]), None)
        assert found is not None or None not in answers


@given(ANSWERS)
def test_conditions_that_are_observed_false_are_told_whatever_else_is_unknown(answers: Answers) -> None:
    conditions = {f"c{n}": asks(a, n) for n, a in enumerate(answers)}
    false = [f"c{n}" for n, a in enumerate(answers) if a is False]
    if false or None not in answers:
        assert unmet(conditions) == false
    else:
        with pytest.raises(Unread) as unread:
            unmet(conditions)
        assert len(unread.value.gaps) == answers.count(None)


@given(ANSWERS, st.data())
def test_knowing_more_never_turns_a_verdict(answers: Answers, data: st.DataObject) -> None:
    """The heart of `no false verdict`: whatever a gap hides, what was concluded despite it stays true."""
    known = [data.draw(st.booleans()) if answer is None else answer for answer in answers]
    for combine in (any_of, all_of):
        before, _ = outcome(lambda c=combine: c(*(asks(a) for a in answers)))  # type: ignore[misc]
        after, _ = outcome(lambda c=combine: c(*(asks(a) for a in known)))  # type: ignore[misc]
        assert before in (None, after)
