"""The default installation changes nothing, on any account, whatever is wrong there; nor does a proposal.

Under enforced policies, with the roles that `passmuster bootstrap role` makes: the role that inspects may change
nothing, and the role that remediates is not even assumed before somebody approved something.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from changing import changes, reads, role_of
from passmuster.api.policy import RemediationRules
from passmuster.checks import catalogue as checks
from passmuster.checks.judge import distinct_calls
from passmuster.engine.ports import POLICIES, REMEDIATIONS, Key
from passmuster.model.verdict import Mode, Phase
from passmuster.remediation import catalogue as remediations
from passmuster.sandbox.accounts.catalogue import SEEDS
from passmuster.sandbox.accounts.seeded import Seeded
from passmuster.sandbox.simulated_aws import SimulatedAWS
from passmuster.sandbox.story import own_identity
from turns import World, build, clocked_engine

DEFAULT: Mapping[str, Any] = {}
PROPOSING = {"mode": "Propose", "gating": "None", "allowOwnerStackUpdates": True, "allowApiSteps": True}
RULES = {"no remediation block": DEFAULT, "mode Propose": PROPOSING}


@pytest.fixture(scope="module", params=SEEDS)
def seeded(request: pytest.FixtureRequest) -> Iterator[tuple[SimulatedAWS, Seeded]]:
    with SimulatedAWS() as aws:
        account = SEEDS[request.param].build(aws)
        with own_identity(aws, account.account_id):
            yield aws, account


def _world(aws: SimulatedAWS, account: Seeded, rules: Mapping[str, Any]) -> World:
    documents = [document for document in yaml.safe_load_all(account.manifest) if document]
    (policy,) = (document for document in documents if document["kind"] == "ReadinessPolicy")
    inputs = policy["spec"].pop("remediation", {}).get("inputs", {})
    if rules:
        policy["spec"]["remediation"] = {**rules, **({"inputs": inputs} if inputs else {})}
    policy["metadata"]["name"] = "shop"
    return build(aws, clocked_engine(aws), documents)


@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES)
def test_nothing_is_changed_before_somebody_approved_it(seeded: tuple[SimulatedAWS, Seeded], rules: str) -> None:
    aws, account = seeded
    world = _world(aws, account, RULES[rules])
    aws.requests.clear()
    with aws.enforce_iam():
        world.turn()
        world.restart()
        world.turn(2)
        world.look()
        world.turn()
    asked = list(aws.requests)
    assert len(asked) > 50
    assert [request for request in asked if changes(request)] == []
    assert {role_of(request) for request in asked} == {"", account.inspection_role_arn}
    assert {request.operation for request in asked if not role_of(request)} <= {"AssumeRole", "GetCallerIdentity"}
    report = world.cluster.get(Key("readinessreports", "shop", f"shop-{account.account_id}")) or {}
    failing = [check for check in report["status"]["checks"] if check["status"] == "Fail"]
    proposed = world.cluster.list(REMEDIATIONS)
    if rules == "mode Propose":
        assert len(proposed) >= len(failing), "every failing check has its proposal"
        states = {body["status"]["state"] for body in proposed}
        assert states <= {"AwaitingApproval", "Blocked"}
    else:
        assert proposed == []
    assert world.cluster.faults == []
    world.cluster.delete(Key(POLICIES, "shop", "shop"))
    world.engine.clients.close()


def test_without_a_remediation_block_every_phase_is_in_mode_observe() -> None:
    assert {RemediationRules().mode_of(phase) for phase in Phase} == {Mode.OBSERVE}


def test_the_verbs_part_what_reads_from_what_changes() -> None:
    assert [call.name for call in distinct_calls(checks.load()) if not reads(call.operation)] == []
    steps = [step for definition in remediations.load() for step in definition.api]
    assert len(steps) > 10
    assert [step.read.operation for step in steps if not reads(step.read.operation)] == []
    changing = [
        operation.operation
        for step in steps
        for operation in (step.change, step.undo, step.undo_absent)
        if operation is not None
    ]
    assert [operation for operation in changing if reads(operation)] == []
