"""Clear-text requests are sent to TLS, on every listener and every distribution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.cloudfront import DISTRIBUTIONS
from passmuster.inventory.operations.elbv2 import LISTENERS, LOAD_BALANCERS, RULES
from passmuster.inventory.snapshot import Row, View, seen
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Severity

ACME_PATH = "/.well-known/acme-challenge/*"
EXPECTED = "redirect to HTTPS (301 or 308) on a port with a TLS listener"
EXPECTED_AT_EDGE = "redirect-to-https or https-only"
PERMANENT = ("HTTP_301", "HTTP_308")


@check(
    title="HTTP is redirected to HTTPS",
    category=Category.SECURITY,
    phase=Phase.PRODUCTION,
    severity=Severity.CRITICAL,
    fix="I",
    per="account",
    calls=(LOAD_BALANCERS, LISTENERS, RULES, DISTRIBUTIONS),
    nothing="No application load balancer has an HTTP listener and there is no distribution",
    controls=Controls(
        config=("ALB_HTTP_TO_HTTPS_REDIRECTION_CHECK",),
        security_hub=("ELB.1", "CloudFront.3"),
        well_architected=("SEC09-BP02",),
    ),
)
def https_redirect(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A password typed into a clear-text page is read by whoever shares the network.

    Every HTTP listener of an application load balancer is judged by its default action and by each of its rules: one
    redirect rule beside a forwarding default is not enough. Of the default action HTTP_301 and 308 count, a temporary
    302 does not; a rule may also redirect to HTTPS for a time, or answer by itself with a fixed response, because
    neither forwards clear text. The path of the ACME challenge may stay in clear text. A redirect without a listener at
    its port leads nowhere and fails. A distribution passes when each of its behaviours redirects or allows HTTPS only.
    """
    with view.judging(view.account_id):
        for balancer in view.rows(LOAD_BALANCERS):
            if balancer["Type"] == "application":
                yield from _balancer(view, balancer)
    with view.judging(view.account_id):
        for distribution in view.rows(DISTRIBUTIONS):
            if distribution.get("Enabled"):
                yield _distribution(distribution)


def _balancer(view: View, balancer: Row) -> Iterator[Finding]:
    with view.judging(balancer["LoadBalancerArn"], balancer.region):
        listeners = list(view.rows(LISTENERS, balancer))
        secure_ports = {str(row["Port"]) for row in listeners if row["Protocol"] == "HTTPS"}
        for listener in listeners:
            if listener["Protocol"] == "HTTP":
                with view.judging(listener["ListenerArn"], listener.region):
                    yield _listener(view, balancer, listener, secure_ports)


def _listener(view: View, balancer: Row, listener: Row, secure_ports: set[str]) -> Finding:
    name = f"listener :{listener['Port']} of {balancer['LoadBalancerName']}"
    fault = _fault(listener["DefaultActions"], listener["Port"], secure_ports)
    if fault is not None:
        return failed(
            listener.origin,
            listener["ListenerArn"],
            f"The {name} answers in clear text",
            observed=f"default action: {fault}",
            expected=EXPECTED,
            facts={**_facts(view, balancer, listener, secure_ports), "default": "clear"},
        )
    for rule in view.rows(RULES, listener):
        fault = _fault_of(rule, listener, secure_ports)
        if fault is not None:
            return failed(
                rule.origin,
                listener["ListenerArn"],
                f"A rule of the {name} answers in clear text",
                observed=f"rule {rule['Priority']}: {fault}",
                expected=EXPECTED,
                facts={**_facts(view, balancer, listener, secure_ports), "default": "redirect"},
            )
    message = f"The {name} redirects to HTTPS"
    return passed(listener.origin, listener["ListenerArn"], message, observed="redirect to HTTPS", expected=EXPECTED)


def _fault(
    actions: list[dict[str, Any]], port: int, secure_ports: set[str], codes: tuple[str, ...] = PERMANENT
) -> str | None:
    """What is wrong with the actions, None if they lead to TLS. An authentication before the redirect is harmless."""
    if not actions:
        return "none"
    action = actions[-1]
    if action["Type"] != "redirect":
        return str(action["Type"])
    redirect = action["RedirectConfig"]
    target = str(redirect.get("Port", "#{port}")).replace("#{port}", str(port))
    if redirect.get("Protocol", "#{protocol}") != "HTTPS":
        return "redirect that stays on HTTP"
    if redirect.get("StatusCode") not in codes:
        return f"temporary redirect ({redirect.get('StatusCode')})"
    return None if target in secure_ports else f"redirect to port {target}, where no TLS listener is"


def _fault_of(rule: Row, listener: Row, secure_ports: set[str]) -> str | None:
    """What is wrong with a rule's actions; the default rule is the listener's default action."""
    if rule.get("IsDefault") or _is_acme(rule):
        return None
    fault = _fault(rule["Actions"], listener["Port"], secure_ports, (*PERMANENT, "HTTP_302"))
    return None if fault == "fixed-response" else fault


def _facts(view: View, balancer: Row, listener: Row, secure_ports: set[str]) -> dict[str, str]:
    """What a redirect must know: where TLS is spoken, and which rules answer in clear text beside the default."""
    clear = [rule for rule in seen(view.rows(RULES, listener)) if _fault_of(rule, listener, secure_ports) is not None]
    facts = {
        "listenerArn": listener["ListenerArn"],
        "loadBalancerArn": balancer["LoadBalancerArn"],
        "securePort": "443" if "443" in secure_ports else min(secure_ports, default=""),
        "clearRuleArns": ",".join(str(rule["RuleArn"]) for rule in clear if rule.get("RuleArn")),
    }
    return {name: value for name, value in facts.items() if value}


def _is_acme(rule: Row) -> bool:
    paths = [
        path
        for condition in rule.get("Conditions") or []
        if condition.get("Field") == "path-pattern"
        for path in (condition.get("PathPatternConfig") or {}).get("Values") or condition.get("Values") or []
    ]
    return bool(paths) and all(path == ACME_PATH for path in paths)


def _distribution(distribution: Row) -> Finding:
    behaviours = {"the default behaviour": distribution["DefaultCacheBehavior"]["ViewerProtocolPolicy"]}
    for behaviour in distribution.get("CacheBehaviors") or []:
        behaviours[behaviour["PathPattern"]] = behaviour["ViewerProtocolPolicy"]
    clear = {name: policy for name, policy in behaviours.items() if policy == "allow-all"}
    name = f"distribution {distribution['Id']}"
    if clear:
        return failed(
            distribution.origin,
            distribution["ARN"],
            f"The {name} serves {', '.join(clear)} in clear text",
            observed="viewer protocol policy: allow-all",
            expected=EXPECTED_AT_EDGE,
            facts={"distributionId": distribution["Id"]},
        )
    return passed(
        distribution.origin,
        distribution["ARN"],
        f"The {name} serves HTTPS only",
        observed=f"viewer protocol policy: {', '.join(sorted(set(behaviours.values())))}",
        expected=EXPECTED_AT_EDGE,
    )
