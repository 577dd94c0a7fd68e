"""What a proposal says it would do, from the facts of its finding: nothing that it would not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

import reports
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.finding import Finding
from passmuster.model.report import Report
from passmuster.model.verdict import Status
from passmuster.remediation import catalogue
from passmuster.remediation.rendering import Owner, Proposal, proposals
from replay import ACCOUNT, NOW, REGION

GROUP = f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/sg-1"


def proposed(name: str, facts: Mapping[str, str]) -> Proposal:
    """The only proposal of a remediation for one failing finding with these facts."""
    judged, _ = reports.from_fixtures()
    definition = next(one for one in catalogue.load() if one.name == name)
    failing = _failing(judged, definition.fixes[0], facts)
    snapshot = Snapshot(ACCOUNT, "aws", (REGION,), "us-east-1", NOW)
    (found,) = proposals(definition, failing, snapshot, Owner("shop", namespace="shop"), {})
    return found


def _failing(judged: Report, check_id: str, facts: Mapping[str, str]) -> Report:
    checks = []
    for result in judged.checks:
        if result.id == check_id:
            finding: Finding = replace(
                result.findings[0], status=Status.FAIL, reason=None, resource=GROUP, region=REGION, facts=facts
            )
            result = replace(result, status=Status.FAIL, findings=(finding,))
        checks.append(result)
    return replace(judged, checks=tuple(checks))


@pytest.mark.parametrize(
    ("rules", "operations"),
    [
        ({"IngressRuleIds": "sgr-1", "EgressRuleIds": "sgr-2"}, ["Ingress", "Egress"]),
        ({"IngressRuleIds": "", "EgressRuleIds": "sgr-2"}, ["Egress"]),
        ({"IngressRuleIds": "sgr-1,sgr-3", "EgressRuleIds": ""}, ["Ingress"]),
    ],
)
def test_a_step_that_has_nothing_to_do_is_not_proposed(rules: dict[str, str], operations: list[str]) -> None:
    found = proposed("default-security-group", {"kind": "default", "GroupId": "sg-1", **rules})
    assert found.blocked is None
    assert [step.change.operation for step in found.api] == [f"RevokeSecurityGroup{one}" for one in operations]
    assert len(found.changes) == len(operations)
    assert not any("{Ingress}" in change or "{Egress}" in change for change in found.changes)
