"""Reads CloudFormation templates and resolves their functions.

change_sets.py resolves a template before anything exists (references to what will be made become AFTER_APPLY, as in
AWS's own change sets), engine.py while it makes the resources. Errors carry CloudFormation's sentences.
"""

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from passmuster.sandbox.emulation.wire import AWSError

AFTER_APPLY = "{{changeSet:KNOWN_AFTER_APPLY}}"
NO_VALUE = object()
_SECTIONS = {
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Hooks",
    "Mappings",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Rules",
    "Transform",
}
_ATTRIBUTES = {
    "Condition",
    "CreationPolicy",
    "DeletionPolicy",
    "DependsOn",
    "Metadata",
    "Properties",
    "Type",
    "UpdatePolicy",
    "UpdateReplacePolicy",
}
_PSEUDO = {
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
}
_DYNAMIC = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^}]+)\}\}")
_SUBSTITUTED = re.compile(r"\$\{(!?)([^}]+)\}")


def invalid(message: str) -> AWSError:
    return AWSError("ValidationError", message, 400)


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, and dates left as text."""


def _short_function(loader: Any, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


def _text_of_scalar(loader: Any, node: Any) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_multi_constructor("!", _short_function)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text_of_scalar)


@dataclass(frozen=True, slots=True)
class Template:
    """A template that is well-formed: its sections exist and its references lead somewhere."""

    body: str
    document: Mapping[str, Any]

    @property
    def resources(self) -> Mapping[str, Mapping[str, Any]]:
        return self.document["Resources"]  # type: ignore[no-any-return]

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        return self.document.get("Parameters") or {}

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Any]]:
        return self.document.get("Outputs") or {}

    @property
    def conditions(self) -> Mapping[str, Any]:
        return self.document.get("Conditions") or {}

    @property
    def description(self) -> str:
        return str(self.document.get("Description", ""))

    def dependencies(self, logical_id: str) -> set[str]:
        """The resources that must exist before this one."""
        resource = self.resources[logical_id]
        named = resource.get("DependsOn", [])
        explicit = {named} if isinstance(named, str) else set(named)
        return (explicit | set(references(resource.get("Properties", {})))) & set(self.resources) - {logical_id}

    def in_order(self) -> list[str]:
        """Logical ids, each after what it depends on."""
        ordered: list[str] = []
        waiting = {logical_id: self.dependencies(logical_id) for logical_id in self.resources}
        while waiting:
            free = [logical_id for logical_id, needs in waiting.items() if needs <= set(ordered)]
            if not free:
                raise invalid(f"Circular dependency between resources: [{', '.join(sorted(waiting))}]")
            ordered += free
            for logical_id in free:
                del waiting[logical_id]
        return ordered


def parse(body: str) -> Template:
    """The template, checked as CloudFormation does before it looks at any value."""
    try:
        document = yaml.load(body, Loader=_Loader)
    except yaml.YAMLError as error:
        raise invalid(f"Template format error: YAML not well-formed. ({error})") from error
    if not isinstance(document, dict):
        raise invalid("Template format error: unsupported structure.")
    if unknown := sorted(set(document) - _SECTIONS):
        raise invalid(f"Invalid template property or properties [{', '.join(unknown)}]")
    if not document.get("Resources"):
        raise invalid("Template format error: At least one Resources member must be defined.")
    if "Transform" in document:
        raise invalid("the sandbox runs no template macros: Transform is not emulated")
    template = Template(body, document)
    _check(template)
    return template


def _check(template: Template) -> None:
    known = {*template.resources, *template.parameters, *_PSEUDO}
    for logical_id, resource in template.resources.items():
        _check_resource(template, logical_id, resource)
        if missing := sorted(set(references(resource)) - known):
            raise invalid(
                f"Template format error: Unresolved resource dependencies [{', '.join(missing)}] in the Resources "
                "block of the template"
            )
    if missing := sorted(set(references(template.outputs)) - known):
        raise invalid(f"Unresolved resource dependencies [{', '.join(missing)}] in the Outputs block of the template")
    template.in_order()


def _check_resource(template: Template, logical_id: str, resource: Any) -> None:
    if not isinstance(resource, dict) or "Type" not in resource:
        raise invalid(f"Template format error: [/Resources/{logical_id}] Every Resources object must contain a Type")
    if not logical_id.isalnum():
        raise invalid(f"Template format error: Resource name {logical_id} is non alphanumeric.")
    if unknown := sorted(set(resource) - _ATTRIBUTES):
        raise invalid(f"Invalid template resource property '{unknown[0]}'")
    condition = resource.get("Condition")
    if condition is not None and condition not in template.conditions:
        raise invalid(f"Template format error: Unresolved condition dependencies [{condition}] in the Resources block")


def references(value: Any) -> Iterator[str]:
    """Every name that a Ref, GetAtt or Sub in the value refers to."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    if not isinstance(value, Mapping):
        return
    for key, inner in value.items():
        if key == "Ref":
            yield str(inner)
        elif key == "Fn::GetAtt":
            yield str(inner[0])
        elif key == "Fn::Sub":
            yield from _substituted(inner)
        else:
            yield from references(inner)


