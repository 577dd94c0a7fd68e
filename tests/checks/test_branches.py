"""Every line and every branch of every check is executed by its fixtures.

The fixtures run once more in a process of their own, with branches measured from the first import on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from passmuster.checks.catalogue import load

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHECKS = ROOT / "operator" / "passmuster" / "checks"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What coverage says of each module, by its path."""
    folder = tmp_path_factory.mktemp("coverage")
    data, report = f"--data-file={folder / 'data'}", folder / "report.json"
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/checks/test_fixtures.py"]
    coverage = [sys.executable, "-m", "coverage"]
    ran = subprocess.run(
        [*coverage, "run", "--branch", data, f"--source={CHECKS}", *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
    subprocess.run([*coverage, "json", data, "-o", str(report), "--quiet"], cwd=ROOT, check=True)
    found: Mapping[str, Any] = json.loads(report.read_text())["files"]
    return {str(Path(name).resolve().relative_to(CHECKS)): entry for name, entry in found.items()}


@pytest.mark.parametrize("check_id", [check.id for check in load()])
def test_every_branch_of_a_check_is_executed_by_its_fixtures(measured: Mapping[str, Any], check_id: str) -> None:
    module = load().get(check_id).module.removeprefix("passmuster.checks.").replace(".", "/")
    entry = measured[f"{module}.py"]
    assert entry["missing_lines"] == []
    assert entry["missing_branches"] == []
