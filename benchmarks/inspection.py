"""What one inspection costs: requests sent, CPU seconds, wall seconds and memory, cold and warm.

Each measurement runs in a fresh process against a simulated AWS in another one (simulation.py). Time is simulated: the
engine's clock is moved on by one interval between inspections, which is all that makes an observation age.

    cold         the first inspection of the process; imports and the making of clients are counted apart
    warm         one interval later, with nothing changed; the mean of six, because some facts are read every six hours
    warm, fresh  everything but billed calls read again, as `reconcile.passmuster.io/requestedAt` asks for

Beside the cost it counts what must be zero: requests that neither an enabled check nor the proposing of its fixes
declares, and the same request twice. And it repeats inspections of one account, and inspects many accounts, to see what
stays in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import results
from simulation import Facts, Simulation, Size

LARGE = Size(buckets=200, queues=100, log_groups=500)
RATE = 100_000.0
"""Requests a second and account: the limits are not what is measured."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step cost. `peak` is the highest resident set of the process so far, in MiB."""

    cpu: float
    wall: float
    peak: float
    requests: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


# in the measured process ---------------------------------------------------------------------------------------------


def cpu() -> float:
    """CPU seconds of this process so far, user and system, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak() -> float:
    """The highest resident set of this process so far, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


class Stopwatch:
    """The cost of what happens between two looks."""

    def __init__(self) -> None:
        self._cpu, self._wall = cpu(), time.monotonic()

    def lap(self, requests: int = 0, counts: Mapping[str, int] | None = None) -> Cost:
        """What it cost since the start or the last lap."""
        now = cpu(), time.monotonic()
        cost = Cost(now[0] - self._cpu, now[1] - self._wall, peak(), requests, counts or {})
        self._cpu, self._wall = now
        return cost


class Bench:
    """The engine as the operator puts it together, with a clock that can be moved and every request noted."""

    def __init__(self, facts: Facts) -> None:
        from datetime import UTC, datetime, timedelta

        from passmuster.assess.demand import Demand
        from passmuster.aws.clients import Clients
        from passmuster.aws.collector import Collector
        from passmuster.aws.identity import Identities
        from passmuster.aws.limits import Limits
        from passmuster.aws.models import operations_of
        from passmuster.aws.principal import KeyRing
        from passmuster.aws.transport import BotoTransport
        from passmuster.checks import catalogue
        from passmuster.checks.judge import distinct_calls
        from passmuster.engine.inspection import Inspector
        from passmuster.remediation import catalogue as remediations

        bench = self
        self.facts = facts
        self.interval = timedelta(hours=1)
        self.moved = timedelta(0)
        self.sent: list[Any] = []
        self.making = 0.0
        lock = threading.Lock()

        def clock() -> datetime:
            return datetime.now(UTC) + bench.moved

        class TimedClients(Clients):
            def client(self, service: str, region: str) -> Any:
                begun = time.thread_time()
                found = super().client(service, region)
                with lock:
                    bench.making += time.thread_time() - begun
                return found

        class NotingTransport(BotoTransport):
            def pages(self, request: Any) -> Iterator[Any]:
                bench.sent.append(request)
                return super().pages(request)

        self.clock = clock
        self.catalogue = catalogue.load()
        operations = operations_of(distinct_calls(self.catalogue))
        self.clients = TimedClients(KeyRing(), endpoint_url=facts.url, operations=operations)
        identities = Identities(self.clients, clock=clock)
        collector = Collector(NotingTransport(self.clients), Limits(RATE), clock=clock)
        self.remediations = remediations.load()
        self.demand = Demand()
        self.inspector = Inspector(collector, identities, self.catalogue, clock=clock)

    def inspect(self, account_id: str, previous: Any = None, *, fresh: bool = False) -> Any:
        """One inspection with its plan and its report document: all of a turn but what the API server does."""
        from passmuster.assess.plan import plan
        from passmuster.engine import documents
        from passmuster.engine.inspection import Task
        from passmuster.model.account import Identity, Target
        from passmuster.remediation.rendering import Owner

        facts = self.facts
        identity = Identity(facts.role(account_id), facts.external_id)
        task = Task(Target(account_id, (facts.region,), "aws", identity), self.demand, fresh=fresh)
        outcome = self.inspector.inspect(task, previous=previous)
        steps = plan(outcome.report, outcome.snapshot, self.remediations, Owner(policy="benchmark"), {})
        documents.report_document("benchmark", "benchmark", "benchmark", outcome.report, steps)
        return outcome, steps

    def undeclared(self) -> int:
        """Requests whose operation neither an enabled check nor the proposing of its fixes declares."""
        from passmuster.engine.inspection import reads_of
        from passmuster.inventory.call import union

        declared = {(c.service, c.operation) for c in union(reads_of(self.demand.enabled(self.catalogue)))}
        return sum((request.service, request.operation) not in declared for request in self.sent)

    def unlooked(self, outcome: Any) -> dict[str, int]:
        """Requests whose answer no check looked at this time: most checks stop at the first thing that decides."""
        from passmuster.assess.assessment import Inputs, assess
        from passmuster.model.evidence import Evidence

        looked: set[Any] = set()

        class Noting(dict[Any, Any]):
            def get(self, request: Any, default: Any = None) -> Any:
                looked.add(request)
                return super().get(request, default)

        readings = {call: Noting(by_request) for call, by_request in outcome.snapshot.readings.items()}
        snapshot = replace(outcome.snapshot, readings=readings)
        inputs = Inputs(snapshot, self.demand, Evidence(now=self.clock()))
        assess(self.catalogue, inputs, outcome.report.inspection)
        asked = {request for by_request in readings.values() for request in by_request}
        return dict(Counter(f"{request.service}:{request.operation}" for request in asked - looked))


