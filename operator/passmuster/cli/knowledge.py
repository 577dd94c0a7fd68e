"""Commands that need neither an account nor a cluster: checks, iam-policy, crds, metrics."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from passmuster.api import files
from passmuster.checks import catalogue
from passmuster.checks.declaration import Check
from passmuster.checks.judge import calls_of
from passmuster.cli import offline
from passmuster.cli.options import Listing
from passmuster.cli.terminal import NARROW, deliver, note
from passmuster.engine.inspection import reads_of
from passmuster.inventory.call import union
from passmuster.inventory.permissions import MANAGED_POLICY_SIZE, all_actions, policies, policy
from passmuster.model.errors import UserError
from passmuster.remediation import catalogue as remediations
from passmuster.report import pages
from passmuster.report.phrasing import counted

WIDE = 160
"""Columns of what is no terminal, so that a line stays a line for grep."""

COLUMNS: Mapping[int, Sequence[str]] = {
    120: ("Phase", "Check", "Severity", "Category", "Fix", "Title"),
    NARROW: ("Phase", "Check", "Severity", "Title"),
    0: ("Check", "Severity"),
}
"""What the list of checks shows, by the least width it takes."""


def check_document(check: Check) -> dict[str, Any]:
    """One check, as `passmuster checks --output json` lists it."""
    calls = union(calls_of(check))
    return {
        "id": check.id,
        "title": check.title,
        "description": check.description,
        "category": check.category.value,
        "categories": [category.value for category in check.categories],
        "phase": check.phase.value,
        "severity": check.severity.value,
        "optional": check.optional,
        "fix": "".join(fix.value for fix in check.fix),
        "parameters": [
            {
                "name": p.name,
                "kind": p.kind.value,
                "default": p.default,
                "stricter": p.stricter.value,
                "description": p.description,
                **({"choices": list(p.choices)} if p.choices else {}),
            }
            for p in check.parameters
        ],
        "calls": [call.name for call in calls],
        "actions": list(all_actions(calls)),
        "mappings": {
            "config": list(check.controls.config),
            "securityHub": list(check.controls.security_hub),
            "wellArchitected": list(check.controls.well_architected),
        },
        "remediations": [definition.name for definition in remediations.load().fixing(check.id)],
        "attestableDays": check.attestable.days if check.attestable is not None else None,
        "page": pages.address("", check.id),
    }


def checks(
    check_id: Annotated[str | None, typer.Argument(metavar="ID", help="A check id; without it all are listed.")] = None,
    output: Annotated[Listing, typer.Option("--output", "-o", help="How they are printed.")] = Listing.TABLE,
) -> None:
    """List the readiness checks, or explain one."""
    known = catalogue.load()
    chosen = [known.get(check_id)] if check_id is not None else list(known)
    if output is Listing.JSON:
        print(json.dumps([check_document(check) for check in chosen], indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    if check_id is not None:
        from rich.markdown import Markdown

        console.print(Markdown("\n".join(pages.explained(chosen[0], narrow=True))))
        console.print(f"\n[dim]The same as a page: {pages.FOLDER}/{check_id}.md, {pages.address('', check_id)}[/]")
        return
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    columns = next(columns for width, columns in COLUMNS.items() if console.width >= width)
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column != "Title")
    for check in chosen:
        cells = {
            "Phase": str(check.phase),
            "Check": check.id,
            "Severity": str(check.severity),
            "Category": str(check.category),
            "Fix": "".join(f.value for f in check.fix),
            "Title": f"{check.title} [dim](optional)[/]" if check.optional else check.title,
        }
        table.add_row(*(cells[column] for column in columns))
    console.print(table)
    legend = " Fix: A additive, I in place, P proposal, T attestation." if "Fix" in columns else ""
    console.print(f"\n[dim]{len(chosen)} checks.{legend}[/]")


def iam_policy(
    check_id: Annotated[
        list[str] | None, typer.Option("--check", help="Only what this check reads; may be repeated.")
    ] = None,
    part: Annotated[
        int | None, typer.Option("--part", metavar="N", help="Only the Nth of the managed policies that it takes.")
    ] = None,
) -> None:
    """Print the least-privilege IAM policy of an inspection: exactly the actions its calls need."""
    known = catalogue.load()
    chosen = [known.get(one) for one in check_id] if check_id else list(known)
    calls = reads_of(chosen)
    documents = policies(calls)
    if part is None:
        print(json.dumps(policy(calls), indent=2))
        if len(documents) > 1:
            note(
                f"This is more than one managed policy of {MANAGED_POLICY_SIZE:,} characters holds: print "
                f"--part 1 to --part {len(documents)}, or let `passmuster bootstrap role` make the role."
            )
        return
    if not 1 <= part <= len(documents):
        raise UserError(f"--part {part}: the policy has {counted(len(documents), 'part')}")
    print(json.dumps(documents[part - 1], indent=2))


def crds(
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", help="Write one file each into this folder.")
    ] = None,
) -> None:
    """Print the custom resource definitions, the admission policies of approvals, and the roles."""
    known, inputs = offline.facts(), remediations.load().inputs()
    if output_dir is not None:
        try:
            written = files.write(output_dir, known, inputs)
        except OSError as error:
            raise UserError(f"{output_dir} cannot be written: {error.strerror}; choose another folder") from error
        for path in written:
            note(f"wrote {path}")
        return
    print("\n---\n".join(text.rstrip("\n") for text in files.render(known, inputs).values()))


def metrics(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
) -> None:
    """Print the metrics that the operator exports, as Markdown."""
    from passmuster.metrics.contract import document

    deliver(document(), output)
