"""There is a runbook for a disaster, and it was executed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.arc_region_switch import PLANS
from passmuster.inventory.operations.rds import DB_INSTANCES, is_rds, is_replica
from passmuster.inventory.operations.resiliencehub import PROCEDURES
from passmuster.inventory.operations.ssm import (
    DOCUMENT,
    DOCUMENTS,
    SUCCESSFUL_EXECUTIONS,
    class_of,
    runbook_class,
    status_of,
    was_executed,
)
from passmuster.inventory.operations.workload import NO_WORKLOAD, WORKLOAD, has_workload
from passmuster.inventory.snapshot import Row, View, all_of, first_found, first_of, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity


@check(
    title="There are disaster recovery runbooks",
    category=Category.BACKUP,
    phase=Phase.STABLE,
    severity=Severity.HIGH,
    fix="TA",
    per="account",
    calls=(*WORKLOAD, DOCUMENTS, DOCUMENT, SUCCESSFUL_EXECUTIONS, PLANS, PROCEDURES),
    nothing=NO_WORKLOAD,
    attestable=timedelta(days=365),
    parameters=(
        Parameter(
            "maxAgeDays",
            Kind.INTEGER,
            365,
            Stricter.LOWER,
            "How many days ago the runbook was last executed at most.",
            minimum=1,
            maximum=3650,
        ),
        Parameter(
            "documents",
            Kind.STRINGS,
            [],
            Stricter.FEWER,
            "Names of the account's automation documents that count without the tag readiness:runbook=dr.",
            max_length=128,
        ),
    ),
    controls=Controls(well_architected=("REL13-BP02", "REL13-BP05", "OPS07-BP03")),
)
def dr_runbooks(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """In a disaster people follow what is written down, and only what was tried works.

    Any of three suffices: an automation document of the account, tagged `readiness:runbook=dr` or named by the policy,
    that is active and was executed successfully; a plan of ARC Region switch; a procedure recommended by Resilience Hub
    in its latest assessment and implemented. Systems Manager remembers executions for a limited time, so an older one
    needs an attestation.
    """
    if not has_workload(view):
        return
    runbooks = _Runbooks(view, parameters, evidence.now)
    row = first_found(runbooks.document, runbooks.plan, runbooks.procedure)
    if row is not None:
        name = row.get("Name") or row.get("name") or "procedure"
        message = f"The runbook {name} tells what to do in a disaster"
        yield passed(row.origin, view.account_id, message, observed=str(name), expected=runbooks.expected)
    else:
        database = _database(view)
        origin = view.origin(DOCUMENTS)
        yield failed(
            replace(origin, region=database.region) if database is not None else origin,
            view.account_id,
            "No runbook for a disaster was executed, and there is no Region switch plan or implemented procedure",
            observed=runbooks.observed(),
            expected=runbooks.expected,
            facts=runbooks.facts(database),
        )


def _database(view: View) -> Row | None:
    """A database that is no copy and no member of a cluster: what a disaster would take."""
    instances = (row for row in seen(view.rows(DB_INSTANCES)) if is_rds(row) and not is_replica(row))
    return next((row for row in instances if not row.get("DBClusterIdentifier")), None)


class _Runbooks:
    """The three kinds of evidence."""

    def __init__(self, view: View, parameters: Parameters, now: datetime) -> None:
        self._view = view
        self._names = parameters["documents"]
        self._since = now - timedelta(days=parameters["maxAgeDays"])
        self.expected = f"a runbook for a disaster, executed successfully in the last {parameters['maxAgeDays']} days"

    def document(self) -> Row | None:
        return first_of(self._view.rows(DOCUMENTS), self._is_runbook)

    def plan(self) -> Row | None:
        return self._view.row(PLANS)

    def procedure(self) -> Row | None:
        return first_of(self._view.rows(PROCEDURES), _is_implemented)

    def facts(self, database: Row | None) -> dict[str, str]:
        """Whether a runbook is missing, or only its execution, and a database that one could restore."""
        names = self._runbooks()
        missing = {"missing": "execution", "documentNames": ",".join(names)} if names else {"missing": "runbook"}
        return missing if database is None else {**missing, "databaseIdentifier": database["DBInstanceIdentifier"]}

    def _runbooks(self) -> list[str]:
        return [
            row["Name"]
            for row in self._view.rows(DOCUMENTS)
            if self._is_automation(row) and (row["Name"] in self._names or runbook_class(row) == "dr")
        ]

    def observed(self) -> str:
        names = self._runbooks()
        return f"{', '.join(names)} not active or not executed lately" if names else "no runbook"

    def _is_runbook(self, document: Row) -> bool:
        return self._is_automation(document) and all_of(
            lambda: document["Name"] in self._names or class_of(self._view, document) == "dr",
            lambda: status_of(self._view, document) == "Active",
            lambda: was_executed(self._view, document, self._since),
        )

    def _is_automation(self, document: Row) -> bool:
        return document.get("DocumentType") == "Automation"


def _is_implemented(recommendation: Row) -> bool:
    if recommendation.get("recommendationStatus"):
        return bool(recommendation["recommendationStatus"] == "Implemented")
    return any(item.get("alreadyImplemented") for item in recommendation.get("implemented") or [])
