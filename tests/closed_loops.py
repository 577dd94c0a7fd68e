"""The closed loop of a remediation: Fail, change, inspect, Pass, take back, as before and failing again.

`remediation/closed_loops/<n-phase>.yaml` has one row for each remediation that the operator can carry out; the engine
itself proposes, changes, settles, verifies and takes back, with the derived role and its policies enforced. A row:

    nat-gateway:
      account: review              # or empty: an account with nothing in it but the roles
      before:                      # calls of the account's owner that make the check fail as the remediation expects
      - {call: ec2:CreateVpc, region: eu-central-1, with: {CidrBlock: 10.0.0.0/16}, keep: {vpc: Vpc.VpcId}}
      - {call: iam:GetAccountSummary, answer: {SummaryMap: {}}}          # what no emulator has, told from then on
      inputs: {domain: shop.example.com}            # of the policy
      parameters: {a-check: {name: value}}          # of checks, in the policy
      recovery: {rto: 4h}                           # of the policy
      judged: [another-check]      # beside the checks that it fixes
      target: "*shop*"             # which proposal, where there are several
      way: ApiStep                 # where the folder leaves it to the owner of the resource
      confirms: true               # a person confirms subscriptions
      traces: [RotationEnabled]    # members that AWS goes on telling of what was switched off
      later:                       # what AWS tells once the change is made: a first backup, a completed restore
      - {call: backup:ListProtectedResources, answer: {Results: []}}

`{vpc}` is what an earlier call kept, `{account}` the account's id, `{now}` the time, `{earlier}` ten minutes before,
`{target}` the change's target,
`{made.Plan}` the physical id of a resource of the stack; calls in a list within the list are shared between rows. A row
`{unproven: "because ..."}` says why no loop can be closed; the documentation shows it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jmespath
import pytest
import yaml
from botocore import xform_name

from passmuster.aws.clients import Clients
from passmuster.aws.collector import Collector, Scope
from passmuster.aws.identity import Identities
from passmuster.aws.limits import Limits
from passmuster.aws.transport import BotoTransport
from passmuster.checks.catalogue import load as load_checks
from passmuster.cli import offline
from passmuster.engine.inspection import reads_of
from passmuster.engine.ports import REMEDIATIONS, Key
from passmuster.engine.remediate import BILLED_AFTER
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.account import Identity, Target
from passmuster.model.verdict import Phase
from passmuster.remediation.catalogue import load
from passmuster.remediation.definition import Definition
from passmuster.remediation.desired import alike
from passmuster.remediation.template import parsed
from passmuster.remediation.wording import filled
from passmuster.sandbox.accounts import review, shop, templates
from passmuster.sandbox.emulation.overlays import Overlay
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS
from passmuster.sandbox.story import own_identity
from turns import REPORT, World, build, clocked_engine, objects

FOLDER = Path(__file__).parent / "remediation" / "closed_loops"
BY_PHASE: dict[str, dict[str, dict[str, Any]]] = {
    path.stem: {name: row or {} for name, row in (yaml.safe_load(path.read_text()) or {}).items()}
    for path in sorted(FOLDER.glob("*.yaml"))
}
ROWS = {name: row for rows in BY_PHASE.values() for name, row in rows.items()}


def loops(phase: str, part: slice = slice(None)) -> list[Any]:
    """The loops of a phase, or of a part of it, as parameters `definition` and `row` of a test."""
    return [
        pytest.param(load().get(name), row, id=name)
        for name, row in list(BY_PHASE[phase].items())[part]
        if "unproven" not in row and load().get(name) is not None
    ]


KEYS = {
    "account",
    "before",
    "inputs",
    "parameters",
    "recovery",
    "judged",
    "target",
    "way",
    "confirms",
    "traces",
    "later",
}
OF_STACKS = ("cloudformation", "resourcegroupstaggingapi")
"""Services that tell of stacks that are gone, which is no difference in the account."""


# the account ----------------------------------------------------------------------------------------------------------


@dataclass
class Accounts:
    """One simulated AWS; an account that a loop left as it was serves the next loop too.

    The clients serve every loop, because making all of them takes longer than most of a loop does.
    """

    aws: SimulatedAWS
    clients: Clients
    held: str = ""

    def give(self, name: str) -> None:
        if self.held != name:
            self.aws.reset()
            if name == "review":
                review.seed(self.aws)
            else:
                account = shop.Account(self.aws, DEFAULT_ACCOUNT, DEFAULT_REGION)
                trusted = {"TrustedPrincipal": f"arn:aws:iam::{DEFAULT_ACCOUNT}:root", "ExternalId": review.EXTERNAL_ID}
                account.deploy("passmuster-access", templates.access(), **trusted)
        self.held = ""


@pytest.fixture(scope="module", name="accounts")
def simulated_accounts() -> Iterator[Accounts]:
    with SimulatedAWS() as aws, own_identity(aws), closing(offline.engine(aws.url).clients) as clients:
        yield Accounts(aws, clients)


# one loop -------------------------------------------------------------------------------------------------------------


@dataclass
class Loop:
    """One remediation on its way around."""

    aws: SimulatedAWS
    definition: Definition
    row: Mapping[str, Any]
    world: World
    known: dict[str, Any] = field(default_factory=dict)
    key: Key | None = None
    laid: list[Overlay] = field(default_factory=list)
    waited: bool = False

    def object(self) -> dict[str, Any]:
        """The Remediation."""
        return dict(self.world.cluster.get(self.key) or {}) if self.key else {}

    def state(self) -> str:
        return str(self.object()["status"]["state"])

    def propose(self) -> None:
        """The first turn, and the proposal that the row means."""
        self.world.turn()
        found = [
            body
            for body in self.world.cluster.list(REMEDIATIONS)
            if body["spec"]["remediation"] == self.definition.name
            and fnmatchcase(body["spec"].get("target") or "", self.row.get("target", "*"))
        ]
        assert found, self.report()
        self.key = Key.of(REMEDIATIONS, found[0])
        self.known["target"] = found[0]["spec"].get("target") or ""

    def approve(self, action: str) -> None:
        assert self.key is not None
        spec = self.object()["spec"]
        entry = {"by": "alice", "action": action, "digest": spec["intent"]["digest"]}
        self.world.cluster.patch(self.key, {"spec": {"approvals": [*spec.get("approvals", ()), entry]}})

    def until(self, wanted: str, turns: int = 25) -> None:
        for _ in range(turns):
            if self.state() == wanted:
                return
            assert self.state() not in ("Failed", "RolledBack"), self.told()
            if self.state() == "Settling":
                self._bring()
                self.world.look()
            else:
                self.world.turn()
        assert self.state() == wanted, self.told()

    def _bring(self) -> None:
        """What a person, a schedule or time brings once the change is made."""
        if not self.waited:
            self.world.clock.ahead += BILLED_AFTER + timedelta(seconds=1)
            self.waited = True
        if self.row.get("confirms"):
            for region in ("us-east-1", DEFAULT_REGION):
                self.aws.confirm(region=region)
        for spec in () if self.laid else self.row.get("later", ()):
            service, _, operation = spec["call"].partition(":")
            answer = filled(spec["answer"], {**self.known, "made": self._made(), "now": datetime.now(UTC)})
            self.laid.append(self.aws.overlay(service, operation, answer, region=spec.get("region")))

    def _made(self) -> dict[str, str]:
        """The physical ids of the stack's resources, by logical id."""
        stack = (self.object()["status"].get("stack") or {}).get("id")
        return physical_ids(self.aws, stack) if stack else {}

    def take_away(self) -> None:
        for overlay in self.laid:
            self.aws.lift(overlay)

    def told(self) -> str:
        status = self.object().get("status", {})
        return f"{status.get('state')}: {json.dumps(status, indent=1, default=str)}\n{self.report()}"

    def report(self) -> str:
        """What the stored report says of the checks that are fixed."""
        body = self.world.cluster.get(REPORT) or {}
        return json.dumps(
            [check for check in body.get("status", {}).get("checks", ()) if check["id"] in self.definition.fixes],
            indent=1,
            default=str,
        )

    def verdicts(self) -> dict[str, str]:
        """The verdicts on the findings that the change is for; a finding that is gone has none."""
        self.world.look()
        return {check: self.world.check(check) for check in {f["check"] for f in self.findings()}}

    def findings(self) -> list[dict[str, Any]]:
        return list(self.object()["spec"]["findings"])


