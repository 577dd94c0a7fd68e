"""What is known of an object, when events come late or in another order."""

from __future__ import annotations

from typing import Any

import pytest

from passmuster.engine.cache import Cache
from passmuster.engine.ports import REMEDIATIONS, Key

POLICY = Key("readinesspolicies", "shop", "shop")


def remediation(version: int, uid: str, policy: str = "shop") -> dict[str, Any]:
    """A Remediation of a policy, as a watch shows it."""
    metadata = {"namespace": "shop", "name": "trail", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"policyRef": {"name": policy}}}


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


def test_an_object_made_again_for_another_policy_is_of_that_policy_alone() -> None:
    """A stream that was cut shows the new object and never the end of the old one."""
    cache, pay = Cache(), Key("readinesspolicies", "shop", "pay")
    cache.put(KEY, remediation(4, "first"))
    cache.put(KEY, remediation(9, "second", policy="pay"))
    assert cache.owned(REMEDIATIONS, POLICY) == []
    assert [key for key, _ in cache.owned(REMEDIATIONS, pay)] == [KEY]
    assert cache.drop(KEY)
    assert cache.owned(REMEDIATIONS, POLICY) == cache.owned(REMEDIATIONS, pay) == []
