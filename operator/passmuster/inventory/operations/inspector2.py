"""What Amazon Inspector looks at in this account."""

from passmuster.inventory.call import RARELY, Call

INSPECTOR = Call(
    "inspector2",
    "BatchGetAccountStatus",
    items="accounts",
    keep="{account: accountId, state: state.status, ec2: resourceState.ec2.status, ecr: resourceState.ecr.status, "
    "lambda: resourceState.lambda.status}",
    freshness=RARELY,
)