def world_of(accounts: Accounts, definition: Definition, row: Mapping[str, Any]) -> World:
    """An operator whose policy judges what the row is about, and permits every way."""
    inputs = {**row.get("inputs", {}), "tags": shop.TAGS}
    remediation = {"inputs": inputs, "maxMonthlyCost": None, "allowApiSteps": True, "allowOwnerStackUpdates": True}
    manifests = objects(**remediation)
    judged = {*definition.fixes, *row.get("judged", ())}
    optional = sorted(check.id for check in load_checks() if check.optional and check.id in judged)
    disabled = sorted(check.id for check in load_checks() if check.id not in judged and not check.optional)
    for document in manifests:
        spec = document.get("spec", {})
        if document["kind"] == "AWSAccount":
            spec["mayDisable"] = disabled
        if document["kind"] == "ReadinessPolicy":
            checks = {"disabled": disabled, "optional": optional, "parameters": row.get("parameters", {})}
            spec["checks"] = {name: value for name, value in checks.items() if value}
            spec["recovery"] = row.get("recovery", {"secondaryRegion": "eu-west-1"})
            spec["level"] = Phase.ENTERPRISE.value
            spec["remediation"] = {name: value for name, value in spec["remediation"].items() if value is not None}
    return build(accounts.aws, clocked_engine(accounts.aws, accounts.clients), manifests)


