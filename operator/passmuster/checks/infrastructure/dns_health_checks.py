"""Route 53 asks every public name over HTTPS whether it is healthy, and an alarm tells when it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import ONCE, Where
from passmuster.inventory.operations.cloudwatch import METRIC_ALARMS
from passmuster.inventory.operations.elbv2 import TARGET_GROUPS, is_dedicated
from passmuster.inventory.operations.endpoints import ENDPOINT_CALLS, Endpoint, kinds, plain
from passmuster.inventory.operations.route53 import HEALTH_CHECKS, HEALTH_STATUS
from passmuster.inventory.snapshot import Row, View, first_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

CONTROL_ALARMS = replace(METRIC_ALARMS, each=HEALTH_CHECKS, param=ONCE, where=Where.CONTROL)
"""Route 53 reports health in the control region only, so an alarm on it can only be there."""

EXPECTED = "an enabled, healthy HTTPS health check of the name on a path of its own, with an alarm on its status"
HEALTHY_SHARE = 0.18
"""Route 53 calls an endpoint healthy when more than 18 % of its observers do."""

HEALTHY, ALARM = "is healthy", "has an alarm"


@check(
    title="Public names have health checks",
    category=Category.INFRASTRUCTURE,
    phase=Phase.PRODUCTION,
    severity=Severity.HIGH,
    fix="A",
    per="account",
    calls=(*ENDPOINT_CALLS, TARGET_GROUPS, HEALTH_CHECKS, HEALTH_STATUS, CONTROL_ALARMS),
    nothing="There is no public endpoint whose name could be checked",
    parameters=(
        Parameter(
            "publicApi",
            Kind.BOOLEAN,
            False,
            Stricter.TRUE,
            "Whether APIs of API Gateway are public and their names are checked too.",
        ),
    ),
    controls=Controls(well_architected=("REL11-BP01", "REL11-BP02")),
)
def dns_health_checks(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Only a check from outside sees what users see: name, certificate, network and application together.

    Every public name of a public load balancer or distribution (and API, with `publicApi`) is judged; an endpoint
    that is reached by AWS's own name only fails, unless a distribution with a name stands in front of it. The check
    must speak HTTPS to exactly that name (a wildcard is met by any name it stands for), on any path but `/`, must
    be neither disabled nor inverted, and Route 53 must find it healthy. The alarm must watch HealthCheckStatus of
    that check, or of a calculated check it is a child of, in the control region; one that notifies nobody passes
    with a warning. A check that no observer has reported on yet is in transit.
    """
    judged: set[str] = set()
    for endpoints in kinds(apis=parameters["publicApi"]):
        with view.judging(view.account_id):
            for endpoint in endpoints(view):
                with view.judging(endpoint.arn, endpoint.row.region):
                    yield from _endpoint(view, endpoint, judged)


def _endpoint(view: View, endpoint: Endpoint, judged: set[str]) -> Iterator[Finding]:
    if endpoint.in_transit:
        message = f"The {endpoint.name} is being created"
        yield unknown(endpoint.row.origin, endpoint.arn, message, Reason.IN_TRANSIT, expected=EXPECTED)
        return
    named = False
    for way in endpoint.ways:
        for record in way():
            named = True
            domain = plain(record["Name"])
            if domain not in judged:
                judged.add(domain)
                with view.judging(domain, record.region):
                    yield _name(view, endpoint, record, domain)
    if not named and not any(True for front in endpoint.fronts for _ in front()):
        yield failed(
            endpoint.row.origin,
            endpoint.arn,
            f"No public name leads to the {endpoint.name}, so no health check can ask it as users do",
            observed=plain(endpoint.host),
            expected=EXPECTED,
            facts={**_facts(view, endpoint), "missing": "health-check"},
        )


