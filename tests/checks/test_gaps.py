"""No silence and no false verdict: what could not be read never becomes Pass, Fail or NotApplicable. For every check.

Two ways to spoil an account. Whole: every operation answers with one fault, through the real collector. In part: from
the snapshot of every fixture's case, one operation, one request, or all but one operation are taken away; the verdict
must stay what it was or become Unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pytest

from cases import Account, cases_of, merged_answers, policy_of, shown
from passmuster.assess.assessment import status_of
from passmuster.aws.transport import CallError
from passmuster.checks.catalogue import load
from passmuster.checks.declaration import Check
from passmuster.checks.judge import calls_of, distinct_calls, explain, judge
from passmuster.inventory.call import Call, Request
from passmuster.inventory.operations.organizations import ORGANIZATION
from passmuster.inventory.permissions import actions
from passmuster.inventory.snapshot import Gap, Reading, Snapshot, View
from passmuster.model.errors import UndeclaredCall
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Parameters, resolve
from passmuster.model.verdict import Reason, Status
from replay import NOW, Replay, collect, error

CHECKS = [pytest.param(check, id=check.id) for check in load()]
NOT_IN_AN_ORGANIZATION = {"organizations:DescribeOrganization": {"error": "AWSOrganizationsNotInUseException"}}
TAKEN = "TakenAway"
EITHER_WAY = {
    "connection-pooling": "a low peak passes, and without functions it does not apply: neither of them can fail",
}
"""Checks that may pass where they would not apply if everything could be read."""


@dataclass
class Faulty:
    """A transport that fails in one way; who pays the bill is still told, so that the payer's checks get that far."""

    fail: Callable[[Request], Exception]
    after_a_page: bool = False

    def offers(self, service: str, partition: str) -> bool:
        return True

    def pages(self, request: Request) -> Iterator[Mapping[str, Any]]:
        if request.operation == ORGANIZATION.operation:
            raise error(request.service, request.operation, ORGANIZATION.absent[0])
        if self.after_a_page:
            yield merged_answers().get(f"{request.service}:{request.operation}", {})
        raise self.fail(request)


def denied(request: Request) -> Exception:
    code = {"ec2": "UnauthorizedOperation", "sns": "AuthorizationError", "iam": "AccessDenied", "s3": "AccessDenied"}
    return error(request.service, request.operation, code.get(request.service, "AccessDeniedException"), 403)


def cut(request: Request) -> Exception:
    return CallError(Reason.SERVICE_ERROR, "CutBodyError", "ended early", transient=True)


FAULTS: dict[str, tuple[Faulty, Reason]] = {
    "denied": (Faulty(denied), Reason.DENIED),
    "throttled": (Faulty(lambda r: error(r.service, r.operation, "ThrottlingException")), Reason.THROTTLED),
    "answered 500": (Faulty(lambda r: error(r.service, r.operation, "InternalError", 500)), Reason.SERVICE_ERROR),
    "cut short": (Faulty(cut), Reason.SERVICE_ERROR),
    "failing after a page": (
        Faulty(lambda r: error(r.service, r.operation, "InternalError", 500), after_a_page=True),
        Reason.PARTIAL,
    ),
    "in a closed region": (
        Faulty(lambda r: error(r.service, r.operation, "UnrecognizedClientException", 403)),
        Reason.REGION_UNREADABLE,
    ),
    "too late": (Faulty(denied), Reason.STALE),
}


@lru_cache(maxsize=len(FAULTS))
def faulty_account(fault: str) -> Snapshot:
    transport, reason = FAULTS[fault]
    # Retrying the whole catalogue takes its (simulated) time, so only the fault that is about time has a deadline.
    deadline = -1.0 if reason is Reason.STALE else 1e6
    return collect(distinct_calls(load()), transport, deadline=deadline)


@pytest.mark.parametrize("check", CHECKS)
def test_an_empty_account_gets_an_answer(check: Check) -> None:
    for answers in (NOT_IN_AN_ORGANIZATION, {}):
        account = Account(collect(calls_of(check), Replay(answers)), None)
        for case in (replace(policy_of(check), raw={"name": "defaults", "expect": ""}), policy_of(check)):
            findings = case.findings(account)
            assert findings, "silence"
            assert not any("defect of Passmuster" in f.message for f in findings), shown(findings)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("fault", FAULTS)
