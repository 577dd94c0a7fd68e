"""The templates of the seeded accounts' own stacks: files of `stacks/`, and those that are long only by repetition.

review.py deploys them. Nothing of them is shipped to users; they say what the accounts are made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from passmuster.checks.catalogue import load as checks
from passmuster.engine.inspection import reads_of
from passmuster.inventory.operations.ssm import RUNBOOK_TAG
from passmuster.remediation.access import Wanted, role_template
from passmuster.remediation.catalogue import load as remediations

ENDPOINTS = ("ecr.api", "ecr.dkr", "logs", "secretsmanager", "kms", "sts", "ssm")

_LOAD_BALANCER, _SERVICE, _DATABASE, _FUNCTION = "AWS/ApplicationELB", "AWS/ECS", "AWS/RDS", "AWS/Lambda"

_BELOW = "LessThanThreshold"
_FREE_STORAGE = 10 * 1024**3


def read(name: str) -> str:
    """A template of `stacks/`."""
    return (files(__package__) / "stacks" / f"{name}.yaml").read_text()


def interface_endpoints(vpc: str, subnets: Iterable[str], group: str) -> str:
    """One interface endpoint for each service that private workloads call."""
    shared = {
        "VpcEndpointType": "Interface",
        "VpcId": vpc,
        "SubnetIds": list(subnets),
        "SecurityGroupIds": [group],
        "PrivateDnsEnabled": True,
    }
    return _written(
        "Ways from the private subnets to AWS",
        {
            "".join(part.capitalize() for part in name.split(".")): {
                "Type": "AWS::EC2::VPCEndpoint",
                "Properties": {**shared, "ServiceName": {"Fn::Sub": f"com.amazonaws.${{AWS::Region}}.{name}"}},
            }
            for name in ENDPOINTS
        },
    )


def alarms(*, key: str, mail: str, balancer: str, targets: str, databases: Iterable[str]) -> str:
    """An alarm for each golden signal of the shop, and a topic that tells somebody.

    Load balancer and target group are named as their metrics name them.
    """
    at_balancer = {"LoadBalancer": balancer}
    service = {"ClusterName": "shop", "ServiceName": "web"}
    function = {"FunctionName": "shop-invoices"}
    made = {
        "ServerErrors": _alarm(_LOAD_BALANCER, "HTTPCode_Target_5XX_Count", at_balancer, 10, statistic="Sum"),
        "ResponseTime": _alarm(_LOAD_BALANCER, "TargetResponseTime", at_balancer, 2),
        "UnhealthyHosts": _alarm(_LOAD_BALANCER, "UnHealthyHostCount", {**at_balancer, "TargetGroup": targets}, 0),
        "WebCpu": _alarm(_SERVICE, "CPUUtilization", service, 85),
        "WebMemory": _alarm(_SERVICE, "MemoryUtilization", service, 85),
        "InvoicesErrors": _alarm(_FUNCTION, "Errors", function, 0, statistic="Sum"),
        "InvoicesThrottles": _alarm(_FUNCTION, "Throttles", function, 0, statistic="Sum"),
    }
    for name in databases:
        database, title = {"DBInstanceIdentifier": name}, "".join(part.capitalize() for part in name.split("-"))
        made[f"{title}Cpu"] = _alarm(_DATABASE, "CPUUtilization", database, 85)
        made[f"{title}Storage"] = _alarm(_DATABASE, "FreeStorageSpace", database, _FREE_STORAGE, than=_BELOW)
        made[f"{title}Connections"] = _alarm(_DATABASE, "DatabaseConnections", database, 500)
    for alarm in made.values():
        alarm["Properties"]["AlarmActions"] = [{"Ref": "Topic"}]
    told = {
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "shop-alarms", "KmsMasterKeyId": key}},
        "Subscription": {
            "Type": "AWS::SNS::Subscription",
            "Properties": {"TopicArn": {"Ref": "Topic"}, "Protocol": "email", "Endpoint": mail},
        },
    }
    return _written("Golden signals of the shop and whom they tell", {**told, **made})


def _alarm(
    namespace: str,
    metric: str,
    dimensions: Mapping[str, str],
    threshold: float,
    *,
    statistic: str = "Average",
    than: str = "GreaterThanThreshold",
) -> dict[str, Any]:
    properties = {
        "Namespace": namespace,
        "MetricName": metric,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        "Statistic": statistic,
        "Period": 300,
        "EvaluationPeriods": 2,
        "Threshold": threshold,
        "ComparisonOperator": than,
        "TreatMissingData": "notBreaching",
    }
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}


def runbooks(classes: Iterable[str]) -> str:
    """An automation document for each class of runbook, with the tag that says so."""
    content = {
        "schemaVersion": "0.3",
        "description": "What to do, step by step",
        "mainSteps": [{"name": "Wait", "action": "aws:sleep", "inputs": {"Duration": "PT1S"}}],
    }
    return _written(
        "What people do when something is wrong",
        {
            "".join(part.capitalize() for part in one.split("-")): {
                "Type": "AWS::SSM::Document",
                "Properties": {
                    "Name": f"shop-{one}",
                    "DocumentType": "Automation",
                    "DocumentFormat": "JSON",
                    "Content": content,
                    "Tags": [{"Key": RUNBOOK_TAG, "Value": one}],
                },
            }
            for one in classes
        },
    )


def access() -> str:
    """The roles an account gives to Passmuster: `passmuster bootstrap role --remediation --owner-stacks`."""
    wanted = Wanted(remediation=True, owner_stacks=True)
    return json.dumps(role_template(reads_of(list(checks())), remediations(), wanted))


def _written(description: str, resources: Mapping[str, Any]) -> str:
    return json.dumps(
        {"AWSTemplateFormatVersion": "2010-09-09", "Description": description, "Resources": dict(resources)}
    )
