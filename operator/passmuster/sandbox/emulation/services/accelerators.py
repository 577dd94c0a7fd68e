"""Global Accelerator: accelerators, listeners and endpoint groups, which moto does not have.

State is the account's, whatever region is asked; AWS itself answers in us-west-2 only. Served by front.py; deployed by
the accelerator remediation.
"""

import uuid
from typing import Any

from passmuster.sandbox.emulation.operation import Handling, Operations, Output
from passmuster.sandbox.emulation.wire import AWSError

_TAKEN = {
    "accelerator": ("Name", "IpAddressType", "Enabled"),
    "listener": ("PortRanges", "Protocol", "ClientAffinity"),
    "endpoint_group": (
        "EndpointGroupRegion",
        "TrafficDialPercentage",
        "HealthCheckPort",
        "HealthCheckProtocol",
        "HealthCheckPath",
        "HealthCheckIntervalSeconds",
        "ThresholdCount",
        "PortOverrides",
    ),
}


def _known(handling: Handling, what: str) -> dict[str, Output]:
    return handling.place.state(f"globalaccelerator-{what}", everywhere=True)


def _taken(handling: Handling, what: str) -> Output:
    return {name: handling.params[name] for name in _TAKEN[what] if name in handling.params}


def _one(handling: Handling, what: str, name: str, error: str) -> Output:
    arn = str(handling.params[name])
    if arn not in _known(handling, what):
        raise AWSError(error, f"{arn} does not exist", 400)
    return _known(handling, what)[arn]


def create_accelerator(handling: Handling) -> Output:
    made_id = str(uuid.uuid4())
    arn = f"arn:aws:globalaccelerator::{handling.call.account}:accelerator/{made_id}"
    made = {
        "IpAddressType": "IPV4",
        "Enabled": True,
        **_taken(handling, "accelerator"),
        "AcceleratorArn": arn,
        "Status": "DEPLOYED",
        "DnsName": f"a{made_id.replace('-', '')[:16]}.awsglobalaccelerator.com",
        "IpSets": [{"IpFamily": "IPv4", "IpAddresses": ["192.0.2.1", "198.51.100.1"]}],
    }
    _known(handling, "accelerators")[arn] = made
    return {"Accelerator": made}


def describe_accelerator(handling: Handling) -> Output:
    return {"Accelerator": _one(handling, "accelerators", "AcceleratorArn", "AcceleratorNotFoundException")}


def update_accelerator(handling: Handling) -> Output:
    accelerator = describe_accelerator(handling)["Accelerator"]
    accelerator.update(_taken(handling, "accelerator"))
    return {"Accelerator": accelerator}


def list_accelerators(handling: Handling) -> Output:
    return {"Accelerators": list(_known(handling, "accelerators").values())}


def delete_accelerator(handling: Handling) -> Output:
    accelerator = describe_accelerator(handling)["Accelerator"]
    if _below(handling, "listeners", accelerator["AcceleratorArn"]):
        raise AWSError("AssociatedListenerFoundException", "The accelerator has listeners", 400)
    del _known(handling, "accelerators")[accelerator["AcceleratorArn"]]
    return {}


def create_listener(handling: Handling) -> Output:
    accelerator = describe_accelerator(handling)["Accelerator"]["AcceleratorArn"]
    arn = f"{accelerator}/listener/{uuid.uuid4().hex[:8]}"
    made = {"Protocol": "TCP", "ClientAffinity": "NONE", **_taken(handling, "listener"), "ListenerArn": arn}
    _known(handling, "listeners")[arn] = made
    return {"Listener": made}


def describe_listener(handling: Handling) -> Output:
    return {"Listener": _one(handling, "listeners", "ListenerArn", "ListenerNotFoundException")}


def update_listener(handling: Handling) -> Output:
    listener = describe_listener(handling)["Listener"]
    listener.update(_taken(handling, "listener"))
    return {"Listener": listener}


def list_listeners(handling: Handling) -> Output:
    return {"Listeners": _below(handling, "listeners", str(handling.params["AcceleratorArn"]))}


def delete_listener(handling: Handling) -> Output:
    listener = describe_listener(handling)["Listener"]
    if _below(handling, "groups", listener["ListenerArn"]):
        raise AWSError("AssociatedEndpointGroupFoundException", "The listener has endpoint groups", 400)
    del _known(handling, "listeners")[listener["ListenerArn"]]
    return {}


def create_endpoint_group(handling: Handling) -> Output:
    listener = describe_listener(handling)["Listener"]["ListenerArn"]
    arn = f"{listener}/endpoint-group/{uuid.uuid4().hex[:12]}"
    made = {
        "TrafficDialPercentage": 100.0,
        "HealthCheckIntervalSeconds": 30,
        **_taken(handling, "endpoint_group"),
        "EndpointGroupArn": arn,
        "EndpointDescriptions": _endpoints(handling),
    }
    _known(handling, "groups")[arn] = made
    return {"EndpointGroup": made}


def describe_endpoint_group(handling: Handling) -> Output:
    return {"EndpointGroup": _one(handling, "groups", "EndpointGroupArn", "EndpointGroupNotFoundException")}


def update_endpoint_group(handling: Handling) -> Output:
    group = describe_endpoint_group(handling)["EndpointGroup"]
    group.update(_taken(handling, "endpoint_group"))
    if "EndpointConfigurations" in handling.params:
        group["EndpointDescriptions"] = _endpoints(handling)
    return {"EndpointGroup": group}


def list_endpoint_groups(handling: Handling) -> Output:
    return {"EndpointGroups": _below(handling, "groups", str(handling.params["ListenerArn"]))}


def delete_endpoint_group(handling: Handling) -> Output:
    group = describe_endpoint_group(handling)["EndpointGroup"]
    del _known(handling, "groups")[group["EndpointGroupArn"]]
    return {}


def _endpoints(handling: Handling) -> list[dict[str, Any]]:
    kept = ("EndpointId", "Weight", "ClientIPPreservationEnabled")
    return [
        {"HealthState": "HEALTHY", **{name: endpoint[name] for name in kept if name in endpoint}}
        for endpoint in handling.params.get("EndpointConfigurations", [])
    ]


def _below(handling: Handling, what: str, parent: str) -> list[Output]:
    return [known for arn, known in _known(handling, what).items() if arn.startswith(f"{parent}/")]


OPERATIONS: Operations = {
    ("globalaccelerator", "CreateAccelerator"): create_accelerator,
    ("globalaccelerator", "DescribeAccelerator"): describe_accelerator,
    ("globalaccelerator", "UpdateAccelerator"): update_accelerator,
    ("globalaccelerator", "ListAccelerators"): list_accelerators,
    ("globalaccelerator", "DeleteAccelerator"): delete_accelerator,
    ("globalaccelerator", "CreateListener"): create_listener,
    ("globalaccelerator", "DescribeListener"): describe_listener,
    ("globalaccelerator", "UpdateListener"): update_listener,
    ("globalaccelerator", "ListListeners"): list_listeners,
    ("globalaccelerator", "DeleteListener"): delete_listener,
    ("globalaccelerator", "CreateEndpointGroup"): create_endpoint_group,
    ("globalaccelerator", "DescribeEndpointGroup"): describe_endpoint_group,
    ("globalaccelerator", "UpdateEndpointGroup"): update_endpoint_group,
    ("globalaccelerator", "ListEndpointGroups"): list_endpoint_groups,
    ("globalaccelerator", "DeleteEndpointGroup"): delete_endpoint_group,
}
