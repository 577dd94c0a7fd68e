"""What Flux makes of objects: kstatus itself, for tests that hold our statuses against what the documentation says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def told(command: Sequence[str], objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """The status that kstatus computes of each object: InProgress, Current, Failed or Terminating."""
    given = "\n".join(json.dumps(body) for body in objects)
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return [str(json.loads(line)["status"]) for line in done.stdout.splitlines()]
