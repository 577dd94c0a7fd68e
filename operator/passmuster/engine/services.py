"""What the parts of the engine work with, handed from one to the next instead of being looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from passmuster.aws.clients import Clients
from passmuster.aws.identity import Identities
from passmuster.engine.cache import Cache
from passmuster.engine.fleet import Counters, Fleet
from passmuster.engine.inspection import Inspector
from passmuster.engine.ports import Cluster
from passmuster.remediation.catalogue import Remediations

HEARTBEAT = timedelta(minutes=5)
"""How old the times in a policy's status may be before they are written although nothing else changed."""

REPORT_HEARTBEAT = timedelta(hours=24)
"""The same for a report, whose every finding carries a time."""


@dataclass(slots=True)
class Services:
    """Everything a reconciler works with."""

    cluster: Cluster
    cache: Cache
    inspector: Inspector
    identities: Identities
    clients: Clients
    remediations: Remediations
    fleet: Fleet
    counters: Counters
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
