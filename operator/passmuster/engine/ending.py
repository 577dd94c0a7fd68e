"""The end of a policy: with `deletionPolicy: Delete`, what was made for it in AWS goes first. Called by the reconciler.

The Remediations name most of it. They may be gone before the policy is: a foreground deletion takes what belongs to an
object first, and people delete what they no longer want to see. So AWS is asked too, for stacks whose tags say that
they were made for this policy of this cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from passmuster.api.account import AWSAccount
from passmuster.api.conditions import ConditionReason
from passmuster.api.policy import DeletionPolicy, ReadinessPolicy
from passmuster.api.remediation import Remediation, has_own_stack
from passmuster.api.resource import FINALIZER
from passmuster.aws.stacks import MADE_AS, MADE_FOR, OWNED_BY_POLICY, Stack, Stacks, made_by
from passmuster.engine.declared import selects
from passmuster.engine.life import SOON, WAITING, token_of
from passmuster.engine.ports import ACCOUNTS, REMEDIATIONS, Cluster, Key, Object
from passmuster.engine.services import Services
from passmuster.engine.statuses import policy_event
from passmuster.engine.tenancy import Governed, govern, read_account
from passmuster.engine.ways import adoption, own_stack
from passmuster.model.errors import AccountError, ChangeFailed, ChangeRefused, PassmusterError, TenancyError
from passmuster.remediation.rendering import STACK_PREFIX

Labels = Callable[[str], Mapping[str, str]]
"""The labels of a namespace."""

StacksOf = Callable[[Governed, str], Stacks | None]
"""CloudFormation in a region as the account's remediation role; None without one."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of any policy. Nothing is decided from the watch's cache: what is released by mistake stays for ever."""

    services: Services
    labels: Labels
    stacks_of: StacksOf

    def advance(self, key: Key, policy: ReadinessPolicy) -> float | None:
        """Deletes what is left and lets the policy go when nothing is; the seconds until another look, else None."""
        if FINALIZER not in policy.metadata.finalizers:
            return None
        if policy.spec.deletion_policy is DeletionPolicy.DELETE:
            left = self._end(key, policy)
            if left:
                return left
        finalized(self.services.cluster, key, hold=False)
        return None

    def _end(self, key: Key, policy: ReadinessPolicy) -> float:
        """Deletes what is left; the seconds until another look, 0 when nothing is."""
        try:
            accounts = self._accounts()
        except TenancyError as unreadable:
            self._say_left(policy, "What was made for the policy", unreadable)
            return WAITING
        noted = self._noted(key)
        return self._end_noted(noted, policy, accounts) or self._end_unnoted(policy, accounts, told=bool(noted))

    def has_stacks(self, key: Key, policy: ReadinessPolicy) -> bool:
        """Whether there are stacks of a policy that is not to be let go without them, or may be."""
        return bool(self._noted(key)) or self._unnoted(policy)

    def _noted(self, key: Key) -> list[Object]:
        """The remediations of a policy whose stack is ours, as the API server has them now."""
        there = self.services.cluster.list(REMEDIATIONS, key.namespace)
        return [body for body in there if body["spec"]["policyRef"]["name"] == key.name and has_own_stack(body)]

    def _unnoted(self, policy: ReadinessPolicy) -> bool:
        """Whether AWS holds stacks of the policy, or may: where it cannot be asked, nothing is released."""
        try:
            return any(any(_made(stacks, policy, self._uid)) for stacks in self._places(policy, self._accounts()))
        except (AccountError, ChangeFailed, TenancyError):
            return True

    def _accounts(self) -> list[AWSAccount]:
        return [read_account(body) for body in self.services.cluster.list(ACCOUNTS)]

    @property
    def _uid(self) -> str:
        return self.services.cluster.uid()

    def _end_noted(self, noted: Sequence[Object], policy: ReadinessPolicy, accounts: list[AWSAccount]) -> float:
        """Seconds until another look, 0 when nothing is left that a Remediation names."""
        left = 0.0
        for body in noted:
            remediation = Remediation.read(body)
            account = _account_of(remediation, policy, accounts)
            stack = remediation.status.stack
            if stack is not None:
                left = max(left, self._end_one(policy, account, remediation, stack.id or stack.name))
        return left

    def _end_one(
        self, policy: ReadinessPolicy, account: AWSAccount | None, remediation: Remediation, name: str
    ) -> float:
        try:
            stacks = self._reach(policy, account, remediation)
            stack = stacks.stack(name)
            if stack is None or not (stack.busy or self._is_ours(policy, remediation, stacks, stack)):
                return 0.0
            return _end(stacks, stack, remediation.spec.intent.digest)
        except TenancyError as refused:
            self._say_left(policy, f"The stack {name}", refused)
            return 0.0
        except (AccountError, ChangeFailed, ChangeRefused) as error:
            self._say_left(policy, f"The stack {name}", error)
            return WAITING

    def _is_ours(self, policy: ReadinessPolicy, remediation: Remediation, stacks: Stacks, stack: Stack) -> bool:
        """Whether a stack was made by this remediation for this policy, and not for another one of its name."""
        if stack.status == "REVIEW_IN_PROGRESS":  # without tags and template, but with change sets
            prepared = remediation.status.change_set
            return prepared is not None and stacks.change_set(stack.name, prepared.name) is not None
        tags = adoption.tags_of(stacks, stack)
        named = tags.get(MADE_FOR) == remediation.metadata.name[-128:]
        return named and made_by(tags, policy.metadata.uid or "", self._uid)

    def _reach(self, policy: ReadinessPolicy, account: AWSAccount | None, remediation: Remediation) -> Stacks:
        """CloudFormation where a stack is. Raises TenancyError where nothing of ours may act any more."""
        spec = remediation.spec
        if account is None:
            message = f"there is no AWSAccount for {spec.account_id} any more"
            raise TenancyError(ConditionReason.ACCOUNT_NOT_FOUND, message)
        stacks = self.stacks_of(self._govern(policy, account), spec.region)
        if stacks is None:
            message = f"the AWSAccount {account.metadata.name} has no remediationRoleArn any more"
            raise TenancyError(ConditionReason.REMEDIATION_ROLE_MISSING, message)
        return stacks

    def _govern(self, policy: ReadinessPolicy, account: AWSAccount) -> Governed:
        return govern(policy, account, self.labels(policy.metadata.namespace or ""))

    def _end_unnoted(self, policy: ReadinessPolicy, accounts: list[AWSAccount], *, told: bool) -> float:
        """Seconds until another look, 0 when AWS holds nothing of the policy where it governs, or nobody can look.

        `told` says that of what is left it was told already.
        """
        left, asked = 0.0, False
        try:
            for stacks in self._places(policy, accounts):
                asked = True
                for stack, tags in _made(stacks, policy, self._uid):
                    left = max(left, _end(stacks, stack, tags.get(MADE_AS, "")))
        except (AccountError, ChangeFailed, ChangeRefused) as error:
            self._say_left(policy, "What was made for the policy", error)
            return WAITING
        if not asked and not told:
            message = (
                "no AWSAccount of the policy has a remediationRoleArn and admits it any more, so look for stacks with "
                f"the tag {OWNED_BY_POLICY} {policy.metadata.uid}"
            )
            refused = TenancyError(ConditionReason.REMEDIATION_ROLE_MISSING, message)
            self._say_left(policy, "What was made for the policy", refused)
        return left

    def _places(self, policy: ReadinessPolicy, accounts: list[AWSAccount]) -> Iterator[Stacks]:
        """Every region of every account in which the policy may have made something, and may still act."""
        for account in accounts:
            if account.spec.remediation_role_arn is None or not _uses(policy, account):
                continue
            try:
                governed = self._govern(policy, account)
            except TenancyError:
                continue
            for region in sorted({*self.services.inspector.regions(governed.target), governed.target.control_region}):
                stacks = self.stacks_of(governed, region)
                if stacks is not None:
                    yield stacks

    def _say_left(self, policy: ReadinessPolicy, what: str, error: PassmusterError) -> None:
        message = f"{what} could not be deleted: {error}"
        policy_event(self.services, policy, str(error.reason), message, warning=True)


def _made(stacks: Stacks, policy: ReadinessPolicy, cluster: str) -> Iterator[tuple[Stack, Mapping[str, str]]]:
    """The stacks of one region that were made for a policy, with the tags that say so."""
    for stack in stacks.every():
        if stack.name.startswith(STACK_PREFIX) and stack.status not in ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE"):
            tags = adoption.tags_of(stacks, stack)
            if made_by(tags, policy.metadata.uid or "", cluster):
                yield stack, tags


def finalized(cluster: Cluster, key: Key, *, hold: bool) -> Object | None:
    """The policy with our finalizer or without it, and with those of others as they are now; None if it is gone.

    Raises Conflict where somebody changed it at the same moment.
    """
    body = cluster.get(key)
    if body is None:
        return None
    there: list[str] = list(body["metadata"].get("finalizers") or ())
    if hold is (FINALIZER in there):
        return body
    wanted = [*there, FINALIZER] if hold else [name for name in there if name != FINALIZER]
    version = body["metadata"]["resourceVersion"]
    return cluster.patch(key, {"metadata": {"finalizers": wanted, "resourceVersion": version}})


def _end(stacks: Stacks, stack: Stack, digest: str) -> float:
    """Deletes a stack of ours that is at rest. Seconds until another look, 0 when it is gone already."""
    if stack.status == "DELETE_COMPLETE":
        return 0.0
    if stack.status == "DELETE_FAILED":
        why = own_stack.why(stacks, stack)
        raise ChangeFailed(ConditionReason.STACK_FAILED, f"{why}: delete it by hand, or set deletionPolicy Retain")
    if not stack.busy:
        stacks.delete(stack.name, token_of(digest, "finalize"))
    return SOON


def _account_of(remediation: Remediation, policy: ReadinessPolicy, accounts: list[AWSAccount]) -> AWSAccount | None:
    """Through which AWSAccount a stack is reached: several may speak of one account; the policy's own comes first."""
    speaking = (account for account in accounts if account.spec.account_id == remediation.spec.account_id)
    return min(speaking, key=lambda one: (not _uses(policy, one), one.spec.remediation_role_arn is None), default=None)


def _uses(policy: ReadinessPolicy, account: AWSAccount) -> bool:
    """Whether the policy names or selects the account."""
    return selects(policy.spec.body(), account)
