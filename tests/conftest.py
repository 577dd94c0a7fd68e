"""What tests of every layer share: the real API server, Prometheus' programs, and the patience of property tests.

pytest loads this for every test. A missing binary is one visible skip on a laptop and a failure where
PASSMUSTER_REQUIRE names `apiserver` or `prometheus`, as CI does: there a skip would be silence.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

from passmuster.sandbox import binaries, helm_binary, prometheus_binaries
from passmuster.sandbox.control_plane import ControlPlane
from passmuster.sandbox.prometheus_binaries import PrometheusBinaries

settings.register_profile("passmuster", deadline=None)  # a busy machine is no failure
settings.load_profile("passmuster")

PEOPLE = ("alice", "bob", "carol")


def _do_without(what: str, sentence: str) -> NoReturn:
    if what in os.environ.get("PASSMUSTER_REQUIRE", "").split(","):
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Says a line in the test's output, where `-rP` and the reports of CI show what was measured or counted."""

    def tell(line: str) -> None:
        sys.stdout.write(f"{request.node.name}: {line}\n")

    return tell


@pytest.fixture(scope="session")
def prometheus_programs() -> PrometheusBinaries:
    """Prometheus, Alertmanager and their tools as they are on this machine."""
    found = prometheus_binaries.find()
    if found is None:
        _do_without(
            "prometheus", f"no Prometheus and Alertmanager here: `{prometheus_binaries.COMMAND}` gets them once"
        )
    return found


@pytest.fixture(scope="session")
def helm_program() -> Path:
    """helm as it is on this machine."""
    found = helm_binary.find()
    if found is None:
        _do_without("helm", f"no helm here: `{helm_binary.COMMAND}` builds it once")
    return found


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A running control plane with three people who may do nothing yet; one for each worker of pytest-xdist.

    Tests share it: what they create has names of their own, and what they grant is bound to namespaces of their own.
    """
    if binaries.find() is None:
        _do_without(
            "apiserver", "no kube-apiserver and etcd here: `python -m passmuster.sandbox.binaries` gets them once"
        )
    with ControlPlane(users={person: ["system:authenticated"] for person in PEOPLE}) as plane:
        yield plane
