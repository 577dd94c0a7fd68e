"""In the other partitions, what AWS does not offer there does not apply, and everything else gets an answer.

Which services a partition and a region have is botocore's own data, as the product reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pytest

from cases import Account, policy_of, shown
from passmuster.assess.assessment import status_of
from passmuster.aws.clients import Clients
from passmuster.aws.principal import KeyRing
from passmuster.aws.transport import NOT_OFFERED, BotoTransport, CallError
from passmuster.checks.catalogue import load
from passmuster.checks.declaration import Check
from passmuster.checks.judge import calls_of
from passmuster.inventory.call import Request
from passmuster.model.verdict import Reason, Status
from replay import Replay, collect

CHECKS = [pytest.param(check, id=check.id) for check in load()]
PLACES = {"aws": "eu-central-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
EMPTY = {
    "organizations:DescribeOrganization": {"error": "AWSOrganizationsNotInUseException"},
    "support:DescribeTrustedAdvisorChecks": {"error": "SubscriptionRequiredException"},
    "securityhub:DescribeHub": {"error": "InvalidAccessException"},
    "securityhub:GetEnabledStandards": {"error": "InvalidAccessException"},
    "securityhub:DescribeSecurityHubV2": {"error": "ResourceNotFoundException"},
    "compute-optimizer:GetEnrollmentStatus": {"status": "Inactive"},
    "auditmanager:GetAccountStatus": {"status": "INACTIVE"},
    "iam:GetAccountSummary": {"SummaryMap": {"AccountMFAEnabled": 1, "AccountAccessKeysPresent": 0}},
    "inspector2:BatchGetAccountStatus": {"accounts": []},
    "macie2:GetMacieSession": {"error": "AccessDeniedException"},
    "account:GetAlternateContact": {"error": "ResourceNotFoundException"},
    "ec2:GetEbsEncryptionByDefault": {"EbsEncryptionByDefault": False},
    "s3control:GetPublicAccessBlock": {"error": "NoSuchPublicAccessBlockConfiguration"},
}
"""What AWS answers in an account where nothing was ever made, wherever it does not answer with an empty list."""

WITHOUT_AWS = {"on-call-rotation": "a duty that Alertmanager's heartbeat or an attestation shows is one anywhere"}
"""Checks that are met without any service of AWS, so that they apply where AWS has none."""


@lru_cache(maxsize=1)
def clients() -> Clients:
    return Clients(KeyRing())


@dataclass
class Offered(Replay):
    """An empty account; what botocore's endpoint data says does not exist is not there."""

    answers: Mapping[str, Any] = field(default_factory=lambda: EMPTY)

    def offers(self, service: str, partition: str) -> bool:
        return BotoTransport(clients()).offers(service, partition)

    def pages(self, request: Request) -> Iterator[Mapping[str, Any]]:
        if not clients().offers_in(request.service, request.region) and request.service != "globalaccelerator":
            raise CallError(Reason.NOT_IN_PARTITION, NOT_OFFERED, "no such name")
        return super().pages(request)


def empty_account(check: Check, partition: str) -> tuple[Account, Offered]:
    transport = Offered()
    region = PLACES[partition]
    return Account(collect(calls_of(check), transport, regions=(region,), partition=partition), None), transport


@pytest.mark.parametrize("partition", PLACES)
@pytest.mark.parametrize("check", CHECKS)
def test_an_empty_account_of_the_partition_gets_a_true_answer(check: Check, partition: str) -> None:
    account, _ = empty_account(check, partition)
    case = policy_of(check)
    findings = case.findings(account)
    assert findings
    assert not [finding for finding in findings if "defect of Passmuster" in finding.message], shown(findings)
    missing = {call.service for call in check.calls if not Offered().offers(call.service, partition)}
    if missing >= {call.service for call in check.calls} and check.id not in WITHOUT_AWS:
        assert status_of(findings) is Status.NOT_APPLICABLE, shown(findings)
        assert {finding.reason for finding in findings} <= {Reason.NOT_IN_PARTITION, Reason.NOT_REQUESTED}
    for finding in findings:
        unknown_for = finding.observed if finding.status is Status.UNKNOWN else ""
        assert NOT_OFFERED not in str(unknown_for), shown(findings)


@pytest.mark.parametrize("partition", PLACES)
def test_what_the_partition_lacks_is_never_asked(partition: str) -> None:
    for check in load():
        _, transport = empty_account(check, partition)
        assert not [r for r in transport.asked if not transport.offers(r.service, partition)], check.id


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov"])
def test_some_checks_do_not_apply_there(partition: str) -> None:
    """Else this file would prove nothing."""
    there = {
        check.id
        for check in load()
        if any(
            f.reason is Reason.NOT_IN_PARTITION for f in policy_of(check).findings(empty_account(check, partition)[0])
        )
    }
    assert "global-accelerator-enabled" in there
    assert not [
        check.id
        for check in load()
        if any(f.reason is Reason.NOT_IN_PARTITION for f in policy_of(check).findings(empty_account(check, "aws")[0]))
    ]
