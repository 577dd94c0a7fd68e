"""Nothing runs on a service, a runtime or an engine version that AWS has ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from passmuster.checks.declaration import check
from passmuster.inventory.operations.lambda_ import FUNCTIONS
from passmuster.inventory.operations.lifecycle import end_of
from passmuster.inventory.operations.runtimes import KINDS, SUBJECT_CALLS, Subject
from passmuster.inventory.snapshot import View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity, Status

EXPECTED = "nothing that AWS has ended"


@check(
    title="Nothing runs on what AWS has ended",
    category=Category.OPERATIONS,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="P",
    calls=SUBJECT_CALLS,
    parameters=(
        Parameter(
            "warnDays",
            Kind.INTEGER,
            180,
            Stricter.HIGHER,
            "How many days before its end a service, runtime or version is warned about.",
            minimum=0,
            maximum=1095,
        ),
    ),
)
def no_retired_services(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """What AWS has ended gets no security patch any more, costs a surcharge, or stops one morning.

    Functions, canaries, databases, caches, Kubernetes clusters, images of running task definitions, meshes of App Mesh
    and SQL applications of Kinesis are compared with a table of dates from AWS's documentation. A version of an engine
    or of Kubernetes ends with its standard support, because extended support is a paid delay. What ends within the
    policy's days passes with a warning. An error of a service that is past its end means that it has no resources.
    Functions that belong to a canary are judged by the canary, members of a cluster by the cluster. Each region where
    nothing has ended passes, empty ones included.
    """
    ended = False
    for subjects in KINDS:
        with view.judging(view.account_id):
            for subject in subjects(view):
                finding = _judged(subject, evidence.now.date(), parameters["warnDays"])
                if finding is not None:
                    ended = ended or finding.status is not Status.PASS
                    yield finding
    if not ended and not view.incomplete:
        message = f"Nothing in {view.region} runs on a service, runtime or version that AWS has ended"
        yield passed(view.origin(FUNCTIONS), view.account_id, message, observed="nothing ended", expected=EXPECTED)


def _judged(subject: Subject, today: date, days: int) -> Finding | None:
    """The finding about what has ended or ends within that many days, None about anything else."""
    entry = end_of(subject.kind, subject.version, subject.engine)
    if entry is None or entry.end > today + timedelta(days=days):
        return None
    origin, arn, about = subject.row.origin, subject.arn, f"The {subject.name} runs on {subject.what}"
    if entry.end >= today:
        warning = f"{subject.what} ends on {entry.end}: {entry.substitute} takes its place"
        message = f"{about}, which ends soon"
        return passed(origin, arn, message, observed=subject.what, expected=EXPECTED, warnings=(warning,))
    when = f"on {entry.end}" if entry.names(subject.version) else f"before {entry.end}"
    observed = f"{subject.what}, ended {when}"
    if subject.changing:
        message = f"{about}, which AWS ended, and is being changed"
        return unknown(origin, arn, message, Reason.IN_TRANSIT, observed=observed, expected=EXPECTED)
    message = f"{about}, which AWS ended {when}: {entry.substitute} takes its place"
    facts = {"kind": subject.kind, "name": subject.name, "what": subject.what, "substitute": entry.substitute}
    return failed(origin, arn, message, observed=observed, expected=EXPECTED, facts=facts)
