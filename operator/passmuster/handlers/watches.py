"""Watch streams of our kinds, by kopf, in a thread of their own; events go to the cache and the work queue.

No handler of kopf's is registered that keeps state on an object: no timer, no daemon, no change handler. An event puts
the policy's key into the queue and nothing else happens here.

kopf lists and watches by itself and reconnects after silence. Against streams that end without anybody noticing there
is `audit`: the names and versions the API server lists are compared with what the streams brought.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kopf
import structlog

from passmuster.api.resource import GROUP, VERSION
from passmuster.engine.ports import ACCOUNTS, NAMESPACES, OF_A_POLICY, POLICIES, REPORTS, Key, Object

WATCHED = (POLICIES, ACCOUNTS, *OF_A_POLICY)

Event = Callable[[str, Key, Object], None]
"""Called with the event's type ("", ADDED, MODIFIED or DELETED), the object's key and its body."""

log = structlog.get_logger("passmuster")


class Watches:
    """kopf, embedded. `connection` says anew at each login where the API server is and who we are."""

    def __init__(
        self, connection: Callable[[], Mapping[str, Any]], on_event: Event, *, namespaces: Sequence[str] = ()
    ) -> None:
        self._connection = connection
        self._on_event = on_event
        self._namespaces = tuple(namespaces)
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._streamed: dict[Key, str] = {}
        self._behind: dict[Key, tuple[str, float]] = {}
        self.last_event = time.monotonic()

    def start(self) -> None:
        """Begins to watch."""
        self._thread = threading.Thread(target=self._run, name="watches", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the streams."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    @property
    def ready(self) -> bool:
        """Whether kopf has started its streams."""
        return self._ready.is_set()

    @property
    def alive(self) -> bool:
        """Whether kopf still runs."""
        return self._thread is not None and self._thread.is_alive()

    def audit(self, listed: Mapping[Key, str]) -> list[Key]:
        """Compares the versions the API server lists, of all kinds, with those the streams brought.

        Returns what they missed; what turns out to be gone is to be told to `forget`.
        """
        now = time.monotonic()
        with self._lock:
            missed = [key for key, version in listed.items() if _older(self._streamed.get(key), version)]
            gone = [key for key in self._streamed if key.plural in WATCHED and key not in listed]
            behind = {}
            for key in (*missed, *gone):
                version = listed.get(key, "")
                before = self._behind.get(key)
                behind[key] = before if before is not None and before[0] == version else (version, now)
            self._behind = behind
            return [*missed, *gone]

    def forget(self, key: Key) -> None:
        """The object is gone, which a stream that was interrupted at that moment never tells."""
        with self._lock:
            self._streamed.pop(key, None)
            self._behind.pop(key, None)

    def age(self) -> float:
        """Seconds that the streams have been behind the API server; 0 while they are not."""
        now = time.monotonic()
        with self._lock:
            return max((now - since for _, since in self._behind.values()), default=0.0)

    def _run(self) -> None:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        kopf.on.startup(registry=registry)(_configure)
        for plural in WATCHED:
            kopf.on.event(GROUP, VERSION, plural, registry=registry)(self._handler(plural))
        kopf.on.event("", "v1", NAMESPACES, registry=registry)(self._handler(NAMESPACES))
        asyncio.run(
            kopf.operator(
                registry=registry,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                standalone=True,
                ready_flag=self._ready,
                stop_flag=self._stop,
            )
        )

    def _login(self, **_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**self._connection())

    def _handler(self, plural: str) -> Any:
        async def on_event(event: Mapping[str, Any], **_: Any) -> None:
            body = event["object"]
            key = Key.of(plural, body)
            kind = event.get("type") or ""
            with self._lock:
                self.last_event = time.monotonic()
                if kind == "DELETED":
                    self._streamed.pop(key, None)
                else:
                    self._streamed[key] = body["metadata"].get("resourceVersion", "")
            self._on_event(kind, key, body)
            if plural == REPORTS:
                body.pop("status", None)  # kopf holds on to an object for seconds, and at a start to all of them

        on_event.__name__ = f"on_{plural}"
        return on_event


def _older(streamed: str | None, listed: str) -> bool:
    if streamed is None:
        return True
    if streamed.isdigit() and listed.isdigit():
        return int(streamed) < int(listed)
    return streamed != listed


async def _configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.finalizer = "passmuster.io/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="kopf.passmuster.io", v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="kopf.passmuster.io", v1=False)
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1.0
    settings.watching.inactivity_timeout = 70
    settings.watching.chunk_size = 100
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.process.ultimate_exiting_timeout = 25
