"""Nearly all resources are owned by a stack or by Terraform, and no stack is known to have drifted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.arn import region_in, short_name
from passmuster.inventory.operations.cloudformation import STACK_RESOURCES, STACKS, names_of, owned_by_stacks
from passmuster.inventory.operations.ec2 import SUBNETS, VPCS
from passmuster.inventory.operations.tagging import TAGGED, TAGGED_GLOBAL, tagged_resources, tags
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

STACK_TAG = "aws:cloudformation:stack-id"
RECENT = timedelta(days=7)
NAMED = 20
BEYOND_CLOUDFORMATION = frozenset(
    {
        ("backup", "recovery-point"),
        ("batch", "job"),
        ("ec2", "host-reservation"),
        ("ec2", "image"),
        ("ec2", "reserved-instances"),
        ("ec2", "snapshot"),
        ("ec2", "spot-instances-request"),
        ("ecs", "container-instance"),
        ("ecs", "task"),
        ("elasticache", "reserved-instance"),
        ("elasticache", "snapshot"),
        ("fsx", "backup"),
        ("memorydb", "snapshot"),
        ("rds", "auto-backup"),
        ("rds", "cluster-auto-backup"),
        ("rds", "cluster-snapshot"),
        ("rds", "ri"),
        ("rds", "snapshot"),
        ("redshift", "snapshot"),
        ("sagemaker", "processing-job"),
        ("sagemaker", "training-job"),
        ("sagemaker", "transform-job"),
        ("ssm", "automation-execution"),
        ("ssm", "managed-instance"),
    }
)
"""What people tag and CloudFormation cannot own: copies of data, reservations, and work that comes and goes."""


@check(
    title="Infrastructure is code",
    category=Category.OPERATIONS,
    phase=Phase.FOUNDATION,
    severity=Severity.MEDIUM,
    fix="P",
    per="account",
    calls=(TAGGED, TAGGED_GLOBAL, STACKS, STACK_RESOURCES, VPCS, SUBNETS),
    nothing="AWS lists no resource that a stack could own",
    parameters=(
        Parameter(
            "minPercent",
            Kind.INTEGER,
            80,
            Stricter.HIGHER,
            "The share of resources that infrastructure as code must own, in percent.",
            minimum=1,
            maximum=100,
        ),
        Parameter(
            "terraformTags",
            Kind.STRING_MAP,
            {},
            Stricter.FEWER,
            "Tags of which one marks a resource as Terraform's; a value may hold wildcards, an empty one matches any.",
        ),
    ),
    controls=Controls(
        config=("CLOUDFORMATION_STACK_DRIFT_DETECTION_CHECK",),
        well_architected=("OPS05-BP01", "OPS05-BP04", "REL08-BP05"),
    ),
)
def infrastructure_as_code(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """What was clicked together cannot be built again after a disaster, and nobody reviewed it.

    One answer for the account: the share of the resources that AWS lists by their tags which a stack owns, by the
    stack's tag or by the stack's own list, or which carry a tag of Terraform. A resource whose stack is gone is not
    owned; what a stack that could not be deleted still holds is, and a warning names the stack. Kinds that
    CloudFormation cannot own, what AWS services create and tag for themselves, and the default network are left
    out. Each stack whose last drift detection found drift fails; one that was never checked, or not in the last
    seven days, is a warning.
    """
    stacks: list[Row] = []
    for stack in view.rows(STACKS):
        stacks.append(stack)
        if _drift(stack) == "DRIFTED":
            yield _drifted(stack)
    yield from _share(view, stacks, parameters, evidence.now)


def _share(view: View, stacks: list[Row], parameters: Parameters, now: datetime) -> Iterator[Finding]:
    minimum: int = parameters["minPercent"]
    resources = {row["ResourceARN"]: tags(row) for row in tagged_resources(view) if _is_countable(row)}
    live = {stack["StackId"] for stack in stacks}
    owned = {
        arn
        for arn, found in resources.items()
        if _has_live_stack(view, found, live) or _is_terraform(found, parameters["terraformTags"])
    }
    if len(owned) * 100 < minimum * len(resources):
        listed = owned_by_stacks(view)
        owned |= {arn for arn in resources if names_of(arn) & listed}
        for arn in _default_network(view):
            if arn not in owned:
                resources.pop(arn, None)
    if resources:
        yield _verdict(view, resources, owned, minimum, _warnings(stacks, now))


def _verdict(
    view: View, resources: Mapping[str, object], owned: set[str], minimum: int, warnings: tuple[str, ...]
) -> Finding:
    total, tenths = len(resources), len(owned) * 1000 // len(resources)
    origin, message = view.origin(TAGGED), f"{len(owned)} of {total} resources are owned by a stack or by Terraform"
    observed = f"{tenths // 10}.{tenths % 10} % of {total} resources"
    expected = f"{minimum} % owned by infrastructure as code"
    if len(owned) * 100 >= minimum * total:
        return passed(origin, view.account_id, message, observed=observed, expected=expected, warnings=warnings)
    strays = sorted(set(resources) - owned)
    names = [short_name(arn) for arn in strays]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return failed(
        origin,
        view.account_id,
        f"{message}; not owned: {', '.join(names[:NAMED])}{more}",
        observed=observed,
        expected=expected,
        warnings=warnings,
        facts={"missing": "owner", "Resources": ",".join(strays[:NAMED]), "Strays": str(len(strays))},
    )


def _is_countable(row: Row) -> bool:
    """Whether a stack could own the resource and no AWS service created it."""
    parts = row["ResourceARN"].split(":", 5)
    service, kind = parts[2], parts[5].replace("/", ":").lstrip(":").split(":")[0]
    created = any(key.startswith("aws:") and not key.startswith("aws:cloudformation:") for key in tags(row))
    return service != "cloudformation" and (service, kind) not in BEYOND_CLOUDFORMATION and not created


def _has_live_stack(view: View, found: Mapping[str, str], live: set[str]) -> bool:
    """A stack outside the governed regions cannot be looked up, and is taken to exist."""
    stack = found.get(STACK_TAG, "")
    region = region_in(stack)
    return stack in live or (bool(region) and region not in view.regions)


def _is_terraform(found: Mapping[str, str], markers: Mapping[str, str]) -> bool:
    return any(key in found and fnmatchcase(found[key], value or "*") for key, value in markers.items())


def _default_network(view: View) -> Iterator[str]:
    """The VPC that AWS made in each region, and its subnets."""
    defaults = {row["VpcId"]: row for row in view.rows(VPCS) if row.get("IsDefault")}
    for vpc, row in defaults.items():
        yield f"arn:{view.partition}:ec2:{row.region}:{view.account_id}:vpc/{vpc}"
    if defaults:
        for row in view.rows(SUBNETS):
            if row.get("VpcId") in defaults and row.get("DefaultForAz"):
                yield f"arn:{view.partition}:ec2:{row.region}:{view.account_id}:subnet/{row['SubnetId']}"


def _drift(stack: Row) -> str:
    return str((stack.get("DriftInformation") or {}).get("StackDriftStatus") or "NOT_CHECKED")


def _warnings(stacks: list[Row], now: datetime) -> tuple[str, ...]:
    """What the share does not say, in one sentence each: drift that nobody looked at, and half-deleted stacks."""
    unchecked, old = 0, 0
    stuck = sorted(str(stack["StackName"]) for stack in stacks if stack.get("StackStatus") == "DELETE_FAILED")
    alive = [stack for stack in stacks if stack.get("StackStatus") != "DELETE_FAILED"]
    for stack in alive:
        checked = (stack.get("DriftInformation") or {}).get("LastCheckTimestamp")
        if _drift(stack) in ("NOT_CHECKED", "UNKNOWN"):
            unchecked += 1
        elif _drift(stack) == "IN_SYNC" and (checked is None or now - checked >= RECENT):
            old += 1
    told = [
        f"{count} of {len(alive)} stacks {what}"
        for count, what in (
            (unchecked, "were never checked for drift"),
            (old, "were last checked for drift more than 7 days ago"),
        )
        if count
    ]
    if stuck:
        more = f" and {len(stuck) - NAMED} more" if len(stuck) > NAMED else ""
        told.append(
            "what stacks still hold that could not be deleted cannot be updated through them: "
            f"{', '.join(stuck[:NAMED])}{more}; delete them again and retain what is to stay"
        )
    return tuple(told)


def _drifted(stack: Row) -> Finding:
    return failed(
        stack.origin,
        stack["StackId"],
        f"The stack {stack['StackName']} has drifted: its resources were changed by hand",
        observed="DRIFTED",
        expected="IN_SYNC",
        facts={"missing": "sync", "StackName": stack["StackName"]},
    )
