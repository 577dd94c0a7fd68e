"""Whether the account runs anything at all, for checks that ask for the papers of a workload.

An account without load balancer, service, function, instance and data store has nothing to recover, and none of these
checks applies to it. Buckets do not count: the audit logs of an otherwise empty account lie in one.
"""

from __future__ import annotations

from passmuster.inventory.call import Call
from passmuster.inventory.operations.dynamodb import TABLES
from passmuster.inventory.operations.ec2 import INSTANCES
from passmuster.inventory.operations.ecs import SERVICE_PAGES
from passmuster.inventory.operations.efs import FILE_SYSTEMS
from passmuster.inventory.operations.elasticache import REPLICATION_GROUPS, SERVERLESS_CACHES, SINGLE_CLUSTERS
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.rds import DB_CLUSTERS, DB_INSTANCES, is_going
from passmuster.inventory.snapshot import View, any_of

WORKLOAD: tuple[Call, ...] = (
    LOAD_BALANCERS,
    SERVICE_PAGES,
    FUNCTIONS,
    INSTANCES,
    DB_INSTANCES,
    DB_CLUSTERS,
    TABLES,
    FILE_SYSTEMS,
    REPLICATION_GROUPS,
    SINGLE_CLUSTERS,
    SERVERLESS_CACHES,
)
"""What `has_workload` reads; a check that asks it declares these calls."""

NO_WORKLOAD = "The account has no load balancer, service, function, instance or data store"
_GONE = ("shutting-down", "terminated", "deleting", "deleted")


def has_workload(view: View) -> bool:
    """Whether there is one of them: one that was read suffices; Unread if none was and something could not be."""
    return any_of(
        lambda: _any(view, LOAD_BALANCERS),
        lambda: any(row.get("serviceArns") for row in view.rows(SERVICE_PAGES)),
        lambda: _any(view, FUNCTIONS),
        lambda: any((row.get("State") or {}).get("Name") not in _GONE for row in view.rows(INSTANCES)),
        lambda: any(not is_going(row) for row in view.rows(DB_INSTANCES)),
        lambda: any(not is_going(row) for row in view.rows(DB_CLUSTERS)),
        lambda: _any(view, TABLES),
        lambda: any(row.get("LifeCycleState") not in _GONE for row in view.rows(FILE_SYSTEMS)),
        lambda: any(row.get("Status") not in _GONE for row in view.rows(REPLICATION_GROUPS)),
        lambda: any(row.get("CacheClusterStatus") not in _GONE for row in view.rows(SINGLE_CLUSTERS)),
        lambda: any(row.get("Status") not in _GONE for row in view.rows(SERVERLESS_CACHES)),
    )


def _any(view: View, call: Call) -> bool:
    return any(True for _ in view.rows(call))
