"""Commands that get accounts ready to be inspected: the roles as CloudFormation, the accounts of an organization as
manifests. They print; nothing is created."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError

from passmuster.api.account import AWSAccount
from passmuster.api.resource import API_VERSION
from passmuster.aws.identity import control_region_of
from passmuster.aws.organization import Member, members
from passmuster.cli import offline
from passmuster.cli.options import Endpoint
from passmuster.cli.terminal import note
from passmuster.engine.inspection import reads_of
from passmuster.model.account import Identity, Target, partition_of
from passmuster.model.errors import UserError
from passmuster.remediation import access
from passmuster.remediation import catalogue as remediations

FLAGS = {
    "roleArn": "--role-name",
    "remediationRoleArn": "--remediation-role-name",
    "externalId": "--external-id",
    "regions": "--region",
    "allowedNamespaces": "--allowed-namespace",
}
"""The flag from which a field of an AWSAccount comes."""

TEMPLATE_SIZE = 51_200
"""The most bytes of a template that CloudFormation takes without a bucket."""


class _Plain(yaml.SafeDumper):
    """YAML without anchors, which CloudFormation does not read, and with lists of words in lines: one action a line
    makes a template of more bytes than CloudFormation takes."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _words(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    flow = bool(data) and all(isinstance(one, str) for one in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


_Plain.add_representer(list, _words)

accounts = typer.Typer(help="AWS accounts as manifests.", no_args_is_help=True)
bootstrap = typer.Typer(help="What an account needs before it can be inspected.", no_args_is_help=True)


@bootstrap.command("role")
def role(
    remediation: Annotated[
        bool, typer.Option("--remediation", help="Also the role of remediations; without it nothing can be changed.")
    ] = False,
    evidence: Annotated[
        str,
        typer.Option("--evidence", metavar="BUCKET/PREFIX", help="Also a role that may write reports there, and only."),
    ] = "",
    owner_stacks: Annotated[
        bool,
        typer.Option("--owner-stacks", help="The role of remediations may also update stacks that others made."),
    ] = False,
    stack_set: Annotated[
        bool,
        typer.Option("--stack-set", help="For a whole organization: a stack set that makes the roles in each account."),
    ] = False,
    unit: Annotated[
        list[str] | None,
        typer.Option("--organizational-unit", metavar="ID", help="Root or unit of the stack set; may be repeated."),
    ] = None,
    region: Annotated[
        str, typer.Option("--region", help="Region in which the stacks of the stack set live; roles are global.")
    ] = "us-east-1",
) -> None:
    """Print the CloudFormation template of the roles, with exactly the permissions that checks and remediations use."""
    units = unit or []
    if stack_set and not units:
        raise UserError("--stack-set needs --organizational-unit: the id of the root (r-...) or of a unit (ou-...)")
    if units and not stack_set:
        raise UserError("--organizational-unit belongs to --stack-set")
    for one in units:
        if not re.fullmatch(r"r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}", one):
            raise UserError(f"{one!r} is not the id of a root (r-...) or an organizational unit (ou-...-...)")
    if owner_stacks and not remediation:
        raise UserError("--owner-stacks belongs to --remediation")
    wanted = access.Wanted(remediation, _objects(evidence, partition_of(region)), owner_stacks)
    document = access.role_template(reads_of(list(offline.catalogue())), remediations.load(), wanted)
    if stack_set:
        document = access.stack_set_template(document, units, [region])
    text = yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120)
    print(text, end="")
    if len(text.encode()) > TEMPLATE_SIZE:
        note(f"The template has more than {TEMPLATE_SIZE:,} bytes: upload it to a bucket and name it by its URL.")
    if stack_set:
        note(
            "Deploy it in the management account; a stack set does not reach that account itself: make its role with "
            "`passmuster bootstrap role`."
        )
    else:
        note("Deploy it with --capabilities CAPABILITY_NAMED_IAM; its outputs go into the AWSAccount.")


def _objects(evidence: str, partition: str) -> str:
    if not evidence:
        return ""
    bucket, _, prefix = evidence.removeprefix("s3://").partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise UserError(f"--evidence {evidence!r}: write BUCKET/PREFIX, for example acme-evidence/readiness")
    inside = f"/{prefix.strip('/')}" if prefix.strip("/") else ""
    return f"arn:{partition}:s3:::{bucket}{inside}/*"


