"""Services find and call each other through a mesh."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.ecs import SERVICES
from passmuster.inventory.operations.eks import CLUSTERS
from passmuster.inventory.snapshot import Row, View, any_of, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

NETWORKS = Call(
    "vpc-lattice",
    "ListServiceNetworks",
    items="items",
    keep=("arn", "name", "numberOfAssociatedVPCs", "numberOfAssociatedServices"),
)
"""The account's own service networks and those that are shared with it."""

EXPECTED = "Service Connect on services, a VPC Lattice service network, or a mesh that the policy declares"


@check(
    title="Services talk through a service mesh",
    category=Category.INFRASTRUCTURE,
    phase=Phase.ENTERPRISE,
    severity=Severity.LOW,
    fix="P",
    per="account",
    optional=True,
    calls=(SERVICES, CLUSTERS, NETWORKS),
    nothing="The account has neither two services nor a Kubernetes cluster, so no service has another one to call",
    parameters=(
        Parameter(
            "declared",
            Kind.BOOLEAN,
            False,
            Stricter.SAME,
            "Whether a mesh runs inside the clusters, where AWS does not show it.",
        ),
    ),
    controls=Controls(well_architected=("REL03", "REL05")),
)
def service_mesh(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Without a mesh every service brings its own retries, timeouts and idea of where the others are.

    Judged once for an account with two active services of ECS or a Kubernetes cluster. Any of three suffices: Service
    Connect in the current deployment of an active service, a VPC Lattice service network, the account's own or shared
    with it, or the policy's word that a mesh runs inside the clusters. Services without Service Connect beside those
    that have it are named as a warning. App Mesh, which AWS ended, counts for nothing here.
    """
    if not any_of(lambda: _two(_active(view)), lambda: any(True for _ in view.rows(CLUSTERS))):
        return
    account = view.account_id
    if parameters["declared"]:
        message = "The policy declares a mesh inside the clusters"
        yield passed(view.origin(SERVICES), account, message, observed="declared by the policy", expected=EXPECTED)
    elif any_of(lambda: any(map(_is_connected, _active(view))), lambda: any(True for _ in view.rows(NETWORKS))):
        yield _passed(view)
    else:
        message = "No service uses Service Connect, and there is no VPC Lattice service network"
        services = sorted({str(row["serviceName"]) for row in seen(_active(view))})
        facts = {"services": ", ".join(services), "platform": "ecs" if services else "kubernetes"}
        origin = view.origin(SERVICES)
        yield failed(origin, account, message, observed="no service mesh", expected=EXPECTED, facts=facts)


def _active(view: View) -> Iterator[Row]:
    return (row for row in view.rows(SERVICES) if row.get("status") == "ACTIVE")


def _two(services: Iterator[Row]) -> bool:
    return next(services, None) is not None and next(services, None) is not None


def _is_connected(service: Row) -> bool:
    return any(
        (deployment.get("serviceConnect") or {}).get("enabled")
        for deployment in service.get("deployments") or []
        if deployment.get("status") == "PRIMARY"
    )


def _passed(view: View) -> Finding:
    services, networks = seen(_active(view)), seen(view.rows(NETWORKS))
    connected = [row for row in services if _is_connected(row)]
    if connected:
        others = sorted(row["serviceName"] for row in services if not _is_connected(row))
        warnings = (f"without Service Connect: {', '.join(others)}",) if others else ()
        message, origin = f"{len(connected)} of {len(services)} services use Service Connect", connected[0].origin
        observed = "Service Connect: " + ", ".join(sorted(row["serviceName"] for row in connected))
    else:
        network = networks[0]
        idle = not network.get("numberOfAssociatedVPCs") and not network.get("numberOfAssociatedServices")
        warnings = (f"the service network {network['name']} has no VPC and no service",) if idle else ()
        message, origin = f"Services meet in the VPC Lattice service network {network['name']}", network.origin
        observed = f"service network {network['name']}"
    return passed(origin, view.account_id, message, observed=observed, expected=EXPECTED, warnings=warnings)
