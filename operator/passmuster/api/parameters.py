"""A typed parameter as a property of a custom resource, and what is wrong with a value for it.

The schema side is used by `schema`, the value side by `manifest`; both are by the parameter's kind, so they stand side
by side. The parameters themselves are declared by checks and by remediations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import isfinite
from typing import Any

from passmuster.model.parameter import Kind, Parameter, Stricter

JSONSchema = dict[str, Any]

_DIRECTION = {
    Stricter.LOWER: "lower is stricter",
    Stricter.HIGHER: "higher is stricter",
    Stricter.MORE: "more entries are stricter",
    Stricter.FEWER: "fewer entries are stricter",
    Stricter.LATER: "later in the list is stricter",
    Stricter.TRUE: "true is stricter",
}

_METRIC_FIELDS = {
    "namespace": "Namespace of the metric, for example Shop/Orders.",
    "metric": "Name of the metric, for example OrdersPlaced.",
}


@dataclass(frozen=True, slots=True)
class CheckFacts:
    """What the custom resources must know of a check; `attestable_days` is None where it takes no attestation."""

    id: str
    optional: bool = False
    parameters: tuple[Parameter, ...] = ()
    attestable_days: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value, and where in it: names and indices, none for the value itself."""

    at: tuple[str | int, ...]
    what: str


def described(parameter: Parameter) -> str:
    """The parameter in one sentence, with its default and which direction is stricter."""
    sentence = parameter.description.rstrip(".")
    default = "" if parameter.default is None else f"default {_default(parameter.default)}"
    more = "; ".join(part for part in (default, _DIRECTION.get(parameter.stricter, "")) if part)
    return f"{sentence}; {more}." if more else f"{sentence}."


def _default(value: Any) -> str:
    if isinstance(value, str):
        return value
    return _shown(value) if isinstance(value, (bool, int, float)) or value else "none"


def property_of(parameter: Parameter) -> JSONSchema:
    """The structural schema of one parameter, without a default: unset and set must stay two things."""
    return {"description": described(parameter), **_shape(parameter)}


def properties_of(parameters: tuple[Parameter, ...]) -> JSONSchema:
    """The structural schemas of several parameters, by name."""
    return {parameter.name: property_of(parameter) for parameter in sorted(parameters, key=lambda p: p.name)}


def _shape(parameter: Parameter) -> JSONSchema:
    text: JSONSchema = {"type": "string", "maxLength": parameter.max_length}
    if parameter.pattern:
        text["pattern"] = parameter.pattern
    texts: JSONSchema = {
        "type": "array",
        "items": {"type": "string", "enum": list(parameter.choices)} if parameter.choices else text,
        "maxItems": parameter.max_items,
        "x-kubernetes-list-type": "set",
    }
    match parameter.kind:
        case Kind.INTEGER | Kind.NUMBER:
            return {"type": parameter.kind.value, **_bounds(parameter)}
        case Kind.BOOLEAN:
            return {"type": "boolean"}
        case Kind.STRING:
            return text
        case Kind.CHOICE:
            return {"type": "string", "enum": list(parameter.choices)}
        case Kind.STRINGS:
            return texts
        case Kind.INTEGERS:
            return {**texts, "items": {"type": "integer", **_bounds(parameter)}}
        case Kind.STRING_MAP:
            return {"type": "object", "additionalProperties": text, "maxProperties": parameter.max_items}
        case Kind.STRING_LISTS:
            return {"type": "object", "additionalProperties": texts, "maxProperties": parameter.max_items}
        case Kind.METRICS:
            fields = {name: {"description": says, **text} for name, says in _METRIC_FIELDS.items()}
            metric = {"type": "object", "properties": fields, "required": list(_METRIC_FIELDS)}
            return {
                "type": "array",
                "items": metric,
                "maxItems": parameter.max_items,
                "x-kubernetes-list-type": "atomic",
            }
        case Kind.QUANTITIES:
            quantity = {"type": "number", **_bounds(parameter)}
            named = {name: {"description": f"Quantity of {name}.", **quantity} for name in parameter.choices}
            return {"type": "object", "properties": named}


