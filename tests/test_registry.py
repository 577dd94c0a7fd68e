"""What holds for every check, whoever wrote it: metadata, fixtures, parameters, and the calls that are made for it.

No check is named here; `readiness_catalogue.yaml` says what the design decided about each.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml

from cases import FOLDER, Account, MergedAccount, cases_of, every_case
from passmuster.aws.transport import Tokens
from passmuster.checks import catalogue
from passmuster.checks.catalogue import load
from passmuster.checks.declaration import Check
from passmuster.checks.judge import calls_of, distinct_calls
from passmuster.inventory.call import RARELY, Call, Request, Where, union
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.errors import CheckNotFound
from passmuster.model.parameter import Kind, Parameter, Stricter
from passmuster.model.verdict import Phase, Severity
from replay import collect

CHECKS = [pytest.param(check, id=check.id) for check in load()]
PARAMETERS = [
    pytest.param(check, parameter, id=f"{check.id}.{parameter.name}")
    for check in load()
    for parameter in check.parameters
]
CALLS = [pytest.param(call, id=f"{call.name}-{n}") for n, call in enumerate(union(distinct_calls(load())))]
DESIGNED: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "readiness_catalogue.yaml").read_text())
LISTED: dict[str, list[dict[str, Any]]] = yaml.safe_load((Path(__file__).parent / "mapping_ids.yaml").read_text())
LONGEST = 250
LONGER = {
    "automated-backups": 272,
    "connection-pooling": 323,
    "cross-region-replication": 407,
    "encryption-at-rest": 347,
    "golden-signal-alarms": 397,
    "tls-certificates-valid": 460,
    "vpc-endpoints-present": 278,
    "waf-enabled": 316,
    "workload-logs-retained": 268,
}
"""Modules that are longer than a check should be, and may not grow."""

TOLERATED = {"minMonthlySaving"}
"""Parameters that name the least of something bad that counts: the lower, the more fails."""

READING = re.compile(r"(BatchGet|Describe|Get|List|Lookup|Search)[A-Z]\w+")
FORBIDDEN = {
    "secretsmanager:GetSecretValue",
    "secretsmanager:BatchGetSecretValue",
    "ssm:GetParameter",
    "ssm:GetParameters",
    "ssm:GetParametersByPath",
    "ssm:GetParameterHistory",
    "lambda:GetFunction",
    "iam:GetCredentialReport",
    "s3:GetObject",
    "dynamodb:GetItem",
    "sts:GetSessionToken",
    "sts:GetFederationToken",
    "ecr:GetAuthorizationToken",
    "ec2:GetPasswordData",
    "rds:DownloadDBLogFilePortion",
    "logs:GetLogEvents",
}
"""Reads that bring secrets or people's data."""


# the catalogue --------------------------------------------------------------------------------------------------------


def test_no_check_is_outside_the_designed_catalogue() -> None:
    assert {check.id for check in load()} <= set(DESIGNED)


def test_the_designed_catalogue_has_73_items() -> None:
    assert len(DESIGNED) == len({row["item"] for row in DESIGNED.values()}) == 73


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_is_what_the_design_says(check: Check) -> None:
    designed = {"optional": False, "attestation": None, "parameters": [], **DESIGNED[check.id]}
    item = designed.pop("item")
    assert {
        "category": str(check.category),
        "phase": str(check.phase),
        "severity": str(check.severity),
        "fix": "".join(check.fix),
        "optional": check.optional,
        "attestation": check.attestable.days if check.attestable else None,
        "parameters": [parameter.name for parameter in check.parameters],
    } == designed
    assert check.payer == item.startswith("CST-"), "the bill is judged where it is paid"
    assert bool(check.payer_calls) == (item == "CMP-04"), "an organization's policies are read where it is managed"


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_stands_where_its_id_and_category_say(check: Check) -> None:
    assert check.module == f"passmuster.checks.{check.category.lower()}.{check.id.replace('-', '_')}"
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)+", check.id)
    declared = [v for v in vars(import_module(check.module)).values() if isinstance(v, Check)]
    assert declared == [check], "one file, one check"


