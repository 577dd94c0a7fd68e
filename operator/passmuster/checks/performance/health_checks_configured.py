"""Every target group, group of instances and service notices a member that no longer answers."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.autoscaling import GROUPS
from passmuster.inventory.operations.ecs import SERVICES, TASK_DEFINITIONS, cluster_of
from passmuster.inventory.operations.elbv2 import TARGET_GROUPS
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Severity

GROUP_EXPECTED = "health check type ELB and a grace period"
GRACE = 300
"""Seconds that an instance gets to start where nobody said otherwise; AWS's own default in the console."""

SERVICE_EXPECTED = "a load balancer's health check with a grace period, or a container health check"


@check(
    title="Health checks are configured",
    category=Category.PERFORMANCE,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="I",
    calls=(TARGET_GROUPS, GROUPS, SERVICES, TASK_DEFINITIONS),
    nothing="There is no target group, no Auto Scaling group behind one and no ECS service",
    controls=Controls(
        config=("AUTOSCALING_GROUP_ELB_HEALTHCHECK_REQUIRED",),
        security_hub=("AutoScaling.1",),
        well_architected=("REL11-BP01",),
    ),
)
def health_checks_configured(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """What nobody asks for its health keeps receiving requests after it died.

    A target group must have its health check on; one of Lambda functions is not judged. An Auto Scaling group is judged
    if it is attached to a target group: instances that only EC2 checks are kept although the application on them is
    gone. An active ECS service is checked by its load balancer, or else by the health check of an essential container.
    A grace period of zero seconds is none; a service without load balancer needs none. Whether the members are healthy
    is another check's question.
    """
    yield from _target_groups(view)
    yield from _groups(view)
    yield from _services(view)


def _target_groups(view: View) -> Iterator[Finding]:
    with view.judging(view.account_id):
        for targets in view.rows(TARGET_GROUPS):
            if targets.get("TargetType") != "lambda":
                yield _target_group(targets)


def _groups(view: View) -> Iterator[Finding]:
    with view.judging(view.account_id):
        for group in view.rows(GROUPS):
            if _is_behind_target_group(group) and not group.get("Status"):
                yield _group(group)


def _services(view: View) -> Iterator[Finding]:
    with view.judging(view.account_id):
        for service in view.rows(SERVICES):
            if service.get("status") == "ACTIVE":
                with view.judging(service["serviceArn"], service.region):
                    yield _service(view, service)


def _target_group(targets: Row) -> Finding:
    arn, name = targets["TargetGroupArn"], targets["TargetGroupName"]
    if targets.get("HealthCheckEnabled") is False:
        return failed(
            targets.origin,
            arn,
            f"The target group {name} does not check its targets",
            observed="health check off",
            expected="health check on",
            facts={"kind": "target-group", "TargetGroupArn": arn},
        )
    message, on = f"The target group {name} checks its targets", "health check on"
    return passed(targets.origin, arn, message, observed=on, expected=on)


def _is_behind_target_group(group: Row) -> bool:
    sources = group.get("TrafficSources") or []
    return bool(group.get("TargetGroupARNs")) or any(source.get("Type") == "elbv2" for source in sources)


def _group(group: Row) -> Finding:
    arn, name = group["AutoScalingGroupARN"], group["AutoScalingGroupName"]
    kinds = str(group.get("HealthCheckType") or "EC2")
    grace = group.get("HealthCheckGracePeriod") or 0
    observed = f"health check type {kinds}, grace period {grace} s"
    facts = {
        "kind": "group",
        "AutoScalingGroupName": name,
        "AutoScalingGroupARN": arn,
        "GracePeriod": str(grace if grace > 0 else GRACE),
        "HealthCheckType": kinds if "ELB" in kinds.split(",") else f"{kinds},ELB".removeprefix("EC2,"),
    }
    if "ELB" not in kinds.split(","):
        message = f"The group {name} keeps instances that its load balancer found unhealthy"
        return failed(group.origin, arn, message, observed=observed, expected=GROUP_EXPECTED, facts=facts)
    if grace <= 0:
        message = f"The group {name} has no grace period and may replace instances while they start"
        return failed(group.origin, arn, message, observed=observed, expected=GROUP_EXPECTED, facts=facts)
    message = f"The group {name} replaces instances that its load balancer found unhealthy"
    return passed(group.origin, arn, message, observed=observed, expected=GROUP_EXPECTED)


def _service(view: View, service: Row) -> Finding:
    arn, name = service["serviceArn"], service["serviceName"]
    if not _is_behind_load_balancer(service):
        return _service_alone(view, service)
    grace = service.get("healthCheckGracePeriodSeconds") or 0
    observed = f"load balancer, grace period {grace} s"
    if grace <= 0:
        message = f"The service {name} has no grace period and may stop tasks while they start"
        facts = {"kind": "service", "ServiceArn": arn, "ServiceName": name, "ClusterName": cluster_of(service)}
        return failed(service.origin, arn, message, observed=observed, expected=SERVICE_EXPECTED, facts=facts)
    message = f"The service {name} is checked by its load balancer"
    return passed(service.origin, arn, message, observed=observed, expected=SERVICE_EXPECTED)


def _is_behind_load_balancer(service: Row) -> bool:
    task_sets = service.get("taskSets") or []
    return bool(service.get("loadBalancers")) or any(task_set.get("loadBalancers") for task_set in task_sets)


def _service_alone(view: View, service: Row) -> Finding:
    arn, name = service["serviceArn"], service["serviceName"]
    checked = [
        container["name"]
        for definition in view.rows(TASK_DEFINITIONS, service)
        for container in definition.get("containerDefinitions") or []
        if container.get("healthCheck") and container.get("essential") is not False
    ]
    if not checked:
        return failed(
            service.origin,
            arn,
            f"Nothing checks the health of the service {name}: no load balancer and no container health check",
            observed="no health check",
            expected=SERVICE_EXPECTED,
            facts={"kind": "container", "ServiceName": name, "ClusterName": cluster_of(service)},
        )
    return passed(
        service.origin,
        arn,
        f"The service {name} is checked in its containers",
        observed=f"health check of the container {', '.join(sorted(set(checked)))}",
        expected=SERVICE_EXPECTED,
    )
