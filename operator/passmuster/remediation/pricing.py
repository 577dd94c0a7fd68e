"""What a change costs a month, from the price list in the package.

One row per key with unit, price by region, source and the date it was read. What depends on usage, or has no row, is
listed as unpriced and never counted as 0. Used by rendering and by the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from importlib.resources import files

import yaml

from passmuster.remediation.definition import InvalidRemediation, LineItem


@dataclass(frozen=True, slots=True)
class Price:
    """One row of the price list; `by_region` overrides `dollars` where a region costs more."""

    key: str
    title: str
    unit: str
    dollars: Decimal
    by_region: Mapping[str, Decimal]
    source: str
    as_of: str

    def in_region(self, region: str) -> Decimal:
        """Dollars per unit in a region."""
        return self.by_region.get(region, self.dollars)


@dataclass(frozen=True, slots=True)
class Position:
    """One line of a bill: so many of it at a price, or unpriced."""

    title: str
    quantity: float | None
    monthly: Decimal | None


@dataclass(frozen=True, slots=True)
class Cost:
    """A month's bill; `monthly` is the exact sum of the priced positions."""

    positions: tuple[Position, ...]

    @property
    def monthly(self) -> Decimal:
        """Dollars a month."""
        return sum((p.monthly for p in self.positions if p.monthly is not None), Decimal(0))

    @property
    def unpriced(self) -> tuple[str, ...]:
        """What depends on usage."""
        return tuple(p.title for p in self.positions if p.monthly is None)


@lru_cache(maxsize=1)
def prices() -> Mapping[str, Price]:
    """The price list of this installation, by key."""
    document = yaml.safe_load((files(__package__) / "prices.yaml").read_text())
    return {
        row["key"]: Price(
            key=row["key"],
            title=row["title"],
            unit=row["unit"],
            dollars=Decimal(str(row["dollars"])),
            by_region={region: Decimal(str(value)) for region, value in row.get("byRegion", {}).items()},
            source=row["source"],
            as_of=str(row["asOf"]),
        )
        for row in document["prices"]
    }


def cost(items: Iterable[LineItem], region: str, values: Mapping[str, str]) -> Cost:
    """The month's bill of these items in a region; an item with `unless` is left out where that parameter is set."""
    positions = []
    for item in items:
        if item.unless is not None and values.get(item.unless):
            continue
        row = prices().get(item.key)
        if row is None:
            raise InvalidRemediation(f"the price list has no {item.key}")
        if item.quantity is None:
            positions.append(Position(row.title, None, None))
        else:
            dollars = (row.in_region(region) * Decimal(str(item.quantity))).quantize(Decimal("0.01"), ROUND_HALF_UP)
            positions.append(Position(row.title, item.quantity, dollars))
    return Cost(tuple(positions))
