"""Drift: whether the resources of a stack still are what its template says.

api.py serves DetectStackDrift with it; the engine re-checks drift before it changes a stack. A property counts as
drifted only if AWS tells it under a recognisable name: what cannot be compared is left out, as real drift detection
leaves out what a handler does not return. Where Cloud Control has a model of the type, all that the template says is
compared with it, lists as sets, and what is gone from it has drifted too.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from passmuster.sandbox.emulation.stacks import cloud_control, engine, model
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
    kind = driver.kinds[resource.type]
    if cloud_control.is_read(resource.type):
        live = cloud_control.model_of(resource.type, stack.place, resource.physical_id)
        told = {name: value for name, value in resource.properties.items() if name not in kind.schema.write_only}
        differences = [] if live is None else list(_departures(told, live))
    else:
        work = Work(stack.place, stack.name, stack.stack_id, resource.logical_id, stack.tags, resource.physical_id)
        found = kind.live(work, resource.properties)
        live = None if found is None else dict(found)
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


def _departures(expected: Properties, live: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for name, value in expected.items():
        if name not in live or not _holds(live[name], value):
            yield {
                "PropertyPath": f"/{name}",
                "ExpectedValue": text_of(value),
                "ActualValue": text_of(live.get(name, "")),
                "DifferenceType": "NOT_EQUAL" if name in live else "REMOVE",
            }


def _holds(live: Any, expected: Any) -> bool:
    """Whether the model says what the template says, and of a list no more than that."""
    if isinstance(expected, Mapping) and isinstance(live, Mapping):
        return all(name in live and _holds(live[name], value) for name, value in expected.items())
    if isinstance(expected, list) and isinstance(live, list):
        theirs = [one for one in live if not (isinstance(one, Mapping) and str(one.get("Key")).startswith("aws:"))]
        return len(theirs) == len(expected) and all(any(_holds(one, wanted) for one in theirs) for wanted in expected)
    return _same(text_of(expected), text_of(live))


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
