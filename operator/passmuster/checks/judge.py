"""Runs one check on one snapshot and makes sure that the answer is whole: no silence, no verdict from a gap.

Called by assess. This is the one place where an `Unread` becomes an Unknown finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from passmuster.checks.declaration import Check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.organizations import ORGANIZATION, is_member
from passmuster.inventory.permissions import actions
from passmuster.inventory.snapshot import Gap, Incomplete, Snapshot, Unread, View
from passmuster.model.errors import PayerNotFound
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, not_applicable, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Reason

_GRAVEST = (
    Reason.DENIED,
    Reason.REGION_UNREADABLE,
    Reason.THROTTLED,
    Reason.SERVICE_ERROR,
    Reason.PARTIAL,
    Reason.STALE,
    Reason.IN_TRANSIT,
)

DEFECTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a check raises that is wrong about the shape of an answer. Anything else is not survived."""


def calls_of(check: Check) -> tuple[Call, ...]:
    """Everything the judge needs to have read for a check."""
    return (*check.calls, ORGANIZATION) if check.payer else check.calls


def calls_in_payer(check: Check) -> tuple[Call, ...]:
    """What a check of a member needs to have read in the account that pays the bill."""
    return calls_of(check) if check.payer else check.payer_calls


def judge(
    check: Check, snapshot: Snapshot, parameters: Parameters, evidence: Evidence, payer: Snapshot | None = None
) -> tuple[Finding, ...]:
    """Every finding of the check; at least one.

    `payer` is the snapshot of the account that pays the bill, where the policy's account names one.
    """
    if check.payer:
        elsewhere = _judged_elsewhere(snapshot, payer)
        if elsewhere is not None:
            return (elsewhere,)
        if payer is not None and is_member(_organization(snapshot)):
            snapshot = payer
    regions: tuple[str | None, ...] = snapshot.regions if check.per == "region" else (None,)
    findings: list[Finding] = []
    other = View(payer, check.payer_calls) if payer is not None and check.payer_calls else None
    views = [View(snapshot, check.calls, region, payer=other) for region in regions]
    for view in views:
        findings.extend(_evaluated(check, view, parameters, evidence))
    for view in views:
        findings.extend(_unknown(subject) for subject in view.incomplete)
    return tuple(findings) if findings else (_silence(check, views),)


def _evaluated(check: Check, view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    try:
        yield from check.evaluate(view, parameters, evidence)
    except DEFECTS as error:
        # One check that trips over an answer takes no other check's verdict with it.
        message = f"the check {check.id} broke off ({type(error).__name__}: {error}), which is a defect of Passmuster"
        yield unknown(view.origin(check.calls[0]), view.account_id, message, Reason.SERVICE_ERROR)
    except re.error as error:
        message = (
            f"a regular expression among the parameters of {check.id} is wrong ({error}): "
            f"correct spec.checks.parameters.{check.id} of the policy, or the floors of the account"
        )
        yield unknown(view.origin(check.calls[0]), view.account_id, message, Reason.SERVICE_ERROR)
    except Unread as unread:
        view.incomplete.append(Incomplete(view.account_id, view.region or unread.gaps[0].request.region, unread.gaps))


def _unknown(subject: Incomplete) -> Finding:
    gaps = sorted(subject.gaps, key=lambda gap: _GRAVEST.index(gap.reason))
    gravest = gaps[0]
    return unknown(
        gravest.origin,
        subject.resource,
        "; ".join(dict.fromkeys(explain(gap) for gap in gaps)),
        gravest.reason,
        observed=", ".join(dict.fromkeys(gap.code for gap in gaps)),
        expected="an answer from " + ", ".join(dict.fromkeys(gap.call.name for gap in gaps)),
    )


def explain(gap: Gap) -> str:
    """One sentence about a gap that says what would close it."""
    if gap.code == PayerNotFound.reason:
        return gap.message
    match gap.reason:
        case Reason.DENIED:
            return f"{gap.call.name} was denied ({gap.code}): the role needs {' and '.join(actions(gap.call))}"
        case Reason.THROTTLED:
            return f"{gap.call.name} was throttled ({gap.code}); it is read again at the next inspection"
        case Reason.REGION_UNREADABLE:
            return f"{gap.request.region} cannot be read ({gap.code}): enable the region or leave it out of the policy"
        case Reason.PARTIAL:
            return f"{gap.call.name} answered only in part ({gap.code}); nothing is judged from half a list"
        case Reason.STALE:
            if gap.code == "DeadlineExceeded":
                return f"{gap.call.name} was not read before the inspection's time was over; it is read next time"
            return f"{gap.call.name} was last read too long ago ({gap.code})"
        case _:
            return f"{gap.call.name} failed ({gap.code})"


def _silence(check: Check, views: Sequence[View]) -> Finding:
    view = views[0]
    account = view.origin(check.calls[0])
    if all(one.absent_everywhere(call, Reason.NOT_IN_PARTITION) for one in views for call in check.calls):
        place = view.region if len(views) == 1 and view.region else f"the partition {view.partition}"
        message = f"{check.calls[0].service} is not offered in {place}"
        return not_applicable(account, view.account_id, message, Reason.NOT_IN_PARTITION)
    if check.nothing:
        return not_applicable(account, view.account_id, check.nothing)
    message = f"the check {check.id} came to no verdict, which is a defect of Passmuster"
    return unknown(account, view.account_id, message, Reason.SERVICE_ERROR)


def _organization(snapshot: Snapshot) -> View:
    return View(snapshot, (ORGANIZATION,))


def _judged_elsewhere(snapshot: Snapshot, payer: Snapshot | None) -> Finding | None:
    view = _organization(snapshot)
    try:
        member = is_member(view)
    except Unread as unread:
        return _unknown(Incomplete(snapshot.account_id, snapshot.control_region, unread.gaps))
    if member and payer is None:
        message = "The bill of a member account is judged in the payer account: name it with payerAccountRef"
        origin = view.origin(ORGANIZATION)
        return not_applicable(origin, snapshot.account_id, message, Reason.JUDGED_IN_PAYER_ACCOUNT)
    return None


def distinct_calls(checks: Iterable[Check]) -> tuple[Call, ...]:
    """The calls of these checks, each once, in a stable order."""
    return tuple(dict.fromkeys(call for check in checks for call in calls_of(check)))
