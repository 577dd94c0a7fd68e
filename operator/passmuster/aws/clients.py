"""One botocore session and one client per service and region, for the whole process.

Measured before it was chosen: a session per account costs 87 MB and a second of CPU each, the shared clients about
nothing. Retries are off here because they are the collector's, per account; timestamps are parsed by the standard
library, which takes a fifth of the CPU off, and the user agent is made once instead of twice a request, which takes a
tenth; a body that ended early is refused instead of read as an empty answer.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

import botocore
import botocore.session
from botocore.config import Config
from botocore.exceptions import ConfigParseError, HTTPClientError, ProfileNotFound
from botocore.utils import is_valid_endpoint_url, parse_timestamp

from passmuster import __version__
from passmuster.aws import models
from passmuster.aws.principal import ContextCredentials, Guard, KeyRing
from passmuster.model.account import partition_of
from passmuster.model.errors import UserError

HOMES = {("globalaccelerator", "us-east-1"): "us-west-2"}
"""Where a global service really answers, if not in the partition's control region: elsewhere its name does not exist,
and botocore does not know."""

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
USER_AGENT = f"passmuster/{__version__} Botocore/{botocore.__version__}"


class CutBodyError(HTTPClientError):
    """The body of a response ended before its length."""

    fmt = "The response of {operation} ended early"


class Clients:
    """The shared clients. Thread-safe: clients are made under a lock and used without one.

    With `operations`, the clients of the services it names have these operations and no others. `handlers` hear of
    every request, by botocore's events. Raises UserError for an endpoint that is no address, and for an AWS
    configuration that cannot be read.
    """

    def __init__(
        self,
        ring: KeyRing,
        *,
        endpoint_url: str | None = None,
        max_connections: int = 32,
        operations: models.Operations | None = None,
        handlers: Mapping[str, Callable[..., None]] | None = None,
    ) -> None:
        if endpoint_url is not None and not _is_address(endpoint_url):
            raise UserError(f"{endpoint_url!r} is no endpoint: write http://HOST:PORT or https://HOST:PORT")
        self.ring = ring
        self._endpoint_url = endpoint_url
        self._session = botocore.session.get_session()
        try:
            data_path = self._session.get_config_variable("data_path")
        except (ConfigParseError, ProfileNotFound) as error:
            raise UserError(f"the AWS configuration cannot be used: {error}") from error
        self._session.register_component("data_loader", models.loader(data_path, operations or {}))
        # The one private attribute: botocore has no public way to hand a session its own credentials object.
        self._session._credentials = ContextCredentials()  # type: ignore[attr-defined]
        factory = self._session.get_component("response_parser_factory")
        factory.set_parser_defaults(timestamp_parser=parse_time)
        events = self._session.get_component("event_emitter")
        events.register("before-send.*.*", Guard(ring))
        events.register("before-parse.*.*", refuse_cut_body)
        events.register("before-sign.s3-control", stay_at_the_endpoint)
        for event, handler in (handlers or {}).items():
            events.register(event, handler)
        self._config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=max_connections,
            user_agent=USER_AGENT,
            parameter_validation=False,
            account_id_endpoint_mode="disabled",
        )
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str, region: str) -> Any:
        """The client of a service in a region; signs as whoever the calling task acts as."""
        key = (service, region)
        found = self._clients.get(key)
        if found is None:
            with self._lock:
                found = self._clients.get(key)
                if found is None:
                    home = HOMES.get(key, region)
                    found = self._session.create_client(
                        service, region_name=home, endpoint_url=self._endpoint_url, config=self._config
                    )
                    self._clients[key] = found
        return found

    def model(self, service: str) -> Any:
        """botocore's description of a service."""
        return self._session.get_service_model(service)

    def knows(self, service: str, partition: str) -> bool:
        """Whether botocore's endpoint data has the service in the partition, or says nothing about it at all."""
        if self._endpoints(service, partition):
            return True
        return not any(self._endpoints(service, other) for other in self._session.get_available_partitions())

    def _endpoints(self, service: str, partition: str) -> list[str]:
        """Where a partition has the service: regions, or the partition as a whole."""
        return self._session.get_available_regions(service, partition, allow_non_regional=True)

    def offers_in(self, service: str, region: str) -> bool:
        """Whether botocore's endpoint data has the service in the region, or cannot tell.

        It cannot tell about a service or a region that it does not know: a mistyped region lacks nothing.
        """
        partition = partition_of(region)
        listed = self._session.get_available_regions(service, partition)
        known = region in self._session.get_available_regions("ec2", partition)
        return not listed or region in listed or not known

    def unknown(self, region: str) -> str | None:
        """What to say of a region that botocore does not know, with the nearest it does; None of one it knows."""
        names = self._session.get_available_regions("ec2", partition_of(region))
        if region in names:
            return None
        near = get_close_matches(region, names, n=1, cutoff=0.8)
        hint = f"; did you mean {near[0]}?" if near else ", for example eu-central-1"
        return f"there is no region {region!r} that this release knows{hint}"

    def close(self) -> None:
        """Closes every connection."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


def _is_address(endpoint_url: str) -> bool:
    try:
        urlsplit(endpoint_url).port  # noqa: B018  it raises for one that is no number, or too high
    except ValueError:
        return False
    return endpoint_url.startswith(("http://", "https://")) and bool(is_valid_endpoint_url(endpoint_url))


def parse_time(value: Any) -> datetime:
    """A timestamp of any AWS protocol as an aware datetime; the standard library first, botocore's parser for the rest.

    >>> parse_time("2026-11-21T10:00:00Z").isoformat()
    '2026-11-21T10:00:00+00:00'
    >>> parse_time(1).year
    1970
    """
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, tz=UTC)
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        fallback: datetime = parse_timestamp(value)
        return fallback if fallback.tzinfo is not None else fallback.replace(tzinfo=UTC)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def stay_at_the_endpoint(request: Any, **_: Any) -> None:
    """The handler of botocore's `before-sign` for S3 Control, which puts the account in front of the host.

    At an endpoint that somebody named, by the option or in the AWS configuration, nobody answers under such a name.
    """
    request.url = re.sub(r"^(https?://)\d{12}\.(?!s3-control[.-]|control\.vpce-)", r"\1", request.url)


def refuse_cut_body(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    """The handler of botocore's `before-parse`: botocore would read a body that is empty or no JSON as an empty answer.

    A body that is cut where nobody told its length, and a proxy's page, are such bodies. XML that is cut botocore
    refuses itself.
    """
    body = response_dict.get("body")
    if not isinstance(body, bytes) or response_dict["status_code"] >= 300:
        return
    headers = response_dict["headers"]
    declared = headers.get("Content-Length")
    is_short = declared is not None and declared.isdigit() and len(body) < int(declared)
    if is_short and not headers.get("Content-Encoding"):
        raise CutBodyError(operation=operation_model.name, error="cut body")
    if not _answers_in_the_body(operation_model):
        return
    if not body or ("json" in operation_model.service_model.resolved_protocol and not _is_json(body)):
        raise CutBodyError(operation=operation_model.name, error="cut body")


def _answers_in_the_body(operation_model: Any) -> bool:
    shape = operation_model.output_shape
    if shape is None or "payload" in shape.serialization or operation_model.has_streaming_output:
        return False
    return any("location" not in member.serialization for member in shape.members.values())


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True
