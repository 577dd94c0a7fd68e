"""Waivers and attestations in files: for which policy they are, and what is told about those that do not count.

Approvals in a file count as they are written there: without a cluster nobody else vouches for who approved. Called by
`offline`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from passmuster.api.account import AWSAccount
from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.policy import ReadinessPolicy
from passmuster.api.waiver import ReadinessWaiver
from passmuster.assess import grants
from passmuster.assess.grants import Granted
from passmuster.checks.catalogue import Catalogue
from passmuster.cli.terminal import note
from passmuster.model.errors import InvalidManifest
from passmuster.model.grant import Grant


def granted_in(
    objects: Iterable[Any], policies: Sequence[ReadinessPolicy], accounts: Iterable[AWSAccount]
) -> list[Granted]:
    """The waivers and attestations among objects, each in the namespace of its policy.

    Raises InvalidManifest for one whose policy or account is not in the files.
    """
    names = {account.metadata.name for account in accounts}
    found = [one for one in objects if isinstance(one, (ReadinessWaiver, ReadinessAttestation))]
    return [_placed(one, policies, names) for one in found]


def _placed(one: Granted, policies: Sequence[ReadinessPolicy], accounts: set[str]) -> Granted:
    who, wanted, here = f"{one.kind} {one.metadata.name}", one.spec.policy_ref.name, one.metadata.namespace
    named = [policy for policy in policies if policy.metadata.name == wanted]
    if not named:
        known = ", ".join(sorted({policy.metadata.name for policy in policies}))
        raise InvalidManifest(f"{who}: there is no ReadinessPolicy {wanted} in the files, only {known}")
    near = [policy for policy in named if here is None or policy.metadata.namespace in (None, here)]
    if not near:
        raise InvalidManifest(
            f"{who}: the ReadinessPolicy {wanted} is in the namespace {named[0].metadata.namespace}, not in {here}: "
            "put both into one namespace"
        )
    reference = one.spec.account_ref
    if reference is not None and reference.name not in accounts:
        known = ", ".join(sorted(accounts))
        raise InvalidManifest(f"{who}: there is no AWSAccount {reference.name} in the files, only {known}")
    metadata = one.metadata.model_copy(update={"namespace": near[0].metadata.namespace})
    return one.model_copy(update={"metadata": metadata})


def standing(
    objects: Iterable[Granted], policy: ReadinessPolicy, account: AWSAccount, catalogue: Catalogue, now: datetime
) -> tuple[Grant, ...]:
    """The waivers and attestations for an account under a policy, and whether they count."""
    chosen = grants.of_account(objects, policy.metadata.name, policy.metadata.namespace or "", account.metadata.name)
    return grants.grants(chosen, catalogue, now)


def tell(found: Iterable[Grant]) -> None:
    """A line on standard error for each that does not count, or soon will not."""
    for grant in dict.fromkeys(found):
        who = f"{grant.kind} {grant.name} ({grant.check})"
        if grant.expiring:
            note(f"{who} expires on {grant.expires_at:%Y-%m-%d}")
        elif not grant.in_force:
            note(f"{who} does not count: {grant.message[:1].lower()}{grant.message[1:]}")
