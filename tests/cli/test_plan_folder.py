"""A plan as files: complete for each way, the same bytes each time, and nobody else's files touched."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import reports
from passmuster.api.remediation import Way
from passmuster.assess.plan import Plan, Step
from passmuster.cli import plan_folder, totals
from passmuster.engine.documents import Document
from passmuster.model.errors import UserError
from passmuster.model.report import Report
from passmuster.model.verdict import Phase
from passmuster.remediation import catalogue, pricing, template
from passmuster.remediation.definition import LineItem
from passmuster.remediation.ownership import NOBODY, OwnerKind, Ownership
from passmuster.remediation.rendering import Blocked, Instructions, digest_of
from passmuster.report import content

BLOCKED = Blocked("InputMissing", "Set spec.remediation.inputs.domain in the policy")


@cache
def judged() -> tuple[Report, Plan]:
    """A plan of the whole catalogue, judged from the checks' own fixtures."""
    return reports.from_fixtures()


def owned(way: Way, owner: Ownership, patch: str = "", name: str = "owned") -> Step:
    step = reports.step(name, "1.00")
    guide = Instructions(("Open the console.",), ("aws logs describe-log-groups",), patch)
    documents = {"attestation.yaml": "kind: ReadinessAttestation\n"}
    proposal = replace(
        step.proposal, way=way, owner=owner, body="", template_digest=None, instructions=guide, documents=documents
    )
    return replace(step, proposal=proposal)


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    below = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def dollars(cell: str) -> Decimal:
    return Decimal(re.sub(r"[^0-9.]", "", cell.partition("+")[0]))


# the files


def test_each_step_that_can_be_taken_has_a_folder_with_what_its_way_has() -> None:
    report, plan = judged()
    written = plan_folder.files(report, plan, "shop")
    ready = [step for step in plan.steps if step.blocked is None]
    assert {path.rpartition("/")[0] for path in written if path != plan_folder.PLAN} == {
        plan_folder.folder_of(step) for step in ready
    }
    assert len({step.proposal.way for step in ready}) > 2
    for step in ready:
        proposal, folder = step.proposal, plan_folder.folder_of(step)
        names = {path.rpartition("/")[2] for path in written if path.startswith(f"{folder}/")}
        assert names >= set(proposal.documents)
        if proposal.way is Way.ADDITIVE_STACK:
            assert names >= {"template.yaml", "parameters.json"}
        else:
            assert "guide.md" in names
            assert "template.yaml" not in names


def test_a_template_is_the_one_that_was_approved_and_takes_exactly_its_parameters() -> None:
    report, plan = judged()
    written = plan_folder.files(report, plan, "shop")
    stacks = [s for s in plan.steps if s.blocked is None and s.proposal.way is Way.ADDITIVE_STACK]
    assert len(stacks) > 5
    for step in stacks:
        folder = plan_folder.folder_of(step)
        body = written[f"{folder}/template.yaml"]
        assert digest_of(body) == step.proposal.template_digest
        asked: Document = template.parsed(body).get("Parameters", {})
        given = json.loads(written[f"{folder}/parameters.json"])
        assert all(set(entry) == {"ParameterKey", "ParameterValue"} for entry in given)
        names = {entry["ParameterKey"] for entry in given}
        assert names <= set(asked)
        assert names >= {name for name, parameter in asked.items() if "Default" not in parameter}


def test_the_same_account_gives_the_same_bytes() -> None:
    first, again = reports.from_fixtures(), reports.from_fixtures()
    assert plan_folder.files(*first, "shop") == plan_folder.files(*again, "shop")


def test_a_resource_of_terraform_gets_lines_for_its_configuration_and_one_of_a_stack_for_its_template() -> None:
    hcl = owned(Way.PATCH, Ownership(OwnerKind.TOOL, "Terraform"), 'resource "aws_x" "..." {\n}\n')
    assert plan_folder.step_files(hcl.proposal)["patch.hcl"] == 'resource "aws_x" "..." {\n}\n'
    stack = Ownership(OwnerKind.STACK, "shop-edge", "arn:stack", "WebAcl")
    lines = owned(Way.OWNER_STACK, stack, "Resources: {}\n")
    assert set(plan_folder.step_files(lines.proposal)) == {"attestation.yaml", "guide.md", "patch.yaml"}
    nobody = owned(Way.API_STEP, NOBODY)
    assert set(plan_folder.step_files(nobody.proposal)) == {"attestation.yaml", "guide.md"}
    words = [plan_folder.owner_in_words(step.proposal) for step in (hcl, lines, nobody, reports.step("own", "1.00"))]
    assert words == ["Terraform", "stack shop-edge, WebAcl", "nobody", "new"]


