"""Passwords and keys are kept in Secrets Manager, not in environments and not by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.ecs import SERVICES, TASK_DEFINITIONS
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.rds import (
    DB_CLUSTERS,
    DB_INSTANCES,
    is_changing,
    is_going,
    is_rds,
    is_replica,
    status,
)
from passmuster.inventory.operations.secretsmanager import SECRETS
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

LINK_TAG = "passmuster:database"
PATTERN = "(?i)(password|passwd|secret|token|api_?key|private_?key|credential)"
NO_LITERAL = "no literal value under a name that looks like a secret"
MANAGED = f"a master secret managed by RDS, or a secret tagged {LINK_TAG}"


@check(
    title="Secrets are managed",
    category=Category.SECURITY,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="P",
    calls=(SERVICES, TASK_DEFINITIONS, FUNCTIONS, DB_INSTANCES, DB_CLUSTERS, SECRETS),
    nothing="No service, function or RDS database holds a secret",
    parameters=(
        Parameter(
            "namePatterns",
            Kind.STRINGS,
            [PATTERN],
            Stricter.MORE,
            "Regular expressions; a variable whose name matches one is taken for a secret.",
            expression=True,
        ),
    ),
    controls=Controls(
        config=("ECS_NO_ENVIRONMENT_SECRETS", "SECRETSMANAGER_USING_CMK"),
        security_hub=("ECS.8",),
        well_architected=("SEC02-BP03",),
    ),
)
def secrets_managed(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A password in an environment is readable by everybody who may look at the function or the task.

    Names decide, because values are never kept: a name that matches a pattern fails unless its value is an ARN or
    empty. The task definitions that active services run are judged, and every function. An RDS database passes when RDS
    manages its master secret, or when a secret carries the tag `passmuster:database` with its identifier or ARN; what
    is written inside a secret is never read. Replicas have the password of their source and are not judged, members of
    a cluster neither.
    """
    with view.judging(view.account_id):
        yield from _task_definitions(view, parameters)
    with view.judging(view.account_id):
        for function in view.rows(FUNCTIONS):
            yield _function(function, parameters)
    with view.judging(view.account_id):
        for database in view.rows(DB_INSTANCES):
            if not is_replica(database) and not database.get("DBClusterIdentifier"):
                yield from _database(view, database, database["DBInstanceArn"], database["DBInstanceIdentifier"])
    with view.judging(view.account_id):
        for database in view.rows(DB_CLUSTERS):
            if not _is_secondary(database):
                yield from _database(view, database, database["DBClusterArn"], database["DBClusterIdentifier"])


def _task_definitions(view: View, parameters: Parameters) -> Iterator[Finding]:
    seen: set[str] = set()
    for service in view.rows(SERVICES):
        if service.get("status") != "ACTIVE":
            continue
        with view.judging(service["serviceArn"], service.region):
            for definition in view.rows(TASK_DEFINITIONS, service):
                if definition["taskDefinitionArn"] not in seen:
                    seen.add(definition["taskDefinitionArn"])
                    yield _task_definition(definition, parameters)


def _task_definition(definition: Row, parameters: Parameters) -> Finding:
    arn = definition["taskDefinitionArn"]
    name = f"task definition {arn.rpartition('/')[2]}"
    exposed = [
        f"{container['name']}: {variable['name']}"
        for container in definition.get("containerDefinitions") or []
        for variable in container.get("environment") or []
        if _is_literal(variable) and parameters.matches("namePatterns", variable["name"])
    ]
    return _environment(definition, arn, name, exposed, {"kind": "task-definition", "Name": arn.rpartition("/")[2]})


def _is_literal(variable: dict[str, Any]) -> bool:
    return not variable.get("arn") and not variable.get("empty")


def _function(function: Row, parameters: Parameters) -> Finding:
    arn, name = function["FunctionArn"], f"function {function['FunctionName']}"
    if function.get("EnvironmentError"):
        message = f"The environment of the {name} cannot be decrypted: the role needs kms:Decrypt on its key"
        return unknown(function.origin, arn, message, Reason.DENIED, observed=function["EnvironmentError"])
    pairs = zip(function["EnvironmentNames"], function["EnvironmentLiterals"], strict=True)
    exposed = [name for name, literal in pairs if literal and parameters.matches("namePatterns", name)]
    return _environment(function, arn, name, exposed, {"kind": "function", "Name": function["FunctionName"]})


def _environment(row: Row, arn: str, name: str, exposed: list[str], facts: dict[str, str]) -> Finding:
    if not exposed:
        message = f"The {name} has no secret in its environment"
        return passed(row.origin, arn, message, observed="no such variable", expected=NO_LITERAL)
    return failed(
        row.origin,
        arn,
        f"The {name} seems to have secrets in its environment",
        observed=f"literal values of {', '.join(exposed)}",
        expected=NO_LITERAL,
        facts={**facts, "Variables": ", ".join(exposed)},
    )


def _is_secondary(cluster: Row) -> bool:
    """Whether the cluster replicates another; a secondary of a global database has members but no writer."""
    members = cluster.get("DBClusterMembers") or []
    no_writer = bool(members) and not any(member.get("IsClusterWriter") for member in members)
    return is_replica(cluster) or (bool(cluster.get("GlobalClusterIdentifier")) and no_writer)


def _database(view: View, database: Row, arn: str, identifier: str) -> Iterator[Finding]:
    if not is_rds(database) or is_going(database):
        return
    name = f"database {identifier}"
    with view.judging(arn, database.region):
        secret = database.get("MasterUserSecret") or {}
        if is_changing(database) or secret.get("SecretStatus") == "creating":
            message = f"The {name} is {status(database)}, its master secret {secret.get('SecretStatus') or 'not there'}"
            yield unknown(database.origin, arn, message, Reason.IN_TRANSIT, expected=MANAGED)
        elif secret:
            impaired = secret.get("SecretStatus") == "impaired"
            yield passed(
                database.origin,
                arn,
                f"RDS manages the master password of the {name}",
                observed=f"master secret {secret.get('SecretStatus')}",
                expected=MANAGED,
                warnings=("RDS cannot rotate the master secret any more: it is impaired",) if impaired else (),
            )
        elif linked := _linked(view, {identifier, arn}):
            message = f"The secret {linked} holds the master password of the {name}"
            yield passed(database.origin, arn, message, observed=f"secret {linked}", expected=MANAGED)
        else:
            message = f"Nothing manages the master password of the {name}"
            kind = "database" if "DBInstanceArn" in database else "cluster"
            facts, observed = {"kind": kind, "Name": identifier}, "no managed or linked secret"
            yield failed(database.origin, arn, message, observed=observed, expected=MANAGED, facts=facts)


def _linked(view: View, names: set[str]) -> str | None:
    for secret in view.rows(SECRETS):
        tags = {tag.get("Key"): tag.get("Value") for tag in secret.get("Tags") or []}
        if not secret.get("DeletedDate") and tags.get(LINK_TAG) in names:
            return str(secret["Name"])
    return None
