"""Nobody has more access than they need: root is locked away, no policy allows everything, no key is old."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.index import by_region
from passmuster.inventory.operations.accessanalyzer import ANALYZERS
from passmuster.inventory.policy_documents import decoded, listed, statements
from passmuster.inventory.snapshot import Row, View, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

_STATEMENTS = "type(@) == 'string' && @ || [Statement][].{Effect: Effect, Action: Action, Resource: Resource}"


def _documents(path: str) -> str:
    """Of each policy document what it allows; no condition is kept. One that is still encoded stays as it is."""
    return f"map(&({_STATEMENTS}), {path} || `[]`)"


def _details(items: str, keep: str) -> Call:
    """One part of the answer to the one request for all identities and their policies."""
    kinds = ["User", "Role", "Group", "LocalManagedPolicy"]
    return Call(
        "iam", "GetAccountAuthorizationDetails", args={"Filter": kinds, "MaxItems": 1000}, items=items, keep=keep
    )


SUMMARY = Call(
    "iam",
    "GetAccountSummary",
    keep="(SummaryMap || `{}`).{mfa: AccountMFAEnabled, keys: AccountAccessKeysPresent, "
    "password: AccountPasswordPresent}",
)
USERS = _details(
    "UserDetailList",
    "{Arn: Arn, Name: UserName, UserName: UserName, Policies: UserPolicyList[].PolicyName, "
    f"Documents: {_documents('UserPolicyList[].PolicyDocument')}}}",
)
GROUPS = _details(
    "GroupDetailList[?GroupPolicyList]",
    "{Arn: Arn, Name: GroupName, Policies: GroupPolicyList[].PolicyName, "
    f"Documents: {_documents('GroupPolicyList[].PolicyDocument')}}}",
)
ROLES = _details(
    "RoleDetailList[?RolePolicyList]",
    "{Arn: Arn, Name: RoleName, Policies: RolePolicyList[].PolicyName, "
    f"Documents: {_documents('RolePolicyList[].PolicyDocument')}}}",
)
POLICIES = _details(
    "Policies[?!contains(Arn, ':iam::aws:')]",
    "{Arn: Arn, Name: PolicyName, Attached: AttachmentCount, Bounds: PermissionsBoundaryUsageCount, "
    f"Documents: {_documents('PolicyVersionList[?IsDefaultVersion].Document')}}}",
)
KEYS = Call(
    "iam",
    "ListAccessKeys",
    each=USERS,
    over="UserName",
    param="UserName",
    items="AccessKeyMetadata",
    keep=("Status", "CreateDate"),
    absent=("NoSuchEntity", "NoSuchEntityException"),
)
ROOT_EXPECTED = "a second factor and no access key, or no credentials at all"
ANALYZER_EXPECTED = "an active analyzer of access from outside"
NO_ADMIN = "no inline policy that allows everything"


@check(
    title="Access is least privilege",
    category=Category.SECURITY,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="PA",
    per="account",
    calls=(SUMMARY, POLICIES, USERS, GROUPS, ROLES, KEYS, ANALYZERS),
    parameters=(
        Parameter(
            "maxKeyAgeDays",
            Kind.INTEGER,
            90,
            Stricter.LOWER,
            "How many days old an active access key of a user may be, at most.",
            minimum=1,
            maximum=365,
        ),
    ),
    controls=Controls(
        config=("IAM_POLICY_NO_STATEMENTS_WITH_ADMIN_ACCESS",),
        security_hub=("IAM.1", "IAM.21"),
        well_architected=("SEC02", "SEC03-BP02"),
    ),
)
def iam_least_privilege(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Whoever takes over an identity can do what that identity may do, so none may do everything.

    Root needs a second factor and no access key; without any credentials, as under central root management, it passes.
    Whether root has a password is not always told: then it is Unknown. A policy of the account, managed or inline,
    fails if a statement of its version in force allows every action on every resource, on whatever condition; AWS's own
    policies are not judged, nor is a policy that only serves as a boundary, because it grants nothing. A user's active
    key fails by its age. Every governed region needs an active analyzer of access from outside, because one sees its
    own region only; that of an organization shows in the account that owns it.
    """
    with view.judging(_root(view)):
        for summary in view.rows(SUMMARY):
            yield _root_account(view, summary)
    with view.judging(view.account_id):
        for policy in view.rows(POLICIES):
            if policy.get("Attached") != 0 or not policy.get("Bounds"):
                yield _policy(policy)
        for kind, call in {"group": GROUPS, "role": ROLES}.items():
            for identity in view.rows(call):
                yield _identity(identity, kind, {NO_ADMIN: _has_no_admin(identity)})
        for user in view.rows(USERS):
            with view.judging(user["Arn"], user.region):
                yield _user(view, user, timedelta(days=parameters["maxKeyAgeDays"]), evidence.now)
    if not view.absent_everywhere(ANALYZERS, Reason.NOT_IN_PARTITION):
        analyzers = by_region(view.rows(ANALYZERS))
        for region in view.regions:
            with view.judging(view.account_id, region):
                yield _region(view, list(analyzers.rows(region, region)), region)


