"""A server of this machine as a process of its own: started, waited for until it is ready, and ended by its process id.

The operator (`operator_process`), Prometheus and Alertmanager (`prometheus`) are such; kube-apiserver and etcd must die
with us even of SIGKILL, and `control_plane` has its own way for that.
"""

from __future__ import annotations

import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self


class NotStarted(Exception):
    """The process ended or did not become ready; the message holds the end of its log."""


class ServerProcess(ABC):
    """A process that listens on loopback, as a context manager or by start() and stop()."""

    START_SECONDS: ClassVar[float]
    STOP_SECONDS: ClassVar[float]

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.url = ""
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """What to execute; writes the files and takes the port that it names."""

    @abstractmethod
    def _ready(self) -> bool:
        """Whether it serves."""

    def _folder(self) -> Path | None:
        """Where it runs; by default where we do."""
        return None

    def _environment(self) -> Mapping[str, str] | None:
        """Its environment; by default ours."""
        return None

    @property
    def pid(self) -> int:
        """The process id; 0 before the first start."""
        return self._process.pid if self._process is not None else 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the process and returns when it is ready. Raises NotStarted; then nothing is left running."""
        command = self._command()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder(),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + self.START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise NotStarted(f"{self.name} did not become ready:\n{self.tail()}")
            time.sleep(0.05)

    def stop(self, *, abruptly: bool = False) -> int | None:
        """Ends it with SIGTERM, or SIGKILL if `abruptly` or when that takes too long; returns its exit code."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            if abruptly:
                process.kill()
            else:
                process.terminate()
            try:
                process.wait(timeout=self.STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
