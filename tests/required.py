"""What a test does where something that it needs is not on this machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def do_without(what: str, sentence: str) -> NoReturn:
    """Skips visibly, and fails where PASSMUSTER_REQUIRE names it, as CI does: there a skip would be silence."""
    if what in os.environ.get("PASSMUSTER_REQUIRE", "").split(","):
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)
