"""The commands that get accounts ready: what they print is what CloudFormation and the operator take."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from passmuster.api import manifest
from passmuster.aws.organization import Member
from passmuster.checks.catalogue import load
from passmuster.cli import offline
from passmuster.cli.accounts import TEMPLATE_SIZE, manifests
from passmuster.cli.main import app
from passmuster.engine.inspection import reads_of
from passmuster.inventory.permissions import MANAGED_POLICY_SIZE, all_actions, policies, size
from passmuster.model.errors import AccountError, UserError
from passmuster.remediation import access
from passmuster.remediation import catalogue as remediations
from passmuster.sandbox.emulation.stacks.schemas import schema_of
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, SimulatedAWS
from passmuster.sandbox.story import own_identity

RUNNER = CliRunner()
CFN_LINT = Path(sys.executable).parent / "cfn-lint"


def printed(*arguments: str) -> Any:
    ran = RUNNER.invoke(app, list(arguments), catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return yaml.safe_load(ran.stdout)


def statements(template: Any, role: str) -> list[dict[str, Any]]:
    return [
        statement
        for name, resource in template["Resources"].items()
        if name.startswith(f"{role}Policy")
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--remediation", "--evidence", "acme-evidence/readiness"),
        ("--stack-set", "--remediation", "--organizational-unit", "r-ab12"),
    ],
)
def test_cfn_lint_has_nothing_to_say(arguments: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "roles.yaml"
    path.write_text(RUNNER.invoke(app, ["bootstrap", "role", *arguments], catch_exceptions=False).stdout)
    linted = subprocess.run(
        [CFN_LINT, "--regions", "us-east-1", "--", path], capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout[:2000]


def test_the_template_is_small_enough_to_be_deployed_from_a_file() -> None:
    ran = RUNNER.invoke(app, ["bootstrap", "role", "--remediation"], catch_exceptions=False)
    assert len(ran.stdout.encode()) <= TEMPLATE_SIZE


def test_by_default_the_role_can_read_and_nothing_else() -> None:
    template = printed("bootstrap", "role")
    granted = [action for statement in statements(template, "Inspection") for action in statement["Action"]]
    assert sorted(granted) == sorted({*all_actions(reads_of(list(load()))), "ec2:DescribeRegions"})
    assert [name for name in template["Resources"] if name.endswith("Role")] == ["InspectionRole"]


def test_every_role_asks_for_the_external_id_and_fits_its_policies() -> None:
    template = printed("bootstrap", "role", "--remediation", "--evidence", "s3://acme-evidence/readiness/")
    roles = {name: one for name, one in template["Resources"].items() if one["Type"] == "AWS::IAM::Role"}
    assert set(roles) == {"InspectionRole", "RemediationRole", "EvidenceRole"}
    for role in roles.values():
        trust = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert trust == [
            {
                "Effect": "Allow",
                "Principal": {"AWS": {"Ref": "TrustedPrincipal"}},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": {"Ref": "ExternalId"}}},
            }
        ]
        assert len(role["Properties"]["ManagedPolicyArns"]) <= access.MOST_MANAGED_POLICIES
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            assert size(resource["Properties"]["PolicyDocument"]) <= MANAGED_POLICY_SIZE
    assert statements(template, "Evidence") == [
        {
            "Sid": "Write",
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::acme-evidence/readiness/*",
        }
    ]


def test_the_remediation_role_changes_things_only_through_cloudformation_and_never_itself() -> None:
    granted = statements(printed("bootstrap", "role", "--remediation"), "Remediation")
    by_sid = {statement["Sid"]: statement for statement in granted}
    made = [s for s in granted if s["Sid"].startswith("Make") and s["Sid"] != "MakeServiceLinked"]
    assert made
    assert all("aws:CalledVia" in s["Condition"]["ForAnyValue:StringEquals"] for s in made)
    assert by_sid["NeverOurselves"]["Effect"] == "Deny"
    assert by_sid["OwnStacks"]["Resource"] == {
        "Fn::Sub": "arn:${AWS::Partition}:cloudformation:*:${AWS::AccountId}:stack/passmuster-*"
    }
    allowed = {action for s in granted if s["Effect"] == "Allow" for action in s["Action"]}
    assert not allowed & access.NEVER
    assert not [action for action in allowed if action.endswith(":*") or action == "*"]


def test_the_remediation_role_reads_settings_and_no_data_by_itself() -> None:
    granted = statements(printed("bootstrap", "role", "--remediation"), "Remediation")
    by_sid = {statement["Sid"]: statement for statement in granted}
    readers = access.readers()
    assert set(by_sid["Model"]["Action"]) == {action for name in readers for action in readers[name]}
    everywhere = [s for s in granted if s.get("Resource") == "*" and "Condition" not in s]
    free = {action for s in everywhere for action in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}
    assert not free & {"s3:GetObject", "s3:ListBucket", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"}
    assert not {action for action in free if action.startswith("iam:")}


@pytest.mark.parametrize(
    ("asked", "services"),
    [
        ([], {"cloudtrail.amazonaws.com", "monitoring.rds.amazonaws.com", "rds.amazonaws.com"}),
        (["--owner-stacks"], {service for services in access.PASSED_TO.values() for service in services}),
    ],
)
def test_the_remediation_role_passes_roles_only_to_the_services_of_what_it_changes(
    asked: list[str], services: set[str]
) -> None:
    granted = statements(printed("bootstrap", "role", "--remediation", *asked), "Remediation")
    by_sid = {statement["Sid"]: statement for statement in granted}
    assert set(by_sid["PassRole"]["Condition"]["StringEquals"]["iam:PassedToService"]) == services
    assert by_sid["MakeServiceLinked"]["Resource"] == {
        "Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/*"
    }


def test_it_is_known_to_whom_each_change_of_a_resource_that_exists_passes_a_role() -> None:
    changed = {one.desired.type for one in remediations.load() if one.desired is not None}
    updates = {name: schema_of(name).document["handlers"].get("update", {}) for name in changed}  # type: ignore[union-attr]
    assert set(access.PASSED_TO) == {n for n, verb in updates.items() if "iam:PassRole" in verb.get("permissions", ())}
    passing = [one for one in remediations.load() if "iam:PassRole" in access.step_actions([one])]
    assert passing
    assert {one.desired.type for one in passing if one.desired is not None} <= set(access.PASSED_TO)


def test_every_type_of_the_catalogue_has_its_handlers_permissions() -> None:
    assert set(access.types_of(remediations.load())) == set(access.handlers()), "make crds"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--stack-set",), "--organizational-unit"),
        (("--organizational-unit", "r-ab12"), "--stack-set"),
        (("--stack-set", "--organizational-unit", "everybody"), "not the id of a root"),
        (("--evidence", "No/Bucket"), "BUCKET/PREFIX"),
    ],
)
def test_a_mistake_is_explained(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        RUNNER.invoke(app, ["bootstrap", "role", *arguments], catch_exceptions=False)


def test_the_parts_of_the_policy_are_the_policy() -> None:
    whole = json.loads(RUNNER.invoke(app, ["iam-policy"], catch_exceptions=False).stdout)
    number = len(policies(reads_of(list(load()))))
    parts = [
        json.loads(RUNNER.invoke(app, ["iam-policy", "--part", str(part)], catch_exceptions=False).stdout)
        for part in range(1, number + 1)
    ]
    assert [s for part in parts for s in part["Statement"]] == whole["Statement"]
    with pytest.raises(UserError, match=f"the policy has {number} part"):
        RUNNER.invoke(app, ["iam-policy", "--part", str(number + 1)], catch_exceptions=False)


def listed(*found: Member) -> list[dict[str, Any]]:
    return list(
        manifests(
            found,
            partition="aws",
            regions=("eu-central-1",),
            role_name="passmuster-inspection",
            remediation_role_name=None,
            external_id="7c1f0a",
            namespaces=("shop",),
        )
    )


def test_members_name_their_payer_and_closed_accounts_are_left_out() -> None:
    shop, payer, closed = listed_members()
    found = {d["metadata"]["name"]: d["spec"] for d in listed(shop, payer, closed)}
    assert set(found) == {"shop-production", "acme"}
    assert found["shop-production"]["payerAccountRef"] == {"name": "acme"}
    assert "payerAccountRef" not in found["acme"]
    assert found["shop-production"]["roleArn"] == "arn:aws:iam::111111111111:role/passmuster-inspection"


def listed_members() -> tuple[Member, Member, Member]:
    return (
        Member("111111111111", "Shop: Production", active=True, manages=False),
        Member("222222222222", "ACME", active=True, manages=True),
        Member("333333333333", "Old", active=False, manages=False),
    )


def test_two_accounts_of_one_name_get_two_names() -> None:
    names = [
        d["metadata"]["name"]
        for d in listed(
            Member("111111111111", "shop", active=True, manages=False),
            Member("222222222222", "Shop", active=True, manages=False),
            Member("333333333333", "***", active=True, manages=False),
        )
    ]
    assert names == ["shop-111111111111", "shop-222222222222", "333333333333"]


LIST = ["accounts", "list", "--from-organization"]


@pytest.fixture(scope="module")
def organization() -> Iterator[SimulatedAWS]:
    """An account that manages an organization; until that is made, nobody finds one."""
    with SimulatedAWS() as aws, own_identity(aws):
        with pytest.raises(AccountError, match="is in no organization"):
            RUNNER.invoke(app, [*LIST, "--endpoint-url", aws.url], catch_exceptions=False)
        aws.client("organizations", "us-east-1").create_organization(FeatureSet="ALL")
        yield aws


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--region", "EU"), r"^--region: there is no region 'EU' that this release knows"),
        (("--region", "eu-centrl-1"), r"^--region: .*; did you mean eu-central-1\?"),
        (("--role-name", "a b"), r"^--role-name: .*role/a b' is not the ARN of an IAM role"),
        (("--external-id", "x"), r"^--external-id: String should have at least 2 characters"),
        (("--allowed-namespace", "A_B"), r"^--allowed-namespace: 'A_B' is not a Kubernetes namespace"),
        (("--remediation-role-name", "passmuster-inspection"), r"^--remediation-role-name: it must differ from --role"),
    ],
)
def test_a_mistake_in_what_every_account_gets_is_told_by_its_flag(
    organization: SimulatedAWS, arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        RUNNER.invoke(app, [*LIST, *arguments, "--endpoint-url", organization.url], catch_exceptions=False)


@pytest.mark.slow
def test_the_accounts_of_an_organization_become_manifests_that_are_accepted(organization: SimulatedAWS) -> None:
    organizations = organization.client("organizations", "us-east-1")
    member = organizations.create_account(AccountName="Shop Production", Email="shop@example.com")
    asked = [*LIST, "--region", "eu-central-1", "--allowed-namespace", "shop", "--endpoint-url", organization.url]
    ran = RUNNER.invoke(app, asked, catch_exceptions=False)
    loaded = manifest.load(ran.stdout, offline.facts(), remediations.load().inputs())
    ids = {one.spec.account_id for one in loaded}  # type: ignore[union-attr]
    assert ids == {DEFAULT_ACCOUNT, member["CreateAccountStatus"]["AccountId"]}
