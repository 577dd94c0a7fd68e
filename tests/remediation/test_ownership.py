"""Who owns a resource: what was not read is never taken for nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from passmuster.inventory.call import Call
from passmuster.inventory.operations.cloudformation import STACK_RESOURCES, STACKS
from passmuster.inventory.operations.tagging import TAGGED, TAGGED_GLOBAL
from passmuster.inventory.snapshot import Reading, Snapshot
from passmuster.remediation.ownership import CALLS, NOBODY, OwnerKind, OwnerUnread, owner_of
from replay import ACCOUNT, NOW, REGION

CONTROL = "us-east-1"


def snapshot(rows: Mapping[Call, list[dict[str, Any]]]) -> Snapshot:
    """An account in which everything that tells of owners was read."""
    made = Snapshot(ACCOUNT, "aws", (REGION,), CONTROL, NOW)
    for call in CALLS:
        if call.each is None:
            for region in made.regions_of(call):
                made.put(call, call.root_request(region), Reading(NOW, rows=tuple(rows.get(call, ()))))
    for row in rows.get(STACKS, ()):
        for request in STACK_RESOURCES.requests(row, STACKS.root_request(REGION), REGION):
            made.put(STACK_RESOURCES, request, Reading(NOW))
    return made


def stack(region: str) -> str:
    return f"arn:aws:cloudformation:{region}:{ACCOUNT}:stack/shop-edge/5b1f6e0c"


def tagged(arn: str, stack_id: str) -> dict[str, Any]:
    return {"ResourceARN": arn, "Tags": [{"Key": "aws:cloudformation:stack-id", "Value": stack_id}]}


def owner(read: Snapshot, arn: str, region: str) -> Any:
    return owner_of(read, region, "AWS::CloudFront::Distribution", "E1", arn, {})


def test_a_resource_in_a_region_that_is_not_read_has_an_unknown_owner() -> None:
    """A web ACL of distributions is in us-east-1, whatever the regions of the account."""
    acl = f"arn:aws:wafv2:{CONTROL}:{ACCOUNT}:global/webacl/shop/1a2b"
    with pytest.raises(OwnerUnread, match="us-east-1 is not among the regions"):
        owner_of(snapshot({}), CONTROL, "AWS::WAFv2::WebACL", "shop|1a2b|CLOUDFRONT", acl, {})


def test_a_stack_in_a_region_whose_stacks_are_not_read_is_believed() -> None:
    arn = f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1"
    found = owner(snapshot({TAGGED_GLOBAL: [tagged(arn, stack(CONTROL))]}), arn, CONTROL)
    assert (found.kind, found.name) == (OwnerKind.STACK, "shop-edge")


@pytest.mark.parametrize("lives", [True, False], ids=["there", "gone"])
def test_a_stack_of_a_region_that_is_read_must_be_there(lives: bool) -> None:
    arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"
    stacks = [{"StackId": stack(REGION), "StackName": "shop-edge"}] if lives else []
    found = owner(snapshot({TAGGED: [tagged(arn, stack(REGION))], STACKS: stacks}), arn, REGION)
    assert found.kind is (OwnerKind.STACK if lives else OwnerKind.NOBODY)
    assert lives or found == NOBODY


def held(kind: str, physical_id: str, status: str = "CREATE_COMPLETE") -> Snapshot:
    """An account with one stack, which holds one resource."""
    known = {"StackId": stack(REGION), "StackName": "shop-edge"}
    made = snapshot({STACKS: [known]})
    row = {
        "LogicalResourceId": "Out",
        "PhysicalResourceId": physical_id,
        "ResourceType": kind,
        "ResourceStatus": status,
    }
    for request in STACK_RESOURCES.requests(known, STACKS.root_request(REGION), REGION):
        made.put(STACK_RESOURCES, request, Reading(NOW, rows=(row,)))
    return made


ROUTE, TABLE = "AWS::EC2::Route", f"arn:aws:ec2:{REGION}:{ACCOUNT}:route-table/rtb-1"


def test_a_route_is_found_by_its_table_and_destination() -> None:
    found = owner_of(held(ROUTE, "rtb-1|0.0.0.0/0"), REGION, ROUTE, "rtb-1|0.0.0.0/0", TABLE, {})
    assert (found.name, found.logical_id) == ("shop-edge", "Out")
    assert owner_of(held(ROUTE, "rtb-2|0.0.0.0/0"), REGION, ROUTE, "rtb-1|0.0.0.0/0", TABLE, {}) == NOBODY


def test_a_route_is_not_taken_for_nobodys_while_a_stack_holds_one_under_an_id_that_does_not_say_which() -> None:
    """So old stacks name their routes."""
    with pytest.raises(OwnerUnread, match="shop-edge holds a route under the old id infra-Route-HUBGXRIBOOLM"):
        owner_of(held(ROUTE, "infra-Route-HUBGXRIBOOLM"), REGION, ROUTE, "rtb-1|0.0.0.0/0", TABLE, {})
    released = held(ROUTE, "infra-Route-HUBGXRIBOOLM", "DELETE_SKIPPED")
    assert owner_of(released, REGION, ROUTE, "rtb-1|0.0.0.0/0", TABLE, {}) == NOBODY
    elsewhere = held("AWS::EC2::VPCGatewayAttachment", "infra-igw-6QPA0OLZDNWR")
    assert owner_of(elsewhere, REGION, ROUTE, "rtb-1|0.0.0.0/0", TABLE, {}) == NOBODY