def _name(view: View, endpoint: Endpoint, record: Row, domain: str) -> Finding:
    facts = {"domain": domain, **_facts(view, endpoint)}
    checks = [check for check in view.rows(HEALTH_CHECKS) if _asks(check, domain)]
    usable = [check for check in checks if _fault(check) is None]
    if not usable:
        return failed(
            record.origin,
            domain,
            f"No HTTPS health check asks {domain} on a path of its own",
            observed="; ".join(dict.fromkeys(str(_fault(check)) for check in checks)) or "no health check",
            expected=EXPECTED,
            facts={**facts, "missing": "health-check"},
        )
    good = first_of(usable, lambda check: not unmet(_conditions(view, check)))
    if good is not None:
        quiet = not any(_notifies(alarm) for alarm in _alarms(view, good))
        warnings = (f"the alarm on the health check of {domain} notifies nobody",) if quiet else ()
        message = f"{domain} is healthy, and an alarm watches over it"
        return passed(good.origin, domain, message, observed=good["Id"], expected=EXPECTED, warnings=warnings)
    check = usable[0]
    wrong = unmet(_conditions(view, check))
    if wrong == [HEALTHY] and not list(view.rows(HEALTH_STATUS, check)):
        message = f"Route 53 has not reported on the health check of {domain} yet"
        return unknown(check.origin, domain, message, Reason.IN_TRANSIT, expected=EXPECTED)
    return failed(
        check.origin,
        domain,
        f"The health check of {domain} does not meet: {', '.join(wrong)}",
        observed=", ".join(f"not: {phrase}" for phrase in wrong),
        expected=EXPECTED,
        facts={
            **facts,
            "healthCheckId": check["Id"],
            **({"missing": "alarm"} if wrong == [ALARM] else {"health": "unhealthy"}),
        },
    )


def _asks(check: Row, domain: str) -> bool:
    asked = plain(check.get("Domain") or "")
    return asked == domain or (domain.startswith("*.") and asked.endswith(domain[1:]))


def _fault(check: Row) -> str | None:
    """Why a check of the name does not count, None if it does."""
    if check.get("Type") not in ("HTTPS", "HTTPS_STR_MATCH"):
        return f"health check over {check.get('Type')}"
    if check.get("Disabled"):
        return "health check is disabled"
    if check.get("Inverted"):
        return "health check is inverted"
    path = str(check.get("Path") or "").partition("?")[0]
    return None if path.strip("/") else "health check asks the path /"


def _conditions(view: View, check: Row) -> dict[str, Callable[[], bool]]:
    return {HEALTHY: partial(_healthy, view, check), ALARM: lambda: any(True for _ in _alarms(view, check))}


def _healthy(view: View, check: Row) -> bool:
    observed = [str(row.get("Status") or "") for row in view.rows(HEALTH_STATUS, check)]
    well = sum(status.startswith("Success") for status in observed)
    return bool(observed) and well / len(observed) > HEALTHY_SHARE


def _alarms(view: View, check: Row) -> Iterator[Row]:
    """The alarms on the status of this check or of the calculated checks above it."""
    watched = {check["Id"]}
    calculated = [row for row in view.rows(HEALTH_CHECKS) if row.get("Type") == "CALCULATED" and not row["Disabled"]]
    for _ in calculated:
        watched |= {row["Id"] for row in calculated if watched & set(row.get("Children") or ())}
    for alarm in view.rows(CONTROL_ALARMS):
        if _watched(alarm) & watched:
            yield alarm


def _watched(alarm: Row) -> set[str]:
    metrics = [
        (alarm.get("Namespace"), alarm.get("MetricName"), alarm.get("Dimensions")),
        *(
            (metric.get("Namespace"), metric.get("MetricName"), metric.get("Dimensions"))
            for part in alarm.get("Metrics") or ()
            if (metric := (part.get("MetricStat") or {}).get("Metric"))
        ),
    ]
    return {
        dimension["Value"]
        for namespace, name, dimensions in metrics
        if (namespace, name) == ("AWS/Route53", "HealthCheckStatus")
        for dimension in dimensions or ()
        if dimension.get("Name") == "HealthCheckId"
    }


def _notifies(alarm: Row) -> bool:
    return bool(alarm.get("ActionsEnabled") and alarm.get("AlarmActions"))


def _facts(view: View, endpoint: Endpoint) -> dict[str, str]:
    balancer = endpoint.balancer
    if balancer is None:
        return {}
    arn = balancer["LoadBalancerArn"]
    paths = {
        str(group["HealthCheckPath"])
        for group in seen(view.rows(TARGET_GROUPS))
        if arn in (group.get("LoadBalancerArns") or ()) and is_dedicated(group.get("HealthCheckPath"))
    }
    facts = {"loadBalancerArn": str(arn), "loadBalancerName": str(balancer["LoadBalancerName"])}
    return {**facts, "healthPath": paths.pop()} if len(paths) == 1 else facts
