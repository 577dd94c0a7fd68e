"""How a CloudFormation resource type is created, read, updated and deleted in the simulated AWS.

A kind calls the API of the simulated AWS as the real resource handlers do; nothing else makes resources. Most types
are `Simple`: a create, a read, an update and a delete operation, whose parameters are taken from the properties by the
operation's own input shape. A property that reaches no operation is refused, so that nothing is silently dropped.
catalogue/ holds the types; engine.py drives them.
"""

import io
import json
import secrets
import string
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import jmespath
from botocore import xform_name
from botocore.exceptions import ClientError

from passmuster.sandbox.emulation import wire
from passmuster.sandbox.emulation.operation import Place
from passmuster.sandbox.emulation.stacks.model import Properties
from passmuster.sandbox.emulation.stacks.schemas import Schema, schema_of
from passmuster.sandbox.emulation.stacks.templates import text_of

_Read = TypeVar("_Read")
_SUFFIX = string.ascii_letters + string.digits
_GONE = ("notfound", "nosuch", "doesnotexist", "nonexist", "invaliddocument", "404")


class Refused(Exception):
    """A resource handler that cannot do what is asked; the stack operation fails with this sentence."""


@dataclass(slots=True)
class Work:
    """One resource being worked on: where, for which stack, with which tags of the stack."""

    place: Place
    stack_name: str
    stack_id: str
    logical_id: str
    tags: Mapping[str, str]
    physical_id: str = ""

    def client(self, service: str, region: str | None = None) -> Any:
        return self.place.client(service, region)

    def made(self, physical_id: str) -> str:
        """Note the id as soon as something exists, so that a failure after it is cleaned up."""
        self.physical_id = physical_id
        return physical_id

    def all_tags(self, own: Any, *, system: bool = True) -> list[dict[str, str]]:
        """The stack's tags, CloudFormation's own and the resource's; the resource's win."""
        pairs = _pairs(own)
        merged = {**self.tags, **pairs}
        if system:
            merged |= {
                "aws:cloudformation:stack-name": self.stack_name,
                "aws:cloudformation:stack-id": self.stack_id,
                "aws:cloudformation:logical-id": self.logical_id,
            }
        return [{"Key": key, "Value": value} for key, value in merged.items()]

    def generated_name(self, limit: int, *, lower: bool = False) -> str:
        """stack-LogicalId-suffix, within `limit` characters."""
        suffix = "".join(secrets.choice(_SUFFIX) for _ in range(12))
        name = f"{self.stack_name}-{self.logical_id}"[: limit - 13].rstrip("-") + f"-{suffix}"
        return name.lower() if lower else name


def _pairs(own: Any) -> dict[str, str]:
    if isinstance(own, Mapping):
        return {str(key): text_of(value) for key, value in own.items()}
    return {str(tag["Key"]): text_of(tag.get("Value", "")) for tag in own or []}


class Kind:
    """One resource type. Subclasses say how; `type_name` is CloudFormation's name for it."""

    type_name: str
    name_property: str = ""
    name_limit: int = 128
    name_lower: bool = False

    @property
    def schema(self) -> Schema:
        schema = schema_of(self.type_name)
        if schema is None:
            raise Refused(f"CloudFormation has no type {self.type_name}")
        return schema

    def create(self, work: Work, properties: Properties) -> str:
        """Make the resource; its physical id, which is what Ref gives."""
        raise NotImplementedError

    def waits_for(self, work: Work, properties: Properties) -> str:
        """What a resource that was made is still waiting for; "" when it is complete."""
        del work, properties
        return ""

    def read(self, work: Work) -> Any:
        """What AWS says about the resource now; None if it does not exist."""
        raise NotImplementedError

    def live(self, work: Work, properties: Properties) -> Mapping[str, Any] | None:
        """The resource as its properties would say it now, as far as AWS tells them; None if it is gone."""
        del properties
        found = self.read(work)
        return found if found is None or isinstance(found, Mapping) else {}

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del work, old, new
        raise Refused(f"the sandbox cannot update {self.type_name}")

    def delete(self, work: Work, properties: Properties) -> None:
        raise NotImplementedError

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        """What GetAtt gives, by name."""
        del work, properties
        return {}

    def identified_by(self, identifiers: Mapping[str, str]) -> str:
        """The physical id of a resource that is imported by these identifiers."""
        return "|".join(identifiers[name] for name in self.schema.identifiers if name in identifiers)


