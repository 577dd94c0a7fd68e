"""Search domains, described five at a time."""

from passmuster.inventory.call import Call

DOMAIN_NAMES = Call("opensearch", "ListDomainNames", keep="{names: DomainNames[].DomainName}")
DOMAINS = Call(
    "opensearch",
    "DescribeDomains",
    each=DOMAIN_NAMES,
    over="names",
    param="DomainNames",
    batch=5,
    items="DomainStatusList",
    keep="{DomainName: DomainName, ARN: ARN, Created: Created, Deleted: Deleted, EngineVersion: EngineVersion, "
    "Processing: DomainProcessingStatus, Encrypted: EncryptionAtRestOptions.Enabled, "
    "KmsKeyId: EncryptionAtRestOptions.KmsKeyId}",
)
