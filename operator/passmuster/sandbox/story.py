"""The main job told in a minute, on a simulated account: `passmuster demo`; and the same pieces kept up to play with.

::

    simulated account + API server + operator > manifests > verdict > proposals > approval > applied > better > metrics

Everything shown is read back from the API server, the operator's port or an inspection; nothing is canned.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from passmuster.api import files
from passmuster.api.remediation import State
from passmuster.cli import offline, terminal
from passmuster.engine.cache import Cache
from passmuster.engine.fleet import Counters, Fleet
from passmuster.engine.ports import ACCOUNTS, POLICIES, REMEDIATIONS, Key
from passmuster.engine.reconcile import Reconciler
from passmuster.engine.services import Services
from passmuster.kube.approvals import approve
from passmuster.model.errors import Unavailable, UserError
from passmuster.remediation import catalogue as remediations
from passmuster.sandbox.accounts import catalogue, review
from passmuster.sandbox.binaries import Binaries
from passmuster.sandbox.control_plane import ADMIN, OPERATOR, ControlPlane
from passmuster.sandbox.memory_cluster import MemoryCluster
from passmuster.sandbox.objects import Objects
from passmuster.sandbox.operator_process import OperatorProcess
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, SimulatedAWS

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
APPROVER = "alice@example.com"
EDITOR = "bob@example.com"
NAMESPACE, POLICY = "shop", "shop"
PATIENCE = 60.0


def say(message: str) -> None:
    """A line of the story."""
    console.print(message, soft_wrap=True, markup=False)


def _heading(text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def base_environment(aws: SimulatedAWS, account_id: str = DEFAULT_ACCOUNT) -> dict[str, str]:
    """The operator's own identity: the keys of the simulated account, which may assume its roles."""
    keys = aws.root_keys(account_id)
    return {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}


@contextlib.contextmanager
def own_identity(aws: SimulatedAWS, account_id: str = DEFAULT_ACCOUNT) -> Iterator[None]:
    """The same identity for this process, and what was there before put back afterwards."""
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in before:
        del os.environ[name]
    os.environ.update(base_environment(aws, account_id))
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(before)


def example(name: str) -> Path:
    """A manifest of the project's examples folder."""
    return Path(str(remediations.data_folder("examples") / name))


def install_objects(admin: Objects) -> None:
    """What a cluster is given before the operator starts: definitions, admission policies, roles."""
    for text in files.render(offline.facts(), remediations.load().inputs()).values():
        admin.apply(d for d in yaml.safe_load_all(text) if d)
    admin.apply(
        [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "sandbox-approver"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "passmuster-approver",
                },
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": APPROVER}],
            }
        ]
    )


def with_cluster(report: Path, programs: Binaries) -> int:
    """The demo on a real API server. Returns the exit code."""
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="passmuster-demo-")))
        _heading("1. A simulated AWS account and a real Kubernetes API server")
        aws = stack.enter_context(SimulatedAWS())
        account = review.seed(aws)
        say(f"account {account.account_id} in {account.region}, seeded at {aws.url}")
        plane = stack.enter_context(ControlPlane(users={APPROVER: [], EDITOR: []}, programs=programs))
        admin = Objects(plane.kubeconfig(ADMIN))
        stack.callback(admin.close)
        say(f"kube-apiserver at {plane.url}")
        install_objects(admin)
        operator = stack.enter_context(_operator(aws, plane, folder))
        say(f"operator at {operator.url} (log: {folder / 'operator.log'})")

        _heading("2. kubectl apply -f examples/shop.yaml")
        for line in admin.apply_file(example("shop.yaml")):
            say(f"{line} applied")
        policy = _until(
            "the first inspection",
            lambda: admin.get("readinesspolicies", POLICY, NAMESPACE),
            lambda body: _ready(body) and bool((body.get("status") or {}).get("level")),
            operator,
        )
        before = dict(policy["status"])
        console.print(admin.table("readinesspolicies", NAMESPACE))
        _failing(admin)

        _heading("3. What the operator proposes: kubectl get rem -n shop")
        proposals = _until(
            "the proposals",
            lambda: admin.every("remediations", NAMESPACE),
            lambda found: bool(found) and all((r.get("status") or {}).get("summary") for r in found),
            operator,
        )
        console.print(admin.table("remediations", NAMESPACE))
        chosen = next(r for r in proposals if r["spec"]["remediation"] == "cloudtrail")
        _proposal(chosen)
        metrics_before = _samples(operator.get("/metrics"))

        name = chosen["metadata"]["name"]
        _heading(f"4. passmuster approve {name} -n shop   (as {APPROVER})")
        approver = Objects(plane.kubeconfig(APPROVER))
        stack.callback(approver.close)
        given = approve(approver.api, NAMESPACE, name)
        say(f"{given.by} approved the intent {given.digest[:19]}…")
        applied = _until(
            "the change",
            lambda: admin.get("remediations", name, NAMESPACE),
            lambda body: (body.get("status") or {}).get("state") in (State.APPLIED, State.FAILED, State.ROLLED_BACK),
            operator,
        )
        for entry in applied["status"]["history"]:
            by = f"  by {', '.join(entry['by'])}" if entry.get("by") else ""
            say(f"  {entry['at']}  {entry['state']}{by}")
        if applied["status"]["state"] != State.APPLIED:
            say(applied["status"]["conditions"][0]["message"])
            return 1

        _heading("5. The account, inspected again")
        _until(
            "the status",
            lambda: admin.get("readinesspolicies", POLICY, NAMESPACE),
            lambda body: (body["status"].get("score") or 0) > (before.get("score") or 0),
            operator,
        )
        console.print(admin.table("readinesspolicies", NAMESPACE))
        after = admin.get("readinesspolicies", POLICY, NAMESPACE)["status"]
        say(_difference(before, after))

        _heading("6. Metrics that changed")
        _changed(metrics_before, _samples(operator.get("/metrics")))

        with own_identity(aws):
            _write_report(report, aws.url)
    say(f"\nDone in {time.monotonic() - started:.0f} s; every process it started has ended.")
    return 0


