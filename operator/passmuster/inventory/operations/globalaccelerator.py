"""Accelerators, their listeners and the groups of endpoints behind them."""

from passmuster.inventory.call import Call

ACCELERATORS = Call(
    "globalaccelerator",
    "ListAccelerators",
    items="Accelerators",
    keep=("AcceleratorArn", "Name", "Status", "Enabled", "DnsName", "DualStackDnsName", "IpSets"),
)
LISTENERS = Call(
    "globalaccelerator",
    "ListListeners",
    each=ACCELERATORS,
    over="AcceleratorArn",
    param="AcceleratorArn",
    items="Listeners",
    keep=("ListenerArn", "PortRanges", "Protocol"),
    absent=("AcceleratorNotFoundException",),
)
ENDPOINT_GROUPS = Call(
    "globalaccelerator",
    "ListEndpointGroups",
    each=LISTENERS,
    over="ListenerArn",
    param="ListenerArn",
    items="EndpointGroups",
    keep=("EndpointGroupArn", "EndpointGroupRegion", "EndpointDescriptions", "TrafficDialPercentage"),
    absent=("ListenerNotFoundException",),
)
