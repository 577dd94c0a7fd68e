"""The organization that the account is a member of, and the policies that hold in it."""

from __future__ import annotations

from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.snapshot import View

ORGANIZATION = Call(
    "organizations",
    "DescribeOrganization",
    keep=("Organization",),
    absent=("AWSOrganizationsNotInUseException",),
    freshness=RARELY,
)
"""Tells whether an account is a member whose bill is paid elsewhere."""

_NOT_IN_USE = ("AWSOrganizationsNotInUseException", "PolicyTypeNotEnabledException")

EFFECTIVE_TAG_POLICY = Call(
    "organizations",
    "DescribeEffectivePolicy",
    each=ORGANIZATION,
    over="Organization.Id || 'organization'",
    param={"PolicyType": "'TAG_POLICY'"},
    keep="{Content: EffectivePolicy.PolicyContent}",
    absent=(*_NOT_IN_USE, "EffectivePolicyNotFoundException", "TargetNotFoundException"),
    freshness=RARELY,
)
"""The tag policy that results for this account; every account may ask for its own."""


def _listed(kind: str) -> Call:
    return Call(
        "organizations",
        "ListPolicies",
        each=ORGANIZATION,
        over="Organization.Id || 'organization'",
        param={"Filter": f"'{kind}'"},
        items="Policies[?!AwsManaged]",
        keep=("Id", "Arn", "Name", "Type"),
        absent=_NOT_IN_USE,
        freshness=RARELY,
    )


def _content(listed: Call) -> Call:
    return Call(
        "organizations",
        "DescribePolicy",
        each=listed,
        over="Id",
        param="PolicyId",
        keep="{Content: Policy.Content}",
        absent=("PolicyNotFoundException",),
        freshness=RARELY,
    )


def _targets(listed: Call) -> Call:
    return Call(
        "organizations",
        "ListTargetsForPolicy",
        each=listed,
        over="Id",
        param="PolicyId",
        items="Targets",
        keep=("TargetId", "Type"),
        absent=("PolicyNotFoundException",),
        freshness=RARELY,
    )


TAG_POLICIES = _listed("TAG_POLICY")
SERVICE_CONTROL_POLICIES = _listed("SERVICE_CONTROL_POLICY")
RESOURCE_CONTROL_POLICIES = _listed("RESOURCE_CONTROL_POLICY")
"""Only the management account and delegated administrators may list policies; those that AWS made are left out."""

POLICY_KINDS = (TAG_POLICIES, SERVICE_CONTROL_POLICIES, RESOURCE_CONTROL_POLICIES)
POLICY_CONTENT = {kind: _content(kind) for kind in POLICY_KINDS}
POLICY_TARGETS = {kind: _targets(kind) for kind in POLICY_KINDS}


def is_member(view: View) -> bool:
    """Whether the account belongs to an organization that another account manages."""
    row = view.row(ORGANIZATION)
    owner = (row.get("Organization") or {}).get("MasterAccountId") if row is not None else None
    return owner is not None and owner != view.account_id
