"""Whose is what: accounts and policies of one name or one number, made again, left, and come back to."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from passmuster.engine.declared import declared
from passmuster.engine.ports import ACCOUNTS, POLICIES, REMEDIATIONS, REPORTS, Key
from passmuster.sandbox.accounts import review
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, SimulatedAWS
from turns import ACCOUNT, EVERYTHING, POLICY, REPORT, ROOT, World, condition, empty_account

OTHER = "222222222222"
TEAM = {"team": "shop"}


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    """Two empty accounts."""
    with empty_account() as running:
        running.role_with_policy(OTHER, EVERYTHING, name=review.INSPECTION_ROLE, trusted=ROOT)
        yield running


@pytest.fixture
def selecting(world: World) -> World:
    """A policy that selects the account, and another one, by their labels."""
    world.cluster.patch(ACCOUNT, {"metadata": {"labels": TEAM}})
    add_account(world, "other", OTHER)
    world.policy_spec(accountRef=None, accountSelector={"matchLabels": TEAM})
    world.turn()
    world.aws.requests.clear()
    return world


def add_account(world: World, name: str, account_id: str, **spec: Any) -> None:
    """Another AWSAccount of the team, with the rules of the first."""
    wanted = {**(world.cluster.get(ACCOUNT) or {})["spec"], "accountId": account_id, **spec}
    wanted["roleArn"] = f"arn:aws:iam::{account_id}:role/{review.INSPECTION_ROLE}"
    del wanted["remediationRoleArn"]
    body = {"apiVersion": "passmuster.io/v1alpha1", "kind": "AWSAccount"}
    world.cluster.create(ACCOUNTS, {**body, "metadata": {"name": name, "labels": TEAM}, "spec": wanted})


def label(world: World, name: str, team: str | None) -> None:
    world.cluster.patch(Key(ACCOUNTS, "", name), {"metadata": {"labels": {"team": team}}})


def made_again(world: World, key: Key, **spec: Any) -> None:
    """The object is replaced by another of its name, before any turn in between."""
    body = copy.deepcopy(dict(world.cluster.get(key) or {}))
    world.cluster.delete(key)
    del body["status"]
    body["spec"] |= spec
    world.cluster.create(key.plural, {**body, "metadata": {n: body["metadata"].get(n) for n in ("name", "namespace")}})


def reported(world: World) -> list[str]:
    return sorted(key.name for key, _ in world.cache.all(REPORTS))


# two objects for one account


def test_two_objects_of_one_account_govern_nothing_until_one_is_left(selecting: World) -> None:
    """Which role, how many approvals and which floors would else be a matter of chance, and every report be two."""
    before = selecting.cluster.get(REPORT)
    add_account(selecting, "again", DEFAULT_ACCOUNT, minApprovals=0)
    selecting.look()
    stalled = condition(selecting.policy, "Stalled")
    assert stalled["reason"] == "AccountNotUnique"
    assert f"again and shop-production are of the same account {DEFAULT_ACCOUNT}" in stalled["message"]
    assert "spec.accountSelector" in stalled["message"]
    assert {r.account for r in selecting.aws.requests} <= {OTHER}
    assert selecting.cluster.get(REPORT) == before
    label(selecting, "again", "pay")
    selecting.look()
    assert condition(selecting.policy, "Ready")["status"] == "True"


def test_two_objects_of_one_account_may_serve_two_policies(selecting: World) -> None:
    add_account(selecting, "again", DEFAULT_ACCOUNT)
    label(selecting, "again", "pay")
    second = Key(POLICIES, "shop", "second")
    spec = {**selecting.policy["spec"], "accountSelector": {"matchLabels": {"team": "pay"}}}
    body = {**selecting.policy, "metadata": {"name": "second", "namespace": "shop"}, "spec": spec}
    selecting.cluster.create(POLICIES, {name: value for name, value in body.items() if name != "status"})
    selecting.reconciler.reconcile(second)
    assert condition(selecting.cluster.get(second) or {}, "Ready")["status"] == "True"
    assert reported(selecting) == [f"second-{DEFAULT_ACCOUNT}", f"shop-{DEFAULT_ACCOUNT}", f"shop-{OTHER}"]


# made again under the same name


def test_a_policy_that_was_made_again_is_judged_by_what_it_says_now(world: World) -> None:
    names = {key.name for key in world.cache.keys(REMEDIATIONS)}
    assert world.policy["spec"]["level"] != "Foundation"
    made_again(world, POLICY, level="Foundation")
    world.turn()
    report = world.cluster.get(REPORT) or {}
    assert report["status"]["declared"] == "Foundation"
    assert [owner["uid"] for owner in report["metadata"]["ownerReferences"]] == [world.policy["metadata"]["uid"]]
    assert names.isdisjoint(
        key.name
        for key, body in world.cache.all(REMEDIATIONS)
        if body["metadata"]["ownerReferences"][0]["uid"] == world.policy["metadata"]["uid"]
    )


def test_an_account_that_was_made_again_is_judged_by_its_rules_now(world: World) -> None:
    made_again(world, ACCOUNT, mayDisable=[])
    world.turn()
    assert condition(world.policy, "Compliant")["reason"] == "ChecksFailing"
    checks = (world.cluster.get(REPORT) or {})["status"]["checks"]
    assert not any(check["disabledWithLeave"] for check in checks)


# left, and come back to


def test_an_account_that_is_selected_again_has_its_report_at_once(selecting: World) -> None:
    label(selecting, "other", "pay")
    selecting.turn()
    assert reported(selecting) == [REPORT.name]
    label(selecting, "other", "shop")
    selecting.turn()
    assert reported(selecting) == [REPORT.name, f"shop-{OTHER}"]


def test_what_was_proposed_for_an_account_goes_with_it_and_comes_back(selecting: World) -> None:
    def states() -> set[str]:
        return {r["status"]["state"] for r in selecting.all("cloudtrail") if r["spec"]["accountId"] == OTHER}

    assert states() == {"AwaitingApproval"}
    label(selecting, "other", "pay")
    selecting.turn()
    assert states() == {"Superseded"}
    label(selecting, "other", "shop")
    selecting.turn(2)
    assert states() == {"AwaitingApproval"}


# long names


def named(world: World, name: str) -> Key:
    """A policy of another name, after its first turn."""
    key = Key(POLICIES, "shop", name)
    spec = world.policy["spec"]
    metadata = {"name": name, "namespace": "shop"}
    world.cluster.create(POLICIES, {"apiVersion": "passmuster.io/v1alpha1", "metadata": metadata, "spec": spec})
    world.reconciler.reconcile(key)
    return key


def test_the_objects_of_a_policy_with_a_long_name_have_names_that_kubernetes_takes(world: World) -> None:
    key = named(world, f"{'a' * 179}.{'b' * 60}")
    made = [other.name for plural in (REPORTS, REMEDIATIONS) for other, _ in world.cache.owned(plural, key)]
    assert len(made) > 1
    label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    assert [name for name in made if len(name) > 253 or not re.fullmatch(rf"{label}(\.{label})*", name)] == []


def test_a_policy_whose_name_leaves_no_room_for_that_of_its_report_says_so(world: World) -> None:
    key = named(world, "a" * 241)
    stalled = condition(world.cluster.get(key) or {}, "Stalled")
    assert stalled["reason"] == "InvalidSpec"
    assert stalled["message"] == (
        "The name of the policy has 241 characters, and 240 are possible, so that its reports can be named after it: "
        "create it with a shorter name"
    )
    assert list(world.cache.owned(REPORTS, key)) == []


# the payer


def test_a_payer_that_is_gone_leaves_the_bill_unknown(world: World) -> None:
    """As though none were named, the checks of the bill would apply no more, and the level could rise."""
    company = world.aws.client("organizations", account_id=OTHER)
    company.create_organization(FeatureSet="ALL")
    made = company.create_account(AccountName="member", Email="member@example.com")
    member = made["CreateAccountStatus"]["AccountId"]
    world.aws.role_with_policy(member, EVERYTHING, name=review.INSPECTION_ROLE, trusted=ROOT)
    add_account(world, "payer", OTHER)
    add_account(world, "member", member, payerAccountRef={"name": "payer"})
    disabled = [check for check in world.policy["spec"]["checks"]["disabled"] if check != "budgets-configured"]
    world.policy_spec(accountRef={"name": "member"}, checks={"disabled": disabled})
    world.turn()
    assert budgets(world, member)["status"] == "Fail"
    world.cluster.delete(Key(ACCOUNTS, "", "payer"))
    world.look()
    assert budgets(world, member)["status"] == "Unknown"
    assert budgets(world, member)["findings"][0]["message"] == (
        "The AWSAccount member names payer as its payer, and there is no such AWSAccount: create it, or correct "
        "spec.payerAccountRef"
    )


def budgets(world: World, account_id: str) -> dict[str, Any]:
    report = world.cluster.get(Key(REPORTS, "shop", f"shop-{account_id}")) or {}
    return next(dict(check) for check in report["status"]["checks"] if check["id"] == "budgets-configured")


# of another version


def test_a_policy_that_cannot_be_read_stands_in_nobodys_way(world: World) -> None:
    selector = {"accountSelector": {"matchFields": {"of": "another version"}}, "level": "Stable"}
    metadata = {"name": "future", "namespace": "shop"}
    world.cluster.create(POLICIES, {"apiVersion": "passmuster.io/v1alpha1", "metadata": metadata, "spec": selector})
    world.look()
    assert condition(world.policy, "Ready")["status"] == "True"
    assert (world.cluster.get(ACCOUNT) or {})["status"]["policies"] == 1
    assert [one.policy for one in declared(world.cache)] == [POLICY]
    future = Key(POLICIES, "shop", "future")
    world.reconciler.reconcile(future)
    assert condition(world.cluster.get(future) or {}, "Stalled")["reason"] == "InvalidSpec"


@pytest.mark.parametrize("member", ["level", "category", "reason"])
def test_a_report_that_another_version_wrote_stops_no_inspection(world: World, member: str) -> None:
    """As after an upgrade that was taken back."""
    status = copy.deepcopy((world.cluster.get(REPORT) or {})["status"])
    status |= {"level": "Future"} if member == "level" else {}
    for check in status["checks"]:
        check |= {"category": "Future"} if member == "category" else {}
        for finding in check["findings"]:
            finding |= {"reason": "Future"} if member == "reason" else {}
    world.cluster.patch_status(REPORT, status)
    world.restart()
    world.look()
    assert condition(world.policy, "Ready")["status"] == "True"
    assert "Future" not in str((world.cluster.get(REPORT) or {})["status"])
