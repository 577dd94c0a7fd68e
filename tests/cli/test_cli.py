"""The command line, run as a person runs it, on a simulated account: what it prints, and with which code it exits."""

from __future__ import annotations

import io
import json
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name

from apiserver import attestation, waiver
from command_line import Ran, Run
from passmuster.checks import catalogue
from passmuster.cli import plan_folder
from passmuster.remediation.catalogue import load
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


def test_two_policies_for_one_account_are_told_apart(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    whole = json.loads(_manifests(level="Foundation"))
    strict = json.loads(_manifests())["items"][1]
    strict["metadata"]["name"] = "strict"
    (tmp_path / "p.json").write_text(json.dumps({**whole, "items": [*whole["items"], strict]}))
    arguments = ("-f", "p.json", "--endpoint-url", aws.url)
    table = run("inspect", *arguments)
    assert table.code == 1
    heads = [line for line in table.out.splitlines() if line.startswith("Account ")]
    assert [head.split(" · ")[:2] for head in heads] == [
        ["Account 123456789012", "shop under shop/shop"],
        ["Account 123456789012", "shop under shop/strict"],
    ]
    heads = [line for line in run("inspect", *arguments, "-o", "markdown").out.splitlines() if line.startswith("# ")]
    assert heads == ["# shop under shop/shop: Foundation reached", "# shop under shop/strict: Foundation reached"]
    heads = [line for line in run("plan", *arguments).out.splitlines() if line.startswith("Account ")]
    assert [head.split("   ")[0] for head in heads] == [
        "Account 123456789012 · shop under shop/shop",
        "Account 123456789012 · shop under shop/strict",
    ]


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


@pytest.mark.parametrize("name", ["nowhere.yaml", "[red]a:x:b.yaml"])
def test_a_missing_file_is_named_as_it_was_written(run: Run, name: str) -> None:
    ran = run("inspect", "-f", name)
    assert (ran.code, ran.err.strip()) == (2, f"Error: {name} does not exist")


def test_a_file_that_cannot_be_looked_at_is_named(run: Run) -> None:
    name = "x" * 300 + ".yaml"
    ran = run("inspect", "-f", name)
    assert (ran.code, ran.err.strip()) == (2, f"Error: {name} cannot be read: File name too long")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"kind: \xff\n", "standard input is not text in UTF-8: save it in that encoding"),
        (b"", "-: it is empty"),
        (None, "-f -: standard input is closed: pipe a manifest into it"),
    ],
)
def test_a_standard_input_without_a_manifest_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, given: bytes | None, said: str
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(given), encoding="utf-8") if given is not None else None
    monkeypatch.setattr("sys.stdin", stdin)
    ran = run("inspect", "-f", "-")
    assert (ran.code, ran.out, ran.err.strip()) == (2, "", f"Error: {said}")


def test_files_that_were_put_together_are_read_from_standard_input(
    aws: SimulatedAWS, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, policy = (json.dumps(one) for one in json.loads(_manifests(level="Foundation"))["items"])
    together = f"\ufeff{account}\r\n---\r\n---\r\n\ufeff{policy}\r\n---\r\n".encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(together), encoding="ascii"))
    ran = run("inspect", "-f", "-", "--endpoint-url", aws.url)
    assert ran.code == 0
    assert "Level  Foundation (Foundation declared)" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--region", "mars-north-1"), "--region: 'mars-north-1' is not an AWS region"),
        (("--region", "eu-centrl-1"), "there is no region 'eu-centrl-1' that this release knows; did you mean eu-cent"),
        (("--region", "eu-central-1", "--role-arn", "reader"), "--role-arn: 'reader' is not the ARN of an IAM role"),
        (("--region", "eu-central-1", "--endpoint-url", "localhost"), "'localhost' is no endpoint: write http://HOST"),
        (("--region", "eu-central-1", "--endpoint-url", "http://localhost:99999"), "is no endpoint: write http://HOST"),
        (("-f", str(example("shop.yaml"))), "--account-id does not go with -f"),
    ],
)
def test_a_wrong_flag_is_one_sentence(aws: SimulatedAWS, run: Run, arguments: tuple[str, ...], said: str) -> None:
    endpoint = () if "--endpoint-url" in arguments else ("--endpoint-url", aws.url)
    ran = run("inspect", "--account-id", ACCOUNT, *arguments, *endpoint)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.said
    assert ran.err.startswith("Error: ")


