"""Which hosted zone a domain's records belong in, and whether the world asks that zone.

A record is written only into a public zone of this account that is delegated to: its parent zone is here and names its
servers, or the domain is registered here. Anything else is handed to a person, because a record in a zone that nobody
asks is a change without effect, and a certificate that waits for it never validates.
"""

from __future__ import annotations

from dataclasses import dataclass

from passmuster.inventory.operations.route53 import HOSTED_ZONES, RECORD_SETS, REGISTERED_DOMAINS
from passmuster.inventory.snapshot import Row, Snapshot, Unread, View


@dataclass(frozen=True, slots=True)
class Zone:
    """A public hosted zone; `id` without its `/hostedzone/` prefix, `name` without the trailing dot."""

    id: str
    name: str


class ZoneRefused(Exception):
    """No zone of this account may take the domain's records; `reason` is a condition reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def zone_of(snapshot: Snapshot, domain: str) -> Zone:
    """The zone for a domain's records. Raises ZoneRefused with what to do."""
    view = View(snapshot, (HOSTED_ZONES, RECORD_SETS, REGISTERED_DOMAINS))
    name = domain.rstrip(".").lower()
    try:
        public = [row for row in view.rows(HOSTED_ZONES) if not row.get("PrivateZone")]
        candidates = [row for row in public if name == _name(row) or name.endswith("." + _name(row))]
        if not candidates:
            raise ZoneRefused(
                "ZoneNotFound",
                f"no public hosted zone of this account covers {name}: create one and delegate to it, or change "
                "spec.remediation.inputs.domain",
            )
        zone = max(candidates, key=lambda row: len(_name(row)))
        if not _delegated(view, zone, public):
            raise ZoneRefused(
                "ZoneNotDelegated",
                f"nothing in this account proves that {_name(zone)} is delegated to its hosted zone: its parent zone "
                "is elsewhere and the domain is not registered here. Make the DNS change by hand",
            )
    except Unread as unread:
        raise ZoneRefused("ZoneUnreadable", f"the hosted zones could not be read: {unread}") from unread
    return Zone(zone["Id"].rpartition("/")[2], _name(zone))


def _name(row: Row) -> str:
    return str(row["Name"]).rstrip(".").lower()


def _delegated(view: View, zone: Row, public: list[Row]) -> bool:
    name = _name(zone)
    servers = _name_servers(view, zone, name)
    for parent in public:
        if parent["Id"] != zone["Id"] and name.endswith("." + _name(parent)) and servers:
            return bool(servers & _name_servers(view, parent, name))
    return any(str(row["DomainName"]).lower() == name for row in view.rows(REGISTERED_DOMAINS))


def _name_servers(view: View, zone: Row, name: str) -> set[str]:
    return {
        value.rstrip(".").lower()
        for record in view.rows(RECORD_SETS, zone)
        if record["Type"] == "NS" and str(record["Name"]).rstrip(".").lower() == name
        for value in record.get("Values") or ()
    }
