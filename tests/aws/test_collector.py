"""One collection: what is asked, how often and how fast, and what becomes of everything that goes wrong.

The transport is scripted, time is a `Watch` that only waiting moves; nothing here sleeps or opens a connection.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passmuster.aws.collector import ATTEMPTS, DEFAULT_ATTEMPTS, Collection, Collector, Scope
from passmuster.aws.limits import BURST, DEFAULT_RATE, Bucket, Limits
from passmuster.aws.principal import Principal
from passmuster.aws.transport import CallError, CredentialsExpired
from passmuster.inventory.call import ONCE, RARELY, UNCHANGING, Call, Request, Where
from passmuster.inventory.snapshot import Reading, Snapshot, Unread, View, mark, seen
from passmuster.model.errors import WrongCredentials
from passmuster.model.verdict import Reason
from replay import ACCOUNT, NOW, REGION, Watch

CLUSTERS = Call("ecs", "ListClusters", items="clusterArns")
CLUSTER = Call(
    "ecs", "DescribeClusters", each=CLUSTERS, param="clusters", batch=1, items="clusters", keep=("clusterArn",)
)
QUEUES = Call("sqs", "ListQueues", items="QueueUrls")
QUEUE = Call("sqs", "GetQueueAttributes", each=QUEUES, param="QueueUrl", keep="{Attributes: Attributes}")
TRAILS = Call("cloudtrail", "DescribeTrails", items="trailList", keep=("Name",), absent=("NotInUse",))
COSTS = Call("ce", "GetTags", items="Tags", billed=0.01, freshness=timedelta(days=7))
COST = Call(
    "cloudwatch",
    "GetMetricData",
    each=QUEUES,
    over="@",
    param="LabelOptions",
    items="Results",
    billed=0.00001,
    freshness=timedelta(hours=24),
)
HOUR = timedelta(hours=1)

Answer = Callable[[Request], Any]


@dataclass
class Script:
    """A transport that answers by operation: a page, a list of pages and errors, an error, or a function giving one."""

    answers: Mapping[str, Any]
    lacking: tuple[str, ...] = ()
    asked: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def offers(self, service: str, partition: str) -> bool:
        return service not in self.lacking

    def pages(self, request: Request) -> Iterator[Mapping[str, Any]]:
        with self.lock:
            self.asked.append(request)
        answer = self.answers.get(request.operation, {})
        answer = answer(request) if callable(answer) else answer
        for page in answer if isinstance(answer, list) else [answer]:
            if isinstance(page, Exception):
                raise page
            yield page

    @property
    def counted(self) -> dict[str, int]:
        return dict(Counter(request.operation for request in self.asked))


class Tally:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self.dollars = 0.0

    def request(self, service: str, operation: str, outcome: str, seconds: float) -> None:
        self.requests.append((service, operation, outcome))

    def billed(self, dollars: float) -> None:
        self.dollars += dollars


def run(
    calls: Sequence[Call],
    transport: Script,
    previous: Snapshot | None = None,
    *,
    at: timedelta = timedelta(0),
    account: str = ACCOUNT,
    limits: Limits | None = None,
    watch: Watch | None = None,
    observer: Tally | None = None,
    regions: tuple[str, ...] = (REGION,),
    threads: int = 2,
    **scope: Any,
) -> Collection:
    watch = watch or Watch()
    collector = Collector(
        transport,
        limits or Limits(rate=1e6),
        observer=observer,
        threads=threads,
        clock=lambda: NOW + at,
        monotonic=watch,
        sleep=watch.sleep,
    )
    covered = Scope(account, "aws", regions, "us-east-1", **scope)
    return collector.collect(calls, covered, Principal(account, f"AKID{account}", "secret", None), previous)


def rows(snapshot: Snapshot, call: Call) -> list[Any]:
    """Every row, or Unread."""
    return [row.data for row in View(snapshot, (call,)).rows(call)]


def gap_of(snapshot: Snapshot, call: Call) -> Reason | None:
    found = {gap.reason for gap in snapshot.gaps() if gap.call == call}
    assert len(found) <= 1
    return next(iter(found), None)


def throttled() -> CallError:
    return CallError(Reason.THROTTLED, "ThrottlingException", transient=True)


def broken() -> CallError:
    return CallError(Reason.SERVICE_ERROR, "InternalError", transient=True)


def refused() -> CallError:
    return CallError(Reason.DENIED, "AccessDenied")


# pages ----------------------------------------------------------------------------------------------------------------


def test_a_list_that_comes_newest_first_is_read_no_further_back_than_it_is_wanted() -> None:
    runs = Call("synthetics", "GetCanaryRuns", items="Runs", keep=("At",), back=("Runs[-1].At", timedelta(hours=25)))
    pages = [{"Runs": [{"At": NOW - timedelta(hours=hour)}]} for hour in (1, 20, 26, 30, 90)]
    collection = run([runs], Script({"GetCanaryRuns": pages}))
    assert [row["At"] for row in rows(collection.snapshot, runs)] == [NOW - timedelta(hours=h) for h in (1, 20, 26)]
    assert collection.calls == 3
    everything = run([replace(runs, back=None)], Script({"GetCanaryRuns": pages}))
    assert everything.calls == 5


def test_the_rows_of_all_pages_are_one_answer() -> None:
    pages = [{"clusterArns": ["a"]}, {"clusterArns": []}, {"clusterArns": ["b", "c"]}]
    collection = run([CLUSTERS], Script({"ListClusters": pages}))
    assert rows(collection.snapshot, CLUSTERS) == ["a", "b", "c"]
    assert collection.calls == 3


def test_only_the_kept_fields_of_a_response_are_in_memory() -> None:
    canary = "canary-value-of-a-secret"
    page = {"trailList": [{"Name": "audit", "Password": canary}], "Other": canary}
    collection = run([TRAILS], Script({"DescribeTrails": page}))
    assert rows(collection.snapshot, TRAILS) == [{"Name": "audit"}]
    assert canary not in repr(collection)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(broken(), Reason.PARTIAL), (refused(), Reason.DENIED), (throttled(), Reason.THROTTLED)],
    ids=lambda value: str(value),
)
def test_nothing_is_kept_of_an_answer_whose_second_page_fails(error: CallError, reason: Reason) -> None:
    snapshot = run([CLUSTERS], Script({"ListClusters": [{"clusterArns": ["a"]}, error]})).snapshot
    assert gap_of(snapshot, CLUSTERS) is reason
    with pytest.raises(Unread):
        rows(snapshot, CLUSTERS)
    assert "'a'" not in repr(snapshot.readings)


def test_a_code_that_means_not_in_use_is_an_empty_answer_and_not_a_gap() -> None:
    snapshot = run([TRAILS], Script({"DescribeTrails": CallError(Reason.SERVICE_ERROR, "NotInUse")})).snapshot
    assert rows(snapshot, TRAILS) == []
    assert list(snapshot.gaps()) == []


def test_a_code_that_means_not_in_use_means_nothing_after_a_first_page() -> None:
    pages = [{"trailList": [{"Name": "audit"}]}, CallError(Reason.SERVICE_ERROR, "NotInUse")]
    assert gap_of(run([TRAILS], Script({"DescribeTrails": pages})).snapshot, TRAILS) is Reason.PARTIAL


def test_an_answer_without_any_page_is_empty() -> None:
    assert rows(run([CLUSTERS], Script({"ListClusters": []})).snapshot, CLUSTERS) == []


# fan-out --------------------------------------------------------------------------------------------------------------


def test_every_row_leads_to_one_request_in_the_region_it_was_read_in() -> None:
    transport = Script({"ListQueues": lambda r: {"QueueUrls": [f"{r.region}/1", f"{r.region}/2"]}})
    run([QUEUE], transport, regions=("eu-central-1", "eu-west-1"))
    asked = {(r.region, r.arguments()["QueueUrl"]) for r in transport.asked if r.operation == "GetQueueAttributes"}
    assert asked == {(region, f"{region}/{n}") for region in ("eu-central-1", "eu-west-1") for n in (1, 2)}


def test_a_row_may_name_the_region_its_request_goes_to_by_name_or_by_arn() -> None:
    buckets = Call("s3", "ListBuckets", items="Buckets", where=Where.GLOBAL)
    call = Call("s3", "GetBucketTagging", each=buckets, over="Name", param="Bucket", region_of="Place")
    places = [{"Name": "a", "Place": "eu-west-1"}, {"Name": "b", "Place": "arn:aws:s3:eu-west-3:1:b"}, {"Name": "c"}]
    transport = Script({"ListBuckets": {"Buckets": places}})
    run([call], transport)
    assert [(r.region, r.arguments()) for r in transport.asked[1:]] == [
        ("eu-west-1", {"Bucket": "a"}),
        ("eu-west-3", {"Bucket": "b"}),
        ("us-east-1", {"Bucket": "c"}),
    ]


def test_values_are_packed_into_batches() -> None:
    pages = Call("ecs", "ListServices", keep=("serviceArns",))
    batched = Call("ecs", "DescribeServices", each=pages, over="serviceArns", param="services", batch=10)
    transport = Script({"ListServices": {"serviceArns": [f"s{n}" for n in range(23)]}})
    run([batched], transport)
    sizes = [len(r.arguments()["services"]) for r in transport.asked if r.operation == "DescribeServices"]
    assert sizes == [10, 10, 3]


def test_two_rows_that_lead_to_the_same_request_send_it_once() -> None:
    transport = Script({"ListQueues": {"QueueUrls": ["q", "q"]}, "GetQueueAttributes": {"Attributes": {"x": "y"}}})
    snapshot = run([QUEUE], transport).snapshot
    assert transport.counted == {"ListQueues": 1, "GetQueueAttributes": 1}
    assert len(rows(snapshot, QUEUE)) == 1


def test_calls_that_want_the_same_answer_share_one_request_and_keep_their_own_fields() -> None:
    names = Call("cloudtrail", "DescribeTrails", items="trailList", keep=("TrailARN",))
    bare = Call("cloudtrail", "DescribeTrails", items="trailList[].KmsKeyId")
    status = Call("cloudtrail", "GetTrailStatus", each=names, over="TrailARN", param="Name")
    other = Call("cloudtrail", "GetTrailStatus", each=TRAILS, over="Name", param="Name")
    trail = {"Name": "n", "TrailARN": "n", "KmsKeyId": "k"}
    transport = Script({"DescribeTrails": {"trailList": [trail]}, "GetTrailStatus": {"IsLogging": True}})
    snapshot = run([TRAILS, names, bare, status, other], transport).snapshot
    assert transport.counted == {"DescribeTrails": 1, "GetTrailStatus": 1}
    assert rows(snapshot, TRAILS) == [{"Name": "n"}]
    assert rows(snapshot, names) == [{"TrailARN": "n"}]
    assert rows(snapshot, bare) == ["k"]
    assert rows(snapshot, status) == rows(snapshot, other) == [{"IsLogging": True}]


def test_nothing_fans_out_from_a_gap() -> None:
    transport = Script({"ListQueues": refused()})
    snapshot = run([QUEUE], transport).snapshot
    assert transport.counted == {"ListQueues": 1}
    with pytest.raises(Unread) as unread:
        rows(snapshot, QUEUE)
    assert [gap.call for gap in unread.value.gaps] == [QUEUES]


@settings(max_examples=40)
@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.booleans(), max_size=12))
def test_what_was_read_is_seen_and_what_was_not_is_a_gap(queues: Mapping[str, bool]) -> None:
    def attributes(request: Request) -> Any:
        name = request.arguments()["QueueUrl"]
        return {"Attributes": name} if queues[name] else refused()

    answers = {"ListQueues": {"QueueUrls": list(queues)}, "GetQueueAttributes": attributes}
    snapshot = run([QUEUE], Script(answers)).snapshot
    view, unread = View(snapshot, (QUEUE,)), sum(not read for read in queues.values())
    assert {row["Attributes"] for row in seen(view.rows(QUEUE))} == {name for name, read in queues.items() if read}
    assert len(list(snapshot.gaps())) == unread
    if unread:
        with pytest.raises(Unread) as caught:
            list(view.rows(QUEUE))
        assert len(caught.value.gaps) == unread
    for parent in view.rows(QUEUES):
        assert len(seen(view.rows(QUEUE, parent))) == queues[str(parent.data)]


# age ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "asked"), [(0, 0), (30, 0), (53, 0), (54, 1), (60, 1), (600, 1)])
def test_a_call_is_read_again_when_it_is_about_as_old_as_the_interval(minutes: int, asked: int) -> None:
    first = run([CLUSTERS], Script({"ListClusters": {"clusterArns": ["a"]}})).snapshot
    transport = Script({"ListClusters": {"clusterArns": ["a", "b"]}})
    second = run([CLUSTERS], transport, first, at=timedelta(minutes=minutes)).snapshot
    assert len(transport.asked) == asked
    assert rows(second, CLUSTERS) == (["a", "b"] if asked else ["a"])


def test_an_answer_that_is_taken_over_keeps_the_time_it_was_read_at() -> None:
    first = run([CLUSTERS], Script({"ListClusters": {"clusterArns": ["a"]}})).snapshot
    second = run([CLUSTERS], Script({}), first, at=timedelta(minutes=20)).snapshot
    (row,) = View(second, (CLUSTERS,)).rows(CLUSTERS)
    assert row.observed_at == NOW
    assert second.taken_at == NOW + timedelta(minutes=20)


def test_a_gap_is_always_asked_again() -> None:
    first = run([CLUSTERS], Script({"ListClusters": refused()})).snapshot
    transport = Script({"ListClusters": {"clusterArns": []}})
    assert list(run([CLUSTERS], transport, first, at=timedelta(minutes=1)).snapshot.gaps()) == []
    assert len(transport.asked) == 1


def test_fresh_means_everything_but_what_is_billed() -> None:
    answers = {"ListQueues": {"QueueUrls": ["q"]}}
    first = run([QUEUE, COSTS, COST], Script(answers)).snapshot
    transport = Script(answers)
    run([QUEUE, COSTS, COST], transport, first, at=timedelta(minutes=1), fresh=True)
    assert transport.counted == {"ListQueues": 1, "GetQueueAttributes": 1}


def test_a_hint_reads_the_calls_of_its_service_again_and_no_others() -> None:
    answers = {"ListQueues": {"QueueUrls": ["q"]}, "ListClusters": {"clusterArns": ["c"]}}
    first = run([QUEUE, CLUSTER], Script(answers)).snapshot
    transport = Script(answers)
    run([QUEUE, CLUSTER], transport, first, at=timedelta(minutes=1), hinted=frozenset({"sqs"}))
    assert transport.counted == {"ListQueues": 1, "GetQueueAttributes": 1}


def test_a_hint_that_names_a_call_leaves_the_rest_of_its_service() -> None:
    answers = {"ListQueues": {"QueueUrls": ["q"]}}
    first = run([QUEUE], Script(answers)).snapshot
    transport = Script({"ListQueues": {"QueueUrls": ["q", "r"]}})
    run([QUEUE], transport, first, at=timedelta(minutes=1), hinted=frozenset({"sqs:ListQueues"}))
    assert transport.counted == {"ListQueues": 1, "GetQueueAttributes": 1}, "of the new queue alone"


def test_a_row_is_asked_about_again_when_it_changed_and_a_new_one_at_once() -> None:
    group = Call("autoscaling", "DescribePolicies", each=TRAILS_OF_TWO_FIELDS, over="Name", param="Name")
    first = run([group], Script({"DescribeTrails": trails(a=1, b=1, c=1)})).snapshot
    transport = Script({"DescribeTrails": trails(a=1, b=2, d=1)})
    second = run([group], transport, first, at=timedelta(minutes=9), hinted=frozenset({"cloudtrail"})).snapshot
    asked = [r.arguments()["Name"] for r in transport.asked if r.operation == "DescribePolicies"]
    assert asked == ["b", "d"]
    kept = {request.arguments()["Name"] for request in second.readings[group]}
    assert kept == {"a", "b", "d"}, "what is gone is forgotten"


TRAILS_OF_TWO_FIELDS = Call("cloudtrail", "DescribeTrails", items="trailList", keep=("Name", "Version"))


def trails(**versions: int) -> dict[str, Any]:
    return {"trailList": [{"Name": name, "Version": version} for name, version in versions.items()]}


def test_rows_are_read_in_rotation_so_that_each_is_read_within_a_day() -> None:
    queues = [f"q{n}" for n in range(100)]
    snapshot = run([QUEUE], Script({"ListQueues": {"QueueUrls": queues}})).snapshot
    per_inspection = []
    for hour in range(1, 49):
        transport = Script({"ListQueues": {"QueueUrls": queues}})
        snapshot = run([QUEUE], transport, snapshot, at=hour * HOUR).snapshot
        per_inspection.append(transport.counted.get("GetQueueAttributes", 0))
        oldest = min(reading.observed_at for reading in snapshot.readings[QUEUE].values())
        assert NOW + hour * HOUR - oldest <= timedelta(hours=24)
        assert list(snapshot.gaps()) == []
    assert max(per_inspection) <= math.ceil(100 / 24)
    assert sum(per_inspection[24:]) >= 100


def test_the_maximum_age_of_a_row_is_the_call_s_own() -> None:
    hourly = Call("sqs", "GetQueueAttributes", each=QUEUES, param="QueueUrl", max_age=HOUR)
    answers = {"ListQueues": {"QueueUrls": ["a", "b", "c"]}}
    first = run([hourly], Script(answers)).snapshot
    transport = Script(answers)
    run([hourly], transport, first, at=HOUR)
    assert transport.counted["GetQueueAttributes"] == 3


def test_no_row_is_rotated_before_the_interval_is_over() -> None:
    answers = {"ListQueues": {"QueueUrls": ["a", "b", "c"]}}
    first = run([QUEUE], Script(answers)).snapshot
    transport = Script(answers)
    run([QUEUE], transport, first, at=timedelta(minutes=10))
    assert transport.asked == []


SLOW = Call("ecs", "ListClusters", items="clusterArns", freshness=RARELY)


@pytest.mark.parametrize(("hours", "asked"), [(1, 0), (5, 0), (6, 1), (30, 1)])
def test_what_changes_slowly_is_read_again_when_its_own_age_is_over(hours: int, asked: int) -> None:
    first = run([SLOW], Script({"ListClusters": {"clusterArns": ["a"]}})).snapshot
    transport = Script({"ListClusters": {"clusterArns": ["a", "b"]}})
    second = run([SLOW], transport, first, at=hours * HOUR).snapshot
    assert len(transport.asked) == asked
    (origin, *_) = {row.origin.observed_at for row in View(second, (SLOW,)).rows(SLOW)}
    assert origin == (NOW + hours * HOUR if asked else NOW), "evidence says when it was read"


def test_an_interval_that_is_longer_than_an_age_reads_again_every_time() -> None:
    first = run([SLOW], Script({"ListClusters": {"clusterArns": ["a"]}})).snapshot
    transport = Script({"ListClusters": {"clusterArns": ["a"]}})
    run([SLOW], transport, first, at=24 * HOUR, interval=24 * HOUR)
    assert len(transport.asked) == 1


@pytest.mark.parametrize(
    "anew", [{"fresh": True}, {"hinted": frozenset({"ecs"})}, {"hinted": frozenset({"ecs:ListClusters"})}]
)
def test_who_asks_gets_what_changes_slowly_read_at_once(anew: dict[str, Any]) -> None:
    first = run([SLOW], Script({"ListClusters": {"clusterArns": ["a"]}})).snapshot
    transport = Script({"ListClusters": {"clusterArns": ["b"]}})
    second = run([SLOW], transport, first, at=timedelta(minutes=1), **anew).snapshot
    assert rows(second, SLOW) == ["b"]


def test_the_rows_of_what_changes_slowly_are_rotated_but_not_before_their_age() -> None:
    group = replace(QUEUE, freshness=RARELY)
    snapshot = run([group], Script({"ListQueues": {"QueueUrls": ["q"]}})).snapshot
    asked = []
    for hour in range(1, 13):
        transport = Script({"ListQueues": {"QueueUrls": ["q"]}})
        snapshot = run([group], transport, snapshot, at=hour * HOUR).snapshot
        asked.append(transport.counted.get("GetQueueAttributes", 0))
    assert asked == [0, 0, 0, 0, 0, 1] * 2


@pytest.mark.parametrize(("freshness", "asked"), [(RARELY, 1), (UNCHANGING, 0)])
def test_only_what_never_changes_is_not_asked_again_for_a_row_that_changed(freshness: timedelta, asked: int) -> None:
    group = Call(
        "rds", "ListTagsForResource", each=TRAILS_OF_TWO_FIELDS, over="Name", param="ResourceName", freshness=freshness
    )
    first = run([group], Script({"DescribeTrails": trails(a=1)})).snapshot
    transport = Script({"DescribeTrails": trails(a=2)})
    run([group], transport, first, at=HOUR)
    assert transport.counted.get("ListTagsForResource", 0) == asked


# gates ----------------------------------------------------------------------------------------------------------------

GATED = Call("cloudwatch", "DescribeAlarms", each=QUEUES, param=ONCE, items="MetricAlarms")


def both(queues: Any, alarms: Any) -> dict[str, Any]:
    return {"ListQueues": queues, "DescribeAlarms": alarms}


def test_a_gated_call_is_not_made_where_there_is_nothing_that_it_is_about() -> None:
    transport = Script(both({"QueueUrls": []}, {"MetricAlarms": ["a"]}))
    snapshot = run([GATED], transport).snapshot
    assert transport.counted == {"ListQueues": 1}
    assert rows(snapshot, GATED) == []
    assert list(snapshot.gaps()) == []


def test_a_gated_call_is_made_once_whatever_the_number_of_rows() -> None:
    transport = Script(both({"QueueUrls": ["p", "q", "r"]}, {"MetricAlarms": ["a", "b"]}))
    snapshot = run([GATED], transport).snapshot
    assert transport.counted == {"ListQueues": 1, "DescribeAlarms": 1}
    assert rows(snapshot, GATED) == ["a", "b"], "each row once, and not once for each queue"
    assert transport.asked[-1].arguments() == {}


def test_a_gate_is_judged_region_by_region() -> None:
    def queues(request: Request) -> Any:
        return {"QueueUrls": ["q"] if request.region == "eu-west-1" else []}

    transport = Script(both(queues, {"MetricAlarms": ["a"]}))
    run([GATED], transport, regions=(REGION, "eu-west-1"))
    assert [r.region for r in transport.asked if r.operation == "DescribeAlarms"] == ["eu-west-1"]


@pytest.mark.parametrize(("version", "asked"), [(1, 0), (2, 1)])
def test_only_the_rows_that_a_gate_is_about_open_it(version: int, asked: int) -> None:
    gated = Call("cloudwatch", "DescribeAlarms", each=TRAILS_OF_TWO_FIELDS, over="Version == `2`", param=ONCE)
    transport = Script({"DescribeTrails": trails(a=1, b=version)})
    run([gated], transport)
    assert transport.counted.get("DescribeAlarms", 0) == asked


def test_behind_a_gate_that_may_not_be_read_is_a_gap_and_no_request() -> None:
    transport = Script(both(refused(), {"MetricAlarms": []}))
    snapshot = run([GATED], transport).snapshot
    assert transport.counted == {"ListQueues": 1}
    with pytest.raises(Unread, match="sqs:ListQueues AccessDenied"):
        rows(snapshot, GATED)


def test_a_gate_unread_in_one_region_leaves_what_was_read_in_another() -> None:
    def queues(request: Request) -> Any:
        return refused() if request.region == REGION else {"QueueUrls": ["q"]}

    snapshot = run([GATED], Script(both(queues, {"MetricAlarms": ["a"]})), regions=(REGION, "eu-west-1")).snapshot
    assert [row.data for row in seen(View(snapshot, (GATED,)).rows(GATED))] == ["a"]
    with pytest.raises(Unread):
        rows(snapshot, GATED)
    assert [row.data for row in View(snapshot, (GATED,), "eu-west-1").rows(GATED)] == ["a"]


def test_one_row_opens_a_gate_whatever_else_of_it_could_not_be_read() -> None:
    gated = replace(GATED, each=QUEUE)

    def attributes(request: Request) -> Any:
        return refused() if request.arguments()["QueueUrl"] == "closed" else {"Attributes": {"a": "b"}}

    answers = {
        "ListQueues": {"QueueUrls": ["closed", "open"]},
        "GetQueueAttributes": attributes,
        "DescribeAlarms": {"MetricAlarms": ["a"]},
    }
    snapshot = run([gated], Script(answers)).snapshot
    assert rows(snapshot, gated) == ["a"], "the whole list of the region was read"
    assert gap_of(snapshot, QUEUE) is Reason.DENIED


@pytest.mark.parametrize(("minutes", "asked"), [(10, 0), (60, 1)])
def test_a_gated_call_is_read_again_after_the_interval(minutes: int, asked: int) -> None:
    answers = both({"QueueUrls": ["p", "q"]}, {"MetricAlarms": ["a"]})
    first = run([GATED], Script(answers)).snapshot
    transport = Script(answers)
    assert rows(run([GATED], transport, first, at=timedelta(minutes=minutes)).snapshot, GATED) == ["a"]
    assert transport.counted.get("DescribeAlarms", 0) == asked


@pytest.mark.parametrize(
    ("after", "asked"),
    [(trails(a=1, b=1), 0), (trails(a=7, b=7), 0), (trails(a=1), 0), (trails(a=1, b=1, c=1), 1), (trails(), 0)],
    ids=["nothing changed", "what it is not about changed", "one is gone", "one is new", "none is left"],
)
def test_something_new_behind_a_gate_makes_even_a_slow_answer_old(after: dict[str, Any], asked: int) -> None:
    gated = replace(GATED, each=TRAILS_OF_TWO_FIELDS, over="Name", freshness=RARELY)
    first = run(
        [gated], Script({"DescribeTrails": trails(a=1, b=1), "DescribeAlarms": {"MetricAlarms": ["x"]}})
    ).snapshot
    transport = Script({"DescribeTrails": after, "DescribeAlarms": {"MetricAlarms": ["x", "y"]}})
    second = run([gated], transport, first, at=HOUR).snapshot
    assert transport.counted.get("DescribeAlarms", 0) == asked
    assert rows(second, gated) == ([] if not after["trailList"] else ["x", "y"] if asked else ["x"])


def test_what_fans_out_from_a_gated_call_belongs_to_its_rows() -> None:
    child = Call("sns", "ListSubscriptionsByTopic", each=GATED, param="TopicArn", items="Subscriptions")
    answers = {**both({"QueueUrls": ["p", "q"]}, {"MetricAlarms": ["a", "b"]}), "ListSubscriptionsByTopic": {}}
    transport = Script(answers)
    run([child], transport)
    assert transport.counted == {"ListQueues": 1, "DescribeAlarms": 1, "ListSubscriptionsByTopic": 2}


@pytest.mark.parametrize("wrong", [{"batch": 10}, {"region_of": "@"}])
def test_a_gated_call_cannot_be_more_than_one_request_where_the_rows_are(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="gated"):
        replace(GATED, **wrong)


# bills ----------------------------------------------------------------------------------------------------------------


def test_a_billed_call_is_made_once_in_its_freshness() -> None:
    snapshot, asked = run([COSTS], Script({"GetTags": {"Tags": ["a"]}})).snapshot, []
    for day in range(1, 15):
        transport = Script({"GetTags": {"Tags": ["a"]}})
        snapshot = run([COSTS], transport, snapshot, at=timedelta(days=day)).snapshot
        asked.append(len(transport.asked))
    assert asked == [0, 0, 0, 0, 0, 0, 1] * 2


def test_a_billed_call_is_not_repeated_after_a_restart() -> None:
    before = run([COSTS], Script({"GetTags": {"Tags": ["a"]}})).snapshot
    request = COSTS.root_request("us-east-1")
    restarted = Snapshot(ACCOUNT, "aws", (REGION,), "us-east-1", NOW)
    restarted.carried[mark(COSTS, request)] = Reading(NOW, before.readings[COSTS][request].rows)
    transport = Script({})
    after = run([COSTS], transport, restarted, at=timedelta(days=3)).snapshot
    assert transport.asked == []
    assert rows(after, COSTS) == ["a"]
    late = Script({"GetTags": {"Tags": []}})
    run([COSTS], late, restarted, at=timedelta(days=7))
    assert len(late.asked) == 1


def test_a_billed_answer_from_before_a_change_is_paid_for_again_and_once() -> None:
    other = Call("ce", "GetCostCategories", items="CostCategoryNames", billed=0.01, freshness=timedelta(days=7))
    answers = {"GetTags": {"Tags": ["a"]}, "GetCostCategories": {"CostCategoryNames": ["b"]}}
    snapshot = run([COSTS, other], Script(answers)).snapshot
    changed = {COSTS.name: NOW + HOUR}
    asked = []
    for hours in (1, 2, 3, 30):
        transport = Script(answers)
        snapshot = run([COSTS, other], transport, snapshot, at=hours * HOUR, outdated=changed).snapshot
        asked.append(transport.counted)
    assert asked == [{"GetTags": 1}, {}, {}, {}]


def test_a_hint_does_not_pay_for_what_is_billed() -> None:
    snapshot = run([COSTS], Script({"GetTags": {"Tags": ["a"]}})).snapshot
    transport = Script({})
    run([COSTS], transport, snapshot, at=HOUR, hinted=frozenset({"ce"}))
    assert transport.asked == []


def test_only_billed_answers_are_carried_over_a_restart() -> None:
    restarted = Snapshot(ACCOUNT, "aws", (REGION,), "us-east-1", NOW)
    restarted.carried[mark(CLUSTERS, CLUSTERS.root_request(REGION))] = Reading(NOW, ("stale",))
    transport = Script({"ListClusters": {"clusterArns": []}})
    assert rows(run([CLUSTERS], transport, restarted).snapshot, CLUSTERS) == []
    assert len(transport.asked) == 1


def test_what_is_carried_is_void_when_other_fields_are_kept() -> None:
    other = Call("ce", "GetTags", items="Tags", keep="{k: @}", billed=0.01, freshness=timedelta(days=7))
    assert mark(COSTS, COSTS.root_request("us-east-1")) != mark(other, other.root_request("us-east-1"))


def test_a_billed_row_is_read_for_its_age_whatever_became_of_its_parent() -> None:
    call = Call("cloudwatch", "GetMetricData", each=TRAILS_OF_TWO_FIELDS, over="Name", param="LabelOptions", billed=0.1)
    first = run([call], Script({"DescribeTrails": trails(a=1, b=1)})).snapshot
    transport = Script({"DescribeTrails": trails(a=2, b=2)})
    run([call], transport, first, at=5 * HOUR)
    assert transport.counted == {"DescribeTrails": 1}


def test_the_bill_is_counted_once_for_every_request_sent() -> None:
    tally = Tally()
    collection = run(
        [COSTS, COST], Script({"ListQueues": {"QueueUrls": ["a", "b", "c"]}, "GetTags": [{}, {}]}), observer=tally
    )
    assert collection.billed_calls == 5
    assert collection.billed_cost == pytest.approx(tally.dollars) == pytest.approx(2 * 0.01 + 3 * 0.00001)
    assert collection.calls == 6


# rates ----------------------------------------------------------------------------------------------------------------


def many(count: int) -> dict[str, Any]:
    return {"ListQueues": {"QueueUrls": [f"q{n}" for n in range(count)]}}


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    watch = Watch()
    run([QUEUE], Script(many(39)), limits=Limits(), watch=watch)
    assert watch.now == pytest.approx((40 - BURST) / DEFAULT_RATE, abs=0.5)


def test_an_account_that_allows_more_is_asked_faster() -> None:
    watch = Watch()
    run([QUEUE], Script(many(99)), limits=Limits(rate=50), watch=watch)
    assert watch.now <= 0.1


def test_each_service_region_and_account_has_a_bucket_of_its_own() -> None:
    limits = Limits()
    buckets = [
        limits.bucket(account, region, service, 0.0)
        for account in ("1" * 12, "2" * 12)
        for region in ("eu-west-1", "eu-west-2")
        for service in ("ec2", "rds")
    ]
    assert len({id(bucket) for bucket in buckets}) == 8
    assert limits.bucket("1" * 12, "eu-west-1", "ec2", 9.0) is buckets[0]


def test_a_service_that_publishes_less_gets_less() -> None:
    watch = Watch()
    certificates = Call("acm", "ListCertificates", items="Arns")
    certificate = Call("acm", "DescribeCertificate", each=certificates, param="CertificateArn")
    run(
        [certificate], Script({"ListCertificates": {"Arns": [str(n) for n in range(14)]}}), limits=Limits(), watch=watch
    )
    assert watch.now == pytest.approx((15 - 5) / 0.5, abs=1)


def test_a_slow_service_does_not_hold_up_another() -> None:
    watch, order = Watch(), []
    certificates = Call("acm", "ListCertificates", items="Arns")
    certificate = Call("acm", "DescribeCertificate", each=certificates, param="CertificateArn")
    answers = {
        "ListCertificates": {"Arns": [str(n) for n in range(20)]},
        "DescribeCertificate": lambda r: order.append(("acm", watch.now)) or {},
        "GetQueueAttributes": lambda r: order.append(("sqs", watch.now)) or {},
        **many(8),
    }
    run([certificate, QUEUE], Script(answers), limits=Limits(), watch=watch)
    assert max(at for service, at in order if service == "sqs") < 0.1
    assert max(at for service, at in order if service == "acm") > 20


def test_a_long_backlog_of_one_service_costs_no_more_looking_than_a_short_one() -> None:
    class Counting(Limits):
        looks = 0

        def bucket(self, *place: Any) -> Bucket:
            self.looks += 1
            return super().bucket(*place)

    looks = []
    for count in (200, 5000):
        limits = Counting()
        transport = Script(many(count))
        run([QUEUE], transport, limits=limits, deadline=30.0)
        looks.append(limits.looks / len(transport.asked))
    assert looks[1] < 2 * looks[0]
    assert looks[1] < 20


def test_throttling_halves_the_rate_and_success_brings_it_back_by_small_steps() -> None:
    bucket = Bucket(rate=5.0, ceiling=5.0, burst=10.0, tokens=10.0, updated=0.0)
    bucket.throttled(0.0)
    assert (bucket.rate, bucket.tokens) == (2.5, 0.0)
    for _ in range(10):
        bucket.throttled(0.0)
    assert bucket.rate == 0.2, "never slower than one in five seconds"
    steps = 0
    while bucket.rate < bucket.ceiling:
        bucket.succeeded()
        steps += 1
    assert steps == 20
    bucket.succeeded()
    assert bucket.rate == bucket.ceiling


@given(
    st.lists(st.tuples(st.sampled_from(["take", "ok", "throttled"]), st.floats(0, 10)), max_size=60),
    st.floats(0.5, 50),
)
def test_a_bucket_never_allows_more_than_burst_and_rate(events: list[tuple[str, float]], ceiling: float) -> None:
    bucket, now, sent = Bucket(ceiling, ceiling, 10.0, 10.0, 0.0), 0.0, 0
    for kind, later in events:
        now += later
        if kind == "take" and bucket.ready_in(now) == 0:
            bucket.take(now)
            sent += 1
        elif kind == "ok":
            bucket.succeeded()
        elif kind == "throttled":
            bucket.throttled(now)
        assert 0.2 <= bucket.rate <= max(ceiling, 0.2)
        assert bucket.tokens <= 10.0
        assert sent <= 10.0 + ceiling * now + 1e-6


def test_a_throttled_account_slows_its_own_requests_and_recovers() -> None:
    watch, once = Watch(), []

    def attributes(request: Request) -> Any:
        if not once:
            once.append(request)
            return throttled()
        return {}

    limits = Limits()
    snapshot = run([QUEUE], Script({**many(20), "GetQueueAttributes": attributes}), limits=limits, watch=watch).snapshot
    assert list(snapshot.gaps()) == []
    assert watch.now > 20 / DEFAULT_RATE, "the burst was lost and half of the rate"
    assert limits.bucket(ACCOUNT, REGION, "sqs", watch.now).rate == DEFAULT_RATE


# retries --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "attempts", "reason"),
    [
        (throttled, ATTEMPTS[Reason.THROTTLED], Reason.THROTTLED),
        (broken, DEFAULT_ATTEMPTS, Reason.SERVICE_ERROR),
        (refused, 1, Reason.DENIED),
        (lambda: CallError(Reason.REGION_UNREADABLE, "OptInRequired"), 1, Reason.REGION_UNREADABLE),
        (lambda: CallError(Reason.PARTIAL, "TokenLoop"), 1, Reason.PARTIAL),
    ],
    ids=["throttled", "broken", "denied", "closed region", "token loop"],
)
def test_only_what_may_pass_is_tried_again_and_not_for_ever(
    error: Callable[[], CallError], attempts: int, reason: Reason
) -> None:
    transport, watch = Script({"ListClusters": lambda r: error()}), Watch()
    snapshot = run([CLUSTERS], transport, watch=watch).snapshot
    assert len(transport.asked) == attempts
    assert gap_of(snapshot, CLUSTERS) is reason
    assert watch.now <= sum(0.25 * 2**n for n in range(1, attempts)) + 1, "the waiting is bounded"


def test_a_request_that_succeeds_at_the_second_attempt_leaves_no_gap() -> None:
    answers = iter([broken(), {"clusterArns": ["a"]}])
    collection = run([CLUSTERS], Script({"ListClusters": lambda r: next(answers)}))
    assert rows(collection.snapshot, CLUSTERS) == ["a"]
    assert collection.calls == 2


def test_two_accounts_do_not_retry_in_step() -> None:
    waits = []
    for account in ("111111111111", "222222222222"):
        watch = Watch()
        run([CLUSTERS], Script({"ListClusters": lambda r: broken()}), account=account, watch=watch)
        waits.append(watch.now)
    assert waits[0] != waits[1]


def test_attempts_are_counted_by_outcome() -> None:
    tally, answers = Tally(), iter([throttled(), broken(), {"clusterArns": []}])
    run([CLUSTERS], Script({"ListClusters": lambda r: next(answers)}), observer=tally)
    assert [outcome for _, _, outcome in tally.requests] == ["throttled", "serviceerror", "ok"]


def test_a_request_stopped_by_the_guard_ends_the_collection_with_its_own_error() -> None:
    with pytest.raises(WrongCredentials):
        run([CLUSTERS], Script({"ListClusters": WrongCredentials("stopped")}))


# deadline -------------------------------------------------------------------------------------------------------------


def test_what_is_not_read_before_the_deadline_is_stale_and_read_next_time() -> None:
    first = run([QUEUE], Script(many(100)), limits=Limits(), deadline=10.0)
    stale = [gap for gap in first.snapshot.gaps() if gap.call == QUEUE]
    assert {gap.reason for gap in stale} == {Reason.STALE}
    assert 30 <= len(stale) <= 60
    transport = Script(many(100))
    second = run([QUEUE], transport, first.snapshot, limits=Limits(), deadline=60.0, at=timedelta(minutes=5))
    assert list(second.snapshot.gaps()) == []
    assert transport.counted == {"GetQueueAttributes": len(stale)}


def test_a_row_that_is_young_enough_counts_when_the_deadline_passes_before_its_turn() -> None:
    first = run([QUEUE], Script(many(100))).snapshot
    second = run([QUEUE], Script(many(100)), first, at=5 * HOUR, deadline=-1.0).snapshot
    assert gap_of(second, QUEUES) is Reason.STALE, "the list itself must be fresh"
    third = run([QUEUE], Script(many(100)), first, at=5 * HOUR, limits=one_request(), deadline=0.15).snapshot
    assert list(third.gaps()) == []
    assert {reading.observed_at for reading in third.readings[QUEUE].values()} == {NOW}
    too_old = run([QUEUE], Script(many(100)), first, at=30 * HOUR, limits=one_request(), deadline=0.15).snapshot
    assert gap_of(too_old, QUEUE) is Reason.STALE


def one_request() -> Limits:
    """Limits that let one request to the queues' service through and then make wait."""
    limits = Limits()
    limits.bucket(ACCOUNT, REGION, "sqs", 0.0).tokens = 1.0
    return limits


