"""Commands that print what Prometheus and Grafana are given: rules, dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passmuster.cli.terminal import deliver
from passmuster.model.errors import UserError

LABEL = "--label"


def rules(
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Print a PrometheusRule object instead of a rule file.")
    ] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(LABEL, metavar="NAME=VALUE", help="Label of the PrometheusRule; may be repeated."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
) -> None:
    """Print the alert rules for Prometheus."""
    from passmuster.observability.rules import prometheus_rule, rule_file

    if label and not kubernetes:
        raise UserError(f"a rule file has no labels of its own: give {LABEL} together with --kubernetes")
    made = prometheus_rule(labels=_labels(label or [])) if kubernetes else rule_file()
    deliver(made, output)


def dashboards(
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Write one file each into this folder.")
    ] = Path("dashboards"),
) -> None:
    """Write the dashboards for Grafana, one JSON file each."""
    from passmuster.observability.dashboards import files

    for name, text in files().items():
        deliver(text, output_dir / name)


def _labels(given: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    wrong = next((name + middle + value for name, middle, value in pairs if not name or not middle or not value), None)
    if wrong is not None:
        raise UserError(f"{wrong!r} is not NAME=VALUE, for example release=prometheus")
    return {name: value for name, _, value in pairs}
