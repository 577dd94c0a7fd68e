"""What an update would change: the lines of a change set, as CloudFormation tells them before it does anything.

api.py asks when a change set is created. Properties are resolved against the stack as it is; what only a new or a
replaced resource will know stays AFTER_APPLY, as in AWS. Whether a change replaces a resource comes from the
create-only properties of the resource schemas.
"""

import json
from collections.abc import Mapping
from typing import Any

from passmuster.sandbox.emulation.stacks import engine, templates
from passmuster.sandbox.emulation.stacks.kinds import Kind
from passmuster.sandbox.emulation.stacks.model import Change, Properties, Request, Resource, Stack
from passmuster.sandbox.emulation.stacks.templates import AFTER_APPLY

_KEPT = ("Retain", "RetainExceptOnCreate")
_REPLACEMENT = {"Always": "True", "Conditionally": "Conditional", "Never": "False"}
_PARTS = {
    "Metadata": "Metadata",
    "CreationPolicy": "CreationPolicy",
    "UpdatePolicy": "UpdatePolicy",
    "DeletionPolicy": "DeletionPolicy",
    "UpdateReplacePolicy": "UpdateReplacePolicy",
}


def changes(driver: engine.Engine, stack: Stack, request: Request) -> list[Change]:
    """Every resource that would be added, imported, modified or removed."""
    return _Preview(driver, stack, request).lines()


