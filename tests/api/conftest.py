"""What the tests of the api layer share: the facts of the catalogues, and an API server that has our kinds."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from apiserver import ApiServer
from passmuster.api.parameters import CheckFacts
from passmuster.cli import offline
from passmuster.model.parameter import Parameter
from passmuster.remediation import catalogue as remediations


@pytest.fixture(scope="session")
def facts() -> tuple[CheckFacts, ...]:
    """What the custom resources know of the checks."""
    return tuple(offline.facts())


@pytest.fixture(scope="session")
def inputs() -> tuple[Parameter, ...]:
    """What the remediations ask for."""
    return remediations.load().inputs()


@pytest.fixture
def namespace(server: ApiServer) -> str:
    """A namespace of the test's own."""
    return server.namespace(f"team-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def named() -> Callable[[], str]:
    """Names that nothing else has."""
    return lambda: f"thing-{uuid.uuid4().hex[:8]}"
