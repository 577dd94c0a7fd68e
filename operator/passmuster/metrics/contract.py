"""Every metric Passmuster exports, with its labels and its meaning. docs/metrics.md is generated from it.

Labels never include namespace, instance, job or pod, which collide with the scrape's own, nor an ARN or a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

POLICY_LABELS = ("policy_namespace", "policy", "account_id")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `kind` is the Prometheus type."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


LEVEL = Metric(
    "passmuster_level",
    "gauge",
    "1 for the level the account reached, 0 for each of the others, None among them",
    (*POLICY_LABELS, "level"),
)
LEVEL_TARGET = Metric(
    "passmuster_level_target",
    "gauge",
    "1 for the level that the policy declares; the other levels have no series",
    (*POLICY_LABELS, "level"),
)
LEVELS_MISSING = Metric(
    "passmuster_levels_missing",
    "gauge",
    "How many levels are missing to the declared one, 0 once it is reached",
    POLICY_LABELS,
)
SCORE = Metric(
    "passmuster_score_ratio", "gauge", "The readiness score, 0 to 1; absent while there is none", POLICY_LABELS
)
SCORE_TARGET = Metric(
    "passmuster_score_target_ratio", "gauge", "The policy's minimumScore, 0 to 1; absent without one", POLICY_LABELS
)
COVERAGE = Metric(
    "passmuster_coverage_ratio", "gauge", "The share of enabled checks that are not Unknown, 0 to 1", POLICY_LABELS
)
CRITICAL = Metric("passmuster_critical_failing", "gauge", "How many Critical checks fail", POLICY_LABELS)
CATEGORY = Metric(
    "passmuster_category_score_ratio", "gauge", "The score within a category, 0 to 1", (*POLICY_LABELS, "category")
)
PHASE = Metric(
    "passmuster_phase_complete_ratio",
    "gauge",
    "The share of a phase's enabled checks that pass or do not apply, 0 to 1",
    (*POLICY_LABELS, "phase"),
)
CHECK = Metric(
    "passmuster_check_status",
    "gauge",
    "1 for the status a check has; the other statuses have no series",
    (*POLICY_LABELS, "check", "category", "severity", "phase", "status"),
)
FINDINGS = Metric(
    "passmuster_findings", "gauge", "How many findings of a check have a status", (*POLICY_LABELS, "check", "status")
)
FAILING_SINCE = Metric(
    "passmuster_check_failing_since_timestamp_seconds",
    "gauge",
    "Since when a check fails without interruption, as a Unix time; absent while it does not fail",
    (*POLICY_LABELS, "check"),
)
FIX_COST = Metric(
    "passmuster_check_fix_monthly_cost_dollars",
    "gauge",
    "What the remediations cost a month that make a failing check pass; absent where none is planned",
    (*POLICY_LABELS, "check"),
)
INTERVAL = Metric(
    "passmuster_inspection_interval_seconds",
    "gauge",
    "Seconds between the inspections that a policy asks for; absent while it is suspended",
    POLICY_LABELS,
)
CREDENTIALS = Metric(
    "passmuster_account_credentials_valid",
    "gauge",
    "1 if an AWSAccount answered with its role the last time it was tried, 0 if not; absent while it is not known",
    ("account", "account_id"),
)
INSPECTED = Metric(
    "passmuster_inspection_last_success_timestamp_seconds",
    "gauge",
    "When the last inspection that brought a report began, as a Unix time",
    POLICY_LABELS,
)
WAIVER_EXPIRY = Metric(
    "passmuster_waiver_expiry_timestamp_seconds",
    "gauge",
    "When a waiver ends that counts now, as a Unix time; absent once it has ended",
    (*POLICY_LABELS, "check", "waiver"),
)
ATTESTATION_EXPIRY = Metric(
    "passmuster_attestation_expiry_timestamp_seconds",
    "gauge",
    "When an attestation ends that counts now, as a Unix time; absent once it has ended",
    (*POLICY_LABELS, "check", "attestation"),
)
PLAN_COST = Metric(
    "passmuster_plan_monthly_cost_dollars",
    "gauge",
    "What the remediations of a phase that are not blocked cost a month; what depends on usage is not in it",
    (*POLICY_LABELS, "phase"),
)
REMEDIATIONS = Metric(
    "passmuster_remediations", "gauge", "How many remediations are in a state", (*POLICY_LABELS, "phase", "state")
)
REMEDIATION_SECONDS = Metric(
    "passmuster_remediation_duration_seconds",
    "histogram",
    "How long remediations took from being scheduled to Applied, RolledBack or Failed, and undoings to Undone",
    ("outcome",),
)
INSPECTION_SECONDS = Metric(
    "passmuster_inspection_duration_seconds", "histogram", "How long inspections took that brought a report"
)
INSPECTION_FAILURES = Metric(
    "passmuster_inspection_failures_total",
    "counter",
    "Inspections that brought no report, by condition reason",
    ("reason",),
)
REQUESTS = Metric(
    "passmuster_aws_api_requests_total",
    "counter",
    "Requests sent to AWS, by what became of them",
    ("service", "operation", "outcome"),
)
THROTTLES = Metric("passmuster_aws_api_throttles_total", "counter", "Requests that AWS throttled", ("service",))
REQUEST_SECONDS = Metric(
    "passmuster_aws_api_request_duration_seconds",
    "histogram",
    "How long a request with all its pages took",
    ("service",),
)
API_COST = Metric(
    "passmuster_aws_api_cost_dollars_total", "counter", "What AWS charges for requests that are billed, in dollars"
)
QUEUE_DEPTH = Metric("passmuster_workqueue_depth", "gauge", "Objects that are due and wait for a worker")
QUEUE_ADDS = Metric("passmuster_workqueue_adds_total", "counter", "Objects put into the work queue")
QUEUE_RETRIES = Metric("passmuster_workqueue_retries_total", "counter", "Objects whose work is tried again")
QUEUE_SECONDS = Metric("passmuster_workqueue_duration_seconds", "histogram", "How long the work on an object took")
QUEUE_OLDEST = Metric(
    "passmuster_workqueue_oldest_due_seconds",
    "gauge",
    "How long the object has waited for a worker that waits longest; 0 while none waits",
)
STATUS_WRITES = Metric("passmuster_status_writes_total", "counter", "Writes of status to the API server")
LEADER = Metric("passmuster_leader", "gauge", "1 while this process holds the lease")
CANARY = Metric(
    "passmuster_watch_canary_age_seconds",
    "gauge",
    "Seconds that the watch streams have been behind what the API server lists; 0 while they are not",
)
ALERTS = Metric(
    "passmuster_alerts_received_total",
    "counter",
    "Notifications of Alertmanager, by how they were answered",
    ("outcome",),
)
LAST_ALERT = Metric(
    "passmuster_alerts_last_delivery_timestamp_seconds",
    "gauge",
    "When this process last took a notification of Alertmanager, as a Unix time; until the first, when it started; "
    "absent without --alerts-token-file",
)
BUILD = Metric("passmuster_build_info", "gauge", "Always 1; the version is a label", ("version", "catalogue"))

CONTRACT: tuple[Metric, ...] = (
    LEVEL,
    LEVEL_TARGET,
    LEVELS_MISSING,
    SCORE,
    SCORE_TARGET,
    COVERAGE,
    CRITICAL,
    CATEGORY,
    PHASE,
    CHECK,
    FINDINGS,
    FAILING_SINCE,
    FIX_COST,
    INTERVAL,
    CREDENTIALS,
    INSPECTED,
    WAIVER_EXPIRY,
    ATTESTATION_EXPIRY,
    PLAN_COST,
    REMEDIATIONS,
    REMEDIATION_SECONDS,
    INSPECTION_SECONDS,
    INSPECTION_FAILURES,
    REQUESTS,
    THROTTLES,
    REQUEST_SECONDS,
    API_COST,
    QUEUE_DEPTH,
    QUEUE_ADDS,
    QUEUE_RETRIES,
    QUEUE_SECONDS,
    QUEUE_OLDEST,
    STATUS_WRITES,
    LEADER,
    CANARY,
    ALERTS,
    LAST_ALERT,
    BUILD,
)


def series() -> dict[str, frozenset[str]]:
    """Every name that a query may use, with the labels it may use there; what rules and dashboards are held against."""
    allowed: dict[str, frozenset[str]] = {}
    for metric in CONTRACT:
        labels = frozenset(metric.labels)
        if metric.kind != "histogram":
            allowed[metric.name] = labels
            continue
        allowed[f"{metric.name}_bucket"] = labels | {"le"}
        allowed[f"{metric.name}_sum"] = allowed[f"{metric.name}_count"] = labels
    return allowed


def document() -> str:
    """docs/metrics.md."""
    lines = [
        "<!-- Generated by `passmuster metrics --output docs/metrics.md`; do not edit. -->",
        "# Metrics",
        "",
        "Everything `/metrics` exports. Series vanish with their object; a standby exports no figure of any",
        "account, only those of its own process. Who accepts OpenMetrics gets that, with the traces of inspections",
        "as exemplars of `passmuster_inspection_duration_seconds` where they are [traced](operations.md#traces).",
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels) or '-'} | {m.help} |"
        for m in CONTRACT
    ]
    return "\n".join(lines) + "\n"
