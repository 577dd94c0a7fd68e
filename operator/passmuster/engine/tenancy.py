"""The account owner's rules applied to a policy, and what then is to be inspected. Pure; before any AWS call.

A refusal is a TenancyError, which becomes a condition and an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from passmuster.api.account import AWSAccount
from passmuster.api.conditions import ConditionReason
from passmuster.api.policy import ReadinessPolicy
from passmuster.assess import grants
from passmuster.assess.demand import Demand
from passmuster.assess.scope import TagFilter
from passmuster.engine.ports import Object
from passmuster.model.account import Identity, Target
from passmuster.model.errors import PayerNotFound, TenancyError
from passmuster.model.evidence import Recovery
from passmuster.model.grant import Grant
from passmuster.model.verdict import Mode, Phase


@dataclass(frozen=True, slots=True)
class Governed:
    """One account under one policy, with every rule applied."""

    policy: ReadinessPolicy
    account: AWSAccount
    target: Target
    demand: Demand
    recovery: Recovery
    interval: timedelta
    payer: Target | None
    payer_missing: PayerNotFound | None
    modes: Mapping[Phase, Mode]

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The policy's inputs of remediations."""
        return self.policy.spec.remediation.inputs

    @property
    def proposes(self) -> bool:
        """Whether any phase asks for more than to be observed."""
        return any(mode is not Mode.OBSERVE for mode in self.modes.values())


def read_account(body: Object) -> AWSAccount:
    """The object. Raises TenancyError where it has another shape than this version knows."""
    try:
        return AWSAccount.read(body)
    except ValidationError as error:
        message = f"The AWSAccount {body['metadata']['name']} cannot be read: {first_error(error)}"
        raise TenancyError(ConditionReason.INVALID_SPEC, message) from error


def first_error(error: ValidationError) -> str:
    """Where an object first has another shape, and how."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"


def admits(account: AWSAccount, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether policies of a namespace may use the account."""
    allowed = account.spec.allowed_namespaces
    if allowed is None:
        return False
    if allowed.names is not None:
        return namespace in allowed.names
    return allowed.selector is not None and allowed.selector.selects(labels)


def govern(
    policy: ReadinessPolicy,
    account: AWSAccount,
    namespace_labels: Mapping[str, str],
    payer: AWSAccount | None = None,
    granted: tuple[Grant, ...] = (),
) -> Governed:
    """What the policy means for the account. Raises TenancyError where the account's rules refuse it."""
    namespace = policy.metadata.namespace or ""
    name = account.metadata.name
    if not admits(account, namespace, namespace_labels):
        raise TenancyError(
            ConditionReason.NAMESPACE_NOT_ALLOWED,
            f"The AWSAccount {name} does not admit the namespace {namespace}: ask its owner to add it to "
            "spec.allowedNamespaces",
        )
    return _governed(policy, account, payer, granted)


def without_cluster(
    policy: ReadinessPolicy, account: AWSAccount, payer: AWSAccount | None = None, granted: tuple[Grant, ...] = ()
) -> Governed:
    """The same for files on the command line, where nobody else's namespace is at stake."""
    return _governed(policy, account, payer, granted)


def _governed(
    policy: ReadinessPolicy, account: AWSAccount, payer: AWSAccount | None, granted: tuple[Grant, ...]
) -> Governed:
    spec, rules = policy.spec, account.spec
    name = account.metadata.name
    modes = _modes(policy)
    refused = sorted({mode.value for mode in modes.values() if mode not in rules.allowed_modes})
    if refused:
        allowed = ", ".join(mode.value for mode in rules.allowed_modes)
        raise TenancyError(
            ConditionReason.MODE_NOT_ALLOWED,
            f"The AWSAccount {name} allows the modes {allowed}, not {', '.join(refused)}: change "
            "spec.remediation.mode, or ask its owner",
        )
    foreign = sorted(set(spec.regions or ()) - set(rules.regions or spec.regions or ()))
    if foreign:
        raise TenancyError(
            ConditionReason.REGION_NOT_ALLOWED,
            f"The AWSAccount {name} does not list {', '.join(foreign)}: leave it out of spec.regions, or ask its owner",
        )
    checks = spec.checks
    return Governed(
        policy=policy,
        account=account,
        target=target_of(account, tuple(spec.regions or rules.regions or ())),
        demand=Demand(
            level=spec.level,
            minimum_score=spec.minimum_score,
            optional=frozenset(checks.optional),
            disabled=frozenset(checks.disabled),
            may_disable=frozenset(rules.may_disable),
            parameters=checks.parameters,
            floors=rules.floors,
            waivers=grants.waivers(granted),
            grants=granted,
            scope=tuple(TagFilter(tag.key, tuple(tag.values)) for tag in spec.scope.tags) if spec.scope else (),
        ),
        recovery=Recovery(
            rto=spec.recovery.rto,
            rpo=spec.recovery.rpo,
            secondary_region=spec.recovery.secondary_region,
            cross_region=spec.recovery.cross_region.value,
        ),
        interval=spec.interval,
        payer=target_of(payer, tuple(payer.spec.regions or ())) if payer is not None else None,
        payer_missing=_payer_missing(account) if payer is None else None,
        modes=modes,
    )


def _payer_missing(account: AWSAccount) -> PayerNotFound | None:
    """Why the bill cannot be judged, where the account names a payer that there is no object of."""
    reference = account.spec.payer_account_ref
    if reference is None:
        return None
    return PayerNotFound(
        f"The AWSAccount {account.metadata.name} names {reference.name} as its payer, and there is no such AWSAccount: "
        "create it, or correct spec.payerAccountRef"
    )


def target_of(account: AWSAccount, regions: tuple[str, ...]) -> Target:
    """The account as an inspection sees it, with its inspection role."""
    spec = account.spec
    return Target(
        account_id=spec.account_id,
        regions=regions,
        partition=spec.partition.value,
        identity=Identity(role_arn=spec.role_arn, external_id=spec.external_id),
    )


def remediation_target(governed: Governed) -> Target | None:
    """The account with its remediation role; None where there is none, and then nothing is executed."""
    spec = governed.account.spec
    if spec.remediation_role_arn is None:
        return None
    return Target(
        account_id=spec.account_id,
        regions=governed.target.regions,
        partition=spec.partition.value,
        identity=Identity(role_arn=spec.remediation_role_arn, external_id=spec.external_id),
    )


def _modes(policy: ReadinessPolicy) -> Mapping[Phase, Mode]:
    return {phase: policy.spec.remediation.mode_of(phase) for phase in Phase}
