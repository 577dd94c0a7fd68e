"""Users reach every public workload by a name of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.endpoints import ENDPOINT_CALLS, Endpoint, kinds, plain, target
from passmuster.inventory.operations.route53 import REGISTERED_DOMAINS
from passmuster.inventory.snapshot import Row, View, all_of, any_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "a record in a public zone that follows the health of its target, in a domain that lasts 30 days"
DOMAIN_LASTS = timedelta(days=30)


@check(
    title="Public workloads have a domain of their own",
    category=Category.INFRASTRUCTURE,
    phase=Phase.PRODUCTION,
    severity=Severity.HIGH,
    fix="AP",
    per="account",
    calls=(*ENDPOINT_CALLS, REGISTERED_DOMAINS),
    nothing="No public load balancer, distribution or API has to have a name of its own",
    parameters=(
        Parameter(
            "publicApi",
            Kind.BOOLEAN,
            False,
            Stricter.TRUE,
            "Whether APIs of API Gateway are public and need a name of their own too.",
        ),
    ),
    attestable=timedelta(days=365),
    controls=Controls(security_hub=("Route53.2",), well_architected=("REL11-BP02",)),
)
def custom_domain(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Whoever knows only the load balancer's own name cannot be moved elsewhere, and no certificate covers that name.

    Judged are internet-facing load balancers and enabled distributions, and APIs where `publicApi` says so. A name
    counts that a public hosted zone of this account points at the endpoint, at a distribution that has it as an origin,
    at an accelerator that has it as an endpoint, or at an API domain it is mapped to. An alias to a load balancer must
    evaluate the target's health; CloudFront has no such setting. If the name's domain is registered in this account, it
    must not expire within 30 days. One good name suffices. DNS that is kept elsewhere is a matter for an attestation.
    """
    for endpoints in kinds(apis=parameters["publicApi"]):
        with view.judging(view.account_id):
            for endpoint in endpoints(view):
                with view.judging(endpoint.arn, endpoint.row.region):
                    yield _judged(view, endpoint, evidence.now)


def _judged(view: View, endpoint: Endpoint, now: datetime) -> Finding:
    row, arn, name = endpoint.row, endpoint.arn, endpoint.name
    if endpoint.in_transit:
        return unknown(row.origin, arn, f"The {name} is being created", Reason.IN_TRANSIT, expected=EXPECTED)

    def good(record: Row) -> bool:
        return all_of(lambda: _follows(endpoint, record), lambda: not _expires(view, record, now))

    found: list[Row] = []

    def leads(way: Callable[[], Iterator[Row]]) -> bool:
        for record in way():
            found.append(record)
            if good(record):
                return True
        return False

    if any_of(*(partial(leads, way) for way in (*endpoint.ways, *endpoint.fronts))):
        record = found[-1]
        message = f"The {name} is reached as {plain(record['Name'])}"
        return passed(record.origin, arn, message, observed=plain(record["Name"]), expected=EXPECTED)
    if not found:
        return failed(
            row.origin,
            arn,
            f"No public name leads to the {name}: users reach it by AWS's own name",
            observed=plain(endpoint.host),
            expected=EXPECTED,
            facts=_raw(endpoint),
        )
    record = found[0]
    domain = plain(record["Name"])
    fault = "its registration expires soon" if _follows(endpoint, record) else "its alias ignores the target's health"
    return failed(
        record.origin,
        arn,
        f"The {name} is reached as {domain}, but {fault}",
        observed=f"{domain}: {fault}",
        expected=EXPECTED,
        facts={"domain": domain, "fault": fault, **_balancer(endpoint)},
    )


def _follows(endpoint: Endpoint, record: Row) -> bool:
    """Whether an alias straight to a load balancer follows its health; other records cannot or need not."""
    alias = record.get("AliasTarget")
    if not alias or endpoint.balancer is None or target(record) != plain(endpoint.host):
        return True
    return bool(alias.get("EvaluateTargetHealth"))


def _expires(view: View, record: Row, now: datetime) -> bool:
    name = plain(record["Name"])
    return any(
        domain.get("Expiry") is not None and domain["Expiry"] - now < DOMAIN_LASTS
        for domain in view.rows(REGISTERED_DOMAINS)
        if name == plain(domain["DomainName"]) or name.endswith("." + plain(domain["DomainName"]))
    )


def _balancer(endpoint: Endpoint) -> dict[str, str]:
    balancer = endpoint.balancer
    if balancer is None:
        return {}
    return {"loadBalancerArn": balancer["LoadBalancerArn"], "loadBalancerName": balancer["LoadBalancerName"]}


def _raw(endpoint: Endpoint) -> dict[str, str]:
    """What an alias record needs to know. Where a record exists already it is not said, so that none is added."""
    balancer = endpoint.balancer
    if balancer is None:
        return {}
    zone = balancer.get("CanonicalHostedZoneId")
    known = {"dnsName": balancer.get("DNSName"), "canonicalHostedZoneId": zone}
    return {**_balancer(endpoint), **{name: value for name, value in known.items() if value}}
