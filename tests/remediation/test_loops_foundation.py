"""Remediations change what they say and can be taken back: every other loop of Foundation.

`closed_loops` says how; the modules are several so that several processes share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from closed_loops import KEYS, ROWS, Accounts, close, loops, simulated_accounts
from passmuster.api.remediation import Way
from passmuster.remediation.catalogue import load
from passmuster.remediation.definition import Definition

pytestmark = pytest.mark.slow
accounts = simulated_accounts


def test_every_remediation_that_can_be_carried_out_has_a_row() -> None:
    executable = {one.name for one in load() if one.way is not Way.GUIDE}
    assert sorted(executable - set(ROWS)) == []
    assert sorted(set(ROWS) - executable) == []
    for name, row in ROWS.items():
        assert set(row) <= KEYS or set(row) == {"unproven"}, name
        assert str(row.get("unproven", "because of")).startswith("because "), name


@pytest.mark.parametrize(("definition", "row"), loops("0-foundation", slice(0, None, 2)))
def test_the_loop_is_closed(accounts: Accounts, definition: Definition, row: Mapping[str, Any]) -> None:
    close(accounts, definition, row)
