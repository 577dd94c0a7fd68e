"""Every folder of `remediations/`: loaded from a checkout and from a wheel, consistent with the checks, and valid."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml

from cases import cases_of
from passmuster.api.remediation import Way
from passmuster.checks.catalogue import load as load_checks
from passmuster.model.finding import Finding
from passmuster.model.parameter import Kind
from passmuster.model.verdict import Fix, Phase, Status
from passmuster.remediation import template
from passmuster.remediation.adoption import ADOPTABLE, described, refusal
from passmuster.remediation.catalogue import STANDING_INPUTS, Remediations, load, read
from passmuster.remediation.definition import (
    STANDING_NAMES,
    Definition,
    Filling,
    InvalidRemediation,
    LineItem,
    Place,
    Target,
)
from passmuster.remediation.pricing import cost, prices
from passmuster.remediation.reading import parse
from passmuster.sandbox.emulation.stacks.schemas import Schema, schema_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "remediations"
EVERY = [pytest.param(one, id=one.name) for one in load()]
STACKS = [pytest.param(one, id=one.name) for one in load() if one.template]
CHANGES = [pytest.param(one, id=one.name) for one in load() if one.in_place]
REGIONS = ("eu-central-1", "us-east-1", "ap-southeast-2")
DESIGNED = yaml.safe_load((ROOT / "tests" / "readiness_catalogue.yaml").read_text())
RETAINING = ("Retain", "RetainExceptOnCreate", "Snapshot")
NAMES = re.compile(r"\{(\w+)\}")


def document(one: Definition) -> Mapping[str, Any]:
    return template.parsed(one.template)


# loading --------------------------------------------------------------------------------------------------------------


def test_a_checkout_has_every_folder() -> None:
    assert {one.name for one in load()} == {path.parent.name for path in FOLDER.glob("*/*/remediation.yaml")}
    assert len(load()) >= 4
    for one in load():
        folder = FOLDER / f"{one.phase.order}-{one.phase.lower()}" / one.name
        expected = {"remediation.yaml", *one.documents} | ({"template.yaml"} if one.template else set())
        assert {path.name for path in folder.iterdir()} == expected


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, unpacked."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("no uv here, so no wheel can be built")
    out = tmp_path_factory.mktemp("wheel")
    command = [uv, "build", "--wheel", "--out-dir", str(out)]
    done = subprocess.run([*command, "--offline"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(out / "installed")
    return out / "installed"


@pytest.mark.slow
def test_a_wheel_has_the_same_remediations_as_the_checkout(wheel: Path) -> None:
    program = (
        "import json, passmuster; from passmuster.remediation.catalogue import load; "
        "print(json.dumps([passmuster.__file__, {one.name: one.template for one in load()}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=wheel,
        env={"PYTHONPATH": str(wheel), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where, found = json.loads(done.stdout)
    assert where.startswith(str(wheel))
    assert found == {one.name: one.template for one in load()}


def test_a_wheel_has_the_resource_definitions_and_the_examples(wheel: Path) -> None:
    for name in ("crds", "examples"):
        packed = {path.name for path in (wheel / "passmuster" / "data" / name).iterdir()}
        assert packed == {path.name for path in (ROOT / name).iterdir()}
        assert packed


def test_a_wheel_has_the_price_list_and_the_types_marker_and_no_tests(wheel: Path) -> None:
    assert (wheel / "passmuster" / "remediation" / "prices.yaml").is_file()
    assert {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")} == {"passmuster"}


def test_a_folder_that_disagrees_with_its_content_is_refused(tmp_path: Path) -> None:
    one = next(iter(FOLDER.glob("*/*/remediation.yaml"))).parent
    shutil.copytree(one, tmp_path / one.parent.name / "another-name")
    with pytest.raises(InvalidRemediation, match="does not agree with the name and phase inside"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "a folder: remediation.yaml: unknown \\['colour'\\]"),
        ({"title": None}, "missing \\['title'\\]"),
        ({"title": ""}, "title: it is a text"),
        ({"phase": "Sometime"}, "phase: 'Sometime'"),
        ({"risk": "Some"}, "risk: 'Some'"),
        ({"fixes": []}, "fixes: it names no check"),
        ({"fixes": "a-check"}, "fixes: it is a list"),
        ({"settles": "soon"}, "settles: a duration is a number with m, h or d"),
        ({"parameters": {"Name": {"from": "heaven.name"}}}, "parameters.Name.from: heaven.name does not begin with"),
        ({"parameters": {"Name": {}}}, "parameters.Name: it has either value or from"),
        ({"parameters": {"Name": {"value": "{heaven}"}}}, "parameters.Name: {heaven} is none of account, key"),
        ({"cost": [{"key": "gold"}]}, "cost\\[0\\]: missing \\['quantity'\\]"),
        ({"cost": [{"key": "gold", "quantity": "unpriced", "times": ["Zones"]}]}, "cost\\[0\\].times: it is a list"),
        ({"cost": [{"key": "gold", "quantity": "unpriced", "once": True}]}, "cost\\[0\\].once: it is true or false"),
        ({"cost": [{"key": "gold", "quantity": 1, "once": "yes"}]}, "cost\\[0\\].once: it is true or false"),
        ({"each": "Names", "target": "account"}, "each: it is the name of one fact, and goes with target finding"),
        ({"documents": ["runbook.yaml"]}, "documents: it must list the other files of the folder, which are: none"),
        ({"api": []}, "unknown \\['api'\\]"),
        ({"way": "Magic"}, "way: 'Magic' is not one of AdditiveStack, InPlace, Guide"),
    ],
)
def test_a_folder_that_is_wrong_is_refused_with_the_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRemediation, match=message):
        parse(_changed("cloudtrail", change), "Resources: {}", "a folder")


def _changed(name: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """A remediation of the catalogue with other values at paths such as `resource.set`; None leaves the key out."""
    (path,) = FOLDER.glob(f"*/{name}/remediation.yaml")
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    for key, value in change.items():
        *outer, last = key.split(".")
        holder: Any = content
        for part in outer:
            holder = holder[int(part) if part.isdigit() else part]
        if value is None:
            holder.pop(last)
        else:
            holder[last] = value
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resource": None}, "terraform: it goes with resource, and resource with it"),
        ({"guide": None}, "missing \\['guide'\\]"),
        ({"resource": None, "terraform": None, "api": None}, "resource: what is changed is a resource, or a setting"),
        ({"terraform": None}, "terraform: it goes with resource, and resource with it"),
        ({"resource.type": None}, "resource: missing \\['type'\\]"),
        ({"resource.set": {}}, "resource.set: it maps properties of the type to values"),
        ({"resource.keys": {"Tags": "Key"}}, "resource.keys.Tags: it is for a list in resource.set"),
        ({"resource.identifier": "{Cluster}"}, "resource: {Cluster} is none of Name, account"),
        ({"api.0.undo": None}, "api\\[0\\]: missing \\['undo'\\]"),
        ({"api.0.value": "clusters["}, "api\\[0\\].value: it is no JMESPath"),
        ({"api.0.read.operation": "DeleteCluster"}, "api\\[0\\].read.operation: DeleteCluster is no read"),
        (
            {"api.0.change.operation": "update_cluster"},
            "api\\[0\\].change.operation: 'update_cluster' is no name of AWS",
        ),
        ({"api.0.wanted": "{prior}"}, "api\\[0\\].wanted: {prior} is none of Name"),
        ({"guide.cli": ["aws ecs x --cluster {Cluster}"]}, "guide: {Cluster} is none of"),
        ({"guide.console": []}, "guide.console: it has no step"),
        ({"parameters.name": {"from": "facts.X"}}, "parameters.name: a name begins with a capital"),
        ({"capabilities": ["CAPABILITY_IAM"]}, "unknown \\['capabilities'\\]"),
        ({"way": "Guide"}, "unknown \\['api', 'resource', 'terraform'\\]"),
    ],
)
def test_a_change_in_place_that_is_wrong_is_refused_with_the_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRemediation, match=message):
        parse(_changed("container-insights", change), "", "a folder")


def test_only_an_additive_stack_has_a_template() -> None:
    with pytest.raises(InvalidRemediation, match=r"the folder has a template\.yaml, which way AdditiveStack alone has"):
        parse(_changed("container-insights", {}), "Resources: {}", "a folder")
    with pytest.raises(InvalidRemediation, match=r"the folder lacks a template\.yaml"):
        parse(_changed("cloudtrail", {}), "", "a folder")


def test_a_document_of_the_folder_may_use_the_names_of_the_remediation() -> None:
    content = _changed("container-insights", {"way": "Guide", "api": None, "resource": None, "terraform": None})
    content["documents"] = ["attestation.yaml"]
    read = parse(content, "", "a folder", {"attestation.yaml": "statement: {Name} is watched"})
    assert read.documents == {"attestation.yaml": "statement: {Name} is watched"}
    with pytest.raises(InvalidRemediation, match=r"attestation.yaml: {Cluster} is none of"):
        parse(content, "", "a folder", {"attestation.yaml": "statement: {Cluster} is watched"})


def test_two_remediations_may_not_have_one_name_or_one_input_two_shapes() -> None:
    one = next(iter(load()))
    with pytest.raises(InvalidRemediation, match="same name"):
        Remediations([one, one])


# what it says ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", EVERY)
def test_what_it_fixes_and_requires_are_checks_of_its_phase_or_before(one: Definition) -> None:
    assert one.fixes
    assert {*one.fixes, *one.requires, *one.leads_to} <= {check.id for check in load_checks()}
    assert Phase(DESIGNED[one.fixes[0]]["phase"]) is one.phase
    for check_id in (*one.fixes, *one.requires):
        assert Phase(DESIGNED[check_id]["phase"]).order <= one.phase.order
    assert not set(one.fixes) & set(one.requires)
    assert not set(one.leads_to) & {*one.fixes, *one.requires}


@pytest.mark.parametrize("one", EVERY)
def test_a_stack_of_its_own_is_offered_only_where_the_check_can_be_fixed_additively(one: Definition) -> None:
    """A stack that only prepares a change in place, such as the key that a trail is set to, is a link of its chain."""
    if one.way is Way.ADDITIVE_STACK:
        link = bool(one.achieves) and Fix.IN_PLACE in load_checks().get(one.fixes[0]).fix
        assert link or Fix.ADDITIVE in load_checks().get(one.fixes[0]).fix


@pytest.mark.parametrize("one", EVERY)
def test_it_says_what_a_person_must_know_in_whole_sentences(one: Definition) -> None:
    assert re.fullmatch(r"[A-Z][^.]+[^.\s]", one.title)
    assert one.description.endswith(".")
    assert one.undo
    assert one.interrupts
    assert one.risk in ("Low", "Medium", "High")
    assert one.settles.total_seconds() >= 60


@pytest.mark.parametrize("one", EVERY)
def test_its_inputs_are_declared_and_used(one: Definition) -> None:
    used = {source.partition(".")[2] for source in sources(one) if source.startswith("inputs.")}
    if any(source.startswith("zone.") for source in sources(one)):
        used.add("domain")
    declared = {given.name for given in one.inputs}
    assert used <= declared | {given.name for given in STANDING_INPUTS}
    assert declared <= used
    for given in one.inputs:
        assert re.fullmatch(r"[A-Z].+\.", given.description)


def test_an_input_says_what_it_looks_like_as_the_templates_that_take_it_do() -> None:
    """So that what a template would refuse is refused by the API server, before anybody approves it."""
    for given in load().inputs():
        if given.kind is Kind.STRING:
            assert re.fullmatch(r"\^.+\$", given.pattern)
        else:
            assert given.kind is Kind.STRING_MAP or given.minimum is not None
    for one in (one for one in load() if one.template):
        shapes = template.parsed(one.template).get("Parameters", {})
        for name, filling in one.parameters.items():
            taken = [given for given in one.inputs if filling.sources == (f"inputs.{given.name}",)]
            if taken and "AllowedPattern" in shapes[name]:
                wider = (one.name, name) == ("canary", "Path")  # whose default is /, where no path is given
                assert wider or shapes[name]["AllowedPattern"] == taken[0].pattern, (one.name, name)


@pytest.mark.parametrize("one", STACKS)
def test_every_parameter_of_its_template_is_filled_or_has_a_default(one: Definition) -> None:
    declared = template.declared(one.template)
    assert set(one.parameters) <= declared
    always = {name for name, filling in one.parameters.items() if not filling.optional}
    assert declared <= always | set(template.defaults(one.template))


@pytest.mark.parametrize("one", EVERY)
def test_its_names_are_made_of_what_is_known(one: Definition) -> None:
    known = set(STANDING_NAMES)
    fixed = [filling.value for filling in one.parameters.values() if filling.value is not None]
    for text in [*fixed, *one.literals.values()]:
        assert set(NAMES.findall(text)) <= known
    for word in one.literals:
        assert word in one.template, f"{word} stands nowhere in the template"


def sources(one: Definition) -> Iterator[str]:
    for filling in one.parameters.values():
        yield from filling.sources


# what the checks tell it ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def failures_of(check_id: str) -> tuple[Finding, ...]:
    """Every failing finding in every case of the check's fixture."""
    return tuple(
        finding
        for case in cases_of(load_checks().get(check_id))
        if case.expect == "Fail"
        for finding in case.findings(case.account())
        if finding.status is Status.FAIL
    )


