"""Replays recorded answers to the collector, so that a check is judged from the shapes AWS really sends.

A fixture `tests/checks/<check-id>.yaml` holds cases; each case names answers by `service:Operation` and what the check
must say. Every answer is validated against botocore's output shape before it is used: a fixture cannot invent a field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import botocore.session
from botocore.exceptions import ClientError

from passmuster.aws.collector import Collector, Scope
from passmuster.aws.limits import Limits
from passmuster.aws.principal import Principal
from passmuster.aws.transport import translated
from passmuster.inventory.call import Call, Request
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.account import CONTROL_REGIONS

ACCOUNT = "123456789012"
REGION = "eu-central-1"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NOBODY = Principal(ACCOUNT, "AKIDREPLAY", "secret", None)

_SESSION = botocore.session.get_session()


def error(service: str, operation: str, code: str, status: int = 400, message: str = "") -> Exception:
    """What the transport raises for an error code of the service."""
    body = {"Error": {"Code": code, "Message": message or code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translated(ClientError(body, operation))  # type: ignore[arg-type]


def validate(service: str, operation: str, answer: Mapping[str, Any]) -> None:
    """Raises AssertionError where the answer does not fit botocore's output shape."""
    model = _SESSION.get_service_model(service).operation_model(operation)
    assert model.output_shape is not None, f"{service}:{operation} answers nothing"
    _fits(answer, model.output_shape, f"{service}:{operation}")


def _fits(value: Any, shape: Any, where: str) -> None:
    match shape.type_name:
        case "structure":
            assert isinstance(value, Mapping), f"{where} must be a mapping, not {value!r}"
            unknown = set(value) - set(shape.members)
            assert not unknown, f"{where} has no member {sorted(unknown)}; it has {sorted(shape.members)}"
            for name, member in value.items():
                _fits(member, shape.members[name], f"{where}.{name}")
        case "list":
            assert isinstance(value, list), f"{where} must be a list, not {value!r}"
            for position, member in enumerate(value):
                _fits(member, shape.member, f"{where}[{position}]")
        case "map":
            assert isinstance(value, Mapping), f"{where} must be a mapping, not {value!r}"
            for name, member in value.items():
                _fits(member, shape.value, f"{where}.{name}")
        case "string":
            assert isinstance(value, str), f"{where} must be a string, not {value!r}"
        case "integer" | "long":
            assert type(value) is int, f"{where} must be a number, not {value!r}"
        case "float" | "double":
            assert isinstance(value, (int, float)), f"{where} must be a number, not {value!r}"
        case "boolean":
            assert isinstance(value, bool), f"{where} must be true or false, not {value!r}"
        case "timestamp":
            assert isinstance(value, datetime), f"{where} must be a time, not {value!r}"


def aware(value: Any) -> Any:
    """YAML reads times without a zone as naive ones; AWS answers in UTC."""
    if isinstance(value, dict):
        return {name: aware(member) for name, member in value.items()}
    if isinstance(value, list):
        return [aware(member) for member in value]
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


@dataclass
class Replay:
    """A transport that answers from a fixture. What the fixture does not mention is answered empty.

    `answers` maps `service:Operation` (or `region/service:Operation`) to one of: an answer; `{error: Code}`; `{pages:
    [...]}`; or a list of `{for: {parameter: value}, answer | error | pages}`, of which the first that matches counts.
    `missing` lists services that the partition lacks.
    """

    answers: Mapping[str, Any]
    missing: frozenset[str] = frozenset()
    asked: list[Request] = field(default_factory=list)

    def offers(self, service: str, partition: str) -> bool:
        return service not in self.missing

    def pages(self, request: Request) -> Iterator[Mapping[str, Any]]:
        self.asked.append(request)
        name = f"{request.service}:{request.operation}"
        recorded = self.answers.get(f"{request.region}/{name}", self.answers.get(name))
        if isinstance(recorded, list):
            arguments = request.arguments()
            recorded = next(
                (one for one in recorded if all(arguments.get(k) == v for k, v in one.get("for", {}).items())), None
            )
            if recorded is not None and "answer" in recorded:
                recorded = recorded["answer"]
        if recorded is None:
            recorded = {}
        if "error" in recorded:
            status, message = recorded.get("status", 400), recorded.get("message", "")
            raise error(request.service, request.operation, recorded["error"], status, message)
        for page in recorded.get("pages", [recorded]):
            if page == {"error": page.get("error")}:
                raise error(request.service, request.operation, page["error"], 500)
            validate(request.service, request.operation, page)
            yield aware(dict(page))


class Watch:
    """A clock that only waiting moves, so that retries and rate limits take no time in a test and can be measured."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


def collect(
    calls: tuple[Call, ...],
    transport: Any,
    *,
    account: str = ACCOUNT,
    regions: tuple[str, ...] = (REGION,),
    partition: str = "aws",
    now: datetime = NOW,
    previous: Snapshot | None = None,
    **scope: Any,
) -> Snapshot:
    """The snapshot that the real collector takes through a transport, at a fixed time and without waiting."""
    watch = Watch()
    collector = Collector(transport, Limits(rate=1e6), clock=lambda: now, threads=2, monotonic=watch, sleep=watch.sleep)
    covered = Scope(account, partition, regions, CONTROL_REGIONS[partition], **scope)
    principal = Principal(account, NOBODY.access_key, NOBODY.secret_key, None)
    return collector.collect(calls, covered, principal, previous).snapshot
