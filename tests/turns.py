"""The operator's real engine, turn by turn: a cluster in memory, a simulated account, and a clock that a test moves.

Every status that the engine writes is held against the rules of conditions as it is written; `World.faults` holds what
was wrong. Requests that change something in AWS are counted by what the simulated AWS received.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from changing import changes, reads
from passmuster.api.conditions import problems
from passmuster.aws.clients import Clients
from passmuster.aws.collector import Collector
from passmuster.aws.identity import Identities
from passmuster.aws.limits import Limits
from passmuster.aws.transport import BotoTransport
from passmuster.checks import catalogue
from passmuster.cli import offline
from passmuster.engine.cache import Cache
from passmuster.engine.fleet import Counters, Fleet
from passmuster.engine.inspection import Inspector
from passmuster.engine.ports import ACCOUNTS, KINDS, NAMESPACES, POLICIES, REMEDIATIONS, REPORTS, Key, Object
from passmuster.engine.reconcile import Reconciler
from passmuster.engine.services import Services
from passmuster.remediation import catalogue as remediations
from passmuster.sandbox.accounts import review
from passmuster.sandbox.emulation.front import Logged
from passmuster.sandbox.memory_cluster import MemoryCluster
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS
from passmuster.sandbox.story import example, own_identity

POLICY = Key(POLICIES, "shop", "shop")
ACCOUNT = Key(ACCOUNTS, "", "shop-production")
REPORT = Key(REPORTS, "shop", f"shop-{DEFAULT_ACCOUNT}")
MUTATING = ("CreateChangeSet", "ExecuteChangeSet", "DeleteChangeSet", "CreateStack", "UpdateStack", "DeleteStack")
JUDGED = (
    "cloudtrail-multi-region",
    "cloudtrail-log-validation",
    "cloudtrail-encrypted",
    "custom-domain",
    "dns-health-checks",
    "https-redirect",
    "security-groups-restricted",
    "tls-certificates-valid",
)
"""The checks that the catalogue's remediations fix; the others are disabled, so that a turn takes no time."""


class Died(BaseException):
    """The process ends here: nothing of it may have an effect any more, not even what tidies up."""


class Mortality:
    """Counts the points at which a process can die, and lets it die at one of them, by number or by name.

    A point is before and after each status of a remediation is written, and after each request that changes AWS.
    """

    def __init__(self) -> None:
        self.points: list[str] = []
        self.at: int | str | None = None
        self.dead = False

    def reach(self, point: str) -> None:
        """The process comes to a point. Raises Died."""
        self.demand_alive()
        self.points.append(point)
        if self.at in (len(self.points) - 1, point):
            self.dead = True
            raise Died(point)

    def demand_alive(self) -> None:
        """Raises Died after the death."""
        if self.dead:
            raise Died


class MortalCounters(Counters):
    """The operator's counters, which hear of every request to AWS."""

    def __init__(self, mortality: Mortality) -> None:
        super().__init__()
        self._mortality = mortality

    def request(self, service: str, operation: str, outcome: str, seconds: float) -> None:
        """One request was sent and answered, or failed."""
        super().request(service, operation, outcome, seconds)
        if not reads(operation):
            self._mortality.reach(f"{operation} sent")


