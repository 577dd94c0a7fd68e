"""What is known of an object, when events come late or in another order."""

from __future__ import annotations

from typing import Any

import pytest

from passmuster.engine.cache import Cache
from passmuster.engine.ports import REMEDIATIONS, Key

POLICY = Key("readinesspolicies", "shop", "shop")


def remediation(version: int, uid: str) -> dict[str, Any]:
    """A Remediation of the policy, as a watch shows it."""
    metadata = {"namespace": "shop", "name": "trail", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"policyRef": {"name": "shop"}}}


KEY = Key.of(REMEDIATIONS, remediation(1, "first"))


def test_an_object_made_since_outlives_the_end_of_its_predecessor() -> None:
    cache = Cache()
    cache.put(KEY, remediation(4, "first"))
    cache.put(KEY, remediation(9, "second"))
    assert not cache.drop(KEY, remediation(6, "first"))
    assert [body["metadata"]["uid"] for _, body in cache.owned(REMEDIATIONS, POLICY)] == ["second"]
    assert cache.drop(KEY, remediation(12, "second"))
    assert cache.owned(REMEDIATIONS, POLICY) == []


@pytest.mark.parametrize("last", [None, remediation(6, "first"), remediation(4, "first")])
def test_an_object_that_is_gone_is_forgotten(last: dict[str, Any] | None) -> None:
    cache = Cache()
    cache.put(KEY, remediation(4, "first"))
    assert cache.drop(KEY, last)
    assert cache.get(KEY) is None
    assert cache.owned(REMEDIATIONS, POLICY) == []
