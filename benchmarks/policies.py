"""What the operator costs a cluster: 1,000 policies on a real API server, from nothing to quiet to a takeover.

::

    all at once    1,000 policies over 50 accounts are created; until each has a verdict
    quiet          nobody changes anything
    asked for      100 policies are annotated with reconcile.passmuster.io/requestedAt
    restart        the operator ends by SIGTERM and starts again: nothing may be inspected because of it
    takeover       a hot standby while the leader is killed, and while it ends in order

The API server, the operator and the simulated accounts (simulation.py, with replicas) are processes of their own.
Writes are counted by the API server, requests to AWS by the simulated AWS, CPU and memory by the system.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import results
from simulation import Facts, Simulation

from passmuster.api.resource import API_VERSION, REQUESTED_AT
from passmuster.kube.connection import request
from passmuster.sandbox import binaries, story
from passmuster.sandbox.control_plane import ADMIN, OPERATOR, ControlPlane
from passmuster.sandbox.objects import Objects
from passmuster.sandbox.operator_process import OperatorProcess

PATIENCE = 900.0
QUIET = 30.0
RATE = "100000"
BASE = f"/apis/{API_VERSION}"
LEVELS = ("Foundation", "Production", "Stable")
_SAMPLE = re.compile(r"^apiserver_request_total\{(?P<labels>.*)\} (?P<value>\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
WRITES = ("POST", "PATCH", "PUT", "APPLY", "DELETE")


class Cluster:
    """The API server with our kinds, as its administrator sees it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.admin = Objects(plane.kubeconfig(ADMIN))
        story.install_objects(self.admin)

    def create_all(self, path: str, bodies: Iterable[Mapping[str, Any]], threads: int = 8) -> None:
        """Creates objects, several at a time."""
        with ThreadPoolExecutor(threads) as pool:
            list(
                pool.map(
                    lambda body: request(self.admin.api, "POST", path.format(**body["metadata"]), body=body), bodies
                )
            )

    def annotate(self, namespace: str, name: str, token: str) -> None:
        """Asks for an inspection, as a person does."""
        patch = {"metadata": {"annotations": {REQUESTED_AT: token}}}
        self.admin.patch("readinesspolicies", name, namespace, patch)

    def policies(self) -> list[dict[str, Any]]:
        """Every policy."""
        return self.admin.every("readinesspolicies")

    def requests(self) -> Counter[str]:
        """Requests for our kinds and events that the API server answered so far: `PATCH readinesspolicies/status`."""
        text = request_text(self.admin.api, "/metrics")
        found: Counter[str] = Counter()
        for line in text.splitlines():
            sample = _SAMPLE.match(line)
            if sample is None:
                continue
            labels = dict(_LABEL.findall(sample["labels"]))
            if labels["group"] == "passmuster.io" or labels["resource"] == "events":
                what = "/".join(filter(None, (labels["resource"], labels["subresource"])))
                found[f"{labels['verb']} {what}"] += int(float(sample["value"]))
        return found


def request_text(api: Any, path: str) -> str:
    """One page of the API server that is not JSON."""
    serialized = api.param_serialize("GET", path, header_params={"Accept": "text/plain"}, auth_settings=["BearerToken"])
    answer = api.call_api(*serialized)
    answer.read()
    return str((answer.data or b"").decode())


@dataclass(slots=True)
class Usage:
    """CPU seconds of a process so far, and its resident memory in MiB: now, and at most."""

    cpu: float
    resident: float
    peak: float


def usage(pid: int) -> Usage:
    """What a process has used; where there is no /proc, as `ps` tells it, to the second."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        told = subprocess.run(["ps", "-o", "time=,rss=", "-p", str(pid)], stdout=subprocess.PIPE, text=True, check=True)
        clock, resident = told.stdout.split()
        seconds = sum(float(part) * 60**power for power, part in enumerate(reversed(clock.split(":"))))
        return Usage(seconds, int(resident) / 1024, int(resident) / 1024)
    import os

    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    sizes = dict(re.findall(r"^(VmHWM|VmRSS):\s+(\d+) kB$", status.read_text(), re.MULTILINE))
    return Usage(cpu, int(sizes["VmRSS"]) / 1024, int(sizes["VmHWM"]) / 1024)


class Phase:
    """What one phase took: time, requests to AWS, writes to the API server, CPU of one operator."""

    def __init__(self, cluster: Cluster, simulation: Simulation, pid: int) -> None:
        self._cluster, self._simulation, self._pid = cluster, simulation, pid
        simulation.requests()
        self._requests, self._begun = cluster.requests(), time.monotonic()
        self._cpu = usage(pid).cpu

    def over(self, *, ours: Iterable[str] = (), **more: Any) -> dict[str, Any]:
        """The numbers; `ours` are writes of the benchmark itself, which do not count."""
        seconds = time.monotonic() - self._begun
        used = usage(self._pid)
        made = self._cluster.requests() - self._requests
        writes = {name: made[name] for name in sorted(made) if name.split()[0] in WRITES and name not in ours}
        aws = self._simulation.requests()
        return {
            "seconds": seconds,
            "writes": writes,
            "awsRequests": sum(aws.values()),
            "cpu": used.cpu - self._cpu,
            "resident": used.resident,
            "peak": used.peak,
            **more,
        }


def until(what: str, holds: Callable[[], bool], every: float = 1.0) -> None:
    """Waits for something; raises TimeoutError when it does not come."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {PATIENCE:.0f} s")
        time.sleep(every)


