"""What a policy asks for, done: inspect its accounts when due, write reports, propose, carry out, sum up.

One call of `Reconciler.reconcile` is one turn for one policy, in a worker's thread. Objects come from the watch's
cache; whatever is decided from is read again right before it is written or acted on. The order of a turn::

    rules of the account > is an inspection due? > inspect > report > propose > steps of remediations > status

A turn writes only what changed: two turns over an unchanged account write nothing but a heartbeat.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from pydantic import ValidationError

from passmuster.api.account import AWSAccount
from passmuster.api.approval import Action
from passmuster.api.conditions import Condition, ConditionReason, ConditionType, set_condition
from passmuster.api.fields import written
from passmuster.api.policy import DeletionPolicy, ReadinessPolicy
from passmuster.api.remediation import Remediation, State
from passmuster.api.resource import API_VERSION, FINALIZER, HINT, REQUESTED_AT
from passmuster.assess.plan import Plan, Step, plan
from passmuster.aws.clients import Clients
from passmuster.aws.collector import billed_readings
from passmuster.aws.identity import Identities
from passmuster.aws.stacks import Stacks
from passmuster.checks.judge import calls_of
from passmuster.engine import documents
from passmuster.engine.cache import Cache
from passmuster.engine.fleet import Counters, Figures, Fleet
from passmuster.engine.inspection import Inspector, Outcome, Task
from passmuster.engine.ports import (
    ACCOUNTS,
    NAMESPACES,
    POLICIES,
    REMEDIATIONS,
    REPORTS,
    Cluster,
    ClusterUnreachable,
    Key,
    Object,
)
from passmuster.engine.remediate import BEFORE, SOON, UNDER_WAY, Remediator, Situation
from passmuster.engine.tenancy import Governed, govern, remediation_target
from passmuster.inventory.call import Call
from passmuster.model.errors import AccountError, ChangeRefused, TenancyError, UserError
from passmuster.model.evidence import Evidence
from passmuster.model.report import Report
from passmuster.model.verdict import Mode, level_order
from passmuster.remediation.catalogue import Remediations
from passmuster.remediation.rendering import Owner, Proposal

HEARTBEAT = timedelta(minutes=5)
"""How old the times in a policy's status may be before they are written although nothing else changed."""

REPORT_HEARTBEAT = timedelta(hours=24)
RETRY_ACCOUNT = (timedelta(seconds=30), timedelta(minutes=10))

log = structlog.get_logger("passmuster")


@dataclass(slots=True)
class _Known:
    """What is remembered of one account under one policy between turns."""

    outcome: Outcome | None = None
    plan: Plan | None = None
    previous: Report | None = None
    failures: int = 0
    tried_at: datetime | None = None
    generations: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class _Verdict:
    """What a turn found out about one account of a policy."""

    account: str
    report: Report | None = None
    plan: Plan | None = None
    error: AccountError | TenancyError | UserError | None = None
    due_in: float = 0.0


