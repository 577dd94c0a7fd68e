"""A real Prometheus and a real Alertmanager on loopback, for the tests of rules, dashboards and the alert loop.

    operator /metrics <- Prometheus (rules) -> Alertmanager -> POST /alerts of the operator

Both are processes of their own on free ports, ended by their own process ids; their data lies in the folder they are
given. The binaries come from `prometheus_binaries.find`, which never downloads.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from passmuster.sandbox.operator_process import free_port
from passmuster.sandbox.prometheus_binaries import PrometheusBinaries

START_SECONDS = 30.0
STOP_SECONDS = 10.0


class NotStarted(Exception):
    """The process ended or did not become ready; the message holds the end of its log."""


class QueryRefused(Exception):
    """Prometheus does not take the expression; the message is its own."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its labels, and its points as (Unix time, value); an instant answer has one."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """The last value."""
        return self.points[-1][1]


class _Server(ABC):
    """A process with an HTTP port of loopback and /-/ready."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder / name
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """What to execute; writes the configuration that it names."""

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self.url.removeprefix("http://")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the process and returns when it is ready, usually after less than a second."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self._command()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise NotStarted(f"{command[0]} did not become ready:\n{self.tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it with SIGTERM, or SIGKILL after ten seconds."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def get(self, path: str, **parameters: str) -> Any:
        """What a page of its API answers, decoded. Raises QueryRefused for an answer of 400 or 422."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(f"{self.url}{path}{query}", timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")
            raise QueryRefused(said) from error

    def post(self, path: str, body: Any = None) -> None:
        """A POST of a JSON document."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            data=json.dumps(body).encode() if body is not None else b"",
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=30):
            return

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class Alertmanager(_Server):
    """Alertmanager without a cluster, that sends everything to one webhook with a bearer token.

    `group_wait` and `group_interval` are as short as the tests need them; a resolved alert is sent too. With
    `max_alerts` a notification is truncated to so many.
    """

    def __init__(
        self, programs: PrometheusBinaries, folder: Path, *, webhook: str, token_file: Path, max_alerts: int = 0
    ) -> None:
        super().__init__("alertmanager", folder)
        self._programs = programs
        self._webhook, self._token_file, self._max_alerts = webhook, token_file, max_alerts

    def _command(self) -> list[str]:
        receiver = {
            "url": self._webhook,
            "send_resolved": True,
            "max_alerts": self._max_alerts,
            "http_config": {
                "authorization": {"type": "Bearer", "credentials_file": str(self._token_file)},
            },
        }
        config = {
            "route": {
                "receiver": "passmuster",
                "group_by": ["alertname", "account_id", "policy_namespace", "policy"],
                "group_wait": "1s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{"name": "passmuster", "webhook_configs": [receiver]}],
        }
        path = self.folder / "alertmanager.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return [
            str(self._programs.alertmanager),
            f"--config.file={path}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it knows and that have not ended."""
        return list(self.get("/api/v2/alerts"))


class Prometheus(_Server):
    """Prometheus with scrape targets, rule files and perhaps an Alertmanager, everything at one interval.

    `targets` are jobs with HOST:PORT; pods and instances get the labels that the ServiceMonitor of the chart gives.
    """

    def __init__(
        self,
        programs: PrometheusBinaries,
        folder: Path,
        *,
        targets: Mapping[str, str],
        rules: Sequence[Path] = (),
        alertmanager: Alertmanager | None = None,
        interval: str = "1s",
    ) -> None:
        super().__init__("prometheus", folder)
        self._programs = programs
        self._targets, self._rules, self._alertmanager = dict(targets), tuple(rules), alertmanager
        self._interval = interval

    def _command(self) -> list[str]:
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": self._interval,
                "scrape_timeout": self._interval,
                "evaluation_interval": self._interval,
            },
            "rule_files": [str(path) for path in self._rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in self._targets.items()
            ],
        }
        if self._alertmanager is not None:
            managers = [{"static_configs": [{"targets": [self._alertmanager.address]}]}]
            config["alerting"] = {"alertmanagers": managers}
        path = self.folder / "prometheus.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return [
            str(self._programs.prometheus),
            f"--config.file={path}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={self.address}",
            "--log.level=warn",
        ]

    def query(self, expression: str, at: float | None = None) -> list[Series]:
        """An instant query; at a Unix time, or now. Raises QueryRefused."""
        moment = {"time": str(at)} if at is not None else {}
        data = self.get("/api/v1/query", query=expression, **moment)["data"]
        if data["resultType"] == "scalar":
            return [Series({}, (_point(data["result"]),))]
        return [Series(one["metric"], (_point(one["value"]),)) for one in data["result"]]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """A range query between Unix times; a step in seconds. Raises QueryRefused."""
        data = self.get("/api/v1/query_range", query=expression, start=str(start), end=str(end), step=str(step))["data"]
        return [Series(one["metric"], tuple(map(_point, one["values"]))) for one in data["result"]]

    def label_values(self, label: str, selector: str) -> list[str]:
        """The values that a label has among the series of a selector, as Grafana asks for a variable."""
        return list(self.get(f"/api/v1/label/{label}/values", **{"match[]": selector})["data"])

    def names(self) -> set[str]:
        """Every metric name it has seen."""
        return set(self.get("/api/v1/label/__name__/values")["data"])

    def alerts(self) -> list[dict[str, Any]]:
        """Its pending and firing alerts."""
        return list(self.get("/api/v1/alerts")["data"]["alerts"])

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health and the time of its last evaluation."""
        groups = self.get("/api/v1/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def _point(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
