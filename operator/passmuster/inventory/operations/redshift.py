"""Data warehouses."""

from passmuster.inventory.call import Call

CLUSTERS = Call(
    "redshift",
    "DescribeClusters",
    items="Clusters",
    keep=("ClusterIdentifier", "ClusterStatus", "Encrypted", "KmsKeyId", "ClusterCreateTime", "NodeType"),
)
