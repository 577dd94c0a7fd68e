"""The secondary region has the data, something to run it on, and a way for traffic to get there."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.arn import region_in
from passmuster.inventory.call import Call
from passmuster.inventory.operations.arc_region_switch import PLANS
from passmuster.inventory.operations.backup import BACKUP_PLAN, COPIES_KEPT, COPY_JOBS, copied_to
from passmuster.inventory.operations.cloudfront import DISTRIBUTIONS
from passmuster.inventory.operations.dynamodb import TABLE
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS
from passmuster.inventory.operations.endpoints import state, target
from passmuster.inventory.operations.globalaccelerator import ACCELERATORS, ENDPOINT_GROUPS, LISTENERS
from passmuster.inventory.operations.rds import DB_CLUSTERS, DB_INSTANCES, GLOBAL_CLUSTERS, is_going
from passmuster.inventory.operations.route53 import HOSTED_ZONES, RECORD_SETS
from passmuster.inventory.operations.s3 import (
    BUCKET_LOCATION,
    BUCKET_REPLICATION,
    BUCKET_VERSIONING,
    BUCKETS,
    is_versioned,
    located,
    replicated_to,
)
from passmuster.inventory.snapshot import Row, View, all_of, any_of, first_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

DATA, COMPUTE, TRAFFIC = "data", "compute", "traffic"
EXPECTED = "data, compute and traffic in the secondary region"
LIVE = (None, "ACTIVE", "UPDATING")


@check(
    title="The workload is deployed in two regions",
    category=Category.INFRASTRUCTURE,
    phase=Phase.ENTERPRISE,
    severity=Severity.HIGH,
    fix="P",
    per="account",
    calls=(
        DB_INSTANCES,
        DB_CLUSTERS,
        GLOBAL_CLUSTERS,
        TABLE,
        BUCKETS,
        BUCKET_LOCATION,
        BUCKET_REPLICATION,
        BUCKET_VERSIONING,
        BACKUP_PLAN,
        COPY_JOBS,
        LOAD_BALANCERS,
        DISTRIBUTIONS,
        PLANS,
        HOSTED_ZONES,
        RECORD_SETS,
        ACCELERATORS,
        LISTENERS,
        ENDPOINT_GROUPS,
    ),
    controls=Controls(well_architected=("REL10-BP01", "REL13-BP02")),
)
def multi_region_deployment(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A second region helps on the day of the disaster only if it is more than an empty network.

    Judged where the policy names a secondary region, in three tiers, each of which needs one thing there. Data: a
    replica of a database or table, a copy of its automated backups, a bucket that a versioned bucket elsewhere
    replicates to, or a copy that AWS Backup completed in the last 30 days by a rule that still copies. Compute: a load
    balancer, a distribution with a group of origins, or a plan of ARC Region switch. Traffic: records of one name that
    fail over or are chosen by latency or weight, all but the secondary one with a health check (an alias that evaluates
    its target has one), or an accelerator with endpoints in two regions. What names its region and does not name the
    secondary one does not count. The load balancers of a secondary region that is not governed cannot be seen; all
    else is seen from the other regions.
    """
    secondary = evidence.recovery.secondary_region
    if not secondary:
        message = "The policy names no secondary region"
        yield not_applicable(view.origin(BACKUP_PLAN), view.account_id, message, Reason.NOT_REQUESTED)
        return
    second = _Second(view, secondary, evidence)
    missing = unmet({DATA: second.has_data, COMPUTE: second.has_compute, TRAFFIC: second.has_traffic})
    account, seen_by = view.account_id, {DATA: DB_INSTANCES, COMPUTE: LOAD_BALANCERS, TRAFFIC: RECORD_SETS}
    if missing:
        message = f"The secondary region {secondary} lacks {' and '.join(missing)}"
        observed = f"missing: {', '.join(missing)}"
        facts = {"secondaryRegion": secondary, "missing": ", ".join(missing)}
        origin = view.origin(seen_by[missing[0]])
        yield failed(origin, account, message, observed=observed, expected=EXPECTED, facts=facts)
    elif second.untold:
        tier, (message, reason) = next(iter(second.untold.items()))
        observed = f"no {tier} that can be seen"
        yield unknown(view.origin(seen_by[tier]), account, message, reason, observed=observed, expected=EXPECTED)
    else:
        message = f"Data, compute and traffic are ready in {secondary}"
        yield passed(view.origin(DB_INSTANCES), account, message, observed=f"ready in {secondary}", expected=EXPECTED)


