"""The pages of the remediations: what a change does, costs, interrupts, needs first, and how to undo it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from passmuster.api.remediation import Way
from passmuster.checks.catalogue import load as load_checks
from passmuster.remediation.catalogue import load
from passmuster.remediation.definition import Definition
from passmuster.remediation.pricing import prices
from passmuster.report import remediation_pages

ROOT = Path(__file__).parents[2]
EVERY = [pytest.param(one, id=one.name) for one in load()]


@pytest.mark.parametrize("one", EVERY)
def test_a_page_says_all_that_the_folder_says(one: Definition) -> None:
    text = remediation_pages.page(one, {})
    assert text.startswith(remediation_pages.GENERATED)
    assert f"# {one.title}\n" in text
    assert " ".join(one.description.split()) in text
    assert one.undo[1:].rstrip(".") in text
    assert "It interrupts" in text
    if one.interrupts != "nothing":
        assert one.interrupts in text
    for check in (*one.fixes, *one.requires):
        assert f"[{check}](../checks/{check}.md)" in text
    for given in one.inputs:
        assert f"`spec.remediation.inputs.{given.name}`: {given.description}" in text
    for item in one.cost:
        assert f"| {prices()[item.key].title} |" in text
    for step in one.api:
        assert f"{step.change.service}:{step.change.operation}" in text
    for name in one.documents:
        assert f"/{one.name}/{name})" in text
    if one.guide is not None:
        assert all(line in text for line in (*one.guide.console, *one.guide.cli))
    for _, target in re.findall(r"\[([^]]+)\]\((\.\./\.\./remediations/[^)]+)\)", text):
        assert (ROOT / target.removeprefix("../../")).exists(), target


def test_the_table_has_every_check_and_every_remediation() -> None:
    text = remediation_pages.index({})
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert {re.findall(r"\| \[([^]]+)\]", row)[0] for row in rows} == {check.id for check in load_checks()}
    named = {name for row in rows for name in re.findall(r"\| \[([^]]+)\]\(\1\.md\)", row)}
    assert named == {one.name for one in load()}
    assert set(remediation_pages.pages({})) == {"index.md", *(f"{one.name}.md" for one in load())}


def test_what_no_test_closes_is_said_with_its_reason_on_the_page_and_in_the_table() -> None:
    one = next(one for one in load() if one.way is Way.ADDITIVE_STACK)
    reason = "because no emulator has such a thing"
    told = {one.name: reason}
    row = next(line for line in remediation_pages.index(told).splitlines() if f"[{one.name}](" in line)
    assert row.endswith(f"| no, {reason} | no, {reason} |")
    assert f"No test closes its loop, {reason}." in remediation_pages.page(one, told)
    assert row.replace(f"no, {reason}", "yes") in remediation_pages.index({})
    assert "The tests go there and back" in remediation_pages.page(one, {})


def test_a_guide_is_never_said_to_be_proven() -> None:
    one = next(one for one in load() if one.way is Way.GUIDE)
    row = next(line for line in remediation_pages.index({}).splitlines() if f"[{one.name}](" in line)
    assert row.endswith("| no, because people do it | no, because people do it |")
