"""A remediation as its folder describes it; `remediation.reading` makes it from the folder's files.

A folder is data: everything a person needs to judge a change is in it, and what differs from account to account is
filled in from findings, inputs and the snapshot by the few words that `SOURCES` lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from passmuster.api.remediation import WaitsFor, Way
from passmuster.model.errors import PassmusterError
from passmuster.model.parameter import Parameter
from passmuster.model.verdict import Phase


class Target(StrEnum):
    """What one change is for: the account, or each failing resource of the first check it fixes."""

    ACCOUNT = "account"
    FINDING = "finding"


class Place(StrEnum):
    """Where the change is made: the first governed region, the control region, or where the finding is."""

    HOME = "home"
    CONTROL = "control"
    FINDING = "finding"


class InvalidRemediation(PassmusterError):
    """A folder of the catalogue is wrong: a defect of the catalogue, found by its tests."""

    reason = "InvalidRemediation"


SOURCES = ("inputs", "facts", "parameters", "zone", "admission", "reachable", "account")
"""First words of `from`: a policy's inputs, the finding's facts, the parameters of the first check as the policy and
the account's floors have them, the hosted zone of the domain, the security group that does not admit a port yet
(`admission.443`), whether the world reaches the port that a fact names (`reachable.securePort`; the change is blocked
where it does not), the account itself."""

OF_PORTS = ("admission", "reachable")
"""Those that read what stands in front of a load balancer."""

STANDING_NAMES = ("policy", "namespace", "account", "partition", "region", "key")
"""Names that every text of a folder may use beside the parameters; `key` is ten hex digits, stable for one change."""

PRIOR = "prior"
"""The name under which the texts of `undo` find the value that an API step found."""


class Shape(StrEnum):
    """What the value of a parameter is, where it is not only text: `strings` are parted by commas in a fact."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRINGS = "strings"


@dataclass(frozen=True, slots=True)
class Filling:
    """How one parameter is filled: a literal with `{policy}`-like names, or the first source that has it.

    `optional` sources that have nothing leave the template's default. `round_up` are the values that AWS accepts: the
    smallest that is not less than the source's is taken.
    """

    value: str | None = None
    sources: tuple[str, ...] = ()
    optional: bool = False
    shape: Shape = Shape.STRING
    round_up: tuple[int, ...] = ()


USAGE = "usage"
"""The input that says how much is expected of what is paid by usage."""


@dataclass(frozen=True, slots=True)
class LineItem:
    """One position of the cost: a key of the price list and how many of it a month; None: it depends on usage.

    The quantity is multiplied by the number of values that each parameter in `times` has, which may be none. What is
    paid `once`, for making and proving the change, is in no month's bill.
    """

    key: str
    quantity: float | None
    unless: str | None = None
    times: tuple[str, ...] = ()
    once: bool = False


@dataclass(frozen=True, slots=True)
class Desired:
    """The desired state of one resource, whoever owns it: the properties of its CloudFormation type to set.

    `identifier` is its physical id in a stack, which is also its identifier in Cloud Control unless `model` gives
    another; `arn` is where its tags are found. A mapping in `properties` is merged into what is there; so is a list
    that `keys` names, whose members are told apart by the member given.
    """

    type: str
    identifier: str
    arn: str
    properties: Mapping[str, Any]
    keys: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of AWS with its arguments, under AWS's own names; of a read, the error codes that mean no value."""

    service: str
    operation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiStep:
    """One documented call, with the read that tells the value before it and the call that brings that value back.

    `value` (JMESPath over the answer of `read`) is the value that the step changes, `absent` what no value stands for,
    `wanted` what it is after the change; `ready` (JMESPath) must hold before the call, and again before the step
    counts as settled.
    """

    read: Operation
    value: str
    wanted: Any
    change: Operation
    undo: Operation
    absent: Any = None
    undo_absent: Operation | None = None
    ready: str | None = None

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Everything that the step may send: its read, its change and what takes that back."""
        other = (self.undo_absent,) if self.undo_absent is not None else ()
        return (self.read, self.change, self.undo, *other)


@dataclass(frozen=True, slots=True)
class Guide:
    """The same change by hand: what to do in the console, and with the AWS command line."""

    console: tuple[str, ...]
    cli: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hcl:
    """The same change for Terraform: the type of the resource and the lines of its arguments."""

    resource: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Definition:
    """One remediation of the catalogue.

    `way` is None where it is decided for each finding, from who owns the resource: a change in place, which is declared
    once by `desired`, `api`, `guide` and `terraform`; a setting of the account, which no stack can own, has `api` and
    no `desired`. `template` is the text of an additive stack's template, and `literals` are words of it that are
    replaced before anything else, by text with `{account}`-like names: the fixed names of retained resources, which
    CloudFormation takes back only where they stand in the template literally.
    `each` names a fact that lists several resources, each of which is changed by itself. `achieves` are facts: a
    finding that still fails and has them counts as done, for a link of a chain that makes no check pass by itself.
    `leads_to` are checks that ask for more once the change is made, so that they fail until the next change is.
    """

    name: str
    title: str
    description: str
    phase: Phase
    fixes: tuple[str, ...]
    way: Way | None
    target: Target
    place: Place
    template: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    each: str | None = None
    achieves: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    leads_to: tuple[str, ...] = ()
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
    desired: Desired | None = None
    api: tuple[ApiStep, ...] = ()
    guide: Guide | None = None
    terraform: Hcl | None = None
    documents: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_place(self) -> bool:
        """Whether it changes a resource that exists."""
        return self.way is None