def _root(view: View) -> str:
    return f"arn:{view.partition}:iam::{view.account_id}:root"


def _root_account(view: View, summary: Row) -> Finding:
    factor, keys, password = summary.get("mfa"), summary.get("keys"), summary.get("password")
    told = {"second factor": factor, "access key": keys, "password": password}
    observed = ", ".join(f"{name}: {'not told' if value is None else bool(value)}" for name, value in told.items())
    origin, arn = summary.origin, _root(view)
    if keys:
        facts = {"kind": "root-key"}
        return failed(origin, arn, "Root has an access key", observed=observed, expected=ROOT_EXPECTED, facts=facts)
    if keys is not None and factor:
        message = "Root has a second factor and no access key"
        return passed(origin, arn, message, observed=observed, expected=ROOT_EXPECTED)
    if keys is None or factor is None or password is None:
        message = "AWS does not tell which credentials root has"
        return unknown(origin, arn, message, Reason.PARTIAL, observed=observed, expected=ROOT_EXPECTED)
    if password:
        facts, message = {"kind": "root-factor"}, "Root has no second factor"
        return failed(origin, arn, message, observed=observed, expected=ROOT_EXPECTED, facts=facts)
    return passed(origin, arn, "Root has no credentials", observed=observed, expected=ROOT_EXPECTED)


def _policy(policy: Row) -> Finding:
    name = f"policy {policy.get('Name') or policy['Arn'].rpartition('/')[2]}"
    expected = "no statement that allows every action on every resource"
    if any(map(_allows_everything, policy["Documents"])):
        message = f"The {name} allows everything"
        observed, facts = "Action * on Resource *", {"kind": "policy", "PolicyArn": policy["Arn"]}
        return failed(policy.origin, policy["Arn"], message, observed=observed, expected=expected, facts=facts)
    message = f"The {name} does not allow everything"
    return passed(policy.origin, policy["Arn"], message, observed="no such statement", expected=expected)


def _user(view: View, user: Row, maximum: timedelta, now: datetime) -> Finding:
    def has_no_old_key() -> bool:
        return all(key.get("Status") != "Active" or now - key["CreateDate"] <= maximum for key in view.rows(KEYS, user))

    young = f"no active key older than {maximum.days} days"
    return _identity(user, "user", {NO_ADMIN: _has_no_admin(user), young: has_no_old_key})


def _identity(identity: Row, kind: str, conditions: dict[str, Callable[[], bool]]) -> Finding:
    name, expected = f"{kind} {identity['Name']}", ", ".join(conditions)
    missing = unmet(conditions)
    if not missing:
        message = f"The {name} has {expected}"
        return passed(identity.origin, identity["Arn"], message, observed=expected, expected=expected)
    admins = [
        policy
        for policy, document in zip(identity.get("Policies") or [], identity["Documents"], strict=False)
        if _allows_everything(document)
    ]
    observed = [f"not: {phrase}" for phrase in missing] + [f"inline policy {policy}" for policy in admins]
    message = f"The {name} does not meet: {', '.join(missing)}"
    facts = {"kind": "inline-policy" if admins else "old-key", "Identity": kind, "Name": identity["Name"]}
    if admins:
        facts["Policies"] = ", ".join(admins)
    observed_text = ", ".join(observed)
    return failed(identity.origin, identity["Arn"], message, observed=observed_text, expected=expected, facts=facts)


def _has_no_admin(identity: Row) -> Callable[[], bool]:
    return lambda: not any(map(_allows_everything, identity["Documents"]))


def _allows_everything(document: Any) -> bool:
    """`document` is the statements as the call keeps them, or a document that is still encoded."""
    return any(
        statement.get("Effect") == "Allow"
        and any(re.fullmatch(r"\*+(:\*+)?", str(action)) for action in listed(statement.get("Action")))
        and any(re.fullmatch(r"\*+", str(resource)) for resource in listed(statement.get("Resource")))
        for statement in (statements(decoded(document)) if isinstance(document, str) else listed(document))
    )


def _region(view: View, analyzers: list[Row], region: str) -> Finding:
    outside = [row for row in analyzers if row.get("type", "ACCOUNT") in ("ACCOUNT", "ORGANIZATION")]
    origin = replace(view.origin(ANALYZERS), region=region)
    for analyzer in outside:
        if analyzer.get("status") == "ACTIVE":
            message = f"An analyzer watches access from outside in {region}"
            return passed(analyzer.origin, analyzer["arn"], message, observed="ACTIVE", expected=ANALYZER_EXPECTED)
    observed = ", ".join(str(row.get("status")) for row in outside) or "no analyzer"
    if any(row.get("status") == "CREATING" for row in outside):
        message = f"The analyzer in {region} is being created"
        return unknown(
            origin, view.account_id, message, Reason.IN_TRANSIT, observed=observed, expected=ANALYZER_EXPECTED
        )
    message = f"No active analyzer watches access from outside in {region}"
    return failed(
        origin,
        view.account_id,
        message,
        observed=observed,
        expected=ANALYZER_EXPECTED,
        facts={"missing": "analyzer", "analyzerRegion": region},
    )