def measure_one(facts: Facts, repeat: int) -> dict[str, Any]:
    """Cold, warm and fresh, with the counts that must be zero."""
    watch = Stopwatch()
    bench = Bench(facts)
    steps = {"import": watch.lap()}

    def step(name: str, previous: Any, *, fresh: bool = False) -> Any:
        bench.sent.clear()
        outcome, _ = bench.inspect(facts.account_id, previous, fresh=fresh)
        twice = sum(count - 1 for count in Counter(bench.sent).values())
        counts = {"undeclared": bench.undeclared(), "twice": twice}
        steps[name] = watch.lap(outcome.report.inspection.calls, counts)
        return outcome.report

    report = step("cold", None)
    steps["clients"] = Cost(bench.making, bench.making, steps["cold"].peak)
    steps["cold"] = replace(steps["cold"], cpu=steps["cold"].cpu - bench.making)
    for number in range(repeat):
        bench.moved += bench.interval
        report = step(f"fresh {number}", report, fresh=True)
    for number in range(repeat):
        bench.moved += bench.interval
        report = step(f"warm {number}", report)
    bench.moved += bench.interval
    outcome, _ = bench.inspect(facts.account_id, report, fresh=True)
    unlooked = bench.unlooked(outcome)
    steps["fresh"], steps["warm"] = (
        _median([steps.pop(f"{name} {number}") for number in range(repeat)]) for name in ("fresh", "warm")
    )
    statuses = Counter(check.status.value for check in outcome.report.checks)
    return {
        "steps": {name: asdict(cost) for name, cost in steps.items()},
        "unlooked": unlooked,
        "statuses": dict(statuses),
    }


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        cpu=statistics.median(c.cpu for c in costs),
        wall=statistics.median(c.wall for c in costs),
        peak=max(c.peak for c in costs),
        requests=round(statistics.mean(c.requests for c in costs)),
        counts={name: sum(c.counts[name] for c in costs) for name in costs[0].counts},
    )


def measure_repeated(facts: Facts, times: int) -> dict[str, Any]:
    """One account inspected again and again: nothing may pile up."""
    bench = Bench(facts)
    report = None
    resident: list[float] = []
    for _ in range(times):
        report = bench.inspect(facts.account_id, report)[0].report
        bench.moved += bench.interval
        resident.append(_resident())
    settled = times // 2
    return {
        "inspections": times,
        "resident": [resident[0], resident[settled], resident[-1]],
        "kibPerInspection": 1024 * (resident[-1] - resident[settled]) / (times - settled),
        "threads": threading.active_count(),
        "connections": _sockets(),
    }


