"""Makes one request, all pages of it, and says in our own words what went wrong.

The collector calls it; tests replay recorded shapes through the same protocol. No retries happen here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, OperationNotPageableError
from botocore.parsers import ResponseParserError

from passmuster.aws.clients import Clients
from passmuster.aws.principal import Principal, acting_as
from passmuster.inventory.call import JSON, Call, Request
from passmuster.model.verdict import Reason

THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AccessDeniedFault",
        "AllAccessDisabled",
        "AuthorizationError",
        "AuthorizationErrorException",
        "AuthorizationFailure",
        "ForbiddenException",
        "NotAuthorized",
        "NotAuthorizedException",
        "Unauthorized",
        "UnauthorizedException",
        "UnauthorizedOperation",
        "UserUnauthorizedException",
    }
)
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
REGION_CLOSED = frozenset(
    {
        "AuthFailure",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "OptInRequired",
        "RegionDisabledException",
        "UnrecognizedClientException",
    }
)
"""What services of a region say that the account has not enabled: the key itself was proven before."""

NOT_OFFERED = "NotOffered"
"""The code of an answer that nobody gives: the region lacks the service, and its name leads nowhere."""


class CallError(Exception):
    """A request that brought no complete answer. `transient` answers whether retrying may help."""

    def __init__(self, reason: Reason, code: str, message: str = "", *, transient: bool = False) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.reason = reason
        self.code = code
        self.message = message
        self.transient = transient


class CredentialsExpired(CallError):
    """The key is no longer accepted; a refresh may help."""

    def __init__(self, code: str) -> None:
        super().__init__(Reason.DENIED, code, "the credentials expired")


class Transport(Protocol):
    """What the collector needs from AWS."""

    def pages(self, request: Request) -> Iterator[Mapping[str, JSON]]:
        """Every page of the answer. Raises CallError."""

    def offers(self, service: str, partition: str) -> bool:
        """Whether the partition has the service at all."""


class BotoTransport:
    """The real thing: boto3 clients that sign as whoever the calling thread acts as."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._offered: dict[tuple[str, str], bool] = {}

    def offers(self, service: str, partition: str) -> bool:
        """Whether the partition has the service, from botocore's endpoint data."""
        key = (service, partition)
        if key not in self._offered:
            self._offered[key] = self._clients.knows(service, partition)
        return self._offered[key]

    def pages(self, request: Request) -> Iterator[Mapping[str, JSON]]:
        """Every page of the answer, with a token loop and a repeated token refused."""
        client = self._clients.client(request.service, request.region)
        method = getattr(client, xform_name(request.operation))
        arguments = request.arguments()
        token = Tokens.of(client, request.operation)
        seen: set[str] = set()
        while True:
            try:
                page = method(**arguments)
            except ClientError as error:
                raise translated(error) from error
            except EndpointConnectionError as error:
                if not self._clients.offers_in(request.service, request.region):
                    message = f"{request.service} is not offered in {request.region}"
                    raise CallError(Reason.NOT_IN_PARTITION, NOT_OFFERED, message) from error
                raise CallError(Reason.SERVICE_ERROR, "EndpointConnectionError", str(error), transient=True) from error
            except (BotoCoreError, ResponseParserError) as error:
                # What cannot be parsed is a page of a proxy or a body that was cut: worth another attempt.
                raise CallError(Reason.SERVICE_ERROR, type(error).__name__, str(error), transient=True) from error
            yield page
            following = token.following(page)
            if following is None:
                return
            mark = repr(sorted(following.items()))
            if mark in seen:
                raise CallError(Reason.PARTIAL, "TokenLoop", "the same page token came twice")
            seen.add(mark)
            arguments = {**arguments, **following}


def read(clients: Clients, principal: Principal, account_id: str, call: Call, region: str) -> list[Mapping[str, JSON]]:
    """The rows of one call that is made by itself, outside of an inspection. Raises CallError."""
    with acting_as(principal, account_id):
        pages = BotoTransport(clients).pages(call.root_request(region))
        return [row for page in pages for row in call.reduce(page)]


@dataclass(frozen=True, slots=True)
class Tokens:
    """How an operation pages: which member of the answer goes into which parameter of the next request."""

    pairs: tuple[tuple[str, str], ...]
    more: str = ""

    @classmethod
    def of(cls, client: Any, operation: str) -> Tokens:
        """From botocore's paginator where there is one, else from the usual token members of the shapes."""
        cache: dict[str, Tokens] = client.__dict__.setdefault("_passmuster_tokens", {})
        if operation not in cache:
            cache[operation] = cls._read(client, operation)
        return cache[operation]

    @classmethod
    def _read(cls, client: Any, operation: str) -> Tokens:
        try:
            paginator = client.get_paginator(xform_name(operation))
        except OperationNotPageableError:
            return cls._guessed(client.meta.service_model.operation_model(operation))
        config = paginator._pagination_cfg
        outputs, inputs = config["output_token"], config["input_token"]
        outputs = outputs if isinstance(outputs, list) else [outputs]
        inputs = inputs if isinstance(inputs, list) else [inputs]
        return cls(tuple(zip(outputs, inputs, strict=False)), config.get("more_results", ""))

    @classmethod
    def _guessed(cls, model: Any) -> Tokens:
        given = model.input_shape.members if model.input_shape is not None else {}
        taken = model.output_shape.members if model.output_shape is not None else {}
        for output, names in _TOKEN_MEMBERS.items():
            for name in names:
                if output in taken and name in given:
                    return cls(((output, name),))
        return cls(())

    def following(self, page: Mapping[str, JSON]) -> dict[str, Any] | None:
        """The parameters of the next page, None after the last."""
        if self.more and not _member(page, self.more):
            return None
        following = {name: value for output, name in self.pairs if (value := _member(page, output))}
        return following or None


_TOKEN_MEMBERS = {
    "NextToken": ("NextToken",),
    "nextToken": ("nextToken",),
    "NextMarker": ("NextMarker", "Marker"),
    "Marker": ("Marker",),
    "position": ("position",),
    "NextPageToken": ("NextPageToken",),
}


def _member(page: Mapping[str, JSON], expression: str) -> Any:
    for alternative in expression.split("||"):
        value: Any = page
        for name in alternative.strip().split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value:
            return value
    return None


def translated(error: ClientError) -> CallError:
    """A CallError for what the service said."""
    detail = error.response.get("Error", {})
    code = str(detail.get("Code", "Unknown"))
    message = str(detail.get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    bare = code.rsplit("#", 1)[-1].split(":", 1)[0]
    if bare in EXPIRED:
        return CredentialsExpired(bare)
    if bare in THROTTLED or status == 429 or (bare == "AccessDeniedException" and "Rate exceeded" in message):
        return CallError(Reason.THROTTLED, bare, message, transient=True)
    if bare in REGION_CLOSED:
        return CallError(Reason.REGION_UNREADABLE, bare, message)
    if bare in DENIED:
        return CallError(Reason.DENIED, bare, message)
    if status >= 500:
        return CallError(Reason.SERVICE_ERROR, bare, message, transient=status != 501)
    return CallError(Reason.SERVICE_ERROR, bare, message)
