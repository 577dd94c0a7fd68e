"""The whole product for end-to-end tests: a simulated account, the real API server, and the operator as a process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from apiserver import Answer, ApiServer, install
from passmuster.api.conditions import problems
from passmuster.sandbox.accounts import review
from passmuster.sandbox.control_plane import OPERATOR, ControlPlane
from passmuster.sandbox.operator_process import OperatorProcess
from passmuster.sandbox.simulated_aws import SimulatedAWS
from passmuster.sandbox.story import base_environment, example

PATIENCE = 90.0
REQUESTED = "reconcile.passmuster.io/requestedAt"
KINDS = {
    "awsaccounts": "AWSAccount",
    "readinesspolicies": "ReadinessPolicy",
    "readinessreports": "ReadinessReport",
    "remediations": "Remediation",
    "readinesswaivers": "ReadinessWaiver",
    "readinessattestations": "ReadinessAttestation",
}
OWNED = ("remediations", "readinesspolicies", "readinessreports")


class Account(Protocol):
    """The account that a story is about."""

    @property
    def account_id(self) -> str:
        """Its twelve digits."""

    @property
    def region(self) -> str:
        """Its home region."""


@dataclass
class World:
    """What a story can look at and do."""

    aws: SimulatedAWS
    account: Account
    plane: ControlPlane
    server: ApiServer
    folder: Path
    operators: list[OperatorProcess] = field(default_factory=list)

    @property
    def operator(self) -> OperatorProcess:
        """The operator that was started last."""
        return self.operators[-1]

    def start_operator(self, *arguments: str, kubeconfig: Path | None = None, **environment: str) -> OperatorProcess:
        """One more operator process."""
        process = OperatorProcess(
            kubeconfig=kubeconfig or self.plane.kubeconfig(OPERATOR),
            endpoint_url=self.aws.url,
            environment={**base_environment(self.aws), **environment},
            log=self.folder / f"operator-{len(self.operators)}.log",
            arguments=("--requests-per-second", "500", *arguments),
        )
        process.start()
        self.operators.append(process)
        return process

    def get(self, plural: str, name: str, namespace: str = "shop") -> dict[str, Any]:
        """One object; empty if it is not there."""
        path = f"/namespaces/{namespace}" if plural != "awsaccounts" else ""
        answer = self.server.call("GET", f"/apis/passmuster.io/v1alpha1{path}/{plural}/{name}")
        assert answer.ok or answer.status == 404, answer.message
        return dict(answer.body) if answer.ok else {}

    def list(self, plural: str, namespace: str = "shop") -> list[dict[str, Any]]:
        """All objects of a kind in a namespace, or in all of them with "" and of a kind that has none."""
        path = f"/namespaces/{namespace}" if namespace else ""
        answer = self.server.call("GET", f"/apis/passmuster.io/v1alpha1{path}/{plural}")
        assert answer.ok, answer.message
        return [{"apiVersion": answer.body["apiVersion"], "kind": KINDS[plural], **one} for one in answer.body["items"]]

    def until(self, what: str, read: Callable[[], Any], good: Callable[[Any], Any], seconds: float = PATIENCE) -> Any:
        """Reads until it is good; fails with what was read last and the operator's log."""
        deadline = time.monotonic() + seconds
        while True:
            found = read()
            if good(found):
                return found
            if time.monotonic() > deadline:
                log = self.operator.tail(30) if self.operators else "no operator"
                pytest.fail(f"{what} did not come; last seen:\n{yaml.safe_dump(found)[:6000]}\n{log}", pytrace=False)
            time.sleep(0.2)

    @property
    def policy(self) -> dict[str, Any]:
        """The example's policy."""
        return self.get("readinesspolicies", "shop")

    def ask(self, token: str) -> None:
        """A person asks for a whole inspection."""
        answer = self.server.patch(self.policy, {"metadata": {"annotations": {REQUESTED: token}}})
        assert answer.ok, answer.message

    def inspected(self, token: str) -> dict[str, Any]:
        """The policy after a whole inspection that a person asked for."""
        self.ask(token)
        return dict(
            self.until(
                f"the echo of {token}",
                lambda: self.policy,
                lambda body: (body.get("status") or {}).get("lastHandledReconcileAt") == token,
            )
        )

    def remediation(self, name: str) -> dict[str, Any]:
        """The one object of a remediation of the catalogue that was not superseded."""
        found = [
            r
            for r in self.list("remediations")
            if r["spec"]["remediation"] == name and (r.get("status") or {}).get("state") != "Superseded"
        ]
        return found[0] if found else {}

    def state(self, name: str) -> str:
        """Its state."""
        return str((self.remediation(name).get("status") or {}).get("state", ""))

    def approve(self, name: str, user: str = "alice", action: str = "Apply") -> Any:
        """A person's approval of the present intent, beside the approvals that are there."""
        body = self.remediation(name)
        entry = {"by": user, "action": action, "digest": body["spec"]["intent"]["digest"]}
        approvals = [*(body["spec"].get("approvals") or ()), entry]
        return self.server.patch(body, {"spec": {"approvals": approvals}}, user=user)

    def check(self, check_id: str) -> Mapping[str, Any]:
        """One check's verdict in the report."""
        report = self.get("readinessreports", f"shop-{self.account.account_id}")
        return next((c for c in (report.get("status") or {}).get("checks", ()) if c["id"] == check_id), {})

    def faults(self) -> list[str]:
        """What is wrong with any status in the namespace, by the rules of conditions."""
        found = []
        for plural, kind in KINDS.items():
            bodies = [self.get(plural, "shop-production")] if plural == "awsaccounts" else self.list(plural)
            for body in bodies:
                said = problems(body.get("status") or {}, body["metadata"]["generation"])
                found += [f"{kind} {body['metadata']['name']}: {problem}" for problem in said]
        return found

    def samples(self) -> dict[str, float]:
        """Every sample of /metrics by its name with labels."""
        lines = (line for line in self.operator.get("/metrics").splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture(scope="module")
def world(control_plane: ControlPlane) -> Iterator[World]:
    """The review's account, the kinds installed, two people with rights, no operator yet."""
    with SimulatedAWS() as aws, installed(control_plane, aws, review.seed(aws)) as made:
        yield made


@contextmanager
def installed(control_plane: ControlPlane, aws: SimulatedAWS, account: Account) -> Iterator[World]:
    """A world of a seeded account; what it leaves on the API server goes at the end."""
    server = ApiServer(control_plane)
    install(server)
    with tempfile.TemporaryDirectory(prefix="passmuster-e2e-") as folder:
        made = World(aws, account, control_plane, server, Path(folder))
        server.namespace("shop")
        server.bind("shop", "alice", role="passmuster-approver")
        everything = {
            "apiGroups": ["passmuster.io"],
            "resources": list(OWNED),
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
        }
        server.bind("shop", "bob", everything)
        _clear(made)
        try:
            yield made
        finally:
            for process in made.operators:
                process.stop()
            _clear(made)


def _clear(world: World) -> None:
    """Nothing of ours is there, whoever made it, and nobody leads: other tests leave objects on the API server, and
    an operator that is killed its lease.
    """
    for plural in KINDS:
        for body in world.list(plural, namespace=""):
            if body["metadata"].get("finalizers"):
                _demand_done(world.server.patch(body, {"metadata": {"finalizers": None}}))
            _demand_done(world.server.delete(body))
        assert world.list(plural, namespace="") == []
    _demand_done(
        world.server.call("DELETE", "/apis/coordination.k8s.io/v1/namespaces/passmuster-system/leases/passmuster")
    )


def _demand_done(answer: Answer) -> None:
    """It is as asked, or the object is gone already."""
    assert answer.ok or answer.status == 404, answer.message


def manifests() -> list[dict[str, Any]]:
    """The documents of the example."""
    return [d for d in yaml.safe_load_all(example("shop.yaml").read_text()) if d]
