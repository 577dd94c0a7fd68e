"""Only the operator writes Remediations, and nobody approves in another's name: tried on a real API server."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest

from apiserver import DIGEST, JSON_PATCH, OTHER_DIGEST, Answer, ApiServer, eventually, policy, remediation
from passmuster.api import admission
from passmuster.api.resource import EDITED_BY
from passmuster.sandbox.control_plane import ADMIN, OPERATOR

APPROVER = "passmuster-approver"
GROUP = "passmuster.io"
ONLY_THE_OPERATOR = "only the operator writes a Remediation; a person adds or removes their own entry of spec.approvals"
ONLY_THEIR_OWN = "an entry of spec.approvals is added, changed or removed only by the user it names"
NEEDS_THE_VERB = "approving needs the verb approve on remediations"

Manifest = dict[str, Any]


def entry(by: str, digest: str = DIGEST, **more: str) -> dict[str, str]:
    return {"by": by, "action": "Apply", "digest": digest, **more}


def approvals(*entries: dict[str, str]) -> Manifest:
    """A merge patch; it replaces the whole list."""
    return {"spec": {"approvals": list(entries)}}


def refused(answer: Answer, said: str) -> bool:
    assert said in answer.message
    return answer.status in (403, 422)


@pytest.fixture
def team(server: ApiServer, namespace: str) -> str:
    """A namespace in which alice and carol approve, and bob writes Remediations but may not approve."""
    for person in ("alice", "carol"):
        server.bind(namespace, person, role=APPROVER)
    rule = {
        "apiGroups": [GROUP],
        "resources": ["remediations"],
        "verbs": ["get", "list", "create", "update", "patch", "delete"],
    }
    server.bind(namespace, "bob", rule)
    return namespace


@pytest.fixture
def proposed(server: ApiServer, team: str, named: Callable[[], str]) -> Manifest:
    """A Remediation that nobody approved yet."""
    made = remediation(team, named())
    answer = server.create(made, user=OPERATOR)
    assert answer.ok, answer.message
    return made


@pytest.fixture
def approved(server: ApiServer, proposed: Manifest) -> Manifest:
    """A Remediation that alice approved."""
    answer = server.patch(proposed, approvals(entry("alice")), user="alice")
    assert answer.ok, answer.message
    return proposed


pytestmark = [pytest.mark.apiserver, pytest.mark.slow]


# creating


@pytest.mark.parametrize("user", ["bob", ADMIN])
def test_nobody_but_the_operator_creates_a_remediation(server: ApiServer, team: str, user: str) -> None:
    assert refused(server.create(remediation(team, "mine"), user=user), ONLY_THE_OPERATOR)


@pytest.mark.parametrize(("by", "said"), [("alice", ONLY_THEIR_OWN), (OPERATOR, NEEDS_THE_VERB)])
def test_the_operator_creates_none_that_is_approved_already(server: ApiServer, team: str, by: str, said: str) -> None:
    assert refused(server.create(remediation(team, "mine", approvals=[entry(by)]), user=OPERATOR), said)


# approving


def test_an_approver_approves_by_a_merge_patch(server: ApiServer, proposed: Manifest) -> None:
    assert server.patch(proposed, approvals(entry("alice")), user="alice").ok
    assert server.get(proposed)["spec"]["approvals"] == [entry("alice")]


def test_the_action_is_apply_unless_it_is_given(server: ApiServer, proposed: Manifest) -> None:
    assert server.patch(proposed, approvals({"by": "alice", "digest": DIGEST}), user="alice").ok
    assert server.get(proposed)["spec"]["approvals"] == [entry("alice")]


def test_a_second_approver_approves_by_a_json_patch(server: ApiServer, approved: Manifest) -> None:
    patch = [{"op": "add", "path": "/spec/approvals/-", "value": entry("carol")}]
    assert server.patch(approved, patch, user="carol", content=JSON_PATCH).ok
    assert server.get(approved)["spec"]["approvals"] == [entry("alice"), entry("carol")]


def test_an_approver_applies_only_their_own_entry(server: ApiServer, approved: Manifest) -> None:
    own = {key: approved[key] for key in ("apiVersion", "kind", "metadata")} | approvals(entry("carol"))
    answer = server.apply(own, user="carol", manager="carol")
    assert answer.ok, answer.message
    assert sorted(a["by"] for a in server.get(approved)["spec"]["approvals"]) == ["alice", "carol"]


def test_an_approver_replaces_the_object_with_their_entry_added(server: ApiServer, approved: Manifest) -> None:
    whole = server.get(approved)
    whole["spec"]["approvals"].append(entry("carol"))
    assert server.replace(whole, user="carol").ok


def test_an_undo_is_approved_beside_the_change(server: ApiServer, approved: Manifest) -> None:
    assert server.patch(approved, approvals(entry("alice"), entry("alice", action="Undo")), user="alice").ok


def test_without_the_verb_nobody_approves(server: ApiServer, proposed: Manifest) -> None:
    assert refused(server.patch(proposed, approvals(entry("bob")), user="bob"), NEEDS_THE_VERB)


def test_the_operator_approves_nothing(server: ApiServer, proposed: Manifest) -> None:
    assert refused(server.patch(proposed, approvals(entry(OPERATOR)), user=OPERATOR), NEEDS_THE_VERB)
    assert refused(server.patch(proposed, approvals(entry("alice")), user=OPERATOR), ONLY_THEIR_OWN)


@pytest.mark.parametrize("user", ["alice", "bob", ADMIN])
def test_nobody_approves_in_the_name_of_another(server: ApiServer, proposed: Manifest, user: str) -> None:
    assert refused(server.patch(proposed, approvals(entry("carol")), user=user), ONLY_THEIR_OWN)


def test_an_own_entry_does_not_carry_that_of_another(server: ApiServer, proposed: Manifest) -> None:
    both = approvals(entry("alice"), entry("carol"))
    assert refused(server.patch(proposed, both, user="alice"), ONLY_THEIR_OWN)


def test_an_approval_names_the_current_intent(server: ApiServer, proposed: Manifest) -> None:
    answer = server.patch(proposed, approvals(entry("alice", OTHER_DIGEST)), user="alice")
    assert refused(answer, f"the approval is for another intent; the current one is {DIGEST}")


def test_a_digest_has_its_shape(server: ApiServer, proposed: Manifest) -> None:
    assert server.patch(proposed, approvals(entry("alice", "sha256:a")), user="alice").status == 422


def test_nobody_is_in_the_list_twice(server: ApiServer, proposed: Manifest) -> None:
    assert refused(server.patch(proposed, approvals(entry("alice"), entry("alice")), user="alice"), "uplicate")


def test_an_administrator_has_every_verb_and_approves_in_their_own_name(server: ApiServer, proposed: Manifest) -> None:
    assert server.patch(proposed, approvals(entry(ADMIN)), user=ADMIN).ok


# changing and withdrawing


def test_an_own_approval_is_withdrawn(server: ApiServer, approved: Manifest) -> None:
    assert server.patch(approved, {"spec": {"approvals": None}}, user="alice").ok
    assert "approvals" not in server.get(approved)["spec"]


def test_an_own_approval_is_withdrawn_after_losing_the_verb(server: ApiServer, approved: Manifest) -> None:
    namespace = approved["metadata"]["namespace"]
    server.unbind(namespace, "alice", APPROVER)
    rule = {"apiGroups": [GROUP], "resources": ["remediations"], "verbs": ["patch"]}
    server.bind(namespace, "alice", rule)
    assert eventually(lambda: not server.may("alice", "approve", f"{GROUP}/remediations", namespace))
    assert eventually(lambda: server.patch(approved, approvals(), user="alice").ok)


def test_the_order_of_approvals_does_not_matter(server: ApiServer, approved: Manifest) -> None:
    assert server.patch(approved, approvals(entry("alice"), entry("carol")), user="carol").ok
    assert server.patch(approved, approvals(entry("carol"), entry("alice")), user="alice").ok


@pytest.mark.parametrize("user", ["carol", "bob", ADMIN, OPERATOR])
def test_nobody_removes_or_changes_the_approval_of_another(server: ApiServer, approved: Manifest, user: str) -> None:
    assert refused(server.patch(approved, approvals(), user=user), ONLY_THEIR_OWN)
    assert refused(server.patch(approved, approvals(entry("alice", OTHER_DIGEST)), user=user), ONLY_THEIR_OWN)


def test_a_changed_intent_leaves_stale_approvals_until_they_are_renewed(server: ApiServer, approved: Manifest) -> None:
    changed = {"spec": {"intent": {"digest": OTHER_DIGEST}}}
    assert server.patch(approved, changed, user=OPERATOR).ok
    assert server.get(approved)["spec"]["approvals"] == [entry("alice")]
    assert server.patch(approved, approvals(entry("alice"), entry("carol", OTHER_DIGEST)), user="carol").ok
    renewed = approvals(entry("alice", OTHER_DIGEST), entry("carol", OTHER_DIGEST))
    assert server.patch(approved, renewed, user="alice").ok


# the rest of the object


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"risk": "High"}},
        {"spec": {"undo": None}},
        {"spec": {"target": "arn:aws:s3:::logs"}},
        {"spec": {"intent": {"parameters": {"Name": "mine"}}}},
        {"spec": {"intent": {"digest": OTHER_DIGEST}, "approvals": [entry("alice", OTHER_DIGEST)]}},
        {"spec": {"findings": []}},
        {"spec": {"cost": {"monthly": 0}, "approvals": [entry("alice")]}},
    ],
    ids=["changed", "removed", "added", "changed inside", "changed and approved", "emptied", "cheaper and approved"],
)
def test_an_approver_changes_nothing_else(server: ApiServer, proposed: Manifest, patch: Manifest) -> None:
    assert refused(server.patch(proposed, patch, user="alice"), ONLY_THE_OPERATOR)


def test_even_an_administrator_changes_nothing_else(server: ApiServer, proposed: Manifest) -> None:
    assert refused(server.patch(proposed, {"spec": {"risk": "High"}}, user=ADMIN), ONLY_THE_OPERATOR)


def test_labels_and_annotations_are_free(server: ApiServer, approved: Manifest) -> None:
    assert server.patch(approved, {"metadata": {"annotations": {"note": "after the release"}}}, user="bob").ok


def test_the_operator_writes_the_spec_and_keeps_approvals_that_it_does_not_mention(
    server: ApiServer, approved: Manifest
) -> None:
    assert server.patch(approved, {"spec": {"risk": "High", "undo": None}}, user=OPERATOR).ok
    assert server.get(approved)["spec"]["approvals"] == [entry("alice")]
    applied = copy.deepcopy(approved)
    applied["spec"]["risk"] = "Medium"
    assert server.apply(applied, user=OPERATOR, manager="passmuster").ok
    stored = server.get(approved)["spec"]
    assert (stored["risk"], stored["approvals"]) == ("Medium", [entry("alice")])


def test_the_operator_writes_the_status_and_people_do_not(server: ApiServer, approved: Manifest) -> None:
    state = {"status": {"state": "Scheduled"}}
    assert server.patch(approved, state, user=OPERATOR, subresource="status").ok
    assert server.patch(approved, state, user="alice", subresource="status").status == 403
    assert server.get(approved)["status"]["state"] == "Scheduled"


def test_the_operator_deletes_what_is_approved(server: ApiServer, approved: Manifest) -> None:
    assert server.delete(approved, user=OPERATOR).ok


def test_a_very_large_remediation_is_approved_within_a_second(server: ApiServer, team: str, named: Any) -> None:
    parameters = {f"Parameter{number}": "x" * 4000 for number in range(108)}
    large = remediation(team, named(), intent={"digest": DIGEST, "parameters": parameters})
    assert server.create(large, user=OPERATOR).ok
    started = time.monotonic()
    answer = server.patch(large, approvals(entry("alice")), user="alice")
    assert answer.ok, answer.message
    assert time.monotonic() - started < 1.5


# the last editor of a policy


@pytest.fixture
def edited(server: ApiServer, namespace: str, named: Callable[[], str]) -> Manifest:
    """A policy that bob made, in a namespace where alice may edit it too."""
    for person in ("alice", "bob"):
        server.bind(namespace, person, role="passmuster-editor")
        server.bind(namespace, person, role="passmuster-viewer")
    made = policy(namespace, named())
    answer = server.create(made, user="bob")
    assert answer.ok, answer.message
    return made


def editor_of(server: ApiServer, made: Manifest) -> str | None:
    annotations: dict[str, str] = server.get(made)["metadata"].get("annotations", {})
    return annotations.get(EDITED_BY)


def test_who_creates_a_policy_is_its_editor(server: ApiServer, edited: Manifest) -> None:
    assert editor_of(server, edited) == "bob"


def test_who_changes_the_spec_is_the_editor(server: ApiServer, edited: Manifest) -> None:
    assert server.patch(edited, {"spec": {"minimumScore": 90}}, user="alice").ok
    assert editor_of(server, edited) == "alice"


def test_nothing_but_the_spec_makes_an_editor(server: ApiServer, edited: Manifest) -> None:
    assert server.patch(edited, {"metadata": {"labels": {"team": "shop"}}}, user="alice").ok
    assert server.patch(edited, {"metadata": {"annotations": {"note": "x"}}}, user=OPERATOR).ok
    assert server.patch(edited, {"status": {"accounts": 1}}, user=OPERATOR, subresource="status").ok
    assert server.patch(edited, {"spec": {"level": "Stable"}}, user="alice").ok
    assert editor_of(server, edited) == "bob"


@pytest.mark.parametrize("claimed", ["carol", "", None])
def test_nobody_says_themselves_who_the_editor_is(server: ApiServer, edited: Manifest, claimed: str | None) -> None:
    claim = {"metadata": {"annotations": {EDITED_BY: claimed}}}
    assert server.patch(edited, claim, user="alice").ok
    assert editor_of(server, edited) == "bob"
    assert server.patch(edited, claim | {"spec": {"minimumScore": 90}}, user="alice").ok
    assert editor_of(server, edited) == "alice"


def test_a_claim_at_creation_does_not_count(server: ApiServer, edited: Manifest, named: Callable[[], str]) -> None:
    claimed = policy(edited["metadata"]["namespace"], named())
    claimed["metadata"]["annotations"] = {EDITED_BY: "carol", "note": "kept"}
    assert server.create(claimed, user="alice").ok
    annotations = server.get(claimed)["metadata"]["annotations"]
    assert annotations == {EDITED_BY: "alice", "note": "kept"}


def test_a_policy_from_before_has_no_editor_until_it_is_edited(
    server: ApiServer, edited: Manifest, named: Callable[[], str]
) -> None:
    old = policy(edited["metadata"]["namespace"], named())
    _, binding = admission.last_editor_policy()
    assert server.delete(binding).ok
    try:
        assert eventually(lambda: EDITED_BY not in _made(server, edited, named)["metadata"].get("annotations", {}))
        assert server.create(old).ok
    finally:
        assert server.create(binding).ok
    assert eventually(lambda: EDITED_BY in _made(server, edited, named)["metadata"].get("annotations", {}))
    assert server.patch(old, {"metadata": {"annotations": {EDITED_BY: "carol"}}}, user="alice").ok
    assert editor_of(server, old) is None
    assert server.patch(old, {"spec": {"minimumScore": 90}}, user="alice").ok
    assert editor_of(server, old) == "alice"


def _made(server: ApiServer, near: Manifest, named: Callable[[], str]) -> Manifest:
    answer = server.create(policy(near["metadata"]["namespace"], named()), dry=True)
    assert answer.ok, answer.message
    return dict(answer.body)


# is it still there?


def live(server: ApiServer) -> tuple[Manifest, Manifest]:
    shipped_policy, shipped_binding = admission.approval_policy()
    return server.get(shipped_policy), server.get(shipped_binding)


def test_what_the_server_returns_is_what_was_shipped(server: ApiServer) -> None:
    assert admission.altered(*live(server)) is None


def test_a_policy_or_binding_that_is_not_there_is_missed(server: ApiServer) -> None:
    stored_policy, stored_binding = live(server)
    said = "The {} passmuster-approvals does not exist"
    assert admission.altered(None, stored_binding) == said.format("ValidatingAdmissionPolicy")
    assert admission.altered(stored_policy, None) == said.format("ValidatingAdmissionPolicyBinding")


def _loosen(spec: Manifest, path: tuple[str | int, ...], value: Any) -> None:
    *parents, last = path
    at: Any = spec
    for parent in parents:
        at = at[parent]
    if isinstance(at, list) and last == "-":
        at.append(value)
    elif value is None:
        del at[last]
    else:
        at[last] = value


SCOPE = {"matchLabels": {"stage": "test"}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("failurePolicy",), "Ignore"),
        (("matchConditions",), [{"name": "some", "expression": "request.userInfo.username != 'mallory'"}]),
        (("paramKind",), {"apiVersion": "v1", "kind": "ConfigMap"}),
        (("matchConstraints", "namespaceSelector"), SCOPE),
        (("matchConstraints", "objectSelector"), SCOPE),
        (("matchConstraints", "matchPolicy"), "Exact"),
        (
            ("matchConstraints", "excludeResourceRules"),
            [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["*"]}],
        ),
        (("matchConstraints", "resourceRules", 0, "operations"), ["CREATE"]),
        (("matchConstraints", "resourceRules", 0, "apiVersions"), ["v1"]),
        (("matchConstraints", "resourceRules", 0, "resourceNames"), ["one"]),
        (("validations", 1, "expression"), "true"),
        (("validations", 3), None),
        (("validations", "-"), {"expression": "true"}),
        (("variables", 0, "expression"), "true"),
    ],
    ids=lambda part: ".".join(str(step) for step in part) if isinstance(part, tuple) else "",
)
def test_a_loosened_policy_is_found_as_the_server_returns_it(
    server: ApiServer, path: tuple[str | int, ...], value: Any
) -> None:
    stored_policy, stored_binding = live(server)
    _loosen(stored_policy["spec"], path, value)
    answer = server.replace(stored_policy, dry=True)
    assert answer.ok, answer.message
    said = admission.altered(answer.body, stored_binding)
    assert said is not None
    assert said.startswith("The ValidatingAdmissionPolicy passmuster-approvals differs from the shipped one in spec.")
    assert str(path[0]) in said


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("validationActions",), ["Audit", "Warn"]),
        (("matchResources",), {"namespaceSelector": SCOPE}),
        (("policyName",), "another"),
    ],
    ids=lambda part: ".".join(str(step) for step in part) if isinstance(part, tuple) else "",
)
def test_a_loosened_binding_is_found_as_the_server_returns_it(
    server: ApiServer, path: tuple[str | int, ...], value: Any
) -> None:
    stored_policy, stored_binding = live(server)
    _loosen(stored_binding["spec"], path, value)
    answer = server.replace(stored_binding, dry=True)
    assert answer.ok, answer.message
    said = admission.altered(stored_policy, answer.body)
    assert said is not None
    assert said.startswith("The ValidatingAdmissionPolicyBinding passmuster-approvals differs")


def test_labels_on_the_policy_are_nobodys_business(server: ApiServer) -> None:
    stored_policy, stored_binding = live(server)
    stored_policy["metadata"]["labels"]["argocd.argoproj.io/instance"] = "passmuster"
    assert admission.altered(stored_policy, stored_binding) is None
