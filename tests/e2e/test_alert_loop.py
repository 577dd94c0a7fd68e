"""An alert about an account, and what comes of it, with a real Prometheus, a real Alertmanager and the real API server.

    somebody deletes the trail > exporter > rule > Alertmanager > webhook > inspection > remediation > alert resolved

The policy's interval is an hour: without the alert nothing would be noticed before. Afterwards the same operator is
given what a broken or hostile Alertmanager may send. The tests of this module tell one story in their order.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.conftest import REQUESTED, World, manifests
from loopback import Asked, Said, loopback
from passmuster.handlers.alerts import MOST_BYTES
from passmuster.sandbox.prometheus import Alertmanager, Prometheus
from passmuster.sandbox.prometheus_binaries import PrometheusBinaries

pytestmark = [pytest.mark.apiserver, pytest.mark.prometheus, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "passmuster" / "rules" / "passmuster.rules.yaml"
TEMPLATE = ROOT / "remediations" / "1-production" / "cloudtrail" / "template.yaml"
TOKEN = "watchword"
CHECK = "cloudtrail-multi-region"
HINT = "reconcile.passmuster.io/hint"
LONGEST = 60.0
MANY = 150
NAMED = {"policy_namespace": "shop", "policy": "shop", "check": CHECK}


@dataclass
class Loop:
    """Everything around the operator."""

    world: World
    prometheus: Prometheus
    alertmanager: Alertmanager

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.world.policy["metadata"].get("annotations") or {})

    @property
    def trails(self) -> list[str]:
        account = self.world.account
        client = self.world.aws.client("cloudtrail", account.region, account_id=account.account_id)
        return [trail["Name"] for trail in client.describe_trails()["trailList"]]

    def firing(self, name: str) -> list[dict[str, Any]]:
        found = self.prometheus.alerts()
        return [alert for alert in found if alert["labels"]["alertname"] == name and alert["state"] == "firing"]

    def value(self, expression: str) -> float | None:
        found = self.prometheus.query(expression)
        return found[0].value if found else None

    def post(self, body: Any, *, token: str = TOKEN, headers: dict[str, str] | None = None) -> int:
        """The status of a POST to the operator's webhook."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.world.operator.url}/alerts",
            data=raw,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json", **(headers or {})},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code

    def reads(self) -> int:
        """How often the operator has asked for the trails since the requests were forgotten."""
        own = set(self.world.aws.root_keys(self.world.account.account_id).for_boto3().values())
        return sum(r.operation == "DescribeTrails" and r.access_key not in own for r in list(self.world.aws.requests))

    def quiet(self) -> None:
        """Returns when the last request is handled and the window of alerts is over."""

        def handled() -> tuple[str | None, str | None]:
            body = self.world.policy
            return self.annotations.get(REQUESTED), body["status"].get("lastHandledReconcileAt")

        self.world.until("the last request", handled, lambda both: both[0] == both[1])
        time.sleep(31)
        self.world.aws.requests.clear()


def _rule_of_others(folder: Path) -> Path:
    """The rule in docs/alerts.md, without its patience."""
    blocks = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8").split("```yaml\n")[1:]
    documents = [yaml.safe_load(block.split("```")[0]) for block in blocks]
    (rules,) = [document for document in documents if "groups" in document]
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "0s"
    path = folder / "others.rules.yaml"
    path.write_text(yaml.safe_dump(rules))
    return path


def _own_trail(world: World) -> None:
    """The account has a trail that its owner made."""
    client = world.aws.client("cloudformation", world.account.region, account_id=world.account.account_id)
    body = TEMPLATE.read_text(encoding="utf-8").replace("passmuster-trail-logs", "shop-trail-logs")
    client.create_stack(StackName="shop-trail", TemplateBody=body)
    assert client.describe_stacks(StackName="shop-trail")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"


