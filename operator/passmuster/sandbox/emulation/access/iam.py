"""Principals, their credentials and policies; access control while it is enforced.

front.py asks `Access.check` before it serves a call. Three kinds of access keys exist here:

    AKIAROOT<account>   the account itself: seeds and tests; never restricted, survives a reset
    AKIASTCK<account>   CloudFormation acting for a stack without a role of its own; never restricted, never logged
    others              made by moto: users' keys and sessions of assumed roles

With enforcement off, as in a fresh simulated AWS, only expired sessions are refused. With it on, the signature must
be right and the principal's policies must allow the action; moto's own enforcement stays off, because it does not
know IAM's action names, signs GET requests wrongly and ignores conditions.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.request import Request
from moto.core.utils import utcnow
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.iam.utils import ACCOUNT_OFFSET, AWS_ROLE_ALPHABET
from moto.sts.models import sts_backends

from passmuster.sandbox.emulation import faults, wire
from passmuster.sandbox.emulation.access import actions, policies

_ROOT = "AKIAROOT"
_STACKS = "AKIASTCK"
_UNSIGNED = ("AssumeRoleWithWebIdentity", "AssumeRoleWithSAML")
_ALWAYS = (("sts", "GetCallerIdentity"),)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who signed a call. `role` is the ARN behind a session; `documents` are its own policies."""

    account: str
    arn: str
    secret: str
    token: str | None = None
    role: str = ""
    documents: tuple[str, ...] = ()
    session_policy: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which a trust policy may mean this principal."""
        return tuple(filter(None, (self.arn, self.role, self.account, f"arn:aws:iam::{self.account}:root")))


def root_key(account: str) -> str:
    return _ROOT + account


def for_stacks(account: str) -> str:
    return _STACKS + account


def account_of(access_key: str) -> str:
    """The account an access key belongs to; keys that nobody made belong to the default account."""
    if access_key.startswith((_ROOT, _STACKS)):
        return access_key[len(_ROOT) :]
    account = _encoded_account(access_key)
    if account and any(access_key in partition.access_keys for partition in list(iam_backends[account].values())):
        return account
    return str(DEFAULT_ACCOUNT_ID)


def _encoded_account(access_key: str) -> str:
    """moto writes the account into the keys it makes, as AWS does; "" if this key is not one of them."""
    if len(access_key) != 20 or access_key[:4] not in ("AKIA", "ASIA") or access_key[12] not in AWS_ROLE_ALPHABET:
        return ""
    try:
        number = int.from_bytes(base64.b32decode(access_key[4:12]), "big") - ACCOUNT_OFFSET
    except ValueError:
        return ""
    account = number * 2 + (access_key[12] in AWS_ROLE_ALPHABET[16:])
    return f"{account:012d}" if 0 <= account < 10**12 else ""


def session_of(access_key: str) -> Any:
    """moto's record of an assumed role's session, None if the key is none."""
    account = _encoded_account(access_key)
    if not account or not access_key.startswith("ASIA"):
        return None
    partitions = list(sts_backends[account].values())
    sessions = (session for partition in partitions for session in reversed(partition.assumed_roles))
    return next((session for session in sessions if session.access_key_id == access_key), None)


def acts_for_stacks(access_key: str) -> bool:
    """Whether CloudFormation made this call while it worked on a stack."""
    if access_key.startswith(_STACKS):
        return True
    session = session_of(access_key)
    return session is not None and session.session_name == "AWSCloudFormation"


def secret_of(access_key: str) -> str:
    session = session_of(access_key)
    return str(session.secret_access_key) if session else f"secret-of-{access_key}"


def token_of(access_key: str) -> str | None:
    session = session_of(access_key)
    return str(session.session_token) if session else None


def role_named(arn: str) -> Any:
    """moto's role of this ARN in the account it names, None if there is none."""
    _, partition, _, _, account, _ = arn.split(":", 5) if arn.count(":") >= 5 else [""] * 6
    try:
        return iam_backends[account][partition].get_role_by_arn(arn) if account else None
    except (NotFoundException, KeyError):
        return None


def principal_of(access_key: str) -> Principal | None:
    """Who signs with this key; None for a key that nobody made."""
    account = account_of(access_key)
    if access_key.startswith((_ROOT, _STACKS)):
        return Principal(account, f"arn:aws:iam::{account}:root", secret_of(access_key))
    session = session_of(access_key)
    if session is not None:
        return _session_principal(account, session)
    return _user_principal(account, access_key)


def _session_principal(account: str, session: Any) -> Principal:
    role = role_named(session.role_arn)
    return Principal(
        account=account,
        arn=session.arn,
        secret=session.secret_access_key,
        token=session.session_token,
        role=session.role_arn,
        documents=tuple(_documents(role)) if role else (),
        session_policy=session.policy or "",
    )


def _user_principal(account: str, access_key: str) -> Principal | None:
    backend = iam_backends[account]["aws"]
    for user in backend.users.values():
        for key in user.access_keys:
            if key.access_key_id == access_key:
                documents = tuple(_documents(user))
                return Principal(account, user.arn, key.secret_access_key, documents=documents)
    return None


