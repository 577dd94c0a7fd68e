"""ministack as a process: a CloudFormation that other people simulate, for the second opinion of the change-set engine.

It needs no Docker for what is asked of it here, keeps nothing on disk, and speaks on loopback only.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from passmuster.sandbox.server_process import ServerProcess, free_port


class Ministack(ServerProcess):
    """ministack on a free port; `account_id` is the account of every key."""

    START_SECONDS = 120.0
    STOP_SECONDS = 20.0

    def __init__(self, command: Sequence[str], folder: Path, account_id: str) -> None:
        super().__init__("ministack", folder / "ministack.log")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._started_by, self._home, self._account_id = command, folder, account_id

    def _command(self) -> list[str]:
        return list(self._started_by)

    def _folder(self) -> Path:
        return self._home

    def _environment(self) -> Mapping[str, str]:
        home = str(self._home)
        where = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self._port), "MINISTACK_ACCOUNT_ID": self._account_id}
        apart = {"DOCKER_HOST": "unix:///nonexistent", "SFTP_ENABLED": "0", "IOT_MTLS_ENABLED": "0", "S3_PERSIST": "0"}
        return {"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": home, **where, **apart}

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
