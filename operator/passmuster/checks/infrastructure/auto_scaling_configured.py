"""Services, groups, tables, replicas and provisioned functions grow and shrink with their load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.application_autoscaling import SCALING, TARGETS
from passmuster.inventory.operations.autoscaling import GROUPS, POLICIES
from passmuster.inventory.operations.dynamodb import TABLE
from passmuster.inventory.operations.ecs import SERVICES, cluster_of
from passmuster.inventory.operations.lambda_ import PROVISIONED
from passmuster.inventory.operations.rds import DB_CLUSTERS, DB_INSTANCES, is_aurora, is_changing, is_going, status
from passmuster.inventory.snapshot import Row, View, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

DYNAMIC = ("TargetTrackingScaling", "StepScaling")
SIMPLE = (*DYNAMIC, "SimpleScaling")
ROOM, POLICY = "a maximum above its minimum", "a scaling policy"
EXPECTED = f"{ROOM} and {POLICY}"


@check(
    title="Capacity scales by itself",
    category=Category.INFRASTRUCTURE,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="A",
    calls=(
        *TARGETS.values(),
        *SCALING.values(),
        GROUPS,
        POLICIES,
        SERVICES,
        TABLE,
        DB_CLUSTERS,
        DB_INSTANCES,
        PROVISIONED,
    ),
    nothing="There is no service, group, provisioned table, Aurora replica or provisioned function that could scale",
    controls=Controls(
        config=("DYNAMODB_AUTOSCALING_ENABLED",),
        security_hub=("DynamoDB.1",),
        well_architected=("REL07-BP01", "COST09-BP03"),
    ),
)
def auto_scaling_configured(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Fixed capacity is too much at night and too little on the day it matters.

    A running service, an Auto Scaling group, both dimensions of a provisioned table, the readers of an Aurora cluster
    and a function's provisioned concurrency need room between minimum and maximum, and a policy that follows the load:
    target tracking or steps, for groups also simple and predictive scaling. A schedule alone is no policy, and equal
    bounds fail even on purpose. Scaling that is suspended passes with a warning. Not judged are daemons, services that
    are scaled to zero and are no scalable target, or that an external controller deploys, groups that may not run
    anything, tables on demand, clusters without a reader or of serverless members only, and functions on demand.
    """
    for subjects in (_services, _groups, _tables, _clusters, _functions):
        with view.judging(view.account_id):
            yield from subjects(view)


def _verdict(
    row: Row,
    arn: str,
    name: str,
    wrong: list[str],
    observed: str,
    facts: Mapping[str, str],
    warnings: tuple[str, ...] = (),
) -> Finding:
    if wrong:
        message = f"The {name} lacks {' and '.join(wrong)}"
        return failed(row.origin, arn, message, observed=observed, expected=EXPECTED, facts=facts)
    message = f"The {name} scales by itself"
    return passed(row.origin, arn, message, observed=observed, expected=EXPECTED, warnings=warnings)


def _in_transit(row: Row, arn: str, name: str, observed: str) -> Finding:
    message = f"The {name} is being changed"
    return unknown(row.origin, arn, message, Reason.IN_TRANSIT, observed=observed, expected=EXPECTED)


def _scalable(view: View, row: Row, arn: str, name: str, resource: str, capacities: Mapping[str, int]) -> Finding:
    """What Application Auto Scaling knows of a resource; it must scale in every dimension.

    `capacities` are the dimensions with what the resource has of each now.
    """
    dimensions = tuple(capacities)
    namespace = dimensions[0].partition(":")[0]

    def target(dimension: str) -> Row | None:
        return next((row for row in view.rows(TARGETS[namespace]) if _is(row, resource, dimension)), None)

    def has_room(dimension: str) -> bool:
        found = target(dimension)
        return found is not None and found["MinCapacity"] < found["MaxCapacity"]

    def has_policy(dimension: str) -> bool:
        return any(
            _is(policy, resource, dimension) and policy.get("PolicyType") in DYNAMIC
            for policy in view.rows(SCALING[namespace])
        )

    conditions: dict[str, Callable[[], bool]] = {}
    for dimension in dimensions:
        of = f" of {dimension.rpartition(':')[2]}" if len(dimensions) > 1 else ""
        conditions[ROOM + of] = partial(has_room, dimension)
        conditions[POLICY + of] = partial(has_policy, dimension)
    wrong = unmet(conditions)
    if wrong:
        known = [target for target in seen(view.rows(TARGETS[namespace])) if target.get("ResourceId") == resource]
        facts = _facts(namespace, resource, capacities, wrong, known)
        return _verdict(row, arn, name, wrong, ", ".join(f"not: {phrase}" for phrase in wrong), facts)
    found = [each for dimension in dimensions if (each := target(dimension)) is not None]
    observed = ", ".join(f"{each['MinCapacity']} to {each['MaxCapacity']}" for each in found)
    suspended = any((each.get("SuspendedState") or {}).get("DynamicScalingOutSuspended") for each in found)
    warnings = (f"the scaling of the {name} is suspended",) if suspended else ()
    return _verdict(row, arn, name, [], observed, {}, warnings)


