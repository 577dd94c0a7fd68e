"""The printed IAM policy: its actions exist, it suffices, it holds nothing too much, and nothing in it can write.

The account is the one of all fixtures together, laid over the simulated AWS; access control there is enforced.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from cases import MergedAccount, merged_answers
from passmuster.assess.assessment import refusals
from passmuster.aws.clients import Clients
from passmuster.aws.collector import Collector, Scope
from passmuster.aws.limits import Limits
from passmuster.aws.principal import KeyRing, Principal
from passmuster.aws.transport import BotoTransport
from passmuster.checks.catalogue import load
from passmuster.checks.judge import calls_of, distinct_calls, explain
from passmuster.inventory.call import Call, Request, union
from passmuster.inventory.permissions import (
    REGIONS_CALL,
    actions,
    all_actions,
    granting,
    parts,
    policies,
    policy,
    size,
    together,
)
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.verdict import Reason
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, SimulatedAWS
from replay import ACCOUNT, NOW, REGION, collect

pytestmark = pytest.mark.slow

CALLS = distinct_calls(load())
ACTIONS = all_actions(CALLS)
WRITING = ("Create", "Delete", "Put", "Update", "Modify", "Start", "Stop", "Set", "Enable", "Disable", "Attach", "Tag")


@lru_cache(maxsize=1)
def existing_actions() -> Mapping[str, Any]:
    """Every IAM action there is, in lower case by prefix, from cfn-lint's copy of AWS's list."""
    cfnlint = Path(find_spec("cfnlint").origin or "").parent  # type: ignore[union-attr]  # not imported: that is slow
    found: dict[str, Any] = json.loads((cfnlint / "data" / "AdditionalSpecs" / "Policies.json").read_text())
    return found


@pytest.mark.parametrize("action", [*ACTIONS, *actions(REGIONS_CALL)])
def test_every_action_of_the_policy_exists(action: str) -> None:
    prefix, _, name = action.partition(":")
    assert name.lower() in existing_actions()[prefix]["Actions"]


@pytest.mark.parametrize("action", ACTIONS)
def test_no_action_of_the_policy_can_change_or_disclose_anything(action: str) -> None:
    prefix, _, name = action.partition(":")
    assert not name.startswith(WRITING)
    assert "*" not in action
    assert action not in ("secretsmanager:GetSecretValue", "ssm:GetParameter", "lambda:GetFunction", "kms:Decrypt")
    assert prefix == "apigateway" or name.startswith(
        ("Get", "List", "Describe", "BatchGet", "View", "Lookup", "Search")
    )


def test_the_policy_names_each_action_once_and_only_what_a_call_needs() -> None:
    document = policy(CALLS)
    listed = [action for statement in document["Statement"] for action in statement["Action"]]
    assert sorted(listed) == sorted({*ACTIONS, "ec2:DescribeRegions"})
    assert len(listed) == len(set(listed))
    assert {statement["Effect"] for statement in document["Statement"]} == {"Allow"}
    assert len({statement["Sid"] for statement in document["Statement"]}) == len(document["Statement"])
    assert all(statement["Sid"].isalnum() for statement in document["Statement"])
    assert sorted(a for s in policy(CALLS, discover_regions=False)["Statement"] for a in s["Action"]) == list(ACTIONS)


def test_the_policy_fits_into_the_managed_policies_of_one_role() -> None:
    documents = policies(CALLS)
    assert len(documents) <= 4, "a role takes ten managed policies, and people have some of their own"
    assert all(size(document) <= 6144 for document in documents), "a managed policy has 6,144 characters"
    assert [s for document in documents for s in document["Statement"]] == policy(CALLS)["Statement"]


def test_one_service_with_more_actions_than_a_policy_holds_is_split() -> None:
    actions = [f"ec2:DescribeSomethingWithALongName{number:03}" for number in range(400)]
    documents = parts(granting("Read", actions))
    assert len(documents) > 2
    assert all(size(document) <= 6144 for document in documents)
    assert [a for d in documents for s in d["Statement"] for a in s["Action"]] == actions
    assert len({s["Sid"] for d in documents for s in d["Statement"]}) == len(
        [s for d in documents for s in d["Statement"]]
    )


def test_actions_of_many_services_share_a_statement_and_a_wildcard_stands_for_what_it_allows() -> None:
    actions = sorted(
        [*(f"service{n:03}:DescribeSomethingWithALongName" for n in range(300)), "ec2:Describe*", "ec2:DescribeVpcs"]
    )
    statements = together("Make", actions)
    assert [statement["Sid"] for statement in statements] == ["Make", "Make2", "Make3"]
    assert [a for s in statements for a in s["Action"]] == [a for a in actions if a != "ec2:DescribeVpcs"]
    assert all(size(document) <= 6144 for document in parts(statements))
    assert together("Make", []) == []


# access control ------------------------------------------------------------------------------------------------------


_SESSION = botocore.session.get_session()


@lru_cache(maxsize=1)
def account() -> dict[str, Any]:
    """The account of all fixtures in answers that AWS could give."""
    found = {}
    for call in union(CALLS):
        shape = _SESSION.get_service_model(call.service).operation_model(call.operation).output_shape
        found[call.name] = completed(merged_answers().get(call.name, {}), shape)
    return found


def completed(value: Any, shape: Any) -> Any:
    """The answer with everything that AWS always sends, and without what it never says, such as an empty path.

    Fixtures say only what a check looks at.
    """
    if shape.type_name == "list":
        members = [completed(one, shape.member) for one in value]
        valid = [one for one in members if not ParamValidator().validate(one, shape.member).has_errors()]
        return valid or neutral(shape)
    if shape.type_name != "structure":
        return value
    given = {name: completed(one, shape.members[name]) for name, one in value.items()}
    for name in shape.required_members:
        member = shape.members[name]
        given.setdefault(name, completed(neutral(member), member))
    return given


def neutral(shape: Any) -> Any:
    """The plainest value of a shape."""
    least = shape.metadata.get("min", 0)
    if shape.type_name == "list":
        return [completed(neutral(shape.member), shape.member)] * least
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else "x" * max(least, 1)
    return {"boolean": False, "timestamp": NOW, "structure": {}, "map": {}}.get(shape.type_name, max(least, 0))


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    assert DEFAULT_ACCOUNT == ACCOUNT
    with SimulatedAWS(warm=False) as simulated:
        for name, answer in account().items():
            service, _, operation = name.partition(":")
            simulated.overlay(service, operation, answer)
        yield simulated


class Reader:
    """Reads the simulated account as a role with exactly the given actions."""

    def __init__(self, aws: SimulatedAWS) -> None:
        self.aws = aws
        self.ring = KeyRing()
        self.clients = Clients(self.ring, endpoint_url=aws.url)
        self.collector = Collector(BotoTransport(self.clients), Limits(rate=1e6))
        self.arn = aws.role_with_policy(ACCOUNT, policy(CALLS), name="reader")
        keys = aws.assume(self.arn)
        self.principal = Principal(ACCOUNT, keys.access_key, keys.secret_key, keys.token)
        self.ring.prove(keys.access_key, ACCOUNT)

    def read(self, document: Mapping[str, Any], previous: Snapshot | None = None) -> Snapshot:
        """The whole catalogue's calls; with `previous`, only those that it lacks are really made."""
        iam = self.aws.client("iam", account_id=ACCOUNT)
        iam.put_role_policy(RoleName="reader", PolicyName="reader", PolicyDocument=json.dumps(document))
        scope = Scope(ACCOUNT, "aws", (REGION,), "us-east-1")
        with self.aws.enforce_iam():
            return self.collector.collect(CALLS, scope, self.principal, previous).snapshot


