"""Alertmanager's webhook: what is believed of it, and that it does nothing but bring an inspection forward."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apiserver
from passmuster.checks import catalogue
from passmuster.engine.cache import Cache
from passmuster.engine.ports import ACCOUNTS, POLICIES, ClusterUnreachable, Key, Object
from passmuster.handlers.alerts import MOST_BYTES, Receiver
from passmuster.sandbox.memory_cluster import MemoryCluster

TOKEN = "watchword"
SHOP, OTHER = Key(POLICIES, "shop", "shop"), Key(POLICIES, "shop", "other")
REQUESTED, HINT = "reconcile.passmuster.io/requestedAt", "reconcile.passmuster.io/hint"
NAMED = {"policy_namespace": "shop", "policy": "shop"}


class Cluster(MemoryCluster):
    """A cluster that may be out of reach, and counts what is written."""

    reachable = True

    def __init__(self, cache: Cache) -> None:
        super().__init__(cache)
        self.patches: list[tuple[Key, Object]] = []

    def patch(self, key: Key, patch: Object) -> Object | None:
        if not self.reachable:
            raise ClusterUnreachable("PATCH: 503")
        self.patches.append((key, patch))
        return super().patch(key, patch)


class Inbox:
    """A receiver with two policies on one account."""

    def __init__(self, folder: Path) -> None:
        self.token_file = folder / "token"
        self.token_file.write_text(f"{TOKEN}\n")
        self.cache = Cache()
        self.cluster = Cluster(self.cache)
        self.cluster.create(ACCOUNTS, {**apiserver.account("shop"), "metadata": {"name": "shop", "labels": {"a": "b"}}})
        for name in ("shop", "other"):
            self.cluster.create(POLICIES, apiserver.policy("shop", name))
        self.receiver = Receiver(self.cluster, self.cache, self.token_file, catalogue.load().__contains__)

    def post(self, body: Any, *, token: str = TOKEN, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {token}", "Content-Length": str(len(raw)), **(headers or {})}
        return self.receiver.receive(given, lambda size: raw[:size])

    def annotations(self, key: Key = SHOP) -> dict[str, str]:
        return dict((self.cluster.get(key) or {"metadata": {}})["metadata"].get("annotations") or {})

    def handled(self, key: Key = SHOP) -> None:
        """The inspection that was asked for is done."""
        self.cluster.patch_status(key, {"lastHandledReconcileAt": self.annotations(key)[REQUESTED]})


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Inbox:
    return Inbox(tmp_path_factory.mktemp("inbox"))


def _alert(fingerprint: str = "abc", *, status: str = "firing", at: str = "10:00:00Z", **labels: str) -> dict[str, Any]:
    return {"status": status, "labels": labels, "startsAt": f"2026-11-21T{at}", "fingerprint": fingerprint}


def _notification(*alerts: Mapping[str, Any], truncated: int = 0) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "truncatedAlerts": truncated, "alerts": list(alerts)}


# who may post


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer guess",
        f"bearer {TOKEN}",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN} ",
        "Bearer \u00e9\u2713",
    ],
)
def test_without_the_right_bearer_token_nothing_is_read(inbox: Inbox, header: str) -> None:
    def read(size: int) -> bytes:
        raise AssertionError("the body was read")

    answer = inbox.receiver.receive({"Authorization": header, "Content-Length": "2"}, read)
    assert answer[0] == 401
    assert TOKEN not in answer[1]
    assert inbox.cluster.patches == []


def test_without_any_header_the_answer_is_401(inbox: Inbox) -> None:
    assert inbox.receiver.receive({}, lambda size: b"")[0] == 401


def test_an_empty_or_missing_token_file_lets_nobody_in(inbox: Inbox) -> None:
    inbox.token_file.write_text("\n")
    assert inbox.post(_notification(), token="")[0] == 401
    inbox.token_file.unlink()
    assert inbox.post(_notification())[0] == 401


def test_a_rotated_token_counts_at_once(inbox: Inbox) -> None:
    assert inbox.post(_notification())[0] == 202
    inbox.token_file.write_text("another")
    assert inbox.post(_notification())[0] == 401
    assert inbox.post(_notification(), token="another")[0] == 202


# what may be posted


def test_more_than_a_mebibyte_is_refused_before_it_is_read(inbox: Inbox) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Length": str(MOST_BYTES + 1)}

    def read(size: int) -> bytes:
        raise AssertionError("the body was read")

    assert inbox.receiver.receive(headers, read)[0] == 413


@pytest.mark.parametrize("length", ["", "-1", "many", "\u00b2", "\u0663", "1e3", "9" * 5000])
def test_a_length_that_is_no_number_is_refused(inbox: Inbox, length: str) -> None:
    assert inbox.post({}, headers={"Content-Length": length})[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b"[]",
        {"version": "3", "alerts": []},
        {"version": "4"},
        {"version": "4", "alerts": [{"status": "firing"}]},
        _notification(_alert(policy="x" * 5000)),
        _notification({**_alert(), "status": "perhaps"}),
        _notification({**_alert(), "labels": {"policy": {"nested": "object"}}}),
    ],
)
def test_what_is_no_notification_is_refused_and_never_tried_again(inbox: Inbox, body: Any) -> None:
    assert inbox.post(body)[0] == 400
    assert inbox.cluster.patches == []


def test_members_that_a_later_alertmanager_adds_are_ignored(inbox: Inbox) -> None:
    body = {**_notification(_alert(**NAMED)), "groupKey": "{}", "externalURL": "http://x", "new": [1]}
    assert inbox.post(body)[0] == 202


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_no_body_gets_another_answer_than_the_documented_ones(shared: Inbox, body: bytes) -> None:
    assert shared.post(body)[0] in (202, 400)


# what it does


def test_an_alert_asks_for_an_inspection_of_its_policy_and_check(inbox: Inbox) -> None:
    code, text = inbox.post(_notification(_alert(**NAMED, check="https-redirect")))
    assert (code, text) == (202, "1 policies are inspected")
    assert inbox.annotations()[REQUESTED].startswith("alert-")
    assert inbox.annotations()[HINT] == "https-redirect"
    assert inbox.annotations(OTHER) == {}


def test_nothing_but_two_annotations_is_ever_written(inbox: Inbox) -> None:
    labels = {**NAMED, "check": "https-redirect", "approvals": "alice", "mode": "Apply", "suspend": "false"}
    before = (inbox.cluster.get(SHOP) or {})["spec"]
    inbox.post(_notification(_alert(**labels)))
    assert (inbox.cluster.get(SHOP) or {})["spec"] == before
    ((_, patch),) = inbox.cluster.patches
    assert set(patch) == {"metadata"}
    assert set(patch["metadata"]) == {"annotations"}
    assert set(patch["metadata"]["annotations"]) == {REQUESTED, HINT}


def test_several_alerts_of_one_policy_are_one_request(inbox: Inbox) -> None:
    alerts = [_alert(str(n), **NAMED, check=check) for n, check in enumerate(("waf-enabled", "https-redirect"))]
    inbox.post(_notification(*alerts))
    assert len(inbox.cluster.patches) == 1
    assert inbox.annotations()[HINT] == "https-redirect,waf-enabled"


def test_the_same_notification_again_gives_the_same_token(inbox: Inbox) -> None:
    body = _notification(_alert("a", **NAMED, check="https-redirect"), _alert("b", **NAMED, check="waf-enabled"))
    inbox.post(body)
    token = inbox.annotations()[REQUESTED]
    inbox.post(_notification(*reversed(body["alerts"]), body["alerts"][0]))
    assert inbox.annotations()[REQUESTED] == token
    inbox.handled()
    version = (inbox.cluster.get(SHOP) or {})["metadata"]["generation"]
    inbox.post(body)
    assert inbox.annotations()[REQUESTED] == token
    assert (inbox.cluster.get(SHOP) or {})["metadata"]["generation"] == version


@pytest.mark.parametrize("other", [{"fingerprint": "b"}, {"status": "resolved"}, {"at": "11:00:00Z"}])
def test_another_alert_gives_another_token(inbox: Inbox, other: dict[str, str]) -> None:
    inbox.post(_notification(_alert(**NAMED)))
    token = inbox.annotations()[REQUESTED]
    inbox.post(_notification(_alert(**{**NAMED, **other})))
    assert inbox.annotations()[REQUESTED] != token


def test_a_second_alert_does_not_push_aside_the_first_before_it_was_handled(inbox: Inbox) -> None:
    inbox.post(_notification(_alert("a", **NAMED, check="https-redirect")))
    inbox.post(_notification(_alert("b", **NAMED, check="waf-enabled")))
    assert inbox.annotations()[HINT] == "https-redirect,waf-enabled"
    inbox.handled()
    inbox.post(_notification(_alert("c", **NAMED, check="vpc-flow-logs")))
    assert inbox.annotations()[HINT] == "vpc-flow-logs"


def test_a_whole_inspection_that_somebody_asked_for_is_not_narrowed_by_an_alert(inbox: Inbox) -> None:
    inbox.cluster.patch(SHOP, {"metadata": {"annotations": {REQUESTED: "by hand"}}})
    inbox.post(_notification(_alert("b", **NAMED, check="waf-enabled")))
    assert HINT not in inbox.annotations()


def test_truncated_alerts_mean_that_everything_is_inspected(inbox: Inbox) -> None:
    inbox.post(_notification(_alert(**NAMED, check="https-redirect"), truncated=3))
    assert HINT not in inbox.annotations()
    assert REQUESTED in inbox.annotations()


@pytest.mark.parametrize("check", ["", "no-such-check", "https-redirect,waf-enabled", "../../etc", "https-redirect\n"])
def test_a_check_that_does_not_exist_means_the_whole_account(inbox: Inbox, check: str) -> None:
    inbox.post(_notification(_alert(**NAMED, check=check)))
    assert HINT not in inbox.annotations()
    assert REQUESTED in inbox.annotations()


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"policy_namespace": "shop", "policy": "gone"},
        {"policy_namespace": "elsewhere", "policy": "shop"},
        {"policy_namespace": "shop/../kube-system", "policy": "shop"},
        {"policy": "shop"},
        {"account_id": "999999999999"},
        {"account_id": ""},
    ],
)
def test_labels_that_name_no_policy_of_ours_do_nothing(inbox: Inbox, labels: dict[str, str]) -> None:
    assert inbox.post(_notification(_alert(**labels))) == (202, "0 policies are inspected")
    assert inbox.cluster.patches == []


def test_an_account_names_every_policy_on_it(inbox: Inbox) -> None:
    inbox.cluster.create(
        POLICIES, apiserver.policy("shop", "selecting", accountRef=None, accountSelector={"matchLabels": {"a": "b"}})
    )
    inbox.cluster.create(POLICIES, apiserver.policy("shop", "elsewhere", accountRef={"name": "elsewhere"}))
    inbox.post(_notification(_alert(account_id="123456789012", check="https-redirect")))
    assert {key.name for key, _ in inbox.cluster.patches} == {"shop", "other", "selecting"}


def test_while_the_cluster_is_out_of_reach_alertmanager_is_asked_to_try_again(inbox: Inbox) -> None:
    inbox.cluster.reachable = False
    assert inbox.post(_notification(_alert(**NAMED)))[0] == 503
    inbox.cluster.reachable = True
    assert inbox.post(_notification(_alert(**NAMED)))[0] == 202
    assert REQUESTED in inbox.annotations()


def test_a_policy_that_is_deleted_meanwhile_is_no_error(inbox: Inbox) -> None:
    inbox.cluster.delete(SHOP)
    inbox.cache.put(SHOP, {**apiserver.policy("shop", "shop")})
    assert inbox.post(_notification(_alert(**NAMED)))[0] == 202


def test_a_flood_of_alerts_is_one_request_per_policy(inbox: Inbox) -> None:
    flood = [_alert(str(n), **NAMED, check="https-redirect") for n in range(2000)]
    assert inbox.post(_notification(*flood))[0] == 202
    assert len(inbox.cluster.patches) == 1


# signs of life


def _status(inbox: Inbox, key: Key = SHOP) -> dict[str, Any]:
    return dict((inbox.cluster.get(key) or {}).get("status") or {})


def _asks(inbox: Inbox, key: Key = SHOP, *, floors: bool = False, **parameters: Any) -> None:
    """The policy, or its account's floors, name a receiver or a probe; and it was inspected once."""
    given = {check.replace("_", "-"): value for check, value in parameters.items()}
    if floors:
        inbox.cluster.patch(Key(ACCOUNTS, "", "shop"), {"spec": {"floors": given}})
    else:
        inbox.cluster.patch(key, {"spec": {"checks": {"parameters": given}}})
    inbox.cluster.patch_status(key, {"observedGeneration": 1})
    inbox.cluster.patches.clear()


