"""A simulated AWS on this machine: moto behind an HTTP server on loopback, made honest by `emulation`.

The tests, `make demo` and the seeds start one and point the product's own clients at `url`; nothing in the product is
patched. moto keeps its state per process, so only one simulated AWS runs in a process at a time.

    with SimulatedAWS() as aws:
        aws.client("s3", "eu-central-1").create_bucket(...)           # as the account itself
        aws.faults.add("throttled", service="rds", count=3)           # what can go wrong
        aws.overlay("ce", "GetReservationCoverage", {...})            # facts that no emulator has
        with aws.enforce_iam(): ...                                   # policies count
"""

import contextlib
import functools
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from botocore.config import Config
from moto import settings
from moto.core import utils
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.sts.models import sts_backends

from passmuster.sandbox.emulation import faults, front, overlays, server, services
from passmuster.sandbox.emulation.access import iam, sts
from passmuster.sandbox.emulation.operation import Place
from passmuster.sandbox.emulation.services import monitoring, traffic
from passmuster.sandbox.emulation.stacks import catalogue, engine
from passmuster.sandbox.emulation.stacks.api import CloudFormation
from passmuster.sandbox.emulation.stacks.cloud_control import CloudControl

DEFAULT_ACCOUNT = "123456789012"
DEFAULT_REGION = "eu-central-1"
_WARMED = (("ec2", "describe_vpcs"), ("s3", "list_buckets"), ("cloudformation", "list_stacks"))
_running = threading.Lock()


@dataclass(frozen=True, slots=True)
class AccessKeys:
    """Credentials in the three parts that boto3 takes."""

    access_key: str
    secret_key: str
    token: str | None = None

    def for_boto3(self) -> dict[str, str | None]:
        """Keyword arguments of `boto3.client` and `boto3.Session`."""
        return {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "aws_session_token": self.token,
        }


@dataclass(frozen=True, slots=True)
class SimulatedSession:
    """What a boto3 session is for one set of credentials: makes clients of the simulated AWS."""

    aws: "SimulatedAWS"
    keys: AccessKeys

    def client(self, service: str, region: str = DEFAULT_REGION) -> Any:
        return self.aws._client(service, region, self.keys)


@functools.cache
def install() -> None:
    """Put the emulation into moto, once per process."""
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    settings.ACM_VALIDATION_WAIT = sys.maxsize  # services/acm.py issues certificates, not the clock
    utils.create_loader = functools.cache(utils.create_loader)  # else it lists botocore's folders for every service
    traffic.add_old_policies()


def _forget_moto() -> None:
    """Drop moto's state, and the lists in which it remembers every object it ever made."""
    BackendDict.reset()
    reset_model_data()


def keep_on_loopback(client: Any) -> None:
    """Let a client reach the simulated AWS also where botocore puts the account in front of the host (S3 Control)."""
    client.meta.events.register("before-sign.s3-control", _drop_host_prefix)


def _drop_host_prefix(request: Any, **_: Any) -> None:
    request.url = re.sub(r"^http://\d{12}\.127\.0\.0\.1", "http://127.0.0.1", request.url)


