"""Operations that moto lacks or answers too thinly, by what they are for; `operations` gathers them for the front.

Only what the checks, the remediations and the engine read is here. Everything else stays with moto, and what nobody
emulates is laid as an overlay.
"""

from passmuster.sandbox.emulation.operation import Operations
from passmuster.sandbox.emulation.services import (
    accelerators,
    acm,
    caches,
    cloudtrail,
    compute,
    conformance,
    costs,
    databases,
    functions,
    governance,
    identities,
    monitoring,
    recovery,
    security,
    storage,
    traffic,
    unused,
)

_MODULES = (
    unused,
    accelerators,
    acm,
    caches,
    cloudtrail,
    compute,
    conformance,
    costs,
    databases,
    functions,
    governance,
    identities,
    monitoring,
    recovery,
    security,
    storage,
    traffic,
)


def operations() -> Operations:
    """Every emulated operation of these modules."""
    return {key: operation for module in _MODULES for key, operation in module.OPERATIONS.items()}
