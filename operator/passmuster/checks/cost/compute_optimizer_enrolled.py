"""Compute Optimizer looks at the account's resources."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call, Where
from passmuster.inventory.snapshot import View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

ENROLLMENT = Call(
    "compute-optimizer", "GetEnrollmentStatus", keep=("status", "statusReason"), where=Where.CONTROL, freshness=RARELY
)
"""One enrolment counts for every region, so it is asked once."""

EXPECTED = "enrollment Active"


@check(
    title="Compute Optimizer is enrolled",
    category=Category.COST,
    phase=Phase.HARDENED,
    severity=Severity.LOW,
    fix="I",
    per="account",
    calls=(ENROLLMENT,),
    controls=Controls(well_architected=("COST06-BP02", "PERF02")),
)
def compute_optimizer_enrolled(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Nobody notices that an instance is four times too large; Compute Optimizer does, once the account is enrolled.

    Enrolling costs nothing. An enrolment that AWS still works on is in transit; one that failed fails.
    """
    for row in view.rows(ENROLLMENT):
        status = str(row.get("status"))
        if status == "Active":
            yield passed(
                row.origin, view.account_id, "Compute Optimizer is enrolled", observed=status, expected=EXPECTED
            )
        elif status == "Pending":
            message = "AWS still enrols the account in Compute Optimizer"
            yield unknown(row.origin, view.account_id, message, Reason.IN_TRANSIT, observed=status, expected=EXPECTED)
        else:
            why = f": {row['statusReason']}" if row.get("statusReason") else ""
            message = f"Compute Optimizer is not enrolled{why}"
            yield failed(row.origin, view.account_id, message, observed=status, expected=EXPECTED)
