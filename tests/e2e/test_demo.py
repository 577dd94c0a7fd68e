"""The demo and the sandbox as a newcomer starts them: as processes, in an empty folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow]
COMMAND = (sys.executable, "-m", "passmuster.cli.main")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KUBE"))}


def _children(pid: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.add(int(stat.parent.name))
    return found


def test_the_demo_without_a_cluster_tells_the_whole_story_and_writes_a_report(tmp_path: Path) -> None:
    command = [*COMMAND, "demo", "--no-cluster"]
    ran = subprocess.run(
        command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "no Kubernetes" in ran.stdout
    assert "Applied" in ran.stdout
    assert "Traceback" not in ran.stderr
    assert (tmp_path / "passmuster-report.html").read_text().startswith("<!doctype html>")


@pytest.mark.apiserver
@pytest.mark.usefixtures("apiserver_programs")
def test_the_demo_on_a_real_api_server_approves_and_proves_a_fix(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*COMMAND, "demo"], cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for telling in ("readinesspolicy/shop applied", "AwaitingApproval", "Applied", "passmuster_score_ratio", "failing"):
        assert telling in ran.stdout, ran.stdout
    assert "Traceback" not in ran.stderr


@pytest.mark.apiserver
@pytest.mark.usefixtures("apiserver_programs")
def test_the_sandbox_stays_up_until_interrupted_and_leaves_no_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen([*COMMAND, "sandbox", "up"], env=_environment(), stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 180
        while "Ctrl-C ends it" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
        children = _children(process.pid)
        assert len(children) >= 3
        assert "export KUBECONFIG=" in log.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
