"""Who we are in an account: proven before anything is asked, held while it is valid, renewed once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from passmuster.assess.demand import Demand
from passmuster.aws.clients import Clients
from passmuster.aws.collector import Collector
from passmuster.aws.identity import Identities, control_region_of, default_region
from passmuster.aws.limits import Limits
from passmuster.aws.principal import KeyRing
from passmuster.aws.transport import BotoTransport
from passmuster.checks.catalogue import Catalogue, load
from passmuster.engine.inspection import Inspector, Task
from passmuster.model.account import Identity, Target
from passmuster.model.errors import AccountMismatch, AccountUnreachable, CredentialsRefused, UserError
from passmuster.model.verdict import Status
from passmuster.sandbox.simulated_aws import SimulatedAWS

HOME, TEAM = "111111111111", "222222222222"
REGION = "eu-central-1"
READER = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
NOBODY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedAWS]:
    with SimulatedAWS(warm=False) as aws:
        yield aws


@pytest.fixture
def aws(simulated: SimulatedAWS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimulatedAWS:
    simulated.reset()
    own = simulated.root_keys(HOME)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", own.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", own.secret_key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return simulated


class Clock:
    """The time, which a test moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clients(aws: SimulatedAWS) -> Iterator[Clients]:
    shared = Clients(KeyRing(), endpoint_url=aws.url)
    yield shared
    shared.close()


@pytest.fixture
def identities(clients: Clients, clock: Clock) -> Identities:
    return Identities(clients, clock=clock)


def target(account: str = HOME, **identity: str) -> Target:
    return Target(account, (REGION,), identity=Identity(**identity))


def asked(aws: SimulatedAWS, operation: str) -> int:
    return sum(request.operation == operation for request in aws.requests)


# proof ----------------------------------------------------------------------------------------------------------------


def test_the_process_s_own_identity_is_proven_to_be_of_the_account(identities: Identities, clients: Clients) -> None:
    principal = identities.principal(target(HOME))
    assert principal.account_id == HOME
    assert clients.ring.account_of(principal.access_key) == HOME


def test_credentials_of_another_account_are_refused_and_never_used(
    identities: Identities, aws: SimulatedAWS, clients: Clients
) -> None:
    with pytest.raises(AccountMismatch, match=f"belongs to account {HOME}, not {TEAM}; nothing was read"):
        identities.principal(target(TEAM))
    assert {request.operation for request in aws.requests} == {"GetCallerIdentity"}
    assert clients.ring.account_of(aws.root_keys(HOME).access_key) is None


def test_a_role_is_assumed_with_its_external_id(identities: Identities, aws: SimulatedAWS, clients: Clients) -> None:
    trusted = f"arn:aws:iam::{HOME}:root"
    arn = aws.role_with_policy(TEAM, READER, name="inspect", trusted=trusted, external_id="a-secret-between-us")
    principal = identities.principal(target(TEAM, role_arn=arn, external_id="a-secret-between-us"))
    assert principal.account_id == TEAM
    assert principal.token
    assert clients.ring.account_of(principal.access_key) == TEAM


@pytest.mark.parametrize("external_id", ["", "wrong"])
def test_a_role_that_may_not_be_assumed_is_refused_with_what_to_check(
    identities: Identities, aws: SimulatedAWS, external_id: str
) -> None:
    trusted = f"arn:aws:iam::{HOME}:root"
    arn = aws.role_with_policy(TEAM, READER, name="inspect", trusted=trusted, external_id="right")
    with pytest.raises(
        CredentialsRefused, match=r"inspect could not be assumed \(AccessDenied\).*external id"
    ) as error:
        identities.principal(target(TEAM, role_arn=arn, external_id=external_id))
    assert error.value.retryable


def test_a_role_of_a_third_account_is_a_mismatch(identities: Identities, aws: SimulatedAWS) -> None:
    arn = aws.role_with_policy("333333333333", READER, name="inspect", trusted=f"arn:aws:iam::{HOME}:root")
    with pytest.raises(AccountMismatch, match="333333333333"):
        identities.principal(target(TEAM, role_arn=arn))


def test_whoever_we_are_is_told_without_naming_an_account(identities: Identities) -> None:
    assert identities.whoami(Identity(), REGION) == HOME


# how long -------------------------------------------------------------------------------------------------------------


def test_a_role_is_assumed_once_until_shortly_before_it_expires(
    identities: Identities, aws: SimulatedAWS, clock: Clock
) -> None:
    arn = aws.role_with_policy(TEAM, READER, name="inspect", trusted=f"arn:aws:iam::{HOME}:root")
    one = target(TEAM, role_arn=arn)
    first = identities.principal(one)
    clock.now += timedelta(minutes=54)
    assert identities.principal(one) is first
    assert asked(aws, "AssumeRole") == 1
    clock.now += timedelta(minutes=2)
    assert identities.principal(one).access_key != first.access_key
    assert asked(aws, "AssumeRole") == 2


def test_a_renewal_forgets_what_was_held(identities: Identities, aws: SimulatedAWS) -> None:
    arn = aws.role_with_policy(TEAM, READER, name="inspect", trusted=f"arn:aws:iam::{HOME}:root")
    one = target(TEAM, role_arn=arn)
    first = identities.principal(one)
    second = identities.principal(one, renew=True)
    assert second.access_key != first.access_key
    assert identities.principal(one) is second


def test_two_identities_of_one_account_are_held_apart(identities: Identities, aws: SimulatedAWS) -> None:
    trusted = f"arn:aws:iam::{HOME}:root"
    arns = [aws.role_with_policy(TEAM, READER, name=name, trusted=trusted) for name in ("inspect", "change")]
    keys = {identities.principal(target(TEAM, role_arn=arn)).access_key for arn in arns}
    assert len(keys) == 2