def without_cluster(report: Path) -> int:
    """The same engine and account without an API server. Returns the exit code."""
    started = time.monotonic()
    with ExitStack() as stack:
        _heading("1. A simulated AWS account (no Kubernetes: objects are kept in memory, nothing guards approvals)")
        aws = stack.enter_context(SimulatedAWS())
        account = review.seed(aws)
        stack.enter_context(own_identity(aws))
        say(f"account {account.account_id} in {account.region}, seeded at {aws.url}")

        _heading("2. The manifests of examples/shop.yaml")
        reconciler, cluster = _engine_in_memory(aws)
        policy = Key(POLICIES, NAMESPACE, POLICY)
        reconciler.reconcile(policy)
        body = cluster.get(policy)
        before = dict((body or {}).get("status") or {})
        last = reconciler.last(policy, account.account_id)
        if last is None:
            say(f"The inspection failed: {before.get('conditions')}")
            return 1
        terminal.print_report(*last, offline.catalogue())

        _heading("3. What is proposed")
        terminal.print_plan(*last)

        chosen = next(r for r in cluster.list(REMEDIATIONS) if r["spec"]["remediation"] == "cloudtrail")
        key = Key.of(REMEDIATIONS, chosen)
        _heading(f"4. Approved: {key.name}")
        approval = {"by": APPROVER, "action": "Apply", "digest": chosen["spec"]["intent"]["digest"]}
        cluster.patch(key, {"spec": {"approvals": [approval]}})
        state = _work_until_settled(reconciler, cluster, policy, key)
        for entry in state["history"]:
            say(f"  {entry['at']}  {entry['state']}")
        if state["state"] != State.APPLIED:
            say(state["conditions"][0]["message"])
            return 1

        _heading("5. The account, inspected again")
        after = (cluster.get(policy) or {}).get("status") or {}
        say(_difference(before, after))
        _write_report(report, aws.url)
    say(f"\nDone in {time.monotonic() - started:.0f} s.")
    return 0


def keep_up(account: str, *, with_operator: bool) -> int:
    """A simulated account by its name, API server and operator until Ctrl-C or SIGTERM. Returns the exit code."""
    from passmuster.sandbox import binaries

    if account not in catalogue.SEEDS:
        known = "; ".join(f"{name}: {seed.about}" for name, seed in catalogue.SEEDS.items())
        raise UserError(f"there is no account {account!r} to play with, only {known}")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    programs = binaries.obtain(say)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="passmuster-sandbox-")))
        aws = stack.enter_context(SimulatedAWS())
        seeded = catalogue.SEEDS[account].build(aws)
        manifest = folder / f"{account}.yaml"
        manifest.write_text(seeded.manifest, encoding="utf-8")
        plane = stack.enter_context(ControlPlane(users={APPROVER: [], EDITOR: []}, programs=programs))
        admin = Objects(plane.kubeconfig(ADMIN))
        stack.callback(admin.close)
        install_objects(admin)
        keys = base_environment(aws)
        say("A simulated account and an API server are up.\n")
        say(f"  export KUBECONFIG={plane.kubeconfig(ADMIN)}")
        say(f"  export AWS_ENDPOINT_URL={aws.url} AWS_REGION={seeded.regions[0]}")
        say("  export " + " ".join(f"{name}={value}" for name, value in keys.items()))
        if with_operator:
            operator = stack.enter_context(_operator(aws, plane, folder))
            say(f"\n  operator   {operator.url}/metrics   log {folder / 'operator.log'}")
        say(f"  approver   {APPROVER}: --kubeconfig {plane.kubeconfig(APPROVER)}")
        say(f"\n  kubectl apply -f {manifest}")
        say(f"  passmuster inspect -f {manifest} --endpoint-url {aws.url}")
        say("\nCtrl-C ends it.")
        stop.wait()
        say("\nEnding …")
    return 0


