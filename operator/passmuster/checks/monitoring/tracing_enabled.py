"""Every function, service, API stage and state machine leaves traces of what it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call, TimeAgo
from passmuster.inventory.operations.apigateway import REST_APIS, STAGES
from passmuster.inventory.operations.ecs import SERVICES, TASK_DEFINITIONS, cluster_of
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.synthetics import CANARY_FUNCTION
from passmuster.inventory.snapshot import Row, View, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

STATE_MACHINES = Call(
    "stepfunctions", "ListStateMachines", items="stateMachines", keep=("stateMachineArn", "name"), freshness=RARELY
)
STATE_MACHINE = Call(
    "stepfunctions",
    "DescribeStateMachine",
    each=STATE_MACHINES,
    over="stateMachineArn",
    param="stateMachineArn",
    args={"includedData": "METADATA_ONLY"},
    keep="{status: status, traced: tracingConfiguration.enabled}",
    absent=("StateMachineDoesNotExist",),
    freshness=RARELY,
)
"""Without the definition, which may hold anything and need a key to be read."""

DISCOVERED = Call(
    "application-signals",
    "ListServices",
    args={"StartTime": TimeAgo(timedelta(hours=24)), "EndTime": TimeAgo(timedelta(0))},
    items="ServiceSummaries",
    keep=("KeyAttributes", "AttributeMaps"),
    freshness=timedelta(hours=6),
)
"""What sent traces to Application Signals in the last day, or was found beside something that did."""

SIGNALS, DAEMON = "Application Signals", "X-Ray daemon"
PLATFORM = re.compile(r"lambda|ecs|eks|ec2|k8s")
LAYER = re.compile(r":layer:(aws-?otel|AWSOpenTelemetryDistro|opentelemetry)", re.IGNORECASE)
COLLECTOR = re.compile(r"aws-otel-collector|cloudwatch-agent|opentelemetry-collector|otelcol", re.IGNORECASE)
COLLECTOR_OR_DAEMON = re.compile(rf"{COLLECTOR.pattern}|x-?ray-daemon", re.IGNORECASE)
DEPRECATED = "the X-Ray daemon is out of support from 2027-02-25: replace it by an OpenTelemetry collector"

Ways = dict[str, Callable[[], bool]]


@check(
    title="Workloads are traced",
    category=Category.MONITORING,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="P",
    calls=(FUNCTIONS, SERVICES, TASK_DEFINITIONS, REST_APIS, STAGES, STATE_MACHINES, STATE_MACHINE, DISCOVERED),
    nothing="There is no function, ECS service, stage of a REST API or state machine",
    controls=Controls(
        config=("API_GW_XRAY_ENABLED", "LAMBDA_FUNCTION_XRAY_ENABLED", "APPSYNC_GRAPHQL_API_XRAY_ENABLED"),
        security_hub=("APIGateway.3",),
        well_architected=("OPS04-BP05", "REL06-BP07"),
    ),
)
def tracing_enabled(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A request that crosses five services is slow in one of them, and only a trace says in which.

    Each workload is judged by itself. A function: active tracing, a layer of the AWS Distro for OpenTelemetry, or
    discovered by Application Signals. An active ECS service: a collector of OpenTelemetry or the CloudWatch agent among
    the containers of everything it runs, or discovered; the X-Ray daemon passes with a warning, for it is going out of
    support. A stage of a REST API and a state machine: their own setting; HTTP and WebSocket APIs have none. Functions
    that belong to canaries are not judged. Application Signals discovers a workload if it names it on the right
    platform and has seen it instrumented.
    """
    for kind in (_functions, _services, _stages, _state_machines):
        with view.judging(view.account_id):
            yield from kind(view)


def _functions(view: View) -> Iterator[Finding]:
    for row in view.rows(FUNCTIONS):
        name = str(row["FunctionName"])
        if name.startswith(CANARY_FUNCTION):
            continue
        with view.judging(row["FunctionArn"], row.region):
            if row.get("State") == "Pending":
                message = f"The function {name} is being created"
                yield unknown(row.origin, row["FunctionArn"], message, Reason.IN_TRANSIT)
            else:
                yield _function(view, row, name)


