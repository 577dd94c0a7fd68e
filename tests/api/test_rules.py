"""Every rule about a spec says the same, in the same words, on a real API server and without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from apiserver import ApiServer, account, attestation, policy, waiver
from passmuster.api import manifest
from passmuster.api.fields import Constraint
from passmuster.api.parameters import CheckFacts
from passmuster.api.schema import KINDS
from passmuster.model.errors import InvalidManifest
from passmuster.model.parameter import Parameter

ROLE = "arn:aws:iam::123456789012:role/passmuster-inspection"
FIXER = "arn:aws:iam::123456789012:role/passmuster-remediation"
STORE = {
    "bucket": "audit-evidence",
    "prefix": "readiness/shop",
    "region": "eu-central-1",
    "roleArn": "arn:aws:iam::210987654321:role/passmuster-evidence",
}


@dataclass(frozen=True)
class Case:
    """A spec, and where and why it is refused; without `at` it is accepted. `said` is part of both messages."""

    name: str
    make: Callable[..., dict[str, Any]]
    spec: dict[str, Any] = field(default_factory=dict)
    at: str = ""
    said: str = ""
    loader: str = ""
    """What the loader says where the server's own words are used for a plain shape."""


def of_policy(spec: dict[str, Any]) -> dict[str, Any]:
    return policy("default", "case", **spec)


def of_account(spec: dict[str, Any]) -> dict[str, Any]:
    return account("case", **spec)


def of_waiver(spec: dict[str, Any]) -> dict[str, Any]:
    return waiver("default", "case", **spec)


def of_attestation(spec: dict[str, Any]) -> dict[str, Any]:
    return attestation("default", "case", **spec)


SELECTOR = {"matchLabels": {"team": "shop"}}
WINDOW = {"schedule": "0 2 * * 1-5", "duration": "3h"}

