"""The snapshot: what one account looked like, request by request, and what could not be read.

The collector fills it, checks look at it through a `View`. Reading is per row, and whatever could not be read is a
`Gap` that surfaces by itself: iterating `view.rows(CALL)` yields every row that was read and then raises `Unread` if
something was not. A verdict that needs the whole list therefore cannot be reached from half of it, while one that
needs a single row (`any(...)` finding a pass, `all(...)` finding a failure) is reached before the gap is met. That is
three-valued logic by evaluation order, and a check's author cannot forget it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from passmuster.inventory.call import GLOBAL_REGIONS, JSON, Call, Request, Where
from passmuster.model.errors import UndeclaredCall
from passmuster.model.finding import Origin
from passmuster.model.verdict import Reason

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Gap:
    """A request that brought no complete answer, and why. `code` is the error code of AWS or of the transport."""

    call: Call
    request: Request
    reason: Reason
    code: str
    message: str = ""
    observed_at: datetime | None = None

    @property
    def origin(self) -> Origin:
        """Where the fact would have been read."""
        return Origin(self.call.name, self.request.region, self.observed_at)


class Unread(Exception):
    """Raised where a verdict would need what could not be read. Handled by the judge, never by a check."""

    def __init__(self, gaps: Sequence[Gap]) -> None:
        super().__init__(", ".join(sorted({f"{gap.call.name} {gap.code}" for gap in gaps})))
        self.gaps = tuple(gaps)


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to one request: reduced rows, or a gap. `absent` says why an answer is empty without an error."""

    observed_at: datetime
    rows: tuple[JSON, ...] = ()
    gap: Gap | None = None
    absent: Reason | None = None


class Row(Mapping[str, Any]):
    """One row as a check sees it: its fields, where it was read, and the request that brought it."""

    __slots__ = ("call", "data", "observed_at", "request")

    def __init__(self, call: Call, request: Request, data: JSON, observed_at: datetime) -> None:
        self.call = call
        self.request = request
        self.data = data
        self.observed_at = observed_at

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<{self.call.name} {self.data!r}>"

    @property
    def region(self) -> str:
        """The region the row was read in."""
        return self.request.region

    @property
    def origin(self) -> Origin:
        """Operation, region and time, for evidence."""
        return Origin(self.call.name, self.request.region, self.observed_at)

    def asked(self, parameter: str) -> Any:
        """A parameter of the request that brought this row."""
        return self.request.arguments().get(parameter)


@dataclass(slots=True)
class Snapshot:
    """Everything read from one account. `regions` are the governed ones, `control_region` is read beside them."""

    account_id: str
    partition: str
    regions: tuple[str, ...]
    control_region: str
    taken_at: datetime
    readings: dict[Call, dict[Request, Reading]] = field(default_factory=dict)
    carried: dict[str, Reading] = field(default_factory=dict)
    """Answers that AWS billed, carried over a restart, by `mark`."""

    def put(self, call: Call, request: Request, reading: Reading) -> None:
        """Stores the answer to one request of one call."""
        self.readings.setdefault(call, {})[request] = reading

    def get(self, call: Call, request: Request) -> Reading | None:
        """The answer to a request, if it was made."""
        return self.readings.get(call, {}).get(request)

    def known(self, call: Call, request: Request) -> Reading | None:
        """The answer to a request, made by this process or carried over from an earlier one."""
        found = self.get(call, request)
        return found if found is not None or not call.billed else self.carried.get(mark(call, request))

    def regions_of(self, call: Call) -> tuple[str, ...]:
        """The regions in which a call that fans out from nothing is made."""
        match call.scope:
            case Where.GLOBAL:
                return (GLOBAL_REGIONS.get((self.partition, call.service), self.control_region),)
            case Where.CONTROL:
                return (self.control_region,)
            case Where.REGIONAL:
                return self.regions

    def gaps(self) -> Iterator[Gap]:
        """Everything that could not be read."""
        for by_request in self.readings.values():
            for reading in by_request.values():
                if reading.gap is not None:
                    yield reading.gap


