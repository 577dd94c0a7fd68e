"""Runbooks say how to scale, and what to do in an incident and after a break-in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.ssm import DOCUMENTS, RUNBOOKS, missing_runbooks, unfinished_runbooks
from passmuster.inventory.operations.workload import NO_WORKLOAD, WORKLOAD, has_workload
from passmuster.inventory.snapshot import View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

USUAL = ("scaling", "security-ir", "incident")


@check(
    title="Runbooks cover scaling and incidents",
    category=Category.OPERATIONS,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="AT",
    per="account",
    calls=(*WORKLOAD, *RUNBOOKS),
    nothing=NO_WORKLOAD,
    attestable=timedelta(days=365),
    parameters=(
        Parameter(
            "classes",
            Kind.STRINGS,
            list(USUAL),
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
    ),
    controls=Controls(well_architected=("OPS07-BP03", "OPS07-BP04", "SEC10-BP04")),
)
def runbook_set_complete(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Scaling and a break-in are rare and urgent, so they are what people have least practice in.

    For each class an active automation or command document of the account, tagged `readiness:runbook=<class>`, whose
    latest version is not older than the policy allows; it need not have been
    executed. Documents that other accounts share do not count: attest them.
    """
    classes = list(dict.fromkeys(parameters["classes"]))
    days = parameters["maxAgeDays"]
    if not has_workload(view):
        return
    if not classes:
        message = "The policy asks for no class of runbooks"
        yield not_applicable(view.origin(DOCUMENTS), view.account_id, message, Reason.NOT_REQUESTED)
        return
    since = evidence.now - timedelta(days=days)
    expected = f"runbooks for {', '.join(classes)}, written in the last {days} days"
    origin, account = view.origin(DOCUMENTS), view.account_id
    if missing := missing_runbooks(view, classes, since):
        message = f"No runbook of the last {days} days tells how to handle: {', '.join(missing)}"
        facts = {"missing": ", ".join(missing), "classes": "usual" if set(missing) <= set(USUAL) else "own"}
        observed = f"missing: {', '.join(missing)}"
        yield failed(origin, account, message, observed=observed, expected=expected, facts=facts)
    elif unfinished := unfinished_runbooks(view, classes, since):
        message = f"A runbook is just being written: {', '.join(unfinished)}"
        yield unknown(origin, account, message, Reason.IN_TRANSIT, expected=expected)
    else:
        message = f"There are runbooks for: {', '.join(classes)}"
        yield passed(origin, account, message, observed=", ".join(classes), expected=expected)
