"""The control plane is a real API server that leaves nothing behind, however its parent ends."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from passmuster.sandbox import binaries
from passmuster.sandbox.control_plane import ADMIN, OPERATOR, ControlPlane, ControlPlaneFailed

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

POLICIES = "/apis/admissionregistration.k8s.io/v1"
PARENT = """
import sys, time
from passmuster.sandbox.control_plane import ControlPlane
plane = ControlPlane()
plane.start()
print(*plane.pids.values(), plane.ca_file.parent, flush=True)
sys.stdin.readline()
"""


def call(
    plane: ControlPlane, path: str, *, user: str = ADMIN, body: object = None, token: str | None = None
) -> tuple[int, Any]:
    """GET, or POST with a body; the status and the decoded answer."""
    request = urllib.request.Request(
        plane.url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token or plane.token(user)}", "Content-Type": "application/json"},
    )
    tls = ssl.create_default_context(cafile=plane.ca_file)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
    try:
        with opener.open(request, timeout=30) as response:
            status, content = response.status, response.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            status, content = refusal.code, refusal.read()
    return status, json.loads(content) if content.startswith(b"{") else content.decode()


def namespace(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def alive(pid: int) -> bool:
    """Running, which a zombie that nobody has waited for is not."""
    answer = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and not answer.stdout.strip().startswith("Z")


def eventually(true: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


@pytest.fixture
def own_plane(apiserver_programs: binaries.Binaries) -> Iterator[ControlPlane]:
    """One that a test may restart and stop."""
    with ControlPlane(users={"alice": []}, programs=apiserver_programs) as plane:
        yield plane


@pytest.fixture
def parent(apiserver_programs: binaries.Binaries) -> Iterator[subprocess.Popen[str]]:
    """Another Python process that runs a control plane and waits for a line."""
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        process.kill()


def test_the_api_server_says_that_it_is_ready(control_plane: ControlPlane) -> None:
    assert call(control_plane, "/readyz") == (200, "ok")


def test_the_certificate_verifies_under_the_strict_rules_of_newer_pythons(control_plane: ControlPlane) -> None:
    tls = ssl.create_default_context(cafile=control_plane.ca_file)
    tls.verify_flags |= ssl.VERIFY_X509_STRICT
    port = int(control_plane.url.rpartition(":")[2])
    for name in ("127.0.0.1", "localhost"):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            tls.wrap_socket(plain, server_hostname=name) as secured,
        ):
            assert secured.version() == "TLSv1.3"


def test_only_the_admin_creates_a_namespace(control_plane: ControlPlane) -> None:
    name = f"team-{uuid.uuid4().hex[:8]}"
    status, refusal = call(control_plane, "/api/v1/namespaces", user="alice", body=namespace(name))
    assert (status, refusal["reason"]) == (403, "Forbidden")
    assert 'User "alice" cannot create resource "namespaces"' in refusal["message"]
    assert call(control_plane, "/api/v1/namespaces", body=namespace(name))[0] == 201
    assert call(control_plane, f"/api/v1/namespaces/{name}")[0] == 200


def test_the_default_namespace_exists_when_start_returns(own_plane: ControlPlane) -> None:
    assert call(own_plane, "/api/v1/namespaces/default")[0] == 200


def test_a_wrong_token_is_nobody(control_plane: ControlPlane) -> None:
    assert call(control_plane, "/api/v1/namespaces", token="wrong")[0] == 401


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        (ADMIN, {"system:masters", "system:authenticated"}),
        (OPERATOR, {"system:serviceaccounts", "system:serviceaccounts:passmuster-system", "system:authenticated"}),
        ("bob", {"system:authenticated"}),
    ],
)
def test_every_token_is_the_user_it_says(control_plane: ControlPlane, user: str, groups: set[str]) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    status, answer = call(control_plane, "/apis/authentication.k8s.io/v1/selfsubjectreviews", user=user, body=review)
    assert status == 201
    assert answer["status"]["userInfo"]["username"] == user
    assert set(answer["status"]["userInfo"]["groups"]) == groups


def test_a_token_that_the_api_server_issues_is_accepted_by_it(control_plane: ControlPlane) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    name = f"robot-{uuid.uuid4().hex[:8]}"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    assert call(control_plane, accounts, body=account)[0] == 201
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    status, issued = call(control_plane, f"{accounts}/{name}/token", body=asked)
    assert status == 201
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    status, answer = call(
        control_plane,
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        token=issued["status"]["token"],
        body=review,
    )
    assert answer["status"]["userInfo"]["username"] == f"system:serviceaccount:default:{name}"


@pytest.mark.parametrize("kind", ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"])
def test_admission_policies_are_served_in_version_1(control_plane: ControlPlane, kind: str) -> None:
    status, served = call(control_plane, POLICIES)
    assert status == 200
    assert {kind, f"{kind}Binding"} <= {resource["kind"] for resource in served["resources"]}


def test_a_mutating_admission_policy_mutates(control_plane: ControlPlane) -> None:
    name = f"stamp-{uuid.uuid4().hex[:8]}"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
                ]
            },
            "matchConditions": [{"name": "ours", "expression": f"object.metadata.name.startsWith('{name}')"}],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [
                {
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": {"expression": "Object{data: {'by': request.userInfo.username}}"},
                }
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    assert call(control_plane, f"{POLICIES}/mutatingadmissionpolicies", body=policy)[0] == 201
    assert call(control_plane, f"{POLICIES}/mutatingadmissionpolicybindings", body=binding)[0] == 201

    def mutated() -> bool:  # policies take effect within moments, not at once
        made = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{name}-{uuid.uuid4().hex[:6]}"},
        }
        status, answer = call(control_plane, "/api/v1/namespaces/default/configmaps", body=made)
        return status == 201 and answer.get("data") == {"by": ADMIN}

    assert eventually(mutated)


def test_a_kubeconfig_is_private_complete_and_verifies_the_server(
    control_plane: ControlPlane, kubectl_program: Path
) -> None:
    path = control_plane.kubeconfig(OPERATOR)
    assert path.stat().st_mode & 0o777 == 0o600
    config = yaml.safe_load(path.read_text())
    assert config["clusters"][0]["cluster"].keys() == {"server", "certificate-authority-data"}
    assert config["users"] == [{"name": OPERATOR, "user": {"token": control_plane.token(OPERATOR)}}]
    assert control_plane.kubeconfig("alice") != path
    command = [
        str(kubectl_program),
        f"--kubeconfig={path}",
        "auth",
        "whoami",
        "-o",
        "jsonpath={.status.userInfo.username}",
    ]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == OPERATOR


def test_an_unknown_user_has_no_token(control_plane: ControlPlane) -> None:
    with pytest.raises(KeyError, match="mallory"):
        control_plane.kubeconfig("mallory")


def test_a_built_in_user_cannot_be_given_other_groups() -> None:
    with pytest.raises(ValueError, match="these users exist already, with their own groups: admin"):
        ControlPlane(users={ADMIN: []})


def test_secrets_lie_in_a_folder_that_only_we_can_enter(control_plane: ControlPlane) -> None:
    folder = control_plane.ca_file.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir() if path.is_socket()} == {"etcd.sock"}
    for path in (folder / "tokens.csv", folder / "server.key", folder / "service-accounts.key"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_stop_leaves_no_process_and_no_folder_and_may_be_repeated(own_plane: ControlPlane) -> None:
    pids, folder = tuple(own_plane.pids.values()), own_plane.ca_file.parent
    assert all(map(alive, pids))
    assert folder.is_dir()
    own_plane.stop()
    assert not any(map(alive, pids))
    assert not folder.exists()
    own_plane.stop()
    with pytest.raises(ControlPlaneFailed, match="does not run"):
        _ = own_plane.url


@pytest.mark.parametrize("abruptly", [False, True])
def test_a_restart_keeps_objects_address_and_credentials(own_plane: ControlPlane, abruptly: bool) -> None:
    before, url, kubeconfig = dict(own_plane.pids), own_plane.url, own_plane.kubeconfig().read_text()
    assert call(own_plane, "/api/v1/namespaces", body=namespace("kept"))[0] == 201
    own_plane.restart_apiserver(abruptly=abruptly)
    assert call(own_plane, "/api/v1/namespaces/kept")[0] == 200
    assert (own_plane.url, own_plane.kubeconfig().read_text()) == (url, kubeconfig)
    assert own_plane.pids["etcd"] == before["etcd"]
    assert own_plane.pids["kube-apiserver"] != before["kube-apiserver"]
    assert not alive(before["kube-apiserver"])


def test_an_open_watch_does_not_delay_the_end(own_plane: ControlPlane) -> None:
    request = urllib.request.Request(
        f"{own_plane.url}/api/v1/namespaces?watch=true", headers={"Authorization": f"Bearer {own_plane.token()}"}
    )
    tls = ssl.create_default_context(cafile=own_plane.ca_file)
    with urllib.request.urlopen(request, timeout=30, context=tls) as watch:
        assert json.loads(watch.readline())["type"] == "ADDED"
        started = time.monotonic()
        own_plane.stop()
        assert time.monotonic() - started < 6


def test_it_outlives_the_thread_that_started_it(apiserver_programs: binaries.Binaries) -> None:
    plane = ControlPlane(programs=apiserver_programs)
    thread = threading.Thread(target=plane.start)
    thread.start()
    thread.join()
    try:
        time.sleep(0.5)  # the kernel would have killed them by now
        assert call(plane, "/readyz") == (200, "ok")
    finally:
        plane.stop()


def test_it_can_start_again_and_is_empty_then(own_plane: ControlPlane) -> None:
    assert call(own_plane, "/api/v1/namespaces", body=namespace("gone"))[0] == 201
    with pytest.raises(ControlPlaneFailed, match="runs already"):
        own_plane.start()
    own_plane.stop()
    own_plane.start()
    assert call(own_plane, "/api/v1/namespaces/gone")[0] == 404


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_the_processes_die_when_the_parent_is_killed_and_the_next_start_removes_the_folder(
    parent: subprocess.Popen[str], apiserver_programs: binaries.Binaries
) -> None:
    assert parent.stdout is not None
    *pids, folder = parent.stdout.readline().split()
    assert all(alive(int(pid)) for pid in pids)
    parent.kill()
    parent.wait()
    assert eventually(lambda: not any(alive(int(pid)) for pid in pids))
    with ControlPlane(programs=apiserver_programs) as plane:
        assert not Path(folder).exists()
        assert plane.ca_file.exists()


@pytest.mark.parametrize("ending", ["the end of the program", "Ctrl-C"])
def test_nothing_is_left_behind_without_a_call_of_stop(parent: subprocess.Popen[str], ending: str) -> None:
    assert parent.stdout is not None
    *pids, folder = parent.stdout.readline().split()
    if ending == "Ctrl-C":
        os.killpg(parent.pid, signal.SIGINT)
    parent.communicate("\n", timeout=60)
    assert not any(alive(int(pid)) for pid in pids)
    assert not Path(folder).exists()


def test_a_process_that_does_not_start_is_explained_by_the_end_of_its_log(
    apiserver_programs: binaries.Binaries, tmp_path: Path
) -> None:
    broken = script(tmp_path / "kube-apiserver", "echo unknown flag: --nonsense", "exit 3")
    plane = ControlPlane(programs=binaries.Binaries(broken, apiserver_programs.etcd, None))
    with pytest.raises(ControlPlaneFailed) as failure:
        plane.start()
    assert "kube-apiserver ended with status 3 instead of starting; the last lines of its log:" in str(failure.value)
    assert "  unknown flag: --nonsense" in str(failure.value)
    with pytest.raises(ControlPlaneFailed, match="does not run"):
        _ = plane.pids


def test_a_failed_start_ends_etcd_and_removes_the_folder(apiserver_programs: binaries.Binaries, tmp_path: Path) -> None:
    told = tmp_path / "told"
    etcd = script(tmp_path / "etcd", f'echo $$ "$PWD" > {told}', f'exec {apiserver_programs.etcd} "$@"')
    broken = script(tmp_path / "kube-apiserver", "exit 3")
    with pytest.raises(ControlPlaneFailed):
        ControlPlane(programs=binaries.Binaries(broken, etcd, None)).start()
    pid, folder = told.read_text().split()
    assert not alive(int(pid))
    assert not Path(folder).exists()


def test_a_port_that_somebody_took_meanwhile_is_replaced_by_another(
    apiserver_programs: binaries.Binaries, tmp_path: Path
) -> None:
    first = script(
        tmp_path / "kube-apiserver",
        f'if [ -e {tmp_path}/tried ]; then exec {apiserver_programs.kube_apiserver} "$@"; fi',
        f"touch {tmp_path}/tried",
        "echo 'failed to create listener: listen tcp 127.0.0.1:1: bind: address already in use'",
        "exit 1",
    )
    with ControlPlane(programs=binaries.Binaries(first, apiserver_programs.etcd, None)) as plane:
        assert call(plane, "/readyz") == (200, "ok")


def test_the_environment_of_the_user_does_not_reconfigure_it(
    apiserver_programs: binaries.Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_NAME", "another")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with ControlPlane(programs=apiserver_programs) as plane:
        assert call(plane, "/readyz") == (200, "ok")


@pytest.mark.parametrize(
    ("required", "outcome"), [("", "1 skipped"), ("apiserver,prometheus", "1 error"), ("prometheus", "1 skipped")]
)
def test_without_binaries_tests_skip_with_a_sentence_unless_they_are_required(
    tmp_path: Path, required: str, outcome: str
) -> None:
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PATH": "", "PASSMUSTER_REQUIRE": required}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"{__file__}::{READY.__name__}"]
    said = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    ).stdout
    assert outcome in said
    assert "no kube-apiserver and etcd here: `python -m passmuster.sandbox.binaries` gets them once" in said


READY = test_the_api_server_says_that_it_is_ready
