"""Traces of the real operator: what a collector receives of its turns, what stands in the log, and what /metrics links.

The tests of this module tell one story in their order, on the review's account.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from e2e.conftest import World
from otlp_receiver import TOLD, Received, Receiver, receiver
from passmuster.sandbox.accounts.review import EXTERNAL_ID
from passmuster.sandbox.story import base_environment
from turns import objects

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

WATCHWORD = "canary-of-the-collector"


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


@pytest.fixture(scope="module")
def traced(world: World, collector: Receiver) -> World:
    """The operator with a policy that it has inspected, approved remediations and all."""
    world.start_operator(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{WATCHWORD}",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        OTEL_BSP_SCHEDULE_DELAY="200",
        OTEL_BSP_MAX_QUEUE_SIZE="20000",
    )
    for document in objects():
        answer = world.server.apply(document)
        assert answer.ok, answer.message
    world.until("the verdict", lambda: world.policy, lambda body: (body.get("status") or {}).get("level"))
    world.approve("cloudtrail")
    world.until("the change", lambda: world.state("cloudtrail"), lambda state: state == "Applied")
    return world


def test_a_turn_is_one_trace_of_what_was_done_in_it(traced: World, collector: Receiver) -> None:
    turn = collector.until(lambda it: next((t for t in it.named("turn") if _inspections(it, t)), None))
    assert turn.parent == ""
    assert turn.attributes["passmuster.policy"] == turn.attributes["passmuster.policy_namespace"] == "shop"
    assert turn.attributes["passmuster.account_ids"] == [traced.account.account_id]
    inspection = _inspections(collector, turn)[0]
    assert [span.name for span in collector.below(inspection)] == ["collect", "assess"]
    collect = collector.below(inspection)[0]
    requests = collector.below(collect)
    assert {"sts.AssumeRole", "sts.GetCallerIdentity", "cloudtrail.DescribeTrails"} <= {span.name for span in requests}
    assert {span.kind for span in requests} == {"CLIENT"}
    assert len(requests) > 10
    names = {span.name for span in collector.below(turn)}
    assert {"plan", "remediation", "PATCH readinesspolicies/status", "POST readinessreports"} <= names
    collector.until(lambda it: {span.trace_id for span in it.spans} == {turn.trace_id for turn in it.named("turn")})
    for span in [inspection, collect, *requests]:
        assert span.trace_id == turn.trace_id
        assert turn.begun <= span.begun <= span.ended <= turn.ended


def _inspections(collector: Receiver, turn: Received) -> list[Received]:
    return [span for span in collector.below(turn) if span.name == "inspection"]


def test_every_request_that_the_account_saw_in_an_inspection_is_a_span(traced: World, collector: Receiver) -> None:
    traced.aws.requests.clear()
    traced.inspected("count-them")
    turn = collector.until(lambda it: next((t for t in it.named("turn") if _asked(t) and _inspections(it, t)), None))
    spans = [s for s in collector.spans if s.trace_id == turn.trace_id and s.sort == "SERVICE.OPERATION"]
    assert len(spans) == len(traced.aws.requests) > 10


def _asked(turn: Received) -> bool:
    return bool(turn.attributes["passmuster.trigger"] == "request")


def test_a_turn_says_what_brought_it(traced: World, collector: Receiver) -> None:
    """`due` are the looks at the change that was under way, `request` is what was asked for before."""
    assert traced.server.patch(traced.policy, {"spec": {"interval": "2h"}}).ok
    expected = {"ReadinessPolicy", "Remediation", "due", "request"}
    collector.until(lambda it: expected <= {turn.attributes["passmuster.trigger"] for turn in it.named("turn")})


def test_the_steps_of_a_remediation_are_spans_with_the_calls_that_it_made(traced: World, collector: Receiver) -> None:
    steps = [
        span for span in collector.named("remediation") if span.attributes["passmuster.remediation"] == "cloudtrail"
    ]
    states = [span.attributes["passmuster.state"] for span in steps]
    assert states[0] == "AwaitingApproval"
    assert states[-1] == "Applied"
    made = {span.name for step in steps for span in collector.below(step)}
    assert {"cloudformation.CreateChangeSet", "cloudformation.ExecuteChangeSet"} <= made
    assert {"PATCH remediations/status", "POST events"} <= made


def test_no_span_holds_more_than_it_is_declared_to_hold(traced: World, collector: Receiver) -> None:
    for span in list(collector.spans):
        told = TOLD[span.sort]
        for name, value in span.attributes.items():
            if name == "error.type":
                continue
            for one in value if isinstance(value, list) else [value]:
                assert re.fullmatch(told[name], one), (span.name, name, one)
    told = {name for span in collector.spans for name in span.attributes}
    assert told - {"error.type"} == {name for names in TOLD.values() for name in names}


def test_no_secret_and_no_arn_leaves_with_a_span(traced: World, collector: Receiver) -> None:
    everything = b"".join(collector.raw)
    keys = base_environment(traced.aws)
    report = traced.get("readinessreports", f"shop-{traced.account.account_id}")
    resources = {f["resource"] for c in report["status"]["checks"] for f in c.get("findings", ())}
    names = {resource.rsplit(":", 1)[-1].rsplit("/", 1)[-1] for resource in resources if resource.startswith("arn:")}
    assert len(names) > 5
    hidden = {"arn:aws", EXTERNAL_ID, WATCHWORD, *keys.values(), *(name for name in names if len(name) > 12)}
    assert [one for one in hidden if one.encode() in everything] == []
    assert collector.headers["authorization"] == f"Bearer {WATCHWORD}"


def test_the_sender_says_who_it_is(traced: World, collector: Receiver) -> None:
    assert collector.resource["service.name"] == "passmuster"
    assert collector.resource["deployment.environment.name"] == "test"
    assert collector.resource["service.instance.id"]


def test_lines_of_the_log_carry_the_trace_of_their_turn(traced: World, collector: Receiver) -> None:
    account = traced.server.call("GET", "/apis/passmuster.io/v1alpha1/awsaccounts/shop-production").body
    wrong = {**account["spec"], "externalId": "wrong"}
    assert traced.server.patch(account, {"spec": wrong}).ok
    entry = traced.until("a line about it", lambda: _lines(traced, "inspection failed"), lambda lines: bool(lines))[0]
    turn = collector.until(lambda it: next((t for t in it.named("turn") if t.trace_id == entry["trace_id"]), None))
    failed = _inspections(collector, turn)[0]
    assert (failed.failed, failed.attributes["error.type"]) == (True, "CredentialsRefused")
    assert not turn.failed
    assert not any(WATCHWORD in line for line in _log(traced))
    assert all("trace_id" not in line for line in _lines(traced, "lease"))


def test_a_refused_request_says_so_and_not_what_aws_said(traced: World, collector: Receiver) -> None:
    refused = [span for span in collector.spans if span.attributes.get("passmuster.outcome") not in ("ok", None)]
    assert refused
    assert all(span.failed and re.fullmatch(r"[A-Za-z.]+", span.attributes["error.type"]) for span in refused)
    assert collector.notes == []


def _log(world: World) -> list[str]:
    return (world.folder / "operator-0.log").read_text().splitlines()


def _lines(world: World, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in _log(world) if line.startswith("{")]
    return [line for line in found if line["event"] == event]


def test_the_duration_of_an_inspection_leads_to_its_trace_in_openmetrics_alone(
    traced: World, collector: Receiver
) -> None:
    name = "passmuster_inspection_duration_seconds"
    text, kind = _scrape(traced, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    exemplars = [sample.exemplar for sample in families[name].samples if sample.exemplar]
    assert exemplars
    inspected = {span.trace_id for span in collector.named("inspection") if not span.failed}
    assert {exemplar.labels["trace_id"] for exemplar in exemplars} <= inspected
    assert [f.name for f in families.values() if f.name != name and any(s.exemplar for s in f.samples)] == []
    plain, kind = _scrape(traced, "text/plain")
    assert kind.startswith("text/plain")
    assert "trace_id" not in plain
    assert {family.name for family in plain_families(plain)} == set(families)


def _scrape(world: World, accept: str) -> tuple[str, str]:
    request = urllib.request.Request(f"{world.operator.url}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]
