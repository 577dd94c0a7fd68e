"""A web ACL that stops something stands before every public endpoint of the web."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations import wafv2
from passmuster.inventory.operations.apigateway import (
    API_MAPPINGS,
    APIS,
    BASE_PATHS,
    DOMAIN_NAMES,
    REST_APIS,
    STAGES,
)
from passmuster.inventory.operations.appsync import GRAPHQL_APIS
from passmuster.inventory.operations.cloudfront import DISTRIBUTIONS
from passmuster.inventory.operations.cognito_idp import USER_POOL, USER_POOLS
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS
from passmuster.inventory.operations.endpoints import Endpoint, api_domains, fronts, other_apis, public_balancers, state
from passmuster.inventory.operations.wafv2 import OF_BALANCER, OF_GRAPHQL_API, OF_STAGE, OF_USER_POOL
from passmuster.inventory.snapshot import Row, View, all_of, any_of, first_of, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Parameters
from passmuster.model.verdict import Category, Phase, Reason, Severity

EXPECTED = "a web ACL with a rule that blocks or challenges"


@dataclass(frozen=True, slots=True)
class _Scope:
    """The calls about web ACLs of one scope."""

    name: str
    acl: Call
    managed: Call
    group: Call
    logging: Call


REGIONAL = _Scope(
    "REGIONAL",
    wafv2.REGIONAL_ACL,
    wafv2.REGIONAL_MANAGED_RULES,
    wafv2.REGIONAL_GROUP_RULES,
    wafv2.REGIONAL_LOGGING,
)
EDGE = _Scope("CLOUDFRONT", wafv2.EDGE_ACL, wafv2.EDGE_MANAGED_RULES, wafv2.EDGE_GROUP_RULES, wafv2.EDGE_LOGGING)


@check(
    title="A web ACL protects every public endpoint",
    category=Category.SECURITY,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="AI",
    per="account",
    calls=(
        LOAD_BALANCERS,
        OF_BALANCER,
        DISTRIBUTIONS,
        REST_APIS,
        OF_STAGE,
        APIS,
        DOMAIN_NAMES,
        BASE_PATHS,
        API_MAPPINGS,
        OF_GRAPHQL_API,
        OF_USER_POOL,
        *(call for scope in (REGIONAL, EDGE) for call in (scope.acl, scope.managed, scope.group, scope.logging)),
    ),
    nothing="There is no public load balancer, distribution, API or user pool that a web ACL could protect",
    controls=Controls(
        config=("ALB_WAF_ENABLED", "CLOUDFRONT_ASSOCIATED_WITH_WAF", "WAFV2_WEBACL_NOT_EMPTY"),
        security_hub=("ELB.16", "CloudFront.6", "WAF.10"),
        well_architected=("SEC05-BP03", "SEC06"),
    ),
)
def waf_enabled(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Without a web ACL every probe for a known hole reaches the application itself.

    Judged are internet-facing application load balancers, enabled distributions, stages of REST APIs, HTTP APIs,
    GraphQL APIs and user pools, private ones excepted. The web ACL must be of WAFv2 and must stop something: a rule
    that blocks or challenges, or a rule group that is not set to Count and of whose rules one still blocks or
    challenges after the overrides. Allowing by default is fine; blocking by default counts beside a rule that lets
    somebody in. WAF cannot be put before an HTTP API, so a distribution in front of it must have the web ACL. A web ACL
    that does not log its requests is a warning.
    """
    for subjects in (_balancers, _distributions, _stages, _http_apis, _graphql_apis, _user_pools):
        with view.judging(view.account_id):
            yield from subjects(view)


def _balancers(view: View) -> Iterator[Finding]:
    for balancer in public_balancers(view):
        arn, name = balancer["LoadBalancerArn"], f"load balancer {balancer['LoadBalancerName']}"
        if balancer["Type"] != "application":
            continue
        if state(balancer) == "provisioning":
            yield unknown(balancer.origin, arn, f"The {name} is being created", Reason.IN_TRANSIT, expected=EXPECTED)
            continue
        with view.judging(arn, balancer.region):
            yield _judged(view, balancer, arn, name, _associated(view, OF_BALANCER, balancer), REGIONAL)


