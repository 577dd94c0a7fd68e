"""Prometheus and Alertmanager are found on PATH, or installed by root without any service being started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from passmuster.sandbox import prometheus_binaries
from passmuster.sandbox.prometheus_binaries import PrometheusBinaries, PrometheusUnavailable, obtain

NAMES = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
APT = """#!{python}
# A stand-in for apt-get: logs what it was asked for and whether services may start, and "installs" into its folder.
import os, pathlib, sys
folder = pathlib.Path({folder!r})
calls = folder / "calls"
policy = pathlib.Path({policy!r})
with calls.open("a") as log:
    log.write(" ".join(sys.argv[1:]) + (" forbidden" if policy.exists() else " allowed") + "\\n")
if sys.argv[1] == "update":
    (folder / "lists").touch()
    sys.exit()
if {failure!r} == "always" or ({failure!r} == "without lists" and not (folder / "lists").exists()):
    sys.exit("E: Unable to locate package prometheus")
for name in {installs!r}:
    (folder / "bin" / name).write_text("#!/bin/sh\\n")
    (folder / "bin" / name).chmod(0o755)
"""


class Machine:
    """A machine with an empty PATH, on which apt-get may be put."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.policy = folder / "policy-rc.d"
        self.said: list[str] = []
        self.bin.mkdir()

    def program(self, name: str, text: str = "#!/bin/sh\n") -> Path:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def apt(self, *, failure: str = "", installs: tuple[str, ...] = NAMES) -> None:
        self.program(
            "apt-get",
            APT.format(
                python=sys.executable,
                folder=str(self.folder),
                policy=str(self.policy),
                failure=failure,
                installs=installs,
            ),
        )

    def obtain(self, *, root: bool = True) -> PrometheusBinaries:
        return obtain(self.said.append, root=root, policy=self.policy)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin))
    return made


def test_a_machine_without_them_has_none(machine: Machine) -> None:
    assert prometheus_binaries.find() is None


@pytest.mark.parametrize("name", ["alertmanager", "prometheus-alertmanager"])
def test_all_four_on_path_are_found_under_either_name(machine: Machine, name: str) -> None:
    for program in ("prometheus", "promtool", name, "amtool"):
        machine.program(program)
    found = prometheus_binaries.find()
    assert found == PrometheusBinaries(*(machine.bin / one for one in ("prometheus", "promtool", name, "amtool")))
    assert machine.obtain() == found
    assert machine.said == []


@pytest.mark.parametrize("missing", NAMES)
def test_three_of_four_are_none(machine: Machine, missing: str) -> None:
    for name in set(NAMES) - {missing}:
        machine.program(name)
    assert prometheus_binaries.find() is None


def test_root_installs_them_and_no_service_may_start_meanwhile(machine: Machine) -> None:
    machine.apt()
    assert machine.obtain().promtool == machine.bin / "promtool"
    assert machine.calls == [
        "install -y -qq --no-install-recommends prometheus prometheus-alertmanager forbidden",
    ]
    assert not machine.policy.exists()
    assert len(machine.said) == 1


def test_a_policy_that_is_there_already_is_left_as_it_is(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 104\n")
    machine.apt()
    machine.obtain()
    assert machine.policy.read_text() == "#!/bin/sh\nexit 104\n"


def test_old_lists_are_renewed_once(machine: Machine) -> None:
    machine.apt(failure="without lists")
    machine.obtain()
    assert [line.split()[0] for line in machine.calls] == ["install", "update", "install"]


def test_a_mirror_that_has_nothing_is_told_in_one_sentence_and_leaves_no_policy(machine: Machine) -> None:
    machine.apt(failure="always")
    with pytest.raises(PrometheusUnavailable, match=r"\(E: Unable to locate package prometheus\): let apt-get reach"):
        machine.obtain()
    assert not machine.policy.exists()


def test_packages_without_the_programs_are_told(machine: Machine) -> None:
    machine.apt(installs=("prometheus",))
    with pytest.raises(PrometheusUnavailable, match="do not hold what is needed"):
        machine.obtain()


def test_who_is_not_root_is_told_what_to_install(machine: Machine) -> None:
    machine.apt()
    with pytest.raises(PrometheusUnavailable, match="install the packages prometheus and prometheus-alertmanager as"):
        machine.obtain(root=False)
    assert not (machine.folder / "calls").exists()


def test_without_apt_get_the_sentence_names_the_programs(machine: Machine) -> None:
    with pytest.raises(PrometheusUnavailable, match="put prometheus, promtool, alertmanager and amtool on PATH"):
        machine.obtain()


def test_the_command_prints_paths_or_exits_with_the_sentence(machine: Machine) -> None:
    command = [sys.executable, "-S", prometheus_binaries.__file__]
    environment = {**os.environ, "PATH": str(machine.bin)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("There is no Prometheus and Alertmanager on this machine")
    for name in NAMES:
        machine.program(name)
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [
        "prometheus",
        "promtool",
        "alertmanager",
        "amtool",
    ]


@pytest.mark.prometheus
def test_a_version_is_read(prometheus_programs: PrometheusBinaries) -> None:
    assert prometheus_binaries.version(prometheus_programs.prometheus) >= (2, 40)
    assert prometheus_binaries.version(prometheus_programs.alertmanager) >= (0, 24)