def test_a_request_that_hangs_is_not_waited_for_past_the_deadline() -> None:
    release = threading.Event()

    def hang(request: Request) -> Any:
        release.wait(30)
        return {}

    transport = Script({"ListClusters": hang})
    try:
        collector = Collector(transport, Limits(rate=1e6), threads=2, clock=lambda: NOW)
        scope = Scope(ACCOUNT, "aws", (REGION,), "us-east-1", deadline=0.3)
        snapshot = collector.collect([CLUSTERS], scope, Principal(ACCOUNT, "AKID", "s", None)).snapshot
        assert not release.is_set()
        assert gap_of(snapshot, CLUSTERS) is Reason.STALE
    finally:
        release.set()


def test_an_answer_with_endless_pages_ends_at_the_deadline() -> None:
    watch = Watch()

    class Endless(Script):
        def pages(self, request: Request) -> Iterator[Mapping[str, Any]]:
            for n in range(10_000):
                watch.now += 1.0
                yield {"clusterArns": [str(n)]}
            raise AssertionError("nobody stopped")

    snapshot = run([CLUSTERS], Endless({}), watch=watch, deadline=20.0).snapshot
    assert gap_of(snapshot, CLUSTERS) is Reason.STALE
    assert watch.now < 30


# regions and partitions -----------------------------------------------------------------------------------------------


