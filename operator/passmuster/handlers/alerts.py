"""Alertmanager's webhook: an alert brings an inspection forward, and does nothing else.

The answer says whether Alertmanager should try again (it retries 5xx and nothing else)::

    401  no or a wrong bearer token            413  more than 1 MiB
    400  not version 4 of the webhook          503  the hint could not be made durable, or too many at once: try again
    202  every policy named by an alert carries the request now

429 is never answered: Alertmanager would drop the notification.

Labels are untrusted: they only look up a policy (`policy_namespace` and `policy`, or `account_id`) and a check. An
alert never approves and never widens what is permitted.

A notification is also a sign of life of the receiver that sent it, and a firing alert with the label
`passmuster_probe` says that the external probe of that Prometheus job succeeds. Both are written into the status of the
policies whose checks ask about that receiver or job, and of no others: facts that checks are given as evidence.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from passmuster.api.fields import written
from passmuster.api.resource import BY_ALERT, HINT, REQUESTED_AT
from passmuster.engine.cache import Cache
from passmuster.engine.declared import selection
from passmuster.engine.fleet import Counters
from passmuster.engine.ports import ACCOUNTS, POLICIES, Cluster, ClusterUnreachable, Conflict, Key, Object

MOST_BYTES = 1024 * 1024
LONGEST_LENGTH = 12

MOST_AT_ONCE = 8
"""Notifications that are worked on at the same time; each writes to the API server."""

LONGEST_WAIT = 5.0
"""Seconds for which a notification waits for its turn, well below the time-out of Alertmanager."""

OUTCOMES = {202: "accepted", 400: "invalid", 401: "unauthorized", 413: "oversized", 503: "unavailable"}
"""What the metrics call the answers."""

PROBE = "passmuster_probe"
"""The label by which an alert reports that the external probe of a Prometheus job succeeds."""

ASKED = {"heartbeats": ("on-call-rotation", "receiver"), "probes": ("synthetic-canaries-running", "probeJob")}
"""By which parameter of which check a policy asks about a receiver or a job, for each member of its status."""

MOST_NAMES = 20
"""Receivers, and jobs, that the status of a policy has room for."""

WRITTEN_AGAIN = timedelta(minutes=5)
"""How old a sign of life in a status is before the next one is written."""

Label = Annotated[str, Field(max_length=2048)]


class _Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


class Alert(_Shape):
    """One alert of a notification."""

    status: Literal["firing", "resolved"]
    labels: dict[str, Label]
    starts_at: str = Field(max_length=64)
    fingerprint: str = Field(max_length=64)


class Notification(_Shape):
    """A notification of Alertmanager, version 4 of its webhook."""

    version: Literal["4"]
    receiver: str = Field(default="", max_length=253)
    alerts: list[Alert] = Field(max_length=10_000)
    truncated_alerts: int = 0


class Receiver:
    """Takes notifications. `checks` tells which check ids exist; the token file is read anew for each post."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        token_file: Path,
        checks: Callable[[str], bool],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        counters: Counters | None = None,
    ) -> None:
        self._clock = clock
        self._counters = counters or Counters()
        self._counters.awaits_notifications(tuple(OUTCOMES.values()), clock())
        self._turn = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._cluster = cluster
        self._cache = cache
        self._token_file = token_file
        self._known = checks

    def receive(self, headers: Mapping[str, str], read: Callable[[int], bytes]) -> tuple[int, str]:
        """The status code and a sentence. `read` brings that many bytes of the body."""
        code, sentence = self._receive(headers, read)
        self._counters.notified(OUTCOMES[code], self._clock() if code == 202 else None)
        return code, sentence

    def _receive(self, headers: Mapping[str, str], read: Callable[[int], bytes]) -> tuple[int, str]:
        if not self._authorized(headers.get("Authorization", "")):
            return 401, "a bearer token is needed"
        length = length_of(headers)
        if length is None:
            return 400, "Content-Length is needed"
        if length > MOST_BYTES:
            return 413, "a notification has at most 1 MiB: lower max_alerts"
        try:
            notification = Notification.model_validate(json.loads(read(length)))
        except (ValidationError, ValueError, RecursionError):
            return 400, "not a notification of Alertmanager (version 4)"
        if not self._turn.acquire(timeout=LONGEST_WAIT):
            return 503, "too many notifications at once: try again"
        try:
            self._witness(notification)
            asked = self._ask(notification)
        except (ClusterUnreachable, Conflict):
            return 503, "the API server did not take the request: try again"
        finally:
            self._turn.release()
        return 202, f"{asked} policies are inspected"

    def _authorized(self, header: str) -> bool:
        try:
            wanted = self._token_file.read_text().strip()
        except OSError:
            return False
        return bool(wanted) and hmac.compare_digest(header.encode(), f"Bearer {wanted}".encode())

    def _ask(self, notification: Notification) -> int:
        wanted: dict[Key, set[str]] = {}
        tokens: dict[Key, list[str]] = {}
        for alert in notification.alerts:
            for key in self._policies(alert.labels):
                check = alert.labels.get("check", "")
                wanted.setdefault(key, set()).add(check if self._known(check) else "")
                tokens.setdefault(key, []).append(f"{alert.fingerprint}/{alert.starts_at}/{alert.status}")
        for key, checks in wanted.items():
            checks |= self._pending(key)
            whole = notification.truncated_alerts > 0 or "" in checks
            mark = hashlib.sha256("\n".join(sorted(set(tokens[key]))).encode()).hexdigest()[:16]
            annotations: dict[str, Any] = {
                REQUESTED_AT: f"{BY_ALERT}{mark}",
                HINT: None if whole else ",".join(sorted(checks)),
            }
            self._cluster.patch(key, {"metadata": {"annotations": annotations}})
        return len(wanted)

    def _witness(self, notification: Notification) -> None:
        """Signs of life, made durable before they are acknowledged; one that is minutes old is young enough."""
        seen: dict[str, set[str]] = {"heartbeats": {notification.receiver} - {""}, "probes": set()}
        for alert in notification.alerts:
            job = alert.labels.get(PROBE, "")
            if job and alert.status == "firing":
                seen["probes"].add(job)
        if not any(seen.values()):
            return
        checks = {check for check, _ in ASKED.values()}
        strict = [body for _, body in self._cache.all(ACCOUNTS) if checks & set(body["spec"].get("floors") or {})]
        now = self._clock()
        for key, body in self._cache.all(POLICIES):
            status = body.get("status") or {}
            asked = _asked_about(body["spec"], strict)
            found: dict[str, dict[str, str | None]] = {}
            for member, names in seen.items():
                times = {name: written(now) for name in names & asked[member] if _aged(status, member, name, now)}
                if times:
                    found[member] = {**dict.fromkeys(set(status.get(member) or {}) - asked[member]), **times}
            if found and status.get("observedGeneration") is not None:
                answer = self._cluster.patch_status(key, found)
                if answer is not None:
                    self._cache.put(key, answer)

    def _pending(self, key: Key) -> set[str]:
        """The checks of a request that was not handled yet, which the next one must not push aside; "" for all."""
        body = self._cache.get(key) or {"metadata": {}}
        annotations = body["metadata"].get("annotations") or {}
        token = annotations.get(REQUESTED_AT)
        if token is None or token == (body.get("status") or {}).get("lastHandledReconcileAt"):
            return set()
        return set(annotations.get(HINT, "").split(","))

    def _policies(self, labels: Mapping[str, str]) -> Iterable[Key]:
        named = Key(POLICIES, labels.get("policy_namespace", ""), labels.get("policy", ""))
        if named.name:
            return [named] if self._cache.get(named) is not None else []
        account_id = labels.get("account_id", "")
        accounts = [
            body["metadata"]
            for _, body in self._cache.all(ACCOUNTS)
            if account_id and body["spec"]["accountId"] == account_id
        ]
        return [
            key for key, body in self._cache.all(POLICIES) if any(_uses(body["spec"], account) for account in accounts)
        ]


