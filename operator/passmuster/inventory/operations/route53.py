"""Hosted zones, their records, and the domains registered in the account. Read once: Route 53 is global."""

from passmuster.inventory.call import Call

HOSTED_ZONES = Call(
    "route53",
    "ListHostedZones",
    items="HostedZones",
    keep="{Id: Id, Name: Name, PrivateZone: Config.PrivateZone}",
)
RECORD_SETS = Call(
    "route53",
    "ListResourceRecordSets",
    each=HOSTED_ZONES,
    over="Id",
    param="HostedZoneId",
    items="ResourceRecordSets",
    keep="{Name: Name, Type: Type, AliasTarget: AliasTarget, Values: ResourceRecords[].Value, "
    "SetIdentifier: SetIdentifier, Failover: Failover, HealthCheckId: HealthCheckId}",
)
REGISTERED_DOMAINS = Call(
    "route53domains",
    "ListDomains",
    items="Domains",
    keep=("DomainName", "AutoRenew", "Expiry"),
)
"""Domains registered through Route 53 in this account."""