def test_a_region_that_is_closed_is_unreadable_and_the_others_are_read() -> None:
    def clusters(request: Request) -> Any:
        closed = request.region == "me-south-1"
        return CallError(Reason.REGION_UNREADABLE, "UnrecognizedClientException") if closed else {"clusterArns": ["a"]}

    transport = Script({"ListClusters": clusters})
    snapshot = run([CLUSTERS], transport, regions=("eu-central-1", "me-south-1")).snapshot
    assert [gap.request.region for gap in snapshot.gaps()] == ["me-south-1"]
    assert gap_of(snapshot, CLUSTERS) is Reason.REGION_UNREADABLE
    assert len(transport.asked) == 2, "no retries"


def test_a_service_that_the_partition_lacks_is_not_asked() -> None:
    transport = Script({}, lacking=("sqs",))
    snapshot = run([QUEUE], transport).snapshot
    assert transport.asked == []
    assert rows(snapshot, QUEUES) == []
    assert View(snapshot, (QUEUE,)).absent_everywhere(QUEUE, Reason.NOT_IN_PARTITION)


def test_a_service_that_the_partition_lacks_is_not_asked_about_the_rows_of_another() -> None:
    transport = Script(many(3), lacking=("cloudwatch",))
    snapshot = run([COST], transport).snapshot
    assert transport.counted == {"ListQueues": 1}
    assert rows(snapshot, COST) == []


