"""Nearly all resources carry the tags of the policy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.arn import short_name
from passmuster.inventory.operations.tagging import KEYS, TAGGED, TAGGED_GLOBAL, tagged_resources, tags
from passmuster.inventory.snapshot import View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

WORST = 20
NOT_LISTED = "resources that never had a tag are not listed by AWS and not counted"


@check(
    title="Resources are tagged",
    category=Category.COMPLIANCE,
    phase=Phase.FOUNDATION,
    severity=Severity.MEDIUM,
    fix="P",
    per="account",
    calls=(TAGGED, TAGGED_GLOBAL),
    nothing="AWS lists no resource that has or had a tag",
    parameters=(
        KEYS,
        Parameter(
            "minPercent",
            Kind.INTEGER,
            95,
            Stricter.HIGHER,
            "The share of resources that must carry all keys, in percent.",
            minimum=1,
            maximum=100,
        ),
        Parameter(
            "valuePatterns",
            Kind.STRING_MAP,
            {},
            Stricter.MORE,
            "Regular expressions by tag key; a value in which its expression is not found does not count.",
            expression=True,
        ),
    ),
    controls=Controls(
        config=("REQUIRED_TAGS",),
        well_architected=("COST03-BP05",),
    ),
)
def resources_tagged(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Without an owner on the tag nobody can be asked what a resource is for, or billed for it.

    One answer for the account: the share of the resources that AWS lists, of all governed regions and the global ones,
    that carry every key with a value. Keys are case-sensitive and an empty value does not count. A resource that never
    had a tag is unknown to AWS's listing. The worst twenty resources are named as warnings.
    """
    faults = {
        row["ResourceARN"]: _faults(tags(row), parameters["keys"], parameters["valuePatterns"])
        for row in tagged_resources(view)
    }
    if not faults:
        return
    good, total, minimum = sum(not found for found in faults.values()), len(faults), parameters["minPercent"]
    tenths = good * 1000 // total
    enough = good * 100 >= minimum * total
    message = f"{good} of {total} resources carry every tag of the policy, which is {'enough' if enough else 'too few'}"
    observed = f"{tenths // 10}.{tenths % 10} % of {total} resources"
    expected = f"{minimum} % with {', '.join(parameters['keys']) or 'no tag in particular'}"
    origin, told, worst = view.origin(TAGGED), f"{message}; {NOT_LISTED}", _worst(faults)
    warnings = tuple(f"{short_name(arn)} {', '.join(faults[arn])}" for arn in worst)
    if enough:
        yield passed(origin, view.account_id, told, observed=observed, expected=expected, warnings=warnings)
        return
    facts = {
        "Resources": ",".join(worst),
        "Lacking": str(total - good),
        "Total": str(total),
        "Keys": ",".join(parameters["keys"]),
    }
    yield failed(origin, view.account_id, told, observed=observed, expected=expected, warnings=warnings, facts=facts)


def _faults(found: Mapping[str, str], keys: list[str], patterns: Mapping[str, str]) -> list[str]:
    missing = [f"lacks {key}" for key in keys if not found.get(key, "").strip()]
    wrong = [
        f"has an unexpected {key}"
        for key, pattern in patterns.items()
        if found.get(key, "").strip() and not re.search(pattern, found[key])
    ]
    return missing + wrong


def _worst(faults: Mapping[str, list[str]]) -> list[str]:
    """The resources that lack most, by their ARNs."""
    return sorted((arn for arn in faults if faults[arn]), key=lambda arn: (-len(faults[arn]), arn))[:WORST]
