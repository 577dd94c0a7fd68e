"""Every private subnet reaches the internet through a NAT gateway of its own availability zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.ec2 import (
    NAT_GATEWAYS,
    ROUTE_TABLES,
    SUBNETS,
    destination,
    leads_out,
    route_table_of,
)
from passmuster.inventory.snapshot import Row, View, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "an available NAT gateway in the subnet's own availability zone"
DEFAULTS = ("0.0.0.0/0", "64:ff9b::/96")
"""Where a NAT gateway takes traffic to: the internet, and by NAT64 the part of it that speaks IPv4 only."""


@check(
    title="One NAT gateway per availability zone",
    category=Category.INFRASTRUCTURE,
    phase=Phase.PRODUCTION,
    severity=Severity.CRITICAL,
    fix="AI",
    calls=(NAT_GATEWAYS, ROUTE_TABLES, SUBNETS),
    nothing="No private subnet reaches the internet through a NAT",
    controls=Controls(well_architected=("REL02-BP01", "REL10-BP01")),
)
def nat_gateway_per_az(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """One NAT gateway for all zones takes them all down with its own zone, and bills traffic between them.

    Judged is each private subnet whose effective route table, its own or the main one, has a default route (IPv4, or
    NAT64) to a NAT gateway, a NAT instance or a transit gateway. The gateway must be available and in the subnet's
    zone, so that a network of one zone passes with one. A regional NAT gateway passes, and so does egress through a
    transit gateway, which is named. A NAT instance or an appliance's interface fails, and so does a route to something
    that is gone. Not judged are isolated subnets, public ones, those whose default route leads to a firewall endpoint
    or a private gateway, and subnets that another account shares.
    """
    network = _Network(
        subnets={subnet["SubnetId"]: subnet for subnet in view.rows(SUBNETS)},
        tables=list(view.rows(ROUTE_TABLES)),
    )
    for subnet in network.subnets.values():
        if subnet.get("OwnerId") in (None, view.account_id):
            arn = subnet.get("SubnetArn") or (
                f"arn:{view.partition}:ec2:{subnet.region}:{view.account_id}:subnet/{subnet['SubnetId']}"
            )
            with view.judging(arn, subnet.region):
                yield from _subnet(view, network, subnet, arn)


@dataclass(frozen=True, slots=True)
class _Network:
    """The subnets and route tables of a region."""

    subnets: Mapping[str, Row]
    tables: list[Row]

    def is_public(self, subnet: Row) -> bool:
        """Whether the subnet has a default route to an internet gateway."""
        table = route_table_of(subnet, self.tables)
        return table is not None and leads_out(table)

    def egress(self, subnet: Row) -> tuple[Row | None, list[dict[str, Any]]]:
        """The route table of a private subnet and those of its default routes that are judged."""
        table = route_table_of(subnet, self.tables)
        if table is None or self.is_public(subnet):
            return table, []
        return table, [
            route for route in table.get("Routes") or () if destination(route) in DEFAULTS and _judged(route)
        ]

    def zones(self, table: Row) -> set[str | None]:
        """The zones of the subnets that use a route table."""
        return {
            subnet.get("AvailabilityZone")
            for subnet in self.subnets.values()
            if (used := route_table_of(subnet, self.tables)) is not None
            and used["RouteTableId"] == table["RouteTableId"]
        }

    def public_subnet(self, subnet: Row) -> str | None:
        """A public subnet in the same network and zone, where a NAT gateway could be."""
        place = (subnet["VpcId"], subnet.get("AvailabilityZone"))
        here = (one for one in self.subnets.values() if (one["VpcId"], one.get("AvailabilityZone")) == place)
        return min((str(one["SubnetId"]) for one in here if self.is_public(one)), default=None)


def _judged(route: dict[str, Any]) -> bool:
    ways = ("NatGatewayId", "TransitGatewayId", "InstanceId", "NetworkInterfaceId")
    return any(route.get(way) for way in ways)


def _subnet(view: View, network: _Network, subnet: Row, arn: str) -> Iterator[Finding]:
    table, routes = network.egress(subnet)
    if table is None or not routes:
        return
    name = f"private subnet {subnet['SubnetId']} in {subnet.get('AvailabilityZone')}"
    ways = [(route, *_way(view, network, subnet, route)) for route in routes]
    for route, observed, fault in ways:
        if fault is not None and fault is not Reason.IN_TRANSIT:
            yield failed(
                table.origin,
                arn,
                f"The {name} depends on {fault}",
                observed=observed,
                expected=EXPECTED,
                facts=_facts(view, network, subnet, table, route),
            )
            return
    observed = ", ".join(dict.fromkeys(way for _, way, _ in ways))
    if any(fault is Reason.IN_TRANSIT for _, _, fault in ways):
        message = f"The NAT gateway of the {name} is being created"
        yield unknown(table.origin, arn, message, Reason.IN_TRANSIT, observed=observed, expected=EXPECTED)
        return
    message = f"The {name} reaches the internet by {observed}"
    yield passed(table.origin, arn, message, observed=observed, expected=EXPECTED)


def _way(view: View, network: _Network, subnet: Row, route: dict[str, Any]) -> tuple[str, str | Reason | None]:
    """What the route leads to, and what is wrong with that."""
    gateway_id = route.get("NatGatewayId")
    if not gateway_id:
        if transit := route.get("TransitGatewayId"):
            blackhole = route.get("State") == "blackhole"
            return f"transit gateway {transit}", "a transit gateway that is gone" if blackhole else None
        instance = route.get("InstanceId") or route.get("NetworkInterfaceId")
        return f"NAT instance {instance}", "a NAT instance, which nobody replaces when it fails"
    gateway = next((row for row in view.rows(NAT_GATEWAYS) if row["NatGatewayId"] == gateway_id), None)
    if gateway is None:
        return f"NAT gateway {gateway_id}: gone", "a NAT gateway that is gone"
    state = str(gateway.get("State") or "available")
    if state == "pending":
        return f"NAT gateway {gateway_id}: pending", Reason.IN_TRANSIT
    if state != "available":
        return f"NAT gateway {gateway_id}: {state}", f"a NAT gateway that is {state}"
    if gateway.get("AvailabilityMode") == "regional":
        return f"regional NAT gateway {gateway_id}", None
    home = network.subnets.get(gateway.get("SubnetId") or "")
    zone = home.get("AvailabilityZone") if home is not None else None
    own = zone is not None and zone == subnet.get("AvailabilityZone")
    observed = f"NAT gateway {gateway_id} in {zone or 'an unknown zone'}"
    return observed, None if own else "the NAT gateway of another zone"


def _facts(view: View, network: _Network, subnet: Row, table: Row, route: dict[str, Any]) -> dict[str, str]:
    """What the way to a gateway of the subnet's own zone must know; `missing` is the next thing on that way."""
    own = _own_gateway(view, network, subnet)
    public = network.public_subnet(subnet)
    replaceable = "NatGatewayId" in route and network.zones(table) == {subnet.get("AvailabilityZone")}
    if own is not None:
        missing = "route" if replaceable else "route-table"
    else:
        missing = "gateway" if public else "public-subnet"
    facts = {
        "missing": missing,
        "vpcId": subnet["VpcId"],
        "subnetId": subnet["SubnetId"],
        "availabilityZone": subnet.get("AvailabilityZone"),
        "routeTableId": table["RouteTableId"],
        "destination": destination(route),
        "natGatewayId": route.get("NatGatewayId"),
        "publicSubnetId": public,
        "ownGatewayId": own,
    }
    return {name: value for name, value in facts.items() if value}


def _own_gateway(view: View, network: _Network, subnet: Row) -> str | None:
    """An available, public NAT gateway in the subnet's own zone."""
    for gateway in seen(view.rows(NAT_GATEWAYS)):
        home = network.subnets.get(gateway.get("SubnetId") or "")
        here = home is not None and home.get("AvailabilityZone") == subnet.get("AvailabilityZone")
        fit = gateway.get("State") == "available" and gateway.get("ConnectivityType") != "private"
        if here and fit and gateway.get("VpcId") == subnet["VpcId"]:
            return str(gateway["NatGatewayId"])
    return None
