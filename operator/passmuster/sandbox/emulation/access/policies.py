"""Evaluates IAM policy documents: identity policies, trust policies, bucket policies.

iam.py asks for a principal's own policies, sts.py for trust, services/ for what a bucket lets a service do. Actions,
resources, principals and the usual condition operators are judged as IAM does. A condition on a key that the sandbox
cannot know (a resource's tags, the network) counts as met in an Allow and as not met in a Deny: the sandbox then says
less than IAM, never more than the document.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a policy. `resource` "" means that it could not be derived and any resource will do.

    `principals` are the names by which the caller may be meant (ARNs, the account, a service); empty for identity
    policies. `context` holds the condition keys that are known, in lower case.
    """

    action: str
    resource: str = ""
    principals: Sequence[str] = ()
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)


@lru_cache(maxsize=512)
def parsed(text: str) -> Document:
    document: Document = json.loads(text)
    return document


def allows(documents: Iterable[Document | str], question: Question) -> bool:
    """Whether an Allow matches and no Deny does."""
    allowed = False
    for document in documents:
        for statement in _several(_document(document).get("Statement", ())):
            effect = statement.get("Effect")
            if not _concerns(statement, question, lenient=effect == "Allow"):
                continue
            if effect == "Deny":
                return False
            allowed = True
    return allowed


def _document(document: Document | str) -> Document:
    return parsed(document) if isinstance(document, str) else document


def _concerns(statement: Mapping[str, Any], question: Question, *, lenient: bool) -> bool:
    return (
        _action_matches(statement, question.action)
        and _resource_matches(statement, question.resource, lenient=lenient)
        and _principal_matches(statement, question.principals)
        and conditions_met(statement.get("Condition", {}), question.context, lenient=lenient)
    )


def _action_matches(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not _any_like(statement["NotAction"], action.lower(), fold=True)
    return _any_like(statement.get("Action", ()), action.lower(), fold=True)


def _resource_matches(statement: Mapping[str, Any], resource: str, *, lenient: bool) -> bool:
    if "Resource" not in statement and "NotResource" not in statement:
        return True  # a trust policy
    if not resource:
        return lenient or "*" in _several(statement.get("Resource", ()))
    if "NotResource" in statement:
        return not _any_like(statement["NotResource"], resource)
    return _any_like(statement["Resource"], resource)


def _principal_matches(statement: Mapping[str, Any], principals: Sequence[str]) -> bool:
    stated = statement.get("Principal")
    if stated is None or stated == "*":
        return True
    named = [name for names in stated.values() for name in _several(names)]
    return any(_any_like(named, principal) for principal in principals)


def conditions_met(
    conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, Sequence[str]], *, lenient: bool
) -> bool:
    """Whether every condition holds; keys that cannot be known count as `lenient` says."""
    return all(
        _condition_met(operator, key.lower(), [str(value) for value in _several(values)], context, lenient=lenient)
        for operator, tests in conditions.items()
        for key, values in tests.items()
    )


def _condition_met(
    operator: str, key: str, wanted: list[str], context: Mapping[str, Sequence[str]], *, lenient: bool
) -> bool:
    quantifier, _, name = operator.rpartition(":")
    optional, name = name.endswith("IfExists"), name.removesuffix("IfExists")
    if name == "Null":
        return (key not in context) == (wanted[0].lower() == "true")
    if key not in context:
        return optional or _negated(name) or (lenient and _unknowable(key))
    compare = _OPERATORS.get(name.replace("Not", ""))
    if compare is None:
        return lenient
    each = [any(compare(want, have) for want in wanted) != _negated(name) for have in context[key]]
    return all(each) if quantifier == "ForAllValues" or _negated(name) else any(each)


def _negated(operator: str) -> bool:
    return "Not" in operator


def _unknowable(key: str) -> bool:
    return key.startswith(("aws:resourcetag/", "aws:source", "aws:via", "aws:calledvia", "aws:secure", "aws:multi"))


def _like(pattern: str, value: str) -> bool:
    return fnmatchcase(value, re.sub(r"\[", "[[]", pattern))


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda want, have: want == have,
    "StringEqualsIgnoreCase": lambda want, have: want.lower() == have.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda want, have: want.lower() == have.lower(),
    "NumericEquals": lambda want, have: float(want) == float(have),
    "NumericLessThanEquals": lambda want, have: float(have) <= float(want),
    "NumericGreaterThanEquals": lambda want, have: float(have) >= float(want),
}


def _any_like(patterns: Any, value: str, *, fold: bool = False) -> bool:
    return any(_like(pattern.lower() if fold else pattern, value) for pattern in _several(patterns))


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
