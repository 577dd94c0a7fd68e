"""The account that is ready: every check passes, or nothing of its kind exists; and it costs little to know.

On its way there it stands at every level once. That no check's Pass depends on a check of a later phase is proven by
it: at each level all checks up to it hold, and those of later phases do not.
"""

from collections.abc import Mapping

import pytest

from inspected import Inspected, inspect, month_of_bills
from passmuster.checks.catalogue import load
from passmuster.model.report import Report
from passmuster.model.verdict import Phase, Reason, Status
from passmuster.sandbox.accounts import ready
from passmuster.sandbox.simulated_aws import SimulatedAWS

pytestmark = pytest.mark.slow

PHASES = tuple(Phase)
HOLDS = (Status.PASS, Status.NOT_APPLICABLE)
NOT_THERE = {"service-mesh": "one service has nobody to call"}
IMPLIED = {"compliance-reported": "the standard of Security Hub, which the Stable phase asks for, is such a report"}
"""Checks of a later phase that an earlier one makes pass: the later needs the earlier, not the other way round."""

NEVER_FAILING = {
    "no-retired-services": "nothing of the account has ended, at no time",
    "vpc-flow-logs": "the account of the review has them",
}
"""Checks of a later phase that hold from the beginning; what they ask for has nothing to do with any other."""


@pytest.fixture(scope="module")
def climb(running_aws: SimulatedAWS, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Phase, Inspected]:
    """The account as it stands before anything is closed (Foundation), and after each phase."""
    running_aws.reset()
    folder = tmp_path_factory.mktemp("ready")
    began = ready.begin(running_aws)
    found = {Phase.FOUNDATION: inspect(running_aws, ready.seeded(began), folder)}
    for phase, close in ready.STEPS.items():
        close(began)
        found[phase] = inspect(running_aws, ready.seeded(began), folder)
    return found


@pytest.fixture(scope="module")
def inspected(climb: Mapping[Phase, Inspected]) -> Inspected:
    return climb[Phase.ENTERPRISE]


def reasons(report: Report, check_id: str) -> list[str]:
    return [f"{f.status} {f.reason} {f.resource}: {f.message} ({f.observed})" for f in report.check(check_id).findings]


@pytest.mark.parametrize("check_id", [check.id for check in load()])
def test_every_check_passes_or_finds_nothing_of_its_kind(inspected: Inspected, check_id: str) -> None:
    result, told = inspected.report.check(check_id), reasons(inspected.report, check_id)
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


@pytest.mark.parametrize("phase", PHASES)
def test_it_stands_at_every_level_once_on_its_way(climb: Mapping[Phase, Inspected], phase: Phase) -> None:
    report = climb[phase].report
    wrong = [
        f"{check.id}: {reasons(report, check.id)}"
        for check in load()
        if check.phase.order <= phase.order and report.check(check.id).status not in HOLDS
    ]
    assert report.level == phase.value, "\n".join(wrong)
    assert report.coverage == 100


@pytest.mark.parametrize("check_id", [check.id for check in load() if check.phase is not Phase.ENTERPRISE])
def test_no_pass_depends_on_a_check_of_a_later_phase(climb: Mapping[Phase, Inspected], check_id: str) -> None:
    """For every later check there is an account where this one passes and that one does not."""
    catalogue = load()
    passing = [one.report for one in climb.values() if one.report.check(check_id).status is Status.PASS]
    later = [other for other in catalogue if other.phase.order > catalogue.get(check_id).phase.order]
    assert passing
    always = {other.id for other in later if all(r.check(other.id).status is Status.PASS for r in passing)}
    assert always <= {*NEVER_FAILING, *IMPLIED}


def test_everything_could_be_read_with_the_derived_policy(climb: Mapping[Phase, Inspected]) -> None:
    for one in climb.values():
        assert one.report.inspection.refusals == ()
        assert list(one.outcome.snapshot.gaps()) == []


def test_no_operation_is_made_twice_for_the_same_target(inspected: Inspected) -> None:
    assert len(set(inspected.requests)) == len(inspected.requests)


def test_looking_at_it_for_a_month_costs_less_than_a_dollar(running_aws: SimulatedAWS, inspected: Inspected) -> None:
    assert inspected.report.inspection.billed_cost > 0
    assert 0 < month_of_bills(running_aws, inspected) < 1
