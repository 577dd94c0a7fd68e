"""What whoever inspects a seeded account must know of it: where it is, which roles it has, and the policy it is under.

The accounts `empty`, `ready` and `large` give this; story.py and the tests take it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from passmuster.sandbox.accounts import templates
from passmuster.sandbox.accounts.shop import Account

EXTERNAL_ID = "7c1f0a"
NAMESPACE = "shop"
API_VERSION = "passmuster.io/v1alpha1"


@dataclass(frozen=True, slots=True)
class Seeded:
    """A seeded account. `manifest` holds its AWSAccount, its ReadinessPolicy and what people granted, as YAML."""

    account_id: str
    regions: tuple[str, ...]
    inspection_role_arn: str
    remediation_role_arn: str
    external_id: str
    manifest: str


def give_access(account: Account) -> Mapping[str, str]:
    """Make the roles that an account gives to Passmuster; the outputs of their stack."""
    return account.deploy(
        "passmuster-access",
        templates.access(),
        TrustedPrincipal=f"arn:aws:iam::{account.id}:root",
        ExternalId=EXTERNAL_ID,
    )


def seeded(
    account: Account,
    name: str,
    regions: Sequence[str],
    policy: Mapping[str, Any],
    granted: Sequence[Mapping[str, Any]] = (),
) -> Seeded:
    """The account under a policy with this spec (without accountRef), its roles made; `granted` are further objects."""
    roles = give_access(account)
    target = {
        "accountId": account.id,
        "roleArn": roles["RoleArn"],
        "remediationRoleArn": roles["RemediationRoleArn"],
        "externalId": EXTERNAL_ID,
        "regions": list(regions),
        "allowedNamespaces": {"names": [NAMESPACE]},
        "allowedModes": ["Observe", "Propose"],
    }
    objects: list[Mapping[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": API_VERSION, "kind": "AWSAccount", "metadata": {"name": name}, "spec": target},
        {
            "apiVersion": API_VERSION,
            "kind": "ReadinessPolicy",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"accountRef": {"name": name}, **policy},
        },
        *granted,
    ]
    return Seeded(
        account_id=account.id,
        regions=tuple(regions),
        inspection_role_arn=roles["RoleArn"],
        remediation_role_arn=roles["RemediationRoleArn"],
        external_id=EXTERNAL_ID,
        manifest=yaml.safe_dump_all(objects, sort_keys=False),
    )