class _Second:
    """What there is in the secondary region. `untold` says of a tier why it cannot be told that it is missing."""

    def __init__(self, view: View, region: str, evidence: Evidence) -> None:
        self._view = view
        self._region = region
        self._since = evidence.now - COPIES_KEPT
        self.untold: dict[str, tuple[str, Reason]] = {}

    def has_data(self) -> bool:
        if any_of(
            *(partial(self._is_linked, call) for call in (DB_INSTANCES, DB_CLUSTERS, GLOBAL_CLUSTERS)),
            lambda: any(self._spans(_regions_of_table(row)) for row in self._view.rows(TABLE)),
            partial(self._has_bucket, self._region),
            self._has_copy,
        ):
            return True
        if self._has_bucket(""):
            message = "A bucket is replicated to a bucket of another account, whose region cannot be told"
            self.untold[DATA] = (message, Reason.PARTIAL)
        return DATA in self.untold

    def has_compute(self) -> bool:
        if any_of(
            lambda: any(self._is_balancer(row) for row in self._view.rows(LOAD_BALANCERS)),
            lambda: any(self._is_group(row) for row in self._view.rows(DISTRIBUTIONS)),
            lambda: any(self._region in (plan.get("regions") or ()) for plan in self._view.rows(PLANS)),
        ):
            return True
        if self._region not in self._view.regions:
            message = f"The load balancers of {self._region} cannot be seen: add the region to the policy's regions"
            self.untold[COMPUTE] = (message, Reason.REGION_UNREADABLE)
        return COMPUTE in self.untold

    def has_traffic(self) -> bool:
        return any_of(
            lambda: first_of(self._view.rows(HOSTED_ZONES), self._is_routed) is not None,
            lambda: first_of(self._view.rows(ACCELERATORS), self._is_accelerated) is not None,
        )

    def _spans(self, regions: Iterable[str]) -> bool:
        """Whether the secondary region is among them, and another."""
        found = {region for region in regions if region}
        return self._region in found and len(found) >= 2

    def _is_linked(self, call: Call) -> bool:
        """Whether a database, or a cluster of clusters, has another end in the other region."""
        databases = (row for row in self._view.rows(call) if not is_going(row))
        return any(self._spans(places) for row in databases for places in _places(row))

    def _has_bucket(self, home: str) -> bool:
        """Whether a bucket elsewhere is replicated to one with that home; empty for one of another account."""
        buckets = seen(located(self._view))
        homes = {bucket["Name"]: place for bucket, place in buckets}
        sources = [bucket for bucket, place in buckets if place != self._region]
        copied = (partial(self._is_copied, bucket, homes, home) for bucket in sources)
        return any_of(*copied, lambda: any(False for _ in located(self._view)))

    def _is_copied(self, bucket: Row, homes: dict[str, str], home: str) -> bool:
        return all_of(
            lambda: any(homes.get(other, "") == home for other in replicated_to(self._view, bucket)),
            lambda: is_versioned(self._view, bucket),
        )

    def _has_copy(self) -> bool:
        """A copy by AWS Backup: a rule that copies here, and a copy that it completed."""
        return all_of(
            lambda: any(
                self._spans([plan.region, region_in(vault)])
                for plan in self._view.rows(BACKUP_PLAN)
                for vault in copied_to(plan)
            ),
            lambda: any(
                self._spans([job.region, region_in(job.get("DestinationBackupVaultArn"))])
                and job.get("State") in (None, "COMPLETED")
                and (job.get("CompletionDate") is None or job["CompletionDate"] > self._since)
                for job in self._view.rows(COPY_JOBS)
            ),
        )

    def _is_balancer(self, balancer: Row) -> bool:
        return balancer.region == self._region and state(balancer).startswith("active")

    def _is_group(self, distribution: Row) -> bool:
        """Whether a distribution falls back from one origin to another, one of which may be in the region."""
        origins = [str(origin.get("DomainName")) for origin in distribution.get("Origins") or ()]
        groups = distribution.get("Enabled") and distribution.get("OriginGroups")
        return bool(groups) and any(self._may_be(_named(origin)) for origin in origins)

    def _is_routed(self, zone: Row) -> bool:
        """Whether some name of the zone is answered by health, in this region among others."""
        sets: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for record in self._view.rows(RECORD_SETS, zone):
            if record.get("Failover") or record.get("Region") or record.get("Weight") is not None:
                sets[record["Name"], record["Type"]].append(record)
        return any(
            len(records) >= 2
            and all(_is_checked(record) for record in records)
            and any(self._may_be(record.get("Region") or _named(target(record))) for record in records)
            for records in sets.values()
        )

    def _is_accelerated(self, accelerator: Row) -> bool:
        return accelerator.get("Enabled") is not False and any(
            self._spans(
                str(group.get("EndpointGroupRegion"))
                for group in self._view.rows(ENDPOINT_GROUPS, listener)
                if group.get("EndpointDescriptions")
            )
            for listener in self._view.rows(LISTENERS, accelerator)
        )

    def _may_be(self, region: str) -> bool:
        return region in ("", self._region)


def _places(database: Row) -> Iterator[list[str]]:
    """The pairs of regions that a database connects with its source, a replica or the copy of its backups."""
    source = database.get("ReadReplicaSourceDBInstanceIdentifier") or database.get("ReplicationSourceIdentifier")
    replicas = database.get("ReadReplicaDBInstanceIdentifiers") or database.get("ReadReplicaIdentifiers") or ()
    backups = database.get("DBInstanceAutomatedBackupsReplications") or ()
    for arn in (source, *replicas, *(one.get("DBInstanceAutomatedBackupsArn") for one in backups)):
        yield [database.region, region_in(arn)]
    yield [region_in(member.get("DBClusterArn")) for member in database.get("Members") or ()]


def _regions_of_table(table: Row) -> list[str]:
    replicas = table.get("Replicas") or ()
    return [table.region, *(str(one.get("RegionName")) for one in replicas if one.get("ReplicaStatus") in LIVE)]


def _named(host: str) -> str:
    """The region that a host's name tells, as those of load balancers do; empty if it tells none."""
    found = re.search(r"(?<![a-z0-9])[a-z]{2}(?:-[a-z]+)+-\d(?![a-z0-9])", host)
    return found[0] if found else ""


def _is_checked(record: Row) -> bool:
    """Whether Route 53 knows when not to answer with the record; the last resort of a failover needs no check."""
    alias = record.get("AliasTarget") or {}
    checked = record.get("HealthCheckId") or alias.get("EvaluateTargetHealth")
    return bool(checked) or record.get("Failover") == "SECONDARY"
