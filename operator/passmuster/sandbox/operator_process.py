"""The operator as a process of its own, as a cluster would run it, for the demo, `sandbox up` and end-to-end tests."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from passmuster.sandbox.server_process import ServerProcess, free_port


class OperatorProcess(ServerProcess):
    """`passmuster operator` on a port of loopback that is free when it starts; ready when /readyz is green."""

    START_SECONDS = 60.0
    STOP_SECONDS = 15.0

    def __init__(
        self,
        *,
        kubeconfig: Path,
        endpoint_url: str,
        environment: Mapping[str, str],
        log: Path,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__("the operator", log)
        self._kubeconfig = kubeconfig
        self._endpoint_url = endpoint_url
        self._given = environment
        self._arguments = tuple(arguments)

    def _command(self) -> list[str]:
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        return [
            sys.executable,
            "-m",
            "passmuster.cli.main",
            "operator",
            "--kubeconfig",
            str(self._kubeconfig),
            "--endpoint-url",
            self._endpoint_url,
            "--http-address",
            address,
            *self._arguments,
        ]

    def _environment(self) -> dict[str, str]:
        """Ours without its AWS configuration, and what the operator is given instead."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**ours, **self._given}

    def _ready(self) -> bool:
        return bool(self.get("/readyz"))

    def get(self, path: str) -> str:
        """The body of a page of its port; empty while it does not answer with 200."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ""
