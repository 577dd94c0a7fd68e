"""Where the public reaches an account: its public endpoints, and the names in public DNS that lead to them.

Read by the checks of names, certificates and health checks, which must agree on what an endpoint's public name is::

    public name -> load balancer
    public name -> distribution  -> load balancer     (the load balancer is an origin)
    public name -> accelerator   -> load balancer     (the load balancer is an endpoint of it)
    public name -> API domain    -> API               (the API is mapped to the domain)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from passmuster.inventory.call import Call
from passmuster.inventory.operations.apigateway import API_MAPPINGS, APIS, BASE_PATHS, DOMAIN_NAMES, REST_APIS
from passmuster.inventory.operations.cloudfront import DISTRIBUTIONS
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS
from passmuster.inventory.operations.globalaccelerator import ACCELERATORS, ENDPOINT_GROUPS
from passmuster.inventory.operations.route53 import HOSTED_ZONES, RECORD_SETS
from passmuster.inventory.snapshot import Row, View, any_of

NAME_CALLS = (HOSTED_ZONES, RECORD_SETS)
"""What `records_to` reads."""

ENDPOINT_CALLS = (
    LOAD_BALANCERS,
    DISTRIBUTIONS,
    *NAME_CALLS,
    ACCELERATORS,
    ENDPOINT_GROUPS,
    REST_APIS,
    APIS,
    DOMAIN_NAMES,
    BASE_PATHS,
    API_MAPPINGS,
)
"""What the endpoints and the ways to them read."""

ACCELERATOR_DOMAIN = ".awsglobalaccelerator.com"
_LEADING = ("A", "AAAA", "CNAME", "HTTPS")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Something the public reaches.

    `ways` give the public records that lead to it, each in one manner; `fronts` those that lead to another endpoint
    in front of it, which has these names itself.
    """

    row: Row
    arn: str
    name: str
    host: str
    ways: tuple[Callable[[], Iterator[Row]], ...]
    fronts: tuple[Callable[[], Iterator[Row]], ...] = ()

    @property
    def balancer(self) -> Row | None:
        """The load balancer, if it is one."""
        return self.row if self.row.call == LOAD_BALANCERS else None

    @property
    def in_transit(self) -> bool:
        """Whether it is still being created."""
        return self.balancer is not None and state(self.balancer) == "provisioning"


def plain(name: str) -> str:
    """A DNS name in one spelling: lower case, no trailing dot, a wildcard as `*`, no `dualstack.` of a target."""
    return name.rstrip(".").lower().replace("\\052", "*").removeprefix("dualstack.")


def public_balancers(view: View) -> Iterator[Row]:
    """Internet-facing application and network load balancers; internet-facing is what AWS makes of no scheme."""
    for balancer in view.rows(LOAD_BALANCERS):
        if balancer.get("Scheme") != "internal" and balancer.get("Type") in ("application", "network"):
            yield balancer


def state(balancer: Row) -> str:
    """The state of a load balancer, for example active or provisioning."""
    return str((balancer.get("State") or {}).get("Code") or "active")


def target(record: Row) -> str:
    """What an alias or CNAME record leads to; empty for a record with values of its own."""
    if record.get("AliasTarget"):
        return plain(str(record["AliasTarget"].get("DNSName", "")))
    values = record.get("Values") or []
    return plain(values[0]) if record.get("Type") == "CNAME" and values else ""


def public_records(view: View) -> Iterator[Row]:
    """Alias and CNAME records of the account's public hosted zones."""
    private = {zone["Id"] for zone in view.rows(HOSTED_ZONES) if zone.get("PrivateZone")}
    for record in view.rows(RECORD_SETS):
        if record.get("Type") in _LEADING and record.asked("HostedZoneId") not in private and target(record):
            yield record


def records_to(view: View, hosts: Iterable[str]) -> Iterator[Row]:
    """The public records that lead straight to one of these hosts."""
    wanted = {plain(host) for host in hosts if host}
    return (record for record in public_records(view) if target(record) in wanted)


def fronts(view: View, hosts: Iterable[str]) -> Iterator[Row]:
    """The enabled distributions that have one of these hosts as an origin."""
    wanted = {plain(host) for host in hosts if host}
    for distribution in view.rows(DISTRIBUTIONS):
        origins = {plain(origin["DomainName"]) for origin in distribution.get("Origins") or []}
        if distribution.get("Enabled") and origins & wanted:
            yield distribution


