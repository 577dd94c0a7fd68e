"""What a run of the command line left behind, for the tests that run it as a person does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ran:
    """What one run left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """What it said beside its output, on one line."""
        return " ".join(self.err.split())


Run = Callable[..., Ran]
