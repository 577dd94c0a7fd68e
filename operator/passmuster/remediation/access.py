"""The roles through which Passmuster enters an account, as CloudFormation: what `passmuster bootstrap role` prints.

The permissions are derived: those of inspections from the calls that the checks declare, those of remediations from the
types in the templates of the catalogue (`handlers.json` and `readers.json` are generated from CloudFormation's own
resource schemas). So a new check or remediation brings its permissions with it, and nothing is granted that nothing
uses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from passmuster.inventory.call import Call
from passmuster.inventory.permissions import actions, parts, policies, together
from passmuster.model.errors import UserError
from passmuster.remediation import template
from passmuster.remediation.adoption import ADOPTABLE
from passmuster.remediation.definition import Definition

INSPECTION, REMEDIATION, EVIDENCE = "passmuster-inspection", "passmuster-remediation", "passmuster-evidence"
"""The names of the roles; an AWSAccount names them in roleArn, remediationRoleArn and evidence.roleArn."""

MOST_MANAGED_POLICIES = 10
"""How many managed policies a role takes, unless its account has a higher quota."""

NEVER = frozenset({"s3:DeleteObject", "s3:DeleteObjectVersion", "secretsmanager:GetSecretValue", "ssm:GetParameter"})
"""What the handlers of some types would like to do and no remediation needs: to delete data, to read a secret."""

PASSED_TO: Mapping[str, tuple[str, ...]] = {
    "AWS::AutoScaling::AutoScalingGroup": ("ec2.amazonaws.com",),
    "AWS::CloudTrail::Trail": ("cloudtrail.amazonaws.com",),
    "AWS::CodeDeploy::DeploymentGroup": ("codedeploy.amazonaws.com",),
    "AWS::EFS::FileSystem": ("elasticfilesystem.amazonaws.com",),
    "AWS::RDS::DBCluster": ("monitoring.rds.amazonaws.com", "rds.amazonaws.com"),
    "AWS::RDS::DBInstance": ("monitoring.rds.amazonaws.com", "rds.amazonaws.com"),
    "AWS::S3::Bucket": ("s3.amazonaws.com",),
    "AWS::SNS::Topic": ("sns.amazonaws.com",),
}
"""To whom a change of a resource that exists passes the role that its owner gave it: every type that may be changed in
place and whose update needs iam:PassRole."""

_PASS_ROLE, _LINK_ROLE = "iam:PassRole", "iam:CreateServiceLinkedRole"
_STACK = "arn:${AWS::Partition}:cloudformation:*:${AWS::AccountId}:stack/passmuster-*"
_MADE = ("role", "policy", "instance-profile")
STACK_READS = (
    "DescribeStackEvents",
    "DescribeStackResources",
    "DescribeStacks",
    "DetectStackResourceDrift",
    "GetTemplate",
    "ListChangeSets",
)
"""Reads of stacks, whoever made them: who owns a resource, whether its stack may be updated, why an update failed."""

STACK_CHANGES = ("CreateChangeSet", "DeleteChangeSet", "DescribeChangeSet", "ExecuteChangeSet")
"""What a change set takes, of a stack of ours or of an owner's."""

DELETE_STACK = "DeleteStack"
"""What only stacks of ours meet."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which roles are asked for. `evidence` is the ARN of the objects that reports are written to, "" for none.

    With `owner_stacks` the remediation role may also update stacks that the account's people made.
    """

    remediation: bool = False
    evidence: str = ""
    owner_stacks: bool = False


@cache
def handlers() -> Mapping[str, tuple[str, ...]]:
    """The actions that CloudFormation makes for each resource type of the catalogue's templates."""
    text = (files(__package__) / "handlers.json").read_text(encoding="utf-8")
    return {name: tuple(actions) for name, actions in json.loads(text).items()}


@cache
def readers() -> Mapping[str, tuple[str, ...]]:
    """The actions by which Cloud Control reads a resource, for each type that may be adopted."""
    text = (files(__package__) / "readers.json").read_text(encoding="utf-8")
    return {name: tuple(actions) for name, actions in json.loads(text).items()}


def types_of(definitions: Iterable[Definition]) -> tuple[str, ...]:
    """The resource types in the templates of these remediations and of what they change in place, sorted."""
    found: set[str] = set()
    for definition in definitions:
        if definition.template:
            resources = template.parsed(definition.template)["Resources"].values()
            found |= {str(resource["Type"]) for resource in resources}
        if definition.desired is not None:
            found.add(definition.desired.type)
    return tuple(sorted(found))


