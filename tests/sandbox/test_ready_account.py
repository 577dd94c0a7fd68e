"""The account that is ready: every check passes, or nothing of its kind exists; and it costs little to know."""

import pytest

from inspected import Inspected, inspect, month_of_bills
from passmuster.checks.catalogue import load
from passmuster.model.verdict import Reason, Status
from passmuster.sandbox.accounts import ready
from passmuster.sandbox.simulated_aws import SimulatedAWS

pytestmark = pytest.mark.slow

NOT_THERE = {"service-mesh": "one service has nobody to call"}


@pytest.fixture(scope="module")
def inspected(running_aws: SimulatedAWS, tmp_path_factory: pytest.TempPathFactory) -> Inspected:
    running_aws.reset()
    return inspect(running_aws, ready.seed(running_aws), tmp_path_factory.mktemp("ready"))


@pytest.mark.parametrize("check_id", [check.id for check in load()])
def test_every_check_passes_or_finds_nothing_of_its_kind(inspected: Inspected, check_id: str) -> None:
    result = inspected.report.check(check_id)
    told = [f"{f.status} {f.reason} {f.resource}: {f.message} ({f.observed})" for f in result.findings]
    if check_id in NOT_THERE:
        assert result.status is Status.NOT_APPLICABLE, told
        assert {finding.reason for finding in result.findings} == {Reason.NOTHING_OF_THAT_KIND}
    else:
        assert result.status is Status.PASS, told
        assert not result.waived
        assert not [finding for finding in result.findings if finding.attested_by], "by what AWS says, not by a person"


def test_the_account_reaches_the_highest_level_with_the_best_score(inspected: Inspected) -> None:
    report = inspected.report
    assert (report.level, report.score, report.coverage, report.compliant) == ("Enterprise", 100, 100, True)
    assert report.critical_failing == 0
    assert [phase.complete for phase in report.phases] == [100] * 5


def test_everything_could_be_read_with_the_derived_policy(inspected: Inspected) -> None:
    assert inspected.report.inspection.refusals == ()
    assert list(inspected.outcome.snapshot.gaps()) == []


def test_no_operation_is_made_twice_for_the_same_target(inspected: Inspected) -> None:
    assert len(set(inspected.requests)) == len(inspected.requests)


def test_looking_at_it_for_a_month_costs_less_than_a_dollar(running_aws: SimulatedAWS, inspected: Inspected) -> None:
    assert inspected.report.inspection.billed_cost > 0
    assert 0 < month_of_bills(running_aws, inspected) < 1
