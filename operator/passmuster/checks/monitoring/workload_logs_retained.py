"""Every workload writes logs, and its log groups keep them as long as the policy wants and not for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.apigateway import API_STAGES, APIS, REST_APIS, STAGES
from passmuster.inventory.operations.ecs import SERVICES, TASK_DEFINITIONS
from passmuster.inventory.operations.elbv2 import LOAD_BALANCER_ATTRIBUTES, LOAD_BALANCERS
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.logs import LOG_GROUPS
from passmuster.inventory.operations.rds import DB_CLUSTERS, DB_INSTANCES, is_changing, is_going, is_rds, status
from passmuster.inventory.snapshot import Row, View, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

LEVELS = ("ERROR", "INFO")
ON_THE_INSTANCE = ("json-file", "journald")


@check(
    title="Workloads log, and logs are kept",
    category=Category.MONITORING,
    phase=Phase.FOUNDATION,
    severity=Severity.MEDIUM,
    fix="IA",
    calls=(
        SERVICES,
        TASK_DEFINITIONS,
        FUNCTIONS,
        DB_INSTANCES,
        DB_CLUSTERS,
        LOAD_BALANCERS,
        LOAD_BALANCER_ATTRIBUTES,
        REST_APIS,
        STAGES,
        APIS,
        API_STAGES,
        LOG_GROUPS,
    ),
    nothing="No service, function, RDS database, application load balancer or API stage is there to log",
    parameters=(
        Parameter(
            "minRetentionDays",
            Kind.INTEGER,
            30,
            Stricter.HIGHER,
            "The shortest time that the log groups of workloads may keep their logs.",
            minimum=1,
            maximum=3653,
        ),
        Parameter(
            "neverExpire",
            Kind.STRINGS,
            [],
            Stricter.FEWER,
            "Regular expressions; log groups whose name matches one may keep their logs for ever.",
            expression=True,
        ),
    ),
    controls=Controls(
        config=("CW_LOGGROUP_RETENTION_PERIOD_CHECK", "ECS_TASK_DEFINITION_LOG_CONFIGURATION", "ELB_LOGGING_ENABLED"),
        security_hub=("ECS.9", "ELB.5", "RDS.9", "CloudWatch.16"),
        well_architected=("REL06-BP01", "SEC04-BP01", "OPS04-BP02"),
    ),
)
def workload_logs_retained(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """After an incident the logs are either there or they are not; a group that never forgets only costs.

    Judged are the task definitions of active services (every container has a log driver), functions, RDS databases (at
    least one log is exported; which ones is another check), application load balancers (access logs) and API stages
    (access or execution logs), each with its own log groups. A function, an exported log or a group that the driver
    creates may have no group yet: that passes with a warning. Groups of another region are not looked at.
    """
    groups = _Groups(view, parameters)
    for kind in (_task_definitions, _functions, _databases, _clusters, _load_balancers, _rest_stages, _api_stages):
        with view.judging(view.account_id):
            yield from kind(view, groups)


@dataclass(frozen=True, slots=True)
class _Expected:
    """A log group that a workload writes to; `created` if it comes into being with the first line."""

    name: str
    created: bool = True


class _Groups:
    """The log groups of a region and the verdict on a workload that writes to some of them."""

    def __init__(self, view: View, parameters: Parameters) -> None:
        self._known: Callable[[], dict[str, Row]] = cache(lambda: _by_name(seen(view.rows(LOG_GROUPS))))
        self._every: Callable[[], dict[str, Row]] = cache(lambda: _by_name(view.rows(LOG_GROUPS)))
        self._parameters = parameters
        self._least = parameters["minRetentionDays"]

    def verdict(
        self,
        row: Row,
        arn: str,
        name: str,
        *,
        faults: list[str],
        groups: list[_Expected],
        warnings: tuple[str, ...] = (),
    ) -> Finding:
        expected = f"logs in groups that keep them {self._least} days or longer, not for ever"
        short = {group.name: fault for group in groups if (fault := self._fault(group))}
        others = list(faults)
        faults = [*faults, *short.values()]
        if faults:
            facts = {
                "LogGroupNames": ",".join(short),
                "service": arn.split(":")[2],
                "Subject": name,
                "Faults": ", ".join(others),
            }
            message = f"The logs of the {name} are not kept as they should be: {', '.join(faults)}"
            return failed(row.origin, arn, message, observed=", ".join(faults), expected=expected, facts=facts)
        missing = [group for group in groups if group.name not in self._known() and group.name not in self._every()]
        lost = [f"log group {group.name} does not exist" for group in missing if not group.created]
        if lost:
            facts = {"missing": "log-group", "Subject": name, "LostGroups": ",".join(g.name for g in missing)}
            message, observed = f"The {name} logs to nowhere", ", ".join(lost)
            return failed(row.origin, arn, message, observed=observed, expected=expected, facts=facts)
        notes = tuple(f"the log group {group.name} does not exist yet" for group in missing)
        observed = ", ".join(dict.fromkeys(map(self._told, groups))) or "logs are on"
        return passed(
            row.origin, arn, f"The {name} logs", observed=observed, expected=expected, warnings=(*warnings, *notes)
        )

    def _told(self, expected: _Expected) -> str:
        group = self._known().get(expected.name)
        if group is None:
            return f"log group {expected.name} keeps nothing yet"
        days = group.get("retentionInDays")
        return f"log group {expected.name} keeps {'for ever' if days is None else f'{days} days'}"

    def _fault(self, expected: _Expected) -> str | None:
        group = self._known().get(expected.name)
        if group is None:
            return None
        days = group.get("retentionInDays")
        if days is None:
            allowed = self._parameters.matches("neverExpire", expected.name)
            return None if allowed else f"log group {expected.name} never expires"
        return None if days >= self._least else f"log group {expected.name} keeps {days} days"


def _by_name(rows: Iterator[Row] | list[Row]) -> dict[str, Row]:
    return {row["logGroupName"]: row for row in rows}


def _task_definitions(view: View, groups: _Groups) -> Iterator[Finding]:
    judged: set[str] = set()
    for service in view.rows(SERVICES):
        if service.get("status") != "ACTIVE":
            continue
        with view.judging(service["serviceArn"], service.region):
            for row in view.rows(TASK_DEFINITIONS, service):
                if row["taskDefinitionArn"] not in judged:
                    with view.judging(row["taskDefinitionArn"], row.region):
                        yield _task_definition(row, groups)
                    judged.add(row["taskDefinitionArn"])


def _task_definition(row: Row, groups: _Groups) -> Finding:
    faults, warnings, expected = [], [], []
    for container in row.get("containerDefinitions") or []:
        name, driver, region = container["name"], container.get("logDriver"), container.get("logRegion")
        if not driver:
            faults.append(f"container {name} has no log driver")
        elif driver in ON_THE_INSTANCE:
            warnings.append(f"the logs of the container {name} stay on the instance ({driver})")
        elif driver == "awslogs" and region not in (None, row.region):
            warnings.append(f"the container {name} logs to {region}, which is not looked at")
        elif driver == "awslogs" and container.get("logGroup"):
            expected.append(_Expected(container["logGroup"], str(container.get("logGroupCreated")).lower() == "true"))
        elif container.get("routedLogGroup") and "$" not in container["routedLogGroup"]:
            expected.append(_Expected(container["routedLogGroup"]))
    arn = row["taskDefinitionArn"]
    name = f"task definition {arn.rpartition('/')[2]}"
    return groups.verdict(row, arn, name, faults=faults, groups=expected, warnings=tuple(warnings))


def _functions(view: View, groups: _Groups) -> Iterator[Finding]:
    for row in view.rows(FUNCTIONS):
        group = (row.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{row['FunctionName']}"
        with view.judging(row["FunctionArn"], row.region):
            name = f"function {row['FunctionName']}"
            yield groups.verdict(row, row["FunctionArn"], name, faults=[], groups=[_Expected(group)])


def _databases(view: View, groups: _Groups) -> Iterator[Finding]:
    for row in view.rows(DB_INSTANCES):
        if not row.get("DBClusterIdentifier"):
            yield from _database(view, groups, row, row["DBInstanceArn"], f"instance/{row['DBInstanceIdentifier']}")


def _clusters(view: View, groups: _Groups) -> Iterator[Finding]:
    for row in view.rows(DB_CLUSTERS):
        yield from _database(view, groups, row, row["DBClusterArn"], f"cluster/{row['DBClusterIdentifier']}")


def _database(view: View, groups: _Groups, row: Row, arn: str, path: str) -> Iterator[Finding]:
    if not is_rds(row) or is_going(row) or str(row["Engine"]).startswith("custom-"):
        return
    name = f"database {path.partition('/')[2]}"
    with view.judging(arn, row.region):
        if is_changing(row):
            yield unknown(row.origin, arn, f"The {name} is {status(row)}", Reason.IN_TRANSIT)
            return
        exports = row.get("EnabledCloudwatchLogsExports") or []
        faults = [] if exports else ["no log is exported to CloudWatch Logs"]
        expected = [_Expected(f"/aws/rds/{path}/{log}") for log in exports]
        yield groups.verdict(row, arn, name, faults=faults, groups=expected)


def _load_balancers(view: View, groups: _Groups) -> Iterator[Finding]:
    for row in view.rows(LOAD_BALANCERS):
        if row.get("Type") != "application":
            continue
        arn, name = row["LoadBalancerArn"], f"load balancer {row.get('LoadBalancerName')}"
        with view.judging(arn, row.region):
            if (row.get("State") or {}).get("Code") == "provisioning":
                yield unknown(row.origin, arn, f"The {name} is being created", Reason.IN_TRANSIT)
                continue
            attributes = {one["Key"]: one.get("Value") for one in view.rows(LOAD_BALANCER_ATTRIBUTES, row)}
            logs = attributes.get("access_logs.s3.enabled") == "true"
            yield groups.verdict(row, arn, name, faults=[] if logs else ["no access logs"], groups=[])


def _rest_stages(view: View, groups: _Groups) -> Iterator[Finding]:
    for api in view.rows(REST_APIS):
        base = f"arn:{view.partition}:apigateway:{api.region}::/restapis/{api['id']}"
        with view.judging(base, api.region):
            for row in view.rows(STAGES, api):
                levels = [level for level in row.get("loggingLevels") or [] if level in LEVELS]
                execution = f"API-Gateway-Execution-Logs_{api['id']}/{row['stageName']}" if levels else ""
                name = f"stage {row['stageName']} of {api.get('name') or api['id']}"
                yield from _stage(view, groups, row, f"{base}/stages/{row['stageName']}", name, execution)


def _api_stages(view: View, groups: _Groups) -> Iterator[Finding]:
    for api in view.rows(APIS):
        base = f"arn:{view.partition}:apigateway:{api.region}::/apis/{api['ApiId']}"
        with view.judging(base, api.region):
            for row in view.rows(API_STAGES, api):
                on = api.get("ProtocolType") == "WEBSOCKET" and row.get("loggingLevel") in LEVELS
                execution = f"/aws/apigateway/{api['ApiId']}/{row['StageName']}" if on else ""
                name = f"stage {row['StageName']} of {api.get('Name') or api['ApiId']}"
                yield from _stage(view, groups, row, f"{base}/stages/{row['StageName']}", name, execution)


def _stage(view: View, groups: _Groups, row: Row, arn: str, name: str, execution: str) -> Iterator[Finding]:
    destination = row.get("accessLogDestination") or ""
    faults = [] if destination or execution else ["neither access nor execution logs"]
    expected = [_Expected(execution)] if execution else []
    if ":log-group:" in destination:
        expected.append(_Expected(destination.partition(":log-group:")[2].removesuffix(":*"), created=False))
    with view.judging(arn, row.region):
        yield groups.verdict(row, arn, name, faults=faults, groups=expected)
