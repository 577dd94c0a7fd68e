"""The table of what AWS has ended is whole: every entry can be read, found and looked up."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from importlib.resources import files
from typing import Any

import pytest
import yaml

from passmuster.inventory.operations import lifecycle

GROUPS: list[dict[str, Any]] = yaml.safe_load((files("passmuster.inventory.operations") / "lifecycle.yaml").read_text())
ENTRIES = [{**group, **entry} for group in GROUPS for entry in group["entries"]]
KINDS = {"service", "lambda-runtime", "canary-runtime", "database", "cache", "kubernetes", "image"}
WITH_ENGINE = {"database", "cache"}


@pytest.mark.parametrize("group", [pytest.param(group, id=group["entries"][0]["id"]) for group in GROUPS])
def test_a_group_says_what_it_is_about_and_where_its_dates_are_from(group: dict[str, Any]) -> None:
    assert set(group) == {"kind", "source", "read", "entries"}
    assert group["kind"] in KINDS
    assert re.fullmatch(r"https://docs\.aws\.amazon\.com/\S+", group["source"])
    assert type(group["read"]) is date


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["id"]) for entry in ENTRIES])
def test_an_entry_has_a_date_and_a_substitute(entry: dict[str, Any]) -> None:
    own = set(entry) - {"kind", "source", "read", "entries"}
    assert own - {"older"} == {"id", "version", "end", "substitute"} | ({"engine"} & own)
    assert ("engine" in own) == (entry["kind"] in WITH_ENGINE)
    assert entry.get("older", True) is True
    assert type(entry["end"]) is date
    assert date(2014, 11, 13) < entry["end"] < date(2032, 1, 1)
    assert all(isinstance(entry[name], str) and entry[name] for name in ("id", "version", "substitute"))
    assert re.fullmatch(r"[a-z][a-z0-9.-]*", entry["id"])


def test_ids_and_subjects_are_unique() -> None:
    for names in (
        [entry["id"] for entry in ENTRIES],
        [(entry["kind"], entry.get("engine"), entry["version"]) for entry in ENTRIES],
    ):
        assert [name for name, times in Counter(names).items() if times > 1] == []


def test_the_substitute_of_a_runtime_has_not_ended_itself() -> None:
    runtimes = {entry["substitute"] for entry in ENTRIES if entry["kind"] == "lambda-runtime"}
    assert {one for one in runtimes if lifecycle.end_of("lambda-runtime", one) is not None} == set()


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["id"]) for entry in ENTRIES])
def test_an_entry_is_what_its_version_is_looked_up_as(entry: dict[str, Any]) -> None:
    found = lifecycle.end_of(entry["kind"], entry["version"], entry.get("engine", ""))
    assert found is not None
    assert (found.version, found.end) == (entry["version"], entry["end"])


def test_a_runtime_is_not_another_one_whose_name_begins_like_its_own() -> None:
    assert lifecycle.end_of("lambda-runtime", "provided.al2023") is None
    assert lifecycle.end_of("canary-runtime", "syn-1.0.1") is None


def test_a_later_version_of_an_engine_ends_no_sooner() -> None:
    for kind, engine in {(entry["kind"], entry.get("engine")) for entry in ENTRIES if entry["version"][0].isdigit()}:
        versions = [entry for entry in ENTRIES if (entry["kind"], entry.get("engine")) == (kind, engine)]
        versions.sort(key=lambda entry: [int(part) for part in entry["version"].split(".")])
        assert [entry["end"] for entry in versions] == sorted(entry["end"] for entry in versions)


def test_the_whole_table_is_read() -> None:
    assert len(lifecycle.table()) == len(ENTRIES)
