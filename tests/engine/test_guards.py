"""What keeps a change from doing more than was approved: nested stacks, replacements, removals, capacity."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from engine.conftest import GROUP, OWNERS_TEMPLATE, Making, deploy, groups, owners_template
from passmuster.sandbox.simulated_aws import DEFAULT_REGION, SimulatedAWS
from turns import World

pytestmark = pytest.mark.slow

LOGS, BACKUPS = "log-group-retention", "database-backups"
DATABASE: dict[str, Any] = {
    "Type": "AWS::RDS::DBInstance",
    "DeletionPolicy": "Delete",
    "Properties": {
        "DBInstanceIdentifier": "shop",
        "DBInstanceClass": "db.t4g.micro",
        "Engine": "postgres",
        "AllocatedStorage": "20",
        "MasterUsername": "shop",
        "ManageMasterUserPassword": True,
        "BackupRetentionPeriod": 0,
    },
}


def test_a_resource_of_a_nested_stack_is_left_to_the_parent(making: Making, aws: SimulatedAWS) -> None:
    """The parent's next deployment would revert it, or fail."""
    s3 = aws.client("s3", DEFAULT_REGION)
    s3.create_bucket(Bucket="templates", CreateBucketConfiguration={"LocationConstraint": DEFAULT_REGION})
    s3.put_object(Bucket="templates", Key="child.json", Body=json.dumps(OWNERS_TEMPLATE).encode())
    url = f"https://templates.s3.{DEFAULT_REGION}.amazonaws.com/child.json"
    child = {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": url}}
    deploy(aws, {"Resources": {"Child": child}})
    world = making()
    owner = world.remediation(LOGS)["spec"]["owner"]
    assert owner["name"].startswith("owners-Child-")
    world.approve(LOGS)
    world.turn(3)
    stalled = world.condition("Stalled", LOGS)
    assert (stalled["status"], stalled["reason"]) == ("True", "OwnerStackUnfit")
    assert f"The stack {owner['name']} is nested in another stack" in stalled["message"]
    assert "make the change in its own template" in stalled["message"]
    assert (groups(aws)[GROUP], world.changes()) == (None, [])


# replacement ----------------------------------------------------------------------------------------------------------


def _databases(aws: SimulatedAWS) -> dict[str, int]:
    found = aws.client("rds", DEFAULT_REGION).describe_db_instances()["DBInstances"]
    return {database["DBInstanceIdentifier"]: database["BackupRetentionPeriod"] for database in found}


def _with_a_database(making: Making, aws: SimulatedAWS, **rules: Any) -> World:
    deploy(aws, {"Resources": {"Database": DATABASE}})
    world = making(judged=("automated-backups",), **rules)
    assert world.remediation(BACKUPS)["spec"]["way"] == "OwnerStack"
    return world


def test_an_update_that_may_replace_what_holds_data_is_refused(making: Making, aws: SimulatedAWS) -> None:
    """CloudFormation says of the retention of a database that it replaces the database under conditions."""
    world = _with_a_database(making, aws)
    template = owners_template(aws)
    world.approve(BACKUPS)
    world.until("Failed", name=BACKUPS)
    stalled = world.condition("Stalled", BACKUPS)
    assert stalled["reason"] == "ReplacementNotAllowed"
    assert "it would replace Database; set allowReplacement to permit that" in stalled["message"]
    assert world.mutations() == {"CreateChangeSet": 1, "DeleteChangeSet": 1}
    assert (owners_template(aws), _databases(aws)) == (template, {"shop": 0})
    world.look()
    world.turn(3)
    assert world.mutations() == {"CreateChangeSet": 1, "DeleteChangeSet": 1}, "it is not tried again by itself"


def test_with_leave_it_is_made_and_needs_an_approval_in_every_mode(making: Making, aws: SimulatedAWS) -> None:
    world = _with_a_database(making, aws, allowReplacement=True, mode="Apply")
    world.account_spec(minApprovals=0)
    world.turn(3)
    assert (world.state(BACKUPS), world.changes()) == ("AwaitingApproval", [])
    world.approve(BACKUPS)
    world.until("Applied", name=BACKUPS)
    assert world.mutations() == {"CreateChangeSet": 1, "ExecuteChangeSet": 1}
    assert _databases(aws) == {"shop": 7}


@pytest.mark.parametrize("leave", [False, True], ids=["without leave", "with allowReplacement"])
def test_an_update_that_would_remove_a_resource_is_refused_with_or_without_leave(
    making: Making, aws: SimulatedAWS, *, leave: bool
) -> None:
    """A condition reads another place, whose value changed since: the update would delete the table."""
    ssm = aws.client("ssm", DEFAULT_REGION)
    ssm.put_parameter(Name="/shop/keeps", Value="yes", Type="String", Overwrite=True)
    template = json.loads(json.dumps(OWNERS_TEMPLATE))
    template["Parameters"] = {"Keeps": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/shop/keeps"}}
    template["Conditions"] = {"Keeps": {"Fn::Equals": [{"Ref": "Keeps"}, "yes"]}}
    template["Resources"]["Orders"] = {
        "Type": "AWS::DynamoDB::Table",
        "Condition": "Keeps",
        "Properties": {
            "TableName": "orders",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        },
    }
    deploy(aws, template)
    ssm.put_parameter(Name="/shop/keeps", Value="no", Type="String", Overwrite=True)
    world = making(allowReplacement=leave)
    world.approve(LOGS)
    world.until("Failed", name=LOGS)
    assert world.condition("Stalled", LOGS)["reason"] == "WouldChangeMore"
    assert "Orders" in world.condition("Stalled", LOGS)["message"]
    assert world.mutations() == {"CreateChangeSet": 1, "DeleteChangeSet": 1}
    assert aws.client("dynamodb", DEFAULT_REGION).list_tables()["TableNames"] == ["orders"]


# provisioned capacity -------------------------------------------------------------------------------------------------

RECOVERY = "table-recovery"


@pytest.fixture
def orders(aws: SimulatedAWS) -> Iterator[None]:
    """A table of nobody with provisioned capacity."""
    client = aws.client("dynamodb", DEFAULT_REGION)
    client.create_table(
        TableName="orders",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
    )
    yield
    client.delete_table(TableName="orders")


def _recovery(aws: SimulatedAWS) -> str:
    told = aws.client("dynamodb", DEFAULT_REGION).describe_continuous_backups(TableName="orders")
    found = told["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    return str(found)


@pytest.mark.usefixtures("orders")
def test_a_table_with_provisioned_capacity_is_changed_by_an_api_step_and_back(
    making: Making, aws: SimulatedAWS
) -> None:
    """Auto scaling changes its capacity at any time, so it is not adopted."""
    world = making(judged=("automated-backups",))
    spec = world.remediation(RECOVERY)["spec"]
    assert (spec["way"], spec["owner"]) == ("ApiStep", {"kind": "Nobody"})
    assert spec["intent"]["changes"][0].startswith("~ dynamodb:UpdateContinuousBackups {")
    world.approve(RECOVERY)
    world.until("Applied", name=RECOVERY)
    assert (_recovery(aws), world.check("automated-backups")) == ("ENABLED", "Pass")
    assert world.changes() == ["UpdateContinuousBackups"]
    world.approve(RECOVERY, action="Undo")
    world.until("Undone", name=RECOVERY)
    assert _recovery(aws) == "DISABLED"
    assert world.stacks() == {}


@pytest.mark.usefixtures("orders")
def test_without_leave_for_api_steps_such_a_table_is_left_alone(making: Making, aws: SimulatedAWS) -> None:
    world = making(judged=("automated-backups",), allowApiSteps=False)
    world.approve(RECOVERY)
    world.turn(3)
    assert (world.state(RECOVERY), world.condition("Ready", RECOVERY)["reason"]) == ("Blocked", "ApiStepsNotAllowed")
    assert (_recovery(aws), world.changes()) == ("DISABLED", [])


@pytest.mark.usefixtures("orders")
def test_a_table_that_became_on_demand_is_proposed_anew_as_an_adoption(making: Making, aws: SimulatedAWS) -> None:
    world = making(judged=("automated-backups",))
    world.approve(RECOVERY)
    aws.client("dynamodb", DEFAULT_REGION).update_table(TableName="orders", BillingMode="PAY_PER_REQUEST")
    aws.requests.clear()
    world.look()
    assert world.remediation(RECOVERY)["spec"]["way"] == "Adoption"
    assert (world.state(RECOVERY), world.changes()) == ("AwaitingApproval", [])
    world.approve(RECOVERY)
    world.until("Applied", name=RECOVERY)
    assert world.mutations() == {"CreateChangeSet": 2, "ExecuteChangeSet": 2}
    assert _recovery(aws) == "ENABLED"


@pytest.mark.usefixtures("orders")
def test_a_table_whose_capacity_cannot_be_read_is_not_changed(making: Making, aws: SimulatedAWS) -> None:
    aws.faults.add("denied", service="dynamodb", operation="DescribeTable")
    world = making(judged=("automated-backups",))
    ready = world.condition("Ready", RECOVERY)
    assert (world.state(RECOVERY), ready["reason"]) == ("Blocked", "FactMissing")
    assert "dynamodb:DescribeTable" in ready["message"]
    assert world.changes() == []