@pytest.mark.parametrize("one", EVERY)
def test_the_facts_it_asks_for_are_told_by_the_check_it_fixes(one: Definition) -> None:
    told = [finding.facts for finding in failures_of(one.fixes[0])]
    wanted = [
        facts
        for facts in told
        if all(name in facts and value in ("*", facts[name]) for name, value in one.facts.items())
    ]
    assert wanted, f"no failing case of {one.fixes[0]} tells {dict(one.facts)}"
    for filling in one.parameters.values():
        if filling.value is None and not filling.optional and all(s.startswith("facts.") for s in filling.sources):
            assert any(filled(filling, facts) for facts in wanted), f"{one.fixes[0]} never tells {filling.sources}"
    needed = {source.partition(".")[2] for source in sources(one) if source.startswith("facts.")}
    assert needed <= {name for facts in told for name in facts}, "a source that nobody ever fills"


def filled(filling: Filling, facts: Mapping[str, str]) -> bool:
    return any(facts.get(source.partition(".")[2]) for source in filling.sources)


# the template ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_template_is_clean_for_cfn_lint_in_three_regions() -> None:
    linter = Path(sys.executable).with_name("cfn-lint")
    paths = [str(path) for path in sorted(FOLDER.glob("*/*/template.yaml"))]
    command = [str(linter), "--format", "json", "--regions", *REGIONS, "--", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout or "[]") == []


