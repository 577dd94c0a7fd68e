"""The alerts as Prometheus takes them: a plain rule file, and the PrometheusRule object of the Prometheus Operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from passmuster.observability.alerts import ALERTS, Alert
from passmuster.observability.queries import checked

HEAD = "# Generated from passmuster.observability.alerts; do not edit: `make crds` writes it anew.\n"
OF_THE_OPERATOR = (
    "PassmusterThrottled",
    "PassmusterNoLeader",
    "PassmusterWatchStalled",
    "PassmusterWebhookSilent",
    "PassmusterWatchdog",
)


def groups() -> list[dict[str, Any]]:
    """The rule groups: what is wrong in accounts, and what is wrong with the operator."""
    operator = [rule(alert) for alert in ALERTS if alert.name in OF_THE_OPERATOR]
    accounts = [rule(alert) for alert in ALERTS if alert.name not in OF_THE_OPERATOR]
    return [{"name": "passmuster.accounts", "rules": accounts}, {"name": "passmuster.operator", "rules": operator}]


def rule(alert: Alert) -> dict[str, Any]:
    """One alerting rule. ValueError where its expression asks for what the metrics contract does not have."""
    made: dict[str, Any] = {"alert": alert.name, "expr": checked(alert.expression)}
    if alert.lasts:
        made["for"] = alert.lasts
    made["labels"] = {"severity": alert.urgency.value}
    made["annotations"] = {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": alert.runbook_url,
    }
    return made


def rule_file() -> str:
    """The rule file of Prometheus (`rule_files:`), which promtool checks and the chart ships."""
    return HEAD + _yaml({"groups": groups()})


def prometheus_rule(namespace: str = "", labels: Mapping[str, str] | None = None) -> str:
    """The same as a PrometheusRule object; `labels` are those by which a Prometheus selects its rules."""
    metadata: dict[str, Any] = {"name": "passmuster"}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    return HEAD + _yaml(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": metadata,
            "spec": {"groups": groups()},
        }
    )


def _yaml(document: Mapping[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=4096, allow_unicode=True)