def _bounds(parameter: Parameter) -> JSONSchema:
    bounds = {"minimum": parameter.minimum, "maximum": parameter.maximum}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def faults(parameter: Parameter, value: Any) -> Iterator[Fault]:
    """Everything that the schema of the parameter would refuse about a value, and what is no regular expression."""
    match parameter.kind:
        case Kind.INTEGER | Kind.NUMBER:
            yield from _number(parameter, value)
        case Kind.BOOLEAN:
            if not isinstance(value, bool):
                yield Fault((), f"{_shown(value)} is not true or false")
        case Kind.STRING:
            yield from _text(parameter, value)
        case Kind.CHOICE:
            yield from _choice(parameter, value)
        case Kind.STRINGS:
            yield from _list(parameter, value, _choice if parameter.choices else _text)
        case Kind.INTEGERS:
            yield from _list(parameter, value, _number)
        case Kind.STRING_MAP:
            yield from _map(parameter, value, _text)
        case Kind.STRING_LISTS:
            yield from _map(parameter, value, lambda p, v: _list(p, v, _choice if p.choices else _text))
        case Kind.METRICS:
            yield from _list(parameter, value, _metric, unique=False)
        case Kind.QUANTITIES:
            yield from _map(parameter, value, _quantity)
            yield from _unknown(parameter, value)


def _number(parameter: Parameter, value: Any) -> Iterator[Fault]:
    whole = parameter.kind is not Kind.NUMBER
    counts = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    if not counts or (whole and value != int(value)):
        yield Fault((), f"{_shown(value)} is not a {'whole ' if whole else ''}number")
    elif parameter.minimum is not None and value < parameter.minimum:
        yield Fault((), f"{value} is less than {parameter.minimum}")
    elif parameter.maximum is not None and value > parameter.maximum:
        yield Fault((), f"{value} is more than {parameter.maximum}")


def _quantity(parameter: Parameter, value: Any) -> Iterator[Fault]:
    yield from _number(replace(parameter, kind=Kind.NUMBER), value)


def _unknown(parameter: Parameter, value: Any) -> Iterator[Fault]:
    """Names that may not have a quantity."""
    for name in value if isinstance(value, Mapping) else ():
        if name not in parameter.choices:
            near = get_close_matches(str(name), parameter.choices, n=3, cutoff=0.4)
            yield Fault((name,), f"nothing of that name is paid by usage; did you mean {' or '.join(near)}?")


def _text(parameter: Parameter, value: Any) -> Iterator[Fault]:
    if not isinstance(value, str):
        yield Fault((), f"{_shown(value)} is not a text: put it in quotes")
    elif len(value) > parameter.max_length:
        yield Fault((), f"the text has {len(value)} characters, at most {parameter.max_length} are allowed")
    elif parameter.pattern and not re.fullmatch(parameter.pattern, value):
        yield Fault((), f"{_shown(value)} does not look like what it is for: {described(parameter)}")
    elif parameter.expression:
        yield from _expression(value)


def _expression(value: str) -> Iterator[Fault]:
    try:
        re.compile(value)
    except re.error as error:
        yield Fault((), f"{_shown(value)} is not a regular expression: {error}")


def _choice(parameter: Parameter, value: Any) -> Iterator[Fault]:
    if value not in parameter.choices:
        yield Fault((), f"{_shown(value)} is not one of {', '.join(parameter.choices)}")


def _metric(parameter: Parameter, value: Any) -> Iterator[Fault]:
    if not isinstance(value, Mapping) or set(value) != set(_METRIC_FIELDS):
        yield Fault((), f"a metric has exactly the fields {' and '.join(_METRIC_FIELDS)}")
        return
    for name, part in value.items():
        yield from (Fault((name, *fault.at), fault.what) for fault in _text(parameter, part))


def _list(parameter: Parameter, value: Any, item: Any, *, unique: bool = True) -> Iterator[Fault]:
    if not isinstance(value, list):
        yield Fault((), f"{_shown(value)} is not a list")
        return
    if len(value) > parameter.max_items:
        yield Fault((), f"the list has {len(value)} entries, at most {parameter.max_items} are allowed")
    for index, entry in enumerate(value):
        yield from (Fault((index, *fault.at), fault.what) for fault in item(parameter, entry))
        if unique and entry in value[:index]:
            yield Fault((index,), f"{_shown(entry)} is there twice")


def _map(parameter: Parameter, value: Any, item: Any) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield Fault((), f"{_shown(value)} is not a map of names to values")
        return
    if len(value) > parameter.max_items:
        yield Fault((), f"the map has {len(value)} entries, at most {parameter.max_items} are allowed")
    for name, entry in value.items():
        yield from (Fault((name, *fault.at), fault.what) for fault in item(parameter, entry))


def _shown(value: Any) -> str:
    """A value as YAML would hold it, shortened."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:60]!r}…"
    shown = json.dumps(value, default=str, ensure_ascii=False)
    return shown if len(shown) <= 160 else f"{shown[:160]}…"
