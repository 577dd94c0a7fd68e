"""The accounts of an organization, for `passmuster accounts list`: two reads, made as the management account or its
delegated administrator."""

from __future__ import annotations

from dataclasses import dataclass

from passmuster.aws.clients import Clients
from passmuster.aws.identity import Identities
from passmuster.aws.principal import acting_as
from passmuster.aws.transport import BotoTransport, CallError
from passmuster.inventory.call import Call, Request
from passmuster.model.account import Target
from passmuster.model.errors import AccountUnreachable

ACCOUNTS_CALL = Call("organizations", "ListAccounts", items="Accounts", keep=("Id", "Name", "Status", "State"))
ORGANIZATION_CALL = Call("organizations", "DescribeOrganization", items="[Organization]", keep=("MasterAccountId",))
CALLS = (ACCOUNTS_CALL, ORGANIZATION_CALL)


@dataclass(frozen=True, slots=True)
class Member:
    """One account of an organization. `active` is false while it is suspended, pending or being closed."""

    account_id: str
    name: str
    active: bool
    manages: bool


def members(clients: Clients, identities: Identities, target: Target) -> tuple[Member, ...]:
    """Every account of the target's organization, by id.

    Raises CredentialsRefused, AccountMismatch or AccountUnreachable with what to do.
    """
    principal = identities.principal(target)
    transport = BotoTransport(clients)
    rows = {}
    try:
        with acting_as(principal, target.account_id):
            for call in (ORGANIZATION_CALL, ACCOUNTS_CALL):
                pages = transport.pages(Request(call.service, call.operation, target.control_region))
                rows[call] = [row for page in pages for row in call.reduce(page)]
    except CallError as error:
        if error.code == "AWSOrganizationsNotInUseException":
            raise AccountUnreachable(f"the account {target.account_id} is in no organization") from error
        raise AccountUnreachable(
            f"the organization could not be listed ({error.code}): use credentials of its management account, or of a "
            "delegated administrator, that allow organizations:ListAccounts and organizations:DescribeOrganization"
        ) from error
    manager = rows[ORGANIZATION_CALL][0].get("MasterAccountId")
    return tuple(
        sorted(
            (
                Member(
                    account_id=row["Id"],
                    name=row.get("Name") or row["Id"],
                    active=(row.get("State") or row.get("Status")) == "ACTIVE",
                    manages=row["Id"] == manager,
                )
                for row in rows[ACCOUNTS_CALL]
            ),
            key=lambda member: member.account_id,
        )
    )
