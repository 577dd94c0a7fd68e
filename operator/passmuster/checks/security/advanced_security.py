"""At least two of AWS's advanced protections look after the account."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import combinations, product
from typing import TypeVar

from passmuster.checks.declaration import check
from passmuster.inventory.call import Call
from passmuster.inventory.index import Index, by_region
from passmuster.inventory.operations.accessanalyzer import ANALYZERS
from passmuster.inventory.operations.ec2 import INSTANCES
from passmuster.inventory.operations.ecr import REPOSITORIES
from passmuster.inventory.operations.ecs import CLUSTERS as ECS_CLUSTERS
from passmuster.inventory.operations.eks import CLUSTERS as EKS_CLUSTERS
from passmuster.inventory.operations.guardduty import DETECTOR, DETECTORS, is_on
from passmuster.inventory.operations.inspector2 import INSPECTOR
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.s3 import BUCKET_LOCATION, BUCKETS, located
from passmuster.inventory.snapshot import Row, View, all_of, any_of, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

K = TypeVar("K", bound=Hashable)

MACIE = Call(
    "macie2",
    "GetMacieSession",
    keep=("status",),
    absent=("ResourceNotFoundException", "AccessDeniedException: Macie is not enabled"),
)

INSPECTED = {"ec2": INSTANCES, "ecr": REPOSITORIES, "lambda": FUNCTIONS}
UNUSED_ACCESS = ("ACCOUNT_UNUSED_ACCESS", "ORGANIZATION_UNUSED_ACCESS")
PROTECTIONS = ("EBS_MALWARE_PROTECTION", "RUNTIME_MONITORING", "EKS_RUNTIME_MONITORING")
LEAST = 2
EXPECTED = "two of: Amazon Inspector, Macie, an analyzer of unused access, GuardDuty's malware or runtime protection"


@check(
    title="Advanced security features are on",
    category=Category.SECURITY,
    phase=Phase.ENTERPRISE,
    severity=Severity.LOW,
    fix="A",
    per="account",
    optional=True,
    calls=(
        INSPECTOR,
        MACIE,
        ANALYZERS,
        DETECTORS,
        DETECTOR,
        INSTANCES,
        REPOSITORIES,
        FUNCTIONS,
        BUCKETS,
        BUCKET_LOCATION,
        ECS_CLUSTERS,
        EKS_CLUSTERS,
    ),
)
def advanced_security(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Known holes, leaked data, forgotten permissions and running malware are each found by a service of their own.

    Two of four suffice. A protection must be on in every governed region that has what it protects, and in one at
    least: Amazon Inspector for each of instances, repositories and functions; Macie for buckets; GuardDuty's malware or
    runtime protection for instances and clusters. An active analyzer of unused access counts in any region, because
    identities are the same in all. One that is being set up is in transit. That Macie is off AWS says with the code of
    a refusal; any other refusal leaves open whether it is on.
    """
    features = _features(view, ("ENABLED", "ACTIVE"))
    setting_up = _features(view, ("ENABLED", "ACTIVE", "ENABLING", "CREATING"))
    origin = view.origin(INSPECTOR)
    if _two_of(features.values()):
        observed = _observed(features)
        message = f"The account is protected by {observed}"
        yield passed(origin, view.account_id, message, observed=observed, expected=EXPECTED)
    elif _two_of(setting_up.values()):
        message = "Advanced security features are being set up"
        yield unknown(origin, view.account_id, message, Reason.IN_TRANSIT, expected=EXPECTED)
    else:
        observed = _observed(features)
        message = f"Fewer than two advanced security features are on: {observed}"
        facts = {"UnusedAccess": _told(features, "an analyzer of unused access"), "Macie": _told(features, "Macie")}
        if len(view.regions) > 1 and facts["Macie"] == "off":
            facts["Macie"] = "off in several regions"
        yield failed(origin, view.account_id, message, observed=observed, expected=EXPECTED, facts=facts)


def _features(view: View, states: tuple[str, ...]) -> dict[str, Callable[[], bool]]:
    return {
        "Amazon Inspector": lambda: _inspector(view, states),
        "Macie": lambda: _macie(view, states),
        "an analyzer of unused access": lambda: any(
            row.get("type") in UNUSED_ACCESS and row.get("status") in states for row in view.rows(ANALYZERS)
        ),
        "GuardDuty's malware or runtime protection": lambda: _guardduty(view),
    }


def _two_of(features: Iterable[Callable[[], bool]]) -> bool:
    """Whether two hold; one pair that does decides, and so does one observed false in every pair."""
    return any_of(*(_both(pair) for pair in combinations(features, LEAST)))


def _both(pair: tuple[Callable[[], bool], ...]) -> Callable[[], bool]:
    return lambda: all_of(*pair)


def _observed(features: dict[str, Callable[[], bool]]) -> str:
    """The features that are on, as far as they could be read."""
    found = [name for name, holds in features.items() if seen(one for one in (name,) if holds())]
    return " and ".join(found) or "none"


def _told(features: dict[str, Callable[[], bool]], name: str) -> str:
    """Whether a feature is on, for whoever would switch it on."""
    answers = seen(features[one]() for one in (name,))
    return "unread" if not answers else "on" if answers[0] else "off"


def _covered(places: Iterable[K], on: Callable[[K], bool], used: Callable[[K], bool]) -> bool:
    """Whether it is on in some place, and in each where there is something to protect."""
    every = list(places)

    def spared(place: K) -> Callable[[], bool]:
        return lambda: any_of(lambda: on(place), lambda: not used(place))

    return all_of(lambda: any_of(*(lambda place=place: on(place) for place in every)), *map(spared, every))


def _inspector(view: View, states: tuple[str, ...]) -> bool:
    told = by_region(view.rows(INSPECTOR))
    resources = {kind: by_region(view.rows(call)) for kind, call in INSPECTED.items()}
    return _covered(
        product(view.regions, INSPECTED),
        lambda place: any(row.get(place[1]) in states for row in told.rows(place[0], place[0])),
        lambda place: any(map(_is_there, resources[place[1]].rows(place[0], place[0]))),
    )


def _macie(view: View, states: tuple[str, ...]) -> bool:
    told = by_region(view.rows(MACIE))
    return _covered(
        view.regions,
        lambda region: any(row.get("status") in states for row in told.rows(region, region)),
        lambda region: any(place == region for _, place in located(view)),
    )


def _guardduty(view: View) -> bool:
    told = by_region(view.rows(DETECTOR))
    resources = [by_region(view.rows(call)) for call in (INSTANCES, ECS_CLUSTERS, EKS_CLUSTERS)]
    return _covered(
        view.regions,
        lambda region: any(map(_protects, told.rows(region, region))),
        lambda region: any_of(*(_any_of(index, region) for index in resources)),
    )


def _any_of(index: Index, region: str) -> Callable[[], bool]:
    return lambda: any(map(_is_there, index.rows(region, region)))


def _protects(detector: Row) -> bool:
    return detector.get("Status") == "ENABLED" and any(is_on(detector, feature) for feature in PROTECTIONS)


def _is_there(row: Row) -> bool:
    """Whether the resource exists still; AWS shows a terminated instance for an hour."""
    return row.call != INSTANCES or (row.get("State") or {}).get("Name") != "terminated"