class SimulatedAWS:
    """One simulated AWS with all its accounts and regions; a context manager.

    `faults`: the fault switchboard. `requests`: every call of clients so far, as
    (account, region, service, operation, access_key). `warm=False` skips the first, slow calls to moto.
    """

    def __init__(self, *, warm: bool = True) -> None:
        self._warm = warm
        self._front: front.Front | None = None
        self._engine: engine.Engine | None = None
        self._server: server.LoopbackServer | None = None
        self._session = front.lone_session()
        self._clients: dict[tuple[str, str, AccessKeys], Any] = {}
        self._lock = threading.Lock()

    # life ----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        if not _running.acquire(blocking=False):
            raise RuntimeError("a simulated AWS already runs in this process; moto has one state per process")
        with contextlib.ExitStack() as undo:
            undo.callback(self.stop)
            install()
            _forget_moto()
            self._engine = engine.Engine(catalogue.kinds())
            emulated = {
                **sts.OPERATIONS,
                **services.operations(),
                **CloudFormation(self._engine).operations(),
                **CloudControl(self._engine).operations(),
            }
            self._front = front.Front(emulated, before_each=[self._engine.advance_all])
            self._server = server.LoopbackServer(self._front)
            self._server.start()
            if self._warm:
                self._warm_up()
            undo.pop_all()
        return self

    def stop(self) -> None:
        """Stop the server and forget everything; a stopped simulated AWS can be started again."""
        if self._server is None or self._front is None:
            return
        self._front.close()
        self._server.stop()
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        _forget_moto()
        self._server = self._front = self._engine = None
        _running.release()

    def reset(self) -> None:
        """Back to fresh accounts: no resources, faults, overlays or requests; `client`s stay usable."""
        self._running_front.forget()
        self._running_engine.forget()
        _forget_moto()

    def _warm_up(self) -> None:
        for service, operation in _WARMED:
            getattr(self._running_front.client(service, DEFAULT_REGION, DEFAULT_ACCOUNT), operation)()
        self.reset()

    @property
    def _running_front(self) -> front.Front:
        if self._front is None:
            raise RuntimeError("the simulated AWS is not running; use it as a context manager")
        return self._front

    @property
    def _running_engine(self) -> engine.Engine:
        if self._engine is None:
            raise RuntimeError("the simulated AWS is not running; use it as a context manager")
        return self._engine

    @property
    def url(self) -> str:
        """The endpoint for every service and region."""
        if self._server is None:
            raise RuntimeError("the simulated AWS is not running; use it as a context manager")
        return self._server.url

    # clients -------------------------------------------------------------------------------------------------------

    def client(self, service: str, region: str = DEFAULT_REGION, *, account_id: str = DEFAULT_ACCOUNT) -> Any:
        """A boto3 client of the simulated AWS as the account itself, which no policy restricts."""
        return self.session(account_id).client(service, region)

    def direct(self, service: str, region: str = DEFAULT_REGION, *, account_id: str = DEFAULT_ACCOUNT) -> Any:
        """The same client without HTTP and without a trace in `requests`: for seeds that make thousands of things."""
        return self._running_front.client(service, region, account_id)

    def session(self, account_id: str = DEFAULT_ACCOUNT) -> SimulatedSession:
        return self.session_with(self.root_keys(account_id))

    def session_with(self, keys: AccessKeys) -> SimulatedSession:
        return SimulatedSession(self, keys)

    def root_keys(self, account_id: str = DEFAULT_ACCOUNT) -> AccessKeys:
        """The credentials of the account itself; they survive `reset`."""
        key = iam.root_key(account_id)
        return AccessKeys(key, iam.secret_of(key))

    def _client(self, service: str, region: str, keys: AccessKeys) -> Any:
        wanted = (service, region, keys)
        with self._lock:
            if wanted not in self._clients:
                self._clients[wanted] = self._session.client(
                    service,
                    region_name=region,
                    endpoint_url=self.url,
                    config=Config(inject_host_prefix=False, proxies={}, retries={"total_max_attempts": 1}),
                    **keys.for_boto3(),
                )
                keep_on_loopback(self._clients[wanted])
            return self._clients[wanted]

    # who may do what -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def enforce_iam(self) -> Iterator[None]:
        """While it lasts, signatures and policies count for every key except an account's own."""
        access = self._running_front.access
        access.enforced = True
        try:
            yield
        finally:
            access.enforced = False

    def role_with_policy(
        self,
        account_id: str,
        policy: Mapping[str, Any],
        *,
        name: str = "sandbox",
        trusted: str | None = None,
        external_id: str | None = None,
    ) -> str:
        """Make a role that may do exactly what `policy` says; its ARN.

        `trusted` is the principal that may assume it (default: the account itself).
        """
        statement: dict[str, Any] = {
            "Effect": "Allow",
            "Principal": {"AWS": trusted or f"arn:aws:iam::{account_id}:root"},
            "Action": "sts:AssumeRole",
        }
        if external_id:
            statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
        client = self.client("iam", account_id=account_id)
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        arn: str = client.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        client.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
        return arn

    def assume(self, role_arn: str, *, by: AccessKeys | None = None, external_id: str | None = None) -> AccessKeys:
        """Assume a role, as the role's own account or with the given keys."""
        session = self.session_with(by or self.root_keys(role_arn.split(":")[4]))
        extra = {"ExternalId": external_id} if external_id else {}
        answer = session.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="sandbox", **extra)
        made = answer["Credentials"]
        return AccessKeys(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    def expire_sessions(self, account_id: str | None = None) -> None:
        """Let the sessions of assumed roles expire now, in one account or in all."""
        accounts = [account_id] if account_id else list(sts_backends)
        for account in accounts:
            for session in sts_backends[account]["aws"].assumed_roles:
                session.expiration = session.expiration.replace(year=2000)

    # stacks --------------------------------------------------------------------------------------------------------

    def stacks_take(self, seconds: float) -> None:
        """Let every stack operation from now on last this long; 0 means it is over when the call returns."""
        self._running_engine.behaviour.takes = seconds

    def fail_resource(
        self,
        on: Literal["create", "update", "delete"],
        *,
        resource_type: str | None = None,
        logical_id: str | None = None,
        stack_name: str | None = None,
        reason: str = "the resource handler failed, as the sandbox was told",
        count: int | None = 1,
    ) -> engine.PlannedFailure:
        """Let CloudFormation fail to create, update or delete a resource; `count` None means every time."""
        failure = engine.PlannedFailure(on, reason, resource_type, logical_id, stack_name, count)
        self._running_engine.behaviour.failures.append(failure)
        return failure

    def confirm(
        self, endpoint: str | None = None, *, account_id: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION
    ) -> int:
        """Be the person who confirms subscriptions: of one endpoint or of all in the region; how many waited."""
        place = Place(account_id, region, self._running_front.client, self._running_front.kept)
        return monitoring.confirm(place, endpoint)

    # faults and facts ----------------------------------------------------------------------------------------------

    @property
    def faults(self) -> faults.Faults:
        return self._running_front.faults

    @property
    def requests(self) -> list[front.Logged]:
        return self._running_front.requests

    def overlay(
        self,
        service: str,
        operation: str,
        response: overlays.Response,
        *,
        account: str | None = None,
        region: str | None = None,
    ) -> overlays.Overlay:
        """Answer an operation with this from now on; a dict in botocore's output shape, or a function of the params."""
        laid = overlays.Overlay(service, operation, response, account, region)
        return self._running_front.overlays.lay(laid)

    def lift(self, overlay: overlays.Overlay) -> None:
        self._running_front.overlays.lift(overlay)
