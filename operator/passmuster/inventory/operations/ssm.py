"""The account's own documents of Systems Manager, and what was executed of them. No parameter or content is kept."""

from collections.abc import Container, Iterable
from datetime import datetime

from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.snapshot import Row, View, all_of, any_of, first_of, unmet

DOCUMENTS = Call(
    "ssm",
    "ListDocuments",
    args={"Filters": [{"Key": "Owner", "Values": ["Self"]}]},
    items="DocumentIdentifiers",
    keep=("Name", "Owner", "DocumentType", "DocumentVersion", "CreatedDate", "TargetType", "Tags", "ReviewStatus"),
    freshness=RARELY,
)
DOCUMENT = Call(
    "ssm",
    "DescribeDocument",
    each=DOCUMENTS,
    over="[@][?DocumentType=='Automation' || DocumentType=='Command'].Name",
    param="Name",
    keep="(Document || `{}`).{Name: Name, Status: Status, DocumentType: DocumentType, "
    "DocumentVersion: DocumentVersion, LatestVersion: LatestVersion, DefaultVersion: DefaultVersion, "
    "CreatedDate: CreatedDate, Tags: Tags}",
    absent=("InvalidDocument",),
    freshness=RARELY,
)
"""A document that was deleted since it was listed has no row."""

LATEST_VERSION = Call(
    "ssm",
    "DescribeDocument",
    each=DOCUMENT,
    over="LatestVersion && LatestVersion != DocumentVersion",
    param={"Name": "request.Name"},
    args={"DocumentVersion": "$LATEST"},
    keep="(Document || `{}`).{CreatedDate: CreatedDate, DocumentVersion: DocumentVersion}",
    absent=("InvalidDocument", "InvalidDocumentVersion"),
    freshness=RARELY,
)
"""Of a document whose latest version is not the default one, which is what describing it tells of."""

SUCCESSFUL_EXECUTIONS = Call(
    "ssm",
    "DescribeAutomationExecutions",
    each=DOCUMENTS,
    over="[@][?DocumentType=='Automation'].Name",
    param={
        "Filters": "[{Key: 'DocumentNamePrefix', Values: [value]}, "
        "{Key: 'ExecutionStatus', Values: ['Success', 'CompletedWithSuccess']}]"
    },
    items="AutomationExecutionMetadataList",
    keep=(
        "AutomationExecutionId",
        "DocumentName",
        "AutomationExecutionStatus",
        "ExecutionStartTime",
        "ExecutionEndTime",
    ),
    freshness=RARELY,
)
"""By a prefix of the name, so that executions of namesakes come along."""

SUCCESS = ("Success", "CompletedWithSuccess")

RUNBOOK_TAG = "readiness:runbook"


def runbook_class(document: Row) -> str | None:
    """The class of runbook that the document's tag says it is, for example `dr`."""
    return next((tag.get("Value") for tag in document.get("Tags") or [] if tag.get("Key") == RUNBOOK_TAG), None)


RUNBOOK_TYPES = ("Automation", "Command")
RUNBOOKS = (DOCUMENTS, DOCUMENT, LATEST_VERSION)
"""What the questions about runbooks read; a check that asks them declares these calls."""


def is_runbook(view: View, document: Row, kinds: Container[str], states: Container[str] = ("Active",)) -> bool:
    """Whether the document's tag says one of these classes, and its status is one of these."""
    return document.get("DocumentType") in RUNBOOK_TYPES and all_of(
        lambda: class_of(view, document) in kinds,
        lambda: status_of(view, document) in states,
    )


def class_of(view: View, document: Row) -> str | None:
    """The class by the list; where the list leaves the tags out, by the description of the document."""
    if "Tags" in document:
        return runbook_class(document)
    described = view.row(DOCUMENT, document)
    return runbook_class(described) if described is not None else None


def status_of(view: View, document: Row) -> str | None:
    """The status of the document's default version, which only its description tells."""
    described = view.row(DOCUMENT, document)
    return described.get("Status") if described is not None else None


def was_executed(view: View, document: Row, since: datetime) -> bool:
    """Whether the document itself, not a namesake, was executed successfully after that time."""
    return any(_succeeded(document, run, since) for run in view.rows(SUCCESSFUL_EXECUTIONS, document))


def _succeeded(document: Row, execution: Row, since: datetime) -> bool:
    ended = execution.get("ExecutionEndTime") or execution.get("ExecutionStartTime")
    return (
        execution.get("DocumentName") == document["Name"]
        and execution.get("AutomationExecutionStatus") in SUCCESS
        and ended is not None
        and ended > since
    )


def missing_runbooks(view: View, kinds: Iterable[str], since: datetime) -> list[str]:
    """The classes without a runbook written since that time; one that is just being written is not missing."""
    return unmet(
        {
            kind: lambda kind=kind: any_of(  # type: ignore[misc]
                lambda: _has(view, kind, since), lambda: _is_being_written(view, kind)
            )
            for kind in kinds
        }
    )


def unfinished_runbooks(view: View, kinds: Iterable[str], since: datetime) -> list[str]:
    """Of classes that are not missing, those whose runbook is just being written."""
    return [kind for kind in kinds if not _has(view, kind, since)]


def _has(view: View, kind: str, since: datetime) -> bool:
    def is_current(document: Row) -> bool:
        return all_of(lambda: is_runbook(view, document, (kind,)), lambda: _written_since(view, document, since))

    return first_of(view.rows(DOCUMENTS), is_current) is not None


def _is_being_written(view: View, kind: str) -> bool:
    states = ("Creating", "Updating")
    return first_of(view.rows(DOCUMENTS), lambda document: is_runbook(view, document, (kind,), states)) is not None


def _written_since(view: View, document: Row, since: datetime) -> bool:
    described = view.row(DOCUMENT, document)
    if described is None:
        return False
    newest = view.row(LATEST_VERSION, described) or described
    written = newest.get("CreatedDate") or document.get("CreatedDate")
    return written is not None and written > since
