"""What tests of every layer share: the real API server, Prometheus' programs, and the patience of property tests.

pytest loads this for every test. A missing binary is one visible skip on a laptop and a failure where
PASSMUSTER_REQUIRE names what is missing, as CI does: there a skip would be silence.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from hypothesis import settings

import second_opinions
from apiserver import ApiServer, install
from changing import changes, role_of
from passmuster.aws import models
from passmuster.remediation.access import INSPECTION
from passmuster.sandbox import binaries, helm_binary, prometheus_binaries
from passmuster.sandbox.binaries import Binaries
from passmuster.sandbox.control_plane import ControlPlane
from passmuster.sandbox.emulation.front import Front, Logged
from passmuster.sandbox.prometheus_binaries import PrometheusBinaries
from required import do_without

settings.register_profile("passmuster", deadline=None)  # a busy machine is no failure
settings.load_profile("passmuster")

PEOPLE = ("alice", "bob", "carol")
GET_APISERVER = "python -m passmuster.sandbox.binaries"


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Says a line in the test's output, where `-rP` and the reports of CI show what was measured or counted."""

    def tell(line: str) -> None:
        sys.stdout.write(f"{request.node.name}: {line}\n")

    return tell


@pytest.fixture(scope="session", autouse=True)
def changed_by_inspections() -> Iterator[list[Logged]]:
    """The requests of this run that would change something, made as the role that inspects, to any simulated AWS."""
    changed: list[Logged] = []

    def watch(request: Logged) -> None:
        if changes(request) and role_of(request).endswith(f"role/{INSPECTION}"):
            changed.append(request)

    Front.witnesses.append(watch)
    yield changed
    Front.witnesses.remove(watch)


@pytest.fixture(autouse=True)
def the_role_that_inspects_changes_nothing(changed_by_inspections: list[Logged]) -> Iterator[None]:
    """Whatever a test is about, and whatever was set up for it."""
    yield
    found = [*changed_by_inspections]
    changed_by_inspections.clear()
    assert found == []


@pytest.fixture(scope="session", autouse=True)
def models_read_once() -> Iterator[None]:
    """Every `Clients` of a worker shares what botocore loads, which is most of what making one takes."""
    made: dict[Any, Loader] = {}
    original = models.loader

    def loader(data_path: str | None, operations: models.Operations) -> Loader:
        key = (data_path, frozenset(operations.items()))
        if key not in made:
            made[key] = original(data_path, operations)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "loader", loader)
        yield


@pytest.fixture(scope="session")
def prometheus_programs() -> PrometheusBinaries:
    """Prometheus, Alertmanager and their tools as they are on this machine."""
    found = prometheus_binaries.find()
    if found is None:
        do_without("prometheus", f"no Prometheus and Alertmanager here: `{prometheus_binaries.COMMAND}` gets them once")
    return found


@pytest.fixture(scope="session")
def helm_program() -> Path:
    """helm as it is on this machine."""
    found = helm_binary.find()
    if found is None:
        do_without("helm", f"no helm here: `{helm_binary.COMMAND}` builds it once")
    return found


def _second_opinion(name: str) -> list[str]:
    found = second_opinions.find(name)
    if found is None:
        do_without(second_opinions.TOOLS[name].needed_for, f"no {name} here: `{second_opinions.COMMAND}` gets it once")
    return found


@pytest.fixture(scope="session")
def checkov_command() -> list[str]:
    """How checkov is run."""
    return _second_opinion("checkov")


@pytest.fixture(scope="session")
def kubeconform_command() -> list[str]:
    """How kubeconform is run."""
    return _second_opinion("kubeconform")


@pytest.fixture(scope="session")
def foreign_definitions() -> list[Path]:
    """Custom resource definitions of other projects, by which kubeconform judges objects of theirs."""
    found = [name for name, tool in second_opinions.TOOLS.items() if isinstance(tool, second_opinions.Definitions)]
    return [Path(path) for name in found for path in _second_opinion(name)]


@pytest.fixture(scope="session")
def kstatus_command() -> list[str]:
    """How kstatus is run: objects on standard input, what it makes of them on standard output."""
    return _second_opinion("kstatus")


@pytest.fixture(scope="session")
def ministack_command() -> list[str]:
    """How ministack is run."""
    return _second_opinion("ministack")


@pytest.fixture(scope="session")
def awscli_command() -> list[str]:
    """How the AWS command line is run."""
    return _second_opinion("awscli")


@pytest.fixture(scope="session")
def apiserver_programs() -> Binaries:
    """kube-apiserver, etcd and perhaps kubectl as they are on this machine."""
    found = binaries.find()
    if found is None:
        do_without("apiserver", f"no kube-apiserver and etcd here: `{GET_APISERVER}` gets them once")
    return found


@pytest.fixture(scope="session")
def kubectl_program(apiserver_programs: Binaries) -> Path:
    """kubectl as it is on this machine."""
    if apiserver_programs.kubectl is None:
        do_without("apiserver", f"no kubectl here: `{GET_APISERVER}` gets it")
    return apiserver_programs.kubectl


@pytest.fixture(scope="session")
def control_plane(apiserver_programs: Binaries) -> Iterator[ControlPlane]:
    """A running control plane with three people who may do nothing yet; one for each worker of pytest-xdist.

    Tests share it: what they create has names of their own, and what they grant is bound to namespaces of their own.
    """
    with ControlPlane(users={person: ["system:authenticated"] for person in PEOPLE}) as plane:
        yield plane


@pytest.fixture(scope="session")
def server(control_plane: ControlPlane) -> ApiServer:
    """The API server with everything in `crds/`."""
    made = ApiServer(control_plane)
    install(made)
    return made
