"""A real Prometheus and a real Alertmanager on loopback, for the tests of rules, dashboards and the alert loop.

    operator /metrics <- Prometheus (rules) -> Alertmanager -> POST /alerts of the operator

Both are processes of their own on free ports, ended by their own process ids; their data lies in the folder they are
given. The binaries come from `prometheus_binaries.find`, which never downloads.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from passmuster.sandbox.prometheus_binaries import PrometheusBinaries
from passmuster.sandbox.server_process import ServerProcess, free_port


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


class _Server(ServerProcess):
    """A program with a configuration file, the port of its pages and /-/ready."""

    START_SECONDS = 30.0
    STOP_SECONDS = 10.0

    def __init__(self, name: str, program: Path, folder: Path) -> None:
        super().__init__(name, folder / f"{name}.log")
        self.folder = folder / name
        self.url = f"http://127.0.0.1:{free_port()}"
        self._program = program

    @abstractmethod
    def _config(self) -> Mapping[str, Any]:
        """What its configuration file says."""

    @abstractmethod
    def _arguments(self) -> Sequence[str]:
        """The arguments that are its own."""

    def _command(self) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / f"{self.name}.yaml"
        config.write_text(yaml.safe_dump(dict(self._config()), sort_keys=False), encoding="utf-8")
        return [
            str(self._program),
            f"--config.file={config}",
            f"--web.listen-address={self.address}",
            "--log.level=warn",
            *self._arguments(),
        ]

    def _folder(self) -> Path:
        return self.folder

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self.url.removeprefix("http://")

    def get(self, path: str, **parameters: str) -> Any:
        """What a page of its API answers, decoded. Raises QueryRefused when the answer is an error."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(f"{self.url}{path}{query}", timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")
            raise QueryRefused(said) from error

    def post(self, path: str, body: Any) -> None:
        """A POST of a JSON document."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            data=json.dumps(body).encode(),
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
        super().__init__("alertmanager", programs.alertmanager, folder)
        self._webhook, self._token_file, self._max_alerts = webhook, token_file, max_alerts

    def _config(self) -> Mapping[str, Any]:
        receiver = {
            "url": self._webhook,
            "send_resolved": True,
            "max_alerts": self._max_alerts,
            "http_config": {
                "authorization": {"type": "Bearer", "credentials_file": str(self._token_file)},
            },
        }
        return {
            "route": {
                "receiver": "passmuster",
                "group_by": ["alertname", "account_id", "policy_namespace", "policy"],
                "group_wait": "1s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{"name": "passmuster", "webhook_configs": [receiver]}],
        }

    def _arguments(self) -> Sequence[str]:
        return (f"--storage.path={self.folder / 'data'}", "--cluster.listen-address=")

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it knows and that have not ended."""
        return list(self.get("/api/v2/alerts"))


class Prometheus(_Server):
    """Prometheus with scrape targets, rule files and perhaps an Alertmanager, everything at one interval.

    `targets` are jobs with HOST:PORT.
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
        super().__init__("prometheus", programs.prometheus, folder)
        self._targets, self._rules, self._alertmanager = dict(targets), tuple(rules), alertmanager
        self._interval = interval

    def _config(self) -> Mapping[str, Any]:
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
        return config

    def _arguments(self) -> Sequence[str]:
        return (f"--storage.tsdb.path={self.folder / 'data'}",)

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
