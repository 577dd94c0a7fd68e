"""What /metrics says: every family of the contract, and nothing that outlives its object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

import reports
from passmuster.api.report import ReadinessReportStatus
from passmuster.assess.plan import Plan
from passmuster.engine.cache import Cache
from passmuster.engine.documents import report_document
from passmuster.engine.fleet import Counters, Figures, Fleet, RemediationFigure
from passmuster.engine.ports import ACCOUNTS, POLICIES, REMEDIATIONS, REPORTS, Key
from passmuster.engine.queue import WorkQueue
from passmuster.metrics import contract
from passmuster.metrics.exposition import Exposition
from passmuster.model.evidence import Attestation, Waiver
from passmuster.model.grant import Grant, Standing
from passmuster.model.verdict import Status
from replay import ACCOUNT, NOW

POLICY = Key(POLICIES, "shop", "shop")
REPORT = Key(REPORTS, "shop", f"shop-{ACCOUNT}")
SOON = NOW + timedelta(days=3)
WAIVED = Grant(Waiver("legacy", "https-redirect", "It moves", SOON), Standing.IN_FORCE, "Counts", ("ann", "bob"), 2)
ENDED = Grant(Waiver("ended", "https-redirect", "It moved", NOW), Standing.EXPIRED, "Expired")
ATTESTED = Grant(
    Attestation("dr", "dr-runbooks", "Rehearsed", "https://e.example", "ann", NOW, SOON, "c" * 64),
    Standing.IN_FORCE,
    "Counts",
)
REMEDIATION = RemediationFigure("shop", "shop", ACCOUNT, "Production", "Applied")
RESERVED = {"namespace", "instance", "job", "pod", "container", "service_account"}


def _policy(**spec: Any) -> dict[str, Any]:
    whole = {"accountRef": {"name": "shop"}, "level": "Stable", **spec}
    return {"metadata": {"name": "shop", "namespace": "shop", "resourceVersion": "1"}, "spec": whole}


def _account(valid: str | None, *, version: str = "1", **labels: str) -> dict[str, Any]:
    conditions = [{"type": "CredentialsValid", "status": valid}] if valid else []
    return {
        "metadata": {"name": "shop", "resourceVersion": version, "labels": labels},
        "spec": {"accountId": ACCOUNT},
        "status": {"conditions": conditions},
    }


class Scraped:
    """An exposition with everything in it, and what a scrape of it says."""

    def __init__(self) -> None:
        self.cache, self.fleet, self.counters, self.leads = Cache(), Fleet(), Counters(), True
        self.queue: WorkQueue[str] = WorkQueue()
        self.exposition = Exposition(
            self.cache,
            self.fleet,
            self.counters,
            self.queue,
            leading=lambda: self.leads,
            canary_age=lambda: 3.0,
            catalogue="1.0",
        )

    def text(self) -> str:
        text, kind = self.exposition.text()
        assert kind.startswith("text/plain; version=0.0.4")
        return text.decode()

    def openmetrics(self, accept: str = "application/openmetrics-text") -> str:
        text, kind = self.exposition.text(accept)
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        return text.decode()

    def families(self) -> dict[str, Family]:
        return {family.name: family for family in text_string_to_metric_families(self.text())}

    def samples(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        found = (s for family in self.families().values() for s in family.samples if s.name == name)
        return {tuple(sorted(sample.labels.items())): sample.value for sample in found}

    def value(self, name: str) -> float:
        (value,) = self.samples(name).values()
        return value


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    """A report of the real checks as the API server gives it back."""
    report, _ = reports.from_fixtures()
    failing = next(check.id for check in report.checks if check.status is Status.FAIL)
    plan = Plan((reports.step("one", "1.00", fixes=(failing,)), reports.step("two", "2.00")), ())
    report = replace(report, grants=(WAIVED, ENDED, ATTESTED))
    document = report_document(REPORT.name, "shop", "shop", report, plan)
    status = ReadinessReportStatus.model_validate(document["status"]).body()
    return dict(json.loads(json.dumps({**document, "status": status})))


@pytest.fixture
def scraped(stored: dict[str, Any]) -> Iterator[Scraped]:
    made = Scraped()
    made.fleet.put(REPORT, Figures.of(POLICY, stored, 80.0))
    made.fleet.put_remediation(Key(REMEDIATIONS, "shop", "trail"), REMEDIATION)
    made.cache.put(Key(POLICIES, "shop", "shop"), _policy())
    made.cache.put(Key(ACCOUNTS, "", "shop"), _account("True"))
    made.counters.remediated("Applied", 90.0)
    made.counters.awaits_notifications(("accepted", "unauthorized"), NOW)
    made.counters.notified("accepted", NOW + timedelta(minutes=1))
    made.counters.request("ec2", "DescribeVpcs", "ok", 0.02)
    made.counters.request("ec2", "DescribeVpcs", "throttled", 0.2)
    made.counters.inspected(4.2)
    made.counters.failed("AssumeRoleDenied")
    made.queue.add("shop")
    yield made
    made.queue.close()


def _parsed_name(metric: contract.Metric) -> str:
    return metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name


def test_every_family_of_the_contract_is_there_with_its_type_and_help(scraped: Scraped) -> None:
    families = scraped.families()
    for metric in contract.CONTRACT:
        family = families[_parsed_name(metric)]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.samples, metric.name


def test_nothing_is_exported_that_the_contract_does_not_name(scraped: Scraped) -> None:
    assert set(scraped.families()) == {_parsed_name(metric) for metric in contract.CONTRACT}


def test_every_sample_has_exactly_the_labels_of_the_contract(scraped: Scraped) -> None:
    families = scraped.families()
    for metric in contract.CONTRACT:
        for sample in families[_parsed_name(metric)].samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), metric.name


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "text/plain"),
        ("text/plain;version=0.0.4,application/openmetrics-text;q=0.5", "text/plain"),
        ("application/openmetrics-text;q=0", "text/plain"),
        ("application/openmetrics-text;q=nan,text/plain", "text/plain"),
        ("application/openmetrics-text;version=abc", "application/openmetrics-text"),
        ("Application/OpenMetrics-Text; version=1.0.0", "application/openmetrics-text"),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text",
        ),
    ],
)
def test_openmetrics_is_for_who_asks_for_it(scraped: Scraped, accept: str, expected: str) -> None:
    assert scraped.exposition.text(accept)[1].startswith(f"{expected};")


def test_openmetrics_says_the_same_as_plain_text(scraped: Scraped) -> None:
    def said(families: Any) -> set[tuple[str, str, str, tuple[tuple[str, str], ...], float]]:
        return {
            (family.type, family.documentation, s.name, tuple(sorted(s.labels.items())), s.value)
            for family in families
            for s in family.samples
        }

    scraped.queue.take()  # what waits, waits longer with each scrape
    scraped.counters.inspected(0.7, "a" * 32, NOW.timestamp())
    assert said(openmetrics_families(scraped.openmetrics())) == said(text_string_to_metric_families(scraped.text()))


def test_an_exemplar_stands_at_the_smallest_bucket_that_holds_it_and_the_last_one_wins(scraped: Scraped) -> None:
    for seconds, trace in ((0.7, "a" * 32), (0.8, "b" * 32), (1000.0, "c" * 32)):
        scraped.counters.inspected(seconds, trace, NOW.timestamp())
    found = {
        (family.name, sample.labels["le"]): (
            sample.exemplar.labels["trace_id"],
            sample.exemplar.value,
            float(sample.exemplar.timestamp),
        )
        for family in openmetrics_families(scraped.openmetrics())
        for sample in family.samples
        if sample.exemplar
    }
    name = "passmuster_inspection_duration_seconds"
    assert found == {
        (name, "1.0"): ("b" * 32, 0.8, NOW.timestamp()),
        (name, "+Inf"): ("c" * 32, 1000.0, NOW.timestamp()),
    }


def test_plain_text_has_no_exemplar_nor_has_an_inspection_that_nobody_traced(scraped: Scraped) -> None:
    assert "trace_id" not in scraped.openmetrics()
    scraped.counters.inspected(0.7, "a" * 32, NOW.timestamp())
    assert "trace_id" not in scraped.text()
    assert "a" * 32 in scraped.openmetrics()


def test_no_label_collides_with_those_of_the_scrape_nor_holds_an_arn() -> None:
    for metric in contract.CONTRACT:
        assert not RESERVED & set(metric.labels), metric.name
        assert metric.name.startswith("passmuster_")
        assert not {"arn", "resource", "message"} & set(metric.labels)


def test_no_series_appears_twice(scraped: Scraped) -> None:
    lines = [line.rpartition(" ")[0] for line in scraped.text().splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))


def test_only_the_status_that_a_check_has_is_a_series(scraped: Scraped, stored: dict[str, Any]) -> None:
    series = scraped.samples("passmuster_check_status")
    found = {dict(labels)["check"]: dict(labels)["status"] for labels in series}
    assert set(series.values()) == {1.0}
    assert len(series) == len(found)
    assert found == {check["id"]: check["status"] for check in stored["status"]["checks"]}


def test_the_level_is_one_of_six_series(scraped: Scraped, stored: dict[str, Any]) -> None:
    levels = {dict(labels)["level"]: value for labels, value in scraped.samples("passmuster_level").items()}
    assert set(levels) == {"None", "Foundation", "Production", "Stable", "Hardened", "Enterprise"}
    assert {level for level, value in levels.items() if value} == {stored["status"]["level"]}


def test_ratios_are_between_zero_and_one(scraped: Scraped, stored: dict[str, Any]) -> None:
    for name in ("score", "coverage", "category_score", "phase_complete", "score_target"):
        samples = scraped.samples(f"passmuster_{name}_ratio")
        assert samples, name
        assert all(0 <= value <= 1 for value in samples.values()), name
    assert scraped.value("passmuster_score_target_ratio") == 0.8
    assert scraped.value("passmuster_coverage_ratio") == pytest.approx(stored["status"]["coverage"] / 100)


def test_findings_are_counted_by_check_and_status(scraped: Scraped, stored: dict[str, Any]) -> None:
    counted = scraped.samples("passmuster_findings")
    wanted = {
        (check["id"], status): float(number)
        for check in stored["status"]["checks"]
        for status, number in check["counts"].items()
    }
    assert {(dict(k)["check"], dict(k)["status"]): v for k, v in counted.items()} == wanted


def test_the_end_of_what_counts_is_a_time_and_what_ended_has_no_series(scraped: Scraped) -> None:
    (waived,) = scraped.samples("passmuster_waiver_expiry_timestamp_seconds").items()
    assert (dict(waived[0])["waiver"], dict(waived[0])["check"]) == ("legacy", "https-redirect")
    assert waived[1] == SOON.timestamp()
    (attested,) = scraped.samples("passmuster_attestation_expiry_timestamp_seconds").items()
    assert (dict(attested[0])["attestation"], attested[1]) == ("dr", SOON.timestamp())


def test_an_account_without_a_score_has_no_score_series() -> None:
    scraped = Scraped()
    report = reports.report([reports.result("https-redirect", reports.finding(80, Status.UNKNOWN))])
    document = report_document(REPORT.name, "shop", "shop", report, None)
    scraped.fleet.put(REPORT, Figures.of(POLICY, document, None))
    assert scraped.samples("passmuster_score_ratio") == {}
    assert scraped.samples("passmuster_score_target_ratio") == {}
    assert scraped.value("passmuster_coverage_ratio") == 0.0


def test_a_standby_exports_no_figure_of_any_account(scraped: Scraped) -> None:
    scraped.leads = False
    text = scraped.text()
    assert "account_id" not in text
    assert "passmuster_remediations{" not in text
    assert scraped.value("passmuster_leader") == 0.0
    assert scraped.value("passmuster_workqueue_depth") == 1.0
    assert scraped.samples("passmuster_build_info")


def test_series_vanish_with_their_object(scraped: Scraped) -> None:
    assert "account_id" in scraped.text()
    scraped.fleet.drop(REPORT)
    scraped.cache.drop(POLICY)
    scraped.fleet.drop_remediation(Key(REMEDIATIONS, "shop", "trail"))
    scraped.cache.drop(Key(ACCOUNTS, "", "shop"))
    assert "account_id" not in scraped.text()
    assert scraped.samples("passmuster_remediations") == {}


def test_series_vanish_with_their_policy(scraped: Scraped) -> None:
    scraped.fleet.drop_policy(POLICY)
    scraped.cache.drop(POLICY)
    scraped.fleet.drop_remediation(Key(REMEDIATIONS, "shop", "trail"))
    assert 'policy="shop"' not in scraped.text()


def test_a_policy_is_told_before_it_has_any_report() -> None:
    scraped = Scraped()
    scraped.cache.put(Key(ACCOUNTS, "", "shop"), _account(None))
    scraped.cache.put(POLICY, _policy(interval="2h30m"))
    assert scraped.value("passmuster_inspection_interval_seconds") == 9000.0
    (labels,) = scraped.samples("passmuster_level_target")
    assert dict(labels)["level"] == "Stable"
    assert scraped.samples("passmuster_inspection_last_success_timestamp_seconds") == {}


def test_a_suspended_policy_has_a_level_and_no_interval() -> None:
    scraped = Scraped()
    scraped.cache.put(Key(ACCOUNTS, "", "shop"), _account(None))
    scraped.cache.put(POLICY, _policy(suspend=True))
    assert scraped.samples("passmuster_inspection_interval_seconds") == {}
    assert len(scraped.samples("passmuster_level_target")) == 1


@pytest.mark.parametrize(("labels", "expected"), [({"team": "shop"}, 1), ({"team": "other"}, 0)])
def test_a_selector_names_the_accounts_it_selects(labels: dict[str, str], expected: int) -> None:
    scraped = Scraped()
    scraped.cache.put(Key(ACCOUNTS, "", "shop"), _account(None, **labels))
    scraped.cache.put(POLICY, _policy(accountRef=None, accountSelector={"matchLabels": {"team": "shop"}}))
    assert len(scraped.samples("passmuster_inspection_interval_seconds")) == expected


def test_credentials_are_valid_invalid_or_unknown() -> None:
    scraped = Scraped()
    for version, (said, expected) in enumerate([("True", {1.0}), ("False", {0.0}), ("Unknown", set()), (None, set())]):
        scraped.cache.put(Key(ACCOUNTS, "", "shop"), _account(said, version=str(version + 1)))
        assert set(scraped.samples("passmuster_account_credentials_valid").values()) == expected


def test_a_failing_check_tells_since_when_and_what_its_fix_costs(scraped: Scraped, stored: dict[str, Any]) -> None:
    failing = {c["id"] for c in stored["status"]["checks"] if c["status"] == "Fail"}
    since = scraped.samples("passmuster_check_failing_since_timestamp_seconds")
    assert {dict(labels)["check"] for labels in since} == failing != set()
    costs = scraped.samples("passmuster_check_fix_monthly_cost_dollars")
    planned = {c: s["monthlyCost"] for s in stored["status"]["plan"] if not s.get("blocked") for c in s["fixes"]}
    assert {dict(labels)["check"]: cost for labels, cost in costs.items()}.items() <= planned.items()


def test_the_last_delivery_is_the_start_until_there_is_one_and_absent_without_a_receiver() -> None:
    scraped = Scraped()
    name = "passmuster_alerts_last_delivery_timestamp_seconds"
    assert scraped.samples(name) == {}
    scraped.counters.awaits_notifications(("accepted", "unauthorized"), NOW)
    assert scraped.value(name) == NOW.timestamp()
    assert set(scraped.samples("passmuster_alerts_received_total").values()) == {0.0}
    scraped.counters.notified("unauthorized", None)
    assert scraped.value(name) == NOW.timestamp()
    scraped.counters.notified("accepted", NOW + timedelta(seconds=9))
    assert scraped.value(name) == NOW.timestamp() + 9


def test_a_standby_tells_of_notifications_because_it_takes_them(scraped: Scraped) -> None:
    scraped.leads = False
    assert scraped.samples("passmuster_alerts_last_delivery_timestamp_seconds")
    assert "passmuster_account_credentials_valid{" not in scraped.text()


def test_every_series_that_is_exported_may_be_asked_for_with_its_labels(scraped: Scraped) -> None:
    allowed = contract.series()
    for family in scraped.families().values():
        for sample in family.samples:
            assert set(sample.labels) <= allowed[sample.name], sample.name


def test_a_status_that_changes_leaves_no_series_of_the_old_one(scraped: Scraped) -> None:
    for status in (Status.FAIL, Status.PASS):
        report = reports.report([reports.result("https-redirect", reports.finding(80, status))])
        document = report_document(REPORT.name, "shop", "shop", report, None)
        scraped.fleet.put(REPORT, Figures.of(POLICY, document, None))
    (labels,) = scraped.samples("passmuster_check_status")
    assert dict(labels)["status"] == "Pass"


def test_what_is_rebuilt_from_the_stored_reports_is_what_was_exported(scraped: Scraped, stored: dict[str, Any]) -> None:
    def figures(text: str) -> list[str]:
        return [line for line in text.splitlines() if "account_id" in line]

    restarted = Scraped()
    restarted.fleet.put(REPORT, Figures.of(POLICY, json.loads(json.dumps(stored)), 80))
    for key in (Key(ACCOUNTS, "", "shop"), POLICY):
        restarted.cache.put(key, scraped.cache.get(key) or {})
    restarted.fleet.put_remediation(Key(REMEDIATIONS, "shop", "trail"), REMEDIATION)
    assert figures(restarted.text()) == figures(scraped.text()) != []


def test_a_name_with_quotes_and_newlines_cannot_break_the_exposition(stored: dict[str, Any]) -> None:
    scraped = Scraped()
    strange = Key(POLICIES, "shop", 'a"b\n} passmuster_leader 7')
    scraped.fleet.put(REPORT, Figures.of(strange, stored, None))
    assert {dict(k)["policy"] for k in scraped.samples("passmuster_critical_failing")} == {strange.name}
    assert scraped.value("passmuster_leader") == 1.0


def test_histograms_count_what_was_observed(scraped: Scraped) -> None:
    buckets = scraped.samples("passmuster_inspection_duration_seconds_bucket")
    assert {dict(k)["le"]: v for k, v in buckets.items()}["5.0"] == 1.0
    assert {dict(k)["le"]: v for k, v in buckets.items()}["2.0"] == 0.0
    assert scraped.value("passmuster_inspection_duration_seconds_sum") == 4.2
    assert scraped.value("passmuster_aws_api_request_duration_seconds_count") == 2.0


def test_a_fresh_process_can_be_scraped() -> None:
    scraped = Scraped()
    assert scraped.value("passmuster_leader") == 1.0
    assert scraped.value("passmuster_inspection_duration_seconds_count") == 0.0


def test_the_documentation_names_every_metric_and_label() -> None:
    text = contract.document()
    for metric in contract.CONTRACT:
        assert f"| `{metric.name}` | {metric.kind} |" in text
        assert all(f"`{label}`" in text for label in metric.labels)
