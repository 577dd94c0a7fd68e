"""Texts and values of a folder with names in braces, filled in: `"{Days}"` alone becomes the value, `keep {Days}` text.

Braces that hold anything but a known name stay as they are, so that JSON and HCL can be written as people know them.
Used by `reading` to find names that nobody fills, and by `rendering`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_NAME = re.compile(r"(?<!\$)\{([A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*)\}")


def names(value: Any) -> Iterator[str]:
    """Every name in braces, at any depth."""
    match value:
        case str():
            yield from _NAME.findall(value)
        case Mapping():
            for key, member in value.items():
                yield from names(key)
                yield from names(member)
        case list() | tuple():
            for member in value:
                yield from names(member)


def filled(value: Any, known: Mapping[str, Any]) -> Any:
    """The value with every known name replaced, at any depth; a text that is one name becomes that name's value."""
    match value:
        case str():
            whole = _NAME.fullmatch(value)
            if whole is not None and _has(known, whole[1]):
                return _look_up(known, whole[1])
            return text(value, known)
        case Mapping():
            return {filled_text(key, known): filled(member, known) for key, member in value.items()}
        case list() | tuple():
            return [filled(member, known) for member in value]
        case _:
            return value


def filled_text(value: Any, known: Mapping[str, Any]) -> Any:
    """A key of a mapping: text stays text."""
    return text(value, known) if isinstance(value, str) else value


def text(value: str, known: Mapping[str, Any]) -> str:
    """The text with every known name replaced."""
    return _NAME.sub(lambda m: said(_look_up(known, m[1])) if _has(known, m[1]) else m[0], value)


def said(value: Any) -> str:
    """A value as text shows it: lists by commas, truth as JSON writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return ",".join(said(member) for member in value)
        case _:
            return str(value)


def _has(known: Mapping[str, Any], name: str) -> bool:
    head, _, rest = name.partition(".")
    return head in known and (not rest or isinstance(known[head], Mapping))


def _look_up(known: Mapping[str, Any], name: str) -> Any:
    head, _, rest = name.partition(".")
    value = known[head]
    for part in rest.split(".") if rest else ():
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
