"""Drift: whether the resources of a stack still are what its template says.

api.py serves DetectStackDrift with it; the engine re-checks drift before it changes a stack. A property counts as
drifted only if AWS tells it under a recognisable name: what cannot be compared is left out, as real drift detection
leaves out what a handler does not return.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from passmuster.sandbox.emulation.stacks import engine, model
from passmuster.sandbox.emulation.stacks.kinds import Work
from passmuster.sandbox.emulation.stacks.model import Properties, Resource, Stack
from passmuster.sandbox.emulation.stacks.templates import text_of


def detect(driver: engine.Engine, stack: Stack, logical_ids: list[str]) -> dict[str, Any]:
    """Compare these resources with AWS, note it on them and on the stack; the record of the detection."""
    for logical_id in logical_ids:
        _compare(driver, stack, stack.resources[logical_id])
    drifted = [
        r for r in stack.resources.values() if r.drift.get("StackResourceDriftStatus") in ("MODIFIED", "DELETED")
    ]
    stack.drift = "DRIFTED" if drifted else "IN_SYNC"
    return {
        "StackId": stack.stack_id,
        "StackDriftDetectionId": str(uuid.uuid4()),
        "StackDriftStatus": stack.drift,
        "DetectionStatus": "DETECTION_COMPLETE",
        "DriftedStackResourceCount": len(drifted),
        "Timestamp": model.now(),
    }


def _compare(driver: engine.Engine, stack: Stack, resource: Resource) -> None:
    work = Work(stack.place, stack.name, stack.stack_id, resource.logical_id, stack.tags, resource.physical_id)
    live = driver.kinds[resource.type].live(work, resource.properties)
    differences = [] if live is None else list(_differences(resource.properties, live, ""))
    resource.drift = {
        "StackId": stack.stack_id,
        "LogicalResourceId": resource.logical_id,
        "PhysicalResourceId": resource.physical_id,
        "ResourceType": resource.type,
        "ExpectedProperties": json.dumps(resource.properties, default=str),
        "ActualProperties": json.dumps(live, default=str),
        "PropertyDifferences": differences,
        "StackResourceDriftStatus": "DELETED" if live is None else "MODIFIED" if differences else "IN_SYNC",
        "Timestamp": model.now(),
    }


def _differences(expected: Properties, live: Mapping[str, Any], path: str) -> Iterator[dict[str, str]]:
    folded = {name.lower(): value for name, value in live.items()}
    for name, value in expected.items():
        if name.lower() not in folded:
            continue
        actual = folded[name.lower()]
        if isinstance(value, Mapping) and isinstance(actual, Mapping):
            yield from _differences(dict(value), actual, f"{path}/{name}")
        elif _comparable(value, actual) and not _same(text_of(value), text_of(actual)):
            yield {
                "PropertyPath": f"{path}/{name}",
                "ExpectedValue": text_of(value),
                "ActualValue": text_of(actual),
                "DifferenceType": "NOT_EQUAL",
            }


def _same(expected: str, actual: str) -> bool:
    """Equal as text, but for a name's last dot, or as numbers: AWS writes 5 as 5.0 in places."""
    if expected.rstrip(".").lower() == actual.rstrip(".").lower():
        return True
    try:
        return float(expected) == float(actual)
    except ValueError:
        return False


def _comparable(value: Any, actual: Any) -> bool:
    return isinstance(value, str | int | float | bool) and isinstance(actual, str | int | float | bool)
