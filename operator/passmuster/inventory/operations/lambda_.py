"""Functions. Of their environment only the names stay, each with whether its value could be a secret."""

from passmuster.inventory.call import Call

FUNCTIONS = Call(
    "lambda",
    "ListFunctions",
    items="Functions",
    keep="{FunctionName: FunctionName, FunctionArn: FunctionArn, Runtime: Runtime, PackageType: PackageType, "
    "Role: Role, State: State, LastModified: LastModified, MemorySize: MemorySize, VpcConfig: VpcConfig, "
    "DeadLetterConfig: DeadLetterConfig, KMSKeyArn: KMSKeyArn, TracingConfig: TracingConfig, "
    "Layers: Layers[].Arn, LoggingConfig: LoggingConfig, Architectures: Architectures, MasterArn: MasterArn, "
    "EnvironmentError: Environment.Error.ErrorCode, "
    "EnvironmentNames: keys(Environment.Variables || `{}`), "
    "EnvironmentLiterals: map(&(@ != '' && !starts_with(@, 'arn:')), values(Environment.Variables || `{}`))}",
)
"""`EnvironmentLiterals` says of each of `EnvironmentNames` whether its value is neither empty nor an ARN."""
PROVISIONED = Call(
    "lambda",
    "ListProvisionedConcurrencyConfigs",
    each=FUNCTIONS,
    over="FunctionName",
    param="FunctionName",
    items="ProvisionedConcurrencyConfigs",
    keep=("FunctionArn", "RequestedProvisionedConcurrentExecutions", "Status"),
    absent=("ResourceNotFoundException",),
)
"""Provisioned concurrency belongs to aliases and versions, and nothing lists it for all functions."""
