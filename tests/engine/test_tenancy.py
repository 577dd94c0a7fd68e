"""The account owner's rules, applied before any AWS call: who may use an account, in which mode, and where."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import apiserver
from passmuster.api.account import AWSAccount
from passmuster.api.policy import ReadinessPolicy
from passmuster.engine.tenancy import admits, govern, remediation_target, without_cluster
from passmuster.model.errors import TenancyError
from passmuster.model.verdict import Mode, Phase

ROLE = "arn:aws:iam::123456789012:role/passmuster-{}"
OPEN: dict[str, Any] = {
    "roleArn": ROLE.format("inspection"),
    "externalId": "7c1f0a",
    "regions": ["eu-central-1", "eu-west-1"],
    "allowedNamespaces": {"names": ["shop"]},
}


def _account(**spec: Any) -> AWSAccount:
    return AWSAccount.read(apiserver.account("shop", **{**OPEN, **spec}))


def _policy(namespace: str = "shop", **spec: Any) -> ReadinessPolicy:
    return ReadinessPolicy.read(apiserver.policy(namespace, "shop", **spec))


def _refusal(policy: ReadinessPolicy, account: AWSAccount, labels: dict[str, str] | None = None) -> TenancyError:
    with pytest.raises(TenancyError) as caught:
        govern(policy, account, labels or {})
    return caught.value


def test_an_account_without_allowed_namespaces_admits_nobody() -> None:
    account = _account(allowedNamespaces=None)
    assert not admits(account, "shop", {"team": "shop"})
    assert _refusal(_policy(), account).reason == "NamespaceNotAllowed"


def test_namespaces_are_admitted_by_name() -> None:
    assert admits(_account(), "shop", {})
    assert not admits(_account(), "shop-2", {"kubernetes.io/metadata.name": "shop"})


def test_namespaces_are_admitted_by_their_labels() -> None:
    account = _account(allowedNamespaces={"selector": {"matchLabels": {"team": "shop"}}})
    assert admits(account, "anything", {"team": "shop"})
    assert not admits(account, "shop", {"team": "other"})
    assert not admits(account, "shop", {})


def test_an_empty_selector_admits_every_namespace() -> None:
    assert admits(_account(allowedNamespaces={"selector": {}}), "anything", {})


def test_the_refusal_says_whom_to_ask_and_for_what() -> None:
    refused = _refusal(_policy(namespace="intruder"), _account())
    assert "shop does not admit the namespace intruder" in str(refused)
    assert "spec.allowedNamespaces" in str(refused)
    assert not refused.retryable


@pytest.mark.parametrize(
    ("remediation", "allowed"),
    [
        ({}, True),
        ({"mode": "Propose"}, True),
        ({"mode": "Apply", "maxMonthlyCost": 1}, False),
        ({"mode": "Observe", "maxMonthlyCost": 1, "phases": [{"phase": "Stable", "mode": "Apply"}]}, False),
        ({"mode": "Propose", "phases": [{"phase": "Stable", "mode": "Observe"}]}, True),
    ],
)
def test_a_mode_beyond_the_accounts_is_refused_also_for_one_phase(remediation: dict[str, Any], allowed: bool) -> None:
    policy = _policy(remediation=remediation)
    if allowed:
        govern(policy, _account(), {})
        return
    refused = _refusal(policy, _account())
    assert refused.reason == "ModeNotAllowed"
    assert "Observe, Propose, not Apply" in str(refused)


def test_each_phase_has_the_mode_that_the_policy_gives_it() -> None:
    policy = _policy(remediation={"mode": "Propose", "phases": [{"phase": "Hardened", "mode": "Observe"}]})
    governed = govern(policy, _account(), {})
    assert governed.modes[Phase.HARDENED] is Mode.OBSERVE
    assert {governed.modes[phase] for phase in Phase if phase is not Phase.HARDENED} == {Mode.PROPOSE}
    assert governed.proposes
    assert not govern(_policy(), _account(), {}).proposes


def test_a_region_that_the_account_does_not_list_is_refused() -> None:
    refused = _refusal(_policy(regions=["eu-central-1", "us-east-1"]), _account())
    assert refused.reason == "RegionNotAllowed"
    assert "us-east-1" in str(refused)


def test_the_policys_regions_narrow_those_of_the_account() -> None:
    assert govern(_policy(regions=["eu-west-1"]), _account(), {}).target.regions == ("eu-west-1",)
    assert govern(_policy(), _account(), {}).target.regions == ("eu-central-1", "eu-west-1")


def test_an_account_without_regions_leaves_them_to_the_policy_or_to_discovery() -> None:
    assert govern(_policy(regions=["us-east-1"]), _account(regions=None), {}).target.regions == ("us-east-1",)
    assert govern(_policy(), _account(regions=None), {}).target.regions == ()


def test_the_demand_carries_the_rules_that_no_tenant_can_loosen() -> None:
    floors = {"audit-logs-retained": {"minRetentionDays": 365}}
    policy = _policy(
        level="Stable",
        minimumScore=90,
        interval="2h",
        checks={"disabled": ["budgets-configured"], "optional": ["caching-layer"]},
    )
    governed = govern(policy, _account(mayDisable=["budgets-configured"], floors=floors), {})
    demand = governed.demand
    assert (demand.level, demand.minimum_score) == (Phase.STABLE, 90)
    assert demand.disabled == demand.may_disable == {"budgets-configured"}
    assert demand.optional == {"caching-layer"}
    assert demand.floors == floors
    assert governed.interval == timedelta(hours=2)


def test_the_inspection_never_gets_the_remediation_role() -> None:
    account = _account(remediationRoleArn=ROLE.format("remediation"))
    governed = govern(_policy(), account, {})
    assert governed.target.identity.role_arn == ROLE.format("inspection")
    target = remediation_target(governed)
    assert target is not None
    assert target.identity.role_arn == ROLE.format("remediation")
    assert target.identity.external_id == governed.target.identity.external_id == "7c1f0a"


def test_without_a_remediation_role_there_is_nobody_to_change_anything() -> None:
    assert remediation_target(govern(_policy(), _account(), {})) is None


def test_the_payer_is_read_with_its_own_role() -> None:
    payer = AWSAccount.read(
        apiserver.account("payer", accountId="999999999999", roleArn="arn:aws:iam::999999999999:role/passmuster")
    )
    found = govern(_policy(), _account(payerAccountRef={"name": "payer"}), {}, payer).payer
    assert found is not None
    assert (found.account_id, found.identity.role_arn) == ("999999999999", "arn:aws:iam::999999999999:role/passmuster")


def test_on_the_command_line_no_namespace_is_at_stake_but_every_other_rule_holds() -> None:
    closed = _account(allowedNamespaces=None)
    assert without_cluster(_policy(), closed).target.account_id == "123456789012"
    with pytest.raises(TenancyError, match="allows the modes"):
        without_cluster(_policy(remediation={"mode": "Apply", "maxMonthlyCost": 1}), closed)


LABELS = st.dictionaries(st.sampled_from(["team", "stage", "x"]), st.sampled_from(["a", "b"]), max_size=3)


@given(wanted=LABELS, labels=LABELS)
def test_a_selector_admits_exactly_the_namespaces_with_all_its_labels(
    wanted: dict[str, str], labels: dict[str, str]
) -> None:
    account = _account(allowedNamespaces={"selector": {"matchLabels": wanted}})
    assert admits(account, "anything", labels) is (wanted.items() <= labels.items())