def test_an_endpoint_where_nobody_listens_is_named(run: Run) -> None:
    closed = f"http://127.0.0.1:{_unused_port()}"
    ran = run("inspect", "--account-id", ACCOUNT, "--region", "eu-central-1", "--endpoint-url", closed)
    assert ran.code == 2
    assert f"did not answer at {closed}" in ran.said
    assert "check the network, the proxy and the endpoint" in ran.said


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("profile", [None, "shop"])
def test_an_aws_configuration_that_cannot_be_read_is_named(run: Run, tmp_path: Path, profile: str | None) -> None:
    (tmp_path / "config").write_text("[profile shop\n")
    ran = run("inspect", *(("--profile", profile) if profile else ()))
    assert ran.code == 2
    assert str(tmp_path / "config") in ran.said
    assert "Traceback" not in ran.err


def test_a_folder_stands_for_the_manifests_in_it(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    account, policy = json.loads(_manifests(level="Foundation"))["items"]
    folder = tmp_path / "declared"
    folder.mkdir()
    assert "holds no manifest" in run("inspect", "-f", "declared").said
    (folder / "account.json").write_text(json.dumps(account))
    (folder / "policy.yaml").write_text("\ufeff" + json.dumps(policy), encoding="utf-8")
    (folder / "notes.txt").write_text("kind: [")
    ran = run("inspect", "-f", "declared", "--endpoint-url", aws.url)
    assert ran.code == 0
    assert "Level  Foundation (Foundation declared)" in ran.out


def test_one_name_for_two_accounts_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(_manifests())
    (tmp_path / "two.json").write_text(_manifests(account="999999999999"))
    ran = run("inspect", "-f", "one.json", "-f", "two.json")
    assert ran.code == 2
    assert "AWSAccount shop is there twice and differs" in ran.said


def test_a_file_that_is_named_twice_is_inspected_once(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(_manifests(level="Foundation"))
    ran = run("inspect", "-f", "p.json", "-f", ".", "--endpoint-url", aws.url, "-o", "json")
    assert (ran.code, ran.json["kind"]) == (0, "ReadinessReport")


def test_a_file_in_another_encoding_says_which_it_should_have(run: Run, tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text(_manifests(), encoding="utf-16")
    ran = run("inspect", "-f", "wide.yaml")
    assert (ran.code, ran.err.strip()) == (2, "Error: wide.yaml is not text in UTF-8: save it in that encoding")


def test_an_account_that_lets_nobody_in_holds_up_no_other(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    account, policy = json.loads(_manifests(level="Foundation"))["items"]
    closed = {**account, "metadata": {"name": "closed"}, "spec": {**account["spec"], "accountId": "999999999999"}}
    del closed["spec"]["roleArn"], closed["spec"]["externalId"]
    other = {**policy, "metadata": {"name": "closed"}, "spec": {**policy["spec"], "accountRef": {"name": "closed"}}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [closed, account, other, policy]}
    (tmp_path / "p.json").write_text(json.dumps(listed))
    ran = run("inspect", "-f", "p.json", "--endpoint-url", aws.url, "-o", "json")
    assert ran.code == 2
    assert "belongs to account 123456789012, not 999999999999" in ran.said
    assert ran.json["kind"] == "List"
    assert [report["spec"]["accountId"] for report in ran.json["items"]] == [ACCOUNT]


def test_an_interruption_while_the_commands_are_loaded_is_no_traceback(tmp_path: Path) -> None:
    """The process interrupts itself at the moment in which the engine begins to be imported."""
    (tmp_path / "interrupted.py").write_text(
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell lets it be ignored\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'passmuster.api.manifest':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from passmuster.cli.start import run\n"
        "run()\n"
    )
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "interrupted.py"), "checks"], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_the_script_is_the_start_that_hears_interruptions() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"passmuster": "passmuster.cli.start:run"}


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
    leads = {step["definition"]: step["leadsTo"] for step in plan["steps"]}
    assert leads["container-insights"] == ["golden-signal-alarms"]
    assert leads["nat-gateway"] == []
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
    _demand_clear({path: text.decode() for path, text in written.items()})
    assert run(*arguments, "two").code == 0
    assert _contents(tmp_path / "two") == written
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    aws.requests.clear()
    refused = run(*arguments, "mine")
    assert refused.code == 2
    assert aws.requests == [], "it is refused before anything is inspected"
    assert "did not write" in " ".join(refused.err.split())
    assert set(_contents(tmp_path / "mine")) == {"README.md"}


def test_a_plan_says_what_a_step_leads_to_and_what_is_left(aws: SimulatedAWS, run: Run) -> None:
    ran = run("plan", "-f", str(example("shop.yaml")), "--endpoint-url", aws.url)
    said = " ".join(ran.out.split())
    assert "leads to golden-signal-alarms: may ask for more, which is proposed next" in said
    assert "checks fail still when every step is made" in said
    assert "https-redirect a step is proposed once tls-certificates-valid passes" in said


def _demand_clear(files: dict[str, str]) -> None:
    """What a person who reviews and deploys the plan needs to know of it, beside what each step does."""
    plan, guides = files["plan.md"], {path: text for path, text in files.items() if path.endswith("guide.md")}
    assert "in the folder of this file, with credentials of the account 123456789012" in plan
    assert re.search(r"\d+ steps are for Production: \$[\d.]+ a month.*The other \d+ steps are beyond it\.", plan)
    left = plan.partition("## What is left")[2]
    assert "- `https-redirect`: a step is proposed once `tls-certificates-valid` passes" in left
    assert re.search(r"- `caching-layer`: step \d+, blocked so far", left)
    assert "- Leads to: `golden-signal-alarms`, which may ask for more then" in plan
    assert "s3 shop-invoices-123456789012" in plan, "steps of one title are told apart"
    assert "aws elbv2 describe-target-groups --region eu-central-1 --cli-input-json" in plan
    assert "The undo keeps Vault: it holds data. To apply the template again" in plan
    patches = {path: text for path, text in files.items() if path.endswith("patch.yaml")}
    (limit,) = (path for path in patches if "session-rate-limit" in path)
    assert patches[limit].splitlines()[:2] == [
        "# Merge into the resource WebAcl (AWS::WAFv2::WebACL) in the template of the stack shop-edge.",
        "# Rules: add these members, or replace those of the same Name; the others stay.",
    ]
    for path in patches:
        guide = guides[path.replace("patch.yaml", "guide.md")]
        assert "whose next deployment may revert what is changed past it. Merge patch.yaml there instead." in guide
    for path, text in guides.items():
        for line in text.partition("```bash\n")[2].partition("```")[0].splitlines():
            assert re.match(r"(#|aws|kubectl|passmuster|dig|sha256sum|curl) ", line), (path, line)


def test_every_read_of_a_step_of_the_api_is_a_command_of_the_command_line_of_aws() -> None:
    steps = [step for one in load() for step in one.api]
    assert steps
    for step in steps:
        assert plan_folder.command_of(step.read.operation) == xform_name(step.read.operation, "-")


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


@pytest.mark.parametrize("command", ["plan", "checks"])
def test_what_is_no_report_is_a_table_or_json(run: Run, command: str) -> None:
    ran = run(command, "-o", "html")
    assert (ran.code, ran.out) == (2, "")
    assert "'html' is not one of 'table', 'json'" in re.sub(r"[\s│]+", " ", ran.err)
    helped = " ".join(run(command, "--help").out.split())
    assert "markdown" not in helped


def test_an_unknown_input_is_refused_with_the_known_ones(run: Run) -> None:
    ran = run("plan", "--input", "domian=x")
    assert ran.code == 2
    assert "domain" in ran.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("domain=", "--input domain: a value is missing"),
        ("monthlyBudget=ten", "--input monthlyBudget: 'ten' is not a whole number"),
        ("monthlyBudget=²", "--input monthlyBudget: '²' is not a whole number"),
        ("tags=Team", "--input tags: write KEY:VALUE,KEY:VALUE instead of 'Team'"),
        (f"domain={'x' * 300}", "--input domain: the text has 300 characters"),
        ("healthPath=health", "--input healthPath: 'health' does not look like what it is for: The path that answers"),
        ("wafCommonRules=block", "--input wafCommonRules: 'block' does not look like what it is for"),
    ],
)
def test_an_input_that_a_manifest_could_not_hold_is_refused(run: Run, given: str, said: str) -> None:
    ran = run("plan", "--input", given)
    assert ran.code == 2
    assert said in ran.said


