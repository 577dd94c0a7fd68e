"""Whose key signs a request, for one process that works for many accounts at once.

There is one botocore session and one client per service and region for the whole process; the key is read from a
context variable at the moment a request is signed. The design is fail-closed: without a principal nothing can be
signed, and before a request leaves, `guard` compares the key in its signature with the account the task runs for.

botocore offers no public way to give a session its credentials object; the one private access is in `aws.clients`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from botocore.credentials import Credentials, ReadOnlyCredentials

from passmuster.model.errors import WrongCredentials


@dataclass(frozen=True, slots=True)
class Principal:
    """A key that was proven to belong to an account (by GetCallerIdentity), or None while it is being proven."""

    account_id: str | None
    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return f"Principal(account_id={self.account_id!r})"


_PRINCIPAL: ContextVar[Principal] = ContextVar("passmuster_principal")
_ACCOUNT: ContextVar[str | None] = ContextVar("passmuster_account", default=None)
_SIGNED_BY = re.compile(r"Credential=([^/,\s]+)/")


MOST_KEYS = 50_000
"""Keys that are remembered; a session's key is of no use after an hour, so what falls out first expired long ago."""


class KeyRing:
    """Which account each key in use was proven to belong to. Shared by every thread; holds no secrets."""

    def __init__(self) -> None:
        self._accounts: dict[str, str] = {}
        self._lock = threading.Lock()

    def prove(self, access_key: str, account_id: str) -> None:
        """Records that GetCallerIdentity answered with this account for this key."""
        with self._lock:
            self._accounts.pop(access_key, None)
            self._accounts[access_key] = account_id
            while len(self._accounts) > MOST_KEYS:
                del self._accounts[next(iter(self._accounts))]

    def account_of(self, access_key: str) -> str | None:
        """The account a key belongs to, None if it was never proven."""
        return self._accounts.get(access_key)


@contextmanager
def acting_as(principal: Principal, account_id: str | None) -> Iterator[None]:
    """Signs with this principal for the account the task runs for; None only while proving an identity."""
    key = _PRINCIPAL.set(principal)
    account = _ACCOUNT.set(account_id)
    try:
        yield
    finally:
        _ACCOUNT.reset(account)
        _PRINCIPAL.reset(key)


class ContextCredentials(Credentials):
    """The credentials object of the shared session: whatever principal the current task acts as."""

    method = "passmuster"

    def __init__(self) -> None:
        self.account_id = None

    @property
    def access_key(self) -> str:  # type: ignore[override]  # a plain attribute in botocore
        """The key id of the current principal."""
        return _current().access_key

    @property
    def secret_key(self) -> str:  # type: ignore[override]  # a plain attribute in botocore
        """The secret of the current principal."""
        return _current().secret_key

    @property
    def token(self) -> str | None:  # type: ignore[override]  # a plain attribute in botocore
        """The session token of the current principal."""
        return _current().token

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The current principal, as the signer takes it."""
        principal = _current()
        return ReadOnlyCredentials(principal.access_key, principal.secret_key, principal.token)

    def get_deferred_property(self, property_name: str) -> Any:
        """botocore asks for the account id to build account-based endpoints, which we do not use."""
        return lambda: getattr(self, property_name, None)


def _current() -> Principal:
    try:
        return _PRINCIPAL.get()
    except LookupError:
        raise WrongCredentials("a request was made outside of any account's task; nothing was sent") from None


class Guard:
    """Stops a request that is signed with another account's key, right before it leaves."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def __call__(self, request: Any, **_: Any) -> None:
        """The handler of botocore's `before-send`; raising keeps the request from being sent."""
        header = request.headers.get("Authorization", "")
        text = header.decode() if isinstance(header, bytes) else str(header)
        match = _SIGNED_BY.search(text)
        if match is None:
            raise WrongCredentials("a request without a signature was stopped")
        account = _ACCOUNT.get()
        key = match.group(1)
        if key != _current().access_key:
            raise WrongCredentials(f"a request for account {account} carried the key of another task and was stopped")
        if account is not None and self._ring.account_of(key) != account:
            raise WrongCredentials(f"a request for account {account} carried the key of another account; stopped")
