"""Deployment groups of CodeDeploy, and whether they take back a deployment that failed."""

from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.snapshot import Row

APPLICATIONS = Call("codedeploy", "ListApplications", items="applications", freshness=RARELY)
"""Rows are names."""

DEPLOYMENT_GROUP_NAMES = Call(
    "codedeploy",
    "ListDeploymentGroups",
    each=APPLICATIONS,
    param="applicationName",
    items="deploymentGroups",
    absent=("ApplicationDoesNotExistException",),
    freshness=RARELY,
)
DEPLOYMENT_GROUPS = Call(
    "codedeploy",
    "GetDeploymentGroup",
    each=DEPLOYMENT_GROUP_NAMES,
    param={"applicationName": "request.applicationName", "deploymentGroupName": "value"},
    keep="(deploymentGroupInfo || `{}`).{computePlatform: computePlatform, autoRollback: autoRollbackConfiguration, "
    "alarmsEnabled: alarmConfiguration.enabled, alarms: alarmConfiguration.alarms[].name, ecsServices: ecsServices, "
    "lastSuccess: lastSuccessfulDeployment.endTime}",
    absent=("ApplicationDoesNotExistException", "DeploymentGroupDoesNotExistException"),
    freshness=RARELY,
)


def rolls_back(group: Row) -> bool:
    """Whether a deployment of the group is taken back without anybody asking: when it fails, or when an alarm stops it.

    An alarm counts only where one is named; a rollback when somebody stops the deployment does not count.
    """
    rollback = group.get("autoRollback") or {}
    if not rollback.get("enabled"):
        return False
    events = rollback.get("events") or ["DEPLOYMENT_FAILURE"]
    alarmed = bool(group.get("alarmsEnabled") and group.get("alarms"))
    return "DEPLOYMENT_FAILURE" in events or ("DEPLOYMENT_STOP_ON_ALARM" in events and alarmed)
