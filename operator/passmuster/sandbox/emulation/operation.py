"""What an emulated operation is given: the call, its account and region, moto's own answer, state and clients.

Emulated operations (services/, stacks/, sts.py) are plain functions from `Handling` to a dict in botocore's output
shape, collected in tables by (service, operation); front.py serves them before moto and writes the dict down in the
protocol of the call. They raise `wire.AWSError` for an answer that is an error.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from moto.backends import get_backend

from passmuster.model.account import partition_of
from passmuster.sandbox.emulation import wire

Output = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """An account and a region of the simulated AWS, with what emulation needs to act there.

    `client_of(service, region, account, access_key)` gives a boto3 client that answers in process; `kept` is the
    store of what moto has no place for, emptied by `SimulatedAWS.reset`.
    """

    account: str
    region: str
    client_of: Callable[[str, str, str, str], Any]
    kept: dict[tuple[str, str, str], dict[Any, Any]]
    access_key: str = ""

    def client(self, service: str, region: str | None = None) -> Any:
        """A client that acts as the account itself, past faults, access control and the request log."""
        return self.client_of(service, region or self.region, self.account, self.access_key)

    def state(self, name: str, *, everywhere: bool = False) -> dict[Any, Any]:
        """Our own state under this name: per region, or (`everywhere`) one for the whole account."""
        return self.kept.setdefault((self.account, "" if everywhere else self.region, name), {})

    def backend(self, name: str) -> Any:
        """moto's backend of a service in this account and region, for what no API can set."""
        regions = get_backend(name)[self.account]
        return regions[self.region] if self.region in regions else regions[partition_of(self.region)]


@dataclass(frozen=True, slots=True)
class Handling:
    """One call on its way through an emulated operation."""

    call: wire.Call
    place: Place
    original: Callable[[], wire.Answer] = field(repr=False)

    @property
    def params(self) -> dict[str, Any]:
        return self.call.params

    def moto(self) -> Output:
        """moto's answer to this very call, as a client would read it; its errors are raised."""
        return wire.read_output(self.call, self.original())


Operation = Callable[[Handling], Output]
Operations = Mapping[tuple[str, str], Operation]


def always(answer: Output) -> Operation:
    """An operation that says the same to everybody."""
    return lambda _: deepcopy(answer)
