"""checkov as a second opinion: what it says against our templates is mended, or an exception with its reason.

The templates of all remediations and that of the roles, judged in one run without network. An exception that checkov no
longer asks for fails as well.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from passmuster.cli.main import app
from passmuster.remediation.catalogue import load
from passmuster.remediation.template import parsed

pytestmark = [pytest.mark.checkov, pytest.mark.slow]

EXCEPTIONS = yaml.safe_load(Path(__file__).with_name("checkov_exceptions.yaml").read_text(encoding="utf-8"))
ROLES = ("bootstrap", "role", "--remediation", "--owner-stacks", "--evidence", "acme-evidence/readiness")
WRONG = """\
Resources:
  Open:
    Type: AWS::S3::Bucket
    Properties: {AccessControl: PublicRead}
"""
"""A template that checkov must refuse: proof that it looked."""

OFFLINE = {
    "CKV_SKIP_PACKAGE_UPDATE_CHECK": "true",
    "BC_SKIP_MAPPING": "TRUE",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "",
}
"""No question after newer versions, no mapping from its makers; a request that is made nevertheless goes nowhere."""


@pytest.fixture(scope="module")
def said(checkov_command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What checkov says of all templates, as JSON; its home is empty, so that no one's configuration counts."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("templates")
    for one in load():
        if one.template:
            (folder / f"{one.name}.yaml").write_text(one.template, encoding="utf-8")
    (folder / "roles.yaml").write_text(CliRunner().invoke(app, ROLES).stdout, encoding="utf-8")
    (folder / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    what = ["--framework", "cloudformation", "--skip-download", "--output", "json", "--quiet", "--compact"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BC_", "CKV_", "PRISMA_"))}
    done = subprocess.run(
        [*checkov_command, "--directory", str(folder), *what],
        cwd=home,
        env={**kept, **OFFLINE, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    answer: Mapping[str, Any] = json.loads(done.stdout)
    return answer


def failed(said: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The checks that failed, each with template and resource: `("CKV_AWS_18", "flow-log/Bucket")`."""
    return {
        (one["check_id"], f"{Path(one['file_path']).stem}/{one['resource'].rpartition('.')[2]}")
        for one in said["results"]["failed_checks"]
    }


def test_every_template_was_read_and_judged(said: Mapping[str, Any]) -> None:
    summary = said["summary"]
    made = sum(len(parsed(one.template)["Resources"]) for one in load() if one.template)
    assert summary["parsing_errors"] == summary["skipped"] == 0
    assert summary["resource_count"] >= made
    assert summary["passed"] > 200
    assert {"CKV_AWS_20", "CKV_AWS_53"} <= {check for check, where in failed(said) if where == "wrong/Open"}


def test_what_checkov_says_is_mended_or_a_written_exception(said: Mapping[str, Any]) -> None:
    excepted = {(one["check"], where) for one in EXCEPTIONS for where in one["of"]}
    found = {(check, where) for check, where in failed(said) if not where.startswith("wrong/")}
    assert found - excepted == set(), "mend the template, or write down in checkov_exceptions.yaml why it is right"
    assert excepted - found == set(), "checkov no longer says so: remove the exception"


def test_every_exception_gives_one_reason_in_a_sentence() -> None:
    assert len({one["check"] for one in EXCEPTIONS}) == len(EXCEPTIONS)
    for one in EXCEPTIONS:
        assert set(one) == {"check", "says", "of", "because"}
        assert re.fullmatch(r"[A-Z].{60,}\.", one["because"].strip())
