"""Log groups and how long they keep what they hold. No size is kept: it changes with every line."""

from passmuster.inventory.call import Call

LOG_GROUPS = Call(
    "logs",
    "DescribeLogGroups",
    items="logGroups",
    keep=("logGroupName", "logGroupArn", "arn", "retentionInDays", "creationTime", "logGroupClass", "kmsKeyId"),
)
"""Without `retentionInDays` a group never forgets."""
