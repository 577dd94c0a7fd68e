"""Inspects one account: prove who we are, read what the enabled checks need, judge it.

The same function serves the operator, the command line and the demo. Snapshots are kept per account, so that ten
policies on one account cost one inspection and an observation is made again only when it has aged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from passmuster.assess.assessment import Inputs, assess
from passmuster.assess.demand import Demand
from passmuster.assess.scope import CALLS as SCOPE_CALLS
from passmuster.aws.collector import Collection, Collector, Progress, Scope
from passmuster.aws.identity import Identities
from passmuster.checks.catalogue import Catalogue
from passmuster.checks.declaration import Check
from passmuster.checks.judge import calls_in_payer, distinct_calls
from passmuster.engine.parcel import Parcel
from passmuster.inventory.call import Call, union
from passmuster.inventory.snapshot import Gap, Reading, Snapshot
from passmuster.model.account import Target
from passmuster.model.errors import AccountError, CredentialsRefused, PayerNotFound
from passmuster.model.evidence import Evidence, Recovery
from passmuster.model.report import Inspection, Report
from passmuster.model.trace import ACCOUNT_ID, OFF, Tracer
from passmuster.model.verdict import Reason
from passmuster.remediation import catalogue as remediations

REGIONS_KNOWN_FOR = timedelta(hours=6)


def reads_of(checks: Sequence[Check]) -> tuple[Call, ...]:
    """Everything that an inspection by these checks reads: their own calls, and what proposing their fixes needs."""
    proposing = remediations.load().calls(check.id for check in checks)
    return tuple(dict.fromkeys((*distinct_calls(checks), *proposing)))


def _asked_of_payer(checks: Sequence[Check]) -> tuple[Call, ...]:
    """What these checks of a member read in the account that pays."""
    return tuple(dict.fromkeys(call for check in checks for call in calls_in_payer(check)))


@dataclass(frozen=True, slots=True)
class Task:
    """One inspection to make: the account, what is demanded of it, and how fresh the facts must be.

    `outdated` names billed calls whose answers from before a change do not count; `payer_missing` says why there is no
    `payer`, where the account names one.
    """

    target: Target
    demand: Demand
    recovery: Recovery = field(default_factory=Recovery)
    interval: timedelta = timedelta(hours=1)
    payer: Target | None = None
    payer_missing: PayerNotFound | None = None
    fresh: bool = False
    hinted: frozenset[str] = frozenset()
    asked_at: datetime | None = None
    outdated: Mapping[str, datetime] = field(default_factory=dict)
    deadline: float = 240.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A report with the snapshot it came from, which the plan is made of."""

    report: Report
    snapshot: Snapshot


@dataclass(slots=True)
class _Memory:
    lock: threading.Lock = field(default_factory=threading.Lock)
    snapshot: Parcel[Snapshot] | None = None
    regions: tuple[str, ...] = ()
    regions_at: datetime | None = None


