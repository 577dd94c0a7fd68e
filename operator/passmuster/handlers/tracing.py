"""Whether to trace, which OpenTelemetry's own environment variables say and nothing else.

Called once by `operator`. What sends spans is an extra, and nothing of it is imported unless an endpoint is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from passmuster.model.errors import Unavailable, UserError
from passmuster.model.trace import OFF, Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"
EXTRA = ("opentelemetry", "google", "requests")
"""What the extra brings."""

_HEADER = re.compile(r"\s*[!#-'*+\-.0-9A-Z^-z|~]+\s*=[ !#-+\-.-:<-\[\]-~]*")
"""A header as OpenTelemetry reads it. One that it cannot read it would log, with the secret in it."""


def tracer_of(environment: Mapping[str, str], instance: str) -> Tracer:
    """The tracer that the environment asks for, `OFF` if for none. `instance` tells this process from the others.

    Raises UserError where a variable cannot be followed, and Unavailable without the extra.
    """
    endpoint = next((name for name in ENDPOINTS if environment.get(name)), None)
    exporter = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    if endpoint is None or exporter == "none" or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return OFF
    if exporter != "otlp":
        raise UserError(f"OTEL_TRACES_EXPORTER={exporter} is not known here: set it to otlp or none, or leave it out")
    _demand_url(endpoint, environment[endpoint])
    for name in PROTOCOLS:
        if environment.get(name, SPOKEN) != SPOKEN:
            raise UserError(
                f"{name}={environment[name]} is not spoken here: set it to {SPOKEN} or leave it out, and name the port "
                "of the collector for OTLP over HTTP, usually 4318"
            )
    for name in HEADERS:
        if not all(_HEADER.fullmatch(part.strip()) for part in environment.get(name, "").split(",") if part.strip()):
            raise UserError(f"{name} cannot be read: write name=value,name=value, with each value URL-encoded")
    try:
        from passmuster.handlers import otlp
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise Unavailable(
            f"{endpoint} asks for traces, and what sends them is not installed: install passmuster[tracing], or unset "
            "the variable"
        ) from error
    try:
        return otlp.tracer(instance)
    except ValueError as error:
        raise UserError(f"the environment variables of OpenTelemetry cannot be followed: {error}") from error


def _demand_url(name: str, value: str) -> None:
    """Raises UserError for what is no address, or holds what would then stand in the log."""
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UserError(f"{name} is no address of a collector: write it like http://otel-collector:4318")
    if url.username is not None or url.query:
        raise UserError(f"{name} holds credentials or a query: give them in OTEL_EXPORTER_OTLP_HEADERS")
