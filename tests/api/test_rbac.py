"""The operator may do what it does and nothing else, and no role for people approves but the one that says so."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver import ApiServer
from passmuster.api import rbac
from passmuster.sandbox.control_plane import OPERATOR

GROUP = "passmuster.io"
HOME = "passmuster-system"
OBJECTS = {(made["kind"], made["metadata"]["name"]): made for made in rbac.objects()}
ROLES = [made for made in rbac.objects() if "rules" in made]


def rules(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = OBJECTS["ClusterRole", name]["rules"]
    return found


def labels(name: str) -> set[str]:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    found = OBJECTS["ClusterRole", name]["metadata"]["labels"]
    return {label.removeprefix(prefix) for label in found if label.startswith(prefix)}


def test_no_rule_has_a_wildcard_or_reaches_a_secret() -> None:
    for role in ROLES:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]


def test_only_the_approver_role_has_the_verb_approve_and_it_is_part_of_no_other() -> None:
    with_verb = {role["metadata"]["name"] for role in ROLES for rule in role["rules"] if "approve" in rule["verbs"]}
    assert with_verb == {"passmuster-approver"}
    assert labels("passmuster-approver") == set()


def test_viewers_and_editors_have_their_rights_through_the_roles_of_kubernetes() -> None:
    assert labels("passmuster-viewer") == {"view", "edit", "admin"}
    assert labels("passmuster-editor") == {"edit", "admin"}
    assert labels("passmuster") == set()


def test_an_editor_writes_policies_waivers_and_attestations_and_nothing_of_a_remediation() -> None:
    written = [rule["resources"] for rule in rules("passmuster-editor")]
    assert written == [["readinesspolicies", "readinesswaivers", "readinessattestations"]]


def test_nobody_is_given_a_right_to_write_accounts_or_a_status() -> None:
    for name in ("passmuster-viewer", "passmuster-editor", "passmuster-approver"):
        for rule in rules(name):
            assert not any(resource.endswith("/status") for resource in rule["resources"])
            if "awsaccounts" in rule["resources"]:
                assert set(rule["verbs"]) == {"get", "list", "watch"}


def test_every_object_says_what_it_is_for() -> None:
    for made in rbac.objects():
        assert made["metadata"]["annotations"]["kubernetes.io/description"].endswith(".")


MAY = [
    ("watch", f"{GROUP}/awsaccounts", ""),
    ("patch", f"{GROUP}/awsaccounts/status", ""),
    ("patch", f"{GROUP}/readinesspolicies", "shop"),
    ("patch", f"{GROUP}/readinesspolicies/status", "shop"),
    ("create", f"{GROUP}/readinessreports", "shop"),
    ("patch", f"{GROUP}/readinessreports/status", "shop"),
    ("create", f"{GROUP}/remediations", "shop"),
    ("delete", f"{GROUP}/remediations", "shop"),
    ("patch", f"{GROUP}/remediations/status", "shop"),
    ("watch", f"{GROUP}/readinesswaivers", ""),
    ("watch", f"{GROUP}/readinessattestations", ""),
    ("patch", f"{GROUP}/readinesswaivers/status", "shop"),
    ("patch", f"{GROUP}/readinessattestations/status", "shop"),
    ("watch", "/namespaces", ""),
    ("create", "/events", "shop"),
    ("patch", "/events", "shop"),
    ("update", "coordination.k8s.io/leases", HOME),
]
MAY_NOT = [
    ("create", f"{GROUP}/awsaccounts", ""),
    ("patch", f"{GROUP}/awsaccounts", ""),
    ("create", f"{GROUP}/readinesspolicies", "shop"),
    ("update", f"{GROUP}/readinesspolicies", "shop"),
    ("delete", f"{GROUP}/readinesspolicies", "shop"),
    ("approve", f"{GROUP}/remediations", "shop"),
    ("approve", f"{GROUP}/readinesswaivers", "shop"),
    ("approve", f"{GROUP}/readinessattestations", "shop"),
    ("create", f"{GROUP}/readinesswaivers", "shop"),
    ("patch", f"{GROUP}/readinesswaivers", "shop"),
    ("delete", f"{GROUP}/readinessattestations", "shop"),
    ("deletecollection", f"{GROUP}/remediations", "shop"),
    ("get", "/secrets", "shop"),
    ("get", "/secrets", HOME),
    ("get", "/configmaps", "shop"),
    ("create", "/pods", "shop"),
    ("create", "/serviceaccounts/token", HOME),
    ("patch", "/namespaces", ""),
    ("update", "coordination.k8s.io/leases", "shop"),
    ("list", "apiextensions.k8s.io/customresourcedefinitions", ""),
    ("update", f"{GROUP}/readinesspolicies/finalizers", "shop"),
    ("update", f"{GROUP}/readinesspolicies/status", "shop"),
    ("patch", f"{GROUP}/readinessreports", "shop"),
    ("update", f"{GROUP}/remediations", "shop"),
    ("get", "admissionregistration.k8s.io/validatingadmissionpolicies", ""),
    ("update", "admissionregistration.k8s.io/validatingadmissionpolicies", ""),
    ("create", "rbac.authorization.k8s.io/rolebindings", "shop"),
]


@pytest.mark.apiserver
@pytest.mark.parametrize(("verb", "resource", "namespace"), MAY, ids=[f"{v} {r} {n}" for v, r, n in MAY])
def test_the_operator_may(server: ApiServer, verb: str, resource: str, namespace: str) -> None:
    assert server.may(OPERATOR, verb, resource, namespace)


@pytest.mark.apiserver
@pytest.mark.parametrize(("verb", "resource", "namespace"), MAY_NOT, ids=[f"{v} {r} {n}" for v, r, n in MAY_NOT])
def test_the_operator_may_not(server: ApiServer, verb: str, resource: str, namespace: str) -> None:
    assert not server.may(OPERATOR, verb, resource, namespace)


@pytest.mark.apiserver
def test_the_operator_reads_the_approval_policy_and_no_other(server: ApiServer) -> None:
    for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        resource = f"admissionregistration.k8s.io/{kind}"
        assert server.may(OPERATOR, "get", resource, name="passmuster-approvals")
        assert not server.may(OPERATOR, "get", resource, name="another")
        assert not server.may(OPERATOR, "delete", resource, name="passmuster-approvals")


@pytest.mark.apiserver
def test_an_editor_neither_touches_nor_approves_remediations(server: ApiServer, namespace: str) -> None:
    for role in ("passmuster-viewer", "passmuster-editor"):
        server.bind(namespace, "bob", role=role)
    remediations = f"{GROUP}/remediations"
    assert server.may("bob", "get", remediations, namespace)
    assert server.may("bob", "patch", f"{GROUP}/readinesspolicies", namespace)
    for verb in ("create", "update", "patch", "delete", "approve"):
        assert not server.may("bob", verb, remediations, namespace)
    for kind in ("readinesspolicies", "readinessreports", "remediations"):
        assert not server.may("bob", "patch", f"{GROUP}/{kind}/status", namespace)
