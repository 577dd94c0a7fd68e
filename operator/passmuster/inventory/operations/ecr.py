"""Repositories of container images, and what an image's address says about where it comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from passmuster.inventory.call import RARELY, Call

REPOSITORIES = Call(
    "ecr",
    "DescribeRepositories",
    items="repositories",
    keep=(
        "repositoryArn",
        "repositoryName",
        "registryId",
        "repositoryUri",
        "createdAt",
        "imageTagMutability",
        "imageTagMutabilityExclusionFilters",
        "imageScanningConfiguration",
        "encryptionConfiguration",
    ),
)

REGISTRY = Call(
    "ecr",
    "DescribeRegistry",
    keep="{registryId: registryId, rules: replicationConfiguration.rules[].{"
    "regions: destinations[].region, prefixes: repositoryFilters[].filter}}",
    freshness=RARELY,
)
"""Where the region's repositories are replicated to; a rule without prefixes means all of them."""

_ADDRESS = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)/"
    r"(?P<name>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?"
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a private registry, from the address that a task runs: `tag` or `digest` may be missing."""

    account: str
    region: str
    name: str
    tag: str | None
    digest: str | None


def private_image(address: str) -> Image | None:
    """The parts of the address of an image in a private registry; None for any other registry.

    >>> private_image("123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/web:1.4").name
    'shop/web'
    """
    found = _ADDRESS.fullmatch(address)
    return Image(**found.groupdict()) if found is not None else None