def prepared(aws: SimulatedAWS, row: Mapping[str, Any]) -> dict[str, Any]:
    """The owner's calls before the loop, and what they kept."""
    known: dict[str, Any] = {"account": DEFAULT_ACCOUNT, "region": DEFAULT_REGION}
    for spec in flat(row.get("before", ())):
        service, _, operation = spec["call"].partition(":")
        if "answer" in spec:
            aws.overlay(service, operation, filled(spec["answer"], known), region=spec.get("region"))
            continue
        client = aws.client(service, spec.get("region", DEFAULT_REGION))
        now = datetime.now(UTC)
        arguments = filled(spec.get("with", {}), {**known, "now": now, "earlier": now - timedelta(minutes=10)})
        answer = getattr(client, xform_name(operation))(**arguments)
        for name, path in spec.get("keep", {}).items():
            known[name] = jmespath.search(path, answer)
            assert known[name], f"{spec['call']} tells no {path}"
    return known


def flat(calls: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """Calls that other rows are made of too stand in lists of their own."""
    for one in calls:
        if isinstance(one, list):
            yield from flat(one)
        else:
            yield one


# the comparison -------------------------------------------------------------------------------------------------------


def everything(clients: Clients) -> Snapshot:
    """All that any check reads of the account, read by the inspection role."""
    identity = Identity(
        role_arn=f"arn:aws:iam::{DEFAULT_ACCOUNT}:role/{review.INSPECTION_ROLE}", external_id=review.EXTERNAL_ID
    )
    target = Target(DEFAULT_ACCOUNT, (DEFAULT_REGION,), identity=identity)
    collector = Collector(BotoTransport(clients), Limits(rate=1e4))
    scope = Scope(DEFAULT_ACCOUNT, "aws", (DEFAULT_REGION,), target.control_region)
    return collector.collect(reads_of(list(load_checks())), scope, Identities(clients).principal(target)).snapshot


def rows_of(snapshot: Snapshot, traces: Collection[str]) -> dict[str, list[str]]:
    """Every row by the request that brought it, without times, which pass, and without these members."""
    return {
        f"{call.name} {request}": sorted(
            json.dumps(timeless(row, traces), sort_keys=True, default=str) for row in reading.rows if not is_gone(row)
        )
        for call, by_request in snapshot.readings.items()
        if call.service not in OF_STACKS
        for request, reading in by_request.items()
    }


def is_gone(row: Any) -> bool:
    """What AWS goes on listing for a while after it was deleted."""
    return isinstance(row, Mapping) and row.get("State") == "deleted"


def timeless(value: Any, traces: Collection[str]) -> Any:
    match value:
        case Mapping():
            kept = {name: one for name, one in value.items() if not isinstance(one, datetime) and name not in traces}
            return {name: timeless(one, traces) for name, one in kept.items()}
        case list() | tuple():
            return [timeless(member, traces) for member in value]
        case _:
            return value


def kept_ids(aws: SimulatedAWS, definition: Definition, status: Mapping[str, Any]) -> list[str]:
    """The physical ids of what the stack leaves behind on purpose."""
    if not definition.retains:
        return []
    made = physical_ids(aws, status["stack"]["id"])
    return [identity for logical, identity in made.items() if logical in definition.retains]


def physical_ids(aws: SimulatedAWS, stack: str) -> dict[str, str]:
    """The physical ids of a stack's resources, by logical id."""
    client = aws.client("cloudformation", stack.split(":")[3])
    listed = client.list_stack_resources(StackName=stack)["StackResourceSummaries"]
    return {str(one["LogicalResourceId"]): str(one["PhysicalResourceId"]) for one in listed}


def differences(before: Snapshot, after: Snapshot, kept: list[str], traces: Collection[str]) -> list[str]:
    """What differs between two inspections, apart from what is kept on purpose and the traces that AWS keeps."""
    old, new = rows_of(before, traces), rows_of(after, traces)

    def is_kept(text: str) -> bool:
        return any(one in text for one in kept)

    found = []
    for request in sorted({*old, *new}):
        gone = [row for row in old.get(request, ()) if row not in new.get(request, ())]
        come = [row for row in new.get(request, ()) if row not in old.get(request, ())]
        found += [f"- {request}: {row}" for row in gone]
        found += [f"+ {request}: {row}" for row in come if not is_kept(row) and not is_kept(request)]
    return found


@dataclass(frozen=True)
class Adopted:
    """The resource that an adoption is about, as Cloud Control tells of it."""

    aws: SimulatedAWS
    region: str
    kind: str
    identifier: str

    @classmethod
    def of(cls, aws: SimulatedAWS, spec: Mapping[str, Any]) -> Adopted:
        _, kind, identifier = spec["intent"]["changes"][1].partition(": ")[0].split(" ")
        return cls(aws, spec["region"], kind, identifier)

    def model(self) -> Any:
        """What AWS says of it; lists are told in any order."""
        client = self.aws.client("cloudcontrol", self.region)
        told = client.get_resource(TypeName=self.kind, Identifier=self.identifier)
        return json.loads(told["ResourceDescription"]["Properties"])

    def demand_retained(self, stack: Mapping[str, Any]) -> None:
        """That the stack holds this resource alone, as its template says, and leaves it when it is deleted."""
        client = self.aws.client("cloudformation", self.region)
        template = parsed(json.dumps(client.get_template(StackName=stack["id"])["TemplateBody"]))
        ((logical_id, resource),) = template["Resources"].items()
        assert (resource["Type"], resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (
            self.kind,
            "Retain",
            "Retain",
        )
        assert physical_ids(self.aws, stack["id"]) == {logical_id: self.identifier}
        drift = client.detect_stack_resource_drift(StackName=stack["id"], LogicalResourceId=logical_id)
        assert drift["StackResourceDrift"]["StackResourceDriftStatus"] == "IN_SYNC", drift


def close(accounts: Accounts, definition: Definition, row: Mapping[str, Any]) -> None:
    """Goes through the loop, and fails where it is not closed."""
    aws, account = accounts.aws, row.get("account", "review")
    accounts.give(account)
    known = prepared(aws, row)
    with aws.enforce_iam():
        before = everything(accounts.clients)
        row = {**row, "inputs": filled(row.get("inputs", {}), known)}
        loop = Loop(aws, definition, row, world_of(accounts, definition, row), known)
        loop.propose()
        assert loop.object()["spec"]["way"] == str(row.get("way", definition.way)), loop.told()
        assert loop.findings()
        adopted = Adopted.of(aws, loop.object()["spec"]) if row.get("way") == "Adoption" else None
        described = adopted.model() if adopted else None
        failing = loop.verdicts()
        assert set(failing.values()) == {"Fail"}
        loop.approve("Apply")
        loop.until("Applied")
        if not definition.achieves and "target" not in row:
            assert set(loop.verdicts().values()) == {"Pass"}, loop.told()
        kept = kept_ids(aws, definition, loop.object()["status"])
        if adopted:
            assert adopted.model() != described
            adopted.demand_retained(loop.object()["status"]["stack"])
        loop.approve("Undo")
        loop.take_away()
        loop.until("Undone")
        assert loop.verdicts() == failing, loop.report()
        assert differences(before, everything(accounts.clients), kept, row.get("traces", ())) == []
        assert adopted is None or alike(adopted.model(), described)
        assert loop.world.cluster.faults == []
    if not row.get("before") and not kept and not definition.retains:
        accounts.held = account
