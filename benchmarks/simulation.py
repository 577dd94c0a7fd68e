"""A simulated AWS in a process of its own, so that what it costs is not counted as ours. Used by every benchmark.

::

    benchmark --JSON lines--> this file as a process: one seeded account on the sandbox's SimulatedAWS
                                                     |
                               replicas: a recording server in front of it

The account is the review's, as `make demo` shows it, optionally with many more buckets, queues and log groups. With
`replicas`, every account id exists and looks like that one account: the first answer to a request is recorded and
given again with the other id in it, so that a thousand accounts cost the server next to nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

READY_WITHIN = 300.0


@dataclass(frozen=True, slots=True)
class Size:
    """What the account has beside the review's shop."""

    buckets: int = 0
    queues: int = 0
    log_groups: int = 0

    def arguments(self) -> list[str]:
        return [f"--buckets={self.buckets}", f"--queues={self.queues}", f"--log-groups={self.log_groups}"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a benchmark must know of the simulated AWS."""

    url: str
    account_id: str
    region: str
    role_name: str
    external_id: str
    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        """The caller's own identity, in the ordinary AWS configuration."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def role(self, account_id: str) -> str:
        """The inspection role of an account."""
        return f"arn:aws:iam::{account_id}:role/{self.role_name}"


class Simulation:
    """The process, as a context manager."""

    def __init__(self, size: Size | None = None, *, replicas: bool = False) -> None:
        self._arguments = [*(size or Size()).arguments(), *(["--replicas"] if replicas else [])]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.facts = Facts(**self._answer())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def requests(self) -> dict[str, int]:
        """How many requests came since the last time, by `service:Operation`."""
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the simulated AWS is not running")
        self._process.stdin.write("requests\n")
        self._process.stdin.flush()
        answer: dict[str, int] = self._answer()
        return answer

    def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the simulated AWS ended by itself")
        return json.loads(line)


# the process ---------------------------------------------------------------------------------------------------------


def main() -> int:
    """Seeds, answers one line for each line of standard input, and ends with it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--buckets", type=int, default=0)
    parser.add_argument("--queues", type=int, default=0)
    parser.add_argument("--log-groups", type=int, default=0)
    parser.add_argument("--replicas", action="store_true")
    given = parser.parse_args()
    with ExitStack() as stack:
        facts, requests = _serve(Size(given.buckets, given.queues, given.log_groups), given.replicas, stack)
        print(json.dumps(asdict(facts)), flush=True)
        for _ in sys.stdin:
            print(json.dumps(requests()), flush=True)
    return 0


def _serve(size: Size, replicas: bool, stack: ExitStack) -> tuple[Facts, Callable[[], dict[str, int]]]:
    from passmuster.sandbox.accounts import review
    from passmuster.sandbox.simulated_aws import SimulatedAWS

    aws = stack.enter_context(SimulatedAWS())
    account = review.seed(aws)
    _enlarge(aws, account.account_id, account.region, size)
    keys = aws.root_keys(account.account_id)
    url, requests = aws.url, _counter(aws)
    if replicas:
        front = Replicas(aws.url, account.account_id)
        stack.callback(front.close)
        server = front.server()
        stack.callback(server.stop)
        server.start()
        url, requests = server.url, front.taken
    facts = Facts(
        url=url,
        account_id=account.account_id,
        region=account.region,
        role_name=account.inspection_role_arn.rpartition("/")[2],
        external_id=account.external_id,
        access_key=keys.access_key,
        secret_key=keys.secret_key,
    )
    return facts, requests


def _enlarge(aws: Any, account_id: str, region: str, size: Size) -> None:
    s3, sqs, logs = (aws.client(service, region, account_id=account_id) for service in ("s3", "sqs", "logs"))
    for number in range(size.buckets):
        place = {"LocationConstraint": region}
        s3.create_bucket(Bucket=f"benchmark-{number:05}", CreateBucketConfiguration=place)
    for number in range(size.queues):
        sqs.create_queue(QueueName=f"benchmark-{number:05}")
    for number in range(size.log_groups):
        logs.create_log_group(logGroupName=f"/benchmark/{number:05}")


def _counter(aws: Any) -> Callable[[], dict[str, int]]:
    aws.requests.clear()

    def taken() -> dict[str, int]:
        found = Counter(f"{request.service}:{request.operation}" for request in aws.requests)
        aws.requests.clear()
        return dict(found)

    return taken


_SCOPE = re.compile(r"Credential=([^/,]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_SESSION = "ASIA"


class Replicas:
    """Answers for any account with what one account answered; sts is spoken here, because it tells accounts apart."""

    def __init__(self, url: str, account_id: str) -> None:
        import urllib3

        self._url = url
        self._original = account_id.encode()
        self._pool = urllib3.PoolManager(maxsize=32, retries=False)
        self._recorded: dict[tuple[Any, ...], Any] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._requests: Counter[str] = Counter()
        self._lock = threading.Lock()

    def server(self) -> Any:
        """The HTTP server that speaks for it."""
        from passmuster.sandbox.emulation.server import LoopbackServer

        return LoopbackServer(self)

    def close(self) -> None:
        self._pool.clear()

    def taken(self) -> dict[str, int]:
        """How many requests came since the last time."""
        with self._lock:
            found, self._requests = self._requests, Counter()
        return dict(found)

    def answer(self, environ: dict[str, Any], body: bytes) -> Any:
        """The recorded answer, or the original's, with the caller's account in it."""
        from passmuster.sandbox.emulation import wire

        found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        key, region, service = found.groups() if found is not None else ("", "", "")
        if service == "sts":
            return self._identify(environ, body, key)
        account = key[len(_SESSION) :][:12].encode() if key.startswith(_SESSION) else self._original
        mark = (
            region,
            service,
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
            environ.get("HTTP_X_AMZ_TARGET", ""),
            body.replace(account, self._original),
        )
        recorded = self._recorded.get(mark)
        if recorded is None:
            recorded = self._recorded[mark] = (_name(wire.identify(environ, body)), self._forward(environ, mark))
        name, answer = recorded
        with self._lock:
            self._requests[name] += 1
        return wire.Answer(answer.status, answer.headers, answer.body.replace(self._original, account))

    def _forward(self, environ: dict[str, Any], mark: tuple[Any, ...]) -> Any:
        from passmuster.sandbox.emulation import wire

        headers = {
            name.removeprefix("HTTP_").replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and name not in ("HTTP_HOST", "HTTP_CONTENT_LENGTH")
        }
        if environ.get("CONTENT_TYPE"):
            headers["Content-Type"] = environ["CONTENT_TYPE"]
        _, _, method, path, query, _, body = mark
        target = f"{self._url}{environ.get('REQUEST_URI') or f'{path}?{query}'}"
        answer = self._pool.request(method, target, body=body, headers=headers, redirect=False)
        return wire.Answer(answer.status, list(answer.headers.items()), answer.data)

    def _identify(self, environ: dict[str, Any], body: bytes, key: str) -> Any:
        from passmuster.sandbox.emulation import wire

        call = wire.identify(environ, body)
        if call is None:
            raise RuntimeError("not a request that sts knows")
        with self._lock:
            self._requests[_name(call)] += 1
        if call.operation == "GetCallerIdentity":
            account = key[len(_SESSION) :][:12] if key.startswith(_SESSION) else self._original.decode()
            arn = f"arn:aws:sts::{account}:assumed-role/benchmark/benchmark"
            return wire.write_output(call, {"UserId": account, "Account": account, "Arn": arn})
        from datetime import UTC, datetime, timedelta

        account = call.params["RoleArn"].split(":")[4]
        credentials = {
            "AccessKeyId": f"{_SESSION}{account}BENC",
            "SecretAccessKey": "benchmark",
            "SessionToken": "benchmark",
            "Expiration": datetime.now(UTC) + timedelta(hours=1),
        }
        return wire.write_output(call, {"Credentials": credentials})


def _name(call: Any) -> str:
    return f"{call.service}:{call.operation}" if call is not None else "unknown"


if __name__ == "__main__":
    sys.exit(main())