@pytest.fixture(scope="module")
def loop(world: World, prometheus_programs: PrometheusBinaries) -> Iterator[Loop]:
    """An account with a trail, a policy that may apply changes of one phase, and everything that watches it."""
    _own_trail(world)
    token = world.folder / "token"
    token.write_text(f"{TOKEN}\n")
    for document in manifests():
        if document["kind"] == "AWSAccount":
            document["spec"] |= {"allowedModes": ["Observe", "Apply"], "minApprovals": 0}
        if document["kind"] == "ReadinessPolicy":
            document["spec"]["remediation"] = {
                "mode": "Observe",
                "phases": [{"phase": "Production", "mode": "Apply"}],
                "maxMonthlyCost": 60,
                "inputs": {"tags": {"Environment": "production", "Project": "shop", "Owner": "shop-team"}},
            }
            document["spec"]["checks"]["disabled"] = ["cloudtrail-data-events"]  # applies only where there is a trail
        assert world.server.apply(document).ok
    world.start_operator("--alerts-token-file", str(token))
    world.until("the verdict", lambda: world.check(CHECK).get("status"), lambda status: status == "Pass")

    def exported(_: Asked) -> Said:
        """What a CloudWatch exporter is to a platform team: a metric about the account, read when it is scraped."""
        body = f'cloudtrail_trails{{account_id="{world.account.account_id}"}} {len(made.trails)}\n'
        return Said(body.encode(), content_type="text/plain; version=0.0.4")

    operator = world.operator.url.removeprefix("http://")
    alertmanager = Alertmanager(
        prometheus_programs, world.folder, webhook=f"{world.operator.url}/alerts", token_file=token
    )
    with loopback(exported) as exporter:
        prometheus = Prometheus(
            prometheus_programs,
            world.folder,
            targets={"passmuster": operator, "aws": exporter.removeprefix("http://")},
            rules=[RULES, _rule_of_others(world.folder)],
            alertmanager=alertmanager,
        )
        made = Loop(world, prometheus, alertmanager)
        with alertmanager, prometheus:
            yield made


def test_a_deleted_trail_is_noticed_by_its_alert_and_made_again_within_a_minute(
    loop: Loop, told: Callable[[str], None]
) -> None:
    world = loop.world
    labels = f'check="{CHECK}"'
    world.until("the first samples", lambda: loop.value("sum(cloudtrail_trails)"), lambda value: value == 1)
    passing = f'passmuster_check_status{{{labels}, status="Pass"}}'
    world.until("the passing check", lambda: loop.value(passing), lambda value: value == 1)
    assert loop.firing("TrailGone") == []
    assert world.remediation("cloudtrail") == {}
    world.until("the sign of life", lambda: loop.value("sum(passmuster_alerts_received_total)"), lambda v: v)

    client = world.aws.client("cloudtrail", world.account.region, account_id=world.account.account_id)
    broken = time.monotonic()
    client.delete_trail(Name=loop.trails[0])
    world.until("the alert", lambda: loop.firing("TrailGone"), bool)
    world.until("the request", lambda: loop.annotations, lambda found: found.get(HINT) == CHECK)
    noticed = time.monotonic()
    assert loop.annotations[REQUESTED].startswith("alert-")
    made = world.until("the remediation", lambda: world.remediation("cloudtrail"), bool)
    world.until(
        "its proof",
        lambda: world.remediation("cloudtrail").get("status") or {},
        lambda status: status.get("state") in ("Applied", "Failed"),
        seconds=LONGEST,
    )
    applied = time.monotonic()
    world.until("the end of the alert", lambda: loop.firing("TrailGone"), lambda found: not found)
    resolved = time.monotonic()

    assert world.state("cloudtrail") == "Applied", world.remediation("cloudtrail")["status"]
    assert len(loop.trails) == 1
    assert resolved - broken < LONGEST
    told(
        f"noticed after {noticed - broken:.1f} s, applied after {applied - broken:.1f} s, "
        f"resolved after {resolved - broken:.1f} s"
    )
    assert world.remediation("cloudtrail")["spec"].get("approvals", []) == []
    assert made["spec"]["fixes"][0] == CHECK
    states = [entry["state"] for entry in world.remediation("cloudtrail")["status"]["history"]]
    assert "AwaitingApproval" not in states
    world.until("the passing check", lambda: loop.value(passing), lambda value: value == 1)
    ended = 'passmuster_remediation_duration_seconds_count{outcome="Applied"}'
    world.until("its duration", lambda: loop.value(ended), lambda value: value >= 1)
    assert world.faults() == []


