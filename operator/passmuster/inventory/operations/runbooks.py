"""How the checks of runbooks judge: each asks for classes of its own, in the same words.

Called by `runbooks_documented` and `runbook_set_complete`; no check may call another.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from passmuster.inventory.operations.ssm import DOCUMENTS, RUNBOOKS, missing_runbooks, unfinished_runbooks
from passmuster.inventory.operations.workload import WORKLOAD, has_workload
from passmuster.inventory.snapshot import View
from passmuster.model.finding import Finding, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Reason

CALLS = (*WORKLOAD, *RUNBOOKS)
"""What `judged` reads."""


def parameters_for(usual: tuple[str, ...]) -> tuple[Parameter, ...]:
    """The parameters that `judged` reads, with the classes that are asked for where nobody says otherwise."""
    return (
        Parameter(
            "classes",
            Kind.STRINGS,
            list(usual),
            Stricter.MORE,
            "The classes of runbooks that must be there, as their tag readiness:runbook says.",
            max_items=20,
            max_length=64,
        ),
        Parameter(
            "maxAgeDays",
            Kind.INTEGER,
            365,
            Stricter.LOWER,
            "How many days ago the latest version of a runbook was written at most.",
            minimum=1,
            maximum=3650,
        ),
    )


def judged(view: View, parameters: Parameters, now: datetime, usual: tuple[str, ...]) -> Iterator[Finding]:
    """Whether there is a current runbook of each class; nothing where there is no workload to run."""
    classes = list(dict.fromkeys(parameters["classes"]))
    days = parameters["maxAgeDays"]
    if not has_workload(view):
        return
    origin, account = view.origin(DOCUMENTS), view.account_id
    if not classes:
        message = "The policy asks for no class of runbooks"
        yield not_applicable(origin, account, message, Reason.NOT_REQUESTED)
        return
    since = now - timedelta(days=days)
    expected = f"runbooks for {', '.join(classes)}, written in the last {days} days"
    if missing := missing_runbooks(view, classes, since):
        message = f"No runbook of the last {days} days tells how to handle: {', '.join(missing)}"
        facts = {"missing": ", ".join(missing), "classes": "usual" if set(missing) <= set(usual) else "own"}
        observed = f"missing: {', '.join(missing)}"
        yield failed(origin, account, message, observed=observed, expected=expected, facts=facts)
    elif unfinished := unfinished_runbooks(view, classes, since):
        message = f"A runbook is just being written: {', '.join(unfinished)}"
        yield unknown(origin, account, message, Reason.IN_TRANSIT, expected=expected)
    else:
        message = f"There are runbooks for: {', '.join(classes)}"
        yield passed(origin, account, message, observed=", ".join(classes), expected=expected)
