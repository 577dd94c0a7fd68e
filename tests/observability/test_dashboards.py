"""The dashboards as Grafana's own schema reads them, and what every panel owes its reader."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as schema

from passmuster.observability.dashboards import DASHBOARDS, files
from passmuster.observability.panels import Dashboard, Kind, Panel, Query, Row, Unit, render
from passmuster.observability.queries import checked, faults

PANELS = [pytest.param(d, p, id=f"{d.uid}: {p.title}") for d in DASHBOARDS for p in d.panels]
OF_THE_DATA_SOURCE = re.compile(r"\.annotations\.list\[\d+\]\.(step|titleFormat)")
"""What Prometheus' own part of Grafana reads of an annotation, beside its expression."""

SHOWS_VALUES = (Kind.STAT, Kind.TABLE, Kind.BARS)


@pytest.fixture(scope="module", autouse=True)
def grafana() -> None:
    """Grafana's panel types and query languages, as its SDK knows them."""
    plugins.register_default_plugins()


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _leaves(member, f"{path}.{name}")
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _leaves(member, f"{path}[{index}]")
    else:
        yield path, value


def _lost(document: dict[str, Any]) -> dict[str, Any]:
    """What Grafana's schema does not know of a dashboard: it drops it."""
    read = schema.Dashboard.from_json(document)
    kept = dict(_leaves(json.loads(JSONEncoder(sort_keys=True).encode(read))))
    lost = {path: value for path, value in _leaves(document) if value is not None and kept.get(path) != value}
    return {path: value for path, value in lost.items() if not OF_THE_DATA_SOURCE.fullmatch(path)}


@pytest.mark.parametrize("name", files())
def test_grafanas_schema_knows_everything_that_is_written(name: str) -> None:
    assert _lost(json.loads(files()[name])) == {}


def test_a_member_that_grafana_does_not_know_is_noticed() -> None:
    document = json.loads(next(iter(files().values())))
    document["panels"][1]["options"]["shine"] = True
    assert list(_lost(document)) == [".panels[1].options.shine"]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.uid)
def test_ids_are_unique_queries_are_lettered_and_nothing_overlaps(dashboard: Dashboard) -> None:
    panels = render(dashboard)["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert letters == sorted(set(letters))


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.uid)
def test_titles_are_told_apart(dashboard: Dashboard) -> None:
    titles = [panel.title for panel in dashboard.panels]
    assert len(titles) == len(set(titles))


def test_uids_are_told_apart_and_begin_with_our_name() -> None:
    uids = [dashboard.uid for dashboard in DASHBOARDS]
    assert uids == ["passmuster-fleet", "passmuster-account", "passmuster-remediation", "passmuster-operator"]


@pytest.mark.parametrize(("dashboard", "panel"), PANELS)
def test_a_panel_has_a_title_a_description_a_unit_and_a_query(dashboard: Dashboard, panel: Panel) -> None:
    assert panel.title
    assert panel.description.endswith(".")
    assert panel.unit.value
    assert panel.queries
    for column in panel.columns:
        assert column.unit is not None or not column.steps, column.title


@pytest.mark.parametrize(("dashboard", "panel"), PANELS)
def test_thresholds_are_told_by_more_than_their_colour(dashboard: Dashboard, panel: Panel) -> None:
    if panel.steps:
        words = [step.word for step in panel.steps]
        assert len(set(words)) == len(words)
        assert all(word and word in panel.told for word in words)
    shown = render(Dashboard("u", "t", "d", (), (Row("r", (panel,)),)))["panels"][1]
    if panel.steps and panel.kind is Kind.SERIES:
        assert shown["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed"
    if panel.steps and panel.kind is not Kind.SERIES:
        assert panel.kind in SHOWS_VALUES
        assert not panel.names
    if panel.words:
        texts = [word for word, _ in panel.words.values()]
        assert len({text[0] for text in texts}) == len(texts)


@pytest.mark.parametrize(("dashboard", "panel"), PANELS)
def test_every_query_asks_for_what_the_metrics_contract_has(dashboard: Dashboard, panel: Panel) -> None:
    assert [fault for query in panel.queries for fault in faults(query.expression)] == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("passmuster_scores", "no metric passmuster_scores"),
        ('passmuster_score_ratio{tier="x"}', "no label tier"),
        ("sum by (check) (passmuster_score_ratio)", "label check"),
        ("up == 0", "no metric of ours"),
        ("histogram_quantile(0.5, passmuster_inspection_duration_seconds)", "no metric"),
    ],
)
def test_a_query_beside_the_contract_is_refused(expression: str, fault: str) -> None:
    assert any(fault in said for said in faults(expression))
    with pytest.raises(ValueError, match=fault):
        checked(expression)
    panel = Panel(Kind.STAT, "t", "d.", Unit.NUMBER, (Query(expression),))
    with pytest.raises(ValueError, match=fault):
        render(Dashboard("u", "t", "d", (), (Row("r", (panel,)),)))