def _substituted(value: Any) -> Iterator[str]:
    text, variables = value if isinstance(value, list) else (value, {})
    for literal, name in _SUBSTITUTED.findall(text):
        if not literal and name not in variables:
            yield name.split(".")[0]
    yield from references(variables)


@dataclass(slots=True)
class Resolver:
    """Resolves the functions of one template in one place.

    `ref` and `attribute` tell of resources; `exports` are the region's exported outputs; `secret` resolves dynamic
    references (service, reference).
    """

    template: Template
    parameters: Mapping[str, Any]
    pseudo: Mapping[str, Any]
    ref: Callable[[str], Any]
    attribute: Callable[[str, str], Any]
    exports: Mapping[str, str] = field(default_factory=dict)
    secret: Callable[[str, str], str] | None = None

    def value(self, node: Any) -> Any:
        """The node with every function in it resolved; NO_VALUE members are left out."""
        if isinstance(node, str):
            return self._dynamic(node)
        if isinstance(node, list):
            return [item for item in map(self.value, node) if item is not NO_VALUE]
        if not isinstance(node, Mapping):
            return node
        if len(node) == 1:
            ((name, inner),) = node.items()
            if name == "Ref":
                return self._ref(str(inner))
            if name == "Condition" and isinstance(inner, str) and inner in self.template.conditions:
                return self.condition(inner)
            if name.startswith("Fn::"):
                return self._function(name, inner)
        resolved = {key: self.value(inner) for key, inner in node.items()}
        return {key: inner for key, inner in resolved.items() if inner is not NO_VALUE}

    def condition(self, name: str) -> bool:
        if name not in self.template.conditions:
            raise invalid(f"Template format error: Unresolved condition dependency {name}")
        return bool(self.value(self.template.conditions[name]))

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        return self.parameters[name] if name in self.parameters else self.ref(name)

    def _function(self, name: str, inner: Any) -> Any:
        function = _FUNCTIONS.get(name)
        if function is None:
            raise invalid(f"Template format error: Unrecognized function {name}")
        return function(self, inner)

    def _dynamic(self, text: str) -> str:
        if "{{resolve:" not in text or self.secret is None:
            return text
        resolve = self.secret
        return _DYNAMIC.sub(lambda match: resolve(match[1], match[2]), text)

    # functions -----------------------------------------------------------------------------------------------------

    def get_att(self, inner: list[Any]) -> Any:
        return self.attribute(str(inner[0]), str(self.value(inner[1])))

    def sub(self, inner: Any) -> str:
        text, variables = inner if isinstance(inner, list) else (inner, {})
        local = {name: self.value(value) for name, value in variables.items()}

        def replaced(match: re.Match[str]) -> str:
            literal, name = match[1], match[2].strip()
            if literal:
                return f"${{{match[2]}}}"
            if name in local:
                return text_of(local[name])
            if "." in name and name.split(".")[0] in self.template.resources:
                return text_of(self.attribute(*name.split(".", 1)))
            return text_of(self._ref(name))

        return self._dynamic(_SUBSTITUTED.sub(replaced, text))

    def join(self, inner: list[Any]) -> str:
        return str(inner[0]).join(text_of(item) for item in self.value(inner[1]))

    def select(self, inner: list[Any]) -> Any:
        index, items = int(self.value(inner[0])), self.value(inner[1])
        if isinstance(items, str):
            return items  # a list that is only known after apply
        if index >= len(items):
            raise invalid("Template error: Fn::Select cannot select nonexistent value at index " + str(index))
        return items[index]

    def split(self, inner: list[Any]) -> list[str]:
        return str(self.value(inner[1])).split(inner[0])

    def find_in_map(self, inner: list[Any]) -> Any:
        mapping, top, second = (self.value(part) for part in inner[:3])
        try:
            return self.template.document["Mappings"][mapping][top][second]
        except KeyError as missing:
            raise invalid(f"Template error: Unable to get mapping for {mapping}::{top}::{second}") from missing

    def if_(self, inner: list[Any]) -> Any:
        return self.value(inner[1] if self.condition(inner[0]) else inner[2])

    def import_value(self, inner: Any) -> str:
        name = str(self.value(inner))
        if name not in self.exports:
            raise invalid(f"No export named {name} found.")
        return self.exports[name]

    def azs(self, inner: Any) -> list[str]:
        region = self.value(inner) or self.pseudo["AWS::Region"]
        return [f"{region}{zone}" for zone in "abc"]

    def cidr(self, inner: list[Any]) -> list[str]:
        block, count, bits = (self.value(part) for part in [*inner, 8][:3])
        network = ipaddress.ip_network(block)
        subnets = network.subnets(new_prefix=network.max_prefixlen - int(bits))
        return [str(next(subnets)) for _ in range(int(count))]

    def equals(self, inner: list[Any]) -> bool:
        left, right = (text_of(self.value(side)) for side in inner)
        return left == right


