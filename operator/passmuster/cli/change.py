"""`passmuster apply` and `passmuster undo`: one's own approval of a remediation, and then what becomes of it.

Nothing is done from here: the operator carries the change out, under the rules of its policy, whether or not somebody
watches. A state counts only once the operator has seen the approval, that is once its status speaks of the generation
that the approval made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import typer

from passmuster.api import durations
from passmuster.api.conditions import ConditionType
from passmuster.api.remediation import Remediation, State
from passmuster.cli.options import Context, Kubeconfig, Namespace
from passmuster.cli.terminal import note
from passmuster.model.errors import UserError

LOOK = 1.0
"""Seconds between two looks at the object."""

_NEVER_MADE = frozenset({None, State.PROPOSED, State.AWAITING_APPROVAL, State.SCHEDULED, State.SUPERSEDED})
_ENDED = frozenset({State.BLOCKED, State.ROLLED_BACK, State.FAILED, State.SUPERSEDED})
"""States in which a person has to do something before it goes on."""

Name = Annotated[str, typer.Argument(help="Name of the Remediation: kubectl get rem -A lists them.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Watch until it ends, or only approve.")]
Timeout = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="How long to watch, for example 90s or 1h30m.")
]


def apply(
    name: Name,
    namespace: Namespace = "default",
    wait: Wait = True,
    timeout: Timeout = "15m",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Approve a remediation as yourself, and watch until it is applied.

    The operator carries it out when the rules of its policy permit, also without this command. Exits with 0 when it is
    applied, 1 when it is not (blocked, failed, rolled back, superseded), 2 on an error or when the time is over.
    """
    from passmuster.kube.connection import connect

    longest = _longest(name, timeout)
    api = connect(kubeconfig, context)
    _approve(api, namespace, name, undo=False)
    if wait:
        _watch(_Watched(api, namespace, name, State.APPLIED), longest)


def undo(
    name: Name,
    namespace: Namespace = "default",
    wait: Wait = True,
    timeout: Timeout = "15m",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Approve as yourself that a remediation is taken back, and watch until it is.

    Exits with 0 when it is undone, 1 when it is not (blocked or failed), 2 on an error or when the time is over.
    """
    from passmuster.kube.approvals import current
    from passmuster.kube.connection import connect

    longest = _longest(name, timeout)
    api = connect(kubeconfig, context)
    state = current(api, namespace, name).status.state
    if state is State.UNDONE:
        note(f"{name} is undone already.")
        return
    if state in _NEVER_MADE:
        raise UserError(f"{name} is {state or State.PROPOSED}: it was not made, so there is nothing to undo")
    _approve(api, namespace, name, undo=True)
    if wait:
        _watch(_Watched(api, namespace, name, State.UNDONE), longest)


def _longest(name: str, timeout: str) -> timedelta:
    if "/" in name:
        raise UserError(f"{name}: waivers and attestations are approved, and nothing more: passmuster approve {name}")
    try:
        return durations.parse(timeout)
    except ValueError as error:
        raise UserError(f"--timeout {error}") from error


def _approve(api: Any, namespace: str, name: str, *, undo: bool) -> None:
    from passmuster.kube.approvals import approve

    given = approve(api, namespace, name, undo=undo)
    what = f"that {name} is undone" if undo else name
    note(f"{given.by} approved {what} ({given.digest[:19]}…).")


@dataclass(frozen=True, slots=True)
class _Watched:
    """One remediation, and the state that it shall come to."""

    api: Any
    namespace: str
    name: str
    wanted: State

    def looks(self, until: float) -> Iterator[Remediation]:
        """The object again and again, up to a time of the monotonic clock; at least once."""
        from passmuster.kube.approvals import current

        while True:
            yield current(self.api, self.namespace, self.name)
            if time.monotonic() + LOOK > until:
                return
            time.sleep(LOOK)

    def arrived(self, seen: Remediation) -> bool:
        """Whether it is as wanted; what is applied and drifted is about to be made again."""
        return seen.status.state is self.wanted and not _holds(seen, ConditionType.DRIFTED)

    def stuck(self, seen: Remediation) -> bool:
        """Whether it goes on only after a person did something."""
        return seen.status.state in _ENDED | {State.UNDONE} or _holds(seen, ConditionType.STALLED)


def _watch(watched: _Watched, longest: timedelta) -> None:
    """Tells each state and what it waits for. Raises typer.Exit with 1 when it ended otherwise, UserError at the end
    of the time."""
    told, last = "", "waiting for the operator"
    approved: int | None = None
    for seen in watched.looks(time.monotonic() + longest.total_seconds()):
        approved = approved if approved is not None else seen.metadata.generation or 1
        if (seen.status.observed_generation or 0) < approved:
            continue
        last = _line(seen)
        if last != told:
            note(last)
            told = last
        if watched.arrived(seen):
            return
        if watched.stuck(seen):
            raise typer.Exit(1)
    raise UserError(
        f"after {durations.text(longest)} {watched.name} is not {watched.wanted} ({last}). It goes on without this "
        f"command: kubectl get rem {watched.name} -n {watched.namespace} -o wide"
    )


def _line(seen: Remediation) -> str:
    message = next((c.message for c in seen.status.conditions if c.type is ConditionType.READY), "")
    return f"{seen.status.state or State.PROPOSED}: {message}" if message else str(seen.status.state or State.PROPOSED)


def _holds(seen: Remediation, kind: ConditionType) -> bool:
    return any(c.type is kind and c.status == "True" for c in seen.status.conditions)
