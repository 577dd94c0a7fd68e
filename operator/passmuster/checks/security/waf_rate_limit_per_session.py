"""Every web ACL in use limits how many requests one session or one user may send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.apigateway import REST_APIS, STAGES
from passmuster.inventory.operations.appsync import GRAPHQL_APIS
from passmuster.inventory.operations.cloudfront import DISTRIBUTIONS
from passmuster.inventory.operations.wafv2 import (
    EDGE_ACL,
    EDGE_ACLS,
    EDGE_GROUP_RULES,
    OF_BALANCER,
    OF_GRAPHQL_API,
    OF_STAGE,
    OF_USER_POOL,
    REGIONAL_ACL,
    REGIONAL_ACLS,
    REGIONAL_GROUP_RULES,
    overrides_of,
)
from passmuster.inventory.snapshot import Row, View, any_of, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

WINDOW = 300
"""Seconds; what AWS counts over where a rule says nothing, and what limits are compared by."""

NAMED = {"Cookie": "cookie", "Header": "header", "QueryArgument": "query argument", "LabelNamespace": "label namespace"}
"""The kinds of custom keys that can stand for a session or a user."""

SCOPES: dict[str, tuple[Call, Call, Call]] = {
    "REGIONAL": (REGIONAL_ACLS, REGIONAL_ACL, REGIONAL_GROUP_RULES),
    "CLOUDFRONT": (EDGE_ACLS, EDGE_ACL, EDGE_GROUP_RULES),
}


@check(
    title="Web ACLs limit the rate per session",
    category=Category.SECURITY,
    phase=Phase.STABLE,
    severity=Severity.MEDIUM,
    fix="AI",
    per="account",
    calls=(
        OF_BALANCER,
        REST_APIS,
        STAGES,
        OF_STAGE,
        GRAPHQL_APIS,
        OF_GRAPHQL_API,
        OF_USER_POOL,
        DISTRIBUTIONS,
        *(call for scope in SCOPES.values() for call in scope),
    ),
    nothing="No public load balancer, distribution, API or user pool has a web ACL",
    parameters=(
        Parameter(
            "maxLimit",
            Kind.INTEGER,
            500,
            Stricter.LOWER,
            "The most requests that one session may send in 300 seconds.",
            minimum=1,
            maximum=2_000_000_000,
        ),
        Parameter(
            "keys",
            Kind.STRINGS,
            ["session_id", "Authorization"],
            Stricter.FEWER,
            "The names of cookies, headers, query arguments or label namespaces that stand for a session or a user.",
        ),
    ),
    controls=Controls(well_architected=("SEC05-BP03", "REL05-BP02")),
)
def waf_rate_limit_per_session(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Behind one address there may be an office, and one attacker has many addresses: counting by address hits neither.

    Judged is every web ACL that stands before a public load balancer, an enabled distribution, a stage of a REST API, a
    GraphQL API or a user pool, private ones excepted; what has no web ACL is another check's. It needs a rate-based
    rule, its own or of a rule group, that blocks or challenges and aggregates by custom keys of which one has a name of
    the policy's: a cookie's by its exact name, a header's or query argument's in any case. The limit is compared after
    scaling it to 300 seconds.
    """
    for name, (listed, call, group) in SCOPES.items():
        with view.judging(view.account_id):
            for one in view.rows(listed):
                with view.judging(one["ARN"], one.region):
                    if _is_in_use(view, one["ARN"]):
                        for acl in view.rows(call, one):
                            yield _judged(view, acl, group, parameters, {"scope": name})


def _is_in_use(view: View, arn: str) -> bool:
    """Whether the web ACL stands before something public."""
    return any_of(
        lambda: any(row["ARN"] == arn for row in view.rows(OF_BALANCER)),
        lambda: any(row.get("Enabled") and row.get("WebACLId") == arn for row in view.rows(DISTRIBUTIONS)),
        lambda: any(row["ARN"] == arn for api in view.rows(REST_APIS) for row in _of_stages(view, api)),
        lambda: any(row["ARN"] == arn for api in view.rows(GRAPHQL_APIS) for row in _of_graphql_api(view, api)),
        lambda: any(row["ARN"] == arn for row in view.rows(OF_USER_POOL)),
    )


