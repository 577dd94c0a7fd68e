"""Every check says what its fixtures demand: pass, fail, not applicable, unknown, and its traps."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest

from cases import ALLOWED, Case, every_case, shown
from passmuster.assess.assessment import status_of
from passmuster.checks.judge import calls_of
from passmuster.model.finding import Finding
from replay import aware

CASES = [pytest.param(case, id=f"{case.check_id}: {case.name}") for case in every_case()]


@pytest.mark.parametrize("case", CASES)
def test_a_check_says_what_its_fixture_demands(case: Case) -> None:
    assert set(case.raw) <= ALLOWED, f"unknown keys {set(case.raw) - ALLOWED}"
    declared = {link.name for call in calls_of(case.check) for link in call.chain()}
    named = {name.rpartition("/")[2] for name in case.answers}
    assert named <= declared, f"{case.check_id} does not read {sorted(named - declared)}"
    findings = case.findings(case.account())
    assert status_of(findings).value == case.expect, shown(findings)
    if "findings" in case.raw:
        _match(case.raw["findings"], list(findings), shown(findings))


def _match(expected: list[dict[str, Any]], findings: list[Finding], shown: str) -> None:
    assert len(expected) == len(findings), shown
    for wanted in expected:
        hit = next((finding for finding in findings if _fits(finding, wanted)), None)
        assert hit is not None, f"no finding fits {wanted}:\n{shown}"
        findings.remove(hit)


def _fits(finding: Finding, wanted: dict[str, Any]) -> bool:
    for name, value in aware(wanted).items():
        if name == "warnings":
            found = list(finding.warnings)
            if len(found) != len(value) or not all(fnmatchcase(f, v) for f, v in zip(found, value, strict=True)):
                return False
        elif name == "facts":
            if any(finding.facts.get(k) != v for k, v in value.items()):
                return False
        else:
            text = getattr(finding, name)
            if not fnmatchcase("" if text is None else str(text), str(value).replace("[", "[[]")):
                return False
    return True
