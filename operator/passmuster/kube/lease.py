"""Leadership by a Lease: one active process, any number of hot standbys.

::

    standby --lease free or expired--> leader --cannot renew for RENEW_DEADLINE--> standby
                                         |--stop: release--> gone

Expiry is measured on this machine's CLOCK_BOOTTIME from when a change of the lease was *seen*, never by comparing the
clocks of two machines, and a suspended process finds itself expired when it wakes. The lease narrows the window of two
writers; what makes a change safe is in AWS: names, tokens, the stack's own lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

NAME = "passmuster"
"""The one Lease of an installation, in its namespace."""

DURATION = 15
RENEW_DEADLINE = 10.0
RETRY = 2.0
"""Of a lease of DURATION, in seconds; with another duration the other two are in proportion."""


def boottime() -> float:
    """Seconds since boot, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """Holds or waits for a Lease in a thread of its own."""

    def __init__(
        self,
        api: Any,
        *,
        namespace: str,
        name: str,
        identity: str,
        duration: int = DURATION,
        on_change: Callable[[bool], None] = lambda leading: None,  # noqa: ARG005 - nothing to tell by default
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._leases = client.CoordinationV1Api(api)
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._duration = duration
        self._pace = duration / DURATION
        self._on_change = on_change
        self._clock = clock
        self._renewed = float("-inf")
        self._seen: tuple[str, Any, float] = ("", None, float("-inf"))
        self._leads = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.beat = clock()

    def start(self) -> None:
        """Begins to compete for the lease."""
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Gives the lease up, so that a standby takes over at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        if self._leads:
            self._release()

    def leading(self) -> bool:
        """Whether the lease is ours and was renewed recently enough; asked right before every change."""
        return self._leads and self._clock() - self._renewed < RENEW_DEADLINE * self._pace

    @property
    def alive(self) -> bool:
        """Whether the loop still turns."""
        return self._thread is not None and self._thread.is_alive() and self._clock() - self.beat < 4 * self._duration

    def _run(self) -> None:
        while not self._stop.is_set():
            self.beat = self._clock()
            try:
                held = self._try()
            except (ApiException, HTTPError, OSError):
                held = self.leading()
            self._become(held)
            self._stop.wait(RETRY * self._pace)

    def _become(self, leads: bool) -> None:
        if leads != self._leads:
            self._leads = leads
            self._on_change(leads)

    def _try(self) -> bool:
        now = self._clock()
        try:
            lease = self._leases.read_namespaced_lease(self._name, self._namespace, _request_timeout=5)
        except ApiException as error:
            if error.status != 404:
                raise
            self._leases.create_namespaced_lease(self._namespace, self._body(None, 0), _request_timeout=5)
            self._renewed = now
            return True
        holder = lease.spec.holder_identity or ""
        if holder != self.identity:
            version = lease.metadata.resource_version
            if self._seen[:2] != (holder, version):
                self._seen = (holder, version, now)
            if holder and now - self._seen[2] < (lease.spec.lease_duration_seconds or self._duration):
                return False
        transitions = (lease.spec.lease_transitions or 0) + (holder != self.identity)
        try:
            self._leases.replace_namespaced_lease(
                self._name,
                self._namespace,
                self._body(lease.metadata.resource_version, transitions, None if holder != self.identity else lease),
                _request_timeout=5,
            )
        except ApiException as error:
            if error.status == 409:
                return False
            raise
        self._renewed = now
        return True

    def _body(self, version: str | None, transitions: int, held: Any = None) -> Any:
        now = datetime.now(UTC)
        return client.V1Lease(
            metadata=client.V1ObjectMeta(name=self._name, namespace=self._namespace, resource_version=version),
            spec=client.V1LeaseSpec(
                holder_identity=self.identity,
                lease_duration_seconds=self._duration,
                acquire_time=held.spec.acquire_time if held is not None else now,
                renew_time=now,
                lease_transitions=transitions,
            ),
        )

    def _release(self) -> None:
        self._leads = False
        try:
            lease = self._leases.read_namespaced_lease(self._name, self._namespace, _request_timeout=2)
            if lease.spec.holder_identity == self.identity:
                lease.spec.holder_identity = ""
                lease.spec.lease_duration_seconds = 1
                self._leases.replace_namespaced_lease(self._name, self._namespace, lease, _request_timeout=2)
        except (ApiException, HTTPError, OSError):
            return
