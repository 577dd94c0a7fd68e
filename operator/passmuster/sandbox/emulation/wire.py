"""AWS's wire protocols: which operation a request means, and how answers and errors are written.

The front (front.py) identifies every request here before anything else looks at it, so that the request log, the
faults, the overlays and the emulated operations all speak of the same (service, operation, region). Requests are told
apart as AWS does: the credential scope names the signing service and the region; X-Amz-Target (JSON), Action and
Version (query) or method and path (REST) name the operation. Answers are written with moto's serializers, errors by
hand, because a fault may carry any code and status.
"""

import io
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from gzip import GzipFile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import botocore
from botocore.parsers import create_parser
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.exceptions import HTTPException

_SCOPE = re.compile(r"Credential=([^/,]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_UNSIGNED_ACTIONS = {"AssumeRoleWithWebIdentity": "sts", "AssumeRoleWithSAML": "sts"}
_PREFERRED = {"rds": 0, "elbv2": 0, "s3": 0, "lambda": 0, "docdb": 2, "neptune": 2}
_REST = ("rest-json", "rest-xml")


class AWSError(Exception):
    """An answer of AWS that is an error. Raised by emulated operations; `status` None means the usual one."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True, slots=True)
class ServiceIndex:
    """One service of botocore's catalogue, as far as it is needed to tell requests apart."""

    name: str
    signing_name: str
    protocol: str
    target_prefix: str
    api_version: str


@dataclass(slots=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status < 300


@dataclass(slots=True)
class Call:
    """One identified request: an operation of a service, in a region, signed with an access key."""

    service: str
    operation: str
    region: str
    access_key: str
    protocol: str
    environ: dict[str, Any] = field(repr=False)
    body: bytes = field(repr=False)
    account: str = ""
    _params: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def known(self) -> bool:
        """Whether botocore has a model of this operation; what it does not know can only go to moto as it is."""
        return bool(self.operation) and self.operation in service_model(self.service).operation_names

    @property
    def model(self) -> Any:
        return service_model(self.service).operation_model(self.operation)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters as botocore names them, parsed once."""
        if self._params is None:
            self._params = _parse(self)
        return self._params


def request_id() -> str:
    return str(uuid.uuid4())


def service_model(service: str) -> Any:
    return get_service_model(service)


@cache
def catalogue() -> Mapping[str, tuple[ServiceIndex, ...]]:
    """Signing name -> services. Reads only the head of each model: all of botocore's models take minutes to parse."""
    found: dict[str, list[ServiceIndex]] = {}
    for folder in sorted(Path(botocore.__file__).with_name("data").iterdir()):
        versions = sorted(folder.glob("*/service-2.json.gz"))
        if versions:
            entry = _index(folder.name, versions[-1])
            found.setdefault(entry.signing_name, []).append(entry)
    return {name: tuple(sorted(all_, key=lambda s: _rank(s, name))) for name, all_ in found.items()}


def _rank(entry: ServiceIndex, signing_name: str) -> tuple[int, str]:
    return _PREFERRED.get(entry.name, 0 if entry.name == signing_name else 1), entry.name


def _index(name: str, path: Path) -> ServiceIndex:
    with GzipFile(path) as model:
        head = model.read(3000).decode("utf-8", "replace").split('"operations"')[0]
    facts = dict(re.findall(r'"(signingName|endpointPrefix|protocol|targetPrefix|apiVersion)":\s*"([^"]*)"', head))
    return ServiceIndex(
        name=name,
        signing_name=facts.get("signingName") or facts["endpointPrefix"],
        protocol=facts["protocol"],
        target_prefix=facts.get("targetPrefix", ""),
        api_version=facts.get("apiVersion", ""),
    )


def identify(environ: dict[str, Any], body: bytes) -> Call | None:
    """The operation this request means, or None if it is not a request to AWS that botocore knows."""
    access_key, region, signing_name = _scope(environ)
    form = _form(environ, body)
    if not signing_name:
        signing_name = _UNSIGNED_ACTIONS.get(form.get("Action", ""), "s3")
    candidates = catalogue().get(signing_name, ())
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        found = _by_target(target, candidates)
    elif "Action" in form:
        found = _by_action(form, candidates)
    else:
        found = _by_path(environ, candidates)
    if found is None:
        return None
    service, operation, protocol = found
    return Call(service, operation, region, access_key, protocol, environ, body)


def _scope(environ: Mapping[str, Any]) -> tuple[str, str, str]:
    """(access key, region, signing name) of the signature; empty for an unsigned request."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if not header:
        presigned = parse_qs(environ.get("QUERY_STRING", "")).get("X-Amz-Credential", [""])[0]
        header = f"Credential={presigned}" if presigned else ""
    match = _SCOPE.search(header)
    return (match[1], match[2], match[3]) if match else ("", "us-east-1", "")


def _form(environ: Mapping[str, Any], body: bytes) -> dict[str, str]:
    raw = environ.get("QUERY_STRING", "")
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        raw = f"{raw}&{body.decode('utf-8', 'replace')}"
    elif "Action=" not in raw:
        return {}
    return {key: values[0] for key, values in parse_qs(raw, keep_blank_values=True).items()}


def _by_target(target: str, candidates: Iterable[ServiceIndex]) -> tuple[str, str, str] | None:
    prefix, _, operation = target.rpartition(".")
    everything = (entry for entries in catalogue().values() for entry in entries)
    for entries in (candidates, everything):
        for entry in entries:
            if entry.target_prefix == prefix:
                return entry.name, operation, "json"
    return None


def _by_action(form: Mapping[str, str], candidates: Iterable[ServiceIndex]) -> tuple[str, str, str] | None:
    options = tuple(candidates)
    exact = [entry for entry in options if entry.api_version == form.get("Version")]
    for entry in exact or options:
        return entry.name, form["Action"], "ec2" if entry.name == "ec2" else "query"
    return None


def _by_path(environ: dict[str, Any], candidates: Iterable[ServiceIndex]) -> tuple[str, str, str] | None:
    request = Request(environ)
    for entry in _rest_candidates(request.raw_path, candidates):
        try:
            operation, _ = get_service_router(entry.name).match(request)
        except (HTTPException, NotImplementedError):
            continue
        return entry.name, operation.name, _rest_protocol(entry)
    return None


def _rest_candidates(path: str, candidates: Iterable[ServiceIndex]) -> list[ServiceIndex]:
    """S3 matches every path, so S3 Control is asked first when the path carries its version."""
    rest = [entry for entry in candidates if _rest_protocol(entry) in _REST]
    if path.startswith("/v20180820/"):
        rest.sort(key=lambda entry: entry.name != "s3control")
    return rest


def _rest_protocol(entry: ServiceIndex) -> str:
    if entry.protocol in _REST:
        return entry.protocol
    return str(service_model(entry.name).resolved_protocol) if entry.protocol.startswith("smithy") else ""


def _parse(call: Call) -> dict[str, Any]:
    if not call.known:
        return {}
    request = Request({**call.environ, "wsgi.input": stream(call.body)})
    url_params: Mapping[str, Any] = {}
    if call.protocol in _REST:
        _, url_params = get_service_router(call.service).match(request)
    parsed = PROTOCOL_PARSERS[call.protocol](call.model, map_type=dict).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": call.body,
            "url_path": request.path,
            "url_params": url_params,
        }
    )
    return dict(parsed or {})


def stream(body: bytes) -> io.BytesIO:
    """A request body to read again."""
    return io.BytesIO(body)


def write_output(call: Call, output: Mapping[str, Any]) -> Answer:
    """The answer of an emulated operation, from a dict in botocore's output shape."""
    serializer = get_serializer_class(call.service, call.protocol)(operation_model=call.model)
    serialized = serializer.serialize(dict(output))
    body = serialized["body"]
    headers = [(str(name), str(value)) for name, value in serialized["headers"].items()]
    return Answer(
        status=int(serialized["status_code"]),
        headers=[*headers, ("x-amzn-RequestId", request_id())],
        body=body.encode() if isinstance(body, str) else body,
    )


def read_output(call: Call, answer: Answer) -> dict[str, Any]:
    """What a client would get from this answer, so that an operation of moto's can be amended."""
    headers = {name.lower(): value for name, value in answer.headers}
    raw = {"body": answer.body, "headers": _CaseInsensitive(headers), "status_code": answer.status}
    parsed: dict[str, Any] = create_parser(call.protocol).parse(raw, call.model.output_shape)
    if not answer.ok:
        error = parsed.get("Error", {})
        raise AWSError(error.get("Code", "InternalFailure"), error.get("Message", ""), answer.status)
    parsed.pop("ResponseMetadata", None)
    return parsed


class _CaseInsensitive(dict[str, str]):
    """botocore's parsers look headers up by any case."""

    def __getitem__(self, key: str) -> str:
        return super().__getitem__(key.lower())

    def __contains__(self, key: object) -> bool:
        return super().__contains__(str(key).lower())

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key.lower(), default)


def write_error(call: Call, error: AWSError) -> Answer:
    """The error in the protocol of the call, so that botocore reads its code."""
    write = {"json": _json_error, "rest-json": _rest_json_error, "ec2": _ec2_error}.get(call.protocol, _xml_error)
    status, content_type, headers, body = write(call, error)
    if call.environ.get("REQUEST_METHOD") == "HEAD":
        body = ""
    return Answer(
        status=error.status or status,
        headers=[("Content-Type", content_type), ("x-amzn-RequestId", request_id()), *headers],
        body=body.encode(),
    )


_Written = tuple[int, str, list[tuple[str, str]], str]


def _json_error(call: Call, error: AWSError) -> _Written:
    headers = []
    if call.known and "awsQueryCompatible" in service_model(call.service).metadata:
        headers = [("x-amzn-query-error", f"{error.code};Sender")]
    body = json.dumps({"__type": error.code, "message": error.message})
    return 400, "application/x-amz-json-1.1", headers, body


def _rest_json_error(_: Call, error: AWSError) -> _Written:
    body = json.dumps({"message": error.message, "code": error.code})
    return 400, "application/json", [("x-amzn-errortype", error.code)], body


def _ec2_error(_: Call, error: AWSError) -> _Written:
    inner = f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
    body = f"<Response><Errors>{inner}</Errors><RequestID>{request_id()}</RequestID></Response>"
    return 400, "text/xml;charset=UTF-8", [], body


def _xml_error(call: Call, error: AWSError) -> _Written:
    inner = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    tail = f"<RequestId>{request_id()}</RequestId>"
    if call.service in ("s3", "s3control"):
        return 400, "application/xml", [], f"<Error>{inner}{tail}</Error>"
    return 400, "text/xml", [], f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error>{tail}</ErrorResponse>"
