"""Runbooks say how to scale, and what to do in an incident and after a break-in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations import runbooks
from passmuster.inventory.operations.workload import NO_WORKLOAD
from passmuster.inventory.snapshot import View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Severity

USUAL = ("scaling", "security-ir", "incident")


@check(
    title="Runbooks cover scaling and incidents",
    category=Category.OPERATIONS,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="AT",
    per="account",
    calls=runbooks.CALLS,
    nothing=NO_WORKLOAD,
    attestable=timedelta(days=365),
    parameters=runbooks.parameters_for(USUAL),
    controls=Controls(well_architected=("OPS07-BP03", "OPS07-BP04", "SEC10-BP04")),
)
def runbook_set_complete(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Scaling and a break-in are rare and urgent, so they are what people have least practice in.

    For each class an active automation or command document of the account, tagged `readiness:runbook=<class>`, whose
    latest version is not older than the policy allows; it need not have been
    executed. Documents that other accounts share do not count: attest them.
    """
    return runbooks.judged(view, parameters, evidence.now, USUAL)
