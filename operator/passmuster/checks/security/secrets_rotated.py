"""Every secret that its owner must rotate is rotated in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory import schedules
from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.operations.lifecycle import end_of
from passmuster.inventory.operations.secretsmanager import SECRETS
from passmuster.inventory.snapshot import Row, View, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

SCHEDULE = Call(
    "secretsmanager",
    "DescribeSecret",
    each=SECRETS,
    over="[@][?RotationEnabled && !OwningService && !DeletedDate && !(NextRotationDate && RotationRules)].ARN",
    param="SecretId",
    keep=("RotationRules", "LastRotatedDate", "NextRotationDate"),
    absent=("ResourceNotFoundException",),
    freshness=RARELY,
)
"""Asked only of a secret that rotates and whose schedule the list leaves out."""

FUNCTION = Call(
    "lambda",
    "GetFunctionConfiguration",
    each=SECRETS,
    over="[@][?RotationEnabled && !OwningService && !DeletedDate].RotationLambdaARN",
    param="FunctionName",
    region_of="RotationLambdaARN",
    keep=("FunctionName", "Runtime", "PackageType"),
    absent=("ResourceNotFoundException",),
    freshness=RARELY,
)

EXTERNAL = ("rotation", "external")


@check(
    title="Secrets are rotated",
    category=Category.SECURITY,
    phase=Phase.STABLE,
    severity=Severity.MEDIUM,
    fix="AP",
    calls=(SECRETS, SCHEDULE, FUNCTION),
    nothing="There is no secret that its owner must rotate",
    parameters=(
        Parameter(
            "maxAgeDays",
            Kind.INTEGER,
            90,
            Stricter.LOWER,
            "How many days may lie between two rotations of a secret, and since its last one, at most.",
            minimum=1,
            maximum=1000,
        ),
        Parameter(
            "rotationFunctionArn",
            Kind.STRING,
            None,
            Stricter.SAME,
            "The ARN of an existing function that may be set to rotate the secrets that are not rotated.",
        ),
    ),
    attestable=timedelta(days=90),
    weighs_attestation=True,
    controls=Controls(
        config=(
            "SECRETSMANAGER_ROTATION_ENABLED_CHECK",
            "SECRETSMANAGER_SCHEDULED_ROTATION_SUCCESS_CHECK",
            "SECRETSMANAGER_SECRET_PERIODIC_ROTATION",
        ),
        security_hub=("SecretsManager.1", "SecretsManager.2", "SecretsManager.4"),
        well_architected=("SEC02-BP05",),
    ),
)
def secrets_rotated(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A password that leaked stays useful to whoever has it until it is changed.

    Every secret is judged but those that a service owns and rotates itself, those that are being deleted, and replicas,
    which their primary region judges. Rotation must be on, with an interval of at most the policy's days; so long ago
    may the last rotation be, or the creation of a secret that was never rotated; the next one must not be overdue,
    which is how a failed rotation shows; and the function must exist and its runtime be supported. A partner's secret
    that a role rotates needs no function. Under the tag `rotation=external` a secret is not judged while an
    attestation holds; no other secret is excused by it.
    """
    for secret in view.rows(SECRETS):
        replica = secret.get("PrimaryRegion") not in (None, "", secret.region)
        if not secret.get("OwningService") and not secret.get("DeletedDate") and not replica:
            with view.judging(secret["ARN"], secret.region):
                yield _secret(view, secret, parameters, evidence)


def _secret(view: View, secret: Row, parameters: Parameters, evidence: Evidence) -> Finding:
    arn, name, days = secret["ARN"], secret["Name"], parameters["maxAgeDays"]
    tags = {(tag.get("Key"), tag.get("Value")) for tag in secret.get("Tags") or []}
    attestation = evidence.attestation("secrets-rotated") if EXTERNAL in tags else None
    if attestation is not None:
        message = f"The secret {name} is rotated outside of AWS, which {attestation.owner} attests"
        return not_applicable(secret.origin, arn, message, Reason.NOT_REQUESTED, observed="tag rotation=external")
    expected = f"rotation at least every {days} days, by a function that exists and is supported"
    facts = {"SecretId": arn, "RotationFunctionArn": parameters["rotationFunctionArn"] or ""}
    if not secret.get("RotationEnabled"):
        facts["missing"] = "rotation" if facts["RotationFunctionArn"] else "function"
        message = f"The secret {name} is not rotated"
        return failed(secret.origin, arn, message, observed="rotation off", expected=expected, facts=facts)
    missing = unmet(_conditions(view, secret, timedelta(days=days), evidence.now))
    if missing:
        return failed(
            secret.origin,
            arn,
            f"The secret {name} does not meet: {', '.join(missing)}",
            observed=", ".join(f"not: {phrase}" for phrase in missing),
            expected=expected,
            facts={**facts, "missing": "timely-rotation"},
        )
    return passed(secret.origin, arn, f"The secret {name} is rotated in time", observed="rotated", expected=expected)


def _conditions(view: View, secret: Row, maximum: timedelta, now: datetime) -> dict[str, Callable[[], bool]]:
    def schedule() -> Mapping[str, Any]:
        """What the list says, completed by what is asked about the secret alone."""
        told: Mapping[str, Any] = view.row(SCHEDULE, secret) or {}
        return {**secret, **{name: value for name, value in told.items() if value}}

    def in_time() -> bool:
        since = _since(schedule())
        return since is not None and now - since <= maximum

    def on_schedule() -> bool:
        due = _due(schedule())
        return due is not None and now <= due

    def often() -> bool:
        interval = _interval(schedule())
        return interval is not None and interval <= maximum

    function, partner = secret.get("RotationLambdaARN"), bool(secret.get("ExternalSecretRotationRoleArn"))
    conditions: dict[str, Callable[[], bool]] = {
        f"an interval of {maximum.days} days or less": often,
        f"rotated in the last {maximum.days} days": in_time,
        "no rotation overdue": on_schedule,
        "has a rotation function": lambda: bool(function) or partner,
    }
    if function:
        conditions["its rotation function exists"] = lambda: view.row(FUNCTION, secret) is not None
        conditions["the runtime of its rotation function is supported"] = lambda: _is_supported(view, secret, now)
    return conditions


def _since(secret: Mapping[str, Any]) -> datetime | None:
    return secret.get("LastRotatedDate") or secret.get("CreatedDate")


def _due(secret: Mapping[str, Any]) -> datetime | None:
    since, interval = _since(secret), _interval(secret)
    reckoned = since + interval if since is not None and interval is not None else None
    return secret.get("NextRotationDate") or reckoned


def _interval(secret: Mapping[str, Any]) -> timedelta | None:
    """Between two rotations; of a schedule by the calendar, from the last one to the next."""
    rules = secret.get("RotationRules") or {}
    if rules.get("AutomaticallyAfterDays"):
        return timedelta(days=rules["AutomaticallyAfterDays"])
    regular = schedules.rate((rules.get("ScheduleExpression") or "").strip())
    if regular is not None:
        return regular
    since, due = _since(secret), secret.get("NextRotationDate")
    return due - since if since is not None and due is not None else None


def _is_supported(view: View, secret: Row, now: datetime) -> bool:
    """An image brings a runtime of its own, and a runtime that is not in the table is supported."""
    ends = (end_of("lambda-runtime", row.get("Runtime") or "") for row in view.rows(FUNCTION, secret))
    return all(entry is None or now.date() <= entry.end for entry in ends)
