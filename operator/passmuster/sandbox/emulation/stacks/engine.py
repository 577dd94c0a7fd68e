"""Creates, updates, rolls back and deletes stacks, one resource after another, as CloudFormation does.

Every operation is a generator that yields what it is waiting for (a certificate's DNS record, the time a stack is said
to take), so that a stack can stay IN_PROGRESS without a thread:

    create  CREATE_IN_PROGRESS -> CREATE_COMPLETE | ROLLBACK_... | DELETE_... | CREATE_FAILED, as asked for
    update  UPDATE_IN_PROGRESS -> UPDATE_COMPLETE | UPDATE_ROLLBACK_COMPLETE | UPDATE_ROLLBACK_FAILED
    import  IMPORT_IN_PROGRESS -> IMPORT_COMPLETE | IMPORT_ROLLBACK_COMPLETE
    delete  DELETE_IN_PROGRESS -> DELETE_COMPLETE | DELETE_FAILED

`advance` goes on as far as it can; api.py calls it when a client starts something, front.py before every call of a
client. Without `Behaviour.takes` an operation is over when the call that starts it returns.
"""

import copy
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from passmuster.sandbox.emulation.operation import Place
from passmuster.sandbox.emulation.stacks import model, templates
from passmuster.sandbox.emulation.stacks.kinds import Kind, Refused, Work
from passmuster.sandbox.emulation.stacks.model import Properties, Request, Resource, Stack
from passmuster.sandbox.emulation.wire import AWSError

FAILURES = (ClientError, BotoCoreError, Refused, AWSError)
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")


class ResourceFailed(Exception):
    """One resource could not be created, updated or deleted."""

    def __init__(self, logical_id: str, reason: str) -> None:
        super().__init__(reason)
        self.logical_id, self.reason = logical_id, reason


@dataclass(slots=True)
class PlannedFailure:
    """A resource operation that is to fail. None means any; `count` None means every time."""

    on: Literal["create", "update", "delete"]
    reason: str
    resource_type: str | None = None
    logical_id: str | None = None
    stack_name: str | None = None
    count: int | None = 1
    hits: int = 0

    def concerns(self, stack: Stack, resource: Resource, on: str) -> bool:
        return (
            self.on == on
            and (self.count is None or self.hits < self.count)
            and self.resource_type in (None, resource.type)
            and self.logical_id in (None, resource.logical_id)
            and self.stack_name in (None, stack.name)
        )


@dataclass(slots=True)
class Behaviour:
    """How stacks behave in this simulated AWS: how long they take and what fails."""

    takes: float = 0.0
    failures: list[PlannedFailure] = field(default_factory=list)

    def strike(self, stack: Stack, resource: Resource, on: str) -> None:
        for failure in self.failures:
            if failure.concerns(stack, resource, on):
                failure.hits += 1
                raise Refused(failure.reason)


