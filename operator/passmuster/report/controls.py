"""Where AWS describes the controls that checks are mapped to, for links in reports and in the pages of the checks.

AWS publishes a page per Config managed rule, named after the rule; a section per Security Hub control, in a page per
service; and one list of all best practices of the Well-Architected Framework.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CONFIG = "https://docs.aws.amazon.com/config/latest/developerguide"
SECURITY_HUB = "https://docs.aws.amazon.com/securityhub/latest/userguide"
WELL_ARCHITECTED = "https://docs.aws.amazon.com/wellarchitected/latest/framework/appendix.html"

_RULE_NAMES = {
    "CLOUD_TRAIL_ENABLED": "cloudtrail-enabled",
    "EC2_INSTANCE_MANAGED_BY_SSM": "ec2-instance-managed-by-systems-manager",
    "INCOMING_SSH_DISABLED": "restricted-ssh",
    "INSTANCES_IN_VPC": "ec2-instances-in-vpc",
    "MULTI_REGION_CLOUD_TRAIL_ENABLED": "multi-region-cloudtrail-enabled",
    "RESTRICTED_INCOMING_TRAFFIC": "restricted-common-ports",
}
"""Managed rules whose name is not their identifier with hyphens."""


@dataclass(frozen=True, slots=True)
class Link:
    """A control by its name, and AWS's page about it."""

    name: str
    url: str


def config_rules(identifiers: Iterable[str]) -> tuple[Link, ...]:
    """AWS Config managed rules by their identifiers, for example ENCRYPTED_VOLUMES."""
    names = ((one, _RULE_NAMES.get(one, one.lower().replace("_", "-"))) for one in identifiers)
    return tuple(Link(one, f"{CONFIG}/{name}.html") for one, name in names)


def security_hub_controls(controls: Iterable[str]) -> tuple[Link, ...]:
    """Security Hub controls by their ids, for example EC2.19."""
    parts = ((one, *one.lower().split(".", 1)) for one in controls)
    return tuple(
        Link(one, f"{SECURITY_HUB}/{service}-controls.html#{service}-{number}") for one, service, number in parts
    )


def best_practices(practices: Iterable[str]) -> tuple[Link, ...]:
    """Best practices of the Well-Architected Framework by their ids, for example SEC04-BP01."""
    return tuple(Link(one, WELL_ARCHITECTED) for one in practices)
