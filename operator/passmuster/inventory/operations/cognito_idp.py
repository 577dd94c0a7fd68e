"""User pools."""

from passmuster.inventory.call import Call

USER_POOLS = Call("cognito-idp", "ListUserPools", args={"MaxResults": 60}, items="UserPools", keep=("Id", "Name"))
USER_POOL = Call(
    "cognito-idp",
    "DescribeUserPool",
    each=USER_POOLS,
    over="Id",
    param="UserPoolId",
    keep="UserPool.{Name: Name, Arn: Arn}",
    absent=("ResourceNotFoundException",),
)
"""Only here does Cognito name the ARN of a pool."""
