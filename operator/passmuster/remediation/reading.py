"""Reads a folder of `remediations/` strictly: what is wrong is refused with the folder and the key that is wrong.

Called by `remediation.catalogue`. A key that is not known is an error, never ignored; so is a name in braces that
nothing fills, because what it stands in would be done with the braces in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import jmespath
import jmespath.exceptions

from passmuster.api.remediation import Risk, WaitsFor, Way
from passmuster.model.parameter import Kind, Parameter, Stricter
from passmuster.model.verdict import Phase
from passmuster.remediation.definition import (
    PRIOR,
    SOURCES,
    STANDING_NAMES,
    ApiStep,
    Definition,
    Desired,
    Filling,
    Guide,
    Hcl,
    InvalidRemediation,
    LineItem,
    Operation,
    Place,
    Shape,
    Target,
)
from passmuster.remediation.wording import names

IN_PLACE = "InPlace"
"""What `way` says where the way is decided for each finding, from who owns the resource."""

ALWAYS = frozenset({"name", "title", "description", "phase", "fixes", "way", "target", "place", "risk", "undo", "cost"})
ANY = frozenset(
    {
        "facts",
        "each",
        "achieves",
        "requires",
        "leadsTo",
        "inputs",
        "parameters",
        "interrupts",
        "settles",
        "waitsFor",
        "documents",
    }
)
OF_WAY: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    Way.ADDITIVE_STACK: (frozenset(), frozenset({"capabilities", "retains", "literals", "guide"})),
    IN_PLACE: (frozenset({"guide"}), frozenset({"resource", "terraform", "api"})),
    Way.GUIDE: (frozenset({"guide"}), frozenset()),
}
"""Keys that a way needs and may have, beside those of every remediation."""

T = TypeVar("T")
_DURATION = re.compile(r"^(\d+)([mhd])$")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_NAME = re.compile(r"^[A-Z][A-Za-z0-9]*$")
"""Names as AWS gives them to parameters and operations."""

_READ = ("Describe", "Get", "List", "BatchGet")


def parse(document: Any, template: str, where: str, documents: Mapping[str, str] | None = None) -> Definition:
    """A definition from the parsed `remediation.yaml`, the text of `template.yaml` ("" without one) and the further
    documents of the folder by file name. Raises InvalidRemediation with the folder and the key that is wrong.
    """
    if not isinstance(document, Mapping):
        raise InvalidRemediation(f"{where}: remediation.yaml: it is not a mapping")
    return _Folder(document, where).definition(template, documents or {})


@dataclass(frozen=True, slots=True)
class _Folder:
    """One `remediation.yaml` while it is read."""

    document: Mapping[str, Any]
    where: str

    def definition(self, template: str, documents: Mapping[str, str]) -> Definition:
        stated = self.document.get("way")
        if stated is not None and stated not in OF_WAY:
            raise self._wrong("way", f"{stated!r} is not one of {', '.join(OF_WAY)}")
        needed, allowed = OF_WAY.get(str(stated), (frozenset(), frozenset()))
        self._demand_keys(self.document, ALWAYS | needed, ANY | allowed, "remediation.yaml")
        if bool(template) != (stated == Way.ADDITIVE_STACK):
            said = "lacks" if stated == Way.ADDITIVE_STACK else "has"
            raise self._wrong("way", f"the folder {said} a template.yaml, which way {Way.ADDITIVE_STACK} alone has")
        parameters = self._mapping("parameters")
        read = Definition(
            name=self._text("name"),
            title=self._text("title"),
            description=self._text("description").strip(),
            phase=self._one_of("phase", Phase),
            fixes=self._texts("fixes"),
            way=None if stated == IN_PLACE else Way(str(stated)),
            target=self._one_of("target", Target),
            place=self._one_of("place", Place),
            template=template,
            facts={str(k): str(v) for k, v in self._mapping("facts").items()},
            each=self.document.get("each"),
            achieves={str(k): str(v) for k, v in self._mapping("achieves").items()},
            requires=self._texts("requires"),
            leads_to=self._texts("leadsTo"),
            inputs=tuple(self._input(name, spec) for name, spec in self._mapping("inputs").items()),
            parameters={name: self._filling(name, spec) for name, spec in parameters.items()},
            capabilities=self._texts("capabilities"),
            cost=tuple(self._line(i, item) for i, item in enumerate(self._list("cost"))),
            risk=self._one_of("risk", Risk).value,
            interrupts=str(self.document.get("interrupts", "nothing")),
            settles=self._at("settles", lambda: _duration(str(self.document.get("settles", "10m")))),
            waits_for=self._at("waitsFor", lambda: WaitsFor(self.document.get("waitsFor", "service"))),
            undo=self._text("undo"),
            retains=self._texts("retains"),
            literals={str(k): str(v) for k, v in self._mapping("literals").items()},
            desired=self._desired() if "resource" in self.document else None,
            api=tuple(self._api(f"api[{i}]", spec) for i, spec in enumerate(self._list("api"))),
            guide=self._guide() if "guide" in self.document else None,
            terraform=self._terraform() if "terraform" in self.document else None,
            documents=documents,
        )
        self._check(read)
        return read

    def _check(self, read: Definition) -> None:
        """What no single key can say of itself."""
        if not read.fixes:
            raise self._wrong("fixes", "it names no check")
        if read.in_place and (read.desired is None) is not (read.terraform is None):
            raise self._wrong("terraform", "it goes with resource, and resource with it")
        if read.in_place and read.desired is None and not read.api:
            raise self._wrong("resource", "what is changed is a resource, or a setting of the account by api alone")
        each = self.document.get("each")
        if each is not None and (not isinstance(each, str) or read.target is not Target.FINDING):
            raise self._wrong("each", "it is the name of one fact, and goes with target finding")
        if sorted(read.documents) != sorted(self._texts("documents")):
            found = ", ".join(sorted(read.documents)) or "none"
            raise self._wrong("documents", f"it must list the other files of the folder, which are: {found}")
        if read.way is not Way.ADDITIVE_STACK:
            for name in read.parameters:
                if not _NAME.match(name):
                    raise self._wrong(f"parameters.{name}", "a name begins with a capital and holds letters and digits")
            known = {*STANDING_NAMES, *read.parameters}
            for key in ("resource", "guide", "terraform"):
                self._demand_names(key, self.document.get(key), known)
            for i, step in enumerate(self._list("api")):
                for key, part in step.items():
                    allowed = known | {PRIOR} if key in ("undo", "undoAbsent") else known
                    self._demand_names(f"api[{i}].{key}", part, allowed)
            for name, text in read.documents.items():
                self._demand_names(name, text, known)
        for name, filling in read.parameters.items():
            if filling.value is not None:
                self._demand_names(f"parameters.{name}", filling.value, set(STANDING_NAMES))

    def _desired(self) -> Desired:
        spec = self._mapping("resource")
        self._demand_keys(spec, {"type", "identifier", "arn", "set"}, {"keys", "model"}, "resource")
        if not isinstance(spec["set"], Mapping) or not spec["set"]:
            raise self._wrong("resource.set", "it maps properties of the type to values")
        keys = spec.get("keys", {})
        for name in keys:
            if not isinstance(spec["set"].get(name), list):
                raise self._wrong(f"resource.keys.{name}", "it is for a list in resource.set")
        return Desired(
            type=str(spec["type"]),
            identifier=str(spec["identifier"]),
            arn=str(spec["arn"]),
            properties=dict(spec["set"]),
            keys={str(k): str(v) for k, v in keys.items()},
            model=str(spec["model"]) if "model" in spec else None,
        )

    def _api(self, key: str, spec: Any) -> ApiStep:
        needed = {"read", "value", "wanted", "change", "undo"}
        self._demand_keys(spec, needed, {"absent", "undoAbsent", "ready"}, key)
        read = self._operation(f"{key}.read", spec["read"], None)
        if not read.operation.startswith(_READ):
            raise self._wrong(
                f"{key}.read.operation", f"{read.operation} is no read: it begins with {' or '.join(_READ)}"
            )
        other = spec.get("undoAbsent")
        return ApiStep(
            read=read,
            value=self._query(f"{key}.value", spec["value"]),
            wanted=spec["wanted"],
            change=self._operation(f"{key}.change", spec["change"], read.service),
            undo=self._operation(f"{key}.undo", spec["undo"], read.service),
            absent=spec.get("absent"),
            undo_absent=self._operation(f"{key}.undoAbsent", other, read.service) if other is not None else None,
            ready=self._query(f"{key}.ready", spec["ready"]) if "ready" in spec else None,
        )

    def _operation(self, key: str, spec: Any, service: str | None) -> Operation:
        """An operation; change and undo speak to the service of read unless they name another."""
        self._demand_keys(
            spec,
            {"operation"} | ({"service"} if service is None else set()),
            {"service", "arguments", "actions"} | ({"absent"} if service is None else set()),
            key,
        )
        if not _NAME.match(str(spec["operation"])):
            raise self._wrong(
                f"{key}.operation", f"{spec['operation']!r} is no name of AWS, such as PutRetentionPolicy"
            )
        arguments = spec.get("arguments", {})
        if not isinstance(arguments, Mapping):
            raise self._wrong(f"{key}.arguments", "it maps the operation's parameters to values")
        return Operation(
            service=str(spec.get("service", service)),
            operation=str(spec["operation"]),
            arguments=dict(arguments),
            actions=tuple(str(one) for one in spec.get("actions", ())),
            absent=tuple(str(one) for one in spec.get("absent", ())),
        )

    def _query(self, key: str, text: Any) -> str:
        try:
            jmespath.compile(text)
        except (jmespath.exceptions.JMESPathError, TypeError) as error:
            raise self._wrong(key, f"it is no JMESPath: {error}") from error
        return str(text)

    def _guide(self) -> Guide:
        spec = self._mapping("guide")
        self._demand_keys(spec, {"console"}, {"cli"}, "guide")
        for name, member in spec.items():
            if not isinstance(member, list) or not all(isinstance(line, str) and line.strip() for line in member):
                raise self._wrong(f"guide.{name}", "it is a list of texts, one for each step")
        if not spec["console"]:
            raise self._wrong("guide.console", "it has no step")
        return Guide(
            tuple(line.strip() for line in spec["console"]), tuple(line.strip() for line in spec.get("cli", ()))
        )

    def _terraform(self) -> Hcl:
        spec = self._mapping("terraform")
        self._demand_keys(spec, {"resource", "arguments"}, set(), "terraform")
        return Hcl(str(spec["resource"]), str(spec["arguments"]).rstrip())

    def _input(self, name: str, spec: Any) -> Parameter:
        self._demand_keys(spec, {"description"}, {"kind", "maxLength", "minimum", "pattern"}, f"inputs.{name}")
        return Parameter(
            name=name,
            kind=self._at(f"inputs.{name}.kind", lambda: Kind(spec.get("kind", "string"))),
            default=None,
            stricter=Stricter.SAME,
            description=spec["description"],
            max_length=spec.get("maxLength", 253),
            minimum=spec.get("minimum"),
            pattern=str(spec.get("pattern", "")),
        )

    def _filling(self, name: str, spec: Any) -> Filling:
        key = f"parameters.{name}"
        self._demand_keys(spec, set(), {"value", "from", "optional", "kind", "roundUp"}, key)
        if ("value" in spec) == ("from" in spec):
            raise self._wrong(key, "it has either value or from")
        shape = self._at(f"{key}.kind", lambda: Shape(spec.get("kind", "string")))
        if "value" in spec:
            return Filling(value=str(spec["value"]), shape=shape)
        given = spec["from"]
        sources = tuple(str(one) for one in given) if isinstance(given, list) else (str(given),)
        for source in sources:
            if source.split(".")[0] not in SOURCES:
                raise self._wrong(f"{key}.from", f"{source} does not begin with one of {', '.join(SOURCES)}")
        steps = tuple(spec.get("roundUp", ()))
        if steps and (shape is not Shape.INTEGER or list(steps) != sorted(steps)):
            raise self._wrong(f"{key}.roundUp", "it is a rising list of numbers, for kind integer")
        return Filling(sources=sources, optional=bool(spec.get("optional", False)), shape=shape, round_up=steps)

    def _line(self, number: int, item: Any) -> LineItem:
        key = f"cost[{number}]"
        self._demand_keys(item, {"key", "quantity"}, {"unless", "times", "once"}, key)
        quantity = item["quantity"]
        count = None if quantity == "unpriced" else self._at(f"{key}.quantity", lambda: float(quantity))
        times = item.get("times", [])
        if not isinstance(times, list) or (times and count is None):
            raise self._wrong(f"{key}.times", "it is a list of parameters, and goes with a quantity that is a number")
        once = item.get("once", False)
        if not isinstance(once, bool) or (once and count is None):
            raise self._wrong(f"{key}.once", "it is true or false, and goes with a quantity that is a number")
        return LineItem(str(item["key"]), count, item.get("unless"), tuple(str(one) for one in times), once)

    def _demand_keys(self, spec: Any, needed: Set[str], more: Set[str], key: str) -> None:
        if not isinstance(spec, Mapping):
            raise self._wrong(key, "it is not a mapping")
        missing, unknown = set(needed) - set(spec), set(spec) - set(needed) - set(more)
        if missing or unknown:
            parts = [f"missing {sorted(missing)}"] if missing else []
            parts += [f"unknown {sorted(map(str, unknown))}"] if unknown else []
            raise self._wrong(key, ", ".join(parts))

    def _demand_names(self, key: str, value: Any, known: set[str]) -> None:
        for name in names(value):
            if name.partition(".")[0] not in known:
                raise self._wrong(key, f"{{{name}}} is none of {', '.join(sorted(known))}")

    def _text(self, key: str) -> str:
        value = self.document[key]
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(key, "it is a text")
        return value

    def _texts(self, key: str) -> tuple[str, ...]:
        return tuple(str(one) for one in self._list(key))

    def _list(self, key: str) -> Sequence[Any]:
        value = self.document.get(key, [])
        if not isinstance(value, list):
            raise self._wrong(key, "it is a list")
        return value

    def _mapping(self, key: str) -> Mapping[str, Any]:
        value = self.document.get(key, {})
        if not isinstance(value, Mapping):
            raise self._wrong(key, "it is a mapping")
        return value

    def _one_of(self, key: str, kind: Callable[[Any], T]) -> T:
        return self._at(key, lambda: kind(self.document[key]))

    def _at(self, key: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except (ValueError, TypeError) as error:
            raise self._wrong(key, str(error)) from error

    def _wrong(self, key: str, message: str) -> InvalidRemediation:
        return InvalidRemediation(f"{self.where}: {key}: {message}")


def _duration(text: str) -> timedelta:
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"a duration is a number with m, h or d, not {text!r}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
