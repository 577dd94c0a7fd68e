"""Operations that moto lacks or answers too thinly, one module per service; `operations` gathers them for the front.

Only what the checks, the remediations and the engine read is here. Everything else stays with moto, and what nobody
emulates is laid as an overlay.
"""

from passmuster.sandbox.emulation.operation import Operations
from passmuster.sandbox.emulation.services import acm, cloudtrail, elbv2


def operations() -> Operations:
    """Every emulated operation of these modules."""
    return {**acm.OPERATIONS, **cloudtrail.OPERATIONS, **elbv2.OPERATIONS}