def test_a_service_that_a_region_lacks_is_absent_there_and_read_elsewhere() -> None:
    def clusters(request: Request) -> Any:
        return CallError(Reason.NOT_IN_PARTITION, "NotOffered") if request.region == "ap-x" else {"clusterArns": ["a"]}

    transport = Script({"ListClusters": clusters})
    snapshot = run([CLUSTERS], transport, regions=("eu-central-1", "ap-x")).snapshot
    assert list(snapshot.gaps()) == []
    assert rows(snapshot, CLUSTERS) == ["a"]
    assert View(snapshot, (CLUSTERS,), "ap-x").absent_everywhere(CLUSTERS, Reason.NOT_IN_PARTITION)
    assert not View(snapshot, (CLUSTERS,), "eu-central-1").absent_everywhere(CLUSTERS, Reason.NOT_IN_PARTITION)
    assert not View(snapshot, (CLUSTERS,)).absent_everywhere(CLUSTERS, Reason.NOT_IN_PARTITION)
    assert len(transport.asked) == 2


def test_a_global_service_is_asked_once_in_the_control_region() -> None:
    roles = Call("iam", "ListRoles", items="Roles")
    transport = Script({})
    run([roles, CLUSTERS], transport, regions=("eu-central-1", "eu-west-1"))
    asked = Counter((r.operation, r.region) for r in transport.asked)
    assert asked == {
        ("ListRoles", "us-east-1"): 1,
        ("ListClusters", "eu-central-1"): 1,
        ("ListClusters", "eu-west-1"): 1,
    }


