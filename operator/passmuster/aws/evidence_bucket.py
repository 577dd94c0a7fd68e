"""Puts full reports under one prefix of a bucket: the one write of Passmuster outside of remediations.

Called by the engine where an AWSAccount names an evidence store. The role is one of its own, which may put objects
under the prefix and nothing else; so nothing is read back, listed or deleted here, and a key is never written twice
with other bytes, because it ends in the id of the inspection.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from passmuster.aws.clients import Clients
from passmuster.aws.identity import Identities
from passmuster.aws.principal import acting_as
from passmuster.aws.transport import CredentialsExpired, translated
from passmuster.model.account import Identity, Target
from passmuster.model.errors import AccountError, AccountUnreachable, EvidenceRefused
from passmuster.model.verdict import Reason


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects go, and as whom. `kms_key` None means SSE-S3."""

    bucket: str
    prefix: str
    region: str
    partition: str
    role_arn: str
    external_id: str | None = None
    kms_key: str | None = None


class EvidenceBucket:
    """One prefix of one bucket, as the evidence role."""

    def __init__(
        self,
        clients: Clients,
        identities: Identities,
        place: Place,
        observe: Callable[[str, str], None] | None = None,
    ) -> None:
        self._clients = clients
        self._identities = identities
        self._place = place
        self._observe = observe

    def put(self, key: str, body: bytes, content_type: str) -> str:
        """Puts an object under the prefix, encrypted, with the SHA-256 that S3 compares; returns its s3:// address.

        Raises EvidenceRefused.
        """
        try:
            return self._put(key, body, content_type, renew=False)
        except CredentialsExpired:
            return self._put(key, body, content_type, renew=True)

    def _put(self, key: str, body: bytes, content_type: str, *, renew: bool) -> str:
        place = self._place
        account_id = place.role_arn.split(":")[4]
        identity = Identity(place.role_arn, place.external_id)
        target = Target(account_id, (place.region,), place.partition, identity)
        whole = f"{place.prefix}/{key}"
        encryption = {"ServerSideEncryption": "AES256"}
        if place.kms_key is not None:
            encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": place.kms_key}
        try:
            principal = self._identities.principal(target, renew=renew)
            with acting_as(principal, account_id):
                self._clients.client("s3", place.region).put_object(
                    Bucket=place.bucket,
                    Key=whole,
                    Body=body,
                    ContentType=content_type,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode(),
                    **encryption,
                )
        except AccountUnreachable as error:
            raise EvidenceRefused("EvidenceStoreUnreachable", str(error), retryable=True) from error
        except AccountError as error:
            raise EvidenceRefused("EvidenceStoreDenied", str(error)) from error
        except ClientError as error:
            said = translated(error)
            self._say("denied" if said.reason is Reason.DENIED else "error")
            if isinstance(said, CredentialsExpired) and not renew:
                raise said from error
            if said.reason is Reason.DENIED:
                message = (
                    f"s3:PutObject on {place.bucket}/{place.prefix} was denied ({said.code}): allow {place.role_arn} "
                    f"s3:PutObject on arn:{place.partition}:s3:::{place.bucket}/{place.prefix}/*"
                )
                if place.kms_key is not None:
                    message += f" and kms:GenerateDataKey on {place.kms_key}"
                raise EvidenceRefused("EvidenceStoreDenied", message) from error
            message = f"the bucket {place.bucket} did not take the report ({said.code})"
            raise EvidenceRefused("EvidenceStoreUnreachable", message, retryable=True) from error
        except BotoCoreError as error:
            self._say("error")
            message = f"the bucket {place.bucket} did not answer: {type(error).__name__}"
            raise EvidenceRefused("EvidenceStoreUnreachable", message, retryable=True) from error
        self._say("ok")
        return f"s3://{place.bucket}/{whole}"

    def _say(self, outcome: str) -> None:
        if self._observe is not None:
            self._observe("PutObject", outcome)
