"""The work queue: each key at most once at a time, when it is due, in order, and again after a failure."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passmuster.engine.queue import FIRST_RETRY, LAST_RETRY, WorkQueue


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock=clock)


def _take(queue: WorkQueue[str]) -> str | None:
    return queue.take(timeout=0)


def test_a_key_added_many_times_is_handed_out_once(queue: WorkQueue[str]) -> None:
    for _ in range(5):
        queue.add("a")
    assert queue.depth == 1
    assert _take(queue) == "a"
    assert _take(queue) is None


def test_a_key_is_handed_out_when_it_is_due_and_not_before(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", 10)
    assert (_take(queue), queue.depth) == (None, 0)
    clock.now += 9.9
    assert _take(queue) is None
    clock.now += 0.1
    assert _take(queue) == "a"


def test_of_two_requests_the_earlier_counts(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("later first", 10)
    queue.add("later first", 1)
    queue.add("sooner first", 1)
    queue.add("sooner first", 10)
    clock.now += 1
    assert {_take(queue), _take(queue)} == {"later first", "sooner first"}
    clock.now += 100
    assert _take(queue) is None


def test_a_negative_delay_is_now(queue: WorkQueue[str]) -> None:
    queue.add("a", -5)
    assert _take(queue) == "a"


def test_keys_leave_in_the_order_in_which_they_are_due(queue: WorkQueue[str], clock: Clock) -> None:
    for key, delay in (("c", 3), ("a", 1), ("b", 2), ("same time, second", 3)):
        queue.add(key, delay)
    clock.now += 5
    assert [_take(queue) for _ in range(4)] == ["a", "b", "c", "same time, second"]


def test_a_key_that_always_returns_does_not_starve_the_others(queue: WorkQueue[str]) -> None:
    for key in ("busy", "b", "c"):
        queue.add(key)
    seen = []
    for _ in range(6):
        key = _take(queue)
        assert key is not None
        seen.append(key)
        queue.add(key)
        queue.done(key)
    assert seen == ["busy", "b", "c", "busy", "b", "c"]


def test_a_key_added_while_it_is_worked_on_runs_once_more_afterwards(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert _take(queue) == "a"
    queue.add("a")
    queue.add("a")
    assert _take(queue) is None
    queue.done("a")
    assert _take(queue) == "a"
    queue.done("a")
    assert _take(queue) is None


def test_an_event_during_work_is_not_delayed_by_the_failure_of_that_work(queue: WorkQueue[str]) -> None:
    queue.add("a")
    _take(queue)
    queue.add("a")
    assert queue.failed("a") > 0
    assert _take(queue) == "a"


def test_a_later_look_asked_for_during_work_is_not_lost(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    _take(queue)
    queue.add("a", 30)
    queue.done("a")
    assert _take(queue) is None
    clock.now += 30
    assert _take(queue) == "a"


def test_retries_grow_with_jitter_up_to_a_ceiling(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    for failures in range(1, 14):
        assert _take(queue) == "a"
        delay = queue.failed("a")
        ceiling = min(LAST_RETRY, FIRST_RETRY * 2 ** (failures - 1))
        assert ceiling / 2 <= delay <= ceiling
        assert _take(queue) is None
        clock.now += delay
    assert queue.statistics.retries == 13


def test_a_key_that_fails_for_weeks_is_still_retried(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    for _ in range(1100):
        assert _take(queue) == "a"
        clock.now += queue.failed("a")
    assert _take(queue) == "a"


def test_success_forgets_the_failures(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    for _ in range(5):
        _take(queue)
        clock.now += queue.failed("a")
    _take(queue)
    queue.done("a")
    queue.add("a")
    _take(queue)
    assert queue.failed("a") <= FIRST_RETRY


def test_what_is_forgotten_is_not_handed_out(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("waiting", 5)
    queue.add("active")
    assert _take(queue) == "active"
    queue.add("active")
    queue.forget("waiting")
    queue.forget("active")
    queue.done("active")
    clock.now += 10
    assert (_take(queue), queue.depth) == (None, 0)


def test_a_forgotten_key_may_come_back(queue: WorkQueue[str]) -> None:
    queue.add("a", 5)
    queue.forget("a")
    queue.add("a")
    assert _take(queue) == "a"


def test_depth_and_oldest_due_speak_of_what_is_overdue_only(queue: WorkQueue[str], clock: Clock) -> None:
    assert queue.oldest_due == 0
    queue.add("later", 50)
    assert (queue.depth, queue.oldest_due) == (0, 0)
    queue.add("now")
    clock.now += 7
    assert (queue.depth, queue.oldest_due) == (1, 7)


def test_statistics_count_work_and_its_seconds(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    _take(queue)
    clock.now += 3
    queue.done("a")
    assert (queue.statistics.done, queue.statistics.seconds) == (1, 3)


def test_closing_wakes_every_worker_with_nothing() -> None:
    queue: WorkQueue[str] = WorkQueue()
    answers: list[str | None] = []
    workers = [threading.Thread(target=lambda: answers.append(queue.take())) for _ in range(4)]
    for worker in workers:
        worker.start()
    queue.close()
    for worker in workers:
        worker.join(timeout=10)
    assert answers == [None] * 4
    queue.add("late")
    assert queue.take() is None


def test_a_worker_that_waits_for_a_later_key_takes_one_that_comes_earlier() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("in an hour", 3600)
    taken: list[str | None] = []
    worker = threading.Thread(target=lambda: taken.append(queue.take(timeout=30)))
    worker.start()
    time.sleep(0.05)
    queue.add("now")
    worker.join(timeout=10)
    assert taken == ["now"]


def test_many_threads_never_work_on_one_key_at_the_same_time_and_lose_nothing() -> None:
    queue: WorkQueue[int] = WorkQueue()
    active: Counter[int] = Counter()
    served: Counter[int] = Counter()
    together: list[int] = []
    guard = threading.Lock()

    def work() -> None:
        while (key := queue.take()) is not None:
            with guard:
                active[key] += 1
                if active[key] > 1:
                    together.append(key)
            time.sleep(0.0002)
            with guard:
                active[key] -= 1
                served[key] += 1
            queue.done(key)

    def feed(seed: int) -> None:
        for step in range(200):
            queue.add((seed * 7 + step) % 20)

    workers = [threading.Thread(target=work) for _ in range(8)]
    feeders = [threading.Thread(target=feed, args=(seed,)) for seed in range(4)]
    for thread in (*workers, *feeders):
        thread.start()
    for feeder in feeders:
        feeder.join(timeout=30)
    before = dict(served)
    for key in range(20):
        queue.add(key)
    deadline = time.monotonic() + 30
    while any(served[key] <= before.get(key, 0) for key in range(20)) and time.monotonic() < deadline:
        time.sleep(0.005)
    queue.close()
    for worker in workers:
        worker.join(timeout=10)
    assert together == []
    assert all(served[key] > before.get(key, 0) for key in range(20))


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(0, 20)),
        st.tuples(st.just("take"), st.just(""), st.just(0)),
        st.tuples(st.just("done"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(0, 10)),
    ),
    max_size=60,
)


@given(OPERATIONS)
@settings(max_examples=200)
def test_whatever_happens_a_key_is_active_once_and_every_request_is_served_in_the_end(
    operations: list[tuple[str, str, int]],
) -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    asked: set[str] = set()
    active: set[str] = set()
    for kind, key, number in operations:
        if kind == "add":
            queue.add(key, number)
            asked.add(key)
        elif kind == "wait":
            clock.now += number
        elif kind == "take" and (taken := _take(queue)) is not None:
            assert taken not in active
            active.add(taken)
            asked.discard(taken)
        elif kind == "done" and key in active:
            active.discard(key)
            queue.done(key)
    for key in active:
        queue.done(key)
    clock.now += 100
    while (taken := _take(queue)) is not None:
        asked.discard(taken)
        queue.done(taken)
    assert asked == set()
    assert queue.depth == 0