CASES = [
    # which account
    Case("an account by name", of_policy, {}),
    Case("accounts by labels", of_policy, {"accountRef": None, "accountSelector": SELECTOR}),
    Case("all accounts", of_policy, {"accountRef": None, "accountSelector": {}}),
    Case("no account", of_policy, {"accountRef": None}, "spec", "give either accountRef or accountSelector"),
    Case(
        "a name and labels",
        of_policy,
        {"accountSelector": SELECTOR},
        "spec",
        "give either accountRef or accountSelector",
    ),
    Case(
        "labels with an expression",
        of_policy,
        {
            "accountRef": None,
            "accountSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
        },
    ),
    Case(
        "an expression without values",
        of_policy,
        {"accountRef": None, "accountSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "spec.accountSelector.matchExpressions[0].values",
        "In and NotIn need values, Exists and DoesNotExist take none",
    ),
    Case(
        "an expression with values too many",
        of_policy,
        {
            "accountRef": None,
            "accountSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
        },
        "spec.accountSelector.matchExpressions[0].values",
        "In and NotIn need values, Exists and DoesNotExist take none",
    ),
    # level, score, regions
    Case("a level that is none", of_policy, {"level": "Perfect"}, "spec.level", "Perfect"),
    Case(
        "no level", of_policy, {"level": None}, "spec.level", "equired", "it is required: Level the account must have"
    ),
    Case("a whole score", of_policy, {"minimumScore": 90}),
    Case("a broken score", of_policy, {"minimumScore": 99.5}),
    Case("a score beyond 100", of_policy, {"minimumScore": 101}, "spec.minimumScore", "", "101 is more than 100"),
    Case("regions", of_policy, {"regions": ["eu-central-1", "us-gov-west-1"]}),
    Case("a region twice", of_policy, {"regions": ["eu-central-1"] * 2}, "spec.regions[1]", "", "is there twice"),
    Case("no regions", of_policy, {"regions": []}, "spec.regions", "", "it has 0 entries, at least 1 are allowed"),
    Case("a region that is none", of_policy, {"regions": ["Frankfurt"]}, "spec.regions[0]", "", "is not an AWS region"),
    Case("a field that is none", of_policy, {"chekcs": {}}, "spec.chekcs", "", "did you mean checks?"),
    # interval
    Case("five minutes", of_policy, {"interval": "5m"}),
    Case("300 seconds", of_policy, {"interval": "300s"}),
    Case("an hour and a half", of_policy, {"interval": "1h30m"}),
    Case("a long interval", of_policy, {"interval": "999999h"}),
    Case("four minutes", of_policy, {"interval": "4m59s"}, "spec.interval", "interval must be at least 5m"),
    Case("a day", of_policy, {"interval": "1d"}, "spec.interval", "", "days and weeks are not Go durations, write 24h"),
    Case("a number", of_policy, {"interval": 60}, "spec.interval", "", "60 is not a duration"),
    Case("no time at all", of_policy, {"interval": ""}, "spec.interval", "", "'' is not a duration"),
    Case("a nonsense interval", of_policy, {"interval": "soon"}, "spec.interval", "", "'soon' is not a duration"),
    # checks
    Case("a check disabled", of_policy, {"checks": {"disabled": ["https-redirect"]}}),
    Case("a check asked for", of_policy, {"checks": {"optional": ["caching-layer"]}}),
    Case(
        "a check asked for and disabled",
        of_policy,
        {"checks": {"optional": ["caching-layer"], "disabled": ["https-redirect", "caching-layer"]}},
        "spec.checks",
        "a check cannot be both asked for and disabled: remove it from optional or from disabled",
    ),
    Case(
        "a check that is none",
        of_policy,
        {"checks": {"disabled": ["https-redirct"]}},
        "spec.checks.disabled[0]",
        "",
        "there is no check 'https-redirct'; did you mean https-redirect?",
    ),
    Case(
        "a check asked for that is judged anyway",
        of_policy,
        {"checks": {"optional": ["https-redirect"]}},
        "spec.checks.optional[0]",
        "",
        "https-redirect is judged anyway; checks to ask for: ",
    ),
    Case("a parameter", of_policy, {"checks": {"parameters": {"tls-certificates-valid": {"minDaysLeft": 14}}}}),
    Case(
        "a parameter of the wrong type",
        of_policy,
        {"checks": {"parameters": {"tls-certificates-valid": {"minDaysLeft": "14"}}}},
        "spec.checks.parameters.tls-certificates-valid.minDaysLeft",
        "",
        "'14' is not a whole number",
    ),
    Case(
        "a parameter out of bounds",
        of_policy,
        {"checks": {"parameters": {"security-groups-restricted": {"allowedPublicPorts": [443, 70000]}}}},
        "spec.checks.parameters.security-groups-restricted.allowedPublicPorts[1]",
        "",
        "70000 is more than 65535",
    ),
    Case(
        "a parameter that is none",
        of_policy,
        {"checks": {"parameters": {"tls-certificates-valid": {"minDays": 14}}}},
        "spec.checks.parameters.tls-certificates-valid.minDays",
        "",
        "there is no parameter 'minDays'; did you mean minDaysLeft?",
    ),
    # remediation
    Case("an input", of_policy, {"remediation": {"inputs": {"domain": "shop.example.com"}}}),
    Case(
        "an input that does not look like it",
        of_policy,
        {"remediation": {"inputs": {"domain": "https://shop.example.com"}}},
        "spec.remediation.inputs.domain",
        "should match",
        "'https://shop.example.com' does not look like what it is for: The public name of the workload, for example "
        "shop.example.com.",
    ),
    Case(
        "an input that is empty",
        of_policy,
        {"remediation": {"inputs": {"healthPath": ""}}},
        "spec.remediation.inputs.healthPath",
        "should match",
        "'' does not look like what it is for: The path that answers whether the workload is healthy, for example",
    ),
    Case(
        "an input below its least",
        of_policy,
        {"remediation": {"inputs": {"monthlyBudget": 0}}},
        "spec.remediation.inputs.monthlyBudget",
        "should be greater than or equal to 1",
        "0 is less than 1",
    ),
    Case(
        "an input that is none",
        of_policy,
        {"remediation": {"inputs": {"domian": "shop.example.com"}}},
        "spec.remediation.inputs.domian",
        "",
        "there is no input 'domian'; did you mean domain?",
    ),
    Case("mode Propose without a cap", of_policy, {"remediation": {"mode": "Propose"}}),
    Case("mode Apply with a cap", of_policy, {"remediation": {"mode": "Apply", "maxMonthlyCost": 60}}),
    Case("mode Apply with a cap of nothing", of_policy, {"remediation": {"mode": "Apply", "maxMonthlyCost": 0}}),
    Case(
        "mode Apply without a cap",
        of_policy,
        {"remediation": {"mode": "Apply"}},
        "spec.remediation.maxMonthlyCost",
        "mode Apply needs maxMonthlyCost, in dollars a month",
    ),
    Case(
        "a phase in mode Apply without a cap",
        of_policy,
        {"remediation": {"phases": [{"phase": "Stable", "mode": "Apply"}]}},
        "spec.remediation.maxMonthlyCost",
        "mode Apply needs maxMonthlyCost, in dollars a month",
    ),
    Case(
        "a phase twice",
        of_policy,
        {"remediation": {"phases": [{"phase": "Stable", "mode": "Observe"}, {"phase": "Stable", "mode": "Propose"}]}},
        "spec.remediation.phases[1]",
        "",
        "Stable is there twice",
    ),
    Case(
        "no stack at a time", of_policy, {"remediation": {"maxConcurrentStacks": 0}}, "spec.remediation.max", "", "0 is"
    ),
    Case("a window", of_policy, {"remediation": {"windows": [{**WINDOW, "timeZone": "Europe/Berlin"}]}}),
    *(
        Case(f"a window at {schedule}", of_policy, {"remediation": {"windows": [{**WINDOW, "schedule": schedule}]}})
        for schedule in ("*/15 0-6,22-23 * * *", "0  2 1,15 JAN-MAR MON-FRI", "5/10 2 31 12 7")
    ),
    *(
        Case(
            f"a window at {schedule}",
            of_policy,
            {"remediation": {"windows": [{**WINDOW, "schedule": schedule}]}},
            "spec.remediation.windows[0].schedule",
            "schedule has five fields, minute hour day month weekday, for example 0 2 * * 1-5",
        )
        for schedule in ("0 2 * *", "60 2 * * *", "0 24 * * *", "0 2 0 * *", "@daily", "0 2 * * 8", "*/0 2 * * *")
    ),
    Case(
        "a window that opens for seconds",
        of_policy,
        {"remediation": {"windows": [{**WINDOW, "duration": "59s"}]}},
        "spec.remediation.windows[0].duration",
        "a window is open for at least 1m",
    ),
    Case(
        "a window somewhere else",
        of_policy,
        {"remediation": {"windows": [{**WINDOW, "timeZone": "Europe/ Berlin"}]}},
        "spec.remediation.windows[0].timeZone",
        "",
        "is not a time zone, for example Europe/Berlin",
    ),
    Case(
        "a window in a zone that there is not",
        of_policy,
        {"remediation": {"windows": [{**WINDOW, "timeZone": "Europe/Berln"}]}},
        "spec.remediation.windows[0].timeZone",
        "there is no such time zone: use an IANA name such as Europe/Berlin",
    ),
    Case("recovery", of_policy, {"recovery": {"rto": "4h", "rpo": "0s", "secondaryRegion": "eu-west-1"}}),
    # scope
    Case("a scope", of_policy, {"scope": {"tags": [{"key": "Environment", "values": ["production"]}]}}),
    Case("a scope by a key alone", of_policy, {"scope": {"tags": [{"key": "Team"}]}}),
    Case(
        "a scope without tags",
        of_policy,
        {"scope": {"tags": []}},
        "spec.scope.tags",
        "",
        "it has 0 entries, at least 1",
    ),
    Case(
        "a scope with a tag twice",
        of_policy,
        {"scope": {"tags": [{"key": "Team"}, {"key": "Team", "values": ["shop"]}]}},
        "spec.scope.tags[1]",
        "",
        "Team is there twice",
    ),
    # waivers
    Case("a waiver", of_waiver, {}),
    Case("a waiver of resources of one account", of_waiver, {"resources": ["*:x"], "accountRef": {"name": "shop"}}),
    Case("a waiver in another time zone", of_waiver, {"expiresAt": "2027-03-31T02:00:00+02:00"}),
    Case("a waiver that ended long ago", of_waiver, {"expiresAt": "2020-01-01T00:00:00Z"}),
    Case("a waiver without an end", of_waiver, {"expiresAt": None}, "spec.expiresAt", "equired", "it is required"),
    Case("a waiver without a reason", of_waiver, {"reason": ""}, "spec.reason", "", "it has 0 characters"),
    Case(
        "a waiver until a day",
        of_waiver,
        {"expiresAt": "31 March"},
        "spec.expiresAt",
        "",
        "is not a moment with its time zone, for example '2027-03-31T00:00:00Z'",
    ),
    Case(
        "a waiver of a check that is none",
        of_waiver,
        {"check": "https-redirct"},
        "spec.check",
        "",
        "there is no check 'https-redirct'; did you mean https-redirect?",
    ),
    Case(
        "a waiver of a resource twice",
        of_waiver,
        {"resources": ["*:x", "*:x"]},
        "spec.resources[1]",
        "",
        "*:x is there twice",
    ),
    Case(
        "a waiver approved twice by one",
        of_waiver,
        {"approvals": [{"by": "admin"}, {"by": "admin"}]},
        "spec.approvals[1]",
        "",
        "admin is there twice",
    ),
    # attestations
    Case("an attestation", of_attestation, {}),
    Case("an attestation of a year", of_attestation, {"expiresAt": "2027-01-01T00:00:00Z"}),
    Case(
        "an attestation of a year and a day",
        of_attestation,
        {"expiresAt": "2027-01-02T00:00:00Z"},
        "spec.expiresAt",
        "an attestation of dr-runbooks lasts at most 365 days",
    ),
    Case(
        "an attestation of half a year and a day",
        of_attestation,
        {"check": "ci-cd-pipeline", "expiresAt": "2026-07-01T00:00:00Z"},
        "spec.expiresAt",
        "an attestation of ci-cd-pipeline lasts at most 180 days",
    ),
    Case(
        "an attestation that ends before it begins",
        of_attestation,
        {"expiresAt": "2025-12-31T00:00:00Z"},
        "spec.expiresAt",
        "an attestation expires after it is issued",
    ),
    Case(
        "an attestation of a check that takes none",
        of_attestation,
        {"check": "https-redirect"},
        "spec.check",
        "",
        "https-redirect takes no attestation; waive it, or attest one of ",
    ),
    Case(
        "an attestation of a check that is none",
        of_attestation,
        {"check": "dr-runbok"},
        "spec.check",
        "",
        "there is no check 'dr-runbok'; did you mean dr-runbooks?",
    ),
    Case(
        "an attestation with half a digest",
        of_attestation,
        {"evidence": {"uri": "https://wiki.example.com/dr", "sha256": "4c2b"}},
        "spec.evidence.sha256",
        "",
        "is not a SHA-256 digest",
    ),
    Case(
        "an attestation without evidence",
        of_attestation,
        {"evidence": None},
        "spec.evidence",
        "equired",
        "it is required",
    ),
    Case("an attestation by nobody", of_attestation, {"owner": None}, "spec.owner", "equired", "it is required"),
    # accounts
    Case("an account", of_account, {}),
    Case(
        "an account id as a number", of_account, {"accountId": 123456789012}, "spec.accountId", "", "put it in quotes"
    ),
    Case("eleven digits", of_account, {"accountId": "12345678901"}, "spec.accountId", "", "twelve digits, in quotes"),
    Case("two roles", of_account, {"roleArn": ROLE, "remediationRoleArn": FIXER, "externalId": "7c1f0a"}),
    Case(
        "a role in China",
        of_account,
        {"partition": "aws-cn", "roleArn": ROLE.replace("arn:aws:", "arn:aws-cn:"), "regions": ["cn-north-1"]},
    ),
    Case(
        "a role of another account",
        of_account,
        {"roleArn": ROLE.replace("9012", "9013")},
        "spec.roleArn",
        "roleArn must be a role of this account and partition",
    ),
    Case(
        "a remediation role of another partition",
        of_account,
        {"remediationRoleArn": FIXER.replace("arn:aws:", "arn:aws-us-gov:")},
        "spec.remediationRoleArn",
        "remediationRoleArn must be a role of this account and partition",
    ),
    Case(
        "one role for everything",
        of_account,
        {"roleArn": ROLE, "remediationRoleArn": ROLE},
        "spec.remediationRoleArn",
        "remediationRoleArn must differ from roleArn: the role of inspections only reads",
    ),
    Case(
        "a user for a role", of_account, {"roleArn": ROLE.replace("role/", "user/")}, "spec.roleArn", "", "not the ARN"
    ),
    Case(
        "regions of two partitions",
        of_account,
        {"regions": ["eu-central-1", "cn-north-1"]},
        "spec.regions",
        "every region must be one of the account's partition",
    ),
    Case("namespaces by name", of_account, {"allowedNamespaces": {"names": ["shop"]}}),
    Case("namespaces by labels", of_account, {"allowedNamespaces": {"selector": SELECTOR}}),
    Case("every namespace", of_account, {"allowedNamespaces": {"selector": {}}}),
    Case(
        "namespaces in no way",
        of_account,
        {"allowedNamespaces": {}},
        "spec.allowedNamespaces",
        "give either names or selector",
    ),
    Case(
        "namespaces in two ways",
        of_account,
        {"allowedNamespaces": {"names": ["shop"], "selector": SELECTOR}},
        "spec.allowedNamespaces",
        "give either names or selector",
    ),
    Case("modes", of_account, {"allowedModes": ["Observe", "Propose", "Apply"]}),
    Case(
        "a mode twice", of_account, {"allowedModes": ["Observe", "Observe"]}, "spec.allowedModes[1]", "", "there twice"
    ),
    Case("a floor", of_account, {"floors": {"tls-certificates-valid": {"minDaysLeft": 30}}}),
    Case(
        "a floor out of bounds",
        of_account,
        {"floors": {"tls-certificates-valid": {"minDaysLeft": -1}}},
        "spec.floors.tls-certificates-valid.minDaysLeft",
        "",
        "-1 is less than",
    ),
    Case("leave to disable", of_account, {"mayDisable": ["https-redirect"]}),
    # the evidence store
    Case("an evidence bucket of another account", of_account, {"evidence": {"s3": STORE}}),
    Case("an evidence folder", of_account, {"evidence": {"folder": "shop/evidence"}}),
    Case(
        "an evidence store without a place", of_account, {"evidence": {}}, "spec.evidence", "give either s3 or folder"
    ),
    Case(
        "an evidence store in two places",
        of_account,
        {"evidence": {"s3": STORE, "folder": "shop"}},
        "spec.evidence",
        "give either s3 or folder",
    ),
    Case(
        "an evidence role of another partition",
        of_account,
        {"evidence": {"s3": {**STORE, "roleArn": "arn:aws-cn:iam::210987654321:role/passmuster-evidence"}}},
        "spec.evidence",
        "evidence.s3.roleArn must be a role of the account's partition",
    ),
    Case(
        "an evidence folder above its root",
        of_account,
        {"evidence": {"folder": "../etc"}},
        "spec.evidence.folder",
        "",
        "is not a folder below another: no slash in front, no .., for example shop/evidence",
    ),
    Case(
        "a prefix with a slash in front",
        of_account,
        {"evidence": {"s3": {**STORE, "prefix": "/readiness"}}},
        "spec.evidence.s3.prefix",
        "",
        "is not a prefix of keys, for example readiness/shop, without slashes around it",
    ),
    Case(
        "a bucket in capitals",
        of_account,
        {"evidence": {"s3": {**STORE, "bucket": "Evidence"}}},
        "spec.evidence.s3.bucket",
        "",
        "is not the name of a bucket: 3 to 63 lower-case letters, digits, hyphens and dots",
    ),
    Case(
        "a key that is no ARN",
        of_account,
        {"evidence": {"s3": {**STORE, "kmsKeyArn": "alias/evidence"}}},
        "spec.evidence.s3.kmsKeyArn",
        "",
        "is not the ARN of a KMS key",
    ),
    Case("too many approvals", of_account, {"minApprovals": 11}, "spec.minApprovals", "", "11 is more than 10"),
]
ACCEPTED = [pytest.param(case, id=case.name) for case in CASES if not case.at]
REFUSED = [pytest.param(case, id=case.name) for case in CASES if case.at]


@pytest.mark.parametrize("case", ACCEPTED)
def test_the_loader_accepts(case: Case, facts: tuple[CheckFacts, ...], inputs: tuple[Parameter, ...]) -> None:
    loaded = manifest.load(yaml.safe_dump(case.make(case.spec)), facts, inputs)
    assert [type(one).__name__ for one in loaded] == [case.make(case.spec)["kind"]]


@pytest.mark.parametrize("case", REFUSED)
def test_the_loader_refuses(case: Case, facts: tuple[CheckFacts, ...], inputs: tuple[Parameter, ...]) -> None:
    with pytest.raises(InvalidManifest) as refused:
        manifest.load(yaml.safe_dump(case.make(case.spec)), facts, inputs, source="shop.yaml")
    lines = str(refused.value).splitlines()
    assert len(lines) == 1
    assert f": {case.at}" in lines[0]
    assert (case.loader or case.said) in lines[0]


@pytest.mark.apiserver
@pytest.mark.parametrize("case", ACCEPTED)
def test_the_api_server_accepts(case: Case, server: ApiServer) -> None:
    answer = server.create(case.make(case.spec), dry=True)
    assert answer.ok, answer.message


@pytest.mark.apiserver
@pytest.mark.parametrize("case", REFUSED)
def test_the_api_server_refuses(case: Case, server: ApiServer) -> None:
    answer = server.create(case.make(case.spec), dry=True)
    assert answer.status in (400, 422), answer.body
    assert case.at.split("[")[0] in answer.message
    assert case.said in answer.message


@pytest.mark.apiserver
def test_a_rule_speaks_alone_when_only_it_is_broken(server: ApiServer) -> None:
    for case in (case for case in CASES if case.said and not case.loader and case.make is of_policy):
        answer = server.create(case.make(case.spec), dry=True)
        causes = answer.body["details"]["causes"]
        assert len([cause for cause in causes if "some validation rules were not checked" not in cause["message"]]) == 1


@pytest.mark.apiserver
def test_the_account_id_and_whose_a_report_is_cannot_change(server: ApiServer, namespace: str, named: Any) -> None:
    mine = account(named())
    assert server.create(mine).ok
    moved = server.patch(mine, {"spec": {"accountId": "210987654321"}})
    assert (moved.status, "accountId cannot change: create another AWSAccount" in moved.message) == (422, True)
    assert server.patch(mine, {"spec": {"minApprovals": 2}}).ok
    report = {
        "apiVersion": "passmuster.io/v1alpha1",
        "kind": "ReadinessReport",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {"policyRef": {"name": "shop"}, "accountId": "123456789012"},
    }
    assert server.create(report).ok
    moved = server.patch(report, {"spec": {"policyRef": {"name": "other"}}})
    assert (moved.status, "a report stays with its policy and account" in moved.message) == (422, True)


def _constraints(model: Any) -> Iterator[Constraint]:
    """Every rule of a model and of the models in it."""
    for child in get_args(model):
        yield from _constraints(child)
    if isinstance(model, Constraint):
        yield model
    if isinstance(model, type) and issubclass(model, BaseModel):
        yield from getattr(model, "constraints", ())
        for described in model.model_fields.values():
            yield from (entry for entry in described.metadata if isinstance(entry, Constraint))
            yield from _constraints(described.annotation)


def test_every_rule_has_a_refused_example() -> None:
    said = {case.said for case in CASES if case.at}
    changes = {"accountId cannot change: create another AWSAccount"}
    changes.add("a report stays with its policy and account: delete it and the operator writes another")
    changes.add("a waiver stays as it was approved: delete it and create another")
    changes.add("an attestation stays as it was approved: delete it and create another")
    rules = {constraint.message for kind in KINDS for constraint in _constraints(kind)}
    assert len(rules) >= 12
    assert rules - said == changes


def test_only_rules_about_a_change_are_left_to_the_api_server() -> None:
    for constraint in (constraint for kind in KINDS for constraint in _constraints(kind)):
        assert (constraint.holds is None) == ("oldSelf" in constraint.rule)