def test_ids_and_titles_are_unique() -> None:
    checks = list(load())
    assert len({check.id for check in checks}) == len({check.title for check in checks}) == len(checks)


def test_an_unknown_id_is_answered_with_the_nearest_ones() -> None:
    known = next(iter(load())).id
    with pytest.raises(CheckNotFound, match=known):
        load().get(known[:-1])
    assert known in load()
    assert "no-such-check" not in load()


def test_the_catalogue_is_ordered_by_phase_and_has_a_version() -> None:
    orders = [check.phase.order for check in load()]
    assert orders == sorted(orders)
    assert load().version == catalogue.VERSION


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_says_why_it_matters(check: Check) -> None:
    module = import_module(check.module)
    assert re.fullmatch(r"[A-Z][^.]{8,58}[^.\s]", check.title), "a title is a short sentence without a full stop"
    assert module.__doc__
    assert module.__doc__.strip()
    assert len(check.description.split()) >= 8, "the docstring says why the check matters and how it judges"
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", Path(module.__file__ or "").read_text())


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_is_short(check: Check) -> None:
    assert length(check) <= LONGER.get(check.id, LONGEST)


def test_no_module_is_excused_for_its_length_any_longer_than_it_needs() -> None:
    assert [check.id for check in load() if check.id in LONGER and length(check) <= LONGEST] == []


def length(check: Check) -> int:
    return len(Path(import_module(check.module).__file__ or "").read_text().splitlines())


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_looks_at_no_other_check_and_reads_no_clock(check: Check) -> None:
    tree = ast.parse(Path(import_module(check.module).__file__ or "").read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [m for m in imported if m.startswith("passmuster.checks") and m != "passmuster.checks.declaration"]
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"now", "utcnow", "today"} - {"now"}, "time is an argument"
    assert "datetime.now" not in ast.unparse(tree)


# mappings to frameworks -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def managed_rules() -> frozenset[str]:
    """The AWS Config managed rules that moto's copy of AWS's list has."""
    moto = Path(find_spec("moto").origin or "").parent  # type: ignore[union-attr]  # not imported: that takes a second
    packed = (moto / "config" / "resources" / "aws_managed_rules.json.gz").read_bytes()
    return frozenset(json.loads(gzip.decompress(packed))["ManagedRules"])


def listed(family: str) -> list[str]:
    """The ids that pages of AWS list."""
    return [name for page in LISTED[family] for name in page["ids"]]


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("security_hub", r"[A-Z][A-Za-z0-9]+\.[1-9]\d?\d?"),
        ("well_architected", r"(OPS|SEC|REL|PERF|COST|SUS)(0[1-9]|1[0-3])(-BP\d\d)?"),
    ],
)
def test_mapping_ids_are_listed_once_below_a_page_of_aws(family: str, shape: str) -> None:
    assert all(page["source"] and page["address"].startswith("https://docs.aws.amazon.com/") for page in LISTED[family])
    assert [name for name, times in Counter(listed(family)).items() if times > 1] == []
    assert [name for name in listed(family) if not re.fullmatch(shape, name)] == []


@pytest.mark.parametrize("check", CHECKS)
def test_controls_are_names_that_exist(check: Check) -> None:
    assert set(check.controls.config) <= managed_rules()
    assert set(check.controls.security_hub) <= set(listed("security_hub"))
    assert set(check.controls.well_architected) <= set(listed("well_architected"))
    for names in (check.controls.config, check.controls.security_hub, check.controls.well_architected):
        assert len(set(names)) == len(names)


# fixtures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_has_a_case_for_every_answer_it_can_give(check: Check) -> None:
    wanted = {"Pass", "Fail", "Unknown"} | ({"NotApplicable"} if check.nothing else set())
    assert wanted <= {case.expect for case in cases_of(check)}
    assert (FOLDER / f"{check.id}.yaml").is_file()


def test_every_fixture_belongs_to_a_check_and_its_cases_have_names_of_their_own() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {case.check_id for case in every_case()}
    assert {case.check_id for case in every_case()} <= {check.id for check in load()}
    names = Counter((case.check_id, case.name) for case in every_case())
    assert [name for name, times in names.items() if times > 1] == []


