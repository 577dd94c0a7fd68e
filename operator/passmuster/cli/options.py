"""Options that several commands have, each declared once, and the forms in which a result is printed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Kubeconfig = Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig; default KUBECONFIG or the pod's.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")]
Endpoint = Annotated[str | None, typer.Option("--endpoint-url", help="AWS endpoint instead of the real one (sandbox).")]
Previous = Annotated[
    Path | None,
    typer.Option("--previous", metavar="FILE", help="JSON report of an earlier inspection, to say what changed since."),
]
DocsUrl = Annotated[
    str,
    typer.Option("--docs-url", metavar="URL", help="Where reports link the pages of checks; {check} is the id."),
]


class Listing(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"


class Output(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"
    MARKDOWN = "markdown"
