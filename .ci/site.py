"""Makes a site of docs/: `make docs` builds it into dist/site/html, `make docs-serve` shows it while it is written.

The pages are written to be read in a checkout, where a link may lead to any file. Here they are gathered, together with
the documents of the top level and the examples; a link to a file that is not part of the site becomes plain text. Then
zensical builds them strictly: a link or an anchor that leads nowhere fails. A page that the navigation lacks, or names
without it being there, fails here.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from passmuster.cli import offline
from passmuster.model.verdict import Phase
from passmuster.remediation import catalogue as remediations

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
WORK = ROOT / "dist" / "site"
SITE = WORK / "html"
DOCUMENTS = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Documents of the top level, and the pages that they become."""
FENCE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


class NotBuildable(Exception):
    """What stands against building the site, in a sentence."""


def pages() -> dict[str, str]:
    """The Markdown of every page by its place on the site, with links that are right there. Raises NotBuildable."""
    sources = {path.relative_to(ROOT).as_posix(): path for path in DOCS.rglob("*.md")}
    sources |= {name: ROOT / name for name in DOCUMENTS}
    there = {name: _place(name) for name in sources}
    there |= {path.relative_to(ROOT).as_posix(): place for place, path in assets().items()}
    there["README.md"] = "index.md"
    return {there[name]: _mended(_text(name, path), name, there) for name, path in sources.items()}


def assets() -> dict[str, Path]:
    """Everything else on the site by its place: pictures, styles, the examples."""
    found = {
        path.relative_to(DOCS).as_posix(): path for path in DOCS.rglob("*") if path.is_file() and path.suffix != ".md"
    }
    return found | {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "examples").rglob("*.yaml")}


def _place(name: str) -> str:
    return DOCUMENTS.get(name, name.removeprefix("docs/"))


def _text(name: str, path: Path) -> str:
    if name != "CHANGELOG.md":
        return path.read_text(encoding="utf-8")
    sys.path.insert(0, str(ROOT / ".ci"))
    try:
        import changelog
    finally:
        sys.path.remove(str(ROOT / ".ci"))
    return str(changelog.with_unreleased())


def _mended(text: str, name: str, there: Mapping[str, str]) -> str:
    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(lambda link: _link(link, name, there), part) for part in parts[::2]]
    return "".join(parts)


def _link(link: re.Match[str], name: str, there: Mapping[str, str]) -> str:
    target, hash_sign, anchor = link[3].partition("#")
    if not target or re.match(r"[a-z]+:", target):
        return link[0]
    named = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if named in there:
        address = posixpath.relpath(there[named], posixpath.dirname(there[name]) or ".")
        return f"{link[1]}[{link[2]}]({address}{hash_sign}{anchor})"
    if (ROOT / named).exists():
        return link[2]
    raise NotBuildable(f"{name} links {link[3]}, and there is no such file: mend the link")


def navigation(entries: list[Any], known: Collection[str]) -> list[Any]:
    """The navigation with its stars filled in. Raises NotBuildable unless it has every page once."""
    named = [one for one in _named(entries) if "*" not in one]
    filled = list(_filled(entries, set(named), known))
    listed = list(_named(filled))
    twice = sorted({one for one in listed if listed.count(one) > 1})
    for what, places in (
        ("names a page that does not exist", set(listed) - set(known)),
        ("lacks the page", set(known) - set(listed)),
        ("has the page twice", twice),
    ):
        if places:
            raise NotBuildable(f"the navigation in .ci/site.yml {what}: {', '.join(sorted(places))}")
    return filled


def _named(entries: Any) -> Iterator[str]:
    for entry in entries if isinstance(entries, list) else [entries]:
        if isinstance(entry, Mapping):
            for value in entry.values():
                yield from _named(value)
        else:
            yield entry


def _filled(entries: list[Any], named: set[str], known: Collection[str]) -> Iterator[Any]:
    for entry in entries:
        if isinstance(entry, Mapping):
            for title, value in entry.items():
                yield {title: list(_filled(value, named, known)) if isinstance(value, list) else value}
        elif "*" in entry:
            found = sorted(one for one in known if _matches(one, entry) and one not in named)
            named |= set(found)
            yield from _by_phase(found)
        else:
            yield entry


def _matches(place: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]*"), place) is not None


def _by_phase(places: list[str]) -> Iterator[Any]:
    """The pages, those of checks and remediations grouped by the phase they belong to, in its order."""
    phases = {f"checks/{check.id}.md": check.phase for check in offline.catalogue()}
    phases |= {f"remediations/{one.name}.md": one.phase for one in remediations.load()}
    yield from (place for place in places if place not in phases)
    for phase in Phase:
        titled = [{Path(place).stem: place} for place in places if phases.get(place) is phase]
        if titled:
            yield {phase.value: titled}


def gather() -> Path:
    """Writes the pages and the configuration below dist/site; returns the configuration. Raises NotBuildable."""
    configuration = yaml.safe_load((ROOT / ".ci" / "site.yml").read_text(encoding="utf-8"))
    written = pages()
    configuration["nav"] = navigation(configuration["nav"], written)
    configuration |= {"docs_dir": "pages", "site_dir": "html"}
    folder = WORK / "pages"
    shutil.rmtree(WORK, ignore_errors=True)
    for place, text in written.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
    for place, path in assets().items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / place)
    (WORK / "mkdocs.yml").write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    return WORK / "mkdocs.yml"


def main() -> int:
    """Builds the site, or with `serve` shows it."""
    try:
        configuration = gather()
    except NotBuildable as error:
        sys.stderr.write(f"docs: {error}\n")
        return 1
    zensical = [sys.executable, "-m", "zensical"]
    if sys.argv[1:] == ["serve"]:
        return subprocess.run([*zensical, "serve", "-f", str(configuration)], check=False).returncode
    built = subprocess.run([*zensical, "build", "--strict", "--clean", "-f", str(configuration)], check=False)
    if built.returncode == 0:
        sys.stdout.write(f"The site is in {SITE.relative_to(ROOT)}.\n")
    return built.returncode


if __name__ == "__main__":
    sys.exit(main())
