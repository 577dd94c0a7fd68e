"""The operator as a process of its own, as a cluster would run it, for the demo, `sandbox up` and end-to-end tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class OperatorFailed(Exception):
    """The operator did not become ready, or ended; the message holds the end of its log."""


class OperatorProcess:
    """`passmuster operator` on a free port of loopback; a context manager that ends it by its own process id."""

    def __init__(
        self,
        *,
        kubeconfig: Path,
        endpoint_url: str,
        environment: Mapping[str, str],
        log: Path,
        arguments: Sequence[str] = (),
    ) -> None:
        self._kubeconfig = kubeconfig
        self._endpoint_url = endpoint_url
        self._environment = environment
        self._log = log
        self._arguments = tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid if self._process is not None else 0

    def start(self, timeout: float = 60.0) -> None:
        """Starts the process and returns when /readyz is green."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            sys.executable,
            "-m",
            "passmuster.cli.main",
            "operator",
            "--kubeconfig",
            str(self._kubeconfig),
            "--endpoint-url",
            self._endpoint_url,
            "--http-address",
            f"127.0.0.1:{port}",
            *self._arguments,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**environment, **self._environment}, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + timeout
        while not self.get("/readyz"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise OperatorFailed("the operator did not become ready:\n" + self.tail())
            time.sleep(0.1)

    def stop(self, *, abruptly: bool = False) -> int | None:
        """Ends it with SIGTERM, or SIGKILL if `abruptly` or after 15 s; returns its exit code."""
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signal.SIGKILL if abruptly else signal.SIGTERM)
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def get(self, path: str) -> str:
        """The body of a page of its port; empty while it does not answer with 200."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
