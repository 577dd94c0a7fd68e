"""Waivers and attestations as a report shows them, and back: what they say, whether they count, and until when.

Used by `documents`, for the cluster and the command line alike. After a restart the reconciler compares what a stored
report tells with how things stand, so that nothing that ended meanwhile goes on counting, and nothing is announced
twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from passmuster.api.fields import written
from passmuster.model.evidence import Attestation, Waiver
from passmuster.model.grant import Grant, Standing

Document = dict[str, Any]


def grant_documents(found: Sequence[Grant], most: int | None) -> Document:
    """The members `waivers` and `attestations` of a report's status, at most so many of each."""
    waivers = [_waiver(g, g.subject) for g in found if isinstance(g.subject, Waiver)]
    attestations = [_attestation(g, g.subject) for g in found if isinstance(g.subject, Attestation)]
    return {"waivers": waivers[:most], "attestations": attestations[:most]}


def _waiver(grant: Grant, waiver: Waiver) -> Document:
    return {**_shown(grant), "reason": waiver.reason, "resources": list(waiver.resources)}


def _attestation(grant: Grant, attestation: Attestation) -> Document:
    return {
        **_shown(grant),
        "statement": attestation.statement,
        "uri": attestation.uri,
        "sha256": attestation.sha256,
        "owner": attestation.owner,
        "issuedAt": written(attestation.issued_at),
    }


def _shown(grant: Grant) -> Document:
    return {
        "name": grant.name,
        "check": grant.check,
        "state": grant.standing.value,
        "message": grant.message,
        "approvedBy": list(grant.approved_by),
        "approvalsNeeded": grant.needed,
        "expiresAt": written(grant.expires_at),
        "expiring": grant.expiring,
        "findings": grant.findings,
    }


def restored_grants(status: Mapping[str, Any]) -> tuple[Grant, ...]:
    """What a stored report tells of waivers and attestations, in its order."""
    waivers = (_restored(one, _restored_waiver(one)) for one in status.get("waivers") or ())
    attestations = (_restored(one, _restored_attestation(one)) for one in status.get("attestations") or ())
    return (*waivers, *attestations)


def _restored(one: Mapping[str, Any], subject: Waiver | Attestation) -> Grant:
    return Grant(
        subject=subject,
        standing=Standing(one["state"]),
        message=one["message"],
        approved_by=tuple(one.get("approvedBy") or ()),
        needed=one.get("approvalsNeeded") or 1,
        expiring=bool(one.get("expiring")),
        findings=one.get("findings") or 0,
    )


def _restored_waiver(one: Mapping[str, Any]) -> Waiver:
    expires = datetime.fromisoformat(one["expiresAt"])
    return Waiver(one["name"], one["check"], one["reason"], expires, tuple(one.get("resources") or ()))


def _restored_attestation(one: Mapping[str, Any]) -> Attestation:
    return Attestation(
        name=one["name"],
        check=one["check"],
        statement=one["statement"],
        uri=one["uri"],
        owner=one["owner"],
        issued_at=datetime.fromisoformat(one["issuedAt"]),
        expires_at=datetime.fromisoformat(one["expiresAt"]),
        sha256=one.get("sha256") or "",
    )
