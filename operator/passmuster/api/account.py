"""AWSAccount: one AWS account, how it is reached, and the rules of the platform team that no tenant can loosen.

Written by people, read by the engine before anything else is done in the account.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from passmuster.api.conditions import Conditions
from passmuster.api.fields import (
    SET,
    AccountId,
    BucketName,
    CheckId,
    Constraint,
    Count,
    Declared,
    Folder,
    KeyArn,
    KeyPrefix,
    LabelSelector,
    NamespaceName,
    Observed,
    ObservedGeneration,
    Reference,
    Region,
    RoleArn,
    Slot,
)
from passmuster.api.resource import AGE, Column, CustomResource, Definition
from passmuster.model.account import partition_of
from passmuster.model.verdict import Mode


class Partition(StrEnum):
    """The separate worlds of AWS."""

    AWS = "aws"
    CHINA = "aws-cn"
    GOV_CLOUD = "aws-us-gov"


IMMUTABLE = Constraint(rule="self == oldSelf", message="accountId cannot change: create another AWSAccount")


def _role_rule(field: str) -> str:
    return (
        f"!has(self.{field}) || self.{field}.startsWith('arn:' + self.partition + ':iam::' + self.accountId + ':role/')"
    )


class AllowedNamespaces(Declared):
    """Which namespaces may use the account."""

    constraints: ClassVar = (
        Constraint(
            rule="has(self.names) != has(self.selector)",
            message="give either names or selector",
            holds=lambda self: (self.names is None) != (self.selector is None),
        ),
    )

    names: Annotated[list[NamespaceName], Field(max_length=500)] | None = Field(
        default=None, description="Names of the namespaces.", json_schema_extra=SET
    )
    selector: LabelSelector | None = Field(
        default=None, description="Labels of the namespaces; an empty selector admits every namespace."
    )


class EvidenceBucket(Declared):
    """A prefix of a bucket, and the role that may put objects there and do nothing else."""

    bucket: BucketName = Field(description="Name of the bucket.")
    prefix: KeyPrefix = Field(description="Prefix of the keys, for example readiness/shop; without slashes around it.")
    region: Region = Field(description="Region of the bucket.")
    role_arn: RoleArn = Field(
        description="Role that puts the reports, of this or another account; it needs s3:PutObject on the prefix only."
    )
    kms_key_arn: KeyArn | None = Field(
        default=None,
        description="KMS key that encrypts the reports; unset means SSE-S3. The role then needs "
        "kms:GenerateDataKey on it.",
    )


class EvidenceStore(Declared):
    """Where the full report of every inspection that says something new is kept."""

    constraints: ClassVar = (
        Constraint(
            rule="has(self.s3) != has(self.folder)",
            message="give either s3 or folder",
            holds=lambda self: (self.s3 is None) != (self.folder is None),
        ),
    )

    s3: EvidenceBucket | None = Field(default=None, description="A prefix of an S3 bucket.")
    folder: Folder | None = Field(
        default=None,
        description="A folder below the one that the operator or the command line was given with --evidence-dir.",
    )


class AWSAccountSpec(Declared):
    """The account, the roles, and the rules for its tenants."""

    constraints: ClassVar = (
        Constraint(
            rule=_role_rule("roleArn"),
            message="roleArn must be a role of this account and partition",
            holds=lambda self: self.owns(self.role_arn),
            at="roleArn",
        ),
        Constraint(
            rule=_role_rule("remediationRoleArn"),
            message="remediationRoleArn must be a role of this account and partition",
            holds=lambda self: self.owns(self.remediation_role_arn),
            at="remediationRoleArn",
        ),
        Constraint(
            rule="!has(self.remediationRoleArn) || !has(self.roleArn) || self.remediationRoleArn != self.roleArn",
            message="remediationRoleArn must differ from roleArn: the role of inspections only reads",
            holds=lambda self: self.role_arn is None or self.remediation_role_arn != self.role_arn,
            at="remediationRoleArn",
        ),
        Constraint(
            rule="!has(self.evidence) || !has(self.evidence.s3) ||"
            " self.evidence.s3.roleArn.startsWith('arn:' + self.partition + ':')",
            message="evidence.s3.roleArn must be a role of the account's partition",
            holds=lambda self: (
                self.evidence is None
                or self.evidence.s3 is None
                or self.evidence.s3.role_arn.startswith(f"arn:{self.partition}:")
            ),
            at="evidence",
        ),
        Constraint(
            rule="!has(self.regions) || self.regions.all(r, self.partition == (r.startsWith('cn-') ? 'aws-cn'"
            " : r.startsWith('us-gov-') ? 'aws-us-gov' : 'aws'))",
            message="every region must be one of the account's partition",
            holds=lambda self: all(partition_of(region) == self.partition for region in self.regions or ()),
            at="regions",
        ),
    )

    account_id: Annotated[AccountId, IMMUTABLE] = Field(
        description="The twelve digits of the account, in quotes; immutable."
    )
    partition: Partition = Field(
        default=Partition.AWS, description="AWS partition of the account; aws unless China or GovCloud."
    )
    role_arn: RoleArn | None = Field(
        default=None,
        description="Role that inspections assume, read-only; without it the operator's own identity is used, "
        "if it is of this account.",
    )
    remediation_role_arn: RoleArn | None = Field(
        default=None,
        description="Role that remediations assume; without it nothing is ever executed in this account.",
    )
    external_id: Annotated[str, Field(min_length=2, max_length=1224)] | None = Field(
        default=None,
        description="External id sent whenever a role is assumed; AWS does not treat it as a secret.",
    )
    payer_account_ref: Reference | None = Field(
        default=None,
        description="AWSAccount of the organization's payer, from whose inspection the cost checks are judged.",
    )
    regions: Annotated[list[Region], Field(min_length=1, max_length=50)] | None = Field(
        default=None,
        description="Governed regions, and the only ones that policies may name; unset means every enabled region.",
        json_schema_extra=SET,
    )
    allowed_namespaces: AllowedNamespaces | None = Field(
        default=None, description="Namespaces whose policies may use this account; unset means none."
    )
    allowed_modes: Annotated[list[Mode], Field(min_length=1, max_length=3)] = Field(
        default=[Mode.OBSERVE, Mode.PROPOSE],
        description="Modes that policies may ask for; Observe and Propose unless set.",
        json_schema_extra=SET,
    )
    may_disable: Annotated[list[CheckId], Field(max_length=200)] = Field(
        default=[],
        description="Checks that a policy may disable without losing the level; none unless set.",
        json_schema_extra=SET,
    )
    floors: Annotated[dict[str, dict[str, Any]], Slot.FLOORS] = Field(
        default={},
        description="Loosest parameters that policies may use, by check; where a policy is looser, the floor is used.",
    )
    min_approvals: Annotated[int, Field(ge=0, le=10)] = Field(
        default=0,
        description="Distinct people who must approve a remediation; 0 unless set, and at least 1 in mode Propose.",
    )
    evidence: EvidenceStore | None = Field(
        default=None, description="Where full reports are kept as evidence; unset means nowhere but in the cluster."
    )

    def owns(self, arn: str | None) -> bool:
        """Whether a role, if there is one, is of this account and partition."""
        return arn is None or arn.startswith(f"arn:{self.partition}:iam::{self.account_id}:role/")


class AWSAccountStatus(Observed):
    """What the operator knows about the account."""

    observed_generation: ObservedGeneration = None
    policies: Count | None = Field(default=None, description="How many ReadinessPolicies use the account.")
    conditions: Conditions = Field(default=[])


class AWSAccount(CustomResource):
    """One AWS account as the platform team declares it."""

    definition: ClassVar = Definition(
        kind="AWSAccount",
        plural="awsaccounts",
        short="awsacct",
        scope="Cluster",
        columns=(
            Column("Account-ID", ".spec.accountId", "Which account is it?"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Can the operator do its job in it?"),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', "If not, why?"),
            Column("Policies", ".status.policies", "How many policies use it?", "integer"),
            AGE,
            Column("Partition", ".spec.partition", "In which partition is it?", wide=True),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', "What exactly?", wide=True),
        ),
        selectable=(".spec.accountId",),
    )
    description: ClassVar = "AWSAccount is one AWS account: how it is reached, and the rules that no policy can loosen."

    kind: Literal["AWSAccount"] = "AWSAccount"
    spec: AWSAccountSpec
    status: AWSAccountStatus = AWSAccountStatus()
