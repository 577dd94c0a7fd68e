"""The HTML report in a real browser: nothing asked of a network, nothing cut off, readable in light, dark and print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import browser
import reports
from passmuster.assess.changes import compare
from passmuster.model.evidence import Waiver
from passmuster.model.grant import Grant, Standing
from passmuster.model.report import Inspection
from passmuster.report import html
from replay import NOW

pytestmark = pytest.mark.slow

SCHEMES = ("light", "dark")
AXE = """axe.run(document).then(r => ({
  found: r.violations.map(v => v.id + ': ' + v.nodes[0].html), passed: r.passes.length
}))"""


@pytest.fixture(scope="module")
def page() -> Iterator[browser.Page]:
    with browser.chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section: findings of all statuses, a plan, changes, a waiver, refused reads."""
    judged, plan = reports.from_fixtures()
    earlier = replace(
        judged,
        checks=tuple(replace(check, findings=check.findings[:1]) for check in reversed(judged.checks)),
        inspection=Inspection("01EARLIER", NOW - timedelta(days=1), 1.0, 10),
        level="Foundation",
    )
    statuses = {check.id: other.status for check, other in zip(judged.checks, reversed(judged.checks), strict=True)}
    earlier = replace(earlier, checks=tuple(replace(c, status=statuses[c.id]) for c in earlier.checks))
    waiver = Waiver("legacy-portal", "https-redirect", "The portal is replaced in March", NOW + timedelta(days=9))
    grant = Grant(waiver, Standing.IN_FORCE, "It counts until then", ("ann", "ben"), 2, expiring=True, findings=1)
    path = tmp_path_factory.mktemp("report") / "report.html"
    changes = compare(earlier, judged)
    assert changes.checks
    path.write_text(
        html.render(replace(judged, grants=(grant,)), plan, title="shop", changes=changes), encoding="utf-8"
    )
    return path


@pytest.mark.parametrize("width", [360, 800, 1280])
def test_nothing_sticks_out_of_the_window_and_nothing_is_loaded(page: browser.Page, report: Path, width: int) -> None:
    page.open(report, width=width)
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.asked == [report.as_uri()]
    assert page.value("document.scripts.length") == 0


def test_dark_is_dark_and_light_is_light(page: browser.Page, report: Path) -> None:
    backgrounds = {}
    for scheme in SCHEMES:
        page.open(report, scheme=scheme)
        colour = page.value("getComputedStyle(document.body).backgroundColor")
        backgrounds[scheme] = sum(int(part) for part in colour[4:-1].split(","))
    assert backgrounds["dark"] < 150 < 600 < backgrounds["light"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(page: browser.Page, report: Path, scheme: str, width: int) -> None:
    source = browser.axe()
    page.open(report, scheme=scheme, width=width)
    page.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.value(f"{source};0")
    answer = page.value(AXE)
    assert answer["found"] == []
    assert answer["passed"] > 20, "axe looked at nothing"


def test_every_fold_opens_with_the_keyboard(page: browser.Page, report: Path) -> None:
    page.open(report)
    folded = "Array.from(document.querySelectorAll('summary'))"
    assert page.value(f"{folded}.length") > 10
    assert page.value(f"{folded}.every(s => s.tabIndex === 0)")
    page.value("document.querySelector('details:not([open]) summary').focus()")
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    assert page.value("document.activeElement.parentElement.open")


def test_it_prints_on_a4_with_everything_unfolded(page: browser.Page, report: Path) -> None:
    page.open(report)
    paper = page.paper()
    assert paper.startswith(b"%PDF")
    page.call("Emulation.setEmulatedMedia", media="print")
    shown = "getComputedStyle(document.querySelector('{}')).display"
    assert page.value(shown.format("nav")) == "none"
    heights = "Array.from(document.querySelectorAll('details .body')).every(b => b.getBoundingClientRect().height > 0)"
    assert page.value(heights)
