"""What is read again and again is answered from a cache."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.apigateway import REST_APIS, STAGES
from passmuster.inventory.operations.cloudfront import DISTRIBUTIONS, caches, keeps_nothing
from passmuster.inventory.operations.elasticache import REPLICATION_GROUPS, SERVERLESS_CACHES, SINGLE_CLUSTERS
from passmuster.inventory.snapshot import Row, View, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

MEMORYDB_CLUSTERS = Call(
    "memorydb",
    "DescribeClusters",
    items="Clusters",
    keep=("ARN", "Name", "Status"),
    absent=("ServiceLinkedRoleNotFoundFault",),
)
DAX_CLUSTERS = Call(
    "dax",
    "DescribeClusters",
    items="Clusters",
    keep=("ClusterArn", "ClusterName", "Status"),
    absent=("ServiceLinkedRoleNotFoundFault",),
)
KINDS = {
    REPLICATION_GROUPS: "ElastiCache group",
    SERVERLESS_CACHES: "serverless cache",
    SINGLE_CLUSTERS: "ElastiCache cluster",
    MEMORYDB_CLUSTERS: "MemoryDB cluster",
    DAX_CLUSTERS: "DynamoDB Accelerator",
    DISTRIBUTIONS: "distribution",
    STAGES: "API stage",
}
"""What answers from a cache, in the order in which it is named."""

EXPECTED = "an available cache: ElastiCache, MemoryDB, DynamoDB Accelerator, a distribution or an API stage's cache"
AVAILABLE = frozenset({"available", "active", "deployed", "snapshotting"})
IN_TRANSIT = frozenset({"creating", "create_in_progress", "modifying", "updating", "inprogress"})


@check(
    title="A cache answers repeated reads",
    category=Category.PERFORMANCE,
    phase=Phase.ENTERPRISE,
    severity=Severity.LOW,
    fix="A",
    per="account",
    optional=True,
    calls=(
        REPLICATION_GROUPS,
        SERVERLESS_CACHES,
        SINGLE_CLUSTERS,
        MEMORYDB_CLUSTERS,
        DAX_CLUSTERS,
        DISTRIBUTIONS,
        REST_APIS,
        STAGES,
    ),
    controls=Controls(well_architected=("PERF03-BP05",)),
)
def caching_layer(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A database that answers the same question a thousand times a second is paid for a thousand answers.

    Any one cache that is available in a governed region is enough: ElastiCache of every kind, MemoryDB, DynamoDB
    Accelerator, an enabled distribution of which not every behaviour has the policy CachingDisabled, or the cache of an
    API stage. If there are only caches that are being made or changed, the answer is in transit. How often a cache is
    hit is not judged; a distribution whose own settings let nothing live is a warning.
    """
    kind = first_of(KINDS, lambda call: any(_status(row) in AVAILABLE for row in view.rows(call)))
    if kind is not None:
        cache = next(row for row in view.rows(kind) if _status(row) in AVAILABLE)
        message = f"The {KINDS[kind]} {_name(cache)} answers repeated reads"
        idle = kind == DISTRIBUTIONS and keeps_nothing(cache)
        warnings = (f"the {KINDS[kind]} {_name(cache)} keeps nothing: its longest time to live is 0 s",) * idle
        observed = _status(cache)
        yield passed(cache.origin, _arn(view, cache), message, observed=observed, expected=EXPECTED, warnings=warnings)
        return
    for call, name in KINDS.items():
        for cache in view.rows(call):
            if _status(cache) in IN_TRANSIT:
                message = f"The {name} {_name(cache)} is not available yet"
                yield unknown(
                    cache.origin,
                    _arn(view, cache),
                    message,
                    Reason.IN_TRANSIT,
                    observed=_status(cache),
                    expected=EXPECTED,
                )
                return
    message = "The account has no cache that is available"
    yield failed(
        view.origin(REPLICATION_GROUPS), view.account_id, message, observed="no available cache", expected=EXPECTED
    )


def _status(cache: Row) -> str:
    """The status of a cache in lower case; empty for what is switched off."""
    if cache.call == DISTRIBUTIONS:
        return str(cache.get("Status", "Deployed")).lower() if cache.get("Enabled") and caches(cache) else ""
    if cache.call == STAGES:
        return str(cache.get("cacheClusterStatus") or "").lower() if cache.get("cacheClusterEnabled") else ""
    return str(cache.get("Status") or cache.get("CacheClusterStatus") or "").lower()


def _name(cache: Row) -> str:
    names = ("ReplicationGroupId", "ServerlessCacheName", "CacheClusterId", "Name", "ClusterName", "Id", "stageName")
    return next(str(cache[name]) for name in names if cache.get(name))


def _arn(view: View, cache: Row) -> str:
    if cache.call == STAGES:
        api = cache.asked("restApiId")
        return f"arn:{view.partition}:apigateway:{cache.region}::/restapis/{api}/stages/{cache['stageName']}"
    return str(cache.get("ARN") or cache.get("ClusterArn") or _name(cache))