class Clock:
    """The real time, moved by what a test adds."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class WatchedCluster(MemoryCluster):
    """A cluster in memory that holds every status against the rules, and can lose the lease or the approval policy."""

    def __init__(self, cache: Cache) -> None:
        super().__init__(cache)
        self.faults: list[str] = []
        self.writes: list[tuple[Key, Mapping[str, Any]]] = []
        self.leads = True
        self.guard: str | None = None
        self.before_status: Callable[[Key, Object], None] = lambda key, status: None
        self.mortality = Mortality()

    def patch_status(self, key: Key, status: Object, resource_version: str | None = None) -> Object | None:
        self.before_status(key, status)
        noted = key.plural == REMEDIATIONS
        self.mortality.demand_alive()
        if noted:
            self.mortality.reach(f"before writing {status.get('state', 'more')}")
        answer = super().patch_status(key, status, resource_version)
        if answer is not None:
            self.writes.append((key, status))
            said = problems(answer["status"], answer["metadata"]["generation"])
            self.faults += [f"{KINDS[key.plural]} {key}: {problem}" for problem in said]
        if noted:
            self.mortality.reach(f"after writing {status.get('state', 'more')}")
        return answer

    def patch(self, key: Key, patch: Object) -> Object | None:
        self.mortality.demand_alive()
        return super().patch(key, patch)

    def approvals_guarded(self) -> str | None:
        return self.guard

    def leading(self) -> bool:
        self.mortality.demand_alive()
        return self.leads


@dataclass
class World:
    """One cluster and one operator on a simulated AWS."""

    aws: SimulatedAWS
    engine: offline.Engine
    cluster: WatchedCluster
    cache: Cache
    clock: Clock
    fleet: Fleet = field(default_factory=Fleet)
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process on the same cluster: nothing is remembered but what is stored."""
        self.cluster.mortality.dead = False
        self.fleet, self.counters = Fleet(), MortalCounters(self.cluster.mortality)
        self.engine.inspector.forget(DEFAULT_ACCOUNT)
        self.reconciler = Reconciler(
            Services(
                cluster=self.cluster,
                cache=self.cache,
                inspector=self.engine.inspector,
                identities=self.engine.identities,
                clients=self.engine.clients,
                remediations=remediations.load(),
                fleet=self.fleet,
                counters=self.counters,
                clock=self.clock,
            )
        )
        self.reconciler.restore()

    def turn(self, times: int = 1) -> float | None:
        """Turns of the policy. One changes nothing while nobody has approved anything and nothing goes by itself."""
        due: float | None = None
        for _ in range(times):
            bound, before = self._bound(), len(self.aws.requests)
            due = self.reconciler.reconcile(POLICY)
            changed = [r.operation for r in list(self.aws.requests)[before:] if changes(r) and not self._keeps(r)]
            assert not (bound and changed), f"nobody approved {changed}"
        return due

    def _keeps(self, request: Logged) -> bool:
        """Whether a request keeps a full report where the account says that one is kept."""
        evidence = ((self.cluster.get(ACCOUNT) or {}).get("spec") or {}).get("evidence") or {}
        return request.operation == "PutObject" and "s3" in evidence

    def _bound(self) -> bool:
        """Whether the operator may change nothing: no approval is there, nothing that was begun when there was one, no
        phase is in mode Apply, and no policy ends that takes its stacks along.
        """
        bodies = self.cluster.list(REMEDIATIONS)
        approved = any(body["spec"].get("approvals") for body in bodies)
        begun = any((body.get("status") or {}).get(member) for body in bodies for member in ("changeSet", "steps"))
        by_itself = "Apply" in str(self.policy.get("spec", {}).get("remediation", {}))
        ends = "deletionTimestamp" in self.policy.get("metadata", {})
        takes_along = ends and self.policy["spec"].get("deletionPolicy") == "Delete"
        return not (approved or begun or by_itself or takes_along)

    def look(self) -> None:
        """A turn in which everything is inspected again."""
        token = f"token-{len(self.cluster.writes)}-{datetime.now(UTC).timestamp()}"
        self.cluster.patch(POLICY, {"metadata": {"annotations": {"reconcile.passmuster.io/requestedAt": token}}})
        self.turn()

    # what is there

    @property
    def policy(self) -> dict[str, Any]:
        return dict(self.cluster.get(POLICY) or {})

    def all(self, name: str) -> list[dict[str, Any]]:
        """The objects of a remediation of the catalogue."""
        return [dict(r) for r in self.cluster.list(REMEDIATIONS) if r["spec"]["remediation"] == name]

    def remediation(self, name: str = "cloudtrail") -> dict[str, Any]:
        (found,) = self.all(name)
        return found

    def key(self, name: str = "cloudtrail") -> Key:
        return Key.of(REMEDIATIONS, self.remediation(name))

    def status(self, name: str = "cloudtrail") -> dict[str, Any]:
        return dict(self.remediation(name).get("status") or {})

    def state(self, name: str = "cloudtrail") -> str:
        return str(self.status(name).get("state", ""))

    def states(self, name: str = "cloudtrail") -> list[str]:
        """The states it was in."""
        return [entry["state"] for entry in self.status(name).get("history", ())]

    def condition(self, kind: str, name: str = "cloudtrail") -> dict[str, Any]:
        return condition(self.remediation(name), kind)

    def check(self, check_id: str) -> str:
        """What the stored report says of a check."""
        body = self.cluster.get(REPORT) or {}
        return str(next((c["status"] for c in body["status"]["checks"] if c["id"] == check_id), ""))

    # what people do

    def approve(self, name: str = "cloudtrail", by: str = "alice", action: str = "Apply", digest: str = "") -> None:
        body = self.remediation(name)
        entry = {"by": by, "action": action, "digest": digest or body["spec"]["intent"]["digest"]}
        kept = [a for a in body["spec"].get("approvals", ()) if (a["by"], a["action"]) != (by, action)]
        self.cluster.patch(self.key(name), {"spec": {"approvals": [*kept, entry]}})

    def withdraw(self, name: str = "cloudtrail") -> None:
        self.cluster.patch(self.key(name), {"spec": {"approvals": []}})

    def policy_spec(self, **spec: Any) -> None:
        self.cluster.patch(POLICY, {"spec": spec})

    def remediation_rules(self, **rules: Any) -> None:
        self.cluster.patch(POLICY, {"spec": {"remediation": rules}})

    def account_spec(self, **spec: Any) -> None:
        self.cluster.patch(ACCOUNT, {"spec": spec})

    def reset_status(self, status: Mapping[str, Any], name: str = "cloudtrail") -> None:
        """What the API server would hold if the process had died before it wrote more."""
        key = self.key(name)
        super(WatchedCluster, self.cluster).patch_status(key, dict.fromkeys(self.status(name)))
        super(WatchedCluster, self.cluster).patch_status(key, status)

    # going on

    def until(self, *states: str, name: str = "cloudtrail", turns: int = 12) -> str:
        """Turns until the remediation is in one of the states."""
        for _ in range(turns):
            if self.all(name) and self.state(name) in states:
                return self.state(name)
            self.turn()
        assert self.state(name) in states, self.status(name)
        return self.state(name)

    def survive(self, *states: str, name: str = "cloudtrail", turns: int = 30) -> str:
        """Turns until the remediation is in one of the states; a process that dies is followed by another."""
        for _ in range(turns):
            if not self.cluster.mortality.dead and self.all(name) and self.state(name) in states:
                return self.state(name)
            try:
                self.turn()
            except Died:
                self.restart()
        assert self.state(name) in states, self.status(name)
        return self.state(name)

    def mutations(self) -> Counter[str]:
        """How often which mutating call of CloudFormation was received since the requests were forgotten."""
        return Counter(r.operation for r in list(self.aws.requests) if r.operation in MUTATING)

    def changes(self) -> list[str]:
        """Every request since then that is no read."""
        return [r.operation for r in list(self.aws.requests) if changes(r)]

    def stacks(self) -> dict[str, str]:
        """Our living stacks in the account's region, by name."""
        client = self.aws.client("cloudformation", DEFAULT_REGION)
        return {
            s["StackName"]: s["StackStatus"]
            for s in client.describe_stacks()["Stacks"]
            if s["StackName"].startswith("passmuster-shop-")
        }

    def trails(self) -> list[str]:
        client = self.aws.client("cloudtrail", DEFAULT_REGION)
        return [trail["Name"] for trail in client.describe_trails()["trailList"]]

    def clean(self) -> None:
        """The account as it was before the test."""
        self.aws.faults.clear()
        self.aws.stacks_take(0)
        self.aws._running_engine.behaviour.failures.clear()
        client = self.aws.client("cloudformation", DEFAULT_REGION)
        for name in self.stacks():
            client.delete_stack(StackName=name)
        buckets = self.aws.client("s3", DEFAULT_REGION)
        for bucket in buckets.list_buckets()["Buckets"]:
            if bucket["Name"].startswith("passmuster-trail-"):
                buckets.delete_bucket(Bucket=bucket["Name"])
        self.engine.inspector.forget(DEFAULT_ACCOUNT)


