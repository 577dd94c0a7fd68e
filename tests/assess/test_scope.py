"""A scope leaves out what has other tags, never what could not be read, and says nothing where it matches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from passmuster.assess import scope
from passmuster.assess.assessment import Inputs, assess
from passmuster.assess.demand import Demand
from passmuster.assess.scope import TagFilter, carriers, of_workload
from passmuster.checks.catalogue import Catalogue
from passmuster.checks.declaration import check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.tagging import TAGGED, TAGGED_GLOBAL, tagged_resources
from passmuster.inventory.snapshot import View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, Origin, failed, passed
from passmuster.model.parameter import Parameters
from passmuster.model.report import CheckResult, Inspection, Report
from passmuster.model.verdict import Category, Phase, Reason, Severity, Status
from replay import ACCOUNT, NOW, REGION, Replay, collect

QUEUES = Call("sqs", "ListQueues", items="QueueUrls", keep=())
TRAILS = Call("cloudtrail", "DescribeTrails", items="trailList", keep=("TrailARN",))
PRODUCTION = (TagFilter("Environment", ("production",)),)
BALANCING = "arn:aws:elasticloadbalancing:r:1"
TRAIL = f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/audit"


def queue(name: str, region: str = REGION) -> str:
    return f"arn:aws:sqs:{region}:{ACCOUNT}:{name}"


@check(
    title="Queues are good",
    category=Category.SECURITY,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="A",
    calls=(QUEUES,),
    nothing="No queue",
)
def queues_good(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A queue whose name begins with bad fails."""
    for row in view.rows(QUEUES):
        name = str(row.data).rpartition("/")[2]
        make = failed if name.startswith("bad") else passed
        yield make(row.origin, queue(name, row.region), f"The queue {name}")


