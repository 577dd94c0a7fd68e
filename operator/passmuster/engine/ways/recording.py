"""What a change to an existing resource writes down before it begins: the change itself, and what was there before.

From then on it is gone on with, and taken back, by what was recorded: whatever the plan, the snapshot or a later
version of the catalogue says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from passmuster.remediation.definition import ApiStep, Desired, Operation


def of_desired(wanted: Desired, prior: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a desired state that is laid over a resource."""
    return {
        "what": f"{wanted.type} {wanted.identifier}",
        "change": _json(asdict(wanted)),
        "prior": _json(prior),
    }


def of_step(step: ApiStep, prior: Any, *, needed: bool) -> dict[str, Any]:
    """The record of one call."""
    what = f"{step.change.service}:{step.change.operation}"
    return {"what": what, "change": _json(asdict(step)), "prior": _json(prior), "needed": needed}


def desired_in(record: Mapping[str, Any]) -> Desired:
    """The desired state of a record."""
    return Desired(**json.loads(record["change"]))


def step_in(record: Mapping[str, Any]) -> ApiStep:
    """The call of a record."""
    members = json.loads(record["change"])
    for name in ("read", "change", "undo", "undo_absent"):
        if members[name] is not None:
            members[name] = Operation(**{**members[name], "actions": tuple(members[name]["actions"])})
    return ApiStep(**members)


def prior_in(record: Mapping[str, Any]) -> Any:
    """What was there before."""
    return json.loads(record["prior"])


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
