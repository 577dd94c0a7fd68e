"""The operator is killed at every point of a remediation's life, and the process that follows it ends what it began.

Real processes, real SIGKILL, on the real API server: one process leads, another stands by. Each life is lived through
once undisturbed; then the leading process is killed at a point, and nobody helps but the standby, which takes the lease
over. The states, the stack, what it made and what AWS was asked are those of the life without a death, and no name of a
change set and no token of a request has had more than one effect.
"""

from __future__ import annotations

import json
import re
import signal
import ssl
import threading
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.conftest import REQUESTED, World, installed
from engine.conftest import ALLOWED, GROUP, click_together, groups, insights, seed
from passage import Fate, Message, Passage, Trap
from passmuster.sandbox.control_plane import OPERATOR, ControlPlane
from passmuster.sandbox.operator_process import OperatorProcess
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS
from passmuster.sandbox.story import base_environment
from turns import MUTATING, objects

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

LOGS, INSIGHTS = "log-group-retention", "container-insights"
TRAIL_CHECKS = ("cloudtrail-multi-region", "cloudtrail-log-validation", "cloudtrail-encrypted")
CHANGING = (*MUTATING, "UpdateClusterSettings", "PutRetentionPolicy", "DeleteRetentionPolicy")
BEGINNINGS = ("CREATE_IN_PROGRESS", "IMPORT_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
TRAIL = "passmuster-shop-cloudtrail-"
BUSY = 3.0
"""Seconds that an operation of a stack lasts, where it is to be seen under way."""

LEASE = 3
"""Seconds until the standby may take the lease of a process that was killed."""


@dataclass(frozen=True)
class SmallAccount:
    """What a story must know of the account."""

    account_id: str = DEFAULT_ACCOUNT
    region: str = DEFAULT_REGION


@dataclass
class Mortal:
    """An operator process with its fate, and the passages by which it reaches the API server and AWS."""

    process: OperatorProcess
    fate: Fate
    passages: list[Passage]


@dataclass
class Succession:
    """One process leads, one stands by; whoever leads dies at the traps that are set."""

    world: World
    traps: list[Trap] = field(default_factory=list)
    born: list[Mortal] = field(default_factory=list)
    starting: list[threading.Thread] = field(default_factory=list)
    deaths: list[int | None] = field(default_factory=list)

    def begin(self) -> None:
        """The first two."""
        self._follow()
        self._follow()
        self.ready()

    def set(self, *traps: Trap) -> None:
        """These are the traps from now on, with a process that stands by; no death is remembered."""
        self.ready()
        self.traps[:] = traps
        self.deaths.clear()

    def ready(self) -> None:
        """Returns when a process stands by."""
        for thread in self.starting:
            thread.join()
        self.starting.clear()

    def end(self) -> None:
        """All of them, and their passages."""
        self.ready()
        for mortal in self.born:
            mortal.process.stop(abruptly=True)
            for passage in mortal.passages:
                passage.close()

    def _follow(self) -> None:
        """One more process begins to start."""
        mortal = self._mortal()
        self.born.append(mortal)
        self.world.operators.append(mortal.process)
        thread = threading.Thread(target=mortal.process.start, name="operator", daemon=True)
        thread.start()
        self.starting.append(thread)

    def _mortal(self) -> Mortal:
        world, number = self.world, len(self.born)
        mortal: Mortal

        def kill() -> None:
            self.deaths.append(mortal.process.stop(abruptly=True))
            self._follow()

        fate = Fate(self.traps, kill)
        tls = ssl.create_default_context(cafile=world.plane.ca_file)
        cluster = Passage("127.0.0.1", _port(world.plane.url), fate, tls)
        aws = Passage("127.0.0.1", _port(world.aws.url), fate)
        process = OperatorProcess(
            kubeconfig=_kubeconfig(world.plane, cluster.url, world.folder / f"mortal-{number}.yaml"),
            endpoint_url=aws.url,
            environment=base_environment(world.aws),
            log=world.folder / f"mortal-{number}.log",
            arguments=("--requests-per-second", "500", "--lease-duration", str(LEASE)),
        )
        mortal = Mortal(process, fate, [cluster, aws])
        return mortal


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].rstrip("/"))


def _kubeconfig(plane: ControlPlane, server: str, path: Path) -> Path:
    """The operator's kubeconfig, by way of a passage."""
    config = yaml.safe_load(plane.kubeconfig(OPERATOR).read_text())
    config["clusters"][0]["cluster"] = {"server": server}
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def succession(control_plane: ControlPlane) -> Iterator[Succession]:
    with SimulatedAWS() as aws:
        seed(aws)
        with installed(control_plane, aws, SmallAccount()) as world:
            made = Succession(world)
            made.begin()
            try:
                yield made
            finally:
                made.end()


# where it dies --------------------------------------------------------------------------------------------------------


def writes(state: str = "", *, member: str = "state", of: str = "") -> Callable[[Message], bool]:
    """The status of a remediation, of this one if it is named, with this state or with this member."""
    path = re.compile(rf"/remediations/shop-{of or '[a-z-]+'}-[0-9a-f]+/status")

    def fits(message: Message) -> bool:
        if message.method != "PATCH" or not path.search(message.path):
            return False
        value = json.loads(message.body)["status"].get(member)
        return value == state if state else bool(value)

    return fits


