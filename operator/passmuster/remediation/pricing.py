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
from math import prod

import yaml

from passmuster.remediation.definition import InvalidRemediation, LineItem


@dataclass(frozen=True, slots=True)
class Price:
    """One row of the price list; `by_region` overrides `dollars` where a region costs more.

    `dollars` is None for what has no single price, such as an instance of whatever class: it is always unpriced.
    """

    key: str
    title: str
    unit: str
    dollars: Decimal | None
    by_region: Mapping[str, Decimal]
    source: str
    as_of: str

    def in_region(self, region: str) -> Decimal | None:
        """Dollars per unit in a region; None without a price."""
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
            dollars=Decimal(str(row["dollars"])) if "dollars" in row else None,
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
        price = row.in_region(region)
        if item.quantity is None or price is None:
            positions.append(Position(row.title, None, None))
            continue
        quantity = item.quantity * prod(_count(values.get(parameter)) for parameter in item.times)
        if quantity:
            dollars = (price * Decimal(str(quantity))).quantize(Decimal("0.01"), ROUND_HALF_UP)
            positions.append(Position(row.title, quantity, dollars))
    return Cost(tuple(positions))


def _count(value: str | None) -> int:
    """How many values a parameter has, parted by commas."""
    return len([one for one in (value or "").split(",") if one.strip()])
