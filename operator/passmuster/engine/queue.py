"""The work queue: keys, each at most once, due at a time, taken by a bounded set of workers.

Events put a key in; a key that is being worked on and put in again is handed out once more afterwards, never twice at
a time. A failure is retried with a growing, jittered delay; success forgets the failures.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from passmuster.engine.histogram import Histogram

Key = TypeVar("Key", bound=Hashable)

WORK_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)
FIRST_RETRY = 2.0
LAST_RETRY = 900.0


@dataclass(slots=True)
class Statistics:
    """Totals since the start, for metrics."""

    adds: int = 0
    retries: int = 0
    done: int = 0
    work: Histogram = field(default_factory=lambda: Histogram(WORK_BUCKETS))

    @property
    def seconds(self) -> float:
        """Seconds of work on keys."""
        return self.work.total


@dataclass(slots=True)
class WorkQueue(Generic[Key]):
    """Thread-safe. Times are seconds of a monotonic clock."""

    clock: Callable[[], float] = time.monotonic
    statistics: Statistics = field(default_factory=Statistics)
    _due: dict[Key, float] = field(default_factory=dict)
    _heap: list[tuple[float, int, Key]] = field(default_factory=list)
    _active: dict[Key, float] = field(default_factory=dict)
    _again: dict[Key, float] = field(default_factory=dict)
    _failures: dict[Key, int] = field(default_factory=dict)
    _sequence: int = 0
    _closed: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Asks for work on a key after a delay; the earlier of two requests counts."""
        with self._changed:
            self.statistics.adds += 1
            due = self.clock() + max(0.0, delay)
            if key in self._active:
                self._again[key] = min(due, self._again.get(key, due))
                return
            if key in self._due and self._due[key] <= due:
                return
            self._push(key, due)

    def forget(self, key: Key) -> None:
        """The object is gone: nothing more is to be done for it."""
        with self._changed:
            self._due.pop(key, None)
            self._again.pop(key, None)
            self._failures.pop(key, None)

    def take(self, timeout: float | None = None) -> Key | None:
        """The next key that is due; None when the queue is closed or the timeout passed."""
        with self._changed:
            limit = None if timeout is None else self.clock() + timeout
            while not self._closed:
                now = self.clock()
                while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
                    heapq.heappop(self._heap)
                if self._heap and self._heap[0][0] <= now:
                    _, _, key = heapq.heappop(self._heap)
                    del self._due[key]
                    self._active[key] = now
                    return key
                wait = self._heap[0][0] - now if self._heap else None
                if limit is not None:
                    if now >= limit:
                        return None
                    wait = limit - now if wait is None else min(wait, limit - now)
                self._changed.wait(wait)
            return None

    def done(self, key: Key) -> None:
        """Work on the key ended well."""
        with self._changed:
            self._failures.pop(key, None)
            self._release(key)

    def failed(self, key: Key) -> float:
        """Work on the key is to be tried again; returns the delay chosen, in seconds."""
        with self._changed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self.statistics.retries += 1
            ceiling = min(LAST_RETRY, FIRST_RETRY * 2 ** min(failures - 1, 16))
            delay = random.uniform(ceiling / 2, ceiling)
            due = self.clock() + delay
            self._again[key] = min(due, self._again.get(key, due))
            self._release(key)
            return delay

    def _release(self, key: Key) -> None:
        started = self._active.pop(key, None)
        if started is not None:
            self.statistics.done += 1
            self.statistics.work.observe(self.clock() - started)
        again = self._again.pop(key, None)
        if again is not None and (key not in self._due or again < self._due[key]):
            self._push(key, again)

    def _push(self, key: Key, due: float) -> None:
        self._due[key] = due
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key))
        self._changed.notify()

    @property
    def depth(self) -> int:
        """How many keys are due now and not yet taken."""
        with self._changed:
            now = self.clock()
            return sum(due <= now for due in self._due.values())

    @property
    def oldest_due(self) -> float:
        """Seconds that the longest waiting key is overdue, 0 when nothing is."""
        with self._changed:
            now = self.clock()
            return max((now - due for due in self._due.values() if due <= now), default=0.0)

    def close(self) -> None:
        """Wakes every worker with nothing; work under way is finished by its worker."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
