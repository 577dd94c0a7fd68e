"""Clusters, their services and the task definitions in service.

Of a container's environment only the names stay, each with whether its value is an ARN or empty; of a health check only
that there is one, because its command may hold anything.
"""

from passmuster.inventory.call import UNCHANGING, Call
from passmuster.inventory.snapshot import Row

CLUSTERS = Call("ecs", "ListClusters", items="clusterArns")
CLUSTER_PAGES = Call("ecs", "ListClusters", keep=("clusterArns",))
"""The same request; one row is a page of ARNs, so that a hundred clusters are described with one request."""

CLUSTER_SETTINGS = Call(
    "ecs",
    "DescribeClusters",
    each=CLUSTER_PAGES,
    over="clusterArns",
    param="clusters",
    args={"include": ["SETTINGS"]},
    batch=100,
    items="clusters",
    keep=("clusterArn", "clusterName", "status", "settings"),
)
"""Settings come back only when they are asked for."""

SERVICE_PAGES = Call(
    "ecs",
    "ListServices",
    each=CLUSTERS,
    param="cluster",
    args={"maxResults": 100},
    keep=("serviceArns",),
    absent=("ClusterNotFoundException",),
)
"""One row is a page of ARNs, so that ten services are described with one request."""

SERVICES = Call(
    "ecs",
    "DescribeServices",
    each=SERVICE_PAGES,
    over="serviceArns",
    param={"services": "value", "cluster": "request.cluster"},
    batch=10,
    items="services",
    keep="{serviceArn: serviceArn, serviceName: serviceName, clusterArn: clusterArn, status: status, "
    "desiredCount: desiredCount, runningCount: runningCount, launchType: launchType, createdAt: createdAt, "
    "schedulingStrategy: schedulingStrategy, deploymentController: deploymentController, "
    "deploymentConfiguration: deploymentConfiguration, networkConfiguration: networkConfiguration, "
    "healthCheckGracePeriodSeconds: healthCheckGracePeriodSeconds, taskDefinition: taskDefinition, "
    "loadBalancers: loadBalancers, "
    "taskSets: taskSets[].{status: status, taskDefinition: taskDefinition, loadBalancers: loadBalancers, "
    "networkConfiguration: networkConfiguration}, "
    "deployments: deployments[].{status: status, taskDefinition: taskDefinition, rolloutState: rolloutState, "
    "serviceConnect: serviceConnectConfiguration.{enabled: enabled, namespace: namespace}}}",
    absent=("ClusterNotFoundException",),
)
TASK_DEFINITIONS = Call(
    "ecs",
    "DescribeTaskDefinition",
    each=SERVICES,
    over="[[@][?status=='ACTIVE'].taskDefinition, [@][?status=='ACTIVE'].taskSets[].taskDefinition][]",
    param="taskDefinition",
    keep="taskDefinition.{taskDefinitionArn: taskDefinitionArn, family: family, networkMode: networkMode, "
    "containerDefinitions: containerDefinitions[].{name: name, image: image, essential: essential, "
    "healthCheck: healthCheck && `true`, logDriver: logConfiguration.logDriver, "
    'logGroup: logConfiguration.options."awslogs-group", logRegion: logConfiguration.options."awslogs-region", '
    'logGroupCreated: logConfiguration.options."awslogs-create-group", '
    "routedLogGroup: logConfiguration.options.log_group_name, "
    "environment: environment[].{name: name, arn: starts_with(value || '', 'arn:'), empty: !value}, "
    "secrets: secrets[].name}}",
    freshness=UNCHANGING,
)
"""The task definitions that active services and their task sets run. A revision never changes: its successor has
another ARN."""

_HOST = "reverse(last_of(reverse(image), '/'))"
CONTAINER_IMAGES = Call(
    "ecs",
    "DescribeTaskDefinition",
    each=SERVICES,
    over=TASK_DEFINITIONS.over,
    param="taskDefinition",
    items="taskDefinition.containerDefinitions",
    keep=f"{{image: image, host: image && {_HOST}}}",
    freshness=UNCHANGING,
)
"""The same request; one row is a container, with the address of its image and the registry that it comes from."""


def has_rollback(service: Row) -> bool:
    """Whether a failed deployment by ECS is taken back: by the circuit breaker, or by alarms that are named."""
    configuration = service.get("deploymentConfiguration") or {}
    breaker, alarms = configuration.get("deploymentCircuitBreaker") or {}, configuration.get("alarms") or {}
    by_alarms = alarms.get("enable") and alarms.get("rollback") and alarms.get("alarmNames")
    return bool((breaker.get("enable") and breaker.get("rollback")) or by_alarms)


def cluster_of(service: Row) -> str:
    """The name of the cluster that a service is in."""
    return str(service.get("clusterArn") or service.asked("cluster")).rpartition("/")[2]


def target_groups(service: Row) -> set[str]:
    """The target groups that a service's tasks are registered in, by itself or by its task sets."""
    entries = list(service.get("loadBalancers") or ())
    for task_set in service.get("taskSets") or ():
        entries.extend(task_set.get("loadBalancers") or ())
    return {str(entry["targetGroupArn"]) for entry in entries if entry.get("targetGroupArn")}


def subnets(service: Row) -> set[str]:
    """The subnets that a service or its task sets put tasks into; none where the instances' network is used."""
    parts = [service, *(service.get("taskSets") or ())]
    settings = [(part.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {} for part in parts]
    return {subnet for setting in settings for subnet in setting.get("subnets") or ()}
