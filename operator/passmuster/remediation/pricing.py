"""What a change costs a month, from the price list in the package.

One row per key with unit, price by region, source and the date of the last comparison. What depends on usage is priced
where somebody says how much is expected; what has no price or no quantity is unpriced and never counted as 0. Used by
rendering and by the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from importlib.resources import files
from math import prod

import yaml

from passmuster.model.account import partition_of
from passmuster.remediation.definition import InvalidRemediation, LineItem
from passmuster.remediation.template import FAST

PRICED_IN = "us-east-1"
"""The region whose price a row has in the first place."""


@dataclass(frozen=True, slots=True)
class Price:
    """One row of the price list: dollars per unit in us-east-1, and in other regions those of `by_region`.

    `everywhere` says that AWS charges the same in all its commercial regions. `dollars` is None for what has no single
    price, such as an instance of whatever class: it is always unpriced.
    """

    key: str
    title: str
    unit: str
    dollars: Decimal | None
    by_region: Mapping[str, Decimal]
    everywhere: bool
    source: str
    as_of: str

    def in_region(self, region: str) -> Decimal | None:
        """Dollars per unit in a region, those of us-east-1 where nothing else is known; None without a price."""
        return self.by_region.get(region, self.dollars)

    def title_in(self, region: str) -> str:
        """The title of a position in a region; it says where the price is another region's."""
        known = region == PRICED_IN or region in self.by_region
        known |= self.everywhere and partition_of(region) == partition_of(PRICED_IN)
        return self.title if known else f"{self.title}, at the price of {PRICED_IN}"


@dataclass(frozen=True, slots=True)
class Position:
    """One line of a bill: so many of it at a price, every month or once; unpriced where it has neither."""

    title: str
    quantity: float | None
    monthly: Decimal | None
    once: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """A month's bill, and what is paid once; each is the exact sum of its positions."""

    positions: tuple[Position, ...]

    @property
    def monthly(self) -> Decimal:
        """Dollars a month."""
        return sum((p.monthly for p in self.positions if p.monthly is not None), Decimal(0))

    @property
    def once(self) -> Decimal:
        """Dollars that making and proving the change costs, in no month's bill."""
        return sum((p.once for p in self.positions if p.once is not None), Decimal(0))

    @property
    def unpriced(self) -> tuple[str, ...]:
        """What depends on usage."""
        return tuple(p.title for p in self.positions if p.monthly is None and p.once is None)


@lru_cache(maxsize=1)
def prices() -> Mapping[str, Price]:
    """The price list of this installation, by key."""
    document = yaml.load((files(__package__) / "prices.yaml").read_text(encoding="utf-8"), Loader=FAST)
    return {
        row["key"]: Price(
            key=row["key"],
            title=row["title"],
            unit=row["unit"],
            dollars=Decimal(str(row["dollars"])) if "dollars" in row else None,
            by_region={region: Decimal(str(value)) for region, value in row.get("byRegion", {}).items()},
            everywhere=row.get("everywhere", False),
            source=row["source"],
            as_of=str(row["asOf"]),
        )
        for row in document["prices"]
    }


def cost(
    items: Iterable[LineItem], region: str, values: Mapping[str, str], usage: Mapping[str, float] | None = None
) -> Cost:
    """The month's bill of these items in a region; an item with `unless` is left out where that parameter is set.

    `usage` says by key of the price list how many a month are expected of what depends on usage.
    """
    expected, positions = usage or {}, []
    for item in items:
        if item.unless is not None and values.get(item.unless):
            continue
        row = prices().get(item.key)
        if row is None:
            raise InvalidRemediation(f"the price list has no {item.key}")
        price = row.in_region(region)
        each = expected.get(item.key) if item.quantity is None else item.quantity
        if each is None or price is None:
            positions.append(Position(row.title, None, None))
            continue
        quantity = each * prod(_count(values.get(parameter)) for parameter in item.times)
        if quantity:
            dollars = (price * Decimal(str(quantity))).quantize(Decimal("0.01"), ROUND_HALF_UP)
            monthly, once = (None, dollars) if item.once else (dollars, None)
            title = row.title_in(region) + (", as much as the policy expects" if item.quantity is None else "")
            positions.append(Position(title, quantity, monthly, once))
    return Cost(tuple(positions))


def _count(value: str | None) -> int:
    """How many values a parameter has, parted by commas."""
    return len([one for one in (value or "").split(",") if one.strip()])
