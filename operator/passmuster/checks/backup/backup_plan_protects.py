"""A plan of AWS Backup backs up every data store at least once a day and keeps what it backs up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.index import Index
from passmuster.inventory.operations.backup import (
    BACKUP_PLANS,
    BACKUP_VAULT,
    PROTECTED_RESOURCES,
    SELECTING,
    Selections,
    interval,
    rules,
    working_plans,
)
from passmuster.inventory.operations.protectable import STORE_CALLS, STORES, Store, has_store, is_switched_on
from passmuster.inventory.snapshot import Row, View, any_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

DAILY = timedelta(days=1)
START_WINDOW = timedelta(hours=8)
"""How late a backup may begin where the rule does not say."""

YOUNG = timedelta(days=2)


@check(
    title="A backup plan protects every data store",
    category=Category.BACKUP,
    phase=Phase.STABLE,
    severity=Severity.HIGH,
    fix="A",
    calls=(*STORE_CALLS, *SELECTING, BACKUP_VAULT, PROTECTED_RESOURCES),
    nothing="There is no data store that AWS Backup protects",
    parameters=(
        Parameter(
            "minRetentionDays",
            Kind.INTEGER,
            30,
            Stricter.HIGHER,
            "How many days a daily backup is kept at least.",
            minimum=1,
            maximum=36500,
        ),
    ),
    controls=Controls(
        config=(
            "RDS_RESOURCES_PROTECTED_BY_BACKUP_PLAN",
            "AURORA_RESOURCES_PROTECTED_BY_BACKUP_PLAN",
            "DYNAMODB_RESOURCES_PROTECTED_BY_BACKUP_PLAN",
            "EFS_RESOURCES_PROTECTED_BY_BACKUP_PLAN",
            "S3_RESOURCES_PROTECTED_BY_BACKUP_PLAN",
            "EBS_RESOURCES_PROTECTED_BY_BACKUP_PLAN",
            "BACKUP_PLAN_MIN_FREQUENCY_AND_MIN_RETENTION_CHECK",
            "RDS_LAST_BACKUP_RECOVERY_POINT_CREATED",
            "AURORA_LAST_BACKUP_RECOVERY_POINT_CREATED",
            "DYNAMODB_LAST_BACKUP_RECOVERY_POINT_CREATED",
            "EFS_LAST_BACKUP_RECOVERY_POINT_CREATED",
            "S3_LAST_BACKUP_RECOVERY_POINT_CREATED",
            "EBS_LAST_BACKUP_RECOVERY_POINT_CREATED",
        ),
        security_hub=("RDS.26", "DynamoDB.4", "EC2.28", "EFS.2"),
        well_architected=("REL09-BP01", "REL09-BP03"),
    ),
)
def backup_plan_protects(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Backups that each service keeps for itself are lost with the service's settings; a plan's are not.

    Judged are databases, tables, file systems, buckets and volumes of the types that are switched on in the region's
    settings of AWS Backup; read replicas and replicated file systems are judged by their source. A region that has a
    data store of any of these types but no plan fails as a whole, whatever the settings say. A store needs a recovery
    point, the last no older than the schedule of a plan and the time a backup may take to begin, and the plan needs a
    selection and a rule that backs up daily or more often, keeps each backup long enough and puts it into an encrypted
    vault. A volume is protected by the backup of its instance too. A store younger than two days is judged by whether
    a plan selects it, by its ARN or its tags; a stopped database by the backups it has. A vault without a lock is a
    warning.
    """
    if not has_store(view):
        return
    with view.judging(view.account_id):
        if view.row(BACKUP_PLANS) is None:
            yield failed(
                view.origin(BACKUP_PLANS),
                view.account_id,
                "There is no backup plan, so no data store is protected",
                observed="no backup plan",
                expected="a backup plan that selects every data store",
                facts={"missing": "backup-plan"},
            )
            return
    plans = _Plans(view, parameters["minRetentionDays"], evidence.now)
    for kind, stores in STORES.items():
        with view.judging(view.account_id):
            for store in stores(view):
                with view.judging(store.arn, store.region):
                    if is_switched_on(view, kind, store.region):
                        yield _judged(store, plans)


