"""GraphQL APIs, and who may reach them."""

from passmuster.inventory.call import Call

GRAPHQL_APIS = Call(
    "appsync",
    "ListGraphqlApis",
    items="graphqlApis",
    keep=("arn", "name", "visibility", "wafWebAclArn"),
)
