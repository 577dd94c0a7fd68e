"""How fast one account may be asked: a token bucket per account, region and service, which backs off by itself.

botocore's own quota and limiter are per client, and clients are shared here, so one throttled account would slow all
others. The collector asks a bucket when it may send; nothing in here sleeps.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

DEFAULT_RATE = 5.0
MOST_IDLE = 5_000
BURST = 10.0
_MINIMUM_RATE = 0.2

SERVICE_RATES = {"acm": 0.5, "organizations": 1.0, "ce": 1.0, "iam": 5.0, "route53": 5.0}
"""Requests a second where a service publishes less than the default; the burst stays small for these."""

_SERVICE_BURST = {"acm": 5.0, "ce": 5.0}


@dataclass(slots=True)
class Bucket:
    """Additive increase on success, halving on throttling. Times are seconds of one monotonic clock."""

    rate: float
    ceiling: float
    burst: float
    tokens: float
    updated: float

    def ready_in(self, now: float) -> float:
        """Seconds until a request may be sent; 0 means now."""
        self._refill(now)
        return 0.0 if self.tokens >= 1 else (1 - self.tokens) / self.rate

    def take(self, now: float) -> None:
        """Accounts for one request sent."""
        self._refill(now)
        self.tokens -= 1

    def succeeded(self) -> None:
        """Lets the rate recover by a twentieth of its ceiling."""
        self.rate = min(self.ceiling, self.rate + self.ceiling / 20)

    def throttled(self, now: float) -> None:
        """Halves the rate and empties the bucket."""
        self._refill(now)
        self.rate = max(_MINIMUM_RATE, self.rate / 2)
        self.tokens = min(self.tokens, 0.0)

    def idle(self, now: float) -> bool:
        """Whether the bucket is as a new one would be. Changes nothing: another thread may be using it."""
        return self.rate >= self.ceiling and self.tokens + (now - self.updated) * self.rate >= self.burst

    def _refill(self, now: float) -> None:
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.updated) * self.rate)
        self.updated = now


class Limits:
    """Every bucket in use. Thread-safe to get; one inspection at a time uses an account's buckets.

    `rate` scales all of them, for accounts whose owner allows more and for simulated ones.
    """

    def __init__(self, rate: float = DEFAULT_RATE) -> None:
        self._rate = rate
        self._buckets: dict[tuple[str, str, str], Bucket] = {}
        self._sweep_at = MOST_IDLE
        self._lock = threading.Lock()

    def bucket(self, account_id: str, region: str, service: str, now: float) -> Bucket:
        """The bucket of a service in a region of an account."""
        key = (account_id, region, service)
        with self._lock:
            found = self._buckets.get(key)
            if found is None:
                scale = self._rate / DEFAULT_RATE
                ceiling = SERVICE_RATES.get(service, DEFAULT_RATE) * scale
                burst = _SERVICE_BURST.get(service, BURST) * max(1.0, scale)
                found = self._buckets[key] = Bucket(ceiling, ceiling, burst, burst, now)
                self._sweep(key, now)
            return found

    def _sweep(self, wanted: tuple[str, str, str], now: float) -> None:
        """Drops buckets that say nothing, once there are twice as many as were left the last time."""
        if len(self._buckets) > self._sweep_at:
            kept = {key: one for key, one in self._buckets.items() if key == wanted or not one.idle(now)}
            self._buckets, self._sweep_at = kept, max(MOST_IDLE, 2 * len(kept))
