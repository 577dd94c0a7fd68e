"""`passmuster inspect` and `passmuster plan`: one account, or several, without a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from passmuster.cli import offline, plan_folder, terminal
from passmuster.cli.archive import Archive
from passmuster.cli.options import DocsUrl, Endpoint, Listing, Output, Previous
from passmuster.model.errors import AccountError, UserError
from passmuster.model.verdict import Phase, level_order

File = Annotated[
    list[Path] | None,
    typer.Option("--file", "-f", help="Manifest with policies and accounts, or a folder; may be repeated; - is stdin."),
]
Profile = Annotated[str | None, typer.Option("--profile", help="Profile of the AWS configuration.")]
AccountId = Annotated[str | None, typer.Option("--account-id", help="The account the credentials must belong to.")]
Region = Annotated[
    list[str] | None, typer.Option("--region", help="Region to inspect; may be repeated. Unset: every enabled one.")
]
RoleArn = Annotated[str | None, typer.Option("--role-arn", help="Role to assume for the inspection.")]
ExternalId = Annotated[str | None, typer.Option("--external-id", help="External id of that role.")]
Level = Annotated[Phase | None, typer.Option("--level", help="Level to judge against; default Production.")]


def inspect(
    file: File = None,
    profile: Profile = None,
    account_id: AccountId = None,
    region: Region = None,
    role_arn: RoleArn = None,
    external_id: ExternalId = None,
    level: Level = None,
    endpoint_url: Endpoint = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How the report is printed.")] = Output.TABLE,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show passing checks too.")] = False,
    previous: Previous = None,
    evidence_dir: Annotated[
        Path | None,
        typer.Option(
            "--evidence-dir", help="Folder that keeps the full reports, and the last of them to compare with."
        ),
    ] = None,
    docs_url: DocsUrl = "",
) -> None:
    """Inspect an account against the readiness catalogue.

    Name it by manifests (-f), by a profile, or by its id and regions; without any, the ordinary AWS configuration is
    used. Exits with 0 when the level is reached, 1 when it is not, 2 on an error; of several accounts, those that can
    be read are shown even then.
    """
    asked = offline.Asked(
        files=tuple(file or ()),
        profile=profile,
        account_id=account_id,
        regions=tuple(region or ()),
        role_arn=role_arn,
        external_id=external_id,
        level=level,
        docs_url=docs_url,
    )
    refused: list[AccountError] = []
    results = offline.inspect(asked, endpoint_url, Archive(previous, evidence_dir), refused)
    _tell(refused, results)
    match output:
        case Output.TABLE:
            for result in results:
                name = result.job.name if len(results) > 1 else ""
                terminal.print_report(result.report, result.plan, offline.catalogue(), name=name, verbose=verbose)
                terminal.print_changes(result.changes)
        case Output.JSON:
            print(as_json([result.document() for result in results], several=len(results) + len(refused) > 1))
        case Output.HTML:
            print(only([result.html() for result in results], "keep them with --evidence-dir DIR"))
        case Output.MARKDOWN:
            print("\n".join(result.markdown() for result in results))
    if refused:
        raise typer.Exit(2)
    raise typer.Exit(0 if all(_reached(result) for result in results) else 1)


def _tell(refused: Sequence[AccountError], results: Sequence[offline.Result]) -> None:
    """Says which accounts let nobody in. Raises the error where there is no other account."""
    if refused and not results:
        for error in refused[:-1]:
            terminal.fail(str(error))
        raise refused[-1]
    for error in refused:
        terminal.fail(str(error))


def as_json(documents: Sequence[Mapping[str, Any]], *, several: bool = False) -> str:
    """One report, or a List of several, as `stored.parsed` reads them; `several` makes a List of whatever there is."""
    one = len(documents) == 1 and not several
    whole = documents[0] if one else {"apiVersion": "v1", "kind": "List", "items": documents}
    return json.dumps(whole, indent=2, ensure_ascii=False)


def only(pages: Sequence[str], otherwise: str) -> str:
    """The one HTML page. Raises UserError where there are several: they do not fit into one file."""
    if len(pages) != 1:
        raise UserError(f"{len(pages)} reports make as many HTML files: {otherwise}, or name one account")
    return pages[0]


def _reached(result: offline.Result) -> bool:
    report = result.report
    enough = report.minimum_score is None or (report.score is not None and report.score >= report.minimum_score)
    return level_order(report.level) >= report.declared.order and enough


def plan(
    file: File = None,
    profile: Profile = None,
    account_id: AccountId = None,
    region: Region = None,
    role_arn: RoleArn = None,
    external_id: ExternalId = None,
    level: Level = None,
    endpoint_url: Endpoint = None,
    set_input: Annotated[
        list[str] | None,
        typer.Option("--input", help="Input of remediations as NAME=VALUE, for example domain=shop.example.com."),
    ] = None,
    output: Annotated[
        Listing, typer.Option("--output", "-o", help="How it is printed; --output-dir writes it as Markdown.")
    ] = Listing.TABLE,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            metavar="DIR",
            help="Write it into this folder instead: plan.md for a pull request, and each step's template and "
            "parameters, patch, guide and documents.",
        ),
    ] = None,
) -> None:
    """Show what would reach the level: every change with its cost, risk, order, effect and undo. Changes nothing."""
    asked = offline.Asked(
        files=tuple(file or ()),
        profile=profile,
        account_id=account_id,
        regions=tuple(region or ()),
        role_arn=role_arn,
        external_id=external_id,
        level=level,
        inputs=offline.inputs(set_input or ()),
    )
    if output_dir is not None:
        plan_folder.demand_ours(output_dir)
    refused: list[AccountError] = []
    results = offline.inspect(asked, endpoint_url, refused=refused)
    _tell(refused, results)
    if output_dir is not None:
        wanted = _files(results)
        plan_folder.write(output_dir, wanted)
        terminal.note(f"Wrote {len(wanted)} files: {', '.join(_plans(output_dir, wanted))}")
    elif output is Listing.JSON:
        print(json.dumps([result.plan_document() for result in results], indent=2, ensure_ascii=False))
    else:
        for result in results:
            terminal.print_plan(result.report, result.plan, name=result.job.name if len(results) > 1 else "")
    if refused:
        raise typer.Exit(2)


def _files(results: Sequence[offline.Result]) -> dict[str, str]:
    """The files of every plan; those of several are in a folder each. Raises UserError where two would share one."""
    if len(results) == 1:
        return results[0].plan_files()
    folders = [result.folder for result in results]
    if twice := sorted({folder for folder in folders if folders.count(folder) > 1}):
        raise UserError(f"two plans would go into {twice[0]}: name that account once")
    return {f"{result.folder}/{path}": text for result in results for path, text in result.plan_files().items()}


def _plans(folder: Path, written: Mapping[str, str]) -> list[str]:
    return [str(folder / path) for path in sorted(written) if Path(path).name == plan_folder.PLAN]
