"""The command line, run as a person runs it, on a simulated account: what it prints, and with which code it exits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apiserver import attestation, waiver
from command_line import Ran, Run
from passmuster.checks import catalogue
from passmuster.sandbox.accounts import review
from passmuster.sandbox.simulated_aws import SimulatedAWS
from passmuster.sandbox.story import base_environment, example

pytestmark = pytest.mark.slow

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    with SimulatedAWS() as running:
        review.seed(running)
        yield running


def _manifests(**policy: Any) -> str:
    level = policy.pop("level", "Production")
    account = policy.pop("account", ACCOUNT)
    role = policy.pop("role", f"arn:aws:iam::{account}:role/passmuster-inspection")
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {
                    "apiVersion": "passmuster.io/v1alpha1",
                    "kind": "AWSAccount",
                    "metadata": {"name": "shop"},
                    "spec": {
                        "accountId": account,
                        "roleArn": role,
                        "externalId": review.EXTERNAL_ID,
                        "regions": ["eu-central-1"],
                        **policy.pop("rules", {}),
                    },
                },
                {
                    "apiVersion": "passmuster.io/v1alpha1",
                    "kind": "ReadinessPolicy",
                    "metadata": {"name": "shop", "namespace": "shop"},
                    "spec": {"accountRef": {"name": "shop"}, "level": level, **policy},
                },
            ],
        }
    )


def test_an_account_below_its_level_exits_with_one_and_the_json_is_a_readiness_report(
    aws: SimulatedAWS, run: Run
) -> None:
    ran = run("inspect", "-f", str(example("shop.yaml")), "--endpoint-url", aws.url, "--output", "json")
    assert ran.code == 1
    report = ran.json
    assert report["kind"] == "ReadinessReport"
    status = report["status"]
    assert (status["level"], status["declared"]) == ("Foundation", "Production")
    assert 0 < status["score"] < 100
    assert status["coverage"] >= 95
    assert {check["id"] for check in status["checks"]} == {check.id for check in catalogue.load()}
    redirect = next(check for check in status["checks"] if check["id"] == "https-redirect")
    assert (redirect["status"], redirect["category"], redirect["phase"], redirect["severity"]) == (
        "Fail",
        "Security",
        "Production",
        "Critical",
    )
    finding = redirect["findings"][0]
    assert finding["observed"] == "default action: forward"
    assert set(finding) >= {"status", "region", "resource", "message", "observed", "expected", "reason"}


def test_a_reached_level_exits_with_zero(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(_manifests(level="Foundation"))
    ran = run("inspect", "-f", "p.json", "--endpoint-url", aws.url)
    assert ran.code == 0
    assert "Level  Foundation (Foundation declared)" in ran.out


def test_a_reached_level_with_too_low_a_score_exits_with_one(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(_manifests(level="Foundation", minimumScore=99))
    assert run("inspect", "-f", "p.json", "--endpoint-url", aws.url).code == 1


def test_flags_alone_name_an_account_and_its_role(aws: SimulatedAWS, run: Run) -> None:
    arguments = (
        "--account-id",
        ACCOUNT,
        "--region",
        "eu-central-1",
        "--role-arn",
        f"arn:aws:iam::{ACCOUNT}:role/passmuster-inspection",
        "--external-id",
        review.EXTERNAL_ID,
    )
    ran = run("inspect", *arguments, "--endpoint-url", aws.url, "-o", "json")
    assert ran.code == 1
    assert ran.json["status"]["declared"] == "Production"


def test_without_any_flag_the_ordinary_configuration_names_the_account(aws: SimulatedAWS, run: Run) -> None:
    ran = run("inspect", "--region", "eu-central-1", "--endpoint-url", aws.url, "-o", "json")
    assert ran.json["spec"]["accountId"] == ACCOUNT


def test_a_profile_names_credentials_and_region(
    aws: SimulatedAWS, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = base_environment(aws)
    for name in keys:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text("[profile shop]\nregion = eu-central-1\n")
    (tmp_path / "credentials").write_text(
        f"[shop]\naws_access_key_id={keys['AWS_ACCESS_KEY_ID']}\naws_secret_access_key={keys['AWS_SECRET_ACCESS_KEY']}\n"
    )
    ran = run("inspect", "--profile", "shop", "--level", "Foundation", "--endpoint-url", aws.url, "-o", "json")
    assert ran.code == 0
    assert ran.json["status"]["regions"] == ["eu-central-1"]


def test_several_accounts_give_a_list(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(_manifests())
    second = json.loads(_manifests(level="Foundation"))
    second["items"][0]["metadata"]["name"] = "again"
    second["items"][1]["metadata"]["name"] = "again"
    second["items"][1]["spec"]["accountRef"]["name"] = "again"
    (tmp_path / "two.json").write_text(json.dumps(second))
    ran = run("inspect", "-f", "one.json", "-f", "two.json", "--endpoint-url", aws.url, "-o", "json")
    assert ran.json["kind"] == "List"
    assert [item["status"]["declared"] for item in ran.json["items"]] == ["Production", "Foundation"]


def test_html_and_markdown_reports_are_printed(aws: SimulatedAWS, run: Run) -> None:
    arguments = ("inspect", "-f", str(example("shop.yaml")), "--endpoint-url", aws.url, "-o")
    assert run(*arguments, "html").out.startswith("<!doctype html>")
    assert "Foundation" in run(*arguments, "markdown").out


def test_another_account_than_named_exits_with_two_and_one_sentence(aws: SimulatedAWS, run: Run) -> None:
    ran = run("inspect", "--account-id", "999999999999", "--region", "eu-central-1", "--endpoint-url", aws.url)
    assert ran.code == 2
    assert "belongs to account 123456789012, not 999999999999" in ran.said
    assert "Traceback" not in ran.err


def test_a_refused_role_exits_with_two_and_says_what_to_check(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(_manifests(role=f"arn:aws:iam::{ACCOUNT}:role/nobody"))
    ran = run("inspect", "-f", "p.json", "--endpoint-url", aws.url)
    assert ran.code == 2
    assert "could not be assumed" in ran.said


def test_no_credentials_exit_with_two(aws: SimulatedAWS, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in base_environment(aws):
        monkeypatch.delenv(name)
    ran = run("inspect", "--account-id", ACCOUNT, "--region", "eu-central-1", "--endpoint-url", aws.url)
    assert ran.code == 2
    assert "no AWS credentials were found" in ran.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: [", "this is not YAML"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", "there is no"),
        (_manifests(level="Perfect"), "spec.level"),
        (_manifests(checks={"disabled": ["https-redirct"]}), "did you mean https-redirect?"),
        (_manifests(interval="1m"), "at least 5m"),
        (_manifests(remediation={"mode": "Apply"}, rules={"allowedModes": ["Apply"]}), "maxMonthlyCost"),
    ],
)
def test_a_wrong_manifest_is_explained_without_a_traceback(run: Run, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "wrong.yaml").write_text(text)
    ran = run("inspect", "-f", "wrong.yaml")
    assert ran.code == 2
    assert said in ran.said
    assert "Traceback" not in ran.err


def test_a_missing_file_is_named(run: Run) -> None:
    ran = run("inspect", "-f", "nowhere.yaml")
    assert (ran.code, ran.err.strip()) == (2, "Error: nowhere.yaml does not exist")


def test_a_mode_beyond_the_accounts_rules_is_refused(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(_manifests(remediation={"mode": "Apply", "maxMonthlyCost": 5}))
    ran = run("inspect", "-f", "p.json", "--endpoint-url", aws.url)
    assert ran.code == 2
    assert "allows the modes Observe, Propose" in ran.said


def test_the_plan_names_order_cost_and_what_is_missing(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(_manifests())
    without = run("plan", "-f", "p.json", "--endpoint-url", aws.url, "-o", "json").json[0]
    blocked = {step["fixes"][0]: step.get("blocked", "") for step in without["steps"]}
    assert "spec.remediation.inputs.domain" in blocked["tls-certificates-valid"]
    given = ("--input", "domain=shop.example.com", "--input", "healthPath=/health")
    plan = run("plan", "-f", "p.json", *given, "--endpoint-url", aws.url, "-o", "json").json[0]
    order = [step["fixes"][0] for step in plan["steps"] if step["way"] == "AdditiveStack"]
    chain = ["cloudtrail-multi-region", "tls-certificates-valid", "custom-domain", "dns-health-checks"]
    assert [check for check in order if check in chain] == chain
    assert plan["steps"][-1]["scoreAfter"] > plan["score"]


def test_the_plan_of_the_review_account_costs_the_sum_of_its_parts_phase_by_phase(aws: SimulatedAWS, run: Run) -> None:
    (plan,) = run("plan", "-f", str(example("shop.yaml")), "--endpoint-url", aws.url, "-o", "json").json
    assert [total["phase"] for total in plan["phases"]] == ["Production", "Stable", "Hardened", "Enterprise"]
    for total in plan["phases"]:
        steps = [step for step in plan["steps"] if step["phase"] == total["phase"]]
        ready, blocked = ([s for s in steps if ("blocked" in s) is held] for held in (False, True))
        assert total["steps"] == len(steps)
        assert total["monthlyCost"] == _cents(priced for step in ready for priced in _priced(step))
        assert total["blockedMonthlyCost"] == _cents(priced for step in blocked for priced in _priced(step))
        assert total["stepsWithUsage"] == sum(bool(step["unpriced"]) for step in steps)
    assert plan["monthlyCost"] == _cents(total["monthlyCost"] for total in plan["phases"])
    production = {
        position["title"]: position["monthly"]
        for step in plan["steps"]
        if step["phase"] == "Production"
        for position in step["positions"]
    }
    assert production["health check of an AWS endpoint"] == 0.50
    assert production["NAT gateway"] == 37.96, "730 hours at the price of Frankfurt; the review's 32.85 is Virginia's"
    owners = {step["owner"]["kind"] for step in plan["steps"] if step["owner"]}
    assert owners >= {"Stack", "Nobody"}


def _priced(step: dict[str, Any]) -> list[float]:
    return [position["monthly"] for position in step["positions"] if position["monthly"] is not None]


def _cents(amounts: Iterable[float]) -> float:
    return float(sum((Decimal(str(amount)) for amount in amounts), Decimal(0)))


def test_a_plan_is_written_for_a_pipeline_and_written_again_with_the_same_bytes(
    aws: SimulatedAWS, run: Run, tmp_path: Path
) -> None:
    arguments = ("plan", "-f", str(example("shop.yaml")), "--endpoint-url", aws.url, "--output-dir")
    first = run(*arguments, "one")
    assert first.code == 0
    assert first.out == ""
    assert "one/plan.md" in " ".join(first.err.split())
    written = _contents(tmp_path / "one")
    names = {path.rpartition("/")[2] for path in written}
    assert names >= {"plan.md", "template.yaml", "parameters.json", "guide.md", "patch.yaml", "attestation.yaml"}
    assert run(*arguments, "two").code == 0
    assert _contents(tmp_path / "two") == written
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    refused = run(*arguments, "mine")
    assert refused.code == 2
    assert "did not write" in " ".join(refused.err.split())
    assert set(_contents(tmp_path / "mine")) == {"README.md"}


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_plan_for_several_accounts_has_a_folder_for_each(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(_manifests())
    second = json.loads(_manifests(level="Foundation"))
    second["items"][0]["metadata"]["name"] = second["items"][1]["spec"]["accountRef"]["name"] = "again"
    second["items"][1]["metadata"]["name"] = "again"
    (tmp_path / "two.json").write_text(json.dumps(second))
    ran = run("plan", "-f", "one.json", "-f", "two.json", "--endpoint-url", aws.url, "--output-dir", "both")
    assert ran.code == 0
    plans = sorted(path for path in _contents(tmp_path / "both") if path.endswith("plan.md"))
    assert plans == [f"{ACCOUNT}/shop/again/plan.md", f"{ACCOUNT}/shop/shop/plan.md"]


def test_a_plan_is_no_html(run: Run) -> None:
    ran = run("plan", "-o", "html")
    assert ran.code == 2
    assert "--output-dir DIR writes it as Markdown" in ran.said


def test_an_unknown_input_is_refused_with_the_known_ones(run: Run) -> None:
    ran = run("plan", "--input", "domian=x")
    assert ran.code == 2
    assert "domain" in ran.err


def test_checks_are_listed_as_an_array_with_the_promised_members(run: Run) -> None:
    listed = run("checks", "--output", "json").json
    assert len(listed) == len(catalogue.load())
    members = [
        "id",
        "title",
        "category",
        "phase",
        "severity",
        "optional",
        "fix",
        "parameters",
        "calls",
        "actions",
        "mappings",
    ]
    assert all(set(members) <= set(check) for check in listed)
    one = run("checks", "cloudtrail-multi-region", "-o", "json").json
    assert [check["id"] for check in one] == ["cloudtrail-multi-region"]
    assert one[0]["remediations"] == ["cloudtrail", "trail-recording"]


def test_a_check_is_explained_and_a_wrong_id_finds_its_neighbour(run: Run) -> None:
    assert "cloudtrail:DescribeTrails" in run("checks", "cloudtrail-multi-region").out
    ran = run("checks", "cloudtrial-multi-region")
    assert ran.code == 2
    assert "did you mean cloudtrail-multi-region" in ran.said


def test_the_iam_policy_only_reads(run: Run) -> None:
    policy = run("iam-policy").json
    actions = [action for statement in policy["Statement"] for action in statement["Action"]]
    assert actions
    assert all(
        action.split(":")[1].startswith(("Describe", "List", "Get", "View", "BatchGet", "GET")) for action in actions
    )
    assert not {"secretsmanager:GetSecretValue", "lambda:GetFunction", "ssm:GetParameter"} & set(actions)


def test_crds_and_metrics_are_printed_and_written(run: Run, tmp_path: Path) -> None:
    assert "kind: CustomResourceDefinition" in run("crds").out
    run("crds", "--output-dir", "made")
    assert (tmp_path / "made" / "passmuster.io_readinesspolicies.yaml").is_file()
    assert "passmuster_score_ratio" in run("metrics").out


def test_help_and_version_are_there_for_every_command(run: Run) -> None:
    whole = run("--help")
    assert whole.code == 0
    for command in ("inspect", "plan", "checks", "iam-policy", "crds", "operator", "approve", "apply", "undo", "demo"):
        assert command in whole.out
        assert run(command, "--help").code == 0
    assert run("--version").out.startswith("passmuster ")


def test_the_operator_says_what_is_missing_without_a_cluster(run: Run, tmp_path: Path) -> None:
    ran = run("operator", "--kubeconfig", str(tmp_path / "none"))
    assert ran.code == 2
    assert "passmuster sandbox up" in ran.said
    assert "Traceback" not in ran.err


# waivers, attestations and scope in files


def _with(*documents: dict[str, Any], **policy: Any) -> str:
    whole = json.loads(_manifests(**policy))
    whole["items"] += documents
    return json.dumps(whole)


def _check(ran: Ran, check: str) -> dict[str, Any]:
    return next(dict(one) for one in ran.json["status"]["checks"] if one["id"] == check)


def _said(text: str) -> str:
    return " ".join(text.split())


def test_waivers_and_attestations_in_a_file_count_as_they_are_written(
    aws: SimulatedAWS, run: Run, tmp_path: Path
) -> None:
    far = (datetime.now(UTC) + timedelta(days=100)).strftime("%Y-%m-%dT%H:%M:%SZ")
    two = [{"by": "ann"}, {"by": "bob"}]
    issued, ends = "2026-01-01T00:00:00Z", (datetime(2026, 6, 1, tzinfo=UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    documents = (
        waiver("shop", "callback", check="https-redirect", expiresAt=far, approvals=two),
        waiver("shop", "half", check="nat-gateway-per-az", expiresAt=far, approvals=two[:1]),
        waiver("shop", "old", check="tls-certificates-valid", expiresAt="2026-03-31T00:00:00Z", approvals=two),
        attestation("shop", "pipeline", check="ci-cd-pipeline", issuedAt=issued, expiresAt=ends, approvals=two),
    )
    (tmp_path / "p.json").write_text(_with(*documents))
    ran = run("inspect", "-f", "p.json", "--endpoint-url", aws.url, "--output", "json")
    waived = _check(ran, "https-redirect")
    assert (waived["status"], waived["waived"] >= 1) == ("Pass", True)
    assert {f["waivedBy"] for f in waived["findings"] if f["status"] == "Fail"} == {"callback"}
    assert _check(ran, "nat-gateway-per-az")["status"] == "Fail"
    assert _check(ran, "tls-certificates-valid")["status"] == "Fail"
    assert {one["name"]: one["state"] for one in ran.json["status"]["waivers"]} == {
        "callback": "InForce",
        "half": "AwaitingApproval",
        "old": "Expired",
    }
    told = _said(ran.err)
    assert "ReadinessWaiver half (nat-gateway-per-az) does not count: has 1 of 2 approvals" in told
    assert "ReadinessWaiver old (tls-certificates-valid) does not count: expired on 2026-03-31T00:00:00Z" in told
    assert "ReadinessAttestation pipeline (ci-cd-pipeline) does not count: expired on 2026-06-01" in told
    table = run("inspect", "-f", "p.json", "--endpoint-url", aws.url)
    assert "Waivers and attestations" in table.out
    assert "The legacy shop has no health endpoint until March" in _said(table.out)
    plan = run("plan", "-f", "p.json", "--endpoint-url", aws.url, "-o", "json")
    assert "https-redirect" not in {check for step in plan.json[0]["steps"] for check in step["fixes"]}


def test_an_attestation_in_a_file_answers_its_check_and_an_early_end_is_told(
    aws: SimulatedAWS, run: Run, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    issued, ends = ((now + timedelta(days=d)).strftime("%Y-%m-%dT%H:%M:%SZ") for d in (-1, 10))
    made = attestation(
        "shop",
        "endpoint",
        check="health-endpoint-dedicated",
        issuedAt=issued,
        expiresAt=ends,
        approvals=[{"by": "ann"}],
    )
    (tmp_path / "p.json").write_text(_with(made))
    ran = run("inspect", "-f", "p.json", "--endpoint-url", aws.url, "--output", "json")
    found = _check(ran, "health-endpoint-dedicated")
    assert found["status"] == "Pass"
    assert {f["attestedBy"] for f in found["findings"]} == {"endpoint"}
    assert f"ReadinessAttestation endpoint (health-endpoint-dedicated) expires on {ends[:10]}" in _said(ran.err)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (waiver("shop", "w", check="https-redirct"), "there is no check 'https-redirct'; did you mean https-redirect?"),
        (waiver("shop", "w", policyRef={"name": "pay"}), "there is no ReadinessPolicy pay in the files, only shop"),
        (waiver("pay", "w"), "the ReadinessPolicy shop is in the namespace shop, not in pay"),
        (waiver("shop", "w", accountRef={"name": "pay"}), "there is no AWSAccount pay in the files, only shop"),
        (attestation("shop", "a", check="https-redirect"), "https-redirect takes no attestation; waive it"),
        (attestation("shop", "a", expiresAt="2027-06-01T00:00:00Z"), "dr-runbooks lasts at most 365 days"),
    ],
)
def test_a_mistake_in_a_waiver_or_attestation_is_told_before_anything_is_read(
    aws: SimulatedAWS, run: Run, tmp_path: Path, document: dict[str, Any], said: str
) -> None:
    (tmp_path / "p.json").write_text(_with(document))
    aws.requests.clear()
    ran = run("inspect", "-f", "p.json", "--endpoint-url", aws.url)
    assert ran.code == 2
    assert said in _said(ran.err)
    assert "Traceback" not in ran.err
    assert aws.requests == []


def test_a_scope_that_matches_nothing_reaches_no_level(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    scope = {"tags": [{"key": "Environment", "values": ["nowhere"]}]}
    (tmp_path / "p.json").write_text(_manifests(level="Foundation", scope=scope))
    ran = run("inspect", "-f", "p.json", "--endpoint-url", aws.url, "--output", "json")
    assert ran.code == 1
    assert (ran.json["status"]["level"], ran.json["status"]["score"]) == ("None", None)
    assert _check(ran, "https-redirect")["findings"][0]["reason"] == "OutsideScope"
    assert _check(ran, "cloudtrail-multi-region")["status"] == "Fail"
