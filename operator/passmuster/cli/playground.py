"""`passmuster demo` and `passmuster sandbox`: the product on a simulated account, with a real API server where there is
one. The sandbox is an extra and is imported only here, when a command needs it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from passmuster.cli.archive import demand_room
from passmuster.model.errors import Unavailable, UserError

sandbox = typer.Typer(
    name="sandbox",
    help="A simulated AWS account and a real Kubernetes API server on this machine, to play and to develop with.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def demo(
    no_cluster: Annotated[
        bool, typer.Option("--no-cluster", help="The same engine and account without a Kubernetes API server.")
    ] = False,
    report: Annotated[Path, typer.Option("--report", help="Where the HTML report is written.")] = Path(
        "passmuster-report.html"
    ),
) -> None:
    """Show the whole story in a minute: inspect, score, propose, approve, apply, inspect again."""
    from passmuster.sandbox import binaries

    _prepare(report)
    story = _story()
    if no_cluster:
        raise typer.Exit(story.without_cluster(report))
    try:
        found = binaries.obtain(story.say)
    except binaries.BinariesUnavailable as error:
        story.say(f"No Kubernetes API server on this machine: {error}")
        story.say("The demo goes on without one: the same engine and account, nothing enforced by an API server.")
        raise typer.Exit(story.without_cluster(report)) from None
    raise typer.Exit(story.with_cluster(report, found))


def _prepare(report: Path) -> None:
    """Makes sure of the report's place before the story is told. Raises UserError for one that takes no file."""
    demand_room(report.parent, f"--report {report}")
    if report.is_dir():
        raise UserError(f"--report {report} cannot be written: it is a folder; choose another place")


@sandbox.command("up")
def up(
    no_operator: Annotated[
        bool, typer.Option("--no-operator", help="Leave the operator out: run your own against the endpoint.")
    ] = False,
    account: Annotated[str, typer.Option("--account", help="Which account: review, empty, ready or large.")] = "review",
) -> None:
    """Start the simulated account and the API server, print how to reach them, and keep them until Ctrl-C."""
    raise typer.Exit(_story().keep_up(account, with_operator=not no_operator))


def _story() -> ModuleType:
    try:
        from passmuster.sandbox import story
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"the sandbox is an extra and {error.name} is not installed: "
            "uvx --from 'passmuster[sandbox]' passmuster demo"
        ) from error
    return story
