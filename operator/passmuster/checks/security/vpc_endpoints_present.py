"""Private workloads reach the AWS services they call without leaving their network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import ONCE, RARELY, Call
from passmuster.inventory.index import Index
from passmuster.inventory.operations.dynamodb import TABLES
from passmuster.inventory.operations.ec2 import (
    INSTANCES,
    NETWORK_INTERFACES,
    ROUTE_TABLES,
    SUBNETS,
    VPCS,
    leads_out,
    route_table_of,
)
from passmuster.inventory.operations.ecr import REPOSITORIES
from passmuster.inventory.operations.ecs import SERVICES, subnets
from passmuster.inventory.operations.kms import ALIASES, names_own_alias
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.logs import LOG_GROUPS
from passmuster.inventory.operations.s3 import BUCKET_LOCATION, BUCKETS, located
from passmuster.inventory.operations.secretsmanager import SECRETS
from passmuster.inventory.snapshot import Row, View, any_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

ENDPOINTS = Call(
    "ec2",
    "DescribeVpcEndpoints",
    each=VPCS,
    over="VpcId",
    param=ONCE,
    items="VpcEndpoints",
    keep=(
        "VpcEndpointId",
        "VpcEndpointType",
        "VpcId",
        "ServiceName",
        "State",
        "RouteTableIds",
        "SubnetIds",
        "PrivateDnsEnabled",
    ),
    freshness=RARELY,
)
NETWORK = (VPCS, SUBNETS, ROUTE_TABLES, NETWORK_INTERFACES, ENDPOINTS)
RESOURCES = (BUCKETS, BUCKET_LOCATION, TABLES, REPOSITORIES, LOG_GROUPS, SECRETS, ALIASES)
INFRASTRUCTURE = ("api_gateway_", "gateway_load_", "global_acc", "load_bal", "nat", "network_load_", "transit_", "vpc_")
"""How the types of interfaces begin that AWS puts into a subnet for the network itself."""

SIGNS = {
    "dynamodb": TABLES,
    "ecr.api": REPOSITORIES,
    "ecr.dkr": REPOSITORIES,
    "logs": LOG_GROUPS,
    "secretsmanager": SECRETS,
}
"""Whose rows show that a service has resources."""

KINDS = ("gateway", "interface")
PENDING = ("pending", "pendingacceptance")
GONE = ("deleted", "deleting", "failed", "rejected", "expired")


@check(
    title="Private workloads reach AWS by VPC endpoints",
    category=Category.SECURITY,
    phase=Phase.FOUNDATION,
    severity=Severity.MEDIUM,
    fix="A",
    calls=(*NETWORK, SERVICES, FUNCTIONS, INSTANCES, *RESOURCES),
    nothing="No VPC has a workload in a private subnet",
    parameters=(
        Parameter(
            "gatewayServices",
            Kind.STRINGS,
            ["s3", "dynamodb"],
            Stricter.MORE,
            "Services that need a gateway endpoint where they have resources.",
        ),
        Parameter(
            "interfaceServices",
            Kind.STRINGS,
            ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "kms", "sts", "ssm"],
            Stricter.MORE,
            "Services that need an interface endpoint where they have resources, as the end of the endpoint's name.",
        ),
    ),
    controls=Controls(
        config=("SERVICE_VPC_ENDPOINT_ENABLED", "VPC_ENDPOINT_ENABLED"),
        security_hub=("EC2.10", "EC2.55", "EC2.56", "EC2.57", "EC2.58", "EC2.60"),
        well_architected=("SEC05-BP01", "SEC05-BP02"),
    ),
)
def vpc_endpoints_present(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A secret that is fetched over the internet depends on a NAT gateway and passes through networks of others.

    A VPC is judged if a subnet without a route to an internet gateway is in use: by an attached network interface that
    is not part of AWS's own network or of a managed database, by an active ECS service or by a function. A service
    needs its endpoint only where it has resources: buckets, tables, repositories, log groups, secrets or named keys in
    the region; for `ssm`, an instance or an ECS service in the VPC. `sts`, and any service that has no such sign, are
    always needed. A gateway endpoint must be in the route table of every subnet in use; an interface endpoint in each
    of their zones, with private DNS. An endpoint that is being made is in transit. A VPC shared by another account is
    judged there; endpoints of a central VPC do not count, because nothing tells that they are reached.
    """
    network = _Network(list(view.rows(SUBNETS)), list(view.rows(ROUTE_TABLES)))
    workloads = Index(network.vpc_of, view.rows(NETWORK_INTERFACES), view.rows(SERVICES), view.rows(FUNCTIONS))
    for vpc in view.rows(VPCS):
        if vpc.get("OwnerId") in (None, view.account_id):
            arn = f"arn:{view.partition}:ec2:{vpc.region}:{view.account_id}:vpc/{vpc['VpcId']}"
            with view.judging(arn, vpc.region):
                yield from _judged(_Vpc(view, vpc, network, workloads), arn, parameters)


