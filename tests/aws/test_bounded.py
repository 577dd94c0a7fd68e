"""What the process remembers of accounts it has worked for does not grow for ever."""

from __future__ import annotations

from passmuster.aws import limits, principal
from passmuster.aws.limits import Limits
from passmuster.aws.principal import KeyRing


def test_buckets_of_accounts_that_are_left_alone_are_dropped() -> None:
    every = Limits()
    for number in range(3 * limits.MOST_IDLE):
        every.bucket(f"{number:012}", "eu-central-1", "ec2", now=float(number)).take(float(number))
    assert len(every._buckets) <= limits.MOST_IDLE + 1


def test_a_bucket_that_is_throttled_or_spent_is_kept() -> None:
    every = Limits()
    throttled = every.bucket("throttled", "eu-central-1", "ec2", now=0.0)
    throttled.throttled(0.0)
    spent = every.bucket("spent", "eu-central-1", "ec2", now=99.0)
    for _ in range(10):
        spent.take(99.0)
    for number in range(2 * limits.MOST_IDLE):
        every.bucket(f"{number:012}", "eu-central-1", "ec2", now=100.0)
    assert every.bucket("throttled", "eu-central-1", "ec2", now=100.0) is throttled
    assert every.bucket("spent", "eu-central-1", "ec2", now=100.0) is spent


def test_the_ring_forgets_the_keys_that_were_proven_first_and_never_one_in_use() -> None:
    ring = KeyRing()
    ring.prove("in use", "123456789012")
    for number in range(principal.MOST_KEYS - 1):
        ring.prove(f"key-{number}", "123456789012")
    ring.prove("in use", "123456789012")
    ring.prove("one more", "123456789012")
    assert ring.account_of("key-0") is None
    assert ring.account_of("in use") == ring.account_of("one more") == ring.account_of("key-1") == "123456789012"
