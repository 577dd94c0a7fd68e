"""Every load balancer in use has a healthy target and cannot be deleted by accident."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations import autoscaling, ecs
from passmuster.inventory.operations.autoscaling import GROUPS
from passmuster.inventory.operations.ecs import SERVICES
from passmuster.inventory.operations.elbv2 import (
    LOAD_BALANCER_ATTRIBUTES,
    LOAD_BALANCERS,
    TARGET_GROUPS,
    TARGET_HEALTH,
)
from passmuster.inventory.operations.endpoints import public_balancers, state
from passmuster.inventory.snapshot import Row, View, first_of, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "a target group with at least one healthy target, and deletion protection"
HEALTHY, ATTACHED, PROTECTED = "a healthy target", "a load balancer", "deletion protection"


@check(
    title="Load balancers have healthy targets",
    category=Category.INFRASTRUCTURE,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="I",
    calls=(LOAD_BALANCERS, TARGET_GROUPS, TARGET_HEALTH, LOAD_BALANCER_ATTRIBUTES, SERVICES, GROUPS),
    nothing="There is no public load balancer, and no service or group behind or in need of one",
    parameters=(
        Parameter(
            "requireLoadBalancer",
            Kind.STRINGS,
            [],
            Stricter.MORE,
            "Regular expressions; a service or group whose name matches one must have a load balancer.",
            expression=True,
        ),
    ),
    controls=Controls(
        config=("ELB_DELETION_PROTECTION_ENABLED",),
        security_hub=("ELB.6", "ELB.9"),
        well_architected=("REL11-BP02", "PERF04-BP04"),
    ),
)
def load_balancing_healthy(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A load balancer without a healthy target answers every user with an error.

    Every internet-facing application or network load balancer is judged, whatever stands behind it: one of its target
    groups must have a healthy target, and deletion protection must be on. Accepting invalid header fields is a warning.
    ECS services and Auto Scaling groups are judged if they are registered in a target group: it must belong to a load
    balancer and have a healthy target, and an internal load balancer must be protected too. One without a load balancer
    fails only where `requireLoadBalancer` names it; one scaled to zero has no target to be healthy and is not judged. A
    function whose group has its health check off counts as healthy.
    """
    for subjects in (_balancers, _services, _groups):
        with view.judging(view.account_id):
            yield from subjects(view, parameters)


def _balancers(view: View, parameters: Parameters) -> Iterator[Finding]:
    for balancer in public_balancers(view):
        with view.judging(balancer["LoadBalancerArn"], balancer.region):
            yield _balancer(view, balancer)


def _balancer(view: View, balancer: Row) -> Finding:
    arn, name = balancer["LoadBalancerArn"], balancer["LoadBalancerName"]
    if state(balancer) == "provisioning":
        message = f"The load balancer {name} is being created"
        return unknown(balancer.origin, arn, message, Reason.IN_TRANSIT, expected=EXPECTED)
    conditions = {HEALTHY: partial(_has_healthy, view, arn), PROTECTED: partial(_protected, view, balancer)}
    wrong = unmet(conditions)
    if wrong:
        return failed(
            balancer.origin,
            arn,
            f"The load balancer {name} has no {' and no '.join(phrase.removeprefix('a ') for phrase in wrong)}",
            observed=", ".join(f"not: {phrase}" for phrase in wrong),
            expected=EXPECTED,
            facts={
                "loadBalancerArn": arn,
                "loadBalancerName": name,
                "missing": "deletion-protection" if PROTECTED in wrong else "healthy-target",
            },
        )
    drops = _attribute(view, balancer, "routing.http.drop_invalid_header_fields.enabled") == "true"
    lax = balancer.get("Type") == "application" and not drops
    warnings = (f"the load balancer {name} passes invalid header fields on",) if lax else ()
    message = f"The load balancer {name} has a healthy target"
    observed = ", ".join(conditions)
    return passed(balancer.origin, arn, message, observed=observed, expected=EXPECTED, warnings=warnings)


