"""Sends the requests of a remediation, as the remediation role of one account in one region.

What changes something passes `mutate`, which asks a gate right before: the gate raises unless this process still holds
the lease. `stacks` and `steps` send everything through here; nothing else in this program changes anything in an
account but the store of evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from passmuster.aws.clients import Clients
from passmuster.aws.principal import Principal, acting_as
from passmuster.aws.transport import translated
from passmuster.model.errors import ChangeFailed
from passmuster.model.verdict import Reason

Observe = Callable[[str, str, str], None]
"""Told of each request: service, operation, and `ok` or `error`."""


@dataclass(frozen=True, slots=True)
class Words:
    """The condition reasons of what goes wrong: the service did not answer, or refused."""

    unreachable: str
    refused: str


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and where."""

    clients: Clients
    principal: Principal
    account_id: str
    region: str
    gate: Callable[[], None]
    observe: Observe

    def read(
        self, service: str, operation: str, words: Words, absent: Callable[[str, str], bool], /, **arguments: Any
    ) -> dict[str, Any] | None:
        """The answer; None where the error's code and message mean that there is none. Raises ChangeFailed."""
        try:
            return self._send(service, operation, words, arguments)
        except ClientError as error:
            detail = error.response.get("Error", {})
            if absent(str(detail.get("Code")), str(detail.get("Message", ""))):
                return None
            raise _failed(service, operation, words, error) from error

    def mutate(
        self, service: str, operation: str, words: Words, harmless: tuple[str, ...] = (), /, **arguments: Any
    ) -> None:
        """Sends what changes something; error codes that mean it was done already are harmless. Raises ChangeFailed."""
        self.gate()
        try:
            self._send(service, operation, words, arguments)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in harmless:
                return
            raise _failed(service, operation, words, error) from error

    def _send(self, service: str, operation: str, words: Words, arguments: Mapping[str, Any]) -> dict[str, Any]:
        client = self.clients.client(service, self.region)
        outcome = "ok"
        try:
            with acting_as(self.principal, self.account_id):
                answer: dict[str, Any] = getattr(client, xform_name(operation))(**arguments)
        except ClientError:
            outcome = "error"
            raise
        except BotoCoreError as error:
            message = f"There was no answer to {service}:{operation}: {error}"
            raise ChangeFailed(words.unreachable, message, retryable=True) from error
        finally:
            self.observe(service, operation, outcome)
        return answer


def _failed(service: str, operation: str, words: Words, error: ClientError) -> ChangeFailed:
    said = translated(error)
    retryable = said.transient or said.reason is Reason.DENIED
    reason = "RemediationDenied" if said.reason is Reason.DENIED else words.refused
    return ChangeFailed(reason, f"AWS refused {service}:{operation}: {said.code}: {said.message}", retryable=retryable)