def _judged(vpc: _Vpc, arn: str, parameters: Parameters) -> Iterator[Finding]:
    if not any(True for _ in vpc.used()):
        return
    name, origin = vpc.row["VpcId"], vpc.row.origin
    expected = "endpoints of the services in use: gateways in every route table, interfaces in every zone"
    missing = unmet(_conditions(vpc, parameters, ("available",)))
    if not missing:
        message = f"The private workloads of {name} reach AWS by endpoints"
        yield passed(origin, arn, message, observed="all endpoints", expected=expected)
    elif not unmet(_conditions(vpc, parameters, ("available", *PENDING))):
        message = f"Endpoints of {name} are being made: {', '.join(missing)}"
        yield unknown(origin, arn, message, Reason.IN_TRANSIT, observed="pending", expected=expected)
    else:
        yield failed(
            origin,
            arn,
            f"The private workloads of {name} lack endpoints: {', '.join(missing)}",
            observed=f"lacking: {', '.join(missing)}",
            expected=expected,
            facts=_facts(vpc, missing),
        )


def _facts(vpc: _Vpc, missing: list[str]) -> dict[str, str]:
    """What new endpoints need: a private subnet in use of each zone, the route tables, and the network's addresses.

    A service with an endpoint that does not serve every subnet is apart: a second one could not have private DNS, or
    would be in a route table twice.
    """
    name, used = str(vpc.row["VpcId"]), sorted(set(seen(vpc.used())))
    subnets = {str(vpc.network.zones[subnet]): subnet for subnet in reversed(used)}
    kinds = dict(phrase.rstrip(")").split(" (") for phrase in missing)
    absent = {kind: [one for one in kinds if kinds[one] == kind and not vpc.has_some(one)] for kind in KINDS}
    return {
        "VpcId": name,
        "missing": ",".join(kinds),
        "Subnets": ",".join(subnets[zone] for zone in sorted(subnets)),
        "RouteTables": ",".join(sorted({table for subnet in used if (table := vpc.network.tables[subnet])})),
        "CidrBlock": str(vpc.row.get("CidrBlock") or ""),
        **{f"absent {kind}": ",".join(f"{name}/{one}" for one in found) for kind, found in absent.items()},
        "incomplete": ",".join(one for one in kinds if not any(one in found for found in absent.values())),
    }


def _conditions(vpc: _Vpc, parameters: Parameters, states: tuple[str, ...]) -> dict[str, Callable[[], bool]]:
    """Each service that may be lacking, by a phrase that begins with its name."""

    def served(service: str, has: Callable[[str, tuple[str, ...]], bool]) -> Callable[[], bool]:
        return lambda: any_of(lambda: has(service, states), lambda: not vpc.needs(service))

    return {
        **{f"{name} (gateway)": served(name, vpc.has_gateway) for name in parameters["gatewayServices"]},
        **{f"{name} (interface)": served(name, vpc.has_interface) for name in parameters["interfaceServices"]},
    }