def _function(view: View, row: Row, name: str) -> Finding:
    mode = str((row.get("TracingConfig") or {}).get("Mode") or "PassThrough")
    ways: Ways = {
        "active tracing": lambda: mode == "Active",
        "OpenTelemetry layer": lambda: any(LAYER.search(str(layer)) for layer in row.get("Layers") or ()),
        SIGNALS: lambda: _is_discovered(view, "lambda", name),
    }
    return _verdict(row, row["FunctionArn"], f"function {name}", ways, {"FunctionName": name})


def _services(view: View) -> Iterator[Finding]:
    for row in view.rows(SERVICES):
        if row.get("status") == "ACTIVE" and (row.get("taskDefinition") or row.get("taskSets")):
            with view.judging(row["serviceArn"], row.region):
                name, cluster = str(row["serviceName"]), cluster_of(row)
                ways: Ways = {
                    "collector container": partial(_runs, view, row, COLLECTOR),
                    DAEMON: partial(_runs, view, row, COLLECTOR_OR_DAEMON),
                    SIGNALS: partial(_is_discovered, view, "ecs", name, cluster),
                }
                facts = {"ServiceName": name, "ClusterName": cluster}
                yield _verdict(row, row["serviceArn"], f"service {name}", ways, facts)


def _runs(view: View, service: Row, pattern: re.Pattern[str]) -> bool:
    """Whether everything the service runs has a container of that name or image."""
    definitions = 0
    for definition in view.rows(TASK_DEFINITIONS, service):
        definitions += 1
        containers = definition.get("containerDefinitions") or ()
        if not any(pattern.search(f"{one.get('name')} {one.get('image')}") for one in containers):
            return False
    return definitions > 0


def _is_discovered(view: View, platform: str, name: str, cluster: str | None = None) -> bool:
    """Whether Application Signals knows an instrumented service of that name, on that platform if it says which."""
    for row in view.rows(DISCOVERED):
        keys, attributes = row.get("KeyAttributes") or {}, {}
        for one in row.get("AttributeMaps") or ():
            attributes.update(one)
        place = str(keys.get("Environment") or "").lower()
        known = PLATFORM.findall(f"{place} {attributes.get('PlatformType') or ''}".lower())
        if (
            keys.get("Type", "Service") == "Service"
            and name in (keys.get("Name"), *attributes.values())
            and "UNINSTRUMENTED" not in map(str.upper, attributes.values())
            and (not known or platform in known)
            and (cluster is None or not place.startswith("ecs:") or place == f"ecs:{cluster}".lower())
        ):
            return True
    return False


def _stages(view: View) -> Iterator[Finding]:
    for api in view.rows(REST_APIS):
        base = f"arn:{view.partition}:apigateway:{api.region}::/restapis/{api['id']}"
        with view.judging(base, api.region):
            for row in view.rows(STAGES, api):
                name = f"stage {row['stageName']} of {api.get('name') or api['id']}"
                traced = bool(row.get("tracingEnabled"))
                facts = {"RestApiId": str(api["id"]), "StageName": str(row["stageName"])}
                yield _verdict(
                    row, f"{base}/stages/{row['stageName']}", name, {"active tracing": partial(bool, traced)}, facts
                )


def _state_machines(view: View) -> Iterator[Finding]:
    for machine in view.rows(STATE_MACHINES):
        arn, name = machine["stateMachineArn"], f"state machine {machine['name']}"
        with view.judging(arn, machine.region):
            for row in view.rows(STATE_MACHINE, machine):
                if row.get("status") != "DELETING":
                    ways: Ways = {"active tracing": partial(bool, row.get("traced"))}
                    yield _verdict(row, arn, name, ways, {"StateMachineArn": arn})


def _verdict(row: Row, arn: str, name: str, ways: Ways, facts: dict[str, str]) -> Finding:
    expected = f"traces by {' or '.join(ways)}"
    way = first_of(ways, lambda way: ways[way]())
    if way is None:
        return failed(
            row.origin, arn, f"The {name} is not traced", observed="no tracing", expected=expected, facts=facts
        )
    warnings = (DEPRECATED,) if way == DAEMON else ()
    return passed(row.origin, arn, f"The {name} is traced", observed=way, expected=expected, warnings=warnings)