def asks(operation: str, *parts: str) -> Callable[[Message], bool]:
    """A request of AWS for an operation, whose body holds these parts."""

    def fits(message: Message) -> bool:
        body = message.body.decode("utf-8", "replace")
        target = message.headers.get("x-amz-target", "").rpartition(".")[2]
        named = operation in (target, *urllib.parse.parse_qs(body).get("Action", ()))
        return named and all(part in body for part in parts)

    return fits


POINTS = (
    Trap("before intent", writes(member="changeSet")),
    Trap("intent written", writes(member="changeSet"), answered=True),
    Trap("CreateChangeSet sent", asks("CreateChangeSet"), answered=True),
    Trap("change set exists, status not written", writes("ChangeSetReady")),
    Trap("approval seen", writes("Executing")),
    Trap("ExecuteChangeSet sent", asks("ExecuteChangeSet"), answered=True),
    Trap("stack running", asks("DescribeStacks"), answered=True, saying=b"<StackStatus>CREATE_IN_PROGRESS<"),
    Trap("complete, not verified", writes("Settling"), answered=True),
    Trap("verified, status not written", writes("Applied")),
    Trap("in the finalizer", asks("DeleteStack"), answered=True),
)
"""The points of the life of an additive stack, from its approval to the deletion of its policy."""

IN_PLACE = (
    Trap("import sent", asks("CreateChangeSet", "ChangeSetType=IMPORT"), answered=True),
    Trap("update sent", asks("CreateChangeSet", "-update"), answered=True),
    Trap("update executed", asks("ExecuteChangeSet", "-update"), answered=True),
    Trap("undo executed", asks("ExecuteChangeSet", "-undo"), answered=True),
    Trap("stack released", asks("DeleteStack"), answered=True),
    Trap("call intended", writes("Executing", of=INSIGHTS), answered=True),
    Trap("call sent", asks("UpdateClusterSettings", '"enabled"'), answered=True),
    Trap("call verified, status not written", writes("Applied", of=INSIGHTS)),
    Trap("inverse sent", asks("UpdateClusterSettings", '"disabled"'), answered=True),
)
"""Points of the lives of an adoption and of an API step, from their approvals to their undoing."""


# what is left of a life -----------------------------------------------------------------------------------------------


def requests(aws: SimulatedAWS) -> Counter[str]:
    """How often AWS received which request that changes something."""
    keys = set(aws.root_keys().for_boto3().values())
    return Counter(r.operation for r in list(aws.requests) if r.operation in CHANGING and r.access_key not in keys)


def effects(aws: SimulatedAWS, prefix: str) -> Counter[tuple[str, str]]:
    """What stacks of ours began to do, by token: everything that ever happened to stacks of that name."""
    client = aws.client("cloudformation", DEFAULT_REGION)
    began: Counter[tuple[str, str]] = Counter()
    for stack in client.list_stacks()["StackSummaries"]:
        if not stack["StackName"].startswith(prefix):
            continue
        for event in client.describe_stack_events(StackName=stack["StackId"])["StackEvents"]:
            of_stack = event["LogicalResourceId"] == stack["StackName"]
            if of_stack and event["ResourceStatus"] in BEGINNINGS:
                token = re.sub(r"[0-9a-f]{10}", "*", event.get("ClientRequestToken", ""))
                began[event["ResourceStatus"], token] += 1
    return began


def told(world: World, name: str) -> dict[str, Any]:
    """What the object says, apart from times and ids."""
    status = world.remediation(name)["status"]
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    return {
        "states": [entry["state"] for entry in status["history"]],
        "ready": (ready["status"], ready["reason"], ready["message"]),
        "attempt": status["attempt"],
        "stack": (status.get("stack") or {}).get("status"),
        "steps": [(s["what"], s["change"], s["prior"], *_marks(s)) for s in status.get("steps") or ()],
        "levels": (status["before"], status["after"]),
    }


