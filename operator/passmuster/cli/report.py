"""`passmuster report`: a stored report for people, without inspecting again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from passmuster.assess.changes import compare
from passmuster.checks import catalogue
from passmuster.cli import terminal
from passmuster.cli.archive import text_of
from passmuster.cli.inspect import as_json, only
from passmuster.cli.options import Context, DocsUrl, Kubeconfig, Output, Previous
from passmuster.model.errors import UserError
from passmuster.report import stored
from passmuster.report.stored import Stored


def report(
    policy: Annotated[str | None, typer.Argument(metavar="POLICY", help="A ReadinessPolicy of the cluster.")] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the policy.")] = "default",
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="JSON report: printed by inspect, or kept in an evidence store."),
    ] = None,
    account_id: Annotated[
        str | None, typer.Option("--account-id", help="Only this account of a policy that governs several.")
    ] = None,
    previous: Previous = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How the report is printed.")] = Output.HTML,
    docs_url: DocsUrl = "",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Print a stored report for people: of a policy in the cluster, or of a JSON file. Inspects nothing.

    The cluster holds a digest, at most ten findings of a check; a file that inspect printed holds everything.
    """
    from passmuster.report import html, markdown

    documents = _documents(policy, namespace, file, kubeconfig, context)
    if account_id is not None:
        documents = stored.of_account(documents, account_id)
        if not documents:
            raise UserError(f"there is no report on the account {account_id} among them")
    source = str(file) if file is not None else f"{namespace}/{policy}"
    found = [_compared(stored.read(one, source), previous) for one in documents]
    match output:
        case Output.HTML:
            pages = [html.render(s.report, s.plan, title=s.policy, changes=s.changes, docs_url=docs_url) for s in found]
            print(only(pages, "name one with --account-id"))
        case Output.MARKDOWN:
            for s in found:
                print(markdown.render(s.report, s.plan, title=s.policy, changes=s.changes, docs_url=docs_url))
        case Output.JSON:
            print(as_json(documents))
        case Output.TABLE:
            for s in found:
                terminal.print_report(s.report, None, catalogue.load())
                terminal.print_changes(s.changes)


def _documents(
    policy: str | None, namespace: str, file: Path | None, kubeconfig: Path | None, context: str | None
) -> list[Mapping[str, Any]]:
    if file is not None:
        return stored.parsed(text_of(file), str(file))
    if policy is None:
        raise UserError("name a policy of the cluster, or a JSON report with --file")
    from passmuster.kube.connection import connect
    from passmuster.kube.reports import reports_of

    return reports_of(connect(kubeconfig, context), namespace, policy)


def _compared(one: Stored, previous: Path | None) -> Stored:
    """The report with what changed since the named file; without one, with what it says itself."""
    if previous is None:
        return one
    account_id = one.report.account_id
    earlier = stored.of_account(stored.parsed(text_of(previous), str(previous)), account_id)
    if not earlier:
        raise UserError(f"{previous} holds no report on the account {account_id}")
    return replace(one, changes=compare(stored.read(earlier[-1], str(previous)).report, one.report))