def test_no_document_of_a_remediation_has_the_name_of_a_file_of_ours() -> None:
    assert not [one.name for one in catalogue.load() if plan_folder.RESERVED & set(one.documents)]


# plan.md


def test_the_plan_names_every_step_with_owner_way_cost_risk_and_digest_and_its_links_lead_somewhere() -> None:
    report, plan = judged()
    written = plan_folder.files(report, plan, "shop")
    text = written["plan.md"]
    found = rows(text, "Steps")
    assert len(found) == len(plan.steps) > 20
    for row, step in zip(found, plan.steps, strict=True):
        proposal = step.proposal
        assert row[4:6] == [plan_folder.owner_in_words(proposal), proposal.way.value]
        assert dollars(row[6]) == proposal.cost.monthly
        assert ("usage" in row[6]) == bool(proposal.cost.unpriced)
        assert ("once" in row[6]) == bool(proposal.cost.once)
        assert row[7] == proposal.definition.risk
        assert row[9].strip("`") in proposal.digest
        assert f"- Digest: `{proposal.digest}`" in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert {link for link in links if "/" in link} <= set(written)
    assert len(links) > len(plan.steps)


def test_a_stack_is_applied_and_undone_by_the_commands_that_the_plan_prints() -> None:
    report, plan = judged()
    written = plan_folder.files(report, plan, "shop")
    lines = written["plan.md"].splitlines()
    deployed = [shlex.split(line) for line in lines if line.startswith("aws cloudformation deploy ")]
    deleted = [shlex.split(line) for line in lines if line.startswith("aws cloudformation delete-stack ")]
    stacks = [s.proposal for s in plan.steps if s.blocked is None and s.proposal.way is Way.ADDITIVE_STACK]
    assert len(deployed) == len(deleted) == len(stacks)
    for command, undo, proposal in zip(deployed, deleted, stacks, strict=True):
        assert option(command, "--stack-name") == option(undo, "--stack-name") == proposal.stack
        assert option(command, "--region") == option(undo, "--region") == proposal.region
        assert option(command, "--template-file") in written
        if "--parameter-overrides" in command:
            assert option(command, "--parameter-overrides").removeprefix("file://") in written
        assert ("--capabilities" in command) == bool(proposal.definition.capabilities)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_a_blocked_step_says_what_to_do_and_has_no_files_and_no_part_in_the_totals() -> None:
    plan = Plan((reports.step("open", "1.25"), reports.step("shut", "6.00", blocked=BLOCKED, unpriced="requests")), ())
    written = plan_folder.files(judged()[0], plan, "shop")
    assert not [path for path in written if "shop-shut" in path]
    assert BLOCKED.message in written["plan.md"]
    assert rows(written["plan.md"], "Cost") == [
        ["Production", "2", "$1.25", "$7.25", "1"],
        ["**All**", "2", "$1.25", "$7.25", "1"],
    ]
    assert str(totals.whole(plan)) == (
        "$1.25 a month, $6.00 more once what is blocked can be done, and the usage of 1 step"
    )


def test_the_totals_are_the_sums_of_their_steps_and_of_their_positions() -> None:
    report, plan = judged()
    found = totals.phases(plan)
    assert [total.phase for total in found] == [
        p for p in Phase if p in {s.proposal.definition.phase for s in plan.steps}
    ]
    ready = [step for step in plan.steps if step.blocked is None]
    for total in found:
        priced = [
            position.monthly
            for step in ready
            if step.proposal.definition.phase is total.phase
            for position in step.proposal.cost.positions
            if position.monthly is not None
        ]
        assert total.monthly == sum(priced)
    assert sum(total.monthly for total in found) == totals.whole(plan).monthly == plan.monthly_cost() > 0
    *phases, whole = rows(plan_folder.files(report, plan, "shop")["plan.md"], "Cost")
    for column in (2, 3):
        assert sum(dollars(row[column]) for row in phases) == dollars(whole[column])
    assert sum(int(row[1]) for row in phases) == int(whole[1]) == len(plan.steps)


def test_what_is_paid_once_is_told_beside_the_month_and_is_in_no_total() -> None:
    step = reports.step("open", "1.25")
    once = pricing.Position("requests", 2, None, Decimal("0.02"))
    cost = pricing.Cost((*step.proposal.cost.positions, once))
    plan = Plan((replace(step, proposal=replace(step.proposal, cost=cost)),), ())
    assert totals.of_step(plan.steps[0]) == "$1.25 + $0.02 once"
    assert str(totals.whole(plan)) == "$1.25 a month"
    written = plan_folder.files(judged()[0], plan, "shop")["plan.md"]
    assert "- Costs: requests, $0.02 once" in written
    assert content.position("requests", None, once.once) == content.Position("requests", "$0.02 once", once=True)


