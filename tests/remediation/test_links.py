"""Every check leads to what fixes it, and every remediation to a check that it may fix, by ways that fit.

The fix class of a check says what is asked: A an additive stack, I a change in place, P steps for its owner, T a
document that people fill in or a runbook that runs. Of several classes, A and I stand in for each other, and P for
both: then a person may have to decide.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
import pytest
import yaml
from botocore import xform_name

from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.remediation import Way
from passmuster.checks.catalogue import load as load_checks
from passmuster.checks.declaration import Check
from passmuster.inventory.operations.ssm import RUNBOOK_TAG
from passmuster.model.verdict import Fix
from passmuster.remediation import template
from passmuster.remediation.catalogue import load
from passmuster.remediation.definition import Definition
from passmuster.remediation.wording import text

CHECKS = [pytest.param(check, id=check.id) for check in load_checks()]
EVERY = [pytest.param(one, id=one.name) for one in load()]
GUIDED = [
    pytest.param(one, line, id=f"{one.name}-{number}")
    for one in load()
    if one.guide is not None
    for number, line in enumerate(one.guide.cli)
]
ATTESTED = [pytest.param(one, id=one.name) for one in load() if "attestation.yaml" in one.documents]
DOCUMENTS = [
    pytest.param(one.name, name, resource, id=f"{one.name}-{name}")
    for one in load()
    if one.template
    for name, resource in template.parsed(one.template)["Resources"].items()
    if resource["Type"] == "AWS::SSM::Document"
]
CLI_NAMES = {"s3api": "s3", "configservice": "config", "deploy": "codedeploy"}
"""Services that the AWS command line calls differently from boto3."""

EVERYWHERE = {"region", "profile", "output", "query", "cli-input-json", "filters", "max-items", "no-cli-pager"}
RENAMED = {
    ("ec2", "authorize-security-group-ingress"): {"cidr", "port", "protocol", "source-group"},
    ("ec2", "revoke-security-group-ingress"): {"cidr", "port", "protocol", "source-group"},
    ("eks", "update-cluster-version"): {"kubernetes-version"},
}
"""Parameters that the AWS command line has on top of the operation's, or calls differently."""

OF_THE_CLI = {
    ("dynamodb", "wait"),
    ("rds", "wait"),
    ("cloudformation", "deploy"),
    ("cloudformation", "wait"),
    ("s3", "cp"),
    ("s3", "ls"),
    ("s3", "sync"),
}
"""Commands that are no operation of a service."""


# links ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_has_a_remediation_of_every_kind_that_its_fix_class_names(check: Check) -> None:
    fixing = load().fixing(check.id)
    kinds = {one.way for one in fixing}
    executable = {Fix.ADDITIVE: Way.ADDITIVE_STACK, Fix.IN_PLACE: None}
    carried_out = [way for fix, way in executable.items() if fix in check.fix]
    if carried_out and Fix.PROPOSAL not in check.fix:
        assert kinds & set(carried_out), f"{check.id} can be fixed by {check.fix}, and nothing in remediations/ does"
    if Fix.PROPOSAL in check.fix:
        told = Way.GUIDE in kinds or (carried_out and any(one.guide for one in fixing))
        assert told, f"nothing tells the owner how to fix {check.id}"
    if Fix.ATTESTATION in check.fix:
        assert any(one.documents or has_runbook(one) for one in fixing), f"{check.id} has nothing to fill in or to run"


@pytest.mark.parametrize("one", EVERY)
def test_a_remediation_takes_a_way_that_the_check_allows(one: Definition) -> None:
    classes = {fix for check in one.fixes for fix in load_checks().get(check).fix}
    if one.way is None or (one.way is Way.ADDITIVE_STACK and not one.achieves):
        assert Fix.IN_PLACE in classes if one.way is None else Fix.ADDITIVE in classes
    if one.documents and any("kind: ReadinessAttestation" in body for body in one.documents.values()):
        attestable = [check for check in one.fixes if load_checks().get(check).attestable]
        assert attestable, f"{one.name} brings an attestation that no check of it accepts"


def has_runbook(one: Definition) -> bool:
    resources = template.parsed(one.template)["Resources"].values() if one.template else ()
    return any(resource["Type"] == "AWS::SSM::Document" for resource in resources)


