"""What a plan costs, phase by phase: each total is the sum of its steps, and the plan's total the sum of the phases.

Used by `plan` in every form that it is printed or written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from passmuster.assess.plan import Plan, Step
from passmuster.model.verdict import Phase


@dataclass(frozen=True, slots=True)
class PhaseTotal:
    """The steps of one phase in the plan's order. `phase` is None for the whole plan."""

    phase: Phase | None
    steps: tuple[Step, ...]

    @property
    def monthly(self) -> Decimal:
        """Dollars a month of the steps that can be taken."""
        return _sum(step for step in self.steps if step.blocked is None)

    @property
    def blocked(self) -> Decimal:
        """Dollars a month that the blocked steps would add once they can be taken; not in `monthly`."""
        return _sum(step for step in self.steps if step.blocked is not None)

    @property
    def unpriced(self) -> int:
        """How many of the steps also have positions that depend on usage, which no total holds."""
        return sum(bool(step.proposal.cost.unpriced) for step in self.steps)

    def __str__(self) -> str:
        """For example `$44.21 a month, $6.13 more once what is blocked can be done, and the usage of 3 steps`."""
        parts = [f"${self.monthly:.2f} a month"]
        if self.blocked:
            parts.append(f"${self.blocked:.2f} more once what is blocked can be done")
        if self.unpriced:
            parts.append(f"and the usage of {self.unpriced} {'step' if self.unpriced == 1 else 'steps'}")
        return ", ".join(parts)


def phases(plan: Plan) -> tuple[PhaseTotal, ...]:
    """The phases that have steps, in order."""
    grouped = (
        PhaseTotal(phase, tuple(s for s in plan.steps if s.proposal.definition.phase is phase)) for phase in Phase
    )
    return tuple(total for total in grouped if total.steps)


def whole(plan: Plan) -> PhaseTotal:
    """The plan in all."""
    return PhaseTotal(None, plan.steps)


def of_step(step: Step) -> str:
    """What one step costs a month, for example `$3.50 + usage`, and what once: `$0.00 + $0.02 once`."""
    cost = step.proposal.cost
    once = f" + ${cost.once:.2f} once" if cost.once else ""
    return f"${cost.monthly:.2f}" + (" + usage" if cost.unpriced else "") + once


def _sum(steps: Iterable[Step]) -> Decimal:
    return sum((step.proposal.cost.monthly for step in steps), Decimal(0))
