"""The generated schemas are structural, described throughout, bounded, and within the API server's budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from apiserver import ApiServer, eventually
from passmuster.api import schema
from passmuster.api.fields import NEVER_OBSERVED, Declared, Slot
from passmuster.api.parameters import CheckFacts, faults, property_of
from passmuster.model.parameter import Kind, Parameter, Stricter

Schema = dict[str, Any]

FORBIDDEN = {"$ref", "$defs", "title", "const", "anyOf", "oneOf", "allOf", "not", "discriminator", "patternProperties"}
INPUTS = tuple(
    Parameter(name, Kind.STRING, None, Stricter.SAME, description)
    for name, description in (
        ("domain", "The public name of the workload."),
        ("contactEmail", "Who is told about alarms."),
        ("healthPath", "Path of the health endpoint."),
    )
)
EVERY_KIND = (
    Parameter("days", Kind.INTEGER, 30, Stricter.HIGHER, "Days that count", minimum=1, maximum=365),
    Parameter("dollars", Kind.NUMBER, 50, Stricter.LOWER, "Dollars a month.", minimum=0),
    Parameter("strict", Kind.BOOLEAN, False, Stricter.TRUE, "Whether it counts."),
    Parameter("pattern", Kind.STRING, None, Stricter.SAME, "A pattern.", max_length=10),
    Parameter("keys", Kind.STRINGS, ("Owner",), Stricter.MORE, "Keys that must be there.", max_items=2),
    Parameter("ports", Kind.INTEGERS, (80, 443), Stricter.FEWER, "Ports that may be open.", minimum=0, maximum=65535),
    Parameter("kms", Kind.CHOICE, "any", Stricter.LATER, "Whose key.", choices=("any", "customer")),
    Parameter("classes", Kind.STRINGS, (), Stricter.MORE, "Classes.", choices=("dr", "deploy")),
    Parameter("values", Kind.STRING_MAP, {}, Stricter.SAME, "Patterns by key.", max_items=2, max_length=10),
    Parameter("tags", Kind.STRING_LISTS, {}, Stricter.SAME, "Values by tag.", max_items=2, max_length=10),
    Parameter("metrics", Kind.METRICS, (), Stricter.SAME, "Metrics with an alarm.", max_items=2),
    Parameter("usage", Kind.QUANTITIES, None, Stricter.SAME, "Usage.", choices=("log/gb", "key/requests"), minimum=0),
)


def nodes(node: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema in a schema, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), dict):
            yield from nodes(node[keyword], f"{path}[{keyword}]")


def schemas(crd: Schema) -> Schema:
    found: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


@pytest.fixture(scope="module")
def generated(facts: tuple[CheckFacts, ...]) -> dict[str, Schema]:
    """The schemas of all kinds with a check that has a parameter of every shape."""
    crds = schema.crds((*facts, CheckFacts("every-kind", True, EVERY_KIND)), INPUTS)
    return {crd["spec"]["names"]["kind"]: schemas(crd) for crd in crds}


@pytest.fixture(scope="module")
def everything(generated: dict[str, Schema]) -> list[tuple[str, Schema]]:
    """Every node below spec and status."""
    return [
        (f"{kind}.{part}{path}", node)
        for kind, whole in generated.items()
        for part in ("spec", "status")
        for path, node in nodes(whole["properties"][part])
    ]


def test_no_keyword_is_forbidden_in_a_structural_schema(everything: list[tuple[str, Schema]]) -> None:
    assert [path for path, node in everything if FORBIDDEN & set(node)] == []
    assert [path for path, node in everything if any(key.startswith("x-passmuster") for key in node)] == []
    assert [path for path, node in everything if isinstance(node.get("additionalProperties"), bool)] == []
    assert [path for path, node in everything if "properties" in node and "additionalProperties" in node] == []


def test_every_node_has_a_type_or_takes_anything(everything: list[tuple[str, Schema]]) -> None:
    assert [path for path, node in everything if "type" not in node and schema.PRESERVE not in node] == []
    anything = {path for path, node in everything if schema.PRESERVE in node}
    assert anything == {
        "ReadinessReport.status.billed[items].request",
        "ReadinessReport.status.billed[items].rows[items]",
    }


def test_every_property_is_described_in_one_sentence(everything: list[tuple[str, Schema]]) -> None:
    properties = [
        (f"{path}.{name}", child) for path, node in everything for name, child in node.get("properties", {}).items()
    ]
    assert len(properties) > 200
    for path, child in properties:
        said = child.get("description", "")
        assert said.endswith("."), path
        assert said[0].isupper() or said.startswith("passmuster"), path
        assert "\n" not in said, path
        assert len(said) <= 300, path


def test_every_kind_is_described(generated: dict[str, Schema]) -> None:
    for kind, whole in generated.items():
        assert whole["description"].startswith(f"{kind} ")
        assert whole["required"] == ["spec"]


def test_every_list_and_text_has_a_bound(everything: list[tuple[str, Schema]]) -> None:
    lists = [path for path, node in everything if node.get("type") == "array" and "maxItems" not in node]
    texts = [
        path
        for path, node in everything
        if node.get("type") == "string" and not {"maxLength", "enum", "format"} & set(node)
    ]
    maps = [path for path, node in everything if "additionalProperties" in node and "maxProperties" not in node]
    assert (lists, texts, maps) == ([], [], [])


def test_every_list_says_how_it_is_merged(everything: list[tuple[str, Schema]]) -> None:
    for path, node in everything:
        if node.get("type") != "array":
            continue
        kind = node.get("x-kubernetes-list-type")
        assert kind in ("atomic", "set", "map"), path
        if kind == "map":
            keys = node["x-kubernetes-list-map-keys"]
            inside = node["items"]
            assert all(key in inside["required"] or "default" in inside["properties"][key] for key in keys), path
        if kind == "set":
            assert node["items"]["type"] in ("string", "integer"), path


def test_what_may_be_null_is_in_a_status_and_no_enumeration(everything: list[tuple[str, Schema]]) -> None:
    nullable = [(path, node) for path, node in everything if node.get("nullable")]
    assert nullable
    assert [path for path, _ in nullable if ".status" not in path] == []
    assert [path for path, node in nullable if "enum" in node] == []


def test_defaults_are_plain_and_in_specs_but_for_what_nobody_observed(everything: list[tuple[str, Schema]]) -> None:
    defaults = {path: node["default"] for path, node in everything if "default" in node}
    unobserved = {path: value for path, value in defaults.items() if ".status" in path}
    every = [kind.definition.kind for kind in schema.KINDS]
    assert unobserved == {f"{kind}.status": {"observedGeneration": NEVER_OBSERVED} for kind in every}
    assert [path for path, value in defaults.items() if value in (None, []) or "null" in json.dumps(value)] == []
    assert defaults["ReadinessPolicy.spec.interval"] == "1h"
    assert defaults["ReadinessPolicy.spec.remediation"] == {}
    assert defaults["AWSAccount.spec.allowedModes"] == ["Observe", "Propose"]
    assert [path for path in defaults if ".parameters." in path or ".floors." in path or ".inputs." in path] == []


def test_every_rule_has_a_message_that_says_the_fix(everything: list[tuple[str, Schema]]) -> None:
    rules = [(path, rule) for path, node in everything for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) >= 14
    for path, rule in rules:
        assert len(rule["message"]) > 15, path
        assert rule["message"] != rule["rule"], path


def test_what_is_asked_for_and_what_is_observed_are_told_apart() -> None:
    for kind in schema.KINDS:
        spec, status = kind.model_fields["spec"].annotation, kind.model_fields["status"].annotation
        assert isinstance(spec, type)
        assert issubclass(spec, Declared)
        assert isinstance(status, type)
        assert issubclass(status, BaseModel)
        assert not issubclass(status, Declared)


# the catalogues' part


def test_checks_are_enumerated_wherever_one_is_named(
    generated: dict[str, Schema], facts: tuple[CheckFacts, ...]
) -> None:
    ids = sorted([*(fact.id for fact in facts), "every-kind"])
    optional = sorted([*(fact.id for fact in facts if fact.optional), "every-kind"])
    policy, account = generated["ReadinessPolicy"]["properties"]["spec"], generated["AWSAccount"]["properties"]["spec"]
    checks = policy["properties"]["checks"]["properties"]
    assert checks["disabled"]["items"]["enum"] == ids
    assert checks["optional"]["items"]["enum"] == optional
    assert account["properties"]["mayDisable"]["items"]["enum"] == ids
    assert generated["Remediation"]["properties"]["spec"]["properties"]["fixes"]["items"]["enum"] == ids
    parameters, floors = checks["parameters"]["properties"], account["properties"]["floors"]["properties"]
    assert sorted(parameters) == sorted(floors) == sorted(f.id for f in (*facts, CHECK) if f.parameters)


CHECK = CheckFacts("every-kind", True, EVERY_KIND)


def test_a_parameter_says_its_default_and_what_is_stricter(generated: dict[str, Schema]) -> None:
    checks = generated["ReadinessPolicy"]["properties"]["spec"]["properties"]["checks"]["properties"]
    said = {
        name: child["description"]
        for name, child in checks["parameters"]["properties"]["every-kind"]["properties"].items()
    }
    assert said["days"] == "Days that count; default 30; higher is stricter."
    assert said["dollars"] == "Dollars a month; default 50; lower is stricter."
    assert said["strict"] == "Whether it counts; default false; true is stricter."
    assert said["pattern"] == "A pattern."
    assert said["ports"] == "Ports that may be open; default [80, 443]; fewer entries are stricter."
    assert said["kms"] == "Whose key; default any; later in the list is stricter."
    assert said["classes"] == "Classes; default none; more entries are stricter."


def test_inputs_are_typed(generated: dict[str, Schema]) -> None:
    rules = generated["ReadinessPolicy"]["properties"]["spec"]["properties"]["remediation"]["properties"]
    assert sorted(rules["inputs"]["properties"]) == ["contactEmail", "domain", "healthPath"]


def test_without_an_optional_check_nothing_can_be_asked_for() -> None:
    crd = next(c for c in schema.crds((CheckFacts("one"),), ()) if c["spec"]["names"]["kind"] == "ReadinessPolicy")
    checks = schemas(crd)["properties"]["spec"]["properties"]["checks"]["properties"]
    assert checks["optional"]["maxItems"] == 0
    assert "enum" not in checks["optional"]["items"]
    assert checks["parameters"]["properties"] == {}


def test_every_slot_is_filled_somewhere(generated: dict[str, Schema]) -> None:
    assert "every-kind" in json.dumps(generated)
    assert set(Slot) == {
        Slot.CHECK,
        Slot.OPTIONAL_CHECK,
        Slot.ATTESTABLE_CHECK,
        Slot.ATTESTATION,
        Slot.PARAMETERS,
        Slot.FLOORS,
        Slot.INPUTS,
    }


VALUES: list[tuple[str, list[Any], list[Any]]] = [
    ("days", [1, 365, 30.0], [0, 366, "30", 1.5, True, None]),
    ("dollars", [0, 49.5], [-1, "50", False]),
    ("strict", [True, False], ["true", 1]),
    ("pattern", ["^ok$"], ["x" * 11, 5]),
    ("keys", [[], ["Owner", "Project"]], ["Owner", ["a", "b", "c"], ["a", "a"], [5]]),
    ("ports", [[443], [0, 65535]], [[65536], ["443"], [443, 443], 443]),
    ("kms", ["any", "customer"], ["none", 1]),
    ("classes", [["dr"], ["dr", "deploy"]], [["other"], ["dr", "dr"]]),
    ("values", [{}, {"Owner": ".+"}], [{"Owner": 1}, {"a": "", "b": "", "c": ""}, ["Owner"], {"a": "x" * 11}]),
    ("tags", [{}, {"Owner": ["shop"]}], [{"Owner": "shop"}, {"Owner": ["shop", "shop"]}, {"a": [], "b": [], "c": []}]),
    (
        "metrics",
        [[], [{"namespace": "Shop", "metric": "Orders"}]],
        [[{"namespace": "Shop"}], [{"namespace": "Shop", "metric": 5}], {"namespace": "Shop"}],
    ),
    (
        "usage",
        [{}, {"log/gb": 12.5}, {"log/gb": 0, "key/requests": 7}],
        [{"log/gb": "12"}, {"log/gb": -1}, {"logs/gb": 1}, ["log/gb"]],
    ),
]


@pytest.mark.parametrize(("name", "good", "bad"), VALUES, ids=[name for name, _, _ in VALUES])
def test_a_value_of_a_parameter_is_judged_by_its_kind(name: str, good: list[Any], bad: list[Any]) -> None:
    parameter = next(p for p in EVERY_KIND if p.name == name)
    assert [value for value in good if list(faults(parameter, value))] == []
    assert [value for value in bad if not list(faults(parameter, value))] == []


def test_every_kind_of_parameter_has_examples() -> None:
    assert {p.kind for p in EVERY_KIND} == set(Kind)
    assert {name for name, _, _ in VALUES} == {p.name for p in EVERY_KIND}
    assert all("description" in property_of(p) for p in EVERY_KIND)


# on the real API server


def _renamed(crd: Schema) -> Schema:
    """The same kind in a group of its own, so that it stands beside the installed one."""
    names = crd["spec"]["names"]
    names.pop("categories")
    names.pop("shortNames")
    crd["spec"]["group"] = "proof.passmuster.io"
    crd["metadata"]["name"] = f"{names['plural']}.proof.passmuster.io"
    return crd


@pytest.mark.apiserver
def test_a_catalogue_of_the_full_size_and_more_is_within_the_budget(server: ApiServer) -> None:
    many = tuple(CheckFacts(f"check-number-{n}-with-a-long-name", n % 5 == 0, EVERY_KIND) for n in range(150))
    for crd in schema.crds(many, INPUTS):
        answer = server.create(_renamed(crd), dry=True)
        assert answer.ok, answer.message


@pytest.mark.apiserver
def test_parameters_of_every_kind_are_judged_by_the_server_as_by_the_loader(server: ApiServer) -> None:
    crd = _renamed(next(c for c in schema.crds((CHECK,), INPUTS) if c["spec"]["names"]["kind"] == "AWSAccount"))
    assert server.create(crd).ok
    collection = "/apis/proof.passmuster.io/v1alpha1/awsaccounts"
    try:
        _wait(server, collection)
        for name, good, bad in VALUES:
            for value, right in (*((v, True) for v in good), *((v, False) for v in bad)):
                account = {
                    "apiVersion": "proof.passmuster.io/v1alpha1",
                    "kind": "AWSAccount",
                    "metadata": {"name": "proof"},
                    "spec": {"accountId": "123456789012", "floors": {"every-kind": {name: value}}},
                }
                answer = server.call("POST", f"{collection}?dryRun=All&fieldValidation=Strict", account)
                if value is not None:  # an empty value is pruned by the server; the loader says that it is empty
                    assert answer.ok == right, (name, value, answer.message)
    finally:
        server.delete(crd)


def _wait(server: ApiServer, collection: str) -> None:
    assert eventually(lambda: server.call("GET", collection).ok)


@pytest.mark.apiserver
def test_the_server_finds_nothing_to_complain_about_in_the_installed_kinds(server: ApiServer) -> None:
    for kind in schema.KINDS:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.definition.name}"
        conditions = {c["type"]: c["status"] for c in server.call("GET", path).body["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert conditions.get("NonStructuralSchema", "False") == "False"
