"""Reads that moto does not answer, of services and features that no simulated account uses: their answer is empty.

An account where a check asks about provisioned concurrency or Region switch plans, and nobody has any, must be told so;
an error there would be a gap, and every verdict that looks at it Unknown. What an account does have is laid as an
overlay, which comes before this.
"""

from passmuster.sandbox.emulation.operation import Handling, Operations, Output

_READS = {
    "application-signals": ("ListServiceLevelObjectives", "ListServices"),
    "arc-region-switch": ("ListPlanExecutions", "ListPlans"),
    "auditmanager": ("ListAssessmentReports",),
    "backup": ("ListCopyJobs", "ListProtectedResources", "ListRestoreJobs"),
    "bcm-data-exports": ("ListExports",),
    "config": ("DescribeDeliveryChannelStatus", "DescribeRemediationConfigurations"),
    "cur": ("DescribeReportDefinitions",),
    "efs": ("DescribeReplicationConfigurations",),
    "eks": ("ListAddons",),
    "health": ("DescribeServiceLifecycle",),
    "lambda": ("ListProvisionedConcurrencyConfigs",),
    "rds": ("DescribeReservedDBInstances",),
    "resiliencehub": ("ListSopRecommendations",),
    "savingsplans": ("DescribeSavingsPlans",),
    "securityhub": ("ListFindingAggregators",),
    "ssm": ("DescribeAutomationExecutions",),
    "ssm-contacts": ("ListContacts", "ListRotations"),
    "ssm-incidents": ("ListResponsePlans",),
}


def answer_empty(handling: Handling) -> Output:
    """The operation's output shape with every list in it empty."""
    shape = handling.call.model.output_shape
    return {name: [] for name, member in shape.members.items() if member.type_name == "list"}


OPERATIONS: Operations = {
    (service, operation): answer_empty for service, operations in _READS.items() for operation in operations
}