_FUNCTIONS: Mapping[str, Callable[[Resolver, Any], Any]] = {
    "Fn::GetAtt": Resolver.get_att,
    "Fn::Sub": Resolver.sub,
    "Fn::Join": Resolver.join,
    "Fn::Select": Resolver.select,
    "Fn::Split": Resolver.split,
    "Fn::FindInMap": Resolver.find_in_map,
    "Fn::If": Resolver.if_,
    "Fn::ImportValue": Resolver.import_value,
    "Fn::GetAZs": Resolver.azs,
    "Fn::Cidr": Resolver.cidr,
    "Fn::Base64": lambda self, inner: base64.b64encode(text_of(self.value(inner)).encode()).decode(),
    "Fn::Equals": Resolver.equals,
    "Fn::Not": lambda self, inner: not self.value(inner[0]),
    "Fn::And": lambda self, inner: all(self.value(part) for part in inner),
    "Fn::Or": lambda self, inner: any(self.value(part) for part in inner),
    "Fn::Length": lambda self, inner: len(self.value(inner)),
    "Fn::ToJsonString": lambda self, inner: json.dumps(self.value(inner)),
}


def text_of(value: Any) -> str:
    """A value as CloudFormation writes it into text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(text_of, value)) if isinstance(value, list) else str(value)


def parameter_values(template: Template, given: Mapping[str, str]) -> dict[str, str]:
    """The text of every parameter, from what was given and the defaults, checked against the declarations."""
    if extra := sorted(set(given) - set(template.parameters)):
        raise invalid(f"Parameters: [{', '.join(extra)}] do not exist in the template")
    values = {name: text_of(slot["Default"]) for name, slot in template.parameters.items() if "Default" in slot}
    values.update(given)
    if missing := sorted(set(template.parameters) - set(values)):
        raise invalid(f"Parameters: [{', '.join(missing)}] must have values")
    for name, value in values.items():
        _check_parameter(name, template.parameters[name], value)
    return values


def _check_parameter(name: str, slot: Mapping[str, Any], value: str) -> None:
    reason = slot.get("ConstraintDescription")
    allowed = [text_of(option) for option in slot.get("AllowedValues", [])]
    if allowed and value not in allowed:
        raise invalid(reason or f"Parameter '{name}' must be one of AllowedValues")
    pattern = slot.get("AllowedPattern")
    if pattern and not re.fullmatch(pattern, value):
        raise invalid(reason or f"Parameter {name} failed to satisfy constraint: must match pattern {pattern}")
    if not int(slot.get("MinLength", 0)) <= len(value) <= int(slot.get("MaxLength", 1_000_000)):
        raise invalid(f"Parameter '{name}' must contain the allowed number of characters")
    if slot.get("Type") == "Number":
        _check_number(name, slot, value)


def _check_number(name: str, slot: Mapping[str, Any], value: str) -> None:
    try:
        number = float(value)
    except ValueError as error:
        raise invalid(f"Parameter '{name}' must be a number.") from error
    if not float(slot.get("MinValue", "-inf")) <= number <= float(slot.get("MaxValue", "inf")):
        raise invalid(f"Parameter '{name}' must be a number within its bounds")


def typed(slot: Mapping[str, Any], value: str) -> Any:
    """A parameter's text as Ref gives it: lists are split, numbers stay text."""
    kind = str(slot.get("Type", "String"))
    if kind == "CommaDelimitedList" or kind.startswith("List<"):
        return [item.strip() for item in value.split(",")]
    return value
