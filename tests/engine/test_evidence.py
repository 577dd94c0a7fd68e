"""Evidence in both directions: full reports kept in S3 with the least role, and the facts that checks are given."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from passmuster.api.account import AWSAccount
from passmuster.api.policy import ReadinessPolicy
from passmuster.cli import offline
from passmuster.engine.evidence import change_approved_at, gathered, stored_at
from passmuster.model.evidence import Evidence
from passmuster.report import html, stored
from passmuster.sandbox.accounts import review
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS
from turns import ACCOUNT, POLICY, REPORT, ROOT, Clock, World, build, condition, empty_account, objects

pytestmark = pytest.mark.slow

ARCHIVE = "333333333333"
BUCKET, PREFIX = "evidence-of-all", "readiness/shop"
PUT_ONLY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/{PREFIX}/*"}],
}
NOTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    """An empty account, and an archive account with a bucket and two roles: one that may put, one that may not."""
    with empty_account() as running:
        running.role_with_policy(
            ARCHIVE, PUT_ONLY, name="passmuster-evidence", trusted=ROOT, external_id=review.EXTERNAL_ID
        )
        running.role_with_policy(ARCHIVE, NOTHING, name="powerless", trusted=ROOT, external_id=review.EXTERNAL_ID)
        yield running


@pytest.fixture
def world(aws: SimulatedAWS, engine: tuple[offline.Engine, Clock]) -> Iterator[World]:
    """A policy on an account whose reports are kept in the archive, with policies in force."""
    bucket = aws.client("s3", account_id=ARCHIVE)
    bucket.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": DEFAULT_REGION})
    made = build(aws, engine, objects())
    made.reconciler.services.page = lambda report, plan, changes, title: html.render(
        report, plan, title=title, changes=changes
    )
    made.account_spec(evidence={"s3": _store()})
    aws.requests.clear()
    with aws.enforce_iam():
        yield made
    aws.faults.clear()
    for key in _keys(aws):
        bucket.delete_object(Bucket=BUCKET, Key=key)
    bucket.delete_bucket(Bucket=BUCKET)
    made.clean()
    assert made.cluster.faults == []


def _store(role: str = "passmuster-evidence", **changes: str) -> dict[str, str]:
    arn = f"arn:aws:iam::{ARCHIVE}:role/{role}"
    return {"bucket": BUCKET, "prefix": PREFIX, "region": DEFAULT_REGION, "roleArn": arn, **changes}


def _keys(aws: SimulatedAWS) -> list[str]:
    listed = aws.client("s3", account_id=ARCHIVE).list_objects_v2(Bucket=BUCKET)
    return [one["Key"] for one in listed.get("Contents", ())]


def _object(aws: SimulatedAWS, key: str) -> tuple[bytes, dict[str, Any]]:
    answer = aws.client("s3", account_id=ARCHIVE).get_object(Bucket=BUCKET, Key=key)
    return answer["Body"].read(), answer


def _kept(world: World) -> dict[str, Any]:
    return dict(((world.cluster.get(REPORT) or {})["status"]).get("evidence") or {})


def _is_kept(world: World) -> dict[str, Any]:
    return condition(world.cluster.get(REPORT) or {}, "EvidenceStored")


def _events(world: World) -> list[tuple[str, str]]:
    return [(reason, said) for _, reason, said in world.cluster.events if "Evidence" in reason]


# the store


def test_the_full_report_is_kept_with_its_digest_by_a_role_that_may_do_nothing_else(
    world: World, aws: SimulatedAWS
) -> None:
    world.turn()
    archived = [request.operation for request in aws.requests if request.account == ARCHIVE]
    assert sorted(set(archived) - {"AssumeRole"}) == ["GetCallerIdentity", "PutObject"]
    assert archived.count("PutObject") == 2
    kept = _kept(world)
    names = _keys(aws)
    assert [name.rpartition(".")[2] for name in names] == ["html", "json"]
    day = kept["storedAt"][:10]
    assert names[1] == f"{PREFIX}/{DEFAULT_ACCOUNT}/shop/shop/{day}/{kept['inspection']}.json"
    assert kept["uri"] == f"s3://{BUCKET}/{names[1]}"
    body, answer = _object(aws, names[1])
    assert kept["sha256"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
    attributes = aws.client("s3", account_id=ARCHIVE).get_object_attributes(
        Bucket=BUCKET, Key=names[1], ObjectAttributes=["Checksum"]
    )
    assert attributes["Checksum"]["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert answer["ServerSideEncryption"] == "AES256"
    assert answer["ContentType"] == "application/json"
    assert _object(aws, names[0])[0].startswith(b"<!doctype html>")
    assert _is_kept(world)["status"] == "True"
    assert _is_kept(world)["reason"] == "EvidenceKept"


def test_a_store_that_was_moved_has_the_report_at_once(world: World, aws: SimulatedAWS) -> None:
    world.turn()
    world.account_spec(evidence={"s3": _store(prefix=f"{PREFIX}/moved")})
    aws.faults.add("denied", service="s3", operation="PutObject")
    world.turn()
    assert _is_kept(world)["reason"] == "EvidenceStoreDenied"
    assert _kept(world) == {}
    aws.faults.clear()
    world.look()
    assert _kept(world)["uri"].startswith(f"s3://{BUCKET}/{PREFIX}/moved/")
    assert len(_keys(aws)) == 4


def test_what_is_kept_is_the_whole_report_and_reads_back(world: World, aws: SimulatedAWS) -> None:
    world.turn()
    body, _ = _object(aws, _keys(aws)[1])
    document = json.loads(body)
    again = stored.read(document, "evidence").report
    mine = world.reconciler.last(POLICY, DEFAULT_ACCOUNT)
    assert mine is not None
    assert [(c.id, c.status, c.title) for c in again.checks] == [(c.id, c.status, c.title) for c in mine[0].checks]
    assert (again.level, again.score, again.compliant) == (mine[0].level, mine[0].score, mine[0].compliant)
    assert document["status"]["plan"][0]["title"]


def test_a_report_that_says_nothing_new_is_not_kept_again_until_it_is_a_week_old(
    world: World, aws: SimulatedAWS
) -> None:
    world.turn()
    first = _kept(world)
    world.look()
    world.look()
    assert _kept(world) == first
    assert len(_keys(aws)) == 2
    world.clock.ahead += timedelta(days=7, minutes=1)
    world.look()
    assert len(_keys(aws)) == 4
    assert _kept(world)["content"] == first["content"]
    assert _kept(world)["sha256"] != first["sha256"]


def test_a_change_in_the_account_is_kept_and_told(world: World, aws: SimulatedAWS) -> None:
    world.turn()
    client = aws.client("ec2", DEFAULT_REGION)
    group = client.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]
    client.revoke_security_group_egress(GroupId=group["GroupId"], IpPermissions=group["IpPermissionsEgress"])
    try:
        before = world.check("security-groups-restricted")
        world.look()
        assert (before, world.check("security-groups-restricted")) == ("Fail", "Pass")
        status = (world.cluster.get(REPORT) or {})["status"]
        changes = status["changes"]
        assert changes["checks"] == [{"id": "security-groups-restricted", "before": "Fail", "after": "Pass"}]
        assert status["previous"]["checks"]["security-groups-restricted"] == "Fail"
        assert status["previous"]["score"] < status["score"] == changes["scoreAfter"]
        assert len(_keys(aws)) == 4
        world.look()
        assert (world.cluster.get(REPORT) or {})["status"]["changes"] == changes, "the last change stays told"
        newest = json.loads(_object(aws, sorted(k for k in _keys(aws) if k.endswith(".json"))[-1])[0])
        assert newest["status"]["changes"]["checks"] == changes["checks"]
    finally:
        client.authorize_security_group_egress(GroupId=group["GroupId"], IpPermissions=group["IpPermissionsEgress"])


def test_the_last_change_survives_a_restart(world: World) -> None:
    world.turn()
    world.policy_spec(checks={"disabled": [*world.policy["spec"]["checks"]["disabled"], "custom-domain"]})
    world.turn()
    told = (world.cluster.get(REPORT) or {})["status"]["changes"]
    assert [c["after"] for c in told["checks"] if c["id"] == "custom-domain"] == ["Disabled"]
    world.restart()
    world.look()
    assert (world.cluster.get(REPORT) or {})["status"]["changes"] == told


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"role": "powerless"}, "EvidenceStoreDenied", "s3:PutObject"),
        ({"role": "nobody"}, "EvidenceStoreDenied", "could not be assumed"),
        ({"prefix": "elsewhere"}, "EvidenceStoreDenied", f"arn:aws:s3:::{BUCKET}/elsewhere/*"),
        ({"bucket": "no-such-bucket-here"}, "EvidenceStoreDenied", "no-such-bucket-here"),
    ],
)
def test_a_store_that_refuses_is_a_condition_and_one_event_and_fails_nothing(
    world: World, aws: SimulatedAWS, changes: dict[str, str], reason: str, said: str
) -> None:
    world.account_spec(evidence={"s3": _store(**changes)})
    world.turn()
    world.look()
    refused = _is_kept(world)
    assert (refused["status"], refused["reason"]) == ("False", reason)
    assert said in refused["message"]
    assert [told for told, _ in _events(world)] == [f"Warning {reason}"]
    assert _keys(aws) == []
    assert condition(world.policy, "Ready")["status"] == "True"
    assert world.check("cloudtrail-multi-region") == "Fail"
    world.account_spec(evidence={"s3": _store()})
    world.turn()
    assert _is_kept(world)["status"] == "True"
    assert [told for told, _ in _events(world)][-1] == "EvidenceKept"
    assert len(_keys(aws)) == 2


def test_a_bucket_that_does_not_answer_is_tried_again_at_the_next_inspection(world: World, aws: SimulatedAWS) -> None:
    fault = aws.faults.add("server_error", service="s3", operation="PutObject")
    world.turn()
    assert _is_kept(world)["reason"] == "EvidenceStoreUnreachable"
    aws.faults.remove(fault)
    world.look()
    assert _is_kept(world)["status"] == "True"


def test_without_a_store_there_is_no_condition_and_nothing_is_put(world: World, aws: SimulatedAWS) -> None:
    world.account_spec(evidence=None)
    world.turn()
    assert _is_kept(world) == {}
    assert "PutObject" not in {request.operation for request in aws.requests}


def test_a_folder_is_served_only_below_the_operators_own(world: World, tmp_path: Path) -> None:
    world.account_spec(evidence={"s3": None, "folder": "shop/evidence"})
    world.turn()
    assert _is_kept(world)["reason"] == "EvidenceFolderMissing"
    assert "--evidence-dir" in _is_kept(world)["message"]
    world.reconciler.services.evidence_dir = tmp_path
    world.look()
    kept = _kept(world)
    assert _is_kept(world)["status"] == "True"
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [path.suffix for path in files] == [".html", ".json"]
    assert str(files[1]) == kept["uri"]
    assert files[1].is_relative_to(tmp_path / "shop" / "evidence" / DEFAULT_ACCOUNT)


def test_a_process_that_lost_the_lease_puts_nothing(world: World, aws: SimulatedAWS) -> None:
    world.cluster.leads = False
    world.turn()
    assert _keys(aws) == []


# what checks are given


def test_checks_are_told_when_the_report_was_kept_also_after_a_restart(world: World) -> None:
    world.turn()
    account, policy = _declared(world)
    report = world.cluster.get(REPORT)
    moment = stored_at(account, report)
    assert moment == datetime.fromisoformat(_kept(world)["storedAt"])
    world.restart()
    evidence = gathered(
        world.reconciler.services, policy, account, world.cache.get(REPORT), Evidence(now=world.clock())
    )
    assert evidence.report_stored_at == moment
    world.account_spec(evidence=None)
    account, _ = _declared(world)
    assert stored_at(account, report) is None, "what was kept in a store that is no more is no evidence"


def test_a_report_that_is_kept_makes_the_check_pass_that_asks_for_one_and_settles(
    world: World, aws: SimulatedAWS
) -> None:
    disabled = world.policy["spec"]["checks"]["disabled"]
    world.policy_spec(checks={"disabled": [check for check in disabled if check != "compliance-reported"]})
    world.turn()
    before = world.check("compliance-reported")
    world.look()
    assert (before, world.check("compliance-reported")) == ("Fail", "Pass")
    kept = _keys(aws)
    world.look()
    world.restart()
    world.look()
    assert world.check("compliance-reported") == "Pass"
    assert _keys(aws) == kept, "that the report was kept is no reason to keep it again"


def _declared(world: World) -> tuple[AWSAccount, ReadinessPolicy]:
    return AWSAccount.read(world.cluster.get(ACCOUNT) or {}), ReadinessPolicy.read(world.policy)


def test_signs_of_life_come_from_the_policys_status_and_survive_a_turn(world: World) -> None:
    world.turn()
    seen = {"pagers": "2026-11-22T01:00:00Z"}
    world.cluster.patch_status(POLICY, {"heartbeats": seen, "probes": {"blackbox": "2026-11-22T01:01:00Z"}})
    world.look()
    account, policy = _declared(world)
    assert world.policy["status"]["heartbeats"] == seen
    evidence = gathered(world.reconciler.services, policy, account, None, Evidence(now=world.clock()))
    assert evidence.heartbeats == {"pagers": datetime(2026, 11, 22, 1, tzinfo=UTC)}
    assert evidence.probes == {"blackbox": datetime(2026, 11, 22, 1, 1, tzinfo=UTC)}


def _remediation(world: World, *history: tuple[str, str, list[str]], account_id: str = DEFAULT_ACCOUNT) -> Any:
    entries = [{"state": state, "at": at, **({"by": by} if by else {})} for state, at, by in history]
    return {**world.remediation(), "status": {"history": entries}} | {
        "spec": {**world.remediation()["spec"], "accountId": account_id}
    }


def test_an_applied_change_counts_as_approved_only_with_a_persons_approval(world: World) -> None:
    world.remediation_rules(mode="Propose")
    world.turn()
    applied = ("Applied", "2026-11-20T10:00:00Z", [])
    moment = datetime(2026, 11, 20, 10, tzinfo=UTC)
    by_ann = _remediation(world, ("Scheduled", "2026-11-20T09:00:00Z", ["ann"]), applied)
    assert change_approved_at([by_ann], DEFAULT_ACCOUNT) == moment
    unattended = _remediation(world, ("Scheduled", "2026-11-20T09:00:00Z", []), applied)
    machine = _remediation(world, ("Scheduled", "2026-11-20T09:00:00Z", ["system:serviceaccount:ci:bot"]), applied)
    waiting = _remediation(world, ("Scheduled", "2026-11-20T09:00:00Z", ["ann"]))
    elsewhere = _remediation(world, ("Scheduled", "2026-11-20T09:00:00Z", ["ann"]), applied, account_id="222222222222")
    for one in (unattended, machine, waiting, elsewhere):
        assert change_approved_at([one], DEFAULT_ACCOUNT) is None
