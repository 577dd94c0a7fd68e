"""AWS::CloudFormation::Stack: a stack that another stack makes, so that owners with nested stacks can be tested."""

from __future__ import annotations

from typing import Any

from passmuster.sandbox.emulation.stacks import model
from passmuster.sandbox.emulation.stacks.kinds import Kind, Refused, Work, unless_gone
from passmuster.sandbox.emulation.stacks.model import STACK_TYPE, Properties

_CAPABILITIES = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]


class NestedStack(Kind):
    """Ref is the id. The parent has the capabilities, and waits until the child is complete."""

    type_name = STACK_TYPE

    def create(self, work: Work, properties: Properties) -> str:
        client = work.client("cloudformation")
        name = work.generated_name(128)
        tags = work.all_tags(properties.get("Tags"), system=False)
        answer = client.create_stack(
            StackName=name, **_asked(properties), Capabilities=_CAPABILITIES, Tags=tags, DisableRollback=True
        )
        child = model.find(work.place, work.made(answer["StackId"]))
        if child is not None:
            child.parent = work.stack_id
        return work.physical_id

    def waits_for(self, work: Work, properties: Properties) -> str:
        del properties
        status = str(self.read(work)["StackStatus"])
        if status.endswith("_FAILED"):
            raise Refused(f"Embedded stack {work.physical_id} was not successfully created: it is {status}")
        return f"the stack is {status}" if status.endswith("_IN_PROGRESS") else ""

    def read(self, work: Work) -> Any:
        client = work.client("cloudformation")
        return unless_gone(lambda: client.describe_stacks(StackName=work.physical_id)["Stacks"][0])

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        work.client("cloudformation").update_stack(
            StackName=work.physical_id, **_asked(new), Capabilities=_CAPABILITIES
        )

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        work.client("cloudformation").delete_stack(StackName=work.physical_id)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        outputs = self.read(work).get("Outputs", [])
        return {f"Outputs.{output['OutputKey']}": output["OutputValue"] for output in outputs}


def _asked(properties: Properties) -> dict[str, Any]:
    parameters = properties.get("Parameters") or {}
    return {
        "TemplateURL": properties["TemplateURL"],
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    }


KINDS = (NestedStack(),)
