"""The pages of the checks: whatever they say is in the catalogue, and every command on them exists."""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore import xform_name

from passmuster.checks import catalogue
from passmuster.checks.judge import calls_of
from passmuster.inventory.permissions import all_actions
from passmuster.remediation import catalogue as remediations
from passmuster.report import pages
from passmuster.report.controls import config_rules, security_hub_controls

ROOT = Path(__file__).parents[2]
DESIGNED = yaml.safe_load((ROOT / "tests" / "readiness_catalogue.yaml").read_text(encoding="utf-8"))
CHECKS = list(catalogue.load())
CLI_NAMES = {"s3api": "s3", "configservice": "config", "deploy": "codedeploy"}
"""Services that the AWS command line calls differently from boto3."""

EVERYWHERE = {"region", "profile", "output", "cli-input-json", "endpoint-url"}
CUSTOMIZED = {
    ("configservice", "put-configuration-recorder"): {"recording-group"},
    ("ec2", "authorize-security-group-ingress"): {"protocol", "port", "source-group"},
    ("sns", "subscribe"): {"notification-endpoint"},
}
"""Parameters that the AWS command line has on top of the operation's own."""

COMMANDS = [(check_id, line) for check_id, steps in pages.by_hand().items() for line in steps.cli]


@cache
def _service(name: str) -> Any:
    return botocore.session.get_session().get_service_model(CLI_NAMES.get(name, name))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_page_says_all_that_the_declaration_says(check: Any) -> None:
    text = pages.page(check)
    assert text.startswith(pages.GENERATED)
    assert f"# {check.title}\n" in text
    assert check.description in text
    for wanted in (check.phase, check.severity, *check.categories):
        assert wanted.value in text
    for verdict in ("| Pass |", "| Fail |", "| NotApplicable |", "| Unknown |"):
        assert verdict in text
    for parameter in check.parameters:
        assert f"| `{parameter.name}` |" in text
        assert parameter.description.replace("|", "\\|") in text
    for call in calls_of(check):
        assert f"| `{call.name}` |" in text
    for action in all_actions(calls_of(check)):
        assert f"`{action}`" in text
    for control in (*check.controls.config, *check.controls.security_hub, *check.controls.well_architected):
        assert f"[{control}](https://docs.aws.amazon.com/" in text
    for definition in remediations.load().fixing(check.id):
        assert f"### By the remediation {definition.name}" in text
        assert definition.undo in text
    if check.nothing:
        assert check.nothing in text
    if check.attestable is not None:
        assert f"at most {check.attestable.days} days" in text
    else:
        assert "An attestation is not accepted" in text


def test_the_index_lists_every_check_once_with_a_link() -> None:
    text = pages.index(CHECKS)
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert [row.split("](")[0].removeprefix("| [") for row in rows] == [check.id for check in CHECKS]
    assert set(pages.pages()) == {"index.md", *(f"{check.id}.md" for check in CHECKS)}


def test_every_designed_check_is_fixed_by_hand_too_and_no_other_is_described() -> None:
    assert set(pages.by_hand()) == set(DESIGNED)
    assert [check_id for check_id, steps in pages.by_hand().items() if not steps.console] == []


def test_a_new_check_needs_nothing_here() -> None:
    unheard = replace(CHECKS[0], id="a-check-that-nobody-wrote-steps-for")
    assert "### In the console" not in pages.page(unheard)
    assert "## How to fix it" in pages.page(unheard)


@pytest.mark.parametrize(("check_id", "line"), COMMANDS, ids=lambda part: part[:60])
def test_a_command_by_hand_is_one_of_the_aws_command_line(check_id: str, line: str) -> None:
    words = shlex.split(line)
    assert words[0] == "aws"
    model = _service(words[1])
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    assert words[2] in operations, f"{check_id}: aws {words[1]} has no {words[2]}"
    shape = model.operation_model(operations[words[2]]).input_shape
    members = {xform_name(name, "-") for name in (shape.members if shape else ())}
    given = {word.removeprefix("--").split("=")[0] for word in words[3:] if word.startswith("--")}
    unknown = given - members - EVERYWHERE - CUSTOMIZED.get((words[1], words[2]), set())
    assert unknown == set(), f"{check_id}: aws {words[1]} {words[2]} has no --{', --'.join(sorted(unknown))}"
    if "cli-input-json" not in given and shape is not None:
        tokens = {name for name, member in shape.members.items() if member.metadata.get("idempotencyToken")}
        required = {xform_name(name, "-") for name in shape.required_members if name not in tokens}
        assert required - given == set(), line


def test_controls_link_to_awss_own_pages() -> None:
    (rule,) = config_rules(["MULTI_REGION_CLOUD_TRAIL_ENABLED"])
    assert rule.url.endswith("/multi-region-cloudtrail-enabled.html")
    (control,) = security_hub_controls(["EC2.19"])
    assert control.url.endswith("/ec2-controls.html#ec2-19")
