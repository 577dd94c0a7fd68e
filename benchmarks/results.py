"""How every benchmark is asked and answers: its own arguments and --json, a table, and the numbers as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def arguments(about: str | None) -> argparse.ArgumentParser:
    """The arguments of a benchmark, of which this module reads --json; `about` is its docstring."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="where the numbers are written")
    return parser


def tell(found: Mapping[str, Any], table: str, file: Path | None) -> None:
    """Print the table, and write the numbers where that was asked for."""
    print(table)
    if file is not None:
        file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
