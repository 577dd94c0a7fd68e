"""The audit of the watch streams: what they missed is found, what vanished is found, and a lag shows in the age."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from passmuster.engine.ports import ACCOUNTS, NAMESPACES, POLICIES, REPORTS, Key
from passmuster.handlers.watches import WATCHED, Watches

A, B = Key(POLICIES, "shop", "a"), Key(POLICIES, "shop", "b")
ACCOUNT = Key(ACCOUNTS, "", "shop")


class Streams:
    """Watches without kopf: events are brought as kopf's handlers bring them."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Key]] = []
        self.watches = Watches(dict, lambda kind, key, body: self.seen.append((kind, key)))

    def bring(self, key: Key, version: str, kind: str | None = "MODIFIED") -> None:
        metadata: dict[str, Any] = {"name": key.name, "resourceVersion": version}
        if key.namespace:
            metadata["namespace"] = key.namespace
        handler = self.watches._handler(key.plural)
        asyncio.run(handler(event={"type": kind, "object": {"metadata": metadata}}))


@pytest.fixture
def streams() -> Streams:
    made = Streams()
    made.bring(A, "10", None)
    made.bring(ACCOUNT, "7", None)
    return made


def test_events_are_handed_on_with_key_and_type(streams: Streams) -> None:
    streams.bring(A, "11")
    streams.bring(A, "12", "DELETED")
    assert streams.seen == [("", A), ("", ACCOUNT), ("MODIFIED", A), ("DELETED", A)]


def test_a_report_that_was_handed_on_is_not_held_as_a_whole() -> None:
    kept: list[Any] = []
    watches = Watches(dict, lambda kind, key, body: kept.append(dict(body)))
    for plural, left in ((REPORTS, {}), (POLICIES, {"level": "Stable"})):
        metadata = {"name": "a", "namespace": "shop", "resourceVersion": "1"}
        body = {"metadata": metadata, "status": {"level": "Stable"}}
        asyncio.run(watches._handler(plural)(event={"type": None, "object": body}))
        assert kept.pop()["status"] == {"level": "Stable"}, "whoever is told gets all of it"
        assert body.get("status", {}) == left


def test_streams_that_are_up_to_date_missed_nothing(streams: Streams) -> None:
    assert streams.watches.audit({A: "10", ACCOUNT: "7"}) == []
    assert streams.watches.age() == 0


def test_an_object_that_no_stream_brought_is_found(streams: Streams) -> None:
    assert streams.watches.audit({A: "10", B: "11", ACCOUNT: "7"}) == [B]


def test_a_newer_version_that_no_stream_brought_is_found(streams: Streams) -> None:
    assert streams.watches.audit({A: "100", ACCOUNT: "7"}) == [A]


def test_a_stream_that_is_ahead_of_the_list_missed_nothing(streams: Streams) -> None:
    streams.bring(A, "100")
    assert streams.watches.audit({A: "99", ACCOUNT: "7"}) == []


def test_versions_are_compared_as_numbers_and_else_for_equality(streams: Streams) -> None:
    streams.bring(A, "9")
    assert streams.watches.audit({A: "10", ACCOUNT: "7"}) == [A]
    streams.bring(A, "opaque-1")
    assert streams.watches.audit({A: "opaque-1", ACCOUNT: "7"}) == []
    assert streams.watches.audit({A: "opaque-2", ACCOUNT: "7"}) == [A]


def test_an_object_that_vanished_unnoticed_is_found(streams: Streams) -> None:
    streams.bring(B, "11")
    assert streams.watches.audit({A: "10", ACCOUNT: "7"}) == [B]


def test_the_last_object_of_a_kind_that_vanished_unnoticed_is_found(streams: Streams) -> None:
    assert streams.watches.audit({ACCOUNT: "7"}) == [A]
    assert streams.watches.audit({}) == [A, ACCOUNT]


def test_what_is_gone_and_told_so_does_not_count_as_a_lag(streams: Streams) -> None:
    assert streams.watches.audit({ACCOUNT: "7"}) == [A]
    streams.watches.forget(A)
    assert streams.watches.age() == 0
    assert streams.watches.audit({ACCOUNT: "7"}) == []


def test_namespaces_are_watched_but_not_audited(streams: Streams) -> None:
    streams.bring(Key(NAMESPACES, "", "shop"), "3")
    assert streams.watches.audit({A: "10", ACCOUNT: "7"}) == []
    assert NAMESPACES not in WATCHED


def test_the_age_grows_while_a_stream_is_behind_and_ends_when_it_catches_up(streams: Streams) -> None:
    listed = {A: "20", ACCOUNT: "7"}
    streams.watches.audit(listed)
    time.sleep(0.02)
    first = streams.watches.age()
    streams.watches.audit(listed)
    assert streams.watches.age() >= first > 0
    streams.bring(A, "20")
    streams.watches.audit(listed)
    assert streams.watches.age() == 0


def test_an_object_that_changes_all_the_time_is_not_taken_for_a_lag(streams: Streams) -> None:
    streams.watches.audit({A: "20", ACCOUNT: "7"})
    time.sleep(0.05)
    again = time.monotonic()
    streams.watches.audit({A: "21", ACCOUNT: "7"})
    assert streams.watches.age() <= time.monotonic() - again


def test_reports_are_audited_too(streams: Streams) -> None:
    report = Key(REPORTS, "shop", "shop-1")
    assert streams.watches.audit({A: "10", ACCOUNT: "7", report: "1"}) == [report]


def test_before_the_start_nothing_runs(streams: Streams) -> None:
    assert not streams.watches.alive
    assert not streams.watches.ready
    streams.watches.stop()
