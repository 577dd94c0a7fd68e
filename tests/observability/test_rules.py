"""Every alert fires when it should and stays quiet when it should not, by promtool; and says what a person needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from observability.rule_cases import CASES, document
from passmuster.cli.main import app
from passmuster.observability.alerts import ALERTS, Alert
from passmuster.observability.queries import faults
from passmuster.observability.rules import prometheus_rule, rule_file
from passmuster.sandbox.prometheus_binaries import PrometheusBinaries

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "passmuster" / "rules" / "passmuster.rules.yaml"
SCRAPED = ("pod", "instance", "job", "namespace", "container", "endpoint")
GROUPING = re.compile(r"\bby \(([^)]*)\)")
LABEL = re.compile(r"\$labels\.(\w+)")


def _promtool(programs: PrometheusBinaries, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(programs.promtool), *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def _with_expressions(folder: Path, expression: str) -> Path:
    """The same rules and cases, with one expression for every alert."""
    rules: dict[str, Any] = yaml.safe_load(rule_file())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = expression
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    cases: dict[str, Any] = yaml.safe_load(document())
    cases["rule_files"] = ["rules.yaml"]
    for test in cases["tests"]:
        moment = test["alert_rule_test"][0]
        moment["eval_time"] = f"{min(1441, int(moment['eval_time'].rstrip('m')))}m"
    path = folder / "cases.yaml"
    path.write_text(yaml.safe_dump(cases))
    return path


@pytest.mark.prometheus
def test_promtool_takes_the_rules(prometheus_programs: PrometheusBinaries) -> None:
    done = _promtool(prometheus_programs, "check", "rules", RULES)
    assert (done.returncode, f"SUCCESS: {len(ALERTS)} rules found" in done.stdout) == (0, True), done


@pytest.mark.prometheus
def test_every_alert_fires_and_stays_quiet_as_its_cases_say(prometheus_programs: PrometheusBinaries) -> None:
    done = _promtool(prometheus_programs, "test", "rules", Path(__file__).with_name("passmuster.rules.test.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("expression", "broken"),
    [("vector(0) > 1", [c for c in CASES if c.fires]), ("vector(1)", [c for c in CASES if not c.fires])],
    ids=["rules that never fire", "rules that always fire"],
)
def test_the_cases_notice(
    prometheus_programs: PrometheusBinaries, tmp_path: Path, expression: str, broken: list[Any]
) -> None:
    done = _promtool(prometheus_programs, "test", "rules", _with_expressions(tmp_path, expression))
    failed = re.findall(r"alertname: (\w+), time:", done.stdout + done.stderr)
    assert {case.alert for case in broken} <= set(failed)
    assert len(failed) >= len(broken)


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    names = {alert.name for alert in ALERTS}
    assert {case.alert for case in CASES if case.fires} == names
    assert {case.alert for case in CASES if not case.fires} == names


def test_names_are_told_apart() -> None:
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_no_label_of_the_scrape_survives_so_that_a_restart_keeps_the_alert(alert: Alert) -> None:
    kept = {label.strip() for grouping in GROUPING.findall(alert.expression) for label in grouping.split(",")}
    assert not kept & set(SCRAPED)
    inner = re.findall(r"(?<![\w(])(passmuster_\w+)(?![\w(])", alert.expression)
    aggregated = re.findall(r"\b(?:max|min|sum|count)\b", alert.expression)
    assert len(aggregated) >= len(inner), "a series is not aggregated"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_only_labels_that_it_has(alert: Alert) -> None:
    kept = {label.strip() for grouping in GROUPING.findall(alert.expression) for label in grouping.split(",")}
    assert set(LABEL.findall(alert.summary + alert.description)) <= kept


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_severity_summary_description_and_a_runbook(alert: Alert) -> None:
    assert list(faults(alert.expression)) == []
    assert not alert.summary.endswith(".")
    assert alert.description.endswith(".")
    path = ROOT / "docs" / "runbooks" / f"{alert.name}.md"
    assert alert.runbook_url.endswith(f"/runbooks/{alert.name}/")
    text = path.read_text(encoding="utf-8")
    for heading in ("What it means", "Where to look first", "How to fix it", "How to silence it"):
        assert f"## {heading}\n\n" in text
    assert f"`{alert.urgency}`" in text


def test_the_prometheus_rule_holds_the_same_groups_as_the_file() -> None:
    made = yaml.safe_load(prometheus_rule("monitoring", {"release": "prometheus"}))
    assert made["kind"] == "PrometheusRule"
    assert made["metadata"] == {
        "name": "passmuster",
        "namespace": "monitoring",
        "labels": {"release": "prometheus"},
    }
    assert made["spec"] == yaml.safe_load(RULES.read_text(encoding="utf-8"))


def test_the_command_prints_or_writes_what_the_chart_ships(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["rules"])
    assert (printed.exit_code, printed.stdout) == (0, RULES.read_text(encoding="utf-8"))
    where = tmp_path / "new" / "rules.yaml"
    assert CliRunner().invoke(app, ["rules", "--kubernetes", "--label", "a=b", "-o", str(where)]).exit_code == 0
    assert yaml.safe_load(where.read_text())["metadata"]["labels"] == {"a": "b"}
    assert CliRunner().invoke(app, ["dashboards", "-o", str(tmp_path / "all")]).exit_code == 0
    shipped = sorted(path.name for path in (ROOT / "charts" / "passmuster" / "dashboards").iterdir())
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == shipped


@pytest.mark.parametrize(
    "arguments",
    [
        ["rules", "--label", "a=b"],
        ["rules", "--kubernetes", "--label", "a"],
        ["rules", "-o", "/proc/x"],
        ["metrics", "-o", "/proc/x"],
    ],
)
def test_a_wrong_use_is_told_in_words(arguments: list[str]) -> None:
    from passmuster.model.errors import UserError

    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError)
