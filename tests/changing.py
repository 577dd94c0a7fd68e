"""Which requests change something in an account, and as which role a request was made.

AWS names what reads by a few verbs; everything else counts as a change, so that an operation that nobody thought of is
one. A test holds the verbs against every call of the catalogue and every step of every remediation.
"""

from __future__ import annotations

from passmuster.sandbox.emulation.access import iam
from passmuster.sandbox.emulation.front import Logged

READS = ("Describe", "Detect", "List", "Get", "BatchGet", "AssumeRole", "Decode", "Lookup", "Search")
"""How the names of operations begin that change nothing."""


def reads(operation: str) -> bool:
    """Whether an operation of AWS changes nothing, by its name."""
    return operation.startswith(READS)


def changes(request: Logged) -> bool:
    """Whether a request changes something, if it is granted."""
    return not reads(request.operation)


def role_of(request: Logged) -> str:
    """The ARN of the role as which a request was made; "" where it was none's."""
    session = iam.session_of(request.access_key)
    return str(session.role_arn) if session is not None else ""
