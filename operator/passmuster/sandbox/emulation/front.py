"""The front of the simulated AWS: every request passes here, in this order.

    identify -> log -> fault? -> credentials and policies -> overlay? -> emulated operation? -> moto

server.py calls `Front.answer` for what comes over HTTP; clients made by `Front.client` answer in process and are used
by emulation itself (CloudFormation creating a resource, a seed's shortcut). Whatever moto cannot do leaves here as an
error of AWS's shape, never as an HTML page.
"""

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from botocore.session import Session
from moto.backends import list_of_moto_modules
from moto.core.request import Request
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.exceptions import InternalServerError
from werkzeug.wrappers import Response

from passmuster.sandbox.emulation import faults, overlays, server, wire
from passmuster.sandbox.emulation.access import iam
from passmuster.sandbox.emulation.operation import Handling, Operations, Place

FAILURE_HEADER = "x-sandbox-failure"
_PASSED_ON = re.compile(r"^/moto-api|^/favicon.ico")


def lone_session() -> Any:
    """A boto3 session that knows nothing of the machine it runs on: no profile, no configuration files."""
    nothing = (None, None, os.devnull, None)
    alone = {"profile": (None, None, None, None), "config_file": nothing, "credentials_file": nothing}
    return boto3.Session(botocore_session=Session(session_vars=alone))


class Logged(NamedTuple):
    """One request of a client, as tests count them; requests for the same have the same `digest`."""

    account: str
    region: str
    service: str
    operation: str
    access_key: str
    digest: str = ""