class Inspector:
    """Makes inspections; shared by all workers. One account is inspected by one worker at a time."""

    def __init__(
        self,
        collector: Collector,
        identities: Identities,
        catalogue: Catalogue,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        tracer: Tracer = OFF,
    ) -> None:
        self.catalogue = catalogue
        self._collector = collector
        self._identities = identities
        self._clock = clock
        self._tracer = tracer
        self._memories: dict[str, _Memory] = {}
        self._lock = threading.Lock()

    def inspect(
        self,
        task: Task,
        evidence: Evidence | None = None,
        previous: Report | None = None,
        progress: Progress | None = None,
    ) -> Outcome:
        """The report on the task's account. Raises AccountError when nothing of it can be judged."""
        with self._tracer.span("inspection", {ACCOUNT_ID: task.target.account_id}):
            return self._inspect(task, evidence, previous, progress)

    def _inspect(
        self, task: Task, evidence: Evidence | None, previous: Report | None, progress: Progress | None
    ) -> Outcome:
        started_at, begun = self._clock(), time.monotonic()
        checks = task.demand.enabled(self.catalogue)
        calls = tuple(dict.fromkeys((*reads_of(checks), *(SCOPE_CALLS if task.demand.scope else ()))))
        collection = self._collect(task.target, calls, task, progress)
        paying = _asked_of_payer(checks)
        payer = self._payer(task, paying) if paying else None
        made = [one for one in (collection, payer) if one is not None]
        inspection = Inspection(
            id=inspection_id(started_at, task.target.account_id),
            started_at=started_at,
            duration=round(time.monotonic() - begun, 3),
            calls=sum(one.calls for one in made),
            billed_calls=sum(one.billed_calls for one in made),
            billed_cost=round(sum(one.billed_cost for one in made), 4),
        )
        inputs = Inputs(
            snapshot=collection.snapshot,
            demand=task.demand,
            evidence=evidence or Evidence(now=self._clock(), recovery=task.recovery),
            previous=previous,
            payer=payer.snapshot if payer is not None else None,
        )
        with self._tracer.span("assess", {ACCOUNT_ID: task.target.account_id}):
            return Outcome(assess(self.catalogue, inputs, inspection), collection.snapshot)

    def reassess(self, task: Task, evidence: Evidence, last: Report) -> Outcome | None:
        """The last inspection judged anew with what people grant now, without asking AWS anything.

        None where this process did not make an inspection of the account yet; `last` is the report of it.
        """
        snapshot = self._remembered(task.target)
        paid_elsewhere = task.payer is not None and task.payer.account_id != task.target.account_id
        asked = _asked_of_payer(task.demand.enabled(self.catalogue))
        paying = paid_elsewhere and bool(asked)
        payer = self._remembered(task.payer) if task.payer is not None and paying else None
        if task.payer_missing is not None:
            payer = unreadable(task.target, asked, task.payer_missing, self._clock())
        if snapshot is None or (paying and payer is None):
            return None
        inputs = Inputs(snapshot=snapshot, demand=task.demand, evidence=evidence, previous=last, payer=payer)
        with self._tracer.span("assess", {ACCOUNT_ID: task.target.account_id}):
            return Outcome(assess(self.catalogue, inputs, last.inspection), snapshot)

    def _remembered(self, target: Target) -> Snapshot | None:
        """What is known of the regions of a target; None before its first inspection."""
        memory = self._memory(target.account_id)
        with memory.lock:
            snapshot = memory.snapshot.open() if memory.snapshot is not None else None
            regions = target.regions or memory.regions
        if snapshot is None or not snapshot.readings or not regions:
            return None
        return replace(snapshot, regions=regions)

    def carry(self, target: Target, readings: Mapping[str, Reading]) -> None:
        """What an earlier process had read and paid for, taken over after a restart."""
        memory = self._memory(target.account_id)
        with memory.lock:
            if memory.snapshot is None:
                empty = Snapshot(
                    target.account_id, target.partition, target.regions, target.control_region, self._clock()
                )
                empty.carried.update(readings)
                memory.snapshot = Parcel(empty)

    def regions(self, target: Target) -> tuple[str, ...]:
        """The regions of a target: those it names, or all that its account has enabled. Raises AccountError."""
        memory = self._memory(target.account_id)
        with memory.lock:
            return self._regions(target, memory)

    def forget(self, account_id: str) -> None:
        """Nobody asks about the account any more."""
        with self._lock:
            self._memories.pop(account_id, None)

    def _memory(self, account_id: str) -> _Memory:
        with self._lock:
            return self._memories.setdefault(account_id, _Memory())

    def _payer(self, task: Task, calls: Sequence[Call]) -> Collection | None:
        if task.payer_missing is not None:
            return Collection(unreadable(task.target, calls, task.payer_missing, self._clock()))
        if task.payer is None or task.payer.account_id == task.target.account_id:
            return None
        try:
            return self._collect(task.payer, calls, task, None)
        except AccountError as error:
            return Collection(unreadable(task.payer, calls, error, self._clock()))

    def _collect(self, target: Target, calls: Sequence[Call], task: Task, progress: Progress | None) -> Collection:
        memory = self._memory(target.account_id)
        with self._tracer.span("collect", {ACCOUNT_ID: target.account_id}), memory.lock:
            principal = self._identities.principal(target)
            regions = self._regions(target, memory)
            scope = Scope(
                account_id=target.account_id,
                partition=target.partition,
                regions=regions,
                control_region=target.control_region,
                interval=task.interval,
                deadline=task.deadline,
                fresh=task.fresh,
                hinted=task.hinted,
                asked_at=task.asked_at,
                outdated=task.outdated,
            )
            known = memory.snapshot.open() if memory.snapshot is not None else None
            collection = self._collector.collect(calls, scope, principal, known, progress)
            if collection.expired:
                principal = self._identities.principal(target, renew=True)
                collection = self._collector.collect(calls, scope, principal, known, progress)
                if collection.expired:
                    raise CredentialsRefused(
                        f"the credentials for account {target.account_id} have expired: log in again or renew them"
                    )
            if collection.calls or known is None:
                memory.snapshot = Parcel(merged(known, collection.snapshot))
            return collection

    def _regions(self, target: Target, memory: _Memory) -> tuple[str, ...]:
        if target.regions:
            return target.regions
        now = self._clock()
        if memory.regions_at is None or now - memory.regions_at > REGIONS_KNOWN_FOR:
            memory.regions = self._identities.regions(target, self._identities.principal(target))
            memory.regions_at = now
        return memory.regions


def merged(known: Snapshot | None, fresh: Snapshot) -> Snapshot:
    """What to remember: the fresh snapshot, and readings that only another policy of the account asks for.

    Readings of the same call replace each other request by request only where the regions differ.
    """
    if known is None or known.account_id != fresh.account_id:
        return fresh
    readings = {call: dict(by_request) for call, by_request in fresh.readings.items()}
    for call, by_request in known.readings.items():
        if call not in readings:
            readings[call] = by_request
            continue
        asked = {request.region for request in readings[call]}
        for request, reading in by_request.items():
            if request.region not in asked:
                readings[call][request] = reading
    return replace(fresh, readings=readings, carried=known.carried)


def unreadable(target: Target, calls: Sequence[Call], error: AccountError, now: datetime) -> Snapshot:
    """The snapshot of an account that let nobody in: a gap for everything, so that what depends on it is Unknown."""
    snapshot = Snapshot(target.account_id, target.partition, target.regions, target.control_region, now)
    for call in union(tuple(calls)):
        if call.each is None:
            for region in snapshot.regions_of(call):
                request = call.root_request(region)
                gap = Gap(call, request, Reason.DENIED, error.reason, str(error), now)
                snapshot.put(call, request, Reading(now, gap=gap))
    return snapshot


_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def inspection_id(started_at: datetime, account_id: str) -> str:
    """A sortable id: the time in milliseconds and the account, in Crockford's base 32, 20 characters."""
    number = (int(started_at.timestamp() * 1000) << 40) | int(account_id)
    digits = []
    while number:
        number, rest = divmod(number, 32)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits)).rjust(20, "0")
