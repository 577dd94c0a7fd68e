"""Turns an identity (role, profile, or the process's own) into a principal that is proven to be of the named account.

Called before anything else is asked of an account: GetCallerIdentity must answer with the account id the caller named.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from passmuster.aws.clients import Clients
from passmuster.aws.principal import Principal, acting_as
from passmuster.aws.transport import CallError, read
from passmuster.inventory.permissions import REGIONS_CALL
from passmuster.model.account import CONTROL_REGIONS, Identity, Target, partition_of
from passmuster.model.errors import AccountMismatch, AccountUnreachable, CredentialsRefused, UserError

REFRESH_BEFORE = timedelta(minutes=5)
PROVEN_FOR = timedelta(hours=1)
SESSION_NAME = "passmuster"


@dataclass(frozen=True, slots=True)
class _Held:
    principal: Principal
    until: datetime


class Identities:
    """Principals by account and identity, kept until shortly before they expire. Thread-safe."""

    def __init__(self, clients: Clients, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clients = clients
        self._clock = clock
        self._held: dict[tuple[str, Identity], _Held] = {}
        self._sources: dict[str | None, Any] = {}
        self._lock = threading.Lock()

    def principal(self, target: Target, *, renew: bool = False) -> Principal:
        """The proven principal of the target. Raises CredentialsRefused, AccountMismatch or AccountUnreachable.

        `renew` forgets what is held: once, after the service said that it expired.
        """
        key = (target.account_id, target.identity)
        held = self._held.get(key)
        if held is not None and not renew and self._clock() < held.until:
            return held.principal
        fresh = self._obtain(target)
        with self._lock:
            self._held[key] = fresh
        return fresh.principal

    def whoami(self, identity: Identity, region: str) -> str:
        """The account the identity belongs to, for a command line that names none."""
        candidate, _ = self._candidate(identity, region)
        return self._caller(candidate, region)

    def regions(self, target: Target, principal: Principal) -> tuple[str, ...]:
        """Every region the account has enabled, sorted. Raises CredentialsRefused when it may not be asked."""
        try:
            rows = read(self._clients, principal, target.account_id, REGIONS_CALL, target.control_region)
        except CallError as error:
            message = (
                f"the enabled regions could not be listed ({error.code}): name regions, or allow ec2:DescribeRegions"
            )
            raise CredentialsRefused(message) from error
        return tuple(sorted(row["RegionName"] for row in rows if row.get("OptInStatus") != "not-opted-in"))

    def _obtain(self, target: Target) -> _Held:
        region = target.regions[0] if target.regions else target.control_region
        candidate, until = self._candidate(target.identity, region)
        account = self._caller(candidate, region)
        if account != target.account_id:
            role, profile = target.identity.role_arn, target.identity.profile
            whose = f"the role {role}" if role else f"the profile {profile}" if profile else "the given identity"
            raise AccountMismatch(
                f"{whose} belongs to account {account}, not {target.account_id}; nothing was read from it"
            )
        principal = Principal(account, candidate.access_key, candidate.secret_key, candidate.token)
        self._clients.ring.prove(principal.access_key, account)
        return _Held(principal, until)

    def _candidate(self, identity: Identity, region: str) -> tuple[Principal, datetime]:
        source = self._source(identity.profile)
        now = self._clock()
        if identity.role_arn is None:
            return source, now + PROVEN_FOR
        arguments: dict[str, Any] = {
            "RoleArn": identity.role_arn,
            "RoleSessionName": SESSION_NAME,
            "DurationSeconds": 3600,
        }
        if identity.external_id:
            arguments["ExternalId"] = identity.external_id
        try:
            with acting_as(source, None):
                answer = self._clients.client("sts", region).assume_role(**arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "Unknown")
            raise CredentialsRefused(
                f"the role {identity.role_arn} could not be assumed ({code}): check that the role exists, that it "
                "trusts this identity, and the external id"
            ) from error
        except BotoCoreError as error:
            raise self._silent(region, error) from error
        given = answer["Credentials"]
        expires: datetime = given["Expiration"]
        principal = Principal(None, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        return principal, expires - REFRESH_BEFORE

    def _caller(self, principal: Principal, region: str) -> str:
        try:
            with acting_as(principal, None):
                return str(self._clients.client("sts", region).get_caller_identity()["Account"])
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "Unknown")
            raise CredentialsRefused(
                f"the credentials were refused by sts:GetCallerIdentity ({code}){_renewal(code)}"
            ) from error
        except BotoCoreError as error:
            raise self._silent(region, error) from error

    def _silent(self, region: str, error: BotoCoreError) -> AccountUnreachable:
        """Nobody answered: with the address, and where it is the region's name that leads nowhere, that."""
        near = self._clients.unknown(region)
        if near is not None:
            return AccountUnreachable(f"sts in {region} did not answer, and {near}")
        endpoint = self._clients.client("sts", region).meta.endpoint_url
        return AccountUnreachable(
            f"sts in {region} did not answer at {endpoint} ({type(error).__name__}): check the network, the proxy and "
            "the endpoint"
        )

    def _source(self, profile: str | None) -> Principal:
        """The ordinary AWS configuration: environment, profile, SSO, instance or pod role."""
        try:
            with self._lock:
                credentials = self._sources.get(profile)
                if credentials is None:
                    session = botocore.session.Session(profile=profile)
                    credentials = session.get_credentials()
                    self._sources[profile] = credentials
            if credentials is None:
                raise CredentialsRefused(
                    "no AWS credentials were found: name a profile, set the environment variables, or run with an "
                    "instance or pod role"
                )
            frozen = credentials.get_frozen_credentials()
        except ProfileNotFound as error:
            raise UserError(
                f"the AWS configuration has no profile {profile!r}; `aws configure list-profiles`"
            ) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise CredentialsRefused(f"the AWS credentials are incomplete: {error}") from error
        except BotoCoreError as error:
            raise CredentialsRefused(f"the AWS credentials could not be loaded: {error}") from error
        if not frozen.access_key or not frozen.secret_key:
            raise CredentialsRefused("the AWS credentials are incomplete: a key without a secret")
        return Principal(None, frozen.access_key, frozen.secret_key, frozen.token)


def _renewal(code: str) -> str:
    """What to do about credentials that were good once, to be put behind what became of them."""
    return ": they expired, log in again" if "Expired" in code else ""


def default_region(profile: str | None) -> str | None:
    """The region of the ordinary AWS configuration, None if it names none."""
    try:
        region = botocore.session.Session(profile=profile).get_config_variable("region")
    except ProfileNotFound as error:
        raise UserError(f"the AWS configuration has no profile {profile!r}; `aws configure list-profiles`") from error
    except ConfigParseError as error:
        raise UserError(f"the AWS configuration cannot be used: {error}") from error
    return str(region) if region else None


def control_region_of(regions: tuple[str, ...]) -> str:
    """The control region of the partition these regions are in."""
    return CONTROL_REGIONS[partition_of(regions[0])] if regions else CONTROL_REGIONS["aws"]
