"""Every network in use logs its traffic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.ec2 import FLOW_LOGS, NETWORK_INTERFACES, VPCS
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

FIRST_DELIVERY = timedelta(hours=1)


@check(
    title="VPC flow logs are delivered",
    category=Category.SECURITY,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="A",
    calls=(VPCS, NETWORK_INTERFACES, FLOW_LOGS),
    nothing="No VPC has a network interface",
    parameters=(
        Parameter(
            "destination",
            Kind.CHOICE,
            "any",
            Stricter.LATER,
            "Where the flow logs must be delivered to.",
            choices=("any", "s3"),
        ),
        Parameter(
            "trafficType",
            Kind.CHOICE,
            "ALL",
            Stricter.LATER,
            "Which traffic must be logged; a log of all traffic always suffices.",
            choices=("ACCEPT", "REJECT", "ALL"),
        ),
    ),
    controls=Controls(
        config=("VPC_FLOW_LOGS_ENABLED",),
        security_hub=("EC2.6",),
        well_architected=("SEC04-BP01",),
    ),
)
def vpc_flow_logs(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """After a break-in the flow logs tell which machines talked to whom.

    Each VPC of the account that has a network interface needs one active log of the whole VPC that is delivered; logs
    of single subnets or interfaces leave gaps. A VPC shared by another account is judged there. A log that has not
    delivered in its first hour is in transit.
    """
    for vpc in view.rows(VPCS):
        if vpc.get("OwnerId") in (None, view.account_id):
            arn = f"arn:{view.partition}:ec2:{vpc.region}:{view.account_id}:vpc/{vpc['VpcId']}"
            with view.judging(arn, vpc.region):
                if any(row.get("VpcId") == vpc["VpcId"] for row in view.rows(NETWORK_INTERFACES)):
                    yield _vpc(view, vpc, arn, parameters, evidence.now)


def _vpc(view: View, vpc: Row, arn: str, parameters: Parameters, now: datetime) -> Finding:
    traffic, destination = parameters["trafficType"], parameters["destination"]
    place = "" if destination == "any" else f" to {destination}"
    expected = f"an active flow log of {'all' if traffic == 'ALL' else traffic} traffic, delivered{place}"
    faults: list[str] = []
    starting = False
    for log in view.rows(FLOW_LOGS):
        if log.get("ResourceId") == vpc["VpcId"]:
            found = _faults(log, traffic, destination)
            if not found:
                message = f"The traffic of {vpc['VpcId']} is logged"
                observed = f"{log['FlowLogId']} to {_destination(log)}"
                return passed(log.origin, arn, message, observed=observed, expected=expected)
            starting = starting or (found == ["not delivered yet"] and _is_new(log, now))
            faults.append(f"{log['FlowLogId']}: {', '.join(found)}")
    observed = "; ".join(faults) or "no flow log"
    if starting:
        message = f"The flow log of {vpc['VpcId']} was just created and has not delivered yet"
        return unknown(vpc.origin, arn, message, Reason.IN_TRANSIT, observed=observed, expected=expected)
    message = f"The traffic of {vpc['VpcId']} is not logged{' as it must be' if faults else ''}"
    facts = {"VpcId": vpc["VpcId"]}
    return failed(view.origin(FLOW_LOGS), arn, message, observed=observed, expected=expected, facts=facts)


def _faults(log: Row, traffic: str, destination: str) -> list[str]:
    status = log.get("DeliverLogsStatus")
    delivery = "not delivered yet" if status is None else f"delivery {status}"
    conditions = {
        f"status {log.get('FlowLogStatus')}": log.get("FlowLogStatus") == "ACTIVE",
        f"logs {log.get('TrafficType')} traffic": log.get("TrafficType") in ("ALL", traffic),
        f"delivers to {_destination(log)}": destination in ("any", _destination(log)),
        delivery: status == "SUCCESS",
    }
    return [phrase for phrase, holds in conditions.items() if not holds]


def _destination(log: Row) -> str:
    """AWS leaves the type out of the oldest logs, which go to CloudWatch Logs."""
    return str(log.get("LogDestinationType") or "cloud-watch-logs")


def _is_new(log: Row, now: datetime) -> bool:
    created = log.get("CreationTime")
    return created is not None and now - created < FIRST_DELIVERY
