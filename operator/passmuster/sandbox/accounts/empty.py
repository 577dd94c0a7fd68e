"""An account on its first day: nothing was ever made in it but the roles that Passmuster reads and changes it with.

Every check has something to say about it: that nothing of its kind exists, or that the account lacks what it asks for.
"""

from __future__ import annotations

from passmuster.sandbox.accounts.seeded import Seeded, seeded
from passmuster.sandbox.accounts.shop import Account
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS


def seed(aws: SimulatedAWS, account_id: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION) -> Seeded:
    """Build the account, in a second."""
    return seeded(Account(aws, account_id, region), "empty", (region,), {"level": "Foundation", "interval": "1h"})
