"""Applications of Resilience Hub, their goals and assessments, and the procedures it recommends for them."""

from passmuster.inventory.call import RARELY, Call

APPS = Call(
    "resiliencehub",
    "ListApps",
    items="appSummaries",
    keep=("appArn", "name", "complianceStatus", "rtoInSecs", "rpoInSecs", "lastAppComplianceEvaluationTime", "status"),
    freshness=RARELY,
)
LATEST_ASSESSMENT = Call(
    "resiliencehub",
    "ListAppAssessments",
    each=APPS,
    over="appArn",
    param="appArn",
    args={"assessmentStatus": ["Success"], "reverseOrder": True},
    items="assessmentSummaries[?assessmentStatus=='Success'] | [:1]",
    keep=("assessmentArn", "appArn", "complianceStatus"),
    absent=("ResourceNotFoundException",),
    freshness=RARELY,
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
    freshness=RARELY,
)

APP = Call(
    "resiliencehub",
    "DescribeApp",
    each=APPS,
    over="[@][?complianceStatus=='PolicyMet' || !complianceStatus].appArn",
    param="appArn",
    keep="{appArn: app.appArn, policyArn: app.policyArn}",
    absent=("ResourceNotFoundException",),
    freshness=RARELY,
)
"""Which policy an application has to meet; of those that may meet theirs."""

RESILIENCY_POLICY = Call(
    "resiliencehub",
    "DescribeResiliencyPolicy",
    each=APP,
    over="policyArn",
    param="policyArn",
    keep="{policyName: policy.policyName, goals: values(policy.policy || `{}`)}",
    absent=("ResourceNotFoundException",),
    freshness=RARELY,
)
"""The recovery goals of a policy, one pair in seconds for each kind of disruption."""
