"""Manifests are read as the API server would read them, and an error says where, what, and what to write instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
import yaml

from apiserver import account, policy, remediation
from passmuster.api import manifest
from passmuster.api.account import AWSAccount
from passmuster.api.documents import written
from passmuster.api.parameters import CheckFacts
from passmuster.api.policy import ReadinessPolicy, WindowKind
from passmuster.api.remediation import Remediation
from passmuster.api.schema import Served
from passmuster.model.errors import InvalidManifest
from passmuster.model.parameter import Kind, Parameter, Stricter
from passmuster.model.verdict import Mode, Phase

FACTS = (
    CheckFacts("https-redirect"),
    CheckFacts("caching-layer", optional=True),
    CheckFacts(
        "secrets-rotated",
        parameters=(Parameter("maxAgeDays", Kind.INTEGER, 90, Stricter.LOWER, "Days.", minimum=1),),
    ),
)
INPUTS = (Parameter("domain", Kind.STRING, None, Stricter.SAME, "The public name of the workload."),)
HEAD = "apiVersion: passmuster.io/v1alpha1\nkind: ReadinessPolicy\nmetadata: {name: shop}\n"

Load = Callable[[str], list[Served]]


def load(text: str) -> list[Served]:
    return manifest.load(text, FACTS, INPUTS, source="shop.yaml")


def error(text: str) -> list[str]:
    with pytest.raises(InvalidManifest) as refused:
        load(text)
    return str(refused.value).splitlines()


def test_documents_become_objects_in_their_order() -> None:
    text = yaml.safe_dump_all([account("shop"), policy("shop", "shop"), remediation("shop", "one", fixes=[])])
    loaded = load(text)
    assert [type(one) for one in loaded] == [AWSAccount, ReadinessPolicy, Remediation]
    assert [one.metadata.name for one in loaded] == ["shop", "shop", "one"]


def test_a_policy_is_read_with_its_types_and_defaults() -> None:
    window = {"schedule": "0 2 * * 1-5", "duration": "3h"}
    rules = {
        "mode": "Apply",
        "maxMonthlyCost": 60,
        "windows": [window],
        "phases": [{"phase": "Stable", "mode": "Observe"}],
    }
    (loaded,) = load(yaml.safe_dump(policy("shop", "shop", interval="1h30m", remediation=rules)))
    assert isinstance(loaded, ReadinessPolicy)
    spec = loaded.spec
    assert (spec.level, spec.interval, spec.suspend) == (Phase.STABLE, timedelta(minutes=90), False)
    assert spec.remediation.windows[0].kind is WindowKind.ALLOW
    assert spec.remediation.windows[0].time_zone == "UTC"
    assert spec.remediation.mode_of(Phase.STABLE) is Mode.OBSERVE
    assert spec.remediation.mode_of(Phase.PRODUCTION) is Mode.APPLY
    assert spec.remediation.modes == {Mode.APPLY, Mode.OBSERVE}


def test_json_is_read_too() -> None:
    assert [one.metadata.name for one in load(json.dumps(policy("shop", "shop")))] == ["shop"]


def test_a_list_as_kubectl_prints_it_is_read() -> None:
    live = policy("shop", "shop")
    live["metadata"] |= {
        "uid": "1",
        "resourceVersion": "5",
        "generation": 2,
        "creationTimestamp": "2026-11-21T10:00:00Z",
    }
    live["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    live["status"] = {"score": 71.4, "level": "Foundation", "somethingNewer": 1}
    (loaded,) = load(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [live]}))
    assert isinstance(loaded, ReadinessPolicy)
    assert (loaded.metadata.generation, loaded.status.score) == (2, 71.4)


def test_a_problem_in_a_list_names_the_item() -> None:
    wrong = {"apiVersion": "v1", "kind": "List", "items": [policy("shop", "shop"), policy("shop", "two", level="Best")]}
    assert "items[1].spec.level: 'Best' is not one of" in error(yaml.safe_dump(wrong))[0]


def test_documents_of_others_and_empty_ones_are_left_out() -> None:
    text = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n---\n" + yaml.safe_dump(account("shop"))
    assert [one.kind for one in load(text)] == ["AWSAccount"]


def test_a_date_is_a_text_as_it_is_for_kubernetes() -> None:
    (loaded,) = load(
        HEAD.replace("{name: shop}", "{name: shop, labels: {since: 2026-11-21}}")
        + "spec: {accountRef: {name: a}, level: Stable}"
    )
    assert loaded.metadata.labels == {"since": "2026-11-21"}


def test_a_manifest_that_was_read_is_written_as_a_person_would_write_it() -> None:
    made = policy("shop", "shop", interval="90m", remediation={"mode": "Propose"})
    (loaded,) = load(yaml.safe_dump(made))
    assert loaded.manifest() == policy("shop", "shop", interval="1h30m", remediation={"mode": "Propose"})


# errors


def test_every_problem_is_told_at_once_in_the_order_of_lines() -> None:
    text = HEAD + (
        "spec:\n"
        "  level: Stabl\n"
        "  intervall: 1h\n"
        "  minimumScore: high\n"
        "  regions: eu-central-1\n"
        "  suspend: 1\n"
        "  accountRef: shop\n"
        "  remediation: {maxConcurrentStacks: 1.5, gating:}\n"
    )
    names = "Foundation, Production, Stable, Hardened, Enterprise"
    assert error(text) == [
        f"shop.yaml:5: spec.level: 'Stabl' is not one of {names}; did you mean Stable?",
        "shop.yaml:6: spec.intervall: there is no field 'intervall'; did you mean interval?",
        "shop.yaml:7: spec.minimumScore: 'high' is not a number",
        "shop.yaml:8: spec.regions: 'eu-central-1' is not a list",
        "shop.yaml:9: spec.suspend: 1 is not true or false",
        "shop.yaml:10: spec.accountRef: 'shop' is not a map of fields",
        "shop.yaml:11: spec.remediation.gating: it is empty: give a value or remove the field",
        "shop.yaml:11: spec.remediation.maxConcurrentStacks: 1.5 is not a whole number",
    ]


def test_the_document_is_named_where_there_are_several() -> None:
    text = yaml.safe_dump_all([account("shop"), policy("shop", "shop", level=None)])
    (said,) = error(text)
    assert said.startswith("shop.yaml:4 (document 2): ") or said.split(": ")[0].endswith("(document 2)")
    assert "spec.level: it is required: Level the account must have" in said


def test_a_misspelled_check_is_told_the_nearest_one() -> None:
    text = HEAD + "spec:\n  accountRef: {name: shop}\n  level: Stable\n  checks:\n    disabled: [https-redirct]\n"
    assert error(text) == [
        "shop.yaml:8: spec.checks.disabled[0]: there is no check 'https-redirct'; did you mean https-redirect?"
    ]


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ({"optional": ["https-redirect"]}, "https-redirect is judged anyway; checks to ask for: caching-layer"),
        ({"disabled": ["zzz"]}, "there is no check 'zzz'; there are caching-layer, https-redirect, secrets-rotated"),
        ({"parameters": {"https-redirect": {"a": 1}}}, "https-redirect has no parameters"),
        (
            {"parameters": {"secrets-rotated": {"maxAge": 1}}},
            "there is no parameter 'maxAge'; did you mean maxAgeDays?",
        ),
        ({"parameters": {"secrets-rotated": {"maxAgeDays": 0}}}, "0 is less than 1"),
        ({"parameters": {"secrets-rotated": 5}}, "5 is not a map of fields"),
        ({"parameters": {"secret-rotated": {}}}, "there is no check 'secret-rotated'; did you mean secrets-rotated?"),
    ],
)
def test_what_the_catalogue_does_not_know_is_told(checks: dict[str, object], said: str) -> None:
    (line,) = error(yaml.safe_dump(policy("shop", "shop", checks=checks)))
    assert line.endswith(said)


def test_a_field_twice_is_told_as_yaml_would_take_the_last() -> None:
    text = HEAD + "spec:\n  accountRef: {name: shop}\n  level: Stable\n  level: Production\n"
    assert error(text) == ["shop.yaml:7: spec.level: the field is there twice"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "shop.yaml: it is empty"),
        ("---\n", "shop.yaml: it is empty"),
        ("a: [", "shop.yaml:1: this is not YAML: expected the node content, but found '<stream end>'"),
        ("a: b: c", "shop.yaml:1: this is not YAML: mapping values are not allowed here"),
        ("a: \x00", "shop.yaml: this is not YAML: unacceptable character #x0000"),
        ("just text", "shop.yaml:1: 'just text' is not an object: apiVersion, kind, metadata and spec"),
        (
            "apiVersion: v1\nkind: Namespace",
            "shop.yaml: there is no AWSAccount, ReadinessAttestation, ReadinessPolicy, ReadinessReport, "
            "ReadinessWaiver or Remediation of passmuster.io/v1alpha1 in it",
        ),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, said: str) -> None:
    assert error(text)[0].startswith(said)


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "[" * 3000 + "]" * 3000, "a: &a [*a]"])
def test_what_no_reader_comes_to_the_end_of_is_refused(text: str) -> None:
    assert error(text) == ["shop.yaml: it is nested too deeply, or an alias holds itself: write it without"]


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_that_multiply_are_refused_before_they_are_written_out(form: str) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {form.format(', '.join([f'*a{n - 1}'] * 9))}" for n in range(1, 9)]
    assert error("\n".join(lines)) == [
        "shop.yaml:1: with its aliases written out it has more than 1,000,000 values: write fewer"
    ]


@pytest.mark.parametrize("at", ["", "metadata", "spec"])
def test_a_key_that_is_no_text_is_told(at: str) -> None:
    made = policy("shop", "shop")
    (made[at] if at else made)[1] = 2
    said = f"{at}: the key 1 is not a text: put it in quotes".removeprefix(": ")
    assert any(line.endswith(f": {said}") for line in error(yaml.safe_dump(made, sort_keys=False)))


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"apiVersion": "passmuster.io/v1"}, "apiVersion: 'passmuster.io/v1' is not passmuster.io/v1alpha1"),
        ({"apiVersion": "pasmuster.io/v1alpha1"}, "apiVersion: 'pasmuster.io/v1alpha1' is not passmuster.io/v1alpha1"),
        ({"apiVersion": None}, "apiVersion: nothing is not passmuster.io/v1alpha1"),
        ({"kind": "ReadinesPolicy"}, "kind: there is no kind 'ReadinesPolicy'; did you mean ReadinessPolicy?"),
        ({"kind": "ReadinessExemption"}, "kind: there is no kind 'ReadinessExemption'; "),
        ({"metadata": None}, "metadata: metadata with a name is missing"),
        ({"metadata": {}}, "metadata.name: a name is missing"),
        ({"metadata": {"name": "Shop_1"}}, "metadata.name: 'Shop_1' is not a Kubernetes name"),
        ({"metadata": {"name": 5}}, "metadata.name: 5 is not a Kubernetes name"),
        (
            {"metadata": {"name": "a", "lables": {}}},
            "metadata.lables: there is no field 'lables'; did you mean labels?",
        ),
        ({"metadata": {"name": "a", "labels": {"a.b/c": 5}}}, 'metadata.labels["a.b/c"]: 5 is not a text'),
        ({"spce": {}}, "spce: there is no field 'spce'; did you mean spec?"),
        ({"spec": None}, "spec: the spec is missing"),
        ({"spec": []}, "spec: the spec is missing"),
    ],
)
def test_a_wrong_head_is_told(head: dict[str, object], said: str) -> None:
    made = {
        key: value for key, value in {**policy("shop", "shop"), **head}.items() if value is not None or key == "spec"
    }
    if head.get("apiVersion", "") is None:
        made.pop("apiVersion", None)
    assert any(f": {said}" in line for line in error(yaml.safe_dump(made)))


def test_an_account_belongs_to_no_namespace() -> None:
    made = account("shop")
    made["metadata"]["namespace"] = "shop"
    assert error(yaml.safe_dump(made))[0].endswith(
        "metadata.namespace: AWSAccount belongs to no namespace: remove the field"
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{accountRef: {name: a}, level: Stable, minimumScore: .nan}", "spec.minimumScore: nan is not a number"),
        ("{accountRef: {name: a}, level: Stable, recovery: {true: 1}}", "spec.recovery: the key true is not a text"),
        ("{account_ref: {name: a}, level: Stable}", "there is no field 'account_ref'; did you mean accountRef?"),
        ("{accountRef: {name: A}, level: Stable}", "spec.accountRef.name: 'A' is not a Kubernetes name"),
        ("{accountRef: {nam: a}, level: Stable}", "spec.accountRef.nam: there is no field 'nam'; did you mean name?"),
        (
            "{accountSelector: {matchExpressions: [{ky: a}]}, level: Stable}",
            "spec.accountSelector.matchExpressions[0].ky: there is no field 'ky'; did you mean key?",
        ),
    ],
)
def test_more_ways_to_be_wrong(spec: str, said: str) -> None:
    assert any(said in line for line in error(f"{HEAD}spec: {spec}"))


@pytest.mark.parametrize(
    ("kind", "value", "at"),
    [
        (Kind.STRING, "([", "pattern"),
        (Kind.STRINGS, ["^/audit", "*"], "pattern[1]"),
        (Kind.STRING_MAP, {"Owner": "("}, "pattern.Owner"),
    ],
)
def test_a_pattern_that_is_no_regular_expression_is_told(kind: Kind, value: object, at: str) -> None:
    parameter = Parameter("pattern", kind, None, Stricter.SAME, "What counts.", expression=True)
    facts = (CheckFacts("workload-logs-retained", parameters=(parameter,)),)
    text = yaml.safe_dump(policy("shop", "shop", checks={"parameters": {"workload-logs-retained": {"pattern": value}}}))
    with pytest.raises(InvalidManifest) as refused:
        manifest.load(text, facts, INPUTS, source="shop.yaml")
    (said,) = str(refused.value).splitlines()
    assert f"spec.checks.parameters.workload-logs-retained.{at}: " in said
    assert " is not a regular expression: " in said


def test_a_text_that_is_too_long_is_told_the_limit() -> None:
    (said,) = error(yaml.safe_dump(account("shop", externalId="x" * 2000)))
    assert said.endswith("spec.externalId: it has 2000 characters, at most 1224 are allowed")


def test_a_path_is_written_as_in_yaml() -> None:
    path = ("metadata", "labels", "app.kubernetes.io/name", 0, "secrets-rotated")
    assert written(path) == 'metadata.labels["app.kubernetes.io/name"][0].secrets-rotated'