def _operator(aws: SimulatedAWS, plane: ControlPlane, folder: Path) -> OperatorProcess:
    return OperatorProcess(
        kubeconfig=plane.kubeconfig(OPERATOR),
        endpoint_url=aws.url,
        environment=base_environment(aws),
        log=folder / "operator.log",
        arguments=("--requests-per-second", str(offline.SIMULATED_RATE)),
    )


def _engine_in_memory(aws: SimulatedAWS) -> tuple[Reconciler, MemoryCluster]:
    """The operator's engine on a cluster in memory that holds the example's objects."""
    engine = offline.engine(aws.url)
    cache = Cache()
    cluster = MemoryCluster(cache)
    for document in yaml.safe_load_all(example("shop.yaml").read_text()):
        plural = {"AWSAccount": ACCOUNTS, "ReadinessPolicy": POLICIES, "Namespace": "namespaces"}[document["kind"]]
        cluster.create(plural, document)
    services = Services(
        cluster=cluster,
        cache=cache,
        inspector=engine.inspector,
        identities=engine.identities,
        clients=engine.clients,
        remediations=remediations.load(),
        fleet=Fleet(),
        counters=Counters(),
    )
    return Reconciler(services), cluster


def _work_until_settled(
    reconciler: Reconciler, cluster: MemoryCluster, policy: Key, remediation: Key
) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while True:
        due = reconciler.reconcile(policy)
        state = dict((cluster.get(remediation) or {}).get("status") or {})
        if state.get("state") in (State.APPLIED, State.FAILED, State.ROLLED_BACK, State.BLOCKED):
            return state
        if time.monotonic() > deadline:
            raise Unavailable(f"the change did not settle within {PATIENCE:.0f} s: {state.get('conditions')}")
        time.sleep(min(due or 0.5, 0.5))


def _until(
    what: str,
    read: Callable[[], Any],
    good: Callable[[Any], bool],
    operator: OperatorProcess,
    seconds: float = PATIENCE,
) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        found = read()
        if good(found):
            return found
        if time.monotonic() > deadline:
            log = operator.tail()
            raise Unavailable(f"{what} did not come within {seconds:.0f} s; the operator's log ends:\n{log}")
        time.sleep(0.2)


def _ready(body: dict[str, Any]) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _failing(admin: Objects) -> None:
    for report in admin.every("readinessreports", NAMESPACE):
        status = report["status"]
        table = Table(
            title=f"Failing on the way to {status['declared']}", title_justify="left", box=None, pad_edge=False
        )
        for column in ("CHECK", "SEVERITY", "PHASE", "WHY"):
            table.add_column(column, no_wrap=column != "WHY")
        for check in status["checks"]:
            if check["status"] == "Fail" and check["phase"] in ("Foundation", "Production"):
                table.add_row(check["id"], check["severity"], check["phase"], check["findings"][0]["message"])
        console.print()
        console.print(table)


def _proposal(body: dict[str, Any]) -> None:
    spec = body["spec"]
    once = f", ${spec['cost']['once']:.2f} once" if spec["cost"].get("once") else ""
    say(f"\n{body['metadata']['name']}: ${spec['cost']['monthly']:.2f} a month{once}, risk {spec['risk']}")
    for line in spec["intent"]["changes"]:
        say(f"  {line}")
    if spec["cost"].get("unpriced"):
        say(f"  depends on usage: {', '.join(spec['cost']['unpriced'])}")
    say(f"  undo: {spec['undo']}")


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    return (
        f"score {before.get('score')} -> {after.get('score')}, failing {before['checks']['fail']} -> "
        f"{after['checks']['fail']}, critical {before.get('criticalFailing')} -> {after.get('criticalFailing')}"
    )


def _samples(exposition: str) -> dict[str, float]:
    samples = {}
    for line in exposition.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            samples[name] = float(value)
    return samples


def _changed(before: dict[str, float], after: dict[str, float]) -> None:
    telling = tuple(f"passmuster_{name}" for name in ("score", "critical", "phase", "check_status", "remediations"))
    for name in sorted(before.keys() | after.keys()):
        if name.startswith(telling) and before.get(name) != after.get(name):
            old, new = (_number(side.get(name)) for side in (before, after))
            say(f"  {name}  {old} -> {new}")


def _number(value: float | None) -> str:
    return "absent" if value is None else f"{value:g}"


def _write_report(report: Path, endpoint_url: str) -> None:
    asked = offline.Asked(files=(example("shop.yaml"),))
    result = offline.inspect(asked, endpoint_url)[0]
    report.write_text(result.html(), encoding="utf-8")
    say(f"\nThe report for people: {report}")