def measure_accounts(facts: Facts, accounts: int) -> dict[str, Any]:
    """Many accounts, each inspected once and remembered as the reconciler remembers them."""
    from passmuster.engine.parcel import Parcel

    bench = Bench(facts)
    kept: list[Any] = []
    resident: list[float] = []
    watch = Stopwatch()
    requests = 0
    for number in range(accounts):
        outcome, steps = bench.inspect(f"{200_000_000_000 + number}")
        kept.append(Parcel((outcome.report, steps)))
        requests += outcome.report.inspection.calls
        resident.append(_resident())
    settled = accounts // 2
    cost = watch.lap(requests)
    return {
        "accounts": accounts,
        "resident": [resident[0], resident[settled], resident[-1]],
        "kibPerAccount": 1024 * (resident[-1] - resident[settled]) / (accounts - settled),
        "cpuPerAccount": cost.cpu / accounts,
        "requests": requests,
        "threads": threading.active_count(),
        "connections": _sockets(),
    }


def _resident() -> float:
    """What is resident now, in MiB; the highest so far where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak()
    return pages * resource.getpagesize() / (1024 * 1024)


def _sockets() -> int:
    """Open sockets, where the system tells."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return -1
    names = []
    for entry in folder.iterdir():
        try:
            names.append(str(entry.readlink()))
        except OSError:
            continue
    return sum(name.startswith("socket:") for name in names)


# in the process that was called --------------------------------------------------------------------------------------


def fresh_process(facts: Facts, what: str, number: int) -> dict[str, Any]:
    """One measurement in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [
        sys.executable,
        __file__,
        "--measure",
        what,
        "--number",
        str(number),
        "--facts",
        json.dumps(asdict(facts)),
    ]
    done = subprocess.run(
        command, env={**environment, **facts.environment()}, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run(accounts: int, inspections: int, repeat: int) -> dict[str, Any]:
    """Every measurement."""
    found: dict[str, Any] = {}
    with Simulation() as simulation:
        found["review"] = fresh_process(simulation.facts, "one", repeat)
    with Simulation(LARGE) as simulation:
        found["large"] = fresh_process(simulation.facts, "one", repeat)
    with Simulation(replicas=True) as simulation:
        found["repeated"] = fresh_process(simulation.facts, "repeated", inspections)
        found["accounts"] = fresh_process(simulation.facts, "accounts", accounts)
    return found


NAMES = {
    "import": "importing the engine",
    "clients": "making the clients",
    "cold": "cold inspection",
    "warm": "warm, nothing changed",
    "fresh": "warm, all read again",
}


def markdown(found: Mapping[str, Any]) -> str:
    """The table of the README."""
    rows = ["| one inspection | requests | CPU s | wall s | peak MiB |", "|---|---:|---:|---:|---:|"]
    for account, title in (
        ("review", "the review's account"),
        ("large", "with 200 buckets, 100 queues, 500 log groups"),
    ):
        for name, label in NAMES.items():
            if account == "large" and name in ("import", "clients"):
                continue
            step = found[account]["steps"][name]
            requests = step["requests"] or ""
            rows.append(
                f"| {title}: {label} | {requests} | {step['cpu']:.2f} | {step['wall']:.2f} | {step['peak']:.0f} |"
            )
    repeated, accounts = found["repeated"], found["accounts"]
    rows += [
        "",
        f"- Requests that neither a check nor the proposing of its fixes declares: {_total(found, 'undeclared')}. "
        f"The same request twice: {_total(found, 'twice')}.",
        f"- {repeated['inspections']} inspections of one account: {repeated['kibPerInspection']:.1f} KiB more resident "
        "memory each.",
        f"- {accounts['accounts']} accounts in one process: {accounts['kibPerAccount']:.0f} KiB each, with report and "
        f"plan; {accounts['resident'][-1]:.0f} MiB in all.",
    ]
    return "\n".join(rows)


def _total(found: Mapping[str, Any], name: str) -> int:
    steps = (step for account in ("review", "large") for step in found[account]["steps"].values())
    return sum(step["counts"].get(name, 0) for step in steps)


def main() -> int:
    """Measures, prints a table, writes JSON where asked."""
    parser = results.arguments(__doc__)
    parser.add_argument(
        "--repeat", type=int, default=6, help="warm inspections of each kind; the median counts, of requests the mean"
    )
    parser.add_argument("--inspections", type=int, default=200, help="inspections of one account for memory")
    parser.add_argument("--accounts", type=int, default=400, help="accounts for memory")
    parser.add_argument("--measure", choices=("one", "repeated", "accounts"), help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--facts", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        measures = {"one": measure_one, "repeated": measure_repeated, "accounts": measure_accounts}
        json.dump(measures[given.measure](Facts(**json.loads(given.facts)), given.number), sys.stdout)
        return 0
    found = run(given.accounts, given.inspections, given.repeat)
    results.tell(found, markdown(found), given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