def condition(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """One condition of an object; empty if it is not there."""
    conditions: Sequence[Mapping[str, Any]] = (body.get("status") or {}).get("conditions") or ()
    return dict(next((c for c in conditions if c["type"] == kind), {}))


ROOT = f"arn:aws:iam::{DEFAULT_ACCOUNT}:root"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@contextmanager
def empty_account() -> Iterator[SimulatedAWS]:
    """A simulated account with nothing in it but a role that inspects and may do everything."""
    with SimulatedAWS() as aws, own_identity(aws):
        aws.role_with_policy(DEFAULT_ACCOUNT, EVERYTHING, name=review.INSPECTION_ROLE, trusted=ROOT)
        yield aws


@contextmanager
def review_account() -> Iterator[SimulatedAWS]:
    """The account of the review."""
    with SimulatedAWS() as aws, own_identity(aws):
        review.seed(aws)
        yield aws


def objects(judged: Sequence[str] = JUDGED, **remediation: Any) -> list[dict[str, Any]]:
    """The example's manifests, with a policy that judges only what remediations fix."""
    disabled = [check.id for check in catalogue.load() if check.id not in judged and not check.optional]
    documents = [d for d in yaml.safe_load_all(example("shop.yaml").read_text()) if d]
    for document in documents:
        if document["kind"] == "AWSAccount":
            document["spec"] |= {"mayDisable": disabled, "allowedModes": ["Observe", "Propose", "Apply"]}
        if document["kind"] == "ReadinessPolicy":
            document["spec"]["checks"] = {"disabled": disabled}
            document["spec"]["remediation"] |= remediation
    return documents


def clocked_engine(aws: SimulatedAWS, clients: Clients | None = None) -> tuple[offline.Engine, Clock]:
    """The engine of the operator for a simulated AWS, perhaps with clients that are there already, and its clock."""
    clock = Clock()
    clients = clients or offline.engine(aws.url).clients
    identities = Identities(clients)
    collector = Collector(BotoTransport(clients), Limits(offline.SIMULATED_RATE), clock=clock)
    return offline.Engine(clients, identities, Inspector(collector, identities, catalogue.load(), clock=clock)), clock


def build(aws: SimulatedAWS, engine: tuple[offline.Engine, Clock], manifests: Sequence[Mapping[str, Any]]) -> World:
    """A world with these objects, at the real time."""
    at_work, clock = engine
    clock.ahead = timedelta(0)
    cache = Cache()
    cluster = WatchedCluster(cache)
    plurals = {kind: plural for plural, kind in KINDS.items()} | {"Namespace": NAMESPACES}
    for document in manifests:
        cluster.create(plurals[document["kind"]], document)
    return World(aws, at_work, cluster, cache, clock)
