"""What CloudFormation's resource schemas say, from the copies that cfn-lint bundles, read one file per type.

change_sets.py asks which properties can only be set at creation, engine.py which properties and values exist at all.
cfn-lint itself is not imported: that takes seconds, and only its data is wanted.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema of one resource type. Paths are property names joined by `/`."""

    type_name: str
    document: Mapping[str, Any]

    def _paths(self, keyword: str) -> frozenset[str]:
        return frozenset(path.removeprefix("/properties/") for path in self.document.get(keyword, ()))

    @property
    def create_only(self) -> frozenset[str]:
        return self._paths("createOnlyProperties")

    @property
    def sometimes_create_only(self) -> frozenset[str]:
        return self._paths("conditionalCreateOnlyProperties")

    @property
    def read_only(self) -> frozenset[str]:
        return self._paths("readOnlyProperties")

    @property
    def write_only(self) -> frozenset[str]:
        return self._paths("writeOnlyProperties")

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The properties that together identify a resource of this type, in order."""
        paths = self.document.get("primaryIdentifier", ())
        return tuple(path.removeprefix("/properties/") for path in paths)

    @property
    def tag_property(self) -> str:
        """The property that carries tags, "" if the type has none."""
        tagging = self.document.get("tagging", {})
        if not tagging.get("taggable", self.document.get("taggable", True)):
            return ""
        name = str(tagging.get("tagProperty", "/properties/Tags")).removeprefix("/properties/")
        return name if name in self.document.get("properties", {}) else ""

    def problems(self, properties: Mapping[str, Any]) -> list[str]:
        """What is wrong with the resolved properties, in CloudFormation's words; empty if nothing is."""
        return list(self._problems(self.document, properties, "#"))

    def _problems(self, schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
        schema = self._dereferenced(schema)
        if isinstance(value, Mapping):
            yield from self._object_problems(schema, value, path)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from self._problems(schema.get("items", {}), item, f"{path}/{index}")
        elif "enum" in schema and str(value) not in [str(allowed) for allowed in schema["enum"]]:
            yield f"{path}: {value} is not a valid enum value"

    def _object_problems(self, schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
        known = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{path}: required key [{name}] not found"
        for name, inner in value.items():
            if name in known:
                yield from self._problems(known[name], inner, f"{path}/{name}")
            elif known and schema.get("additionalProperties") is False and not schema.get("patternProperties"):
                yield f"{path}: extraneous key [{name}] is not permitted"

    def _dereferenced(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            target: Any = self.document
            for part in str(schema["$ref"]).removeprefix("#/").split("/"):
                target = target[part]
            schema = target
        return schema


@cache
def _directory() -> Path:
    spec = find_spec("cfnlint")
    if spec is None or spec.origin is None:
        raise RuntimeError("cfn-lint is not installed; moto[all] brings it, and with it the resource schemas")
    return Path(spec.origin).parent / "data" / "schemas"


@cache
def _files() -> Mapping[str, str]:
    known: Mapping[str, str] = json.loads((_directory() / "providers" / f"{_REGION}.json").read_text())
    return known


@cache
def schema_of(type_name: str) -> Schema | None:
    """The schema of a type, None if AWS has no such type."""
    name = _files().get(type_name)
    if name is None:
        return None
    return Schema(type_name, json.loads((_directory() / "resources" / f"{name}.json").read_text()))