# without credentials --------------------------------------------------------------------------------------------------


def test_without_any_credentials_one_sentence_says_where_they_come_from(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsRefused, match="no AWS credentials were found: name a profile"):
        identities.principal(target())


def test_a_key_without_a_secret_is_incomplete(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsRefused, match="incomplete"):
        identities.principal(target())


def test_a_profile_that_does_not_exist_is_the_person_s_mistake(identities: Identities) -> None:
    with pytest.raises(UserError, match="no profile 'nowhere'; `aws configure list-profiles`"):
        identities.principal(target(profile="nowhere"))
    with pytest.raises(UserError, match="nowhere"):
        default_region("nowhere")


def test_a_profile_is_read_from_the_ordinary_configuration(
    identities: Identities, aws: SimulatedAWS, tmp_path: Path
) -> None:
    keys = aws.root_keys(TEAM)
    secret = f"aws_access_key_id = {keys.access_key}\naws_secret_access_key = {keys.secret_key}\n"
    (tmp_path / "credentials").write_text(f"[team]\n{secret}")
    (tmp_path / "config").write_text("[profile team]\nregion = eu-west-3\n")
    assert identities.principal(target(TEAM, profile="team")).account_id == TEAM
    assert default_region("team") == "eu-west-3"
    assert default_region(None) is None


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ("eu-centrl-1", "there is no region 'eu-centrl-1' that this release knows; did you mean eu-central-1"),
        ("cn-nrth-1", "did you mean cn-north-1"),
        ("mars-north-1", "that this release knows, for example eu-central-1"),
    ],
)
def test_where_nobody_answers_in_a_region_that_does_not_exist_its_name_is_doubted(
    aws: SimulatedAWS, region: str, said: str
) -> None:
    nowhere = Identities(Clients(KeyRing(), endpoint_url=f"http://127.0.0.1:{_closed_port()}"))
    with pytest.raises(AccountUnreachable, match=said):
        nowhere.whoami(Identity(), region)


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_an_endpoint_that_nobody_listens_at_makes_the_account_unreachable(aws: SimulatedAWS) -> None:
    nowhere = Clients(KeyRing(), endpoint_url=f"http://127.0.0.1:{_closed_port()}")
    with pytest.raises(AccountUnreachable, match="sts in eu-central-1 did not answer") as error:
        Identities(nowhere).principal(target())
    assert error.value.retryable
    nowhere.close()


# regions --------------------------------------------------------------------------------------------------------------


def test_the_enabled_regions_are_asked_and_not_guessed(identities: Identities) -> None:
    one = target()
    regions = identities.regions(one, identities.principal(one))
    assert list(regions) == sorted(regions)
    assert {"eu-central-1", "us-east-1"} <= set(regions)


def test_regions_that_may_not_be_listed_are_refused_with_the_missing_action(
    identities: Identities, aws: SimulatedAWS
) -> None:
    aws.faults.add("denied", service="ec2", operation="DescribeRegions")
    one = target()
    with pytest.raises(CredentialsRefused, match=r"UnauthorizedOperation.*name regions, or allow ec2:DescribeRegions"):
        identities.regions(one, identities.principal(one))


def test_the_control_region_follows_from_the_partition() -> None:
    assert control_region_of(()) == control_region_of(("eu-west-1",)) == "us-east-1"
    assert control_region_of(("cn-northwest-1",)) == "cn-north-1"
    assert control_region_of(("us-gov-east-1",)) == "us-gov-west-1"


# expiry in the middle of an inspection --------------------------------------------------------------------------------


@pytest.fixture
def inspector(clients: Clients, identities: Identities) -> Inspector:
    one = Catalogue([load().get("cloudtrail-multi-region")])
    return Inspector(Collector(BotoTransport(clients), Limits(rate=1e6)), identities, one)


def task(aws: SimulatedAWS, policy: dict[str, Any] = READER) -> Task:
    arn = aws.role_with_policy(TEAM, policy, name="inspect", trusted=f"arn:aws:iam::{HOME}:root")
    return Task(target(TEAM, role_arn=arn), Demand())


def test_credentials_that_expire_in_the_middle_are_renewed_once(inspector: Inspector, aws: SimulatedAWS) -> None:
    aws.faults.add("expired", service="cloudtrail", count=1)
    report = inspector.inspect(task(aws)).report
    assert asked(aws, "AssumeRole") == 2
    assert [check.status for check in report.checks] == [Status.FAIL], "no trail, and that was really read"


def test_a_session_that_expired_between_two_inspections_is_renewed(inspector: Inspector, aws: SimulatedAWS) -> None:
    one = task(aws)
    inspector.inspect(one)
    aws.expire_sessions(TEAM)
    inspector.inspect(Task(one.target, one.demand, fresh=True))
    assert asked(aws, "AssumeRole") == 2


def test_credentials_that_expire_at_once_end_the_inspection_and_are_not_asked_for_a_third_time(
    inspector: Inspector, aws: SimulatedAWS
) -> None:
    aws.faults.add("expired", service="cloudtrail")
    with pytest.raises(CredentialsRefused, match="have expired"):
        inspector.inspect(task(aws))
    assert asked(aws, "AssumeRole") == 2
    assert asked(aws, "DescribeTrails") == 2


def test_a_role_that_may_nothing_is_no_error_of_the_account_but_unknown(
    inspector: Inspector, aws: SimulatedAWS
) -> None:
    one = task(aws, NOBODY)
    with aws.enforce_iam():
        report = inspector.inspect(one).report
    assert [check.status for check in report.checks] == [Status.UNKNOWN]
    assert [refusal.action for refusal in report.inspection.refusals] == ["cloudtrail:DescribeTrails"]
