"""Manifests as people write them, into models, with errors that say where and what to write instead.

Called by the command line for files and standard input. What the API server would refuse is refused here too, in the
same words where a rule of ours says no: types, unknown fields, bounds, the constraints beside the fields, and the ids,
parameters and inputs of the catalogues. What needs the stored object (immutable fields) cannot be seen here.

Documents of other API groups are left out, so that a file may hold a Namespace beside its policy.
"""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.documents import Path, parse, written
from passmuster.api.fields import Constraint, Declared, Slot
from passmuster.api.parameters import CheckFacts, faults
from passmuster.api.resource import API_VERSION, GROUP, CustomResource
from passmuster.api.schema import KINDS, Served
from passmuster.model.errors import InvalidManifest
from passmuster.model.parameter import Parameter

_KINDS: Mapping[str, type[Served]] = {kind.definition.kind: kind for kind in KINDS}
_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA = (
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at one path of a document."""

    path: Path
    what: str


def load(
    text: str, facts: Sequence[CheckFacts], inputs: Sequence[Parameter], *, source: str = "manifest"
) -> list[Served]:
    """Our objects in a YAML or JSON text of one or more documents, in their order; `source` names it in errors.

    Raises InvalidManifest with one line per problem: source and line, document, field, what is wrong, what is allowed.
    """
    documents = list(parse(text, source))
    reader = _Reader(facts, inputs)
    loaded: list[Served] = []
    lines: list[str] = []
    for document in documents:
        problems = [Problem(path, "the field is there twice") for path in document.repeated]
        for prefix, value in _objects(document.value):
            read, found = reader.read(value)
            problems += (Problem((*prefix, *problem.path), problem.what) for problem in found)
            if read is not None:
                loaded.append(read)
        where = f" (document {document.number})" if len(documents) > 1 else ""
        for problem in sorted(problems, key=lambda p: document.line(p.path)):
            at = f"{written(problem.path)}: " if problem.path else ""
            lines.append(f"{source}:{document.line(problem.path)}{where}: {at}{problem.what}")
    if lines:
        raise InvalidManifest("\n".join(lines))
    if not loaded:
        raise InvalidManifest(f"{source}: there is no {_either(sorted(_KINDS))} of {API_VERSION} in it")
    return loaded


def _objects(value: Any) -> Iterator[tuple[Path, Any]]:
    """The objects of a document: itself, or the items of a List as `kubectl get -o yaml` prints it."""
    if isinstance(value, Mapping) and value.get("kind") == "List" and isinstance(value.get("items"), list):
        for index, item in enumerate(value["items"]):
            yield from (((("items", index, *path), found)) for path, found in _objects(item))
    else:
        yield (), value


# ---- objects ----


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one object with the knowledge of the catalogues."""

    facts: Sequence[CheckFacts]
    inputs: Sequence[Parameter]

    def read(self, value: Any) -> tuple[Served | None, list[Problem]]:
        """The object, or what is wrong with it; neither for an object that is not ours."""
        if not isinstance(value, Mapping):
            return None, [Problem((), f"{_shown(value)} is not an object: apiVersion, kind, metadata and spec")]
        if not _is_ours(value):
            return None, []
        unplain, found = list(_unplain(value, ())), list(_envelope(value))
        kind = _KINDS.get(str(value.get("kind")))
        if kind is None or (unplain and not all(problem.path for problem in unplain)):
            return None, [*found, *unplain]
        known = {problem.path for problem in (*unplain, *found)}
        try:
            read = kind.model_validate_json(json.dumps(value), strict=True, by_alias=True, by_name=False)
        except ValidationError as error:
            shape = (_problem(kind, entry) for entry in error.errors(include_url=False))
            return None, [*found, *unplain, *(problem for problem in shape if problem.path not in known)]
        examination = _Examination(self.facts, self.inputs)
        rest = list(examination.of_part(read.spec, ("spec",)))
        if isinstance(read, ReadinessAttestation):
            rest += examination.lifetime(read)
        return read, [*found, *unplain, *rest]


def _is_ours(value: Mapping[str, Any]) -> bool:
    """Whether somebody meant one of our kinds, spelled right or not."""
    group = str(value.get("apiVersion") or "").partition("/")[0]
    if "apiVersion" not in value:
        return bool(get_close_matches(str(value.get("kind")), _KINDS, n=1, cutoff=0.8))
    return group == GROUP or bool(get_close_matches(group, [GROUP], n=1, cutoff=0.8))


def _unplain(value: Any, path: Path) -> Iterator[Problem]:
    """What JSON cannot hold or the API server would not take: keys that are no text, infinite numbers, empty values."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            if isinstance(key, str):
                yield from _unplain(child, (*path, key))
            else:
                yield Problem(path, f"the key {_shown(key)} is not a text: put it in quotes")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _unplain(child, (*path, index))
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(path, f"{value} is not a number that JSON can hold")
    elif value is None and path[:1] == ("spec",):
        yield Problem(path, "it is empty: give a value or remove the field")


def _envelope(value: Mapping[str, Any]) -> Iterator[Problem]:
    """Everything about an object but its spec and status."""
    kind = value.get("kind")
    if value.get("apiVersion") != API_VERSION:
        yield Problem(("apiVersion",), f"{_shown(value.get('apiVersion'))} is not {API_VERSION}")
    if kind not in _KINDS:
        yield Problem(("kind",), f"there is no kind {_shown(kind)}; {_near(str(kind), _KINDS)}")
        return
    yield from _unknown(value, _TOP, ())
    metadata = value.get("metadata")
    if not isinstance(metadata, Mapping):
        yield Problem(("metadata",), "metadata with a name is missing")
        return
    yield from _unknown(metadata, _METADATA, ("metadata",))
    name = metadata.get("name")
    if not name:
        yield Problem(("metadata", "name"), "a name is missing")
    elif not isinstance(name, str) or _OBJECT_NAME.fullmatch(name) is None:
        what = "is not a Kubernetes name: lower-case letters, digits, hyphens and dots"
        yield Problem(("metadata", "name"), f"{_shown(name)} {what}")
    if metadata.get("namespace") and _KINDS[str(kind)].definition.scope == "Cluster":
        yield Problem(("metadata", "namespace"), f"{kind} belongs to no namespace: remove the field")
    if not isinstance(value.get("spec"), Mapping):
        yield Problem(("spec",), "the spec is missing")


def _unknown(value: Mapping[Any, Any], known: Iterable[str], path: Path) -> Iterator[Problem]:
    names = list(known)
    for name in value:
        if isinstance(name, str) and name not in names:
            yield Problem((*path, name), f"there is no field {_shown(name)}; {_near(name, names)}")


# ---- shapes, as pydantic sees them ----


def _problem(kind: type[CustomResource], error: Any) -> Problem:
    path: Path = tuple(error["loc"])
    given = error["input"]
    context = error.get("ctx") or {}
    say = _SENTENCES.get(error["type"])
    if error["type"] == "extra_forbidden":
        known = _fields_at(kind, path[:-1])
        what = f"there is no field {_shown(path[-1])}; {_near(str(path[-1]), known)}"
    elif error["type"] == "missing":
        described = _fields_at(kind, path[:-1]).get(str(path[-1]))
        what = "it is required" + (f": {described}" if described else "")
    else:
        what = say(given, context) if say else f"{_shown(given)}: {error['msg']}"
    return Problem(path, what)


def _expected(given: Any, context: Mapping[str, Any]) -> str:
    allowed = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    return f"{_shown(given)} is not one of {', '.join(allowed)}{_suggestion(str(given), allowed)}"


def _is_not(what: str) -> Callable[[Any, Mapping[str, Any]], str]:
    return lambda given, _: f"{_shown(given)} is not {what}"


def _length(given: Any, context: Mapping[str, Any]) -> str:
    bound = "at most" if "max_length" in context else "at least"
    count = context.get("max_length", context.get("min_length"))
    noun = "characters" if isinstance(given, str) else "entries"
    return f"it has {len(given)} {noun}, {bound} {count} are allowed"


_TEXT = _is_not("a text: put it in quotes")
_MAP = _is_not("a map of fields")
_WHOLE = _is_not("a whole number")
_SENTENCES: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "shape": lambda _, context: str(context["what"]),
    "enum": _expected,
    "literal_error": _expected,
    "string_type": _TEXT,
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _is_not("a number"),
    "bool_type": _is_not("true or false"),
    "list_type": _is_not("a list"),
    "dict_type": _MAP,
    "model_type": _MAP,
    "model_attributes_type": _MAP,
    "too_long": _length,
    "too_short": _length,
    "string_too_long": _length,
    "string_too_short": _length,
    "greater_than_equal": lambda given, context: f"{_shown(given)} is less than {context['ge']:g}",
    "less_than_equal": lambda given, context: f"{_shown(given)} is more than {context['le']:g}",
}


def _fields_at(kind: type[BaseModel], path: Path) -> dict[str, str]:
    """The fields that exist at a path, by their name in YAML, with their descriptions."""
    model: Any = kind
    for part in path:
        if isinstance(part, int):
            continue
        named = {_alias(name, field): field for name, field in model.model_fields.items()}
        model = _model_in(named[part].annotation)
        if model is None:
            return {}
    return {_alias(name, field): field.description or "" for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `list[Annotated[Model, ...]] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for child in get_args(annotation) if (model := _model_in(child)) is not None), None)


def _alias(name: str, field: FieldInfo) -> str:
    return str(field.serialization_alias or field.alias or name)


# ---- constraints, duplicates and the catalogues, on what has the right shape ----


@dataclass(frozen=True, slots=True)
class _Examination:
    facts: Sequence[CheckFacts]
    inputs: Sequence[Parameter]

    def of_part(self, part: Declared, path: Path) -> Iterator[Problem]:
        """Everything wrong with a part of a spec and the parts in it."""
        for name, field in type(part).model_fields.items():
            value, at = getattr(part, name), (*path, _alias(name, field))
            yield from self._of_value(value, field.annotation, field.metadata, at)
            yield from _repeated(value, field.json_schema_extra, at)
        for constraint in type(part).constraints:
            if constraint.holds is not None and not constraint.holds(part):
                at = (*path, constraint.at) if constraint.at else path
                yield Problem(
                    at, f"it is required: {constraint.message}" if constraint.required else constraint.message
                )

    def _of_value(self, value: Any, annotation: Any, metadata: Iterable[Any], path: Path) -> Iterator[Problem]:
        if value is None:
            return
        for entry in metadata:
            if isinstance(entry, Constraint) and entry.holds is not None and not entry.holds(value):
                yield Problem(path, entry.message)
            elif isinstance(entry, Slot):
                yield from self._of_slot(entry, value, path)
        origin, inside = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            yield from self._of_value(value, inside[0], inside[1:], path)
        elif origin in (Union, types.UnionType):
            for option in inside:
                if option is not type(None):
                    yield from self._of_value(value, option, (), path)
        elif isinstance(value, Declared):
            yield from self.of_part(value, path)
        elif origin is list:
            for index, item in enumerate(value):
                yield from self._of_value(item, inside[0], (), (*path, index))

    def _of_slot(self, slot: Slot, value: Any, path: Path) -> Iterator[Problem]:
        match slot:
            case Slot.CHECK:
                yield from self._check(value, path)
            case Slot.OPTIONAL_CHECK:
                yield from self._optional(value, path)
            case Slot.ATTESTABLE_CHECK:
                yield from self._attestable(value, path)
            case Slot.PARAMETERS | Slot.FLOORS:
                for check, values in value.items():
                    yield from self._parameters(check, values, (*path, check))
            case Slot.INPUTS:
                yield from _values(value, self.inputs, "input", path)

    def _check(self, check: str, path: Path) -> Iterator[Problem]:
        ids = [fact.id for fact in self.facts]
        if check not in ids:
            yield Problem(path, f"there is no check {_shown(check)}; {_near(check, ids)}")

    def _optional(self, check: str, path: Path) -> Iterator[Problem]:
        optional = [fact.id for fact in self.facts if fact.optional]
        if check in optional:
            return
        if any(fact.id == check for fact in self.facts):
            yield Problem(path, f"{check} is judged anyway; checks to ask for: {', '.join(optional) or 'none'}")
        else:
            yield from self._check(check, path)

    def _attestable(self, check: str, path: Path) -> Iterator[Problem]:
        known = {fact.id: fact.attestable_days for fact in self.facts}
        if check not in known:
            yield from self._check(check, path)
        elif known[check] is None:
            takers = ", ".join(sorted(one for one, days in known.items() if days is not None))
            yield Problem(path, f"{check} takes no attestation; waive it, or attest one of {takers or 'none'}")

    def lifetime(self, attestation: ReadinessAttestation) -> Iterator[Problem]:
        """An attestation that lasts longer than its check allows."""
        spec = attestation.spec
        days = next((fact.attestable_days for fact in self.facts if fact.id == spec.check), None)
        if days is not None and spec.expires_at - spec.issued_at > timedelta(days=days):
            yield Problem(("spec", "expiresAt"), f"an attestation of {spec.check} lasts at most {days} days")

    def _parameters(self, check: str, values: Mapping[str, Any], path: Path) -> Iterator[Problem]:
        fact = next((fact for fact in self.facts if fact.id == check), None)
        if fact is None:
            yield from self._check(check, path)
        elif not fact.parameters:
            yield Problem(path, f"{check} has no parameters")
        else:
            yield from _values(values, fact.parameters, "parameter", path)


def _values(values: Mapping[str, Any], parameters: Sequence[Parameter], noun: str, path: Path) -> Iterator[Problem]:
    known = {parameter.name: parameter for parameter in parameters}
    for name, value in values.items():
        if name not in known:
            yield Problem((*path, name), f"there is no {noun} {_shown(name)}; {_near(name, known)}")
            continue
        for fault in faults(known[name], value):
            yield Problem((*path, name, *fault.at), fault.what)


def _repeated(value: Any, extra: Any, path: Path) -> Iterator[Problem]:
    """Entries that a set or a map list has twice."""
    if not isinstance(value, list) or not isinstance(extra, Mapping):
        return
    seen: list[Any] = []
    keys = extra.get("x-kubernetes-list-map-keys")
    for index, entry in enumerate(value):
        key = {name: getattr(entry, name) for name in keys} if isinstance(keys, list) else entry
        if key in seen and extra.get("x-kubernetes-list-type") in ("set", "map"):
            shown = ", ".join(str(part) for part in key.values()) if isinstance(key, dict) else str(key)
            yield Problem((*path, index), f"{shown} is there twice")
        seen.append(key)


# ---- words ----


def _near(name: str, known: Iterable[str]) -> str:
    """The nearest spelling, or all there is where nothing is near."""
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    if len(names) > 20:
        return "`passmuster checks` lists them all"
    return f"there are {', '.join(sorted(names))}" if names else "there are none"


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _shown(value: Any) -> str:
    """A value as a person wrote it, shortened."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:60]!r}…"
    if value is None:
        return "nothing"
    shown = json.dumps(value, default=str, ensure_ascii=False)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
