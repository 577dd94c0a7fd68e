"""Parcels: what was packed away comes back equal, apart from everybody else's, and with the catalogue's own objects."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from passmuster.engine.cache import Cache
from passmuster.engine.parcel import Parcel
from passmuster.engine.ports import POLICIES, REPORTS, Key
from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import Gap, Reading, Snapshot
from passmuster.model.finding import Origin, failed, passed
from passmuster.model.verdict import Reason

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
CLUSTERS = Call("ecs", "ListClusters", items="clusterArns")
SERVICES = Call("ecs", "ListServices", each=CLUSTERS, param="cluster", items="serviceArns")


def snapshot() -> Snapshot:
    taken = Snapshot("123456789012", "aws", ("eu-central-1",), "us-east-1", NOW)
    root = CLUSTERS.root_request("eu-central-1")
    taken.put(CLUSTERS, root, Reading(NOW, ({"arn": "one", "made": NOW, "tags": [{"Key": "a"}]}, "two")))
    for request in SERVICES.requests("one", root, "eu-central-1"):
        gap = Gap(SERVICES, request, Reason.DENIED, "AccessDenied", "no", NOW)
        taken.put(SERVICES, request, Reading(NOW, gap=gap))
    return taken


def test_a_snapshot_comes_back_equal() -> None:
    taken = snapshot()
    assert Parcel(taken).open() == taken


def test_calls_are_the_very_objects_that_checks_declare() -> None:
    opened = Parcel(snapshot()).open()
    assert [call is wanted for call, wanted in zip(opened.readings, (CLUSTERS, SERVICES), strict=True)] == [True, True]
    assert [gap.call is SERVICES for gap in opened.gaps()] == [True]


def test_each_opening_is_a_copy_of_its_own() -> None:
    parcel = Parcel({"rows": [1, 2]})
    parcel.open()["rows"].append(3)
    assert parcel.open() == {"rows": [1, 2]}


def test_facts_that_nobody_may_change_still_cannot_be_changed() -> None:
    origin = Origin("ecs:ListClusters", "eu-central-1", NOW)
    findings = (passed(origin, "one", "is well"), failed(origin, "two", "is not", facts=MappingProxyType({"A": "b"})))
    opened = Parcel(findings).open()
    assert opened == findings
    assert opened[1].facts == {"A": "b"}
    assert isinstance(opened[1].facts, MappingProxyType)


def test_a_parcel_is_much_smaller() -> None:
    rows = tuple({"ResourceARN": f"arn:aws:sqs:eu-central-1:123456789012:queue-{number}"} for number in range(1000))
    assert Parcel(rows).__sizeof__() < 20_000


def test_what_belongs_to_a_policy_is_found_by_it_and_by_no_other() -> None:
    cache = Cache()
    for namespace, policy in (("shop", "shop"), ("shop", "other"), ("bank", "shop")):
        metadata = {"name": f"{policy}-1", "namespace": namespace, "resourceVersion": "7"}
        report = {"metadata": metadata, "spec": {"policyRef": {"name": policy}}}
        cache.put(Key(REPORTS, namespace, f"{policy}-1"), report)
    mine = Key(REPORTS, "shop", "shop-1")
    assert [key for key, _ in cache.owned(REPORTS, Key(POLICIES, "shop", "shop"))] == [mine]
    assert cache.keys(REPORTS, "shop") == [mine, Key(REPORTS, "shop", "other-1")]
    cache.drop(mine)
    assert cache.owned(REPORTS, Key(POLICIES, "shop", "shop")) == []
    assert len(cache.owned(REPORTS, Key(POLICIES, "bank", "shop"))) == 1


def test_what_kubectl_noted_of_what_it_applied_is_not_kept_and_other_annotations_are() -> None:
    cache, key = Cache(), Key(POLICIES, "shop", "shop")
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}" * 1000, "team": "shop"}
    metadata = {"name": "shop", "namespace": "shop", "resourceVersion": "7", "annotations": annotations}
    cache.put(key, {"metadata": metadata, "spec": {}})
    assert (cache.get(key) or {})["metadata"]["annotations"] == {"team": "shop"}
    assert metadata["annotations"] is annotations, "what was handed in is not changed"
    assert len(annotations) == 2


@pytest.mark.parametrize(("version", "level"), [("6", "Stable"), ("7", "Stable"), ("8", "None")])
def test_only_a_newer_version_takes_the_place_of_what_is_known(version: str, level: str) -> None:
    cache, key = Cache(), Key(REPORTS, "shop", "shop")
    for brought, status in (("7", {"level": "Stable"}), (version, {"level": "None"})):
        metadata = {"name": "shop", "namespace": "shop", "resourceVersion": brought}
        cache.put(key, {"metadata": metadata, "spec": {"policyRef": {"name": "shop"}}, "status": status})
    assert (cache.get(key) or {})["status"] == {"level": level}


def test_a_report_in_the_cache_is_what_the_stream_showed_without_its_managers() -> None:
    cache = Cache()
    for plural in (REPORTS, POLICIES):
        key = Key(plural, "shop", "shop")
        metadata = {"name": "shop", "namespace": "shop", "resourceVersion": "7", "managedFields": [{"manager": "x"}]}
        body = {"metadata": metadata, "spec": {"policyRef": {"name": "shop"}}, "status": {"level": "Stable"}}
        cache.put(key, body)
        slim = {name: value for name, value in metadata.items() if name != "managedFields"}
        assert cache.get(key) == {**body, "metadata": slim}
        assert dict(cache.all(plural)) == {key: cache.get(key)}
