"""Every variable, panel, annotation and alert, asked of a real Prometheus that scrapes the real operator.

The account, the people and the faults of this module are there to give every panel something to show: a panel without
data fails. With PASSMUSTER_PICTURES set to a folder, the pictures of docs/dashboards.md are drawn from the answers.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver import waiver
from e2e.conftest import World, manifests
from observability.drawing import draw
from passmuster.metrics import contract
from passmuster.observability.alerts import ALERTS
from passmuster.observability.dashboards import DASHBOARDS
from passmuster.observability.panels import Dashboard, render
from passmuster.sandbox.prometheus import Prometheus, Series
from passmuster.sandbox.prometheus_binaries import PrometheusBinaries
from passmuster.sandbox.story import example

pytestmark = [pytest.mark.apiserver, pytest.mark.prometheus, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "passmuster" / "rules" / "passmuster.rules.yaml"
CLOSED = "222222222222"
LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")
GRAFANAS = {"$__rate_interval": "20s", "$__range": "1h"}
CHOSEN = {"policy": "shop"}
"""What a person would choose, where there is more than one value; elsewhere the first one."""


@dataclass
class Watched:
    """A Prometheus that has seen everything, and since when."""

    prometheus: Prometheus
    started: float
    counted: dict[str, int] = field(default_factory=dict)

    def choices(self, dashboard: Dashboard) -> dict[str, str]:
        """A value for every variable, in their order, as Grafana resolves them; fails where one is empty."""
        chosen: dict[str, str] = {}
        for variable in render(dashboard)["templating"]["list"]:
            if variable["type"] == "datasource":
                continue
            match = LABEL_VALUES.fullmatch(variable["query"])
            assert match is not None, variable["query"]
            values = self.prometheus.label_values(match[2], filled(match[1], chosen))
            assert values, f"{dashboard.title}: the variable {variable['name']} has no value"
            wanted = CHOSEN.get(variable["name"], values[0])
            assert wanted in values, (variable["name"], values)
            chosen[variable["name"]] = variable["allValue"] if variable["multi"] else wanted
        return chosen

    def ask(self, target: Mapping[str, Any], chosen: Mapping[str, str]) -> list[Series]:
        """What a query of a panel is answered."""
        expression = filled(target["expr"], chosen)
        if target["instant"]:
            return self.prometheus.query(expression)
        return self.prometheus.query_range(expression, self.started, time.time(), 2.0)


def filled(text: str, chosen: Mapping[str, str]) -> str:
    """An expression with its variables filled in, as Grafana does it."""
    for name, value in GRAFANAS.items():
        text = text.replace(name, value)
    for name, value in chosen.items():
        text = re.sub(rf"\${name}\b", value, text)
    assert "$" not in text, f"a variable is not declared: {text}"
    return text


def has_data(answer: list[Series]) -> bool:
    """Whether there is a number in it."""
    return any(not math.isnan(value) for one in answer for _, value in one.points)


def _grant(world: World, body: dict[str, Any]) -> None:
    """Made by bob, approved by alice, and counting."""
    answer = world.server.create(body, user="bob")
    assert answer.ok, answer.message
    stored = world.server.get(body)
    assert world.server.patch(stored, {"spec": {"approvals": [{"by": "alice"}]}}, user="alice").ok
    world.until(
        body["metadata"]["name"],
        lambda: world.server.get(body).get("status", {}).get("state"),
        lambda state: state == "InForce",
    )


def _declare(world: World) -> None:
    """An account with a policy and a minimumScore, and another one whose role does not exist."""
    for document in manifests():
        if document["kind"] == "ReadinessPolicy":
            document["spec"]["minimumScore"] = 80
            document["spec"]["checks"]["disabled"] = ["cloudtrail-data-events"]  # applies only where there is a trail
        assert world.server.apply(document).ok
    account, policy = (d for d in manifests() if d["kind"] in ("AWSAccount", "ReadinessPolicy"))
    for body in (account, policy):
        body["metadata"]["name"] = "closed"
    account["spec"] |= {"accountId": CLOSED, "roleArn": f"arn:aws:iam::{CLOSED}:role/gone"}
    account["spec"].pop("remediationRoleArn")
    policy["spec"] |= {"accountRef": {"name": "closed"}, "remediation": {"mode": "Observe"}}
    for body in (account, policy):
        assert world.server.apply(body).ok


def _happen(world: World) -> None:
    """What makes something to show: grants, a change that succeeds, one that AWS takes back, and refusals of AWS."""
    world.server.bind("shop", "bob", role="passmuster-editor")
    ends = (datetime.now(UTC) + timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    _grant(world, waiver("shop", "legacy", check="health-endpoint-dedicated", expiresAt=ends))
    _grant(world, yaml.safe_load(example("attestation.yaml").read_text(encoding="utf-8")))
    world.until("the trail's proposal", lambda: world.state("cloudtrail"), lambda state: state == "AwaitingApproval")
    world.aws.fail_resource("create", resource_type="AWS::ElasticLoadBalancingV2::Listener", count=None)
    world.until("the listener's proposal", lambda: world.state("tls-listener"), lambda s: s == "AwaitingApproval")
    assert world.approve("tls-listener").ok
    world.until("the roll-back", lambda: world.state("tls-listener"), lambda state: state == "RolledBack")
    faults = [
        world.aws.faults.add("throttled", service="rds", count=12),
        world.aws.faults.add("denied", service="backup"),
    ]
    world.inspected("with-faults")
    for fault in faults:
        world.aws.faults.remove(fault)
    world.inspected("without-faults")
    assert world.approve("cloudtrail").ok
    world.until("the trail", lambda: world.remediation("cloudtrail").get("status"), lambda s: s["state"] == "Applied")


@pytest.fixture(scope="module")
def watched(world: World, prometheus_programs: PrometheusBinaries) -> Iterator[Watched]:
    """The story, watched from its beginning."""
    token = world.folder / "token"
    token.write_text("watchword\n")
    operator = world.start_operator("--alerts-token-file", str(token))
    target = operator.url.removeprefix("http://")
    try:
        with Prometheus(prometheus_programs, world.folder, targets={"passmuster": target}, rules=[RULES]) as running:
            started = time.time()
            _declare(world)
            world.until("the verdict", lambda: world.check("https-redirect").get("status"), lambda s: s == "Fail")
            _happen(world)
            seen = 'sum(passmuster_remediations{state="Applied"})'
            world.until("the last figures", lambda: running.query(seen), bool)
            time.sleep(5)
            yield Watched(running, started)
    finally:
        for plural, where in (("readinesspolicies", "namespaces/shop/"), ("awsaccounts", "")):
            world.server.call("DELETE", f"/apis/passmuster.io/v1alpha1/{where}{plural}/closed")


def test_prometheus_knows_every_metric_of_the_contract(watched: Watched) -> None:
    names = watched.prometheus.names()
    assert [name for name in contract.series() if name not in names] == []


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.uid)
def test_every_variable_has_values_and_every_panel_has_data_and_a_unit(dashboard: Dashboard, watched: Watched) -> None:
    chosen = watched.choices(dashboard)
    panels = {panel.title: panel for panel in dashboard.panels}
    answers: dict[str, list[list[Series]]] = {}
    empty, queries = [], 0
    for made in render(dashboard)["panels"]:
        if made["type"] == "row":
            continue
        assert made["fieldConfig"]["defaults"]["unit"], made["title"]
        answers[made["title"]] = [watched.ask(target, chosen) for target in made["targets"]]
        queries += len(made["targets"])
        empty += [f"{made['title']} {t['refId']}" for t, a in _paired(made, answers) if not has_data(a)]
    notes = render(dashboard)["annotations"]["list"]
    for note in notes:
        expression = filled(note["expr"], chosen)
        found = watched.prometheus.query_range(expression, watched.started, time.time(), 2.0)
        empty += [f"the annotation {note['name']}"] if not has_data(found) else []
    assert empty == []
    assert set(answers) == set(panels)
    counts = {"panels": len(panels), "queries": queries, "variables": len(chosen), "annotations": len(notes)}
    for what, number in counts.items():
        watched.counted[what] = watched.counted.get(what, 0) + number
    _picture(dashboard, answers)


def _paired(made: Mapping[str, Any], answers: Mapping[str, list[list[Series]]]) -> list[tuple[Any, list[Series]]]:
    return list(zip(made["targets"], answers[made["title"]], strict=True))


def _picture(dashboard: Dashboard, answers: Mapping[str, list[list[Series]]]) -> None:
    picture = draw(dashboard, answers)
    assert all(panel.title.replace("&", "&amp;") in picture for panel in dashboard.panels)
    folder = os.environ.get("PASSMUSTER_PICTURES")
    if folder:
        (Path(folder) / f"{dashboard.uid}.svg").write_text(picture, encoding="utf-8")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_is_evaluated_and_every_metric_it_asks_for_is_there(alert: Any, watched: Watched) -> None:
    rule = next(r for r in watched.prometheus.rules() if r["name"] == alert.name)
    assert (rule["health"], rule.get("lastError", "")) == ("ok", "")
    watched.prometheus.query(" ".join(alert.expression.split()))
    for selector in re.findall(r"passmuster_\w+", alert.expression):
        assert has_data(watched.prometheus.query(selector)), selector
    watched.counted["alerts"] = watched.counted.get("alerts", 0) + 1


def test_the_alerts_of_this_story_are_those_that_should_be(watched: Watched) -> None:
    found = {(a["labels"]["alertname"], a["labels"].get("account_id", "")) for a in watched.prometheus.alerts()}
    mine = "123456789012"
    for name, account_id in (
        ("PassmusterCriticalCheckFailing", mine),
        ("PassmusterScoreBelowTarget", mine),
        ("PassmusterRemediationFailed", mine),
        ("PassmusterApprovalWaiting", mine),
        ("PassmusterWaiverExpiring", mine),
        ("PassmusterCredentialsInvalid", CLOSED),
        ("PassmusterInspectionStale", CLOSED),
        ("PassmusterWatchdog", ""),
    ):
        assert (name, account_id) in found
    quiet = {"PassmusterNoLeader", "PassmusterWatchStalled", "PassmusterWebhookSilent", "PassmusterAttestationExpiring"}
    assert not quiet & {name for name, _ in found}


def test_how_much_was_proven(watched: Watched, told: Callable[[str], None]) -> None:
    counted = watched.counted
    told(", ".join(f"{number} {what}" for what, number in counted.items()) + " proven")
    assert counted["panels"] == sum(len(dashboard.panels) for dashboard in DASHBOARDS)
    assert counted["variables"] == sum(len(dashboard.variables) for dashboard in DASHBOARDS)
    assert counted["alerts"] == len(ALERTS)


def test_a_panel_without_data_would_be_noticed(watched: Watched) -> None:
    nothing = {"expr": 'passmuster_score_ratio{policy="gone"}', "instant": True}
    assert not has_data(watched.ask(nothing, {}))
    not_a_number = {"expr": "passmuster_leader * 0 / 0", "instant": True}
    assert not has_data(watched.ask(not_a_number, {}))