def _digest(call: wire.Call) -> str:
    """What is asked, whoever asks: method, path, query and body."""
    asked = "\n".join(call.environ.get(name, "") for name in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING"))
    return hashlib.sha256(asked.encode() + b"\n" + call.body).hexdigest()[:16]


class Front:
    """What stands between clients and moto. One per simulated AWS.

    `witnesses` are told of each request of a client to any simulated AWS of this process, before it has an effect.
    """

    witnesses: ClassVar[list[Callable[[Logged], None]]] = []

    def __init__(self, operations: Operations, *, before_each: Iterable[Callable[[], None]] = ()) -> None:
        self.operations = dict(operations)
        self.before_each = tuple(before_each)
        self.faults = faults.Faults()
        self.overlays = overlays.Overlays()
        self.access = iam.Access()
        self.requests: list[Logged] = []
        self.kept: dict[tuple[str, str, str], dict[Any, Any]] = {}
        self.stopping = threading.Event()
        self._moto = _Moto()
        self._clients: dict[tuple[str, str, str, str], Any] = {}
        self._session = lone_session()
        self._lock = threading.Lock()

    # requests ------------------------------------------------------------------------------------------------------

    def answer(self, environ: dict[str, Any], body: bytes) -> wire.Answer:
        """The answer to one HTTP request; `server.Dropped` when a fault breaks the connection."""
        call = wire.identify(environ, body)
        if call is None:
            return self._unidentified(environ)
        call.account = iam.account_of(call.access_key)
        inside = iam.acts_for_stacks(call.access_key)
        if not inside:
            logged = Logged(call.account, call.region, call.service, call.operation, call.access_key, _digest(call))
            self.requests.append(logged)
            for told in self.witnesses:
                told(logged)
            for prepare in self.before_each:
                prepare()
        fault = self.faults.strike(call, inside_stacks=inside)
        try:
            return self._under(fault, call) if fault else self._serve(call)
        except wire.AWSError as error:
            return wire.write_error(call, error)

    def _under(self, fault: faults.Fault, call: wire.Call) -> wire.Answer:
        if fault.kind in faults.ERRORS:
            raise fault.error(call)
        if fault.kind in faults.PAGED:
            return faults.turn_page(fault, call, lambda: self._serve(call))
        if fault.kind == "reset":
            raise server.Dropped
        if fault.kind in ("hang", "slow"):
            self.stopping.wait(fault.seconds)
            if fault.kind == "hang":
                raise server.Dropped
            return self._serve(call)
        return self._cut(fault, call)

    def _cut(self, fault: faults.Fault, call: wire.Call) -> wire.Answer:
        whole = self._serve(call)
        size = len(whole.body) if fault.kind == "cut_body" else None
        raise server.Dropped(server.head(whole, size=size) + whole.body[: len(whole.body) // 2])

    def _serve(self, call: wire.Call) -> wire.Answer:
        self.access.check(call)
        overlay = self.overlays.covering(call)
        if overlay is not None:
            return wire.write_output(call, overlay.output(call.params))
        emulated = self.operations.get((call.service, call.operation))
        if emulated is None:
            return self._original(call)
        place = Place(call.account, call.region, self.client, self.kept, iam.for_stacks(call.account))
        return wire.write_output(call, emulated(Handling(call, place, lambda: self._original(call))))

    def _original(self, call: wire.Call) -> wire.Answer:
        call.environ["HTTP_X_MOTO_ACCOUNT_ID"] = call.account
        answer = self._moto.answer(call.environ, call.body)
        failure = dict(answer.headers).get(FAILURE_HEADER)
        if not failure and answer.status in (404, 405) and answer.body.startswith(b"<!doctype html>"):
            failure = "NotImplementedError"  # moto has the service but not the route
        if failure:
            raise _failed(call, failure, answer)
        return answer

    def _unidentified(self, environ: dict[str, Any]) -> wire.Answer:
        if _PASSED_ON.match(environ.get("PATH_INFO", "")):
            return self._moto.answer(environ, environ["wsgi.input"].read())
        return wire.Answer(501, [("Content-Type", "text/plain")], b"botocore knows no operation like this request")

    # clients -------------------------------------------------------------------------------------------------------

    def client(self, service: str, region: str, account: str, access_key: str = "") -> Any:
        """A boto3 client that answers in process, as the account itself or with the given key; kept and shared."""
        key = access_key or iam.for_stacks(account)
        with self._lock:
            wanted = (service, region, account, key)
            if wanted not in self._clients:
                self._clients[wanted] = self._in_process(service, region, key)
            return self._clients[wanted]

    def _in_process(self, service: str, region: str, access_key: str) -> Any:
        client = self._session.client(
            service,
            region_name=region,
            endpoint_url="http://127.0.0.1",
            aws_access_key_id=access_key,
            aws_secret_access_key=iam.secret_of(access_key),
            aws_session_token=iam.token_of(access_key),
            config=Config(inject_host_prefix=False, retries={"max_attempts": 1, "mode": "standard"}, proxies={}),
        )
        client.meta.events.register("before-send.*.*", self._send)
        return client

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        made = Request.from_primitives(request.method, request.url, request.headers, request.body)
        try:
            answer = self.answer(made.environ, made.get_data())
        except server.Dropped as dropped:
            raise ConnectionClosedError(endpoint_url=request.url) from dropped
        headers: Any = HeadersDict(dict(answer.headers))
        return AWSResponse(request.url, answer.status, headers, _Raw(answer.body))

    # state ---------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Drop requests, faults, overlays and our own state."""
        self.requests.clear()
        self.faults.clear()
        self.overlays.clear()
        self.kept.clear()

    def close(self) -> None:
        self.stopping.set()
        for client in self._clients.values():
            client.close()
        self._clients.clear()


class _Raw:
    """The body of an answer given in process, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self, amt: int | None = None, **_: Any) -> bytes:
        taken, self._body = (self._body, b"") if amt is None else (self._body[:amt], self._body[amt:])
        return taken

    def stream(self, **_: Any) -> Iterable[bytes]:
        while self._body:
            yield self.read(65536)

    def close(self) -> None:
        self._body = b""


class _Moto(DomainDispatcherApplication):  # type: ignore[misc]  # moto is not typed here
    """moto's server application, with its failures told apart from its answers."""

    def __init__(self) -> None:
        super().__init__(_backend_app)
        self._modules = frozenset(list_of_moto_modules())
        self._backends: dict[str, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        if host is None or host == "moto_api" or host in self._modules:
            return host
        if host not in self._backends:
            known = (backend for backend, pattern in self.backend_url_patterns if pattern.match(f"http://{host}"))
            self._backends[host] = next(known, None)
        return self._backends[host]

    def get_application(self, environ: dict[str, Any]) -> Any:
        path = environ.get("PATH_INFO", "")
        inferred = "moto_api" if _PASSED_ON.match(path) else self.infer_service_region_host(environ, path)
        backend = self.get_backend_for_host(inferred or "s3.us-east-1.amazonaws.com")
        if backend is None:
            return _failure("NotImplementedError", "no such service")
        with self.lock:
            if backend not in self.app_instances:
                self.app_instances[backend] = self.create_app(backend)
            return self.app_instances[backend]

    def answer(self, environ: dict[str, Any], body: bytes) -> wire.Answer:
        fresh = {**environ, "wsgi.input": wire.stream(body), "CONTENT_LENGTH": str(len(body))}
        response = Response.from_app(self, fresh, buffered=True)
        return wire.Answer(response.status_code, list(response.headers.items()), response.get_data())


def _backend_app(service: Any) -> Any:
    app = create_backend_app(service)
    app.debug = False
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.logger.disabled = True
    app.register_error_handler(NotImplementedError, lambda e: _failure("NotImplementedError", str(e)))
    app.register_error_handler(500, _crashed)
    return app


def _crashed(error: InternalServerError) -> Response:
    cause = error.original_exception or error
    return _failure(type(cause).__name__, str(cause))


def _failure(kind: str, message: str) -> Response:
    return Response(message, status=500, headers={FAILURE_HEADER: kind})


def _failed(call: wire.Call, failure: str, answer: wire.Answer) -> wire.AWSError:
    asked = f"{call.service} {call.operation}"
    if failure == "NotImplementedError":
        return wire.AWSError("UnknownOperationException", f"the sandbox does not emulate {asked}", 501)
    cause = answer.body.decode("utf-8", "replace")[:500]
    return wire.AWSError("InternalFailure", f"the emulator failed at {asked}: {failure}: {cause}", 500)
