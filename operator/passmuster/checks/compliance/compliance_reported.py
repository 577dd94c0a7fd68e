"""Somebody can be shown a recent report on how compliant the account is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.operations.config import PACK_COMPLIANCE, PACKS
from passmuster.inventory.operations.securityhub import STANDARDS
from passmuster.inventory.snapshot import Row, View, first_found, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

REPORT_PLANS = Call(
    "backup",
    "ListReportPlans",
    items="ReportPlans",
    keep=("ReportPlanName", "LastSuccessfulExecutionTime"),
    freshness=RARELY,
)
AUDIT_MANAGER = Call("auditmanager", "GetAccountStatus", keep=("status",), freshness=RARELY)
ASSESSMENT_REPORTS = Call(
    "auditmanager",
    "ListAssessmentReports",
    each=AUDIT_MANAGER,
    over="status != 'INACTIVE' && 'asked' || ''",
    param={"maxResults": "`100`"},
    items="assessmentReports",
    keep=("id", "name", "status", "creationTime"),
    freshness=RARELY,
)
"""Asked only where Audit Manager was set up: elsewhere it answers as if the role lacked a permission."""

JUDGED = ("COMPLIANT", "NON_COMPLIANT")

Report = tuple[Row | None, str]


@check(
    title="Compliance is reported",
    category=Category.COMPLIANCE,
    phase=Phase.HARDENED,
    severity=Severity.LOW,
    fix="A",
    per="account",
    calls=(PACKS, PACK_COMPLIANCE, STANDARDS, REPORT_PLANS, ASSESSMENT_REPORTS),
    attestable=timedelta(days=90),
    parameters=(
        Parameter(
            "maxAgeDays",
            Kind.INTEGER,
            90,
            Stricter.LOWER,
            "How many days old the newest report may be.",
            minimum=1,
            maximum=3650,
        ),
    ),
    controls=Controls(well_architected=("SEC01-BP03",)),
)
def compliance_reported(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """An auditor asks for a report of the last quarter, not for access to a console.

    Any one of five suffices: a readiness report that Passmuster wrote to the account's evidence store, a conformance
    pack of AWS Config that has a result, a standard of Security Hub that is ready, a report plan of AWS Backup that
    succeeded, or a finished assessment report of Audit Manager, which existing customers still have. A pack and a
    standard are evaluated all the time, so their result is as old as this inspection, whether it is good or bad.
    """
    reports = _Reports(view, evidence, timedelta(days=parameters["maxAgeDays"]))
    expected = f"a compliance report of the last {parameters['maxAgeDays']} days"
    found = first_found(reports.own, reports.pack, reports.standard, reports.backup, reports.assessment)
    if found is not None:
        row, what = found
        origin = row.origin if row is not None else view.origin(PACKS)
        yield passed(origin, view.account_id, f"There is a recent {what}", observed=what, expected=expected)
    else:
        message = "No recent report says how compliant the account is"
        facts = {"pack": "there" if seen(view.rows(PACKS)) else "none"}
        origin, observed = view.origin(PACKS), "no recent report"
        yield failed(origin, view.account_id, message, observed=observed, expected=expected, facts=facts)


class _Reports:
    """The kinds of reports: the row that tells of a recent one, if a row does, and what it is."""

    def __init__(self, view: View, evidence: Evidence, maximum: timedelta) -> None:
        self._view = view
        self._evidence = evidence
        self._maximum = maximum

    def own(self) -> Report | None:
        recent = self._is_recent(self._evidence.report_stored_at)
        return (None, "readiness report in the evidence store") if recent else None

    def pack(self) -> Report | None:
        return self._any(
            PACK_COMPLIANCE,
            lambda row: row.get("ConformancePackComplianceStatus") in JUDGED,
            lambda row: f"result of the conformance pack {row['ConformancePackName']}",
        )

    def standard(self) -> Report | None:
        return self._any(
            STANDARDS,
            lambda row: row.get("StandardsStatus") == "READY",
            lambda row: f"score of the standard {_standard(row)}",
        )

    def backup(self) -> Report | None:
        return self._any(
            REPORT_PLANS,
            lambda row: self._is_recent(row.get("LastSuccessfulExecutionTime")),
            lambda row: f"report of the backup report plan {row['ReportPlanName']}",
        )

    def assessment(self) -> Report | None:
        return self._any(
            ASSESSMENT_REPORTS,
            lambda row: row.get("status") == "COMPLETE" and self._is_recent(row.get("creationTime")),
            lambda row: f"assessment report {row.get('name') or row['id']}",
        )

    def _any(self, call: Call, holds: Callable[[Row], bool], name: Callable[[Row], str]) -> Report | None:
        row = next((row for row in self._view.rows(call) if holds(row)), None)
        return None if row is None else (row, name(row))

    def _is_recent(self, time: datetime | None) -> bool:
        return time is not None and self._evidence.now - time < self._maximum


def _standard(row: Row) -> str:
    """The name and version in a standard's ARN, for example `aws-foundational-security-best-practices/v/1.0.0`."""
    return str(row.get("StandardsArn") or row.get("StandardsSubscriptionArn")).partition("/")[2]
