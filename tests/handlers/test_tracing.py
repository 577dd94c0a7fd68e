"""When spans are sent, by the environment; what one holds; and that nothing is loaded or lost where nobody asked."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from otlp_receiver import TOLD, Received, Receiver, receiver
from passmuster.aws.clients import Clients
from passmuster.aws.principal import KeyRing, Principal, acting_as
from passmuster.aws.request_spans import handlers
from passmuster.aws.transport import BotoTransport, CallError
from passmuster.handlers.tracing import tracer_of
from passmuster.inventory.call import Request
from passmuster.model.errors import UserError
from passmuster.model.trace import OFF, OUTCOME, Tracer
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS

pytestmark = pytest.mark.slow

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
SOMEWHERE = {ENDPOINT: "http://127.0.0.1:9"}
SECRET = "canary-of-a-header"


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, collector: Receiver) -> dict[str, str]:
    """What a pod would be given; OpenTelemetry reads the process's own."""
    given = {ENDPOINT: collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return given


@pytest.fixture
def tracer(environment: dict[str, str]) -> Iterator[Tracer]:
    made = tracer_of(environment, "one")
    yield made
    made.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {ENDPOINT: ""},
        {"OTEL_SERVICE_NAME": "passmuster"},
        {**SOMEWHERE, "OTEL_TRACES_EXPORTER": "none"},
        {**SOMEWHERE, "OTEL_SDK_DISABLED": "true"},
    ],
    ids=["nothing", "empty", "a name alone", "no exporter", "disabled"],
)
def test_without_an_endpoint_or_where_it_is_switched_off_nothing_is_traced(environment: dict[str, str]) -> None:
    assert tracer_of(environment, "one") is OFF


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({ENDPOINT: "otel-collector:4318"}, r"write it like http://otel-collector:4318"),
        ({ENDPOINT: f"http://ann:{SECRET}@otel-collector:4318"}, "give them in OTEL_EXPORTER_OTLP_HEADERS"),
        ({ENDPOINT: f"https://otel-collector/?key={SECRET}"}, "give them in OTEL_EXPORTER_OTLP_HEADERS"),
        ({**SOMEWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "set it to http/protobuf or leave it out"),
        ({**SOMEWHERE, "OTEL_TRACES_EXPORTER": "zipkin"}, "set it to otlp or none"),
        ({**SOMEWHERE, HEADERS: f'authorization="{SECRET}"'}, "write name=value,name=value"),
        ({**SOMEWHERE, HEADERS: SECRET}, "write name=value,name=value"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_what_to_write_and_without_a_secret(
    environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        tracer_of(environment, "one")
    assert SECRET not in str(refused.value)


def test_a_number_out_of_range_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with pytest.raises(UserError, match="max_queue_size must be a positive integer"):
        tracer_of(SOMEWHERE, "one")


@pytest.mark.parametrize(
    "headers", ["authorization=Bearer%20abc", "authorization=Bearer abc\n", "a=1, b=2,", "api-key=a/b+c==", "x="]
)
def test_headers_are_read_as_opentelemetry_reads_them(
    headers: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(HEADERS, headers)
    tracer_of({**SOMEWHERE, HEADERS: headers}, "one").close()
    assert "invalid" not in caplog.text


WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry"] = None
from passmuster.cli.main import app, run
sys.argv = ["passmuster", "operator"]
run()
"""


def test_without_the_extra_the_operator_says_what_to_install() -> None:
    ran = _python(WITHOUT_THE_EXTRA, **SOMEWHERE)
    assert ran.returncode == 2
    said = " ".join(ran.stderr.split())
    assert f"{ENDPOINT} asks for traces" in said
    assert "install passmuster[tracing], or unset the variable" in said
    assert "Traceback" not in said


NOTHING_LOADED = """
import sys
from passmuster.cli.main import app
from passmuster.handlers import operator, tracing
assert tracing.tracer_of({}, "one") is operator.OFF
print([name for name in sys.modules if name.partition(".")[0] == "opentelemetry"])
"""


def test_where_nobody_asked_nothing_of_opentelemetry_is_imported() -> None:
    ran = _python(NOTHING_LOADED)
    assert (ran.returncode, ran.stdout) == (0, "[]\n"), ran.stderr


def _python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_off_is_off(collector: Receiver) -> None:
    with OFF.trace("turn", {}) as span, OFF.span("plan", {}) as part:
        part.note({OUTCOME: "ok"})
        part.fail("Error")
        OFF.request("sts.GetCallerIdentity", {}).end()
        assert (span.trace_id, OFF.current().trace_id) == ("", "")
    assert handlers(OFF) == {}


def test_what_is_opened_within_a_trace_belongs_to_it(tracer: Tracer, collector: Receiver) -> None:
    with tracer.trace("turn", {"passmuster.account_ids": ["111111111111"]}) as turn:
        with tracer.span("plan", {}) as plan:
            assert plan.trace_id == tracer.current().trace_id == turn.trace_id
            tracer.request("sts.GetCallerIdentity", {}).end()
        tracer.current().note({"passmuster.trigger": "due"})
    sent = collector.until(lambda it: it.named("turn"))[0]
    assert sent.attributes == {"passmuster.account_ids": ["111111111111"], "passmuster.trigger": "due"}
    (plan_sent,) = collector.below(sent)
    assert [span.name for span in collector.below(plan_sent)] == ["sts.GetCallerIdentity"]
    assert (turn.trace_id, len(turn.trace_id)) == (sent.trace_id, 32)


def test_a_trace_within_a_trace_is_one_of_its_own(tracer: Tracer, collector: Receiver) -> None:
    with tracer.trace("turn", {}) as outer, tracer.trace("turn", {}) as inner:
        assert outer.trace_id != inner.trace_id
    assert {span.parent for span in collector.until(lambda it: len(it.spans) == 2 and it.spans)} == {""}


def test_outside_of_a_trace_nothing_is_recorded(tracer: Tracer, collector: Receiver) -> None:
    with tracer.span("plan", {}) as span:
        tracer.request("sts.GetCallerIdentity", {}).end()
        assert (span.trace_id, tracer.current().trace_id) == ("", "")
    tracer.close()
    assert collector.spans == []


def test_an_error_is_told_by_its_class_and_never_by_its_message(tracer: Tracer, collector: Receiver) -> None:
    with pytest.raises(UserError), tracer.trace("turn", {}):
        raise UserError(SECRET)
    sent = collector.until(lambda it: it.named("turn"))[0]
    assert (sent.failed, sent.attributes) == (True, {"error.type": "UserError"})
    assert collector.notes == []
    assert SECRET.encode() not in b"".join(collector.raw)


def test_what_is_not_sampled_has_no_id_that_would_lead_nowhere(
    environment: dict[str, str], collector: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    tracer = tracer_of(environment, "one")
    with tracer.trace("turn", {}) as turn, tracer.span("plan", {}) as plan:
        assert (turn.trace_id, plan.trace_id) == ("", "")
    tracer.close()
    assert collector.spans == []


def test_a_sender_has_a_name_a_version_and_an_instance_unless_it_is_given_others(
    environment: dict[str, str], collector: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "readiness")
    tracer = tracer_of(environment, "one")
    with tracer.trace("turn", {}):
        pass
    tracer.close()
    assert collector.resource["service.name"] == "readiness"
    assert collector.resource["service.instance.id"] == "one"
    assert collector.resource["service.version"]
    assert not {"process.command_args", "process.command_line"} & set(collector.resource)


def test_a_collector_that_does_not_answer_holds_up_neither_the_work_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        environment = {ENDPOINT: f"http://127.0.0.1:{silent.getsockname()[1]}"}
        monkeypatch.setenv(ENDPOINT, environment[ENDPOINT])
        tracer = tracer_of(environment, "one")
        begun = time.monotonic()
        for _ in range(5000):
            with tracer.trace("turn", {}):
                pass
        worked = time.monotonic()
        tracer.close()
        assert worked - begun < 10
        assert time.monotonic() - worked < 5


def test_the_documents_name_every_span_with_its_attributes() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = text.split("| span | what it covers | attributes |")[1].split("\n\n")[0].splitlines()[2:]
    written = {re.findall(r"`([^`]+)`", row)[0]: set(re.findall(r"`([^`]+)`", row)[1:]) for row in rows}
    assert written == {name: set(attributes) for name, attributes in TOLD.items()}


# requests to AWS


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    with SimulatedAWS() as running:
        yield running


class Asking:
    """Clients that a tracer hears of, as the account's root."""

    def __init__(self, tracer: Tracer, url: str, keys: Any) -> None:
        self._tracer = tracer
        ring = KeyRing()
        ring.prove(keys.access_key, DEFAULT_ACCOUNT)
        self._principal = Principal(DEFAULT_ACCOUNT, keys.access_key, keys.secret_key, None)
        self._transport = BotoTransport(Clients(ring, endpoint_url=url, handlers=handlers(tracer)))

    def ask(self, operation: str, **arguments: Any) -> str:
        """One request of S3 or STS in a trace; how it ended."""
        service = "sts" if operation == "GetCallerIdentity" else "s3"
        request = Request(service, operation, DEFAULT_REGION, tuple(arguments.items()))
        with self._tracer.trace("turn", {}), acting_as(self._principal, DEFAULT_ACCOUNT):
            try:
                list(self._transport.pages(request))
            except CallError as error:
                return error.reason.value.lower()
            return "ok"


def _request(collector: Receiver) -> Received:
    found: Received = collector.until(lambda it: next((span for span in it.spans if span.name != "turn"), None))
    return found


def test_a_request_is_told_by_service_operation_region_and_outcome(
    aws: SimulatedAWS, tracer: Tracer, collector: Receiver
) -> None:
    assert Asking(tracer, aws.url, aws.root_keys(DEFAULT_ACCOUNT)).ask("ListBuckets") == "ok"
    span = _request(collector)
    assert (span.name, span.kind, span.failed) == ("s3.ListBuckets", "CLIENT", False)
    assert span.attributes == {
        "rpc.system": "aws-api",
        "rpc.service": "s3",
        "rpc.method": "ListBuckets",
        "cloud.region": DEFAULT_REGION,
        "passmuster.outcome": "ok",
    }


def test_a_refused_request_has_the_code_and_nothing_that_was_asked_for(
    aws: SimulatedAWS, tracer: Tracer, collector: Receiver
) -> None:
    asking = Asking(tracer, aws.url, aws.root_keys(DEFAULT_ACCOUNT))
    outcome = asking.ask("GetBucketPolicy", Bucket="canary-of-a-bucket")
    span = _request(collector)
    assert (span.failed, span.attributes["error.type"]) == (True, "NoSuchBucket")
    assert span.attributes[OUTCOME] == outcome == "serviceerror"
    assert b"canary-of-a-bucket" not in b"".join(collector.raw)


def test_a_request_without_an_answer_has_the_class_of_the_error(
    aws: SimulatedAWS, tracer: Tracer, collector: Receiver
) -> None:
    outcome = Asking(tracer, "http://127.0.0.1:1", aws.root_keys(DEFAULT_ACCOUNT)).ask("ListBuckets")
    span = _request(collector)
    assert (span.failed, span.attributes["error.type"]) == (True, "EndpointConnectionError")
    assert span.attributes[OUTCOME] == outcome == "serviceerror"


def test_threads_that_are_given_the_context_work_below_what_gave_it(tracer: Tracer, collector: Receiver) -> None:
    seen: list[str] = []

    def work() -> None:
        tracer.request("sts.GetCallerIdentity", {}).end()
        seen.append(f"{threading.current_thread().name} {tracer.current().trace_id}")

    with ThreadPoolExecutor(4, thread_name_prefix="collect") as pool, tracer.trace("turn", {}) as turn:
        for done in [pool.submit(copy_context().run, work) for _ in range(20)]:
            done.result()
    sent = collector.until(lambda it: it.named("turn"))[0]
    assert len(collector.below(sent)) == 20
    assert {line.partition(" ")[2] for line in seen} == {turn.trace_id}
