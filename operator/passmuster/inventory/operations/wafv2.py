"""Web ACLs, what their rules do to a request, and whether requests are logged.

Of a rule only what it does is kept: a statement may hold the very value that tells a friend from a stranger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from passmuster.inventory.call import Call, Where
from passmuster.inventory.operations.apigateway import STAGES
from passmuster.inventory.operations.appsync import GRAPHQL_APIS
from passmuster.inventory.operations.cognito_idp import USER_POOL
from passmuster.inventory.operations.elbv2 import LOAD_BALANCERS

_STOPS = "{0}.Block != `null` || {0}.Captcha != `null` || {0}.Challenge != `null`"
_OVERRIDES = (
    "Excluded: ExcludedRules[].Name, "
    f"Overrides: RuleActionOverrides[].{{Name: Name, Stops: {_STOPS.format('ActionToUse')}}}"
)
_RATE = (
    "Statement.RateBasedStatement.{Limit: Limit, EvaluationWindowSec: EvaluationWindowSec, "
    "AggregateKeyType: AggregateKeyType, CustomKeys: CustomKeys}"
)
_RULE = (
    f"{{Name: Name, Stops: {_STOPS.format('Action')}, Allows: Action.Allow != `null`, "
    "Counts: Action.Count != `null` || OverrideAction.Count != `null`, "
    "Managed: (Statement || FirewallManagerStatement).ManagedRuleGroupStatement."
    f"{{VendorName: VendorName, Name: Name, Version: Version, {_OVERRIDES}}}, "
    "Group: (Statement || FirewallManagerStatement).RuleGroupReferenceStatement."
    f"{{ARN: ARN, {_OVERRIDES}}}, "
    f"Rate: {_RATE}}}"
)
_ACL = (
    "WebACL.{Name: Name, Id: Id, ARN: ARN, BlocksByDefault: DefaultAction.Block != `null`, "
    "Rules: [PreProcessFirewallManagerRuleGroups, Rules, PostProcessFirewallManagerRuleGroups][]."
    f"{_RULE}}}"
)
_MEMBER = f"{{Name: Name, Stops: {_STOPS.format('Action')}}}"
_GONE = ("WAFNonexistentItemException",)


def _listed(scope: str, where: Where) -> Call:
    return Call(
        "wafv2",
        "ListWebACLs",
        args={"Scope": scope},
        items="WebACLs",
        keep=("Name", "Id", "ARN"),
        absent=("WAFInvalidParameterException",),
        where=where,
    )


def _read(listed: Call, scope: str) -> Call:
    return Call(
        "wafv2",
        "GetWebACL",
        each=listed,
        over="ARN",
        param={"Name": "row.Name", "Id": "row.Id"},
        args={"Scope": scope},
        keep=_ACL,
        absent=_GONE,
    )


def _managed(acl: Call, scope: str) -> Call:
    return Call(
        "wafv2",
        "DescribeManagedRuleGroup",
        each=acl,
        over="Rules[?Managed.Overrides || Managed.Excluded].Managed",
        param={"VendorName": "value.VendorName", "Name": "value.Name", "VersionName": "value.Version"},
        args={"Scope": scope},
        items="Rules",
        keep=_MEMBER,
    )


def _group(acl: Call) -> Call:
    return Call(
        "wafv2",
        "GetRuleGroup",
        each=acl,
        over="Rules[].Group.ARN",
        param="ARN",
        items="RuleGroup.Rules",
        keep=f"{{Name: Name, Stops: {_STOPS.format('Action')}, Rate: {_RATE}}}",
        absent=_GONE,
    )


def _logging(acl: Call) -> Call:
    return Call(
        "wafv2",
        "GetLoggingConfiguration",
        each=acl,
        over="ARN",
        param="ResourceArn",
        items="[LoggingConfiguration][?@ != `null`]",
        keep=("ResourceArn", "LogDestinationConfigs", "ManagedByFirewallManager"),
        absent=_GONE,
    )


def overrides_of(group: Mapping[str, Any]) -> dict[str, bool]:
    """What an ACL makes of rules of a group that it refers to: whether each still stops requests, by its name."""
    overrides = {one["Name"]: bool(one["Stops"]) for one in group.get("Overrides") or ()}
    return overrides | dict.fromkeys(group.get("Excluded") or (), False)


REGIONAL_ACLS = _listed("REGIONAL", Where.REGIONAL)
EDGE_ACLS = _listed("CLOUDFRONT", Where.CONTROL)
"""Those of distributions live in the control region; a partition without them says that the scope is invalid."""

REGIONAL_ACL = _read(REGIONAL_ACLS, "REGIONAL")
EDGE_ACL = _read(EDGE_ACLS, "CLOUDFRONT")
"""Rules of Firewall Manager, before and after the account's own, are among `Rules`."""

REGIONAL_MANAGED_RULES = _managed(REGIONAL_ACL, "REGIONAL")
EDGE_MANAGED_RULES = _managed(EDGE_ACL, "CLOUDFRONT")
"""The rules of managed groups, asked only where an ACL overrides some of them."""

REGIONAL_GROUP_RULES = _group(REGIONAL_ACL)
EDGE_GROUP_RULES = _group(EDGE_ACL)
REGIONAL_LOGGING = _logging(REGIONAL_ACL)
EDGE_LOGGING = _logging(EDGE_ACL)


def _association(each: Call, over: str, param: str | Mapping[str, str], *actions: str) -> Call:
    return Call(
        "wafv2",
        "GetWebACLForResource",
        each=each,
        over=over,
        param=param,
        items="[WebACL.ARN][?@ != `null`]",
        keep="{ARN: @}",
        absent=("WAFNonexistentItemException",),
        actions=("wafv2:GetWebACLForResource", "wafv2:GetWebACL", *actions),
    )


OF_BALANCER = _association(
    LOAD_BALANCERS, "[@][?Type=='application' && Scheme!='internal'].LoadBalancerArn", "ResourceArn"
)
OF_STAGE = _association(
    STAGES,
    "stageName",
    {
        "ResourceArn": "join('', ['arn:', partition, ':apigateway:', region, '::/restapis/', request.restApiId, "
        "'/stages/', value])"
    },
)
OF_GRAPHQL_API = _association(GRAPHQL_APIS, "arn", "ResourceArn", "appsync:GetWebACLForResource")
OF_USER_POOL = _association(USER_POOL, "Arn", "ResourceArn", "cognito-idp:GetWebACLForResource")
"""WAF asks for a permission of some of the services whose resource it is asked about."""
