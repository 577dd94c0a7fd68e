"""A span for each request to AWS, from botocore's own events: whoever sends it, it is seen here.

`Clients` registers the handlers. A span has the service, the operation, the region and how the request ended, by the
same words as the metric; nothing of its arguments and nothing of the answer but the code of an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from passmuster.aws.transport import translated
from passmuster.model.trace import OFF, OUTCOME, Span, Tracer
from passmuster.model.verdict import Reason

Handlers = Mapping[str, Callable[..., None]]
"""Handlers of botocore's events, by the event."""

_SPAN = "passmuster_span"


def handlers(tracer: Tracer) -> Handlers:
    """What a tracer needs to hear of; nothing where it is off."""
    if tracer is OFF:
        return {}

    def begin(model: Any, context: dict[str, Any], **_: Any) -> None:
        service, operation = model.service_model.service_name, model.name
        attributes = {
            "rpc.system": "aws-api",
            "rpc.service": service,
            "rpc.method": operation,
            "cloud.region": context["client_region"],
        }
        context[_SPAN] = tracer.request(f"{service}.{operation}", attributes)

    return {"before-call.*.*": begin, "after-call.*.*": _answered, "after-call-error.*.*": _unanswered}


def _answered(parsed: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
    span: Span = context.pop(_SPAN)
    status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 200)
    if status < 300:
        span.note({OUTCOME: "ok"})
    else:
        error = translated(ClientError(dict(parsed), model.name))  # type: ignore[arg-type]  # botocore's own shape
        span.note({OUTCOME: error.reason.value.lower()})
        span.fail(error.code)
    span.end()


def _unanswered(exception: Exception, context: dict[str, Any], **_: Any) -> None:
    span: Span = context.pop(_SPAN)
    span.note({OUTCOME: Reason.SERVICE_ERROR.value.lower()})
    span.fail(type(exception).__name__)
    span.end()
