"""One policy over accounts of different partitions and regions, without a cluster and on the real API server.

The shop of the review stands at Foundation; the other account, in another partition, is on its first day and stands at
no level. The policy says what is true of the worse.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.conftest import World, manifests
from passmuster.cli import offline
from passmuster.sandbox.accounts import review
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, SimulatedAWS
from passmuster.sandbox.story import own_identity

OTHER, OTHER_REGION = "222222222222", "cn-north-1"


def open_other(aws: SimulatedAWS) -> str:
    """A role in the other account that the operator's identity may assume; its ARN."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{DEFAULT_ACCOUNT}:root"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": review.EXTERNAL_ID}},
            }
        ],
    }
    client = aws.client("iam", OTHER_REGION, account_id=OTHER)
    made = client.create_role(RoleName="passmuster-inspection", AssumeRolePolicyDocument=json.dumps(trust))
    return str(made["Role"]["Arn"])


def documents(other_role: str) -> list[dict[str, Any]]:
    """The example with a second account of the same team, and a policy that selects the team's accounts."""
    namespace, shop, policy = manifests()
    other = {
        "apiVersion": shop["apiVersion"],
        "kind": "AWSAccount",
        "metadata": {"name": "shop-china", "labels": {"team": "shop"}},
        "spec": {
            "accountId": OTHER,
            "partition": "aws-cn",
            "roleArn": other_role,
            "externalId": review.EXTERNAL_ID,
            "regions": [OTHER_REGION],
            "allowedNamespaces": {"names": ["shop"]},
        },
    }
    spec = {name: value for name, value in policy["spec"].items() if name not in ("accountRef", "remediation")}
    policy["spec"] = {**spec, "accountSelector": {"matchLabels": {"team": "shop"}}}
    return [namespace, shop, other, policy]


@pytest.mark.slow
def test_without_a_cluster_each_account_is_inspected_in_its_own_partition(tmp_path: Path) -> None:
    with SimulatedAWS() as aws:
        review.seed(aws)
        manifest = tmp_path / "many.yaml"
        manifest.write_text(yaml.safe_dump_all(documents(open_other(aws))))
        aws.requests.clear()
        with own_identity(aws):
            found = {r.report.account_id: r.report for r in offline.inspect(offline.Asked(files=(manifest,)), aws.url)}
        asked = {(request.account, request.region) for request in aws.requests if request.service != "sts"}
    assert found[DEFAULT_ACCOUNT].level == "Foundation"
    assert (found[OTHER].level, found[OTHER].coverage, found[OTHER].regions) == ("None", 100, (OTHER_REGION,))
    reasons = {str(f.reason) for f in found[OTHER].check("global-accelerator-enabled").findings}
    assert reasons == {"NotInPartition"}
    assert {region for account, region in asked if account == OTHER} == {OTHER_REGION}
    assert OTHER_REGION not in {region for account, region in asked if account == DEFAULT_ACCOUNT}


@pytest.fixture
def governed(world: World) -> Iterator[World]:
    for document in documents(open_other(world.aws)):
        answer = world.server.apply(document)
        assert answer.ok, answer.message
    world.start_operator()
    yield world
    world.server.call("DELETE", "/apis/passmuster.io/v1alpha1/awsaccounts/shop-china")


@pytest.mark.slow
@pytest.mark.apiserver
def test_on_the_api_server_the_policy_shows_the_worst_of_its_accounts(governed: World) -> None:
    def both() -> list[dict[str, Any]]:
        return [one for one in governed.list("readinessreports") if (one.get("status") or {}).get("level")]

    reports = {
        one["spec"]["accountId"]: one["status"]
        for one in governed.until("both reports", both, lambda found: len(found) == 2)
    }
    policy = governed.until(
        "the verdict on both accounts",
        lambda: governed.policy,
        lambda body: (body.get("status") or {}).get("accounts") == 2 and body["status"].get("level"),
    )
    status = policy["status"]
    assert reports[DEFAULT_ACCOUNT]["level"] == "Foundation"
    assert reports[OTHER]["level"] == "None"
    assert status["level"] == "None"
    assert status["score"] == min(report["score"] for report in reports.values())
    assert status["criticalFailing"] >= max(report["criticalFailing"] for report in reports.values())
    compliant = next(one for one in status["conditions"] if one["type"] == "Compliant")
    assert compliant["status"] == "False"
    assert governed.faults() == []
