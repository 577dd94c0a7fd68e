"""Approvals: who agreed to what, as a list that server-side apply merges by subject.

Part of a Remediation's spec; any other kind that people approve uses the same entry. Who may write an entry is not
decided here but by the admission policy (`admission`), which compares `by` with the user that the API server saw.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from passmuster.api.fields import Declared, Digest, list_type

MOST = 20
"""Entries of one list of approvals."""


class Action(StrEnum):
    """What an approval permits."""

    APPLY = "Apply"
    UNDO = "Undo"


class Signature(Declared):
    """One subject's agreement; the entry of kinds whose content cannot change under it."""

    by: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Your user name as the API server sees it (kubectl auth whoami); another's is refused."
    )


class Approval(Signature):
    """One subject's agreement to one intent."""

    action: Action = Field(
        default=Action.APPLY,
        description="What is approved: Apply (the default) makes the change, Undo takes it back.",
    )
    digest: Digest = Field(
        description="Digest of the intent that is approved; it must be the current spec.intent.digest."
    )


Approvals = Annotated[
    list[Approval],
    Field(
        max_length=MOST,
        description="Who approved this change; add, change or remove only your own entry (passmuster approve does it).",
        json_schema_extra=list_type("map", "by", "action"),
    ),
]


Signatures = Annotated[
    list[Signature],
    Field(
        max_length=MOST,
        description="Who approved this; add or remove only your own entry (passmuster approve does it).",
        json_schema_extra=list_type("map", "by"),
    ),
]


def approvers(
    approvals: Iterable[Approval], digest: str, action: Action = Action.APPLY, *, except_for: str | None = None
) -> tuple[str, ...]:
    """The distinct subjects whose approval of this intent counts; `except_for` is the last editor of the policy."""
    subjects = {a.by for a in approvals if a.digest == digest and a.action is action and a.by != except_for}
    return tuple(sorted(subjects))
