"""Every check says what its fixtures demand: pass, fail, not applicable, unknown, and its traps."""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from passmuster.assess.assessment import status_of
from passmuster.checks.catalogue import load
from passmuster.checks.judge import calls_of, judge
from passmuster.model.evidence import Evidence, Recovery
from passmuster.model.finding import Finding
from passmuster.model.parameter import resolve
from replay import ACCOUNT, NOW, REGION, Replay, aware, collect

FOLDER = Path(__file__).parent
CASES = [
    pytest.param(document, case, id=f"{path.stem}: {case['name']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for document in [yaml.safe_load(path.read_text())]
    for case in document["cases"]
]
ALLOWED = {
    "name",
    "regions",
    "partition",
    "account",
    "parameters",
    "floors",
    "answers",
    "payer",
    "missing",
    "recovery",
    "expect",
    "findings",
}


@pytest.mark.parametrize(("document", "case"), CASES)
def test_a_check_says_what_its_fixture_demands(document: dict[str, Any], case: dict[str, Any]) -> None:
    assert set(case) <= ALLOWED, f"unknown keys {set(case) - ALLOWED}"
    check = load().get(document["check"])
    answers = {**document.get("answers", {}), **case.get("answers", {})}
    declared = {link.name for call in calls_of(check) for link in call.chain()}
    named = {name.rpartition("/")[2] for name in answers}
    assert named <= declared, f"{check.id} does not read {sorted(named - declared)}"
    regions = tuple(case.get("regions", [REGION]))
    partition = case.get("partition", "aws")

    def snapshot(account: str, recorded: dict[str, Any]) -> Any:
        transport = Replay(recorded, frozenset(case.get("missing", ())))
        return collect(calls_of(check), transport, account=account, regions=regions, partition=partition)

    recovery = case.get("recovery", {})
    evidence = Evidence(
        now=NOW,
        recovery=Recovery(
            rto=_hours(recovery.get("rto")),
            rpo=_hours(recovery.get("rpo")),
            secondary_region=recovery.get("secondaryRegion"),
            cross_region=recovery.get("crossRegion", "Required"),
        ),
    )
    findings = judge(
        check,
        snapshot(case.get("account", ACCOUNT), answers),
        resolve(check.id, check.parameters, case.get("parameters", {}), case.get("floors", {})),
        evidence,
        snapshot("999999999999", case["payer"]) if "payer" in case else None,
    )
    shown = "\n".join(f"{f.status} {f.reason} {f.region} {f.resource}: {f.message} [{f.observed}]" for f in findings)
    assert status_of(findings).value == case["expect"], shown
    if "findings" in case:
        _match(case["findings"], list(findings), shown)


def _hours(value: str | None) -> timedelta | None:
    return timedelta(hours=float(value.removesuffix("h"))) if value else None


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