@dataclass(slots=True)
class Services:
    """Everything a reconciler works with."""

    cluster: Cluster
    cache: Cache
    inspector: Inspector
    identities: Identities
    clients: Clients
    remediations: Remediations
    fleet: Fleet
    counters: Counters
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class Reconciler:
    """Thread-safe across policies; the queue sees to it that one policy has one turn at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: dict[tuple[Key, str], _Known] = {}
        self._lock = threading.Lock()
        self._remediator = Remediator(services.cluster, services.clock)

    def reconcile(self, key: Key) -> float | None:
        """One turn for a policy. Returns the seconds until the next one; None when nothing is to be done for it.

        Raises ClusterUnreachable or Conflict when the turn is to be repeated.
        """
        services = self._services
        body = services.cluster.get(key)
        if body is None:
            self._forget(key)
            return None
        services.cache.put(key, body)
        try:
            policy = ReadinessPolicy.read(body)
        except ValidationError as error:
            self._refuse(body, ConditionReason.INVALID_SPEC, _first_error(error))
            return None
        if policy.metadata.deletion_timestamp is not None:
            return self._delete(key, policy)
        if policy.spec.suspend:
            self._suspended(body, policy)
            return None
        turn = _Turn(self, key, body, policy)
        return turn.run()

    def restore(self) -> None:
        """After a start or a takeover: figures from the reports in the cluster, before /readyz is green."""
        services = self._services
        for key, body in services.cache.all(REPORTS):
            self.restore_report(key, body)
        for key, body in services.cache.all(REMEDIATIONS):
            state = (body.get("status") or {}).get("state", State.PROPOSED.value)
            services.fleet.put_remediation(key, body["spec"]["phase"], state)

    def restore_report(self, key: Key, body: Object) -> None:
        """The figures of one stored report."""
        policy = Key(POLICIES, key.namespace, body["spec"]["policyRef"]["name"])
        owner = self._services.cache.get(policy)
        target = (owner or {}).get("spec", {}).get("minimumScore")
        self._services.fleet.put(key, Figures.of(policy, body, target))

    def known(self, key: Key, account_id: str) -> _Known:
        """The memory of one account under one policy."""
        with self._lock:
            return self._known.setdefault((key, account_id), _Known())

    @property
    def services(self) -> Services:
        """What the reconciler works with."""
        return self._services

    @property
    def remediator(self) -> Remediator:
        """What takes remediations further."""
        return self._remediator

    def _forget(self, key: Key) -> None:
        with self._lock:
            for entry in [entry for entry in self._known if entry[0] == key]:
                del self._known[entry]

    def _refuse(self, body: Object, reason: ConditionReason, message: str) -> None:
        writer = PolicyWriter(self._services, body)
        writer.condition(ConditionType.READY, False, reason, message)
        writer.condition(ConditionType.RECONCILING, False, reason, message)
        writer.condition(ConditionType.STALLED, True, reason, message)
        writer.save({})

    def _suspended(self, body: Object, policy: ReadinessPolicy) -> None:
        message = "Suspended by spec.suspend: no AWS call is made"
        writer = PolicyWriter(self._services, body)
        writer.condition(ConditionType.READY, None, ConditionReason.SUSPENDED, message)
        writer.condition(ConditionType.RECONCILING, False, ConditionReason.SUSPENDED, message)
        writer.condition(ConditionType.STALLED, False, ConditionReason.SUSPENDED, message)
        token = policy.metadata.annotations.get(REQUESTED_AT)
        writer.save({"lastHandledReconcileAt": token} if token else {})

    def _delete(self, key: Key, policy: ReadinessPolicy) -> float | None:
        """A policy with deletionPolicy Delete goes only after the stacks made for it."""
        self._forget(key)
        if FINALIZER not in policy.metadata.finalizers:
            return None
        left = 0
        for entry, account in self._stacks_of(key):
            remediation = Remediation.read(entry)
            if policy.spec.deletion_policy is DeletionPolicy.DELETE and account is not None:
                left += self._delete_stack(policy, account, remediation)
        if left:
            return SOON
        kept = [name for name in policy.metadata.finalizers if name != FINALIZER]
        self._services.cluster.patch(key, {"metadata": {"finalizers": kept}})
        return None

    def _stacks_of(self, key: Key) -> Iterator[tuple[Object, AWSAccount | None]]:
        accounts = {}
        for _, body in self._services.cache.all(ACCOUNTS):
            account = AWSAccount.read(body)
            accounts[account.spec.account_id] = account
        for _, body in self._services.cache.all(REMEDIATIONS, key.namespace):
            has_stack = ((body.get("status") or {}).get("stack") or {}).get("status", "") not in ("", "DELETE_COMPLETE")
            if body["spec"]["policyRef"]["name"] == key.name and has_stack:
                yield body, accounts.get(body["spec"]["accountId"])

    def _delete_stack(self, policy: ReadinessPolicy, account: AWSAccount, remediation: Remediation) -> int:
        """1 while the stack is still there."""
        if account.spec.remediation_role_arn is None or remediation.status.stack is None:
            return 0
        governed = govern(policy, account, self._labels(policy.metadata.namespace or ""))
        stacks = self.stacks(governed, remediation.spec.region)
        if stacks is None:
            return 0
        stack = stacks.stack(remediation.status.stack.id or remediation.status.stack.name)
        if stack is None or stack.status == "DELETE_COMPLETE":
            return 0
        if not stack.busy:
            stacks.delete(stack.name, f"passmuster-{remediation.spec.intent.digest[7:17]}-finalize")
        return 1

    def stacks(self, governed: Governed, region: str) -> Stacks | None:
        """CloudFormation in a region as the account's remediation role; None without one."""
        target = remediation_target(governed)
        if target is None:
            return None
        services = self._services

        def gate() -> None:
            if not services.cluster.leading():
                raise ChangeRefused(ConditionReason.PROGRESSING, "This process no longer holds the lease")

        return Stacks(
            services.clients,
            services.identities.principal(target),
            target.account_id,
            region,
            gate,
            lambda operation, outcome: services.counters.request("cloudformation", operation, outcome, 0.0),
        )

    def _labels(self, namespace: str) -> Mapping[str, str]:
        body = self._services.cache.get(Key(NAMESPACES, "", namespace))
        if body is None:
            body = self._services.cluster.get(Key(NAMESPACES, "", namespace))
        return ((body or {}).get("metadata") or {}).get("labels") or {}

    def labels(self, namespace: str) -> Mapping[str, str]:
        """The labels of a namespace."""
        return self._labels(namespace)


