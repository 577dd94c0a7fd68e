"""What a policy asks for, done: inspect its accounts when due, write reports, propose, carry out, sum up.

One call of `Reconciler.reconcile` is one turn for one policy, in a worker's thread. Objects come from the watch's
cache; whatever is decided from is read again right before it is written or acted on. The order of a turn::

    rules of the account > is an inspection due? > inspect > report > propose > steps of remediations > status

A turn writes only what changed: two turns over an unchanged account write nothing but a heartbeat.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf

import structlog
from pydantic import ValidationError

from passmuster.api.account import AWSAccount
from passmuster.api.approval import Action
from passmuster.api.conditions import ConditionReason, ConditionStatus, ConditionType, get
from passmuster.api.policy import DeletionPolicy, ReadinessPolicy
from passmuster.api.remediation import Remediation, State, has_own_stack
from passmuster.api.resource import BY_ALERT, FINALIZER, HINT, REQUESTED_AT, Metadata
from passmuster.assess import grants
from passmuster.assess.grants import Granted
from passmuster.assess.plan import Plan, Step, plan
from passmuster.aws.actor import Actor
from passmuster.aws.collector import CLOCKS_DIFFER
from passmuster.aws.stacks import Stacks
from passmuster.aws.steps import Steps
from passmuster.checks.judge import calls_of
from passmuster.engine import documents, granted
from passmuster.engine.declared import selects
from passmuster.engine.ending import Ending, finalized
from passmuster.engine.evidence import gathered
from passmuster.engine.fleet import Figures
from passmuster.engine.inspection import Outcome, Task
from passmuster.engine.lapse import lapsed
from passmuster.engine.life import BEFORE, UNDER_WAY, Situation
from passmuster.engine.parcel import Parcel
from passmuster.engine.ports import (
    ACCOUNTS,
    NAMESPACES,
    POLICIES,
    REMEDIATIONS,
    REPORTS,
    ClusterUnreachable,
    Conflict,
    Key,
    Object,
)
from passmuster.engine.proposals import Proposals, remediation_figure, steps_of
from passmuster.engine.remediate import Remediator
from passmuster.engine.reports import LONGEST_NAME, announce, correct_report, report_key, write_report
from passmuster.engine.services import Services
from passmuster.engine.statuses import PolicyWriter, Verdict, refuse, sum_up, suspend, write_account
from passmuster.engine.tenancy import Governed, first_error, govern, read_account, remediation_target
from passmuster.inventory.call import Call, union
from passmuster.inventory.operations import ce
from passmuster.inventory.operations.cloudformation import STACKS
from passmuster.inventory.operations.tagging import TAGGED
from passmuster.model.errors import AccountError, ChangeRefused, TenancyError, UserError
from passmuster.model.evidence import Evidence
from passmuster.model.grant import Grant
from passmuster.model.report import Report
from passmuster.model.trace import ACCOUNT_ID, ACCOUNT_IDS, TRIGGER, Attributes
from passmuster.remediation import ownership
from passmuster.remediation.rendering import Owner

_UNASKED = "The admission policy of approvals was not looked at in this turn"
RETRY_ACCOUNT = (timedelta(seconds=30), timedelta(minutes=10))
ALERT_WINDOW = timedelta(seconds=30)
"""Alerts inspect an account again at most once in this time, however many there are."""

MOST_REQUESTS = 1000
"""Requests of alerts of which it is remembered when they came."""

log = structlog.get_logger("passmuster")


@dataclass(slots=True)
class _Known:
    """What is remembered of one account under one policy; between turns reports and plan are packed away.

    `report` is of the last inspection by this process, `previous` the one stored in the cluster before. `judged_as` are
    the generations of policy and account that it was made by, and the account's UID.
    """

    report: Report | None = None
    plan: Plan | None = None
    previous: Report | None = None
    failures: int = 0
    error: AccountError | UserError | None = None
    watched: str = ""
    tried_at: datetime | None = None
    judged_as: tuple[int, int, str] | None = None
    _away: Parcel[tuple[Report | None, Plan | None, Report | None]] | None = None

    @property
    def backoff(self) -> timedelta:
        """How long after a failure that may pass the account is tried again."""
        first, last = RETRY_ACCOUNT
        doubled: timedelta = first * 2 ** min(self.failures - 1, 8)
        return min(last, doubled)

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """The time of a turn, in which report and plan are at hand."""
        if self._away is not None:
            self.report, self.plan, self.previous = self._away.open()
        try:
            yield
        finally:
            self._away = Parcel((self.report, self.plan, self.previous))
            self.report = self.plan = self.previous = None


class Reconciler:
    """Thread-safe across policies; the queue sees to it that one policy has one turn at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: dict[tuple[Key, str], _Known] = {}
        self._uids: dict[Key, str] = {}
        self._asked: dict[str, datetime] = {}
        self._alerted: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._remediator = Remediator(services.cluster, services.clock)
        self._ending = Ending(services, self.labels, self.stacks)

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
            self._refuse(body, ConditionReason.INVALID_SPEC, first_error(error))
            return None
        if policy.metadata.deletion_timestamp is not None:
            self._forget(key)
            return self._ending.advance(key, policy)
        if len(key.name) > LONGEST_NAME:
            message = (
                f"The name of the policy has {len(key.name)} characters, and {LONGEST_NAME} are possible, so that its "
                "reports can be named after it: create it with a shorter name"
            )
            self._refuse(body, ConditionReason.INVALID_SPEC, message)
            return None
        self._tell_apart(key, policy)
        turn = _Turn(self, key, body, policy)
        return turn.suspended() if policy.spec.suspend else turn.run()

    def restore(self) -> None:
        """After a start or a takeover: figures from the reports in the cluster, before /readyz is green."""
        services = self._services
        for key, body in services.cache.all(REPORTS):
            self.restore_report(key, body)
        for key, body in services.cache.all(REMEDIATIONS):
            services.fleet.put_remediation(key, remediation_figure(body))

    def restore_report(self, key: Key, body: Object) -> None:
        """The figures of one stored report."""
        policy = Key(POLICIES, key.namespace, body["spec"]["policyRef"]["name"])
        owner = self._services.cache.get(policy)
        if owner is not None:
            figures = Figures.of(policy, body, owner["spec"].get("minimumScore"))
            self._services.fleet.put(key, figures.seen((owner.get("status") or {}).get("lastInspection") or {}))

    def known(self, key: Key, account_id: str) -> _Known:
        """The memory of one account under one policy."""
        with self._lock:
            return self._known.setdefault((key, account_id), _Known())

    def last(self, key: Key, account_id: str) -> tuple[Report, Plan] | None:
        """The report and plan of the last inspection by this process."""
        known = self.known(key, account_id)
        with known.at_hand():
            return (known.report, known.plan) if known.report is not None and known.plan is not None else None

    def asked_at(self, token: str) -> datetime:
        """When the request of an alert was first seen; policies of one account are asked with the same."""
        with self._lock:
            if token not in self._asked and len(self._asked) >= MOST_REQUESTS:
                del self._asked[next(iter(self._asked))]
            return self._asked.setdefault(token, self._services.clock())

    def alerted(self, account_id: str) -> datetime | None:
        """When alerts last had the account inspected."""
        with self._lock:
            return self._alerted.get(account_id)

    def inspects_for_alerts(self, account_id: str) -> None:
        """Alerts have the account inspected now."""
        with self._lock:
            self._alerted[account_id] = self._services.clock()

    @property
    def services(self) -> Services:
        """What the reconciler works with."""
        return self._services

    @property
    def ending(self) -> Ending:
        """What takes a policy's stacks along when it goes."""
        return self._ending

    @property
    def remediator(self) -> Remediator:
        """What takes remediations further."""
        return self._remediator

    def forget_accounts(self, key: Key, but: Set[str]) -> None:
        """Nothing is remembered of accounts under a policy but of these."""
        with self._lock:
            for entry in [entry for entry in self._known if entry[0] == key and entry[1] not in but]:
                del self._known[entry]

    def _tell_apart(self, key: Key, policy: ReadinessPolicy) -> None:
        """What is remembered of a policy is not of another that was made under its name since."""
        uid = policy.metadata.uid or ""
        if self._uids.get(key, uid) != uid:
            self._forget(key)
        self._uids[key] = uid

    def _forget(self, key: Key) -> None:
        self._services.fleet.drop_policy(key)
        self._uids.pop(key, None)
        self.forget_accounts(key, frozenset())

    def _refuse(self, body: Object, reason: ConditionReason, message: str) -> None:
        writer = PolicyWriter(self._services, body)
        writer.condition(ConditionType.READY, False, reason, message)
        writer.condition(ConditionType.RECONCILING, False, reason, message)
        writer.condition(ConditionType.STALLED, True, reason, message)
        writer.save({})

    def stacks(self, governed: Governed, region: str) -> Stacks | None:
        """CloudFormation in a region as the account's remediation role; None without one."""
        actor = self._actor(governed, region)
        return Stacks(actor) if actor is not None else None

    def steps(self, governed: Governed, region: str) -> Steps | None:
        """The APIs of a region as the account's remediation role; None without one."""
        actor = self._actor(governed, region)
        return Steps(actor, self._services.remediations.operations()) if actor is not None else None

    def _actor(self, governed: Governed, region: str) -> Actor | None:
        target = remediation_target(governed)
        if target is None:
            return None
        services = self._services

        def gate() -> None:
            if not services.cluster.leading():
                raise ChangeRefused(ConditionReason.PROGRESSING, "This process no longer holds the lease")

        def sent(service: str, operation: str, outcome: str) -> None:
            services.counters.request(service, operation, outcome, 0.0)
            if service == ce.SERVICE:
                services.counters.billed(ce.PRICE)

        return Actor(
            services.clients,
            services.identities.principal(target),
            target.account_id,
            region,
            gate,
            sent,
        )

    def labels(self, namespace: str) -> Mapping[str, str]:
        """The labels of a namespace."""
        body = self._services.cache.get(Key(NAMESPACES, "", namespace))
        if body is None:
            body = self._services.cluster.get(Key(NAMESPACES, "", namespace))
        return ((body or {}).get("metadata") or {}).get("labels") or {}

    def policies_of(self, account: AWSAccount) -> list[Key]:
        """The policies that use an account."""
        return [key for key, body in self._services.cache.all(POLICIES) if selects(body["spec"], account)]

    def reconcile_account(self, key: Key) -> None:
        """An account that nobody uses still says so; one that is used is written by the turns of its policies."""
        body = self._services.cluster.get(key)
        if body is None:
            return
        self._services.cache.put(key, body)
        try:
            account = read_account(body)
        except TenancyError as unreadable:
            log.warning("not readable", kind="AWSAccount", name=key.name, error=str(unreadable))
            return
        if not self.policies_of(account):
            write_account(self._services, account, 0, None)

    def reconcile_grant(self, key: Key) -> None:
        """A waiver or an attestation whose policy does not exist; all others are written by the turns of theirs."""
        body = self._services.cluster.get(key)
        if body is None:
            return
        self._services.cache.put(key, body)
        one = granted.read(body)
        policy = Key(POLICIES, key.namespace, body["spec"]["policyRef"]["name"])
        if one is not None and self._services.cache.get(policy) is None:
            granted.write_orphan(self._services, one)