@pytest.mark.parametrize("one", STACKS)
def test_what_its_stack_leaves_behind_is_what_it_says(one: Definition) -> None:
    kept = {
        logical
        for logical, resource in document(one)["Resources"].items()
        if resource.get("DeletionPolicy", "Delete") in RETAINING
    }
    assert set(one.retains) == kept
    for logical in kept:
        policy = document(one)["Resources"][logical].get("UpdateReplacePolicy")
        assert policy in RETAINING, f"{logical} is kept on deletion and not on replacement"


@pytest.mark.parametrize("one", STACKS)
def test_its_template_runs_no_foreign_code_and_names_no_account_or_partition(one: Definition) -> None:
    assert set(document(one)) <= {
        "AWSTemplateFormatVersion",
        "Description",
        "Parameters",
        "Conditions",
        "Mappings",
        "Resources",
        "Outputs",
    }, "no transforms, no macros, no hooks"
    assert not re.search(r"arn:aws(-cn|-us-gov)?:", one.template), "the partition is a pseudo parameter"
    assert not re.search(r"\b\d{12}\b", one.template)
    kinds = {resource["Type"] for resource in document(one)["Resources"].values()}
    assert not {kind for kind in kinds if kind.startswith(("Custom::", "AWS::CloudFormation::Custom"))}
    assert "AWS::CloudFormation::Macro" not in kinds
    assert "Fn::Transform" not in one.template
    assert "{{resolve:" not in one.template, "no secret is resolved into a template"


