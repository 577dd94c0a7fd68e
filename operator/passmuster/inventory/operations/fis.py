"""Experiments of the Fault Injection Service. AWS lists those of the last 120 days."""

from passmuster.inventory.call import Call

EXPERIMENTS = Call(
    "fis",
    "ListExperiments",
    items="experiments",
    keep="{id: id, arn: arn, experimentTemplateId: experimentTemplateId, status: state.status, "
    "creationTime: creationTime, actionsMode: experimentOptions.actionsMode}",
)
