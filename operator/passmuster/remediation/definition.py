"""A remediation as its folder describes it: `remediation.yaml` beside `template.yaml`.

Read by `remediation.catalogue`. A folder is data: everything a person needs to judge a change is in it, and the
parameters of its template are filled from findings, inputs and the snapshot by the few words that `SOURCES` lists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from passmuster.api.remediation import WaitsFor, Way
from passmuster.model.errors import PassmusterError
from passmuster.model.parameter import Kind, Parameter, Stricter
from passmuster.model.verdict import Phase


class Target(StrEnum):
    """What one change is for: the account, or each failing resource of the first check it fixes."""

    ACCOUNT = "account"
    FINDING = "finding"


class Place(StrEnum):
    """Where the stack is made: the first governed region, the control region, or where the finding is."""

    HOME = "home"
    CONTROL = "control"
    FINDING = "finding"


class InvalidRemediation(PassmusterError):
    """A folder of the catalogue is wrong: a defect of the catalogue, found by its tests."""

    reason = "InvalidRemediation"


SOURCES = ("inputs", "facts", "zone", "admission", "account")
"""First words of `from`: a policy's inputs, the finding's facts, the hosted zone of the domain, the security group
that does not admit a port yet (`admission.443`), the account itself."""


@dataclass(frozen=True, slots=True)
class Filling:
    """How one template parameter is filled: a literal with `{policy}`-like names, or the first source that has it.

    `optional` sources that have nothing leave the template's default.
    """

    value: str | None = None
    sources: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class LineItem:
    """One position of the monthly cost: a key of the price list and how many of it; None: it depends on usage."""

    key: str
    quantity: float | None
    unless: str | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """One remediation of the catalogue; `template` is the text of its CloudFormation template.

    `literals` are words of the template that are replaced before anything else, by text with `{account}`-like names:
    the fixed names of retained resources, which CloudFormation takes back only where they stand in the template
    literally.
    """

    name: str
    title: str
    description: str
    phase: Phase
    fixes: tuple[str, ...]
    way: Way
    target: Target
    place: Place
    template: str
    facts: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    inputs: tuple[Parameter, ...] = ()
    parameters: Mapping[str, Filling] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    cost: tuple[LineItem, ...] = ()
    risk: str = "Low"
    interrupts: str = "nothing"
    settles: timedelta = timedelta(minutes=10)
    waits_for: WaitsFor = WaitsFor.SERVICE
    undo: str = "delete the stack"
    retains: tuple[str, ...] = ()
    literals: Mapping[str, str] = field(default_factory=dict)


_DURATION = re.compile(r"^(\d+)([mhd])$")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_REQUIRED = {"name", "title", "description", "phase", "fixes", "way", "target", "place", "risk", "undo", "cost"}
_KNOWN = _REQUIRED | {
    "facts",
    "requires",
    "inputs",
    "parameters",
    "capabilities",
    "interrupts",
    "settles",
    "waitsFor",
    "retains",
    "literals",
}


def parse(document: Mapping[str, Any], template: str, where: str) -> Definition:
    """A definition from the parsed `remediation.yaml`. Raises InvalidRemediation with the key that is wrong."""
    missing, unknown = _REQUIRED - set(document), set(document) - _KNOWN
    if missing or unknown:
        raise InvalidRemediation(f"{where}: missing {sorted(missing)}, unknown {sorted(unknown)}")
    try:
        return Definition(
            name=document["name"],
            title=document["title"],
            description=document["description"].strip(),
            phase=Phase(document["phase"]),
            fixes=tuple(document["fixes"]),
            way=Way(document["way"]),
            target=Target(document["target"]),
            place=Place(document["place"]),
            template=template,
            facts=dict(document.get("facts", {})),
            requires=tuple(document.get("requires", ())),
            inputs=tuple(_input(name, spec) for name, spec in document.get("inputs", {}).items()),
            parameters={name: _filling(spec, where) for name, spec in document.get("parameters", {}).items()},
            capabilities=tuple(document.get("capabilities", ())),
            cost=tuple(_line(item) for item in document["cost"]),
            risk=document["risk"],
            interrupts=document.get("interrupts", "nothing"),
            settles=_duration(document.get("settles", "10m")),
            waits_for=WaitsFor(document.get("waitsFor", "service")),
            undo=document["undo"],
            retains=tuple(document.get("retains", ())),
            literals=dict(document.get("literals", {})),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidRemediation(f"{where}: {error}") from error


def _input(name: str, spec: Mapping[str, Any]) -> Parameter:
    return Parameter(
        name=name,
        kind=Kind(spec.get("kind", "string")),
        default=None,
        stricter=Stricter.SAME,
        description=spec["description"],
        max_length=spec.get("maxLength", 253),
    )


def _filling(spec: Mapping[str, Any], where: str) -> Filling:
    if "value" in spec:
        return Filling(value=str(spec["value"]))
    given = spec["from"]
    sources = tuple(given) if isinstance(given, list) else (given,)
    for source in sources:
        if source.split(".")[0] not in SOURCES:
            raise InvalidRemediation(f"{where}: {source} does not begin with one of {', '.join(SOURCES)}")
    return Filling(sources=sources, optional=bool(spec.get("optional", False)))


def _line(item: Mapping[str, Any]) -> LineItem:
    quantity = item["quantity"]
    return LineItem(item["key"], None if quantity == "unpriced" else float(quantity), item.get("unless"))


def _duration(text: str) -> timedelta:
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"a duration is a number with m, h or d, not {text!r}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