def _judged(store: Store, plans: _Plans) -> Finding:
    if store.state is not None:
        message = f"The {store.name} is in the state {store.state}"
        return unknown(
            store.origin, store.arn, message, Reason.IN_TRANSIT, observed=store.state, expected=plans.expected
        )
    lacking = unmet(plans.conditions(store))
    if lacking:
        return failed(
            store.origin,
            store.arn,
            f"The {store.name} lacks {' and '.join(lacking)}",
            observed=plans.observed(store),
            expected=plans.expected,
            facts={"resourceArn": store.arn},
        )
    return passed(
        store.origin,
        store.arn,
        f"The {store.name} is protected by a backup plan",
        observed=plans.observed(store),
        expected=plans.expected,
        warnings=plans.warnings(store),
    )


class _Plans:
    """What the plans of the region do, and for which resources they did it."""

    def __init__(self, view: View, minimum: int, now: datetime) -> None:
        self._view = view
        self._minimum = minimum
        self._now = now
        self._protected = Index(lambda row: row.get("ResourceArn"), view.rows(PROTECTED_RESOURCES))
        self._selections = Selections(view)
        vaults = (vault for _, vault in seen(self._good_rules()) if not vault.get("Locked"))
        names = sorted({str(vault.asked("BackupVaultName")) for vault in vaults})
        self._unlocked = tuple(f"the backup vault {name} has no lock" for name in names)
        self.expected = f"a backup every day, kept {minimum} days or more in an encrypted vault"

    def conditions(self, store: Store) -> dict[str, Callable[[], bool]]:
        young = store.created is not None and self._now - store.created < YOUNG
        return {
            "a backup by AWS Backup": lambda: any_of(
                lambda: any(True for _ in self._backups(store)), lambda: young and self._is_selected(store)
            ),
            "a backup as recent as its plan promises": lambda: young or store.stopped or self._is_recent(store),
            f"a plan with {self.expected}": lambda: any(True for _ in self._good_rules()),
        }

    def observed(self, store: Store) -> str:
        backups = [row["LastBackupTime"] for row in seen(self._backups(store)) if row.get("LastBackupTime")]
        return f"last backup {max(backups):%Y-%m-%d %H:%M} UTC" if backups else "no backup by AWS Backup"

    def warnings(self, store: Store) -> tuple[str, ...]:
        waits = not seen(self._backups(store))
        return (f"the {store.name} is new and waits for its first backup",) * waits + self._unlocked

    def _is_selected(self, store: Store) -> bool:
        return any(True for _ in self._selections.plans(store.region, store.arn, *store.carriers))

    def _backups(self, store: Store) -> Iterator[Row]:
        for arn in (store.arn, *store.carriers):
            yield from self._protected.rows(arn, self._view.region)

    def _is_recent(self, store: Store) -> bool:
        """Whether the last backup is no older than a plan promises; it is not late where there is none, or no plan."""
        return any_of(
            lambda: not any(True for _ in self._backups(store)),
            lambda: not any(True for _ in self._good_rules()),
            lambda: any(
                self._now - row["LastBackupTime"] <= _latest(rule)
                for row in self._backups(store)
                if row.get("LastBackupTime")
                for rule, _ in self._good_rules()
            ),
        )

    def _good_rules(self) -> Iterator[tuple[dict[str, Any], Row]]:
        """The rules that back up often enough, keep it long enough, and have an encrypted vault; with that vault."""
        for plan in working_plans(self._view):
            for rule in rules(plan):
                every = interval(rule)
                if every is not None and every <= DAILY and _kept(rule) >= self._minimum:
                    for vault in self._view.rows(BACKUP_VAULT, plan):
                        encrypted = vault.get("EncryptionKeyArn") or vault.get("EncryptionKeyType")
                        if encrypted and vault.asked("BackupVaultName") == rule.get("TargetBackupVaultName"):
                            yield rule, vault


def _kept(rule: dict[str, Any]) -> float:
    """How many days; without a limit for ever, unless a backup goes as soon as it was copied."""
    lifecycle = rule.get("Lifecycle") or {}
    days: float = lifecycle.get("DeleteAfterDays") or (0 if lifecycle.get("DeleteAfterEvent") else float("inf"))
    return days


def _latest(rule: dict[str, Any]) -> timedelta:
    """How old the last backup of a rule may be."""
    window = rule.get("StartWindowMinutes")
    return (interval(rule) or DAILY) + (timedelta(minutes=window) if window else START_WINDOW)
