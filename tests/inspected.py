"""Inspects a seeded account as the operator does: under its manifest, with its role, policies enforced, over HTTP.

For the tests of the seeded accounts. The base credentials are those of the simulated account itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from passmuster.assess import grants
from passmuster.aws.collector import Collector, Scope
from passmuster.aws.limits import Limits
from passmuster.aws.transport import BotoTransport
from passmuster.checks.catalogue import load
from passmuster.checks.judge import distinct_calls
from passmuster.cli import offline
from passmuster.engine.inspection import Outcome, Task
from passmuster.engine.tenancy import Governed
from passmuster.inventory.call import union
from passmuster.model.evidence import Evidence
from passmuster.model.report import Report
from passmuster.sandbox.accounts.seeded import Seeded
from passmuster.sandbox.emulation.front import Logged
from passmuster.sandbox.simulated_aws import SimulatedAWS
from passmuster.sandbox.story import own_identity


@dataclass(frozen=True)
class Inspected:
    """An account after its first inspection; `requests` are those of the inspection."""

    account: Seeded
    governed: Governed
    outcome: Outcome
    requests: tuple[Logged, ...]

    @property
    def report(self) -> Report:
        return self.outcome.report


def governed_by(account: Seeded, folder: Path, engine: offline.Engine) -> Governed:
    """The account and its policy as the command line reads them from the account's manifest."""
    manifest = folder / "manifest.yaml"
    manifest.write_text(account.manifest)
    (job,) = offline.jobs(offline.Asked(files=(manifest,)), engine.identities)
    return job.governed


def task_of(governed: Governed, *, fresh: bool = False) -> Task:
    """What the operator asks the inspector for."""
    return Task(
        governed.target, governed.demand, governed.recovery, governed.interval, payer=governed.payer, fresh=fresh
    )


def evidence_of(governed: Governed, now: datetime) -> Evidence:
    """What people granted, at that time."""
    return Evidence(now=now, recovery=governed.recovery, attestations=grants.attestations(governed.demand.grants))


def inspect(aws: SimulatedAWS, account: Seeded, folder: Path) -> Inspected:
    """The account's first inspection by a process."""
    engine = offline.engine(aws.url)
    try:
        with own_identity(aws, account.account_id), aws.enforce_iam():
            governed = governed_by(account, folder, engine)
            aws.requests.clear()
            outcome = engine.inspector.inspect(task_of(governed), evidence_of(governed, datetime.now(UTC)))
            return Inspected(account, governed, outcome, tuple(aws.requests))
    finally:
        engine.clients.close()


def month_of_bills(aws: SimulatedAWS, inspected: Inspected) -> float:
    """Dollars that AWS charges for looking at the account for thirty days, at the default ages of observations.

    The clock moves on by a day and a second at a time, so that an answer that may be a day old is read on each of the
    thirty days. Only what is billed is read, and what it fans out from.
    """
    engine = offline.engine(aws.url)
    begun, moved = datetime.now(UTC), timedelta(0)
    collector = Collector(BotoTransport(engine.clients), Limits(rate=1e4), clock=lambda: begun + moved)
    target = inspected.governed.target
    scope = Scope(target.account_id, target.partition, target.regions, target.control_region)
    calls = tuple(call for call in union(distinct_calls(load())) if call.billed)
    dollars, snapshot = 0.0, None
    try:
        with own_identity(aws, target.account_id):
            principal = engine.identities.principal(target)
            for _ in range(30):
                collection = collector.collect(calls, scope, principal, snapshot)
                dollars, snapshot = dollars + collection.billed_cost, collection.snapshot
                moved += timedelta(days=1, seconds=1)
    finally:
        engine.clients.close()
    return dollars