@pytest.fixture(scope="module")
def reader(aws: SimulatedAWS) -> Iterator[Reader]:
    one = Reader(aws)
    yield one
    one.clients.close()


@pytest.fixture(scope="module")
def whole(reader: Reader) -> Snapshot:
    """The account as the printed policy lets it be read."""
    reader.aws.requests.clear()
    return reader.read(policy(CALLS))


def test_the_printed_policy_denies_nothing(whole: Snapshot) -> None:
    assert [f"{gap.call.name} {gap.code} {gap.message}" for gap in whole.gaps()] == []


def test_the_policy_is_exactly_what_an_inspection_asks_of_aws(reader: Reader, whole: Snapshot) -> None:
    asked = {(r.service, r.operation) for r in reader.aws.requests if r.access_key == reader.principal.access_key}
    declared = {(call.service, call.operation) for call in union(CALLS)}
    assert asked == declared
    needed = {action for call in union(CALLS) if (call.service, call.operation) in asked for action in actions(call)}
    assert needed == set(ACTIONS)
    assert {r.account for r in reader.aws.requests if r.access_key == reader.principal.access_key} == {ACCOUNT}


def test_the_wire_brings_the_same_rows_as_the_fixtures(whole: Snapshot) -> None:
    """What the simulated AWS writes and botocore parses is what the fixtures say; so nothing was lost on the way."""
    direct = collect(CALLS, MergedAccount(account()))
    assert {call: len(by) for call, by in whole.readings.items()} == {c: len(by) for c, by in direct.readings.items()}


