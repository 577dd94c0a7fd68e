"""Clusters, their services and the task definitions in service.

Of a container's environment only the names stay, each with whether its value is an ARN; of a health check only that
there is one, because its command may hold anything.
"""

from passmuster.inventory.call import Call

CLUSTERS = Call("ecs", "ListClusters", items="clusterArns")
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
    'logGroup: logConfiguration.options."awslogs-group", '
    "environment: environment[].{name: name, arn: starts_with(value || '', 'arn:')}, secrets: secrets[].name}}",
)
"""The task definitions that active services and their task sets run."""
