"""Data stores, load balancers, groups and services survive the loss of one availability zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.autoscaling import GROUPS
from passmuster.inventory.operations.ec2 import SUBNETS
from passmuster.inventory.operations.ecs import SERVICES, cluster_of, subnets
from passmuster.inventory.operations.efs import FILE_SYSTEMS
from passmuster.inventory.operations.elasticache import REPLICATION_GROUPS
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS
from passmuster.inventory.operations.endpoints import state
from passmuster.inventory.operations.rds import DB_CLUSTERS, DB_INSTANCES, is_changing, is_going, is_replica, status
from passmuster.inventory.snapshot import Row, View, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

MULTI_AZ, TWO_ZONES = "Multi-AZ", "two availability zones"


@check(
    title="Everything runs in two availability zones",
    category=Category.INFRASTRUCTURE,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="I",
    calls=(
        DB_INSTANCES,
        DB_CLUSTERS,
        LOAD_BALANCERS,
        GROUPS,
        SERVICES,
        SUBNETS,
        REPLICATION_GROUPS,
        FILE_SYSTEMS,
    ),
    nothing="There is no data store, load balancer, group or service that a lost zone could stop",
    controls=Controls(
        config=(
            "RDS_MULTI_AZ_SUPPORT",
            "RDS_CLUSTER_MULTI_AZ_ENABLED",
            "ELBV2_MULTIPLE_AZ",
            "AUTOSCALING_MULTIPLE_AZ",
        ),
        security_hub=("RDS.5", "RDS.15", "ELB.13", "AutoScaling.2"),
        well_architected=("REL10-BP01",),
    ),
)
def multi_az_deployment(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A zone fails as a whole now and then; what runs in one zone only fails with it.

    Database instances must be Multi-AZ; replicas (of an instance or a cluster) are not judged, and members of a cluster
    are judged by their cluster, which needs members in two zones: serverless capacity, the storage's own copies and a
    replica elsewhere do not count. Application and network load balancers, internal ones too, must be enabled in two
    zones; where their targets are is not judged here. A group needs two zones and a minimum of two instances; one that
    may not run any is not judged. A service needs subnets in two zones and two tasks; daemons and services scaled to
    zero are not judged, and a service without subnets of its own is judged by its number of tasks, since its instances'
    group has the zones. Replication groups must be Multi-AZ, and file systems must not be One Zone.
    """
    for subjects in (_instances, _clusters, _balancers, _groups, _services, _caches, _file_systems):
        with view.judging(view.account_id):
            yield from subjects(view)


def _judged(
    row: Row, arn: str, name: str, wrong: list[str], observed: str, expected: str, facts: Mapping[str, str]
) -> Finding:
    if wrong:
        message = f"The {name} lacks {' and '.join(wrong)}"
        return failed(row.origin, arn, message, observed=observed, expected=expected, facts=facts)
    return passed(row.origin, arn, f"The {name} survives the loss of a zone", observed=observed, expected=expected)


def _in_transit(row: Row, arn: str, name: str, observed: str) -> Finding:
    message = f"The {name} is being changed"
    return unknown(row.origin, arn, message, Reason.IN_TRANSIT, observed=observed, expected=TWO_ZONES)


def _lacks(zones: set[str]) -> list[str]:
    return [] if len(zones) >= 2 else [TWO_ZONES]


def _listed(zones: set[str]) -> str:
    return f"zones: {', '.join(sorted(zones)) or 'none'}"


def _instances(view: View) -> Iterator[Finding]:
    for instance in view.rows(DB_INSTANCES):
        arn, name = instance["DBInstanceArn"], f"database {instance['DBInstanceIdentifier']}"
        if is_replica(instance) or instance.get("DBClusterIdentifier") or is_going(instance):
            continue
        if is_changing(instance):
            yield _in_transit(instance, arn, name, status(instance))
        else:
            multi = bool(instance.get("MultiAZ"))
            facts = {"kind": "database", "DBInstanceIdentifier": instance["DBInstanceIdentifier"]}
            yield _judged(instance, arn, name, [] if multi else [MULTI_AZ], f"Multi-AZ: {multi}", MULTI_AZ, facts)


def _clusters(view: View) -> Iterator[Finding]:
    for cluster in view.rows(DB_CLUSTERS):
        arn, name = cluster["DBClusterArn"], f"database cluster {cluster['DBClusterIdentifier']}"
        if is_replica(cluster) or is_going(cluster):
            continue
        if is_changing(cluster):
            yield _in_transit(cluster, arn, name, status(cluster))
            continue
        with view.judging(arn, cluster.region):
            zones = _member_zones(view, cluster)
            facts = {
                "kind": "cluster",
                "DBClusterIdentifier": cluster["DBClusterIdentifier"],
                "Engine": cluster["Engine"],
            }
            yield _judged(cluster, arn, name, _lacks(zones), _listed(zones), f"members in {TWO_ZONES}", facts)


def _member_zones(view: View, cluster: Row) -> set[str]:
    """The zones of a cluster's members; two are enough to stop looking."""
    zones: set[str] = set()
    for instance in view.rows(DB_INSTANCES):
        member = instance.get("DBClusterIdentifier") == cluster["DBClusterIdentifier"] and not is_going(instance)
        if member and instance.get("AvailabilityZone"):
            zones.add(instance["AvailabilityZone"])
            if len(zones) == 2:
                break
    return zones