class Bench:
    """The policies, their accounts, and the operators that serve them."""

    def __init__(self, cluster: Cluster, simulation: Simulation, folder: Path, policies: int, accounts: int) -> None:
        self.cluster, self.simulation, self._folder = cluster, simulation, folder
        self._policies, self._accounts = policies, accounts
        self._started = 0

    def operator(self) -> OperatorProcess:
        """One more operator process, not started."""
        self._started += 1
        facts = self.simulation.facts
        return OperatorProcess(
            kubeconfig=self.cluster.plane.kubeconfig(OPERATOR),
            endpoint_url=facts.url,
            environment=facts.environment(),
            log=self._folder / f"operator-{self._started}.log",
            arguments=("--requests-per-second", RATE),
        )

    def prepare(self) -> None:
        """Namespaces and accounts."""
        places = range(self._accounts)
        self.cluster.create_all(
            "/api/v1/namespaces",
            ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place(n)}} for n in places),
        )
        self.cluster.create_all(f"{BASE}/awsaccounts", (account(self.simulation.facts, n) for n in places))

    def create_policies(self) -> None:
        """All policies, as fast as the API server takes them."""
        bodies = (policy(number, self._accounts) for number in range(self._policies))
        self.cluster.create_all(f"{BASE}/namespaces/{{namespace}}/readinesspolicies", bodies)

    def all_judged(self) -> bool:
        """Whether every policy has a level."""
        found = self.cluster.policies()
        return len(found) == self._policies and all((one.get("status") or {}).get("level") for one in found)

    def handled(self, names: Iterable[tuple[str, str]], token: str) -> bool:
        """Whether these policies echo the token."""
        wanted = set(names)
        return all(
            (one.get("status") or {}).get("lastHandledReconcileAt") == token
            for one in self.cluster.policies()
            if (one["metadata"]["namespace"], one["metadata"]["name"]) in wanted
        )


def place(number: int) -> str:
    return f"benchmark-{number:03}"


def account(facts: Facts, number: int) -> dict[str, Any]:
    account_id = str(200_000_000_000 + number)
    return {
        "apiVersion": API_VERSION,
        "kind": "AWSAccount",
        "metadata": {"name": place(number)},
        "spec": {
            "accountId": account_id,
            "roleArn": facts.role(account_id),
            "externalId": facts.external_id,
            "regions": [facts.region],
            "allowedNamespaces": {"names": [place(number)]},
        },
    }


def policy(number: int, accounts: int) -> dict[str, Any]:
    where = place(number % accounts)
    return {
        "apiVersion": API_VERSION,
        "kind": "ReadinessPolicy",
        "metadata": {"name": f"policy-{number:05}", "namespace": where},
        "spec": {"accountRef": {"name": where}, "level": LEVELS[number % len(LEVELS)], "interval": "1h"},
    }


def leads(operator: OperatorProcess) -> bool:
    """Whether the operator says that it holds the lease."""
    return "\npassmuster_leader 1.0\n" in operator.get("/metrics")


def turns(operator: OperatorProcess) -> float:
    """Seconds of work on objects so far: it stands still when nothing is to be done."""
    found = re.search(r"^passmuster_workqueue_duration_seconds_sum (\S+)$", operator.get("/metrics"), re.MULTILINE)
    return float(found[1]) if found is not None else -1.0


def settled(operator: OperatorProcess) -> None:
    """Returns when the operator has had nothing to do for five seconds."""
    before, since = turns(operator), time.monotonic()
    while time.monotonic() - since < 5.0:
        time.sleep(0.5)
        now = turns(operator)
        if now != before:
            before, since = now, time.monotonic()


