"""A desired state laid over what is there: the properties of a resource in a model or in a template.

Pure; used by `rendering` to say the change in words, and by `engine.ways` to make templates and to put values back.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = "(absent)"
"""How a property that is not there, or is not to be there, is written down where its value would stand."""


def laid_over(present: Mapping[str, Any], wanted: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """The properties with the desired ones in them; mappings are merged, lists that `keys` names member by member.

    What is wanted to be `ABSENT` is taken out: of two properties that exclude each other, one makes room.
    """
    result = copy.deepcopy(dict(present))
    for name, value in wanted.items():
        if value == ABSENT:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value, keys.get(name))
    return result


def prior_of(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What the properties that a desired state sets are now, whole, so that they can be put back."""
    return {name: copy.deepcopy(present.get(name, ABSENT)) for name in wanted}


def put_back(present: Mapping[str, Any], prior: Mapping[str, Any]) -> dict[str, Any]:
    """The properties with those that were recorded as they were."""
    result = copy.deepcopy(dict(present))
    for name, value in prior.items():
        if value == ABSENT:
            result.pop(name, None)
        else:
            result[name] = copy.deepcopy(value)
    return result


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal as CloudFormation compares them: numbers and truth as text, lists in order."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(_plain(one) == _plain(other))


def alike(one: Any, other: Any) -> bool:
    """Whether two readings of one resource say the same; AWS tells the members of a list in any order."""
    return bool(_ordered(one) == _ordered(other))


def in_words(wanted: Mapping[str, Any], keys: Mapping[str, str]) -> Iterator[str]:
    """Each property that is set, for people: `RetentionInDays = 30`, `ClusterSettings[insights].Value = on`."""
    for name, value in wanted.items():
        yield from _words(name, value, keys.get(name))


def _words(path: str, value: Any, key: str | None) -> Iterator[str]:
    if value == ABSENT:
        yield f"{path} is taken out"
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield from _words(f"{path}.{name}", member, None)
    elif isinstance(value, list) and key is not None:
        for member in value:
            rest = {name: one for name, one in member.items() if name != key}
            for name, one in rest.items():
                yield from _words(f"{path}[{member.get(key)}].{name}", one, None)
    else:
        shown = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        yield f"{path} = {shown}"


def _merged(present: Any, wanted: Any, key: str | None) -> Any:
    if isinstance(wanted, Mapping) and isinstance(present, Mapping):
        return {**present, **{name: _merged(present.get(name), value, None) for name, value in wanted.items()}}
    if key is not None and isinstance(wanted, list) and isinstance(present, list):
        return _members_merged(present, wanted, key)
    return copy.deepcopy(wanted)


def _members_merged(present: list[Any], wanted: list[Any], key: str) -> list[Any]:
    result = copy.deepcopy(present)
    for member in wanted:
        place = next(
            (i for i, one in enumerate(result) if isinstance(one, Mapping) and one.get(key) == member[key]), None
        )
        if place is None:
            result.append(copy.deepcopy(member))
        else:
            result[place] = {**result[place], **member}
    return result


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _ordered(member) for name, member in value.items()}
    if isinstance(value, list):
        return sorted((_ordered(member) for member in value), key=lambda one: json.dumps(one, sort_keys=True))
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if value is None or isinstance(value, (Mapping, list)) else str(value)
