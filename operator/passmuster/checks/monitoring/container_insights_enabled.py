"""Container Insights watches every cluster."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.operations.ecs import CLUSTER_SETTINGS
from passmuster.inventory.operations.eks import ADDON_PAGES, CLUSTER, CLUSTERS
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

ADDON_NAME = "amazon-cloudwatch-observability"
ADDON = Call(
    "eks",
    "DescribeAddon",
    each=ADDON_PAGES,
    over=f"addons[?@=='{ADDON_NAME}']",
    param={"clusterName": "request.clusterName", "addonName": "value"},
    keep="{status: addon.status, clusterName: addon.clusterName}",
    absent=("ResourceNotFoundException",),
    freshness=RARELY,
)
ON = ("enabled", "enhanced")
IN_TRANSIT = ("CREATING", "UPDATING")


@check(
    title="Container Insights watches every cluster",
    category=Category.MONITORING,
    phase=Phase.STABLE,
    severity=Severity.MEDIUM,
    fix="I",
    calls=(CLUSTER_SETTINGS, CLUSTERS, ADDON_PAGES, ADDON, CLUSTER),
    nothing="There is no ECS and no EKS cluster",
    controls=Controls(
        config=("ECS_CONTAINER_INSIGHTS_ENABLED",),
        security_hub=("ECS.12",),
        well_architected=("OPS04-BP02", "REL06-BP01"),
    ),
)
def container_insights_enabled(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Without metrics per task and container nobody sees which of them starves.

    An ECS cluster passes with the setting enabled or enhanced, an EKS cluster with the CloudWatch observability add-on
    active; agents installed by other means cannot be seen from outside the cluster.
    """
    with view.judging(view.account_id):
        for cluster in view.rows(CLUSTER_SETTINGS):
            with view.judging(cluster["clusterArn"], cluster.region):
                yield from _ecs(cluster)
    with view.judging(view.account_id):
        for cluster in view.rows(CLUSTERS):
            arn = f"arn:{view.partition}:eks:{cluster.region}:{view.account_id}:cluster/{cluster.data}"
            with view.judging(arn, cluster.region):
                yield from _eks(view, cluster, arn)


def _ecs(cluster: Row) -> Iterator[Finding]:
    name, arn, status = f"ECS cluster {cluster['clusterName']}", cluster["clusterArn"], cluster.get("status")
    if status in ("INACTIVE", "DEPROVISIONING"):
        return
    if status == "PROVISIONING":
        yield unknown(cluster.origin, arn, f"The {name} is being created", Reason.IN_TRANSIT, observed=status)
        return
    settings = {setting.get("name"): setting.get("value") for setting in cluster.get("settings") or []}
    value = settings.get("containerInsights") or "disabled"
    observed = f"containerInsights: {value}"
    expected = f"containerInsights: {' or '.join(ON)}"
    if value in ON:
        message = f"Container Insights watches the {name}"
        yield passed(cluster.origin, arn, message, observed=observed, expected=expected)
    else:
        message = f"Container Insights is off in the {name}"
        facts = {"ClusterName": cluster["clusterName"], "ClusterArn": arn}
        yield failed(cluster.origin, arn, message, observed=observed, expected=expected, facts=facts)


def _eks(view: View, cluster: Row, arn: str) -> Iterator[Finding]:
    name, expected = f"EKS cluster {cluster.data}", f"add-on {ADDON_NAME}: ACTIVE"
    for page in view.rows(ADDON_PAGES, cluster):
        for addon in view.rows(ADDON, page):
            status = addon.get("status")
            observed = f"add-on {ADDON_NAME}: {status}"
            if status == "ACTIVE":
                message = f"Container Insights watches the {name}"
                yield passed(addon.origin, arn, message, observed=observed, expected=expected)
            elif status in IN_TRANSIT:
                message = f"The observability add-on of the {name} is changing"
                yield unknown(addon.origin, arn, message, Reason.IN_TRANSIT, observed=observed, expected=expected)
            else:
                message = f"The observability add-on of the {name} does not work"
                facts = {"EksClusterName": str(cluster.data), "AddonStatus": str(status)}
                yield failed(addon.origin, arn, message, observed=observed, expected=expected, facts=facts)
            return
    described = view.row(CLUSTER, cluster)
    status = described.get("status") if described is not None else "DELETING"
    if status == "CREATING":
        yield unknown(cluster.origin, arn, f"The {name} is being created", Reason.IN_TRANSIT, observed=status)
    elif status != "DELETING":
        message = f"The {name} has no observability add-on"
        facts = {"ClusterName": str(cluster.data), "EksClusterName": str(cluster.data), "AddonStatus": "absent"}
        yield failed(cluster.origin, arn, message, observed="no add-on", expected=expected, facts=facts)
