"""Which account is inspected, where, and with which identity.

Built from an AWSAccount and a ReadinessPolicy, or from the flags of the command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from passmuster.model.errors import UserError

CONTROL_REGIONS = {
    "aws": "us-east-1",
    "aws-cn": "cn-north-1",
    "aws-us-gov": "us-gov-west-1",
}
"""Where a partition's global services answer and where their metrics and alarms live."""


def partition_of(region: str) -> str:
    """The partition of a region by its name.

    >>> partition_of("cn-north-1")
    'aws-cn'
    """
    if region.startswith("cn-"):
        return "aws-cn"
    if region.startswith("us-gov-"):
        return "aws-us-gov"
    return "aws"


@dataclass(frozen=True, slots=True)
class Identity:
    """A role to assume; without one the process's own identity is used.

    `profile` names a profile of the ordinary AWS configuration instead of the process's default.
    """

    role_arn: str | None = None
    external_id: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One account as an inspection sees it. `regions` empty means every enabled region."""

    account_id: str
    regions: tuple[str, ...]
    partition: str = "aws"
    identity: Identity = Identity()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9]{12}", self.account_id):
            raise UserError(f"an account id has twelve digits, not {self.account_id!r}")
        wrong = [region for region in self.regions if partition_of(region) != self.partition]
        if wrong:
            raise UserError(
                f"{', '.join(wrong)} is not in the partition {self.partition}: name regions of one partition"
            )

    @property
    def control_region(self) -> str:
        """The partition's region of global services."""
        return CONTROL_REGIONS[self.partition]
