"""Each write to a real API server is a span with its method, its resource and how it ended; a read is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import apiserver
from apiserver import ApiServer
from otlp_receiver import Receiver, receiver
from passmuster.engine.ports import POLICIES, REMEDIATIONS, ClusterUnreachable, Conflict, Key
from passmuster.handlers.tracing import tracer_of
from passmuster.kube.cluster import KubeCluster
from passmuster.model.trace import Tracer

pytestmark = pytest.mark.apiserver

Told = dict[str, tuple[str, str]]


class Traced:
    """A cluster whose writes are traced, and what a collector hears of them."""

    def __init__(self, operator: Any, tracer: Tracer, collector: Receiver) -> None:
        self.cluster = KubeCluster(
            operator, lambda: True, namespace="passmuster-system", instance="test", tracer=tracer
        )
        self.tracer = tracer
        self.collector = collector

    def told(self) -> Told:
        """Outcome and error of each write of the last trace."""
        turn = self.collector.until(lambda it: it.named("turn"))[-1]
        return {
            span.name: (span.attributes["passmuster.outcome"], span.attributes.get("error.type", ""))
            for span in self.collector.below(turn)
        }


@pytest.fixture
def traced(server: ApiServer, operator: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    with receiver() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        tracer = tracer_of(environment, "one")
        yield Traced(operator, tracer, collector)
        tracer.close()


def test_writes_are_told_and_reads_are_not(traced: Traced, namespace: str) -> None:
    key = Key(REMEDIATIONS, namespace, "trail")
    with traced.tracer.trace("turn", {}):
        made = traced.cluster.create(REMEDIATIONS, apiserver.remediation(namespace, "trail"))
        traced.cluster.patch(key, {"metadata": {"annotations": {"a": "b"}}})
        traced.cluster.event(made, kind="Remediation", reason="Proposed", message="canary-of-an-event")
        traced.cluster.get(key)
        traced.cluster.list(REMEDIATIONS, namespace)
        traced.cluster.delete(key)
    assert traced.told() == {
        "POST remediations": ("ok", ""),
        "PATCH remediations": ("ok", ""),
        "POST events": ("ok", ""),
        "DELETE remediations": ("ok", ""),
    }
    assert b"canary-of-an-event" not in b"".join(traced.collector.raw)


def test_a_write_that_came_to_nothing_says_why(traced: Traced, server: ApiServer, namespace: str) -> None:
    made = server.create(apiserver.policy(namespace, "shop"))
    assert made.ok, made.message
    with traced.tracer.trace("turn", {}):
        assert traced.cluster.patch(Key(POLICIES, namespace, "gone"), {"metadata": {"annotations": {"a": "b"}}}) is None
        with pytest.raises(Conflict):
            traced.cluster.patch_status(Key(POLICIES, namespace, "shop"), {"accounts": 1}, resource_version="1")
        with pytest.raises(ClusterUnreachable):
            traced.cluster.create(POLICIES, {**apiserver.policy(namespace, "other"), "spec": {"level": "Highest"}})
    assert traced.told() == {
        "PATCH readinesspolicies": ("gone", ""),
        "PATCH readinesspolicies/status": ("conflict", "Conflict"),
        "POST readinesspolicies": ("failed", "ClusterUnreachable"),
    }


def test_outside_of_a_turn_a_write_is_no_trace_of_its_own(traced: Traced, namespace: str) -> None:
    assert traced.cluster.patch(Key(POLICIES, namespace, "gone"), {"metadata": {"annotations": {"a": "b"}}}) is None
    traced.tracer.close()
    assert traced.collector.spans == []
