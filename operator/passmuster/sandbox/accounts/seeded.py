"""What whoever inspects a seeded account must know of it: where it is, which roles it has, and the policy it is under.

The accounts `empty`, `ready` and `large` give this, catalogue.py makes it of `review`; story.py and the tests take it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from passmuster.api.resource import API_VERSION
from passmuster.sandbox.accounts import templates
from passmuster.sandbox.accounts.shop import Account

EXTERNAL_ID = "7c1f0a"
NAMESPACE = "shop"


@dataclass(frozen=True, slots=True)
class Seeded:
    """A seeded account. `manifest` is what `kubectl apply` takes to govern it."""

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


def seeded(account: Account, name: str, regions: Sequence[str], policy: Mapping[str, Any]) -> Seeded:
    """The account under a policy with this spec (without accountRef), with its roles made."""
    roles = give_access(account)
    return Seeded(
        account_id=account.id,
        regions=tuple(regions),
        inspection_role_arn=roles["RoleArn"],
        remediation_role_arn=roles["RemediationRoleArn"],
        external_id=EXTERNAL_ID,
        manifest=manifest(account, name, regions, policy, roles),
    )


def manifest(
    account: Account, name: str, regions: Sequence[str], policy: Mapping[str, Any], roles: Mapping[str, str]
) -> str:
    """The namespace, the AWSAccount and the ReadinessPolicy that govern the account, as YAML."""
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
    ]
    return yaml.safe_dump_all(objects, sort_keys=False)