@accounts.command("list")
def list_accounts(
    from_organization: Annotated[
        bool, typer.Option("--from-organization", help="List the accounts of the organization you have access to.")
    ] = False,
    profile: Annotated[str | None, typer.Option("--profile", help="Profile of the ordinary AWS configuration.")] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="Governed region of each account; may be repeated.")
    ] = None,
    role_name: Annotated[
        str, typer.Option("--role-name", help="Role of inspections in each account.")
    ] = access.INSPECTION,
    remediation_role_name: Annotated[
        str | None, typer.Option("--remediation-role-name", help="Role of remediations in each account; default none.")
    ] = None,
    external_id: Annotated[str | None, typer.Option("--external-id", help="externalId of each account.")] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--allowed-namespace", help="Namespace whose policies may use them; may be repeated."),
    ] = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Print an AWSAccount manifest for each account of the organization."""
    if not from_organization:
        raise UserError("say where the accounts come from: --from-organization")
    if remediation_role_name == role_name:
        raise UserError("--remediation-role-name: it must differ from --role-name: the role of inspections only reads")
    regions = tuple(region or ())
    at_work = offline.engine(endpoint_url)
    offline.demand_regions(regions, at_work.clients, "--region")
    identity = Identity(profile=profile)
    home = regions[0] if regions else control_region_of(regions)
    caller = Target(at_work.identities.whoami(identity, home), (), partition_of(home), identity)
    found = members(at_work.clients, at_work.identities, caller)
    skipped = [member for member in found if not member.active]
    documents = []
    for document in manifests(
        found,
        partition=caller.partition,
        regions=regions,
        role_name=role_name,
        remediation_role_name=remediation_role_name,
        external_id=external_id,
        namespaces=tuple(namespace or ()),
    ):
        try:
            AWSAccount.read(document)
        except ValidationError as error:
            raise UserError(offline.wrong_flag(error, FLAGS)) from error
        documents.append(yaml.safe_dump(document, sort_keys=False, width=120))
    print("---\n".join(documents), end="")
    note(f"{len(documents)} accounts" + (f"; left out, not active: {_named(skipped)}" if skipped else ""))
    if not namespace:
        note("No namespace may use them yet: add --allowed-namespace, or edit spec.allowedNamespaces.")


def manifests(
    found: Iterable[Member],
    *,
    partition: str,
    regions: tuple[str, ...],
    role_name: str,
    remediation_role_name: str | None,
    external_id: str | None,
    namespaces: tuple[str, ...],
) -> Iterator[dict[str, Any]]:
    """An AWSAccount for each active member; members name the management account as their payer."""
    active = [member for member in found if member.active]
    names = _names(active)
    payer = next((names[member.account_id] for member in active if member.manages), None)
    for member in active:
        arn = f"arn:{partition}:iam::{member.account_id}:role/"
        yield {
            "apiVersion": API_VERSION,
            "kind": "AWSAccount",
            "metadata": {"name": names[member.account_id]},
            "spec": {
                "accountId": member.account_id,
                "partition": partition,
                "roleArn": arn + role_name,
                **({"remediationRoleArn": arn + remediation_role_name} if remediation_role_name else {}),
                **({"externalId": external_id} if external_id else {}),
                **({"payerAccountRef": {"name": payer}} if payer and not member.manages else {}),
                **({"regions": list(regions)} if regions else {}),
                **({"allowedNamespaces": {"names": list(namespaces)}} if namespaces else {}),
            },
        }


def _names(found: Iterable[Member]) -> dict[str, str]:
    """A Kubernetes name for each account: its own name where that is one and nobody else's, else with its id."""
    plain = {m.account_id: re.sub(r"[^a-z0-9]+", "-", m.name.lower()).strip("-")[:200] for m in found}
    taken = list(plain.values())
    return {
        account_id: name if name and taken.count(name) == 1 else "-".join(filter(None, (name, account_id)))
        for account_id, name in plain.items()
    }


def _named(found: Iterable[Member]) -> str:
    return ", ".join(f"{member.name} ({member.account_id})" for member in found)
