"""A real API server with our kinds, and clients of it as the operator and as an administrator."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from apiserver import ApiServer
from passmuster.kube.connection import connect
from passmuster.sandbox.control_plane import ADMIN, OPERATOR, ControlPlane


@pytest.fixture
def namespace(server: ApiServer) -> str:
    """A namespace of the test's own."""
    return server.namespace(f"kube-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def operator(control_plane: ControlPlane) -> Iterator[Any]:
    """The official client as the operator's service account."""
    api = connect(control_plane.kubeconfig(OPERATOR))
    yield api
    api.close()


@pytest.fixture(scope="module")
def admin(control_plane: ControlPlane) -> Iterator[Any]:
    """The official client as an administrator."""
    api = connect(control_plane.kubeconfig(ADMIN))
    yield api
    api.close()