@check(
    title="The trail is good",
    category=Category.SECURITY,
    phase=Phase.FOUNDATION,
    severity=Severity.HIGH,
    fix="A",
    calls=(TRAILS,),
    per="account",
)
def trail_good(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A fact about the account."""
    yield passed(view.origin(TRAILS), TRAIL, "The trail is good")


@check(
    title="Resources are counted",
    category=Category.COMPLIANCE,
    phase=Phase.FOUNDATION,
    severity=Severity.LOW,
    fix="P",
    calls=(TAGGED, TAGGED_GLOBAL),
    per="account",
)
def share_counted(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A check that judges a share of all resources."""
    number = len(list(tagged_resources(view)))
    yield passed(view.origin(TAGGED), view.account_id, f"{number} resources", observed=str(number))


def report(
    queues: dict[str, dict[str, str] | None],
    filters: tuple[TagFilter, ...] = PRODUCTION,
    *,
    tags_answer: Any = None,
    regions: tuple[str, ...] = (REGION,),
) -> Report:
    """The report on an account with these queues; one with None has never had a tag."""
    listed = [
        {"ResourceARN": queue(name), "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
        for name, tags in queues.items()
        if tags is not None
    ]
    answers = {
        "sqs:ListQueues": {"QueueUrls": [f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}" for name in queues]},
        "cloudtrail:DescribeTrails": {"trailList": [{"TrailARN": TRAIL}]},
        "resourcegroupstaggingapi:GetResources": tags_answer or {"ResourceTagMappingList": listed},
    }
    snapshot = collect((QUEUES, TRAILS, *scope.CALLS), Replay(answers), regions=regions)
    inputs = Inputs(snapshot, Demand(level=Phase.FOUNDATION, scope=filters), Evidence(now=NOW))
    return assess(Catalogue([queues_good, trail_good, share_counted]), inputs, Inspection("id", NOW, 0.0, 0))


def queues_of(found: Report) -> CheckResult:
    return found.check("queues-good")


IN, OUT = {"Environment": "production"}, {"Environment": "test"}


def test_without_a_scope_everything_is_judged() -> None:
    result = queues_of(report({"bad-one": OUT, "good": None}, ()))
    assert result.status is Status.FAIL
    assert len(result.findings) == 2


def test_a_failure_outside_the_scope_is_left_out_and_one_inside_stands() -> None:
    assert queues_of(report({"bad-one": OUT, "good": IN})).status is Status.PASS
    assert queues_of(report({"bad-one": IN, "good": OUT})).status is Status.FAIL


@pytest.mark.parametrize("tags", [None, {}, {"Other": "x"}], ids=["never tagged", "no longer tagged", "another tag"])
def test_a_resource_without_the_tag_is_outside(tags: dict[str, str] | None) -> None:
    found = report({"bad-one": tags, "good": IN})
    assert [f.resource for f in queues_of(found).findings] == [queue("good")]


@pytest.mark.parametrize(
    ("filters", "inside"),
    [
        ((TagFilter("Environment"),), True),
        ((TagFilter("Environment", ("test", "production")),), True),
        ((TagFilter("environment"),), False),
        ((TagFilter("Environment", ("Production",)),), False),
        ((TagFilter("Environment"), TagFilter("Team", ("shop",))), True),
        ((TagFilter("Environment"), TagFilter("Team", ("pay",))), False),
    ],
)
def test_all_filters_must_be_met_and_case_counts(filters: tuple[TagFilter, ...], inside: bool) -> None:
    found = report({"bad-one": {"Environment": "production", "Team": "shop"}}, filters)
    assert (queues_of(found).status is Status.FAIL) is inside


def test_a_check_of_which_nothing_is_in_scope_does_not_apply_and_says_why() -> None:
    found = report({"bad-one": OUT, "good": OUT, "other": IN})
    assert queues_of(found).status is Status.PASS
    found = report({"bad-one": OUT}, tags_answer=_other_things_in_scope())
    (finding,) = queues_of(found).findings
    assert (finding.status, finding.reason) == (Status.NOT_APPLICABLE, Reason.OUTSIDE_SCOPE)
    assert finding.resource == ACCOUNT


def _other_things_in_scope() -> dict[str, Any]:
    tags = [{"Key": "Environment", "Value": "production"}]
    return {"ResourceTagMappingList": [{"ResourceARN": f"arn:aws:sns:{REGION}:{ACCOUNT}:news", "Tags": tags}]}


def test_facts_about_the_account_and_its_controls_are_always_judged() -> None:
    result = report({"bad-one": OUT, "good": IN}).check("trail-good")
    assert (result.status, [f.resource for f in result.findings]) == (Status.PASS, [TRAIL])


def test_a_share_of_all_resources_is_a_share_of_those_in_scope() -> None:
    result = report({"a": IN, "b": OUT, "c": IN, "d": None}).check("share-counted")
    assert result.findings[0].observed == "2"


def test_a_scope_that_matches_nothing_gives_no_level_no_score_and_no_compliance() -> None:
    found = report({"good": OUT, "other": None})
    assert (found.level, found.score, found.compliant, found.compliant_reason) == ("None", None, None, "ScopeEmpty")
    assert "spec.scope" in found.compliant_message


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottledException"])
def test_where_tags_cannot_be_read_every_resource_of_a_workload_is_unknown(code: str) -> None:
    found = report({"good": IN, "bad-one": IN}, tags_answer={"error": code})
    assert queues_of(found).status is Status.UNKNOWN
    assert {f.status for f in queues_of(found).findings} == {Status.UNKNOWN}
    assert "Whether it is in the policy's scope cannot be told" in queues_of(found).findings[0].message
    assert found.check("trail-good").status is Status.PASS
    assert (found.level, found.score, found.compliant) == ("None", None, None)
    assert found.compliant_reason == "ScopeUnreadable"


def test_what_is_missing_names_the_permission() -> None:
    found = report({"good": IN}, tags_answer={"error": "AccessDeniedException"})
    assert "tag:GetResources" in queues_of(found).findings[0].message


def test_no_gap_in_the_tags_ever_makes_a_check_pass_that_fails_with_them() -> None:
    """Whatever the tags are, with them unread the verdict is Unknown, and never better than Unknown."""
    for tags in (IN, OUT, None):
        for name in ("bad-one", "good"):
            hidden = queues_of(report({name: tags}, tags_answer={"error": "AccessDeniedException"}))
            assert hidden.status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("resource", "belongs"),
    [
        (queue("a"), True),
        ("arn:aws:s3:::assets", True),
        (f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:listener/app/shop/1/2", True),
        (f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1", True),
        (f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/main/web", True),
        (f"arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/subnet-1", True),
        (TRAIL, False),
        (f"arn:aws:guardduty:{REGION}:{ACCOUNT}:detector/d1", False),
        (f"arn:aws:budgets::{ACCOUNT}:budget/monthly", False),
        (f"arn:aws:config:{REGION}:{ACCOUNT}:configuration-recorder/default", False),
        (f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:1:autoScalingGroupName/fleet", False),
        (ACCOUNT, False),
        (REGION, False),
        ("shop.example.com", False),
    ],
)
def test_resources_of_workloads_are_told_from_facts_about_the_account(resource: str, belongs: bool) -> None:
    assert of_workload(resource) is belongs


@pytest.mark.parametrize(
    ("resource", "whole"),
    [
        (f"{BALANCING}:listener/app/shop/50dc/f2f7", f"{BALANCING}:loadbalancer/app/shop/50dc"),
        (f"{BALANCING}:listener-rule/app/shop/50dc/f2f7/9a", f"{BALANCING}:loadbalancer/app/shop/50dc"),
        ("arn:aws:lambda:r:1:function:resize:live", "arn:aws:lambda:r:1:function:resize"),
        ("arn:aws:dynamodb:r:1:table/carts/index/by-day", "arn:aws:dynamodb:r:1:table/carts"),
        ("arn:aws:logs:r:1:log-group:/app:*", "arn:aws:logs:r:1:log-group:/app"),
        ("arn:aws:apigateway:r::/restapis/abc/stages/prod", "arn:aws:apigateway:r::/restapis/abc"),
    ],
)
def test_a_part_has_the_tags_of_its_whole(resource: str, whole: str) -> None:
    assert carriers(resource) == (resource, whole)
    assert carriers(whole) == (whole,)


def test_a_resource_of_a_region_that_is_not_governed_is_unknown() -> None:
    answers = Replay({"resourcegroupstaggingapi:GetResources": {"ResourceTagMappingList": []}})
    narrow = scope.Scope(PRODUCTION, collect(scope.CALLS, answers))
    (finding,) = narrow.applied((passed(Origin("sqs:ListQueues", "eu-west-1", NOW), queue("x", "eu-west-1"), "There"),))
    assert (finding.status, finding.reason) == (Status.UNKNOWN, Reason.STALE)
