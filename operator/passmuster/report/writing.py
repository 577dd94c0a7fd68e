"""Markdown as lines: the tables, steps, fences and sections of every document and page.

Used by the renderers of this package, by the folder of a plan, and by what generates the documentation. Words and
numbers are `phrasing`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence


def cell(text: str) -> str:
    """Text on one line in which no character ends a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text: Callable[[str], str] = cell) -> Iterator[str]:
    """A table; `text` makes the content of a row's cell out of a value."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + " --- |" * len(header)
    yield from ("| " + " | ".join(text(value) for value in row) + " |" for row in rows)


def codes(names: Iterable[str]) -> str:
    """Names as code, with commas between them."""
    return ", ".join(f"`{name}`" for name in names)


def numbered(steps: Iterable[str]) -> Iterator[str]:
    """Steps in their order."""
    yield from (f"{number}. {step}" for number, step in enumerate(steps, start=1))


def fenced(language: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines as they are."""
    yield f"```{language}"
    yield from lines
    yield "```"


def guide(console: Sequence[str], cli: Sequence[str], language: str) -> Iterator[str]:
    """What a person does in the console, and with the command line: each after an empty line, where there is one."""
    if console:
        yield ""
        yield from numbered(console)
    if cli:
        yield ""
        yield from fenced(language, cli)


def sections(parts: Iterable[tuple[str, Iterable[str]]]) -> Iterator[str]:
    """Each part under its heading; one that says nothing has none."""
    for title, lines in parts:
        told = list(lines)
        if told:
            yield ""
            yield f"## {title}"
            yield ""
            yield from told