@dataclass(slots=True)
class _Turn:
    """One turn for one policy."""

    reconciler: Reconciler
    key: Key
    body: Object
    policy: ReadinessPolicy
    asked_at: datetime | None = None
    deferred: bool = False
    granted: list[Granted] = field(default_factory=list)
    namesakes: dict[str, list[str]] = field(default_factory=dict)
    guarded: str | None = _UNASKED

    def __post_init__(self) -> None:
        self.granted = granted.objects_of(self.services, self.key)

    @property
    def services(self) -> Services:
        return self.reconciler.services

    @property
    def _proposals(self) -> Proposals:
        return Proposals(self.services, self.key, self.policy)

    def _write_accounts(self, accounts: Sequence[AWSAccount], verdicts: Sequence[Verdict]) -> None:
        for account, verdict in zip(accounts, verdicts, strict=True):
            error = verdict.error if isinstance(verdict.error, AccountError) else None
            if error is not None or verdict.report is not None:
                users = self.reconciler.policies_of(account)
                write_account(self.services, account, len(users), error)

    def run(self) -> float | None:
        token = self.policy.metadata.annotations.get(REQUESTED_AT)
        requested = token is not None and token != self.policy.status.last_handled_reconcile_at
        if requested and token is not None and token.startswith(BY_ALERT):
            self.asked_at = self.reconciler.asked_at(token)
        if requested:
            self.services.tracer.current().note({TRIGGER: "request" if self.asked_at is None else "alert"})
        self._hold_noted()
        try:
            accounts = self._accounts()
        except TenancyError as refused:
            refuse(PolicyWriter(self.services, self.body), refused, token)
            self._write_grants([], [])
            return None
        self._tell(accounts)
        hint = self.policy.metadata.annotations.get(HINT) if requested else None
        hinted = self._services_of(hint.split(",")) if hint else frozenset()
        verdicts = [self._account(account, requested=requested, hinted=hinted) for account in accounts]
        self._write_accounts(accounts, verdicts)
        self._leave({account.spec.account_id for account in accounts})
        handled = token if not self.deferred else None
        sum_up(PolicyWriter(self.services, self.body), accounts, verdicts, self._proposals.all(), handled)
        self._write_grants(accounts, verdicts)
        waits = [verdict.due_in for verdict in verdicts]
        return max(0.0, min(waits)) if waits else None

    def suspended(self) -> float | None:
        """No AWS call is made, but what people granted goes on ending: judged from what was read before."""
        token = self.policy.metadata.annotations.get(REQUESTED_AT)
        self._hold_noted()
        try:
            accounts = self._accounts()
        except TenancyError:
            accounts = []
        self._tell(accounts)
        verdicts = [self._held(account) for account in accounts]
        suspend(PolicyWriter(self.services, self.body), accounts, verdicts, token)
        self._write_grants(accounts, verdicts)
        wait = min((verdict.due_in for verdict in verdicts), default=inf)
        return max(0.0, wait) if wait < inf else None

    def _tell(self, accounts: Sequence[AWSAccount]) -> None:
        """Which accounts the turn is about."""
        self.services.tracer.current().note({ACCOUNT_IDS: [account.spec.account_id for account in accounts]})

    def _held(self, account: AWSAccount) -> Verdict:
        """What is known of an account under a suspended policy."""
        verdict = Verdict(account.metadata.name, due_in=inf)
        known = self.reconciler.known(self.key, account.spec.account_id)
        with known.at_hand():
            try:
                governed = self._govern(account)
            except TenancyError as refused:
                verdict.error = refused
                return verdict
            stored = self._stored_report(governed) if known.report is None and known.previous is None else None
            if stored is not None:
                known.previous = documents.restored_if_known(stored)
            before = known.report or known.previous
            if before is not None and before.grants != governed.demand.grants:
                verdict.report = self._without_reading(governed, known)
            verdict.report, verdict.plan = verdict.report or known.report, known.plan
            verdict.due_in = self._until_change(governed)
        return verdict

    def _leave(self, governed: Set[str]) -> None:
        """The accounts that the policy no longer names: their reports and series go, and their remediations say so."""
        self.reconciler.forget_accounts(self.key, governed)
        self._proposals.leave(governed)
        for key, body in self.services.cache.owned(REPORTS, self.key):
            if body["spec"]["accountId"] not in governed:
                self.services.cluster.delete(key)
                self.services.cache.drop(key)
                self.services.fleet.drop(key)

    # which accounts

    def _accounts(self) -> list[AWSAccount]:
        found = self._found()
        for account in found:
            self.namesakes.setdefault(account.spec.account_id, []).append(account.metadata.name)
        return found

    def _found(self) -> list[AWSAccount]:
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
            return [read_account(body)]
        selector = spec.account_selector
        found = [
            read_account(body)
            for _, body in cache.all(ACCOUNTS)
            if selector is not None and selector.selects(body["metadata"].get("labels") or {})
        ]
        if not found:
            raise TenancyError(
                ConditionReason.NO_ACCOUNT_SELECTED, "No AWSAccount has the labels of spec.accountSelector"
            )
        return sorted(found, key=lambda account: account.metadata.name)

    def _govern(self, account: AWSAccount) -> Governed:
        names = self.namesakes[account.spec.account_id]
        if len(names) > 1:
            raise TenancyError(
                ConditionReason.ACCOUNT_NOT_UNIQUE,
                f"The AWSAccounts {' and '.join(names)} are of the same account {account.spec.account_id}, so neither "
                "is judged: change their labels, or spec.accountSelector, so that only one of them is selected",
            )
        payer = None
        reference = account.spec.payer_account_ref
        if reference is not None:
            body = self.services.cache.get(Key(ACCOUNTS, "", reference.name))
            payer = read_account(body) if body is not None else None
        return govern(self.policy, account, self.reconciler.labels(self.key.namespace), payer, self._standing(account))

    # what people grant

    def _standing(self, account: AWSAccount) -> tuple[Grant, ...]:
        """The waivers and attestations for an account, and whether they count now."""
        name = account.metadata.name
        return self._weighed(grants.of_account(self.granted, self.key.name, self.key.namespace, name))

    def _weighed(self, objects: Sequence[Granted]) -> tuple[Grant, ...]:
        services = self.services
        if not objects:
            return ()
        if self.guarded is _UNASKED:
            self.guarded = services.cluster.approvals_guarded()
        return grants.grants(objects, services.inspector.catalogue, services.clock(), guarded=self.guarded)

    def _write_grants(self, accounts: Sequence[AWSAccount], verdicts: Sequence[Verdict]) -> None:
        names = {account.metadata.name for account in accounts}
        reported = [grant for v in verdicts if v.report is not None for grant in v.report.grants]
        granted.write_statuses(self.services, self.granted, self._weighed(self.granted), names, reported)

    def _until_change(self, governed: Governed) -> float:
        """Seconds until time alone changes what counts, or what is warned of."""
        moment = grants.next_change(governed.demand.grants)
        return (moment - self.services.clock()).total_seconds() if moment is not None else inf

    # one account

    def _account(self, account: AWSAccount, *, requested: bool, hinted: frozenset[str]) -> Verdict:
        known = self.reconciler.known(self.key, account.spec.account_id)
        with known.at_hand():
            return self._verdict(account, known, requested=requested, hinted=hinted)

    def _verdict(self, account: AWSAccount, known: _Known, *, requested: bool, hinted: frozenset[str]) -> Verdict:
        verdict = Verdict(account.metadata.name)
        try:
            governed = self._govern(account)
        except TenancyError as refused:
            verdict.error, verdict.due_in = refused, 3600.0
            return verdict
        due_in = self._due_in(known, governed, requested=requested)
        self.deferred |= requested and due_in > 0
        before = known.report or known.previous
        regranted = before is not None and before.grants != governed.demand.grants
        reassessed = regranted and due_in > 0 and self._reassessed(governed, known)
        if due_in > 0 and known.error is not None:
            verdict.report = known.report if reassessed else self._without_reading(governed, known)
            verdict.error, verdict.due_in = known.error, min(due_in, self._until_change(governed))
            return verdict
        if regranted and due_in > 0 and not reassessed:
            due_in = 0.0
        active = self._active(account.spec.account_id)
        try:
            if due_in <= 0 or (known.report is None and active):
                if self.asked_at is not None:
                    self.reconciler.inspects_for_alerts(governed.target.account_id)
                self._inspect(governed, known, fresh=requested and not hinted, hinted=hinted, asked_at=self.asked_at)
                known.judged_as = self._judged_as(account)
                due_in = self._next(known, governed)
            verdict.report, verdict.plan = known.report or known.previous, known.plan
            if known.report is not None:
                waits = self._remediate(governed, known)
                due_in = min(due_in, *waits) if waits else due_in
                verdict.report, verdict.plan = known.report, known.plan
        except (AccountError, UserError) as error:
            known.failures += 1
            known.error = error
            known.tried_at = self.services.clock()
            known.judged_as = self._judged_as(account)
            self.services.counters.failed(error.reason)
            verdict.error = error
            verdict.report = self._without_reading(governed, known) or verdict.report
            due_in = (known.backoff if error.retryable else RETRY_ACCOUNT[1]).total_seconds()
            log.warning("inspection failed", policy=str(self.key), account=account.spec.account_id, reason=error.reason)
        verdict.due_in = min(due_in, self._until_change(governed))
        return verdict

    def _active(self, account_id: str) -> bool:
        """Whether a remediation of this policy and account has a step to take."""
        return any(
            r.spec.account_id == account_id
            and (r.status.state in UNDER_WAY or (r.status.state in BEFORE and r.spec.approvals) or _undo_asked(r))
            for r in self._proposals.all()
        )

    def _judged_as(self, account: AWSAccount) -> tuple[int, int, str]:
        """As what the account is judged: what differs is judged anew."""
        return self.policy.metadata.generation or 1, account.metadata.generation or 1, account.metadata.uid or ""

    def _due_in(self, known: _Known, governed: Governed, *, requested: bool) -> float:
        """Seconds until an inspection is due, at most zero when it is now."""
        changed = known.judged_as is not None and known.judged_as != self._judged_as(governed.account)
        if changed or (requested and self.asked_at is None):
            return 0.0
        now = self.services.clock()
        if requested and self.asked_at is not None:
            alerted = self.reconciler.alerted(governed.target.account_id)
            if alerted is None or self.asked_at <= alerted:
                return 0.0
            return (alerted + ALERT_WINDOW - now).total_seconds()
        if known.failures and known.tried_at is not None:
            return self._until(known.tried_at, known.backoff)
        if known.report is None:
            status = self.policy.status
            last_inspection = status.last_inspection
            if last_inspection is None or status.observed_generation != self.policy.metadata.generation:
                return 0.0
            ready = get(status.conditions, ConditionType.READY)
            if ready is None or ready.status is not ConditionStatus.TRUE:
                return 0.0
            stored = self._stored_report(governed)
            if stored is None:
                return 0.0
            known.previous = documents.restored_if_known(stored)
            if known.previous is None:
                return 0.0
            started = last_inspection.started_at
        else:
            started = known.report.inspection.started_at
        return self._until_next(started, governed.interval)

    def _next(self, known: _Known, governed: Governed) -> float:
        started = known.report.inspection.started_at if known.report is not None else self.services.clock()
        return max(1.0, self._until_next(started, governed.interval))

    def _until_next(self, started: datetime, interval: timedelta) -> float:
        """Seconds until an interval after an inspection, and up to a twentieth more, from the policy's UID, so that
        policies do not move in step."""
        jitter = interval * (zlib.crc32((self.policy.metadata.uid or self.key.name).encode()) % 1000) / 20_000
        return self._until(started, interval + jitter)

    def _until(self, moment: datetime, wait: timedelta) -> float:
        """Seconds until so long after a moment; 0 where the moment is still to come, because a clock was set back."""
        now = self.services.clock()
        return (moment + wait - now).total_seconds() if moment - now <= CLOCKS_DIFFER else 0.0

    def _stored_report(self, governed: Governed) -> Object | None:
        key = report_key(self.key, governed.target.account_id)
        return self.services.cache.get(key) or self.services.cluster.get(key)

    def _task(
        self,
        governed: Governed,
        *,
        fresh: bool,
        hinted: frozenset[str],
        asked_at: datetime | None = None,
        outdated: Mapping[str, datetime] | None = None,
    ) -> Task:
        return Task(
            target=governed.target,
            demand=governed.demand,
            recovery=governed.recovery,
            interval=governed.interval,
            payer=governed.payer,
            payer_missing=governed.payer_missing,
            fresh=fresh,
            hinted=hinted,
            asked_at=asked_at,
            outdated=outdated or {},
        )

    def _inspect(
        self,
        governed: Governed,
        known: _Known,
        *,
        fresh: bool = False,
        hinted: frozenset[str] = frozenset(),
        asked_at: datetime | None = None,
        outdated: Mapping[str, datetime] | None = None,
    ) -> None:
        services = self.services
        stored = self._stored_report(governed) if known.report is None else None
        if stored is not None:
            known.previous = known.previous or documents.restored_if_known(stored)
            billed = (stored.get("status") or {}).get("billed") or ()
            services.inspector.carry(governed.target, documents.carried(billed))
        previous = known.report or known.previous
        task = self._task(governed, fresh=fresh, hinted=hinted, asked_at=asked_at, outdated=outdated)
        evidence = self._evidence(governed)
        outcome = services.inspector.inspect(task, evidence, previous)
        known.failures, known.error, known.tried_at = 0, None, None
        trace_id, now = services.tracer.current().trace_id, services.clock().timestamp()
        services.counters.inspected(outcome.report.inspection.duration, trace_id, now)
        self._take(governed, known, outcome, previous)

    def _reassessed(self, governed: Governed, known: _Known) -> bool:
        """Whether the last inspection could be judged anew, with what people grant now and without asking AWS."""
        if known.report is None:
            return False
        task, evidence = self._task(governed, fresh=False, hinted=frozenset()), self._evidence(governed)
        outcome = self.services.inspector.reassess(task, evidence, known.report)
        if outcome is None:
            return False
        self._take(governed, known, outcome, known.report)
        return True

    def _without_reading(self, governed: Governed, known: _Known) -> Report | None:
        """The report with what people grant now, of an account that is not read; None where that changes nothing."""
        last = known.report or known.previous
        if last is None or last.grants == governed.demand.grants:
            return None
        if self._reassessed(governed, known):
            return known.report
        stored = self._stored_report(governed)
        if known.report is not None or stored is None or not (stored.get("status") or {}).get("checks"):
            return None
        services = self.services
        document, report = lapsed(stored, last, governed.demand, services.inspector.catalogue, services.clock())
        correct_report(services, self.key, self.policy, stored, document)
        writer = PolicyWriter(services, self.body)
        announce(writer, last, report)
        granted.announce(writer, last.grants, report.grants)
        known.previous = report
        return report

    def _evidence(self, governed: Governed) -> Evidence:
        """The dated facts that checks are given, attestations that count among them."""
        services = self.services
        attested = grants.attestations(governed.demand.grants)
        evidence = Evidence(now=services.clock(), recovery=governed.recovery, attestations=attested)
        return gathered(services, self.policy, governed.account, self._stored_report(governed), evidence)

    def _take(self, governed: Governed, known: _Known, outcome: Outcome, previous: Report | None) -> None:
        """A new verdict: remembered, planned from, written and announced."""
        services = self.services
        owner = Owner(
            policy=self.key.name,
            policy_uid=self.policy.metadata.uid or "",
            cluster=services.cluster.uid(),
            namespace=self.key.namespace,
        )
        known.report, known.previous = outcome.report, None
        parameters = governed.demand.every_parameter(services.inspector.catalogue)
        with services.tracer.span("plan", {ACCOUNT_ID: governed.target.account_id}):
            known.plan = plan(
                outcome.report, outcome.snapshot, services.remediations, owner, governed.inputs, parameters
            )
        write_report(services, self.key, self.policy, governed.account, outcome, known.plan, previous)
        writer = PolicyWriter(services, self.body)
        announce(writer, previous, outcome.report)
        granted.announce(writer, previous.grants if previous is not None else (), outcome.report.grants)

    def _remediate(self, governed: Governed, known: _Known) -> list[float]:
        """Brings the Remediation objects up to date with the plan and takes each a step further."""
        if known.plan is None or not self.services.cluster.leading():
            return []  # who leads now takes them further, from what is stored
        proposals = self._proposals
        stored = proposals.stored(governed.target.account_id)
        proposals.update(governed, known.plan, stored)
        proposed = known.plan
        waits: list[float] = []
        for name in proposals.order(proposed, governed.target.account_id):
            body = self.services.cluster.get(Key(REMEDIATIONS, self.key.namespace, name))
            if body is None:
                continue
            proposals.remember(body)
            with self.services.tracer.span("remediation", _told(body)) as span:
                wait = self.reconciler.remediator.step(body, self._situation(governed, known))
                fresh = self.services.cluster.get(Key(REMEDIATIONS, self.key.namespace, name))
                span.note({"passmuster.state": ((fresh or {}).get("status") or {}).get("state", "")})
            if fresh is not None:
                proposals.remember(fresh)
                if fresh["metadata"].get("generation") != body["metadata"].get("generation"):
                    waits.append(0.0)  # somebody approved it meanwhile, and its event will bring nothing new
            if wait is not None:
                waits.append(wait)
        known.watched = known.report.inspection.id if known.report is not None else ""
        self._guard_stacks()
        if known.plan is not proposed and set(steps_of(known.plan)) != set(steps_of(proposed)):
            waits.append(0.0)  # a step changed the account, and with it what is to be proposed
        return waits

    def _situation(self, governed: Governed, known: _Known) -> Situation:
        if known.report is None or known.plan is None:
            raise ClusterUnreachable("nothing is known of the account yet")

        def refresh(checks: Sequence[str], changed_at: datetime | None) -> tuple[Report, Mapping[str, Step]]:
            outdated = dict.fromkeys(self._billed_of(checks), changed_at) if changed_at is not None else {}
            self._inspect(governed, known, hinted=self._services_of(checks), outdated=outdated)
            if known.report is None or known.plan is None:
                raise ClusterUnreachable("the account could not be read again")
            return known.report, steps_of(known.plan)

        return Situation(
            governed=governed,
            cluster_uid=self.services.cluster.uid(),
            report=known.report,
            steps=steps_of(known.plan),
            others=lambda: [r for r in self._proposals.all() if r.spec.account_id == governed.target.account_id],
            stacks=lambda region: self.reconciler.stacks(governed, region),
            api=lambda region: self.reconciler.steps(governed, region),
            definition=self.services.remediations.get,
            refresh=refresh,
            hold=self._hold_stacks,
            as_governed=lambda: self._is_still(governed),
            inspected=known.report.inspection.id != known.watched,
        )

    def _is_still(self, governed: Governed) -> bool:
        """Whether policy and account are as the turn found them, which may be minutes ago, or by a watch that lags."""
        for key, known in (
            (self.key, governed.policy.metadata),
            (Key(ACCOUNTS, "", governed.account.metadata.name), governed.account.metadata),
        ):
            body = self.services.cluster.get(key)
            if body is None:
                return False
            self.services.cache.put(key, body)
            now = Metadata.model_validate(body["metadata"])
            if now.deletion_timestamp is not None or _mark(now) != _mark(known):
                return False
        return True

    def _services_of(self, checks: Sequence[str]) -> frozenset[str]:
        """What is read again for these checks: whole services, and with the tags of resources the list of stacks.

        A stack made since the last inspection would else be missing, and what it owns be taken for nobody's.
        """
        catalogue = self.services.inspector.catalogue
        calls: list[Call] = [c for check in checks if check in catalogue for c in calls_of(catalogue.get(check))]
        proposing = self.services.remediations.calls(checks)
        if proposing:
            calls.append(TAGGED)
        calls.extend(call for call in proposing if call not in ownership.CALLS)
        services = {link.service for call in calls for link in call.chain()}
        return frozenset({*services, STACKS.name} if TAGGED.service in services else services)

    def _billed_of(self, checks: Sequence[str]) -> frozenset[str]:
        """The names of what these checks read that AWS bills."""
        catalogue = self.services.inspector.catalogue
        calls = (c for check in checks if check in catalogue for c in union(calls_of(catalogue.get(check))))
        return frozenset(call.name for call in calls if call.billed)

    def _hold_stacks(self) -> None:
        """The finalizer, before a stack is made: a policy that is deleted from now on takes it along.

        Raises Conflict if the policy is gone.
        """
        if (
            self.policy.spec.deletion_policy is DeletionPolicy.DELETE
            and FINALIZER not in self.policy.metadata.finalizers
        ):
            self._finalize(hold=True)

    def _hold_noted(self) -> bool:
        """The finalizer where a stack of ours is noted, whatever else a turn does; whether one is."""
        noted = any(has_own_stack(body) for _, body in self.services.cache.owned(REMEDIATIONS, self.key))
        if noted:
            self._hold_stacks()
        return noted

    def _guard_stacks(self) -> None:
        """The finalizer is there only while deletionPolicy is Delete and a stack of ours exists."""
        wanted = self.policy.spec.deletion_policy is DeletionPolicy.DELETE
        if wanted and self._hold_noted():
            return
        held = FINALIZER in self.policy.metadata.finalizers
        if held and not (wanted and self.reconciler.ending.has_stacks(self.key, self.policy)):
            self._finalize(hold=False)

    def _finalize(self, *, hold: bool) -> None:
        patched = finalized(self.services.cluster, self.key, hold=hold)
        if patched is None:
            raise Conflict(f"{self.key} is gone")
        self.policy = ReadinessPolicy.read(patched)


def _told(remediation: Object) -> Attributes:
    """What a span says of a remediation: whose it is and which, but nothing of what it is about."""
    spec = remediation["spec"]
    return {
        ACCOUNT_ID: spec["accountId"],
        "passmuster.remediation": spec["remediation"],
        "passmuster.remediation_name": remediation["metadata"]["name"],
        "passmuster.way": spec["way"],
        "cloud.region": spec["region"],
    }


def _undo_asked(remediation: Remediation) -> bool:
    asked = any(a.action is Action.UNDO for a in remediation.spec.approvals)
    return asked and remediation.status.state in (State.APPLIED, State.FAILED)


def _mark(metadata: Metadata) -> tuple[str | None, int | None, Mapping[str, str]]:
    """What tells one state of a policy or an account from another; an account is selected by its labels."""
    return metadata.uid, metadata.generation, metadata.labels
