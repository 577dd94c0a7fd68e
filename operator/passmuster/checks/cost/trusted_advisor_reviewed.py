"""No error of Trusted Advisor stands longer than the policy allows without somebody having excluded it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

PLAN = Call(
    "support",
    "DescribeTrustedAdvisorChecks",
    args={"language": "en"},
    keep="{checks: length(checks || `[]`)}",
    absent=("SubscriptionRequiredException",),
    freshness=timedelta(hours=24),
)
"""One row where the account's support plan brings Trusted Advisor's API, none where it does not."""

_ERRORS = {"status": "'error'"}
RECOMMENDATIONS = Call(
    "trustedadvisor",
    "ListRecommendations",
    each=PLAN,
    param=_ERRORS,
    items="recommendationSummaries",
    keep=("arn", "name", "status", "lifecycleStage", "createdAt", "lastUpdatedAt", "resourcesAggregates"),
)
PAGES = Call("trustedadvisor", "ListRecommendations", each=PLAN, param=_ERRORS, keep="{answered: `true`}")
"""The same request; a row says that it was answered at all, since the API exists in one partition only."""

FLAGGED = Call(
    "trustedadvisor",
    "ListRecommendationResources",
    each=RECOMMENDATIONS,
    over="[@][?resourcesAggregates.excludedCount > `0`].arn",
    param="recommendationIdentifier",
    args={"status": "error", "exclusionStatus": "included"},
    items="recommendationResourceSummaries",
    keep=("id",),
    absent=("ResourceNotFoundException",),
)
"""The resources in error that nobody excluded, asked only where somebody excluded some."""

REVIEWED = ("dismissed", "resolved")


@check(
    title="Trusted Advisor's errors are dealt with",
    category=Category.COST,
    phase=Phase.HARDENED,
    severity=Severity.LOW,
    fix="P",
    per="account",
    calls=(PLAN, RECOMMENDATIONS, PAGES, FLAGGED),
    parameters=(
        Parameter(
            "maxAgeDays",
            Kind.INTEGER,
            30,
            Stricter.LOWER,
            "The longest time that a recommendation in error may stand before it is fixed or excluded.",
            minimum=1,
            maximum=365,
        ),
    ),
    controls=Controls(well_architected=("REL01",)),
)
def trusted_advisor_reviewed(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Advice that is paid for and not read costs twice.

    A recommendation in error fails when it is older than the policy allows: since it was created or, where Trusted
    Advisor does not say, last updated. It is dealt with when each of its resources in error is excluded, or when it was
    dismissed or resolved. The API needs a support plan: without one the check does not apply, and whether there is one
    is asked first, so that a refusal is told from a missing plan.
    """
    if view.absent_everywhere(PLAN, Reason.NOTHING_OF_THAT_KIND):
        message = "The account's support plan does not bring the API of Trusted Advisor"
        yield not_applicable(view.origin(PLAN), view.account_id, message, Reason.NO_SUPPORT_PLAN)
        return
    if view.row(PAGES) is None:
        message = f"The API of Trusted Advisor does not exist in the partition {view.partition}"
        yield not_applicable(view.origin(PAGES), view.account_id, message, Reason.NOT_IN_PARTITION)
        return
    longest = timedelta(days=parameters["maxAgeDays"])
    findings = 0
    for recommendation in view.rows(RECOMMENDATIONS):
        with view.judging(recommendation["arn"], recommendation.region):
            finding = _overdue(view, recommendation, longest, evidence.now)
            if finding is not None:
                yield finding
                findings += 1
    if not findings and not view.incomplete:
        message = f"No error of Trusted Advisor is older than {longest.days} days"
        yield passed(view.origin(RECOMMENDATIONS), view.account_id, message, observed="none", expected="none")


def _overdue(view: View, recommendation: Row, longest: timedelta, now: datetime) -> Finding | None:
    """What is to be said about a recommendation that is too old, None if it is young or dealt with."""
    if recommendation["status"] != "error" or recommendation.get("lifecycleStage") in REVIEWED:
        return None
    since = recommendation.get("createdAt") or recommendation.get("lastUpdatedAt")
    if since is not None and now - since <= longest:
        return None
    if _is_excluded(view, recommendation):
        return None
    arn, name = recommendation["arn"], recommendation["name"]
    expected = f"fixed or excluded within {longest.days} days"
    if since is None:
        message = f'Trusted Advisor does not say since when "{name}" is in error'
        return unknown(recommendation.origin, arn, message, Reason.PARTIAL, observed="no date", expected=expected)
    message = f'Trusted Advisor reports "{name}" for {(now - since).days} days'
    observed = f"in error since {since.date().isoformat()}"
    facts = {"name": str(name), "recommendationArn": arn}
    return failed(recommendation.origin, arn, message, observed=observed, expected=expected, facts=facts)


def _is_excluded(view: View, recommendation: Row) -> bool:
    """Whether somebody excluded every resource in error."""
    count = recommendation.get("resourcesAggregates") or {}
    errors, excluded = count.get("errorCount") or 0, count.get("excludedCount") or 0
    if not 0 < errors <= excluded:
        return bool(excluded) and not errors
    return view.row(FLAGGED, recommendation) is None