@dataclass(slots=True)
class Engine:
    """Drives the stacks of one simulated AWS with these kinds."""

    kinds: Mapping[str, Kind]
    behaviour: Behaviour = field(default_factory=Behaviour)
    running: dict[str, Stack] = field(default_factory=dict)

    # running -------------------------------------------------------------------------------------------------------

    def start(self, stack: Stack, operation: Iterator[str]) -> None:
        stack.running = operation
        self.running[stack.stack_id] = stack
        self.advance(stack)

    def forget(self) -> None:
        """Drop what is running, what is to fail and how long stacks take."""
        self.running.clear()
        self.behaviour = Behaviour()

    def advance_all(self) -> None:
        for stack in list(self.running.values()):
            self.advance(stack)

    def advance(self, stack: Stack) -> None:
        """Go on with the stack's operation until it waits or is over; another thread's turn is left to it."""
        if not stack.lock.acquire(blocking=False):
            return
        try:
            if stack.running is not None and next(stack.running, None) is None:
                stack.running = None
                self.running.pop(stack.stack_id, None)
        finally:
            stack.lock.release()

    def _take_time(self) -> Iterator[str]:
        until = time.monotonic() + self.behaviour.takes
        while time.monotonic() < until:
            yield "time"

    # operations ----------------------------------------------------------------------------------------------------

    def create(self, stack: Stack, request: Request) -> Iterator[str]:
        stack.request, stack.tags, stack.token = request, dict(request.tags), request.token
        stack.became("CREATE_IN_PROGRESS", "User Initiated")
        yield from self._take_time()
        try:
            for logical_id in request.template.in_order():
                yield from self._bring_up(stack, request, logical_id)
            self._tell_outputs(stack, request)
        except ResourceFailed as failure:
            yield from self._creation_failed(stack, request, failure)
        else:
            stack.became("CREATE_COMPLETE")

    def _creation_failed(self, stack: Stack, request: Request, failure: ResourceFailed) -> Iterator[str]:
        reason = f"The following resource(s) failed to create: [{failure.logical_id}]."
        if request.on_failure == "DO_NOTHING":
            stack.became("CREATE_FAILED", reason)
            return
        deleting = request.on_failure == "DELETE"
        status = "DELETE" if deleting else "ROLLBACK"
        stack.became(f"{status}_IN_PROGRESS", f"{reason} {'Delete' if deleting else 'Rollback'} requested by user.")
        left = self._take_down(stack, creating=True)
        if left:
            stack.became(f"{status}_FAILED", _not_deleted(left))
            return
        stack.became(f"{status}_COMPLETE")
        if deleting:
            stack.deleted = model.now()
            model.bury(stack.place, stack)
        yield from ()

    def adopt(self, stack: Stack, request: Request) -> Iterator[str]:
        """An IMPORT change set: resources that exist become the stack's, with nothing changed."""
        fresh = stack.request is None
        before = stack.request
        stack.token = request.token
        stack.became("IMPORT_IN_PROGRESS", "User Initiated")
        yield from self._take_time()
        try:
            for logical_id in request.imports:
                self._import(stack, request, logical_id)
            stack.request = request
            self._tell_outputs(stack, request)
        except ResourceFailed as failure:
            stack.became("IMPORT_ROLLBACK_IN_PROGRESS", f"[{failure.logical_id}]: {failure.reason}")
            for logical_id in request.imports:
                stack.resources.pop(logical_id, None)
            stack.request = before
            stack.became("IMPORT_ROLLBACK_COMPLETE")
        else:
            stack.tags = dict(request.tags) if fresh else stack.tags
            stack.became("IMPORT_COMPLETE")

    def update(self, stack: Stack, request: Request) -> Iterator[str]:
        before, tags_before = stack.request, dict(stack.tags)
        known = {logical_id: copy.deepcopy(resource) for logical_id, resource in stack.resources.items()}
        replaced: list[Resource] = []
        stack.token, stack.updated = request.token, model.now()
        stack.became("UPDATE_IN_PROGRESS", "User Initiated")
        yield from self._take_time()
        stack.tags = dict(request.tags)
        try:
            for logical_id in request.template.in_order():
                yield from self._bring_up(stack, request, logical_id, replaced, tags_before)
            self._tell_outputs(stack, request)
        except ResourceFailed as failure:
            stack.tags = tags_before
            yield from self._roll_back(stack, failure, known, before)
            return
        stack.request = request
        stack.became("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        self._clean_up(stack, request, replaced)
        stack.became("UPDATE_COMPLETE")

    def _roll_back(
        self, stack: Stack, failure: ResourceFailed, known: Mapping[str, Resource], before: Request | None
    ) -> Iterator[str]:
        reason = f"The following resource(s) failed to update: [{failure.logical_id}]."
        stack.became("UPDATE_ROLLBACK_IN_PROGRESS", reason)
        yield from self._take_back(stack, known, before)

    def resume_rollback(self, stack: Stack) -> Iterator[str]:
        """Try again what the rollback of an update left changed."""
        stack.became("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
        yield from self._take_time()
        yield from self._take_back(stack, stack.left_changed, stack.request)

    def _take_back(self, stack: Stack, known: Mapping[str, Resource], before: Request | None) -> Iterator[str]:
        left = [*self._restore(stack, known), *self._remove_new(stack, known)]
        if left:
            stack.left_changed = known
            stack.became("UPDATE_ROLLBACK_FAILED", f"The following resource(s) failed to update: [{', '.join(left)}].")
            return
        stack.became("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        if before is not None:
            self._tell_outputs(stack, before)
        stack.became("UPDATE_ROLLBACK_COMPLETE")
        yield from ()

    def _restore(self, stack: Stack, known: Mapping[str, Resource]) -> list[str]:
        """Give every changed resource its old properties back; the logical ids for which that failed."""
        failed = []
        for logical_id, old in known.items():
            resource = stack.resources[logical_id]
            changed = resource.properties != old.properties or resource.status == "UPDATE_FAILED"
            if resource.physical_id != old.physical_id:
                self._drop(stack, resource)
            elif changed and not self._change_back(stack, resource, old):
                failed.append(logical_id)
                continue
            stack.resources[logical_id] = old
        return failed

    def _change_back(self, stack: Stack, resource: Resource, old: Resource) -> bool:
        try:
            self.behaviour.strike(stack, resource, "update")
            self.kinds[old.type].update(self._work(stack, old), resource.properties, old.properties)
        except FAILURES as error:
            stack.resource_became(resource, "UPDATE_FAILED", reason_of(error))
            return False
        stack.resource_became(old, "UPDATE_COMPLETE")
        return True

    def _remove_new(self, stack: Stack, known: Mapping[str, Resource]) -> list[str]:
        left = []
        for logical_id in reversed([name for name in stack.resources if name not in known]):
            resource = stack.resources[logical_id]
            if _kept_on_rollback(resource) or self._drop(stack, resource):
                del stack.resources[logical_id]
            else:
                left.append(logical_id)
        return left

    def _clean_up(self, stack: Stack, request: Request, replaced: list[Resource]) -> None:
        """Delete what the update replaced or removed; what cannot be deleted is left behind, as AWS does."""
        for resource in replaced:
            if resource.replace_policy not in ("Retain", "RetainExceptOnCreate"):
                self._drop(stack, resource)
        wanted = set(self._wanted(stack, request))
        for logical_id in reversed([name for name in stack.resources if name not in wanted]):
            resource = stack.resources.pop(logical_id)
            if resource.deletion_policy in ("Retain", "RetainExceptOnCreate"):
                stack.resource_became(resource, "DELETE_SKIPPED")
            else:
                self._drop(stack, resource)

    def delete(self, stack: Stack, retained: list[str]) -> Iterator[str]:
        stack.became("DELETE_IN_PROGRESS", "User Initiated")
        yield from self._take_time()
        left = self._take_down(stack, creating=False, retained=retained)
        if left:
            stack.became("DELETE_FAILED", _not_deleted(left))
            return
        stack.became("DELETE_COMPLETE")
        stack.deleted = model.now()
        model.bury(stack.place, stack)

    def _take_down(self, stack: Stack, *, creating: bool, retained: list[str] | None = None) -> list[str]:
        """Delete the stack's resources in reverse order; the logical ids that are left."""
        left = []
        for logical_id in reversed(list(stack.resources)):
            resource = stack.resources[logical_id]
            keeps = _kept_on_rollback(resource) if creating else _kept_on_deletion(resource)
            if resource.physical_id and (keeps or logical_id in (retained or [])):
                stack.resource_became(resource, "DELETE_SKIPPED")
            elif resource.physical_id and not self._drop(stack, resource):
                left.append(logical_id)
        return left

    def _drop(self, stack: Stack, resource: Resource) -> bool:
        """Delete one resource; whether it is gone."""
        if resource.status == "DELETE_COMPLETE" or not resource.physical_id:
            return True
        stack.resource_became(resource, "DELETE_IN_PROGRESS")
        try:
            self.behaviour.strike(stack, resource, "delete")
            self.kinds[resource.type].delete(self._work(stack, resource), resource.properties)
        except FAILURES as error:
            stack.resource_became(resource, "DELETE_FAILED", reason_of(error))
            return False
        stack.resource_became(resource, "DELETE_COMPLETE")
        return True

    # one resource --------------------------------------------------------------------------------------------------

    def _wanted(self, stack: Stack, request: Request) -> list[str]:
        """The resources whose condition holds, in order."""
        resolver = self.resolver(stack, request)
        return [
            logical_id
            for logical_id in request.template.in_order()
            if holds(resolver, request.template.resources[logical_id])
        ]

    def _bring_up(
        self,
        stack: Stack,
        request: Request,
        logical_id: str,
        replaced: list[Resource] | None = None,
        old_tags: Mapping[str, str] | None = None,
    ) -> Iterator[str]:
        """Create, import, update or replace one resource, as the request and the stack's state say."""
        definition = request.template.resources[logical_id]
        resolver = self.resolver(stack, request)
        existing = stack.resources.get(logical_id)
        try:
            if not holds(resolver, definition):
                return
            properties = self._resolved(resolver, logical_id, definition)
        except AWSError as error:
            failed = existing or Resource(logical_id, definition["Type"])
            stack.resource_became(failed, "UPDATE_FAILED" if existing else "CREATE_FAILED", error.message)
            raise ResourceFailed(logical_id, error.message) from error
        if logical_id in request.imports and existing is None:
            self._import(stack, request, logical_id)
        elif existing is None:
            made = Resource(logical_id, definition["Type"], definition=definition, properties=properties)
            yield from self._create(stack, made)
        else:
            yield from self._modify(stack, existing, definition, properties, replaced, old_tags)

    def _resolved(self, resolver: templates.Resolver, logical_id: str, definition: Mapping[str, Any]) -> Properties:
        properties: Properties = resolver.value(definition.get("Properties", {}))
        schema = self.kinds[definition["Type"]].schema
        problems = [*schema.problems(properties), *_reserved(properties.get(schema.tag_property))]
        if problems:
            message = f"Properties validation failed for resource {logical_id} with message: [{', '.join(problems)}]"
            raise AWSError("ValidationError", message)
        return properties

    def _create(self, stack: Stack, resource: Resource) -> Iterator[str]:
        kind = self.kinds[resource.type]
        stack.resources[resource.logical_id] = resource
        stack.resource_became(resource, "CREATE_IN_PROGRESS")
        work = self._work(stack, resource)
        try:
            self.behaviour.strike(stack, resource, "create")
            self._name(kind, work, resource)
            resource.physical_id = kind.create(work, resource.properties)
            stack.resource_became(resource, "CREATE_IN_PROGRESS", "Resource creation Initiated")
            yield from self._wait(kind, stack, resource, work)
            resource.attributes = kind.attributes(work, resource.properties)
        except FAILURES as error:
            resource.physical_id = work.physical_id
            stack.resource_became(resource, "CREATE_FAILED", reason_of(error))
            raise ResourceFailed(resource.logical_id, reason_of(error)) from error
        stack.resource_became(resource, "CREATE_COMPLETE")

    def _name(self, kind: Kind, work: Work, resource: Resource) -> None:
        """Make up a name where the template gives none; refuse one that is taken."""
        if kind.name_property and kind.name_property not in resource.properties:
            resource.generated_name = work.generated_name(kind.name_limit, lower=kind.name_lower)
            resource.properties = {**resource.properties, kind.name_property: resource.generated_name}
            return
        identifiers = fixed_identifiers(kind, resource.properties)
        if identifiers and self._exists(work, kind, kind.identified_by(identifiers)):
            name = kind.identified_by(identifiers)
            raise Refused(f"Resource of type '{kind.type_name}' with identifier '{name}' already exists.")

    def _exists(self, work: Work, kind: Kind, physical_id: str) -> bool:
        known, work.physical_id = work.physical_id, physical_id
        try:
            return kind.read(work) is not None
        finally:
            work.physical_id = known

    def exists(self, stack: Stack, type_name: str, logical_id: str, physical_id: str) -> bool:
        """Whether a resource that is to be imported is there."""
        work = self._work(stack, Resource(logical_id, type_name))
        return self._exists(work, self.kinds[type_name], physical_id)

    def _wait(self, kind: Kind, stack: Stack, resource: Resource, work: Work) -> Iterator[str]:
        told = ""
        while reason := kind.waits_for(work, resource.properties):
            if reason != told:
                stack.resource_became(resource, resource.status, reason)
                told = reason
            yield reason

    def _import(self, stack: Stack, request: Request, logical_id: str) -> None:
        definition = request.template.resources[logical_id]
        kind = self.kinds[definition["Type"]]
        resource = Resource(logical_id, kind.type_name, request.imports[logical_id], definition=definition)
        resource.imported = True
        stack.resource_became(resource, "IMPORT_IN_PROGRESS")
        work = self._work(stack, resource)
        try:
            properties = self._resolved(self.resolver(stack, request), logical_id, definition)
            resource.properties = properties
            if kind.read(work) is None:
                raise Refused(
                    f"Resource of type '{kind.type_name}' with identifier '{work.physical_id}' was not found."
                )
            resource.attributes = kind.attributes(work, properties)
        except FAILURES as error:
            stack.resource_became(resource, "IMPORT_FAILED", reason_of(error))
            raise ResourceFailed(logical_id, reason_of(error)) from error
        stack.resources[logical_id] = resource
        stack.resource_became(resource, "IMPORT_COMPLETE")

    def _modify(
        self,
        stack: Stack,
        resource: Resource,
        definition: Mapping[str, Any],
        properties: Properties,
        replaced: list[Resource] | None,
        old_tags: Mapping[str, str] | None,
    ) -> Iterator[str]:
        kind = self.kinds[resource.type]
        resource.definition = definition
        if resource.generated_name and kind.name_property not in properties:
            properties = {**properties, kind.name_property: resource.generated_name}
        changed = changed_names(resource.properties, properties)
        if not changed:
            if old_tags != stack.tags and kind.schema.tag_property:
                self._change(stack, resource, properties)
            return
        if replacement_of(kind, resource.properties, properties) != "Always":
            self._change(stack, resource, properties)
            return
        self._refuse_taken_name(kind, resource, properties)
        if replaced is not None:
            replaced.append(resource)
        successor = Resource(resource.logical_id, resource.type, definition=definition, properties=properties)
        if resource.generated_name:
            successor.properties.pop(kind.name_property, None)
        yield from self._create(stack, successor)

    def _refuse_taken_name(self, kind: Kind, resource: Resource, properties: Properties) -> None:
        name = kind.name_property
        if name and not resource.generated_name and properties.get(name) == resource.properties.get(name):
            message = "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
            raise ResourceFailed(
                resource.logical_id, f"{message}Rename {properties.get(name)} and update the stack again."
            )

    def _change(self, stack: Stack, resource: Resource, properties: Properties) -> None:
        kind = self.kinds[resource.type]
        stack.resource_became(resource, "UPDATE_IN_PROGRESS")
        work = self._work(stack, resource)
        try:
            self.behaviour.strike(stack, resource, "update")
            kind.update(work, resource.properties, properties)
            resource.attributes = kind.attributes(work, properties)
        except FAILURES as error:
            stack.resource_became(resource, "UPDATE_FAILED", reason_of(error))
            raise ResourceFailed(resource.logical_id, reason_of(error)) from error
        resource.physical_id = work.physical_id
        resource.properties = properties
        stack.resource_became(resource, "UPDATE_COMPLETE")

    def _work(self, stack: Stack, resource: Resource) -> Work:
        return Work(
            stack.place, stack.name, stack.stack_id, resource.logical_id, dict(stack.tags), resource.physical_id
        )

    # values --------------------------------------------------------------------------------------------------------

    def resolver(self, stack: Stack, request: Request) -> templates.Resolver:
        """Resolves the request's template against the stack as it is now."""

        def ref(logical_id: str) -> Any:
            if logical_id not in stack.resources:
                raise templates.invalid(f"Unresolved resource dependencies [{logical_id}] in the template")
            return stack.resources[logical_id].physical_id

        def attribute(logical_id: str, name: str) -> Any:
            if logical_id not in stack.resources:
                raise templates.invalid(
                    f"Template error: instance of Fn::GetAtt references undefined resource {logical_id}"
                )
            return attribute_of(stack.resources[logical_id], name)

        return templates.Resolver(
            template=request.template,
            parameters=typed_parameters(request, stack.place),
            pseudo=pseudo_parameters(stack, request),
            ref=ref,
            attribute=attribute,
            exports=exports(stack.place),
            secret=lambda service, reference: dynamic_value(stack.place, service, reference),
        )

    def _tell_outputs(self, stack: Stack, request: Request) -> None:
        try:
            stack.outputs = self._outputs(stack, request)
        except AWSError as error:
            raise ResourceFailed(stack.name, error.message) from error

    def _outputs(self, stack: Stack, request: Request) -> list[dict[str, str]]:
        resolver = self.resolver(stack, request)
        told = []
        for key, output in request.template.outputs.items():
            if not holds(resolver, output):
                continue
            entry = {"OutputKey": key, "OutputValue": templates.text_of(resolver.value(output["Value"]))}
            if "Description" in output:
                entry["Description"] = str(output["Description"])
            if "Export" in output:
                entry["ExportName"] = str(resolver.value(output["Export"]["Name"]))
            told.append(entry)
        return told


def _reserved(tags: Any) -> Iterator[str]:
    """What is wrong with tags that a template gives: the keys that AWS keeps to itself."""
    for tag in tags if isinstance(tags, list) else [{"Key": key} for key in tags or ()]:
        if str(tag.get("Key", "")).lower().startswith("aws:"):
            yield f"aws: prefixed tag key names are not allowed for external use: {tag['Key']}"


def holds(resolver: templates.Resolver, definition: Mapping[str, Any]) -> bool:
    """Whether the condition of a resource or an output holds."""
    return "Condition" not in definition or resolver.condition(definition["Condition"])


def attribute_of(resource: Resource, name: str) -> Any:
    """GetAtt: an attribute the kind tells, or a nested one by its dotted name."""
    if name in resource.attributes:
        return resource.attributes[name]
    raise templates.invalid(
        f"Template error: resource {resource.logical_id} does not support attribute type {name} in Fn::GetAtt"
    )


def changed_names(old: Properties, new: Properties) -> list[str]:
    """The top-level properties that differ."""
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]


def replacement_of(kind: Kind, old: Properties, new: Properties) -> str:
    """Always, Conditionally or Never: whether these changes replace the resource."""
    schema = kind.schema
    changed = changed_names(old, new)
    if any(recreates(schema.create_only, name, old.get(name), new.get(name)) for name in changed):
        return "Always"
    if any(recreates(schema.sometimes_create_only, name, old.get(name), new.get(name)) for name in changed):
        return "Conditionally"
    return "Never"


def recreates(paths: frozenset[str], name: str, old: Any, new: Any) -> bool:
    """Whether a changed property, or a changed part of it, is among these create-only paths."""
    for path in paths:
        first, *rest = path.split("/")
        if first == name and _at(old, rest) != _at(new, rest):
            return True
    return False


def _at(value: Any, path: list[str]) -> Any:
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else value
    return value


def fixed_identifiers(kind: Kind, properties: Properties) -> dict[str, str]:
    """The identifiers of a resource whose name the template gives; empty if they are not all known beforehand."""
    schema = kind.schema
    names = schema.identifiers
    if not names or schema.read_only & set(names) or not all(isinstance(properties.get(n), str) for n in names):
        return {}
    return {name: properties[name] for name in names}


def pseudo_parameters(stack: Stack, request: Request) -> dict[str, Any]:
    return {
        "AWS::AccountId": stack.place.account,
        "AWS::Region": stack.place.region,
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "amazonaws.com",
        "AWS::StackId": stack.stack_id,
        "AWS::StackName": stack.name,
        "AWS::NotificationARNs": request.notifications,
    }


def typed_parameters(request: Request, place: Place) -> dict[str, Any]:
    """The values that Ref gives for parameters."""
    slots = request.template.parameters
    return {name: _parameter(slots[name], value, place) for name, value in request.parameters.items()}


def _parameter(slot: Mapping[str, Any], value: str, place: Place) -> Any:
    if str(slot.get("Type", "")).startswith("AWS::SSM::Parameter::Value"):
        found: Any = place.client("ssm").get_parameter(Name=value)["Parameter"]["Value"]
        return found.split(",") if "List<" in slot["Type"] else found
    return templates.typed(slot, value)


def dynamic_value(place: Place, service: str, reference: str) -> str:
    """The value behind `{{resolve:service:reference}}`."""
    if service in ("ssm", "ssm-secure"):
        answer = place.client("ssm").get_parameter(Name=reference, WithDecryption=service == "ssm-secure")
        return str(answer["Parameter"]["Value"])
    secret_id, _, rest = reference.partition(":SecretString")
    text = str(place.client("secretsmanager").get_secret_value(SecretId=secret_id)["SecretString"])
    key = rest.lstrip(":").split(":")[0]
    return str(json.loads(text)[key]) if key else text


def exports(place: Place) -> dict[str, str]:
    """The exported outputs of the region's living stacks."""
    return {
        output["ExportName"]: output["OutputValue"]
        for stack in model.all_stacks(place)
        if stack.status != "DELETE_COMPLETE"
        for output in stack.outputs
        if "ExportName" in output
    }


def _kept_on_rollback(resource: Resource) -> bool:
    return resource.imported or resource.deletion_policy == "Retain"


def _kept_on_deletion(resource: Resource) -> bool:
    return resource.deletion_policy in ("Retain", "RetainExceptOnCreate")


def _not_deleted(left: list[str]) -> str:
    return f"The following resource(s) failed to delete: [{', '.join(left)}]."


def reason_of(error: BaseException) -> str:
    """The reason as CloudFormation gives it in an event."""
    if not isinstance(error, ClientError):
        return str(error)
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    handler = "AccessDenied" if code in _DENIED else _handler_code(code)
    return (
        f'Resource handler returned message: "{message} (Service: {error.operation_name}, Status Code: {status}, '
        f'Error Code: {code})" (RequestToken: {uuid.uuid4()}, HandlerErrorCode: {handler})'
    )


def _handler_code(code: str) -> str:
    known = {"Throttl": "Throttling", "Exists": "AlreadyExists", "NotFound": "NotFound", "NoSuch": "NotFound"}
    return next((name for part, name in known.items() if part in code), "InvalidRequest")
