"""The trimmed service models: everything that is used is whole, and nothing else is there."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from loopback import Asked, loopback, said
from passmuster.aws import stacks
from passmuster.aws.clients import USER_AGENT, Clients
from passmuster.aws.models import PUT_OBJECT, STACK_OPERATIONS, operations_of
from passmuster.aws.principal import KeyRing, Principal, acting_as
from passmuster.checks import catalogue
from passmuster.checks.judge import distinct_calls
from passmuster.remediation import catalogue as remediations

OPERATIONS = operations_of(distinct_calls(catalogue.load()))
REGION = "eu-central-1"


@pytest.fixture(scope="module")
def trimmed() -> Iterator[Clients]:
    clients = Clients(KeyRing(), endpoint_url="http://127.0.0.1:1", operations=OPERATIONS)
    yield clients
    clients.close()


@pytest.mark.parametrize("service", sorted(OPERATIONS))
def test_a_client_has_the_operations_that_are_used_and_no_others(trimmed: Clients, service: str) -> None:
    client = trimmed.client(service, REGION)
    assert set(client.meta.service_model.operation_names) == OPERATIONS[service]
    assert all(hasattr(client, xform_name(operation)) for operation in OPERATIONS[service])


@pytest.mark.parametrize("service", sorted(OPERATIONS))
def test_what_is_used_is_described_as_botocore_describes_it(trimmed: Clients, service: str) -> None:
    ours = trimmed.client(service, REGION).meta.service_model
    theirs = botocore.session.get_session().get_service_model(service)
    for name in OPERATIONS[service]:
        mine, original = ours.operation_model(name), theirs.operation_model(name)
        assert mine.http == original.http
        for shape in ("input_shape", "output_shape"):
            assert _described(getattr(mine, shape)) == _described(getattr(original, shape)), name
        assert [shape.name for shape in mine.error_shapes] == [shape.name for shape in original.error_shapes]


@pytest.mark.parametrize("service", sorted(OPERATIONS))
def test_every_error_of_a_service_can_be_told_from_the_others(trimmed: Clients, service: str) -> None:
    """botocore reads every shape of a service when it answers the first error."""
    model = trimmed.client(service, REGION).meta.service_model
    assert model.shape_for_error_code("Throttling") is None or model.shape_for_error_code("Throttling").name
    assert {shape.type_name for shape in model.error_shapes} <= {"structure"}


def test_stacks_send_only_operations_that_exist(trimmed: Clients) -> None:
    client = trimmed.client("cloudformation", REGION)
    sent = _sent_by(stacks)
    assert sent == STACK_OPERATIONS
    assert [operation for operation in sent if not hasattr(client, xform_name(operation))] == []


def test_nothing_that_writes_is_left_outside_of_stacks_and_the_evidence_store() -> None:
    reading = ("Describe", "Get", "List", "BatchGet", "Lookup", "AssumeRole")
    others = {(service, name) for service, names in OPERATIONS.items() if service != "cloudformation" for name in names}
    steps = {(service, name) for service, names in remediations.load().operations().items() for name in names}
    assert {one for one in others if not one[1].startswith(reading)} - steps == {PUT_OBJECT}


def test_a_service_that_is_not_named_is_left_whole(trimmed: Clients) -> None:
    assert "health" not in OPERATIONS
    assert trimmed.client("health", REGION).describe_events is not None


def test_requests_say_who_asks() -> None:
    agents = []

    def answer(asked: Asked) -> Any:
        agents.append(asked.headers["User-Agent"])
        return said({"clusterArns": []})

    principal = Principal(None, "AKIAEXAMPLE", "secret", None)
    with loopback(answer) as url:
        clients = Clients(KeyRing(), endpoint_url=url, operations=OPERATIONS)
        with acting_as(principal, None):
            clients.client("ecs", REGION).list_clusters()
        clients.close()
    assert agents == [USER_AGENT]
    assert USER_AGENT.startswith("passmuster/")


def _described(shape: Any, above: tuple[str, ...] = ()) -> Any:
    """The tree of a shape, without documentation; a shape within itself is only named."""
    if shape is None or shape.name in above:
        return shape and shape.name
    inner = (*above, shape.name)
    members = getattr(shape, "members", {})
    described = {name: _described(member, inner) for name, member in members.items()}
    for name in ("member", "key", "value"):
        if name in vars(type(shape)) and getattr(shape, name, None) is not None:
            described[f"<{name}>"] = _described(getattr(shape, name), inner)
    return (shape.name, shape.type_name, dict(shape.serialization), described)


def _sent_by(module: Any) -> set[str]:
    """The operations a module names in `_read(...)` and `_mutate(...)`."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)]
    return {
        str(call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in ("_read", "_mutate")
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
