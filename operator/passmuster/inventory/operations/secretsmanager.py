"""Secrets: what they are called, who owns them and how they rotate. No value is ever read."""

from passmuster.inventory.call import Call

SECRETS = Call(
    "secretsmanager",
    "ListSecrets",
    items="SecretList",
    keep=(
        "ARN",
        "Name",
        "OwningService",
        "PrimaryRegion",
        "RotationEnabled",
        "RotationLambdaARN",
        "RotationRules",
        "ExternalSecretRotationRoleArn",
        "LastRotatedDate",
        "LastChangedDate",
        "NextRotationDate",
        "CreatedDate",
        "DeletedDate",
        "KmsKeyId",
        "Tags",
    ),
)
"""Secrets that are scheduled for deletion are not listed."""
