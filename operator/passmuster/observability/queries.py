"""Which metrics and labels a PromQL expression uses, held against the contract, for rules and dashboards alike."""

from __future__ import annotations

import re
from collections.abc import Iterator

from passmuster.metrics import contract

_SERIES = re.compile(r"\b(passmuster_\w+|ALERTS)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")
_MADE = re.compile(r"label_(?:replace|join)\s*\(.*?,\s*\"(\w+)\"", re.DOTALL)

OF_PROMETHEUS = {"ALERTS": frozenset({"alertname", "alertstate", "severity"})}
"""Series that Prometheus makes itself, with the labels that it adds to ours."""

POLICY = "policy_namespace, policy, account_id"
"""The labels of one account under one policy, as a grouping."""


def faults(expression: str) -> Iterator[str]:
    """What is wrong with an expression: metrics that do not exist, labels that its metrics do not have."""
    ours = contract.series()
    alerts = frozenset(label for labels in ours.values() for label in labels)
    allowed = ours | {name: labels | alerts for name, labels in OF_PROMETHEUS.items()}
    usable: set[str] = set(_MADE.findall(expression))
    named = list(_SERIES.finditer(expression))
    if not named:
        yield f"{expression!r} asks for no metric of ours"
    for match in named:
        name, matchers = match[1], match[2] or ""
        if name not in allowed:
            yield f"there is no metric {name}"
            continue
        usable |= allowed[name]
        unknown = set(_MATCHER.findall(matchers)) - allowed[name]
        if unknown:
            yield f"{name} has no label {', '.join(sorted(unknown))}"
    for match in _GROUPING.finditer(expression):
        words = {word.strip() for word in match[1].split(",")} - {""}
        if words - usable:
            yield f"no metric of {expression!r} has a label {', '.join(sorted(words - usable))}"


def checked(expression: str) -> str:
    """The expression in one line; ValueError where it asks for what the contract does not have."""
    found = list(faults(expression))
    if found:
        raise ValueError("; ".join(found))
    return " ".join(expression.split())