@dataclass(frozen=True, slots=True)
class Step:
    """One property that a call of its own carries, after creation and when it changes.

    `put(client, physical id, value)`; `drop(client, physical id)` when the property is taken out again. With
    `after_creation` off, the create operation takes the property itself and the step only changes it.
    """

    property: str
    put: Callable[[Any, str, Any], Any]
    drop: Callable[[Any, str], Any] | None = None
    after_creation: bool = True


@dataclass(frozen=True, slots=True)
class Api:
    """One operation (boto3's name for it) and what it is given besides the properties.

    In `by`, "@" is the physical id, "@1" its first part between bars, "$Name" a property, "@arn" and "@tags" as they
    say; without `by` it is what the kind says. `found` picks the resource out of the answer.
    """

    op: str
    by: Mapping[str, Any] | None = None
    found: str = "@"


@dataclass(frozen=True, slots=True)
class Tagging:
    """How a service takes tags: as a parameter of the create operation, and by operations of their own."""

    param: str = ""
    put: Api | None = None
    take: Api | None = None
    system: bool = True


NO_TAGS = Tagging()


@dataclass(frozen=True, kw_only=True)
class Simple(Kind):
    """A type whose handlers are plain operations of one service.

    `made` picks the physical id out of create's answer ("@name" for the resource's own name); `by` is how the other
    operations name the resource (`update_by` if the update differs). `renamed` maps properties to parameters, `within`
    is the parameter that holds them all if there is one; `apart` are carried by a subclass.
    """

    type_name: str
    service: str
    create_op: str
    made: str
    by: Mapping[str, Any]
    read_api: Api
    update_op: str = ""
    delete_op: str = ""
    name_property: str = ""
    name_limit: int = 128
    name_lower: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    tagging: Tagging = NO_TAGS
    tag_property: str = "Tags"
    arn: str = ""
    attribute_paths: Mapping[str, str] = field(default_factory=dict)
    region: str = ""
    within: str = ""
    update_by: Mapping[str, Any] | None = None

    def create(self, work: Work, properties: Properties) -> str:
        client = self._client(work)
        params = self._params(client, self.create_op, properties) | dict(self.fixed)
        if self.tagging.param:
            tags = work.all_tags(properties.get(self.tag_property), system=self.tagging.system)
            params |= conform({self.tagging.param: tags}, _input_shape(client, self.create_op), self.type_name)
        answer = _call(client, self.create_op, params)
        work.made(self._id_in(work, answer, properties))
        for step in self.steps:
            if step.after_creation and step.property in properties:
                step.put(client, work.physical_id, properties[step.property])
        if self.tagging.put and not self.tagging.param:
            self._tag(work, work.all_tags(properties.get(self.tag_property), system=self.tagging.system), properties)
        return work.physical_id

    def _id_in(self, work: Work, answer: Mapping[str, Any], properties: Properties) -> str:
        if self.made == "@name":
            return str(properties[self.name_property])
        if self.made.startswith("arn:"):
            return self.made.format(region=work.place.region, account=work.place.account)
        if self.made.startswith("$"):
            return "|".join(str(properties[name]) for name in self.made.removeprefix("$").split("|"))
        return str(jmespath.search(self.made, answer))

    def read(self, work: Work) -> Any:
        return self._read(work, {})

    def live(self, work: Work, properties: Properties) -> Mapping[str, Any] | None:
        found = self._read(work, properties)
        if not isinstance(found, Mapping):
            return None if found is None else {}
        back = {parameter: name for name, parameter in self.renamed.items()}
        return {back.get(str(name), str(name)): value for name, value in found.items()}

    def _read(self, work: Work, properties: Properties) -> Any:
        by = self._filled(self.by if self.read_api.by is None else self.read_api.by, work, properties)
        answer = unless_gone(lambda: _call(self._client(work), self.read_api.op, by))
        if answer is None:
            return None
        expression = self.read_api.found.replace("{id}", work.physical_id)
        for index, part in enumerate(work.physical_id.split("|")):
            expression = expression.replace(f"{{{index + 1}}}", part)
        return jmespath.search(expression, answer)

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        client = self._client(work)
        changed = {name for name in {*old, *new} if old.get(name) != new.get(name)} - {self.tag_property}
        stepped = {step.property for step in self.steps}
        if changed - stepped:
            if not self.update_op:
                raise Refused(f"the sandbox cannot update {sorted(changed - stepped)} of {self.type_name}")
            by = self.by if self.update_by is None else self.update_by
            params = self._params(client, self.update_op, new, strict=changed) | self._filled(by, work, new)
            _call(client, self.update_op, params)
        for step in self.steps:
            if step.property in changed and step.property in new:
                step.put(client, work.physical_id, new[step.property])
            elif step.property in changed and step.drop:
                step.drop(client, work.physical_id)
        self.retag(work, old, new)

    def retag(self, work: Work, old: Properties, new: Properties) -> None:
        """Bring the tags to what the stack and the resource say now."""
        if not self.tagging.put:
            return
        self._tag(work, work.all_tags(new.get(self.tag_property), system=False), new)
        gone = set(_pairs(old.get(self.tag_property))) - set(_pairs(new.get(self.tag_property))) - set(work.tags)
        if gone and self.tagging.take:
            keys = [{"Key": key, "Value": ""} for key in sorted(gone)]
            self._tagging_call(work, self.tagging.take, keys, new)

    def _tag(self, work: Work, tags: list[dict[str, str]], properties: Properties) -> None:
        if self.tagging.put and tags:
            self._tagging_call(work, self.tagging.put, tags, properties)

    def _tagging_call(self, work: Work, api: Api, tags: list[dict[str, str]], properties: Properties) -> None:
        client = self._client(work)
        params = self._filled(api.by or {}, work, properties, tags=tags)
        _call(client, api.op, conform(params, _input_shape(client, api.op), self.type_name))

    def delete(self, work: Work, properties: Properties) -> None:
        try:
            _call(self._client(work), self.delete_op, self._filled(self.by, work, properties))
        except ClientError as error:
            if not means_gone(error):
                raise

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        live = self._read(work, properties)
        return {name: self._attribute(path, work, properties, live) for name, path in self.attribute_paths.items()}

    def _attribute(self, path: str, work: Work, properties: Properties, live: Any) -> Any:
        if path.startswith(("@", "arn:")) and path != "@":
            return self._filled({"": path}, work, properties)[""]
        return work.physical_id if path == "@" else jmespath.search(path, live)

    def _client(self, work: Work) -> Any:
        return work.client(self.service, self.region or None)

    def _params(
        self, client: Any, op: str, properties: Properties, *, strict: set[str] | None = None
    ) -> dict[str, Any]:
        """The properties as parameters; with `strict`, only these must find one."""
        shape = _input_shape(client, op)
        if self.within:
            shape = shape.members[self.within]
        several = shape.type_name == "list"
        shape = shape.member if several else shape
        stepped = (step.property for step in self.steps if step.after_creation or strict is not None)
        skipped = {*self.apart, self.tag_property, *stepped}
        taken: dict[str, Any] = {}
        for name, value in properties.items():
            if name in skipped:
                continue
            member = _member(shape, self.renamed.get(name, name))
            if member is not None:
                taken[member] = conform(value, shape.members[member], f"{self.type_name} {name}")
            elif strict is None or name in strict:
                raise Refused(f"the sandbox cannot set {name} of {self.type_name} by {op}")
        return {self.within: [taken] if several else taken} if self.within else taken

    def _filled(
        self, template: Mapping[str, Any], work: Work, properties: Properties, tags: Any = None
    ) -> dict[str, Any]:
        filled: dict[str, Any] = _fill(template, self._values(work, tags), properties)
        return filled

    def _values(self, work: Work, tags: Any) -> dict[str, Any]:
        parts = {f"@{index + 1}": part for index, part in enumerate(work.physical_id.split("|"))}
        arn = self.arn.format(region=work.place.region, account=work.place.account, id=work.physical_id)
        if self.arn.startswith("="):
            arn = str(jmespath.search(self.arn[1:], self.read(work) or {}))
        return {
            **parts,
            "@": work.physical_id,
            "@arn": arn,
            "@account": work.place.account,
            "@tags": tags,
            "@keys": [tag["Key"] for tag in tags or []],
        }


