"""Remediations change what they say and can be taken back: the other loops of Foundation.

`closed_loops` says how; the modules are several so that several processes share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from closed_loops import Accounts, close, loops, simulated_accounts
from passmuster.remediation.definition import Definition

pytestmark = pytest.mark.slow
accounts = simulated_accounts


@pytest.mark.parametrize(("definition", "row"), loops("0-foundation", slice(1, None, 2)))
def test_the_loop_is_closed(accounts: Accounts, definition: Definition, row: Mapping[str, Any]) -> None:
    close(accounts, definition, row)