def _of_stages(view: View, api: Row) -> Iterator[Row]:
    for stage in view.rows(STAGES, api) if "PRIVATE" not in (api.get("types") or ()) else ():
        yield from view.rows(OF_STAGE, stage)


def _of_graphql_api(view: View, api: Row) -> Iterator[Row]:
    yield from view.rows(OF_GRAPHQL_API, api) if api.get("visibility") != "PRIVATE" else ()


def _judged(view: View, acl: Row, group: Call, parameters: Parameters, facts: Mapping[str, str]) -> Finding:
    arn, name = acl["ARN"], f"web ACL {acl['Name']}"
    keys = " or ".join(parameters["keys"])
    expected = f"a rule that stops more than {parameters['maxLimit']} requests in {WINDOW} s by {keys}"
    fits = partial(_fits, parameters)
    rule = first_of(acl.get("Rules") or (), lambda rule: any(map(fits, _enforced(view, group, acl, rule))))
    if rule is not None:
        rate = next(filter(fits, _enforced(view, group, acl, rule)))
        message = f"The {name} limits the rate of every session"
        return passed(acl.origin, arn, message, observed=_shown(rate), expected=expected)
    every = [rate for rule in acl.get("Rules") or () for rate in _enforced(view, group, acl, rule)]
    facts = {**facts, "webAclArn": arn, "webAclName": str(acl["Name"]), "missing": "rate-limit"}
    facts |= {"webAclId": arn.rpartition("/")[2], "sessionKey": str(next(iter(parameters["keys"]), ""))}
    return failed(
        acl.origin,
        arn,
        f"The {name} does not limit the rate per session",
        observed="; ".join(map(_shown, every)) or "no rate-based rule that blocks or challenges",
        expected=expected,
        facts=facts,
    )


def _enforced(view: View, group: Call, acl: Row, rule: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rate-based statements that the rule, or the group it refers to, enforces."""
    if rule["Counts"]:
        return
    if rule.get("Rate") and rule["Stops"]:
        yield rule["Rate"]
    if rule.get("Group"):
        overrides = overrides_of(rule["Group"])
        for member in view.rows(group, acl):
            stops = overrides.get(member.get("Name") or "", member.get("Stops"))
            if member.asked("ARN") == rule["Group"]["ARN"] and member.get("Rate") and stops:
                yield member["Rate"]


def _fits(parameters: Parameters, rate: Mapping[str, Any]) -> bool:
    return _by_session(rate, parameters["keys"]) and _scaled(rate) <= parameters["maxLimit"]


def _by_session(rate: Mapping[str, Any], names: list[str]) -> bool:
    """Whether requests are counted by a key that has one of the names."""
    folded = {name.casefold() for name in names}
    return rate.get("AggregateKeyType") == "CUSTOM_KEYS" and any(
        name in names if kind == "Cookie" else name.casefold() in folded for kind, name in _keys(rate)
    )


def _keys(rate: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Kind and name of the custom keys that have a name."""
    for key in rate.get("CustomKeys") or ():
        for kind in NAMED:
            value = key.get(kind)
            if value:
                yield kind, str(value.get("Name") or value.get("Namespace") or "")


def _scaled(rate: Mapping[str, Any]) -> float:
    """The limit for 300 seconds."""
    return float(rate["Limit"]) * WINDOW / (rate.get("EvaluationWindowSec") or WINDOW)


def _shown(rate: Mapping[str, Any]) -> str:
    keys = ", ".join(f"{NAMED[kind]} {name}" for kind, name in _keys(rate)) or str(rate.get("AggregateKeyType"))
    return f"{rate['Limit']} in {rate.get('EvaluationWindowSec') or WINDOW} s by {keys}"
