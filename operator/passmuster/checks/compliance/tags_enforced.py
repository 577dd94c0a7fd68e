"""Resources without the agreed tags cannot come into being, or are put right by themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.operations.config import RULES, TAG_REMEDIATIONS
from passmuster.inventory.operations.organizations import (
    EFFECTIVE_TAG_POLICY,
    ORGANIZATION,
    POLICY_CONTENT,
    POLICY_TARGETS,
    RESOURCE_CONTROL_POLICIES,
    SERVICE_CONTROL_POLICIES,
    TAG_POLICIES,
    is_member,
)
from passmuster.inventory.policy_documents import listed, statements
from passmuster.inventory.snapshot import Row, View, all_of, first_found, first_of
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

HOOKS = Call(
    "cloudformation",
    "ListTypes",
    args={"Type": "HOOK", "Visibility": "PRIVATE"},
    items="TypeSummaries",
    keep=("TypeName", "TypeArn"),
    freshness=RARELY,
)
"""The account's own hooks and those of others that it has activated."""

ABOUT_TAGS = re.compile(r"Tag|TAG|::tags?\b")
RUNNING = ("ACTIVE", "EVALUATING", None)
CREATES = {"ec2:instance": "ec2:runinstances", "rds:db": "rds:createdbinstance", "rds:cluster": "rds:createdbcluster"}
"""The actions that make a resource, where they are not called Create and its name."""

EXPECTED = (
    "a tag policy that is enforced, an organization policy that denies creation without tags, a required-tags rule "
    "that repairs by itself, or a CloudFormation hook about tags"
)

Way = tuple[Row, str]