def run(policies: int, accounts: int, asked: int) -> dict[str, Any]:
    """Every phase."""
    found: dict[str, Any] = {"policies": policies, "accounts": accounts, "asked": asked}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="passmuster-benchmark-")))
        simulation = stack.enter_context(Simulation(replicas=True))
        cluster = Cluster(stack.enter_context(ControlPlane(programs=binaries.obtain(progress))))
        stack.callback(cluster.admin.close)
        bench = Bench(cluster, simulation, folder, policies, accounts)
        bench.prepare()

        operator = stack.enter_context(bench.operator())
        until("the lease", lambda: leads(operator), 0.2)
        settled(operator)
        found["start"] = {"resident": usage(operator.pid).resident, "cpu": usage(operator.pid).cpu}

        progress(f"{policies} policies over {accounts} accounts")
        phase = Phase(cluster, simulation, operator.pid)
        bench.create_policies()
        until("a level for every policy", bench.all_judged, 2.0)
        found["all at once"] = phase.over(ours=["POST readinesspolicies"])
        settled(operator)

        progress("quiet")
        phase = Phase(cluster, simulation, operator.pid)
        time.sleep(QUIET)
        found["quiet"] = phase.over()

        progress(f"{asked} inspections asked for")
        names = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in cluster.policies()[:asked]]
        phase = Phase(cluster, simulation, operator.pid)
        for namespace, name in names:
            cluster.annotate(namespace, name, "benchmark")
        until("the echo", lambda: bench.handled(names, "benchmark"))
        found["asked for"] = phase.over(ours=["PATCH readinesspolicies"])
        settled(operator)

        progress("restart")
        operator.stop()
        begun = time.monotonic()
        operator = stack.enter_context(bench.operator())
        ready = time.monotonic() - begun
        phase = Phase(cluster, simulation, operator.pid)
        until("the lease", lambda: leads(operator), 0.2)
        settled(operator)
        found["restart"] = phase.over(ready=ready)

        for name, abruptly in (("killed", True), ("ended in order", False)):
            progress(f"takeover from a leader that is {name}")
            standby = stack.enter_context(bench.operator())
            phase = Phase(cluster, simulation, standby.pid)
            begun = time.monotonic()
            operator.stop(abruptly=abruptly)
            stopped = time.monotonic() - begun
            until("the takeover", lambda standby=standby: leads(standby), 0.05)  # type: ignore[misc]
            taken = time.monotonic() - begun
            settled(standby)
            found[f"leader {name}"] = phase.over(takeover=taken, stopped=stopped)
            operator = standby
    return found


def progress(message: str) -> None:
    print(f"... {message}", file=sys.stderr, flush=True)


def markdown(found: Mapping[str, Any]) -> str:
    """The table of the README."""
    rows = [
        f"| {found['policies']:,} policies over {found['accounts']} accounts "
        "| s | writes | requests to AWS | CPU s | MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    asked = f"inspection asked for on {found['asked']}"
    for name, label in (
        ("all at once", "all created at once"),
        ("quiet", "nobody changes anything"),
        ("asked for", asked),
    ):
        rows.append(_row(label, found[name], found[name]["seconds"]))
    rows.append(_row("operator restarted, until ready", found["restart"], found["restart"]["ready"]))
    ends = {name: found[f"leader {name}"] for name in ("killed", "ended in order")}
    rows.extend(_row(f"takeover from a leader {name}", end, end["takeover"]) for name, end in ends.items())
    first = found["all at once"]["writes"]
    each = ", ".join(f"{name} {count / found['policies']:.2f}" for name, count in sorted(first.items()))
    return "\n".join([*rows, "", f"- Writes for a new policy: {each}."])


def _row(label: str, phase: Mapping[str, Any], seconds: float) -> str:
    writes = sum(phase["writes"].values())
    asked, cpu, peak = phase["awsRequests"], phase["cpu"], phase["peak"]
    return f"| {label} | {seconds:.1f} | {writes:,} | {asked:,} | {cpu:.1f} | {peak:.0f} |"


def main() -> int:
    """Measures, prints a table, writes JSON where asked."""
    parser = results.arguments(__doc__)
    parser.add_argument("--policies", type=int, default=1000)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--asked", type=int, default=100, help="policies that are annotated")
    given = parser.parse_args()
    found = run(given.policies, given.accounts, given.asked)
    results.tell(found, markdown(found), given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
