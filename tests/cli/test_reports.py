"""Reports on the command line: kept, compared, shown again; on a simulated account, as a person runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import Ran, Run
from passmuster.checks import catalogue
from passmuster.report import pages
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAWS]:
    """An empty account."""
    with SimulatedAWS() as running:
        yield running


@pytest.fixture
def inspect(aws: SimulatedAWS, run: Run) -> Run:
    """`passmuster inspect` of the account in its region."""

    def ran(*arguments: str) -> Ran:
        return run("inspect", "--region", DEFAULT_REGION, "--endpoint-url", aws.url, *arguments)

    return ran


@pytest.fixture
def closed(aws: SimulatedAWS) -> Iterator[Callable[[], None]]:
    """Closes the default security group, which a check then sees passing; open again afterwards."""
    client = aws.client("ec2", DEFAULT_REGION)
    group = client.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]
    rules = {"GroupId": group["GroupId"], "IpPermissions": group["IpPermissionsEgress"]}
    yield lambda: client.revoke_security_group_egress(**rules)
    if not client.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]["IpPermissionsEgress"]:
        client.authorize_security_group_egress(**rules)


def _kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_evidence_folder_keeps_what_is_new_and_says_what_changed(
    inspect: Run, tmp_path: Path, closed: Callable[[], None]
) -> None:
    folder = tmp_path / "evidence"
    assert inspect("--evidence-dir", str(folder)).code == 1
    first = _kept(folder)
    assert [path.suffix for path in first] == [".html", ".json"]
    assert first[0].relative_to(folder).parts[:3] == (DEFAULT_ACCOUNT, "local", DEFAULT_ACCOUNT)
    assert first[0].read_text().startswith("<!doctype html>")
    second = inspect("--evidence-dir", str(folder)).out.split("Changed since")[1]
    assert "compliance-reported" in second, "a report that is kept is what this check asks for"
    assert "Fail -> Pass" in second
    known = _kept(folder)
    assert len(known) == 4
    assert "nothing" in inspect("--evidence-dir", str(folder)).out.split("Changed since")[1]
    assert _kept(folder) == known, "what says nothing new is not kept again"
    closed()
    changed = inspect("--evidence-dir", str(folder)).out.split("Changed since")[1]
    assert "security-groups-restricted" in changed
    assert "Fail -> Pass" in changed
    assert len(_kept(folder)) == 6
    newest = json.loads(_kept(folder)[-1].read_text())
    moved = {one["id"]: (one["before"], one["after"]) for one in newest["status"]["changes"]["checks"]}
    assert moved["security-groups-restricted"] == ("Fail", "Pass")


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_inspected(
    aws: SimulatedAWS, inspect: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    aws.requests.clear()
    ran = inspect("--account-id", DEFAULT_ACCOUNT, "--evidence-dir", "file/kept")
    assert (ran.code, ran.out) == (2, "")
    assert ran.said == "Error: --evidence-dir file/kept cannot be written: Not a directory; choose another place"
    assert aws.requests == []


def test_a_named_report_is_compared_with_in_every_form(
    inspect: Run, tmp_path: Path, closed: Callable[[], None]
) -> None:
    (tmp_path / "before.json").write_text(inspect("-o", "json").out)
    closed()
    after = json.loads(inspect("-o", "json", "--previous", "before.json").out)["status"]
    before = json.loads((tmp_path / "before.json").read_text())["status"]
    assert after["previous"]["id"] == before["inspection"]["id"]
    assert {"id": "security-groups-restricted", "before": "Fail", "after": "Pass"} in after["changes"]["checks"]
    assert "previous" not in before
    assert "newly passing" in inspect("-o", "markdown", "--previous", "before.json").out
    assert "Newly passing" in inspect("-o", "html", "--previous", "before.json").out


def test_a_report_of_another_account_is_refused_and_nothing_is_shown(inspect: Run, tmp_path: Path) -> None:
    other = {"kind": "ReadinessReport", "spec": {"accountId": "999999999999"}}
    (tmp_path / "other.json").write_text(json.dumps(other))
    ran = inspect("--previous", "other.json")
    assert (ran.code, ran.out) == (2, "")
    assert f"other.json holds no report on the account {DEFAULT_ACCOUNT}" in ran.said


@pytest.fixture(scope="module")
def once() -> list[str]:
    """The one report that is shown again and again."""
    return []


@pytest.fixture
def stored(inspect: Run, tmp_path: Path, once: list[str]) -> str:
    if not once:
        once.append(inspect("-o", "json").out)
    (tmp_path / "report.json").write_text(once[0])
    return "report.json"


def test_a_stored_report_is_shown_again_without_asking_aws(
    aws: SimulatedAWS, run: Run, stored: str, tmp_path: Path
) -> None:
    aws.requests.clear()
    document = json.loads((tmp_path / stored).read_text())
    page = run("report", "-f", stored)
    assert page.code == 0
    assert page.out.startswith("<!doctype html>")
    assert "Not compliant" in page.out
    assert f"account {DEFAULT_ACCOUNT}" in run("report", "-f", stored, "-o", "markdown").out
    assert json.loads(run("report", "-f", stored, "-o", "json").out) == document
    assert document["status"]["level"] in run("report", "-f", stored, "-o", "table").out
    assert aws.requests == []


def test_a_report_compares_two_files(run: Run, stored: str, tmp_path: Path) -> None:
    old = json.loads((tmp_path / stored).read_text())
    old["status"]["checks"] = [{**check, "status": "Unknown"} for check in old["status"]["checks"]]
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert "newly failing" in run("report", "-f", stored, "--previous", "old.json", "-o", "markdown").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a policy of the cluster, or a JSON report with --file"),
        (("-f", "nowhere.json"), "nowhere.json does not exist"),
        (("-f", "text.json"), "this is not JSON"),
        (("-f", "policy.json"), "this is no ReadinessReport"),
        (("-f", "two.json"), "2 reports make as many HTML files"),
        (("-f", "two.json", "--account-id", "1"), "there is no report on the account 1"),
        (("shop", "--kubeconfig", "nowhere"), "no API server"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(
    run: Run, stored: str, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    one = json.loads((tmp_path / stored).read_text())
    (tmp_path / "text.json").write_text("level: Production")
    (tmp_path / "policy.json").write_text('{"kind": "ReadinessPolicy"}')
    (tmp_path / "two.json").write_text(json.dumps({"kind": "List", "items": [one, one]}))
    ran = run("report", *arguments)
    assert ran.code == 2
    assert said in ran.said
    assert "Traceback" not in ran.err


def test_a_check_is_explained_as_on_its_page(run: Run) -> None:
    for check in list(catalogue.load())[:5]:
        told = run("checks", check.id).out
        assert check.title in told
        assert f"{pages.FOLDER}/{check.id}.md" in told
        assert "How to fix it" in told
    listed: Any = json.loads(run("checks", "-o", "json").out)
    assert isinstance(listed, list)
    assert {one["page"] for one in listed} == {pages.address("", check.id) for check in catalogue.load()}
