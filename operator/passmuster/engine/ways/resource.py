"""The one resource that a change in place is about: that the proposal names it, and that nobody holds it."""

from __future__ import annotations

from passmuster.api.conditions import ConditionReason
from passmuster.aws.stacks import Stacks
from passmuster.model.errors import ChangeRefused
from passmuster.remediation.definition import Desired


def demanded(wanted: Desired | None) -> Desired:
    """The desired state of a proposal. Raises ChangeRefused where it has none."""
    if wanted is None:
        raise ChangeRefused(ConditionReason.FACT_MISSING, "The change says of no resource what it is to become")
    return wanted


def demand_free(stacks: Stacks, wanted: Desired) -> None:
    """Raises ChangeRefused where a stack holds the resource by now: asked right before anything is done to it."""
    found = stacks.holding(wanted.type, (wanted.identifier, wanted.arn))
    if found is not None:
        message = f"The resource {wanted.identifier} belongs to the stack {found.stack} now; it is proposed anew"
        raise ChangeRefused(ConditionReason.VALUE_CHANGED, message)