def _has_healthy(view: View, balancer: str) -> bool:
    groups = (group for group in view.rows(TARGET_GROUPS) if balancer in (group.get("LoadBalancerArns") or ()))
    return first_of(groups, partial(_serves, view)) is not None


def _serves(view: View, group: Row) -> bool:
    return any(_is_healthy(target.get("TargetHealth") or {}) for target in view.rows(TARGET_HEALTH, group))


def _is_healthy(health: dict[str, str]) -> bool:
    return health.get("State") == "healthy" or health.get("Reason") == "Target.HealthCheckDisabled"


def _attribute(view: View, balancer: Row, key: str) -> str:
    rows = view.rows(LOAD_BALANCER_ATTRIBUTES, balancer)
    return str(next((row.get("Value") for row in rows if row.get("Key") == key), ""))


def _protected(view: View, balancer: Row) -> bool:
    return _attribute(view, balancer, "deletion_protection.enabled") == "true"


def _services(view: View, parameters: Parameters) -> Iterator[Finding]:
    for service in view.rows(SERVICES):
        if service.get("status") == "ACTIVE":
            name, arn = service["serviceName"], service["serviceArn"]
            classic = any(entry.get("loadBalancerName") for entry in service.get("loadBalancers") or ())
            running = bool(service.get("desiredCount"))
            groups = ecs.target_groups(service)
            required = not classic and parameters.matches("requireLoadBalancer", name)
            yield from _workload(view, service, arn, f"service {name}", groups, running=running, required=required)


def _groups(view: View, parameters: Parameters) -> Iterator[Finding]:
    for group in view.rows(GROUPS):
        if not group.get("Status"):
            name, arn = group["AutoScalingGroupName"], group["AutoScalingGroupARN"]
            running = bool(group.get("DesiredCapacity"))
            groups = autoscaling.target_groups(group)
            required = not group.get("LoadBalancerNames") and parameters.matches("requireLoadBalancer", name)
            yield from _workload(view, group, arn, f"group {name}", groups, running=running, required=required)


def _workload(
    view: View, row: Row, arn: str, name: str, groups: set[str], *, running: bool, required: bool
) -> Iterator[Finding]:
    if not groups:
        if required:
            message = f"The {name} has no load balancer, and the policy demands one"
            facts = {"missing": "load-balancer", "workload": name}
            yield failed(row.origin, arn, message, observed="no load balancer", expected=EXPECTED, facts=facts)
        return
    if not running:
        return
    with view.judging(arn, row.region):
        wrong = unmet(_conditions(view, groups))
        if wrong:
            yield failed(
                row.origin,
                arn,
                f"The {name} is served without {' and without '.join(wrong)}",
                observed=", ".join(f"not: {phrase}" for phrase in wrong),
                expected=EXPECTED,
                facts={"missing": "service-target", "workload": name, "TargetGroupArns": ",".join(sorted(groups))},
            )
        else:
            message = f"The {name} has a load balancer with a healthy target"
            yield passed(row.origin, arn, message, observed=f"{ATTACHED}, {HEALTHY}", expected=EXPECTED)


def _conditions(view: View, arns: set[str]) -> dict[str, Callable[[], bool]]:
    def groups() -> Iterator[Row]:
        return (group for group in view.rows(TARGET_GROUPS) if group["TargetGroupArn"] in arns)

    def protected() -> bool:
        """Internet-facing load balancers are judged by themselves."""
        attached = {arn for group in groups() for arn in group.get("LoadBalancerArns") or ()}
        internal = [
            balancer
            for balancer in (view.rows(LOAD_BALANCERS) if attached else ())
            if balancer["LoadBalancerArn"] in attached and balancer.get("Scheme") == "internal"
        ]
        return all(_protected(view, balancer) for balancer in internal)

    return {
        ATTACHED: lambda: any(group.get("LoadBalancerArns") for group in groups()),
        HEALTHY: lambda: first_of(groups(), partial(_serves, view)) is not None,
        PROTECTED: protected,
    }