# parameters -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("check", "parameter"), PARAMETERS)
def test_a_default_is_a_value_that_a_policy_could_set(check: Check, parameter: Parameter) -> None:
    assert parameter.default is None or fits(parameter, parameter.default)
    assert re.fullmatch(r"[a-z][A-Za-z0-9]*", parameter.name)
    assert re.fullmatch(r"[A-Z].+\.", parameter.description), "a description is a sentence"
    assert (parameter.kind is Kind.CHOICE) == bool(parameter.choices)
    assert [p.name for p in check.parameters].count(parameter.name) == 1


def test_a_shared_parameter_is_the_one_that_another_check_declares() -> None:
    sharing = [check for check in load() if check.shares]
    assert sharing
    for check in sharing:
        for other, shared in check.shares.items():
            declared = load().get(other).parameters
            assert all(any(one is parameter for parameter in declared) for one in shared)
            assert {one.name for one in shared}.isdisjoint(one.name for one in check.parameters)
            assert f"`{other}`" in check.description, "where a policy sets it must be told"


@pytest.mark.parametrize(("check", "parameter"), PARAMETERS)
def test_a_value_is_as_strict_as_itself(check: Check, parameter: Parameter) -> None:
    if parameter.default is not None:
        assert parameter.at_least_as_strict(parameter.default, parameter.default)
    directions = {
        Kind.INTEGER: {Stricter.LOWER, Stricter.HIGHER},
        Kind.NUMBER: {Stricter.LOWER, Stricter.HIGHER},
        Kind.BOOLEAN: {Stricter.TRUE},
        Kind.STRINGS: {Stricter.MORE, Stricter.FEWER},
        Kind.INTEGERS: {Stricter.MORE, Stricter.FEWER},
        Kind.STRING_MAP: {Stricter.MORE, Stricter.FEWER},
        Kind.STRING_LISTS: {Stricter.MORE, Stricter.FEWER},
        Kind.METRICS: {Stricter.MORE, Stricter.FEWER},
        Kind.CHOICE: {Stricter.LATER},
    }
    assert parameter.stricter in directions.get(parameter.kind, set()) | {Stricter.SAME}
    name = parameter.name
    if re.match(r"max[A-Z]", name) and parameter.kind is not Kind.CHOICE:
        assert parameter.stricter is Stricter.LOWER
    if re.match(r"min[A-Z]", name):
        assert parameter.stricter is (Stricter.LOWER if name in TOLERATED else Stricter.HIGHER)


def fits(parameter: Parameter, value: Any) -> bool:
    def number(found: Any) -> bool:
        low = parameter.minimum is None or found >= parameter.minimum
        return low and (parameter.maximum is None or found <= parameter.maximum)

    def text(found: Any) -> bool:
        return isinstance(found, str) and len(found) <= parameter.max_length

    match parameter.kind:
        case Kind.INTEGER:
            return type(value) is int and number(value)
        case Kind.NUMBER:
            return type(value) in (int, float) and number(value)
        case Kind.BOOLEAN:
            return isinstance(value, bool)
        case Kind.STRING:
            return text(value)
        case Kind.CHOICE:
            return value in parameter.choices
        case Kind.STRINGS:
            return isinstance(value, list) and len(value) <= parameter.max_items and all(map(text, value))
        case Kind.INTEGERS:
            return isinstance(value, list) and all(type(one) is int and number(one) for one in value)
        case Kind.STRING_MAP:
            return isinstance(value, Mapping) and all(map(text, [*value, *value.values()]))
        case Kind.STRING_LISTS:
            return isinstance(value, Mapping) and all(text(k) and all(map(text, v)) for k, v in value.items())
        case Kind.METRICS:
            return isinstance(value, list) and all(set(one) == {"namespace", "name"} for one in value)


# calls ----------------------------------------------------------------------------------------------------------------

_SESSION = botocore.session.get_session()


@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_a_read_that_brings_no_secret(call: Call) -> None:
    assert READING.fullmatch(call.operation)
    assert call.name not in FORBIDDEN
    assert "WithDecryption" not in call.args