def mark(call: Call, request: Request) -> str:
    """What a billed answer is filed under across restarts: a digest of the request and of the fields kept."""
    identity = repr((call.name, call.items, call.keep, request.region, request.parameters))
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A subject that could not be judged to the end: its resource, where, and what was missing."""

    resource: str
    region: str
    gaps: tuple[Gap, ...]


class View:
    """What one check sees of the snapshot: the calls it declared, in one region or in all governed ones.

    `region` is the region judged, or None for the account as a whole; `payer` is what the check sees of the account
    that pays the bill, None where none is named.
    """

    def __init__(
        self, snapshot: Snapshot, declared: Sequence[Call], region: str | None = None, payer: View | None = None
    ) -> None:
        self._snapshot = snapshot
        self._declared = frozenset(link for call in declared for link in call.chain())
        self.region = region
        self.payer = payer
        self.incomplete: list[Incomplete] = []

    @property
    def account_id(self) -> str:
        """The account, twelve digits."""
        return self._snapshot.account_id

    @property
    def partition(self) -> str:
        """The account's partition, for example aws."""
        return self._snapshot.partition

    @property
    def regions(self) -> tuple[str, ...]:
        """The governed regions, whatever region this view is limited to."""
        return self._snapshot.regions

    def rows(self, call: Call, of: Row | None = None) -> Iterator[Row]:
        """Every row that was read; then Unread is raised if something was not.

        With `of`, a row of the call this one fans out from: only the rows that belong to it.
        """
        self._demand(call)
        gaps: list[Gap] = []
        yield from self._rows(call, of, gaps)
        if gaps:
            raise Unread(gaps)

    def row(self, call: Call, of: Row | None = None) -> Row | None:
        """The first row, None if there is none; Unread if that cannot be told."""
        return next(self.rows(call, of), None)

    def origin(self, call: Call) -> Origin:
        """Where the absence of something was seen: for findings about what is not there."""
        self._demand(call)
        for root in call.chain():
            for region in self._regions(root):
                reading = self._snapshot.get(root, root.root_request(region)) if root.each is None else None
                if reading is not None:
                    return Origin(call.name, region, reading.observed_at)
        return Origin(call.name, self.region or self._snapshot.control_region, self._snapshot.taken_at)

    def absent_everywhere(self, call: Call, reason: Reason) -> bool:
        """Whether no region in view answered the call, for that reason; a fan-out asks for what it comes from."""
        self._demand(call)
        root = call.chain()[0]
        readings = [self._snapshot.get(root, root.root_request(region)) for region in self._regions(root)]
        return bool(readings) and all(reading is not None and reading.absent is reason for reading in readings)

    def judging(self, resource: str, region: str | None = None) -> _Subject:
        """A block that judges one subject; what it could not read makes that subject Unknown and no other.

        Yield the subject's findings inside the block::

            for balancer in view.rows(LOAD_BALANCERS):
                with view.judging(balancer["LoadBalancerArn"], balancer.region):
                    yield ...
        """
        return _Subject(self, resource, region or self.region or self._snapshot.control_region)

    def _demand(self, call: Call) -> None:
        if call not in self._declared:
            raise UndeclaredCall(f"{call.name} is read but not declared in the check's calls")

    def _regions(self, call: Call) -> tuple[str, ...]:
        regions = self._snapshot.regions_of(call)
        return (self.region,) if self.region is not None and call.scope is Where.REGIONAL else regions

    def _rows(self, call: Call, of: Row | None, gaps: list[Gap]) -> Iterator[Row]:
        requests: Iterator[Request]
        if of is not None:
            if call.each is None or of.call != call.each:
                raise UndeclaredCall(f"{call.name} does not fan out from {of.call.name}")
            requests = call.requests(of.data, of.request, of.region)
        elif call.each is None:
            requests = (call.root_request(region) for region in self._regions(call))
        elif call.gated:
            requests = self._gated(call, call.each, gaps)
        else:
            requests = (
                request
                for parent in self._rows(call.each, None, gaps)
                for request in call.requests(parent.data, parent.request, parent.region)
            )
        seen: set[Request] = set()
        for request in requests:
            if request in seen:
                continue
            seen.add(request)
            reading = self._snapshot.get(call, request)
            if reading is None:
                gaps.append(Gap(call, request, Reason.STALE, "NotRead", "not read before the inspection's deadline"))
            elif reading.gap is not None:
                gaps.append(reading.gap)
            else:
                for data in reading.rows:
                    yield Row(call, request, data, reading.observed_at)

    def _gated(self, call: Call, gate: Call, gaps: list[Gap]) -> Iterator[Request]:
        """One request for each region where the gate has a row; then what else of the gate was unread is no matter."""
        unread: list[Gap] = []
        asked: set[str] = set()
        for row in self._rows(gate, None, unread):
            for request in call.requests(row.data, row.request, row.region):
                asked.add(request.region)
                yield request
        gaps.extend(gap for gap in unread if gap.request.region not in asked)


class _Subject:
    """The block of `View.judging`."""

    __slots__ = ("_region", "_resource", "_view")

    def __init__(self, view: View, resource: str, region: str) -> None:
        self._view = view
        self._resource = resource
        self._region = region

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Unread):
            self._view.incomplete.append(Incomplete(self._resource, self._region, error.gaps))
            return True
        return False


def any_of(*alternatives: Callable[[], bool]) -> bool:
    """True if one alternative holds, False if all were read and none does, else Unread with every gap met."""
    return first_of(alternatives, lambda holds: holds() is True) is not None


def all_of(*conditions: Callable[[], bool]) -> bool:
    """False if one condition is observed false, True if all were read and hold, else Unread with every gap met."""
    return first_of(conditions, lambda holds: holds() is False) is None


def first_of(candidates: Iterable[T], holds: Callable[[T], bool]) -> T | None:
    """The first candidate of which the question holds, None if all were read and none does, else Unread."""

    def kept(candidate: T) -> T | None:
        return candidate if holds(candidate) else None

    return _first(partial(kept, candidate) for candidate in candidates)


def first_found(*searches: Callable[[], T | None]) -> T | None:
    """What the first search that finds something finds, None if all were read and find nothing, else Unread."""
    return _first(searches)


def _first(searches: Iterable[Callable[[], T | None]]) -> T | None:
    gaps: list[Gap] = []
    for search in searches:
        try:
            found = search()
        except Unread as unread:
            gaps.extend(unread.gaps)
        else:
            if found is not None:
                return found
    if gaps:
        raise Unread(gaps)
    return None


def seen(rows: Iterable[T]) -> list[T]:
    """The rows that were read, whatever was not: for warnings and for a remediation's facts, never for a verdict."""
    found: list[T] = []
    with suppress(Unread):
        found.extend(rows)
    return found


def unmet(conditions: Mapping[str, Callable[[], bool]]) -> list[str]:
    """The phrases of the conditions that are observed false; empty if all hold.

    A condition that is false decides, whatever else could not be read; with none false, Unread is raised for what
    could not be read.
    """
    false: list[str] = []
    gaps: list[Gap] = []
    for phrase, holds in conditions.items():
        try:
            if not holds():
                false.append(phrase)
        except Unread as unread:
            gaps.extend(unread.gaps)
    if gaps and not false:
        raise Unread(gaps)
    return false
