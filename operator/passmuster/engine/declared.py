"""What policies declare for which accounts, read from the cache for metrics and for alerts.

Not from memory of past inspections: a policy that never brought a report is declared all the same, and one that is
gone is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from passmuster.api import durations
from passmuster.api.account import AWSAccount
from passmuster.api.conditions import ConditionStatus, ConditionType
from passmuster.api.fields import LabelSelector
from passmuster.engine.cache import Cache
from passmuster.engine.ports import ACCOUNTS, POLICIES, Key, Object

DEFAULT_INTERVAL = 3600.0
"""Seconds between inspections where the policy says nothing, as the schema's default."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One policy and one account it names: the level, and the seconds between inspections, None while suspended."""

    policy: Key
    account_id: str
    level: str
    interval: float | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """An AWSAccount by name and id, and whether the operator gets in with its role; None where that is not known."""

    account: str
    account_id: str
    valid: bool | None


def declared(cache: Cache) -> Iterator[Declared]:
    """Every policy with every account it names."""
    accounts = [body for _, body in cache.all(ACCOUNTS)]
    by_name = {body["metadata"]["name"]: body for body in accounts}
    for key, body in cache.all(POLICIES):
        spec = body["spec"]
        interval = None if spec.get("suspend") else _seconds(spec.get("interval"))
        name = (spec.get("accountRef") or {}).get("name")
        named = [by_name[name]] if name in by_name else []
        if spec.get("accountSelector") is not None:
            named = list(filter(selection(spec), accounts))
        for account_id in sorted({account["spec"]["accountId"] for account in named}):
            yield Declared(key, account_id, spec["level"], interval)


def credentials(cache: Cache) -> Iterator[Credentials]:
    """Every account that answered, or refused, the last time it was tried."""
    for key, body in cache.all(ACCOUNTS):
        conditions = (body.get("status") or {}).get("conditions") or ()
        said = next((c["status"] for c in conditions if c["type"] == ConditionType.CREDENTIALS_VALID), None)
        known = {ConditionStatus.TRUE.value: True, ConditionStatus.FALSE.value: False}
        yield Credentials(key.name, body["spec"]["accountId"], known.get(said or ""))


def selection(spec: Mapping[str, Any]) -> Callable[[Object], bool]:
    """Whether an account is one that a policy names, or selects by its labels; none that this version cannot read."""
    if spec.get("accountSelector") is None:
        name = (spec.get("accountRef") or {}).get("name")
        return lambda account: bool(account["metadata"]["name"] == name)
    try:
        selector = LabelSelector.model_validate(spec["accountSelector"])
    except ValidationError:
        return lambda _: False
    return lambda account: selector.selects(account["metadata"].get("labels") or {})


def selects(spec: Mapping[str, Any], account: AWSAccount) -> bool:
    """The same of one account, as it was read."""
    return selection(spec)({"metadata": {"name": account.metadata.name, "labels": account.metadata.labels}})


def _seconds(interval: str | None) -> float:
    return DEFAULT_INTERVAL if interval is None else durations.parse(interval).total_seconds()
