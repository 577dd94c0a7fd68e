"""The resource types that stacks of the simulated AWS can hold, by what they are for.

A type is here because a remediation, a blueprint or a seed deploys it. `kinds` gathers them for the engine; what is not
here is refused by name when a change set is created.
"""

from collections.abc import Mapping
from itertools import chain

from passmuster.sandbox.emulation.stacks.catalogue import (
    compute,
    cost,
    data,
    governance,
    identity,
    monitoring,
    nested,
    network,
    operations,
    security,
    storage,
    traffic,
)
from passmuster.sandbox.emulation.stacks.kinds import Kind

_MODULES = (
    compute,
    cost,
    data,
    governance,
    identity,
    monitoring,
    nested,
    network,
    operations,
    security,
    storage,
    traffic,
)


def kinds() -> Mapping[str, Kind]:
    """Every type by its CloudFormation name."""
    return {kind.type_name: kind for kind in chain.from_iterable(module.KINDS for module in _MODULES)}
