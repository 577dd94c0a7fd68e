"""The review's account goes from level to level: by the operator's changes, by people's, by time, and what is left.

One world under a policy that declares Enterprise and disables nothing. In each phase a person approves what waits,
people do what `DEEDS` and `ATTESTED` say, and what comes only with time (`TIME`) is told by the simulated AWS.

::

    Foundation --approvals--> Production --people, time--> Stable --people--> Hardened --held back--> Enterprise
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from passmuster.checks.catalogue import load as load_checks
from passmuster.engine.ports import ATTESTATIONS, REMEDIATIONS, Key
from passmuster.model.verdict import Phase
from passmuster.report import stored
from passmuster.sandbox.accounts import review, shop
from passmuster.sandbox.accounts.ready import PER_SESSION
from passmuster.sandbox.accounts.shop import DATABASE, LOWER
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS
from turns import POLICY, REPORT, World, build, clocked_engine, condition, objects, own_identity

pytestmark = pytest.mark.slow

SECOND_REGION = "eu-west-1"
EXECUTED = ("AdditiveStack", "OwnerStack", "Adoption", "ApiStep")
DONE = ("Applied", "Superseded")
ENGINEER, LEAD = "alice", "bob"
"""Who attests and asks, and who approves."""


# what people answer ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attested:
    """An answer of people, and why AWS cannot give it."""

    phase: Phase
    check: str
    statement: str
    why: str
    days: int


ATTESTED = (
    Attested(
        Phase.STABLE,
        "secrets-rotated",
        "The payment provider issued a new token on 1 October; it is replaced every quarter by hand",
        "the provider offers no API that a rotation function could call",
        90,
    ),
    Attested(
        Phase.HARDENED,
        "on-call-rotation",
        "Four engineers take turns weekly in the paging service of the group, whose schedule is attached",
        "the schedule is kept by a service outside of AWS",
        90,
    ),
)


# what people do -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deed:
    """What a person does in a phase: for which check, why the operator does not, and the doing."""

    phase: Phase
    check: str
    why: str
    done: Callable[[Walk], None]


def keep_a_vault_elsewhere(walk: Walk) -> None:
    """A vault in the second region, and its name in the policy."""
    made = walk.aws.client("backup", SECOND_REGION).create_backup_vault(BackupVaultName="shop-copies")
    walk.vault = made["BackupVaultArn"]
    walk.inputs["copyVaultArn"] = walk.vault
    walk.world.remediation_rules(inputs=walk.inputs)


def mark_the_secret(walk: Walk) -> None:
    """The tag under which an attestation stands in for rotation; no other secret is excused by it."""
    walk.aws.client("secretsmanager", DEFAULT_REGION).tag_resource(
        SecretId="shop/payment", Tags=[{"Key": "rotation", "Value": "external"}]
    )


def limit_sessions_at_the_edge(walk: Walk) -> None:
    """The rule that the operator adds to the other web ACL, in the one of the distribution."""
    waf = walk.aws.client("wafv2", shop.EDGE_REGION)
    (listed,) = waf.list_web_acls(Scope="CLOUDFRONT")["WebACLs"]
    found = waf.get_web_acl(Name=listed["Name"], Id=listed["Id"], Scope="CLOUDFRONT")
    acl = found["WebACL"]
    waf.update_web_acl(
        Name=acl["Name"],
        Id=acl["Id"],
        Scope="CLOUDFRONT",
        DefaultAction=acl["DefaultAction"],
        VisibilityConfig=acl["VisibilityConfig"],
        Rules=[*acl["Rules"], PER_SESSION],
        LockToken=found["LockToken"],
    )


def replicate_images(walk: Walk) -> None:
    """Images are pushed on to the second region."""
    there = {"region": SECOND_REGION, "registryId": DEFAULT_ACCOUNT}
    walk.aws.client("ecr", DEFAULT_REGION).put_replication_configuration(
        replicationConfiguration={"rules": [{"destinations": [there]}]}
    )


def deploy_with_tracing(walk: Walk) -> None:
    """A release of the service with a collector beside it, and functions that trace."""
    ecs = walk.aws.client("ecs", DEFAULT_REGION)
    old = ecs.describe_task_definition(taskDefinition="shop-web")["taskDefinition"]
    web = old["containerDefinitions"][0]
    collector = {
        "name": "aws-otel-collector",
        "image": "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3",
        "essential": False,
        "logConfiguration": web["logConfiguration"],
    }
    kept = ("family", "networkMode", "requiresCompatibilities", "cpu", "memory", "executionRoleArn", "taskRoleArn")
    made = ecs.register_task_definition(
        **{name: old[name] for name in kept}, containerDefinitions=[web, collector], tags=LOWER
    )
    ecs.update_service(cluster="shop", service="web", taskDefinition=made["taskDefinition"]["taskDefinitionArn"])
    walk.aws.client("lambda", DEFAULT_REGION).update_function_configuration(
        FunctionName="shop-invoices", TracingConfig={"Mode": "Active"}
    )


def tell_aws_whom_to_call(walk: Walk) -> None:
    for kind in ("SECURITY", "OPERATIONS"):
        walk.aws.client("account", "us-east-1").put_alternate_contact(
            AlternateContactType=kind,
            Name="The shop's team",
            Title="On call",
            EmailAddress=review.MAIL,
            PhoneNumber="+49 30 1234567",
        )


def name_the_subnets_of_a_cache(walk: Walk) -> None:
    """Where a cache may stand is for the owner of the network to say."""
    network = shop.Account(walk.aws, DEFAULT_ACCOUNT, DEFAULT_REGION).outputs("shop-network")
    walk.inputs |= {"cacheSubnetIds": network["DataSubnets"], "cacheSecurityGroupId": network["DatabaseGroup"]}
    walk.world.remediation_rules(inputs=walk.inputs)


DEEDS = (
    Deed(
        Phase.STABLE,
        "cross-region-replication",
        "the operator governs the first region only: where copies are kept, and who pays for them, the owner decides",
        keep_a_vault_elsewhere,
    ),
    Deed(
        Phase.STABLE,
        "cross-region-replication",
        "replication of a registry is a setting that all teams of the account share, so it is proposed as steps",
        replicate_images,
    ),
    Deed(
        Phase.STABLE,
        "secrets-rotated",
        "that a secret is rotated outside of AWS is for its owner to say",
        mark_the_secret,
    ),
    Deed(
        Phase.STABLE,
        "waf-rate-limit-per-session",
        "the web ACL of the distribution is in us-east-1, which the account's owner did not put among its regions",
        limit_sessions_at_the_edge,
    ),
    Deed(
        Phase.HARDENED,
        "tracing-enabled",
        "tracing belongs to the application's release: another task definition, another version of the functions",
        deploy_with_tracing,
    ),
    Deed(
        Phase.HARDENED,
        "incident-response-plan",
        "whom AWS calls in an emergency are people with names and telephone numbers, who must agree to it",
        tell_aws_whom_to_call,
    ),
    Deed(
        Phase.ENTERPRISE,
        "caching-layer",
        "in which subnets a cache stands, and who may reach it, the policy must say",
        name_the_subnets_of_a_cache,
    ),
)


# what time brings -----------------------------------------------------------------------------------------------------


def nights_pass(walk: Walk) -> None:
    """The schedules of the backup plan and of the restore tests have run, and their copies are complete."""
    now = datetime.now(UTC)
    buckets = [one["Name"] for one in walk.aws.client("s3", DEFAULT_REGION).list_buckets()["Buckets"]]
    stores = {
        f"arn:aws:rds:{DEFAULT_REGION}:{DEFAULT_ACCOUNT}:db:{DATABASE}": "RDS",
        **{f"arn:aws:s3:::{bucket}": "S3" for bucket in buckets},
    }
    night = now - timedelta(hours=6)
    walk.tell(
        "backup:ListProtectedResources",
        {"Results": [{"ResourceArn": a, "ResourceType": k, "LastBackupTime": night} for a, k in stores.items()]},
    )
    copies = [
        {
            "CopyJobId": f"copy-{number}",
            "ResourceArn": arn,
            "ResourceType": kind,
            "State": "COMPLETED",
            "CompletionDate": night,
            "DestinationBackupVaultArn": walk.vault,
        }
        for number, (arn, kind) in enumerate(stores.items())
    ]
    walk.tell("backup:ListCopyJobs", {"CopyJobs": copies})
    restores = [
        {
            "RestoreJobId": f"restore-{kind}",
            "ResourceType": kind,
            "Status": "COMPLETED",
            "CreationDate": now - timedelta(hours=3),
            "CompletionDate": now - timedelta(hours=2),
            "ValidationStatus": "SUCCESSFUL",
        }
        for kind in sorted(set(stores.values()))
    ]
    walk.tell("backup:ListRestoreJobs", {"RestoreJobs": restores})


def people_rehearse(walk: Walk) -> None:
    """Somebody executed the runbook that restores the database, and started the experiment that fails it over."""
    at = datetime.now(UTC) - timedelta(hours=1)
    runbook = walk.made_by("dr-runbook")["RestoreDatabase"]

    def executions(asked: Mapping[str, Any]) -> dict[str, Any]:
        prefixes = [v for one in asked.get("Filters", ()) if one["Key"] == "DocumentNamePrefix" for v in one["Values"]]
        run = {
            "AutomationExecutionId": "5b1f6e0c-2d0c-4f56-9c0a-7a1f4f0e6a11",
            "DocumentName": runbook,
            "AutomationExecutionStatus": "Success",
            "ExecutionStartTime": at,
            "ExecutionEndTime": at + timedelta(minutes=47),
        }
        return {"AutomationExecutionMetadataList": [run] if runbook.startswith(tuple(prefixes)) else []}

    walk.tell("ssm:DescribeAutomationExecutions", executions)
    experiment = {
        "id": "EXPLoYkDLRAaCAzNsj",
        "experimentTemplateId": walk.made_by("failover-exercise-database")["Experiment"],
        "state": {"status": "completed"},
        "creationTime": at,
        "experimentOptions": {"actionsMode": "run-all"},
    }
    walk.tell("fis:ListExperiments", {"experiments": [experiment]})


TIME: Mapping[Phase, tuple[Callable[[Walk], None], ...]] = {Phase.STABLE: (nights_pass, people_rehearse)}

HELD_BACK = {
    "global-accelerator-enabled": "where a second region is declared it takes a load balancer there",
    "multi-region-deployment": "a second region is a decision about the workload and its data, proposed as steps",
    "reserved-instance-coverage": "nothing is ever bought by the operator",
    "savings-plan-coverage": "nothing is ever bought by the operator",
}
"""What holds Enterprise back in the end, and why nobody on this walk changes it."""


# the walk -------------------------------------------------------------------------------------------------------------


class Walk:
    """One account on its way, under one policy."""

    def __init__(self, aws: SimulatedAWS) -> None:
        self.aws = aws
        self.vault = ""
        self.inputs: dict[str, Any] = {"domain": review.DOMAIN, "healthPath": "/health", "tags": shop.TAGS}
        manifests = objects(
            [check.id for check in load_checks()],
            inputs=self.inputs,
            maxMonthlyCost=500,
            allowApiSteps=True,
            allowOwnerStackUpdates=True,
            maxConcurrentStacks=20,
        )
        for document in manifests:
            if document["kind"] == "ReadinessPolicy":
                spec = document["spec"]
                spec["level"] = Phase.ENTERPRISE.value
                spec["checks"] = {"optional": sorted(check.id for check in load_checks() if check.optional)}
                spec["recovery"] = {"rto": "4h", "rpo": "24h", "secondaryRegion": SECOND_REGION}
        self.world: World = build(aws, clocked_engine(aws), manifests)
        self.world.turn()

    # what is there

    @property
    def report(self) -> dict[str, Any]:
        return dict((self.world.cluster.get(REPORT) or {})["status"])

    @property
    def level(self) -> str:
        return str(self.report["level"])

    @property
    def next(self) -> dict[str, Any]:
        """The next level as the policy's status tells it: what is missing for it, and its price."""
        return dict(self.world.policy["status"]["next"])

    def failing(self) -> set[str]:
        return {check["id"] for check in self.report["checks"] if check["status"] in ("Fail", "Unknown")}

    def remediations(self, *phases: Phase) -> list[dict[str, Any]]:
        found = [dict(body) for body in self.world.cluster.list(REMEDIATIONS)]
        return [body for body in found if not phases or body["spec"]["phase"] in phases]

    def states(self) -> dict[str, str]:
        return {body["metadata"]["name"]: state_of(body) for body in self.remediations()}

    def made_by(self, name: str) -> dict[str, str]:
        """The physical ids of what a remediation's stack holds, by logical id."""
        client = self.aws.client("cloudformation", DEFAULT_REGION)
        stack = self.world.status(name)["stack"]["id"]
        listed = client.list_stack_resources(StackName=stack)["StackResourceSummaries"]
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in listed}

    # what happens

    def tell(self, call: str, answer: Any) -> None:
        """The simulated AWS answers this from now on, where no emulator has it."""
        service, _, operation = call.partition(":")
        self.aws.overlay(service, operation, answer, region=DEFAULT_REGION)

    def attest(self, one: Attested) -> None:
        """One person writes it, and it counts once another has approved it."""
        now = datetime.now(UTC)
        spec = {
            "policyRef": {"name": POLICY.name},
            "check": one.check,
            "statement": one.statement,
            "evidence": {"uri": f"https://wiki.example.com/shop/{one.check}", "sha256": "4c" * 32},
            "owner": ENGINEER,
            "issuedAt": (now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "expiresAt": (now + timedelta(days=one.days - 1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        metadata = {"name": one.check, "namespace": POLICY.namespace}
        body = {"apiVersion": "passmuster.io/v1alpha1", "kind": "ReadinessAttestation", "metadata": metadata}
        key = Key(ATTESTATIONS, POLICY.namespace, one.check)
        self.world.cluster.create(ATTESTATIONS, {**body, "spec": spec})
        self.world.turn()
        assert (self.world.cluster.get(key) or {})["status"]["state"] == "AwaitingApproval"
        self.world.cluster.patch(key, {"spec": {"approvals": [{"by": LEAD}]}})

    def approve(self, phase: Phase) -> None:
        """A person approves everything up to the phase that waits for it."""
        for body in self.remediations(*phase.up_to()):
            if state_of(body) == "AwaitingApproval":
                entry = {"by": LEAD, "action": "Apply", "digest": body["spec"]["intent"]["digest"]}
                self.world.cluster.patch(Key.of(REMEDIATIONS, body), {"spec": {"approvals": [entry]}})

    def go(self, phase: Phase) -> None:
        """Turns, approvals and inspections until nothing moves any more."""
        for _ in range(80):
            self.approve(phase)
            before = self.states()
            self.world.turn()
            if self.states() != before:
                continue
            self.world.look()
            if self.states() == before:
                return
        raise AssertionError(f"it does not come to rest:\n{self.told(phase)}")

    # what must be so

    def demand_level(self, phase: Phase) -> None:
        """The level is reached, and every change up to it that the operator can make was made and holds."""
        assert self.level == phase, self.told(phase)
        for body in self.remediations(*phase.up_to()):
            if body["spec"]["way"] in EXECUTED:
                assert state_of(body) in DONE, self.told(phase)
            assert condition(body, "Drifted").get("status") != "True", self.told(phase)
        assert self.world.cluster.faults == []

    def demand_totals(self) -> None:
        """What the plan costs in each phase is the sum of its changes; what has no price is named and in no sum."""
        plan = stored.read(self.world.cluster.get(REPORT) or {}, "the stored report").plan
        objects_by_name = {body["metadata"]["name"]: body["spec"]["cost"] for body in self.remediations()}
        sums: dict[str, Decimal] = {}
        for step in self.report["plan"]:
            cost = objects_by_name[step["remediation"]]
            items = {item["title"]: Decimal(str(item["monthly"])) for item in cost["items"]}
            assert sum(items.values(), Decimal(0)) == Decimal(str(step["monthlyCost"])), step
            assert step["unpriced"] == cost["unpriced"]
            assert items.keys().isdisjoint(cost["unpriced"]), "what has no price is no item of 0"
            if "blocked" not in step:
                assert set(cost["unpriced"]) <= set(plan.unpriced)
                sums[step["phase"]] = sums.get(step["phase"], Decimal(0)) + sum(items.values(), Decimal(0))
        assert {stage.phase: stage.cost for stage in plan.stages if stage.phase in sums} == sums
        assert plan.cost == sum(sums.values(), Decimal(0))
        upto = Phase(self.next["level"]).up_to()
        ahead = sum((amount for phase, amount in sums.items() if phase in upto), Decimal(0))
        assert Decimal(str(self.next["monthlyCost"])) == ahead

    def told(self, phase: Phase) -> str:
        """What is not as it should be, for whoever reads a failure."""
        lines = [f"{self.level}, wanted {phase}; faults: {self.world.cluster.faults}"]
        for body in self.remediations():
            if state_of(body) not in DONE and body["spec"]["way"] in EXECUTED:
                lines.append(f"{body['metadata']['name']}: {state_of(body)}: {condition(body, 'Ready')['message']}")
            if condition(body, "Drifted").get("status") == "True":
                lines.append(f"{body['metadata']['name']}: {condition(body, 'Drifted')['message']}")
        lines += [
            f"{check['id']}: {[finding['message'] for finding in check['findings']]}"
            for check in self.report["checks"]
            if check["status"] in ("Fail", "Unknown") and check["phase"] in phase.up_to()
        ]
        return "\n".join(lines)


def state_of(body: Mapping[str, Any]) -> str:
    return str((body.get("status") or {}).get("state", ""))


@pytest.fixture
def walk() -> Iterator[Walk]:
    with SimulatedAWS() as aws:
        review.seed(aws)
        with own_identity(aws), aws.enforce_iam():
            yield Walk(aws)


def do_what_people_do(walk: Walk, phase: Phase) -> set[str]:
    """Every deed and answer of a phase; each is for a check that fails, and that the operator cannot mend alone."""
    served: set[str] = set()
    for one in (*DEEDS, *ATTESTED):
        if one.phase is phase:
            assert one.check in walk.failing(), f"{one.check} passes without it"
            held = [body for body in walk.remediations() if one.check in body["spec"]["fixes"]]
            assert any(state_of(body) == "Blocked" for body in held), f"{one.check} is for the operator"
            served.add(one.check)
    for deed in DEEDS:
        if deed.phase is phase:
            deed.done(walk)
    for attested in ATTESTED:
        if attested.phase is phase:
            walk.attest(attested)
    return served


def test_the_reviews_account_walks_from_level_to_level(walk: Walk) -> None:
    assert walk.level == "Foundation"
    walk.demand_totals()
    walk.go(Phase.PRODUCTION)
    walk.demand_level(Phase.PRODUCTION)
    for phase in (Phase.STABLE, Phase.HARDENED):
        walk.demand_totals()
        served = do_what_people_do(walk, phase)
        walk.go(phase)
        for passes in TIME.get(phase, ()):
            passes(walk)
        walk.world.look()
        walk.go(phase)
        walk.demand_level(phase)
        assert served.isdisjoint(walk.failing())
    walk.demand_totals()
    served = do_what_people_do(walk, Phase.ENTERPRISE)
    walk.go(Phase.ENTERPRISE)
    walk.demand_level(Phase.HARDENED)
    assert served.isdisjoint(walk.failing())
    assert walk.failing() == set(HELD_BACK), walk.told(Phase.ENTERPRISE)
    assert walk.next["level"] == "Enterprise"
    assert set(walk.next["missing"]) == set(HELD_BACK)
    walk.demand_totals()
    done = {body["spec"]["remediation"] for body in walk.remediations() if state_of(body) == "Applied"}
    assert done >= {"tls-listener", "backup-plan", "trail-data-events", "tag-hook", "cache"}
