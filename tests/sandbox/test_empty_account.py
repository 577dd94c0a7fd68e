"""The account on its first day: every check has a finding about it, and none is false."""

import pytest

from inspected import Inspected, inspect
from passmuster.checks.catalogue import load
from passmuster.model.verdict import Reason, Status
from passmuster.sandbox.accounts import empty
from passmuster.sandbox.simulated_aws import SimulatedAWS

FAILING = {
    # Settings that an account has from its first day, as AWS makes them.
    "encryption-at-rest": "New volumes in eu-central-1 are not encrypted by default",
    "security-groups-restricted": "The default security group*",
    "iam-least-privilege": "Root has no second factor",
    # What an account needs whatever runs in it.
    "budgets-configured": "No budget*",
    "change-management": "Nobody has to agree*",
    "ci-cd-pipeline": "No pipeline*",
    "cloudtrail-multi-region": "No trail*",
    "compliance-reported": "No recent report*",
    "compute-optimizer-enrolled": "Compute Optimizer is not enrolled",
    "config-recorder-recording": "No recorder*",
    "config-rules-enabled": "AWS Config in eu-central-1 lacks*",
    "cost-allocation-tags": "The bill cannot be split*",
    "cost-anomaly-detection": "No monitor*",
    "cost-monitoring": "The account's cost is not monitored*",
    "guardduty-enabled": "GuardDuty is not enabled*",
    "incident-response-plan": "The account is not prepared*",
    "on-call-rotation": "Nobody can be seen to be on call*",
    "security-hub-enabled": "Security Hub is not enabled*",
    "tags-enforced": "Nothing enforces tags*",
}
"""What fails on an empty account, by check, with the first sentence that says so."""

PASSING = {"no-retired-services", "resources-tagged"}
"""Nothing has ended, and what there is (the stack of Passmuster's roles) carries its tags."""


@pytest.fixture(scope="module")
def inspected(running_aws: SimulatedAWS, tmp_path_factory: pytest.TempPathFactory) -> Inspected:
    running_aws.reset()
    return inspect(running_aws, empty.seed(running_aws), tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize("check_id", [check.id for check in load()])
def test_every_check_has_something_true_to_say(inspected: Inspected, check_id: str) -> None:
    result = inspected.report.check(check_id)
    told = [f"{f.status} {f.reason}: {f.message}" for f in result.findings]
    assert result.findings
    assert not [line for line in told if "defect of Passmuster" in line]
    if check_id in FAILING:
        assert result.status is Status.FAIL, told
        failures = [finding.message for finding in result.failures]
        assert any(message.startswith(FAILING[check_id].removesuffix("*")) for message in failures), told
    elif check_id in PASSING:
        assert result.status is Status.PASS, told
    else:
        assert result.status is Status.NOT_APPLICABLE, told
        assert {finding.reason for finding in result.findings} <= {
            Reason.NOTHING_OF_THAT_KIND,
            Reason.NOT_REQUESTED,
            Reason.NO_SUPPORT_PLAN,
        }


def test_everything_could_be_read_with_the_derived_policy(inspected: Inspected) -> None:
    assert inspected.report.inspection.refusals == ()
    assert list(inspected.outcome.snapshot.gaps()) == []
    assert inspected.report.coverage == 100


def test_the_account_stands_at_no_level(inspected: Inspected) -> None:
    assert (inspected.report.level, inspected.report.compliant) == ("None", False)
    assert inspected.report.counts.failed == len(FAILING)
