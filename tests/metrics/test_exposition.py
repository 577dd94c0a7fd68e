"""What /metrics says: every family of the contract, and nothing that outlives its object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

import reports
from passmuster.api.report import ReadinessReportStatus
from passmuster.assess.plan import Plan
from passmuster.engine.documents import report_document
from passmuster.engine.fleet import Counters, Figures, Fleet
from passmuster.engine.ports import POLICIES, REMEDIATIONS, REPORTS, Key
from passmuster.engine.queue import WorkQueue
from passmuster.metrics import contract
from passmuster.metrics.exposition import Exposition
from passmuster.model.verdict import Status
from replay import ACCOUNT

POLICY = Key(POLICIES, "shop", "shop")
REPORT = Key(REPORTS, "shop", f"shop-{ACCOUNT}")
RESERVED = {"namespace", "instance", "job", "pod", "container", "service_account"}


class Scraped:
    """An exposition with everything in it, and what a scrape of it says."""

    def __init__(self) -> None:
        self.fleet, self.counters, self.leads = Fleet(), Counters(), True
        self.queue: WorkQueue[str] = WorkQueue()
        self.exposition = Exposition(
            self.fleet,
            self.counters,
            self.queue,
            leading=lambda: self.leads,
            canary_age=lambda: 3.0,
            catalogue="1.0",
        )

    def text(self) -> str:
        return self.exposition.text().decode()

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
    plan = Plan((reports.step("one", "1.00"), reports.step("two", "2.00")), ())
    document = report_document(REPORT.name, "shop", "shop", report, plan)
    status = ReadinessReportStatus.model_validate(document["status"]).body()
    return dict(json.loads(json.dumps({**document, "status": status})))


@pytest.fixture
def scraped(stored: dict[str, Any]) -> Iterator[Scraped]:
    made = Scraped()
    made.fleet.put(REPORT, Figures.of(POLICY, stored, 80.0))
    made.fleet.put_remediation(Key(REMEDIATIONS, "shop", "trail"), "Production", "Applied")
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
    scraped.fleet.drop_remediation(Key(REMEDIATIONS, "shop", "trail"))
    assert "account_id" not in scraped.text()
    assert scraped.samples("passmuster_remediations") == {}


def test_series_vanish_with_their_policy(scraped: Scraped) -> None:
    scraped.fleet.drop_policy(POLICY)
    assert "account_id" not in scraped.text()


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
