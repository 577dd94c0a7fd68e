"""What an ARN says of a resource: where it is, whose it is, and what people call it.

For checks and reads that have no more than the ARN; a plain name in place of one says nothing.
"""

from __future__ import annotations


def region_in(arn: str | None) -> str:
    """The region in an ARN, empty where it names none."""
    parts = (arn or "").split(":", 5)
    return parts[3] if len(parts) == 6 else ""


def owner(arn: str) -> str:
    """The account in an ARN, empty where it names none."""
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def short_name(arn: str) -> str:
    """What people call a resource: the service and what follows the account, for example `ec2 instance/i-1`."""
    parts = arn.split(":", 5)
    return f"{parts[2]} {parts[5]}" if len(parts) == 6 else arn
