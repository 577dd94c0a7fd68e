"""What a check is: metadata, the calls it needs, and a pure function from what was read to findings.

Every module below `checks/<category>/` declares exactly one, with the decorator `check`. The function's name is the
check's id (underscores become hyphens), its docstring says why the check matters and how it is judged where that can be
read in two ways.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Literal

from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import View
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding
from passmuster.model.parameter import Parameter, Parameters
from passmuster.model.verdict import Category, Fix, Phase, Severity

Evaluate = Callable[[View, Parameters, Evidence], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Controls:
    """The same question in the words of others: AWS Config managed rules, Security Hub controls and best practices of
    the Well-Architected Framework (2024-06 edition of its numbering)."""

    config: tuple[str, ...] = ()
    security_hub: tuple[str, ...] = ()
    well_architected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One question about an account.

    per
        `region`: evaluated once in each governed region; `account`: once with all regions in view.
    nothing
        the sentence of the one NotApplicable finding where the check finds nothing to judge. Without it the check must
        always yield a finding, and silence is a defect.
    optional
        NotApplicable unless the policy asks for it.
    attestable
        how long an attestation may stand in for native evidence; None: not at all.
    weighs_attestation
        the attestation stands in for one part of several, and the check itself says which; otherwise an attestation
        that holds turns every failure and every Unknown of the check into an attested Pass.
    payer
        the fact lives in the organization's payer account.
    payer_calls
        of a check that is judged in the account itself: what it reads in the payer account too, where the account is a
        member that names one; `View.payer` shows it.
    shares
        parameters of other checks that this one reads too, by the id of the check that declares them: a policy gives
        them there, once.
    also
        further categories the check is shown and scored in; it counts once in the total.
    """

    id: str
    title: str
    description: str
    category: Category
    phase: Phase
    severity: Severity
    fix: tuple[Fix, ...]
    calls: tuple[Call, ...]
    evaluate: Evaluate
    per: Literal["region", "account"]
    nothing: str
    parameters: tuple[Parameter, ...]
    optional: bool
    attestable: timedelta | None
    weighs_attestation: bool
    payer: bool
    payer_calls: tuple[Call, ...]
    shares: Mapping[str, tuple[Parameter, ...]]
    also: tuple[Category, ...]
    controls: Controls
    module: str

    @property
    def categories(self) -> tuple[Category, ...]:
        """Every category the check is shown in."""
        return (self.category, *self.also)


def check(
    *,
    title: str,
    category: Category,
    phase: Phase,
    severity: Severity,
    fix: str,
    calls: tuple[Call, ...],
    per: Literal["region", "account"] = "region",
    nothing: str = "",
    parameters: tuple[Parameter, ...] = (),
    optional: bool = False,
    attestable: timedelta | None = None,
    weighs_attestation: bool = False,
    payer: bool = False,
    payer_calls: tuple[Call, ...] = (),
    shares: Mapping[str, tuple[Parameter, ...]] = MappingProxyType({}),
    also: tuple[Category, ...] = (),
    controls: Controls | None = None,
) -> Callable[[Evaluate], Check]:
    """Turns an evaluate function into a Check; `fix` lists the fix classes, for example "A" or "AI"."""

    def declare(evaluate: Evaluate) -> Check:
        return Check(
            id=evaluate.__name__.replace("_", "-"),
            title=title,
            description=inspect.cleandoc(evaluate.__doc__ or ""),
            category=category,
            phase=phase,
            severity=severity,
            fix=tuple(Fix(letter) for letter in fix),
            calls=calls,
            evaluate=evaluate,
            per=per,
            nothing=nothing,
            parameters=parameters,
            optional=optional,
            attestable=attestable,
            weighs_attestation=weighs_attestation,
            payer=payer,
            payer_calls=payer_calls,
            shares=shares,
            also=also,
            controls=controls or Controls(),
            module=evaluate.__module__,
        )

    return declare
