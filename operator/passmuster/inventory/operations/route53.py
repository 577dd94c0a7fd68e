"""Hosted zones, their records, and the domains registered in the account. Read once: Route 53 is global."""

from passmuster.inventory.call import ONCE, Call

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
    "SetIdentifier: SetIdentifier, Failover: Failover, Region: Region, Weight: Weight, HealthCheckId: HealthCheckId}",
)
REGISTERED_DOMAINS = Call(
    "route53domains",
    "ListDomains",
    each=HOSTED_ZONES,
    param=ONCE,
    items="Domains",
    keep=("DomainName", "AutoRenew", "Expiry"),
)
"""Domains registered through Route 53 in this account; they are looked up for the names of hosted zones."""

HEALTH_CHECKS = Call(
    "route53",
    "ListHealthChecks",
    items="HealthChecks",
    keep="{Id: Id, Type: HealthCheckConfig.Type, Domain: HealthCheckConfig.FullyQualifiedDomainName, "
    "Path: HealthCheckConfig.ResourcePath, Disabled: HealthCheckConfig.Disabled, "
    "Inverted: HealthCheckConfig.Inverted, Children: HealthCheckConfig.ChildHealthChecks}",
)
"""Without the string a check searches for, which may be anything."""

HEALTH_STATUS = Call(
    "route53",
    "GetHealthCheckStatus",
    each=HEALTH_CHECKS,
    over="[@][?Type=='HTTPS' || Type=='HTTPS_STR_MATCH'].Id",
    param="HealthCheckId",
    items="HealthCheckObservations",
    keep="{Region: Region, Status: StatusReport.Status}",
    absent=("NoSuchHealthCheck",),
)
"""What each of Route 53's observers saw last, of checks over HTTPS; calculated checks have no observers."""
