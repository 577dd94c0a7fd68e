"""The account of the production readiness review: every item it ticks holds here, and every item it leaves open fails.

A shop in three tiers behind a load balancer that speaks HTTP only, one NAT gateway, a database with a replica, alarms,
budgets and a pipeline. `make demo` opens with it, and the tests inspect it and close its gaps. Two things were chosen
so that the gaps can be closed one after another:

- What the pipeline deploys (cluster, service, listener, target group), the database, which was restored from a
  snapshot, and the routes to the NAT gateway belong to no stack, so that they can be adopted or changed in place. The
  rest belongs to stacks.
- The distribution serves the customers' invoices, which no cache may keep, from a bucket, and has a name, a certificate
  and a health check of its own. The names and certificates that the review misses are the load balancer's alone.

    with SimulatedAWS() as aws:
        account = review.seed(aws)
"""

from __future__ import annotations

from dataclasses import dataclass

from passmuster.remediation import access
from passmuster.sandbox.accounts import facts, shop, templates
from passmuster.sandbox.accounts.seeded import EXTERNAL_ID, give_access
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS

PARENT_DOMAIN = "example.com"
DOMAIN = "shop.example.com"
INVOICE_DOMAIN = "invoices.shop.example.com"
INSPECTION_ROLE, REMEDIATION_ROLE = access.INSPECTION, access.REMEDIATION

CANARY = "CANARY-7f3"
"""Part of every value that is nobody's business: secrets, environments, addresses. No report may show it."""

MAIL = f"{CANARY}@example.com"


@dataclass(frozen=True, slots=True)
class ReviewAccount:
    """What tests and the demo need to know of the account."""

    account_id: str
    region: str
    domain: str
    load_balancer_arn: str
    inspection_role_arn: str
    remediation_role_arn: str
    external_id: str


def seed(aws: SimulatedAWS, account_id: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION) -> ReviewAccount:
    """Build the account; takes some seconds. Raises RuntimeError if one of its stacks cannot be made."""
    account = shop.Account(aws, account_id, region)
    network = account.deploy("shop-network", templates.read("network"))
    account.deploy(
        "shop-endpoints",
        templates.interface_endpoints(network["Vpc"], network["ServiceSubnets"].split(","), network["EndpointGroup"]),
    )
    data = account.deploy("shop-data", templates.read("data"), DataSubnets=network["DataSubnets"])
    edge = account.deploy(
        "shop-edge",
        templates.read("edge"),
        PublicSubnets=network["PublicSubnets"],
        BalancerGroup=network["BalancerGroup"],
        LogBucket=data["LogBucket"],
    )
    service = account.deploy(
        "shop-service",
        templates.read("service"),
        Key=data["Key"],
        ServiceSubnets=network["ServiceSubnets"],
        WorkerGroup=network["WorkerGroup"],
        ArtifactBucket=data["ArtifactBucket"],
        PaymentToken=f"{CANARY}-token",
        Greeting=f"{CANARY}-greeting",
    )
    zones = account.deploy("shop-dns", templates.read("dns"), ParentDomain=PARENT_DOMAIN, Domain=DOMAIN)
    parts = shop.Parts(network=network, data=data, edge=edge, service=service)
    shop.route_through_nat(account, parts)
    databases = shop.restore_database(account, parts)
    targets = shop.deploy_web(account, parts, note=f"{CANARY}-note")
    shop.make_pipeline(account, parts)
    account.deploy(
        "shop-alarms",
        templates.alarms(
            key=data["Key"],
            mail=MAIL,
            balancer=edge["LoadBalancer"].partition(":loadbalancer/")[2],
            targets=targets.rpartition(":")[2],
            databases=databases,
        ),
    )
    account.deploy("shop-costs", templates.read("costs"), Mail=MAIL)
    invoices = account.in_region(shop.EDGE_REGION).deploy(
        "shop-invoices", templates.read("invoices"), Domain=INVOICE_DOMAIN, HostedZoneId=zones["Zone"], Mail=MAIL
    )
    shop.distribute_invoices(account, parts, invoices, domain=INVOICE_DOMAIN, zone=zones["Zone"])
    shop.set_account_up(account, note=f"{CANARY}-flag")
    roles = give_access(account)
    facts.lay(account)
    return ReviewAccount(
        account_id=account_id,
        region=region,
        domain=DOMAIN,
        load_balancer_arn=edge["LoadBalancer"],
        inspection_role_arn=roles["RoleArn"],
        remediation_role_arn=roles["RemediationRoleArn"],
        external_id=EXTERNAL_ID,
    )
