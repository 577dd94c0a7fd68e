"""Alertmanager's webhook: an alert brings an inspection forward, and does nothing else.

The answer says whether Alertmanager should try again (it retries 5xx and nothing else)::

    401  no or a wrong bearer token            413  more than 1 MiB
    400  not version 4 of the webhook          503  the hint could not be made durable: try again
    202  every policy named by an alert carries the request now

Labels are untrusted: they only look up a policy (`policy_namespace` and `policy`, or `account_id`) and a check. An
alert never approves and never widens what is permitted.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from passmuster.api.fields import LabelSelector
from passmuster.api.resource import HINT, REQUESTED_AT
from passmuster.engine.cache import Cache
from passmuster.engine.ports import ACCOUNTS, POLICIES, Cluster, ClusterUnreachable, Conflict, Key

MOST_BYTES = 1024 * 1024
LONGEST_LENGTH = 12
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
    alerts: list[Alert] = Field(max_length=10_000)
    truncated_alerts: int = 0


class Receiver:
    """Takes notifications. `checks` tells which check ids exist; the token file is read anew for each post."""

    def __init__(self, cluster: Cluster, cache: Cache, token_file: Path, checks: Callable[[str], bool]) -> None:
        self._cluster = cluster
        self._cache = cache
        self._token_file = token_file
        self._known = checks

    def receive(self, headers: Mapping[str, str], read: Callable[[int], bytes]) -> tuple[int, str]:
        """The status code and a sentence. `read` brings that many bytes of the body."""
        if not self._authorized(headers.get("Authorization", "")):
            return 401, "a bearer token is needed"
        length = headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) <= LONGEST_LENGTH):
            return 400, "Content-Length is needed"
        if int(length) > MOST_BYTES:
            return 413, "a notification has at most 1 MiB: lower max_alerts"
        try:
            notification = Notification.model_validate(json.loads(read(int(length))))
        except (ValidationError, ValueError, RecursionError):
            return 400, "not a notification of Alertmanager (version 4)"
        try:
            asked = self._ask(notification)
        except (ClusterUnreachable, Conflict):
            return 503, "the API server did not take the request: try again"
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
                REQUESTED_AT: f"alert-{mark}",
                HINT: None if whole else ",".join(sorted(checks)),
            }
            self._cluster.patch(key, {"metadata": {"annotations": annotations}})
        return len(wanted)

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


def _uses(spec: Mapping[str, Any], account: Mapping[str, Any]) -> bool:
    """Whether a policy names the account, or selects it by its labels."""
    selector = spec.get("accountSelector")
    if selector is not None:
        return LabelSelector.model_validate(selector).selects(account.get("labels") or {})
    return bool((spec.get("accountRef") or {}).get("name") == account["name"])
