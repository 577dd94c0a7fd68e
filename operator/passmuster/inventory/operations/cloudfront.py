"""Distributions, with what viewers and origins see of them. No custom header or its value is kept."""

from typing import Any

from passmuster.inventory.call import Call
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

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
"""The managed cache policy of what no cache may keep; it has the same id in every account."""


def caches(distribution: Row) -> bool:
    """Whether any behaviour keeps answers: not all have the policy CachingDisabled, or without one no time to live."""
    behaviours = (distribution.get("DefaultCacheBehavior"), *(distribution.get("CacheBehaviors") or ()))
    return any(_keeps(behaviour or {}) for behaviour in behaviours)


def _keeps(behaviour: dict[str, Any]) -> bool:
    policy = behaviour.get("CachePolicyId")
    return policy != CACHING_DISABLED if policy else behaviour.get("MaxTTL") != 0
