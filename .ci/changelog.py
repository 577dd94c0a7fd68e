"""Gathers the fragments of changelog.d/ under a version in CHANGELOG.md: `python .ci/changelog.py 0.2.0`.

Run when a release is made; the site shows the same text under *Unreleased* (.ci/site.py).
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = "CHANGELOG.md"
KINDS = ("added", "changed", "fixed")
NONE_YET = " There is no release yet."
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


class NotReleasable(Exception):
    """What stands against a release, in a sentence."""


def fragments(root: Path = ROOT) -> dict[str, list[Path]]:
    """The fragments by kind, in the order of their topics; kinds without one are left out."""
    found = {kind: sorted((root / "changelog.d").glob(f"*.{kind}.md")) for kind in KINDS}
    return {kind: paths for kind, paths in found.items() if paths}


def section(title: str, root: Path = ROOT) -> str:
    """The fragments as one section: a heading for the version, one for each kind, an entry for each fragment."""
    parts = [f"## {title}"]
    for kind, paths in fragments(root).items():
        parts.append(f"### {kind.capitalize()}")
        parts.append("\n".join(_entry(path.read_text(encoding="utf-8")) for path in paths))
    return "\n\n".join(parts) + "\n"


def _entry(text: str) -> str:
    lines = text.strip().splitlines()
    return "\n".join([f"- {lines[0]}", *(f"  {line}" if line else "" for line in lines[1:])])


def _with(part: str, text: str, *, outdated: str = "") -> str:
    """The changelog with a section above all earlier ones, and its head without the words that this makes untrue."""
    head, heading, earlier = text.partition("\n## ")
    return head.replace(outdated, "").rstrip() + "\n\n" + part + (f"\n{heading.lstrip()}{earlier}" if heading else "")


def with_unreleased(root: Path = ROOT) -> str:
    """The changelog with what the next release brings."""
    text = (root / CHANGELOG).read_text(encoding="utf-8")
    if not fragments(root):
        return text
    return _with(section("Unreleased", root), text)


def release(version: str, day: str, root: Path = ROOT) -> list[Path]:
    """Writes the section of a version and removes its fragments, which are returned. Raises NotReleasable."""
    path = root / CHANGELOG
    text = path.read_text(encoding="utf-8")
    if VERSION.fullmatch(version) is None:
        raise NotReleasable(f"{version} is no version: write it like 0.2.0 or 0.2.0rc1")
    if re.search(rf"^## {re.escape(version)} ", text, re.MULTILINE):
        raise NotReleasable(f"{CHANGELOG} has a section for {version} already: choose the next version")
    gathered = [path for paths in fragments(root).values() for path in paths]
    if not gathered:
        raise NotReleasable("there are no fragments in changelog.d: nothing that users notice has changed")
    path.write_text(_with(section(f"{version} ({day})", root), text, outdated=NONE_YET), encoding="utf-8")
    for one in gathered:
        one.unlink()
    return gathered


def main() -> int:
    """Makes the section of the version that is given."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python .ci/changelog.py VERSION\n")
        return 2
    try:
        gathered = release(sys.argv[1], datetime.now(UTC).date().isoformat())
    except NotReleasable as error:
        sys.stderr.write(f"changelog: {error}\n")
        return 2
    sys.stdout.write(f"{CHANGELOG} has {len(gathered)} entries for {sys.argv[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