def _documents(owner: Any) -> Iterator[str]:
    """The inline and attached policies of a role or a user, as JSON."""
    inline = owner.policies
    yield from (str(policy) for policy in (inline.values() if isinstance(inline, Mapping) else inline))
    for policy in owner.managed_policies.values():
        yield from (version.document for version in policy.versions if version.is_default)


class Access:
    """The switch: whether policies are enforced in this simulated AWS."""

    def __init__(self) -> None:
        self.enforced = False

    def check(self, call: wire.Call) -> None:
        """Raise what AWS would answer to a caller that may not make this call."""
        if call.access_key.startswith((_ROOT, _STACKS)):
            return
        session = session_of(call.access_key)
        if session is not None and session.expiration <= utcnow():
            raise faults.expired_error(call)
        if self.enforced and not (not call.access_key and call.operation in _UNSIGNED):
            self._judge(call)

    def _judge(self, call: wire.Call) -> None:
        principal = principal_of(call.access_key)
        if principal is None:
            raise faults.unknown_key_error(call)
        if not signed_by(call, principal):
            code = "AuthFailure" if call.service == "ec2" else "SignatureDoesNotMatch"
            raise wire.AWSError(code, "The request signature we calculated does not match the one you provided.", 403)
        if (call.service, call.operation) in _ALWAYS:
            return
        if not permitted(principal, actions.action_of(call), actions.resource_of(call), context_of(call)):
            raise refusal(call, principal, actions.action_of(call))
        if role := actions.passed_role(call):
            passing = {**context_of(call), "iam:passedtoservice": [f"{call.service}.amazonaws.com"]}
            if not permitted(principal, "iam:PassRole", role, passing):
                raise refusal(call, principal, "iam:PassRole")


def permitted(principal: Principal, action: str, resource: str, context: Mapping[str, list[str]]) -> bool:
    """Whether the principal's own policies, and the session's if it has one, allow the action."""
    question = policies.Question(action, resource, context=context)
    session_allows = not principal.session_policy or policies.allows([principal.session_policy], question)
    return session_allows and policies.allows(principal.documents, question)


def refusal(call: wire.Call, principal: Principal, action: str) -> wire.AWSError:
    resource = actions.resource_of(call) or "*"
    reason = f"because no identity-based policy allows the {action} action"
    message = f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource} {reason}"
    if call.service == "ec2":
        message = f"You are not authorized to perform this operation. {message}"
    return wire.AWSError(faults.denied_code(call), message, 400 if call.protocol == "json" else 403)


def context_of(call: wire.Call) -> dict[str, list[str]]:
    """The condition keys that a request itself tells."""
    context = {"aws:requestedregion": [call.region], "aws:principalaccount": [call.account]}
    tags = call.params.get("Tags")
    if isinstance(tags, list):
        pairs = [(tag.get("Key", tag.get("key")), tag.get("Value", tag.get("value", ""))) for tag in tags]
        context["aws:tagkeys"] = [str(key) for key, _ in pairs]
        context.update({f"aws:requesttag/{key}".lower(): [str(value)] for key, value in pairs})
    told = {"RoleARN": "cloudformation:rolearn", "ChangeSetName": "cloudformation:changesetname"}
    told |= {"ExternalId": "sts:externalid", "RoleSessionName": "sts:rolesessionname"}
    for name, key in told.items():
        if name in call.params:
            context[key] = [str(call.params[name])]
    return context


def signed_by(call: wire.Call, principal: Principal) -> bool:
    """Whether the request carries the signature that the principal's secret makes."""
    request = Request(call.environ)
    header = request.headers.get("Authorization", "")
    parts = dict(item.strip().split("=", 1) for item in header.partition(" ")[2].split(",") if "=" in item)
    names = parts.get("SignedHeaders", "").split(";")
    query = f"?{request.query_string.decode()}" if request.query_string else ""
    made = AWSRequest(
        method=request.method,
        url=f"http://{request.host}{request.raw_path}{query}",
        headers={name: value for name, value in request.headers.items() if name.lower() in names},
    )
    if "X-Amz-Content-SHA256" not in made.headers:
        made.headers["X-Amz-Content-SHA256"] = hashlib.sha256(call.body).hexdigest()
    made.context["timestamp"] = request.headers.get("X-Amz-Date", "")
    auth = _signer(call, principal, parts.get("Credential", ""))
    return bool(
        auth.signature(auth.string_to_sign(made, _canonical(auth, made, names)), made) == parts.get("Signature")
    )


def _signer(call: wire.Call, principal: Principal, credential: str) -> Any:
    scope = credential.split("/")
    signing_name = scope[3] if len(scope) == 5 else call.service
    credentials = Credentials(call.access_key, principal.secret, principal.token)
    return (S3SigV4Auth if call.service in ("s3", "s3control") else SigV4Auth)(credentials, signing_name, call.region)


def _canonical(auth: Any, made: AWSRequest, signed: list[str]) -> str:
    """The canonical request over the signed headers only; the body's digest is not always one of them."""
    digest = made.headers["X-Amz-Content-SHA256"]
    if "x-amz-content-sha256" not in signed:
        del made.headers["X-Amz-Content-SHA256"]
    lines = auth.canonical_request(made).split("\n")
    return "\n".join([*lines[:-1], digest])
