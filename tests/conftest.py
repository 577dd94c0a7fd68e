"""What tests of every layer share: the real API server, and the patience of property tests.

pytest loads this for every test. A missing binary is one visible skip on a laptop and a failure where
PASSMUSTER_REQUIRE names `apiserver`, as CI does: there a skip would be silence.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from passmuster.sandbox import binaries
from passmuster.sandbox.control_plane import ControlPlane

settings.register_profile("passmuster", deadline=None)  # a busy machine is no failure
settings.load_profile("passmuster")

PEOPLE = ("alice", "bob", "carol")


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A running control plane with three people who may do nothing yet; one for each worker of pytest-xdist.

    Tests share it: what they create has names of their own, and what they grant is bound to namespaces of their own.
    """
    if binaries.find() is None:
        sentence = "no kube-apiserver and etcd here: `python -m passmuster.sandbox.binaries` gets them once"
        if "apiserver" in os.environ.get("PASSMUSTER_REQUIRE", "").split(","):
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    with ControlPlane(users={person: ["system:authenticated"] for person in PEOPLE}) as plane:
        yield plane
