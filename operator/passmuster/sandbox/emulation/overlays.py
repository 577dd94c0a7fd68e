"""Overlays: answers for operations that no emulator has, given by seeds and tests as facts.

An overlay is a dict in botocore's output shape, checked against that shape when it is laid, so that a check is never
fed something AWS cannot say. front.py serves overlays before emulated operations and before moto.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.validate import ParamValidator

from passmuster.sandbox.emulation import wire

Response = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Overlay:
    """One laid answer; a callable gets the call's parameters and may raise `wire.AWSError`."""

    service: str
    operation: str
    response: Response
    account: str | None = None
    region: str | None = None

    def covers(self, call: wire.Call) -> bool:
        return (
            (self.service, self.operation) == (call.service, call.operation)
            and self.account in (None, call.account)
            and self.region in (None, call.region)
        )

    def output(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        if isinstance(self.response, Mapping):
            return self.response
        return fits(self.service, self.operation, self.response(params))


class Overlays:
    """The overlays of one simulated AWS; the latest that covers a call answers it."""

    def __init__(self) -> None:
        self._laid: list[Overlay] = []
        self._lock = threading.Lock()

    def lay(self, overlay: Overlay) -> Overlay:
        if isinstance(overlay.response, Mapping):
            fits(overlay.service, overlay.operation, overlay.response)
        else:
            wire.service_model(overlay.service).operation_model(overlay.operation)
        with self._lock:
            self._laid.append(overlay)
        return overlay

    def lift(self, overlay: Overlay) -> None:
        with self._lock:
            self._laid.remove(overlay)

    def clear(self) -> None:
        with self._lock:
            self._laid.clear()

    def covering(self, call: wire.Call) -> Overlay | None:
        with self._lock:
            return next((overlay for overlay in reversed(self._laid) if overlay.covers(call)), None)


def fits(service: str, operation: str, response: Mapping[str, Any]) -> Mapping[str, Any]:
    """The response, if AWS could give it; ValueError names what botocore's output shape does not have."""
    shape = wire.service_model(service).operation_model(operation).output_shape
    if shape is None:
        if response:
            raise ValueError(f"{service} {operation} answers nothing, the overlay has {sorted(response)}")
        return response
    report = ParamValidator().validate(dict(response), shape)
    if report.has_errors():
        raise ValueError(f"{service} {operation} cannot answer this: {report.generate_report()}")
    return response