@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_one_that_botocore_knows_with_the_members_it_names(call: Call) -> None:
    operation = _SESSION.get_service_model(call.service).operation_model(call.operation)
    given = operation.input_shape.members if operation.input_shape is not None else {}
    named = {*call.args, *([call.param] if isinstance(call.param, str) and call.param else call.param or ())}
    assert named <= set(given)
    required = set(operation.input_shape.required_members) if operation.input_shape is not None else set()
    assert required <= named, f"{call.name} would be refused without {sorted(required - named)}"
    if isinstance(call.keep, tuple) and call.keep:
        row = row_shape(operation.output_shape, call.items)
        if row is not None:
            assert set(call.keep) <= set(row.members)


def row_shape(shape: Any, items: str) -> Any:
    """The shape of a row, where `items` is a plain path; None where it is more than that."""
    for name in items.split("."):
        plain = name.removesuffix("[]")
        if not plain:
            continue
        if not re.fullmatch(r"\w+", plain) or shape.type_name != "structure":
            return None
        shape = shape.members[plain]
        shape = shape.member if shape.type_name == "list" else shape
    return shape if shape.type_name == "structure" else None


@pytest.mark.parametrize("call", CALLS)
def test_a_call_whose_answer_has_pages_is_read_to_the_end(call: Call) -> None:
    client = client_of(call.service)
    operation = client.meta.service_model.operation_model(call.operation)
    answered = set(operation.output_shape.members) if operation.output_shape is not None else set()
    asked = set(operation.input_shape.members) if operation.input_shape is not None else set()
    following = [name for name in answered if re.search(r"(?i)^next|marker$|token$|^position$", name)]
    can_be_asked = [name for name in asked if re.search(r"(?i)^next|marker$|token$|^position$", name)]
    if following and can_be_asked:
        assert Tokens.of(client, call.operation).pairs, f"{call.name} pages by {following}"


