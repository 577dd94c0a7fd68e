"""Makes the API steps of remediations: only the operations that the catalogue declares, with the value read before.

Called by `engine.ways.api_step`, which decides what to do with the values; here is only how AWS is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from passmuster.aws.actor import Actor, Words
from passmuster.inventory.call import query
from passmuster.model.errors import ChangeRefused
from passmuster.remediation.definition import ApiStep, Operation

WORDS = Words(unreachable="ApiStepUnreachable", refused="ApiStepRefused")


class Steps:
    """The API of one account and region, as the remediation role."""

    def __init__(self, actor: Actor, declared: Mapping[str, frozenset[str]]) -> None:
        self._actor = actor
        self._declared = declared

    def value(self, step: ApiStep) -> tuple[Any, bool]:
        """The value that a step changes as it is now, and whether the resource is ready to be changed.

        Raises ChangeFailed.
        """
        answer = self._demanded(step.read) and self._actor.read(
            step.read.service,
            step.read.operation,
            WORDS,
            lambda code, _message: code in step.read.absent,
            **step.read.arguments,
        )
        found = query(step.value, answer)
        ready = True if step.ready is None else bool(query(step.ready, answer))
        return (step.absent if found is None else found), ready

    def call(self, operation: Operation) -> None:
        """One call that changes something. Raises ChangeFailed, or ChangeRefused for what nobody declared."""
        self._demanded(operation)
        self._actor.mutate(operation.service, operation.operation, WORDS, **operation.arguments)

    def _demanded(self, operation: Operation) -> bool:
        if operation.operation not in self._declared.get(operation.service, frozenset()):
            raise ChangeRefused("NotExecutable", f"No remediation declares {operation.service}:{operation.operation}")
        return True
