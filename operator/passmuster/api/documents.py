"""YAML texts of one or more documents, whose values know the line they came from.

Used by `manifest`, so that an error can name file, line and field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from passmuster.model.errors import InvalidManifest

Path = tuple[str | int, ...]
"""Names and indices that lead to a value."""

MOST_VALUES = 1_000_000
"""Values of one document with its aliases written out; more is a text that exhausts whoever reads it."""

_ENDLESS = "it is nested too deeply, or an alias holds itself: write it without"


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its value, the paths of fields that are there twice, and where everything is."""

    number: int
    value: Any
    repeated: tuple[Path, ...]
    node: yaml.Node

    def line(self, path: Path) -> int:
        """The line of the value at a path, or of the nearest one above it that exists; lines count from 1."""
        node, line = self.node, self.node.start_mark.line + 1
        for part in path:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return line


def written(path: Path) -> str:
    """A path as it reads in YAML: spec.checks.disabled[0], metadata.labels["app.kubernetes.io/name"]."""
    parts: list[str] = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        elif re.fullmatch(r"[A-Za-z0-9_-]+", part):
            parts.append(f".{part}" if parts else part)
        else:
            parts.append(f'["{part}"]')
    return "".join(parts)


def parse(text: str, source: str) -> Iterator[Document]:
    """The documents of a text; empty ones are left out, and `source` names the text in errors.

    Raises InvalidManifest when the text is no YAML or holds nothing.
    """
    number = 0
    try:
        for node, value in _composed(text, source):
            number += 1
            yield Document(number, value, tuple(_repeated(node, ())), node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidManifest(f"{source}:{line}: this is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidManifest(f"{source}: this is not YAML: {error}") from None
    except RecursionError:
        raise InvalidManifest(f"{source}: {_ENDLESS}") from None
    if number == 0:
        raise InvalidManifest(f"{source}: it is empty")


def _composed(text: str, source: str) -> Iterator[tuple[yaml.Node, Any]]:
    """Every document that is not empty, as a tree of nodes and as a value."""
    loader = _Loader(text)
    try:
        while loader.check_node():
            node: yaml.Node = loader.get_node()  # type: ignore[assignment]  # there is one, check_node says
            if _size(node, {}) > MOST_VALUES:
                at = f"{source}:{node.start_mark.line + 1}"
                raise InvalidManifest(
                    f"{at}: with its aliases written out it has more than {MOST_VALUES:,} values: write fewer"
                )
            value = loader.construct_document(node)
            if value is not None:
                yield node, value
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node holds, itself among them, as often as aliases name them; `known` are those counted."""
    if id(node) not in known:
        held: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            held = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            held = node.value
        known[id(node)] = 1 + sum(_size(child, known) for child in held)
    return known[id(node)]


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: a date is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  the attribute is PyYAML's
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _repeated(node: yaml.Node, path: Path) -> Iterator[Path]:
    """Fields that a map has twice; YAML would silently take the last."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _repeated(child, (*path, index))
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            name = str(key.value)
            if name in seen:
                yield (*path, name)
            seen.add(name)
            yield from _repeated(child, (*path, name))


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    if isinstance(node, yaml.MappingNode):
        named = [(key, child) for key, child in node.value if str(key.value) == part]
        if named:
            return named[-1][0].start_mark.line + 1, named[-1][1]
    return None