def test_the_end_of_the_alert_is_inspected_too(loop: Loop) -> None:
    world = loop.world

    def handled() -> tuple[str | None, str | None, float]:
        status = world.policy["status"]
        return loop.annotations.get(REQUESTED), status.get("lastHandledReconcileAt"), _accepted(world)

    world.until("the inspection", handled, lambda found: found[0] == found[1] and found[2] >= 3)
    known = {alert["labels"]["alertname"] for alert in loop.alertmanager.alerts()}
    assert "TrailGone" not in known


def _accepted(world: World) -> float:
    return world.samples().get('passmuster_alerts_received_total{outcome="accepted"}', 0.0)


def test_while_prometheus_scrapes_the_operator_the_watchdog_reaches_it(loop: Loop) -> None:
    assert loop.firing("PassmusterWatchdog")
    assert loop.firing("PassmusterNoLeader") == []
    assert loop.firing("PassmusterWebhookSilent") == []
    assert {rule["health"] for rule in loop.prometheus.rules()} == {"ok"}


# what a broken or hostile Alertmanager sends


def _alert(number: int = 0, *, status: str = "firing", **labels: str) -> dict[str, Any]:
    shown = {**NAMED, **labels}
    return {"status": status, "labels": shown, "startsAt": "2026-11-21T10:00:00Z", "fingerprint": f"{number:016x}"}


def _notification(*alerts: dict[str, Any], truncated: int = 0) -> dict[str, Any]:
    return {"version": "4", "truncatedAlerts": truncated, "alerts": list(alerts)}


def test_from_here_on_only_the_tests_send_notifications(loop: Loop) -> None:
    loop.prometheus.stop()
    loop.alertmanager.stop()
    loop.quiet()
    assert loop.reads() == 0


def test_a_flood_is_two_inspections_and_changes_nothing_but_two_annotations(
    loop: Loop, told: Callable[[str], None]
) -> None:
    world = loop.world
    before = world.policy
    remediations = {r["metadata"]["name"]: r["spec"] for r in world.list("remediations")}
    forged = {"approvals": "alice", "mode": "Apply", "suspend": "true", "account_id": world.account.account_id}
    started = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        codes = Counter(pool.map(lambda n: loop.post(_notification(_alert(n % 50, **forged), _alert(n))), range(MANY)))
    took = time.monotonic() - started
    assert set(codes) <= {202, 503}
    assert codes[202] >= MANY / 2
    reads = loop.reads()
    assert reads <= 1 + took // 30, f"{reads} inspections for {MANY} notifications in {took:.0f} s"
    world.until(
        "the last one",
        lambda: (loop.annotations[REQUESTED], world.policy["status"]),
        lambda found: found[0] == found[1].get("lastHandledReconcileAt"),
    )
    assert loop.reads() <= 2 + took // 30
    after = world.policy
    assert after["spec"] == before["spec"]
    changed = {name for name, value in loop.annotations.items() if before["metadata"]["annotations"].get(name) != value}
    assert changed <= {REQUESTED, HINT}
    assert {r["metadata"]["name"]: r["spec"] for r in world.list("remediations")} == remediations
    told(f"{MANY} notifications in {took:.1f} s: {dict(codes)}, {loop.reads()} inspections")
    assert world.operator.get("/healthz") == "ok\n"


def test_duplicates_and_reordered_notifications_are_one_request(loop: Loop) -> None:
    loop.quiet()
    alerts = [_alert(n) for n in range(5)]
    tokens = set()
    for order in (alerts, alerts[::-1], [*alerts, *alerts], alerts[2:] + alerts[:2]):
        assert loop.post(_notification(*order)) == 202
        tokens.add(loop.annotations[REQUESTED])
    assert len(tokens) == 1
    loop.world.until(
        "the inspection",
        lambda: loop.world.policy["status"].get("lastHandledReconcileAt"),
        lambda token: token in tokens,
    )
    assert loop.reads() == 1


