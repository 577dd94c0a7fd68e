"""Waivers and attestations as objects: read from the cache, their events, and their own status.

Whether one counts is decided by `assess.grants` and nowhere here. Called by the reconciler; what reports show of them
is in `grant_documents`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from typing import Any

import structlog
from pydantic import ValidationError

from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.conditions import (
    ConditionReason,
    ConditionType,
    conditions_document,
    set_condition,
    stored_conditions,
)
from passmuster.api.fields import written
from passmuster.api.grant import GrantStatus
from passmuster.api.waiver import ReadinessWaiver
from passmuster.assess.grants import Granted
from passmuster.engine.ports import GRANTED, Key, Object
from passmuster.engine.services import Services
from passmuster.engine.statuses import PolicyWriter, write_status
from passmuster.model.evidence import Waiver
from passmuster.model.grant import Grant, Standing

log = structlog.get_logger("passmuster")


def objects_of(services: Services, policy: Key) -> list[Granted]:
    """The waivers and attestations of a policy; one that cannot be read counts for nothing."""
    found: list[Granted] = []
    for plural in GRANTED:
        found += (one for _, body in services.cache.owned(plural, policy) if (one := read(body)) is not None)
    return found


def read(body: Object) -> Granted | None:
    """The object, None where it has another shape than this version knows."""
    kind: type[ReadinessWaiver | ReadinessAttestation]
    kind = ReadinessWaiver if body.get("kind") == "ReadinessWaiver" else ReadinessAttestation
    try:
        return kind.read(body)
    except ValidationError as error:
        log.warning("not readable", kind=kind.definition.kind, name=body["metadata"]["name"], error=str(error)[:500])
        return None


# events


def announce(writer: PolicyWriter, before: Iterable[Grant], after: Iterable[Grant]) -> None:
    """Events when a waiver or an attestation of the policy ends, and once, 14 days before it does."""
    known = {grant.mark: grant for grant in before}
    for grant in after:
        earlier = known.get(grant.mark)
        ended = grant.standing is Standing.EXPIRED
        if ended and (earlier is None or earlier.standing is not Standing.EXPIRED):
            said = f"The {_noun(grant)} {grant.name} of {grant.check} expired on {written(grant.expires_at)}"
            writer.event(reason_of(grant), said, warning=True)
        elif grant.expiring and (earlier is None or not earlier.expiring):
            said = f"The {_noun(grant)} {grant.name} of {grant.check} expires on {written(grant.expires_at)}"
            writer.event(reason_of(grant), said, warning=True)


def _noun(grant: Grant) -> str:
    return "waiver" if isinstance(grant.subject, Waiver) else "attestation"


def reason_of(grant: Grant) -> ConditionReason:
    """The condition reason that says how a grant stands."""
    waives = isinstance(grant.subject, Waiver)
    match grant.standing:
        case Standing.IN_FORCE if grant.expiring:
            return ConditionReason.WAIVER_EXPIRES_SOON if waives else ConditionReason.ATTESTATION_EXPIRES_SOON
        case Standing.IN_FORCE:
            return ConditionReason.IN_FORCE
        case Standing.AWAITING_APPROVAL:
            return ConditionReason.AWAITING_APPROVAL
        case Standing.NOT_YET:
            return ConditionReason.NOT_YET_ISSUED
        case Standing.EXPIRED:
            return ConditionReason.WAIVER_EXPIRED if waives else ConditionReason.ATTESTATION_EXPIRED
        case Standing.NOT_ACCEPTED:
            return ConditionReason.NOT_ACCEPTED
        case Standing.UNGUARDED:
            return ConditionReason.APPROVALS_UNGUARDED


# their own status


def write_statuses(
    services: Services,
    objects: Iterable[Granted],
    standing: Iterable[Grant],
    accounts: Set[str],
    reported: Iterable[Grant],
) -> None:
    """The status of each object: how it stands, and how many findings it changed in the reports of all accounts.

    `accounts` are the names of those that the policy governs, `reported` the grants of their reports.
    """
    changed: Counter[tuple[str, str]] = Counter()
    for grant in reported:
        changed[grant.mark] += grant.findings
    by_mark = {grant.mark: grant for grant in standing}
    for one in objects:
        grant = by_mark[(one.kind, one.metadata.name)]
        reason, message, counts = reason_of(grant), grant.message, grant.in_force
        reference = one.spec.account_ref
        if reference is not None and reference.name not in accounts:
            reason, counts = ConditionReason.NOT_GOVERNED, False
            message = f"The policy {one.spec.policy_ref.name} does not govern the AWSAccount {reference.name}"
        _write(services, one, grant, reason, message, counts=counts, findings=changed[grant.mark])


def write_orphan(services: Services, one: Granted) -> None:
    """The status of an object whose policy does not exist."""
    message = f"There is no ReadinessPolicy {one.spec.policy_ref.name} in the namespace: create it, or delete this"
    _write(services, one, None, ConditionReason.POLICY_NOT_FOUND, message, counts=False, findings=0)


def _write(
    services: Services,
    one: Granted,
    grant: Grant | None,
    reason: ConditionReason,
    message: str,
    *,
    counts: bool,
    findings: int,
) -> None:
    key = Key(one.definition.plural, one.metadata.namespace or "", one.metadata.name)
    body = services.cache.get(key)
    if body is None:
        return
    stored: Mapping[str, Any] = body.get("status") or {}
    generation = one.metadata.generation or 1
    before = stored_conditions(stored)
    conditions = set_condition(before, ConditionType.READY, counts, reason, message, generation, services.clock())
    approved = f"{min(len(grant.approved_by), grant.needed)}/{grant.needed}" if grant is not None else None
    status = {
        "observedGeneration": generation,
        "state": grant.standing.value if grant is not None else Standing.NOT_ACCEPTED.value,
        "message": message,
        "summary": {"approved": approved},
        "approvedBy": list(grant.approved_by) if grant is not None else [],
        "findings": findings,
        "conditions": conditions_document(conditions),
    }
    write_status(services, key, stored, GrantStatus.model_validate(status).body())
