"""Everything that can go wrong, as one tree. Each error answers: will retrying help?

::

    PassmusterError
    ├── UserError                 the person's input; the message says what to do; never a traceback
    │   ├── InvalidManifest
    │   ├── CheckNotFound
    │   └── Unavailable           something this machine lacks
    ├── AccountError              the account as a whole cannot be inspected
    │   ├── CredentialsRefused    no credentials, expired, or the role may not be assumed
    │   ├── AccountMismatch       the credentials belong to another account than named
    │   ├── AccountUnreachable    network or service failure before the first answer
    │   └── PayerNotFound         nothing tells how the account that pays is reached
    ├── TenancyError              the platform team's rules say no
    ├── WrongCredentials          a request was about to be signed with another account's key
    ├── UndeclaredCall            a check read a call that it did not declare (a defect of ours)
    ├── EvidenceRefused           the evidence store did not take a report
    ├── ChangeRefused             a change is not permitted or not as approved
    └── ChangeFailed              AWS did not make the change
"""

from __future__ import annotations


class PassmusterError(Exception):
    """The root. `retryable` answers whether the same attempt may succeed later without anybody's help."""

    retryable = False
    reason = "Error"


class UserError(PassmusterError):
    """What the person gave is wrong; the message says what to do."""

    reason = "InvalidInput"


class InvalidManifest(UserError):
    """A manifest does not have the shape of its kind."""

    reason = "InvalidManifest"


class CheckNotFound(UserError):
    """No check has that id."""

    reason = "CheckNotFound"


class Unavailable(UserError):
    """Something that this machine would need is not there."""

    reason = "Unavailable"


class AccountError(PassmusterError):
    """Nothing of the account can be judged."""

    reason = "AccountError"


class CredentialsRefused(AccountError):
    """There are no credentials, they expired, or the role may not be assumed."""

    retryable = True
    reason = "AssumeRoleDenied"


class AccountMismatch(AccountError):
    """The credentials belong to another account than the one named."""

    reason = "AccountMismatch"


class AccountUnreachable(AccountError):
    """The account's endpoints did not answer."""

    retryable = True
    reason = "AccountUnreachable"


class PayerNotFound(AccountError):
    """The AWSAccount names another one as its payer, and that does not exist."""

    reason = "PayerAccountNotFound"


class TenancyError(PassmusterError):
    """A rule of the AWSAccount refuses the policy. `reason` is the condition reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WrongCredentials(PassmusterError):
    """A request was about to leave with the key of another account; it was stopped."""

    reason = "WrongCredentials"


class UndeclaredCall(PassmusterError):
    """A check read a call that its metadata does not declare."""

    reason = "UndeclaredCall"


class EvidenceRefused(PassmusterError):
    """The evidence store did not take a report; the inspection itself is not affected. `reason` is the condition's."""

    def __init__(self, reason: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable


class ChangeRefused(PassmusterError):
    """A change may not be made: not permitted, not approved, or not what was approved. `reason` says which."""

    def __init__(self, reason: str, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable


class ChangeFailed(PassmusterError):
    """AWS refused or rolled back a change. `reason` is the condition reason."""

    def __init__(self, reason: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable
