"""Fills a snapshot: the union of the checks' calls, each request once, as fast as the account allows.

One collection is one loop in the calling thread that hands requests to a few threads of its own. Only the loop waits:
for a token of the request's bucket, or for the delay of a retry; a thread is busy only while a request is under way.
An account that is throttled or hangs therefore holds up nobody but itself.

What a previous snapshot still knows is not asked again::

    a call by itself   is read again when older than its freshness (default: the inspection interval)
    a gated call       the same, and at once for a new value of the call it waits for; where that has none, not at all
    a row's fan-out    when its parent row changed or is new, and otherwise in rotation, so that every one
                       is read within its maximum age (default 24 h) and none before its freshness is over
    a billed fan-out   when older than its freshness, whatever became of its parent row; the same for one whose
                       freshness is more than a day
    a gap              always
    a hint             names services whose readings do not count as known
    a change           pays for what is billed once more, to be proved by it: answers from before it do not count

What the deadline cuts off in rotation counts as long as it is younger than its maximum age; anything else is a gap.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from passmuster.aws.limits import Limits
from passmuster.aws.principal import Principal, acting_as
from passmuster.aws.transport import CallError, CredentialsExpired, Transport
from passmuster.inventory.call import JSON, Call, Request, query, union
from passmuster.inventory.snapshot import Gap, Reading, Snapshot
from passmuster.model.verdict import Reason

THREADS = 8
ATTEMPTS = {Reason.THROTTLED: 6}
DEFAULT_ATTEMPTS = 3
DEFAULT_MAX_AGE = timedelta(hours=24)
FRESHNESS_SLACK = 0.9
"""An inspection that starts a little early still reads again."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""What lies further in the future was noted before a clock was set back, and its age cannot be told."""


class Observer(Protocol):
    """What counts requests; the metrics layer implements it."""

    def request(self, service: str, operation: str, outcome: str, seconds: float) -> None:
        """One request was sent and answered, or failed."""

    def billed(self, dollars: float) -> None:
        """AWS charges for a request that was sent."""


class NoObserver:
    """Counts nothing: the command line's observer."""

    def request(self, service: str, operation: str, outcome: str, seconds: float) -> None:
        """Ignores it."""

    def billed(self, dollars: float) -> None:
        """Ignores it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What one collection covers. `fresh` reads everything again but billed calls; `hinted` only these services, and
    these calls by name; what was read since `asked_at` already answers either. Of the billed calls that `outdated`
    names, what was read before the time given there does not count as known."""

    account_id: str
    partition: str
    regions: tuple[str, ...]
    control_region: str
    interval: timedelta = timedelta(hours=1)
    deadline: float = 240.0
    fresh: bool = False
    hinted: frozenset[str] = frozenset()
    asked_at: datetime | None = None
    outdated: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(slots=True)
class Collection:
    """A snapshot with the cost of taking it: requests sent, and what AWS bills for some of them."""

    snapshot: Snapshot
    calls: int = 0
    billed_calls: int = 0
    billed_cost: float = 0.0
    expired: bool = False


@dataclass(slots=True)
class _Job:
    request: Request
    call: Call
    attempts: int = 0


@dataclass(slots=True)
class _Answer:
    rows: dict[Call, tuple[JSON, ...]] = field(default_factory=dict)
    error: CallError | None = None
    requests: int = 0
    seconds: float = 0.0


Progress = Callable[[int, int], None]
"""Called with the number of requests answered and known so far."""