class PolicyWriter:
    """Collects the new status of one policy and writes it if it says something new."""

    def __init__(self, services: Services, body: Object) -> None:
        self._services = services
        self._body = body
        self.key = Key.of(POLICIES, body)
        self._stored: Mapping[str, Any] = body.get("status") or {}
        self._conditions = [Condition.model_validate(c) for c in self._stored.get("conditions") or ()]
        self._generation = body["metadata"].get("generation") or 1

    def condition(self, kind: ConditionType, status: bool | None, reason: str, message: str) -> None:
        """Sets one condition."""
        now = self._services.clock()
        if not message:
            message = "-"
        self._conditions = set_condition(
            self._conditions, kind, status, reason, _sentence(message), self._generation, now
        )

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Posts an event about the policy."""
        self._services.cluster.event(
            self._body, kind="ReadinessPolicy", reason=reason, message=_sentence(message), warning=warning
        )

    def reason_before(self, kind: ConditionType) -> str | None:
        """The reason a condition had before this turn."""
        return next((c["reason"] for c in self._stored.get("conditions") or () if c["type"] == kind.value), None)

    def save(self, members: Mapping[str, Any]) -> bool:
        """Writes the status with these members; returns whether anything was written."""
        status = {
            **self._stored,
            **members,
            "observedGeneration": self._generation,
            "conditions": [c.model_dump(mode="json", by_alias=True) for c in self._conditions],
        }
        if documents.substance(self._stored) == documents.substance(status) and not self._heartbeat_due(status):
            return False
        patch = documents.merge_patch(self._stored, status)
        if not patch:
            return False
        answer = self._services.cluster.patch_status(self.key, patch)
        self._services.counters.wrote()
        if answer is not None:
            self._services.cache.put(self.key, answer)
        return True

    def _heartbeat_due(self, status: Mapping[str, Any]) -> bool:
        before = (self._stored.get("lastInspection") or {}).get("startedAt")
        after = (status.get("lastInspection") or {}).get("startedAt")
        if before is None or after is None:
            return before != after
        return datetime.fromisoformat(after) - datetime.fromisoformat(before) >= HEARTBEAT


@dataclass(slots=True)
class _Turn:
    """One turn for one policy."""

    reconciler: Reconciler
    key: Key
    body: Object
    policy: ReadinessPolicy
    written: bool = field(default=False)

    @property
    def services(self) -> Services:
        return self.reconciler.services

    def run(self) -> float | None:
        token = self.policy.metadata.annotations.get(REQUESTED_AT)
        requested = token is not None and token != self.policy.status.last_handled_reconcile_at
        try:
            accounts = self._accounts()
        except TenancyError as refused:
            return self._refused(refused, token)
        hint = self.policy.metadata.annotations.get(HINT) if requested else None
        hinted = self._services_of(hint.split(",")) if hint else frozenset()
        verdicts = [self._account(account, requested=requested, hinted=hinted) for account in accounts]
        self._sum_up(accounts, verdicts, token)
        waits = [verdict.due_in for verdict in verdicts]
        return max(0.0, min(waits)) if waits else None

    # which accounts

    def _accounts(self) -> list[AWSAccount]:
        spec = self.policy.spec
        cache = self.services.cache
        if spec.account_ref is not None:
            key = Key(ACCOUNTS, "", spec.account_ref.name)
            body = cache.get(key) or self.services.cluster.get(key)
            if body is None:
                raise TenancyError(
                    ConditionReason.ACCOUNT_NOT_FOUND,
                    f"There is no AWSAccount {spec.account_ref.name}: create it, or correct spec.accountRef",
                )
            return [AWSAccount.read(body)]
        selector = spec.account_selector
        found = [
            AWSAccount.read(body)
            for _, body in cache.all(ACCOUNTS)
            if selector is not None and selector.selects(body["metadata"].get("labels") or {})
        ]
        if not found:
            raise TenancyError(
                ConditionReason.NO_ACCOUNT_SELECTED, "No AWSAccount has the labels of spec.accountSelector"
            )
        return sorted(found, key=lambda account: account.metadata.name)

    def _govern(self, account: AWSAccount) -> Governed:
        payer = None
        reference = account.spec.payer_account_ref
        if reference is not None:
            body = self.services.cache.get(Key(ACCOUNTS, "", reference.name))
            payer = AWSAccount.read(body) if body is not None else None
        return govern(self.policy, account, self.reconciler.labels(self.key.namespace), payer)

    # one account

    def _account(self, account: AWSAccount, *, requested: bool, hinted: frozenset[str]) -> _Verdict:
        known = self.reconciler.known(self.key, account.spec.account_id)
        verdict = _Verdict(account.metadata.name)
        try:
            governed = self._govern(account)
        except TenancyError as refused:
            verdict.error, verdict.due_in = refused, 3600.0
            return verdict
        generations = (self.policy.metadata.generation or 1, account.metadata.generation or 1)
        due_in = self._due_in(known, governed, generations, requested=requested)
        active = self._active(account.spec.account_id)
        try:
            if due_in <= 0 or (known.outcome is None and active):
                self._inspect(governed, known, fresh=requested and not hinted, hinted=hinted)
                known.generations = generations
                due_in = self._next(known, governed)
            verdict.report = known.outcome.report if known.outcome is not None else known.previous
            verdict.plan = known.plan
            if known.outcome is not None:
                waits = self._remediate(governed, known)
                due_in = min(due_in, *waits) if waits else due_in
                verdict.report, verdict.plan = known.outcome.report, known.plan
        except (AccountError, UserError) as error:
            known.failures += 1
            known.tried_at = self.services.clock()
            known.generations = generations
            self.services.counters.failed(error.reason)
            verdict.error = error
            first, last = RETRY_ACCOUNT
            wait = min(last, first * 2 ** min(known.failures - 1, 8)) if error.retryable else last
            due_in = wait.total_seconds()
            log.warning("inspection failed", policy=str(self.key), account=account.spec.account_id, reason=error.reason)
        verdict.due_in = due_in
        return verdict

    def _active(self, account_id: str) -> bool:
        """Whether a remediation of this policy and account has a step to take."""
        return any(
            r.spec.account_id == account_id
            and (r.status.state in UNDER_WAY or (r.status.state in BEFORE and r.spec.approvals) or _undo_asked(r))
            for r in self._remediations()
        )

    def _due_in(self, known: _Known, governed: Governed, generations: tuple[int, int], *, requested: bool) -> float:
        """Seconds until an inspection is due, at most zero when it is now."""
        if requested or (known.generations != (0, 0) and known.generations != generations):
            return 0.0
        now = self.services.clock()
        if known.failures and known.tried_at is not None:
            first, last = RETRY_ACCOUNT
            again = known.tried_at + min(last, first * 2 ** min(known.failures - 1, 8))
            return float((again - now).total_seconds())
        if known.outcome is None:
            status = self.policy.status
            last_inspection = status.last_inspection
            if last_inspection is None or status.observed_generation != self.policy.metadata.generation:
                return 0.0
            stored = self._stored_report(governed)
            if stored is None:
                return 0.0
            known.previous = documents.restored(stored)
            started = last_inspection.started_at
        else:
            started = known.outcome.report.inspection.started_at
        return (started + governed.interval + self._jitter(governed.interval) - now).total_seconds()

    def _next(self, known: _Known, governed: Governed) -> float:
        started = known.outcome.report.inspection.started_at if known.outcome is not None else self.services.clock()
        due = started + governed.interval + self._jitter(governed.interval)
        return max(1.0, (due - self.services.clock()).total_seconds())

    def _jitter(self, interval: timedelta) -> timedelta:
        """Up to a twentieth of the interval, from the policy's UID, so that policies do not move in step."""
        return interval * (zlib.crc32((self.policy.metadata.uid or self.key.name).encode()) % 1000) / 20_000

    def _report_key(self, governed: Governed) -> Key:
        return Key(REPORTS, self.key.namespace, f"{self.key.name}-{governed.target.account_id}")

    def _stored_report(self, governed: Governed) -> Object | None:
        key = self._report_key(governed)
        return self.services.cache.get(key) or self.services.cluster.get(key)

    def _task(self, governed: Governed, *, fresh: bool, hinted: frozenset[str]) -> Task:
        return Task(
            target=governed.target,
            demand=governed.demand,
            recovery=governed.recovery,
            interval=governed.interval,
            payer=governed.payer,
            fresh=fresh,
            hinted=hinted,
        )

    def _inspect(
        self, governed: Governed, known: _Known, *, fresh: bool = False, hinted: frozenset[str] = frozenset()
    ) -> None:
        services = self.services
        if known.outcome is None and known.previous is None:
            stored = self._stored_report(governed)
            if stored is not None:
                known.previous = documents.restored(stored)
                billed = (stored.get("status") or {}).get("billed") or ()
                services.inspector.carry(governed.target, documents.carried(billed))
        previous = known.outcome.report if known.outcome is not None else known.previous
        evidence = Evidence(now=services.clock(), recovery=governed.recovery)
        outcome = services.inspector.inspect(self._task(governed, fresh=fresh, hinted=hinted), evidence, previous)
        owner = Owner(
            policy=self.key.name,
            policy_uid=self.policy.metadata.uid or "",
            cluster=services.cluster.uid(),
            namespace=self.key.namespace,
        )
        known.outcome = outcome
        known.plan = plan(outcome.report, outcome.snapshot, services.remediations, owner, governed.inputs)
        known.failures, known.tried_at = 0, None
        services.counters.inspected(outcome.report.inspection.duration)
        self._write_report(governed, known, previous)

    def _write_report(self, governed: Governed, known: _Known, previous: Report | None) -> None:
        services, outcome = self.services, known.outcome
        if outcome is None:
            return
        key = self._report_key(governed)
        document = documents.report_document(key.name, key.namespace, self.key.name, outcome.report, known.plan)
        billed = documents.billed_documents(billed_readings(outcome.snapshot))
        status = documents.trimmed({**document, "status": {**document["status"], "billed": billed}})["status"]
        stored = services.cluster.get(key)
        if stored is None:
            owner = {
                "apiVersion": API_VERSION,
                "kind": "ReadinessPolicy",
                "name": self.key.name,
                "uid": self.policy.metadata.uid or "",
                "controller": True,
                "blockOwnerDeletion": False,
            }
            document["metadata"]["ownerReferences"] = [owner]
            stored = services.cluster.create(REPORTS, {k: v for k, v in document.items() if k != "status"})
        before = stored.get("status") or {}
        status["observedGeneration"] = stored["metadata"].get("generation") or 1
        status["conditions"] = self._report_conditions(before, status["observedGeneration"])
        same = documents.substance(before) == documents.substance(status)
        if not same or _aged(before, status):
            answer = services.cluster.patch_status(key, documents.merge_patch(before, status))
            services.counters.wrote()
            if answer is not None:
                services.cache.put(key, answer)
        merged = {**stored, "status": status}
        services.fleet.put(key, Figures.of(self.key, merged, governed.policy.spec.minimum_score))
        self._announce(previous, outcome.report)

    def _report_conditions(self, before: Mapping[str, Any], generation: int) -> list[dict[str, Any]]:
        conditions = [Condition.model_validate(c) for c in before.get("conditions") or ()]
        message = "The report holds the last inspection"
        conditions = set_condition(
            conditions,
            ConditionType.READY,
            True,
            ConditionReason.SUCCEEDED,
            message,
            generation,
            self.services.clock(),
        )
        return [c.model_dump(mode="json", by_alias=True) for c in conditions]

    def _announce(self, previous: Report | None, report: Report) -> None:
        """Events on transitions only: level, failing critical checks, the catalogue."""
        writer = PolicyWriter(self.services, self.body)
        if previous is None:
            score = documents.tenths(report.score)
            writer.event("Inspected", f"First inspection: level {report.level}, score {score}")
            return
        if previous.level != report.level:
            fell = level_order(report.level) < level_order(previous.level)
            word = "LevelFell" if fell else "LevelRose"
            writer.event(word, f"Level {previous.level} -> {report.level}", warning=fell)
        if previous.catalogue_version and previous.catalogue_version != report.catalogue_version:
            versions = f"{previous.catalogue_version} -> {report.catalogue_version}"
            writer.event("CatalogueChanged", f"The catalogue of checks changed: {versions}; scores may move")
        before = {c.id: c.status for c in previous.checks}
        for check in report.checks:
            if check.id in before and before[check.id] is not check.status:
                failing = check.status.value == "Fail"
                name = {"Fail": "CheckFailing", "Pass": "CheckPassing"}.get(check.status.value)
                if name is not None:
                    why = f": {check.failures[0].message}" if failing and check.failures else ""
                    writer.event(name, f"{check.id} {before[check.id]} -> {check.status}{why}", warning=failing)

    # remediations

    def _remediations(self) -> list[Remediation]:
        return [
            Remediation.read(body)
            for _, body in self.services.cache.all(REMEDIATIONS, self.key.namespace)
            if body["spec"]["policyRef"]["name"] == self.key.name
        ]

    def _stored_remediations(self, account_id: str) -> dict[str, Object]:
        found = {
            key: body
            for key, body in self.services.cache.all(REMEDIATIONS, self.key.namespace)
            if body["spec"]["policyRef"]["name"] == self.key.name and body["spec"]["accountId"] == account_id
        }
        return {key.name: body for key, body in found.items()}

    def _remediate(self, governed: Governed, known: _Known) -> list[float]:
        """Brings the Remediation objects up to date with the plan and takes each a step further."""
        if known.plan is None:
            return []
        stored = self._stored_remediations(governed.target.account_id)
        self._propose(governed, known.plan, stored)
        waits: list[float] = []
        for name in self._order(known.plan, stored):
            body = self.services.cluster.get(Key(REMEDIATIONS, self.key.namespace, name))
            if body is None:
                continue
            self._remember(body)
            wait = self.reconciler.remediator.step(body, self._situation(governed, known))
            fresh = self.services.cluster.get(Key(REMEDIATIONS, self.key.namespace, name))
            if fresh is not None:
                self._remember(fresh)
            if wait is not None:
                waits.append(wait)
        self._guard_stacks(governed)
        return waits

    def _order(self, current: Plan, stored: Mapping[str, Object]) -> list[str]:
        planned = [step.proposal.name for step in current.steps]
        names = {
            key.name
            for key, body in self.services.cache.all(REMEDIATIONS, self.key.namespace)
            if body["spec"]["policyRef"]["name"] == self.key.name
        }
        rest = sorted((names | set(stored)) - set(planned))
        return [*rest, *(name for name in planned if name in names)]

    def _situation(self, governed: Governed, known: _Known) -> Situation:
        if known.outcome is None or known.plan is None:
            raise ClusterUnreachable("nothing is known of the account yet")

        def refresh(_: Proposal | None, checks: Sequence[str]) -> tuple[Report, Mapping[str, Step]]:
            self._inspect(governed, known, hinted=self._services_of(checks))
            if known.outcome is None or known.plan is None:
                raise ClusterUnreachable("the account could not be read again")
            return known.outcome.report, _steps(known.plan)

        return Situation(
            governed=governed,
            cluster_uid=self.services.cluster.uid(),
            report=known.outcome.report,
            steps=_steps(known.plan),
            others=[r for r in self._remediations() if r.spec.account_id == governed.target.account_id],
            stacks=lambda region: self.reconciler.stacks(governed, region),
            refresh=refresh,
        )

    def _services_of(self, checks: Sequence[str]) -> frozenset[str]:
        catalogue = self.services.inspector.catalogue
        calls: list[Call] = [c for check in checks if check in catalogue for c in calls_of(catalogue.get(check))]
        return frozenset(link.service for call in calls for link in call.chain())

    def _propose(self, governed: Governed, current: Plan, stored: Mapping[str, Object]) -> None:
        cluster = self.services.cluster
        steps = _steps(current)
        for name, step in steps.items():
            phase = step.proposal.definition.phase
            if governed.modes[phase] is Mode.OBSERVE:
                continue
            body = stored.get(name)
            if body is None:
                self._remember(cluster.create(REMEDIATIONS, self._manifest(step.proposal)))
                continue
            self._renew(Remediation.read(body), step.proposal)
        for name, body in stored.items():
            remediation = Remediation.read(body)
            observed = governed.modes[remediation.spec.phase] is Mode.OBSERVE
            state = remediation.status.state or State.PROPOSED
            if state not in BEFORE:
                continue
            if observed:
                key = Key(REMEDIATIONS, self.key.namespace, name)
                cluster.delete(key)
                self.services.cache.drop(key)
                self.services.fleet.drop_remediation(key)
            elif name not in steps:
                self._supersede(body)

    def _manifest(self, proposal: Proposal) -> Object:
        return {
            "apiVersion": API_VERSION,
            "kind": "Remediation",
            "metadata": {
                "name": proposal.name,
                "namespace": self.key.namespace,
                "labels": {"passmuster.io/account": proposal.account_id},
                "ownerReferences": [
                    {
                        "apiVersion": API_VERSION,
                        "kind": "ReadinessPolicy",
                        "name": self.key.name,
                        "uid": self.policy.metadata.uid or "",
                        "controller": True,
                        "blockOwnerDeletion": False,
                    }
                ],
            },
            "spec": documents.remediation_spec(proposal, self.key.name),
        }

    def _renew(self, remediation: Remediation, proposal: Proposal) -> None:
        """A changed intent replaces the old one, unless a change is under way; approvals of the old one are void."""
        state = remediation.status.state or State.PROPOSED
        key = Key(REMEDIATIONS, self.key.namespace, remediation.metadata.name)
        same = remediation.spec.intent.digest == proposal.digest
        if state in UNDER_WAY or (same and state is not State.SUPERSEDED):
            return
        if state is State.APPLIED:
            return
        if not same:
            before = self.services.cluster.get(key)
            if before is None:
                return
            wanted = documents.remediation_spec(proposal, self.key.name)
            kept = {name: value for name, value in before["spec"].items() if name != "approvals"}
            answer = self.services.cluster.patch(key, {"spec": documents.merge_patch(kept, wanted)})
            if answer is not None:
                self._remember(answer)
        history = [h.model_dump(mode="json", by_alias=True, exclude_none=True) for h in remediation.status.history]
        entry = {
            "state": State.PROPOSED.value,
            "at": written(self.services.clock()),
            "message": "The finding is back" if same else "The intent changed; earlier approvals do not count",
        }
        patch = {"state": State.PROPOSED.value, "attempt": None, "changeSet": None, "history": [*history, entry][-50:]}
        answer = self.services.cluster.patch_status(key, patch)
        if answer is not None:
            self._remember(answer)

    def _supersede(self, body: Object) -> None:
        remediation = Remediation.read(body)
        key = Key(REMEDIATIONS, self.key.namespace, remediation.metadata.name)
        generation = remediation.metadata.generation or 1
        message = "What it would fix is fixed, or can no longer be fixed this way"
        conditions = remediation.status.conditions
        for kind, status in (
            (ConditionType.READY, True),
            (ConditionType.RECONCILING, False),
            (ConditionType.STALLED, False),
        ):
            conditions = set_condition(
                conditions, kind, status, ConditionReason.SUPERSEDED, message, generation, self.services.clock()
            )
        history = [h.model_dump(mode="json", by_alias=True, exclude_none=True) for h in remediation.status.history]
        entry = {"state": State.SUPERSEDED.value, "at": written(self.services.clock()), "message": message}
        patch = {
            "state": State.SUPERSEDED.value,
            "observedGeneration": generation,
            "history": [*history, entry][-50:],
            "conditions": [c.model_dump(mode="json", by_alias=True) for c in conditions],
        }
        answer = self.services.cluster.patch_status(key, patch)
        if answer is not None:
            self._remember(answer)

    def _remember(self, body: Object) -> None:
        key = Key.of(REMEDIATIONS, body)
        self.services.cache.put(key, body)
        state = (body.get("status") or {}).get("state", State.PROPOSED.value)
        self.services.fleet.put_remediation(key, body["spec"]["phase"], state)

    def _guard_stacks(self, governed: Governed) -> None:
        """The finalizer is there only while deletionPolicy is Delete and a stack of ours exists."""
        finalizers = self.policy.metadata.finalizers
        has_stack = any(
            r.status.stack is not None and r.status.stack.status not in (None, "DELETE_COMPLETE", "ROLLBACK_COMPLETE")
            for r in self._remediations()
        )
        wanted = governed.policy.spec.deletion_policy is DeletionPolicy.DELETE and has_stack
        if wanted == (FINALIZER in finalizers):
            return
        kept = [name for name in finalizers if name != FINALIZER] + ([FINALIZER] if wanted else [])
        self.services.cluster.patch(self.key, {"metadata": {"finalizers": kept}})

    # summing up

    def _refused(self, refused: TenancyError, token: str | None) -> float | None:
        writer = PolicyWriter(self.services, self.body)
        changed = writer.reason_before(ConditionType.STALLED) != refused.reason
        writer.condition(ConditionType.READY, False, refused.reason, str(refused))
        writer.condition(ConditionType.RECONCILING, False, refused.reason, str(refused))
        writer.condition(ConditionType.STALLED, True, refused.reason, str(refused))
        if changed:
            writer.event(refused.reason, str(refused), warning=True)
        writer.save({"lastHandledReconcileAt": token} if token else {})
        return None

    def _sum_up(self, accounts: Sequence[AWSAccount], verdicts: Sequence[_Verdict], token: str | None) -> None:
        writer = PolicyWriter(self.services, self.body)
        errors = [v for v in verdicts if v.error is not None]
        reports = [v.report for v in verdicts if v.report is not None and v.error is None]
        if errors:
            self._say_error(writer, errors, len(verdicts))
        elif reports:
            self._say_done(writer, reports)
        members: dict[str, Any] = {"accounts": len(accounts)}
        if token is not None:
            members["lastHandledReconcileAt"] = token
        if reports and all(r.counts.passed + r.counts.failed + r.counts.unknown or r.phases for r in reports):
            members |= self._members(accounts, verdicts, reports)
            self._say_compliance(writer, reports)
            self._say_pending(writer)
        writer.save(members)

    def _say_error(self, writer: PolicyWriter, errors: Sequence[_Verdict], accounts: int) -> None:
        error = errors[0].error
        if error is None:
            return
        where = f" ({errors[0].account}, {len(errors)} of {accounts} accounts)" if accounts > 1 else ""
        message = f"{error}{where}"
        if isinstance(error, TenancyError):
            changed = writer.reason_before(ConditionType.STALLED) != error.reason
        else:
            changed = writer.reason_before(ConditionType.CREDENTIALS_VALID) != error.reason
            kind = ConditionType.CREDENTIALS_VALID
            writer.condition(kind, False if error.reason != "AccountUnreachable" else None, error.reason, message)
            reason = ConditionReason.INSPECTION_FAILED
            writer.condition(ConditionType.INSPECTED, False, reason, "Nothing of the account could be judged")
        writer.condition(ConditionType.READY, False, error.reason, message)
        writer.condition(ConditionType.RECONCILING, error.retryable, error.reason, message)
        writer.condition(ConditionType.STALLED, not error.retryable, error.reason, message)
        if changed:
            writer.event(error.reason, message, warning=True)

    def _say_done(self, writer: PolicyWriter, reports: Sequence[Report]) -> None:
        judged = sum(len(r.checks) for r in reports)
        message = f"Inspected {judged} checks" + (f" in {len(reports)} accounts" if len(reports) > 1 else "")
        writer.condition(ConditionType.READY, True, ConditionReason.SUCCEEDED, message)
        writer.condition(ConditionType.RECONCILING, False, ConditionReason.SUCCEEDED, message)
        writer.condition(ConditionType.STALLED, False, ConditionReason.SUCCEEDED, message)
        confirmed = "The account answered with the configured identity"
        writer.condition(ConditionType.CREDENTIALS_VALID, True, ConditionReason.IDENTITY_CONFIRMED, confirmed)
        refused = [refusal for r in reports for refusal in r.inspection.refusals]
        unknown = sum(r.counts.unknown for r in reports)
        if refused:
            throttled = all(refusal.reason.value == "Throttled" for refusal in refused)
            reason = ConditionReason.THROTTLED if throttled else ConditionReason.PARTIAL_INSPECTION
            noun = "check is" if unknown == 1 else "checks are"
            calls = ", ".join(dict.fromkeys(f"{r.call} {r.reason.value.lower()}" for r in refused))
            writer.condition(ConditionType.INSPECTED, True, reason, f"{unknown} {noun} Unknown: {calls}"[:1000])
        else:
            complete = "Every read of the last inspection succeeded"
            writer.condition(ConditionType.INSPECTED, True, ConditionReason.INSPECTION_COMPLETE, complete)
        for raised in dict.fromkeys(str(one) for r in reports for one in r.raised):
            if raised not in self._raised_before():
                writer.event(ConditionReason.PARAMETER_RAISED_TO_FLOOR, raised)

    def _raised_before(self) -> frozenset[str]:
        """Parameters are announced once per generation of the policy."""
        seen = self.policy.status.observed_generation == self.policy.metadata.generation
        known = [self.reconciler.known(self.key, a.spec.account_id) for a in self._accounts()] if seen else []
        return frozenset(str(one) for k in known if k.outcome is not None for one in k.outcome.report.raised)

    def _say_compliance(self, writer: PolicyWriter, reports: Sequence[Report]) -> None:
        order = {False: 0, None: 1, True: 2}
        worst = min(reports, key=lambda r: order[r.compliant])
        writer.condition(ConditionType.COMPLIANT, worst.compliant, worst.compliant_reason, worst.compliant_message)

    def _say_pending(self, writer: PolicyWriter) -> None:
        remediations = self._remediations()
        pending = [r for r in remediations if (r.status.state or State.PROPOSED) in BEFORE | UNDER_WAY]
        awaiting = [r for r in pending if r.status.state is State.AWAITING_APPROVAL]
        busy = [r for r in pending if r.status.state in UNDER_WAY]
        kind = ConditionType.REMEDIATION_PENDING
        if busy:
            message = f"{len(busy)} under way, {len(pending)} pending"
            writer.condition(kind, True, ConditionReason.EXECUTING, message)
        elif awaiting:
            message = f"{len(pending)} proposed, {len(awaiting)} awaiting approval"
            writer.condition(kind, True, ConditionReason.AWAITING_APPROVAL, message)
        elif pending:
            writer.condition(kind, True, ConditionReason.PROPOSED, f"{len(pending)} proposed, none awaits approval")
        else:
            writer.condition(kind, False, ConditionReason.NOTHING_PENDING, "No remediation is left to carry out")

    def _members(
        self, accounts: Sequence[AWSAccount], verdicts: Sequence[_Verdict], reports: Sequence[Report]
    ) -> dict[str, Any]:
        lowest = min(reports, key=lambda r: level_order(r.level))
        scores = [r.score for r in reports]
        points = None if None in scores else min(s for s in scores if s is not None)
        coverages = [r.coverage for r in reports if r.coverage is not None]
        known = min(coverages, default=None)
        totals = [documents.counts_document(r.counts) for r in reports]
        oldest = min(reports, key=lambda r: r.inspection.started_at)
        plans = {id(v.report): v.plan for v in verdicts}
        name = accounts[0].metadata.name if len(accounts) == 1 else f"{len(accounts)} accounts"
        return {
            "summary": {
                "account": name,
                "score": documents.tenths(points),
                "coverage": documents.tenths(known),
            },
            "level": lowest.level,
            "score": points,
            "coverage": known,
            "checks": {key: sum(total[key] for total in totals) for key in totals[0]},
            "criticalFailing": sum(r.critical_failing for r in reports),
            "next": documents.next_level(lowest, plans.get(id(lowest))) if lowest.phases else None,
            "lastInspection": documents.inspection_document(oldest.inspection),
        }


def _steps(current: Plan) -> dict[str, Step]:
    return {step.proposal.name: step for step in current.steps}


def _undo_asked(remediation: Remediation) -> bool:
    asked = any(a.action is Action.UNDO for a in remediation.spec.approvals)
    return asked and remediation.status.state in (State.APPLIED, State.FAILED)


def _aged(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    old = (before.get("inspection") or {}).get("startedAt")
    new = str(after["inspection"]["startedAt"])
    return old is None or datetime.fromisoformat(new) - datetime.fromisoformat(old) >= REPORT_HEARTBEAT


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _first_error(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"
