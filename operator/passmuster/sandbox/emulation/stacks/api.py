"""The CloudFormation operations that clients call, with AWS's rules for what is allowed when.

front.py serves them. A change set of type CREATE leaves a stack in REVIEW_IN_PROGRESS until it is executed; executing
one twice is refused, unless the same ClientRequestToken says that it is the same call again; IAM resources need the
capability; an unknown resource type is refused by name.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moto.sts.models import sts_backends

from passmuster.sandbox.emulation.access import iam, policies
from passmuster.sandbox.emulation.operation import Handling, Operations, Output, Place
from passmuster.sandbox.emulation.stacks import change_sets, drift, engine, model, templates
from passmuster.sandbox.emulation.stacks.model import Change, ChangeSet, Event, Request, Resource, Stack
from passmuster.sandbox.emulation.stacks.templates import Template, invalid
from passmuster.sandbox.emulation.wire import AWSError

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."
_IAM_NAMES = {
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::User": "UserName",
    "AWS::IAM::Group": "GroupName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::IAM::Policy": "",
    "AWS::IAM::RolePolicy": "",
    "AWS::IAM::AccessKey": "",
    "AWS::IAM::UserToGroupAddition": "",
}
_LARGEST_BODY = 51_200
_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
_RETAINED = ("Retain", "RetainExceptOnCreate")
_UPDATABLE = (
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
)


@dataclass(frozen=True, slots=True)
class CloudFormation:
    """The service, over one engine."""

    engine: engine.Engine

    def operations(self) -> Operations:
        table: dict[str, Callable[[Handling], Output]] = {
            "CreateStack": self.create_stack,
            "UpdateStack": self.update_stack,
            "DeleteStack": self.delete_stack,
            "CreateChangeSet": self.create_change_set,
            "DescribeChangeSet": self.describe_change_set,
            "ExecuteChangeSet": self.execute_change_set,
            "DeleteChangeSet": self.delete_change_set,
            "ListChangeSets": self.list_change_sets,
            "DescribeStacks": self.describe_stacks,
            "ListStacks": self.list_stacks,
            "DescribeStackEvents": self.describe_stack_events,
            "DescribeStackResource": self.describe_stack_resource,
            "DescribeStackResources": self.describe_stack_resources,
            "ListStackResources": self.list_stack_resources,
            "GetTemplate": self.get_template,
            "GetTemplateSummary": self.get_template_summary,
            "ValidateTemplate": self.validate_template,
            "ListExports": self.list_exports,
            "ContinueUpdateRollback": self.continue_update_rollback,
            "UpdateTerminationProtection": self.update_termination_protection,
            "SetStackPolicy": self.set_stack_policy,
            "GetStackPolicy": self.get_stack_policy,
            "DetectStackDrift": self.detect_stack_drift,
            "DetectStackResourceDrift": self.detect_stack_resource_drift,
            "DescribeStackDriftDetectionStatus": self.describe_drift_detection,
            "DescribeStackResourceDrifts": self.describe_stack_resource_drifts,
        }
        return {("cloudformation", name): operation for name, operation in table.items()}

    # stacks --------------------------------------------------------------------------------------------------------

    def create_stack(self, handling: Handling) -> Output:
        name = str(handling.params["StackName"])
        if model.find(handling.place, name) is not None:
            raise AWSError("AlreadyExistsException", f"Stack [{name}] already exists", 400)
        request = self._request(handling, None)
        request.on_failure = _on_failure(handling.params)
        stack = self._new_stack(handling, name, request)
        stack.protected = bool(handling.params.get("EnableTerminationProtection"))
        stack.policy = str(handling.params.get("StackPolicyBody", ""))
        self.engine.start(stack, self.engine.create(stack, request))
        return {"StackId": stack.stack_id}

    def update_stack(self, handling: Handling) -> Output:
        stack = _existing(handling)
        _refuse_busy(stack)
        request = self._request(handling, stack)
        if not self._differs(stack, request, change_sets.changes(self.engine, stack, request)):
            raise invalid("No updates are to be performed.")
        self.engine.start(stack, self.engine.update(stack, request))
        return {"StackId": stack.stack_id}

    def delete_stack(self, handling: Handling) -> Output:
        stack = model.find(handling.place, str(handling.params["StackName"]))
        if stack is None or stack.status in ("DELETE_COMPLETE", "DELETE_IN_PROGRESS"):
            return {}
        if stack.protected:
            raise invalid(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
        if stack.busy:
            raise invalid(f"Stack [{stack.stack_id}] cannot be deleted while in status {stack.status}")
        retained = list(handling.params.get("RetainResources", []))
        if retained and stack.status != "DELETE_FAILED":
            raise invalid("Invalid operation on stack. RetainResources can only be given for a stack in DELETE_FAILED")
        stack.token = str(handling.params.get("ClientRequestToken", ""))
        self._use_role(handling, stack)
        self.engine.start(stack, self.engine.delete(stack, retained))
        return {}

    def continue_update_rollback(self, handling: Handling) -> Output:
        stack = _existing(handling)
        if stack.status != "UPDATE_ROLLBACK_FAILED":
            raise invalid(f"Stack:{stack.stack_id} is in {stack.status} state and can not continue rollback update.")
        if handling.params.get("ResourcesToSkip"):
            raise invalid("the sandbox skips no resource of a rollback")
        stack.token = str(handling.params.get("ClientRequestToken", ""))
        self.engine.start(stack, self.engine.resume_rollback(stack))
        return {}

    def _new_stack(self, handling: Handling, name: str, request: Request) -> Stack:
        _refuse_bad_name("stackName", name)
        stack = Stack(model.new_stack_id(handling.place, name), name, self._acting_place(handling, request.role))
        model.keep(handling.place, stack)
        return stack

    def _use_role(self, handling: Handling, stack: Stack) -> None:
        role = str(handling.params.get("RoleARN", "") or (stack.request.role if stack.request else ""))
        stack.place = self._acting_place(handling, role)

    def _acting_place(self, handling: Handling, role_arn: str) -> Place:
        """Where the stack's resources are made: as the role if one is given, else as CloudFormation itself."""
        place = handling.place
        if not role_arn:
            return place
        role = iam.role_named(role_arn)
        asked = policies.Question("sts:AssumeRole", principals=("cloudformation.amazonaws.com",))
        if role is None or not policies.allows([role.assume_role_policy_document], asked):
            raise invalid(f"Role {role_arn} is invalid or cannot be assumed")
        session = sts_backends[place.account]["aws"].assume_role(
            place.region, "AWSCloudFormation", role_arn, None, 3600, None
        )
        return Place(place.account, place.region, place.client_of, place.kept, session.access_key_id)

    def describe_stacks(self, handling: Handling) -> Output:
        name = handling.params.get("StackName")
        if name:
            return {"Stacks": [_stack_told(_existing(handling))]}
        living = [stack for stack in model.all_stacks(handling.place) if stack.status != "DELETE_COMPLETE"]
        page, token = _page(living, handling.params)
        return {"Stacks": [_stack_told(stack) for stack in page], "NextToken": token}

    def list_stacks(self, handling: Handling) -> Output:
        wanted = handling.params.get("StackStatusFilter") or []
        found = [stack for stack in model.all_stacks(handling.place) if not wanted or stack.status in wanted]
        page, token = _page(found, handling.params)
        return {"StackSummaries": [_summary_told(stack) for stack in page], "NextToken": token}

    def describe_stack_events(self, handling: Handling) -> Output:
        page, token = _page(list(reversed(_existing(handling).events)), handling.params)
        return {"StackEvents": [_event_told(event) for event in page], "NextToken": token}

    def update_termination_protection(self, handling: Handling) -> Output:
        stack = _existing(handling)
        stack.protected = bool(handling.params["EnableTerminationProtection"])
        return {"StackId": stack.stack_id}

    def set_stack_policy(self, handling: Handling) -> Output:
        _existing(handling).policy = str(handling.params.get("StackPolicyBody", ""))
        return {}

    def get_stack_policy(self, handling: Handling) -> Output:
        policy = _existing(handling).policy
        return {"StackPolicyBody": policy} if policy else {}

    # resources -----------------------------------------------------------------------------------------------------

    def describe_stack_resource(self, handling: Handling) -> Output:
        stack, name = _existing(handling), str(handling.params["LogicalResourceId"])
        if name not in stack.resources:
            raise invalid(f"Resource {name} does not exist for stack {stack.name}")
        resource = stack.resources[name]
        told = _resource_told(resource) | {"StackName": stack.name, "StackId": stack.stack_id}
        metadata = resource.definition.get("Metadata")
        if metadata:
            told["Metadata"] = json.dumps(metadata)
        return {"StackResourceDetail": told | {"LastUpdatedTimestamp": resource.changed}}

    def describe_stack_resources(self, handling: Handling) -> Output:
        if "StackName" not in handling.params:
            return {"StackResources": self._owning(handling)}
        stack = _existing(handling)
        wanted = handling.params.get("LogicalResourceId")
        return {
            "StackResources": [
                _of_stack(stack, resource)
                for resource in stack.resources.values()
                if wanted in (None, resource.logical_id)
            ]
        }

    def _owning(self, handling: Handling) -> list[Output]:
        """The resources of the stack that owns this physical id."""
        wanted = handling.params.get("PhysicalResourceId")
        for stack in model.all_stacks(handling.place):
            living = stack.status != "DELETE_COMPLETE"
            if living and any(resource.physical_id == wanted for resource in stack.resources.values()):
                return [_of_stack(stack, resource) for resource in stack.resources.values()]
        raise invalid(f"Stack for {wanted} does not exist")

    def list_stack_resources(self, handling: Handling) -> Output:
        page, token = _page(list(_existing(handling).resources.values()), handling.params)
        told = [_resource_told(resource) | {"LastUpdatedTimestamp": resource.changed} for resource in page]
        return {"StackResourceSummaries": told, "NextToken": token}

    # templates -----------------------------------------------------------------------------------------------------

    def get_template(self, handling: Handling) -> Output:
        if "ChangeSetName" in handling.params:
            _, change_set = _change_set(handling)
            body = change_set.request.template.body
        else:
            stack = _existing(handling)
            body = stack.request.template.body if stack.request else ""
        return {"TemplateBody": body, "StagesAvailable": ["Original", "Processed"]}

    def get_template_summary(self, handling: Handling) -> Output:
        stack = _existing(handling) if "StackName" in handling.params else None
        template = stack.request.template if stack and stack.request else self._template(handling, None)
        needed = _capabilities_needed(template)
        return {
            "Parameters": [_slot_told(name, slot) for name, slot in template.parameters.items()],
            "Description": template.description,
            "ResourceTypes": sorted({str(resource["Type"]) for resource in template.resources.values()}),
            "Capabilities": needed,
            "CapabilitiesReason": _reason_for(template) if needed else None,
            "DeclaredTransforms": [],
        }

    def validate_template(self, handling: Handling) -> Output:
        template = self._template(handling, None)
        needed = _capabilities_needed(template)
        slots = [
            {"ParameterKey": name, "DefaultValue": slot.get("Default"), "NoEcho": bool(slot.get("NoEcho"))}
            for name, slot in template.parameters.items()
        ]
        reason = _reason_for(template) if needed else None
        return {
            "Parameters": slots,
            "Description": template.description,
            "Capabilities": needed,
            "CapabilitiesReason": reason,
        }

    def list_exports(self, handling: Handling) -> Output:
        told = [
            {"ExportingStackId": stack.stack_id, "Name": output["ExportName"], "Value": output["OutputValue"]}
            for stack in model.all_stacks(handling.place)
            if stack.status != "DELETE_COMPLETE"
            for output in stack.outputs
            if "ExportName" in output
        ]
        return {"Exports": told}

    def _template(self, handling: Handling, stack: Stack | None) -> Template:
        params = handling.params
        if params.get("UsePreviousTemplate"):
            if stack is None or stack.request is None:
                raise invalid("UsePreviousTemplate needs a stack that has a template")
            return stack.request.template
        body = params.get("TemplateBody")
        if body and len(str(body).encode()) > _LARGEST_BODY:
            message = "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: "
            raise invalid(f"{message}Member must have length less than or equal to {_LARGEST_BODY}")
        if not body and params.get("TemplateURL"):
            body = _from_bucket(handling.place, str(params["TemplateURL"]))
        if not body:
            raise invalid("Either Template URL or Template Body must be specified.")
        template = templates.parse(str(body))
        self._refuse_unknown_types(template)
        return template

    def _refuse_unknown_types(self, template: Template) -> None:
        named = {str(resource["Type"]) for resource in template.resources.values()}
        if unknown := sorted(named - set(self.engine.kinds)):
            raise invalid(f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")

    def _request(self, handling: Handling, stack: Stack | None) -> Request:
        params = handling.params
        template = self._template(handling, stack)
        capabilities = list(params.get("Capabilities", []))
        _refuse_missing_capabilities(template, capabilities)
        before = stack.request if stack else None
        tags = {tag["Key"]: tag["Value"] for tag in params.get("Tags", [])}
        return Request(
            template=template,
            parameters=templates.parameter_values(template, _parameters(params, before)),
            tags=tags if "Tags" in params or stack is None else dict(stack.tags),
            capabilities=capabilities,
            role=str(params.get("RoleARN", "") or (before.role if before else "")),
            notifications=list(params.get("NotificationARNs", [])),
            token=str(params.get("ClientRequestToken", "")),
        )

    # change sets ---------------------------------------------------------------------------------------------------

    def create_change_set(self, handling: Handling) -> Output:
        params, name = handling.params, str(handling.params["ChangeSetName"])
        kind = str(params.get("ChangeSetType", "UPDATE"))
        _refuse_bad_name("changeSetName", name)
        stack = model.find(handling.place, str(params["StackName"]))
        _refuse_wrong_state(stack, str(params["StackName"]), kind, name)
        if stack is not None and name in stack.change_sets:
            return _again(stack, stack.change_sets[name], params)
        request = self._request(handling, stack)
        request.on_failure = str(params.get("OnStackFailure", "ROLLBACK"))
        place = self._acting_place(handling, request.role)
        if stack is None:
            stack = self._new_stack(handling, str(params["StackName"]), request)
            stack.became("REVIEW_IN_PROGRESS", "User Initiated")
        stack.place = place
        change_set = self._compose(handling, stack, request, kind)
        stack.change_sets[name] = change_set
        return {"Id": change_set.id, "StackId": stack.stack_id}

    def _compose(self, handling: Handling, stack: Stack, request: Request, kind: str) -> ChangeSet:
        params = handling.params
        change_set = ChangeSet(
            id=model.new_change_set_id(handling.place, str(params["ChangeSetName"])),
            name=str(params["ChangeSetName"]),
            kind=kind,
            request=request,
            description=str(params.get("Description", "")),
            client_token=str(params.get("ClientToken", "")),
            import_existing=bool(params.get("ImportExistingResources")),
            ready_at=time.monotonic() + self.engine.behaviour.takes,
        )
        try:
            self._find_imports(handling, stack, request, kind)
            change_set.changes = change_sets.changes(self.engine, stack, request)
        except AWSError as error:
            return _failed(change_set, error.message)
        if kind == "IMPORT" and any(change.action != "Import" for change in change_set.changes):
            return _failed(change_set, "As part of the import operation, you cannot modify or add [Resources]")
        if kind == "UPDATE" and not self._differs(stack, request, change_set.changes):
            return _failed(change_set, NO_CHANGES)
        return change_set

    def _differs(self, stack: Stack, request: Request, changes: list[Change]) -> bool:
        """Whether executing would do anything, outputs and tags included."""
        if changes or stack.request is None or request.tags != stack.tags:
            return True
        return bool(request.template.outputs != stack.request.template.outputs)

    def _find_imports(self, handling: Handling, stack: Stack, request: Request, kind: str) -> None:
        if kind == "IMPORT":
            for wanted in handling.params.get("ResourcesToImport", []):
                self._import_named(stack, request, wanted)
        elif handling.params.get("ImportExistingResources"):
            for logical_id, definition in request.template.resources.items():
                self._import_existing(stack, request, logical_id, definition)

    def _import_named(self, stack: Stack, request: Request, wanted: Mapping[str, Any]) -> None:
        logical_id = str(wanted["LogicalResourceId"])
        definition = request.template.resources.get(logical_id)
        if definition is None or definition["Type"] != wanted["ResourceType"]:
            raise invalid(f"Resources [{logical_id}] must be in the template with the type to import")
        if "DeletionPolicy" not in definition:
            raise invalid(f"Resources to import must have DeletionPolicy attribute in the template: [{logical_id}]")
        physical_id = self.engine.kinds[definition["Type"]].identified_by(wanted["ResourceIdentifier"])
        _refuse_owned(stack, definition["Type"], physical_id)
        if not self.engine.exists(stack, definition["Type"], logical_id, physical_id):
            raise invalid(f"Resource of type '{definition['Type']}' with identifier '{physical_id}' was not found.")
        request.imports[logical_id] = physical_id

    def _import_existing(self, stack: Stack, request: Request, logical_id: str, definition: Mapping[str, Any]) -> None:
        """Take a resource in if it is there: named literally in the template, kept on deletion, in no stack."""
        if logical_id in stack.resources or definition.get("DeletionPolicy") not in _RETAINED:
            return
        kind = self.engine.kinds[definition["Type"]]
        identifiers = engine.fixed_identifiers(kind, definition.get("Properties", {}))
        physical_id = kind.identified_by(identifiers) if identifiers else ""
        owned = physical_id and _owner(definition["Type"], physical_id, stack)
        if physical_id and not owned and self.engine.exists(stack, kind.type_name, logical_id, physical_id):
            request.imports[logical_id] = physical_id

    def execute_change_set(self, handling: Handling) -> Output:
        stack, change_set = _change_set(handling)
        token = str(handling.params.get("ClientRequestToken", ""))
        if change_set.execution != "AVAILABLE" and token and change_set.execution_token == token:
            return {}  # the same call again
        if change_set.execution != "AVAILABLE" or time.monotonic() < change_set.ready_at:
            message = (
                f"ChangeSet [{change_set.id}] cannot be executed in its current status of [{change_set.status}] and "
                f"execution status of [{change_set.execution}]"
            )
            raise AWSError("InvalidChangeSetStatus", message, 400)
        _refuse_busy(stack, reviewing=True)
        change_set.execution, change_set.execution_token = "EXECUTE_IN_PROGRESS", token
        request = change_set.request
        request.token = token
        if handling.params.get("DisableRollback"):
            request.on_failure = "DO_NOTHING"
        stack.last_change_set = change_set.id
        self.engine.start(stack, _executed(stack, change_set, self._operation(stack, change_set)))
        return {}

    def _operation(self, stack: Stack, change_set: ChangeSet) -> Iterable[str]:
        run = {"CREATE": self.engine.create, "UPDATE": self.engine.update, "IMPORT": self.engine.adopt}
        return run[change_set.kind](stack, change_set.request)

    def describe_change_set(self, handling: Handling) -> Output:
        stack, change_set = _change_set(handling)
        ready = time.monotonic() >= change_set.ready_at
        page, token = _page(change_set.changes if ready else [], handling.params)
        values = bool(handling.params.get("IncludePropertyValues"))
        request = change_set.request
        return {
            **_change_set_told(stack, change_set, ready=ready),
            "Parameters": _parameters_told(request),
            "Tags": [{"Key": key, "Value": value} for key, value in request.tags.items()],
            "Capabilities": request.capabilities,
            "NotificationARNs": request.notifications,
            "RollbackConfiguration": {},
            "OnStackFailure": request.on_failure,
            "Changes": [_line_told(change, values=values) for change in page],
            "NextToken": token,
        }

    def list_change_sets(self, handling: Handling) -> Output:
        stack = _existing(handling)
        told = [
            _change_set_told(stack, change_set, ready=True)
            for change_set in stack.change_sets.values()
            if change_set.execution != "EXECUTE_COMPLETE"
        ]
        return {"Summaries": told}

    def delete_change_set(self, handling: Handling) -> Output:
        try:
            stack, change_set = _change_set(handling)
        except AWSError:
            return {}
        if change_set.execution == "EXECUTE_IN_PROGRESS":
            raise AWSError("InvalidChangeSetStatus", f"ChangeSet [{change_set.id}] is being executed", 400)
        del stack.change_sets[change_set.name]
        return {}

    # drift ---------------------------------------------------------------------------------------------------------

    def detect_stack_drift(self, handling: Handling) -> Output:
        stack = _existing(handling)
        wanted = handling.params.get("LogicalResourceIds") or list(stack.resources)
        detection = drift.detect(self.engine, stack, wanted)
        handling.place.state("drift")[detection["StackDriftDetectionId"]] = detection
        return {"StackDriftDetectionId": detection["StackDriftDetectionId"]}

    def detect_stack_resource_drift(self, handling: Handling) -> Output:
        stack, logical_id = _existing(handling), str(handling.params["LogicalResourceId"])
        if logical_id not in stack.resources:
            raise invalid(f"Resource {logical_id} does not exist for stack {stack.name}")
        drift.detect(self.engine, stack, [logical_id])
        return {"StackResourceDrift": stack.resources[logical_id].drift}

    def describe_drift_detection(self, handling: Handling) -> Output:
        known = handling.place.state("drift")
        wanted = str(handling.params["StackDriftDetectionId"])
        if wanted not in known:
            raise invalid(f"Drift detection {wanted} does not exist")
        detection: Output = known[wanted]
        return detection

    def describe_stack_resource_drifts(self, handling: Handling) -> Output:
        wanted = handling.params.get("StackResourceDriftStatusFilters") or []
        found = [resource.drift for resource in _existing(handling).resources.values() if resource.drift]
        return {"StackResourceDrifts": [d for d in found if not wanted or d["StackResourceDriftStatus"] in wanted]}


# what is allowed when ----------------------------------------------------------------------------------------------


def _existing(handling: Handling) -> Stack:
    name = str(handling.params.get("StackName", ""))
    stack = model.find(handling.place, name)
    if stack is None:
        raise invalid(f"Stack with id {name} does not exist")
    return stack


def _change_set(handling: Handling) -> tuple[Stack, ChangeSet]:
    wanted, name = str(handling.params["ChangeSetName"]), handling.params.get("StackName")
    if not wanted.startswith("arn:") and not name:
        raise invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
    named = model.find(handling.place, str(name)) if name else None
    if name and named is None:
        raise AWSError("ChangeSetNotFound", f"Stack [{name}] does not exist", 404)
    for stack in [named] if named else model.all_stacks(handling.place):
        for change_set in stack.change_sets.values():
            if wanted in (change_set.id, change_set.name if named else change_set.id):
                return stack, change_set
    raise AWSError("ChangeSetNotFound", f"ChangeSet [{wanted}] does not exist", 404)


def _refuse_bad_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        message = f"1 validation error detected: Value '{name}' at '{what}' failed to satisfy constraint: "
        raise invalid(f"{message}Member must satisfy regular expression pattern: {_NAME.pattern}")


def _refuse_busy(stack: Stack, *, reviewing: bool = False) -> None:
    if stack.status in _UPDATABLE or (reviewing and stack.status == "REVIEW_IN_PROGRESS"):
        return
    raise invalid(f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.")


def _refuse_wrong_state(stack: Stack | None, name: str, kind: str, change_set: str) -> None:
    if kind == "UPDATE":
        if stack is None:
            raise invalid(f"Stack [{name}] does not exist")
        _refuse_busy(stack)
    elif kind == "CREATE" and stack is not None and stack.status != "REVIEW_IN_PROGRESS":
        raise invalid(f"Stack [{name}] already exists and cannot be created again with the changeSet [{change_set}].")
    elif kind == "IMPORT" and stack is not None:
        _refuse_busy(stack, reviewing=True)


def _again(stack: Stack, change_set: ChangeSet, params: Mapping[str, Any]) -> Output:
    token = str(params.get("ClientToken", ""))
    if token and token == change_set.client_token:
        return {"Id": change_set.id, "StackId": stack.stack_id}
    raise AWSError("AlreadyExistsException", f"ChangeSet {change_set.name} already exists", 400)


def _refuse_missing_capabilities(template: Template, given: list[str]) -> None:
    needed = _capabilities_needed(template)
    if not needed or "CAPABILITY_NAMED_IAM" in given or (needed == ["CAPABILITY_IAM"] and "CAPABILITY_IAM" in given):
        return
    raise AWSError("InsufficientCapabilitiesException", f"Requires capabilities : [{needed[0]}]", 400)


def _capabilities_needed(template: Template) -> list[str]:
    iam_resources = [resource for resource in template.resources.values() if resource["Type"] in _IAM_NAMES]
    named = any(_IAM_NAMES[r["Type"]] in r.get("Properties", {}) for r in iam_resources if _IAM_NAMES[r["Type"]])
    return ["CAPABILITY_NAMED_IAM"] if named else ["CAPABILITY_IAM"] if iam_resources else []


def _reason_for(template: Template) -> str:
    types = sorted({str(r["Type"]) for r in template.resources.values() if r["Type"] in _IAM_NAMES})
    return f"The following resource(s) require capabilities: [{', '.join(types)}]"


def _refuse_owned(stack: Stack, type_name: str, physical_id: str) -> None:
    owner = _owner(type_name, physical_id, stack)
    if owner:
        raise invalid(f"Resource [{physical_id}] already exists in stack [{owner}]")


def _owner(type_name: str, physical_id: str, asking: Stack) -> str:
    """The stack that already has this resource, "" if none."""
    for stack in model.stacks_everywhere():
        here = (stack.place.account, stack.place.region) == (asking.place.account, asking.place.region)
        if here and any(r.type == type_name and r.physical_id == physical_id for r in stack.resources.values()):
            return stack.stack_id
    return ""


def _failed(change_set: ChangeSet, reason: str) -> ChangeSet:
    change_set.status, change_set.execution, change_set.reason = "FAILED", "UNAVAILABLE", reason
    return change_set


def _executed(stack: Stack, change_set: ChangeSet, operation: Iterable[str]) -> Any:
    """The operation, and what becomes of the stack's change sets when it is over."""
    yield from operation
    done = stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
    change_set.execution = "EXECUTE_COMPLETE" if done else "EXECUTE_FAILED"
    if done:
        stack.change_sets = {change_set.name: change_set}


def _on_failure(params: Mapping[str, Any]) -> str:
    return "DO_NOTHING" if params.get("DisableRollback") else str(params.get("OnFailure", "ROLLBACK"))


def _parameters(params: Mapping[str, Any], before: Request | None) -> dict[str, str]:
    given = {}
    for parameter in params.get("Parameters", []):
        key = str(parameter["ParameterKey"])
        if parameter.get("UsePreviousValue"):
            if before is None or key not in before.parameters:
                raise invalid(f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as true")
            given[key] = before.parameters[key]
        else:
            given[key] = str(parameter.get("ParameterValue", ""))
    return given


def _from_bucket(place: Place, url: str) -> str:
    """A template in a bucket of the simulated AWS, by either form of its URL."""
    host, _, path = url.removeprefix("https://").removeprefix("http://").partition("/")
    bucket = host.split(".s3")[0] if ".s3" in host else ""
    if not bucket:
        bucket, _, path = path.partition("/")
    return str(place.client("s3").get_object(Bucket=bucket, Key=path)["Body"].read().decode())


# what is told ------------------------------------------------------------------------------------------------------


def _page(items: list[Any], params: Mapping[str, Any], size: int = 100) -> tuple[list[Any], str | None]:
    start = int(params.get("NextToken") or 0)
    following = start + size
    return items[start:following], str(following) if following < len(items) else None


def _stack_told(stack: Stack) -> Output:
    request = stack.request
    told: Output = {
        "StackId": stack.stack_id,
        "StackName": stack.name,
        "CreationTime": stack.made,
        "StackStatus": stack.status,
        "DisableRollback": bool(request and request.on_failure == "DO_NOTHING"),
        "NotificationARNs": request.notifications if request else [],
        "Capabilities": request.capabilities if request else [],
        "Tags": [{"Key": key, "Value": value} for key, value in stack.tags.items()],
        "Parameters": _parameters_told(request) if request else [],
        "Outputs": stack.outputs,
        "EnableTerminationProtection": stack.protected,
        "DriftInformation": {"StackDriftStatus": stack.drift},
        "RollbackConfiguration": {},
    }
    optional = {
        "StackStatusReason": stack.reason,
        "LastUpdatedTime": stack.updated,
        "DeletionTime": stack.deleted,
        "ChangeSetId": stack.last_change_set,
        "Description": request.template.description if request else "",
        "RoleARN": request.role if request else "",
        "ParentId": stack.parent,
        "RootId": stack.parent,
    }
    return told | {name: value for name, value in optional.items() if value}


def _summary_told(stack: Stack) -> Output:
    told: Output = {
        "StackId": stack.stack_id,
        "StackName": stack.name,
        "CreationTime": stack.made,
        "StackStatus": stack.status,
        "DriftInformation": {"StackDriftStatus": stack.drift},
    }
    optional = {
        "StackStatusReason": stack.reason,
        "LastUpdatedTime": stack.updated,
        "DeletionTime": stack.deleted,
        "TemplateDescription": stack.request.template.description if stack.request else "",
    }
    return told | {name: value for name, value in optional.items() if value}


def _event_told(event: Event) -> Output:
    told: Output = {
        "StackId": event.stack_id,
        "EventId": event.id,
        "StackName": event.stack_name,
        "LogicalResourceId": event.logical_id,
        "PhysicalResourceId": event.physical_id,
        "ResourceType": event.type,
        "Timestamp": event.at,
        "ResourceStatus": event.status,
    }
    optional = {"ResourceStatusReason": event.reason, "ClientRequestToken": event.token}
    return told | {name: value for name, value in optional.items() if value}


def _resource_told(resource: Resource) -> Output:
    told: Output = {
        "LogicalResourceId": resource.logical_id,
        "PhysicalResourceId": resource.physical_id,
        "ResourceType": resource.type,
        "ResourceStatus": resource.status,
        "DriftInformation": {"StackResourceDriftStatus": resource.drift.get("StackResourceDriftStatus", "NOT_CHECKED")},
    }
    return told | ({"ResourceStatusReason": resource.reason} if resource.reason else {})


def _of_stack(stack: Stack, resource: Resource) -> Output:
    return _resource_told(resource) | {
        "StackName": stack.name,
        "StackId": stack.stack_id,
        "Timestamp": resource.changed,
    }


def _slot_told(name: str, slot: Mapping[str, Any]) -> Output:
    told: Output = {
        "ParameterKey": name,
        "ParameterType": slot.get("Type", "String"),
        "NoEcho": bool(slot.get("NoEcho")),
    }
    if "Default" in slot:
        told["DefaultValue"] = templates.text_of(slot["Default"])
    if "Description" in slot:
        told["Description"] = slot["Description"]
    return told


def _parameters_told(request: Request) -> list[Output]:
    slots = request.template.parameters
    return [
        {"ParameterKey": name, "ParameterValue": "****" if slots[name].get("NoEcho") in (True, "true") else value}
        for name, value in request.parameters.items()
    ]


def _change_set_told(stack: Stack, change_set: ChangeSet, *, ready: bool) -> Output:
    told: Output = {
        "ChangeSetName": change_set.name,
        "ChangeSetId": change_set.id,
        "StackId": stack.stack_id,
        "StackName": stack.name,
        "CreationTime": change_set.made,
        "ExecutionStatus": change_set.execution if ready else "UNAVAILABLE",
        "Status": change_set.status if ready else "CREATE_IN_PROGRESS",
        "IncludeNestedStacks": False,
        "ImportExistingResources": change_set.import_existing,
    }
    optional = {"StatusReason": change_set.reason, "Description": change_set.description}
    return told | {name: value for name, value in optional.items() if value}


def _line_told(change: Change, *, values: bool) -> Output:
    told: Output = {
        "Action": change.action,
        "LogicalResourceId": change.logical_id,
        "ResourceType": change.type,
        "Scope": change.scope,
        "Details": [_detail_told(detail, values=values) for detail in change.details],
    }
    optional = {
        "PhysicalResourceId": change.physical_id,
        "Replacement": change.replacement,
        "PolicyAction": change.policy_action,
        "BeforeContext": json.dumps(change.before, default=str) if values and change.before else "",
        "AfterContext": json.dumps(change.after, default=str) if values and change.after else "",
    }
    return {"Type": "Resource", "ResourceChange": told | {name: value for name, value in optional.items() if value}}


def _detail_told(detail: Mapping[str, Any], *, values: bool) -> Output:
    told = dict(detail)
    if not values:
        hidden = ("BeforeValue", "AfterValue", "AttributeChangeType", "Path")
        told["Target"] = {name: value for name, value in detail["Target"].items() if name not in hidden}
    return told
