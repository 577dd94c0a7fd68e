"""The command line as a person runs it: in an empty folder, with the simulated account's own keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from command_line import Ran, Run
from passmuster.cli import main
from passmuster.sandbox.simulated_aws import SimulatedAWS
from passmuster.sandbox.story import base_environment


@pytest.fixture
def run(aws: SimulatedAWS, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`passmuster ...`; the module says which account `aws` is."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "KUBE"))]:
        monkeypatch.delenv(name)
    for name, value in base_environment(aws).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)

    def ran(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["passmuster", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.run()
        captured = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, captured.out, captured.err)

    return ran