ENDED = {"appmesh:ListMeshes", "kinesisanalytics:ListApplications"}
"""Reads of services that AWS has ended: a refusal means that there are no resources."""


@pytest.mark.slow
@pytest.mark.parametrize("action", sorted({actions(call)[0] for call in union(CALLS)}))
def test_without_one_action_exactly_the_checks_that_need_it_lose_something(
    action: str, reader: Reader, whole: Snapshot
) -> None:
    """The first action of a call is the one that access control knows; further ones are AWS's own additions."""
    without = policy(CALLS)
    for statement in without["Statement"]:
        statement["Action"] = [name for name in statement["Action"] if name != action]
    without["Statement"] = [statement for statement in without["Statement"] if statement["Action"]]
    lacking = {call for call in union(CALLS) if actions(call)[0] == action}
    outermost = {call for call in lacking if not lacking & set(call.chain()[:-1])}
    known = {call: by_request for call, by_request in whole.readings.items() if call not in lacking}
    snapshot = reader.read(without, replace(whole, readings=known))
    gaps = list(snapshot.gaps())
    if action in ENDED:
        assert gaps == []
        assert {rows for call in lacking for rows in rows_of(snapshot, call).values()} == {()}
        return
    assert {gap.reason for gap in gaps} == {Reason.DENIED}
    assert {gap.call for gap in gaps} == outermost, "what needs the action, and nothing else"
    assert all(f"the role needs {action}" in explain(gap) for gap in gaps)
    readers = {check.id for check in load() if lacking & set(union(calls_of(check)))}
    assert {check_id for refusal in refusals(load(), snapshot) for check_id in refusal.checks} == readers
    for check in load():
        if check.id not in readers:
            for call in union(calls_of(check)):
                assert rows_of(snapshot, call) == rows_of(whole, call), f"{check.id} does not need {action}"


def rows_of(snapshot: Snapshot, call: Call) -> dict[Request, tuple[Any, ...]]:
    return {request: reading.rows for request, reading in snapshot.readings.get(call, {}).items()}


def test_a_call_may_name_its_actions_itself() -> None:
    call = Call("ecr", "DescribeImages", actions=("ecr:DescribeImages", "ecr:BatchGetImage"))
    assert actions(call) == ("ecr:DescribeImages", "ecr:BatchGetImage")
    assert all_actions([call]) == ("ecr:BatchGetImage", "ecr:DescribeImages")