# what people are given ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", ATTESTED)
def test_an_attestation_is_one_that_the_api_takes_once_it_is_filled_in(one: Definition) -> None:
    known = {name: f"given-{name.lower()}" for name in one.parameters}
    standing = {"policy": "shop", "namespace": "shop", "account": "123456789012", "partition": "aws"}
    body = text(one.documents["attestation.yaml"], {**known, **standing, "region": "eu-central-1", "key": "0123456789"})
    document = yaml.safe_load(body)
    assert document["spec"]["check"] in one.fixes
    days = load_checks().get(document["spec"]["check"]).attestable
    assert days is not None
    assert document["spec"]["expiresAt"] == f"AT-MOST-{days.days}-DAYS-LATER"
    document["spec"] |= {"issuedAt": "2026-11-21T00:00:00Z", "expiresAt": "2026-12-01T00:00:00Z"}
    document["spec"]["evidence"] = {"uri": "https://wiki.example.com/page", "sha256": "4c" * 32}
    read = ReadinessAttestation.model_validate(document)
    assert read.spec.check in one.fixes


@pytest.mark.parametrize(("name", "logical", "resource"), DOCUMENTS)
def test_a_runbook_is_an_automation_that_runs_with_a_class_and_a_role_of_its_own(
    name: str, logical: str, resource: Mapping[str, Any]
) -> None:
    properties = resource["Properties"]
    assert properties["DocumentType"] == "Automation"
    assert [tag["Value"] for tag in properties["Tags"] if tag["Key"] == RUNBOOK_TAG] != []
    content = properties["Content"]
    assert content["schemaVersion"] == "0.3"
    assert content["assumeRole"]
    assert content["mainSteps"]
    names = [step["name"] for step in content["mainSteps"]]
    assert len(set(names)) == len(names), f"{name}/{logical} names a step twice"
    for step in content["mainSteps"]:
        assert step["action"].startswith("aws:")
        for following in jumps(step):
            assert following in names, f"{name}/{logical}: {step['name']} goes on to {following}, which is no step"
        for operation in operations_of(step):
            operation.check(f"{name}/{logical}: {step['name']}")
    produced = {f"{step['name']}.{out['Name']}" for step in content["mainSteps"] for out in step.get("outputs", ())}
    assert {out for out in content.get("outputs", ()) if isinstance(out, str)} <= produced


def jumps(step: Mapping[str, Any]) -> Iterator[str]:
    """Where a step may go on to, beside the next one."""
    for key in ("onFailure", "onCancel"):
        said = str(step.get(key, ""))
        if said.startswith("step:"):
            yield said.removeprefix("step:")
    if step.get("nextStep"):
        yield str(step["nextStep"])
    for choice in step.get("inputs", {}).get("Choices", ()):
        yield str(choice["NextStep"])


class Asked:
    """One operation of a service that a step asks for, with its arguments."""

    def __init__(self, service: str, operation: str, arguments: Mapping[str, Any]) -> None:
        self.service, self.operation, self.arguments = service, operation, arguments

    def check(self, where: str) -> None:
        model = _service(self.service)
        assert self.operation in model.operation_names, f"{where}: {self.service} has no {self.operation}"
        shape = model.operation_model(self.operation).input_shape
        members = set(shape.members) if shape else set()
        assert set(self.arguments) <= members, f"{where}: {self.operation} has no {set(self.arguments) - members}"
        tokens = {n for n, m in (shape.members.items() if shape else ()) if m.metadata.get("idempotencyToken")}
        assert set(shape.required_members if shape else ()) - tokens <= set(self.arguments), where


OWN = {"Service", "Api", "PropertySelector", "DesiredValues"}


def operations_of(step: Mapping[str, Any]) -> Iterator[Asked]:
    inputs = step.get("inputs", {})
    if "Api" in inputs:
        given = {name: value for name, value in inputs.items() if name not in OWN}
        yield Asked(str(inputs["Service"]), str(inputs["Api"]), given)


@cache
def _service(name: str) -> Any:
    return botocore.session.get_session().get_service_model(CLI_NAMES.get(name, name))


@pytest.mark.parametrize(("one", "line"), GUIDED)
def test_a_command_of_a_guide_is_one_of_the_aws_command_line(one: Definition, line: str) -> None:
    known = dict.fromkeys(one.parameters, "value")
    standing = {"policy": "shop", "namespace": "shop", "account": "123456789012", "partition": "aws"}
    words = shlex.split(text(line, {**known, **standing, "region": "eu-central-1", "key": "0123456789"}))
    if words[0] != "aws" or (words[1], words[2]) in OF_THE_CLI:
        return
    model = _service(words[1])
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    assert words[2] in operations, f"{one.name}: aws {words[1]} has no {words[2]}"
    shape = model.operation_model(operations[words[2]]).input_shape
    members = {xform_name(name, "-") for name in (shape.members if shape else ())}
    given = {word.removeprefix("--").split("=")[0] for word in words[3:] if word.startswith("--")}
    switched = {f"no-{name}" for name in members}
    unknown = given - members - switched - EVERYWHERE - RENAMED.get((words[1], words[2]), set())
    assert unknown == set(), f"{one.name}: {line}"
