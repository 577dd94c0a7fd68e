"""Pictures of dashboards for the documentation, drawn from what a real Prometheus answered to their queries.

Used by tests/e2e/test_dashboards.py, which has the answers at hand: with PASSMUSTER_PICTURES set to a folder it writes
one SVG for each dashboard. They show the panels' titles, values, units and thresholds as declared; how Grafana itself
draws them differs in its details. Readable in light and dark, without a script, and with a text for each value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

from passmuster.observability.panels import Column, Dashboard, Kind, Panel, Step, Unit, render
from passmuster.sandbox.prometheus import Series

Answers = Mapping[str, Sequence[Sequence[Series]]]
"""What each panel's queries were answered, by the panel's title."""

CELL, LINE, GAP = 52, 34, 8
ROW = 15
SHOWN = 14
STYLE = """
svg{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.page{fill:#f4f5f7}.panel{fill:#fff;stroke:#d8dbe0}.t{fill:#1d2129}.d{fill:#4d5562}.g{stroke:#d8dbe0;fill:none}
.none{fill:#1d2129}.green{fill:#1a6b2c}.orange{fill:#8a4b00}.red{fill:#b3141c}.blue{fill:#1f5fbf}.bar{fill-opacity:.3}
.h{font-weight:600}.v{font-weight:600}.limit{stroke:#8a4b00;stroke-dasharray:5 4}
@media (prefers-color-scheme:dark){
.page{fill:#111217}.panel{fill:#181b1f;stroke:#34373d}.t,.none{fill:#e4e7eb}.d{fill:#a9b0ba}.g{stroke:#34373d}
.green{fill:#7bd88f}.orange{fill:#ffb454}.red{fill:#ff7b84}.blue{fill:#82b1ff}.limit{stroke:#ffb454}}
"""
COLOURS = ("#1f77b4", "#d95f02", "#2a9d55", "#9467bd", "#c2185b", "#6d7f00", "#008a9a", "#8c564b")
STATES = {"red": "#c4373f", "orange": "#c77700", "green": "#2f8f46", "text": "#7a828e"}


def draw(dashboard: Dashboard, answers: Answers) -> str:
    """The dashboard as one SVG."""
    placed = render(dashboard)["panels"]
    panels = {panel.title: panel for panel in dashboard.panels}
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in placed) * LINE + 48
    width = 24 * CELL + 2 * GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(dashboard.title)}">',
        f'<style>{STYLE}</style><rect class="page" width="{width}" height="{height}"/>',
        _text(GAP * 2, 28, dashboard.title, "t h", size=18),
    ]
    for place in placed:
        at = place["gridPos"]
        x, y, w, h = at["x"] * CELL + GAP, at["y"] * LINE + 40, at["w"] * CELL - GAP, at["h"] * LINE - GAP
        if place["type"] == "row":
            parts.append(_text(x + 4, y + 20, place["title"], "t h", size=14))
            continue
        panel = panels[place["title"]]
        parts.append(f'<g><title>{escape(panel.told)}</title><rect class="panel" x="{x}" y="{y}" width="{w}" ')
        parts.append(f'height="{h}" rx="4"/>{_text(x + 10, y + 18, panel.title, "t h", most=w - 20)}')
        parts += DRAWERS[panel.kind](panel, answers[panel.title], x + 10, y + 26, w - 20, h - 34)
        parts.append("</g>")
    return "".join([*parts, "</svg>\n"])


def _stat(panel: Panel, answers: Sequence[Sequence[Series]], x: float, y: float, w: float, h: float) -> Iterator[str]:
    found = [(one, query.legend) for query, series in zip(panel.queries, answers, strict=True) for one in series]
    each = w / max(1, len(found))
    for index, (one, legend) in enumerate(found):
        at = x + index * each
        if panel.names:
            yield _text(at, y + h / 2 + 10, _legend(legend, one), "t v", size=24, most=each)
            continue
        step = _step(panel.steps, one.value)
        size = 26 if len(found) < 4 else 20
        yield _text(at, y + h / 2 + 8, shown(one.value, panel.unit), f"{step.colour if step else 't'} v", size=size)
        under = step.word if step else _legend(legend, one)
        yield _text(at, y + h - 2, under, "d", most=each - 4)


def _bars(panel: Panel, answers: Sequence[Sequence[Series]], x: float, y: float, w: float, h: float) -> Iterator[str]:
    found = [
        (_legend(q.legend, one), one.value) for q, many in zip(panel.queries, answers, strict=True) for one in many
    ]
    found = [(name, value) for name, value in found if not math.isnan(value)]
    highest = panel.highest or max((value for _, value in found), default=1.0) or 1.0
    each = min(26.0, h / max(1, len(found)))
    label = min(w * 0.45, 300)
    for index, (name, value) in enumerate(found):
        top = y + index * each
        step = _step(panel.steps, value)
        colour = step.colour if step else "blue"
        length = max(1.0, (w - label - 150) * min(1.0, value / highest))
        yield _text(x, top + each * 0.68, name, "t", most=label - 8)
        yield f'<rect class="g" x="{x + label:.0f}" y="{top + 3:.1f}" width="{w - label - 150:.1f}" '
        yield f'height="{each - 6:.1f}" rx="2"/>'
        yield f'<rect class="bar {colour}" x="{x + label:.0f}" y="{top + 3:.1f}" width="{length:.1f}" '
        yield f'height="{each - 6:.1f}" rx="2"/>'
        word = f" {step.word}" if step else ""
        yield _text(x + w - 144, top + each * 0.68, shown(value, panel.unit) + word, f"{colour} v")


def _series(panel: Panel, answers: Sequence[Sequence[Series]], x: float, y: float, w: float, h: float) -> Iterator[str]:
    found = [(_legend(q.legend, one), one) for q, many in zip(panel.queries, answers, strict=True) for one in many]
    found = [(name, one) for name, one in found if any(not math.isnan(v) for _, v in one.points)]
    found.sort(key=lambda pair: -_last(pair[1]))
    plot = w * 0.62
    times = [at for _, one in found for at, _ in one.points]
    values = [v for _, one in found for _, v in one.points if not math.isnan(v)]
    start, end = min(times), max(times)
    high = panel.highest or max(values) * 1.1 or 1.0
    if panel.stacked:
        high = sum(max(v for _, v in one.points if not math.isnan(v)) for _, one in found) * 1.1 or 1.0

    def place(at: float, value: float) -> tuple[float, float]:
        return x + 44 + (plot - 50) * (at - start) / max(1.0, end - start), y + (h - 14) * (1 - value / high)

    for share in (0.0, 0.5, 1.0):
        level = y + (h - 14) * (1 - share)
        yield f'<path class="g" d="M{x + 44:.0f} {level:.1f}H{x + plot - 6:.0f}"/>'
        yield _text(x, level + 4, shown(high * share, panel.unit), "d", size=10)
    for step in panel.steps:
        if step.value is not None and step.value < high:
            level = y + (h - 14) * (1 - step.value / high)
            yield f'<path class="limit" d="M{x + 44:.0f} {level:.1f}H{x + plot - 6:.0f}"/>'
    beneath: dict[float, float] = {}
    for index, (name, one) in enumerate(found):
        colour = COLOURS[index % len(COLOURS)]
        points = [(at, v) for at, v in one.points if not math.isnan(v)]
        if panel.stacked:
            points = [(at, v + beneath.get(at, 0.0)) for at, v in points]
            beneath |= dict(points)
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in (place(at, v) for at, v in points))
        dash = ("", "6 3", "2 3")[index // len(COLOURS) % 3]
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
        line = y + 10 + index * ROW
        if line < y + h:
            yield f'<rect x="{x + plot:.0f}" y="{line - 8:.0f}" width="10" height="4" fill="{colour}"/>'
            value = shown(_last(one), panel.unit)
            yield _text(x + plot + 16, line - 2, name, "t", most=w - plot - 90)
            yield _text(x + w, line - 2, value, "d", anchor="end")


def _states(panel: Panel, answers: Sequence[Sequence[Series]], x: float, y: float, w: float, h: float) -> Iterator[str]:
    found = [(_legend(q.legend, one), one) for q, many in zip(panel.queries, answers, strict=True) for one in many]
    found.sort(key=lambda pair: (pair[1].value, pair[0]))
    start = min(at for _, one in found for at, _ in one.points)
    end = max(at for _, one in found for at, _ in one.points)
    columns, label = 2, 205
    many = math.ceil(len(found) / columns)
    each = (h - 24) / many
    wide = w / columns
    for index, (name, one) in enumerate(found):
        left, top = x + (index // many) * wide, y + (index % many) * each
        yield _text(left, top + each * 0.72, name, "t", size=11, most=label - 6)
        scale = (wide - label - 12) / max(1.0, end - start)
        for (at, value), (until, _) in pairwise([*_changes(one), (end, 0.0)]):
            _, colour = panel.words[value]
            yield f'<rect x="{left + label + (at - start) * scale:.1f}" y="{top + 1:.1f}" fill="{STATES[colour]}" '
            yield f'width="{max(1.0, (until - at) * scale):.1f}" height="{each - 3:.1f}"/>'
            if (until - at) * scale > 16:
                sign = panel.words[value][0][0]
                place = f'x="{left + label + (at - start) * scale + 4:.1f}" y="{top + each * 0.74:.1f}"'
                yield f'<text {place} fill="#fff" font-size="10">{escape(sign)}</text>'
    for index, (word, colour) in enumerate(panel.words.values()):
        yield f'<rect x="{x + index * 130:.0f}" y="{y + h - 14:.0f}" width="10" height="10" fill="{STATES[colour]}"/>'
        yield _text(x + index * 130 + 15, y + h - 5, word, "t")


def _changes(one: Series) -> list[tuple[float, float]]:
    """The moments at which a series took another value."""
    kept: list[tuple[float, float]] = []
    for at, value in one.points:
        if not kept or kept[-1][1] != value:
            kept.append((at, value))
    return kept


def _table(panel: Panel, answers: Sequence[Sequence[Series]], x: float, y: float, w: float, h: float) -> Iterator[str]:
    heads, rows = _crossed(panel, answers) if panel.matrix else _joined(panel, answers)
    room = max(1, int(h // ROW) - 1)
    each = w / (len(heads) + 1)
    lefts = [x, *(x + (index + 1) * each for index in range(1, len(heads)))]
    mosts = [2 * each - 8, *([each - 8] * (len(heads) - 1))]
    for head, left, most in zip(heads, lefts, mosts, strict=True):
        yield _text(left, y + 10, head.title, "d h", most=most)
    for number, row in enumerate(rows[:room]):
        line = y + 10 + (number + 1) * ROW
        for head, cell, left, most in zip(heads, row, lefts, mosts, strict=True):
            unit = head.unit or panel.unit
            text = cell if isinstance(cell, str) else shown(cell, unit) if cell is not None else "none"
            step = _step(head.steps, cell) if isinstance(cell, float) else None
            word = panel.words.get(cell) if isinstance(cell, float) else None
            if word is not None:
                text = word[0]
            colour = word[1] if word is not None else step.colour if step else "none"
            yield _text(left, line, text, colour, most=most)
    if len(rows) > room:
        yield _text(x + w, y - 9, f"{room} of {len(rows)} rows", "d", anchor="end")


def _joined(panel: Panel, answers: Sequence[Sequence[Series]]) -> tuple[list[Column], list[list[str | float | None]]]:
    """The queries of a table side by side, joined by the labels that they share."""
    heads = [column for column in panel.columns if column.title]
    fields = ["Value"] if len(answers) == 1 else [f"Value #{letter}" for letter in "ABCDEFGH"[: len(answers)]]
    shared = set.intersection(*(set(one.labels) for many in answers for one in many))
    rows: dict[tuple[str, ...], dict[str, str | float]] = {}
    for field, many in zip(fields, answers, strict=True):
        for one in many:
            key = tuple(one.labels[name] for name in sorted(shared))
            rows.setdefault(key, {}).update({**one.labels, field: one.value})
    made = [[row.get(head.field) for head in heads] for row in rows.values()]
    order = panel.sort.removeprefix("-")
    index = next((i for i, head in enumerate(heads) if head.title == order), 0)
    made.sort(key=lambda row: (row[index] is None, str(row[0])))
    if order:
        made.sort(key=lambda row: float(row[index] or 0), reverse=not panel.sort.startswith("-"))
    return heads, made


def _crossed(panel: Panel, answers: Sequence[Sequence[Series]]) -> tuple[list[Column], list[list[str | float | None]]]:
    row_label, column_label = panel.matrix or ("", "")
    cells = {(one.labels[row_label], one.labels[column_label]): one.value for many in answers for one in many}
    columns = sorted({column for _, column in cells})
    heads = [Column("", row_label), *(Column(name, name, panel.unit, panel.steps) for name in columns)]
    return heads, [[row, *(cells.get((row, name)) for name in columns)] for row in sorted({row for row, _ in cells})]


DRAWERS: Mapping[Kind, Callable[[Panel, Sequence[Sequence[Series]], float, float, float, float], Iterator[str]]] = {
    Kind.STAT: _stat,
    Kind.BARS: _bars,
    Kind.SERIES: _series,
    Kind.STATES: _states,
    Kind.TABLE: _table,
}


def shown(value: float, unit: Unit) -> str:
    """A value in its unit, as short as Grafana writes it."""
    if math.isnan(value):
        return "none"
    if unit is Unit.RATIO:
        return f"{value * 100:.1f}%"
    if unit is Unit.DOLLARS:
        return f"${value:,.2f}"
    if unit is Unit.DAYS:
        return f"{value:.0f} days"
    if unit is Unit.SECONDS:
        for name, length in (("days", 86400), ("hours", 3600), ("min", 60)):
            if value >= 2 * length:
                return f"{value / length:.1f} {name}"
        return f"{value:.1f} s" if value >= 1 or value == 0 else f"{value * 1000:.0f} ms"
    if unit is Unit.PER_SECOND:
        return f"{value:.2f}/s"
    return f"{value:.4g}"


def _step(steps: Sequence[Step], value: float | None) -> Step | None:
    held = [step for step in steps if value is not None and (step.value is None or value >= step.value)]
    return held[-1] if held else None


def _last(one: Series) -> float:
    return next((value for _, value in reversed(one.points) if not math.isnan(value)), 0.0)


def _legend(template: str, one: Series) -> str:
    text = template
    for label, value in one.labels.items():
        text = text.replace(f"{{{{{label}}}}}", value)
    return text


def _text(
    x: float, y: float, text: str, style: str, *, size: int = 12, most: float = 10_000, anchor: str = "start"
) -> str:
    room = max(4, int(most / (size * 0.54)))
    short = text if len(text) <= room else text[: room - 1] + "…"
    look = f' font-size="{size}"' if size != 12 else ""
    end = ' text-anchor="end"' if anchor == "end" else ""
    return f'<text class="{style}" x="{x:.0f}" y="{y:.0f}"{look}{end}>{escape(short)}</text>'
