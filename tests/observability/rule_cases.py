"""For every alert, series that make it fire and series that do not, as the unit tests of promtool take them.

`.ci/generate.py` writes them to passmuster.rules.test.yaml beside this file, with what the alert must say. Minutes are
those of the test's clock, which begins at the Unix time 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from passmuster.observability.alerts import ALERTS, Alert

RULES = "../../charts/passmuster/rules/passmuster.rules.yaml"
HEAD = "# Generated from rule_cases.py and passmuster.observability.alerts; do not edit: `make crds` writes it anew.\n"
L = {"policy_namespace": "shop", "policy": "shop", "account_id": "123456789012"}
OTHER = {**L, "account_id": "222222222222"}
DAY = 86400


def series(name: str, values: str, pod: str = "passmuster-0", **labels: str) -> tuple[str, str]:
    """One input series, as a scrape of a pod brings it."""
    shown = {"job": "passmuster", "instance": f"{pod}:8080", "pod": pod, "namespace": "passmuster-system", **labels}
    inside = ",".join(f'{label}="{value}"' for label, value in shown.items())
    return f"passmuster_{name}{{{inside}}}", values


@dataclass(frozen=True)
class Case:
    """Series, the minute that is looked at, and the alerts that fire then: their labels and the value as it is told."""

    name: str
    alert: str
    minute: int
    inputs: tuple[tuple[str, str], ...]
    fires: tuple[tuple[Mapping[str, str], str], ...] = field(default=())


def _check(
    status: str, values: str = "1x100", pod: str = "passmuster-0", severity: str = "Critical"
) -> tuple[str, str]:
    labels = {"check": "https-redirect", "category": "Security", "severity": severity, "phase": "Production"}
    return series("check_status", values, pod, **L, **labels, status=status)


HTTPS = {**L, "check": "https-redirect"}
ROLE = {"account": "shop-production", "account_id": "123456789012"}
WAIVER = {**L, "check": "https-redirect", "waiver": "legacy"}
ATTESTATION = {**L, "check": "dr-runbooks", "attestation": "rehearsed"}

CASES: tuple[Case, ...] = (
    Case(
        "a score below minimumScore fires after a quarter of an hour",
        "PassmusterScoreBelowTarget",
        16,
        (series("score_ratio", "0.7x30", **L), series("score_target_ratio", "0.8x30", **L)),
        ((L, "70%"),),
    ),
    Case(
        "a score below minimumScore for a moment does not fire, nor one without a minimumScore, nor one above it",
        "PassmusterScoreBelowTarget",
        16,
        (
            series("score_ratio", "0.7x9 0.9x20", **L),
            series("score_target_ratio", "0.8x30", **L),
            series("score_ratio", "0.1x30", **OTHER),
        ),
    ),
    Case(
        "a failing Critical check fires with its id, whatever pod told of it",
        "PassmusterCriticalCheckFailing",
        6,
        (_check("Fail"), _check("Fail", pod="passmuster-1")),
        ((HTTPS, ""),),
    ),
    Case(
        "a pod that restarts continues the same alert: the time it lasts does not begin anew",
        "PassmusterCriticalCheckFailing",
        7,
        (_check("Fail", "1x3 stale"), _check("Fail", "_x3 1x20", "passmuster-1")),
        ((HTTPS, ""),),
    ),
    Case(
        "a failing check of another severity does not fire, nor a Critical one that is Unknown or passes",
        "PassmusterCriticalCheckFailing",
        30,
        (_check("Fail", severity="High"), _check("Unknown"), _check("Pass", pod="passmuster-1")),
    ),
    Case(
        "a score that falls by ten points fires at once",
        "PassmusterScoreDropped",
        40,
        (series("score_ratio", "0.9x30 0.8x30", **L),),
        ((L, "10%"),),
    ),
    Case(
        "a score that falls by four points does not fire, nor one that rises, nor one that fell a day ago",
        "PassmusterScoreDropped",
        1560,
        (
            series("score_ratio", "0.9x1540 0.86x30", **L),
            series("score_ratio", "0.5x1540 0.9x30", **OTHER),
            series("score_ratio", "0.9x60 0.5x1500", **{**L, "policy": "old"}),
        ),
    ),
    Case(
        "an inspection older than three intervals fires, and so does a policy that never had one",
        "PassmusterInspectionStale",
        200,
        (
            series("inspection_last_success_timestamp_seconds", "0x300", **L),
            series("inspection_interval_seconds", "3600x300", **L),
            series("inspection_interval_seconds", "3600x300", **OTHER),
        ),
        ((L, ""), (OTHER, "")),
    ),
    Case(
        "a recent inspection does not fire, nor a suspended policy, which has no interval, nor a policy just made",
        "PassmusterInspectionStale",
        200,
        (
            series("inspection_last_success_timestamp_seconds", "0x100 6000x200", **L),
            series("inspection_interval_seconds", "3600x300", **L),
            series("inspection_last_success_timestamp_seconds", "0x300", **OTHER),
            series("inspection_interval_seconds", "_x190 3600x100", **{**L, "policy": "new"}),
        ),
    ),
    Case(
        "a coverage of three quarters fires after an hour",
        "PassmusterCoverageLow",
        61,
        (series("coverage_ratio", "0.75x90", **L),),
        ((L, "75%"),),
    ),
    Case(
        "a coverage of nine tenths does not fire, nor a gap of some minutes",
        "PassmusterCoverageLow",
        61,
        (series("coverage_ratio", "0.9x90", **L), series("coverage_ratio", "0.2x30 1x60", **OTHER)),
    ),
    Case(
        "an account that refuses the role fires after five minutes",
        "PassmusterCredentialsInvalid",
        6,
        (series("account_credentials_valid", "0x20", **ROLE),),
        ((ROLE, ""),),
    ),
    Case(
        "an account that answers does not fire, nor one that refused once, nor one that was never tried",
        "PassmusterCredentialsInvalid",
        6,
        (
            series("account_credentials_valid", "1x20", **ROLE),
            series("account_credentials_valid", "0x2 1x20", account="other", account_id="222222222222"),
        ),
    ),
    Case(
        "a failed remediation fires at once, and one that AWS took back too",
        "PassmusterRemediationFailed",
        1,
        (
            series("remediations", "1x9", **L, phase="Production", state="Failed"),
            series("remediations", "2x9", **L, phase="Stable", state="RolledBack"),
        ),
        (
            ({**L, "phase": "Production", "state": "Failed"}, "1"),
            ({**L, "phase": "Stable", "state": "RolledBack"}, "2"),
        ),
    ),
    Case(
        "remediations in other states do not fire",
        "PassmusterRemediationFailed",
        5,
        tuple(
            series("remediations", "3x9", **L, phase="Production", state=state)
            for state in ("Applied", "Undone", "Superseded", "Blocked", "Executing", "AwaitingApproval")
        ),
    ),
    Case(
        "a proposal that waits for a day fires",
        "PassmusterApprovalWaiting",
        1441,
        (series("remediations", "4x1500", **L, phase="Production", state="AwaitingApproval"),),
        (({**L, "phase": "Production"}, "4"),),
    ),
    Case(
        "a proposal that was approved within a day does not fire",
        "PassmusterApprovalWaiting",
        1441,
        (
            series("remediations", "4x1300 stale", **L, phase="Production", state="AwaitingApproval"),
            series("remediations", "_x1300 4x200", **L, phase="Production", state="Applied"),
        ),
    ),
    Case(
        "a waiver that ends in ten days fires",
        "PassmusterWaiverExpiring",
        0,
        (series("waiver_expiry_timestamp_seconds", f"{10 * DAY}x9", **WAIVER),),
        ((WAIVER, "10d 0h 0m 0s"),),
    ),
    Case(
        "a waiver that ends in three weeks does not fire",
        "PassmusterWaiverExpiring",
        5,
        (series("waiver_expiry_timestamp_seconds", f"{21 * DAY}x9", **WAIVER),),
    ),
    Case(
        "an attestation that ends in a week fires",
        "PassmusterAttestationExpiring",
        0,
        (series("attestation_expiry_timestamp_seconds", f"{7 * DAY}x9", **ATTESTATION),),
        ((ATTESTATION, "7d 0h 0m 0s"),),
    ),
    Case(
        "an attestation that ends in a month does not fire",
        "PassmusterAttestationExpiring",
        5,
        (series("attestation_expiry_timestamp_seconds", f"{30 * DAY}x9", **ATTESTATION),),
    ),
    Case(
        "a service that throttles every fifth request fires after a quarter of an hour",
        "PassmusterThrottled",
        40,
        (
            series("aws_api_throttles_total", "0+2x60", service="cloudtrail"),
            series("aws_api_requests_total", "0+8x60", service="cloudtrail", operation="DescribeTrails", outcome="ok"),
            series(
                "aws_api_requests_total",
                "0+2x60",
                service="cloudtrail",
                operation="DescribeTrails",
                outcome="throttled",
            ),
        ),
        (({"service": "cloudtrail"}, "20%"),),
    ),
    Case(
        "a throttled request among a hundred does not fire, nor a service that is not throttled",
        "PassmusterThrottled",
        40,
        (
            series("aws_api_throttles_total", "0+1x60", service="cloudtrail"),
            series("aws_api_requests_total", "0+100x60", service="cloudtrail", operation="X", outcome="ok"),
            series("aws_api_requests_total", "0+5x60", service="ec2", operation="X", outcome="ok"),
        ),
    ),
    Case(
        "two processes of which none leads fire",
        "PassmusterNoLeader",
        5,
        (series("leader", "0x9"), series("leader", "0x9", "passmuster-1")),
        (({}, ""),),
    ),
    Case("no process at all fires", "PassmusterNoLeader", 5, (), (({}, ""),)),
    Case(
        "a takeover does not fire",
        "PassmusterNoLeader",
        5,
        (series("leader", "1x3 0x9"), series("leader", "0x3 1x9", "passmuster-1")),
    ),
    Case(
        "streams that are minutes behind fire",
        "PassmusterWatchStalled",
        6,
        (
            series("watch_canary_age_seconds", "0 60 120 180 240 300 360"),
            series("watch_canary_age_seconds", "0x9", "b"),
        ),
        (({}, "6m 0s"),),
    ),
    Case(
        "streams that are a minute behind do not fire",
        "PassmusterWatchStalled",
        6,
        (series("watch_canary_age_seconds", "60x9"),),
    ),
    Case(
        "a webhook that nothing reached for more than five hours fires",
        "PassmusterWebhookSilent",
        310,
        (
            series("alerts_last_delivery_timestamp_seconds", "0x400"),
            series("alerts_last_delivery_timestamp_seconds", "0x400", "passmuster-1"),
        ),
        (({}, "5h 10m 0s"),),
    ),
    Case(
        "a notification that either process took within that time does not fire, nor a closed webhook",
        "PassmusterWebhookSilent",
        310,
        (
            series("alerts_last_delivery_timestamp_seconds", "0x400"),
            series("alerts_last_delivery_timestamp_seconds", "0x200 12000x200", "passmuster-1"),
        ),
    ),
    Case("without a receiver nothing is silent", "PassmusterWebhookSilent", 310, (series("leader", "1x400"),)),
    Case(
        "while Passmuster is scraped, the watchdog fires",
        "PassmusterWatchdog",
        1,
        (series("build_info", "1x9", version="1.0.0", catalogue="1"),),
        (({}, ""),),
    ),
    Case("while it is not scraped, the watchdog does not", "PassmusterWatchdog", 1, ()),
)


def document() -> str:
    """The file for `promtool test rules`."""
    tests = [_test(case, next(alert for alert in ALERTS if alert.name == case.alert)) for case in CASES]
    whole = {"rule_files": [RULES], "evaluation_interval": "1m", "tests": tests}
    return HEAD + yaml.safe_dump(whole, sort_keys=False, width=4096, allow_unicode=True)


def _test(case: Case, alert: Alert) -> dict[str, Any]:
    expected = [
        {
            "exp_labels": {**labels, "severity": alert.urgency.value},
            "exp_annotations": {
                "summary": _said(alert.summary, labels, value),
                "description": _said(alert.description, labels, value),
                "runbook_url": alert.runbook_url,
            },
        }
        for labels, value in case.fires
    ]
    return {
        "name": case.name,
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.inputs],
        "alert_rule_test": [{"eval_time": f"{case.minute}m", "alertname": alert.name, "exp_alerts": expected}],
    }


def _said(template: str, labels: Mapping[str, str], value: str) -> str:
    """A template as Prometheus fills it in."""
    told = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: labels[match[1]], template)
    return re.sub(r"\{\{ \$value[^}]*\}\}", value, told)
