"""Finds every check by its place in the tree, so that adding one touches one file.

Used by assess, the command line, the CRD generator and the tests of the whole registry.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache

from passmuster import checks
from passmuster.checks.declaration import Check
from passmuster.inventory.call import Call, union
from passmuster.model.errors import CheckNotFound

VERSION = "1.0"
"""The catalogue's version; every score carries it, and a change is an event."""


class Catalogue:
    """All checks, in the order of phase, category and id."""

    def __init__(self, members: Sequence[Check]) -> None:
        categories = list(dict.fromkeys(c for member in members for c in type(member.category)))
        self._checks = {
            member.id: member
            for member in sorted(members, key=lambda c: (c.phase.order, categories.index(c.category), c.id))
        }
        self.version = VERSION

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks.values())

    def __len__(self) -> int:
        return len(self._checks)

    def __contains__(self, check_id: str) -> bool:
        return check_id in self._checks

    def get(self, check_id: str) -> Check:
        """The check with that id. Raises CheckNotFound, which names the nearest ids."""
        if check_id in self._checks:
            return self._checks[check_id]
        near = get_close_matches(check_id, self._checks, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "`passmuster checks` lists them all"
        raise CheckNotFound(f"there is no check {check_id!r}; {hint}")

    def calls(self) -> tuple[Call, ...]:
        """The union of everything the checks read, parents first."""
        return union([call for member in self for call in member.calls])


@lru_cache(maxsize=1)
def load() -> Catalogue:
    """Imports every check module once and collects what they declare."""
    members: list[Check] = []
    for module in pkgutil.walk_packages(checks.__path__, f"{checks.__name__}."):
        if module.ispkg or module.name.count(".") < 3:
            continue
        loaded = importlib.import_module(module.name)
        members.extend(
            value for value in vars(loaded).values() if isinstance(value, Check) and value.module == module.name
        )
    return Catalogue(members)
