"""The entry point: `passmuster`. Commands are registered here and import what they need when they run.

Exit codes: 0 it is as it should be, 1 the level is not reached or a change was not made, 2 an error that the message
explains, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from passmuster import __version__
from passmuster.cli import accounts, change, cluster, inspect, knowledge, monitoring, playground, report, streams
from passmuster.cli.terminal import fail
from passmuster.model.errors import PassmusterError

app = typer.Typer(
    name="passmuster",
    help="Keeps AWS accounts production ready: inspects a live account against the readiness catalogue, scores it with "
    "evidence, and proposes or applies CloudFormation remediations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

LOOK, PREPARE, CLUSTER, TRY = "Look at an account", "Prepare accounts", "In a cluster", "Try it"

app.command("inspect", rich_help_panel=LOOK)(inspect.inspect)
app.command("report", rich_help_panel=LOOK)(report.report)
app.command("plan", rich_help_panel=LOOK)(inspect.plan)
app.command("checks", rich_help_panel=LOOK)(knowledge.checks)
app.command("iam-policy", rich_help_panel=PREPARE)(knowledge.iam_policy)
app.add_typer(accounts.bootstrap, name="bootstrap", rich_help_panel=PREPARE)
app.add_typer(accounts.accounts, name="accounts", rich_help_panel=PREPARE)
app.command("crds", rich_help_panel=CLUSTER)(knowledge.crds)
app.command("metrics", rich_help_panel=CLUSTER)(knowledge.metrics)
app.command("rules", rich_help_panel=CLUSTER)(monitoring.rules)
app.command("dashboards", rich_help_panel=CLUSTER)(monitoring.dashboards)
app.command("operator", rich_help_panel=CLUSTER)(cluster.operator)
app.command("approve", rich_help_panel=CLUSTER)(cluster.approve)
app.command("apply", rich_help_panel=CLUSTER)(change.apply)
app.command("undo", rich_help_panel=CLUSTER)(change.undo)
app.command("uninstall", rich_help_panel=CLUSTER)(cluster.uninstall)
app.command("demo", rich_help_panel=TRY)(playground.demo)
app.add_typer(playground.sandbox, name="sandbox", rich_help_panel=TRY)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"passmuster {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Global options."""


def run() -> None:
    """Runs the command line; the one place where our errors become a sentence and an exit code."""
    try:
        try:
            app()
        finally:
            streams.flush()
    except PassmusterError as error:
        fail(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
