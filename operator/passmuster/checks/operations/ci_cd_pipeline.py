"""Changes reach the account through a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import ONCE, RARELY, Call
from passmuster.inventory.operations.codedeploy import DEPLOYMENT_GROUPS, rolls_back
from passmuster.inventory.operations.codepipeline import PIPELINE_EXECUTIONS, PIPELINES
from passmuster.inventory.operations.ecr import REPOSITORIES, Image, private_image
from passmuster.inventory.operations.ecs import SERVICES, TASK_DEFINITIONS, has_rollback
from passmuster.inventory.policy_documents import decoded, listed, statements
from passmuster.inventory.snapshot import Row, View, all_of, first_found, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

PROVIDERS = Call(
    "iam", "ListOpenIDConnectProviders", items="OpenIDConnectProviderList", keep=("Arn",), freshness=RARELY
)
ROLES = Call(
    "iam",
    "ListRoles",
    each=PROVIDERS,
    over="contains(Arn, 'github') || contains(Arn, 'gitlab')",
    param=ONCE,
    items="Roles",
    keep=("RoleName", "Arn", "AssumeRolePolicyDocument"),
    freshness=RARELY,
)
"""Only where the account knows GitHub or GitLab: elsewhere they can assume none."""

ROLE = Call(
    "iam",
    "GetRole",
    each=ROLES,
    over="[@][?contains(to_string(AssumeRolePolicyDocument), 'oidc-provider') && "
    "(contains(to_string(AssumeRolePolicyDocument), 'github') || "
    "contains(to_string(AssumeRolePolicyDocument), 'gitlab'))].RoleName",
    param="RoleName",
    keep="{RoleName: Role.RoleName, LastUsedDate: Role.RoleLastUsed.LastUsedDate}",
    absent=("NoSuchEntity", "NoSuchEntityException"),
    freshness=RARELY,
)
"""Only of the roles that GitHub or GitLab may assume: the list of roles does not say when they were used."""

FORGES = ("github", "gitlab")
EXPECTED = "a pipeline of CodePipeline, CodeDeploy, ECS, GitHub or GitLab in use"


@check(
    title="Changes come through a pipeline",
    category=Category.OPERATIONS,
    phase=Phase.FOUNDATION,
    severity=Severity.MEDIUM,
    fix="T",
    per="account",
    calls=(
        PIPELINES,
        PIPELINE_EXECUTIONS,
        DEPLOYMENT_GROUPS,
        SERVICES,
        TASK_DEFINITIONS,
        REPOSITORIES,
        PROVIDERS,
        ROLES,
        ROLE,
    ),
    attestable=timedelta(days=180),
    parameters=(
        Parameter(
            "maxAgeDays",
            Kind.INTEGER,
            30,
            Stricter.LOWER,
            "How many days ago a pipeline last succeeded, or a forge last assumed its role, at most.",
            minimum=1,
            maximum=365,
        ),
    ),
    controls=Controls(
        config=("CODEPIPELINE_DEPLOYMENT_COUNT_CHECK", "CODEDEPLOY_AUTO_ROLLBACK_MONITOR_ENABLED"),
        well_architected=("OPS05-BP10", "REL08-BP05"),
    ),
)
def ci_cd_pipeline(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """What is deployed by hand cannot be repeated, reviewed or taken back.

    One of four suffices: a pipeline of CodePipeline that succeeded lately; a deployment group of CodeDeploy with
    automatic rollback; an ECS service with rollback all of whose images are named by digest or by a tag that cannot
    move; a role that GitHub or GitLab assumes through an identity provider of the account and used lately. A tag cannot
    move where its repository of this account says so; a repository elsewhere cannot be asked.
    """
    since = evidence.now - timedelta(days=parameters["maxAgeDays"])
    found = first_found(
        lambda: _told("pipeline {name} succeeded lately", _pipeline(view, since)),
        lambda: _told("deployment group {name} rolls back", _deployment_group(view)),
        lambda: _told("service {name} rolls back and runs images that cannot change", _service(view)),
        lambda: _told("role {name} was assumed by a forge lately", _role(view, since)),
    )
    if found is not None:
        row, observed = found
        yield passed(row.origin, view.account_id, f"The {observed}", observed=observed, expected=EXPECTED)
    else:
        yield failed(
            view.origin(PIPELINES),
            view.account_id,
            "No pipeline was seen at work: none succeeded lately, no deployment rolls back, no forge assumed a role",
            observed="no pipeline in use",
            expected=EXPECTED,
        )


def _told(phrase: str, row: Row | None) -> tuple[Row, str] | None:
    """What was found, and the phrase about it."""
    if row is None:
        return None
    names = (row.get("name"), row.asked("deploymentGroupName"), row.get("serviceName"), row.get("RoleName"))
    return row, phrase.format(name=next((str(name) for name in names if name), ""))


def _pipeline(view: View, since: datetime) -> Row | None:
    return first_of(
        view.rows(PIPELINES),
        lambda pipeline: any(_succeeded(run, since) for run in view.rows(PIPELINE_EXECUTIONS, pipeline)),
    )


def _succeeded(run: Row, since: datetime) -> bool:
    ended = run.get("lastUpdateTime") or run.get("startTime")
    return run.get("status") == "Succeeded" and ended is not None and ended > since


def _deployment_group(view: View) -> Row | None:
    return first_of(view.rows(DEPLOYMENT_GROUPS), rolls_back)


def _service(view: View) -> Row | None:
    return first_of(
        view.rows(SERVICES),
        lambda service: all_of(
            lambda: service.get("status") in (None, "ACTIVE") and has_rollback(service),
            lambda: _runs_fixed_images(view, service),
        ),
    )


def _runs_fixed_images(view: View, service: Row) -> bool:
    addresses = [
        container.get("image") or ""
        for definition in view.rows(TASK_DEFINITIONS, service)
        for container in definition.get("containerDefinitions") or []
    ]
    return bool(addresses) and all_of(*(lambda address=address: _is_fixed(view, address) for address in addresses))


def _is_fixed(view: View, address: str) -> bool:
    if "@sha256:" in address:
        return True
    image = private_image(address)
    if image is None or image.account != view.account_id:
        return False
    return any(_keeps(repository, image) for repository in view.rows(REPOSITORIES))


def _keeps(repository: Row, image: Image) -> bool:
    """Whether the image lies in the repository and its tag there cannot be moved to another one."""
    if (repository.region, repository["repositoryName"]) != (image.region, image.name):
        return False
    mode = repository.get("imageTagMutability") or "MUTABLE"
    filters = repository.get("imageTagMutabilityExclusionFilters") or []
    excluded = any(fnmatchcase(image.tag or "latest", one.get("filter", "")) for one in filters)
    return bool(
        mode == "IMMUTABLE"
        or (mode == "IMMUTABLE_WITH_EXCLUSION" and not excluded)
        or (mode == "MUTABLE_WITH_EXCLUSION" and excluded)
    )


def _role(view: View, since: datetime) -> Row | None:
    def assumed_lately(role: Row) -> bool:
        trusted = _forges(role)
        return all_of(
            lambda: bool(trusted),
            lambda: any(row.get("LastUsedDate") and row["LastUsedDate"] > since for row in view.rows(ROLE, role)),
            lambda: any(row["Arn"] in trusted for row in view.rows(PROVIDERS)),
        )

    return first_of(view.rows(ROLES), assumed_lately)


def _forges(role: Row) -> set[str]:
    """The identity providers of GitHub or GitLab that the role's trust policy names."""
    return {
        arn
        for statement in statements(decoded(role.get("AssumeRolePolicyDocument")))
        if statement.get("Effect") == "Allow" and "sts:AssumeRoleWithWebIdentity" in listed(statement.get("Action"))
        for arn in listed(_mapping(statement.get("Principal")).get("Federated"))
        if ":oidc-provider/" in arn and any(forge in arn for forge in FORGES)
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
