"""Distributions, with what viewers and origins see of them. No custom header or its value is kept."""

from passmuster.inventory.call import Call

DISTRIBUTIONS = Call(
    "cloudfront",
    "ListDistributions",
    items="DistributionList.Items",
    keep="{Id: Id, ARN: ARN, Status: Status, Enabled: Enabled, DomainName: DomainName, Aliases: Aliases.Items, "
    "Origins: Origins.Items[].{Id: Id, DomainName: DomainName}, OriginGroups: OriginGroups.Quantity, "
    "DefaultCacheBehavior: {ViewerProtocolPolicy: DefaultCacheBehavior.ViewerProtocolPolicy}, "
    "CacheBehaviors: CacheBehaviors.Items[].{PathPattern: PathPattern, ViewerProtocolPolicy: ViewerProtocolPolicy}, "
    "ViewerCertificate: ViewerCertificate, WebACLId: WebACLId}",
)