def _fill(template: Any, values: Mapping[str, Any], properties: Properties) -> Any:
    if isinstance(template, Mapping):
        filled = {name: _fill(inner, values, properties) for name, inner in template.items()}
        return {name: value for name, value in filled.items() if value is not None}
    if isinstance(template, list):
        return [_fill(inner, values, properties) for inner in template]
    if isinstance(template, str) and template.startswith("@"):
        return values[template]
    if isinstance(template, str) and template.startswith("$"):
        return properties.get(template[1:])
    return template


def means_gone(error: ClientError) -> bool:
    """Whether a service says by this error that the resource does not exist."""
    code = str(error.response["Error"]["Code"]).lower().replace("_", "")
    return any(word in code for word in _GONE)


def unless_gone(read: Callable[[], _Read], *also: str) -> _Read | None:
    """What is read; None where the service says that the resource does not exist, or by one of these codes."""
    try:
        return read()
    except ClientError as error:
        if means_gone(error) or error.response["Error"]["Code"] in also:
            return None
        raise


def zipped(name: str, text: str) -> bytes:
    """Inline code as CloudFormation hands it to a service: an archive with one file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, text)
    return packed.getvalue()


def _call(client: Any, op: str, params: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = getattr(client, op)(**params)
    return answer


@cache
def _operation_named(service: str, op: str) -> str:
    names = wire.service_model(service).operation_names
    return next(str(name) for name in names if xform_name(name) == op)


def _input_shape(client: Any, op: str) -> Any:
    service = client.meta.service_model.service_name
    return client.meta.service_model.operation_model(_operation_named(service, op)).input_shape


def _member(shape: Any, name: str) -> str | None:
    """The member of a structure that this property means; services differ in the case of the first letters."""
    if name in shape.members:
        return name
    folded = {member.lower(): member for member in shape.members}
    return folded.get(name.lower())


def conform(value: Any, shape: Any, where: str) -> Any:
    """A property's value in the types and names of an API's input shape; Refused if the API has no such member."""
    convert = {"structure": _structure, "list": _list, "map": _map}.get(shape.type_name)
    if convert:
        return convert(value, shape, where)
    if shape.type_name in ("integer", "long"):
        return int(float(value))
    if shape.type_name in ("float", "double"):
        return float(value)
    if shape.type_name == "boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if shape.type_name == "string":
        return json.dumps(value) if isinstance(value, dict | list) else text_of(value)
    return value


def _structure(value: Any, shape: Any, where: str) -> dict[str, Any]:
    if isinstance(value, list) and {"Quantity", "Items"} <= set(shape.members):
        value = {"Quantity": len(value), **({"Items": value} if value else {})}
    if not isinstance(value, Mapping):
        raise Refused(f"{where}: expected an object, found {value!r}")
    if set(shape.members) == {"TagKey", "TagValue"}:
        value = {f"Tag{name}": inner for name, inner in value.items()}
    result = {}
    for name, inner in value.items():
        member = _member(shape, name)
        if member is None:
            raise Refused(f"{where}: the API has no {name}")
        result[member] = conform(inner, shape.members[member], f"{where}/{name}")
    return result


def _list(value: Any, shape: Any, where: str) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    return [conform(item, shape.member, where) for item in items]


def _map(value: Any, shape: Any, where: str) -> dict[str, Any]:
    pairs = _pairs(value) if isinstance(value, list) else value
    return {str(key): conform(inner, shape.value, f"{where}/{key}") for key, inner in pairs.items()}
