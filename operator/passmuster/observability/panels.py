"""Dashboards as data, and the JSON that Grafana takes of them. The four dashboards are declared beside this file.

The JSON is written by hand instead of with Grafana's SDK, so that an installed Passmuster can print its dashboards
without it; the tests read what is written here back with that SDK and compare. Every query is held against the metrics
contract; ids are numbered in reading order and queries are lettered, so that a rendered dashboard changes only where
its declaration does.
"""

from __future__ import annotations

import enum
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from passmuster.model.documentation import DOCUMENTATION
from passmuster.observability.queries import checked

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
"""Width of a dashboard in Grafana's grid."""

SCHEMA = 39
"""Version of the dashboard schema, of Grafana 10.4; newer ones read it."""


class Unit(enum.StrEnum):
    """Units as Grafana names them."""

    NUMBER = "short"
    RATIO = "percentunit"
    SECONDS = "s"
    DAYS = "d"
    DOLLARS = "currencyUSD"
    PER_SECOND = "reqps"
    TEXT = "string"


class Kind(enum.StrEnum):
    """Panel types; each needs no plugin."""

    STAT = "stat"
    SERIES = "timeseries"
    TABLE = "table"
    BARS = "bargauge"
    STATES = "state-timeline"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression; `legend` names its series. Tables and single values ask for this moment only."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """From a value on (None: from the lowest) a colour, and the word that says the same."""

    value: float | None
    colour: str
    word: str


@dataclass(frozen=True, slots=True)
class Column:
    """How a table shows a field: its title (empty: not at all), its unit, thresholds, and where a click leads."""

    field: str
    title: str
    unit: Unit | None = None
    steps: tuple[Step, ...] = ()
    link: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `words` are texts for values, `matrix` is (rows, columns) of a table that crosses two labels."""

    kind: Kind
    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    width: int = 6
    height: int = 4
    steps: tuple[Step, ...] = ()
    words: Mapping[float, tuple[str, str]] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    matrix: tuple[str, str] | None = None
    names: bool = False
    """Show the name of the series instead of its value."""
    highest: float | None = None
    stacked: bool = False
    sort: str = ""
    """Title of the column by which a table is sorted, descending; ascending with a leading `-`."""

    @property
    def instant(self) -> bool:
        """Whether only this moment counts."""
        return self.kind not in (Kind.SERIES, Kind.STATES)

    @property
    def told(self) -> str:
        """The description with its thresholds in words, because colours alone tell nothing to many people."""
        said = ", ".join(
            f"{step.word} from {_shown(step.value, self.unit)}" if step.value is not None else f"{step.word} below that"
            for step in reversed(self.steps)
        )
        return f"{self.description} Thresholds: {said}." if said else self.description


@dataclass(frozen=True, slots=True)
class Row:
    """A heading over panels."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice above the dashboard: the values of a label among the series of a selector."""

    name: str
    title: str
    label: str
    selector: str
    several: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Moments that are marked on every time series: where the expression has a value."""

    name: str
    expression: str
    title: str
    colour: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; `uid` is its name in links and the name of its file."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...] = ()
    range: str = "now-7d"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Every panel, in reading order."""
        return tuple(panel for row in self.rows for panel in row.panels)


def text(dashboard: Dashboard) -> str:
    """The file that Grafana imports."""
    return json.dumps(render(dashboard), indent=2, ensure_ascii=False) + "\n"


