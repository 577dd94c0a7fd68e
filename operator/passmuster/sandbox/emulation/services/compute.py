"""ECS and Lambda: the settings that moto drops, and services whose tasks really run.

The container-insights, circuit-breaker and tracing checks read these; their remediations set them. Served by front.py.
"""

from typing import Any

from passmuster.sandbox.emulation.operation import Handling, Operations, Output, Place
from passmuster.sandbox.emulation.wire import AWSError

_INSIGHTS_OFF = [{"name": "containerInsights", "value": "disabled"}]


def update_cluster_settings(handling: Handling) -> Output:
    """UpdateClusterSettings, by way of UpdateCluster, which moto has."""
    ecs = handling.place.client("ecs")
    answer = ecs.update_cluster(cluster=handling.params["cluster"], settings=handling.params["settings"])
    return {"cluster": answer["cluster"]}


def describe_clusters(handling: Handling) -> Output:
    """DescribeClusters: settings only if they are asked for, and then also those that were never set."""
    answer = handling.moto()
    asked = "SETTINGS" in handling.params.get("include", [])
    for cluster in answer.get("clusters", []):
        settings = cluster.pop("settings", [])
        if asked:
            cluster["settings"] = settings or _INSIGHTS_OFF
    return answer


def change_service(handling: Handling) -> Output:
    """CreateService and UpdateService, keeping the deployment configuration and settling at the desired count."""
    answer = handling.moto()
    service = answer["service"]
    if "deploymentConfiguration" in handling.params:
        kept = _configurations(handling.place).get(service["serviceArn"], {})
        _configurations(handling.place)[service["serviceArn"]] = kept | handling.params["deploymentConfiguration"]
    if "healthCheckGracePeriodSeconds" in handling.params:
        _grace_periods(handling.place)[service["serviceArn"]] = int(handling.params["healthCheckGracePeriodSeconds"])
    _settle(handling.place, service["serviceArn"])
    _complete(handling.place, service)
    return answer


def describe_services(handling: Handling) -> Output:
    answer = handling.moto()
    for service in answer.get("services", []):
        _complete(handling.place, service)
    return answer


def _configurations(place: Place) -> dict[str, dict[str, Any]]:
    return place.state("ecs")


def _grace_periods(place: Place) -> dict[str, int]:
    return place.state("ecs-grace-periods")


def _settle(place: Place, arn: str) -> None:
    """ECS starts what a service wants; moto leaves every task pending."""
    for service in place.backend("ecs").services.values():
        if service.arn == arn and service.status == "ACTIVE":
            service.running_count, service.pending_count = service.desired_count, 0
            for deployment in service.deployments:
                deployment.update(
                    runningCount=service.desired_count, pendingCount=0, rolloutState="COMPLETED", failedTasks=0
                )


def _complete(place: Place, service: Output) -> None:
    circuit = {"deploymentCircuitBreaker": {"enable": False, "rollback": False}}
    limits = {"maximumPercent": 200, "minimumHealthyPercent": 100}
    service["deploymentConfiguration"] = circuit | limits | _configurations(place).get(service["serviceArn"], {})
    service["healthCheckGracePeriodSeconds"] = _grace_periods(place).get(service["serviceArn"], 0)
    if service.get("status") == "ACTIVE":
        service["runningCount"], service["pendingCount"] = service["desiredCount"], 0


def update_function_configuration(handling: Handling) -> Output:
    """Lambda's UpdateFunctionConfiguration, with the tracing mode that moto ignores."""
    answer = handling.moto()
    if "TracingConfig" in handling.params:
        function = handling.place.backend("lambda").get_function(handling.params["FunctionName"])
        function.tracing_config = dict(handling.params["TracingConfig"])
        answer["TracingConfig"] = function.tracing_config
    return answer


def update_deployment_group(handling: Handling) -> Output:
    """CodeDeploy's UpdateDeploymentGroup, for what moto's deployment groups keep."""
    given = dict(handling.params)
    application, name = given.pop("applicationName"), given.pop("currentDeploymentGroupName")
    groups = handling.place.backend("codedeploy").deployment_groups.get(application, {})
    if name not in groups:
        raise AWSError("DeploymentGroupDoesNotExistException", f"No Deployment Group found for name: {name}", 400)
    for member, attribute in _GROUP_MEMBERS.items():
        if member in given:
            setattr(groups[name], attribute, given.pop(member))
    if given:
        raise AWSError("InvalidInputException", f"the sandbox does not change {', '.join(sorted(given))}", 400)
    return {"hooksNotCleanedUp": []}


_GROUP_MEMBERS = {"autoRollbackConfiguration": "auto_rollback_configuration", "serviceRoleArn": "service_role_arn"}
"""What is changed of a deployment group, by moto's names."""

OPERATIONS: Operations = {
    ("codedeploy", "UpdateDeploymentGroup"): update_deployment_group,
    ("ecs", "UpdateClusterSettings"): update_cluster_settings,
    ("ecs", "DescribeClusters"): describe_clusters,
    ("ecs", "CreateService"): change_service,
    ("ecs", "UpdateService"): change_service,
    ("ecs", "DescribeServices"): describe_services,
    ("lambda", "UpdateFunctionConfiguration"): update_function_configuration,
}