def records_by_distribution(view: View, hosts: Iterable[str]) -> Iterator[Row]:
    """The public records of the distributions that have one of these hosts as an origin."""
    for distribution in fronts(view, hosts):
        yield from records_to(view, [distribution["DomainName"]])


def records_by_accelerator(view: View, arn: str) -> Iterator[Row]:
    """The public records of the accelerators that have this load balancer as an endpoint.

    Accelerators are looked at only where a public record leads to one.
    """
    accelerated = [record for record in public_records(view) if target(record).endswith(ACCELERATOR_DOMAIN)]
    if not accelerated:
        return
    for group in view.rows(ENDPOINT_GROUPS):
        if any(endpoint.get("EndpointId") == arn for endpoint in group.get("EndpointDescriptions") or []):
            for accelerator in view.rows(ACCELERATORS):
                # The ARN of an endpoint group starts with that of its accelerator.
                if str(group["EndpointGroupArn"]).startswith(accelerator["AcceleratorArn"] + "/"):
                    hosts = (accelerator.get("DnsName"), accelerator.get("DualStackDnsName"))
                    wanted = {plain(host) for host in hosts if host}
                    yield from (record for record in accelerated if target(record) in wanted)


def api_domains(view: View, api: str) -> Iterator[Row]:
    """The API domains that this API is mapped to."""
    for domain in view.rows(DOMAIN_NAMES):
        if any_of(
            partial(_names, view, BASE_PATHS, domain, "restApiId", api),
            partial(_names, view, API_MAPPINGS, domain, "ApiId", api),
        ):
            yield domain


def _names(view: View, call: Call, domain: Row, field: str, api: str) -> bool:
    return any(row.get(field) == api for row in view.rows(call, domain))


def records_by_api_domain(view: View, api: str) -> Iterator[Row]:
    """The public records of the API domains that this API is mapped to."""
    for domain in api_domains(view, api):
        hosts = (domain.get("regionalDomainName"), domain.get("distributionDomainName"))
        yield from records_to(view, [host for host in hosts if host])


def balancers(view: View) -> Iterator[Endpoint]:
    """Internet-facing load balancers."""
    for row in public_balancers(view):
        arn, host = row["LoadBalancerArn"], row.get("DNSName", "")
        ways = (partial(records_to, view, [host]), partial(records_by_accelerator, view, arn))
        fronts = (partial(records_by_distribution, view, [host]),)
        yield Endpoint(row, arn, f"load balancer {row['LoadBalancerName']}", host, ways, fronts)


def distributions(view: View) -> Iterator[Endpoint]:
    """Enabled distributions."""
    for row in view.rows(DISTRIBUTIONS):
        if row.get("Enabled"):
            host = row.get("DomainName", "")
            yield Endpoint(row, row["ARN"], f"distribution {row['Id']}", host, (partial(records_to, view, [host]),))


def rest_apis(view: View) -> Iterator[Endpoint]:
    """REST APIs that are not private."""
    for row in view.rows(REST_APIS):
        if "PRIVATE" not in (row.get("types") or ()):
            yield _api(view, row, str(row["id"]), str(row.get("name")), "restapis")


def other_apis(view: View) -> Iterator[Endpoint]:
    """HTTP and WebSocket APIs."""
    for row in view.rows(APIS):
        yield _api(view, row, str(row["ApiId"]), str(row.get("Name")), "apis")


def _api(view: View, row: Row, api: str, name: str, kind: str) -> Endpoint:
    suffix = "amazonaws.com.cn" if view.partition == "aws-cn" else "amazonaws.com"
    host = f"{api}.execute-api.{row.region}.{suffix}"
    arn = f"arn:{view.partition}:apigateway:{row.region}::/{kind}/{api}"
    ways = (partial(records_by_api_domain, view, api),)
    return Endpoint(row, arn, f"API {name}", host, ways, (partial(records_by_distribution, view, [host]),))


def kinds(*, apis: bool) -> tuple[Callable[[View], Iterator[Endpoint]], ...]:
    """The kinds of endpoints that need a public name: those for browsers, and APIs where they are asked for."""
    return (balancers, distributions, rest_apis, other_apis) if apis else (balancers, distributions)