# credentials and bulkheads --------------------------------------------------------------------------------------------


def test_expired_credentials_end_the_collection_and_are_told() -> None:
    transport = Script({**many(50), "GetQueueAttributes": lambda r: CredentialsExpired("ExpiredToken")})
    collection = run([QUEUE], transport, threads=1)
    assert collection.expired
    assert transport.counted["GetQueueAttributes"] == 1, "nothing more is sent"
    with pytest.raises(Unread):
        rows(collection.snapshot, QUEUE)


def test_an_account_that_hangs_delays_no_other() -> None:
    """The hanging account is released only after the other one is done: in any other order this would never end."""
    release, limits = threading.Event(), Limits(rate=1e6)
    hanging = Script({"ListClusters": lambda r: (release.wait(60) and {}) or {}})
    finished: list[Collection] = []
    slow = threading.Thread(
        target=lambda: finished.append(run([CLUSTERS], hanging, account="111111111111", limits=limits))
    )
    slow.start()
    try:
        other = run([QUEUE], Script(many(50)), account="222222222222", limits=limits)
        assert other.calls == 51
        assert finished == []
    finally:
        release.set()
        slow.join()
    assert finished[0].calls == 1


def test_an_account_that_is_throttled_delays_no_other() -> None:
    limits, alone, beside = Limits(), Watch(), Watch()
    run([QUEUE], Script(many(40)), account="333333333333", limits=Limits(), watch=alone)
    run([QUEUE], Script({"ListQueues": lambda r: throttled()}), account="111111111111", limits=limits)
    run([QUEUE], Script(many(40)), account="222222222222", limits=limits, watch=beside)
    assert beside.now == pytest.approx(alone.now)
    assert limits.bucket("111111111111", REGION, "sqs", 0.0).rate < DEFAULT_RATE / 8


def test_no_more_requests_are_under_way_than_there_are_threads() -> None:
    lock, under_way, most = threading.Lock(), [0], [0]
    gate = threading.Barrier(4, timeout=20)

    def attributes(request: Request) -> Any:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        gate.wait()
        with lock:
            under_way[0] -= 1
        return {}

    run([QUEUE], Script({**many(16), "GetQueueAttributes": attributes}), threads=4)
    assert most[0] == 4


def test_progress_is_told_as_answered_and_known() -> None:
    told: list[tuple[int, int]] = []
    watch = Watch()
    collector = Collector(Script(many(3)), Limits(rate=1e6), clock=lambda: NOW, monotonic=watch, sleep=watch.sleep)
    scope = Scope(ACCOUNT, "aws", (REGION,), "us-east-1")
    collector.collect([QUEUE], scope, Principal(ACCOUNT, "AKID", "s", None), None, lambda *n: told.append(n))
    assert told[0] == (1, 1)
    assert told[-1] == (4, 4)
    assert [done for done, _ in told] == [1, 2, 3, 4]
