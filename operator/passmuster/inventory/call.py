"""A Call: one read-only AWS operation, optionally fanned out over another, with the fields kept.

Checks declare calls as module constants; the collector makes the union of them once; the IAM policy is derived from
them. A call is data: it can be compared, hashed and listed without touching AWS.

::

    DETECTORS = Call("guardduty", "ListDetectors", items="DetectorIds")
    DETECTOR = Call("guardduty", "GetDetector", each=DETECTORS, param="DetectorId", keep=("Status", "Features"))

A page of the response is reduced to *rows* as it arrives: `items` says which list holds them (without it the whole
response is one row), `keep` which fields of a row stay. What is not kept is never stored and never logged.

A call whose parameters are times says how long ago instead of when, at any depth of `args`::

    COSTS = Call("ce", "GetCostAndUsage", args={"TimePeriod": {"Start": DaysAgo(7), "End": DaysAgo(0)}, ...})
    PEAKS = Call("cloudwatch", "GetMetricData", each=DATABASES, over="DBInstanceIdentifier",
                 args={"StartTime": TimeAgo(timedelta(days=14)), "EndTime": UP_TO_NOW},
                 param={"MetricDataQueries": "[{Id: 'peak', MetricStat: {Period: `86400`, Stat: 'Maximum', Metric: "
                        "{Namespace: 'AWS/RDS', MetricName: 'DatabaseConnections', "
                        "Dimensions: [{Name: 'DBInstanceIdentifier', Value: value}]}}}]"},
                 items="MetricDataResults", billed=0.00001, freshness=timedelta(hours=24))

Where an operation wants to be told which account is meant, `args={"AccountId": THIS_ACCOUNT}` says so.

The marker is part of the request's identity, so that an answer is found again until its freshness is over; the value is
filled in by `Request.sent`, when the collector sends the request.

What means nothing without something else is asked only where that is there; `over` may say which rows count::

    REPLICATIONS = Call("efs", "DescribeReplicationConfigurations", each=FILE_SYSTEMS, param=ONCE, ...)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

import jmespath
import jmespath.functions

from passmuster.model.account import partition_of

JSON = Any
"""A decoded response or part of one."""


class Where(StrEnum):
    """In which regions a call is made."""

    REGIONAL = "regional"
    """In every governed region."""
    GLOBAL = "global"
    """Once, in the partition's control region: the service has one answer for the account."""
    CONTROL = "control"
    """In the control region beside the governed ones: facts of global services that live there, such as the alarms on
    health checks."""


GLOBAL_SERVICES = frozenset(
    {
        "account",
        "budgets",
        "ce",
        "cloudfront",
        "cur",
        "globalaccelerator",
        "health",
        "iam",
        "organizations",
        "route53",
        "route53domains",
        "savingsplans",
        "support",
        "trustedadvisor",
    }
)
"""Services with one answer for the account, whatever the region."""

ONCE: Mapping[str, str] = {}
"""The `param` of a gated call: it takes nothing from the rows of `each`, and is made once where there is one."""

RARELY = timedelta(hours=6)
"""The `freshness` of what changes in days or months and what no Critical or High check of Foundation or Production
reads. One span for all of it: what a check compares was then read at the same time."""

UNCHANGING = timedelta(days=30)
"""The `freshness` of a fan-out whose request names what never changes, such as a revision; the row with it may."""

GLOBAL_REGIONS = {("aws", "globalaccelerator"): "us-west-2"}
"""Where a global service of a partition answers, if not in the control region."""


class _Functions(jmespath.functions.Functions):  # type: ignore[misc]  # jmespath is untyped
    """For a name that AWS gives only as part of an ARN: `last_of(text, separator)` is what follows the last separator,
    `first_of(text, separator)` what precedes the first."""

    @jmespath.functions.signature({"types": ["string"]}, {"types": ["string"]})  # type: ignore[untyped-decorator]
    def _func_last_of(self, text: str, separator: str) -> str:
        return text.rpartition(separator)[2]

    @jmespath.functions.signature({"types": ["string"]}, {"types": ["string"]})  # type: ignore[untyped-decorator]
    def _func_first_of(self, text: str, separator: str) -> str:
        return text.partition(separator)[0]


_OPTIONS = jmespath.Options(custom_functions=_Functions())


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> Callable[[JSON], JSON]:
    compiled = jmespath.compile(expression)
    if re.fullmatch(r"[A-Za-z_]\w*", expression):
        return lambda data: data.get(expression) if isinstance(data, dict) else None
    return lambda data: compiled.search(data, options=_OPTIONS)


def query(expression: str, data: JSON) -> JSON:
    """The JMESPath expression applied to the data; a plain field name takes a short cut."""
    return data if expression == "@" else _compiled(expression)(data)


