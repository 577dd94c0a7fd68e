"""IAM: the managed policies of AWS, each known from the moment somebody attaches it.

moto has a copy of AWS's own, but loads all or none of its thousand at every reset. Served by front.py; the roles in
templates of remediations attach some.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy

from passmuster.sandbox.emulation.operation import Handling, Operations, Output

_BY_AWS = ":iam::aws:policy/"


@cache
def _policies_of_aws() -> Mapping[str, Any]:
    known: Mapping[str, Any] = json.loads(aws_managed_policies_data)
    return known


def attach_role_policy(handling: Handling) -> Output:
    """AttachRolePolicy, of the account's own policies and of AWS's."""
    arn = str(handling.params["PolicyArn"])
    backend, name = handling.place.backend("iam"), arn.rpartition("/")[2]
    if _BY_AWS in arn and arn not in backend.managed_policies and name in _policies_of_aws():
        policy = AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, _policies_of_aws()[name])
        if policy.arn == arn:
            backend.managed_policies[arn] = policy
    return handling.moto()


OPERATIONS: Operations = {("iam", "AttachRolePolicy"): attach_role_policy}
