"""AWS knows whom to call, there is a plan for an incident, and it was tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.operations.fis import EXPERIMENTS, was_run
from passmuster.inventory.operations.ssm import DOCUMENT, DOCUMENTS, SUCCESSFUL_EXECUTIONS, is_runbook, was_executed
from passmuster.inventory.snapshot import Row, View, all_of, any_of, first_of, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity


def _contact(kind: str) -> Call:
    """Whether there is an alternate contact of the kind; who it is stays with AWS."""
    return Call(
        "account",
        "GetAlternateContact",
        args={"AlternateContactType": kind},
        keep="{IsSet: !!AlternateContact}",
        absent=("ResourceNotFoundException",),
        freshness=RARELY,
    )


CONTACTS = {"security contact": _contact("SECURITY"), "operations contact": _contact("OPERATIONS")}
RESPONSE_PLANS = Call(
    "ssm-incidents",
    "ListResponsePlans",
    items="responsePlanSummaries",
    keep=("arn", "name"),
    absent=("ResourceNotFoundException", "ValidationException"),
    freshness=RARELY,
)
"""Incident Manager takes no new customers: where it was never set up, it has no plans."""

PLAN = "plan"
DRILL = "drill in the last 365 days"
DRILLED = timedelta(days=365)
EXPECTED = f"a security and an operations contact, a {PLAN}, and a {DRILL}"


@check(
    title="There is an incident response plan",
    category=Category.OPERATIONS,
    phase=Phase.HARDENED,
    severity=Severity.HIGH,
    fix="T",
    per="account",
    calls=(*CONTACTS.values(), RESPONSE_PLANS, DOCUMENTS, DOCUMENT, SUCCESSFUL_EXECUTIONS, EXPERIMENTS),
    attestable=timedelta(days=365),
    weighs_attestation=True,
    controls=Controls(
        config=("SECURITY_ACCOUNT_INFORMATION_PROVIDED",),
        security_hub=("Account.1",),
        well_architected=("SEC10-BP02", "SEC10-BP04", "SEC10-BP07", "OPS10-BP01"),
    ),
)
def incident_response_plan(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """In the first hour of an incident it shows whether anybody ever thought of it.

    Three things are asked. AWS has an alternate contact for security and one for operations, where the partition knows
    such contacts. There is a plan: a response plan of Incident Manager, an active automation or command document tagged
    `readiness:runbook=incident`, or an attestation. And it was tried in the last 365 days: an automation document
    tagged `incident` or `security-ir` was executed successfully, or an experiment of the Fault Injection Service was
    completed with its actions run. An attestation stands in for the plan only. AWS lists experiments for 120 days.
    """
    attestation = evidence.attestation("incident-response-plan")
    since = evidence.now - DRILLED
    conditions: dict[str, Callable[[], bool]] = {
        phrase: lambda call=call: any(row["IsSet"] for row in view.rows(call))  # type: ignore[misc]
        for phrase, call in CONTACTS.items()
        if not view.absent_everywhere(call, Reason.NOT_IN_PARTITION)
    }
    conditions[PLAN] = lambda: (
        attestation is not None
        or any_of(
            lambda: view.row(RESPONSE_PLANS) is not None,
            lambda: first_of(view.rows(DOCUMENTS), lambda row: is_runbook(view, row, ("incident",))) is not None,
        )
    )
    conditions[DRILL] = lambda: any_of(
        lambda: first_of(view.rows(DOCUMENTS), lambda row: _was_tried(view, row, since)) is not None,
        lambda: any(_is_exercise(experiment, since) for experiment in view.rows(EXPERIMENTS)),
    )
    origin = view.origin(RESPONSE_PLANS)
    if missing := unmet(conditions):
        message = f"The account is not prepared for an incident, it lacks: {', '.join(missing)}"
        observed, facts = f"missing: {', '.join(missing)}", {"missing": ", ".join(missing)}
        yield failed(origin, view.account_id, message, observed=observed, expected=EXPECTED, facts=facts)
        return
    message = "AWS knows whom to call, and there is a plan for an incident that was tried"
    observed = ", ".join(conditions) + (f", the plan attested by {attestation.owner}" if attestation else "")
    yield passed(origin, view.account_id, message, observed=observed, expected=EXPECTED)


def _was_tried(view: View, document: Row, since: datetime) -> bool:
    return document.get("DocumentType") == "Automation" and all_of(
        lambda: is_runbook(view, document, ("incident", "security-ir")),
        lambda: was_executed(view, document, since),
    )


def _is_exercise(experiment: Row, since: datetime) -> bool:
    begun = experiment.get("creationTime")
    return was_run(experiment) and begun is not None and begun > since
