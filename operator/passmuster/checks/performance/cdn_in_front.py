"""A protected content delivery network stands in front of the origin."""

from __future__ import annotations

from collections.abc import Iterator

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.cloudfront import DISTRIBUTIONS
from passmuster.inventory.snapshot import Row, View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "an enabled, deployed distribution that serves HTTPS only, behind a web ACL"
ENCRYPTED = ("redirect-to-https", "https-only")
UNDEPLOYED = "deployed"


@check(
    title="A CDN is in front",
    category=Category.PERFORMANCE,
    phase=Phase.FOUNDATION,
    severity=Severity.LOW,
    fix="A",
    per="account",
    optional=True,
    calls=(DISTRIBUTIONS,),
    controls=Controls(
        security_hub=tuple(f"CloudFront.{number}" for number in (1, *range(3, 11), 12, 13)),
        well_architected=("PERF04", "REL02-BP01"),
    ),
)
def cdn_in_front(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Far users wait for every byte that travels from the origin, and an attack reaches the origin itself.

    One enabled distribution is enough: deployed, with HTTPS only or a redirect to it in every behaviour, and with a web
    ACL. Other distributions of the account are judged by the checks on TLS and on web ACLs. A distribution that only
    still has to be deployed is in transit. Without an origin group there is no failover, which is a warning.
    """
    if view.absent_everywhere(DISTRIBUTIONS, Reason.NOT_IN_PARTITION):
        message = f"CloudFront does not exist in the partition {view.partition}"
        yield not_applicable(view.origin(DISTRIBUTIONS), view.account_id, message, Reason.NOT_IN_PARTITION)
        return
    enabled = [row for row in view.rows(DISTRIBUTIONS) if row.get("Enabled")]
    if not enabled:
        message = "No distribution is in front of the account's origins"
        origin, facts = view.origin(DISTRIBUTIONS), {"missing": "distribution"}
        observed = "no enabled distribution"
        yield failed(origin, view.account_id, message, observed=observed, expected=EXPECTED, facts=facts)
        return
    best = min(enabled, key=lambda row: (len(_lacking(row)), row["Id"]))
    lacking, name = _lacking(best), f"distribution {best['Id']}"
    if lacking == [UNDEPLOYED]:
        message = f"The {name} is being deployed"
        yield unknown(best.origin, best["ARN"], message, Reason.IN_TRANSIT, observed="in progress", expected=EXPECTED)
    elif lacking:
        yield failed(
            best.origin,
            best["ARN"],
            f"The {name} is not {', not '.join(lacking)}",
            observed=", ".join(f"not {phrase}" for phrase in lacking),
            expected=EXPECTED,
            facts={"missing": "protection", "distribution": best["Id"], "Lacking": ", ".join(lacking)},
        )
    else:
        warnings = (
            () if best.get("OriginGroups") else ("No origin group: the distribution has no origin to fail over to",)
        )
        message = f"The {name} serves HTTPS only, behind a web ACL"
        yield passed(best.origin, best["ARN"], message, observed="deployed", expected=EXPECTED, warnings=warnings)


def _lacking(distribution: Row) -> list[str]:
    """What the distribution should be and is not."""
    behaviours = [distribution["DefaultCacheBehavior"], *(distribution.get("CacheBehaviors") or [])]
    conditions = {
        "HTTPS only": all(behaviour["ViewerProtocolPolicy"] in ENCRYPTED for behaviour in behaviours),
        "behind a web ACL": bool(distribution.get("WebACLId")),
        UNDEPLOYED: distribution.get("Status", "Deployed") == "Deployed",
    }
    return [phrase for phrase, holds in conditions.items() if not holds]
