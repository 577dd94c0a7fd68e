"""Every resource that has or once had a tag, with its tags.

Resources that never had one are not known to this service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from passmuster.inventory.arn import owner
from passmuster.inventory.call import Call, Where
from passmuster.inventory.snapshot import Row, View
from passmuster.model.parameter import Kind, Parameter, Stricter

TAGGED = Call(
    "resourcegroupstaggingapi",
    "GetResources",
    items="ResourceTagMappingList",
    keep=("ResourceARN", "Tags"),
)
TAGGED_GLOBAL = Call(
    "resourcegroupstaggingapi",
    "GetResources",
    args={"ResourceTypeFilters": ["cloudfront", "route53"]},
    where=Where.CONTROL,
    items="ResourceTagMappingList",
    keep=("ResourceARN", "Tags"),
)
"""Distributions, hosted zones and health checks show in the control region alone, governed or not."""

KEYS = Parameter(
    "keys",
    Kind.STRINGS,
    ["Environment", "Project", "Owner"],
    Stricter.MORE,
    "The tag keys every resource must carry with a value; case counts.",
    max_length=128,
)
"""Declared by the check of the resources' tags, and read by those of the tags on the bill and of AWS Config's rules."""


def tagged_resources(view: View) -> Iterator[Row]:
    """Every resource of the account, once; then Unread if some could not be listed."""
    seen: set[str] = set()
    for call in (TAGGED, TAGGED_GLOBAL):
        for row in view.rows(call):
            arn = row["ResourceARN"]
            if arn not in seen and owner(arn) in ("", view.account_id):
                seen.add(arn)
                yield row


def tags(resource: Row) -> Mapping[str, str]:
    """The tags of a resource, values by key."""
    return {tag["Key"]: tag.get("Value") or "" for tag in resource.get("Tags") or []}