def test_an_account_whose_every_answer_fails_is_unknown(check: Check, fault: str) -> None:
    findings = policy_of(check).findings(Account(faulty_account(fault), None))
    assert findings
    for finding in findings:
        assert finding.status is Status.UNKNOWN, shown(findings)
        assert finding.reason is FAULTS[fault][1], shown(findings)
        names_what_is_missing(check, finding)


def test_what_was_not_read_in_time_is_not_called_old() -> None:
    gaps = [gap for gap in faulty_account("too late").gaps() if gap.code == "DeadlineExceeded"]
    assert gaps
    assert {explain(gap).partition(" was ")[2] for gap in gaps} == {
        "not read before the inspection's time was over; it is read next time"
    }


@pytest.mark.parametrize("check", [param for param in CHECKS if param.values[0].payer])
def test_a_check_of_the_bill_is_unknown_while_nobody_knows_who_pays_it(check: Check) -> None:
    answers = {**merged_answers(), "organizations:DescribeOrganization": {"error": "AccessDeniedException"}}
    findings = policy_of(check).findings(Account(collect(calls_of(check), Replay(answers)), None))
    assert [f.reason for f in findings] == [Reason.DENIED]
    assert "organizations:DescribeOrganization" in findings[0].message


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_what_is_taken_away_turns_no_verdict(check: Check) -> None:
    """Of every case: each operation, each request, and all operations but one."""
    offences: dict[str, str] = {}
    for case in cases_of(check):
        account = case.account()
        whole = case.findings(account)
        for label, hit in losses(account):
            found = case.findings(spoiled(account, hit))
            for offence in offences_of(check, whole, found):
                offences.setdefault(f"{offence} without {label}", f"{case.name}\n{shown(found)}")
            for finding in found:
                if finding.status is Status.UNKNOWN:
                    names_what_is_missing(check, finding)
    assert not offences, "\n\n".join(f"{offence}: {where}" for offence, where in offences.items())


@pytest.mark.parametrize("check", CHECKS)
def test_every_finding_of_every_case_carries_its_evidence(check: Check) -> None:
    declared = {link.name for call in calls_of(check) for link in call.chain()}
    for case in cases_of(check):
        for finding in case.findings(case.account()):
            at = f"{case.name}: {shown([finding])}"
            assert finding.source in declared, at
            assert finding.region, at
            assert finding.resource, at
            assert re.fullmatch(r"\S.*[^.\s]", finding.message), f"{at}\nis no phrase without a full stop"
            assert (finding.reason is None) == (finding.status in (Status.PASS, Status.FAIL)), at
            if finding.status in (Status.PASS, Status.FAIL):
                assert finding.observed_at is not None, at
                assert finding.observed, f"{at}\nsays nothing of what was observed"
                assert finding.expected, f"{at}\nsays nothing of what was expected"
                assert finding.observed, at
                assert finding.expected, at


def test_a_check_that_trips_over_an_answer_is_unknown_and_what_it_said_before_stands() -> None:
    def evaluate(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
        yield failed(view.origin(check.calls[0]), "one", "One is wrong")
        raise KeyError("Engine")

    check = replace(next(iter(load())), evaluate=evaluate, payer=False)
    account = collect(calls_of(check), Replay({}))
    first, second = judge(check, account, resolve(check.id, (), {}, {}), Evidence(now=NOW))
    assert (first.status, first.resource) == (Status.FAIL, "one")
    assert (second.status, second.reason) == (Status.UNKNOWN, Reason.SERVICE_ERROR)
    assert f"the check {check.id} broke off (KeyError: 'Engine')" in second.message


def test_a_pattern_that_is_no_regular_expression_leaves_its_check_unknown_and_says_where_to_correct_it() -> None:
    check = next(one for one in load() if one.id == "health-endpoint-dedicated")
    groups = {"TargetGroups": [{"TargetGroupArn": "a", "Protocol": "HTTP", "HealthCheckPath": "/health"}]}
    account = collect(calls_of(check), Replay({"elbv2:DescribeTargetGroups": groups}))
    parameters = resolve(check.id, check.parameters, {"pathPattern": "(["}, {})
    (finding,) = judge(check, account, parameters, Evidence(now=NOW))
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.SERVICE_ERROR)
    assert "unterminated character set" in finding.message
    assert "correct spec.checks.parameters.health-endpoint-dedicated" in finding.message