def render(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana's JSON model. ValueError where a query asks for what the contract does not have."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["passmuster"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "1m",
        "time": {"from": dashboard.range, "to": "now"},
        "links": [
            {
                "title": "Passmuster",
                "type": "dashboards",
                "tags": ["passmuster"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "The other dashboards of Passmuster",
                "url": "",
            }
        ],
        "annotations": {"list": [_note(note) for note in dashboard.notes]},
        "templating": {"list": [_datasource(), *(_variable(v) for v in dashboard.variables)]},
        "panels": list(_placed(dashboard.rows)),
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "multi": False,
        "includeAll": False,
        "hide": 0,
    }


def _variable(variable: Variable) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": variable.name,
        "label": variable.title,
        "type": "query",
        "datasource": DATASOURCE,
        "query": f"label_values({checked(variable.selector)}, {variable.label})",
        "refresh": 2,
        "sort": 1,
        "multi": variable.several,
        "includeAll": variable.several,
        "hide": 0,
    }
    if variable.several:
        made["allValue"] = ".*"
        made["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return made


def _note(note: Note) -> dict[str, Any]:
    return {
        "name": note.name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": note.colour,
        "expr": checked(note.expression),
        "titleFormat": note.title,
        "step": "60s",
    }


def _placed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Every row and panel with its number and place: from left to right, and into the next line where it is full."""
    number, top = 0, 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": panel.height})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit.value,
        "thresholds": _thresholds(panel.steps),
        "color": {"mode": "thresholds" if panel.steps or panel.words else "palette-classic"},
        "mappings": _mappings(panel.words),
        "noValue": "none",
    }
    if panel.highest is not None:
        defaults["min"], defaults["max"] = 0, panel.highest
    custom = _custom(panel)
    if custom:
        defaults["custom"] = custom
    made = {
        "id": number,
        "type": panel.kind.value,
        "title": panel.title,
        "description": panel.told,
        "datasource": DATASOURCE,
        "gridPos": dict(place),
        "targets": [
            _target(panel, query, letter) for query, letter in zip(panel.queries, string.ascii_uppercase, strict=False)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": [_override(c) for c in panel.columns if c.title]},
        "options": _options(panel),
    }
    transformations = list(_transformations(panel))
    if transformations:
        made["transformations"] = transformations
    return made


def _target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    return {
        "refId": letter,
        "datasource": DATASOURCE,
        "expr": checked(query.expression),
        "legendFormat": query.legend or "__auto",
        "instant": panel.instant,
        "range": not panel.instant,
        "format": "table" if panel.kind is Kind.TABLE else "time_series",
    }


def _thresholds(steps: Sequence[Step]) -> dict[str, Any]:
    shown = steps or (Step(None, "text", ""),)
    return {"mode": "absolute", "steps": [{"color": s.colour, "value": s.value} for s in shown]}


def _mappings(words: Mapping[float, tuple[str, str]]) -> list[dict[str, Any]]:
    if not words:
        return []
    options = {
        f"{value:g}": {"text": word, "color": colour, "index": index}
        for index, (value, (word, colour)) in enumerate(words.items())
    }
    return [{"type": "value", "options": options}]


def _custom(panel: Panel) -> dict[str, Any]:
    if panel.kind is Kind.SERIES:
        return {
            "drawStyle": "line",
            "lineWidth": 2,
            "fillOpacity": 30 if panel.stacked else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
        }
    if panel.kind is Kind.STATES:
        return {"lineWidth": 0, "fillOpacity": 80}
    if panel.kind is Kind.TABLE:
        return {"align": "auto", "cellOptions": {"type": "color-text" if panel.steps else "auto"}}
    return {}


def _options(panel: Panel) -> dict[str, Any]:
    reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if panel.kind is Kind.STAT:
        return {
            "reduceOptions": reduced,
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "name" if panel.names else "auto",
            "wideLayout": True,
        }
    if panel.kind is Kind.BARS:
        return {
            "reduceOptions": reduced,
            "displayMode": "basic",
            "orientation": "horizontal",
            "showUnfilled": True,
            "valueMode": "text",
            "namePlacement": "auto",
            "sizing": "auto",
            "minVizHeight": 16,
            "minVizWidth": 8,
            "maxVizHeight": 300,
        }
    if panel.kind is Kind.STATES:
        return {
            "showValue": "auto",
            "rowHeight": 0.8,
            "mergeValues": True,
            "alignValue": "left",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        }
    if panel.kind is Kind.TABLE:
        order = [{"displayName": panel.sort.removeprefix("-"), "desc": not panel.sort.startswith("-")}]
        return {
            "showHeader": True,
            "cellHeight": "sm",
            "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
            "sortBy": order if panel.sort else [],
        }
    return {
        "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["lastNotNull"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _transformations(panel: Panel) -> Iterator[dict[str, Any]]:
    """Rows of a table: its queries side by side, crossed where that is asked for, and without the time."""
    if panel.kind is not Kind.TABLE:
        return
    if panel.matrix is not None:
        rows, columns = panel.matrix
        options: dict[str, Any] = {"rowField": rows, "columnField": columns, "valueField": "Value"}
        yield {"id": "groupingToMatrix", "options": options}
        return
    if len(panel.queries) > 1:
        yield {"id": "merge", "options": {}}
    order = {column.field: index for index, column in enumerate(panel.columns)}
    titles = {column.field: column.title for column in panel.columns if column.title}
    hidden = {"Time": True, **{column.field: True for column in panel.columns if not column.title}}
    yield {"id": "organize", "options": {"excludeByName": hidden, "indexByName": order, "renameByName": titles}}


def _override(column: Column) -> dict[str, Any]:
    properties: list[dict[str, Any]] = []
    if column.unit is not None:
        properties.append({"id": "unit", "value": column.unit.value})
    if column.steps:
        properties.append({"id": "thresholds", "value": _thresholds(column.steps)})
        properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    if column.link:
        link = {"title": "Open", "url": f"{DOCUMENTATION}/{column.link}", "targetBlank": True}
        properties.append({"id": "links", "value": [link]})
    return {"matcher": {"id": "byName", "options": column.title}, "properties": properties}


def _shown(value: float | None, unit: Unit) -> str:
    if value is None:
        return ""
    if unit is Unit.RATIO:
        return f"{value:.0%}"
    suffix = {Unit.SECONDS: " s", Unit.DAYS: " days"}.get(unit, "")
    return f"{'$' if unit is Unit.DOLLARS else ''}{value:g}{suffix}"