def _distributions(view: View) -> Iterator[Finding]:
    for distribution in view.rows(DISTRIBUTIONS):
        if distribution.get("Enabled"):
            arn, acl = distribution["ARN"], distribution.get("WebACLId") or None
            with view.judging(arn, distribution.region):
                yield _judged(view, distribution, arn, f"distribution {distribution['Id']}", acl, EDGE)


def _stages(view: View) -> Iterator[Finding]:
    for api in view.rows(REST_APIS):
        if "PRIVATE" in (api.get("types") or ()):
            continue
        arn = f"arn:{view.partition}:apigateway:{api.region}::/restapis/{api['id']}"
        with view.judging(arn, api.region):
            for stage in view.rows(STAGES, api):
                own = f"{arn}/stages/{stage['stageName']}"
                with view.judging(own, api.region):
                    name = f"stage {stage['stageName']} of the API {api.get('name')}"
                    acl = _named(stage.get("webAclArn")) or _associated(view, OF_STAGE, stage)
                    yield _judged(view, stage, own, name, acl, REGIONAL)


def _http_apis(view: View) -> Iterator[Finding]:
    for api in other_apis(view):
        if api.row.get("ProtocolType") == "HTTP":
            with view.judging(api.arn, api.row.region):
                yield _http_api(view, api)


def _http_api(view: View, api: Endpoint) -> Finding:
    def protects(distribution: Row) -> bool:
        acl = _found(view, EDGE, distribution.get("WebACLId"))
        return acl is not None and _stops(view, EDGE, acl)

    def by_host() -> bool:
        return first_of(fronts(view, [api.host]), protects) is not None

    def by_domain() -> bool:
        names = [domain["domainName"] for domain in api_domains(view, str(api.row["ApiId"]))]
        return bool(names) and first_of(fronts(view, names), protects) is not None

    def some() -> bool:
        return any(one.get("Enabled") and one.get("WebACLId") for one in view.rows(DISTRIBUTIONS))

    if all_of(some, lambda: any_of(by_host, by_domain)):
        message = f"A distribution with a web ACL stands before the {api.name}"
        return passed(api.row.origin, api.arn, message, observed="web ACL of a distribution", expected=EXPECTED)
    message = f"No distribution with a web ACL stands before the {api.name}, and WAF cannot protect HTTP APIs directly"
    facts = {"resourceArn": api.arn, "missing": "distribution"}
    return failed(api.row.origin, api.arn, message, observed="no web ACL", expected=EXPECTED, facts=facts)


def _graphql_apis(view: View) -> Iterator[Finding]:
    for api in view.rows(GRAPHQL_APIS):
        if api.get("visibility") != "PRIVATE":
            with view.judging(api["arn"], api.region):
                acl = _named(api.get("wafWebAclArn")) or _associated(view, OF_GRAPHQL_API, api)
                yield _judged(view, api, api["arn"], f"GraphQL API {api.get('name')}", acl, REGIONAL)


def _user_pools(view: View) -> Iterator[Finding]:
    for listed in view.rows(USER_POOLS):
        arn = f"arn:{view.partition}:cognito-idp:{listed.region}:{view.account_id}:userpool/{listed['Id']}"
        with view.judging(arn, listed.region):
            for pool in view.rows(USER_POOL, listed):
                acl = _associated(view, OF_USER_POOL, pool)
                yield _judged(view, pool, arn, f"user pool {listed.get('Name')}", acl, REGIONAL)


def _named(acl: str | None) -> str | None:
    """A web ACL of WAFv2 that the resource names itself."""
    return acl if acl and ":wafv2:" in acl else None


