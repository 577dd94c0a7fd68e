"""Applying and undoing from the command line on a real API server: who approves, what is watched, how it exits.

The operator's part, the status, is written by a thread with the operator's own credentials.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from apiserver import DIGEST, ApiServer, eventually, remediation
from passmuster.api.conditions import ConditionReason
from passmuster.cli.main import app
from passmuster.model.errors import PassmusterError
from passmuster.sandbox.control_plane import OPERATOR, ControlPlane

pytestmark = pytest.mark.slow

Manifest = dict[str, Any]
Run = Callable[..., Result]
WRITTEN = "2026-11-21T10:00:00Z"


@pytest.fixture
def change(server: ApiServer) -> Manifest:
    """A Remediation in a namespace of its own, in which alice may approve."""
    namespace = server.namespace(f"cli-{uuid.uuid4().hex[:8]}")
    server.bind(namespace, "alice", role="passmuster-approver")
    server.bind(namespace, "alice", {"apiGroups": ["passmuster.io"], "resources": ["remediations"], "verbs": ["get"]})
    made = remediation(namespace, "shop-cloudtrail")
    answer = server.create(made, user=OPERATOR)
    assert answer.ok, answer.message
    return made


@pytest.fixture
def run(control_plane: ControlPlane, change: Manifest) -> Run:
    """`passmuster COMMAND shop-cloudtrail` as alice."""
    kubeconfig = str(control_plane.kubeconfig("alice"))
    namespace = change["metadata"]["namespace"]

    def ran(command: str, *options: str) -> Result:
        arguments = [command, "shop-cloudtrail", "-n", namespace, "--kubeconfig", kubeconfig, *options]
        return CliRunner().invoke(app, arguments)

    return ran


def write(
    server: ApiServer, change: Manifest, state: str, message: str = "", generation: int | None = None, **held: str
) -> None:
    """The status as the operator writes it; without a generation it speaks of the object as it is."""
    seen = generation if generation is not None else server.get(change)["metadata"]["generation"]
    reason = ConditionReason.SUCCEEDED.value
    conditions = [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message or "-",
            "lastTransitionTime": WRITTEN,
            "observedGeneration": seen,
        }
        for kind, status in {"Ready": "False", **held}.items()
    ]
    status = {"state": state, "observedGeneration": seen, "conditions": conditions}
    answer = server.patch(change, {"status": status}, user=OPERATOR, subresource="status")
    assert answer.ok, answer.message


class Operator(threading.Thread):
    """Waits for an approval, then goes through states."""

    def __init__(self, server: ApiServer, change: Manifest, *states: Mapping[str, Any]) -> None:
        super().__init__(daemon=True)
        self.server, self.change, self.states = server, change, states

    def run(self) -> None:
        eventually(lambda: bool(approvals(self.server, self.change)), 30)
        for one in self.states:
            time.sleep(1.3)
            write(self.server, self.change, **one)


def approvals(server: ApiServer, change: Manifest) -> list[Manifest]:
    return list(server.get(change)["spec"].get("approvals") or ())


@pytest.fixture
def operator(server: ApiServer, change: Manifest) -> Iterator[Callable[..., None]]:
    """Starts one; it has ended before the test does."""
    started: list[Operator] = []

    def start(*states: Mapping[str, str]) -> None:
        started.append(Operator(server, change, *states))
        started[-1].start()

    yield start
    for one in started:
        one.join(30)
        assert not one.is_alive()


def told(ran: Result) -> str:
    return " ".join(ran.stderr.split())


@pytest.mark.apiserver
def test_apply_approves_as_oneself_and_tells_each_state_until_it_is_applied(
    server: ApiServer, change: Manifest, run: Run, operator: Callable[..., None]
) -> None:
    operator(
        {"state": "Executing", "message": "The stack is made"},
        {"state": "Settling", "message": "It is awaited that these pass: x"},
        {"state": "Applied", "message": "Every finding it names passes"},
    )
    ran = run("apply", "--timeout", "60s")
    assert ran.exit_code == 0, told(ran)
    assert approvals(server, change) == [{"by": "alice", "action": "Apply", "digest": DIGEST}]
    order = [told(ran).index(s) for s in ("alice approved", "Executing: The stack", "Settling: It", "Applied: Every")]
    assert order == sorted(order)


@pytest.mark.apiserver
@pytest.mark.parametrize("state", ["Blocked", "Failed", "RolledBack", "Superseded", "Undone"])
def test_apply_exits_with_one_where_it_ends_otherwise_and_says_why(
    server: ApiServer, change: Manifest, run: Run, operator: Callable[..., None], state: str
) -> None:
    operator({"state": state, "message": "The cap is reached"})
    ran = run("apply", "--timeout", "60s")
    assert ran.exit_code == 1
    assert f"{state}: The cap is reached" in told(ran)


@pytest.mark.apiserver
def test_a_state_from_before_the_approval_does_not_count(
    server: ApiServer, change: Manifest, run: Run, operator: Callable[..., None]
) -> None:
    write(server, change, "Blocked", "The cap was reached")
    operator({"state": "Applied", "message": "Done"})
    ran = run("apply", "--timeout", "60s")
    assert ran.exit_code == 0, told(ran)
    assert "The cap was reached" not in told(ran)


@pytest.mark.apiserver
def test_what_is_applied_and_drifted_is_watched_until_it_is_made_again(
    server: ApiServer, change: Manifest, run: Run, operator: Callable[..., None]
) -> None:
    operator({"state": "Applied", "message": "These fail again", "Drifted": "True"}, {"state": "Failed"})
    assert run("apply", "--timeout", "60s").exit_code == 1


@pytest.mark.apiserver
def test_when_the_time_is_over_it_exits_with_two_and_says_that_it_goes_on(
    server: ApiServer, change: Manifest, run: Run, operator: Callable[..., None]
) -> None:
    operator({"state": "AwaitingApproval", "message": "1 more approval is needed"})
    ran = run("apply", "--timeout", "4s")
    assert isinstance(ran.exception, PassmusterError)
    said = str(ran.exception)
    assert "after 4s shop-cloudtrail is not Applied (AwaitingApproval: 1 more approval is needed)" in said
    assert "goes on without this command" in said


@pytest.mark.apiserver
def test_without_waiting_it_only_approves(server: ApiServer, change: Manifest, run: Run) -> None:
    begun = datetime.now(UTC)
    ran = run("apply", "--no-wait")
    assert ran.exit_code == 0, told(ran)
    assert [entry["action"] for entry in approvals(server, change)] == ["Apply"]
    assert (datetime.now(UTC) - begun).total_seconds() < 10


@pytest.mark.apiserver
def test_undo_approves_the_undo_and_waits_until_it_is_undone(
    server: ApiServer, change: Manifest, run: Run, operator: Callable[..., None]
) -> None:
    write(server, change, "Applied", "Every finding it names passes")
    operator(
        {"state": "Undoing", "message": "It is being taken back"}, {"state": "Undone", "message": "The stack is gone"}
    )
    ran = run("undo", "--timeout", "60s")
    assert ran.exit_code == 0, told(ran)
    assert approvals(server, change) == [{"by": "alice", "action": "Undo", "digest": DIGEST}]
    assert "Undone: The stack is gone" in told(ran)
    again = run("undo")
    assert again.exit_code == 0
    assert "undone already" in told(again)


@pytest.mark.apiserver
def test_an_undo_that_is_refused_exits_with_one(
    server: ApiServer, change: Manifest, run: Run, operator: Callable[..., None]
) -> None:
    write(server, change, "Applied")
    operator({"state": "Applied", "message": "Somebody changed the value since", "Stalled": "True"})
    ran = run("undo", "--timeout", "60s")
    assert ran.exit_code == 1
    assert "Somebody changed the value since" in told(ran)


@pytest.mark.apiserver
@pytest.mark.parametrize("state", ["Proposed", "AwaitingApproval", "Scheduled", "Superseded"])
def test_what_was_not_made_is_not_undone_and_gets_no_approval(
    server: ApiServer, change: Manifest, run: Run, state: str
) -> None:
    write(server, change, state)
    ran = run("undo")
    assert isinstance(ran.exception, PassmusterError)
    assert f"is {state}: it was not made, so there is nothing to undo" in str(ran.exception)
    assert approvals(server, change) == []


@pytest.mark.apiserver
@pytest.mark.parametrize("command", ["apply", "undo"])
def test_a_name_that_is_not_there_says_how_to_list_them(
    control_plane: ControlPlane, change: Manifest, command: str
) -> None:
    namespace = change["metadata"]["namespace"]
    kubeconfig = str(control_plane.kubeconfig("alice"))
    ran = CliRunner().invoke(app, [command, "nothing", "-n", namespace, "--kubeconfig", kubeconfig])
    assert isinstance(ran.exception, PassmusterError)
    assert "kubectl get rem -A" in str(ran.exception)


@pytest.mark.parametrize("command", ["apply", "undo", "approve"])
def test_without_a_cluster_a_sentence_says_what_to_name(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    ran = CliRunner().invoke(app, [command, "shop-cloudtrail", "--kubeconfig", str(tmp_path / "none")])
    assert isinstance(ran.exception, PassmusterError)
    assert "Name a kubeconfig with --kubeconfig" in str(ran.exception)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "config does not exist. Name a kubeconfig"),
        (b"foo: [", "the kubeconfig is not YAML. Name a kubeconfig"),
        (b"\xff\xfe\x00", "the kubeconfig is not YAML. Name a kubeconfig"),
        (b"[]", "the kubeconfig does not have the fields of one. Name a kubeconfig"),
        (b"clusters: 3", "the kubeconfig does not have the fields of one. Name a kubeconfig"),
    ],
)
def test_a_kubeconfig_that_cannot_be_read_is_a_sentence(content: bytes | None, said: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    if content is not None:
        config.write_bytes(content)
    ran = CliRunner().invoke(app, ["approve", "shop-cloudtrail", "--kubeconfig", str(config)])
    assert isinstance(ran.exception, PassmusterError)
    assert said in str(ran.exception)


@pytest.mark.apiserver
@pytest.mark.parametrize(
    ("state", "said"), [("Undone", "kubectl delete rem shop-cloudtrail"), ("Superseded", "is proposed when")]
)
@pytest.mark.parametrize("command", ["approve", "apply"])
def test_what_is_over_is_not_approved(
    server: ApiServer, change: Manifest, run: Run, state: str, said: str, command: str
) -> None:
    write(server, change, state)
    ran = run(command)
    assert isinstance(ran.exception, PassmusterError)
    assert "so an approval does nothing" in str(ran.exception)
    assert said in str(ran.exception)
    assert approvals(server, change) == []


@pytest.mark.apiserver
def test_what_people_do_is_not_approved(server: ApiServer, control_plane: ControlPlane, change: Manifest) -> None:
    by_hand = remediation(change["metadata"]["namespace"], "shop-on-call", way="Guide")
    answer = server.create(by_hand, user=OPERATOR)
    assert answer.ok, answer.message
    kubeconfig = str(control_plane.kubeconfig("alice"))
    options = ["-n", change["metadata"]["namespace"], "--kubeconfig", kubeconfig]
    ran = CliRunner().invoke(app, ["approve", "shop-on-call", *options])
    assert isinstance(ran.exception, PassmusterError)
    assert "is done by people, so there is nothing to approve" in str(ran.exception)
    assert approvals(server, by_hand) == []


@pytest.mark.parametrize("command", ["apply shop", "undo shop", "approve shop", "report shop", "uninstall --yes"])
def test_a_cluster_that_does_not_answer_is_a_sentence(command: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: none}}]\n"
    )
    ran = CliRunner().invoke(app, [*command.split(), "--kubeconfig", str(config)])
    assert isinstance(ran.exception, PassmusterError)
    assert str(ran.exception) == (
        "the API server did not answer (MaxRetryError): see that the cluster runs, or name another with --kubeconfig "
        "or --context"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("apply", "rw/legacy"), "passmuster approve rw/legacy"),
        (("undo", "ra/runbooks"), "passmuster approve ra/runbooks"),
        (("apply", "x", "--timeout", "2d"), "write 48h"),
        (("undo", "x", "--timeout", "soon"), "is not a duration"),
    ],
)
def test_wrong_arguments_are_explained(arguments: tuple[str, ...], said: str) -> None:
    ran = CliRunner().invoke(app, list(arguments))
    assert isinstance(ran.exception, PassmusterError)
    assert said in str(ran.exception)