def _facts(
    namespace: str, resource: str, capacities: Mapping[str, int], wrong: list[str], known: list[Row]
) -> dict[str, str]:
    """What a stack that makes the resource scale must know of each dimension: whether it has a target already, whether
    it lacks a policy, what it has now, and twice as much. The bounds of a target that somebody registered are theirs.
    """
    registered = {target["ScalableDimension"]: target for target in known}
    equal = [one for one in registered.values() if one["MinCapacity"] >= one["MaxCapacity"]]
    facts = {"serviceNamespace": namespace, "resourceId": resource, "bounds": "equal" if equal else "free"}
    if len(capacities) == 1:
        facts["scalableDimension"] = next(iter(capacities))
    for dimension, capacity in capacities.items():
        word = dimension.rpartition(":")[2] if len(capacities) > 1 else ""
        least = max(capacity, 1)
        facts |= {f"capacity{word}": str(least), f"double{word}": str(2 * least)}
        if dimension not in registered:
            facts[f"lacksTarget{word}"] = "true"
        if POLICY + (f" of {word}" if word else "") in wrong:
            facts[f"lacksPolicy{word}"] = "true"
    return facts


def _is(row: Row, resource: str, dimension: str) -> bool:
    return row.get("ResourceId") == resource and row.get("ScalableDimension") == dimension


def _services(view: View) -> Iterator[Finding]:
    for service in view.rows(SERVICES):
        external = (service.get("deploymentController") or {}).get("type") == "EXTERNAL"
        daemon = service.get("schedulingStrategy") == "DAEMON"
        if service.get("status") != "ACTIVE" or external or daemon:
            continue
        arn, name, count = service["serviceArn"], service["serviceName"], service.get("desiredCount") or 0
        resource = f"service/{cluster_of(service)}/{name}"
        with view.judging(arn, service.region):
            if count or any(target.get("ResourceId") == resource for target in view.rows(TARGETS["ecs"])):
                capacities = {"ecs:service:DesiredCount": count}
                yield _scalable(view, service, arn, f"service {name}", resource, capacities)


def _groups(view: View) -> Iterator[Finding]:
    for group in view.rows(GROUPS):
        if group.get("Status") or not group.get("MaxSize"):
            continue
        arn, name = group["AutoScalingGroupARN"], group["AutoScalingGroupName"]
        with view.judging(arn, group.region):
            least, most = group.get("MinSize") or 0, group["MaxSize"]
            wrong = unmet({ROOM: partial(_above, least, most), POLICY: partial(_has_policy, view, name)})
            processes = {process.get("ProcessName") for process in group.get("SuspendedProcesses") or ()}
            suspended = processes & {"AlarmNotification", "Launch"}
            warnings = (f"the scaling of the group {name} is suspended",) if suspended else ()
            facts = {"autoScalingGroupName": str(name), "bounds": "equal" if ROOM in wrong else "free"}
            yield _verdict(group, arn, f"group {name}", wrong, f"{least} to {most}", facts, warnings)


def _above(least: int, most: int) -> bool:
    return least < most


def _has_policy(view: View, group: str) -> bool:
    return any(
        policy.get("AutoScalingGroupName") == group
        and policy.get("Enabled") is not False
        and (policy.get("PolicyType") in SIMPLE or policy.get("PredictiveMode") == "ForecastAndScale")
        for policy in view.rows(POLICIES)
    )


def _tables(view: View) -> Iterator[Finding]:
    for table in view.rows(TABLE):
        on_demand = table.get("BillingMode") == "PAY_PER_REQUEST" or not table.get("ReadCapacityUnits")
        if on_demand or table.get("TableStatus") in ("DELETING", "ARCHIVING", "ARCHIVED"):
            continue
        arn, name = table["TableArn"], table["TableName"]
        if table.get("TableStatus") in ("CREATING", "UPDATING"):
            yield _in_transit(table, arn, f"table {name}", str(table["TableStatus"]))
            continue
        with view.judging(arn, table.region):
            units = ("ReadCapacityUnits", "WriteCapacityUnits")
            capacities = {f"dynamodb:table:{one}": int(table.get(one) or 1) for one in units}
            yield _scalable(view, table, arn, f"table {name}", f"table/{name}", capacities)


def _clusters(view: View) -> Iterator[Finding]:
    for cluster in view.rows(DB_CLUSTERS):
        members = cluster.get("DBClusterMembers") or ()
        readers = [member for member in members if not member.get("IsClusterWriter")]
        if not is_aurora(cluster) or not readers or is_going(cluster):
            continue
        arn, name = cluster["DBClusterArn"], cluster["DBClusterIdentifier"]
        with view.judging(arn, cluster.region):
            if is_changing(cluster):
                yield _in_transit(cluster, arn, f"cluster {name}", status(cluster))
            elif not cluster.get("ServerlessV2ScalingConfiguration") or not _all_serverless(view, name):
                capacities = {"rds:cluster:ReadReplicaCount": len(readers)}
                yield _scalable(view, cluster, arn, f"cluster {name}", f"cluster:{name}", capacities)


def _all_serverless(view: View, cluster: str) -> bool:
    return all(
        instance.get("DBInstanceClass") == "db.serverless"
        for instance in view.rows(DB_INSTANCES)
        if instance.get("DBClusterIdentifier") == cluster
    )


def _functions(view: View) -> Iterator[Finding]:
    for provisioned in view.rows(PROVISIONED):
        arn = provisioned["FunctionArn"]
        resource = "function:" + str(arn).partition(":function:")[2]
        name = f"provisioned concurrency of {resource.removeprefix('function:')}"
        if provisioned.get("Status") == "IN_PROGRESS":
            yield _in_transit(provisioned, arn, name, "IN_PROGRESS")
            continue
        with view.judging(arn, provisioned.region):
            now = int(provisioned.get("RequestedProvisionedConcurrentExecutions") or 1)
            capacities = {"lambda:function:ProvisionedConcurrency": now}
            yield _scalable(view, provisioned, arn, name, resource, capacities)
