"""One request with all its pages, over a real socket: what arrives whole is a page, everything else has a name."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, EndpointConnectionError

from loopback import Asked, Said, loopback, mistake, said
from passmuster.aws import clients
from passmuster.aws.clients import Clients, parse_time
from passmuster.aws.principal import KeyRing, Principal, acting_as
from passmuster.aws.transport import BotoTransport, CallError, CredentialsExpired, Tokens, translated
from passmuster.inventory.call import Request, freeze
from passmuster.model.verdict import Reason

ACCOUNT = "123456789012"
PRINCIPAL = Principal(ACCOUNT, "AKIDTRANSPORT", "secret", "token")


def request(service: str, operation: str, region: str = "eu-central-1", **parameters: Any) -> Request:
    return Request(service, operation, region, freeze(parameters))


ECS = request("ecs", "ListClusters")


@dataclass
class Wire:
    """One server and one set of clients for all tests of this file; a test says what is answered."""

    through: BotoTransport
    answer: Callable[[Asked], Said] = field(default=lambda asked: Said())
    is_connected: bool = True


WIRE: list[Wire] = []


@pytest.fixture(scope="module", autouse=True)
def wire() -> Iterator[Wire]:
    ring = KeyRing()
    ring.prove(PRINCIPAL.access_key, ACCOUNT)
    with loopback(lambda asked: WIRE[0].answer(asked)) as url:
        shared = Clients(ring, endpoint_url=url)
        shared._session.get_component("event_emitter").register("before-send.*.*", _connect)
        WIRE.append(Wire(BotoTransport(shared)))
        yield WIRE[0]
        shared.close()
    WIRE.clear()


def _connect(request: Any, **_: Any) -> None:
    """A connection that fails as where a name does not exist."""
    if not WIRE[0].is_connected:
        raise EndpointConnectionError(endpoint_url=request.url)


class Pages:
    """Answers with one page after the other, and remembers what was asked."""

    def __init__(self, *pages: Said) -> None:
        self.left = list(pages)
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked) -> Said:
        self.asked.append(asked)
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def read(answer: Pages, one: Request = ECS) -> list[Mapping[str, Any]]:
    WIRE[0].answer = answer
    with acting_as(PRINCIPAL, ACCOUNT):
        return [{k: v for k, v in page.items() if k != "ResponseMetadata"} for page in WIRE[0].through.pages(one)]


def fails(answer: Pages, one: Request = ECS) -> CallError:
    with pytest.raises(CallError) as caught:
        read(answer, one)
    return caught.value


# pages ----------------------------------------------------------------------------------------------------------------


def test_every_page_is_read_with_the_token_of_the_one_before() -> None:
    answer = Pages(
        said({"clusterArns": ["a"], "nextToken": "two"}),
        said({"clusterArns": ["b"], "nextToken": "three"}),
        said({"clusterArns": ["c"]}),
    )
    assert [page["clusterArns"] for page in read(answer)] == [["a"], ["b"], ["c"]]
    assert [asked.parameters.get("nextToken") for asked in answer.asked] == [None, "two", "three"]


def test_an_empty_page_with_a_token_is_not_the_end() -> None:
    answer = Pages(said({"clusterArns": [], "nextToken": "two"}), said({"clusterArns": ["b"]}))
    assert [page["clusterArns"] for page in read(answer)] == [[], ["b"]]


@pytest.mark.parametrize("tokens", [["same", "same"], ["a", "b", "a"]], ids=["the same token", "a round of two"])
def test_a_token_that_comes_again_ends_the_reading(tokens: list[str]) -> None:
    answer = Pages(*(said({"clusterArns": ["x"], "nextToken": token}) for token in tokens))
    error = fails(answer)
    assert (error.reason, error.code, error.transient) == (Reason.PARTIAL, "TokenLoop", False)
    assert len(answer.asked) == len(tokens)


def test_a_second_page_that_fails_is_an_error() -> None:
    assert fails(Pages(said({"clusterArns": ["a"], "nextToken": "2"}), mistake("ServerException", 500))).code == (
        "ServerException"
    )


def test_the_parameters_of_the_request_stay_on_every_page() -> None:
    answer = Pages(said({"services": [], "nextToken": "2"}), said({"serviceArns": []}))
    read(answer, request("ecs", "ListServices", cluster="shop", maxResults=100))
    assert [asked.parameters["cluster"] for asked in answer.asked] == ["shop", "shop"]


def test_an_operation_that_botocore_does_not_page_is_paged_by_its_tokens() -> None:
    answer = Pages(said({"AnomalyMonitors": [], "NextPageToken": "2"}), said({"AnomalyMonitors": []}))
    assert len(read(answer, request("ce", "GetAnomalyMonitors"))) == 2
    assert answer.asked[1].parameters["NextPageToken"] == "2"


def test_a_token_is_followed_only_while_there_is_more() -> None:
    tokens = Tokens((("Marker", "Marker"),), more="IsTruncated")
    assert tokens.following({"Marker": "m", "IsTruncated": False}) is None
    assert tokens.following({"Marker": "m", "IsTruncated": True}) == {"Marker": "m"}
    assert Tokens((("A.B || C", "Next"),)).following({"A": {"B": "x"}}) == {"Next": "x"}
    assert Tokens((("A.B || C", "Next"),)).following({"C": "y"}) == {"Next": "y"}
    assert Tokens(()).following({"NextToken": "n"}) is None


# bodies ---------------------------------------------------------------------------------------------------------------

WHOLE = json.dumps({"clusterArns": ["a", "b"], "nextToken": "x"}).encode()


def test_a_body_shorter_than_it_declares_is_no_answer() -> None:
    error = fails(Pages(Said(WHOLE[:20], length=len(WHOLE))))
    assert error.reason is Reason.SERVICE_ERROR
    assert error.transient


@pytest.mark.parametrize("kept", [0, 1, 15, 30, len(WHOLE) - 1])
def test_a_body_that_ends_early_without_a_length_is_no_answer(kept: int) -> None:
    error = fails(Pages(Said(WHOLE[:kept], length=-1)))
    assert (error.reason, error.transient) == (Reason.SERVICE_ERROR, True)


def test_a_cut_list_of_trails_is_not_read_as_no_trails() -> None:
    body = json.dumps({"trailList": [{"Name": "audit"}]}).encode()
    error = fails(Pages(Said(body[: len(body) // 2], length=-1)), request("cloudtrail", "DescribeTrails"))
    assert error.code == "CutBodyError"


@pytest.mark.parametrize("length", [None, -1], ids=["with its own length", "without a length"])
def test_a_cut_body_of_xml_is_no_answer(length: int | None) -> None:
    body = b'<DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><vpcSet><item><vpcId>vpc-1</vpcId>'
    error = fails(Pages(Said(body, content_type="text/xml", length=length)), request("ec2", "DescribeVpcs"))
    assert (error.reason, error.code, error.transient) == (Reason.SERVICE_ERROR, "ResponseParserError", True)


@pytest.mark.parametrize(
    "one", [request("s3", "ListBuckets"), request("ec2", "DescribeVpcs"), request("sns", "ListTopics"), ECS], ids=str
)
def test_an_empty_body_is_no_answer(one: Request) -> None:
    error = fails(Pages(Said(b"", content_type="text/xml")), one)
    assert (error.reason, error.transient) == (Reason.SERVICE_ERROR, True)


def test_an_answer_in_headers_alone_needs_no_body() -> None:
    answer = Pages(Said(b"", content_type="text/xml", headers={"x-amz-bucket-region": "eu-west-1"}))
    assert read(answer, request("s3", "HeadBucket", Bucket="b"))[0]["BucketRegion"] == "eu-west-1"


def test_a_page_of_a_proxy_is_no_answer() -> None:
    page = b"<html><body>Please log in</body></html>"
    error = fails(Pages(Said(page, content_type="text/html")))
    assert (error.reason, error.transient) == (Reason.SERVICE_ERROR, True)
    error = fails(Pages(Said(page, 503, content_type="text/html")))
    assert (error.reason, error.transient) == (Reason.SERVICE_ERROR, True)


def test_a_connection_that_is_closed_without_an_answer_may_be_tried_again() -> None:
    error = fails(Pages(Said(hang_up=True)))
    assert (error.reason, error.transient) == (Reason.SERVICE_ERROR, True)


def test_an_answer_that_does_not_come_in_time_may_be_tried_again(wire: Wire) -> None:
    client = wire.through._clients.client("ecs", "eu-west-3")
    client._endpoint.http_session._timeout = 0.2
    client._endpoint.http_session._manager.connection_pool_kw["timeout"] = 0.2
    over = threading.Event()

    class Deaf(Pages):
        def __call__(self, asked: Asked) -> Said:
            over.wait(20)
            return Said()

    try:
        error = fails(Deaf(), request("ecs", "ListClusters", "eu-west-3"))
    finally:
        over.set()
    assert (error.reason, error.code, error.transient) == (Reason.SERVICE_ERROR, "ReadTimeoutError", True)


def test_timeouts_are_short_and_botocore_does_not_retry() -> None:
    assert clients.CONNECT_TIMEOUT <= 5
    assert clients.READ_TIMEOUT <= 15
    answer = Pages(mistake("ThrottlingException"))
    fails(answer)
    assert len(answer.asked) == 1


# errors ---------------------------------------------------------------------------------------------------------------


def client_error(code: str, status: int = 400, message: str = "") -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "DescribeThings")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "status", "reason", "transient"),
    [
        ("ThrottlingException", 400, Reason.THROTTLED, True),
        ("Throttling", 400, Reason.THROTTLED, True),
        ("RequestLimitExceeded", 503, Reason.THROTTLED, True),
        ("SlowDown", 503, Reason.THROTTLED, True),
        ("TooManyRequestsException", 429, Reason.THROTTLED, True),
        ("SomethingNew", 429, Reason.THROTTLED, True),
        ("AccessDenied", 403, Reason.DENIED, False),
        ("AccessDeniedException", 400, Reason.DENIED, False),
        ("UnauthorizedOperation", 403, Reason.DENIED, False),
        ("AuthorizationError", 403, Reason.DENIED, False),
        ("OptInRequired", 403, Reason.REGION_UNREADABLE, False),
        ("AuthFailure", 401, Reason.REGION_UNREADABLE, False),
        ("UnrecognizedClientException", 403, Reason.REGION_UNREADABLE, False),
        ("InvalidClientTokenId", 403, Reason.REGION_UNREADABLE, False),
        ("InvalidAccessKeyId", 403, Reason.REGION_UNREADABLE, False),
        ("InvalidToken", 400, Reason.REGION_UNREADABLE, False),
        ("InternalFailure", 500, Reason.SERVICE_ERROR, True),
        ("ServiceUnavailable", 503, Reason.SERVICE_ERROR, True),
        ("NotImplemented", 501, Reason.SERVICE_ERROR, False),
        ("ValidationException", 400, Reason.SERVICE_ERROR, False),
        ("com.amazonaws.things#AccessDeniedException", 400, Reason.DENIED, False),
        ("ThrottlingException:http://internal.amazon.com/coral/", 400, Reason.THROTTLED, True),
    ],
)
def test_what_a_service_says_is_told_in_our_words(code: str, status: int, reason: Reason, *, transient: bool) -> None:
    error = translated(client_error(code, status))
    assert (error.reason, error.transient) == (reason, transient)


def test_a_denial_that_says_rate_exceeded_is_throttling() -> None:
    error = translated(client_error("AccessDeniedException", 400, "Rate exceeded"))
    assert (error.reason, error.transient) == (Reason.THROTTLED, True)


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "RequestExpired"])
def test_expired_credentials_are_told_apart(code: str) -> None:
    assert isinstance(translated(client_error(code, 400)), CredentialsExpired)


def test_the_code_and_the_message_of_the_service_are_kept_as_evidence() -> None:
    error = fails(Pages(mistake("ClusterNotFoundException", 400, "no such cluster")))
    assert (error.code, error.message) == ("ClusterNotFoundException", "no such cluster")


# endpoints ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def unconnected(wire: Wire) -> Iterator[Callable[[Request], CallError]]:
    def error(one: Request) -> CallError:
        return fails(Pages(Said()), one)

    wire.is_connected = False
    yield error
    wire.is_connected = True


def test_a_name_that_does_not_exist_in_a_region_without_the_service_says_that_it_is_not_offered_there(
    unconnected: Callable[[Request], CallError],
) -> None:
    error = unconnected(request("ssm-incidents", "ListResponsePlans", "eu-central-2"))
    assert (error.reason, error.code, error.transient) == (Reason.NOT_IN_PARTITION, "NotOffered", False)
    assert "ssm-incidents is not offered in eu-central-2" in error.message


@pytest.mark.parametrize(
    "one",
    [
        request("ssm-incidents", "ListResponsePlans", "eu-central-1"),
        request("arc-region-switch", "ListPlans", "eu-central-1"),
        request("ssm-incidents", "ListResponsePlans", "eu-central-99"),
        request("ec2", "DescribeVpcs", "eu-nowhere-1"),
    ],
    ids=["offered", "a service botocore lists nowhere", "a region that does not exist", "a mistyped region"],
)
def test_a_failed_connection_is_no_absence_where_the_service_may_be_offered(
    one: Request, unconnected: Callable[[Request], CallError]
) -> None:
    error = unconnected(one)
    assert (error.reason, error.code, error.transient) == (Reason.SERVICE_ERROR, "EndpointConnectionError", True)


def test_a_service_that_a_partition_lacks_is_known_before_it_is_asked(wire: Wire) -> None:
    assert wire.through.offers("guardduty", "aws")
    assert wire.through.offers("iam", "aws-cn")
    assert not wire.through.offers("globalaccelerator", "aws-cn")
    assert wire.through.offers("arc-region-switch", "aws"), "botocore lists it nowhere: who knows"


def test_a_global_service_is_asked_where_it_has_an_address() -> None:
    shared = Clients(KeyRing())
    home = shared.client("globalaccelerator", "us-east-1").meta.endpoint_url
    elsewhere = shared.client("sts", "us-east-1").meta.endpoint_url
    shared.close()
    assert home == "https://globalaccelerator.us-west-2.amazonaws.com"
    assert elsewhere == "https://sts.us-east-1.amazonaws.com"


def test_clients_are_shared_and_made_once(wire: Wire) -> None:
    first = wire.through._clients.client("ecs", "eu-central-1")
    assert wire.through._clients.client("ecs", "eu-central-1") is first
    assert wire.through._clients.client("ecs", "eu-west-1") is not first


# time and logs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00+00:00"),
        ("2026-11-21T10:00:00.123Z", "2026-11-21T10:00:00.123000+00:00"),
        ("2026-11-21T10:00:00+02:00", "2026-11-21T10:00:00+02:00"),
        ("2026-11-21T10:00:00", "2026-11-21T10:00:00+00:00"),
        ("Sat, 21 Nov 2026 10:00:00 GMT", "2026-11-21T10:00:00+00:00"),
        (1795255200, "2026-11-21T10:00:00+00:00"),
        (1795255200.5, "2026-11-21T10:00:00.500000+00:00"),
        ("1795255200", "2026-11-21T10:00:00+00:00"),
    ],
)
def test_every_way_that_aws_writes_a_time_is_read_as_an_aware_one(given: Any, wanted: str) -> None:
    assert parse_time(given).isoformat() == wanted


def test_a_time_in_an_answer_is_aware() -> None:
    (page,) = read(Pages(said({"LatestDeliveryTime": 1795255200})), request("cloudtrail", "GetTrailStatus", Name="t"))
    assert page["LatestDeliveryTime"].isoformat() == "2026-11-21T10:00:00+00:00"


def test_nothing_of_an_answer_is_logged_at_the_level_the_operator_runs_at(caplog: pytest.LogCaptureFixture) -> None:
    canary = "canary-value-of-a-secret"
    with caplog.at_level(logging.INFO):
        read(Pages(said({"clusterArns": [canary]})))
    assert canary not in caplog.text
    assert PRINCIPAL.secret_key not in caplog.text


# where a request goes -------------------------------------------------------------------------------------------------


def test_an_endpoint_of_the_environment_is_asked_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"<r><BlockPublicAcls>true</BlockPublicAcls></r>"
    ring = KeyRing()
    ring.prove(PRINCIPAL.access_key, ACCOUNT)
    with loopback(lambda _: Said(body, content_type="application/xml")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        told = Clients(ring)
        with acting_as(PRINCIPAL, ACCOUNT):
            answer = told.client("s3control", "eu-central-1").get_public_access_block(AccountId=ACCOUNT)
        told.close()
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


NAMES_OF_AWS = (
    "s3-control.eu-central-1.amazonaws.com",
    "s3-control-fips.us-gov-west-1.amazonaws.com",
    "s3-control.dualstack.eu-west-1.amazonaws.com",
    "control.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com",
)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("http://123456789012.127.0.0.1:5000/x", "http://127.0.0.1:5000/x"),
        ("https://123456789012.aws.example.com/x", "https://aws.example.com/x"),
        *((f"https://123456789012.{name}/x", f"https://123456789012.{name}/x") for name in NAMES_OF_AWS),
    ],
)
def test_the_account_stays_in_front_of_the_names_that_aws_gives(asked: str, sent: str) -> None:
    request = AWSRequest("GET", asked)
    clients.stay_at_the_endpoint(request)
    assert request.url == sent
