"""The shell commands of README.md and docs/, one by one, for the tests that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = tuple(str(path.relative_to(ROOT)) for path in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]))
SHELL: Final = ("bash", "sh", "console")

_PART: Final = re.compile(
    r"^## (?P<section>[^\n]+)$|^```(?P<language>\w*)\n(?P<block>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Command:
    """What a reader types, with lines that go on joined; a block with a here-document is one command."""

    page: str
    section: str
    """The heading of the second level above it."""
    text: str
    shown: str
    """What a console block shows below it."""
    manifest: str
    """The YAML block above it on its page."""

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.text.split())}"

    @property
    def program(self) -> str:
        """The first word."""
        return self.text.split()[0]


def commands(page: str) -> list[Command]:
    """The commands of a page in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found, section, manifest = [], "", ""
    for part in _PART.finditer(text):
        if part["section"]:
            section = part["section"]
        elif part["language"] == "yaml":
            manifest = part["block"]
        elif part["language"] in SHELL:
            found += [Command(page, section, *typed, manifest) for typed in _typed(part["block"], part["language"])]
    return found


def _typed(block: str, language: str) -> Iterator[tuple[str, str]]:
    """Each command of a block, with what is shown below it."""
    if language == "console":
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            yield command, shown
    elif "<<" in block:
        yield block, ""
    else:
        lines = block.replace("\\\n", " ").splitlines()
        yield from ((line, "") for line in lines if line.strip() and not line.lstrip().startswith("#"))
