"""The alerts for people: one runbook each, and the table of docs/alerts.md."""

from __future__ import annotations

from collections.abc import Iterable

from passmuster.observability.alerts import ALERTS, Alert
from passmuster.observability.queries import checked
from passmuster.report import writing

HEAD = "<!-- Generated from passmuster.observability.alerts; do not edit: `make crds` writes it anew. -->"


def runbooks() -> dict[str, str]:
    """Every runbook by the name of its alert."""
    return {alert.name: runbook(alert) for alert in ALERTS}


def runbook(alert: Alert) -> str:
    """What an alert means, where to look first, how to fix it and how to silence it."""
    lasts = f", for {alert.lasts}" if alert.lasts else ""
    return "\n".join(
        [
            HEAD,
            f"# {alert.name}",
            "",
            f"Severity `{alert.urgency}`. All alerts are in [alerts.md](../alerts.md).",
            "",
            "## What it means",
            "",
            alert.meaning,
            "",
            f"It fires while this holds{lasts}:",
            "",
            "```promql",
            checked(alert.expression),
            "```",
            "",
            "## Where to look first",
            "",
            *_list(alert.look),
            "",
            "## How to fix it",
            "",
            *_list(alert.fix),
            "",
            "## How to silence it",
            "",
            alert.silence,
            "",
        ]
    )


def table() -> str:
    """Every alert with its severity, what it says and its runbook, as a Markdown table."""
    rows = ((f"[{a.name}](runbooks/{a.name}.md)", a.urgency, a.lasts or "at once", _words(a)) for a in ALERTS)
    return "\n".join(writing.table(("alert", "severity", "after", "it says"), rows)) + "\n"


def _words(alert: Alert) -> str:
    """The summary with its labels by name instead of as a template."""
    return alert.summary.replace("{{ $labels.", "*").replace(" }}", "*")


def _list(steps: Iterable[str]) -> list[str]:
    return [f"- {step}" for step in steps]
