"""Which waivers and attestations count: approvals, dates, the catalogue, the guard; and when that changes by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import apiserver
from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.fields import written
from passmuster.api.waiver import ReadinessWaiver
from passmuster.assess import grants
from passmuster.assess.grants import Granted
from passmuster.checks import catalogue
from passmuster.model.grant import Grant, Standing
from replay import NOW

CHECKS = catalogue.load()
CRITICAL, ATTESTABLE = "https-redirect", "dr-runbooks"
DAY = timedelta(days=1)


def waiver(*by: str, name: str = "one", ends: timedelta = 30 * DAY, **spec: Any) -> ReadinessWaiver:
    approvals = [{"by": subject} for subject in by]
    body = apiserver.waiver("shop", name, approvals=approvals, expiresAt=written(NOW + ends), **spec)
    return ReadinessWaiver.read(body)


def attestation(
    *by: str, name: str = "one", issued: timedelta = -DAY, ends: timedelta = 30 * DAY, **spec: Any
) -> ReadinessAttestation:
    dates = {"issuedAt": written(NOW + issued), "expiresAt": written(NOW + ends)}
    approvals = [{"by": subject} for subject in by]
    return ReadinessAttestation.read(apiserver.attestation("shop", name, approvals=approvals, **dates, **spec))


def weighed(*objects: Granted, later: timedelta = timedelta(0), guarded: str | None = None) -> tuple[Grant, ...]:
    return grants.grants(objects, CHECKS, NOW + later, guarded=guarded)


def standing(*objects: Granted, later: timedelta = timedelta(0), guarded: str | None = None) -> Standing:
    (grant,) = weighed(*objects, later=later, guarded=guarded)
    return grant.standing


# approvals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (waiver(), Standing.AWAITING_APPROVAL),
        (waiver("ann"), Standing.IN_FORCE),
        (waiver("ann", check=CRITICAL), Standing.AWAITING_APPROVAL),
        (waiver("ann", "ann", check=CRITICAL), Standing.AWAITING_APPROVAL),
        (waiver("ann", "bob", check=CRITICAL), Standing.IN_FORCE),
        (attestation(), Standing.AWAITING_APPROVAL),
        (attestation("ann"), Standing.IN_FORCE),
    ],
)
def test_one_approval_makes_it_count_and_two_people_a_waiver_of_a_critical_check(
    one: Granted, wanted: Standing
) -> None:
    assert standing(one) is wanted


def test_what_is_missing_is_said_with_what_to_do() -> None:
    (grant,) = weighed(waiver("ann", check=CRITICAL))
    assert (grant.approved_by, grant.needed) == (("ann",), 2)
    assert grant.message == "Has 1 of 2 approvals of different people: passmuster approve adds yours"


def test_without_the_guard_of_approvals_nothing_counts() -> None:
    (grant,) = weighed(waiver("ann"), guarded="The ValidatingAdmissionPolicy passmuster-approvals does not exist")
    assert grant.standing is Standing.UNGUARDED
    assert "the ValidatingAdmissionPolicy passmuster-approvals does not exist" in grant.message


# dates ----------------------------------------------------------------------------------------------------------------


def test_it_counts_until_the_moment_it_ends() -> None:
    one = waiver("ann", ends=DAY)
    assert standing(one, later=DAY - timedelta(seconds=1)) is Standing.IN_FORCE
    assert standing(one, later=DAY) is Standing.EXPIRED
    assert weighed(one, later=DAY)[0].message.startswith(f"Expired on {written(NOW + DAY)}")


def test_an_attestation_counts_from_when_it_is_issued() -> None:
    assert standing(attestation("ann", issued=DAY)) is Standing.NOT_YET
    assert standing(attestation("ann", issued=DAY), later=DAY) is Standing.IN_FORCE


def test_it_warns_from_fourteen_days_before_its_end_and_only_while_it_counts() -> None:
    one = waiver("ann", ends=30 * DAY)
    warned = [weighed(one, later=days * DAY)[0].expiring for days in (0, 15, 16, 29, 30)]
    assert warned == [False, False, True, True, False]
    assert not weighed(waiver(ends=DAY))[0].expiring
    assert grants.ending_soon(weighed(waiver("ann", name="legacy", ends=DAY))) == f"legacy ({NOW + DAY:%Y-%m-%d})"
    assert grants.ending_soon(weighed(one)) == ""


def test_the_next_change_is_the_warning_then_the_end_then_none() -> None:
    one = waiver("ann", ends=30 * DAY)
    assert grants.next_change(weighed(one)) == NOW + 16 * DAY
    assert grants.next_change(weighed(one, later=16 * DAY)) == NOW + 30 * DAY
    assert grants.next_change(weighed(one, later=30 * DAY)) is None
    assert grants.next_change(weighed(attestation("ann", issued=2 * DAY))) == NOW + 2 * DAY
    assert grants.next_change(weighed(waiver(ends=30 * DAY))) == NOW + 30 * DAY
    assert grants.next_change(()) is None


@given(
    ends=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    approved=st.lists(st.booleans(), min_size=6, max_size=6),
    issued=st.integers(-5, 5),
)
def test_between_two_changes_nothing_changes_and_the_changes_come_to_an_end(
    ends: list[int], approved: list[bool], issued: int
) -> None:
    objects: list[Granted] = [
        waiver(*(["ann"] if ok else []), name=f"w{number}", ends=days * DAY)
        for number, (days, ok) in enumerate(zip(ends, approved, strict=False))
    ]
    objects.append(attestation("ann", issued=issued * DAY, ends=20 * DAY))
    now, steps = NOW, 0
    while (moment := grants.next_change(found := grants.grants(objects, CHECKS, now))) is not None:
        assert moment > now
        assert grants.grants(objects, CHECKS, moment - timedelta(seconds=1)) == found
        assert grants.grants(objects, CHECKS, moment) != found
        now, steps = moment, steps + 1
        assert steps <= 3 * len(objects)


# the catalogue --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (waiver("ann", check="gone"), "There is no check gone"),
        (attestation("ann", check="gone"), "There is no check gone"),
        (attestation("ann", check=CRITICAL), f"The check {CRITICAL} takes no attestation"),
        (attestation("ann", ends=365 * DAY), f"It lasts longer than the 365 days that {ATTESTABLE} allows"),
    ],
)
def test_what_the_catalogue_does_not_allow_counts_for_nothing(one: Granted, said: str) -> None:
    (grant,) = weighed(one)
    assert grant.standing is Standing.NOT_ACCEPTED
    assert grant.message.startswith(said)


# for whom -------------------------------------------------------------------------------------------------------------


def test_one_is_for_the_accounts_of_its_policy_in_its_namespace() -> None:
    everywhere, one_account = waiver(name="a"), waiver(name="b", accountRef={"name": "eu"})
    other_policy = waiver(name="c", policyRef={"name": "other"})
    objects = [everywhere, one_account, other_policy]

    def chosen(policy: str, namespace: str, account: str) -> list[str]:
        return [one.metadata.name for one in grants.of_account(objects, policy, namespace, account)]

    assert chosen("shop", "shop", "eu") == ["a", "b"]
    assert chosen("shop", "shop", "us") == ["a"]
    assert chosen("other", "shop", "us") == ["c"]
    assert chosen("shop", "pay", "eu") == []


def test_only_what_counts_reaches_the_checks() -> None:
    found = weighed(waiver("ann", name="a"), waiver(name="b"), attestation("ann", name="c"), attestation(name="d"))
    assert [w.name for w in grants.waivers(found)] == ["a"]
    assert [a.name for a in grants.attestations(found)] == ["c"]
    assert [grant.name for grant in found] == ["a", "b", "c", "d"]
    assert grants.attestations(found)[0].sha256 == "c" * 64