@dataclass(frozen=True, slots=True)
class DaysAgo:
    """A day before the inspection, as services that take dates want it: `2026-11-14`."""

    days: int

    def resolved(self, now: datetime) -> str:
        """The date, in the zone of `now`."""
        return (now - timedelta(days=self.days)).date().isoformat()


@dataclass(frozen=True, slots=True)
class TimeAgo:
    """A time before the inspection, for services that take times; rounded down to the minute, as metrics are."""

    span: timedelta

    def resolved(self, now: datetime) -> datetime:
        """The time, in the zone of `now`."""
        return (now - self.span).replace(second=0, microsecond=0)


UP_TO_NOW = TimeAgo(timedelta(minutes=-1))
"""The end of a window that reaches to now: the minute that is just passing ends in the next one."""


@dataclass(frozen=True, slots=True)
class ThisAccount:
    """The account that is inspected, for operations that must be told."""


THIS_ACCOUNT = ThisAccount()


@dataclass(frozen=True, slots=True)
class Request:
    """One concrete request of a call: which operation, in which region, with which parameters."""

    service: str
    operation: str
    region: str
    parameters: tuple[tuple[str, Any], ...] = ()

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments for boto3."""
        return {name: _thaw(value) for name, value in self.parameters}

    def sent(self, now: datetime, account_id: str) -> Request:
        """The request as it is sent: with each `DaysAgo`, `TimeAgo` and `THIS_ACCOUNT` replaced by its value."""
        parameters = tuple((name, _resolved(value, now, account_id)) for name, value in self.parameters)
        return replace(self, parameters=parameters)


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return _FrozenMap(tuple(sorted((k, _freeze(v)) for k, v in value.items())))
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(v) for v in value)
    return value


def _thaw(value: Any) -> Any:
    if isinstance(value, _FrozenMap):
        return {k: _thaw(v) for k, v in value.pairs}
    if isinstance(value, tuple):
        return [_thaw(v) for v in value]
    return value


@dataclass(frozen=True, slots=True)
class _FrozenMap:
    pairs: tuple[tuple[str, Any], ...]


def _resolved(value: Any, now: datetime, account_id: str) -> Any:
    match value:
        case DaysAgo() | TimeAgo():
            return value.resolved(now)
        case ThisAccount():
            return account_id
        case _FrozenMap():
            return _FrozenMap(tuple((name, _resolved(member, now, account_id)) for name, member in value.pairs))
        case tuple():
            return tuple(_resolved(member, now, account_id) for member in value)
        case _:
            return value


def freeze(parameters: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Request parameters as a hashable value, in the order of their names."""
    return tuple(sorted((name, _freeze(value)) for name, value in parameters.items()))


