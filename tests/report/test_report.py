"""The reports for people: level first, nothing loaded from outside, nothing unescaped, the same bytes each time."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import reports
from passmuster.assess.plan import Plan
from passmuster.model.report import Report
from passmuster.model.verdict import Status
from passmuster.report import html, markdown

FORMS = {"html": html.render, "markdown": markdown.render}


@pytest.fixture(scope="module")
def judged() -> tuple[Report, Plan]:
    return reports.from_fixtures()


@pytest.mark.parametrize("form", FORMS)
def test_the_level_comes_before_the_score(form: str, judged: tuple[Report, Plan]) -> None:
    text = FORMS[form](*judged, title="shop")
    assert 0 < text.lower().index("reached") < text.lower().index("score")


@pytest.mark.parametrize("form", FORMS)
def test_every_check_and_every_failure_is_in_it(form: str, judged: tuple[Report, Plan]) -> None:
    text = FORMS[form](*judged)
    for check in judged[0].checks:
        assert check.id in text
    failing = [check for check in judged[0].checks if check.status is Status.FAIL]
    assert failing
    assert all(check.failures[0].observed[:20].split("<")[0] in text.replace("&#39;", "'") for check in failing[:5])


@pytest.mark.parametrize("form", FORMS)
def test_the_same_input_gives_the_same_bytes(form: str, judged: tuple[Report, Plan]) -> None:
    assert FORMS[form](*judged, title="shop") == FORMS[form](*judged, title="shop")


@pytest.mark.parametrize("form", FORMS)
def test_a_name_that_looks_like_markup_stays_text(form: str) -> None:
    evil = "<script>alert(1)</script>"
    finding = replace(reports.finding(80), resource=evil, message=f"The listener {evil} | answers")
    text = FORMS[form](reports.report([reports.result("https-redirect", finding)]), None, title=evil)
    assert evil not in re.sub(r"`[^`]*`", "", text)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_judged_and_no_plan_still_make_a_report(form: str) -> None:
    assert FORMS[form](reports.report([]), None)


class _Outside(HTMLParser):
    """Collects what a browser would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "iframe", "object", "embed", "img") or (
            tag == "link" and given.get("rel") == "stylesheet"
        ):
            self.found.append(tag)
        self.found += [name for name in given if name.startswith("on") or name in ("src", "srcset")]


def test_the_html_loads_and_runs_nothing(judged: tuple[Report, Plan]) -> None:
    text = html.render(*judged, title="shop")
    outside = _Outside()
    outside.feed(text)
    assert outside.found == []
    assert "default-src 'none'" in text
    assert "url(" not in text


def test_a_large_report_stays_below_its_size() -> None:
    assert len(html.render(reports.crowd(), None).encode()) < 300_000
    assert len(html.render(reports.crowd(findings=200), None).encode()) < 300_000


def test_totals_are_sums_of_their_parts() -> None:
    first, second = reports.step("one", "1.25"), reports.step("two", "2.35")
    plan = Plan((first, second), ())
    text = html.render(reports.report([reports.result("https-redirect", reports.finding(80))]), plan)
    assert "$3.60" in text
    assert "$3.60" in markdown.render(reports.report([reports.result("https-redirect", reports.finding(80))]), plan)