ON_CALL = {"on_call_rotation": {"receiver": "pagers"}}
PROBED = {"synthetic_canaries_running": {"probeJob": "blackbox"}}


def test_a_notification_is_a_sign_of_life_of_its_receiver_for_the_policies_that_ask(inbox: Inbox) -> None:
    _asks(inbox, **ON_CALL)
    answer = inbox.post({**_notification(_alert(alertname="Watchdog")), "receiver": "pagers"})
    assert answer == (202, "0 policies are inspected")
    assert list(_status(inbox)["heartbeats"]) == ["pagers"]
    assert "heartbeats" not in _status(inbox, OTHER)
    assert inbox.cluster.patches == [], "a sign of life asks for no inspection"


def test_the_accounts_floor_can_name_the_receiver(inbox: Inbox) -> None:
    _asks(inbox, floors=True, **ON_CALL)
    inbox.post({**_notification(), "receiver": "pagers"})
    assert list(_status(inbox)["heartbeats"]) == ["pagers"]


@pytest.mark.parametrize("receiver", ["", "others", "pagers " * 20])
def test_another_receiver_is_no_sign_of_life(inbox: Inbox, receiver: str) -> None:
    _asks(inbox, **ON_CALL)
    inbox.post({**_notification(_alert()), "receiver": receiver})
    assert "heartbeats" not in _status(inbox)


