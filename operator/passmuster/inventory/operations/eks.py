"""Kubernetes clusters and their add-ons."""

from passmuster.inventory.call import RARELY, Call

CLUSTERS = Call("eks", "ListClusters", items="clusters", freshness=RARELY)
"""Rows are names, in their `data`."""

CLUSTER = Call(
    "eks",
    "DescribeCluster",
    each=CLUSTERS,
    param="name",
    keep="{name: cluster.name, arn: cluster.arn, status: cluster.status, version: cluster.version, "
    "createdAt: cluster.createdAt}",
    absent=("ResourceNotFoundException",),
    freshness=RARELY,
)
ADDON_PAGES = Call(
    "eks",
    "ListAddons",
    each=CLUSTERS,
    param="clusterName",
    keep=("addons",),
    absent=("ResourceNotFoundException",),
    freshness=RARELY,
)
"""One row is a page of names."""
