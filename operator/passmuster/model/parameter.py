"""Typed parameters of checks: their kind, default, and which direction is stricter.

A check declares them beside its logic; the CRD generator turns them into schema properties, assess resolves a
policy's values against the account's floors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The shape of a parameter's value."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    STRING = "string"
    STRINGS = "strings"
    INTEGERS = "integers"
    CHOICE = "choice"
    STRING_MAP = "stringMap"
    STRING_LISTS = "stringLists"
    METRICS = "metrics"
    QUANTITIES = "quantities"


class Stricter(StrEnum):
    """Which of two values demands more."""

    LOWER = "lower"
    HIGHER = "higher"
    MORE = "more"
    FEWER = "fewer"
    LATER = "later"
    TRUE = "true"
    SAME = "same"


Value = Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of one check.

    `default` is what holds when neither policy nor account says anything; `choices` lists a choice from the loosest
    to the strictest; `minimum` and `maximum` bound numbers; `max_length` bounds strings, `pattern` is what they look
    like from ^ to $ ("" anything), and `expression` says that they are regular expressions. Of quantities `choices` are
    the names that may have one.

    Of a list whose direction is `MORE`: with `empty_is_all` an empty one asks for everything, and with `prefixes` an
    entry that ends with * asks for whatever begins like it.
    """

    name: str
    kind: Kind
    default: Value
    stricter: Stricter
    description: str
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    max_items: int = 50
    max_length: int = 256
    pattern: str = ""
    expression: bool = False
    empty_is_all: bool = False
    prefixes: bool = False

    def at_least_as_strict(self, value: Value, floor: Value) -> bool:
        """Whether `value` demands at least what `floor` demands; parameters without a direction always do."""
        match self.stricter:
            case Stricter.LOWER:
                return bool(value <= floor)
            case Stricter.HIGHER:
                return bool(value >= floor)
            case Stricter.MORE if self.empty_is_all and not (value and floor):
                return not value
            case Stricter.MORE if self.prefixes:
                return all(any(_covers(one, wanted) for one in value) for wanted in floor)
            case Stricter.MORE:
                return _members(floor) <= _members(value)
            case Stricter.FEWER:
                return _members(value) <= _members(floor)
            case Stricter.LATER:
                return self.choices.index(value) >= self.choices.index(floor)
            case Stricter.TRUE:
                return bool(value) or not floor
            case Stricter.SAME:
                return True


def _members(value: Value) -> set[str]:
    """What a list or a map holds, comparably; an entry of a map is its key with its value."""
    members = value.items() if isinstance(value, Mapping) else value
    return {repr(sorted(one.items()) if isinstance(one, Mapping) else one) for one in members}


def _covers(entry: str, wanted: str) -> bool:
    """Whether what an entry of a list of names and beginnings asks for includes what another one does."""
    return entry == wanted or (entry.endswith("*") and wanted.startswith(entry[:-1]))


@dataclass(frozen=True, slots=True)
class Raised:
    """A parameter that the account's floor made stricter than the policy asked."""

    check: str
    parameter: str
    asked: Value
    floor: Value

    def __str__(self) -> str:
        return (
            f"{self.check}.{self.parameter}: {self.asked!r} is looser than the account allows, {self.floor!r} is used"
        )


class Parameters(Mapping[str, Value]):
    """The resolved parameters of one check: defaults, then the policy's values, then the account's floors."""

    __slots__ = ("_values", "raised")

    def __init__(self, values: Mapping[str, Value], raised: tuple[Raised, ...] = ()) -> None:
        self._values = dict(values)
        self.raised = raised

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def matches(self, name: str, text: str) -> bool:
        """Whether any pattern of a list parameter is found in the text."""
        return any(re.search(pattern, text) for pattern in self._values[name])


def resolve(
    check: str, declared: tuple[Parameter, ...], asked: Mapping[str, Value], floors: Mapping[str, Value]
) -> Parameters:
    """Defaults, overridden by what the policy asks, never looser than the account's floor."""
    values: dict[str, Value] = {}
    raised: list[Raised] = []
    for parameter in declared:
        value = asked.get(parameter.name, parameter.default)
        floor = floors.get(parameter.name)
        if floor is not None and (value is None or not parameter.at_least_as_strict(value, floor)):
            if parameter.name in asked:
                raised.append(Raised(check, parameter.name, value, floor))
            value = floor
        values[parameter.name] = value
    return Parameters(values, tuple(raised))
