"""The fault switchboard: what can go wrong between a client and AWS, switched on by tests of the engine.

A fault is chosen at the HTTP boundary (front.py), so that the client under test is entirely real: botocore retries,
parses and gives up as it does in production. Each kind answers with what AWS sends in that protocol. Faults apply to
calls of clients; `inside_stacks=True` applies one to what CloudFormation itself does for a stack instead.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from botocore.exceptions import DataNotFoundError
from moto.core.utils import get_pagination_model

from passmuster.sandbox.emulation import wire

Kind = Literal[
    "denied",  # the caller's policy does not allow it
    "throttled",  # too many requests
    "server_error",  # a 500 with the service's own code
    "expired",  # the caller's credentials have expired
    "disabled_region",  # the account has not opted in to the region
    "hang",  # nothing for `seconds`, then the connection is closed
    "slow",  # the right answer, `seconds` late
    "reset",  # the connection is closed without an answer
    "cut_body",  # Content-Length of the whole body, half of it sent
    "cut_body_unsized",  # half of the body and no Content-Length
    "page_two_fails",  # the first page carries a token, the next request fails
    "token_loop",  # every page carries the same token
    "empty_first_page",  # a page with a token and nothing on it, then the rest
]
PAGED = ("page_two_fails", "token_loop", "empty_first_page")
TOKEN = "sandbox-page-two"


@dataclass(frozen=True, slots=True)
class Paging:
    """Where an operation keeps its token and its items, from botocore's paginators."""

    token_in: str
    token_out: str
    more: str
    items: tuple[str, ...]


@dataclass(slots=True)
class Fault:
    """One switched-on fault. `count` None means until it is removed; `hits` says how often it struck."""

    kind: Kind
    service: str | None = None
    operation: str | None = None
    account: str | None = None
    region: str | None = None
    count: int | None = None
    seconds: float = 60.0
    code: str = ""
    status: int | None = None
    inside_stacks: bool = False
    when: Callable[[wire.Call], bool] | None = None
    hits: int = field(default=0)
    pages: dict[tuple[str, ...], wire.Answer] = field(default_factory=dict, repr=False)

    def concerns(self, call: wire.Call, *, inside_stacks: bool) -> bool:
        return (
            self.inside_stacks == inside_stacks
            and (self.count is None or self.hits < self.count)
            and self.service in (None, call.service)
            and self.operation in (None, call.operation)
            and self.account in (None, call.account)
            and self.region in (None, call.region)
            and (self.when is None or self.when(call))
            and (self.kind not in PAGED or paging(call.service, call.operation) is not None)
        )

    def error(self, call: wire.Call) -> wire.AWSError:
        usual = _ERRORS[self.kind if self.kind in _ERRORS else "server_error"](call)
        return wire.AWSError(self.code or usual.code, usual.message, self.status or usual.status)