def test_a_firing_probe_alert_reports_success_and_a_resolved_one_does_not(inbox: Inbox) -> None:
    _asks(inbox, **PROBED)
    inbox.post(_notification(_alert(status="resolved", passmuster_probe="blackbox")))
    assert "probes" not in _status(inbox)
    inbox.post(_notification(_alert(passmuster_probe="blackbox"), _alert(passmuster_probe="another")))
    assert list(_status(inbox)["probes"]) == ["blackbox"]


def test_signs_of_life_are_written_at_most_every_five_minutes(inbox: Inbox) -> None:
    _asks(inbox, **ON_CALL)
    moments = iter(datetime(2026, 11, 22, 12, minute, tzinfo=UTC) for minute in (0, 1, 4, 5))
    now = [next(moments)]
    inbox.receiver = Receiver(
        inbox.cluster, inbox.cache, inbox.token_file, catalogue.load().__contains__, clock=lambda: now[0]
    )
    seen = []
    for _ in range(4):
        inbox.post({**_notification(), "receiver": "pagers"})
        seen.append(_status(inbox)["heartbeats"]["pagers"][14:16])
        now[0] = next(moments, now[0])
    assert seen == ["00", "00", "00", "05"]


def test_a_receiver_that_nobody_asks_about_any_more_leaves_the_status(inbox: Inbox) -> None:
    _asks(inbox, **ON_CALL)
    inbox.post({**_notification(), "receiver": "pagers"})
    _asks(inbox, on_call_rotation={"receiver": "others"})
    inbox.post({**_notification(), "receiver": "others"})
    assert list(_status(inbox)["heartbeats"]) == ["others"]


def test_a_policy_that_was_never_inspected_gets_no_status(inbox: Inbox) -> None:
    inbox.cluster.patch(SHOP, {"spec": {"checks": {"parameters": {"on-call-rotation": {"receiver": "pagers"}}}}})
    inbox.post({**_notification(), "receiver": "pagers"})
    assert _status(inbox) == {}
