"""The reports for people: level first, nothing loaded from outside, nothing unescaped, the same bytes each time."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

import reports
from passmuster.assess.changes import compare
from passmuster.assess.plan import Plan
from passmuster.model.evidence import Attestation, Waiver
from passmuster.model.finding import Finding
from passmuster.model.grant import Grant, Standing
from passmuster.model.report import Inspection, Report
from passmuster.model.verdict import Phase, Status
from passmuster.report import content, html, markdown
from replay import NOW

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


PICTURE = "![x](https://evil.example/p.png)"


@pytest.mark.parametrize(
    "name",
    [
        PICTURE,
        f"`{PICTURE}",
        f"`a` {PICTURE}",
        f"```a``{PICTURE}`",
        f"\\`{PICTURE}`",
        f"\\{PICTURE}",
        f"|`{PICTURE}|\\",
    ],
)
def test_a_name_makes_no_picture_and_no_link_in_markdown(name: str) -> None:
    finding = replace(reports.finding(80), resource=name, message=name, observed=name, expected=f"{name} {name}")
    text = markdown.render(reports.report([reports.result("https-redirect", finding)]), None, title=name)
    shown = MarkdownIt("commonmark").enable("table").parse(text)
    inside = [child for token in shown for child in token.children or ()]
    assert [one for one in inside if one.type == "image"] == []
    links = [one.attrGet("href") for one in inside if one.type == "link_open"]
    assert not any("evil" in str(link) for link in links)
    (row,) = (line for line in text.splitlines() if line.startswith("| ✗ Fail | "))
    assert len(re.findall(r"(?<!\\)\|", row)) == 6, "five cells"


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


# the words of each verdict


WAIVED = replace(reports.finding(80), waived_by="legacy-portal")
ATTESTED = replace(reports.finding(80, Status.PASS), attested_by="drill-of-may")
WORDS = [
    pytest.param({}, (reports.finding(80),), "Fail", "Fail", id="fail"),
    pytest.param({}, (reports.finding(80, Status.UNKNOWN),), "Unknown", "Unknown", id="unknown"),
    pytest.param({}, (reports.finding(80, Status.PASS),), "Pass", "Pass", id="pass"),
    pytest.param(
        {}, (reports.finding(80, Status.NOT_APPLICABLE),), "Not applicable", "Not applicable", id="not applicable"
    ),
    pytest.param({}, (WAIVED,), "Pass, waived", "Fail, waived", id="waived"),
    pytest.param({}, (ATTESTED,), "Pass, attested", "Pass, attested", id="attested"),
    pytest.param(
        {"disabled": True}, (reports.finding(80, Status.NOT_APPLICABLE),), "Disabled", "Not applicable", id="disabled"
    ),
]


@pytest.mark.parametrize(("changes", "findings", "of_check", "of_finding"), WORDS)
def test_every_verdict_has_its_words(
    changes: dict[str, bool], findings: tuple[Finding, ...], of_check: str, of_finding: str
) -> None:
    shown = content.document(reports.report([reports.result("https-redirect", *findings, **changes)]), None)
    (entry,) = shown.groups[0].checks
    assert entry.verdict.word == of_check
    rows = [row for table in (entry.acute, entry.settled) if table is not None for row in table.rows]
    assert [row.verdict.word for row in rows] == [of_finding]
    for form in FORMS.values():
        assert of_check in form(reports.report([reports.result("https-redirect", *findings, **changes)]), None)


def test_a_finding_is_told_with_its_evidence() -> None:
    text = html.render(reports.report([reports.result("https-redirect", reports.finding(80))]), None)
    assert "The listener on port 80 forwards clear text" in text
    assert "default action: forward" in text
    assert "a redirect to HTTPS on a port with a TLS listener" in text
    assert "elbv2:DescribeListeners, 2026-" in text


def test_waivers_and_attestations_are_listed_with_who_until_and_whether_they_count() -> None:
    waiver = Waiver("legacy-portal", "https-redirect", "The portal is replaced in March", NOW + timedelta(days=40))
    statement = Attestation(
        "drill-of-may",
        "recovery-tested",
        "We restored it",
        "https://wiki.example/drill",
        "ann",
        NOW,
        NOW + timedelta(9),
    )
    grants = (
        Grant(waiver, Standing.IN_FORCE, "It counts until then", ("ann", "ben"), 2, findings=1),
        Grant(statement, Standing.AWAITING_APPROVAL, "One approval is missing"),
    )
    judged = replace(reports.report([reports.result("https-redirect", WAIVED)]), grants=grants)
    shown = content.document(judged, None).granted
    assert [(g.kind, g.name, g.verdict.word, g.approved, g.findings) for g in shown] == [
        ("Waiver", "legacy-portal", "In force", "ann and ben", 1),
        ("Attestation", "drill-of-may", "Awaiting approval", "nobody", 0),
    ]
    assert shown[1].source == "ann: https://wiki.example/drill"
    for form in FORMS.values():
        text = form(judged, None)
        assert "Waivers and attestations" in text
        assert "The portal is replaced in March" in text
    assert "Waivers and attestations" not in html.render(reports.report([]), None)


# what changed


def _two() -> tuple[Report, Report]:
    before = Inspection("01BEFORE", NOW - timedelta(hours=1), 1.0, 10)
    old = [
        reports.result("https-redirect", reports.finding(80, Status.PASS), phase=Phase.FOUNDATION),
        reports.result("custom-domain", reports.finding(81), phase=Phase.PRODUCTION),
        reports.result("dns-health-checks", reports.finding(82, Status.PASS), phase=Phase.PRODUCTION),
    ]
    new = [
        reports.result("https-redirect", reports.finding(80), reports.finding(90), phase=Phase.FOUNDATION),
        reports.result("custom-domain", reports.finding(81, Status.PASS), phase=Phase.PRODUCTION),
        reports.result("dns-health-checks", reports.finding(82, Status.UNKNOWN), phase=Phase.PRODUCTION),
    ]
    return reports.report(old, inspection=before), reports.report(new)


@pytest.mark.parametrize("form", FORMS)
def test_what_changed_is_told_with_level_and_score_before_and_after(form: str) -> None:
    old, new = _two()
    text = FORMS[form](new, None, changes=compare(old, new))
    assert "The level fell from Foundation to none" in text
    assert "1 check newly failing, 1 check newly unknown and 1 check newly passing" in text.replace(
        "1 Check", "1 check"
    )
    assert "before: Pass" in text
    assert "Resources that findings name now and did not before" in text
    assert f"{reports.LISTENER}/90".rpartition(":")[2] in text
    assert "What changed" not in FORMS[form](new, None)


def test_nothing_changed_is_said_too() -> None:
    old, _ = _two()
    shown = content.document(old, None, changes=compare(old, old)).changes
    assert shown is not None
    assert shown.lead.startswith("Nothing changed since the inspection of ")
    assert (shown.groups, shown.appeared.total, shown.gone.total) == ((), 0, 0)


def test_a_long_list_of_resources_is_cut_and_counted() -> None:
    old = reports.report([reports.result("https-redirect", reports.finding(1))])
    new = reports.report([reports.result("https-redirect", *(reports.finding(n) for n in range(1, 100)))])
    shown = content.document(new, None, changes=compare(old, new)).changes
    assert shown is not None
    assert (len(shown.appeared.shown), shown.appeared.total, shown.appeared.more) == (20, 98, 78)


# links


class _Links(HTMLParser):
    """Collects anchors and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.hrefs.append(given.get("href") or "")
        if "id" in given:
            self.ids.append(given["id"] or "")
        if tag not in ("meta", "link", "br", "col", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "rect", f"<{tag}/> is no HTML outside of SVG"

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag


def test_the_html_is_whole_and_its_own_links_lead_somewhere(judged: tuple[Report, Plan]) -> None:
    found = _Links()
    found.feed(html.render(*judged, title="shop", changes=compare(*_two())))
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert [href for href in found.hrefs if href.startswith("#") and href[1:] not in found.ids] == []
    outside = {href.split("/")[2] for href in found.hrefs if not href.startswith("#")}
    assert outside == {"docs.aws.amazon.com", "passmuster.io"}


def test_pages_of_checks_are_linked_where_they_are_served(judged: tuple[Report, Plan]) -> None:
    text = html.render(*judged)
    assert "passmuster checks https-redirect" in text
    assert 'href="https://passmuster.io/docs/checks/https-redirect/"' in text
    text = html.render(*judged, docs_url="https://docs.example/checks/")
    assert 'href="https://docs.example/checks/https-redirect.md"' in text
    failing = reports.report([reports.result("https-redirect", reports.finding(80))])
    assert "https://docs.example/#https-redirect)" in markdown.render(
        failing, None, docs_url="https://docs.example/#{check}"
    )
