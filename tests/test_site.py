"""The documentation as a site: complete, without a link that leads nowhere, and readable by everybody."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import browser
from passmuster.checks.catalogue import Catalogue
from passmuster.cli import offline
from passmuster.model.documentation import DOCUMENTATION
from passmuster.observability.alerts import ALERTS
from passmuster.report import pages as check_pages

ROOT = Path(__file__).parents[1]
AXE = """axe.run(document, {rules: {'landmark-unique': {enabled: false}}}).then(r => ({
  found: r.violations.map(v => v.id + ': ' + v.nodes[0].html), passed: r.passes.length
}))"""
"""landmark-unique is left out: the theme labels the navigation of a section and of its page alike."""
LOOKED_AT = ("", "quickstart/", "troubleshooting/", "spec/readinesspolicy/", "checks/waf-enabled/", "comparison/")


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SITE, CHANGELOG = _loaded("site"), _loaded("changelog")
CONFIGURATION: dict[str, Any] = yaml.safe_load((ROOT / ".ci" / "site.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def gathered() -> dict[str, str]:
    return dict(SITE.pages())


def test_the_navigation_has_every_page_once(gathered: dict[str, str]) -> None:
    listed = list(SITE._named(SITE.navigation(CONFIGURATION["nav"], gathered)))
    assert sorted(listed) == sorted(gathered)
    assert len(listed) > 150


@pytest.mark.parametrize(
    ("entries", "known", "complaint"),
    [
        (["index.md"], ["index.md", "lost.md"], "lacks the page: lost.md"),
        (["index.md", {"More": ["gone.md"]}], ["index.md"], "names a page that does not exist: gone.md"),
        (["index.md", {"Again": "index.md"}], ["index.md"], "has the page twice: index.md"),
    ],
)
def test_a_navigation_that_is_not_right_is_refused(entries: list[Any], known: list[str], complaint: str) -> None:
    with pytest.raises(SITE.NotBuildable, match=re.escape(complaint)):
        SITE.navigation(entries, known)


def test_a_link_is_right_on_the_site_or_plain_text_or_refused() -> None:
    there = {"docs/faq.md": "faq.md", "docs/spec/rp.md": "spec/rp.md", "SECURITY.md": "security.md"}
    mended = partial(SITE._mended, there=there)
    assert mended("[it](../../SECURITY.md#x)", "docs/spec/rp.md") == "[it](../security.md#x)"
    assert mended("[it](docs/faq.md)", "SECURITY.md") == "[it](faq.md)"
    assert mended("[code](Makefile)", "SECURITY.md") == "code"
    assert (
        mended("`[no](link)` [out](https://example.com/a)", "SECURITY.md")
        == "`[no](link)` [out](https://example.com/a)"
    )
    with pytest.raises(SITE.NotBuildable, match=r"SECURITY\.md links nowhere\.md"):
        mended("[it](nowhere.md)", "SECURITY.md")


def test_whatever_links_the_documentation_links_a_page_of_it(gathered: dict[str, str]) -> None:
    assert CONFIGURATION["site_url"] == f"{DOCUMENTATION}/"
    checks: Catalogue = offline.catalogue()
    addresses = [check_pages.ADDRESS.format(check=check.id) for check in checks]
    addresses += [alert.runbook_url for alert in ALERTS]
    places = [address.removeprefix(f"{DOCUMENTATION}/").removesuffix("/") + ".md" for address in addresses]
    assert [place for place in places if place not in gathered] == []


# the changelog


def _fragments(root: Path) -> None:
    (root / "changelog.d").mkdir()
    (root / "changelog.d" / "b.added.md").write_text("Second.\nWith a line more.\n")
    (root / "changelog.d" / "a.added.md").write_text("First.\n")
    (root / "changelog.d" / "c.fixed.md").write_text("Mended.\n")
    (root / "CHANGELOG.md").write_text("# Changelog\n\nWords. There is no release yet.\n")


def test_a_release_gathers_the_fragments_in_order_and_removes_them(tmp_path: Path) -> None:
    _fragments(tmp_path)
    assert "## Unreleased\n\n### Added\n\n- First." in CHANGELOG.with_unreleased(tmp_path)
    CHANGELOG.release("0.1.0", "2026-12-01", tmp_path)
    (tmp_path / "changelog.d" / "d.changed.md").write_text("Different.\n")
    CHANGELOG.release("0.2.0", "2026-12-24", tmp_path)
    assert list((tmp_path / "changelog.d").iterdir()) == []
    assert (tmp_path / "CHANGELOG.md").read_text() == (
        "# Changelog\n\nWords.\n\n## 0.2.0 (2026-12-24)\n\n### Changed\n\n- Different.\n\n"
        "## 0.1.0 (2026-12-01)\n\n### Added\n\n- First.\n- Second.\n  With a line more.\n\n### Fixed\n\n- Mended.\n"
    )
    assert CHANGELOG.with_unreleased(tmp_path) == (tmp_path / "CHANGELOG.md").read_text()


def test_a_release_that_cannot_be_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    _fragments(tmp_path)
    with pytest.raises(CHANGELOG.NotReleasable, match="is no version"):
        CHANGELOG.release("next", "2026-12-01", tmp_path)
    CHANGELOG.release("0.1.0", "2026-12-01", tmp_path)
    with pytest.raises(CHANGELOG.NotReleasable, match="already"):
        CHANGELOG.release("0.1.0", "2026-12-02", tmp_path)
    with pytest.raises(CHANGELOG.NotReleasable, match="no fragments"):
        CHANGELOG.release("0.2.0", "2026-12-02", tmp_path)


# as it is built


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The built site, served."""
    built = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "site.py")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    handler = partial(_Quiet, directory=str(SITE.SITE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the standard library
        """Says nothing."""


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[browser.Page]:
    with browser.chromium() as opened:
        yield opened


@pytest.mark.slow
def test_the_site_is_built_without_a_link_that_leads_nowhere(address: str, gathered: dict[str, str]) -> None:
    built = {path.parent.relative_to(SITE.SITE).as_posix() for path in SITE.SITE.rglob("index.html")}
    wanted = {place.removesuffix(".md").removesuffix("index").rstrip("/") or "." for place in gathered}
    assert wanted - built == set()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", LOOKED_AT)
def test_everybody_can_read_a_page(page: browser.Page, address: str, place: str, scheme: str) -> None:
    page.open(address + "404.html", scheme=scheme)
    page.value("localStorage.clear()")
    page.open(f"{address}{place}?{scheme}", scheme=scheme)
    wanted = {"light": "default", "dark": "slate"}[scheme]
    deadline = time.monotonic() + 30
    while page.value("document.body.dataset.mdColorScheme") != wanted:
        assert time.monotonic() < deadline, f"the page does not follow the reader's wish for {scheme}"
        time.sleep(0.05)
    assert [asked for asked in page.asked if not asked.startswith((address, "data:"))] == []
    page.value(f"{browser.axe()}; 0")
    judged = page.value(AXE)
    assert judged["found"] == []
    assert judged["passed"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("place", LOOKED_AT)
def test_a_page_fits_a_telephone(page: browser.Page, address: str, place: str) -> None:
    page.open(address + place, width=390)
    assert page.value("document.documentElement.scrollWidth") <= 390
