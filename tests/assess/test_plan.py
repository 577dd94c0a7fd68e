"""The plan: its order, its bill, and the account it promises; and the digest that an approval is bound to."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passmuster.api.remediation import Way
from passmuster.assess import scoring
from passmuster.assess.assessment import status_of
from passmuster.assess.plan import Plan, plan
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.finding import Finding
from passmuster.model.parameter import Kind, Parameter, Stricter
from passmuster.model.report import CheckResult, Counts, Inspection, Report
from passmuster.model.verdict import Category, Phase, Severity, Status, level_order
from passmuster.remediation.catalogue import Remediations
from passmuster.remediation.definition import Definition, Filling, LineItem, Place, Target
from passmuster.remediation.pricing import prices
from passmuster.remediation.rendering import Owner, Proposal, digest_of, proposals
from replay import ACCOUNT, NOW, REGION

OWNER = Owner("team/shop", "policy-uid", "cluster-uid", "team")
TEMPLATE = """\
Parameters:
  Name: {Type: String}
  Size: {Type: Number, Default: 1}
  Topic: {Type: String, Default: ""}
Conditions:
  HasTopic: !Not [!Equals [!Ref Topic, ""]]
Resources:
  Queue: {Type: "AWS::SQS::Queue", Properties: {QueueName: !Ref Name}}
  Kept: {Type: "AWS::S3::Bucket", DeletionPolicy: Retain}
  Alarm: {Type: "AWS::CloudWatch::Alarm", Condition: HasTopic}
