"""The account's own documents of Systems Manager, and what was executed of them. No parameter or content is kept."""

from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import Row

DOCUMENTS = Call(
    "ssm",
    "ListDocuments",
    args={"Filters": [{"Key": "Owner", "Values": ["Self"]}]},
    items="DocumentIdentifiers",
    keep=("Name", "Owner", "DocumentType", "DocumentVersion", "CreatedDate", "TargetType", "Tags"),
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
)
"""A document that was deleted since it was listed has no row."""

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
)
"""By a prefix of the name, so that executions of namesakes come along."""

RUNBOOK_TAG = "readiness:runbook"


def runbook_class(document: Row) -> str | None:
    """The class of runbook that the document's tag says it is, for example `dr`."""
    return next((tag.get("Value") for tag in document.get("Tags") or [] if tag.get("Key") == RUNBOOK_TAG), None)
