"""What the parts of the engine work with, handed from one to the next instead of being looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from passmuster.assess.changes import Changes
from passmuster.assess.plan import Plan
from passmuster.aws.clients import Clients
from passmuster.aws.identity import Identities
from passmuster.engine.cache import Cache
from passmuster.engine.fleet import Counters, Fleet
from passmuster.engine.inspection import Inspector
from passmuster.engine.ports import Cluster
from passmuster.model.report import Report
from passmuster.model.trace import OFF, Tracer
from passmuster.remediation.catalogue import Remediations

HEARTBEAT = timedelta(minutes=5)
"""How old the times in a policy's status may be before they are written although nothing else changed."""

REPORT_HEARTBEAT = timedelta(hours=24)
"""The same for a report, whose every finding carries a time."""


Page = Callable[[Report, Plan | None, Changes | None, str], str]
"""Renders a report with its plan and changes, under a title, as one HTML document."""


@dataclass(slots=True)
class Services:
    """Everything a reconciler works with.

    `evidence_dir` is the folder in which accounts may name theirs; `page` makes the HTML that is stored beside the full
    report, without which only that is stored.
    """

    cluster: Cluster
    cache: Cache
    inspector: Inspector
    identities: Identities
    clients: Clients
    remediations: Remediations
    fleet: Fleet
    counters: Counters
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    evidence_dir: Path | None = None
    page: Page | None = None
    tracer: Tracer = OFF