"""
SNAPSHOT = Snapshot(ACCOUNT, "aws", (REGION,), "us-east-1", NOW)
KEYS = sorted(prices())


def failing(check: str, *resources: str, **facts: str) -> tuple[Finding, ...]:
    return tuple(
        Finding(Status.FAIL, resource, "It fails", REGION, "ec2:DescribeVpcs", NOW, facts={"name": resource, **facts})
        for resource in resources or (f"{check}-one",)
    )


def result(check: str, findings: tuple[Finding, ...], phase: Phase = Phase.PRODUCTION, **more: Any) -> CheckResult:
    return CheckResult(
        id=check,
        title=check,
        category=Category.SECURITY,
        phase=phase,
        severity=more.pop("severity", Severity.HIGH),
        fix=(),
        status=status_of(findings),
        findings=findings,
        **more,
    )


def report(*results: CheckResult) -> Report:
    return Report(
        account_id=ACCOUNT,
        regions=(REGION,),
        declared=Phase.PRODUCTION,
        level=scoring.level(results),
        score=scoring.score(results),
        coverage=scoring.coverage(results),
        counts=Counts(),
        critical_failing=0,
        categories=(),
        phases=(),
        checks=results,
        compliant=None,
        compliant_reason="",
        compliant_message="",
        catalogue_version="1",
        inspection=Inspection("id", NOW, 0.0, 0),
    )


def definition(name: str, *fixes: str, phase: Phase = Phase.PRODUCTION, **given: Any) -> Definition:
    settings: dict[str, Any] = {
        "title": name,
        "description": name,
        "way": Way.ADDITIVE_STACK,
        "target": Target.FINDING,
        "place": Place.FINDING,
        "template": TEMPLATE,
        "parameters": {"Name": Filling(sources=("facts.name",))},
        "cost": (LineItem("kms-key-month", 1),),
        **given,
    }
    return Definition(name=name, phase=phase, fixes=fixes, **settings)


def planned(found: Report, *definitions: Definition, inputs: dict[str, Any] | None = None) -> Plan:
    return plan(found, SNAPSHOT, Remediations(definitions), OWNER, inputs or {})


def only(found: Report, one: Definition, inputs: dict[str, Any] | None = None, owner: Owner = OWNER) -> Proposal:
    (proposal,) = proposals(one, found, SNAPSHOT, owner, inputs or {})
    return proposal


# what is offered ------------------------------------------------------------------------------------------------------


def test_one_change_is_offered_for_every_failing_resource() -> None:
    steps = planned(report(result("a", failing("a", "x", "y"))), definition("fix-a", "a")).steps
    assert [step.proposal.target for step in steps] == ["x", "y"]
    assert [step.proposal.parameters for step in steps] == [{"Name": "x"}, {"Name": "y"}]


def test_one_change_is_offered_for_an_account_however_much_fails() -> None:
    one = definition("fix-a", "a", "b", target=Target.ACCOUNT, place=Place.HOME)
    found = report(result("a", failing("a", "x", "y")), result("b", failing("b", "z")))
    (step,) = planned(found, one).steps
    assert step.proposal.target == ACCOUNT
    assert [(named.check, named.resource) for named in step.proposal.findings] == [("a", "x"), ("b", "z")]


@pytest.mark.parametrize(
    "found",
    [
        result("a", ()),
        result("a", failing("a"), disabled=True),
        result("a", (replace(failing("a")[0], status=Status.UNKNOWN),)),
        result("a", (failing("a")[0].waived("accepted"),), waived=1),
        result("other", failing("other")),
    ],
    ids=["not applicable", "disabled", "unknown", "waived", "another check"],
)
def test_nothing_is_offered_where_nothing_fails(found: CheckResult) -> None:
    assert planned(report(found), definition("fix-a", "a")).steps == ()


def test_a_change_is_offered_only_for_findings_with_the_facts_it_asks_for() -> None:
    one = definition("fix-a", "a", facts={"missing": "trail", "name": "*"})
    assert planned(report(result("a", failing("a", missing="trail"))), one).steps
    assert not planned(report(result("a", failing("a", missing="setting"))), one).steps
    assert not planned(report(result("a", failing("a"))), one).steps


def test_failing_checks_that_no_change_fixes_are_left_to_people() -> None:
    found = report(result("a", failing("a")), result("b", failing("b")), result("c", (), phase=Phase.STABLE))
    left = planned(found, definition("fix-a", "a")).by_hand
    assert [one.id for one in left] == ["b"]
    blocked = definition("fix-b", "b", parameters={"Name": Filling(sources=("inputs.domain",))})
    assert [one.id for one in planned(found, definition("fix-a", "a"), blocked).by_hand] == ["b"]


# blocked --------------------------------------------------------------------------------------------------------------


def test_a_change_that_lacks_an_input_is_blocked_and_says_which() -> None:
    one = definition("fix-a", "a", parameters={"Name": Filling(sources=("inputs.domain",))})
    (step,) = planned(report(result("a", failing("a"))), one).steps
    assert step.blocked is not None
    assert (step.blocked.reason, step.blocked.message) == (
        "InputMissing",
        "set spec.remediation.inputs.domain in the policy",
    )


def test_a_change_that_lacks_a_fact_is_blocked_and_left_to_people() -> None:
    one = definition("fix-a", "a", parameters={"Name": Filling(sources=("facts.missing",))})
    (step,) = planned(report(result("a", failing("a"))), one).steps
    assert step.blocked is not None
    assert step.blocked.reason == "FactMissing"


def test_a_blocked_change_costs_nothing_and_promises_nothing() -> None:
    found = report(result("a", failing("a")), result("b", (), severity=Severity.CRITICAL))
    one = definition("fix-a", "a", parameters={"Name": Filling(sources=("inputs.domain",))})
    blocked = planned(found, one)
    assert blocked.monthly_cost() == 0
    assert (blocked.steps[0].level_after, blocked.steps[0].score_after) == (found.level, found.score)
    free = planned(found, one, inputs={"domain": "shop.example.com"})
    assert free.steps[0].blocked is None
    assert free.steps[0].level_after == "Enterprise"


def test_an_optional_source_that_has_nothing_leaves_the_default_of_the_template() -> None:
    one = definition(
        "fix-a",
        "a",
        parameters={"Name": Filling(value="fixed-{account}"), "Size": Filling(sources=("inputs.size",), optional=True)},
    )
    found = report(result("a", failing("a")))
    assert only(found, one).parameters == {"Name": f"fixed-{ACCOUNT}"}
    assert only(found, one, {"size": 3}).parameters == {"Name": f"fixed-{ACCOUNT}", "Size": "3"}


def test_a_condition_of_the_template_decides_what_is_announced() -> None:
    one = definition(
        "fix-a",
        "a",
        parameters={"Name": Filling(value="n"), "Topic": Filling(sources=("inputs.topic",), optional=True)},
    )
    found = report(result("a", failing("a")))
    always = ("+ AWS::SQS::Queue Queue", "+ AWS::S3::Bucket Kept (kept on deletion)")
    assert only(found, one).changes == always
    assert only(found, one, {"topic": "arn"}).changes == (*always, "+ AWS::CloudWatch::Alarm Alarm")


# order and promise ----------------------------------------------------------------------------------------------------


def test_steps_go_by_phase_and_a_required_change_goes_first() -> None:
    found = report(*(result(name, failing(name)) for name in ("a", "b", "c")))
    definitions = (
        definition("a-first-by-name", "a", requires=("c",)),
        definition("b-early-phase", "b", phase=Phase.FOUNDATION),
        definition("c-required", "c"),
    )
    steps = planned(found, *definitions).steps
    assert [step.proposal.definition.name for step in steps] == ["b-early-phase", "c-required", "a-first-by-name"]


def test_a_step_waits_for_a_required_check_that_fails_or_is_unknown_about_its_subject_and_no_other() -> None:
    one = definition("fix-a", "a", requires=("c",))

    def waits(*findings: Finding, of: tuple[Finding, ...] = failing("a", "lb")) -> tuple[str, ...]:
        (step,) = planned(report(result("a", of), result("c", findings)), one).steps
        return step.waits_for

    about_it, elsewhere = failing("c", "lb")[0], failing("c", "another")[0]
    assert waits(about_it) == waits(replace(about_it, status=Status.UNKNOWN)) == ("c",)
    assert waits(replace(elsewhere, resource=ACCOUNT)) == ("c",), "the account as a whole is about everything"
    assert waits(elsewhere) == waits(replace(about_it, status=Status.PASS)) == waits(about_it.waived("w")) == ()
    listener = replace(elsewhere, facts={"loadBalancerArn": "arn-of-lb"})
    assert waits(listener, of=failing("a", "target-group", loadBalancerArn="arn-of-lb")) == ("c",)


def test_a_required_check_that_passes_or_is_not_judged_is_not_waited_for() -> None:
    passing = result("c", (replace(failing("c")[0], status=Status.PASS),))
    one = definition("fix-a", "a", requires=("c", "unheard-of"))
    assert planned(report(result("a", failing("a")), passing), one).steps[0].waits_for == ()


def test_changes_that_require_each_other_are_still_all_listed() -> None:
    found = report(result("a", failing("a")), result("b", failing("b")))
    steps = planned(found, definition("x", "a", requires=("b",)), definition("y", "b", requires=("a",))).steps
    assert len(steps) == 2


def test_the_figures_after_a_step_are_those_of_an_account_where_its_findings_pass() -> None:
    found = report(
        result("a", failing("a", "x", "y"), severity=Severity.CRITICAL),
        result("b", failing("b"), phase=Phase.STABLE, severity=Severity.LOW),
    )
    first, second, third = planned(found, definition("fix-a", "a"), definition("fix-b", "b", phase=Phase.STABLE)).steps
    assert (first.level_after, first.score_after) == ("Foundation", 0.0), "one of two resources is not enough"
    assert (second.level_after, second.score_after) == ("Production", 90.9)
    assert (third.level_after, third.score_after) == ("Enterprise", 100.0)


def test_a_change_makes_no_unknown_pass() -> None:
    unread = replace(failing("a", "y")[0], status=Status.UNKNOWN)
    found = report(result("a", (*failing("a", "x"), unread)), result("b", (), phase=Phase.FOUNDATION))
    (step,) = planned(found, definition("fix-a", "a")).steps
    assert step.level_after == "Foundation"


@st.composite
def accounts(draw: st.DrawFn) -> tuple[Report, list[Definition]]:
    """An account with failing checks, and changes that fix and require some of them."""
    names = [f"check-{n}" for n in range(draw(st.integers(1, 8)))]
    results = [
        result(
            name,
            failing(name, *[f"{name}-{n}" for n in range(draw(st.integers(1, 3)))]),
            draw(st.sampled_from(Phase)),
            severity=draw(st.sampled_from(Severity)),
        )
        if draw(st.booleans())
        else result(name, (), draw(st.sampled_from(Phase)))
        for name in names
    ]
    definitions = []
    for number in range(draw(st.integers(0, 8))):
        fixes = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        later = [name for name in names if name > max(fixes)]
        lacking = draw(st.sampled_from([False, False, True]))
        definitions.append(
            definition(
                f"change-{number}",
                *fixes,
                phase=draw(st.sampled_from(Phase)),
                target=draw(st.sampled_from(Target)),
                requires=tuple(draw(st.lists(st.sampled_from(later), max_size=2, unique=True))) if later else (),
                parameters={"Name": Filling(sources=("inputs.x" if lacking else "facts.name",))},
                cost=tuple(
                    LineItem(draw(st.sampled_from(KEYS)), draw(st.none() | st.integers(0, 5)))
                    for _ in range(draw(st.integers(0, 3)))
                ),
            )
        )
    return report(*results), definitions


@settings(max_examples=60)
@given(accounts())
def test_any_plan_sums_up_goes_in_order_and_never_gets_worse(account: tuple[Report, list[Definition]]) -> None:
    found, definitions = account
    made = planned(found, *definitions)
    free = [step for step in made.steps if step.blocked is None]
    for step in made.steps:
        parts = [position.monthly for position in step.proposal.cost.positions if position.monthly is not None]
        assert step.proposal.cost.monthly == sum(parts, Decimal(0))
        assert all(part == part.quantize(Decimal("0.01")) for part in parts)
    assert made.monthly_cost() == sum((step.proposal.cost.monthly for step in free), Decimal(0))
    by_phase = [made.monthly_cost(phase) for phase in Phase]
    assert by_phase == sorted(by_phase)
    assert by_phase[-1] == made.monthly_cost()
    for earlier, step in enumerate(made.steps):
        fixed_later = {check for other in made.steps[earlier + 1 :] for check in other.proposal.fixes}
        assert not set(step.proposal.definition.requires) & fixed_later
    level, score = found.level, found.score
    for step in made.steps:
        assert level_order(step.level_after) >= level_order(level)
        if step.blocked is not None:
            assert (step.level_after, step.score_after) == (level, score)
        level, score = step.level_after, step.score_after
    reachable = {check for step in free for check in step.proposal.fixes}
    assert {one.id for one in made.by_hand}.isdisjoint(reachable)


# the digest -----------------------------------------------------------------------------------------------------------

ONE = definition(
    "fix-a",
    "a",
    parameters={"Name": Filling(sources=("facts.name",)), "Size": Filling(sources=("inputs.size",), optional=True)},
    capabilities=("CAPABILITY_IAM",),
)
FOUND = report(result("a", failing("a", "x")), result("b", failing("b", "x")))


def test_the_same_facts_give_the_same_digest() -> None:
    assert only(FOUND, ONE).digest == only(FOUND, ONE).digest
    assert only(FOUND, ONE).digest.startswith("sha256:")
    later = replace(FOUND, inspection=Inspection("another", NOW, 9.9, 99), catalogue_version="2")
    assert only(later, ONE).digest == only(FOUND, ONE).digest
    assert only(FOUND, ONE, {"unrelated": "input"}).digest == only(FOUND, ONE).digest


def test_the_order_of_dicts_does_not_change_the_digest() -> None:
    tags = {"Owner": "shop", "Project": "p"}
    turned = dict(reversed(tags.items()))
    assert only(FOUND, ONE, {"tags": tags}).digest == only(FOUND, ONE, {"tags": turned}).digest
    other = replace(ONE, parameters=dict(reversed(ONE.parameters.items())))
    assert only(FOUND, other, {"size": 1}).digest == only(FOUND, ONE, {"size": 1}).digest


@pytest.mark.parametrize(
    ("changed", "inputs"),
    [
        (ONE, {"size": 3}),
        (ONE, {"tags": {"Owner": "ann"}}),
        (replace(ONE, template=TEMPLATE.replace("QueueName", "QueueNam")), {}),
        (replace(ONE, template=TEMPLATE + "\n"), {}),
        (replace(ONE, name="another"), {}),
        (replace(ONE, capabilities=()), {}),
        (replace(ONE, way=Way.OWNER_STACK), {}),
        (replace(ONE, place=Place.CONTROL), {}),
        (replace(ONE, cost=(LineItem("kms-key-month", 2),)), {}),
        (replace(ONE, fixes=("a", "b")), {}),
    ],
    ids=[
        "a parameter",
        "a tag",
        "a letter of the template",
        "a byte of the template",
        "the remediation",
        "its capabilities",
        "its way",
        "its region",
        "its price",
        "what it fixes",
    ],
)
def test_whatever_changes_the_intent_changes_the_digest(changed: Definition, inputs: dict[str, Any]) -> None:
    assert only(FOUND, changed, inputs).digest != only(FOUND, ONE).digest


def test_another_finding_or_account_changes_the_digest() -> None:
    other = report(result("a", failing("a", "y")))
    assert only(other, ONE).digest != only(FOUND, ONE).digest
    elsewhere = replace(FOUND, account_id="999999999999")
    assert only(elsewhere, ONE).digest != only(FOUND, ONE).digest


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1), st.data())
def test_the_digest_of_a_mapping_is_that_of_its_content(content: dict[str, str], data: st.DataObject) -> None:
    order = data.draw(st.permutations(list(content.items())))
    assert digest_of(dict(order)) == digest_of(content)
    key = data.draw(st.sampled_from(sorted(content)))
    assert digest_of({**content, key: content[key] + "!"}) != digest_of(content)
    assert digest_of(json.loads(json.dumps(content))) == digest_of(content)


def test_names_are_stable_whatever_the_intent_and_differ_between_owners_and_targets() -> None:
    one, other = only(FOUND, ONE), only(FOUND, ONE, {"size": 9})
    assert (one.name, one.stack) == (other.name, other.stack)
    owners = (OWNER, replace(OWNER, policy_uid="2"), replace(OWNER, cluster="2"), replace(OWNER, policy="team/cart"))
    assert len({only(FOUND, ONE, owner=owner).stack for owner in owners}) == 4
    assert only(report(result("a", failing("a", "y"))), ONE).stack != one.stack


def test_a_stack_s_name_is_one_that_cloudformation_takes() -> None:
    long = replace(OWNER, policy="Team_" + "x" * 200 + ".shop")
    stack = only(FOUND, ONE, owner=long).stack
    assert stack[0].isalpha()
    assert all(letter.isalnum() or letter == "-" for letter in stack)
    assert len(stack) <= 128


def test_inputs_are_declared_with_one_shape() -> None:
    one = definition("x", "a", inputs=(Parameter("domain", Kind.STRING, None, Stricter.SAME, "A name."),))
    catalogue = Remediations([one, replace(one, name="y")])
    assert [given.name for given in catalogue.inputs()] == ["domain", "tags"]
    assert [member.name for member in catalogue.fixing("a")] == ["x", "y"]
