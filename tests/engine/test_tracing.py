"""What a turn of the engine tells of itself to whoever traces it: what brought it, whose accounts, and its trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from otlp_receiver import Received, Receiver, receiver
from passmuster.api.resource import BY_ALERT, REQUESTED_AT
from passmuster.handlers.tracing import tracer_of
from passmuster.model.trace import Tracer
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT
from turns import POLICY, World


@dataclass
class Traced:
    """A world whose turns are traced."""

    world: World
    tracer: Tracer
    collector: Receiver

    def turn(self) -> Received:
        """One turn, as the collector sees it."""
        before = len(self.collector.named("turn"))
        with self.tracer.trace("turn", {"passmuster.trigger": "due"}):
            self.world.turn()
        found: Received = self.collector.until(lambda it: it.named("turn")[before:])[0]
        return found

    def ask(self, token: str) -> None:
        """The annotation by which an inspection is asked for."""
        self.world.cluster.patch(POLICY, {"metadata": {"annotations": {REQUESTED_AT: token}}})


@pytest.fixture
def traced(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    with receiver() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        tracer = tracer_of(environment, "one")
        world.reconciler.services.tracer = tracer
        yield Traced(world, tracer, collector)
        tracer.close()


def test_a_turn_that_nobody_asked_for_keeps_what_brought_it(traced: Traced) -> None:
    assert traced.turn().attributes == {
        "passmuster.trigger": "due",
        "passmuster.account_ids": [DEFAULT_ACCOUNT],
    }


@pytest.mark.parametrize(("token", "trigger"), [("now", "request"), (f"{BY_ALERT}0123456789abcdef", "alert")])
def test_a_turn_that_was_asked_for_says_by_whom(traced: Traced, token: str, trigger: str) -> None:
    traced.ask(token)
    assert traced.turn().attributes["passmuster.trigger"] == trigger


def test_a_suspended_policy_has_traces_too_and_no_inspection_in_them(traced: Traced) -> None:
    traced.world.cluster.patch(POLICY, {"spec": {"suspend": True}})
    turn = traced.turn()
    assert turn.attributes["passmuster.account_ids"] == [DEFAULT_ACCOUNT]
    assert traced.collector.below(turn) == []


def test_an_inspection_that_was_traced_is_the_exemplar_of_its_duration(traced: Traced) -> None:
    assert traced.world.counters.inspections.exemplars == {}
    traced.ask("now")
    turn = traced.turn()
    (exemplar,) = traced.world.counters.inspections.exemplars.values()
    assert exemplar.trace_id == turn.trace_id
    assert exemplar.at == pytest.approx(turn.ended, abs=30)
    assert "plan" in [span.name for span in traced.collector.below(turn)]
