"""Experiments of the Fault Injection Service. AWS lists those of the last 120 days."""

from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.snapshot import Row

EXPERIMENTS = Call(
    "fis",
    "ListExperiments",
    items="experiments",
    keep="{id: id, arn: arn, experimentTemplateId: experimentTemplateId, status: state.status, "
    "creationTime: creationTime, actionsMode: experimentOptions.actionsMode}",
    freshness=RARELY,
)


def was_run(experiment: Row) -> bool:
    """Whether the experiment was completed, and its actions were not all skipped."""
    return experiment.get("status") == "completed" and experiment.get("actionsMode") != "skip-all"
