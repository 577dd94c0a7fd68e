"""Which waivers and attestations count now, and why the others do not: the one place where that is decided.

Status, events, metrics, reports and the command line show what is returned here. Pure: objects, catalogue and time are
arguments. Called by the engine once a turn, and by the command line for files.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from passmuster.api.attestation import ReadinessAttestation
from passmuster.api.fields import written
from passmuster.api.waiver import ReadinessWaiver
from passmuster.checks.catalogue import Catalogue
from passmuster.checks.declaration import Check
from passmuster.model.evidence import WARN_BEFORE_EXPIRY, Attestation, Waiver
from passmuster.model.grant import Grant, Standing
from passmuster.model.verdict import Severity

Granted = ReadinessWaiver | ReadinessAttestation
"""An object that grants something."""


def grants(
    objects: Iterable[Granted], catalogue: Catalogue, now: datetime, *, guarded: str | None = None
) -> tuple[Grant, ...]:
    """Every object as it stands now, by kind and name.

    `guarded` is a sentence about what is wrong with the guard of approvals, None while it is in force: without it
    anybody could have written anybody's name, and nothing counts.
    """
    found = (_grant(one, catalogue, now, guarded) for one in objects)
    return tuple(sorted(found, key=lambda grant: (grant.kind != "ReadinessWaiver", grant.name)))


def of_account(objects: Iterable[Granted], policy: str, namespace: str, account: str) -> list[Granted]:
    """The objects that are for an account under a policy; the policy's namespace is theirs."""
    return [
        one
        for one in objects
        if one.spec.policy_ref.name == policy
        and (one.metadata.namespace or "") == namespace
        and (one.spec.account_ref is None or one.spec.account_ref.name == account)
    ]


def waivers(found: Iterable[Grant]) -> tuple[Waiver, ...]:
    """The waivers that count."""
    return tuple(g.subject for g in found if g.in_force and isinstance(g.subject, Waiver))


def attestations(found: Iterable[Grant]) -> tuple[Attestation, ...]:
    """The attestations that count."""
    return tuple(g.subject for g in found if g.in_force and isinstance(g.subject, Attestation))


def next_change(found: Iterable[Grant]) -> datetime | None:
    """When time alone next changes what counts or what is warned of; None when it never does.

    It may have passed already since the grants were weighed.
    """
    moments = []
    for grant in found:
        if grant.standing is Standing.NOT_YET and isinstance(grant.subject, Attestation):
            moments.append(grant.subject.issued_at)
        elif grant.in_force and not grant.expiring:
            moments.append(grant.expires_at - WARN_BEFORE_EXPIRY)
        elif grant.standing not in (Standing.EXPIRED, Standing.NOT_ACCEPTED):
            moments.append(grant.expires_at)
    return min(moments, default=None)


def ending_soon(found: Iterable[Grant]) -> str:
    """What ends within 14 days, with the dates; empty when nothing does."""
    expiring = (f"{grant.name} ({grant.expires_at:%Y-%m-%d})" for grant in found if grant.expiring)
    return ", ".join(dict.fromkeys(expiring))


def needed_approvals(one: Granted, catalogue: Catalogue) -> int:
    """How many distinct people must approve: two for the waiver of a Critical check, one for everything else."""
    critical = one.spec.check in catalogue and catalogue.get(one.spec.check).severity is Severity.CRITICAL
    return 2 if critical and isinstance(one, ReadinessWaiver) else 1


def _grant(one: Granted, catalogue: Catalogue, now: datetime, guarded: str | None) -> Grant:
    subject, needed = _subject(one), needed_approvals(one, catalogue)
    by = tuple(sorted({signature.by for signature in one.spec.approvals}))
    check = catalogue.get(subject.check) if subject.check in catalogue else None
    standing, message = _standing(subject, check, now, len(by), needed, guarded)
    expiring = standing is Standing.IN_FORCE and subject.expires_at - now <= WARN_BEFORE_EXPIRY
    return Grant(subject, standing, message, by, needed, expiring)


def _standing(
    subject: Waiver | Attestation, check: Check | None, now: datetime, given: int, needed: int, guarded: str | None
) -> tuple[Standing, str]:
    """What is wrong for good comes first, then what time decides, then what people can still do."""
    until = written(subject.expires_at)
    refusal = _refusal(subject, check)
    if refusal is not None:
        return Standing.NOT_ACCEPTED, refusal
    if now >= subject.expires_at:
        return Standing.EXPIRED, f"Expired on {until}: the check is judged without it"
    if isinstance(subject, Attestation) and now < subject.issued_at:
        return Standing.NOT_YET, f"Issued on {written(subject.issued_at)}, which has not come yet"
    if guarded is not None:
        return Standing.UNGUARDED, f"Nobody can tell who approved it: {guarded[:1].lower()}{guarded[1:]}"
    if given < needed:
        noun = "approval" if needed == 1 else "approvals of different people"
        return Standing.AWAITING_APPROVAL, f"Has {given} of {needed} {noun}: passmuster approve adds yours"
    return Standing.IN_FORCE, f"Counts until {until}"


def _refusal(subject: Waiver | Attestation, check: Check | None) -> str | None:
    if check is None:
        return f"There is no check {subject.check}: delete it, or make it for one that `passmuster checks` lists"
    if isinstance(subject, Waiver):
        return None
    if check.attestable is None:
        return f"The check {check.id} takes no attestation: delete it"
    if subject.expires_at - subject.issued_at > check.attestable:
        return f"It lasts longer than the {check.attestable.days} days that {check.id} allows: make a shorter one"
    return None


def _subject(one: Granted) -> Waiver | Attestation:
    spec = one.spec
    if isinstance(one, ReadinessWaiver):
        waiver = one.spec
        return Waiver(one.metadata.name, spec.check, waiver.reason, spec.expires_at, tuple(waiver.resources))
    attested = one.spec
    return Attestation(
        name=one.metadata.name,
        check=spec.check,
        statement=attested.statement,
        uri=attested.evidence.uri,
        owner=attested.owner,
        issued_at=attested.issued_at,
        expires_at=spec.expires_at,
        sha256=attested.evidence.sha256,
    )
