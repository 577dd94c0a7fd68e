"""Every load balancer, database, service, function and dead-letter queue has a working alarm per golden signal."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache, cached_property, partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.cloudwatch import ALARM_TOPICS, COMPOSITE_ALARMS, METRIC_ALARMS, NAMED, metrics_of
from passmuster.inventory.operations.ecs import CLUSTER_SETTINGS, SERVICES, cluster_of, target_groups
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS, TARGET_GROUPS, served_groups
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.rds import (
    DB_CLUSTERS,
    DB_INSTANCES,
    is_aurora,
    is_changing,
    is_going,
    is_rds,
    status,
)
from passmuster.inventory.operations.sns import ALARM_TOPIC_SUBSCRIPTIONS, TOPICS
from passmuster.inventory.operations.sqs import QUEUE_ATTRIBUTES, QUEUES
from passmuster.inventory.operations.ssm_incidents import RESPONSE_PLANS
from passmuster.inventory.operations.synthetics import CANARY_FUNCTION
from passmuster.inventory.snapshot import Row, View, any_of, first_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

OWN_TOPIC = re.compile(r":passmuster-[^:]*-alarm-topic-[^:]*$")
"""The topics that our own remediation makes for alarms, by the names that CloudFormation gives them."""

SILENT_AFTER = timedelta(days=7)
HOSTS = ("UnHealthyHostCount", "HealthyHostCount")
ECS, INSIGHTS = "AWS/ECS", "ECS/ContainerInsights"
APPLICATION, NETWORK, GATEWAY = "AWS/ApplicationELB", "AWS/NetworkELB", "AWS/GatewayELB"

Conditions = dict[str, Callable[[], bool]]
Names = Callable[[], frozenset[str]]


@check(
    title="Golden signals have alarms",
    category=Category.MONITORING,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="A",
    calls=(
        METRIC_ALARMS,
        COMPOSITE_ALARMS,
        ALARM_TOPICS,
        ALARM_TOPIC_SUBSCRIPTIONS,
        TOPICS,
        TARGET_GROUPS,
        RESPONSE_PLANS,
        LOAD_BALANCERS,
        DB_INSTANCES,
        DB_CLUSTERS,
        SERVICES,
        CLUSTER_SETTINGS,
        FUNCTIONS,
        QUEUES,
        QUEUE_ATTRIBUTES,
    ),
    nothing="There is no load balancer, RDS database, ECS service, function or dead-letter queue",
    controls=Controls(
        config=("CLOUDWATCH_ALARM_RESOURCE_CHECK", "CLOUDWATCH_ALARM_ACTION_CHECK", "CLOUDWATCH_ALARM_SETTINGS_CHECK"),
        security_hub=(*(f"CloudWatch.{number}" for number in range(1, 15)), "CloudWatch.16"),
        well_architected=("REL06-BP03", "OPS08-BP04"),
    ),
)
def golden_signal_alarms(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """What nobody is told about is found by the customers.

    An alarm belongs to a resource by the dimensions of its metrics, those of metric math included. It works when it, or
    a composite alarm that fires with it, has its actions enabled and leads to a topic, function or response plan that
    exists, and when it has not been without data for more than seven days, unless missing data is declared good.

    Signals by kind. Application load balancer: 5XX, response time, healthy hosts; network and gateway load balancer:
    healthy hosts; RDS: CPU, free storage (Aurora: local storage), connections, by instance or by its cluster; ECS
    service: CPU, memory, the healthy hosts of its target group where it has one, and running tasks where Container
    Insights is on; function: errors, throttles; dead-letter queue: age. Healthy hosts are watched by either host count.
    The functions of canaries are watched by the alarms of their canaries.
    """
    alarms = _Alarms(view, evidence.now)
    for kind in (_load_balancers, _databases, _services, _functions, _queues):
        with view.judging(view.account_id):
            yield from kind(view, alarms)


class _Alarms:
    """The alarms of a region, by what they look at, and whether they reach anybody."""

    def __init__(self, view: View, now: datetime) -> None:
        self._view = view
        self._now = now
        self._served = cache(lambda: served_groups(view))

    def watch(self, namespaces: tuple[str, ...], names: tuple[str, ...], dimensions: Mapping[str, str]) -> bool:
        """Whether a working alarm looks at one of these metrics of the resource with these dimensions."""
        return first_of(self._looking_at(namespaces, names, dimensions), self._works) is not None

    def told(self, region: str) -> dict[str, str]:
        """The topic that a new alarm should tell: one that alarms of the region tell, else our own, or its lack."""
        known = (row["TopicArn"] for row in seen(self._view.rows(TOPICS)) if row.region == region)
        topics = [arn for arn in known if self._used[arn] or OWN_TOPIC.search(arn)]
        best = min(topics, key=lambda arn: (-self._used[arn], arn), default=None)
        return {"TopicArn": best} if best is not None else {"lacksTopicIn": region}

    @cached_property
    def _used(self) -> Counter[str]:
        """How many alarms name an action, of those that act at all, as far as they could be read."""
        return Counter(
            action
            for alarm in seen(self._view.rows(METRIC_ALARMS))
            if alarm.get("ActionsEnabled", True)
            for action in alarm.get("AlarmActions") or ()
        )

    def target_group(self, balancer: str = "", arns: Container[str] = ()) -> dict[str, str]:
        """The dimensions of the hosts of a target group of the load balancer, or one of these; the first by name."""
        for row in self._served():
            if balancer in row["LoadBalancerArns"] or row["TargetGroupArn"] in arns:
                served_by = str(row["LoadBalancerArns"][0]).partition(":loadbalancer/")[2]
                namespace = NETWORK if served_by.startswith("net/") else APPLICATION
                name = str(row["TargetGroupArn"]).rpartition(":")[2]
                return {"TargetGroup": name, "TargetLoadBalancer": served_by, "TargetNamespace": namespace}
        return {}

    def _looking_at(
        self, namespaces: tuple[str, ...], names: tuple[str, ...], dimensions: Mapping[str, str]
    ) -> Iterator[Row]:
        first = next(iter(dimensions.items()))
        for namespace in namespaces:
            for name in names:
                for having, alarm in self._by_metric.get((namespace, name, *first), ()):
                    if dimensions.items() <= having.items() and ("Role" in dimensions or "Role" not in having):
                        yield alarm

    @cached_property
    def _by_metric(self) -> dict[tuple[str, str, str, str], list[tuple[dict[str, str], Row]]]:
        found: dict[tuple[str, str, str, str], list[tuple[dict[str, str], Row]]] = defaultdict(list)
        for alarm in self._view.rows(METRIC_ALARMS):
            for metric in metrics_of(alarm):
                if metric.account in (None, self._view.account_id):
                    for dimension in metric.dimensions.items():
                        found[(metric.namespace, metric.name, *dimension)].append((metric.dimensions, alarm))
        return found

    @cached_property
    def _parents(self) -> dict[str, list[Row]]:
        """The composite alarms that fire when the named one does, by name and by ARN."""
        found: dict[str, list[Row]] = defaultdict(list)
        for alarm in self._view.rows(COMPOSITE_ALARMS):
            for negated, *name in NAMED.findall(alarm.get("AlarmRule") or ""):
                if not negated:
                    found["".join(name)].append(alarm)
        return found

    @cached_property
    def _topics(self) -> dict[str, Row]:
        return {row["TopicArn"]: row for row in self._view.rows(ALARM_TOPICS)}

    def _works(self, alarm: Row) -> bool:
        return not self._is_silent(alarm) and first_of(self._lineage(alarm), self._notifies) is not None

    def _is_silent(self, alarm: Row) -> bool:
        since = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
        without_data = (
            alarm.get("StateValue") == "INSUFFICIENT_DATA" and alarm.get("TreatMissingData") != "notBreaching"
        )
        return without_data and since is not None and self._now - since > SILENT_AFTER

    def _lineage(self, alarm: Row) -> Iterator[Row]:
        """The alarm, then the composite alarms above it."""
        waiting, met = [alarm], set()
        while waiting:
            one = waiting.pop(0)
            if one["AlarmName"] in met:
                continue
            met.add(one["AlarmName"])
            yield one
            waiting.extend(self._parents.get(one["AlarmName"], ()))
            waiting.extend(self._parents.get(one.get("AlarmArn") or "", ()))

    def _notifies(self, alarm: Row) -> bool:
        return (
            alarm.get("ActionsEnabled", True) and first_of(alarm.get("AlarmActions") or (), self._is_live) is not None
        )

    def _is_live(self, action: str) -> bool:
        service = action.split(":")[2] if action.count(":") > 4 else ""
        match service:
            case "sns":
                return self._view.row(ALARM_TOPIC_SUBSCRIPTIONS, self._topics[action]) is not None
            case "lambda":
                owner, name = action.split(":")[4], action.split(":")[6]
                functions = (row["FunctionName"] for row in self._view.rows(FUNCTIONS))
                return owner != self._view.account_id or any(function == name for function in functions)
            case "ssm-incidents":
                return any(plan["arn"] == action for plan in self._view.rows(RESPONSE_PLANS))
            case _:
                return False


def _verdict(
    row: Row, arn: str, name: str, alarms: _Alarms, conditions: Conditions, facts: Mapping[str, str]
) -> Finding:
    missing = unmet(conditions)
    expected = f"a working alarm for {', '.join(conditions)}"
    if not missing:
        message = f"The {name} has an alarm for every golden signal"
        return passed(row.origin, arn, message, observed=expected, expected=expected)
    return failed(
        row.origin,
        arn,
        f"The {name} has no working alarm for {', '.join(missing)}",
        observed=f"no working alarm for {', '.join(missing)}",
        expected=expected,
        facts={
            **facts,
            **alarms.told(row.region),
            **{f"lacks {signal.partition(' (')[0]}": "true" for signal in missing},
            "missing": ",".join(missing),
        },
    )


def _load_balancers(view: View, alarms: _Alarms) -> Iterator[Finding]:
    for row in view.rows(LOAD_BALANCERS):
        arn, name = row["LoadBalancerArn"], f"load balancer {row.get('LoadBalancerName')}"
        with view.judging(arn, row.region):
            if (row.get("State") or {}).get("Code") == "provisioning":
                yield unknown(row.origin, arn, f"The {name} is being created", Reason.IN_TRANSIT)
                continue
            dimension = {"LoadBalancer": arn.partition(":loadbalancer/")[2]}
            kind = str(row.get("Type"))
            facts = {"kind": kind, **dimension, **alarms.target_group(arn)}
            yield _verdict(row, arn, name, alarms, _balancer_conditions(alarms, kind, dimension), facts)


def _balancer_conditions(alarms: _Alarms, kind: str, dimension: dict[str, str]) -> Conditions:
    if kind != "application":
        return {"healthy hosts": lambda: alarms.watch((NETWORK, GATEWAY), HOSTS, dimension)}
    errors = ("HTTPCode_ELB_5XX_Count", "HTTPCode_Target_5XX_Count")
    return {
        "5XX": lambda: alarms.watch((APPLICATION,), errors, dimension),
        "response time": lambda: alarms.watch((APPLICATION,), ("TargetResponseTime",), dimension),
        "healthy hosts": lambda: alarms.watch((APPLICATION,), HOSTS, dimension),
    }


def _databases(view: View, alarms: _Alarms) -> Iterator[Finding]:
    for row in view.rows(DB_INSTANCES):
        if not is_rds(row) or is_going(row):
            continue
        arn, name = row["DBInstanceArn"], f"database {row['DBInstanceIdentifier']}"
        with view.judging(arn, row.region):
            if is_changing(row):
                yield unknown(row.origin, arn, f"The {name} is {status(row)}", Reason.IN_TRANSIT)
                continue
            facts = {
                "DBInstanceIdentifier": row["DBInstanceIdentifier"],
                "storageMetric": "FreeLocalStorage" if is_aurora(row) else "FreeStorageSpace",
            }
            yield _verdict(row, arn, name, alarms, _database_conditions(view, alarms, row), facts)


def _database_conditions(view: View, alarms: _Alarms, row: Row) -> Conditions:
    def watched(*names: str) -> bool:
        instance, cluster = row["DBInstanceIdentifier"], row.get("DBClusterIdentifier")
        if not cluster:
            return alarms.watch(("AWS/RDS",), names, {"DBInstanceIdentifier": instance})
        whole = {"DBClusterIdentifier": cluster}
        return any_of(
            lambda: alarms.watch(("AWS/RDS",), names, {"DBInstanceIdentifier": instance}),
            lambda: alarms.watch(("AWS/RDS",), names, whole),
            lambda: alarms.watch(("AWS/RDS",), names, {**whole, "Role": _role(view, cluster, instance)}),
        )

    storage = "FreeLocalStorage" if is_aurora(row) else "FreeStorageSpace"
    return {
        "CPU": lambda: watched("CPUUtilization"),
        "free storage": lambda: watched(storage),
        "connections": lambda: watched("DatabaseConnections"),
    }


def _role(view: View, cluster: str, instance: str) -> str:
    for row in view.rows(DB_CLUSTERS):
        if row["DBClusterIdentifier"] == cluster:
            for member in row.get("DBClusterMembers") or []:
                if member.get("DBInstanceIdentifier") == instance:
                    return "WRITER" if member.get("IsClusterWriter") else "READER"
    return "READER"


def _services(view: View, alarms: _Alarms) -> Iterator[Finding]:
    for row in view.rows(SERVICES):
        if row.get("status") != "ACTIVE":
            continue
        with view.judging(row["serviceArn"], row.region):
            service = {"ClusterName": cluster_of(row), "ServiceName": row["serviceName"]}
            conditions = _service_conditions(view, alarms, row, service)
            facts = {**service, **alarms.target_group(arns=target_groups(row))}
            yield _verdict(row, row["serviceArn"], f"service {row['serviceName']}", alarms, conditions, facts)


def _service_conditions(view: View, alarms: _Alarms, row: Row, service: dict[str, str]) -> Conditions:
    groups = sorted(arn.rpartition(":")[2] for arn in target_groups(row))
    conditions: Conditions = {
        "CPU": lambda: alarms.watch((ECS, INSIGHTS), ("CPUUtilization", "CpuUtilized", "TaskCpuUtilization"), service),
        "memory": lambda: alarms.watch(
            (ECS, INSIGHTS), ("MemoryUtilization", "MemoryUtilized", "TaskMemoryUtilization"), service
        ),
        "running tasks (with Container Insights)": lambda: any_of(
            lambda: not _has_insights(view, row["clusterArn"]),
            lambda: alarms.watch((INSIGHTS,), ("RunningTaskCount",), service),
        ),
    }
    if groups:
        conditions["healthy hosts"] = lambda: (
            first_of(groups, lambda group: alarms.watch((APPLICATION, NETWORK), HOSTS, {"TargetGroup": group}))
            is not None
        )
    return conditions


def _has_insights(view: View, cluster: str) -> bool:
    for row in view.rows(CLUSTER_SETTINGS):
        if row["clusterArn"] == cluster:
            settings = {one.get("name"): one.get("value") for one in row.get("settings") or []}
            return settings.get("containerInsights") in ("enabled", "enhanced")
    return False


def _functions(view: View, alarms: _Alarms) -> Iterator[Finding]:
    for row in view.rows(FUNCTIONS):
        if str(row["FunctionName"]).startswith(CANARY_FUNCTION):
            continue
        arn, name = row["FunctionArn"], f"function {row['FunctionName']}"
        with view.judging(arn, row.region):
            if row.get("State") == "Pending":
                yield unknown(row.origin, arn, f"The {name} is being created", Reason.IN_TRANSIT)
                continue
            dimension = {"FunctionName": row["FunctionName"]}
            yield _verdict(row, arn, name, alarms, _function_conditions(alarms, dimension), dimension)


def _function_conditions(alarms: _Alarms, dimension: dict[str, str]) -> Conditions:
    return {
        "errors": lambda: alarms.watch(("AWS/Lambda",), ("Errors",), dimension),
        "throttles": lambda: alarms.watch(("AWS/Lambda",), ("Throttles",), dimension),
    }


def _queues(view: View, alarms: _Alarms) -> Iterator[Finding]:
    """The queues of the region that another queue or a function sends its dead letters to."""
    known: Names = cache(lambda: frozenset(seen(_dead_letter_targets(view))))
    every: Names = cache(lambda: frozenset(_dead_letter_targets(view)))
    for queue in view.rows(QUEUES):
        name = str(queue.data).rpartition("/")[2]
        arn = f"arn:{view.partition}:sqs:{queue.region}:{view.account_id}:{name}"
        with view.judging(arn, queue.region):
            if any_of(partial(_is_among, arn, known), partial(_is_among, arn, every)):
                dimension = {"QueueName": name}
                title, conditions = f"dead-letter queue {name}", _queue_conditions(alarms, dimension)
                yield _verdict(queue, arn, title, alarms, conditions, dimension)


def _is_among(arn: str, names: Names) -> bool:
    return arn in names()


def _queue_conditions(alarms: _Alarms, dimension: dict[str, str]) -> Conditions:
    return {"age": lambda: alarms.watch(("AWS/SQS",), ("ApproximateAgeOfOldestMessage",), dimension)}


def _dead_letter_targets(view: View) -> Iterator[str]:
    for row in view.rows(QUEUE_ATTRIBUTES):
        if row.get("RedrivePolicy"):
            yield json.loads(row["RedrivePolicy"]).get("deadLetterTargetArn") or ""
    for row in view.rows(FUNCTIONS):
        yield (row.get("DeadLetterConfig") or {}).get("TargetArn") or ""
