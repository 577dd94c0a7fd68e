"""Finds the remediations: in the installed package, else beside `operator/` in a checkout.

Used by assess for the plan, by the engine to render, by the command line and by the tests of every folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

import passmuster
from passmuster.inventory.call import Call
from passmuster.model.errors import Unavailable
from passmuster.model.parameter import Kind, Parameter, Stricter
from passmuster.remediation import admission, adoption, ownership
from passmuster.remediation.definition import OF_PORTS, USAGE, Definition, InvalidRemediation
from passmuster.remediation.pricing import prices
from passmuster.remediation.reading import parse
from passmuster.remediation.template import FAST

STANDING_INPUTS = (
    Parameter(
        "tags",
        Kind.STRING_MAP,
        None,
        Stricter.SAME,
        "Tags that every stack puts on its resources, so that they meet your own tagging, for example Owner.",
    ),
)
"""Inputs that every stack takes, whatever it is."""


class Remediations:
    """Every remediation, in the order of phase and folder name."""

    def __init__(self, members: Sequence[Definition]) -> None:
        self._by_name = {member.name: member for member in members}
        if len(self._by_name) != len(members):
            raise InvalidRemediation("two remediations have the same name")

    def __iter__(self) -> Iterator[Definition]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Definition | None:
        """The remediation with that name."""
        return self._by_name.get(name)

    def fixing(self, check_id: str) -> tuple[Definition, ...]:
        """The remediations that make a check pass."""
        return tuple(member for member in self if check_id in member.fixes)

    def calls(self, checks: Iterable[str]) -> tuple[Call, ...]:
        """What must be read beside these checks' own calls, so that their remediations can be proposed."""
        judged = set(checks)
        offered = [one for one in self if judged & set(one.fixes)]
        owners = ownership.CALLS if any(one.in_place for one in offered) else ()
        asks = {s.partition(".")[0] for one in offered for filling in one.parameters.values() for s in filling.sources}
        kinds = dict.fromkeys(one.desired.type for one in offered if one.desired is not None)
        staying_out = tuple(adoption.CALLS[kind] for kind in kinds if kind in adoption.CALLS)
        return (*owners, *staying_out, *(admission.CALLS if asks & set(OF_PORTS) else ()))

    def operations(self) -> dict[str, frozenset[str]]:
        """The operations that the API steps of all remediations declare, by service."""
        found: dict[str, set[str]] = {}
        for one in self:
            for step in one.api:
                for operation in step.operations:
                    found.setdefault(operation.service, set()).add(operation.operation)
        return {service: frozenset(names) for service, names in found.items()}

    def inputs(self) -> tuple[Parameter, ...]:
        """Every input that some remediation asks for, each once, by name; they must agree on it."""
        found: dict[str, Parameter] = {}
        for member in self:
            for given in member.inputs:
                if found.setdefault(given.name, given) != given:
                    raise InvalidRemediation(f"the input {given.name} is declared in two ways")
        return tuple(sorted((*found.values(), *STANDING_INPUTS, *self._usage()), key=lambda p: p.name))

    def _usage(self) -> tuple[Parameter, ...]:
        """The usage that the plan may count with: of the positions that have a price and no quantity of their own."""
        names = [
            f"{member.name}/{item.key}"
            for member in self
            for item in member.cost
            if item.quantity is None and item.key in prices() and prices()[item.key].dollars is not None
        ]
        says = (
            "What one change of a remediation is expected to use a month, by remediation and position of the price "
            "list, for example flow-log/flow-log-gb: 120. The plan counts with it; what is not named stays unpriced."
        )
        choices = tuple(sorted(set(names)))
        if not choices:
            return ()
        return (
            Parameter(USAGE, Kind.QUANTITIES, None, Stricter.SAME, says, choices, minimum=0, max_items=len(choices)),
        )


def data_folder(name: str) -> Traversable:
    """A data folder of the project: shipped in the wheel, or beside `operator/` in an editable install.

    Raises Unavailable when it is in neither place.
    """
    packaged = files(passmuster) / "data" / name
    if packaged.is_dir():
        return packaged
    checkout = Path(passmuster.__file__).parents[2] / name
    if checkout.is_dir():
        return checkout
    raise Unavailable(f"the installation lacks its {name} folder: install passmuster again")


def read(folder: Traversable) -> Remediations:
    """Every remediation below `<n-phase>/<name>/` of the folder; what git leaves empty behind is none."""
    members = []
    for phase in sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: p.name):
        for entry in sorted((e for e in phase.iterdir() if e.is_dir() and any(e.iterdir())), key=lambda e: e.name):
            where = f"{phase.name}/{entry.name}"
            definition = _folder(entry, where)
            if definition.name != entry.name or phase.name != definition.phase.folder:
                raise InvalidRemediation(f"{where}: the folder does not agree with the name and phase inside")
            members.append(definition)
    return Remediations(members)


def _folder(entry: Traversable, where: str) -> Definition:
    texts = {file.name: file.read_text(encoding="utf-8") for file in entry.iterdir() if file.is_file()}
    if "remediation.yaml" not in texts:
        raise InvalidRemediation(f"{where}: the folder has no remediation.yaml")
    try:
        document = yaml.load(texts.pop("remediation.yaml"), Loader=FAST)
    except yaml.YAMLError as error:
        raise InvalidRemediation(f"{where}: remediation.yaml: it is no YAML: {error}") from error
    return parse(document, texts.pop("template.yaml", ""), where, dict(sorted(texts.items())))


@lru_cache(maxsize=1)
def load() -> Remediations:
    """The catalogue of this installation."""
    return read(data_folder("remediations"))
