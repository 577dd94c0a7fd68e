"""The review's account is what the review says: every ticked box passes, every open one fails.

It is inspected as the operator inspects: the inspection role is assumed with its external id, policies are enforced,
the real collector asks the simulated AWS over HTTP, and the report is written as a document. `review_boxes.yaml` is the
review's own checklist; EXPECTED decides about every check, those of the review's text included, and a new check needs a
line in it.
"""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from passmuster.assess.demand import Demand
from passmuster.aws.clients import Clients
from passmuster.aws.collector import Collector
from passmuster.aws.identity import Identities
from passmuster.aws.limits import Limits
from passmuster.aws.principal import KeyRing
from passmuster.aws.transport import BotoTransport
from passmuster.checks.catalogue import load
from passmuster.engine.documents import report_document
from passmuster.engine.inspection import Inspector, Outcome, Task
from passmuster.model.account import Identity, Target
from passmuster.model.evidence import Recovery
from passmuster.model.verdict import Phase, Status
from passmuster.sandbox.accounts import review, shop, templates
from passmuster.sandbox.simulated_aws import SimulatedAWS
from passmuster.sandbox.story import own_identity

CHECKLIST = yaml.safe_load((Path(__file__).parent / "review_boxes.yaml").read_text())
BOXES = [box for section in CHECKLIST.values() for box in section]
PASS, FAIL, NOT_APPLICABLE = Status.PASS, Status.FAIL, Status.NOT_APPLICABLE

EXPECTED = {
    # Infrastructure
    "multi-az-deployment": PASS,
    "multi-region-deployment": FAIL,
    "nat-gateway-per-az": FAIL,
    "auto-scaling-configured": PASS,
    "load-balancing-healthy": PASS,
    "global-accelerator-enabled": FAIL,
    "custom-domain": FAIL,
    "dns-health-checks": FAIL,
    "service-mesh": NOT_APPLICABLE,  # one service has nobody to call
    # Security
    "waf-enabled": PASS,
    "security-groups-restricted": PASS,
    "encryption-at-rest": PASS,
    "tls-certificates-valid": FAIL,
    "https-redirect": FAIL,
    "secrets-managed": PASS,
    "secrets-rotated": FAIL,
    "guardduty-enabled": FAIL,
    "security-hub-enabled": FAIL,
    "config-rules-enabled": FAIL,
    "vpc-endpoints-present": PASS,
    "waf-rate-limit-per-session": FAIL,
    "vpc-flow-logs": PASS,  # a strength of the review: they go to CloudWatch Logs, and no policy asks for S3
    "image-scanning": PASS,
    "iam-least-privilege": PASS,
    "advanced-security": FAIL,
    # Monitoring
    "workload-logs-retained": PASS,
    "golden-signal-alarms": PASS,
    "alarm-notifications-delivered": PASS,
    "tracing-enabled": FAIL,
    "container-insights-enabled": FAIL,
    "performance-insights-enabled": FAIL,
    "synthetic-canaries-running": FAIL,
    "database-log-exports": FAIL,
    "enhanced-monitoring": FAIL,
    "business-metric-alarms": NOT_APPLICABLE,  # the policy names no business metric
    # Backup and disaster recovery
    "automated-backups": PASS,
    "cross-region-replication": FAIL,
    "backup-plan-protects": FAIL,
    "dr-runbooks": FAIL,
    "recovery-tested": FAIL,
    "rto-rpo-met": FAIL,
    "failover-exercised": FAIL,
    # Compliance
    "cloudtrail-multi-region": FAIL,
    "cloudtrail-log-validation": NOT_APPLICABLE,  # without a trail there are no files
    "cloudtrail-encrypted": NOT_APPLICABLE,
    "cloudtrail-data-events": NOT_APPLICABLE,
    "config-recorder-recording": FAIL,
    "resources-tagged": PASS,
    "tags-enforced": FAIL,
    "compliance-reported": FAIL,
    "audit-logs-retained": FAIL,
    # Operations
    "ci-cd-pipeline": PASS,
    "infrastructure-as-code": PASS,
    "runbooks-documented": FAIL,
    "runbook-set-complete": FAIL,
    "on-call-rotation": FAIL,
    "incident-response-plan": FAIL,
    "change-management": FAIL,
    "deployment-rollback": PASS,
    "no-retired-services": PASS,
    # Performance
    "health-checks-configured": PASS,
    "health-endpoint-dedicated": FAIL,
    "connection-pooling": PASS,
    "caching-layer": FAIL,
    "cdn-in-front": PASS,
    # Cost
    "cost-allocation-tags": PASS,
    "cost-monitoring": PASS,
    "budgets-configured": PASS,
    "cost-anomaly-detection": PASS,
    "reserved-instance-coverage": FAIL,
    "savings-plan-coverage": FAIL,
    "compute-optimizer-enrolled": FAIL,
    "trusted-advisor-reviewed": NOT_APPLICABLE,  # the account pays for no support plan
}
"""What the review says of each item, by check; optional items are asked for, as the demo's policy does."""