@check(
    title="Tags are enforced",
    category=Category.COMPLIANCE,
    phase=Phase.HARDENED,
    severity=Severity.LOW,
    fix="A",
    per="account",
    calls=(
        ORGANIZATION,
        EFFECTIVE_TAG_POLICY,
        *POLICY_CONTENT.values(),
        *POLICY_TARGETS.values(),
        RULES,
        TAG_REMEDIATIONS,
        HOOKS,
    ),
    payer_calls=(*POLICY_CONTENT.values(), *POLICY_TARGETS.values()),
    parameters=(
        Parameter(
            "enforcedFor",
            Kind.STRINGS,
            ["ec2:instance", "rds:db"],
            Stricter.MORE,
            "The resource types that tags are enforced for, as tag policies name them.",
            max_length=128,
        ),
    ),
    controls=Controls(
        config=("REQUIRED_TAGS",),
        well_architected=("COST02", "OPS05"),
    ),
)
def tags_enforced(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """Tags that are only asked for are forgotten; what is enforced once need not be counted for ever.

    Any alternative suffices. Two belong to the organization: a tag policy that is enforced for every type asked for,
    seen as the account's effective one or attached anywhere, and a service or resource control policy, attached
    anywhere, that denies the creation of every such type without a tag. Two belong to the account and must hold in
    every governed region: a required-tags rule of AWS Config that repairs automatically, and a CloudFormation hook
    whose name speaks of tags. A member cannot read its organization's policies: they are read in the account that
    pays its bill, if the member names one, and without an alternative of its own it is not judged otherwise.
    """
    ways = _Ways(view, parameters["enforcedFor"])
    account = view.account_id
    found = first_found(*ways.alternatives())
    if found is not None:
        row, name = found
        yield passed(row.origin, account, f"Tags are enforced by {name}", observed=name, expected=EXPECTED)
    elif is_member(view) and view.payer is None:
        message = (
            "Nothing in this member account enforces tags; name the account that manages its organization with "
            "payerAccountRef, so that the organization's policies are read there"
        )
        yield not_applicable(view.origin(ORGANIZATION), account, message, Reason.JUDGED_IN_PAYER_ACCOUNT)
    else:
        types = ", ".join(parameters["enforcedFor"])
        message = f"Nothing enforces tags on {types}" if types else "Nothing enforces tags"
        facts = {
            "organization": "managed" if view.row(ORGANIZATION) is not None else "none",
            "regions": "one" if len(view.regions) == 1 else "several",
        }
        yield failed(view.origin(RULES), account, message, observed="not enforced", expected=EXPECTED, facts=facts)


class _Ways:
    """The alternatives: the row that tells of one that holds, and its name."""

    def __init__(self, view: View, types: list[str]) -> None:
        self._view = view
        self._types = types

    def alternatives(self) -> Iterator[Callable[[], Way | None]]:
        yield self.effective
        yield partial(self._in_every_region, self._rule, "a required-tags rule that repairs by itself")
        yield partial(self._in_every_region, self._hook, "a CloudFormation hook about tags")
        for kind, enforces in (
            (TAG_POLICIES, _is_enforced),
            (SERVICE_CONTROL_POLICIES, _denies_untagged),
            (RESOURCE_CONTROL_POLICIES, _denies_untagged),
        ):
            yield partial(self._attached, kind, enforces)

    def effective(self) -> Way | None:
        row = self._view.row(EFFECTIVE_TAG_POLICY)
        return (row, "the effective tag policy") if row is not None and _is_enforced(row, self._types) else None

    def _attached(self, kind: Call, enforces: Callable[[Row, list[str]], bool]) -> Way | None:
        """Such a policy that the organization has attached; a member cannot know, its payer can."""
        view = self._view.payer if is_member(self._view) else self._view
        if view is None:
            return None
        policy = first_of(
            view.rows(kind),
            lambda policy: all_of(
                lambda: any(enforces(row, self._types) for row in view.rows(POLICY_CONTENT[kind], policy)),
                lambda: any(True for _ in view.rows(POLICY_TARGETS[kind], policy)),
            ),
        )
        return None if policy is None else (policy, f"the organization's policy {policy['Name']}")

    def _in_every_region(self, question: Callable[[str], Row | None], name: str) -> Way | None:
        found: list[Row] = []

        def holds(region: str) -> bool:
            row = question(region)
            if row is not None:
                found.append(row)
            return row is not None

        return (found[0], name) if all_of(*(partial(holds, region) for region in self._view.regions)) else None

    def _rule(self, region: str) -> Row | None:
        rules = (row for row in self._view.rows(RULES) if row.region == region)
        required = (row for row in rules if row.get("Identifier") == "REQUIRED_TAGS")
        running = (row for row in required if row.get("ConfigRuleState") in RUNNING)
        return first_of(
            running, lambda rule: any(one.get("Automatic") for one in self._view.rows(TAG_REMEDIATIONS, rule))
        )

    def _hook(self, region: str) -> Row | None:
        hooks = (row for row in self._view.rows(HOOKS) if row.region == region)
        return next((row for row in hooks if ABOUT_TAGS.search(str(row.get("TypeName")))), None)


def _is_enforced(policy: Row, types: list[str]) -> bool:
    """Whether the tag policy is enforced for every type; in an effective policy the operators are resolved already."""
    tags = json.loads(policy.get("Content") or "{}").get("tags") or {}
    enforced = {one.lower() for tag in tags.values() for one in _values(tag.get("enforced_for"))}
    return bool(enforced) and all(any(_names(one, wanted.lower()) for one in enforced) for wanted in types)


def _values(found: Any) -> list[str]:
    """The values of a member of a tag policy, with or without the operators of inheritance."""
    if isinstance(found, Mapping):
        return [value for operator in ("@@assign", "@@append") for value in _values(found.get(operator))]
    return [found] if isinstance(found, str) else list(found or [])


def _names(enforced: str, wanted: str) -> bool:
    service, _, resource = enforced.partition(":")
    return enforced == wanted or (resource in ("*", "all_supported") and wanted.partition(":")[0] == service)


def _denies_untagged(policy: Row, types: list[str]) -> bool:
    found = (one for one in statements(json.loads(policy.get("Content") or "{}")) if _is_about_tags(one))
    denied = [action.lower() for one in found for action in listed(one.get("Action")) if action]
    return bool(denied) and all(any(fnmatchcase(_creation(one), action) for action in denied) for one in types)


def _is_about_tags(statement: Mapping[str, Any]) -> bool:
    """Whether the statement denies what is asked for without a tag, or with another value than those allowed."""
    conditions = statement.get("Condition") or {}
    return statement.get("Effect") == "Deny" and any(
        _is_tag(key) and _is_negative(operator.lower(), value)
        for operator, keys in conditions.items()
        for key, value in keys.items()
    )


def _is_tag(key: str) -> bool:
    return key.lower().startswith("aws:requesttag/") or key.lower() == "aws:tagkeys"


def _is_negative(operator: str, value: Any) -> bool:
    """Whether the condition holds where the tag is missing: `Null`, or an operator with Not but without IfExists."""
    if operator.endswith("null"):
        return [str(one).lower() for one in _values(str(value) if isinstance(value, bool) else value)] == ["true"]
    return "not" in operator and not operator.endswith("ifexists")


def _creation(kind: str) -> str:
    """The action that makes a resource of the type, in lower case."""
    service, _, resource = kind.lower().partition(":")
    return CREATES.get(kind.lower(), f"{service}:create{resource.replace('-', '')}")
