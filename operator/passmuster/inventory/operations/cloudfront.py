"""Distributions, with what viewers and origins see of them. No custom header or its value is kept."""

from typing import Any

from passmuster.inventory.call import ONCE, Call
from passmuster.inventory.snapshot import Row

DISTRIBUTIONS = Call(
    "cloudfront",
    "ListDistributions",
    items="DistributionList.Items",
    keep="{Id: Id, ARN: ARN, Status: Status, Enabled: Enabled, DomainName: DomainName, Aliases: Aliases.Items, "
    "Origins: Origins.Items[].{Id: Id, DomainName: DomainName}, OriginGroups: OriginGroups.Quantity, "
    "DefaultCacheBehavior: DefaultCacheBehavior.{ViewerProtocolPolicy: ViewerProtocolPolicy, "
    "CachePolicyId: CachePolicyId, MaxTTL: MaxTTL}, "
    "CacheBehaviors: CacheBehaviors.Items[].{PathPattern: PathPattern, ViewerProtocolPolicy: ViewerProtocolPolicy, "
    "CachePolicyId: CachePolicyId, MaxTTL: MaxTTL}, "
    "ViewerCertificate: ViewerCertificate, WebACLId: WebACLId}",
)

STORED_CERTIFICATES = Call(
    "iam",
    "ListServerCertificates",
    each=DISTRIBUTIONS,
    over="ViewerCertificate.IAMCertificateId",
    param=ONCE,
    items="ServerCertificateMetadataList",
    keep=("Arn", "ServerCertificateId", "Expiration"),
)
"""Certificates uploaded to IAM, which distributions may use, and in China must; only where one does."""

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
"""The managed cache policy of what no cache may keep; it has the same id in every account."""


def caches(distribution: Row) -> bool:
    """Whether any behaviour may keep answers: not all have the policy CachingDisabled."""
    return any(behaviour.get("CachePolicyId") != CACHING_DISABLED for behaviour in _behaviours(distribution))


def keeps_nothing(distribution: Row) -> bool:
    """Whether the longest time to live of every behaviour that may keep answers is zero, by settings of its own."""
    kept = [one for one in _behaviours(distribution) if one.get("CachePolicyId") != CACHING_DISABLED]
    return all(not behaviour.get("CachePolicyId") and behaviour.get("MaxTTL") == 0 for behaviour in kept)


def _behaviours(distribution: Row) -> list[dict[str, Any]]:
    return [distribution.get("DefaultCacheBehavior") or {}, *(distribution.get("CacheBehaviors") or ())]
