"""A deployment that goes wrong is taken back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.codedeploy import DEPLOYMENT_GROUPS, rolls_back
from passmuster.inventory.operations.ecs import SERVICES, cluster_of, has_rollback
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Severity

EXPECTED = "circuit breaker or alarms with rollback"


@check(
    title="Failed deployments roll back",
    category=Category.OPERATIONS,
    phase=Phase.FOUNDATION,
    severity=Severity.MEDIUM,
    fix="I",
    calls=(SERVICES, DEPLOYMENT_GROUPS),
    nothing="There is no ECS service and no CodeDeploy deployment group",
    controls=Controls(
        config=("CODEDEPLOY_AUTO_ROLLBACK_MONITOR_ENABLED",),
        well_architected=("OPS06-BP04", "REL08-BP05"),
    ),
)
def deployment_rollback(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A bad release that stays until somebody notices is the most frequent outage there is.

    A service that ECS deploys needs the circuit breaker with its rollback, or alarms with theirs. One that CodeDeploy
    deploys is judged by its deployment group, and fails only where no group deploys it; an external controller is not
    ours to judge. A deployment group passes when it rolls back on failure, or on an alarm that it names.
    """
    with view.judging(view.account_id):
        for service in view.rows(SERVICES):
            if service.get("status") in (None, "ACTIVE"):
                with view.judging(service["serviceArn"], service.region):
                    yield from _service(view, service)
    for group in view.rows(DEPLOYMENT_GROUPS):
        yield _group(view, group)


def _service(view: View, service: Row) -> Iterator[Finding]:
    name, arn = f"service {service['serviceName']}", service["serviceArn"]
    controller = (service.get("deploymentController") or {}).get("type") or "ECS"
    if controller == "EXTERNAL":
        message = f"The {name} is deployed by an external controller"
        yield not_applicable(service.origin, arn, message, observed="controller EXTERNAL")
    elif controller == "CODE_DEPLOY":
        if not any(_deploys(group, service) for group in view.rows(DEPLOYMENT_GROUPS)):
            message = f"The {name} is left to CodeDeploy, but no deployment group deploys it"
            facts = _named(service) | {"kind": "code-deploy"}
            yield failed(service.origin, arn, message, observed="no deployment group", expected=EXPECTED, facts=facts)
    elif has_rollback(service):
        message, breaker = f"A failed deployment of the {name} rolls back", _breaker(service)
        way = "circuit breaker" if breaker.get("enable") and breaker.get("rollback") else "alarms"
        yield passed(service.origin, arn, message, observed=f"{way} with rollback", expected=EXPECTED)
    else:
        observed = "circuit breaker without rollback" if _breaker(service).get("enable") else "no circuit breaker"
        message = f"A failed deployment of the {name} stays"
        facts = _named(service) | _configured(service) | {"kind": "service"}
        yield failed(service.origin, arn, message, observed=observed, expected=EXPECTED, facts=facts)


def _breaker(service: Row) -> dict[str, Any]:
    return (service.get("deploymentConfiguration") or {}).get("deploymentCircuitBreaker") or {}


def _named(service: Row) -> dict[str, str]:
    return {
        "ServiceArn": service["serviceArn"],
        "ServiceName": service["serviceName"],
        "ClusterName": cluster_of(service),
    }


def _configured(service: Row) -> dict[str, str]:
    """The rest of the deployment configuration, which a change to the circuit breaker sends along as it is."""
    found = service.get("deploymentConfiguration") or {}
    return {
        "MaximumPercent": str(found.get("maximumPercent", 200)),
        "MinimumHealthyPercent": str(found.get("minimumHealthyPercent", 100)),
        "alarms": "some" if (found.get("alarms") or {}).get("alarmNames") else "none",
    }


def _deploys(group: Row, service: Row) -> bool:
    """A group for ECS that names no service, as AWS may leave it out, is taken to be meant."""
    if group.get("computePlatform") not in (None, "ECS"):
        return False
    cluster = service["clusterArn"].rsplit("/", 1)[-1] if service.get("clusterArn") else None
    named = group.get("ecsServices") or []
    return not named or any(
        one.get("serviceName") == service["serviceName"]
        and (cluster is None or str(one.get("clusterName", cluster)).rsplit("/", 1)[-1] == cluster)
        for one in named
    )


def _group(view: View, group: Row) -> Finding:
    title = f"{group.asked('applicationName')}/{group.asked('deploymentGroupName')}"
    arn = f"arn:{view.partition}:codedeploy:{group.region}:{view.account_id}:deploymentgroup:{title}"
    rollback = group.get("autoRollback") or {}
    events = ", ".join(rollback.get("events") or []) if rollback.get("enabled") else ""
    expected = "automatic rollback when a deployment fails or an alarm stops it"
    if rolls_back(group):
        message = f"A failed deployment of the group {title} rolls back"
        return passed(group.origin, arn, message, observed=events, expected=expected)
    message = f"A failed deployment of the group {title} stays"
    observed = f"rollback on {events} only" if events else "no automatic rollback"
    facts = {
        "kind": "deployment-group",
        "ApplicationName": str(group.asked("applicationName")),
        "DeploymentGroupName": str(group.asked("deploymentGroupName")),
    }
    return failed(group.origin, arn, message, observed=observed, expected=expected, facts=facts)
