"""No request of one account is ever signed with the key of another: under load, and when somebody tries.

The account is in the request itself (`organizations:DescribeAccount`), the key in its signature; the server compares.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest

from loopback import Asked, Said, loopback, said
from passmuster.aws.clients import Clients
from passmuster.aws.collector import Collector, Scope
from passmuster.aws.limits import Limits
from passmuster.aws.principal import ContextCredentials, Guard, KeyRing, Principal, acting_as
from passmuster.aws.transport import BotoTransport
from passmuster.inventory.call import THIS_ACCOUNT, Call
from passmuster.model.errors import WrongCredentials

pytestmark = pytest.mark.slow

ACCOUNTS = [f"{n:012d}" for n in range(100_000_000_001, 100_000_000_201)]
ALICE, BOB = ACCOUNTS[:2]
SIGNED_BY = re.compile(r"Credential=([^/]+)/")


def key_of(account: str) -> str:
    return f"AKID{account}"


def principal_of(account: str) -> Principal:
    return Principal(account, key_of(account), f"secret-of-{account}", f"token-of-{account}")


class Ledger:
    """What arrived: for each request the account it is about, and the key and the token it is signed with."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str]] = []

    def __call__(self, asked: Asked) -> Said:
        account = asked.parameters.get("AccountId", "")
        signed = SIGNED_BY.search(asked.headers.get("Authorization", ""))
        self.entries.append((account, signed[1] if signed else "", asked.headers.get("X-Amz-Security-Token", "")))
        return said({"Account": {"Id": account}})

    @property
    def wrong(self) -> list[tuple[str, str, str]]:
        return [entry for entry in self.entries if entry[1:] != (key_of(entry[0]), f"token-of-{entry[0]}")]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def shared(ledger: Ledger) -> Iterator[Clients]:
    with loopback(ledger) as url:
        clients = Clients(KeyRing(), endpoint_url=url, max_connections=64)
        yield clients
        clients.close()


def ask(clients: Clients, about: str) -> Any:
    return clients.client("organizations", "us-east-1").describe_account(AccountId=about)


def test_no_request_of_64_threads_for_200_accounts_carries_the_key_of_another(shared: Clients, ledger: Ledger) -> None:
    tasks = ACCOUNTS * 10
    random.Random(7).shuffle(tasks)

    def inspect(account: str) -> str:
        shared.ring.prove(key_of(account), account)
        with acting_as(principal_of(account), account):
            return str(ask(shared, account)["Account"]["Id"])

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(inspect, tasks)) == tasks
    assert len(ledger.entries) == len(tasks) == 2000
    assert ledger.wrong == []
    assert {entry[0] for entry in ledger.entries} == set(ACCOUNTS)


def test_collections_of_many_accounts_at_once_keep_their_keys_apart(shared: Clients, ledger: Ledger) -> None:
    members = Call("organizations", "DescribeAccount", args={"AccountId": THIS_ACCOUNT}, keep=("Account",))
    collector = Collector(BotoTransport(shared), Limits(rate=1e6), threads=4)
    accounts = ACCOUNTS[:60]

    def collect(account: str) -> Any:
        shared.ring.prove(key_of(account), account)
        snapshot = collector.collect([members], Scope(account, "aws", (), "us-east-1"), principal_of(account)).snapshot
        return [row["Account"]["Id"] for reading in snapshot.readings[members].values() for row in reading.rows]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(collect, accounts)) == [[account] for account in accounts]
    assert ledger.wrong == []
    assert len(ledger.entries) == 60


def test_a_task_within_a_task_signs_as_the_inner_one_and_then_as_the_outer_one_again(
    shared: Clients, ledger: Ledger
) -> None:
    for account in (ALICE, BOB):
        shared.ring.prove(key_of(account), account)
    with acting_as(principal_of(ALICE), ALICE):
        ask(shared, ALICE)
        with acting_as(principal_of(BOB), BOB):
            ask(shared, BOB)
        ask(shared, ALICE)
    assert [entry[0] for entry in ledger.entries] == [ALICE, BOB, ALICE]
    assert ledger.wrong == []


def test_an_error_within_a_task_does_not_leave_its_key_behind(shared: Clients, ledger: Ledger) -> None:
    shared.ring.prove(key_of(ALICE), ALICE)
    with pytest.raises(RuntimeError), acting_as(principal_of(ALICE), ALICE):
        raise RuntimeError
    with pytest.raises(WrongCredentials):
        ask(shared, ALICE)
    assert ledger.entries == []


# the guard ------------------------------------------------------------------------------------------------------------


def mixed_up(clients: Clients) -> None:
    with acting_as(principal_of(BOB), ALICE):
        ask(clients, ALICE)