class _Network:
    """The subnets of a region: the zones of all, and the route tables of the private ones."""

    def __init__(self, subnets: list[Row], tables: list[Row]) -> None:
        self.zones = {row["SubnetId"]: row.get("AvailabilityZone") for row in subnets}
        self.vpcs = {row["SubnetId"]: row["VpcId"] for row in subnets}
        self.tables: dict[str, str | None] = {}
        for row in subnets:
            table = route_table_of(row, tables)
            if table is None or not leads_out(table):
                self.tables[row["SubnetId"]] = None if table is None else table["RouteTableId"]

    def private(self, workload: Row) -> set[str]:
        """The private subnets that a network interface, service or function uses."""
        return _subnets(workload) & self.tables.keys()

    def vpc_of(self, workload: Row) -> str | None:
        """The network that a workload is in; None if it is in no private subnet."""
        return next((str(self.vpcs[subnet]) for subnet in self.private(workload)), None)


def _state(endpoint: Row) -> str:
    return str(endpoint.get("State")).lower()


def _subnets(workload: Row) -> set[str]:
    if workload.call == SERVICES:
        return subnets(workload) if workload.get("status") == "ACTIVE" else set()
    if workload.call == FUNCTIONS:
        return set((workload.get("VpcConfig") or {}).get("SubnetIds") or ())
    own = str(workload.get("InterfaceType")).startswith(INFRASTRUCTURE)
    managed = str(workload.get("RequesterId")).startswith("amazon-")
    return set() if own or managed or workload.get("Status") == "available" else {str(workload.get("SubnetId"))}


@dataclass(frozen=True, slots=True)
class _Vpc:
    """One network: what uses its private subnets, and what its endpoints serve."""

    view: View
    row: Row
    network: _Network
    workloads: Index

    def used(self) -> Iterator[str]:
        """Every private subnet in use, perhaps more than once; then Unread if some workload could not be read."""
        for workload in self.workloads.rows(self.row["VpcId"]):
            yield from self.network.private(workload)

    def endpoints(self, service: str) -> Iterator[Row]:
        """Its endpoints of a service, whose name ends with the region and the service."""
        for endpoint in self.view.rows(ENDPOINTS):
            name = str(endpoint.get("ServiceName"))
            if endpoint.get("VpcId") == self.row["VpcId"] and name.endswith(f".{self.row.region}.{service}"):
                yield endpoint

    def _working(self, service: str, kind: str, states: tuple[str, ...]) -> Iterator[Row]:
        for endpoint in self.endpoints(service):
            if endpoint.get("VpcEndpointType", "Gateway") == kind and _state(endpoint) in states:
                yield endpoint

    def has_gateway(self, service: str, states: tuple[str, ...]) -> bool:
        """Whether the service's gateway is in the route table of every subnet in use."""
        endpoints = self._working(service, "Gateway", states)
        tables = {table for endpoint in endpoints for table in endpoint.get("RouteTableIds") or ()}
        return all(self.network.tables[subnet] in tables for subnet in self.used())

    def has_interface(self, service: str, states: tuple[str, ...]) -> bool:
        """Whether the service's endpoints with private DNS are in every zone in use."""
        endpoints = [row for row in self._working(service, "Interface", states) if row.get("PrivateDnsEnabled")]
        places = {subnet for endpoint in endpoints for subnet in endpoint.get("SubnetIds") or ()}
        zones = {self.network.zones[subnet] for subnet in places & self.network.zones.keys()}
        return all(self.network.zones[subnet] in zones for subnet in self.used())

    def has_some(self, service: str) -> bool:
        """Whether any endpoint of the service is in the network, whatever it serves."""
        return any(_state(endpoint) not in GONE for endpoint in seen(self.endpoints(service)))

    def needs(self, service: str) -> bool:
        """Whether the service has resources that the workloads could call."""
        view = self.view
        match service:
            case "s3":
                return any(place == view.region for _, place in located(view))
            case "kms":
                return any(
                    row.get("TargetKeyId") and not names_own_alias(row["AliasName"]) for row in view.rows(ALIASES)
                )
            case "ssm":
                return any_of(self._runs_instance, self._runs_service)
        return service not in SIGNS or view.row(SIGNS[service]) is not None

    def _runs_instance(self) -> bool:
        return any(
            row.get("VpcId") == self.row["VpcId"] and (row.get("State") or {}).get("Name") != "terminated"
            for row in self.view.rows(INSTANCES)
        )

    def _runs_service(self) -> bool:
        return any(self.network.vpc_of(row) == self.row["VpcId"] for row in self.view.rows(SERVICES))
