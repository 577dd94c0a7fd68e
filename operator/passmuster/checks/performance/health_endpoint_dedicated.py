"""Target groups ask an endpoint made for health checks, not the start page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.elbv2 import TARGET_GROUPS, is_dedicated
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

HTTP = ("HTTP", "HTTPS")
SUCCESS = range(200, 300)
GRPC_DEFAULT_PATH = "/aws.alb/healthcheck"
EXPECTED = "a health check on a path of its own that accepts 2xx only"


@check(
    title="Health checks ask a dedicated endpoint",
    category=Category.PERFORMANCE,
    phase=Phase.PRODUCTION,
    severity=Severity.HIGH,
    fix="I",
    calls=(TARGET_GROUPS,),
    nothing="There is no target group that speaks HTTP or HTTPS",
    parameters=(
        Parameter(
            "pathPattern",
            Kind.STRING,
            None,
            Stricter.SAME,
            "A regular expression that health check paths must match, besides not being the start page.",
            expression=True,
        ),
    ),
    attestable=timedelta(days=180),
    controls=Controls(well_architected=("REL11-BP01", "OPS04-BP02")),
)
def health_endpoint_dedicated(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """The start page answers from a cache while the application behind it is dead, and redirects count as health.

    Judged is every target group whose protocol is HTTP or HTTPS, attached or not; those of TCP, UDP, TLS and functions
    are not. Any path passes but `/`, the empty one and `/index.*`, whatever query follows; `pathPattern` counts only
    where the policy sets it. Every accepted code must lie within 200 to 299. A gRPC group accepts status 0 only, and
    AWS's default method, which nobody serves, is not a path of its own.
    """
    for group in view.rows(TARGET_GROUPS):
        if group.get("Protocol") in HTTP:
            yield _group(group, parameters["pathPattern"])


def _group(group: Row, pattern: str | None) -> Finding:
    arn, name = group["TargetGroupArn"], group.get("TargetGroupName", group["TargetGroupArn"])
    path = str(group.get("HealthCheckPath") or "/")
    matcher = group.get("Matcher") or {}
    codes = matcher.get("GrpcCode") or matcher.get("HttpCode") or "200"
    observed = f"path {path}, codes {codes}"
    faults = []
    if not is_dedicated(path) or path.lower() == GRPC_DEFAULT_PATH:
        faults.append(f"asks {path}")
    elif pattern and not re.search(pattern, path):
        faults.append(f"asks {path}, which does not match {pattern}")
    if not _success_only(codes, grpc=bool(matcher.get("GrpcCode"))):
        faults.append(f"accepts {codes}")
    if not faults:
        return passed(group.origin, arn, f"The target group {name} asks {path}", observed=observed, expected=EXPECTED)
    return failed(
        group.origin,
        arn,
        f"The health check of the target group {name} {' and '.join(faults)}",
        observed=observed,
        expected=EXPECTED,
        facts={
            "targetGroupArn": arn,
            "targetGroupName": str(name),
            "healthCheckPath": path,
            "protocol": "gRPC" if matcher.get("GrpcCode") else "HTTP",
            "successCodes": codes if _success_only(codes, grpc=False) else "200-299",
        },
    )


def _success_only(codes: str, *, grpc: bool) -> bool:
    """Whether every code of a list such as `200,204-206` means success."""
    wanted = range(1) if grpc else SUCCESS
    bounds = [bound.strip() for part in codes.split(",") for bound in part.split("-")]
    return all(bound.isdigit() and int(bound) in wanted for bound in bounds)
