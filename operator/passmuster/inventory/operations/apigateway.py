"""APIs of API Gateway, their stages, and the custom domains that they are mapped to.

`GetDomainNames` of the first version also shows domains that were made with the second. No stage variable is kept.
"""

from passmuster.inventory.call import Call

REST_APIS = Call(
    "apigateway",
    "GetRestApis",
    items="items",
    keep="{id: id, name: name, types: endpointConfiguration.types, disabled: disableExecuteApiEndpoint}",
)
STAGES = Call(
    "apigateway",
    "GetStages",
    each=REST_APIS,
    over="id",
    param="restApiId",
    items="item",
    keep="{stageName: stageName, tracingEnabled: tracingEnabled, "
    "accessLogDestination: accessLogSettings.destinationArn, "
    "loggingLevels: values(methodSettings || `{}`)[].loggingLevel, webAclArn: webAclArn, "
    "cacheClusterEnabled: cacheClusterEnabled, cacheClusterStatus: cacheClusterStatus}",
    absent=("NotFoundException",),
)
APIS = Call(
    "apigatewayv2",
    "GetApis",
    items="Items",
    keep="{ApiId: ApiId, Name: Name, ProtocolType: ProtocolType, ApiEndpoint: ApiEndpoint, "
    "Disabled: DisableExecuteApiEndpoint}",
)
"""HTTP and WebSocket APIs."""

API_STAGES = Call(
    "apigatewayv2",
    "GetStages",
    each=APIS,
    over="ApiId",
    param="ApiId",
    items="Items",
    keep="{StageName: StageName, accessLogDestination: AccessLogSettings.DestinationArn, "
    "loggingLevel: DefaultRouteSettings.LoggingLevel}",
    absent=("NotFoundException",),
)

DOMAIN_NAMES = Call(
    "apigateway",
    "GetDomainNames",
    items="items",
    keep=(
        "domainName",
        "domainNameArn",
        "domainNameStatus",
        "certificateArn",
        "regionalCertificateArn",
        "distributionDomainName",
        "regionalDomainName",
        "endpointConfiguration",
        "securityPolicy",
    ),
)
BASE_PATHS = Call(
    "apigateway",
    "GetBasePathMappings",
    each=DOMAIN_NAMES,
    over="domainName",
    param="domainName",
    items="items",
    keep=("basePath", "restApiId", "stage"),
    absent=("NotFoundException",),
)
API_MAPPINGS = Call(
    "apigatewayv2",
    "GetApiMappings",
    each=DOMAIN_NAMES,
    over="domainName",
    param="DomainName",
    items="Items",
    keep=("ApiId", "Stage"),
    absent=("NotFoundException",),
)
