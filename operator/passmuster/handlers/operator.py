"""The operator's process: start in order, work, stop in order.

::

    connect > wait for our CRDs > list > rebuild figures > watch > compete for the lease > work
    SIGTERM > take no more work > finish what is under way > give the lease up > end the watches

A standby watches and keeps its cache and takes alerts, but its workers wait; it exports no figure of any account.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog

from passmuster.aws.clients import Clients
from passmuster.aws.collector import Collector
from passmuster.aws.identity import Identities
from passmuster.aws.limits import DEFAULT_RATE, Limits
from passmuster.aws.models import operations_of
from passmuster.aws.principal import KeyRing
from passmuster.aws.request_spans import handlers
from passmuster.aws.transport import BotoTransport
from passmuster.checks import catalogue as checks
from passmuster.checks.judge import distinct_calls
from passmuster.engine.cache import Cache, kept_annotations
from passmuster.engine.fleet import Counters, Fleet
from passmuster.engine.inspection import Inspector
from passmuster.engine.ports import (
    ACCOUNTS,
    GRANTED,
    KINDS,
    NAMESPACES,
    POLICIES,
    REMEDIATIONS,
    REPORTS,
    ClusterUnreachable,
    Conflict,
    Key,
    Object,
)
from passmuster.engine.queue import WorkQueue
from passmuster.engine.reconcile import Reconciler
from passmuster.engine.services import Services
from passmuster.handlers.alerts import Receiver
from passmuster.handlers.port import Port
from passmuster.handlers.tracing import tracer_of
from passmuster.handlers.watches import WATCHED, Watches
from passmuster.kube.cluster import KubeCluster
from passmuster.kube.connection import connect, login
from passmuster.kube.lease import DURATION, NAME, Lease
from passmuster.metrics.exposition import Exposition
from passmuster.model.errors import Unavailable
from passmuster.model.trace import OFF, TRIGGER, Span
from passmuster.remediation import catalogue as remediations
from passmuster.report import html

log = structlog.get_logger("passmuster")

AUDIT_EVERY = 60.0
WATCH_LIMIT = 150.0
OVERDUE_LIMIT = 3 * 3600.0
"""Three default intervals that a due policy waits for a worker; suspended and backing-off ones are not due."""


@dataclass(frozen=True, slots=True)
class Options:
    """The flags of `passmuster operator`."""

    http_address: str = "0.0.0.0:8080"
    alerts_token_file: Path | None = None
    endpoint_url: str | None = None
    namespaces: tuple[str, ...] = ()
    workers: int = 4
    kubeconfig: Path | None = None
    context: str | None = None
    own_namespace: str = "passmuster-system"
    requests_per_second: float = DEFAULT_RATE
    lease_duration: int = DURATION
    crd_timeout: float = 120.0
    evidence_dir: Path | None = None


class Operator:
    """Everything one process holds."""

    def __init__(self, options: Options) -> None:
        self._options = options
        identity = f"{socket.gethostname()}-{uuid4().hex[:8]}"
        tracer = tracer_of(os.environ, identity)
        api = connect(options.kubeconfig, options.context)
        self.lease = Lease(
            api,
            namespace=options.own_namespace,
            name=NAME,
            identity=identity,
            duration=options.lease_duration,
            on_change=self._on_lease,
        )
        self.cluster = KubeCluster(
            api, self.lease.leading, namespace=options.own_namespace, instance=identity, tracer=tracer
        )
        self.cache = Cache()
        self.queue: WorkQueue[Key] = WorkQueue()
        counters, fleet = Counters(), Fleet()
        ring = KeyRing()
        known = checks.load()
        clients = Clients(
            ring,
            endpoint_url=options.endpoint_url,
            max_connections=16 * options.workers,
            operations=operations_of(distinct_calls(known)),
            handlers=handlers(tracer),
        )
        identities = Identities(clients)
        limits = Limits(options.requests_per_second)
        collector = Collector(BotoTransport(clients), limits, observer=counters)
        inspector = Inspector(collector, identities, known, tracer=tracer)
        self.reconciler = Reconciler(
            Services(
                cluster=self.cluster,
                cache=self.cache,
                inspector=inspector,
                identities=identities,
                clients=clients,
                remediations=remediations.load(),
                fleet=fleet,
                counters=counters,
                evidence_dir=options.evidence_dir,
                page=lambda report, plan, changes, title: html.render(report, plan, title=title, changes=changes),
                tracer=tracer,
            )
        )
        self._tracer = tracer
        self._triggers: dict[Key, str] = {}
        """Why the next turn of a key comes, for its trace."""
        self._fleet = fleet
        self.watches = Watches(
            lambda: login(options.kubeconfig, options.context), self._on_event, namespaces=options.namespaces
        )
        exposition = Exposition(
            self.cache,
            fleet,
            counters,
            self.queue,
            leading=self.lease.leading,
            canary_age=self.watches.age,
            catalogue=checks.VERSION,
        )
        receiver = None
        if options.alerts_token_file is not None:
            receiver = Receiver(
                self.cluster, self.cache, options.alerts_token_file, known.__contains__, counters=counters
            )
        self.port = Port(
            options.http_address,
            health=self.health,
            readiness=self.readiness,
            metrics=exposition.text,
            alerts=receiver,
        )
        self._restored = False
        self._started = False
        self._stopping = threading.Event()
        self._leads = threading.Event()
        self._workers: list[threading.Thread] = []

    def run(self) -> int:
        """Works until SIGTERM or SIGINT; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        self.start()
        last_audit = time.monotonic()
        while not self._stopping.wait(1.0):
            if not self.watches.alive:
                log.error("the watches ended by themselves")
                self.stop()
                return 1
            if time.monotonic() - last_audit > AUDIT_EVERY:
                last_audit = time.monotonic()
                self._audit()
        self.stop()
        if any(worker.is_alive() for worker in self._workers):
            _leave(0)
        return 0

    def start(self) -> None:
        """Everything up to work; returns when the watches run."""
        self.port.start()
        log.info("http port", url=self.port.url)
        self._await_kinds()
        for plural in (NAMESPACES, *WATCHED):
            for body in self.cluster.each(plural):
                if self._ours(body):
                    self.cache.put(Key.of(plural, body), body)
        self.reconciler.restore()
        self._restored = True
        self.watches.start()
        self._add_everything()
        for number in range(self._options.workers):
            worker = threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            worker.start()
            self._workers.append(worker)
        self.lease.start()
        self._started = True

    def stop(self) -> None:
        """No more work, the lease given up, the watches ended; in that order."""
        log.info("stopping")
        self._stopping.set()
        self._leads.set()
        self.queue.close()
        deadline = time.monotonic() + 3.0
        for worker in self._workers:
            worker.join(timeout=max(0.0, deadline - time.monotonic()))
        self.lease.stop()
        self.watches.stop()
        self.port.stop()
        self._tracer.close()

    def health(self) -> str | None:
        """None while the process can do its work."""
        if not self._started:
            return None
        if not self.watches.alive:
            return "the watches have ended"
        if self.watches.age() > WATCH_LIMIT:
            return f"the watches are {self.watches.age():.0f} s behind the API server"
        if not self.lease.alive:
            return "the lease loop is dead"
        overdue = self.queue.oldest_due
        if self.lease.leading() and overdue > OVERDUE_LIMIT:
            return f"a policy has been due for {overdue:.0f} s"
        return None

    def readiness(self) -> str | None:
        """None once the figures are rebuilt and the watches run; a standby is ready."""
        if not self._restored:
            return "the reports are being read"
        if not self.watches.ready:
            return "the watches are starting"
        return None

    def _await_kinds(self) -> None:
        """kopf silently serves nothing if a CRD comes later, so none may be missing."""
        deadline = time.monotonic() + self._options.crd_timeout
        while not self._stopping.is_set():
            missing = self.cluster.missing_kinds(WATCHED)
            if not missing:
                return
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the API server does not serve {', '.join(missing)}.passmuster.io: apply the custom resource "
                    "definitions first (kubectl apply --server-side -f crds/)"
                )
            log.info("waiting for the custom resource definitions", missing=missing)
            time.sleep(2.0)

    def _ours(self, body: Object) -> bool:
        namespace = body["metadata"].get("namespace")
        return namespace is None or not self._options.namespaces or namespace in self._options.namespaces

    def _on_event(self, kind: str, key: Key, body: Object) -> None:
        """An event of a stream: remember it, and ask for a turn of the policy it concerns."""
        if not self._ours(body):
            return
        if kind == "DELETED":
            if self.cache.drop(key, body):
                self._gone(key)
        else:
            told_by = key.plural in (POLICIES, ACCOUNTS, REMEDIATIONS, *GRANTED)
            before = self.cache.get(key) if told_by else None
            self.cache.put(key, body)
            if told_by and not _matters(before, body):
                return
            if key.plural == REPORTS and not self.lease.leading():
                self.reconciler.restore_report(key, body)
        for policy in self._concerned(key, body):
            self._ask(policy, KINDS[key.plural])

    def _ask(self, key: Key, trigger: str) -> None:
        """Asks for a turn, and notes why it comes."""
        self._triggers[key] = trigger
        self.queue.add(key)

    def _gone(self, key: Key) -> None:
        if key.plural == REPORTS:
            self._fleet.drop(key)
        elif key.plural == REMEDIATIONS:
            self._fleet.drop_remediation(key)
        elif key.plural == POLICIES:
            self._fleet.drop_policy(key)
            self._forget(key)
            for account in self.cache.keys(ACCOUNTS):
                self.queue.add(account)
            for plural in GRANTED:
                for orphan, _ in self.cache.owned(plural, key):
                    self.queue.add(orphan)
        elif key.plural in GRANTED:
            self._forget(key)

    def _forget(self, key: Key) -> None:
        """No turn of the key is asked for any more."""
        self.queue.forget(key)
        self._triggers.pop(key, None)

    def _concerned(self, key: Key, body: Object) -> list[Key]:
        if key.plural == POLICIES:
            return [key]
        if key.plural in GRANTED:
            owner = Key(POLICIES, key.namespace, body["spec"]["policyRef"]["name"])
            return [owner if self.cache.get(owner) is not None else key]
        if key.plural in (REMEDIATIONS, REPORTS):
            if key.plural == REPORTS and body["metadata"].get("deletionTimestamp") is None:
                return []
            owner = Key(POLICIES, key.namespace, body["spec"]["policyRef"]["name"])
            return [owner] if self.cache.get(owner) is not None else []
        if key.plural == ACCOUNTS:
            return [key, *self.cache.keys(POLICIES)]
        return self.cache.keys(POLICIES, key.name)

    def _add_everything(self) -> None:
        for plural in (ACCOUNTS, POLICIES):
            for key in self.cache.keys(plural):
                self._ask(key, "start")
        for plural in GRANTED:
            for key, body in self.cache.all(plural):
                for concerned in self._concerned(key, body):
                    self._ask(concerned, "start")

    def _on_lease(self, leads: bool) -> None:
        log.info("lease", leading=leads)
        if leads:
            self.reconciler.restore()
            self._leads.set()
            self._add_everything()
        else:
            self._leads.clear()

    def _work(self) -> None:
        while not self._stopping.is_set():
            if not self._leads.wait(timeout=1.0):
                continue
            key = self.queue.take(timeout=1.0)
            if key is None:
                continue
            self._turn(key)

    def _turn(self, key: Key) -> None:
        """One turn of a policy in a worker: the outermost handler of whatever goes wrong in it."""
        if not self.lease.leading():
            self.queue.failed(key)
            return
        tracer = self._tracer if key.plural == POLICIES else OFF
        told = {"passmuster.policy_namespace": key.namespace, "passmuster.policy": key.name}
        with (
            tracer.trace("turn", {**told, TRIGGER: self._triggers.pop(key, "due")}) as span,
            structlog.contextvars.bound_contextvars(**_logged(key, span)),
        ):
            try:
                due = self._reconciled(key)
            except (ClusterUnreachable, Conflict) as error:
                span.fail(type(error).__name__)
                self._triggers.setdefault(key, "retry")
                log.warning("turn repeated", error=str(error), delay=round(self.queue.failed(key), 1))
            except Exception as error:
                span.fail(type(error).__name__)
                self._triggers.setdefault(key, "retry")
                log.exception("turn failed", delay=round(self.queue.failed(key), 1))
            else:
                self.queue.done(key)
                if due is not None:
                    self.queue.add(key, due)

    def _reconciled(self, key: Key) -> float | None:
        if key.plural == ACCOUNTS:
            self.reconciler.reconcile_account(key)
            return None
        if key.plural in GRANTED:
            self.reconciler.reconcile_grant(key)
            return None
        return self.reconciler.reconcile(key)

    def _audit(self) -> None:
        """What the streams missed is fetched; what vanished unnoticed is dropped."""
        try:
            listed: dict[Key, str] = {}
            for plural in WATCHED:
                for body in self.cluster.each(plural, metadata_only=True):
                    if self._ours(body):
                        listed[Key.of(plural, body)] = body["metadata"].get("resourceVersion", "")
            for key in self.watches.audit(listed):
                found = self.cluster.get(key)
                known = self.cache.get(key)
                if found is not None:
                    self._on_event("MODIFIED", key, found)
                    continue
                self.watches.forget(key)
                if known is not None:
                    self._on_event("DELETED", key, known)
        except ClusterUnreachable as error:
            log.warning("audit of the watches failed", error=str(error))


def _leave(code: int) -> None:
    """Ends the process although a read of AWS hangs in a thread, for which the interpreter would wait at its end.

    Nothing is lost: what a change was about to do was written before, and the next process goes on from there.
    """
    log.info("left while reads were under way")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _logged(key: Key, span: Span) -> dict[str, str]:
    """What every line of the log says during a turn."""
    return {"policy": str(key), **({"trace_id": span.trace_id} if span.trace_id else {})}


def _matters(before: Object | None, after: Object) -> bool:
    """Whether an event is more than our own status write coming back."""
    if before is None:
        return True

    def decisive(body: Object) -> tuple[Any, ...]:
        metadata: Mapping[str, Any] = body["metadata"]
        return (
            metadata.get("generation"),
            metadata.get("deletionTimestamp"),
            kept_annotations(metadata),
            metadata.get("labels"),
            metadata.get("uid"),
        )

    return decisive(before) != decisive(after)


def own_namespace() -> str:
    """The namespace of the pod, or passmuster-system."""
    path = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    if "POD_NAMESPACE" in os.environ:
        return os.environ["POD_NAMESPACE"]
    return path.read_text().strip() if path.is_file() else "passmuster-system"