def step_actions(definitions: Iterable[Definition]) -> tuple[str, ...]:
    """The IAM actions of the API steps that these remediations declare, and of their inverse, sorted."""
    operations = {
        (operation.service, operation.operation, operation.actions)
        for definition in definitions
        for step in definition.api
        for operation in step.operations
    }
    calls = [Call(service, name, actions=given) for service, name, given in operations]
    return tuple(sorted({action for call in calls for action in actions(call)}))


def remediation_statements(definitions: Iterable[Definition], *, owner_stacks: bool = False) -> list[dict[str, Any]]:
    """What the remediation role may do: its own stacks, through CloudFormation what their resources need, and the
    calls of API steps.

    IAM resources only under names of its own stacks, and nothing to the roles of this file, or a change could widen
    its own permissions.
    """
    definitions = tuple(definitions)
    known = handlers()
    made = sorted({a for name in types_of(definitions) for a in known.get(name, ())} - NEVER)
    through = {"ForAnyValue:StringEquals": {"aws:CalledVia": ["cloudformation.amazonaws.com"]}}
    names = [{"Fn::Sub": f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:{kind}/passmuster-*"} for kind in _MADE]
    statements: list[dict[str, Any]] = [
        _of_stacks("OwnStacks", (*STACK_CHANGES, DELETE_STACK, "TagResource"), {"Fn::Sub": _STACK}),
        _of_stacks("FindStacks", STACK_READS, "*"),
        *_in_place(definitions, owner_stacks=owner_stacks),
        {
            "Sid": "NeverOurselves",
            "Effect": "Deny",
            "Action": "iam:*",
            "Resource": [
                {"Fn::Sub": f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:role/{name}"}
                for name in (INSPECTION, REMEDIATION, EVIDENCE)
            ],
        },
    ]
    plain = together("Make", [a for a in made if not a.startswith("iam:")])
    statements.extend({**statement, "Condition": through} for statement in plain)
    identity = [a for a in made if a.startswith("iam:")]
    own = [a for a in identity if a != _LINK_ROLE]
    if own:
        statements.append({"Sid": "MakeIam", "Effect": "Allow", "Action": own, "Resource": names, "Condition": through})
    if _LINK_ROLE in identity or _LINK_ROLE in step_actions(definitions):
        linked = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/*"}
        statements.append({"Sid": "MakeServiceLinked", "Effect": "Allow", "Action": [_LINK_ROLE], "Resource": linked})
    return statements


def _in_place(definitions: Sequence[Definition], *, owner_stacks: bool) -> Iterator[dict[str, Any]]:
    """What changes to resources that exist need beside stacks of our own."""
    adopted = sorted({d.desired.type for d in definitions if d.desired is not None} & set(ADOPTABLE))
    if adopted:
        read = {action for name in adopted for action in readers()[name]}
        yield {"Sid": "ReadModels", "Effect": "Allow", "Action": "cloudformation:GetResource", "Resource": "*"}
        yield from together("Model", sorted(read))
    yield from together("Step", sorted(set(step_actions(definitions)) - {_PASS_ROLE, _LINK_ROLE}))
    if passed_to := _passed_to(definitions, owner_stacks=owner_stacks):
        roles = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*"}
        to = {"StringEquals": {"iam:PassedToService": passed_to}}
        yield {"Sid": "FindRole", "Effect": "Allow", "Action": ["iam:GetRole"], "Resource": roles}
        yield {"Sid": "PassRole", "Effect": "Allow", "Action": [_PASS_ROLE], "Resource": roles, "Condition": to}
    if owner_stacks:
        everything = {"Fn::Sub": "arn:${AWS::Partition}:cloudformation:*:${AWS::AccountId}:stack/*"}
        yield _of_stacks("OwnerStacks", STACK_CHANGES, everything)


def _of_stacks(sid: str, operations: Sequence[str], resource: str | Mapping[str, str]) -> dict[str, Any]:
    """A statement that allows operations of CloudFormation."""
    actions = [f"cloudformation:{name}" for name in operations]
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}


def _passed_to(definitions: Iterable[Definition], *, owner_stacks: bool) -> list[str]:
    """The services to which roles that others made are passed: by API steps that say so, and with the updates of what
    is adopted or, where that is asked for, of the owner's stack."""
    passing = {
        d.desired.type
        for d in definitions
        if d.desired is not None and (owner_stacks or d.desired.type in ADOPTABLE or _PASS_ROLE in step_actions([d]))
    }
    return sorted({service for name in passing for service in PASSED_TO.get(name, ())})


def role_template(calls: Iterable[Call], definitions: Iterable[Definition], wanted: Wanted) -> dict[str, Any]:
    """The CloudFormation template of the roles: TrustedPrincipal and ExternalId are its parameters."""
    resources: dict[str, Any] = _role("Inspection", INSPECTION, policies(calls))
    outputs = {"RoleArn": _arn("Inspection", "roleArn of the AWSAccount")}
    if wanted.remediation:
        statements = remediation_statements(definitions, owner_stacks=wanted.owner_stacks)
        resources |= _role("Remediation", REMEDIATION, parts(statements))
        outputs["RemediationRoleArn"] = _arn("Remediation", "remediationRoleArn of the AWSAccount")
    if wanted.evidence:
        write = {"Sid": "Write", "Effect": "Allow", "Action": "s3:PutObject", "Resource": wanted.evidence}
        resources |= _role("Evidence", EVIDENCE, parts([write]))
        outputs["EvidenceRoleArn"] = _arn("Evidence", "evidence.roleArn of the AWSAccount")
    too_many = [
        name
        for name, resource in resources.items()
        if len(resource["Properties"].get("ManagedPolicyArns", ())) > MOST_MANAGED_POLICIES
    ]
    if too_many:
        raise UserError(f"{', '.join(too_many)} needs more than {MOST_MANAGED_POLICIES} managed policies")
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "How Passmuster enters this account: roles with exactly the permissions that it uses.",
        "Parameters": _PARAMETERS,
        "Resources": resources,
        "Outputs": outputs,
    }


def stack_set_template(role: Mapping[str, Any], units: Iterable[str], regions: Iterable[str]) -> dict[str, Any]:
    """A template for the organization's management account (or its delegated administrator): the roles in every
    account of the organizational units, those that join later included."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "How Passmuster enters the accounts of an organization, those that join later included.",
        "Parameters": _PARAMETERS,
        "Resources": {
            "Roles": {
                "Type": "AWS::CloudFormation::StackSet",
                "Properties": {
                    "StackSetName": "passmuster-access",
                    "Description": "The roles of Passmuster in every account of the organizational units.",
                    "PermissionModel": "SERVICE_MANAGED",
                    "AutoDeployment": {"Enabled": True, "RetainStacksOnAccountRemoval": False},
                    "ManagedExecution": {"Active": True},
                    "OperationPreferences": {"FailureTolerancePercentage": 10, "MaxConcurrentPercentage": 25},
                    "Capabilities": ["CAPABILITY_NAMED_IAM"],
                    "Parameters": [{"ParameterKey": name, "ParameterValue": {"Ref": name}} for name in _PARAMETERS],
                    "StackInstancesGroup": [
                        {
                            "DeploymentTargets": {"OrganizationalUnitIds": list(units)},
                            "Regions": list(regions),
                        }
                    ],
                    "TemplateBody": json.dumps(role, separators=(",", ":")),
                },
            }
        },
    }


_PARAMETERS: dict[str, Any] = {
    "TrustedPrincipal": {
        "Type": "String",
        "Description": "ARN of the role that the operator runs as; only it may assume the roles.",
        "AllowedPattern": "^arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:.+$",
    },
    "ExternalId": {
        "Type": "String",
        "Description": "externalId of the AWSAccount; asked for whenever a role is assumed.",
        "MinLength": 2,
        "MaxLength": 1224,
        "AllowedPattern": "^[A-Za-z0-9+=,.@:/_-]+$",
    },
}


def _role(logical_id: str, name: str, documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    managed = {
        f"{logical_id}Policy{number}": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {
                "Description": f"Part {number} of what {name} may do.",
                "PolicyDocument": document,
            },
        }
        for number, document in enumerate(documents, start=1)
    }
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": {"Ref": "TrustedPrincipal"}},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": {"Ref": "ExternalId"}}},
    }
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": name,
            "Description": f"Passmuster assumes it for its {logical_id.lower()} of this account.",
            "MaxSessionDuration": 3600,
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
            "ManagedPolicyArns": [{"Ref": one} for one in managed],
        },
    }
    return {**managed, f"{logical_id}Role": role}


def _arn(logical_id: str, what: str) -> dict[str, Any]:
    return {"Description": f"The {what}.", "Value": {"Fn::GetAtt": [f"{logical_id}Role", "Arn"]}}
