"""Floors: a policy may be stricter than its account demands, and never looser."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter, resolve

CASES = [
    (Kind.INTEGER, Stricter.LOWER, 10, [5, 10], [11]),
    (Kind.INTEGER, Stricter.HIGHER, 10, [10, 11], [9]),
    (Kind.NUMBER, Stricter.LOWER, 1.5, [1, 1.5], [1.6]),
    (Kind.BOOLEAN, Stricter.TRUE, True, [True], [False]),
    (Kind.BOOLEAN, Stricter.TRUE, False, [True, False], []),
    (Kind.CHOICE, Stricter.LATER, "some", ["some", "all"], ["none"]),
    (Kind.STRINGS, Stricter.MORE, ["a"], [["a"], ["b", "a"]], [[], ["b"]]),
    (Kind.INTEGERS, Stricter.FEWER, [80, 443], [[443], []], [[22], [80, 443, 22]]),
    (Kind.STRING_MAP, Stricter.MORE, {"Env": "^prod$"}, [{"Env": "^prod$", "Owner": "."}], [{}, {"Env": ".*"}]),
    (Kind.STRING_MAP, Stricter.FEWER, {"tool": "tf"}, [{}, {"tool": "tf"}], [{"tool": "*"}, {"any": "tf"}]),
    (Kind.STRING_LISTS, Stricter.MORE, {"a": ["x"]}, [{"a": ["x"], "b": []}], [{"a": []}]),
    (
        Kind.METRICS,
        Stricter.MORE,
        [{"namespace": "Shop", "name": "Orders"}],
        [[{"name": "Orders", "namespace": "Shop"}, {"namespace": "Shop", "name": "Carts"}]],
        [[], [{"namespace": "Shop", "name": "Carts"}]],
    ),
]


def parameter(kind: Kind, stricter: Stricter, default: Any = None) -> Parameter:
    choices = ("none", "some", "all") if kind is Kind.CHOICE else ()
    return Parameter("value", kind, default, stricter, "A value.", choices=choices)


@pytest.mark.parametrize(("kind", "stricter", "floor", "allowed", "refused"), CASES)
def test_a_value_below_the_floor_is_replaced_by_it_and_any_other_stands(
    kind: Kind, stricter: Stricter, floor: Any, allowed: list[Any], refused: list[Any]
) -> None:
    one = parameter(kind, stricter)
    for value in allowed:
        found = resolve("a-check", (one,), {"value": value}, {"value": floor})
        assert (found["value"], found.raised) == (value, ())
    for value in refused:
        found = resolve("a-check", (one,), {"value": value}, {"value": floor})
        assert found["value"] == floor
        assert [(raised.asked, raised.floor) for raised in found.raised] == [(value, floor)]
        assert "looser than the account allows" in str(found.raised[0])


@pytest.mark.parametrize(
    ("floor", "allowed", "refused"),
    [
        (["logs"], [["logs"], ["*"], ["lo*"], ["a", "logs*"]], [[], ["log"], ["logs-a*"]]),
        (["logs*"], [["logs*"], ["*"], ["l*"]], [["logs"], ["logs-a*"]]),
        (["*"], [["*"], ["*", "logs"]], [["logs"], ["l*"]]),
        ([], [[], ["logs"], ["*"]], []),
    ],
)
def test_a_beginning_demands_whatever_begins_like_it(
    floor: list[str], allowed: list[list[str]], refused: list[list[str]]
) -> None:
    one = Parameter("value", Kind.STRINGS, ["*"], Stricter.MORE, "A value.", prefixes=True)
    assert [value for value in allowed if not one.at_least_as_strict(value, floor)] == []
    assert [value for value in refused if one.at_least_as_strict(value, floor)] == []
    assert one.at_least_as_strict(resolve("c", (one,), {}, {"value": floor})["value"], ["*"]), "the default demands all"


@pytest.mark.parametrize(
    ("floor", "allowed", "refused"),
    [(["a"], [[], ["a"], ["a", "b"]], [["b"]]), ([], [[]], [["a"], ["a", "b"]])],
)
def test_an_empty_list_may_demand_everything(
    floor: list[str], allowed: list[list[str]], refused: list[list[str]]
) -> None:
    one = Parameter("value", Kind.STRINGS, [], Stricter.MORE, "A value.", empty_is_all=True)
    assert [value for value in allowed if not one.at_least_as_strict(value, floor)] == []
    assert [value for value in refused if one.at_least_as_strict(value, floor)] == []
    assert resolve("c", (one,), {}, {"value": floor})["value"] == []


def test_a_parameter_that_nobody_sets_has_its_default_or_the_floor() -> None:
    one = parameter(Kind.INTEGER, Stricter.LOWER, 30)
    assert resolve("c", (one,), {}, {})["value"] == 30
    assert resolve("c", (one,), {}, {"value": 20})["value"] == 20
    assert resolve("c", (one,), {}, {"value": 40})["value"] == 30
    unset = parameter(Kind.INTEGER, Stricter.LOWER)
    assert resolve("c", (unset,), {}, {"value": 20})["value"] == 20


def test_a_parameter_without_a_direction_is_the_policy_s_own() -> None:
    one = parameter(Kind.STRING, Stricter.SAME)
    assert resolve("c", (one,), {"value": "mine"}, {"value": "theirs"})["value"] == "mine"


@given(st.integers(), st.integers())
def test_the_value_used_is_never_looser_than_the_floor(asked: int, floor: int) -> None:
    for stricter in (Stricter.LOWER, Stricter.HIGHER):
        one = parameter(Kind.INTEGER, stricter)
        assert one.at_least_as_strict(resolve("c", (one,), {"value": asked}, {"value": floor})["value"], floor)


def test_a_list_of_patterns_matches_a_text_in_which_one_is_found() -> None:
    parameters = Parameters({"patterns": ["(?i)secret", "^key$"]})
    assert parameters.matches("patterns", "MY_SECRET")
    assert not parameters.matches("patterns", "monkey")
    assert len(parameters) == 1
