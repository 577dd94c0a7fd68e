"""Waivers and attestations on a real API server: who may make and approve them, and that they stay as approved."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apiserver import JSON_PATCH, Answer, ApiServer, attestation, eventually, waiver
from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.waiver import ReadinessWaiver
from passmuster.kube import approvals
from passmuster.kube.connection import connect
from passmuster.model.errors import UserError
from passmuster.sandbox.control_plane import ADMIN, OPERATOR, ControlPlane

Manifest = dict[str, Any]
Make = Callable[..., Manifest]

ONLY_THEIR_OWN = "an entry of spec.approvals is added, changed or removed only by the user it names"
BOTH = pytest.mark.parametrize("make", [waiver, attestation])
MOMENT = "%Y-%m-%dT%H:%M:%SZ"

pytestmark = pytest.mark.apiserver


def approved_by(*names: str) -> Manifest:
    """A merge patch; it replaces the whole list."""
    return {"spec": {"approvals": [{"by": name} for name in names]}}


def refused(answer: Answer, said: str) -> bool:
    assert said in answer.message
    return answer.status in (403, 422)


@pytest.fixture
def team(server: ApiServer, namespace: str) -> str:
    """A namespace in which bob edits, and alice and carol approve."""
    for person in ("alice", "carol"):
        server.bind(namespace, person, role="passmuster-approver")
    server.bind(namespace, "bob", role="passmuster-editor")
    rights = [("bob", "create"), ("alice", "approve"), ("carol", "approve")]
    for person, verb in rights:
        assert eventually(lambda p=person, v=verb: server.may(p, v, "passmuster.io/readinesswaivers", namespace))
    return namespace


@pytest.fixture
def made(server: ApiServer, team: str, named: Callable[[], str]) -> Callable[[Make], Manifest]:
    """Makes one that nobody approved yet."""

    def one(make: Make) -> Manifest:
        body = make(team, named())
        answer = server.create(body, user="bob")
        assert answer.ok, answer.message
        return body

    return one


def plural_of(make: Make) -> str:
    return "readinesswaivers" if make is waiver else "readinessattestations"


@BOTH
def test_an_editor_asks_for_one_and_may_not_approve_it(
    server: ApiServer, made: Callable[[Make], Manifest], make: Make
) -> None:
    body = made(make)
    said = f"approving needs the verb approve on {plural_of(make)}"
    assert refused(server.patch(body, approved_by("bob"), user="bob"), said)
    assert refused(server.patch(body, approved_by("alice"), user="bob"), ONLY_THEIR_OWN)


@BOTH
def test_an_editor_makes_none_that_is_approved_already(
    server: ApiServer, team: str, named: Callable[[], str], make: Make
) -> None:
    said = f"approving needs the verb approve on {plural_of(make)}"
    assert refused(server.create(make(team, named(), approvals=[{"by": "bob"}]), user="bob"), said)
    assert refused(server.create(make(team, named(), approvals=[{"by": "alice"}]), user="bob"), ONLY_THEIR_OWN)


@BOTH
def test_two_approvers_approve_each_for_themselves(
    server: ApiServer, made: Callable[[Make], Manifest], make: Make
) -> None:
    body = made(make)
    assert server.patch(body, approved_by("alice"), user="alice").ok
    second = [{"op": "add", "path": "/spec/approvals/-", "value": {"by": "carol"}}]
    assert server.patch(body, second, user="carol", content=JSON_PATCH).ok
    assert server.get(body)["spec"]["approvals"] == [{"by": "alice"}, {"by": "carol"}]


@BOTH
def test_nobody_removes_the_approval_of_another_and_everybody_their_own(
    server: ApiServer, made: Callable[[Make], Manifest], make: Make
) -> None:
    body = made(make)
    assert server.patch(body, approved_by("alice"), user="alice").ok
    for user in ("bob", "carol", ADMIN):
        assert refused(server.patch(body, approved_by(), user=user), ONLY_THEIR_OWN)
    assert server.patch(body, approved_by(), user="alice").ok


@BOTH
def test_the_operator_approves_nothing_and_writes_only_the_status(
    server: ApiServer, made: Callable[[Make], Manifest], make: Make
) -> None:
    body = made(make)
    assert server.patch(body, approved_by(OPERATOR), user=OPERATOR).status == 403
    assert server.create(make(body["metadata"]["namespace"], "mine"), user=OPERATOR).status == 403
    state = {"status": {"state": "InForce", "message": "Counts until 2027-03-31T00:00:00Z"}}
    assert server.patch(body, state, user=OPERATOR, subresource="status").ok
    assert server.patch(body, state, user="alice", subresource="status").status == 403


@pytest.mark.parametrize(
    "patch",
    [
        {"check": "guardduty-enabled"},
        {"reason": "Because"},
        {"expiresAt": "2029-03-31T00:00:00Z"},
        {"resources": ["*"]},
        {"accountRef": {"name": "shop"}},
        {"policyRef": {"name": "other"}},
    ],
    ids=lambda patch: next(iter(patch)),
)
@pytest.mark.parametrize("user", ["bob", ADMIN])
def test_a_waiver_stays_as_it_was_approved(
    server: ApiServer, made: Callable[[Make], Manifest], patch: Manifest, user: str
) -> None:
    body = made(waiver)
    answer = server.patch(body, {"spec": patch}, user=user)
    assert refused(answer, "a waiver stays as it was approved: delete it and create another")


@pytest.mark.parametrize(
    "patch",
    [
        {"check": "ci-cd-pipeline", "expiresAt": "2026-03-01T00:00:00Z"},
        {"statement": "It was not rehearsed"},
        {"evidence": {"uri": "https://elsewhere.example.com"}},
        {"evidence": {"sha256": "d" * 64}},
        {"owner": "somebody@example.com"},
        {"issuedAt": "2025-12-31T00:00:00Z", "expiresAt": "2026-12-30T00:00:00Z"},
        {"accountRef": {"name": "shop"}},
    ],
    ids=lambda patch: ".".join(patch),
)
def test_an_attestation_stays_as_it_was_approved(
    server: ApiServer, made: Callable[[Make], Manifest], patch: Manifest
) -> None:
    answer = server.patch(made(attestation), {"spec": patch}, user="bob")
    assert refused(answer, "an attestation stays as it was approved: delete it and create another")


def test_the_same_moment_in_another_zone_is_no_change(server: ApiServer, made: Callable[[Make], Manifest]) -> None:
    assert server.patch(made(waiver), {"spec": {"expiresAt": "2027-03-31T02:00:00+02:00"}}, user="bob").ok


def test_an_attestation_is_issued_by_the_time_it_is_made(
    server: ApiServer, team: str, named: Callable[[], str]
) -> None:
    now = datetime.now(UTC)
    later = (now + timedelta(minutes=5)).strftime(MOMENT)
    ends = (now + timedelta(days=30)).strftime(MOMENT)
    answer = server.create(attestation(team, named(), issuedAt=later, expiresAt=ends), user="bob")
    assert refused(answer, "issuedAt is later than now: an attestation speaks of what was seen")
    earlier = (now - timedelta(seconds=5)).strftime(MOMENT)
    assert server.create(attestation(team, named(), issuedAt=earlier, expiresAt=ends), user="bob").ok


@BOTH
def test_kubectl_get_answers_a_persons_questions(
    server: ApiServer, team: str, named: Callable[[], str], make: Make
) -> None:
    body = make(team, named())
    assert server.create(body, user="bob").ok
    status = {"state": "AwaitingApproval", "summary": {"approved": "1/2"}, "findings": 3, "message": "Has 1 of 2"}
    assert server.patch(body, {"status": status}, user=OPERATOR, subresource="status").ok
    found, rows = server.table(plural_of(make), team)
    columns = [column["name"].upper() for column in found if column["priority"] == 0]
    assert columns == ["NAME", "POLICY", "CHECK", "STATE", "APPROVED", "EXPIRES", "FINDINGS", "AGE"]
    cells = next(row for row in rows if row[0] == body["metadata"]["name"])
    assert cells[1:7] == ["shop", body["spec"]["check"], "AwaitingApproval", "1/2", body["spec"]["expiresAt"], 3]


@BOTH
def test_an_approval_counts_for_nothing_on_its_own_kind_alone(
    server: ApiServer, namespace: str, named: Callable[[], str], make: Make
) -> None:
    """The verb is asked for on the kind that is approved, and on no other."""
    other = "readinessattestations" if make is waiver else "readinesswaivers"
    everything = {"apiGroups": ["passmuster.io"], "resources": ["*"], "verbs": ["get", "create", "patch"]}
    verb = {"apiGroups": ["passmuster.io"], "resources": [other, "remediations"], "verbs": ["approve"]}
    server.bind(namespace, "carol", everything, verb)
    body = make(namespace, named())
    assert eventually(lambda: server.create(body, user="carol").ok)
    answer = server.patch(body, approved_by("carol"), user="carol")
    assert refused(answer, f"approving needs the verb approve on {plural_of(make)}")


# from the command line


@pytest.mark.parametrize(("make", "kind"), [(waiver, ReadinessWaiver), (attestation, ReadinessAttestation)])
def test_the_command_line_approves_and_withdraws(
    server: ApiServer,
    control_plane: ControlPlane,
    made: Callable[[Make], Manifest],
    make: Make,
    kind: type[ReadinessWaiver | ReadinessAttestation],
) -> None:
    body = made(make)
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    api = connect(control_plane.kubeconfig("alice"))
    try:
        for _ in range(2):  # again changes nothing
            assert approvals.approve_grant(api, namespace, kind, name) == "alice"
        assert server.get(body)["spec"]["approvals"] == [{"by": "alice"}]
        approvals.approve_grant(api, namespace, kind, name, withdraw=True)
        assert server.get(body)["spec"].get("approvals", []) == []
        with pytest.raises(UserError, match="there is no"):
            approvals.approve_grant(api, namespace, kind, "gone")
    finally:
        api.close()
    api = connect(control_plane.kubeconfig("bob"))
    try:
        with pytest.raises(UserError, match="refused the approval"):
            approvals.approve_grant(api, namespace, kind, name)
    finally:
        api.close()
