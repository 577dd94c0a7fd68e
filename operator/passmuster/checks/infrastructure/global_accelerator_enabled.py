"""An accelerator brings users to the nearest healthy region over the network of AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS
from passmuster.inventory.operations.globalaccelerator import ACCELERATORS, ENDPOINT_GROUPS, LISTENERS
from passmuster.inventory.snapshot import Row, View, first_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

PORT = 443
ENABLED, DEPLOYED, LISTENS = "is enabled", "is deployed", f"listens on TCP {PORT}"
HEALTHY, REGIONS = "has a healthy endpoint in every group", "has healthy endpoints in two regions"
EXPECTED = f"an enabled, deployed accelerator with a listener on TCP {PORT} and healthy endpoints"


@check(
    title="An accelerator is in front",
    category=Category.INFRASTRUCTURE,
    phase=Phase.ENTERPRISE,
    severity=Severity.LOW,
    fix="A",
    per="account",
    optional=True,
    calls=(ACCELERATORS, LISTENERS, ENDPOINT_GROUPS, LOAD_BALANCERS),
    controls=Controls(well_architected=("PERF04-BP07", "REL02-BP01")),
)
def global_accelerator_enabled(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """The open Internet is the slowest and least predictable part of the way to far users.

    One accelerator that meets everything is enough: enabled, deployed, with a TCP listener whose ports include 443, and
    a healthy endpoint in every endpoint group of that listener that takes traffic. A group whose traffic dial is at
    zero, and an endpoint whose weight is zero, take none. If the policy names a secondary region, the healthy endpoints
    must be in two regions. An accelerator that only still has to be deployed, or whose endpoints have not been
    probed yet, is in transit. Accelerators with custom routing know no health and do not count.
    """
    if view.absent_everywhere(ACCELERATORS, Reason.NOT_IN_PARTITION):
        message = f"Global Accelerator does not exist in the partition {view.partition}"
        yield not_applicable(view.origin(ACCELERATORS), view.account_id, message, Reason.NOT_IN_PARTITION)
        return
    several = evidence.recovery.secondary_region is not None
    good = first_of(view.rows(ACCELERATORS), lambda accelerator: not _lacking(view, accelerator, several=several))
    if good is not None:
        observed = f"healthy endpoints in {', '.join(sorted(_healthy_regions(view, good)))}"
        message = f"The accelerator {_name(good)} leads to healthy endpoints"
        yield passed(good.origin, good["AcceleratorArn"], message, observed=observed, expected=EXPECTED)
        return
    every = sorted(view.rows(ACCELERATORS), key=lambda row: str(row["AcceleratorArn"]))
    if not every:
        message = "No accelerator is in front of the account's endpoints"
        origin, facts = view.origin(ACCELERATORS), _endpoints(view, evidence.recovery.secondary_region)
        yield failed(origin, view.account_id, message, observed="no accelerator", expected=EXPECTED, facts=facts)
        return
    yield _verdict(view, min(every, key=lambda row: len(_lacking(view, row, several=several))), several=several)


def _verdict(view: View, accelerator: Row, *, several: bool) -> Finding:
    """About the accelerator that lacks least."""
    arn, name, lacking = accelerator["AcceleratorArn"], _name(accelerator), _lacking(view, accelerator, several=several)
    waits = DEPLOYED in lacking and ENABLED not in lacking
    if set(lacking) <= {DEPLOYED, HEALTHY, REGIONS} and (waits or _is_being_probed(view, accelerator)):
        message = f"The accelerator {name} is being deployed" if waits else f"Endpoints of {name} are being probed"
        return unknown(accelerator.origin, arn, message, Reason.IN_TRANSIT, expected=EXPECTED)
    return failed(
        accelerator.origin,
        arn,
        f"The accelerator {name} does not meet: {', '.join(lacking)}",
        observed=", ".join(f"not: {phrase}" for phrase in lacking),
        expected=EXPECTED,
        facts={"acceleratorArn": arn},
    )


def _endpoints(view: View, secondary: str | None) -> dict[str, str]:
    """What an accelerator can lead to: a load balancer of the home region, and one of the secondary region if asked."""
    balancers = [
        row
        for row in seen(view.rows(LOAD_BALANCERS))
        if row.get("Scheme") == "internet-facing" and row.get("Type") in ("application", "network")
    ]
    homes = sorted(str(row["LoadBalancerArn"]) for row in balancers if row.region == view.regions[0])
    others = sorted(str(row["LoadBalancerArn"]) for row in balancers if row.region == secondary)
    if not homes or (secondary is not None and not others):
        return {"missing": "load balancer"}
    facts = {"missing": "accelerator", "loadBalancerArn": homes[0], "region": view.regions[0]}
    return facts | ({"secondLoadBalancerArn": others[0], "secondRegion": secondary} if secondary is not None else {})


def _name(accelerator: Row) -> str:
    return str(accelerator.get("Name") or accelerator["AcceleratorArn"].rpartition("/")[2])


def _lacking(view: View, accelerator: Row, *, several: bool) -> list[str]:
    """What the accelerator should be and is not."""
    conditions: dict[str, Callable[[], bool]] = {
        ENABLED: lambda: bool(accelerator.get("Enabled")),
        DEPLOYED: lambda: accelerator.get("Status") == "DEPLOYED",
        LISTENS: lambda: any(True for _ in _listeners(view, accelerator)),
        HEALTHY: lambda: _is_healthy(view, accelerator),
    }
    if several:
        conditions[REGIONS] = lambda: len(_healthy_regions(view, accelerator)) > 1
    return unmet(conditions)


def _listeners(view: View, accelerator: Row) -> Iterator[Row]:
    for listener in view.rows(LISTENERS, accelerator):
        ports = listener.get("PortRanges") or ()
        if listener.get("Protocol") == "TCP" and any(one["FromPort"] <= PORT <= one["ToPort"] for one in ports):
            yield listener


def _groups(view: View, accelerator: Row) -> Iterator[Row]:
    """The groups that take traffic of the listeners on the port."""
    for listener in _listeners(view, accelerator):
        for group in view.rows(ENDPOINT_GROUPS, listener):
            if group.get("TrafficDialPercentage", 100) > 0:
                yield group


def _states(group: Row) -> list[str]:
    """The health of the endpoints that take traffic."""
    endpoints = group.get("EndpointDescriptions") or ()
    return [str(one.get("HealthState")) for one in endpoints if one.get("Weight", 128) > 0]


def _is_healthy(view: View, accelerator: Row) -> bool:
    count = 0
    for group in _groups(view, accelerator):
        count += 1
        if "HEALTHY" not in _states(group):
            return False
    return count > 0


def _healthy_regions(view: View, accelerator: Row) -> set[str]:
    return {str(group["EndpointGroupRegion"]) for group in _groups(view, accelerator) if "HEALTHY" in _states(group)}


def _is_being_probed(view: View, accelerator: Row) -> bool:
    """Whether every group that has no healthy endpoint still waits for the first answer of one."""
    waiting = [_states(group) for group in seen(_groups(view, accelerator)) if "HEALTHY" not in _states(group)]
    return bool(waiting) and all("INITIAL" in states for states in waiting)