@pytest.mark.parametrize("one", STACKS)
def test_a_template_that_makes_roles_asks_for_the_capability_and_no_other_does(one: Definition) -> None:
    kinds = {resource["Type"] for resource in document(one)["Resources"].values()}
    makes_identities = any(kind.startswith("AWS::IAM::") for kind in kinds)
    assert bool(one.capabilities) == makes_identities
    assert set(one.capabilities) <= {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"}


@pytest.mark.parametrize("one", STACKS)
def test_every_parameter_of_its_template_has_a_description_and_a_type(one: Definition) -> None:
    for name, parameter in document(one).get("Parameters", {}).items():
        assert parameter["Type"], name
        assert parameter["Description"], name


@pytest.mark.parametrize("one", STACKS)
def test_what_it_changes_can_be_told_before_it_is_done(one: Definition) -> None:
    for optional in ("", "given"):
        values = {name: optional for name, filling in one.parameters.items() if filling.optional}
        lines = template.changes(one.template, values)
        assert lines or not optional, "a stack for what is lacking may be empty where nothing is"
        assert all(re.fullmatch(r"\+ AWS::\w+::\w+ \w+( \(kept on deletion\))?", line) for line in lines)


# the change in place --------------------------------------------------------------------------------------------------


def schema(kind: str) -> Schema:
    """The schema of a type that CloudFormation has."""
    found = schema_of(kind)
    assert found is not None, f"CloudFormation has no {kind}"
    return found


@pytest.mark.parametrize("one", CHANGES)
def test_a_change_in_place_sets_properties_that_its_type_has_and_may_change(one: Definition) -> None:
    if one.desired is not None:
        known = schema(one.desired.type)
        for name in one.desired.properties:
            assert name in known.document["properties"], f"{one.desired.type} has no {name}"
            assert name not in known.read_only | known.create_only
    assert Fix.IN_PLACE in load_checks().get(one.fixes[0]).fix


@pytest.mark.parametrize("one", CHANGES)
def test_an_api_step_names_operations_and_arguments_that_aws_has(one: Definition) -> None:
    session = botocore.session.get_session()
    for step in one.api:
        for operation in (step.read, step.change, step.undo, step.undo_absent):
            if operation is not None:
                model = session.get_service_model(operation.service).operation_model(operation.operation)
                assert model.input_shape is not None or not operation.arguments
                problems = list(misnamed(model.input_shape, dict(operation.arguments), operation.operation))
                assert problems == []
                missing = set(model.input_shape.required_members if model.input_shape else ()) - set(
                    operation.arguments
                )
                assert missing == set()


def misnamed(shape: Any, value: Any, where: str) -> Iterator[str]:
    """Arguments that the operation does not have, at any depth."""
    if isinstance(value, Mapping) and shape.type_name == "structure":
        for name, member in value.items():
            if name not in shape.members:
                yield f"{where}.{name}"
            else:
                yield from misnamed(shape.members[name], member, f"{where}.{name}")
    elif isinstance(value, Mapping) and shape.type_name == "map":
        for name, member in value.items():
            yield from misnamed(shape.value, member, f"{where}.{name}")
    elif isinstance(value, list) and shape.type_name == "list":
        for member in value:
            yield from misnamed(shape.member, member, where)
    elif isinstance(value, (Mapping, list)):
        yield f"{where} is a {shape.type_name}"


@pytest.mark.parametrize("kind", sorted(ADOPTABLE))
def test_a_type_is_adopted_only_if_its_schema_allows_it(kind: str) -> None:
    known, listed = schema(kind), ADOPTABLE[kind]
    assert set(known.document["handlers"]) == {"create", "read", "update", "delete", "list"}
    assert known.identifiers == listed.identifiers
    assert known.read_only == set(listed.read_only)
    assert known._paths("writeOnlyProperties") == set(listed.write_only)


@pytest.mark.parametrize(
    ("kind", "model", "said"),
    [
        ("AWS::DynamoDB::Table", {"BillingMode": "PROVISIONED"}, "provisioned capacity"),
        ("AWS::DynamoDB::Table", {}, "provisioned capacity"),
        ("AWS::DynamoDB::Table", {"BillingMode": "PAY_PER_REQUEST"}, None),
        ("AWS::ElasticLoadBalancingV2::Listener", {"DefaultActions": [{"AuthenticateOidcConfig": {}}]}, "secret"),
        ("AWS::ElasticLoadBalancingV2::ListenerRule", {"Actions": [{"AuthenticateOidcConfig": {}}]}, "secret"),
        ("AWS::ElasticLoadBalancingV2::Listener", {"DefaultActions": [{"Type": "forward"}]}, None),
    ],
)
def test_a_resource_with_a_secret_or_changing_property_stays_out(kind: str, model: Any, said: str | None) -> None:
    found = refusal(kind, model)
    assert (found is None) if said is None else (found is not None and said in found)


def test_an_adopted_rule_is_described_with_its_listener_which_aws_does_not_tell() -> None:
    stem = "arn:aws:elasticloadbalancing:eu-central-1:123456789012"
    model = {"RuleArn": f"{stem}:listener-rule/app/shop/1/2/3", "IsDefault": False, "Priority": 1}
    listener = f"{stem}:listener/app/shop/1/2"
    assert described("AWS::ElasticLoadBalancingV2::ListenerRule", model) == {"Priority": 1, "ListenerArn": listener}


# the bill -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", EVERY)
def test_every_position_of_its_bill_is_in_the_price_list(one: Definition) -> None:
    assert one.cost or one.way is Way.GUIDE, "what costs nothing says so with a price of zero"
    assert {item.key for item in one.cost} <= set(prices())
    for item in one.cost:
        assert item.quantity is None or item.quantity > 0
        assert item.unless is None or item.unless in one.parameters
        assert set(item.times) <= set(one.parameters)
    for region in REGIONS:
        bill = cost(one.cost, region, {name: "one" for item in one.cost for name in item.times})
        assert bill.monthly >= 0
        assert len(bill.positions) == len(one.cost)


def test_every_price_says_where_and_when_it_was_read() -> None:
    for price in prices().values():
        assert price.dollars is None or price.dollars >= 0
        assert all(dollars > 0 for dollars in price.by_region.values())
        assert price.source.endswith("pricing")
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", price.as_of)
        assert price.unit
        assert price.title
        assert set(price.by_region) <= set(REGIONS) | {r for r in price.by_region if re.fullmatch(r"[a-z-]+-\d", r)}


@pytest.mark.parametrize(
    ("key", "quantity", "dollars"),
    [
        ("nat-gateway-hour", 730, "32.85"),
        ("route53-hosted-zone-month", 1, "0.50"),
        ("route53-health-check-month", 1, "0.50"),
        ("canary-run", 4000, "4.80"),
    ],
)
def test_the_fixed_prices_give_the_figures_of_the_readiness_review(key: str, quantity: int, dollars: str) -> None:
    assert cost([LineItem(key, quantity)], "us-east-1", {}).monthly == Decimal(dollars)


def test_a_price_that_is_not_in_the_list_is_an_error_and_never_zero() -> None:
    with pytest.raises(InvalidRemediation, match="the price list has no gold"):
        cost([LineItem("gold", 1)], "eu-central-1", {})


def test_a_position_without_a_quantity_is_unpriced_and_not_zero() -> None:
    key = next(iter(prices()))
    bill = cost([LineItem(key, None), LineItem(key, 2)], "eu-central-1", {})
    assert bill.unpriced == (prices()[key].title,)
    assert bill.monthly == 2 * (prices()[key].in_region("eu-central-1") or 0)


def test_a_position_is_multiplied_by_the_number_of_values_of_its_parameters() -> None:
    key = next(iter(prices()))
    item, price = LineItem(key, 2, times=("Services", "Subnets")), prices()[key].in_region("eu-central-1") or 0
    bill = cost([item], "eu-central-1", {"Services": "logs,sts", "Subnets": "subnet-1,subnet-2,subnet-3"})
    assert (bill.positions[0].quantity, bill.monthly) == (12, 12 * price)
    assert cost([item], "eu-central-1", {"Services": "", "Subnets": "subnet-1"}).positions == ()


def test_what_has_no_single_price_is_unpriced_whatever_its_quantity() -> None:
    key = next(key for key, price in prices().items() if price.dollars is None)
    bill = cost([LineItem(key, 1)], "eu-central-1", {})
    assert (bill.unpriced, bill.monthly) == ((prices()[key].title,), 0)


def test_a_position_is_left_out_where_the_parameter_that_replaces_it_is_set() -> None:
    key = next(iter(prices()))
    item = LineItem(key, 1, unless="Existing")
    assert len(cost([item], "eu-central-1", {"Existing": ""}).positions) == 1
    assert cost([item], "eu-central-1", {"Existing": "arn"}).positions == ()


def test_a_definition_is_frozen_and_can_be_told_apart() -> None:
    one = next(iter(load()))
    assert replace(one, name="x") != one
    assert load().get(one.name) is one
    assert load().get("nothing") is None
    assert one in load().fixing(one.fixes[0])
    assert {member.target for member in load()} <= set(Target)
    assert {member.place for member in load()} <= set(Place)
