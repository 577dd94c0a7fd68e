"""Queues, how they are encrypted and where their dead letters go. No queue policy is kept."""

from passmuster.inventory.call import Call

QUEUES = Call("sqs", "ListQueues", args={"MaxResults": 1000}, items="QueueUrls")
"""Rows are URLs, in their `data`. Without a page size AWS leaves out what is beyond the first thousand."""

QUEUE_ATTRIBUTES = Call(
    "sqs",
    "GetQueueAttributes",
    each=QUEUES,
    param="QueueUrl",
    args={"AttributeNames": ["QueueArn", "KmsMasterKeyId", "SqsManagedSseEnabled", "RedrivePolicy"]},
    keep="{QueueArn: Attributes.QueueArn, KmsMasterKeyId: Attributes.KmsMasterKeyId, "
    "SqsManagedSseEnabled: Attributes.SqsManagedSseEnabled, RedrivePolicy: Attributes.RedrivePolicy}",
    absent=("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"),
)
"""Attributes are strings: `"true"`, and a redrive policy in JSON."""