def _balancers(view: View) -> Iterator[Finding]:
    for balancer in view.rows(LOAD_BALANCERS):
        if balancer.get("Type") not in ("application", "network"):
            continue
        arn, name = balancer["LoadBalancerArn"], f"load balancer {balancer['LoadBalancerName']}"
        if state(balancer) == "provisioning":
            yield _in_transit(balancer, arn, name, "provisioning")
        else:
            zones = {str(zone.get("ZoneName")) for zone in balancer.get("AvailabilityZones") or ()}
            subnets_now = [str(zone.get("SubnetId")) for zone in balancer.get("AvailabilityZones") or ()]
            facts = {
                "kind": "load-balancer",
                "loadBalancerArn": arn,
                "VpcId": str(balancer.get("VpcId")),
                "Subnets": ",".join(subnets_now),
            }
            yield _judged(balancer, arn, name, _lacks(zones), _listed(zones), TWO_ZONES, facts)


def _groups(view: View) -> Iterator[Finding]:
    for group in view.rows(GROUPS):
        if group.get("Status") or not group.get("MaxSize"):
            continue
        zones, least = set(group.get("AvailabilityZones") or ()), group.get("MinSize") or 0
        yield _judged(
            group,
            group["AutoScalingGroupARN"],
            f"group {group['AutoScalingGroupName']}",
            _lacks(zones) + ([] if least >= 2 else ["a minimum of two instances"]),
            f"{_listed(zones)}; minimum {least}",
            f"{TWO_ZONES}, a minimum of two instances",
            {"kind": "group", "AutoScalingGroupName": group["AutoScalingGroupName"]},
        )


def _services(view: View) -> Iterator[Finding]:
    for service in view.rows(SERVICES):
        count = service.get("desiredCount") or 0
        if service.get("status") != "ACTIVE" or service.get("schedulingStrategy") == "DAEMON" or not count:
            continue
        arn, name = service["serviceArn"], f"service {service['serviceName']}"
        with view.judging(arn, service.region):
            own = subnets(service)
            wrong = unmet({"two tasks": partial(_two, count), TWO_ZONES: partial(_spread, view, own)})
            observed = f"desired count {count}, {len(own) or 'no'} subnets of its own"
            facts = {"kind": "service", "ClusterName": cluster_of(service), "ServiceName": service["serviceName"]}
            yield _judged(service, arn, name, wrong, observed, f"{TWO_ZONES}, two tasks", facts)


def _two(count: int) -> bool:
    return count >= 2


def _spread(view: View, own: set[str]) -> bool:
    """Whether the subnets lie in two zones; without subnets the question is that of the instances' group."""
    if not own:
        return True
    zones: set[str] = set()
    for subnet in view.rows(SUBNETS):
        if subnet["SubnetId"] in own:
            zones.add(str(subnet.get("AvailabilityZone")))
            if len(zones) == 2:
                return True
    return False


def _caches(view: View) -> Iterator[Finding]:
    for cache in view.rows(REPLICATION_GROUPS):
        arn, name = cache["ARN"], f"replication group {cache['ReplicationGroupId']}"
        if cache.get("Status") in ("creating", "modifying"):
            yield _in_transit(cache, arn, name, str(cache["Status"]))
        elif cache.get("Status") not in ("deleting", "create-failed"):
            multi = cache.get("MultiAZ") == "enabled"
            observed = f"Multi-AZ: {cache.get('MultiAZ') or 'disabled'}"
            facts = {
                "kind": "cache" if _has_replicas(cache) else "lone-cache",
                "ReplicationGroupId": cache["ReplicationGroupId"],
            }
            yield _judged(cache, arn, name, [] if multi else [MULTI_AZ], observed, MULTI_AZ, facts)


def _has_replicas(cache: Row) -> bool:
    """Whether every shard has a replica that could take over."""
    shards = cache.get("NodeGroups") or [{}]
    return len(cache.get("MemberClusters") or ()) >= 2 * len(shards)


def _file_systems(view: View) -> Iterator[Finding]:
    for store in view.rows(FILE_SYSTEMS):
        arn, name = _file_system_arn(view, store), f"file system {store['FileSystemId']}"
        if store.get("LifeCycleState") in ("creating", "updating"):
            yield _in_transit(store, arn, name, str(store["LifeCycleState"]))
        elif store.get("LifeCycleState") not in ("deleting", "deleted", "error"):
            zone = store.get("AvailabilityZoneName")
            observed = f"One Zone in {zone}" if zone else "regional storage"
            facts = {"kind": "file-system", "FileSystemId": store["FileSystemId"]}
            yield _judged(store, arn, name, [TWO_ZONES] if zone else [], observed, "regional storage", facts)


def _file_system_arn(view: View, store: Row) -> str:
    built = (
        f"arn:{view.partition}:elasticfilesystem:{store.region}:{view.account_id}:file-system/{store['FileSystemId']}"
    )
    return str(store.get("FileSystemArn") or built)
