"""Commands that speak to a cluster: the operator itself, approving, and what to know before it is uninstalled."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.waiver import ReadinessWaiver
from passmuster.cli.options import Context, Endpoint, Kubeconfig, Namespace
from passmuster.cli.terminal import note
from passmuster.model.errors import UserError


def operator(
    http_address: Annotated[
        str, typer.Option("--http-address", metavar="HOST:PORT", help="Where /healthz, /readyz and /metrics answer.")
    ] = "0.0.0.0:8080",
    alerts_token_file: Annotated[
        Path | None,
        typer.Option("--alerts-token-file", help="File with the bearer token of Alertmanager; opens POST /alerts."),
    ] = None,
    endpoint_url: Endpoint = None,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", help="Serve only this namespace; may be repeated.")
    ] = None,
    evidence_dir: Annotated[
        Path | None,
        typer.Option("--evidence-dir", help="Folder in which AWSAccounts may name theirs for full reports."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Policies worked on at the same time.")] = 4,
    requests_per_second: Annotated[
        float,
        typer.Option("--requests-per-second", min=0.1, help="Most requests a second per account, region and service."),
    ] = 5.0,
    lease_duration: Annotated[
        int,
        typer.Option(
            "--lease-duration",
            min=3,
            max=300,
            metavar="SECONDS",
            help="How long a lease that is not renewed counts: the time until a standby follows a crash.",
        ),
    ] = 15,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Run the operator against a cluster."""
    from passmuster.handlers.operator import Operator, Options, own_namespace

    if alerts_token_file is not None and not alerts_token_file.is_file():
        raise UserError(f"{alerts_token_file} does not exist: write the token of Alertmanager's http_config into it")
    process = Operator(
        Options(
            http_address=http_address,
            alerts_token_file=alerts_token_file,
            endpoint_url=endpoint_url,
            namespaces=tuple(namespace or ()),
            workers=workers,
            kubeconfig=kubeconfig,
            context=context,
            own_namespace=own_namespace(),
            requests_per_second=requests_per_second,
            lease_duration=lease_duration,
            evidence_dir=evidence_dir,
        )
    )
    _log_json()
    raise typer.Exit(process.run())


def _log_json() -> None:
    """One JSON object a line on standard error, ours and the libraries'. botocore's debug output is never on."""
    import structlog

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("botocore", "boto3", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def approve(
    name: Annotated[
        str, typer.Argument(help="Name of the Remediation, or rw/NAME for a waiver, ra/NAME for an attestation.")
    ],
    namespace: Namespace = "default",
    undo: Annotated[
        bool,
        typer.Option(
            "--undo", help="Approve that an applied change is taken back; of a waiver or attestation: withdraw."
        ),
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Approve a remediation, waiver or attestation as yourself: exactly what it is now, and nothing else."""
    from passmuster.kube.approvals import approve as give
    from passmuster.kube.approvals import approve_grant
    from passmuster.kube.connection import connect

    prefix, slash, rest = name.partition("/")
    if slash:
        kind = _granted_kind(prefix)
        who = approve_grant(connect(kubeconfig, context), namespace, kind, rest, withdraw=undo)
        verb = "withdrew the approval of" if undo else "approved"
        note(f"{who} {verb} the {kind.definition.kind} {rest}. kubectl get {kind.definition.short} shows if it counts.")
        return
    given = give(connect(kubeconfig, context), namespace, name, undo=undo)
    what = "Undoing it" if undo else "It"
    note(f"{given.by} approved {name} ({given.digest[:19]}…). {what} begins when the rules of its policy permit.")


def uninstall(
    yes: Annotated[
        bool, typer.Option("--yes", help="Let go of what would hang. Stacks stay in AWS; the operator must have ended.")
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Say what would hang once the operator is gone; with --yes, let it go. Deletes nothing."""
    from passmuster.handlers.operator import own_namespace
    from passmuster.kube.connection import connect
    from passmuster.kube.uninstall import held, let_go, working

    api = connect(kubeconfig, context)
    found = held(api)
    for one in found:
        stacks = ", ".join(one.stacks) or "none that is known"
        print(f"readinesspolicy {one.namespace}/{one.name} waits for the operator to delete its stacks: {stacks}")
    if not found:
        note("Nothing waits for the operator: it can go (helm uninstall passmuster -n passmuster-system).")
        return
    if not yes:
        note(
            "Deleted without an operator, they would wait for ever. Delete them while it runs and their stacks go too; "
            "or uninstall it, and `passmuster uninstall --yes` lets them go while their stacks stay in AWS."
        )
        raise typer.Exit(1)
    if (holder := working(api, own_namespace())) is not None:
        raise UserError(
            f"the operator still works ({holder} holds the lease) and would wait for the stacks again: end it first, "
            "for example with helm uninstall passmuster -n passmuster-system"
        )
    let_go(api, found)
    note("They wait no longer. The stacks stay as they are; delete them with CloudFormation if they are not wanted.")


def _granted_kind(prefix: str) -> type[ReadinessWaiver | ReadinessAttestation]:
    """The kind that a prefix as kubectl's names."""
    for kind in (ReadinessWaiver, ReadinessAttestation):
        if prefix.lower() in (kind.definition.short, kind.definition.plural, kind.definition.kind.lower()):
            return kind
    raise UserError(f"{prefix!r} is no kind that is approved: write rw/NAME, ra/NAME, or the name of a Remediation")