class Faults:
    """The switchboard of one simulated AWS."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, kind: Kind, *, service: str | None = None, operation: str | None = None, **limits: Any) -> Fault:
        """Switch a fault on. `operation` is AWS's name (`DescribeTrails`), `service` boto3's (`cloudtrail`).

        `limits`: account, region, count, seconds (hang, slow), code and status (instead of the usual error),
        inside_stacks, when (a predicate on the call).
        """
        if kind not in get_args(Kind):
            raise ValueError(f"no fault is called {kind!r}; there are {', '.join(get_args(Kind))}")
        if kind in PAGED and service and operation and paging(service, operation) is None:
            raise ValueError(f"{service} {operation} is not paginated")
        fault = Fault(kind, service, operation, **limits)
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        with self._lock:
            self._faults.remove(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def strike(self, call: wire.Call, *, inside_stacks: bool) -> Fault | None:
        """The first fault that concerns the call, counted as a hit."""
        with self._lock:
            for fault in self._faults:
                if fault.concerns(call, inside_stacks=inside_stacks):
                    fault.hits += 1
                    return fault
        return None


def paging(service: str, operation: str) -> Paging | None:
    """How this operation is paginated, None if it is not."""
    try:
        rules = get_pagination_model(service).get(operation)
    except DataNotFoundError:
        return None
    if rules is None:
        return None
    return Paging(
        token_in=_first(rules["input_token"]),
        token_out=_first(rules["output_token"]),
        more=rules.get("more_results", ""),
        items=tuple(_every(rules["result_key"])),
    )


def _every(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


def _first(names: str | list[str]) -> str:
    return _every(names)[0].split("||")[0].strip()


def turn_page(fault: Fault, call: wire.Call, answer: Callable[[], wire.Answer]) -> wire.Answer:
    """The answer of a paginated operation under one of the paging faults.

    moto does not know our token, so the whole answer is kept from the first request and given again on the second.
    """
    pages = paging(call.service, call.operation)
    assert pages is not None
    caller = (call.account, call.region, call.service, call.operation)
    if call.params.get(pages.token_in.split(".")[-1]) != TOKEN:
        fault.pages[caller] = answer()
    elif fault.kind == "page_two_fails":
        raise fault.error(call)
    elif fault.kind == "empty_first_page":
        return fault.pages[caller]
    output = wire.read_output(call, fault.pages[caller])
    if fault.kind == "empty_first_page":
        for name in pages.items:
            _put(output, name, [])
    _put(output, pages.token_out, TOKEN)
    if pages.more:
        _put(output, pages.more, True)
    return wire.write_output(call, output)


def _put(output: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        output = output.setdefault(parent, {})
    if isinstance(output, dict):
        output[last] = value


def _denied(call: wire.Call) -> wire.AWSError:
    message = f"User: {call.access_key} is not authorized to perform: {call.service}:{call.operation}"
    return wire.AWSError(denied_code(call), message, 400 if call.protocol == "json" else 403)


def denied_code(call: wire.Call) -> str:
    """The code with which this service says that a policy does not allow a call."""
    if call.service == "ec2":
        return "UnauthorizedOperation"
    if call.service == "sns":
        return "AuthorizationError"
    if call.protocol in ("json", "rest-json") and call.service not in ("sqs", "cloudwatch"):
        return "AccessDeniedException"
    return "AccessDenied"


def _throttled(call: wire.Call) -> wire.AWSError:
    code, status = {"ec2": ("RequestLimitExceeded", 503), "s3": ("SlowDown", 503)}.get(
        call.service, ("Throttling", 400) if call.protocol in ("query", "rest-xml") else ("ThrottlingException", 400)
    )
    if call.protocol == "rest-json":
        code, status = "TooManyRequestsException", 429
    return wire.AWSError(code, "Rate exceeded", status)


def _broken(call: wire.Call) -> wire.AWSError:
    code = {"ec2": "InternalError", "s3": "InternalError"}.get(call.service, "InternalFailure")
    return wire.AWSError(code, "The request processing has failed because of an internal error.", 500)


def expired_error(call: wire.Call) -> wire.AWSError:
    """What a service says about credentials that have expired."""
    code = {"ec2": "RequestExpired", "s3": "ExpiredToken"}.get(
        call.service, "ExpiredTokenException" if call.protocol in ("json", "rest-json") else "ExpiredToken"
    )
    return wire.AWSError(code, "The security token included in the request is expired", _refusal_status(call))


def unknown_key_error(call: wire.Call) -> wire.AWSError:
    """What a service says about an access key it does not know, and in a region that is not enabled."""
    code = {"ec2": "AuthFailure", "s3": "InvalidAccessKeyId"}.get(
        call.service,
        "UnrecognizedClientException" if call.protocol in ("json", "rest-json") else "InvalidClientTokenId",
    )
    return wire.AWSError(code, "The security token included in the request is invalid.", _refusal_status(call))


def _refusal_status(call: wire.Call) -> int:
    return {"json": 400, "ec2": 401}.get(call.protocol, 403)


_ERRORS: dict[str, Callable[[wire.Call], wire.AWSError]] = {
    "denied": _denied,
    "throttled": _throttled,
    "server_error": _broken,
    "expired": expired_error,
    "disabled_region": unknown_key_error,
}
ERRORS = tuple(_ERRORS)
