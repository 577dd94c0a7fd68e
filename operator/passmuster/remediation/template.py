"""Reads a CloudFormation template far enough to say in words what it will create.

YAML with CloudFormation's short tags is parsed into the long form; conditions over parameters are decided offline, so
that the change announced is the change made.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from passmuster.remediation.definition import InvalidRemediation

FAST: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's loader where it is installed, which is ten times as fast."""


class _Loader(FAST):  # type: ignore[valid-type, misc]
    """YAML with `!Ref`, `!Sub`, `!GetAtt` and the other short tags of CloudFormation."""


def _short_tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    if isinstance(node, yaml.MappingNode):
        return {name: loader.construct_mapping(node, deep=True)}
    raise InvalidRemediation(f"!{suffix} stands before nothing")


_Loader.add_multi_constructor("!", _short_tag)


@lru_cache(maxsize=256)
def parsed(text: str) -> Mapping[str, Any]:
    """The template as a mapping in long form."""
    document = yaml.load(text, Loader=_Loader)
    if not isinstance(document, dict) or "Resources" not in document:
        raise InvalidRemediation("a template has Resources")
    return document


def defaults(text: str) -> dict[str, str]:
    """The parameters of a template that have a default."""
    return {name: str(p["Default"]) for name, p in parsed(text).get("Parameters", {}).items() if "Default" in p}


def declared(text: str) -> frozenset[str]:
    """The names of a template's parameters."""
    return frozenset(parsed(text).get("Parameters", {}))


def resources(text: str, parameters: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """The resources that a stack with these parameters has, by logical id."""
    document = parsed(text)
    values = {**defaults(text), **parameters}
    conditions = document.get("Conditions", {})

    def holds(expression: Any) -> bool:
        if isinstance(expression, str):
            return holds(conditions[expression])
        ((function, argument),) = expression.items()
        match function:
            case "Condition":
                return holds(conditions[argument])
            case "Fn::Equals":
                left, right = (value_of(side) for side in argument)
                return left == right
            case "Fn::Not":
                return not holds(argument[0])
            case "Fn::And":
                return all(holds(one) for one in argument)
            case "Fn::Or":
                return any(holds(one) for one in argument)
        raise InvalidRemediation(f"a condition with {function} cannot be decided offline")

    def value_of(side: Any) -> str:
        if isinstance(side, Mapping):
            ((function, argument),) = side.items()
            if function == "Ref" and argument in values:
                return values[argument]
            raise InvalidRemediation(f"a condition over {function} {argument} cannot be decided offline")
        return str(side)

    return {
        logical: resource
        for logical, resource in document["Resources"].items()
        if "Condition" not in resource or holds(resource["Condition"])
    }


def changes(text: str, parameters: Mapping[str, str]) -> tuple[str, ...]:
    """What the stack adds, in words: `+ AWS::S3::Bucket LogBucket (kept on deletion)`."""
    lines = []
    for logical, resource in resources(text, parameters).items():
        kept = resource.get("DeletionPolicy", "Delete") in ("Retain", "RetainExceptOnCreate")
        lines.append(f"+ {resource['Type']} {logical}" + (" (kept on deletion)" if kept else ""))
    return tuple(lines)