def length_of(headers: Mapping[str, str]) -> int | None:
    """How many bytes a request says that its body has, None where it does not say it as a number of sensible length."""
    length = headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) <= LONGEST_LENGTH else None


def _asked_about(spec: Mapping[str, Any], accounts: Iterable[Object]) -> dict[str, set[str]]:
    """The receivers and jobs that the policy's checks ask about, by its own parameters and its accounts' floors."""
    given = [(spec.get("checks") or {}).get("parameters") or {}]
    given += [body["spec"].get("floors") or {} for body in accounts if _uses(spec, body["metadata"])]
    named = {
        member: {str(value) for one in given if (value := (one.get(check) or {}).get(parameter))}
        for member, (check, parameter) in ASKED.items()
    }
    return {member: set(sorted(names)[:MOST_NAMES]) for member, names in named.items()}


def _aged(status: Mapping[str, Any], member: str, name: str, now: datetime) -> bool:
    """Whether what is stored is old enough to be written again."""
    before = (status.get(member) or {}).get(name)
    return before is None or now - datetime.fromisoformat(before) >= WRITTEN_AGAIN


def _uses(spec: Mapping[str, Any], account: Mapping[str, Any]) -> bool:
    """Whether a policy names the account, or selects it by its labels."""
    return selection(spec)({"metadata": account})