@pytest.mark.parametrize(
    ("columns", "heads"),
    [
        (None, "Phase Check Severity Category Fix Title"),
        ("80", "Phase Check Severity Title"),
        ("50", "Check Severity"),
    ],
)
def test_the_list_of_checks_fits_its_width_and_a_pipe_has_one_line_for_each(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: str | None, heads: str
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    lines = run("checks").out.splitlines()
    assert " ".join(lines[0].split()) == heads
    if columns is None:
        assert len([line for line in lines if line.strip()]) == len(catalogue.load()) + 2
    else:
        assert max(len(line) for line in lines[:-1]) <= int(columns)


def test_a_step_that_lacks_an_input_says_how_to_give_it_here(aws: SimulatedAWS, run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(_manifests())
    ran = run("plan", "-f", "p.json", "--endpoint-url", aws.url)
    assert "(or here: --input NAME=VALUE)" in _said(ran.out)


def test_progress_is_for_terminals_only(aws: SimulatedAWS, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    ran = run("inspect", "-f", str(example("shop.yaml")), "--endpoint-url", aws.url)
    assert "\x1b[" in ran.out
    assert ran.err == ""


def test_a_narrow_terminal_shows_why_under_the_check(
    aws: SimulatedAWS, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = run("inspect", "-f", str(example("shop.yaml")), "--endpoint-url", aws.url).out.splitlines()
    at = next(number for number, line in enumerate(lines) if "https-redirect" in line)
    assert "Critical" in lines[at]
    assert "listener" in " ".join(lines[at + 1 : at + 3])


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


def test_a_folder_that_cannot_be_made_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    ran = run("crds", "--output-dir", "taken/crds")
    assert (ran.code, ran.said) == (2, "Error: taken/crds cannot be written: Not a directory; choose another folder")


@pytest.mark.parametrize("place", ["taken/report.html", "."])
def test_a_place_where_the_demo_cannot_write_its_report_is_named_first(run: Run, tmp_path: Path, place: str) -> None:
    (tmp_path / "taken").write_text("")
    ran = run("demo", "--no-cluster", "--report", place)
    assert (ran.code, ran.out) == (2, "")
    assert f"--report {place} cannot be written" in ran.said
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]


def test_help_and_version_are_there_for_every_command(run: Run) -> None:
    whole = run("--help")
    assert whole.code == 0
    for command in ("inspect", "plan", "checks", "iam-policy", "crds", "operator", "approve", "apply", "undo", "demo"):
        assert command in whole.out
        assert run(command, "--help").code == 0
    assert run("--version").out.startswith("passmuster ")


def test_help_flows_as_wide_as_the_terminal_and_says_what_may_be_left_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    assert "without any, the ordinary AWS configuration is used. Exits with 0 when" in run("inspect", "--help").out
    assert "passmuster report [OPTIONS] [POLICY] " in run("report", "--help").out
    assert "passmuster checks [OPTIONS] [ID] " in run("checks", "--help").out


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