class _Preview:
    """One comparison of a stack with what is asked of it."""

    def __init__(self, driver: engine.Engine, stack: Stack, request: Request) -> None:
        self.driver, self.stack, self.request = driver, stack, request
        self.renewed: set[str] = set()
        self.resolver = driver.resolver(stack, request)
        self.resolver.ref = self._ref
        self.resolver.attribute = self._attribute

    def _ref(self, logical_id: str) -> Any:
        if logical_id in self.request.imports:
            return self.request.imports[logical_id]
        known = logical_id in self.stack.resources and logical_id not in self.renewed
        return self.stack.resources[logical_id].physical_id if known else AFTER_APPLY

    def _attribute(self, logical_id: str, name: str) -> Any:
        known = logical_id in self.stack.resources and logical_id not in self.renewed
        return engine.attribute_of(self.stack.resources[logical_id], name) if known else AFTER_APPLY

    def lines(self) -> list[Change]:
        template = self.request.template
        found: dict[str, Change | None] = {}
        for logical_id in template.in_order():
            if engine.holds(self.resolver, template.resources[logical_id]):
                found[logical_id] = self._line(logical_id, template.resources[logical_id])
        removed = [self._removal(resource) for name, resource in self.stack.resources.items() if name not in found]
        return [line for name in template.resources if (line := found.get(name))] + removed

    def _line(self, logical_id: str, definition: Mapping[str, Any]) -> Change | None:
        properties: Properties = self.resolver.value(definition.get("Properties", {}))
        existing = self.stack.resources.get(logical_id)
        if existing is None:
            self.renewed.add(logical_id)
            return self._addition(logical_id, definition, properties)
        return self._modification(existing, definition, properties)

    def _addition(self, logical_id: str, definition: Mapping[str, Any], properties: Properties) -> Change:
        imported = self.request.imports.get(logical_id, "")
        action = "Import" if imported else "Add"
        return Change(action, logical_id, definition["Type"], imported, after=_context(definition, properties))

    def _removal(self, resource: Resource) -> Change:
        return Change(
            "Remove",
            resource.logical_id,
            resource.type,
            resource.physical_id,
            policy_action="Retain" if resource.deletion_policy in _KEPT else "Delete",
            before=_context(resource.definition, resource.properties),
        )

    def _modification(self, resource: Resource, definition: Mapping[str, Any], new: Properties) -> Change | None:
        kind = self.driver.kinds[resource.type]
        if resource.generated_name and kind.name_property not in new:
            new = {**new, kind.name_property: resource.generated_name}
        if definition["Type"] != resource.type:
            raise templates.invalid(
                f"Update of resource type is not permitted. The new template modifies resource type of the following "
                f"resources: [{resource.logical_id}]"
            )
        names = engine.changed_names(resource.properties, new)
        parts = [name for name in _PARTS if definition.get(name) != resource.definition.get(name)]
        tagged = dict(self.request.tags) != self.stack.tags and bool(kind.schema.tag_property)
        if not names and not parts and not tagged:
            return None
        return self._modified(kind, resource, definition, new, parts, tagged=tagged)

    def _modified(
        self,
        kind: Kind,
        resource: Resource,
        definition: Mapping[str, Any],
        new: Properties,
        parts: list[str],
        *,
        tagged: bool,
    ) -> Change:
        names = engine.changed_names(resource.properties, new)
        always = engine.replacement_of(kind, resource.properties, new)
        tag_property = kind.schema.tag_property
        scope = ["Properties"] if set(names) - {tag_property} else []
        scope += ["Tags"] if tagged or tag_property in names else []
        details = [self._detail(kind, resource, definition, name, new) for name in names]
        details += [{"Target": {"Attribute": part, "RequiresRecreation": "Never"}} for part in parts]
        if tagged and tag_property not in names:
            details.append({"Target": {"Attribute": "Tags", "RequiresRecreation": "Never"}})
        if always == "Always":
            self.renewed.add(resource.logical_id)
        return Change(
            "Modify",
            resource.logical_id,
            resource.type,
            resource.physical_id,
            replacement=_REPLACEMENT[always],
            scope=scope + parts,
            details=details,
            policy_action=_replaces(resource) if always == "Always" else "",
            before=_context(resource.definition, _written(kind, resource, resource.properties)),
            after=_context(definition, _written(kind, resource, new)),
        )

    def _detail(
        self, kind: Kind, resource: Resource, definition: Mapping[str, Any], name: str, new: Properties
    ) -> dict[str, Any]:
        old_value, new_value = resource.properties.get(name), new.get(name)
        schema = kind.schema
        recreation = "Never"
        if engine.recreates(schema.sometimes_create_only, name, old_value, new_value):
            recreation = "Conditionally"
        if engine.recreates(schema.create_only, name, old_value, new_value):
            recreation = "Always"
        target = {
            "Attribute": "Tags" if name == schema.tag_property else "Properties",
            "Name": name,
            "RequiresRecreation": recreation,
            "Path": f"/Properties/{name}",
            "BeforeValue": _told(old_value),
            "AfterValue": _told(new_value),
            "AttributeChangeType": "Add" if old_value is None else "Remove" if new_value is None else "Modify",
        }
        return {"Target": {k: v for k, v in target.items() if v is not None}, **self._cause(resource, definition, name)}

    def _cause(self, resource: Resource, definition: Mapping[str, Any], name: str) -> dict[str, str]:
        """Why a property differs: the template changed, or something it refers to."""
        raw = definition.get("Properties", {}).get(name)
        if raw != resource.definition.get("Properties", {}).get(name):
            return {"Evaluation": "Static", "ChangeSource": "DirectModification"}
        before = self.stack.request.parameters if self.stack.request else {}
        for reference in templates.references(raw):
            if self.request.parameters.get(reference) != before.get(reference):
                return {"Evaluation": "Static", "ChangeSource": "ParameterReference", "CausingEntity": reference}
            if reference in self.renewed:
                return {"Evaluation": "Dynamic", "ChangeSource": "ResourceReference", "CausingEntity": reference}
        return {"Evaluation": "Static", "ChangeSource": "DirectModification"}


def _written(kind: Kind, resource: Resource, properties: Properties) -> Properties:
    """The properties that a template gives: a generated name is not one of them."""
    hidden = kind.name_property if resource.generated_name else ""
    return {name: value for name, value in properties.items() if name != hidden}


def _replaces(resource: Resource) -> str:
    return "ReplaceAndRetain" if resource.replace_policy in _KEPT else "ReplaceAndDelete"


def _context(definition: Mapping[str, Any], properties: Properties) -> dict[str, Any]:
    rest = {
        name: definition[name] for name in ("DeletionPolicy", "UpdateReplacePolicy", "Metadata") if name in definition
    }
    return {"Properties": properties, **rest}


def _told(value: Any) -> str | None:
    if value is None:
        return None
    return json.dumps(value, default=str) if isinstance(value, dict | list) else templates.text_of(value)
