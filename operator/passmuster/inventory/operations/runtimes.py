"""What every resource of an account runs on: a runtime, an engine and its version, an image, a service that may end.

Read by the check of what AWS has ended, which holds a table of dates against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.operations import eks
from passmuster.inventory.operations.ecs import TASK_DEFINITIONS
from passmuster.inventory.operations.elasticache import REPLICATION_GROUPS, SINGLE_CLUSTERS
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.rds import DB_CLUSTERS, DB_INSTANCES, is_changing, is_going
from passmuster.inventory.operations.synthetics import CANARIES, CANARY_FUNCTION
from passmuster.inventory.snapshot import Row, View

GONE = (
    "AccessDeniedException",
    "ForbiddenException",
    "UnrecognizedClientException",
    "SubscriptionRequiredException",
    "OptInRequired",
    "NotFoundException",
    "ResourceNotFoundException",
    "UnknownOperationException",
    "UnsupportedOperationException",
    "InvalidAction",
    "ServiceUnavailableException",
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "SSLError",
)
"""What an ended service may answer, if anything: it has no resources any more."""

MESHES = Call("appmesh", "ListMeshes", items="meshes", keep=("arn", "meshName"), absent=GONE, freshness=RARELY)
SQL_APPLICATIONS = Call(
    "kinesisanalytics",
    "ListApplications",
    items="ApplicationSummaries",
    keep=("ApplicationName", "ApplicationARN"),
    absent=GONE,
    freshness=RARELY,
)
GROUP_MEMBER = Call(
    "elasticache",
    "DescribeCacheClusters",
    each=REPLICATION_GROUPS,
    over="MemberClusters[0]",
    param="CacheClusterId",
    items="CacheClusters",
    keep=("CacheClusterId", "Engine", "EngineVersion"),
    absent=("CacheClusterNotFound", "CacheClusterNotFoundFault"),
    freshness=RARELY,
)
"""One member of each group: only there does AWS tell the version."""

SUBJECT_CALLS = (
    FUNCTIONS,
    CANARIES,
    DB_INSTANCES,
    DB_CLUSTERS,
    GROUP_MEMBER,
    SINGLE_CLUSTERS,
    eks.CLUSTER,
    TASK_DEFINITIONS,
    MESHES,
    SQL_APPLICATIONS,
)
"""What the subjects are read from."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A resource and what it runs on; `what` names that for people."""

    row: Row
    arn: str
    name: str
    kind: str
    version: str
    what: str
    engine: str = ""
    changing: bool = False


def _functions(view: View) -> Iterator[Subject]:
    for row in view.rows(FUNCTIONS):
        runtime, name = row.get("Runtime"), row["FunctionName"]
        if runtime and not name.startswith(CANARY_FUNCTION):
            changing = row.get("State") == "Pending"
            yield Subject(
                row, row["FunctionArn"], f"function {name}", "lambda-runtime", runtime, runtime, changing=changing
            )


def _canaries(view: View) -> Iterator[Subject]:
    for row in view.rows(CANARIES):
        runtime, name = row.get("RuntimeVersion") or "", row["Name"]
        arn = f"arn:{view.partition}:synthetics:{row.region}:{view.account_id}:canary:{name}"
        if row.get("State") != "DELETING":
            changing = row.get("State") in ("CREATING", "UPDATING")
            yield Subject(row, arn, f"canary {name}", "canary-runtime", runtime, runtime, changing=changing)


def _databases(view: View) -> Iterator[Subject]:
    for row in view.rows(DB_INSTANCES):
        if not row.get("DBClusterIdentifier"):
            yield from _database(row, row["DBInstanceArn"], row["DBInstanceIdentifier"])


def _clusters(view: View) -> Iterator[Subject]:
    for row in view.rows(DB_CLUSTERS):
        yield from _database(row, row["DBClusterArn"], row["DBClusterIdentifier"])


def _database(row: Row, arn: str, name: str) -> Iterator[Subject]:
    engine, version = row["Engine"], row.get("EngineVersion") or ""
    if version and not is_going(row):
        what, changing = f"{engine} {version}", is_changing(row)
        yield Subject(row, arn, f"database {name}", "database", version, what, engine, changing)


def _groups(view: View) -> Iterator[Subject]:
    for group in view.rows(REPLICATION_GROUPS):
        if group.get("Status") != "deleting":
            arn = group.get("ARN") or group["ReplicationGroupId"]
            with view.judging(arn, group.region):
                for member in view.rows(GROUP_MEMBER, group):
                    if member["CacheClusterId"] == group["MemberClusters"][0]:
                        yield _cache(member, arn, group["ReplicationGroupId"], group.get("Status"))


def _caches(view: View) -> Iterator[Subject]:
    for row in view.rows(SINGLE_CLUSTERS):
        if not row.get("ReplicationGroupId") and row.get("CacheClusterStatus") != "deleting":
            arn = row.get("ARN") or row["CacheClusterId"]
            yield _cache(row, arn, row["CacheClusterId"], row.get("CacheClusterStatus"))


def _cache(row: Row, arn: str, name: str, status: str | None) -> Subject:
    engine, version = row.get("Engine") or "", row.get("EngineVersion") or ""
    changing = status in ("creating", "modifying")
    return Subject(row, arn, f"cache {name}", "cache", version, f"{engine} {version}", engine, changing)


def _kubernetes(view: View) -> Iterator[Subject]:
    for row in view.rows(eks.CLUSTER):
        version, status = row.get("version") or "", row.get("status")
        if row.get("arn") and status != "DELETING":
            changing = status in ("CREATING", "UPDATING", "PENDING")
            name, what = f"cluster {row['name']}", f"Kubernetes {version}"
            yield Subject(row, row["arn"], name, "kubernetes", version, what, changing=changing)


def _images(view: View) -> Iterator[Subject]:
    judged: set[str] = set()
    for row in view.rows(TASK_DEFINITIONS):
        arn = row["taskDefinitionArn"]
        if arn not in judged:
            judged.add(arn)
            for container in row.get("containerDefinitions") or []:
                image = str(container.get("image") or "").partition("@")[0].rpartition("/")[2].partition(":")[0]
                title = f"task definition {arn.rpartition('/')[2]}"
                yield Subject(row, arn, title, "image", image, f"the image {image}")


def _services(view: View) -> Iterator[Subject]:
    for row in view.rows(MESHES):
        yield Subject(row, row["arn"], f"mesh {row['meshName']}", "service", "App Mesh", "App Mesh")
    for row in view.rows(SQL_APPLICATIONS):
        name, what = f"application {row['ApplicationName']}", "Kinesis Data Analytics for SQL"
        yield Subject(row, row["ApplicationARN"], name, "service", what, what)


KINDS = (_functions, _canaries, _databases, _clusters, _groups, _caches, _kubernetes, _images, _services)
"""The subjects by kind, each of which may be unreadable by itself."""
