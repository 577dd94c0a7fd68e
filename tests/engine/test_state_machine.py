"""Whatever people, rules and accidents do, in whatever order: nothing is changed in AWS, and nothing counts as applied,
without an approved intent, an open window, a kept cost cap and a passing check.

Hypothesis plays everybody around the real engine on the small account of `conftest`: those who approve and withdraw,
those who edit the policy and the account, those who change AWS by hand, and a process that dies. What must hold is
asked at the moment a request that changes something was sent, and at the moment a status is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.conftest import CLUSTER, Making, insights
from passmuster.engine.ports import REMEDIATIONS, Key, Object
from passmuster.sandbox.simulated_aws import DEFAULT_REGION, SimulatedAWS
from turns import Died, Mortality, World

pytestmark = pytest.mark.slow

TRAIL, INSIGHTS = "cloudtrail", "container-insights"
JUDGED = ("cloudtrail-multi-region", "cloudtrail-log-validation", "cloudtrail-encrypted", "container-insights-enabled")
CLOSED = [{"kind": "Deny", "schedule": "* * * * *", "duration": "5m"}]
MAKES = {"ExecuteChangeSet sent": TRAIL, "UpdateClusterSettings sent": INSIGHTS}
names = st.sampled_from([TRAIL, INSIGHTS])
people = st.sampled_from(["alice", "bob", "eve"])


class _Watching(Mortality):
    """Asks a question at each point that is passed."""

    def __init__(self, machine: _Machine) -> None:
        super().__init__()
        self._machine = machine

    def reach(self, point: str) -> None:
        super().reach(point)
        if point in MAKES:
            self._machine.was_changed(MAKES[point])


class _Machine(RuleBasedStateMachine):
    """Everybody around the engine."""

    making: Making
    aws: SimulatedAWS
    happened: Counter[str]
    """What came about in all examples: a machine in which nothing happens proves nothing."""

    @initialize()
    def begin(self) -> None:
        self.world: World = self.making(judged=JUDGED, maxMonthlyCost=60)
        self.world.account_spec(minApprovals=1)
        self.world.cluster.mortality = _Watching(self)
        self.world.cluster.before_status = self.is_written
        self.world.restart()
        self.cap, self.window, self.allowed, self.least, self.mode = 60.0, True, True, 1, "Propose"

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.cluster.mortality.at = None
            self.world.cluster.leads = True
            self.world.clean()
            self._set("disabled")
            assert self.world.cluster.faults == []

    # what people do

    @rule(name=names, by=people)
    def approve(self, name: str, by: str) -> None:
        if self.world.all(name):
            self.world.approve(name, by=by)

    @rule(name=names, by=people)
    def approve_another_intent(self, name: str, by: str) -> None:
        if self.world.all(name):
            self.world.approve(name, by=by, digest="sha256:" + "0" * 64)

    @rule(name=names)
    def withdraw(self, name: str) -> None:
        if self.world.all(name):
            self.world.withdraw(name)

    @rule(name=names, by=people)
    def approve_an_undo(self, name: str, by: str) -> None:
        if self.world.all(name):
            self.world.approve(name, by=by, action="Undo")

    @rule(by=people)
    def edit_the_policy(self, by: str) -> None:
        key = Key("readinesspolicies", "shop", "shop")
        self.world.cluster.patch(key, {"metadata": {"annotations": {"passmuster.io/edited-by": by}}})

    @rule(is_open=st.booleans())
    def open_or_close_the_window(self, is_open: bool) -> None:
        self.window = is_open
        self.world.remediation_rules(windows=[] if is_open else CLOSED)

    @rule(cap=st.sampled_from([0.5, 60.0]))
    def set_the_cap(self, cap: float) -> None:
        self.cap = cap
        self.world.remediation_rules(maxMonthlyCost=cap)

    @rule(allowed=st.booleans())
    def allow_api_steps(self, allowed: bool) -> None:
        self.allowed = allowed
        self.world.remediation_rules(allowApiSteps=allowed)

    @rule(mode=st.sampled_from(["Propose", "Apply"]), least=st.integers(0, 2))
    def set_the_mode(self, mode: str, least: int) -> None:
        self.mode, self.least = mode, least
        self.world.remediation_rules(mode=mode)
        self.world.account_spec(minApprovals=least)

    @rule(days=st.sampled_from([365, 400]))
    def change_an_input(self, days: int) -> None:
        self.world.remediation_rules(inputs={"logRetentionDays": days})

    # what happens

    @rule(fault=st.sampled_from([None, "The binding differs from what this version renders"]))
    def the_approval_policy_changes(self, fault: str | None) -> None:
        self.world.cluster.guard = fault

    @rule(leads=st.booleans())
    def the_lease_goes_or_comes(self, leads: bool) -> None:
        self.world.cluster.leads = leads

    @rule(value=st.sampled_from(["enabled", "disabled", "enhanced"]))
    def somebody_sets_the_value(self, value: str) -> None:
        self._set(value)

    @rule()
    def a_stack_fails(self) -> None:
        self.aws.fail_resource("create", logical_id="Trail", reason="no room")

    @rule(ahead=st.integers(0, 8))
    def the_process_will_die(self, ahead: int) -> None:
        mortality = self.world.cluster.mortality
        mortality.at = len(mortality.points) + ahead

    @rule(name=names, action=st.sampled_from(["Apply", "Apply", "Undo"]), turns=st.integers(1, 8))
    def all_is_well_for_a_while(self, name: str, action: str, turns: int) -> None:
        """Without times in which nothing is in the way, chance would never let anything happen."""
        self.window, self.cap, self.allowed = True, 60.0, True
        self.world.remediation_rules(windows=[], maxMonthlyCost=60, allowApiSteps=True)
        self.world.cluster.guard, self.world.cluster.leads = None, True
        self.turn(1)
        for by in ("carol", "dave"):
            if self.world.all(name):
                self.world.approve(name, by=by, action=action)
        self.turn(turns)

    @rule(
        name=names,
        obstacle=st.sampled_from(["window", "cap", "leave", "guard", "lease", "approval", "editor"]),
        after=st.integers(0, 3),
    )
    def something_comes_in_the_way(self, name: str, obstacle: str, after: int) -> None:
        """An approved change is on its way when a rule changes under it; only one of the two costs anything."""
        name = TRAIL if obstacle == "cap" else INSIGHTS if obstacle == "leave" else name
        self.all_is_well_for_a_while(name, "Apply", after)
        match obstacle:
            case "window":
                self.open_or_close_the_window(is_open=False)
            case "cap":
                self.set_the_cap(0.5)
            case "leave":
                self.allow_api_steps(allowed=False)
            case "guard":
                self.the_approval_policy_changes("The binding differs from what this version renders")
            case "lease":
                self.the_lease_goes_or_comes(leads=False)
            case "approval":
                self.withdraw(name)
            case "editor":
                self.set_the_mode("Propose", 2)
                self.edit_the_policy("dave")
        self.turn(4)

    @rule(times=st.integers(1, 4))
    def turn(self, times: int) -> None:
        for _ in range(times):
            self._turn(self.world.turn)

    @rule()
    def look(self) -> None:
        self._turn(self.world.look)

    def _turn(self, turn: Any) -> None:
        try:
            turn()
        except Died:
            self.happened["a death"] += 1
            self.world.restart()

    def _set(self, value: str) -> None:
        setting = [{"name": "containerInsights", "value": value}]
        self.aws.client("ecs", DEFAULT_REGION).update_cluster_settings(cluster=CLUSTER, settings=setting)

    # what must hold

    def was_changed(self, name: str) -> None:
        """A request that changes the account was sent for this remediation."""
        world, body = self.world, self.world.remediation(name)
        self.happened[f"{world.state(name)} {name}"] += 1
        if world.state(name) == "Undoing":
            assert len(self._approvers(body, "Undo")) >= max(1, self.least), "undone without an approval of that"
        else:
            always = self.mode == "Propose" or name == INSIGHTS
            needed = max(1, self.least) if always else self.least
            assert len(self._approvers(body, "Apply")) >= needed, "made without enough approvals of this intent"
            assert self.window, "made outside of the window"
            assert body["spec"]["cost"]["monthly"] + self._spent(name) <= self.cap, "made beyond the cap"
            assert name != INSIGHTS or self.allowed, "an API was called without leave"
        assert world.cluster.guard is None, "made without the approval policy"
        assert world.cluster.leads, "made without the lease"

    def is_written(self, key: Key, status: Object) -> None:
        """A status is about to be written."""
        if key.plural != REMEDIATIONS or status.get("state") != "Applied":
            return
        name = next(one for one in (TRAIL, INSIGHTS) if one in key.name)
        states = [entry["state"] for entry in self._stored(key, status)["history"]]
        assert "Scheduled" in states, "applied without ever having been approved"
        self.happened[f"Applied {name}"] += 1
        if name == INSIGHTS:
            assert insights(self.aws) in ("enabled", "enhanced"), "applied while its check fails"
        else:
            assert self.world.trails(), "applied while its check fails"

    def _stored(self, key: Key, status: Object) -> Mapping[str, Any]:
        return {**((self.world.cluster.get(key) or {}).get("status") or {}), **status}

    def _approvers(self, body: Mapping[str, Any], action: str) -> set[str]:
        editor = self.world.policy["metadata"].get("annotations", {}).get("passmuster.io/edited-by")
        digest = body["spec"]["intent"]["digest"]
        entries = body["spec"].get("approvals", ())
        return {e["by"] for e in entries if e["digest"] == digest and e.get("action", "Apply") == action} - {editor}

    def _spent(self, name: str) -> float:
        under_way = ("ChangeSetReady", "Executing", "Settling", "Verifying", "Applied", "Undoing")
        others = [r for r in self.world.cluster.list(REMEDIATIONS) if r["spec"]["remediation"] != name]
        return sum(r["spec"]["cost"]["monthly"] for r in others if (r.get("status") or {}).get("state") in under_way)

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def there_is_at_most_one_stack(self) -> None:
        assert len([name for name in self.world.stacks() if TRAIL in name]) <= 1


@pytest.fixture
def machine(making: Making, aws: SimulatedAWS, nobodys: None) -> type[_Machine]:
    """The machine on the account of the test."""
    del nobodys
    return type("Machine", (_Machine,), {"making": staticmethod(making), "aws": aws, "happened": Counter()})


def test_there_is_no_path_to_applied_without_approval_window_cap_and_passing_check(machine: type[_Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=35,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            phases=[Phase.generate],  # an example takes seconds: what fails is told as it was found
            print_blob=True,
        ),
    )
    awaited = (
        "Executing cloudtrail",
        "Executing container-insights",
        "Applied cloudtrail",
        "Applied container-insights",
    )
    assert not {*awaited, "Undoing container-insights", "a death"} - set(machine.happened), machine.happened
