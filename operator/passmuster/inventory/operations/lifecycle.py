"""The dates on which AWS ends services, runtimes and versions: the table `lifecycle.yaml` beside this module.

Read by the checks that hold against it what an account runs on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

NUMBERED = ("database", "cache", "kubernetes")
"""The kinds whose versions are numbers, of which an entry gives the beginning; of all others it gives a name."""


@dataclass(frozen=True, slots=True)
class End:
    """An entry of the table; the head of the file says what each kind and field means."""

    kind: str
    engine: str
    version: str
    end: date
    substitute: str
    older: bool

    def names(self, version: str) -> bool:
        """Whether the entry is about that version itself, not only about those below its own.

        An engine's version may go on after a dot; a name is whole: `provided` and `provided.al2023` are two runtimes.
        """
        return version == self.version or (self.kind in NUMBERED and version.startswith(f"{self.version}."))


@lru_cache(maxsize=1)
def table() -> tuple[End, ...]:
    """Every entry, in the order of the file; read once."""
    text = (files(__package__) / "lifecycle.yaml").read_text(encoding="utf-8")
    return tuple(_entry(group["kind"], one) for group in yaml.safe_load(text) for one in group["entries"])


def _entry(kind: str, one: Mapping[str, Any]) -> End:
    return End(kind, one.get("engine", ""), one["version"], one["end"], one["substitute"], one.get("older", False))


def end_of(kind: str, version: str, engine: str = "") -> End | None:
    """The entry about a version: the one that names it, else the lowest above it that covers older ones."""
    entries = [one for one in table() if (one.kind, one.engine) == (kind, engine)]
    for entry in entries:
        if entry.names(version):
            return entry
    above = [one for one in entries if one.older and _numbers(one.version) > _numbers(version)]
    return min(above, key=lambda one: _numbers(one.version), default=None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