class Lines(logging.Handler):
    """Keeps every log line, formatted."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(self.format(record))


@contextlib.contextmanager
def logged(lines: Lines) -> Iterator[None]:
    """Keep everything that the process logs at the levels it runs with; of our own code everything."""
    everybody, ours = logging.getLogger(), logging.getLogger("passmuster")
    before = ours.level
    ours.setLevel(logging.DEBUG)
    everybody.addHandler(lines)
    try:
        yield
    finally:
        everybody.removeHandler(lines)
        ours.setLevel(before)


@dataclass(frozen=True)
class Inspected:
    account: review.ReviewAccount
    outcome: Outcome
    logs: list[str] = field(repr=False)


@pytest.fixture(scope="module")
def seeded(running_aws: SimulatedAWS) -> review.ReviewAccount:
    running_aws.reset()
    return review.seed(running_aws)


@pytest.fixture(scope="module")
def inspected(running_aws: SimulatedAWS, seeded: review.ReviewAccount) -> Iterator[Inspected]:
    """The account, inspected once; the base credentials are those of the simulated account itself."""
    clients = Clients(KeyRing(), endpoint_url=running_aws.url)
    catalogue = load()
    optional = frozenset(check.id for check in catalogue if check.optional)
    target = Target(
        seeded.account_id,
        (seeded.region,),
        identity=Identity(role_arn=seeded.inspection_role_arn, external_id=seeded.external_id),
    )
    collector = Collector(BotoTransport(clients), Limits(rate=1e4))
    task = Task(target, Demand(level=Phase.PRODUCTION, optional=optional), Recovery(secondary_region="eu-west-1"))
    lines = Lines()
    with own_identity(running_aws, seeded.account_id), logged(lines), running_aws.enforce_iam():
        outcome = Inspector(collector, Identities(clients), catalogue).inspect(task)
    yield Inspected(seeded, outcome, lines.kept)
    clients.close()


def document(inspected: Inspected) -> str:
    report = inspected.outcome.report
    return json.dumps(report_document("shop", "shop", "shop", report, None, limit=None), default=str)


def test_every_check_has_its_place_in_the_table() -> None:
    undecided = sorted(check.id for check in load() if check.id not in EXPECTED)
    assert not undecided, f"say in EXPECTED what the review's account is expected to get from {undecided}"


@pytest.mark.parametrize("check_id", [check.id for check in load()])
def test_the_account_gets_the_verdict_of_the_review(inspected: Inspected, check_id: str) -> None:
    result = inspected.outcome.report.check(check_id)
    told = [f"{finding.status}: {finding.message} ({finding.observed})" for finding in result.findings]
    assert result.status == EXPECTED.get(check_id), "\n".join(told)


def test_the_checklist_of_the_review_has_its_53_boxes_of_which_23_are_ticked() -> None:
    assert len(BOXES) == 53
    assert sum(box["ticked"] for box in BOXES) == 23
    assert {box["check"] for box in BOXES} <= {check.id for check in load()}
    assert all(EXPECTED[box["check"]] is (PASS if box["ticked"] else FAIL) for box in BOXES)


@pytest.mark.parametrize("box", [pytest.param(box, id=f"{n}: {box['item']}") for n, box in enumerate(BOXES, 1)])
def test_a_ticked_box_passes_and_an_open_one_fails(inspected: Inspected, box: Mapping[str, Any]) -> None:
    result = inspected.outcome.report.check(box["check"])
    assert result.status is (PASS if box["ticked"] else FAIL), result.findings
    assert not result.waived


def test_everything_could_be_read_with_the_derived_policy_and_nothing_else(inspected: Inspected) -> None:
    report = inspected.outcome.report
    assert report.inspection.refusals == ()
    assert list(inspected.outcome.snapshot.gaps()) == []
    assert report.coverage == 100


def test_the_account_stands_at_foundation_and_not_at_production(inspected: Inspected) -> None:
    report = inspected.outcome.report
    assert (report.level, report.declared, report.compliant) == ("Foundation", Phase.PRODUCTION, False)


def test_every_gap_of_the_production_phase_is_the_load_balancers_or_the_accounts(inspected: Inspected) -> None:
    """So that the remediations of the phase can close all of them; the distribution is in order by itself."""
    report = inspected.outcome.report
    failures = [f for result in report.checks if result.phase is Phase.PRODUCTION for f in result.failures]
    assert failures
    assert not [finding.resource for finding in failures if ":cloudfront:" in finding.resource]
    assert not [finding.resource for finding in failures if finding.resource == review.INVOICE_DOMAIN]


def test_no_value_that_is_nobodys_business_gets_out(inspected: Inspected) -> None:
    assert review.CANARY not in document(inspected)
    assert review.CANARY not in repr(inspected.outcome.snapshot)
    assert review.CANARY not in repr(inspected.outcome.report)
    assert not [line for line in inspected.logs if review.CANARY in line]


def test_the_canaries_are_really_there(running_aws: SimulatedAWS, seeded: review.ReviewAccount) -> None:
    """Else the test above would prove nothing."""
    client = running_aws.client
    functions = client("lambda").list_functions()["Functions"]
    family = client("ecs").describe_task_definition(taskDefinition="shop-web")["taskDefinition"]
    secret = client("secretsmanager").get_secret_value(SecretId="shop/payment")["SecretString"]
    flag = client("ssm").get_parameter(Name="/shop/flag", WithDecryption=True)["Parameter"]["Value"]
    subscriptions = client("sns").list_subscriptions()["Subscriptions"]
    for found in (functions, family, secret, flag, subscriptions):
        assert review.CANARY in str(found)


def test_the_roles_open_only_with_the_external_id(running_aws: SimulatedAWS, seeded: review.ReviewAccount) -> None:
    for role in (seeded.inspection_role_arn, seeded.remediation_role_arn):
        assert running_aws.assume(role, external_id=seeded.external_id).token
        for wrong in (None, "guessed"):
            with pytest.raises(ClientError, match="AccessDenied"):
                running_aws.assume(role, external_id=wrong)


def test_the_remediation_role_may_end_stacks_of_passmuster_only(
    running_aws: SimulatedAWS, seeded: review.ReviewAccount
) -> None:
    keys = running_aws.assume(seeded.remediation_role_arn, external_id=seeded.external_id)
    stacks = running_aws.session_with(keys).client("cloudformation", seeded.region)
    template = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    with running_aws.enforce_iam():
        asked = {"ChangeSetName": "one", "ChangeSetType": "CREATE", "TemplateBody": template}
        stacks.create_change_set(StackName="passmuster-shop-topic", **asked)
        stacks.delete_stack(StackName="passmuster-shop-topic")
        with pytest.raises(ClientError, match="AccessDenied"):
            stacks.delete_stack(StackName="shop-costs")


@pytest.mark.parametrize("kind", ["listener", "targetgroup", "service", "cluster", "db"])
def test_what_is_changed_in_place_belongs_to_no_stack(
    running_aws: SimulatedAWS, seeded: review.ReviewAccount, kind: str
) -> None:
    """The pipeline's and people's things; the owner of a stack would have to change the others."""
    cloudformation = running_aws.client("cloudformation", seeded.region)
    owned = [
        str(resource["PhysicalResourceId"])
        for stack in cloudformation.describe_stacks()["Stacks"]
        for resource in cloudformation.list_stack_resources(StackName=stack["StackName"])["StackResourceSummaries"]
    ]
    assert owned
    assert not [name for name in owned if f":{kind}/" in name or f":{kind}:" in name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["network", "data", "edge", "service", "dns", "costs", "invoices"])
def test_the_accounts_own_templates_are_good_cloudformation(seeded: review.ReviewAccount, name: str) -> None:
    from cfnlint.api import ManualArgs, lint  # takes seconds to import

    region = shop.EDGE_REGION if name == "invoices" else seeded.region
    assert [str(match) for match in lint(templates.read(name), config=ManualArgs(regions=[region]))] == []