@lru_cache(maxsize=100)
def client_of(service: str) -> Any:
    return _SESSION.create_client(service, "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


@lru_cache(maxsize=1)
def whole_account() -> tuple[MergedAccount, Snapshot]:
    """The account of all fixtures, read for the whole catalogue at once."""
    transport = MergedAccount()
    return transport, collect(distinct_calls(load()), transport)


def test_a_region_that_a_call_goes_to_is_read_once_for_all_checks() -> None:
    """No two checks ask the same of AWS in different words: each request of the whole catalogue is sent once."""
    transport, _ = whole_account()
    sent = Counter((r.service, r.operation, r.region, json.dumps(r.arguments(), default=str)) for r in transport.asked)
    assert [request for request, times in sent.items() if times > 1] == []
    assert len(sent) > len(union(distinct_calls(load()))) / 2


def test_the_fixtures_together_make_every_call() -> None:
    _, snapshot = whole_account()
    assert list(snapshot.gaps()) == []
    silent = [call for call in union(distinct_calls(load())) if not snapshot.readings.get(call)]
    assert [f"{call.name} for a row of {call.each.name}" for call in silent if call.each is not None] == []
    assert silent == []


def test_what_aws_bills_can_be_written_into_a_report() -> None:
    _, snapshot = whole_account()
    for call, by_request in snapshot.readings.items():
        if call.billed:
            rows = [row for reading in by_request.values() for row in reading.rows]
            assert rows, f"no fixture answers {call.name}"
            assert json.loads(json.dumps(rows)) == rows, call.name


@lru_cache(maxsize=1)
def billed_calls() -> tuple[Call, ...]:
    return tuple(call for call in union(distinct_calls(load())) if call.billed)


def test_calls_that_are_billed_are_known_to_be() -> None:
    for call in union(distinct_calls(load())):
        if call.service == "ce":
            assert call.billed >= 0.01, call.name
            assert (call.freshness or timedelta(0)) >= timedelta(days=7), call.name
        if call.name == "cloudwatch:GetMetricData":
            assert call.billed > 0
            assert (call.freshness or timedelta(0)) >= timedelta(hours=24)


def test_looking_at_one_account_costs_less_than_a_dollar_a_month() -> None:
    """One region, the ordinary account of the design: sixty resources of a kind, two hundred queue-like ones."""
    monthly = 0.0
    for call in billed_calls():
        period = max(call.freshness or timedelta(0), call.max_age or timedelta(0), timedelta(hours=24))
        requests = 60 if asks_for_each_row(call) else 1
        monthly += requests * call.billed * (timedelta(days=30) / period)
    assert 0 < monthly < 1.0


def asks_for_each_row(call: Call) -> bool:
    """Whether rows lead to requests of their own; a fan-out whose parameters are all constant asks once for all."""
    constant = isinstance(call.param, Mapping) and all(expression.startswith("'") for expression in call.param.values())
    return call.each is not None and not constant


UNALTERABLE = {"ecs:DescribeTaskDefinition", "elbv2:DescribeSSLPolicies"}
"""What tells of a revision that never changes, and what AWS tells of itself: none of it is the account's to change."""


def test_what_urgent_checks_read_of_the_account_is_never_older_than_the_interval() -> None:
    first, worst = Phase.PRODUCTION.up_to(), (Severity.CRITICAL, Severity.HIGH)
    urgent = [check for check in load() if check.phase in first and check.severity in worst]
    assert urgent
    for check in urgent:
        slow = {call.name for call in union(calls_of(check)) if call.freshness is not None and not call.billed}
        assert slow <= UNALTERABLE, (
            f"{check.id}: {sorted(slow - UNALTERABLE)} may be read as rarely as the freshness says"
        )


def test_what_is_read_rarely_has_one_age_so_that_what_is_compared_was_read_together() -> None:
    spans = {call.freshness for call in union(distinct_calls(load())) if call.freshness and not call.billed}
    assert {span for span in spans if span < timedelta(hours=24)} == {RARELY}


def test_a_gated_call_is_asked_once_for_a_region_with_parameters_that_are_always_the_same() -> None:
    gated = [call for call in union(distinct_calls(load())) if call.gated]
    assert gated
    for call in gated:
        for region in ("eu-central-1", "eu-west-1"):
            requests = {request for row in ({"a": 1}, {"a": 2}) for request in _gated_requests(call, row, region)}
            assert requests == {call.root_request(region)}, call.name


def _gated_requests(call: Call, row: dict[str, int], region: str) -> list[Request]:
    anything = replace(call, over="@")
    return list(anything.requests(row, Request("any", "Any", region), region))


def test_only_billed_and_slow_calls_are_read_more_rarely_than_the_interval() -> None:
    for call in union(distinct_calls(load())):
        if call.freshness is not None and call.each is None:
            assert call.billed or call.freshness >= timedelta(hours=1), call.name
        if call.scope is Where.GLOBAL:
            assert not call.region_of or call.each is not None, call.name


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_declares_what_it_reads_and_the_parents_come_with_it(check: Check) -> None:
    assert check.calls
    assert len(set(check.calls)) == len(check.calls), "declared twice"
    assert {link for call in calls_of(check) for link in call.chain()} <= set(union(distinct_calls(load())))


class Noting(dict[Call, Any]):
    """The readings of a snapshot, which remember what was looked up."""

    def __init__(self, readings: Mapping[Call, Any]) -> None:
        super().__init__(readings)
        self.looked_up: set[str] = set()

    def get(self, call: Call, default: Any = None) -> Any:
        self.looked_up.add(call.name)
        return super().get(call, default)


@pytest.mark.parametrize("check", CHECKS)
def test_nothing_is_read_for_a_check_that_it_never_looks_at(check: Check) -> None:
    looked_up: set[str] = set()
    for case in cases_of(check):
        account = case.account()
        seen = [replace(one, readings=Noting(one.readings)) for one in (account.snapshot, account.payer) if one]
        case.findings(Account(seen[0], seen[1] if len(seen) > 1 else None))
        for one in seen:
            assert isinstance(one.readings, Noting)
            looked_up |= one.readings.looked_up
    assert {link.name for call in check.calls for link in call.chain()} - looked_up == set()
