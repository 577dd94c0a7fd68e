"""The accounts of an organization, for `passmuster accounts list`: two reads, made as the management account or its
delegated administrator."""

from __future__ import annotations

from dataclasses import dataclass

from passmuster.aws.clients import Clients
from passmuster.aws.identity import Identities
from passmuster.aws.transport import CallError, read
from passmuster.inventory.call import Call
from passmuster.inventory.operations.organizations import ORGANIZATION
from passmuster.model.account import Target
from passmuster.model.errors import AccountUnreachable

ACCOUNTS_CALL = Call("organizations", "ListAccounts", items="Accounts", keep=("Id", "Name", "Status", "State"))
CALLS = (ACCOUNTS_CALL, ORGANIZATION)


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
    try:
        (found,), accounts = (
            read(clients, principal, target.account_id, call, target.control_region)
            for call in (ORGANIZATION, ACCOUNTS_CALL)
        )
    except CallError as error:
        if error.code == "AWSOrganizationsNotInUseException":
            raise AccountUnreachable(f"the account {target.account_id} is in no organization") from error
        raise AccountUnreachable(
            f"the organization could not be listed ({error.code}): use credentials of its management account, or of a "
            "delegated administrator, that allow organizations:ListAccounts and organizations:DescribeOrganization"
        ) from error
    manager = found["Organization"].get("MasterAccountId")
    return tuple(
        sorted(
            (
                Member(
                    account_id=row["Id"],
                    name=row.get("Name") or row["Id"],
                    active=(row.get("State") or row.get("Status")) == "ACTIVE",
                    manages=row["Id"] == manager,
                )
                for row in accounts
            ),
            key=lambda member: member.account_id,
        )
    )
