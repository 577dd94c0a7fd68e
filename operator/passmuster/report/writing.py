"""Markdown as lines: the tables, steps, fences and sections of every document and page.

Used by the renderers of this package, by the folder of a plan, and by what generates the documentation. Words and
numbers are `phrasing`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

_MARKUP = str.maketrans({"\\": "\\\\", "`": "\\`", "[": "\\[", "<": "&lt;"})
"""What begins markup, as text."""


def cell(text: str) -> str:
    """Text on one line in which no character ends a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text: Callable[[str], str] = cell) -> Iterator[str]:
    """A table; `text` makes the content of a row's cell out of a value."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + " --- |" * len(header)
    yield from ("| " + " | ".join(text(value) for value in row) + " |" for row in rows)


def inert(text: str) -> str:
    """Text on one line that makes no link, picture, tag or cell, whoever chose it; code in it stays code.

    >>> inert("`iam:*` for ![a](b) | <c>")
    '`iam:*` for !\\\\[a](b) \\\\| &lt;c>'
    """
    parts = text.split("`")
    if len(parts) % 2 == 0 or "``" in text or "\\`" in text:  # not code as Markdown understands it
        parts = [text]
    return cell("`".join(part if n % 2 else part.translate(_MARKUP) for n, part in enumerate(parts)))


def code(name: str) -> str:
    """A name as code, also one that has the mark of code in it."""
    return "`" + name.replace("`", "'") + "`"


def codes(names: Iterable[str]) -> str:
    """Names as code, with commas between them."""
    return ", ".join(map(code, names))


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