def _marks(step: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether it was made, and taken back. That AWS was asked to take it back is not known of a call that was lost."""
    return "madeAt" in step, "undoneAt" in step


def made(aws: SimulatedAWS) -> dict[str, Any]:
    """The living stack of the trail with its resources, and the trail."""
    client = aws.client("cloudformation", DEFAULT_REGION)
    (stack,) = (s for s in client.describe_stacks()["Stacks"] if s["StackName"].startswith(TRAIL))
    found = client.describe_stack_resources(StackName=stack["StackName"])["StackResources"]
    (trail,) = aws.client("cloudtrail", DEFAULT_REGION).describe_trails()["trailList"]
    return {
        "stack": stack["StackStatus"],
        "resources": sorted((r["LogicalResourceId"], r["ResourceType"], r["ResourceStatus"]) for r in found),
        "trail": {name: value for name, value in trail.items() if isinstance(value, bool)},
    }


@dataclass(frozen=True)
class Life:
    """What is left of a life: the objects' words, what was made, what AWS was asked, what came of it by token."""

    objects: Mapping[str, Any]
    made: Mapping[str, Any]
    requests: Counter[str]
    effects: Counter[tuple[str, str]]


def declare(world: World, judged: tuple[str, ...]) -> None:
    """The account and a policy that judges these checks, and asks for a look at what is there now."""
    world.aws.requests.clear()
    for document in objects(judged, **ALLOWED):
        if document["kind"] == "ReadinessPolicy":
            document["spec"]["deletionPolicy"] = "Delete"
            document["metadata"]["annotations"] = {REQUESTED: uuid.uuid4().hex}
        answer = world.server.apply(document)
        assert answer.ok, answer.message


def reach(world: World, name: str, state: str) -> None:
    world.until(f"{name}: {state}", lambda: world.state(name), lambda found: found == state)


def clear_away(world: World) -> None:
    """The policy goes, after what was made for it, and so do the objects that a garbage collector would delete."""
    world.until("statuses without a fault", world.faults, lambda faults: not faults)
    policy = world.get("readinesspolicies", "shop")
    assert world.server.delete(policy).ok
    world.until("the end of the policy", lambda: world.get("readinesspolicies", "shop"), lambda body: not body)
    for plural in ("remediations", "readinessreports"):
        for body in world.list(plural):
            world.server.delete(body)
    s3 = world.aws.client("s3", DEFAULT_REGION)
    for bucket in s3.list_buckets()["Buckets"]:
        if bucket["Name"].startswith("passmuster-trail-"):
            s3.delete_bucket(Bucket=bucket["Name"])


def live_with_a_trail(succession: Succession) -> Life:
    """From approval to Applied, and away with the policy."""
    world = succession.world
    declare(world, TRAIL_CHECKS)
    reach(world, "cloudtrail", "AwaitingApproval")
    assert world.approve("cloudtrail").ok
    reach(world, "cloudtrail", "Applied")
    said, there = told(world, "cloudtrail"), made(world.aws)
    prefix = world.remediation("cloudtrail")["status"]["stack"]["name"]
    clear_away(world)
    return Life({"cloudtrail": said}, there, requests(world.aws), effects(world.aws, prefix))


@pytest.fixture(scope="module")
def undisturbed(succession: Succession) -> Life:
    """The life that nothing kills."""
    life = live_with_a_trail(succession)
    assert life.requests == {"CreateChangeSet": 1, "ExecuteChangeSet": 1, "DeleteStack": 1}
    assert set(life.effects) == {
        ("CREATE_IN_PROGRESS", "passmuster-*-1"),
        ("DELETE_IN_PROGRESS", "passmuster-*-finalize"),
    }
    return life


@pytest.mark.parametrize("trap", POINTS, ids=lambda trap: trap.point)
def test_a_kill_changes_nothing_of_the_end(succession: Succession, undisturbed: Life, trap: Trap) -> None:
    succession.set(trap)
    succession.world.aws.stacks_take(BUSY if trap.point == "stack running" else 0)
    life = live_with_a_trail(succession)
    assert trap.sprung
    assert succession.deaths == [-signal.SIGKILL]
    assert life == undisturbed
    assert set(life.effects.values()) == {1}


def live_in_place(succession: Succession) -> Life:
    """One after the other from approval to Applied, and by approved undos back to how it was."""
    world = succession.world
    declare(world, ("workload-logs-retained", "container-insights-enabled"))
    for name in (LOGS, INSIGHTS):
        reach(world, name, "AwaitingApproval")
        assert world.approve(name).ok
        reach(world, name, "Applied")
    assert (groups(world.aws)[GROUP], insights(world.aws)) == (30, "enabled")
    for name in (LOGS, INSIGHTS):
        assert world.approve(name, action="Undo").ok
        reach(world, name, "Undone")
    there = {"groups": groups(world.aws), "insights": insights(world.aws)}
    said = {name: told(world, name) for name in (LOGS, INSIGHTS)}
    prefix = world.remediation(LOGS)["status"]["stack"]["name"]
    clear_away(world)
    return Life(said, there, requests(world.aws), effects(world.aws, prefix))


def test_kills_throughout_an_adoption_and_an_api_step_change_nothing_of_the_end(succession: Succession) -> None:
    succession.set()
    succession.world.aws.stacks_take(0)
    click_together(succession.world.aws)
    undisturbed = live_in_place(succession)
    assert undisturbed.made == {"groups": {GROUP: None}, "insights": "disabled"}
    assert undisturbed.requests == {
        "CreateChangeSet": 3,
        "ExecuteChangeSet": 3,
        "DeleteStack": 1,
        "UpdateClusterSettings": 2,
    }
    succession.set(*IN_PLACE)
    life = live_in_place(succession)
    assert [trap.point for trap in IN_PLACE if not trap.sprung] == []
    assert succession.deaths == [-signal.SIGKILL] * len(IN_PLACE)
    assert life.objects == undisturbed.objects
    assert life == undisturbed
    assert set(life.effects.values()) == {1}
