"""STS made honest: a role must exist in the account its ARN names, and its trust policy must let the caller in.

front.py serves these operations; moto, which asks neither, then makes the credentials.
"""

from passmuster.sandbox.emulation import wire
from passmuster.sandbox.emulation.access import iam, policies
from passmuster.sandbox.emulation.operation import Handling, Operations, Output


def assume_role(handling: Handling) -> Output:
    """sts:AssumeRole: the caller must be trusted, with the ExternalId that the trust policy asks for."""
    principal = iam.principal_of(handling.call.access_key)
    arn = principal.arn if principal else f"arn:aws:sts::{handling.call.account}:user/unknown"
    names = principal.names if principal else (handling.call.account, f"arn:aws:iam::{handling.call.account}:root")
    _let_in(handling, caller=arn, names=names, action="sts:AssumeRole")
    return handling.moto()


def assume_role_with_web_identity(handling: Handling) -> Output:
    """sts:AssumeRoleWithWebIdentity: the role must trust an identity provider; the token itself is not verified."""
    role = iam.role_named(str(handling.params["RoleArn"]))
    providers = _federated(role.assume_role_policy_document) if role else ()
    _let_in(handling, caller="web identity", names=providers, action="sts:AssumeRoleWithWebIdentity")
    return handling.moto()


def get_caller_identity(handling: Handling) -> Output:
    """sts:GetCallerIdentity, with an account's own key named as its root."""
    principal = iam.principal_of(handling.call.access_key)
    if principal is None or principal.role or not principal.arn.endswith(":root"):
        return handling.moto()
    return {"UserId": principal.account, "Account": principal.account, "Arn": principal.arn}


def _let_in(handling: Handling, *, caller: str, names: tuple[str, ...], action: str) -> None:
    arn = str(handling.params["RoleArn"])
    role = iam.role_named(arn)
    question = policies.Question(action, principals=names, context=iam.context_of(handling.call))
    if role is None or not names or not policies.allows([role.assume_role_policy_document], question):
        message = f"User: {caller} is not authorized to perform: {action} on resource: {arn}"
        raise wire.AWSError("AccessDenied", message, 403)


def _federated(document: str) -> tuple[str, ...]:
    statements = policies.parsed(document).get("Statement", [])
    listed = statements if isinstance(statements, list) else [statements]
    named = [statement.get("Principal", {}) for statement in listed]
    return tuple(
        str(provider)
        for principal in named
        if isinstance(principal, dict) and "Federated" in principal
        for provider in (
            [principal["Federated"]] if isinstance(principal["Federated"], str) else principal["Federated"]
        )
    )


OPERATIONS: Operations = {
    ("sts", "AssumeRole"): assume_role,
    ("sts", "AssumeRoleWithWebIdentity"): assume_role_with_web_identity,
    ("sts", "GetCallerIdentity"): get_caller_identity,
}
