"""The bill can be split by the tags that say whose a resource is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.tagging import KEYS
from passmuster.inventory.snapshot import View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

TAGS = Call(
    "ce",
    "ListCostAllocationTags",
    args={"MaxResults": 1000},
    items="CostAllocationTags",
    keep=("TagKey", "Type", "Status"),
    billed=0.01,
    freshness=timedelta(days=7),
)
"""Every key that AWS has seen on a resource, active or not, in as few billed requests as there can be."""


@check(
    title="Cost-allocation tags are active",
    category=Category.COST,
    phase=Phase.FOUNDATION,
    severity=Severity.LOW,
    fix="I",
    per="account",
    payer=True,
    calls=(TAGS,),
    shares={"resources-tagged": (KEYS,)},
    controls=Controls(config=("REQUIRED_TAGS",), well_architected=("COST03-BP05",)),
)
def cost_allocation_tags(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A tag that is not activated never reaches the bill, and what it should have told is lost for the time before.

    Each of the tag keys that the policy asks of resources, `keys` of `resources-tagged`, must be an active user-defined
    cost-allocation tag; keys are case-sensitive. AWS lists a key only after a resource carried it, so one that is not
    listed cannot be activated yet. How many resources carry the tags is another check's question.
    """
    keys = parameters["keys"]
    if view.absent_everywhere(TAGS, Reason.NOT_IN_PARTITION):
        message = f"Cost Explorer does not exist in the partition {view.partition}"
        yield not_applicable(view.origin(TAGS), view.account_id, message, Reason.NOT_IN_PARTITION)
        return
    if not keys:
        message = "The policy asks for no tag key"
        yield not_applicable(view.origin(TAGS), view.account_id, message, Reason.NOT_REQUESTED)
        return
    status = {row["TagKey"]: row.get("Status") for row in view.rows(TAGS) if row.get("Type") != "AWSGenerated"}
    lacking = [key for key in keys if status.get(key) != "Active"]
    expected = f"active: {', '.join(keys)}"
    if not lacking:
        message = "The bill can be split by the policy's tags"
        yield passed(view.origin(TAGS), view.account_id, message, observed=expected, expected=expected)
        return
    phrases = {"inactive": [k for k in lacking if k in status], "never used": [k for k in lacking if k not in status]}
    yield failed(
        view.origin(TAGS),
        view.account_id,
        f"The bill cannot be split by {', '.join(lacking)}",
        observed="; ".join(f"{phrase}: {', '.join(keys)}" for phrase, keys in phrases.items() if keys),
        expected=expected,
        facts={"inactiveKeys": ",".join(phrases["inactive"]), "unusedKeys": ",".join(phrases["never used"])},
    )
