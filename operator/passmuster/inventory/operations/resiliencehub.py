"""Applications of Resilience Hub, their assessments, and the operating procedures it recommends for them."""

from passmuster.inventory.call import Call

APPS = Call(
    "resiliencehub",
    "ListApps",
    items="appSummaries",
    keep=("appArn", "name", "complianceStatus", "rtoInSecs", "rpoInSecs", "lastAppComplianceEvaluationTime", "status"),
)
LATEST_ASSESSMENT = Call(
    "resiliencehub",
    "ListAppAssessments",
    each=APPS,
    over="appArn",
    param="appArn",
    args={"assessmentStatus": ["Success"], "reverseOrder": True},
    items="assessmentSummaries[?assessmentStatus=='Success'] | [:1]",
    keep=("assessmentArn", "appArn"),
    absent=("ResourceNotFoundException",),
)
"""The newest successful one of a page, so that old ones are not asked about."""

PROCEDURES = Call(
    "resiliencehub",
    "ListSopRecommendations",
    each=LATEST_ASSESSMENT,
    over="assessmentArn",
    param="assessmentArn",
    items="sopRecommendations",
    keep="{name: name, recommendationStatus: recommendationStatus, "
    "implemented: items[].{alreadyImplemented: alreadyImplemented, resourceId: resourceId}}",
    absent=("ResourceNotFoundException",),
)
