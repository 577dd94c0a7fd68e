"""Something outside asks every public endpoint, all the time, whether it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations import synthetics
from passmuster.inventory.operations.apigateway import DOMAIN_NAMES
from passmuster.inventory.operations.cloudfront import DISTRIBUTIONS
from passmuster.inventory.operations.cloudwatch import METRIC_ALARMS, acts, alarm_topic
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS
from passmuster.inventory.operations.endpoints import NAME_CALLS, Endpoint, balancers, distributions, fronts, plain
from passmuster.inventory.operations.globalaccelerator import ACCELERATORS, ENDPOINT_GROUPS
from passmuster.inventory.snapshot import Row, View, all_of, first_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, Origin, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

PROBED_WITHIN = timedelta(hours=24)
STATE, RUNTIME, RAN, SUCCESS, ALARM = "is running", "has a current runtime", "ran in time", "succeeds", "has an alarm"
EXPECTED = "a running canary on a current runtime that ran in time and succeeds, with an alarm on its success"
CHANGING = ("CREATING", "STARTING", "UPDATING")


@check(
    title="Canaries ask every public endpoint",
    category=Category.MONITORING,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="A",
    per="account",
    calls=(
        synthetics.CANARIES,
        synthetics.LAST_RUN,
        synthetics.RUNS,
        synthetics.RUNTIMES,
        METRIC_ALARMS,
        LOAD_BALANCERS,
        DISTRIBUTIONS,
        DOMAIN_NAMES,
        *NAME_CALLS,
        ACCELERATORS,
        ENDPOINT_GROUPS,
    ),
    nothing="There is no public load balancer, distribution or API domain, and the policy names no endpoint",
    parameters=(
        Parameter(
            "endpoints",
            Kind.STRINGS,
            [],
            Stricter.MORE,
            "The host names or addresses that must be asked; without any, those of the account's public endpoints.",
        ),
        Parameter(
            "minSuccessPercent",
            Kind.NUMBER,
            95,
            Stricter.HIGHER,
            "The least share of a canary's runs of the last 24 hours that must have passed.",
            minimum=0,
            maximum=100,
        ),
        Parameter(
            "probeJob",
            Kind.STRING,
            None,
            Stricter.SAME,
            "The Prometheus job of a prober outside that asks the endpoints in place of canaries.",
        ),
    ),
    controls=Controls(well_architected=("OPS04-BP03", "REL06-BP07")),
)
def synthetic_canaries_running(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """At night, when nobody buys, only a canary notices that nobody could.

    Judged are the endpoints that the policy names, else public load balancers that no distribution stands before,
    enabled distributions and the custom domains of APIs. A canary works when it is running on a runtime that is not
    deprecated, ran less than two intervals of its schedule ago, passed often enough in the last 24 hours (a retry that
    passes makes a run pass) and has an alarm on its SuccessPercent; one without an action is a warning. A canary that
    is younger than the window is judged by its configuration.

    AWS does not tell what a canary asks, so its tag `passmuster:endpoint` does: host names or addresses, separated by
    spaces; another tag that holds an address counts too. A working canary that names nothing passes with a warning
    where there are as many of them as endpoints, else the endpoints without one are Unknown. A prober outside counts
    for every endpoint if its last success was reported in the last 24 hours.
    """
    judged = _Judge(view, parameters, evidence)
    for targets in _kinds(parameters["endpoints"]):
        with view.judging(view.account_id):
            for target in targets(view):
                with view.judging(target.resource, target.origin.region):
                    yield from judged.findings(target)


@dataclass(frozen=True, slots=True)
class _Target:
    """What must be asked: its own host names, and a way to look up others, which may raise Unread."""

    resource: str
    name: str
    origin: Origin
    hosts: frozenset[str]
    others: Callable[[], Iterator[str]] = lambda: iter(())
    is_fronted: Callable[[], bool] = lambda: False
    in_transit: bool = False


Targets = Callable[[View], Iterator[_Target]]


def _kinds(endpoints: list[str]) -> tuple[Targets, ...]:
    return (
        (partial(_asked_for, endpoints),)
        if endpoints
        else (_balancers, lambda view: map(_derived, distributions(view)), _api_domains)
    )


def _asked_for(endpoints: list[str], view: View) -> Iterator[_Target]:
    for one in endpoints:
        yield _Target(one, f"endpoint {one}", view.origin(synthetics.CANARIES), frozenset({synthetics.host_of(one)}))


def _balancers(view: View) -> Iterator[_Target]:
    for endpoint in balancers(view):
        yield replace(_derived(endpoint), is_fronted=partial(_has_front, view, endpoint.host))


def _derived(endpoint: Endpoint) -> _Target:
    """An endpoint is asked by its own name, by an alias, or by any name in DNS that leads to it."""
    own = frozenset(map(plain, (endpoint.host, *(endpoint.row.get("Aliases") or ()))))
    names = partial(_names, endpoint)
    return _Target(endpoint.arn, endpoint.name, endpoint.row.origin, own, names, in_transit=endpoint.in_transit)


def _names(endpoint: Endpoint) -> Iterator[str]:
    return (plain(record["Name"]) for way in endpoint.ways for record in way())


def _has_front(view: View, host: str) -> bool:
    """Whether users reach the host through an enabled distribution."""
    return any(True for _ in fronts(view, [host]))


def _api_domains(view: View) -> Iterator[_Target]:
    for row in view.rows(DOMAIN_NAMES):
        if "PRIVATE" not in ((row.get("endpointConfiguration") or {}).get("types") or ()):
            name = str(row["domainName"])
            arn = f"arn:{view.partition}:apigateway:{row.region}::/domainnames/{name}"
            yield _Target(arn, f"API domain {name}", row.origin, frozenset({plain(name)}))


class _Judge:
    """What the canaries of all regions say about one target after another."""

    def __init__(self, view: View, parameters: Parameters, evidence: Evidence) -> None:
        self._view = view
        self._parameters = parameters
        self._now = evidence.now
        self._probed = evidence.probes.get(parameters["probeJob"] or "")

    def findings(self, target: _Target) -> Iterator[Finding]:
        if target.in_transit:
            yield self._unknown(target, f"The {target.name} is being created", Reason.IN_TRANSIT)
        elif self._probed is not None and self._now - self._probed < PROBED_WITHIN:
            observed = f"probe {self._parameters['probeJob']} succeeded at {self._probed.isoformat()}"
            message = f"A prober outside asks the {target.name}"
            yield passed(target.origin, target.resource, message, observed=observed, expected=EXPECTED)
        else:
            yield from self._by_canaries(target)

    def _by_canaries(self, target: _Target) -> Iterator[Finding]:
        canaries = self._view.rows(synthetics.CANARIES)
        good = first_of(canaries, lambda one: all_of(lambda: _asks(one, target), lambda: not self._lacking(one)))
        if good is not None:
            yield self._passed(target, good)
        elif not target.is_fronted():
            yield self._without(target, list(self._view.rows(synthetics.CANARIES)))

    def _without(self, target: _Target, canaries: list[Row]) -> Finding:
        """About a target that no working canary names."""
        named = [canary for canary in canaries if _asks(canary, target)]
        silent = [canary for canary in canaries if not synthetics.addresses(canary)]
        if named or first_of(silent, lambda canary: not self._lacking(canary)) is None:
            return self._failed(target, named or silent)
        targets = (one for kind in _kinds(self._parameters["endpoints"]) for one in kind(self._view))
        open_ones = (one for one in targets if not one.is_fronted() and not any(_asks(row, one) for row in canaries))
        good = [canary for canary in silent if not self._lacking(canary)]
        if len(good) >= sum(1 for _ in open_ones):
            name = good[0]["Name"]
            return self._passed(
                target, good[0], f"AWS does not say what the canary {name} asks: tag it with {synthetics.TAG}"
            )
        message = f"AWS does not say whether a canary asks the {target.name}: tag the canaries with {synthetics.TAG}"
        return self._unknown(
            target, message, Reason.PARTIAL, "no tag on " + ", ".join(str(one["Name"]) for one in good)
        )

    def _passed(self, target: _Target, canary: Row, *warnings: str) -> Finding:
        name, found = canary["Name"], seen(synthetics.alarms(self._view, canary))
        if not any(map(acts, found)):
            warnings = (*warnings, f"the alarm on the canary {name} notifies nobody")
        message, observed = f"The canary {name} asks the {target.name}", f"canary {name}"
        return passed(target.origin, target.resource, message, observed=observed, expected=EXPECTED, warnings=warnings)

    def _unknown(self, target: _Target, message: str, reason: Reason, observed: str = "") -> Finding:
        return unknown(target.origin, target.resource, message, reason, observed=observed, expected=EXPECTED)

    def _failed(self, target: _Target, canaries: list[Row]) -> Finding:
        """About the canary that lacks least."""
        facts = {"host": (seen(target.others()) or sorted(target.hosts))[0], "missing": "canary"}
        facts |= {"runtime": synthetics.newest(self._view, self._now), "TopicArn": alarm_topic(self._view)}
        canary = min(canaries, key=lambda one: len(self._lacking(one)), default=None)
        message, observed = f"No canary asks the {target.name}", "no canary"
        if canary is not None:
            lacking, name = self._lacking(canary), canary["Name"]
            observed = f"{name}: {', '.join(f'not: {phrase}' for phrase in lacking)}"
            if canary.get("State") in CHANGING and set(lacking) <= {STATE, RAN, SUCCESS}:
                message = f"The canary {name} of the {target.name} is {str(canary['State']).lower()}"
                return self._unknown(target, message, Reason.IN_TRANSIT, observed)
            message = f"The canary {name} of the {target.name} does not meet: {', '.join(lacking)}"
            here = canary.region == self._view.regions[0]
            facts |= {"canary": str(name), "missing": "canary" if lacking != [ALARM] else "alarm" if here else "alarms"}
        return failed(target.origin, target.resource, message, observed=observed, expected=EXPECTED, facts=facts)

    def _lacking(self, canary: Row) -> list[str]:
        view, least = self._view, self._parameters["minSuccessPercent"]
        return unmet(
            {
                STATE: lambda: canary.get("State") == "RUNNING",
                RUNTIME: partial(synthetics.is_current, view, canary, self._now),
                RAN: partial(synthetics.ran, view, canary, self._now),
                SUCCESS: partial(synthetics.succeeds, view, canary, self._now, least),
                ALARM: lambda: any(True for _ in synthetics.alarms(view, canary)),
            }
        )


def _asks(canary: Row, target: _Target) -> bool:
    hosts = synthetics.addresses(canary)
    return bool(hosts & target.hosts) or (bool(hosts) and any(name in hosts for name in target.others()))