def _associated(view: View, call: Call, of: Row) -> str | None:
    row = view.row(call, of)
    return str(row["ARN"]) if row is not None else None


def _found(view: View, scope: _Scope, arn: str | None) -> Row | None:
    return next((acl for acl in view.rows(scope.acl) if acl["ARN"] == arn), None) if arn else None


def _judged(view: View, row: Row, arn: str, name: str, acl_arn: str | None, scope: _Scope) -> Finding:
    facts = {"resourceArn": arn, "scope": scope.name}
    if acl_arn is None or not acl_arn.startswith("arn:"):
        return failed(
            row.origin,
            arn,
            f"No web ACL protects the {name}" if acl_arn is None else f"Only WAF Classic protects the {name}",
            observed="no web ACL" if acl_arn is None else f"WAF Classic {acl_arn}",
            expected=EXPECTED,
            facts={**facts, "missing": "web-acl"},
        )
    acl = _found(view, scope, acl_arn)
    if acl is None:
        message = f"The web ACL of the {name} is not among those that were listed; it is read again"
        return unknown(row.origin, arn, message, Reason.PARTIAL, observed=acl_arn, expected=EXPECTED)
    if not _stops(view, scope, acl):
        rules = len(acl.get("Rules") or ())
        return failed(
            acl.origin,
            arn,
            f"The web ACL {acl['Name']} of the {name} stops nothing",
            observed=f"web ACL {acl['Name']}: {rules or 'no'} rules, none of which blocks",
            expected=EXPECTED,
            facts={**facts, "missing": "rule", "webAclArn": acl_arn},
        )
    message = f"The web ACL {acl['Name']} protects the {name}"
    observed = f"web ACL {acl['Name']}"
    warnings = _warnings(view, scope, acl)
    return passed(acl.origin, arn, message, observed=observed, expected=EXPECTED, warnings=warnings)


def _warnings(view: View, scope: _Scope, acl: Row) -> tuple[str, ...]:
    """That nothing is logged, where that was seen; what could not be read warns of nothing."""
    asked: dict[str, Callable[[], bool]] = {
        "logged": lambda: any(True for _ in view.rows(scope.logging, acl)),
        "decided": lambda: False,
    }
    return (f"the web ACL {acl['Name']} does not log requests",) if "logged" in unmet(asked) else ()


def _stops(view: View, scope: _Scope, acl: Row) -> bool:
    """Whether some rule blocks or challenges, or everybody is blocked whom no rule lets in."""
    rules = acl.get("Rules") or ()
    if acl.get("BlocksByDefault") and any(rule["Allows"] for rule in rules):
        return True
    return first_of(rules, partial(_rule_stops, view, scope, acl)) is not None


def _rule_stops(view: View, scope: _Scope, acl: Row, rule: dict[str, Any]) -> bool:
    if rule["Counts"]:
        return False
    if rule.get("Managed"):
        managed = rule["Managed"]
        members = (row for row in view.rows(scope.managed, acl) if _is_of(row, managed))
        return _group_stops(managed, members, known=True)
    if rule.get("Group"):
        members = (row for row in view.rows(scope.group, acl) if row.asked("ARN") == rule["Group"]["ARN"])
        return _group_stops(rule["Group"], members, known=False)
    return bool(rule["Stops"])


def _is_of(row: Row, managed: Mapping[str, Any]) -> bool:
    asked = (row.asked("VendorName"), row.asked("Name"), row.asked("VersionName"))
    return asked == (managed.get("VendorName"), managed.get("Name"), managed.get("Version"))


def _group_stops(group: Mapping[str, Any], members: Iterator[Row], *, known: bool) -> bool:
    """Whether a rule of the group stops requests after the overrides; a managed group without any is known to."""
    overrides = wafv2.overrides_of(group)
    if any(overrides.values()) or (known and not overrides):
        return True
    return any(member.get("Stops") and member.get("Name") not in overrides for member in members)
