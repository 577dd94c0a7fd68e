"""What the state machine asks of a way.

::

    Scheduled > prepare > ChangeSetReady > proceed > Executing > proceed > Settling    Applied > undo > Undone

Every method is repeated until it is done: it derives where it is from AWS, does the next thing at most, writes its
intent before the effect, and returns the seconds until another look is worth while, None if nothing is awaited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from passmuster.remediation.rendering import Proposal


@dataclass(frozen=True, slots=True)
class Look:
    """The last look before an effect: whether it may be made now, and if not, how long to wait."""

    go: bool
    wait: float | None = None


LastLook = Callable[[Callable[[], None]], Look]
"""Reads the facts, the approvals and the rules again; is given what withdraws that which was prepared."""


class Course(Protocol):
    """One way of changing an account. Every method may raise ChangeRefused or ChangeFailed."""

    def prepare(self, proposal: Proposal) -> float | None:
        """From Scheduled, approved: makes it ready, as far as it goes."""

    def proceed(self, look: LastLook) -> float | None:
        """In ChangeSetReady and Executing: makes the change, as far as it goes."""

    def withdraw(self) -> float | None:
        """The plan has no such step any more: takes back what was only prepared, or finds that it was made."""

    def undoable(self) -> bool:
        """Whether there is anything to take back."""

    def undo_refusal(self) -> tuple[str, str] | None:
        """Reason and message of why an approved undo may not begin; None if it may."""

    def undo(self) -> float | None:
        """In Undoing: takes the change back, as far as it goes."""

    def departure(self) -> str | None:
        """Of an applied change: what somebody else did to it, for people; None if it is as it was made."""

    def resolved(self) -> bool:
        """Of a blocked change whose stack was stuck: whether a person has resolved it since."""