@dataclass(frozen=True)
class Call:
    """One operation that checks read.

    service, operation
        the service as boto3 names it, the operation as AWS documents it: `Call("elbv2", "DescribeListeners")`.
    args
        constant request parameters; a time among them is a `DaysAgo` or a `TimeAgo`, the account `THIS_ACCOUNT`.
    items
        JMESPath of the list in a page whose members are rows; empty: the page is one row.
    keep
        fields of a row that stay: names of top-level members, or one JMESPath that builds the row.
    each, over, param
        fan-out: for every row of `each`, `over` (JMESPath, default the row itself) gives a value or a list of values,
        and each value is one request. `param` is the request parameter that takes it, or a mapping of parameters to
        JMESPath over `{value, row, request, region, partition}` (request: the parameters the parent row was read with).
        `batch` > 1 packs that many values into one request as a list (all other parameters being equal). JMESPath here
        also knows `last_of(text, separator)` and `first_of(text, separator)`, for names that AWS gives only in ARNs.
        With the param `ONCE` the call is *gated*: made once in each region where a row gives a value, and not where
        none does, which reads as an empty answer. Where no row was read and some could not be, neither was the call.
    absent
        error codes that mean *not in use here*: an empty answer, not a refusal. Where a service says so with the code
        of a refusal, `Code: words of the message`.
    where
        the regions; by default global services are read once and all others in every governed region. A fan-out is
        made where its parent row was read, unless `region_of` (JMESPath over the row) names another region, by itself
        or in an ARN.
    freshness
        how old an observation may be before it is read again (default: the policy's interval); `max_age` the same for
        each row of a fan-out, which is re-read in rotation (default 24 h, and never before its freshness is over). An
        alert, an annotation and a remediation that is verified read again what they name, whatever its age. A row that
        changed has its requests made again at once, but for a freshness of more than a day; a gated call is made again
        at once for a value of `over` that is new.
    back
        of a list that comes newest first: JMESPath of the time of a page's last member, and how far back is read. The
        pages after one that reaches further are not asked for.
    billed
        dollars that AWS charges for one request.
    actions
        IAM actions, where they do not follow from the operation's name.
    """

    service: str
    operation: str
    items: str = ""
    keep: tuple[str, ...] | str = ()
    args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    each: Call | None = None
    over: str = "@"
    param: str | Mapping[str, str] = field(default="", hash=False)
    batch: int = 1
    absent: tuple[str, ...] = ()
    where: Where | None = None
    region_of: str = ""
    freshness: timedelta | None = None
    max_age: timedelta | None = None
    back: tuple[str, timedelta] | None = None
    billed: float = 0.0
    actions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.each is None) != (self.param == ""):
            raise ValueError(f"{self.name}: each and param go together")
        if self.gated and (self.batch > 1 or self.region_of):
            raise ValueError(f"{self.name}: a gated call is one request, where the rows were read")
        if isinstance(self.param, Mapping) and self.batch > 1 and "value" not in self.param.values():
            raise ValueError(f"{self.name}: a batched call binds `value` to one parameter")

    @cached_property
    def _hash(self) -> int:
        return hash((self.service, self.operation, self.items, self.keep, self.over, self.where, hash(self.each)))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def name(self) -> str:
        """`service:Operation`, as evidence names it: `elbv2:DescribeListeners`."""
        return f"{self.service}:{self.operation}"

    @property
    def gated(self) -> bool:
        """Whether it is made once where another call has a row, and not for each row."""
        return self.each is not None and self.param == ONCE

    @property
    def by_age_alone(self) -> bool:
        """Whether what fans out is read again for its age alone, whatever became of the row that names it."""
        return bool(self.billed) or (self.freshness or timedelta(0)) > timedelta(days=1)

    @property
    def scope(self) -> Where:
        """Where the call is made, with the default resolved."""
        if self.where is not None:
            return self.where
        if self.each is not None:
            return self.each.scope
        return Where.GLOBAL if self.service in GLOBAL_SERVICES else Where.REGIONAL

    def chain(self) -> tuple[Call, ...]:
        """The calls this one fans out from, outermost first, itself last."""
        return (*self.each.chain(), self) if self.each is not None else (self,)

    def root_request(self, region: str) -> Request:
        """The one request of a call that fans out from nothing."""
        return Request(self.service, self.operation, region, freeze(self.args))

    def requests(self, row: JSON, request: Request, region: str) -> Iterator[Request]:
        """The requests that one parent row leads to."""
        if self.region_of:
            region = _region_named(query(self.region_of, row)) or region
        found = query(self.over, row)
        values = found if isinstance(found, list) else [found]
        values = [value for value in values if value not in (None, "", False)]
        if self.batch > 1:
            for start in range(0, len(values), self.batch):
                yield self._bound(values[start : start + self.batch], row, request, region)
        else:
            for value in values:
                yield self._bound(value, row, request, region)

    def _bound(self, value: Any, row: JSON, request: Request, region: str) -> Request:
        parameters = dict(self.args)
        if isinstance(self.param, str):
            parameters[self.param] = value
        else:
            context = {
                "value": value,
                "row": row,
                "request": request.arguments(),
                "region": region,
                "partition": partition_of(region),
            }
            for name, expression in self.param.items():
                bound = value if expression == "value" else query(expression, context)
                if bound is not None:
                    parameters[name] = bound
        return Request(self.service, self.operation, region, freeze(parameters))

    def means_absent(self, code: str, message: str) -> bool:
        """Whether an error of this call means that what it asks for is not in use."""
        return any(
            code == wanted and words.lower() in message.lower()
            for wanted, _, words in (entry.partition(": ") for entry in self.absent)
        )

    def reaches_back(self, page: Mapping[str, JSON], now: datetime) -> bool:
        """Whether nothing of the pages after this one is wanted."""
        if self.back is None:
            return False
        path, span = self.back
        last = query(path, page)
        return isinstance(last, datetime) and now - last > span

    def reduce(self, page: Mapping[str, JSON]) -> list[JSON]:
        """The rows of one page of a response, reduced to the kept fields."""
        if self.items:
            members = query(self.items, page)
            rows: list[JSON] = members if isinstance(members, list) else []
        else:
            rows = [{name: value for name, value in page.items() if name != "ResponseMetadata"}]
        if not self.keep:
            return rows
        if isinstance(self.keep, str):
            return [query(self.keep, row) for row in rows]
        return [{name: row[name] for name in self.keep if name in row} for row in rows]


def _region_named(place: Any) -> str:
    """The region that a region's name or an ARN names; empty if it names none."""
    text = str(place or "")
    return text.split(":", 5)[3] if text.count(":") >= 5 else text


def union(calls: Sequence[Call]) -> tuple[Call, ...]:
    """Every call and every call it fans out from, each once, parents before children."""
    seen: dict[Call, None] = {}
    for call in calls:
        for link in call.chain():
            seen.setdefault(link)
    return tuple(seen)
