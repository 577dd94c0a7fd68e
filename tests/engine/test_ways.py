"""The ways of changing what exists, each from failing to passing and back, on the small account of `conftest`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from engine.conftest import (
    CLUSTER,
    GROUP,
    JUDGED,
    OWNERS_TEMPLATE,
    Making,
    deploy,
    groups,
    insights,
    owners_stack,
    owners_template,
)
from passmuster.engine.ways.owner_stack import unfit_template
from passmuster.remediation import catalogue as remediations
from passmuster.sandbox.simulated_aws import DEFAULT_REGION, SimulatedAWS
from turns import POLICY, REPORT, World

pytestmark = pytest.mark.slow

LOGS, INSIGHTS = "log-group-retention", "container-insights"
SIGNALS, ALARMS, DATA_EVENTS = "golden-signal-alarms", "service-alarms", "trail-data-events"
CODE = "infrastructure-as-code"
LIFE = ["Proposed", "AwaitingApproval", "Scheduled", "ChangeSetReady", "Executing", "Settling", "Verifying", "Applied"]


# adoption -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nobodys")
def test_a_log_group_of_nobody_is_adopted_changed_and_released_as_it_was(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    before = aws.client("logs", DEFAULT_REGION).list_tags_log_group(logGroupName=GROUP)["tags"]
    spec = world.remediation(LOGS)["spec"]
    assert (spec["way"], spec["owner"], spec["target"]) == ("Adoption", {"kind": "Nobody"}, GROUP)
    assert spec["intent"]["changes"][1] == f"~ AWS::Logs::LogGroup {GROUP}: RetentionInDays = 30"
    assert world.check("workload-logs-retained") == "Fail"
    world.turn(2)
    assert (world.changes(), world.state(LOGS)) == ([], "AwaitingApproval")
    world.approve(LOGS)
    world.until("Applied", name=LOGS)
    assert world.states(LOGS) == LIFE
    assert groups(aws)[GROUP] == 30
    assert world.check("workload-logs-retained") == "Pass"
    assert world.mutations() == {"CreateChangeSet": 2, "ExecuteChangeSet": 2}
    (step,) = world.status(LOGS)["steps"]
    assert json.loads(step["prior"]) == {"RetentionInDays": "(absent)"}
    world.approve(LOGS, action="Undo")
    world.until("Undone", name=LOGS)
    assert groups(aws) == {GROUP: None}
    assert world.stacks() == {}
    assert aws.client("logs", DEFAULT_REGION).list_tags_log_group(logGroupName=GROUP)["tags"] == before
    world.look()
    assert world.check("workload-logs-retained") == "Fail"
    assert world.state(LOGS) == "Undone"
    assert world.mutations() == {"CreateChangeSet": 3, "ExecuteChangeSet": 3, "DeleteStack": 1}


@pytest.mark.usefixtures("nobodys")
def test_an_adopted_resource_that_somebody_changed_is_not_put_back(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    world.approve(LOGS)
    world.until("Applied", name=LOGS)
    aws.client("logs", DEFAULT_REGION).put_retention_policy(logGroupName=GROUP, retentionInDays=90)
    world.approve(LOGS, action="Undo")
    world.turn(2)
    assert world.state(LOGS) == "Applied"
    stalled = world.condition("Stalled", LOGS)
    assert stalled["reason"] == "ValueChanged"
    assert "delete the stack" in stalled["message"]
    assert groups(aws)[GROUP] == 90
    assert world.mutations()["DeleteStack"] == 0


@pytest.mark.usefixtures("nobodys")
def test_an_update_that_fails_after_the_import_releases_the_resource_as_it_was(
    making: Making, aws: SimulatedAWS
) -> None:
    world = making()
    world.aws.fail_resource("update", logical_id="Adopted", reason="the retention is locked")
    world.approve(LOGS)
    world.until("RolledBack", name=LOGS)
    assert "the retention is locked" in world.condition("Ready", LOGS)["message"]
    assert groups(aws)[GROUP] is None
    world.turn()
    assert world.stacks() == {}
    world.turn(2)
    assert world.state(LOGS) == "RolledBack"
    world.approve(LOGS, by="bob")
    world.until("Applied", name=LOGS)
    assert groups(aws)[GROUP] == 30
    assert world.status(LOGS)["attempt"] == 2


@pytest.mark.usefixtures("nobodys")
def test_a_resource_that_changed_between_its_reading_and_its_import_is_released_and_not_updated(
    making: Making, aws: SimulatedAWS
) -> None:
    """The template would say what is no longer there; nothing is changed by it, and nothing could be put back."""
    world = making()
    world.approve(LOGS)
    world.until("ChangeSetReady", name=LOGS)
    logs = aws.client("logs", DEFAULT_REGION)
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=14)
    logs.tag_log_group(logGroupName=GROUP, tags={"Team": "pay"})
    aws.requests.clear()
    world.until("RolledBack", name=LOGS)
    stalled = world.condition("Stalled", LOGS)
    assert stalled["reason"] == "ValueChanged"
    assert "modified right after its import: it was released as it is" in stalled["message"]
    assert groups(aws)[GROUP] == 14, "what somebody set meanwhile stays"
    assert world.mutations() == {"ExecuteChangeSet": 1, "DeleteStack": 1}
    world.turn()
    assert world.stacks() == {}
    world.approve(LOGS, by="bob")
    world.until("Applied", name=LOGS)
    (step,) = world.status(LOGS)["steps"]
    assert (groups(aws)[GROUP], json.loads(step["prior"])) == (30, {"RetentionInDays": 14})


@pytest.mark.usefixtures("nobodys")
def test_a_resource_that_a_stack_took_over_since_is_not_adopted(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    world.approve(LOGS)
    aws.client("logs", DEFAULT_REGION).delete_log_group(logGroupName=GROUP)
    aws.client("ecs", DEFAULT_REGION).delete_cluster(cluster=CLUSTER)
    deploy(aws, OWNERS_TEMPLATE)
    aws.requests.clear()
    world.turn()
    assert world.state(LOGS) == "Scheduled"
    assert "belongs to the stack owners now" in world.condition("Ready", LOGS)["message"]
    assert world.changes() == []
    world.look()
    assert world.remediation(LOGS)["spec"]["way"] == "OwnerStack"
    assert world.state(LOGS) == "AwaitingApproval", "an approval of the adoption is no approval of the update"


# API steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nobodys")
def test_a_cluster_of_nobody_is_changed_by_one_call_and_back_by_its_inverse(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    spec = world.remediation(INSIGHTS)["spec"]
    assert (spec["way"], spec["owner"]) == ("ApiStep", {"kind": "Nobody"})
    assert spec["intent"]["changes"][0].startswith("~ ecs:UpdateClusterSettings {")
    world.approve(INSIGHTS)
    world.until("Applied", name=INSIGHTS)
    assert world.states(INSIGHTS) == LIFE
    assert insights(aws) == "enabled"
    assert world.check("container-insights-enabled") == "Pass"
    assert world.changes() == ["UpdateClusterSettings"]
    (step,) = world.status(INSIGHTS)["steps"]
    assert (step["what"], json.loads(step["prior"])) == ("ecs:UpdateClusterSettings", "disabled")
    world.approve(INSIGHTS, action="Undo")
    world.until("Undone", name=INSIGHTS)
    assert insights(aws) == "disabled"
    world.look()
    assert world.check("container-insights-enabled") == "Fail"
    assert world.changes() == ["UpdateClusterSettings"] * 2


@pytest.mark.usefixtures("nobodys")
def test_without_leave_no_api_is_called(making: Making) -> None:
    world = making(allowApiSteps=False)
    world.approve(INSIGHTS)
    world.turn(3)
    assert world.state(INSIGHTS) == "Blocked"
    assert world.condition("Ready", INSIGHTS)["reason"] == "ApiStepsNotAllowed"
    assert world.changes() == []


@pytest.mark.usefixtures("nobodys")
def test_an_api_step_needs_an_approval_even_where_nothing_else_does(making: Making, aws: SimulatedAWS) -> None:
    world = making(mode="Apply")
    world.account_spec(minApprovals=0)
    world.until("Applied", name=LOGS)
    world.turn(2)
    assert world.state(INSIGHTS) == "AwaitingApproval"
    assert insights(aws) == "disabled"


@pytest.mark.usefixtures("nobodys")
def test_a_value_that_somebody_set_since_is_not_overwritten_by_an_undo(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    world.approve(INSIGHTS)
    world.until("Applied", name=INSIGHTS)
    setting = [{"name": "containerInsights", "value": "enhanced"}]
    aws.client("ecs", DEFAULT_REGION).update_cluster_settings(cluster=CLUSTER, settings=setting)
    aws.requests.clear()
    world.approve(INSIGHTS, action="Undo")
    world.turn(3)
    assert world.state(INSIGHTS) == "Applied"
    assert world.condition("Stalled", INSIGHTS)["reason"] == "ValueChanged"
    assert "enhanced" in world.condition("Stalled", INSIGHTS)["message"]
    assert (insights(aws), world.changes()) == ("enhanced", [])


@pytest.mark.usefixtures("nobodys")
def test_a_value_that_somebody_set_between_reading_and_calling_is_left_alone(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    world.approve(INSIGHTS)
    world.until("ChangeSetReady", name=INSIGHTS)
    setting = [{"name": "containerInsights", "value": "enhanced"}]
    aws.client("ecs", DEFAULT_REGION).update_cluster_settings(cluster=CLUSTER, settings=setting)
    aws.requests.clear()
    world.turn(4)
    assert (insights(aws), world.changes()) == ("enhanced", [])
    assert world.state(INSIGHTS) == "Superseded"


@pytest.mark.usefixtures("nobodys")
def test_a_call_that_aws_refuses_fails_and_is_tried_again_only_with_a_new_approval(
    making: Making, aws: SimulatedAWS
) -> None:
    world = making()
    fault = aws.faults.add(
        "server_error", service="ecs", operation="UpdateClusterSettings", code="InvalidParameterException", status=400
    )
    world.approve(INSIGHTS)
    world.until("Failed", name=INSIGHTS)
    assert world.condition("Stalled", INSIGHTS)["reason"] == "ApiStepRefused"
    assert "ecs:UpdateClusterSettings" in world.condition("Ready", INSIGHTS)["message"]
    aws.faults.remove(fault)
    calls = len(world.changes())
    world.look()
    world.turn(2)
    assert (world.state(INSIGHTS), len(world.changes())) == ("Failed", calls)
    world.approve(INSIGHTS, by="bob")
    world.until("Applied", name=INSIGHTS)
    assert world.status(INSIGHTS)["attempt"] == 2


@pytest.mark.usefixtures("nobodys")
def test_what_the_role_may_not_do_is_named_and_tried_again(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    fault = aws.faults.add("denied", service="ecs", operation="UpdateClusterSettings")
    world.approve(INSIGHTS)
    world.turn(3)
    assert world.condition("Ready", INSIGHTS)["reason"] == "RemediationDenied"
    aws.faults.remove(fault)
    world.until("Applied", name=INSIGHTS)


def test_an_operation_that_no_remediation_declares_is_never_sent(making: Making) -> None:
    world = making()
    declared = remediations.load().operations()
    assert "DeleteCluster" not in declared["ecs"]
    client = world.engine.clients.client("ecs", DEFAULT_REGION)
    assert not hasattr(client, "delete_cluster"), "the process has no method for what nobody declared"
    assert hasattr(client, "update_cluster_settings")


# a patch for another tool ---------------------------------------------------------------------------------------------


def test_what_terraform_owns_is_only_proposed_as_a_patch(making: Making, aws: SimulatedAWS) -> None:
    marked = {"ManagedBy": "terraform-shop"}
    aws.client("logs", DEFAULT_REGION).create_log_group(logGroupName=GROUP, tags=marked)
    aws.client("ecs", DEFAULT_REGION).create_cluster(
        clusterName=CLUSTER, tags=[{"key": "ManagedBy", "value": "terraform-shop"}]
    )
    world = making(parameters={"infrastructure-as-code": {"terraformTags": {"ManagedBy": "terraform*"}}})
    for name, line in ((LOGS, "  retention_in_days = 30"), (INSIGHTS, '    name  = "containerInsights"')):
        spec = world.remediation(name)["spec"]
        assert (spec["way"], spec["owner"]) == ("Patch", {"kind": "Tool", "name": "Terraform"})
        assert line in spec["instructions"]["patch"].splitlines()
        assert spec["instructions"]["cli"][0].startswith("aws ")
        world.approve(name)
    world.turn(3)
    assert {world.state(LOGS), world.state(INSIGHTS)} == {"Blocked"}
    assert world.condition("Ready", LOGS)["reason"] == "NotExecutable"
    assert world.changes() == []


@pytest.mark.usefixtures("nobodys")
def test_nothing_is_changed_while_the_owner_cannot_be_read(making: Making, aws: SimulatedAWS) -> None:
    aws.faults.add("denied", service="resourcegroupstaggingapi", operation="GetResources")
    world = making()
    world.look()
    for name in (LOGS, INSIGHTS):
        assert world.state(name) == "Blocked"
        assert world.condition("Ready", name)["reason"] == "OwnerUnread"
        assert "GetResources" in world.condition("Ready", name)["message"]
    assert world.changes() == []


# the stack of the owner -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("owners")
@pytest.mark.parametrize(
    ("name", "logical_id", "check"),
    [(LOGS, "PayLogs", "workload-logs-retained"), (INSIGHTS, "Cluster", "container-insights-enabled")],
)
def test_the_owners_stack_is_updated_by_exactly_one_property_and_back(
    making: Making, aws: SimulatedAWS, name: str, logical_id: str, check: str
) -> None:
    world = making()
    stack, template = owners_stack(aws), owners_template(aws)
    spec = world.remediation(name)["spec"]
    assert (spec["way"], spec["owner"]["name"], spec["owner"]["logicalId"]) == ("OwnerStack", "owners", logical_id)
    assert f"{logical_id}:" in spec["instructions"]["patch"]
    assert world.check(check) == "Fail"
    world.approve(name)
    world.until("Applied", name=name)
    assert world.states(name) == LIFE
    assert world.check(check) == "Pass"
    assert world.mutations() == {"CreateChangeSet": 1, "ExecuteChangeSet": 1}
    assert owners_stack(aws)["StackStatus"] == "UPDATE_COMPLETE"
    assert owners_stack(aws)["Tags"] == stack["Tags"]
    changed = owners_template(aws)
    assert {k for k, v in changed["Resources"].items() if v != template["Resources"][k]} == {logical_id}
    world.approve(name, action="Undo")
    world.until("Undone", name=name)
    assert owners_template(aws)["Resources"] == template["Resources"]
    world.look()
    assert world.check(check) == "Fail"
    assert world.mutations() == {"CreateChangeSet": 2, "ExecuteChangeSet": 2}


@pytest.mark.usefixtures("owners")
def test_without_leave_the_owners_stack_is_only_proposed(making: Making) -> None:
    world = making(allowOwnerStackUpdates=False)
    world.approve(LOGS)
    world.turn(3)
    assert world.state(LOGS) == "Blocked"
    ready = world.condition("Ready", LOGS)
    assert ready["reason"] == "OwnerStackUpdateNotAllowed"
    assert "the stack owners" in ready["message"]
    assert world.changes() == []


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            {
                "Resources": {
                    **OWNERS_TEMPLATE["Resources"],
                    "PayLogs": {**OWNERS_TEMPLATE["Resources"]["PayLogs"], "Metadata": {"aws:cdk:path": "Pay/Logs"}},
                }
            },
            "made by the AWS CDK",
        ),
        (
            {
                "Resources": {
                    **OWNERS_TEMPLATE["Resources"],
                    "PayLogs": {**OWNERS_TEMPLATE["Resources"]["PayLogs"], "Metadata": {"SamResourceId": "PayLogs"}},
                }
            },
            "made by AWS SAM",
        ),
    ],
)
def test_a_template_that_a_tool_makes_is_left_to_its_tool(
    making: Making, aws: SimulatedAWS, template: dict[str, Any], said: str
) -> None:
    deploy(aws, template)
    world = making()
    world.approve(LOGS)
    world.turn(2)
    assert world.condition("Stalled", LOGS)["reason"] == "OwnerStackUnfit"
    assert said in world.condition("Stalled", LOGS)["message"]
    assert world.changes() == []


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"Transform": "AWS::Serverless-2016-10-31"}, "a transform"),
        ({"Resources": {"A": {"Type": "AWS::CDK::Metadata"}}}, "the AWS CDK"),
        ({"Description": "{{resolve:ssm:/shop/size}}"}, "resolves ssm:/shop/size without a version"),
        ({"Description": "{{resolve:ssm:/shop/size:3}}"}, None),
        ({"Description": "{{resolve:ssm-secure:/shop/key}}"}, "without a version"),
        ({"Description": "{{resolve:secretsmanager:shop:SecretString:password}}"}, "without a version"),
        ({"Description": "{{resolve:secretsmanager:shop:SecretString:password::7e1f}}"}, None),
        ({}, None),
    ],
)
def test_a_template_whose_values_may_have_changed_is_not_sent_again(document: dict[str, Any], said: str | None) -> None:
    whole = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, **document}
    found = list(unfit_template(whole, json.dumps(whole)))
    assert (found == []) if said is None else (said in found[0])


@pytest.mark.usefixtures("owners")
def test_a_change_set_of_the_owner_that_waits_is_not_deleted_by_ours(making: Making, aws: SimulatedAWS) -> None:
    waiting = json.loads(json.dumps(OWNERS_TEMPLATE))
    waiting["Resources"]["Queue"]["Properties"]["VisibilityTimeout"] = 60
    client = aws.client("cloudformation", DEFAULT_REGION)
    client.create_change_set(StackName="owners", ChangeSetName="release-42", TemplateBody=json.dumps(waiting))
    world = making()
    world.approve(LOGS)
    world.turn(3)
    assert "release-42" in world.condition("Stalled", LOGS)["message"]
    assert world.changes() == []
    assert [c["ChangeSetName"] for c in client.list_change_sets(StackName="owners")["Summaries"]] == ["release-42"]


@pytest.mark.usefixtures("owners")
def test_a_resource_that_was_changed_by_hand_is_not_updated_through_its_stack(
    making: Making, aws: SimulatedAWS
) -> None:
    template = json.loads(json.dumps(OWNERS_TEMPLATE))
    template["Resources"]["PayLogs"]["Properties"]["RetentionInDays"] = 14
    client = aws.client("cloudformation", DEFAULT_REGION)
    client.update_stack(StackName="owners", TemplateBody=json.dumps(template))
    aws.client("logs", DEFAULT_REGION).put_retention_policy(logGroupName=GROUP, retentionInDays=7)
    world = making()
    world.approve(LOGS)
    world.turn(3)
    assert "was changed by hand" in world.condition("Stalled", LOGS)["message"]
    assert (groups(aws)[GROUP], world.changes()) == (7, [])


@pytest.mark.usefixtures("owners")
def test_a_stack_that_somebody_is_updating_is_waited_for(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    template = json.loads(json.dumps(OWNERS_TEMPLATE))
    template["Resources"]["Queue"]["Properties"]["VisibilityTimeout"] = 60
    aws.stacks_take(0.4)
    aws.client("cloudformation", DEFAULT_REGION).update_stack(StackName="owners", TemplateBody=json.dumps(template))
    aws.requests.clear()
    world.approve(LOGS)
    world.turn(2)
    assert world.condition("Ready", LOGS)["reason"] == "AwaitingResource"
    assert world.changes() == []
    time.sleep(0.5)
    aws.stacks_take(0)
    world.until("Applied", name=LOGS)
    assert owners_template(aws)["Resources"]["Queue"]["Properties"]["VisibilityTimeout"] == 60


@pytest.mark.usefixtures("owners")
def test_an_update_that_would_change_more_is_withdrawn(making: Making, aws: SimulatedAWS) -> None:
    """The name of the log group comes from a parameter that reads another place, whose value changed since."""
    aws.client("cloudformation", DEFAULT_REGION).delete_stack(StackName="owners")
    ssm = aws.client("ssm", DEFAULT_REGION)
    ssm.put_parameter(Name="/shop/timeout", Value="30", Type="String", Overwrite=True)
    template = json.loads(json.dumps(OWNERS_TEMPLATE))
    template["Parameters"] = {"Timeout": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/shop/timeout"}}
    template["Resources"]["Queue"]["Properties"]["VisibilityTimeout"] = {"Ref": "Timeout"}
    deploy(aws, template)
    ssm.put_parameter(Name="/shop/timeout", Value="90", Type="String", Overwrite=True)
    world = making()
    world.approve(LOGS)
    world.until("Failed", name=LOGS)
    assert world.condition("Stalled", LOGS)["reason"] == "WouldChangeMore"
    assert "Queue" in world.condition("Ready", LOGS)["message"]
    assert world.mutations() == {"CreateChangeSet": 1, "DeleteChangeSet": 1}
    assert groups(aws)[GROUP] is None


@pytest.mark.usefixtures("owners")
def test_an_update_that_aws_rolls_back_leaves_the_owners_stack_as_it_was(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    template = owners_template(aws)
    world.aws.fail_resource("update", logical_id="PayLogs", reason="the retention is locked")
    world.approve(LOGS)
    world.until("RolledBack", name=LOGS)
    assert "the retention is locked" in world.condition("Ready", LOGS)["message"]
    assert owners_template(aws) == template
    assert groups(aws)[GROUP] is None
    assert world.mutations() == {"CreateChangeSet": 1, "ExecuteChangeSet": 1}


@pytest.mark.usefixtures("owners")
def test_deleting_the_policy_never_deletes_a_stack_of_the_owner(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    world.policy_spec(deletionPolicy="Delete")
    world.approve(LOGS)
    world.until("Applied", name=LOGS)
    world.turn()
    assert not world.policy["metadata"].get("finalizers")
    world.cluster.delete(POLICY)
    world.turn(2)
    assert world.policy == {}
    assert owners_stack(aws)["StackStatus"] == "UPDATE_COMPLETE"
    assert world.mutations()["DeleteStack"] == 0


# after it was applied -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nobodys")
def test_what_somebody_reverts_is_told_once_and_made_again_only_when_approved_anew(
    making: Making, aws: SimulatedAWS
) -> None:
    world = making()
    world.approve(INSIGHTS)
    world.until("Applied", name=INSIGHTS)
    assert world.condition("Drifted", INSIGHTS)["status"] == "False"
    setting = [{"name": "containerInsights", "value": "disabled"}]
    aws.client("ecs", DEFAULT_REGION).update_cluster_settings(cluster=CLUSTER, settings=setting)
    aws.requests.clear()
    world.look()
    world.look()
    drifted = world.condition("Drifted", INSIGHTS)
    assert (drifted["status"], drifted["reason"]) == ("True", "FailsAgain")
    assert "approve it anew" in drifted["message"]
    assert world.state(INSIGHTS) == "Applied"
    assert [reason for _, reason, _ in world.cluster.events].count("Warning FailsAgain") == 1
    assert world.changes() == []
    world.approve(INSIGHTS, by="bob")
    world.turn()
    world.until("Applied", name=INSIGHTS)
    assert insights(aws) == "enabled"
    assert world.condition("Drifted", INSIGHTS)["status"] == "False"


@pytest.mark.usefixtures("nobodys")
def test_a_stack_that_somebody_deleted_is_drift(making: Making, aws: SimulatedAWS) -> None:
    world = making()
    world.approve(LOGS)
    world.until("Applied", name=LOGS)
    aws.client("cloudformation", DEFAULT_REGION).delete_stack(StackName=world.status(LOGS)["stack"]["name"])
    world.look()
    drifted = world.condition("Drifted", LOGS)
    assert (drifted["status"], drifted["reason"]) == ("True", "StackDrifted")
    assert "was deleted by somebody else" in drifted["message"]
    assert world.check("workload-logs-retained") == "Pass"


@pytest.mark.usefixtures("nobodys")
def test_what_newly_fails_elsewhere_keeps_a_change_from_counting_as_applied(making: Making, aws: SimulatedAWS) -> None:
    ecs = aws.client("ecs", DEFAULT_REGION)
    ecs.update_cluster_settings(cluster=CLUSTER, settings=[{"name": "containerInsights", "value": "enabled"}])
    world = making()
    world.approve(LOGS)
    world.until("Executing", name=LOGS)
    ecs.update_cluster_settings(cluster=CLUSTER, settings=[{"name": "containerInsights", "value": "disabled"}])
    world.until("Verifying", name=LOGS)
    world.look()
    assert world.state(LOGS) == "Verifying"
    assert world.condition("Ready", LOGS)["reason"] == "NewlyFailing"
    assert "container-insights-enabled" in world.condition("Ready", LOGS)["message"]
    world.clock.ahead = timedelta(minutes=11)
    world.until("Failed", name=LOGS)
    assert world.condition("Stalled", LOGS)["reason"] == "NewlyFailing"
    world.clock.ahead = timedelta(0)
    world.approve(LOGS, action="Undo")
    world.until("Undone", name=LOGS)
    assert groups(aws)[GROUP] is None


@pytest.fixture
def watched(nobodys: None, aws: SimulatedAWS) -> Iterator[None]:
    """A service of the cluster and the function, with an alarm for each of their golden signals."""
    ecs, alarms = aws.client("ecs", DEFAULT_REGION), aws.client("cloudwatch", DEFAULT_REGION)
    options = {"awslogs-group": GROUP, "awslogs-region": DEFAULT_REGION}
    container = {"name": "web", "image": "nginx:1", "logConfiguration": {"logDriver": "awslogs", "options": options}}
    ecs.register_task_definition(family="web", containerDefinitions=[{**container, "memory": 128}])
    ecs.create_service(cluster=CLUSTER, serviceName="web", taskDefinition="web", desiredCount=1)
    topic = aws.client("sns", DEFAULT_REGION).create_topic(Name="alarms")["TopicArn"]
    service = {"ClusterName": CLUSTER, "ServiceName": "web"}
    signals = [
        ("AWS/ECS", "CPUUtilization", service),
        ("AWS/ECS", "MemoryUtilization", service),
        ("AWS/Lambda", "Errors", {"FunctionName": "pay"}),
        ("AWS/Lambda", "Throttles", {"FunctionName": "pay"}),
    ]
    for namespace, metric, dimensions in signals:
        alarms.put_metric_alarm(
            AlarmName=metric,
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            Statistic="Sum",
            Period=300,
            EvaluationPeriods=1,
            Threshold=80,
            ComparisonOperator="GreaterThanThreshold",
            AlarmActions=[topic],
        )
    yield
    alarms.delete_alarms(AlarmNames=[metric for _, metric, _ in signals])
    aws.client("sns", DEFAULT_REGION).delete_topic(TopicArn=topic)
    ecs.delete_service(cluster=CLUSTER, service="web", force=True)


@pytest.mark.usefixtures("watched")
def test_what_a_change_leads_to_fails_neither_it_nor_another_and_is_proposed_next(making: Making) -> None:
    """Container Insights has the number of running tasks, so that an alarm on it is asked for from then on."""
    world = making(judged=(*JUDGED, SIGNALS), maxConcurrentStacks=2)
    assert world.check(SIGNALS) == "Pass"
    assert world.remediation(INSIGHTS)["spec"]["leadsTo"] == [SIGNALS]
    assert world.remediation(LOGS)["spec"]["leadsTo"] == []
    world.approve(LOGS)
    world.until("Executing", name=LOGS)
    world.approve(INSIGHTS)
    world.until("Applied", name=INSIGHTS)
    world.until("Applied", name=LOGS)
    assert world.check(SIGNALS) == "Fail"
    assert (
        f"ask for more now, see what is proposed for them: {SIGNALS}" in world.condition("Ready", INSIGHTS)["message"]
    )
    world.look()
    world.approve(ALARMS)
    world.until("Applied", name=ALARMS)
    assert world.check(SIGNALS) == "Pass"


@pytest.mark.usefixtures("watched")
def test_a_level_that_falls_by_what_a_change_leads_to_is_no_failure_of_it(making: Making, aws: SimulatedAWS) -> None:
    aws.client("logs", DEFAULT_REGION).put_retention_policy(logGroupName=GROUP, retentionInDays=30)
    world = making(judged=(*JUDGED, SIGNALS))
    assert world.policy["status"]["level"] == "Production"
    world.approve(INSIGHTS)
    world.until("Applied", name=INSIGHTS)
    world.turn()
    assert world.policy["status"]["level"] == "None"
    world.look()
    world.approve(ALARMS)
    world.until("Applied", name=ALARMS)
    assert world.policy["status"]["level"] == "Enterprise"


def test_a_change_to_what_an_earlier_change_made_is_not_taken_for_somebody_elses(
    making: Making, aws: SimulatedAWS
) -> None:
    world = making(judged=("cloudtrail-multi-region", "cloudtrail-data-events"))
    world.approve("cloudtrail")
    world.until("Applied", name="cloudtrail")
    world.look()
    assert world.remediation(DATA_EVENTS)["spec"]["owner"]["name"] == world.status("cloudtrail")["stack"]["name"]
    world.approve(DATA_EVENTS)
    world.until("Applied", name=DATA_EVENTS)
    world.look()
    assert world.condition("Drifted", "cloudtrail")["status"] == "False"
    assert world.check("cloudtrail-data-events") == "Pass"
    stacks, name = aws.client("cloudformation", DEFAULT_REGION), world.status("cloudtrail")["stack"]["name"]
    body = stacks.get_template(StackName=name)["TemplateBody"]
    document = body if isinstance(body, dict) else json.loads(body)
    document["Resources"]["Queue"] = {"Type": "AWS::SQS::Queue"}
    kept = [
        {"ParameterKey": one["ParameterKey"], "UsePreviousValue": True}
        for one in stacks.describe_stacks(StackName=name)["Stacks"][0]["Parameters"]
    ]
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(document), Parameters=kept)
    world.look()
    drifted = world.condition("Drifted", "cloudtrail")
    assert (drifted["status"], drifted["reason"]) == ("True", "StackDrifted")
    assert "was updated by somebody else" in drifted["message"]


def test_a_new_stack_owns_what_it_made_before_the_next_inspection_of_everything(making: Making) -> None:
    """Tags are read again to settle a change; without the list of stacks they would name a stack that is not there."""
    world = making(judged=("cloudtrail-multi-region", CODE))
    strays = nobodys_resources(world)
    world.approve("cloudtrail")
    world.until("Applied", name="cloudtrail")
    assert nobodys_resources(world) == strays


def nobodys_resources(world: World) -> int:
    """How many resources no stack owns, as the stored report says: `12 of 13 resources are owned by a stack ...`."""
    (found,) = (check for check in world.cluster.get(REPORT)["status"]["checks"] if check["id"] == CODE)
    owned, _, every = found["findings"][0]["message"].partition(" of ")
    return int(every.split()[0]) - int(owned)


@pytest.mark.usefixtures("nobodys")
def test_what_fails_meanwhile_and_passes_again_is_no_hindrance(making: Making, aws: SimulatedAWS) -> None:
    ecs = aws.client("ecs", DEFAULT_REGION)
    on, off = ([{"name": "containerInsights", "value": value}] for value in ("enabled", "disabled"))
    ecs.update_cluster_settings(cluster=CLUSTER, settings=on)
    world = making()
    world.approve(LOGS)
    world.until("Executing", name=LOGS)
    ecs.update_cluster_settings(cluster=CLUSTER, settings=off)
    world.until("Verifying", name=LOGS)
    ecs.update_cluster_settings(cluster=CLUSTER, settings=on)
    world.look()
    world.until("Applied", name=LOGS)