def test_the_end_of_an_alert_that_comes_before_its_beginning_leaves_nothing_behind(loop: Loop) -> None:
    assert loop.post(_notification(_alert(77, status="resolved"))) == 202
    assert loop.post(_notification(_alert(77, status="firing"))) == 202
    loop.quiet()
    assert loop.world.check(CHECK)["status"] == "Pass"
    assert loop.world.faults() == []


def test_a_truncated_notification_has_the_whole_account_inspected(loop: Loop) -> None:
    loop.post(_notification(_alert(1)))
    assert loop.annotations[HINT] == CHECK
    assert loop.post(_notification(_alert(2), truncated=40)) == 202
    assert HINT not in loop.annotations


def test_a_real_alertmanager_that_truncates_is_understood(
    loop: Loop, prometheus_programs: PrometheusBinaries, tmp_path: Path
) -> None:
    loop.quiet()
    loop.post(_notification(_alert(3)))
    world = loop.world
    url = f"{world.operator.url}/alerts"
    with Alertmanager(
        prometheus_programs, tmp_path, webhook=url, token_file=world.folder / "token", max_alerts=1
    ) as manager:
        alerts = [{"labels": {"alertname": "Many", "n": str(n), **NAMED}} for n in range(3)]
        manager.post("/api/v2/alerts", alerts)
        world.until("the whole account", lambda: loop.annotations, lambda found: HINT not in found)


@pytest.mark.parametrize(
    ("body", "token", "expected"),
    [
        (_notification(_alert()), "guess", 401),
        (_notification(_alert()), "", 401),
        (b"x" * (MOST_BYTES + 1), TOKEN, 413),
        (b"x" * (3 * MOST_BYTES), TOKEN, 413),
        (b"x" * (MOST_BYTES + 1), "guess", 401),
        (b"not json", TOKEN, 400),
        ({"version": "3", "alerts": []}, TOKEN, 400),
        ({"version": "4", "alerts": [{"status": "firing"}]}, TOKEN, 400),
        (b'{"version":"4","alerts":[' + b"[" * 50_000, TOKEN, 400),
    ],
    ids=["forged", "no token", "oversized", "far too large", "forged and oversized", "text", "old", "partial", "deep"],
)
def test_what_is_no_notification_of_ours_is_refused_and_leaves_nothing(
    loop: Loop, body: Any, token: str, expected: int
) -> None:
    before = loop.annotations
    assert loop.post(body, token=token) == expected
    assert loop.annotations == before


def test_a_body_that_is_cut_off_is_refused_and_does_not_hold_up_others(loop: Loop) -> None:
    host, _, port = loop.world.operator.url.removeprefix("http://").partition(":")
    hanging = http.client.HTTPConnection(host, int(port), timeout=20)
    hanging.putrequest("POST", "/alerts")
    hanging.putheader("Authorization", f"Bearer {TOKEN}")
    hanging.putheader("Content-Length", "1000")
    hanging.endheaders(b'{"version":"4",')
    assert loop.post(_notification(_alert(5))) == 202
    hanging.close()


def test_the_metrics_tell_how_each_was_answered(loop: Loop) -> None:
    samples = loop.world.samples()
    for outcome, least in (("accepted", 10), ("unauthorized", 3), ("oversized", 2), ("invalid", 4)):
        assert samples[f'passmuster_alerts_received_total{{outcome="{outcome}"}}'] >= least


def test_while_the_api_server_is_gone_alertmanager_is_asked_to_try_again(loop: Loop) -> None:
    world = loop.world
    restart = threading.Thread(target=world.plane.restart_apiserver, kwargs={"abruptly": True})
    restart.start()
    codes: list[int] = []
    while restart.is_alive():
        codes.append(loop.post(_notification(_alert(1000 + len(codes)))))
        time.sleep(0.05)
    restart.join()
    assert 503 in codes
    assert set(codes) <= {202, 503}
    world.until("the next answer", lambda: loop.post(_notification(_alert(9999))), lambda code: code == 202)


def test_no_alert_has_approved_anything(loop: Loop) -> None:
    world = loop.world
    world.until("the kinds", lambda: world.list("remediations"), bool)
    assert [r["metadata"]["name"] for r in world.list("remediations") if r["spec"].get("approvals")] == []
    assert TOKEN not in world.operator.tail(10_000)
