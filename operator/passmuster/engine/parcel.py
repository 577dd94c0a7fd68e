"""A value packed away between two turns: an account's snapshot is forty times smaller so, its report eight times.

An account is looked at once an interval and remembered all the time. The reconciler, the inspector and the cache keep
in parcels what they need only when it is its turn; packing and opening take milliseconds.

What belongs to the catalogue (calls, definitions of remediations) is referred to and not packed, so that an opened
value holds the very objects that checks compare with.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import zlib
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from passmuster.inventory.call import Call
from passmuster.remediation.definition import Definition

T = TypeVar("T")

SHARED = (Call, Definition)


class Parcel(Generic[T]):
    """Holds a value of plain data and dataclasses. Each opening gives a copy of its own. Immutable and thread-safe."""

    __slots__ = ("_packed", "_shared")

    def __init__(self, value: T) -> None:
        buffer = io.BytesIO()
        packer = _Packer(buffer)
        packer.dump(value)
        self._packed = zlib.compress(buffer.getvalue(), 1)
        self._shared = tuple(packer.shared)

    def open(self) -> T:
        """The value as it was packed."""
        value: T = _Opener(io.BytesIO(zlib.decompress(self._packed)), self._shared).load()
        return value

    def __sizeof__(self) -> int:
        return len(self._packed)


class _Packer(pickle.Pickler):
    """Writes what is shared as its position in `shared`."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        reducers: dict[type, Any] = {MappingProxyType: lambda proxy: (_proxy, (dict(proxy),))}
        self.dispatch_table = {**copyreg.dispatch_table, **reducers}
        self.shared: list[Any] = []
        self._positions: dict[int, int] = {}

    def persistent_id(self, value: Any) -> int | None:
        """The position of a shared object; None for everything else."""
        if not isinstance(value, SHARED):
            return None
        position = self._positions.get(id(value))
        if position is None:
            position = self._positions[id(value)] = len(self.shared)
            self.shared.append(value)
        return position


def _proxy(mapping: dict[str, str]) -> MappingProxyType[str, str]:
    return MappingProxyType(mapping)


class _Opener(pickle.Unpickler):
    """Reads what `_Packer` wrote."""

    def __init__(self, buffer: io.BytesIO, shared: tuple[Any, ...]) -> None:
        super().__init__(buffer)
        self._shared = shared

    def persistent_load(self, position: Any) -> Any:
        """The shared object at a position."""
        return self._shared[position]