class Collector:
    """Collects snapshots. Shared by all workers; holds no state of any account but the rate buckets."""

    def __init__(
        self,
        transport: Transport,
        limits: Limits,
        *,
        observer: Observer | None = None,
        threads: int = THREADS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._observer = observer or NoObserver()
        self._threads = threads
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep

    def collect(
        self,
        calls: Sequence[Call],
        scope: Scope,
        principal: Principal,
        previous: Snapshot | None = None,
        progress: Progress | None = None,
    ) -> Collection:
        """The snapshot of one account.

        Whatever cannot be read becomes a gap; only a principal that expired ends the collection early, with
        `expired` set and the rest unread.
        """
        run = _Run(self, union(tuple(calls)), scope, principal, previous, progress)
        return run.finish()


class _Run:
    """One collection under way."""

    def __init__(
        self,
        collector: Collector,
        calls: tuple[Call, ...],
        scope: Scope,
        principal: Principal,
        previous: Snapshot | None,
        progress: Progress | None,
    ) -> None:
        self._transport = collector._transport
        self._limits = collector._limits
        self._observer = collector._observer
        self._clock = collector._clock
        self._monotonic = collector._monotonic
        self._sleep = collector._sleep
        self._threads = collector._threads
        self._calls = calls
        self._scope = scope
        self._principal = principal
        self._previous = previous
        self._progress = progress
        self._now = collector._clock()
        self._siblings: dict[tuple[str, str], list[Call]] = defaultdict(list)
        self._children: dict[Call, list[Call]] = defaultdict(list)
        for call in calls:
            self._siblings[(call.service, call.operation)].append(call)
            if call.each is not None:
                self._children[call.each].append(call)
        snapshot = Snapshot(scope.account_id, scope.partition, scope.regions, scope.control_region, self._now)
        self.collection = Collection(snapshot)
        self._wanted: dict[Request, list[Call]] = {}
        self._answers: dict[Request, tuple[datetime, _Answer]] = {}
        self._lanes: dict[tuple[str, str], list[tuple[float, int, _Job]]] = {}
        """What is still to be sent, by region and service: each lane has a bucket of its own, and waits by itself."""
        self._young: dict[tuple[Call, Request], Reading] = {}
        """Readings that are asked again in rotation, and count if that does not succeed before the deadline."""
        self._sequence = 0
        self._deadline = self._monotonic() + scope.deadline
        self._jitter = random.Random(principal.access_key)
        self._known = 0
        self._done = 0

    def finish(self) -> Collection:
        for call in self._calls:
            if call.each is None:
                self._want_root(call)
        running: dict[Future[_Answer], _Job] = {}
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="collect")
        try:
            while self._lanes or running:
                now = self._monotonic()
                if now > self._deadline or self.collection.expired:
                    break
                delay = self._submit(pool, running, now)
                left = self._deadline - now
                if running:
                    timeout = left if delay is None else min(delay, left)
                    done, _ = wait(running, timeout=max(0.0, timeout) + 0.01, return_when=FIRST_COMPLETED)
                    for future in done:
                        self._settle(running.pop(future), future.result())
                elif self._lanes:
                    self._sleep(min(delay or 0.0, 1.0))
        finally:
            # A request that hangs is left to its own timeout: nobody waits for it, and its answer is not looked at.
            pool.shutdown(wait=False, cancel_futures=True)
        for job in running.values():
            self._leave(job, "not answered before the inspection's deadline")
        while self._lanes:
            _, lane = self._lanes.popitem()
            for _, _, job in lane:
                self._leave(job, "not read before the inspection's deadline")
        return self.collection

    def _leave(self, job: _Job, why: str) -> None:
        """A request that got no answer in time: what is still young enough counts, the rest is a gap."""
        self._gap(job, Reason.STALE, "DeadlineExceeded", why)
        for call in self._wanted[job.request]:
            young = self._young.get((call, job.request))
            if young is not None:
                self._store(call, job.request, young)

    def _submit(self, pool: ThreadPoolExecutor, running: dict[Future[_Answer], _Job], now: float) -> float | None:
        """Hands over what may be sent now; returns the seconds until something else may be, None if nothing waits."""
        soonest: float | None = None
        handed_over = True
        while handed_over and len(running) < self._threads:
            handed_over, soonest = False, None
            for place, lane in list(self._lanes.items()):
                region, service = place
                bucket = self._limits.bucket(self._scope.account_id, region, service, now)
                delay = max(lane[0][0] - now, bucket.ready_in(now))
                if delay > 0:
                    soonest = delay if soonest is None else min(soonest, delay)
                    continue
                _, _, job = heapq.heappop(lane)
                if not lane:
                    del self._lanes[place]
                bucket.take(now)
                running[pool.submit(copy_context().run, self._ask, job)] = job
                handed_over = True
                if len(running) >= self._threads:
                    break
        return soonest

    def _ask(self, job: _Job) -> _Answer:
        """Runs in a thread: one request with all its pages, reduced as they arrive."""
        answer = _Answer()
        siblings = self._siblings[(job.request.service, job.request.operation)]
        rows: dict[Call, list[JSON]] = {call: [] for call in siblings}
        begun = self._monotonic()
        try:
            with acting_as(self._principal, self._scope.account_id):
                for page in self._transport.pages(job.request.sent(self._now, self._scope.account_id)):
                    if answer.requests and self._monotonic() > self._deadline:
                        raise CallError(Reason.STALE, "DeadlineExceeded", "not read to the end before the deadline")
                    answer.requests += 1
                    for call in siblings:
                        rows[call].extend(call.reduce(page))
                    if all(call.reaches_back(page, self._now) for call in siblings):
                        break
        except CallError as error:
            partial = answer.requests and error.reason is Reason.SERVICE_ERROR
            answer.requests += 1
            answer.error = error
            if partial:
                answer.error = CallError(Reason.PARTIAL, error.code, error.message, transient=error.transient)
        else:
            answer.rows = {call: tuple(found) for call, found in rows.items()}
        answer.seconds = self._monotonic() - begun
        return answer

    def _settle(self, job: _Job, answer: _Answer) -> None:
        now = self._monotonic()
        request = job.request
        bucket = self._limits.bucket(self._scope.account_id, request.region, request.service, now)
        self._count(job, answer)
        error = answer.error
        if isinstance(error, CredentialsExpired):
            self.collection.expired = True
            self._gap(job, error.reason, error.code, error.message)
            return
        if error is not None and error.reason is Reason.THROTTLED:
            bucket.throttled(now)
        elif error is None:
            bucket.succeeded()
        job.attempts += 1
        if error is not None and error.transient and job.attempts < ATTEMPTS.get(error.reason, DEFAULT_ATTEMPTS):
            self._push(job, now + self._jitter.uniform(0.05, 0.25 * 2**job.attempts))
            return
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._known)
        self._answers[request] = (self._clock(), answer)
        for call in self._wanted[request]:
            self._keep(call, request)

    def _count(self, job: _Job, answer: _Answer) -> None:
        outcome = "ok" if answer.error is None else answer.error.reason.value.lower()
        self.collection.calls += answer.requests
        self._observer.request(job.request.service, job.request.operation, outcome, answer.seconds)
        if job.call.billed:
            dollars = job.call.billed * answer.requests
            self.collection.billed_calls += answer.requests
            self.collection.billed_cost += dollars
            self._observer.billed(dollars)

    def _keep(self, call: Call, request: Request) -> None:
        """Stores an answer for one of the calls that wanted it, and asks for what fans out from it."""
        observed_at, answer = self._answers[request]
        error = answer.error
        if error is None:
            reading = Reading(observed_at, answer.rows.get(call, ()))
        elif error.reason is Reason.NOT_IN_PARTITION:
            reading = Reading(observed_at, absent=Reason.NOT_IN_PARTITION)
        elif call.means_absent(error.code, error.message) and error.reason is not Reason.PARTIAL:
            reading = Reading(observed_at, absent=Reason.NOTHING_OF_THAT_KIND)
        else:
            gap = Gap(call, request, error.reason, error.code, error.message, observed_at)
            reading = Reading(observed_at, gap=gap)
        self._store(call, request, reading)

    def _store(self, call: Call, request: Request, reading: Reading) -> None:
        self.collection.snapshot.put(call, request, reading)
        if reading.gap is not None:
            return
        for child in self._children[call]:
            self._want_children(child, request, reading)

    def _gap(self, job: _Job, reason: Reason, code: str, message: str) -> None:
        for call in self._wanted[job.request]:
            gap = Gap(call, job.request, reason, code, message, self._now)
            self.collection.snapshot.put(call, job.request, Reading(self._now, gap=gap))

    def _want_root(self, call: Call) -> None:
        if not self._transport.offers(call.service, self._scope.partition):
            for region in self.collection.snapshot.regions_of(call):
                absent = Reading(self._now, absent=Reason.NOT_IN_PARTITION)
                self._store(call, call.root_request(region), absent)
            return
        for region in self.collection.snapshot.regions_of(call):
            self._want_by_age(call, call.root_request(region))

    def _want_by_age(self, call: Call, request: Request) -> None:
        """Takes over what is known while it is fresh, and asks otherwise."""
        freshness = call.freshness or self._scope.interval
        known = self._known_reading(call, request)
        if known is not None and self._now - known.observed_at < freshness * FRESHNESS_SLACK:
            self._store(call, request, known)
        else:
            self._want(call, request)

    def _want_children(self, call: Call, parent: Request, reading: Reading) -> None:
        old_parent = self._previous.get(call.each, parent) if self._previous is not None and call.each else None
        before = {_identity(call, row) for row in old_parent.rows} if old_parent is not None else set()
        maximum = call.max_age if call.max_age is not None else max(DEFAULT_MAX_AGE, call.freshness or timedelta(0))
        offered = self._transport.offers(call.service, self._scope.partition)
        aged: list[tuple[datetime, Request, Reading]] = []
        total = 0
        for row in reading.rows:
            unchanged = bool(before) and _identity(call, row) in before
            for request in call.requests(row, parent, parent.region):
                if not offered:
                    self._store(call, request, Reading(self._now, absent=Reason.NOT_IN_PARTITION))
                    continue
                if call.gated and not unchanged:
                    self._want(call, request)
                    continue
                if self.collection.snapshot.get(call, request) is not None:
                    continue
                if call.gated:
                    self._want_by_age(call, request)
                    continue
                total += 1
                known = self._known_reading(call, request) if unchanged or call.by_age_alone else None
                if known is None or self._now - known.observed_at >= maximum * FRESHNESS_SLACK:
                    self._want(call, request)
                else:
                    aged.append((known.observed_at, request, known))
        share = self._scope.interval / maximum if maximum > timedelta(0) else 1.0
        rotated = math.ceil(total * min(1.0, share)) if not call.billed else 0
        soonest = max(self._scope.interval, call.freshness or timedelta(0))
        aged.sort(key=lambda entry: entry[0])
        for position, (observed_at, request, known) in enumerate(aged):
            due = self._now - observed_at >= soonest * FRESHNESS_SLACK
            if due and position < rotated:
                self._young[(call, request)] = known
                self._want(call, request)
            else:
                self._store(call, request, known)

    def _known_reading(self, call: Call, request: Request) -> Reading | None:
        """What the previous snapshot says, unless it must be asked again anyway."""
        if self._previous is None:
            return None
        reading = self._previous.known(call, request)
        if reading is None or reading.gap is not None or reading.observed_at - self._now > CLOCKS_DIFFER:
            return None
        if call.billed:
            changed_at = self._scope.outdated.get(call.name)
            return reading if changed_at is None or reading.observed_at >= changed_at else None
        hinted = not self._scope.hinted.isdisjoint((call.service, call.name))
        anew = self._scope.fresh or hinted
        if anew and (self._scope.asked_at is None or reading.observed_at < self._scope.asked_at):
            return None
        return reading

    def _want(self, call: Call, request: Request) -> None:
        if request in self._answers:
            self._keep(call, request)
            return
        wanted = self._wanted.get(request)
        if wanted is not None:
            if call not in wanted:
                wanted.append(call)
            return
        self._wanted[request] = [call]
        self._known += 1
        self._push(_Job(request, call), 0.0)

    def _push(self, job: _Job, due: float) -> None:
        self._sequence += 1
        lane = self._lanes.setdefault((job.request.region, job.request.service), [])
        heapq.heappush(lane, (due, self._sequence, job))


def _identity(call: Call, row: JSON) -> str:
    """What must be the same for an answer about a row to be taken over: the row, or what a gate looks at."""
    return repr(query(call.over, row) if call.gated else row)


def billed_readings(snapshot: Snapshot) -> Iterator[tuple[Call, Request, Reading]]:
    """What AWS charged for, so that it survives a restart in the report's status."""
    for call, by_request in snapshot.readings.items():
        if call.billed:
            for request, reading in by_request.items():
                if reading.gap is None:
                    yield call, request, reading
