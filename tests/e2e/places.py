"""Where the commands of the documents are run: a folder like a checkout, the programs, a cluster, a simulated account.

test_commands.py tells what is run in which of them, and who runs it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from apiserver import ApiServer, account, attestation, eventually, pod_kubeconfig, policy, waiver
from documents import ROOT
from e2e.conftest import Account, World
from passmuster.sandbox import prometheus_binaries
from passmuster.sandbox.control_plane import ADMIN, ControlPlane
from passmuster.sandbox.prometheus import Alertmanager
from passmuster.sandbox.simulated_aws import SimulatedAWS

PATIENCE = 300.0
CHECKOUT = ("charts", "crds", "examples")
EMPTY_ACCOUNT = "222222222222"
"""The account of what `aws` does: one in which nothing is yet."""

Ran = subprocess.CompletedProcess[str]


@dataclass
class Terminal:
    """A folder with what the commands need of a checkout, programs on PATH, and a home of its own."""

    folder: Path
    programs: Mapping[str, str]
    """What a program's name runs, as words for a shell."""
    kubeconfigs: dict[str, Path] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    kept: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in CHECKOUT:
            shutil.copytree(ROOT / name, self.folder / name)
        home, programs = self.folder / "home", self.folder / "bin"
        for folder in (home, programs):
            folder.mkdir()
        for name, runs in self.programs.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {runs} "$@"\n')
            (programs / name).chmod(0o755)
        inherited = {name: os.environ[name] for name in ("KUBEBUILDER_ASSETS", "LANG") if name in os.environ}
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        self.environment |= {
            **inherited,
            **{f"HELM_{name}_HOME": str(home / f"helm-{name}") for name in ("CACHE", "CONFIG", "DATA")},
            "HOME": str(home),
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "XDG_CACHE_HOME": cache,  # where the toolchain is
        }

    def write(self, name: str, text: str) -> Path:
        """A file, in a folder that is made if it is not there."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, command: str, person: str = ADMIN) -> Ran:
        """A command in a shell of that person, which ends within five minutes."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self._environment(person),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def keep(self, command: str, ready: Callable[[str], bool]) -> Ran:
        """Starts what goes on until it is interrupted, and returns when it is ready, or has ended instead.

        `ready` is given what it said so far.
        """
        log = self.folder / f"kept-{len(self.kept)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self._environment(ADMIN),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.kept.append(process)
        deadline = time.monotonic() + PATIENCE
        while not ready(log.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                return Ran(command, process.poll() or 1, "", log.read_text())
            time.sleep(0.2)
        return Ran(command, 0, log.read_text(), "")

    def close(self) -> list[int]:
        """Interrupts what is kept, as Ctrl-C does, and kills what does not end within a minute; the exit codes."""
        for process in self.kept:
            process.send_signal(signal.SIGINT)
        codes = []
        for process in self.kept:
            try:
                codes.append(process.wait(timeout=60))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append(process.wait())
        return codes

    def _environment(self, person: str) -> dict[str, str]:
        config = {"KUBECONFIG": str(self.kubeconfigs[person])} if person in self.kubeconfigs else {}
        return {**self.environment, **config}


@dataclass
class Place:
    """A terminal; and, but for the sandbox that is started in it, a cluster and an account."""

    terminal: Terminal
    world: World | None = None
    undo: ExitStack = field(default_factory=ExitStack)

    def make_cluster(self, seed: Callable[[SimulatedAWS], Account], person: str) -> None:
        """An empty cluster with an administrator and another person, and a seeded account."""
        aws = self.undo.enter_context(SimulatedAWS())
        seeded = seed(aws)
        _configure(self.terminal, aws)
        plane = self.undo.enter_context(ControlPlane(users={person: ["system:authenticated"]}))
        for user in (ADMIN, person):
            # A copy, because kubectl config writes into it.
            copied = self.terminal.folder / f"kubeconfig-{len(self.terminal.kubeconfigs)}"
            self.terminal.kubeconfigs[user] = Path(shutil.copyfile(plane.kubeconfig(user), copied))
        self.world = World(aws, seeded, plane, ApiServer(plane), self.terminal.folder)
        self.undo.enter_context(_namespaces_end(self.world.server))
        self.undo.callback(self.stop_operator)

    def start_operator(self) -> None:
        """Does what the pods of an installed chart would: no pod runs here."""
        assert self.world is not None
        kubeconfig = pod_kubeconfig(self.world.server, self.world.plane, self.world.folder / "pod.yaml")
        reports = self.world.folder / "reports"
        reports.mkdir(exist_ok=True)
        self.world.start_operator("--evidence-dir", str(reports), kubeconfig=kubeconfig)
        self._until_objects_are_taken()

    def _until_objects_are_taken(self) -> None:
        """A definition is listed before it takes objects: until then, for a second or two, kubectl is told 503."""
        probes = [account("probe"), policy("default", "probe"), waiver("default", "w"), attestation("default", "a")]
        self.terminal.write("probes.json", "\n".join(json.dumps(probe) for probe in probes))
        tried = "kubectl create --dry-run=server -f probes.json"
        assert eventually(lambda: self.terminal.run(tried).returncode == 0, 60), self.terminal.run(tried).stderr

    def stop_operator(self) -> None:
        """Does what happens to the pods of a chart that is uninstalled."""
        assert self.world is not None
        for operator in self.world.operators:
            operator.stop()

    def make_organization(self) -> None:
        """Makes the account the management account of an organization with one member."""
        assert self.world is not None
        organizations = self.world.aws.client("organizations", "us-east-1")
        organizations.create_organization(FeatureSet="ALL")
        organizations.create_account(AccountName="Pay", Email="pay@example.com")

    def start_alertmanager(self) -> None:
        """An Alertmanager, which amtool finds by its configuration; both places where distributions look for it."""
        programs = prometheus_binaries.find()
        assert programs is not None
        token = self.terminal.write("token", "watchword\n")
        webhook = "http://127.0.0.1:9/alerts"  # nothing is sent: there is no alert
        server = Alertmanager(programs, self.terminal.folder, webhook=webhook, token_file=token)
        self.undo.enter_context(server)
        for name in ("amtool/config.yml", "prometheus/amtool.yml"):
            self.terminal.write(f"home/.config/{name}", f"alertmanager.url: {server.url}\n")

    def proposal(self, remediation: str) -> str:
        """The name of the object of a remediation, once the operator has proposed it."""
        assert self.world is not None
        world = self.world
        world.until("the proposal", lambda: world.state(remediation), bool)
        return str(world.remediation(remediation)["metadata"]["name"])

    def export(self, said: str) -> None:
        """What a reader exports in another terminal, as `passmuster sandbox up` says it."""
        lines = re.findall(r"^\s*export (.+)$", said, re.MULTILINE)
        exported = dict(word.split("=", 1) for line in lines for word in line.split())
        self.terminal.kubeconfigs[ADMIN] = Path(exported.pop("KUBECONFIG"))
        self.terminal.environment |= exported
        self._until_objects_are_taken()

    def leave(self) -> None:
        """Ends everything that runs here; what was kept must end well when it is interrupted."""
        with self.undo:
            codes = self.terminal.close()
        assert set(codes) <= {0}


def _configure(terminal: Terminal, aws: SimulatedAWS) -> None:
    """Profiles: `shop` and the default of the seeded account, and one of an account in which nothing is."""
    sections = {"default": "123456789012", "profile shop": "123456789012", "profile empty": EMPTY_ACCOUNT}
    lines = []
    for section, owner in sections.items():
        keys = aws.root_keys(owner)
        lines += [
            f"[{section}]",
            "region = eu-central-1",
            f"endpoint_url = {aws.url}",
            f"aws_access_key_id = {keys.access_key}",
            f"aws_secret_access_key = {keys.secret_key}",
        ]
    terminal.write("home/.aws/config", "\n".join(lines) + "\n")


@contextmanager
def _namespaces_end(server: ApiServer) -> Iterator[None]:
    """Lets deleted namespaces go, as the namespace controller does, which a bare API server has not."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.3):
            for body in server.call("GET", "/api/v1/namespaces").body["items"]:
                if "deletionTimestamp" in body["metadata"]:
                    body["spec"]["finalizers"] = []
                    server.call("PUT", f"/api/v1/namespaces/{body['metadata']['name']}/finalize", body)

    controller = threading.Thread(target=work, name="namespaces")
    controller.start()
    try:
        yield
    finally:
        over.set()
        controller.join()


def serves(url: str) -> bool:
    """Whether a page answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


def passmuster() -> str:
    """The command that the project's environment has."""
    return str(Path(sys.executable).with_name("passmuster"))
