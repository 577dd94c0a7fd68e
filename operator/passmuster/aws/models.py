"""botocore's service models, cut down to the operations that this program uses.

botocore keeps the description of every operation of every service it made a client for: 115 MB and a second of CPU for
the fifty services that the checks read. What the catalogue declares of them takes a third of that. An operation that
nobody declared has no method in this process, which is a second fence around an inspection that only reads.

`Clients` gives its session the loader made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from botocore.loaders import JSONFileLoader, Loader, create_loader

from passmuster.inventory.call import Call, union
from passmuster.inventory.permissions import IDENTITY_CALL, REGIONS_CALL
from passmuster.remediation import catalogue as remediations
from passmuster.remediation.access import DELETE_STACK, STACK_CHANGES, STACK_READS

Operations = Mapping[str, frozenset[str]]
"""Operations by service."""

ASSUME_ROLE = ("sts", "AssumeRole")
PUT_OBJECT = ("s3", "PutObject")
"""What `aws.evidence_bucket` sends."""

STACK_OPERATIONS = frozenset({*STACK_READS, *STACK_CHANGES, DELETE_STACK})
"""What `aws.stacks` sends to CloudFormation, which is what the remediation role may send."""

GET_RESOURCE = ("cloudcontrol", "GetResource")
"""What `aws.stacks` sends to Cloud Control."""


def operations_of(calls: Iterable[Call]) -> Operations:
    """Everything these calls send, with what identities, remediations and the evidence store need beside them."""
    found: dict[str, set[str]] = {"cloudformation": set(STACK_OPERATIONS)}
    known = remediations.load()
    proposing = known.calls(check for one in known for check in one.fixes)
    for call in union((*calls, *proposing, IDENTITY_CALL, REGIONS_CALL)):
        found.setdefault(call.service, set()).add(call.operation)
    for service, operation in (ASSUME_ROLE, PUT_OBJECT, GET_RESOURCE):
        found.setdefault(service, set()).add(operation)
    for service, declared in known.operations().items():
        found.setdefault(service, set()).update(declared)
    return {service: frozenset(operations) for service, operations in found.items()}


def loader(data_path: str | None, operations: Operations) -> Loader:
    """botocore's loader, reading only these operations of the services named; other services are left whole."""
    made = create_loader(data_path)
    made.file_loader = _TrimmingFileLoader(operations)
    return made


class _TrimmingFileLoader(JSONFileLoader):
    """Reads `<service>/<version>/service-2`; what is cut off is never kept.

    Beside some of them lies `service-2.sdk-extras`, which botocore merges into the model afterwards. What it adds to
    shapes that were cut off is left out too: botocore would take the additions for whole shapes, and fail on the first
    error that the service answers, because it then reads every shape in search of errors.
    """

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._kept: dict[PurePath, frozenset[str]] = {}

    def load_file(self, file_path: str) -> Any:
        """The document without its extension, None if there is no such file."""
        document = super().load_file(file_path)
        path = PurePath(file_path)
        if document is not None and path.name == "service-2.sdk-extras" and path.parent in self._kept:
            return _extras_of(document, self._kept[path.parent])
        if document is None or path.name != "service-2":
            return document
        wanted = self._operations.get(path.parts[-3])
        if wanted is None:
            return document
        made = trimmed(document, wanted)
        self._kept[path.parent] = frozenset(made["shapes"])
        return made


def _extras_of(document: Mapping[str, Any], kept: frozenset[str]) -> dict[str, Any]:
    """Additions to a model, without those to shapes that the model does not have any more."""
    added = document.get("merge") or {}
    shapes = {name: shape for name, shape in (added.get("shapes") or {}).items() if name in kept}
    return {**document, "merge": {**added, "shapes": shapes}}


def trimmed(model: Mapping[str, Any], operations: frozenset[str]) -> dict[str, Any]:
    """A service model with these operations and the shapes they speak of, without documentation."""
    kept = {name: _plain(model["operations"][name]) for name in sorted(operations) if name in model["operations"]}
    shapes: dict[str, Any] = {}
    waiting = [shape for operation in kept.values() for shape in _shapes_of_operation(operation)]
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = _plain(model["shapes"][name])
            waiting.extend(reference["shape"] for reference in _references(shapes[name]))
    return {**_plain(model), "operations": kept, "shapes": shapes}


def _plain(described: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in described.items() if name != "documentation"}


def _shapes_of_operation(operation: Mapping[str, Any]) -> Iterator[str]:
    for name in ("input", "output"):
        if name in operation:
            yield operation[name]["shape"]
    for error in operation.get("errors", ()):
        yield error["shape"]


def _references(shape: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (shape.get("members") or {}).values()
    for name in ("member", "key", "value"):
        if name in shape:
            yield shape[name]