def never_proven(clients: Clients) -> None:
    stranger = Principal(ALICE, "AKIDSTRANGER", "secret", None)
    with acting_as(stranger, ALICE):
        ask(clients, ALICE)


def nobody(clients: Clients) -> None:
    ask(clients, ALICE)


def in_a_thread_of_nobody(clients: Clients) -> None:
    with acting_as(principal_of(ALICE), ALICE), ThreadPoolExecutor(1) as pool:
        pool.submit(ask, clients, ALICE).result()


def tampered(clients: Clients, tamper: Callable[[Any], None]) -> None:
    """Asks with a handler that changes the request after it was signed."""

    def change(request: Any, **_: Any) -> None:
        tamper(request.headers)

    events = clients.client("organizations", "us-east-1").meta.events
    events.register_last("request-created.organizations", change)  # where the signer is registered, and after it
    with acting_as(principal_of(ALICE), ALICE):
        ask(clients, ALICE)


def signed_again_with_the_key_of_another(clients: Clients) -> None:
    def swap(headers: Any) -> None:
        del headers["Authorization"]
        headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={key_of(BOB)}/20261121/us-east-1/x/aws4_request"

    tampered(clients, swap)


def unsigned(clients: Clients) -> None:
    tampered(clients, lambda headers: headers.__delitem__("Authorization"))


@pytest.mark.parametrize(
    "mistake",
    [mixed_up, never_proven, nobody, in_a_thread_of_nobody, signed_again_with_the_key_of_another, unsigned],
    ids=lambda mistake: mistake.__name__.replace("_", " "),
)
def test_a_mistake_is_stopped_before_anything_leaves(
    mistake: Callable[[Clients], None], shared: Clients, ledger: Ledger
) -> None:
    for account in (ALICE, BOB):
        shared.ring.prove(key_of(account), account)
    with pytest.raises(WrongCredentials):
        mistake(shared)
    assert ledger.entries == []


def test_a_key_that_changed_hands_is_refused_for_its_former_account(shared: Clients, ledger: Ledger) -> None:
    shared.ring.prove(key_of(ALICE), ALICE)
    shared.ring.prove(key_of(ALICE), BOB)
    with pytest.raises(WrongCredentials), acting_as(principal_of(ALICE), ALICE):
        ask(shared, ALICE)
    assert ledger.entries == []


def test_an_identity_may_be_asked_for_its_account_before_it_is_proven(shared: Clients, ledger: Ledger) -> None:
    with acting_as(principal_of(ALICE), None):
        ask(shared, ALICE)
    assert len(ledger.entries) == 1


def test_the_guard_reads_a_header_of_bytes_too() -> None:
    ring = KeyRing()
    ring.prove(key_of(ALICE), ALICE)
    request = AWSRequest("POST", "https://example.com")
    request.headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={key_of(ALICE)}/x".encode()
    with acting_as(principal_of(ALICE), ALICE):
        Guard(ring)(request)
    with acting_as(principal_of(BOB), BOB), pytest.raises(WrongCredentials):
        Guard(ring)(request)


def test_a_ring_that_is_full_forgets_everything_rather_than_growing_for_ever() -> None:
    ring = KeyRing()
    for n in range(50_010):
        ring.prove(f"K{n}", ALICE)
    assert ring.account_of("K50009") == ALICE
    assert ring.account_of("K0") is None, "an unproven key is refused, and proven again"


def test_a_principal_shows_no_secret() -> None:
    shown = repr(principal_of(ALICE)) + str(principal_of(ALICE))
    assert "secret" not in shown
    assert "token" not in shown


def test_credentials_are_those_of_the_task_whichever_way_botocore_asks() -> None:
    credentials = ContextCredentials()
    with acting_as(principal_of(ALICE), ALICE):
        frozen = credentials.get_frozen_credentials()
        assert (frozen.access_key, frozen.token) == (key_of(ALICE), f"token-of-{ALICE}")
        assert (credentials.access_key, credentials.token) == (key_of(ALICE), f"token-of-{ALICE}")
        assert credentials.get_deferred_property("account_id")() is None
        inherited = copy_context()
    with pytest.raises(WrongCredentials):
        credentials.get_frozen_credentials()
    assert inherited.run(credentials.get_frozen_credentials).access_key == key_of(ALICE)


def test_clients_are_made_once_however_many_threads_want_one() -> None:
    clients, made = Clients(KeyRing(), endpoint_url="http://127.0.0.1:1"), []
    gate = threading.Barrier(16)

    def want() -> None:
        gate.wait()
        made.append(clients.client("organizations", "us-east-1"))

    threads = [threading.Thread(target=want) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clients.close()
    assert len(made) == 16
    assert len({id(client) for client in made}) == 1