def test_the_parameters_that_checks_match_with_are_declared_as_regular_expressions() -> None:
    assert {(check.id, one.name) for check in load() for one in check.parameters if one.expression} == {
        ("health-endpoint-dedicated", "pathPattern"),
        ("load-balancing-healthy", "requireLoadBalancer"),
        ("resources-tagged", "valuePatterns"),
        ("secrets-managed", "namePatterns"),
        ("workload-logs-retained", "neverExpire"),
    }


def test_a_call_that_is_not_declared_is_an_error_of_ours_and_not_survived() -> None:
    def evaluate(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
        yield from (passed(row.origin, "x", "X") for row in view.rows(Call("ec2", "DescribeVpcs", items="Undeclared")))

    check = replace(next(iter(load())), evaluate=evaluate, payer=False)
    with pytest.raises(UndeclaredCall, match="ec2:DescribeVpcs is read but not declared"):
        judge(check, collect(calls_of(check), Replay({})), resolve(check.id, (), {}, {}), Evidence(now=NOW))


def names_what_is_missing(check: Check, finding: Finding) -> None:
    declared = [link for call in calls_of(check) for link in call.chain()]
    source = [link for link in declared if link.name == finding.source]
    assert source, f"{check.id} does not read {finding.source}: {shown([finding])}"
    assert finding.reason is not None, shown([finding])
    if finding.reason is Reason.DENIED:
        action = re.search(r"needs ([a-z0-9-]+:[A-Z]\w+)", finding.message)
        assert action, f"no action in {shown([finding])}"
        if finding.observed == TAKEN:
            assert action[1] in {name for link in source for name in actions(link)}, shown([finding])
    elif finding.reason not in (Reason.IN_TRANSIT, Reason.REGION_UNREADABLE) and finding.observed.isidentifier():
        assert finding.source in finding.message, shown([finding])


def losses(account: Account) -> Iterator[tuple[str, Callable[[Request], bool]]]:
    """What can be lost, as a name and a question about a request."""
    requests = {
        request
        for snapshot in (account.snapshot, account.payer)
        if snapshot is not None
        for by_request in snapshot.readings.values()
        for request, reading in by_request.items()
        if reading.absent is not Reason.NOT_IN_PARTITION
    }
    names = sorted({operation_of(request) for request in requests})
    for name in names:
        yield name, lambda request, name=name: operation_of(request) == name  # type: ignore[misc]
        yield f"all but {name}", lambda request, name=name: operation_of(request) != name  # type: ignore[misc]
    for one in requests:
        yield f"{operation_of(one)} {one.region} {one.arguments()}", lambda request, one=one: request == one  # type: ignore[misc]


def operation_of(request: Request) -> str:
    return f"{request.service}:{request.operation}"


def spoiled(account: Account, hit: Callable[[Request], bool]) -> Account:
    """The account with the readings that are hit denied."""

    def refused(call: Call, request: Request, reading: Reading) -> Reading:
        if reading.absent is Reason.NOT_IN_PARTITION or not hit(request):
            return reading
        return Reading(NOW, gap=Gap(call, request, Reason.DENIED, TAKEN, "", NOW))

    def lost(snapshot: Snapshot) -> Snapshot:
        readings = {
            call: {request: refused(call, request, reading) for request, reading in by_request.items()}
            for call, by_request in snapshot.readings.items()
        }
        return replace(snapshot, readings=readings)

    return Account(lost(account.snapshot), lost(account.payer) if account.payer is not None else None)


def offences_of(check: Check, whole: tuple[Finding, ...], found: tuple[Finding, ...]) -> Iterator[str]:
    """What the findings of a spoiled account say that those of the whole account deny."""
    if any("defect of Passmuster" in finding.message for finding in found):
        yield "a defect"
    before, after = status_of(whole), status_of(found)
    if not found:
        yield "silence"
    if after not in (before, Status.UNKNOWN) and not harmless(check, before, after):
        yield f"{before} becomes {after}"
    said: dict[tuple[str, str], set[Status]] = {}
    for finding in whole:
        said.setdefault(finding.key, set()).add(finding.status)
    for finding in found:
        known = said.get(finding.key, {finding.status})
        turned = finding.status not in known | {Status.UNKNOWN}
        if turned and not any(harmless(check, status, finding.status) for status in known):
            yield f"{sorted(known)} of {finding.resource} becomes {finding.status}"


def harmless(check: Check, before: Status, after: Status) -> bool:
    return check.id in EITHER_WAY and {before, after} == {Status.PASS, Status.NOT_APPLICABLE}
