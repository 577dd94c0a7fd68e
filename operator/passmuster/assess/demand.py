"""What a policy demands of an account, with the account's own rules already applied.

Built by the engine from the custom resources or from the command line's flags; assess takes nothing else from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from passmuster.assess.scope import TagFilter
from passmuster.checks.catalogue import Catalogue
from passmuster.checks.declaration import Check
from passmuster.model.evidence import Waiver
from passmuster.model.grant import Grant
from passmuster.model.parameter import Parameter, Parameters, Value, resolve
from passmuster.model.verdict import Phase


@dataclass(frozen=True, slots=True)
class Demand:
    """The desired level and how it is asked for. Ids are check ids; `floors` are the loosest parameters allowed.

    `waivers` are those that count, `grants` every waiver and attestation with whether it does; `scope` is the tags that
    resources must have to be judged, all of them, and everything without any.
    """

    level: Phase = Phase.PRODUCTION
    minimum_score: float | None = None
    optional: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()
    may_disable: frozenset[str] = frozenset()
    parameters: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    floors: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()
    grants: tuple[Grant, ...] = ()
    scope: tuple[TagFilter, ...] = ()

    def judges(self, check: Check) -> bool:
        """Whether the check is evaluated at all: not disabled, and asked for if it is optional."""
        return check.id not in self.disabled and (not check.optional or check.id in self.optional)

    def enabled(self, catalogue: Catalogue) -> tuple[Check, ...]:
        """The checks whose calls an inspection makes."""
        return tuple(check for check in catalogue if self.judges(check))

    def parameters_of(self, check: Check) -> Parameters:
        """The check's parameters, with those it shares: defaults, the policy's values, the account's floors.

        What a floor raised is told by the check that declares the parameter, and by no other.
        """
        shared = {
            name: value for other, given in check.shares.items() for name, value in self._of(other, given).items()
        }
        own = self._of(check.id, check.parameters)
        return Parameters({**shared, **own}, own.raised)

    def _of(self, check_id: str, declared: tuple[Parameter, ...]) -> Parameters:
        return resolve(check_id, declared, self.parameters.get(check_id, {}), self.floors.get(check_id, {}))

    def every_parameter(self, catalogue: Catalogue) -> dict[str, dict[str, Value]]:
        """The parameters of every check, by check and name."""
        return {
            check.id: {given.name: self.parameters_of(check)[given.name] for given in check.parameters}
            for check in catalogue
            if check.parameters
        }