REVIEWED = [
    ("nat-gateway-hour", 730, "32.85"),
    ("route53-hosted-zone-month", 1, "0.50"),
    ("route53-health-check-month", 1, "0.50"),
    ("canary-run", 4000, "4.80"),
    ("xray-traces", 1, "5.00"),
]
"""Positions of the review's bill, in us-east-1, with the quantity at which our price list gives its figure."""


@pytest.mark.parametrize(("key", "quantity", "monthly"), REVIEWED)
def test_the_figures_of_the_review_are_those_of_the_price_list(key: str, quantity: float, monthly: str) -> None:
    assert pricing.cost([LineItem(key, quantity)], "us-east-1", {}).monthly == Decimal(monthly)


def test_the_remediations_bill_the_reviews_nat_gateway_and_health_check_as_the_review_does() -> None:
    def billed(name: str, title: str) -> Decimal | None:
        definition = next(one for one in catalogue.load() if one.name == name)
        bill = pricing.cost(definition.cost, "us-east-1", {})
        return next(position.monthly for position in bill.positions if position.title == title)

    assert billed("nat-gateway", "NAT gateway") == Decimal("32.85")
    assert billed("dns-health-check", "health check of an AWS endpoint") == Decimal("0.50")


# writing


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_second_run_replaces_what_the_first_wrote_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    plan_folder.write(folder, {"plan.md": "one\n", "1-production/a/guide.md": "a\n", "1-production/b/guide.md": "b\n"})
    first = contents(folder)
    plan_folder.write(folder, {"plan.md": "one\n", "1-production/a/guide.md": "a\n", "1-production/b/guide.md": "b\n"})
    assert contents(folder) == first
    (folder / "1-production/b/notes.txt").write_text("mine")
    plan_folder.write(folder, {"plan.md": "two\n"})
    assert set(contents(folder)) == {plan_folder.LIST, "plan.md", "1-production/b/notes.txt"}
    assert (folder / "plan.md").read_text() == "two\n"
    assert not (folder / "1-production/a").exists()


@pytest.mark.parametrize("there", [{"README.md": "mine"}, {"plan.md": "mine"}])
def test_a_folder_that_somebody_else_filled_is_refused_and_stays_as_it_is(tmp_path: Path, there: Any) -> None:
    for name, text in there.items():
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(UserError, match="did not write: name a folder that is empty"):
        plan_folder.write(tmp_path, {"plan.md": "ours\n"})
    assert contents(tmp_path) == before


def test_a_file_in_the_way_of_a_new_step_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    plan_folder.write(tmp_path, {"plan.md": "one\n"})
    (tmp_path / "guide.md").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="is in the way"):
        plan_folder.write(tmp_path, {"plan.md": "two\n", "guide.md": "ours\n"})
    assert contents(tmp_path) == before


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/outside.txt", "a/../../outside.txt"])
def test_a_list_that_names_a_file_outside_of_the_folder_removes_nothing(tmp_path: Path, path: str) -> None:
    outside, folder = tmp_path / "outside.txt", tmp_path / "plan"
    outside.write_text("mine")
    plan_folder.write(folder, {"plan.md": "one\n"})
    (folder / plan_folder.LIST).write_text(f"plan.md\n{path}\n")
    with pytest.raises(UserError, match="outside of the folder"):
        plan_folder.write(folder, {"plan.md": "two\n"})
    assert outside.read_text() == "mine"


def test_a_file_instead_of_a_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "plan").write_text("mine")
    with pytest.raises(UserError, match="is no folder"):
        plan_folder.write(tmp_path / "plan", {"plan.md": "one\n"})


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"--output-dir: .*taken/plan cannot be written: Not a dir.*; choose another"):
        plan_folder.write(tmp_path / "taken" / "plan", {"plan.md": "ours\n"})


def test_names_of_an_account_are_no_markup_in_a_plan() -> None:
    evil = "![x](https://evil.example/p.png)`"
    step = owned(Way.PATCH, Ownership(OwnerKind.TOOL, evil), "attribute = true\n")
    report, _ = judged()
    text = plan_folder.files(report, Plan((step,), ()), evil)["plan.md"]
    outside = re.sub(r"(?ms)^```.*?^```$", "", text)
    assert "!\\[x](https" in outside
    assert "![x](https" not in outside


def test_every_template_is_small_enough_for_the_printed_command() -> None:
    sizes = {one.name: len(one.template.encode()) for one in catalogue.load() if one.template}
    assert max(sizes.values()) <= 51_200, "aws cloudformation deploy takes more only from a bucket"
