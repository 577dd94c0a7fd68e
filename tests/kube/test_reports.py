"""Reports read from a real API server, for people."""

from __future__ import annotations

from typing import Any

import pytest

import apiserver
import reports
from apiserver import ApiServer
from passmuster.assess.changes import compare
from passmuster.engine import documents
from passmuster.engine.ports import REPORTS, Key
from passmuster.kube.cluster import KubeCluster
from passmuster.kube.reports import reports_of
from passmuster.model.errors import UserError
from passmuster.report import html, stored
from replay import ACCOUNT

pytestmark = pytest.mark.apiserver


def test_the_report_of_a_policy_is_read_and_shown_with_what_changed(
    server: ApiServer, namespace: str, operator: Any, admin: Any
) -> None:
    assert server.create(apiserver.policy(namespace, "shop")).ok
    judged, plan = reports.from_fixtures()
    old = reports.report([reports.result("https-redirect", reports.finding(80))])
    changes = compare(old, judged)
    name = f"shop-{ACCOUNT}"
    document = documents.report_document(name, namespace, "shop", judged, plan, changes=changes)
    cluster = KubeCluster(operator, lambda: True, namespace="passmuster-system", instance="test")
    cluster.create(REPORTS, {k: v for k, v in document.items() if k != "status"})
    assert cluster.patch_status(Key(REPORTS, namespace, name), document["status"]) is not None
    (found,) = reports_of(admin, namespace, "shop")
    shown = stored.read(found, "cluster")
    assert [c.status for c in shown.report.checks] == [c.status for c in judged.checks]
    assert shown.changes is not None
    assert [m.id for m in shown.changes.checks] == [m.id for m in changes.checks]
    assert "What changed" in html.render(shown.report, shown.plan, title=shown.policy, changes=shown.changes)


def test_a_policy_without_a_report_is_said(namespace: str, admin: Any) -> None:
    with pytest.raises(UserError, match=r"there is no report of a policy nothing .* kubectl get rr -A"):
        reports_of(admin, namespace, "nothing")
