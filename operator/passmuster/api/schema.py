"""From the models to CustomResourceDefinitions: structural schemas, and rules that fit the API server's budget.

`crds()` is called by `files`, which writes and compares `crds/`. What pydantic writes as JSON Schema is no structural
schema: references are put in place, `anyOf` with null becomes `nullable` in a status and optional in a spec, titles,
constants and null defaults go, and the slots are filled from the catalogues of checks and remediations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from passmuster.api import durations
from passmuster.api.account import AWSAccount
from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.fields import NEVER_OBSERVED, RULES, SLOT, Slot
from passmuster.api.parameters import CheckFacts, JSONSchema, properties_of
from passmuster.api.policy import ReadinessPolicy
from passmuster.api.remediation import Remediation
from passmuster.api.report import ReadinessReport
from passmuster.api.resource import CATEGORY, GROUP, VERSION, Column, CustomResource, Definition
from passmuster.api.waiver import ReadinessWaiver
from passmuster.model.parameter import Parameter

Served = AWSAccount | ReadinessAttestation | ReadinessPolicy | ReadinessReport | ReadinessWaiver | Remediation
"""An object of ours."""

KINDS: tuple[type[Served], ...] = (
    AWSAccount,
    ReadinessPolicy,
    ReadinessReport,
    ReadinessWaiver,
    ReadinessAttestation,
    Remediation,
)
"""Every kind that is served."""

PRESERVE = "x-kubernetes-preserve-unknown-fields"

_ORDER = (
    "description",
    "type",
    "format",
    "nullable",
    "enum",
    "default",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    PRESERVE,
    "required",
    RULES,
    "items",
    "additionalProperties",
    "properties",
)
"""Keywords of a structural schema that we use, in the order in which they are written; no other is allowed."""


def crds(facts: Sequence[CheckFacts], inputs: Sequence[Parameter]) -> list[dict[str, Any]]:
    """The CustomResourceDefinition of every kind, with `facts` of all checks and `inputs` of all remediations."""
    slots = _slots(facts, inputs)
    return [_crd(kind, slots) for kind in KINDS]


def _crd(kind: type[CustomResource], slots: Mapping[Slot, JSONSchema]) -> dict[str, Any]:
    served = kind.definition
    singular = served.kind.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": served.name, "labels": {"app.kubernetes.io/name": "passmuster"}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": served.kind,
                "listKind": f"{served.kind}List",
                "plural": served.plural,
                "singular": singular,
                "shortNames": [served.short],
                "categories": [CATEGORY],
            },
            "scope": served.scope,
            "versions": [_version(kind, served, slots)],
        },
    }


def _version(kind: type[CustomResource], served: Definition, slots: Mapping[Slot, JSONSchema]) -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in served.columns],
        **({"selectableFields": [{"jsonPath": path} for path in served.selectable]} if served.selectable else {}),
        "schema": {"openAPIV3Schema": _object(kind, slots)},
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "jsonPath": column.path,
        **({"priority": 1} if column.wide else {}),
    }


def _object(kind: type[CustomResource], slots: Mapping[Slot, JSONSchema]) -> JSONSchema:
    raw = kind.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions, properties = raw["$defs"], raw["properties"]
    return {
        "description": kind.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"Always {GROUP}/{VERSION}.", "type": "string"},
            "kind": {"description": f"Always {kind.definition.kind}.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": _Converter(definitions, slots, status=False).convert(properties["spec"]),
            "status": _unobserved(_Converter(definitions, slots, status=True).convert(properties["status"])),
        },
    }


def _unobserved(status: JSONSchema) -> JSONSchema:
    """A status that the API server writes into an object without one: kstatus takes an object that does not say which
    generation was observed for current."""
    whole = {**status, "default": {"observedGeneration": NEVER_OBSERVED}}
    return {keyword: whole[keyword] for keyword in _ORDER if keyword in whole}


class _Generator(GenerateJsonSchema):
    """Writes default durations as the custom resources do, not in ISO 8601."""

    def encode_default(self, dft: Any) -> Any:
        return durations.text(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


@dataclass(frozen=True, slots=True)
class _Converter:
    """Turns one part of an object into a structural schema; a status has nullable fields and no defaults in it."""

    definitions: Mapping[str, JSONSchema]
    slots: Mapping[Slot, JSONSchema]
    status: bool

    def convert(self, node: JSONSchema) -> JSONSchema:
        """The structural schema; raises TypeError for what cannot be one."""
        node = self._in_place(node)
        if SLOT in node:
            slot = Slot(node.pop(SLOT))
            node = _merged(node, self.slots[slot]) if slot is Slot.ATTESTATION else _filled(node, self.slots[slot])
        if "properties" in node:
            node["properties"] = {name: self.convert(child) for name, child in node["properties"].items()}
        if "items" in node:
            node["items"] = self.convert(node["items"])
            if node["items"].get("enum") == []:
                node |= {"items": {"type": "string", "maxLength": 63}, "maxItems": 0}
        if isinstance(node.get("additionalProperties"), dict):
            node["additionalProperties"] = self.convert(node["additionalProperties"])
        return self._ordered(node)

    def _in_place(self, node: JSONSchema) -> JSONSchema:
        """The node with references and unions with null resolved; what stands beside a reference wins over it."""
        node = dict(node)
        if "anyOf" in node:
            options = [option for option in node.pop("anyOf") if option != {"type": "null"}]
            if len(options) != 1:
                raise TypeError(f"a union is not structural: {options}")
            node = _merged(options[0], node)
            if self.status:
                node["nullable"] = True
        if "$ref" in node:
            name = node.pop("$ref").rpartition("/")[2]
            return self._in_place(_merged(self.definitions[name], node))
        return node

    def _ordered(self, node: JSONSchema) -> JSONSchema:
        node.pop("title", None)
        if "const" in node:
            node["enum"] = [node.pop("const")]
        if node.get("nullable") and "enum" in node:
            # the API server takes null for none of an enum's values, not even where the enum lists null
            node["pattern"] = f"^({'|'.join(node.pop('enum'))})$"
            node["maxLength"] = 64
        if isinstance(node.get("additionalProperties"), bool):
            node.pop("additionalProperties")
        if "maxProperties" in node and node.get("properties"):
            node.pop("maxProperties")
        if "default" in node:
            node |= {"default": self._default(node)}
            if node["default"] is None:
                node.pop("default")
        if unknown := set(node) - set(_ORDER):
            raise TypeError(f"not keywords of a structural schema: {sorted(unknown)}")
        return {keyword: node[keyword] for keyword in _ORDER if keyword in node}

    def _default(self, node: JSONSchema) -> Any:
        """What the API server shall write into objects: nothing empty, and an object only for the defaults in it."""
        if self.status or node["default"] in ([], None):
            return None
        if isinstance(node["default"], dict):
            return {} if any("default" in child for child in node.get("properties", {}).values()) else None
        return node["default"]


def _merged(under: JSONSchema, over: JSONSchema) -> JSONSchema:
    rules = [*under.get(RULES, []), *over.get(RULES, [])]
    return {**under, **over, **({RULES: rules} if rules else {})}


def _filled(node: JSONSchema, content: JSONSchema) -> JSONSchema:
    kept = {keyword: value for keyword, value in node.items() if keyword in ("description", RULES)}
    return {**kept, **content}


def _slots(facts: Sequence[CheckFacts], inputs: Sequence[Parameter]) -> dict[Slot, JSONSchema]:
    return {
        Slot.CHECK: _ids(check.id for check in facts),
        Slot.OPTIONAL_CHECK: _ids(check.id for check in facts if check.optional),
        Slot.ATTESTABLE_CHECK: _ids(check.id for check in facts if check.attestable_days is not None),
        Slot.ATTESTATION: {RULES: [_lifetime(facts)]},
        Slot.PARAMETERS: _by_check(facts, "Parameters of {check}."),
        Slot.FLOORS: _by_check(facts, "Loosest parameters that policies may use for {check}."),
        Slot.INPUTS: {"type": "object", "properties": properties_of(tuple(inputs))},
    }


def _ids(ids: Iterable[str]) -> JSONSchema:
    return {"type": "string", "enum": sorted(ids)}


def _lifetime(facts: Sequence[CheckFacts]) -> JSONSchema:
    """The rule that an attestation lasts no longer than its check allows."""
    days = {check.id: check.attestable_days for check in facts if check.attestable_days is not None}
    hours = ", ".join(f"'{check}': '{24 * most}h'" for check, most in sorted(days.items()))
    told = ", ".join(f"'{check}': '{most}'" for check, most in sorted(days.items()))
    return {
        "rule": f"self.expiresAt - self.issuedAt <= duration({{{hours}}}[self.check])",
        "message": "the attestation lasts longer than its check allows: let it expire earlier",
        "messageExpression": "'an attestation of ' + self.check + ' lasts at most ' + "
        f"{{{told}}}[self.check] + ' days'",
        "fieldPath": ".expiresAt",
    }


def _by_check(facts: Sequence[CheckFacts], description: str) -> JSONSchema:
    return {
        "type": "object",
        "properties": {
            check.id: {
                "description": description.format(check=check.id),
                "type": "object",
                "properties": properties_of(check.parameters),
            }
            for check in sorted(facts, key=lambda c: c.id)
            if check.parameters
        },
    }
