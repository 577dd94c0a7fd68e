"""All dashboards, and the files they become."""

from __future__ import annotations

from passmuster.observability.account import ACCOUNT
from passmuster.observability.fleet import FLEET
from passmuster.observability.operator import OPERATOR
from passmuster.observability.panels import Dashboard, text
from passmuster.observability.remediation import REMEDIATION
from passmuster.report import writing

DASHBOARDS: tuple[Dashboard, ...] = (FLEET, ACCOUNT, REMEDIATION, OPERATOR)


def files() -> dict[str, str]:
    """Every dashboard as Grafana imports it, by the name of its file."""
    return {f"{dashboard.uid}.json": text(dashboard) for dashboard in DASHBOARDS}


def table() -> str:
    """What each dashboard shows, panel by panel, as Markdown."""
    lines: list[str] = []
    for dashboard in DASHBOARDS:
        lines += [f"### {dashboard.title.rpartition('/')[2].strip()}", "", dashboard.description, ""]
        lines += [f"![{dashboard.title}](pictures/{dashboard.uid}.svg)", ""]
        lines += writing.table(
            ("panel", "unit", "what it shows"), ((p.title, p.unit, p.told) for p in dashboard.panels)
        )
        lines.append("")
    return "\n".join(lines)
