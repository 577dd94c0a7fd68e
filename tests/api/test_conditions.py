"""Conditions obey kstatus, and every reason that the code gives is one that is documented."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import passmuster
from passmuster.api.conditions import (
    ONLY_WHILE_TRUE,
    REASONS,
    Condition,
    ConditionReason,
    ConditionStatus,
    ConditionType,
    get,
    problems,
    set_condition,
)
from passmuster.model import errors

NOW = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
READY, STALLED, RECONCILING = ConditionType.READY, ConditionType.STALLED, ConditionType.RECONCILING
DONE, DENIED = ConditionReason.SUCCEEDED, ConditionReason.NAMESPACE_NOT_ALLOWED


def ready(**changes: Any) -> dict[str, Any]:
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "Inspected 73 checks in 4.2 s",
        "observedGeneration": 3,
        "lastTransitionTime": "2026-11-21T10:00:00Z",
    }
    return {**condition, **changes}


def test_the_transition_time_moves_only_when_the_status_changes() -> None:
    first = set_condition([], READY, True, DONE, "Inspected 73 checks", 1, NOW)
    again = set_condition(first, READY, True, DONE, "Inspected 74 checks", 2, NOW + timedelta(hours=1))
    fallen = set_condition(again, READY, False, DENIED, "The namespace may not", 2, NOW + timedelta(hours=2))
    times = [conditions[0].last_transition_time for conditions in (first, again, fallen)]
    assert times == [NOW.replace(microsecond=0)] * 2 + [NOW.replace(microsecond=0) + timedelta(hours=2)]
    assert [conditions[0].observed_generation for conditions in (first, again, fallen)] == [1, 2, 2]
    assert first[0].message == "Inspected 73 checks"


def test_setting_one_condition_leaves_the_others_and_the_argument_alone() -> None:
    first = set_condition([], READY, True, DONE, "Inspected 73 checks", 1, NOW)
    both = set_condition(first, ConditionType.COMPLIANT, None, ConditionReason.CHECKS_UNKNOWN, "One is Unknown", 1, NOW)
    assert [condition.type for condition in first] == [READY]
    assert [condition.type for condition in both] == [READY, ConditionType.COMPLIANT]
    compliant = get(both, ConditionType.COMPLIANT)
    assert compliant is not None
    assert compliant.status is ConditionStatus.UNKNOWN
    assert get(first, ConditionType.COMPLIANT) is None


@pytest.mark.parametrize("kind", sorted(ONLY_WHILE_TRUE))
@pytest.mark.parametrize("status", [False, None, ConditionStatus.FALSE, ConditionStatus.UNKNOWN])
def test_what_is_there_only_while_true_is_removed_otherwise(kind: ConditionType, status: bool | None) -> None:
    there = set_condition([], kind, True, DENIED, "The namespace may not", 1, NOW)
    assert [condition.type for condition in there] == [kind]
    assert set_condition(there, kind, status, DENIED, "The namespace may", 1, NOW) == []


def test_a_message_is_cut_rather_than_refused() -> None:
    condition = set_condition([], READY, True, DONE, "x" * 10_000, 1, NOW)[0]
    assert len(condition.message) <= 4096
    assert condition.message.endswith("…")


def test_a_condition_is_written_as_kubernetes_writes_its_own() -> None:
    condition = set_condition([], READY, True, DONE, "Inspected 73 checks in 4.2 s", 3, NOW)[0]
    assert condition.body() == ready()
    assert Condition.model_validate(condition.body()) == condition


def test_a_status_that_obeys_the_rules_has_no_problems() -> None:
    stalled = [
        ready(status="False", reason="NamespaceNotAllowed", message="The account does not admit the namespace"),
        ready(type="Stalled", reason="NamespaceNotAllowed", message="The account does not admit the namespace"),
    ]
    assert problems({"observedGeneration": 3, "conditions": [ready()]}, 3) == []
    assert problems({"observedGeneration": 3, "conditions": stalled}, 3) == []


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ([], "Ready is missing"),
        ([ready(), ready()], "Ready is there more than once"),
        ([ready(observedGeneration=2)], "Ready speaks of generation 2, not of 3"),
        ([ready(), ready(type="Fine")], "Fine: no such condition type"),
        ([ready(status=True)], "Ready: the status True is not True, False or Unknown"),
        ([ready(), ready(type="Stalled", status="False")], "Stalled: it is False; it must be absent unless True"),
        (
            [ready(), ready(type="Compliant", observedGeneration=4)],
            "Compliant: observedGeneration is 4, which is no generation up to 3",
        ),
        (
            [ready(), ready(type="Compliant", observedGeneration=None)],
            "Compliant: observedGeneration is None, which is no generation up to 3",
        ),
        ([ready(lastTransitionTime="today")], "Ready: lastTransitionTime is 'today', not a moment in UTC"),
        ([ready(reason="all good")], "Ready: the reason 'all good' is not CamelCase"),
        ([ready(reason="AllGood")], "Ready: the reason AllGood is not in the list of reasons"),
        ([ready(message="")], "Ready: the message is empty"),
        ([ready(message="Done")], "Ready: the message is a word, not a sentence: 'Done'"),
        (
            [ready(message="two\nlines")],
            "Ready: the message is not one sentence that begins with a capital letter or a number: 'two\\nlines'",
        ),
        ([ready(message="Traceback (most recent")], "Ready: the message is for programmers, not for people"),
        ([ready(), ready(type="Stalled")], "Ready is True beside Stalled"),
        (
            [ready(status="False"), ready(type="Stalled"), ready(type="Reconciling")],
            "Reconciling and Stalled: the operator either tries again or waits for somebody",
        ),
    ],
)
def test_a_status_that_breaks_a_rule_is_told_which(conditions: list[dict[str, Any]], said: str) -> None:
    assert said in problems({"observedGeneration": 3, "conditions": conditions}, 3)


def test_a_status_of_another_generation_is_a_problem() -> None:
    assert problems({"conditions": [ready()]}, 3) == ["status.observedGeneration is None, the generation is 3"]


def test_every_reason_says_when_it_is_set_and_who_acts() -> None:
    for reason in ConditionReason:
        assert REASONS[reason.value] is reason
        assert reason.value[0].isupper()
        assert reason.value.isalnum()
        assert " " in reason.when
        assert not reason.when.endswith(".")
        assert reason.who


REFUSALS = {"TenancyError", "ChangeRefused", "ChangeFailed", "ZoneRefused", "Blocked"}


def _reasons_in_the_code() -> Iterator[tuple[str, str]]:
    """First arguments of the errors and verdicts that become conditions, where they are plain text."""
    folder = Path(passmuster.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        if path.relative_to(folder).parts[0] == "sandbox":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in REFUSALS
                and node.args
            ):
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value, f"{path.relative_to(folder)}:{node.lineno}"


def test_every_reason_that_the_code_gives_is_in_the_list() -> None:
    assert [f"{where}: {reason}" for reason, where in _reasons_in_the_code() if reason not in REASONS] == []


@pytest.mark.parametrize("error", [errors.AccountError, *errors.AccountError.__subclasses__(), errors.WrongCredentials])
def test_every_error_about_an_account_has_a_reason_in_the_list(error: type[errors.PassmusterError]) -> None:
    assert error.reason in REASONS
