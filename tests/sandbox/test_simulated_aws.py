"""The simulated AWS answers as AWS does, where the checks, the engine and the remediations depend on it."""

import contextlib
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, PaginationError, ReadTimeoutError

from passmuster.sandbox.emulation.wire import AWSError
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, AccessKeys, SimulatedAWS

OTHER = "222222222222"
REGION = "eu-central-1"
LOCATION = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def allow(*actions: str, resource: str = "*") -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return {"Version": "2012-10-17", "Statement": [statement]}


# the server --------------------------------------------------------------------------------------------------------


def test_only_one_runs_in_a_process(aws: SimulatedAWS) -> None:
    with pytest.raises(RuntimeError, match="already runs"):
        SimulatedAWS().start()
    assert aws.client("sts").get_caller_identity()["Account"] == DEFAULT_ACCOUNT


def test_it_listens_on_loopback_only(aws: SimulatedAWS) -> None:
    assert aws.url.startswith("http://127.0.0.1:")


def test_accounts_and_regions_are_apart_and_bucket_names_are_not(aws: SimulatedAWS) -> None:
    aws.client("sqs").create_queue(QueueName="jobs")
    aws.client("s3").create_bucket(Bucket="taken", **LOCATION)
    assert "QueueUrls" not in aws.client("sqs", account_id=OTHER).list_queues()
    assert "QueueUrls" not in aws.client("sqs", "us-east-1").list_queues()
    with pytest.raises(ClientError, match="BucketAlreadyExists"):
        aws.client("s3", account_id=OTHER).create_bucket(Bucket="taken", **LOCATION)


def test_buckets_tell_where_they_are_to_whom_asks_for_pages(aws: SimulatedAWS) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="near", **LOCATION)
    aws.client("s3", "us-east-1").create_bucket(Bucket="far")
    pages = s3.list_buckets(MaxBuckets=1000)["Buckets"]
    assert {bucket["Name"]: bucket["BucketRegion"] for bucket in pages} == {"near": "eu-central-1", "far": "us-east-1"}
    assert not any("BucketRegion" in bucket for bucket in s3.list_buckets()["Buckets"])


def test_reset_forgets_everything_and_leaves_clients_usable(aws: SimulatedAWS) -> None:
    sqs = aws.client("sqs")
    sqs.create_queue(QueueName="jobs")
    aws.faults.add("denied", service="sqs")
    aws.reset()
    assert aws.requests == []
    assert "QueueUrls" not in sqs.list_queues()


def test_any_boto3_client_with_its_url_and_keys_works(aws: SimulatedAWS) -> None:
    keys = aws.root_keys(OTHER)
    client = boto3.client("sts", region_name=REGION, endpoint_url=aws.url, **keys.for_boto3())
    assert client.get_caller_identity()["Arn"] == f"arn:aws:iam::{OTHER}:root"
    client.close()


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("compute-optimizer", "get_recommendation_summaries", {}),
        ("iam", "simulate_custom_policy", {"PolicyInputList": ["{}"], "ActionNames": ["s3:ListBucket"]}),
        ("savingsplans", "describe_savings_plans_offering_rates", {}),
        ("ec2", "describe_fpga_images", {}),
    ],
)
def test_what_nobody_emulates_is_an_error_with_a_name_and_not_retried(
    aws: SimulatedAWS, service: str, operation: str, params: dict[str, Any]
) -> None:
    client = boto3.client(service, region_name=REGION, endpoint_url=aws.url, **aws.root_keys().for_boto3())
    with pytest.raises(ClientError, match="does not emulate") as error:
        getattr(client, operation)(**params)
    client.close()
    assert code_of(error) == "UnknownOperationException"
    assert len(aws.requests) == 1


def test_every_request_of_a_client_is_logged_and_stacks_are_not(aws: SimulatedAWS) -> None:
    aws.client("ec2").describe_vpcs()
    aws.client("cloudformation").create_stack(
        StackName="s", TemplateBody="Resources: {Topic: {Type: 'AWS::SNS::Topic'}}"
    )
    assert [(entry.account, entry.region, entry.service, entry.operation) for entry in aws.requests] == [
        (DEFAULT_ACCOUNT, REGION, "ec2", "DescribeVpcs"),
        (DEFAULT_ACCOUNT, REGION, "cloudformation", "CreateStack"),
    ]


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("elb", "describe_load_balancers", {}),
        ("elbv2", "describe_load_balancers", {}),
        ("cloudwatch", "describe_alarms", {}),
        ("resourcegroupstaggingapi", "get_resources", {}),
        ("s3", "list_buckets", {}),
        ("s3control", "get_public_access_block", {"AccountId": DEFAULT_ACCOUNT}),
        ("lambda", "list_functions", {}),
        ("apigateway", "get_rest_apis", {}),
        ("apigatewayv2", "get_apis", {}),
        ("dynamodb", "list_tables", {}),
        ("dynamodbstreams", "list_streams", {}),
        ("sesv2", "list_email_identities", {}),
        ("route53", "list_hosted_zones", {}),
        ("cloudfront", "list_distributions", {}),
        ("stepfunctions", "list_state_machines", {}),
        ("efs", "describe_file_systems", {}),
        ("opensearch", "list_domain_names", {}),
        ("application-autoscaling", "describe_scalable_targets", {"ServiceNamespace": "ecs"}),
        ("application-signals", "list_services", {"StartTime": 0, "EndTime": 1}),
        ("wafv2", "list_web_acls", {"Scope": "REGIONAL"}),
        ("rds", "describe_db_instances", {}),
        ("ecr", "describe_registry", {}),
        ("backup", "list_backup_vaults", {}),
        ("codepipeline", "list_pipelines", {}),
    ],
)
def test_service_and_operation_are_told_apart_in_every_protocol(
    aws: SimulatedAWS, service: str, operation: str, params: dict[str, Any]
) -> None:
    with contextlib.suppress(ClientError):
        getattr(aws.client(service), operation)(**params)
    (entry,) = aws.requests
    assert (entry.service, xform_name(entry.operation)) == (service, operation)


# services ----------------------------------------------------------------------------------------------------------


def logs_bucket(aws: SimulatedAWS, name: str = "logs", *, allowed: bool = True) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=name, **LOCATION)
    if allowed:
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps(trail_policy(name)))


def trail_policy(bucket: str) -> dict[str, Any]:
    principal = {"Service": "cloudtrail.amazonaws.com"}
    arn = f"arn:aws:s3:::{bucket}"
    owner_controls = {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": principal, "Action": "s3:GetBucketAcl", "Resource": arn},
            {
                "Effect": "Allow",
                "Principal": principal,
                "Action": "s3:PutObject",
                "Resource": f"{arn}/AWSLogs/{DEFAULT_ACCOUNT}/*",
                "Condition": owner_controls,
            },
        ],
    }


def test_a_logging_trail_delivers_to_a_bucket_that_lets_it(aws: SimulatedAWS) -> None:
    logs_bucket(aws)
    cloudtrail = aws.client("cloudtrail")
    cloudtrail.create_trail(Name="main", S3BucketName="logs")
    assert "LatestDeliveryTime" not in cloudtrail.get_trail_status(Name="main")
    cloudtrail.start_logging(Name="main")
    status = cloudtrail.get_trail_status(Name="main")
    assert status["IsLogging"]
    assert datetime.now(UTC) - status["LatestDeliveryTime"] < timedelta(minutes=15)
    assert "LatestDeliveryError" not in status


def test_a_trail_whose_bucket_refuses_says_so_instead_of_delivering(aws: SimulatedAWS) -> None:
    logs_bucket(aws)
    cloudtrail, s3 = aws.client("cloudtrail"), aws.client("s3")
    cloudtrail.create_trail(Name="main", S3BucketName="logs")
    cloudtrail.start_logging(Name="main")
    s3.delete_bucket_policy(Bucket="logs")
    assert cloudtrail.get_trail_status(Name="main")["LatestDeliveryError"] == "AccessDenied"
    s3.delete_bucket(Bucket="logs")
    status = cloudtrail.get_trail_status(Name="main")
    assert status["LatestDeliveryError"] == "NoSuchBucket"
    assert "LatestDeliveryTime" not in status


def test_a_deny_on_plain_http_does_not_stop_delivery(aws: SimulatedAWS) -> None:
    logs_bucket(aws)
    policy = trail_policy("logs")
    policy["Statement"].append(
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": "arn:aws:s3:::logs/*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )
    aws.client("s3").put_bucket_policy(Bucket="logs", Policy=json.dumps(policy))
    cloudtrail = aws.client("cloudtrail")
    cloudtrail.create_trail(Name="main", S3BucketName="logs")
    cloudtrail.start_logging(Name="main")
    assert "LatestDeliveryError" not in cloudtrail.get_trail_status(Name="main")


def test_a_trail_needs_a_bucket_policy_to_be_created(aws: SimulatedAWS) -> None:
    logs_bucket(aws, allowed=False)
    cloudtrail = aws.client("cloudtrail")
    with pytest.raises(ClientError) as error:
        cloudtrail.create_trail(Name="main", S3BucketName="logs")
    assert code_of(error) == "InsufficientS3BucketPolicyException"
    assert cloudtrail.describe_trails()["trailList"] == []


def test_a_multi_region_trail_shadows_other_regions(aws: SimulatedAWS) -> None:
    logs_bucket(aws)
    aws.client("cloudtrail").create_trail(Name="main", S3BucketName="logs", IsMultiRegionTrail=True)
    elsewhere = aws.client("cloudtrail", "us-east-1")
    (shadow,) = elsewhere.describe_trails()["trailList"]
    assert (shadow["HomeRegion"], shadow["HasCustomEventSelectors"]) == (REGION, False)
    assert elsewhere.describe_trails(includeShadowTrails=False)["trailList"] == []
    (selector,) = elsewhere.get_event_selectors(TrailName=shadow["TrailARN"])["EventSelectors"]
    assert (selector["ReadWriteType"], selector["IncludeManagementEvents"]) == ("All", True)


def test_a_certificate_is_issued_once_its_record_is_in_a_public_zone(aws: SimulatedAWS) -> None:
    acm, route53 = aws.client("acm"), aws.client("route53")
    arn = acm.request_certificate(DomainName="www.example.com", ValidationMethod="DNS")["CertificateArn"]
    pending = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (pending["Status"], "NotAfter" in pending) == ("PENDING_VALIDATION", False)

    zone = route53.create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"]
    record = pending["DomainValidationOptions"][0]["ResourceRecord"]
    change = {
        "Name": record["Name"],
        "Type": record["Type"],
        "TTL": 300,
        "ResourceRecords": [{"Value": record["Value"]}],
    }
    route53.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": change}]}
    )
    issued = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (issued["Status"], issued["KeyAlgorithm"]) == ("ISSUED", "RSA-2048")
    assert issued["DomainValidationOptions"][0]["ValidationMethod"] == "DNS"
    assert timedelta(days=390) < issued["NotAfter"] - datetime.now(UTC) < timedelta(days=400)
    assert (issued["RenewalEligibility"], issued["InUseBy"]) == ("INELIGIBLE", [])


def test_old_tls_policies_name_the_protocols_they_allow(aws: SimulatedAWS) -> None:
    names = ["ELBSecurityPolicy-2016-08", "ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-TLS-1-2-2017-01"]
    told = aws.client("elbv2").describe_ssl_policies(Names=names)["SslPolicies"]
    protocols = {policy["Name"]: set(policy["SslProtocols"]) for policy in told}
    assert protocols == {
        "ELBSecurityPolicy-2016-08": {"TLSv1", "TLSv1.1", "TLSv1.2"},
        "ELBSecurityPolicy-TLS13-1-2-2021-06": {"TLSv1.2", "TLSv1.3"},
        "ELBSecurityPolicy-TLS-1-2-2017-01": {"TLSv1.2"},
    }


def test_a_fresh_bucket_has_the_defaults_of_today(aws: SimulatedAWS) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="fresh", **LOCATION)
    (rule,) = s3.get_bucket_encryption(Bucket="fresh")["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert all(s3.get_public_access_block(Bucket="fresh")["PublicAccessBlockConfiguration"].values())


def test_container_insights_can_be_switched_on(aws: SimulatedAWS) -> None:
    ecs = aws.client("ecs")
    ecs.create_cluster(clusterName="web")
    ecs.update_cluster_settings(cluster="web", settings=[{"name": "containerInsights", "value": "enhanced"}])
    (cluster,) = ecs.describe_clusters(clusters=["web"], include=["SETTINGS"])["clusters"]
    assert cluster["settings"] == [{"name": "containerInsights", "value": "enhanced"}]
    (bare,) = ecs.describe_clusters(clusters=["web"])["clusters"]
    assert not bare.get("settings")


def test_a_database_change_waits_for_its_window_unless_it_is_applied_at_once(aws: SimulatedAWS) -> None:
    rds = aws.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="db", Engine="postgres", DBInstanceClass="db.t3.small", AllocatedStorage=20
    )
    rds.modify_db_instance(DBInstanceIdentifier="db", MultiAZ=True, EnablePerformanceInsights=True)
    (database,) = rds.describe_db_instances()["DBInstances"]
    assert (database["MultiAZ"], database["PendingModifiedValues"]) == (False, {"MultiAZ": True})
    assert database["PerformanceInsightsEnabled"]
    rds.modify_db_instance(DBInstanceIdentifier="db", MultiAZ=True, ApplyImmediately=True)
    (database,) = rds.describe_db_instances()["DBInstances"]
    assert (database["MultiAZ"], database.get("PendingModifiedValues", {})) == (True, {})


def test_an_email_subscription_waits_for_its_person(aws: SimulatedAWS) -> None:
    sns = aws.client("sns")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    told = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    assert told["SubscriptionArn"] == "pending confirmation"
    (waiting,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert waiting["SubscriptionArn"] == "PendingConfirmation"
    assert aws.confirm("ops@example.com") == 1
    (confirmed,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert confirmed["SubscriptionArn"].startswith(topic)
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"] == "1"


def test_a_budget_tells_its_subscribers(aws: SimulatedAWS) -> None:
    budgets = aws.client("budgets")
    notification = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0}
    budgets.create_budget(
        AccountId=DEFAULT_ACCOUNT,
        Budget={
            "BudgetName": "month",
            "BudgetType": "COST",
            "TimeUnit": "MONTHLY",
            "BudgetLimit": {"Amount": "9", "Unit": "USD"},
        },
        NotificationsWithSubscribers=[
            {
                "Notification": notification,
                "Subscribers": [{"SubscriptionType": "EMAIL", "Address": "ops@example.com"}],
            }
        ],
    )
    (told,) = budgets.describe_notifications_for_budget(AccountId=DEFAULT_ACCOUNT, BudgetName="month")["Notifications"]
    subscribers = budgets.describe_subscribers_for_notification(
        AccountId=DEFAULT_ACCOUNT, BudgetName="month", Notification=told
    )["Subscribers"]
    assert [subscriber["Address"] for subscriber in subscribers] == ["ops@example.com"]


def test_cost_explorer_has_tags_and_an_empty_but_valid_bill(aws: SimulatedAWS) -> None:
    ce = aws.client("ce")
    ce.update_cost_allocation_tags_status(CostAllocationTagsStatus=[{"TagKey": "owner", "Status": "Active"}])
    (tag,) = ce.list_cost_allocation_tags(Status="Active")["CostAllocationTags"]
    assert (tag["TagKey"], tag["Type"]) == ("owner", "UserDefined")
    bill = ce.get_cost_and_usage(
        TimePeriod={"Start": "2026-01-01", "End": "2026-02-01"}, Granularity="MONTHLY", Metrics=["UnblendedCost"]
    )
    assert bill["ResultsByTime"][0]["Total"]["UnblendedCost"] == {"Amount": "0", "Unit": "USD"}


def test_a_health_check_reports_success(aws: SimulatedAWS) -> None:
    route53 = aws.client("route53")
    config = {"Type": "HTTPS", "FullyQualifiedDomainName": "www.example.com"}
    made = route53.create_health_check(CallerReference="1", HealthCheckConfig=config)["HealthCheck"]["Id"]
    (observation, *_) = route53.get_health_check_status(HealthCheckId=made)["HealthCheckObservations"]
    assert observation["StatusReport"]["Status"].startswith("Success")


# who may do what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("external_id", "by", "allowed"),
    [
        ("right", DEFAULT_ACCOUNT, True),
        ("wrong", DEFAULT_ACCOUNT, False),
        (None, DEFAULT_ACCOUNT, False),
        ("right", "333333333333", False),
    ],
)
def test_a_role_lets_in_whom_it_trusts_with_the_right_external_id(
    aws: SimulatedAWS, external_id: str | None, by: str, allowed: bool
) -> None:
    role = aws.role_with_policy(OTHER, allow("*"), trusted=f"arn:aws:iam::{DEFAULT_ACCOUNT}:root", external_id="right")
    if allowed:
        assert aws.assume(role, by=aws.root_keys(by), external_id=external_id).token
        return
    with pytest.raises(ClientError) as error:
        aws.assume(role, by=aws.root_keys(by), external_id=external_id)
    assert code_of(error) == "AccessDenied"


def test_a_role_that_does_not_exist_cannot_be_assumed(aws: SimulatedAWS) -> None:
    with pytest.raises(ClientError) as error:
        aws.assume(f"arn:aws:iam::{OTHER}:role/nobody", by=aws.root_keys(DEFAULT_ACCOUNT))
    assert code_of(error) == "AccessDenied"


def test_a_role_may_trust_another_role_only(aws: SimulatedAWS) -> None:
    operator = aws.role_with_policy(DEFAULT_ACCOUNT, allow("sts:AssumeRole"), name="operator")
    inspector = aws.role_with_policy(OTHER, allow("ec2:DescribeVpcs"), name="inspector", trusted=operator)
    with aws.enforce_iam():
        keys = aws.assume(inspector, by=aws.assume(operator))
        assert aws.session_with(keys).client("ec2").describe_vpcs()["Vpcs"]
        with pytest.raises(ClientError, match="AccessDenied"):
            aws.assume(inspector, by=aws.root_keys(DEFAULT_ACCOUNT))


@pytest.mark.parametrize(
    ("action", "service", "operation", "code"),
    [
        ("ec2:DescribeVpcs", "ec2", "describe_vpcs", "UnauthorizedOperation"),
        ("s3:ListAllMyBuckets", "s3", "list_buckets", "AccessDenied"),
        ("cloudwatch:DescribeAlarms", "cloudwatch", "describe_alarms", "AccessDenied"),
        ("lambda:ListFunctions", "lambda", "list_functions", "AccessDeniedException"),
        ("cloudtrail:DescribeTrails", "cloudtrail", "describe_trails", "AccessDeniedException"),
        ("rds:DescribeDBInstances", "rds", "describe_db_instances", "AccessDenied"),
        ("sns:ListTopics", "sns", "list_topics", "AuthorizationError"),
        ("route53:ListHostedZones", "route53", "list_hosted_zones", "AccessDenied"),
        ("apigateway:GET", "apigateway", "get_rest_apis", "AccessDeniedException"),
        ("tag:GetResources", "resourcegroupstaggingapi", "get_resources", "AccessDeniedException"),
        ("elasticloadbalancing:DescribeLoadBalancers", "elbv2", "describe_load_balancers", "AccessDenied"),
    ],
)
def test_enforced_a_role_may_do_exactly_what_its_policy_says(
    aws: SimulatedAWS, action: str, service: str, operation: str, code: str
) -> None:
    allowed = aws.session_with(aws.assume(aws.role_with_policy(OTHER, allow(action), name="allowed")))
    refused = aws.session_with(aws.assume(aws.role_with_policy(OTHER, allow("kms:ListKeys"), name="refused")))
    with aws.enforce_iam():
        getattr(allowed.client(service), operation)()
        with pytest.raises(ClientError, match=action) as error:
            getattr(refused.client(service), operation)()
    assert code_of(error) == code
    getattr(refused.client(service), operation)()


def test_enforced_signatures_count(aws: SimulatedAWS) -> None:
    keys = aws.assume(aws.role_with_policy(OTHER, allow("*")))
    with aws.enforce_iam():
        for service, operation in (("s3", "list_buckets"), ("ec2", "describe_vpcs"), ("lambda", "list_functions")):
            getattr(aws.session_with(keys).client(service), operation)()
            forged = aws.session_with(AccessKeys(keys.access_key, "wrong", keys.token)).client(service)
            with pytest.raises(ClientError, match="signature"):
                getattr(forged, operation)()


def test_enforced_resources_and_conditions_count(aws: SimulatedAWS) -> None:
    policy = allow("s3:*", resource="arn:aws:s3:::ours-*")
    policy["Statement"].append(
        {
            "Effect": "Allow",
            "Action": "ec2:DescribeVpcs",
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:RequestedRegion": REGION}},
        }
    )
    session = aws.session_with(aws.assume(aws.role_with_policy(OTHER, policy)))
    with aws.enforce_iam():
        session.client("s3").create_bucket(Bucket="ours-1", **LOCATION)
        session.client("s3").put_object(Bucket="ours-1", Key="a b/ü", Body=b"text")
        with pytest.raises(ClientError, match="s3:CreateBucket"):
            session.client("s3").create_bucket(Bucket="theirs", **LOCATION)
        session.client("ec2").describe_vpcs()
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            session.client("ec2", "us-east-1").describe_vpcs()


def test_attached_policies_count_too(aws: SimulatedAWS) -> None:
    iam = aws.client("iam", account_id=OTHER)
    role = aws.role_with_policy(OTHER, allow("kms:ListKeys"))
    document = json.dumps(allow("sqs:List*"))
    attached = iam.create_policy(PolicyName="queues", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="sandbox", PolicyArn=attached)
    with aws.enforce_iam():
        aws.session_with(aws.assume(role)).client("sqs").list_queues()


def test_sessions_expire(aws: SimulatedAWS) -> None:
    session = aws.session_with(aws.assume(aws.role_with_policy(OTHER, allow("*"))))
    aws.expire_sessions(OTHER)
    with pytest.raises(ClientError) as error:
        session.client("sts").get_caller_identity()
    assert code_of(error) == "ExpiredToken"


# faults ------------------------------------------------------------------------------------------------------------

READS = [
    ("ec2", "DescribeVpcs"),
    ("s3", "ListBuckets"),
    ("rds", "DescribeDBInstances"),
    ("cloudtrail", "DescribeTrails"),
    ("lambda", "ListFunctions"),
    ("route53", "ListHostedZones"),
    ("cloudwatch", "DescribeAlarms"),
]
CODES = {
    "denied": "UnauthorizedOperation AccessDenied AccessDenied AccessDeniedException AccessDeniedException "
    "AccessDenied AccessDenied",
    "throttled": "RequestLimitExceeded SlowDown Throttling ThrottlingException TooManyRequestsException "
    "Throttling ThrottlingException",
    "server_error": "InternalError InternalError InternalFailure InternalFailure InternalFailure "
    "InternalFailure InternalFailure",
    "expired": "RequestExpired ExpiredToken ExpiredToken ExpiredTokenException ExpiredTokenException "
    "ExpiredToken ExpiredTokenException",
    "disabled_region": "AuthFailure InvalidAccessKeyId InvalidClientTokenId UnrecognizedClientException "
    "UnrecognizedClientException InvalidClientTokenId UnrecognizedClientException",
}


@pytest.mark.parametrize("kind", CODES)
def test_an_error_has_the_code_of_its_service(aws: SimulatedAWS, kind: Any) -> None:
    told = []
    for service, operation in READS:
        aws.faults.add(kind, service=service, operation=operation, count=1)
        client = aws.client(service)
        with pytest.raises(ClientError) as error:
            getattr(client, xform_name(operation))()
        told.append(code_of(error))
        getattr(client, xform_name(operation))()
    assert told == CODES[kind].split()


def test_a_fault_keeps_to_its_account_and_region(aws: SimulatedAWS) -> None:
    aws.faults.add("throttled", service="ec2", account=OTHER, region=REGION)
    aws.client("ec2").describe_vpcs()
    aws.client("ec2", "us-east-1", account_id=OTHER).describe_vpcs()
    with pytest.raises(ClientError, match="RequestLimitExceeded"):
        aws.client("ec2", account_id=OTHER).describe_vpcs()


def test_a_fault_may_have_another_code(aws: SimulatedAWS) -> None:
    aws.faults.add("disabled_region", service="ec2", code="OptInRequired", status=403)
    with pytest.raises(ClientError) as error:
        aws.client("ec2").describe_vpcs()
    assert code_of(error) == "OptInRequired"


@pytest.mark.parametrize("kind", ["cut_body", "cut_body_unsized"])
def test_a_cut_json_body_reads_as_nothing_to_botocore(aws: SimulatedAWS, kind: Any) -> None:
    aws.client("logs").create_log_group(logGroupName="one")
    aws.faults.add(kind, service="logs", operation="DescribeLogGroups", count=1)
    answer = aws.client("logs").describe_log_groups()
    assert "logGroups" not in answer, "botocore's trap, which the collector must see"
    sized = "content-length" in answer["ResponseMetadata"]["HTTPHeaders"]
    assert sized == (kind == "cut_body")
    assert len(aws.client("logs").describe_log_groups()["logGroups"]) == 1


def test_a_reset_connection_has_no_answer(aws: SimulatedAWS) -> None:
    aws.faults.add("reset", service="sqs", count=1)
    with pytest.raises(ConnectionClosedError):
        aws.client("sqs").list_queues()
    aws.client("sqs").list_queues()


def test_a_hanging_call_outlives_the_clients_patience(aws: SimulatedAWS) -> None:
    aws.faults.add("hang", service="sqs", seconds=30)
    config = Config(read_timeout=0.2, retries={"total_max_attempts": 1})
    client = boto3.client("sqs", region_name=REGION, endpoint_url=aws.url, config=config, **aws.root_keys().for_boto3())
    started = time.monotonic()
    with pytest.raises(ReadTimeoutError):
        client.list_queues()
    client.close()
    assert time.monotonic() - started < 5


def test_a_slow_call_delays_nobody_else(aws: SimulatedAWS) -> None:
    aws.faults.add("slow", service="sqs", seconds=1.0)
    slow = threading.Thread(target=aws.client("sqs").list_queues)
    slow.start()
    started = time.monotonic()
    aws.client("sns").list_topics()
    assert time.monotonic() - started < 0.9
    slow.join()


PAGED = [
    ("iam", "list_roles", "Roles"),
    ("logs", "describe_log_groups", "logGroups"),
    ("s3", "list_buckets", "Buckets"),
]


@pytest.mark.parametrize(("service", "operation", "items"), PAGED)
def test_pages_can_fail_loop_and_be_empty(aws: SimulatedAWS, service: str, operation: str, items: str) -> None:
    aws.client("s3").create_bucket(Bucket="one", **LOCATION)
    aws.client("logs").create_log_group(logGroupName="one")
    aws.role_with_policy(DEFAULT_ACCOUNT, allow("*"))
    paginator = aws.client(service).get_paginator(operation)

    fault = aws.faults.add("page_two_fails", service=service)
    pages = iter(paginator.paginate())
    assert len(next(pages)[items]) == 1
    with pytest.raises(ClientError):
        next(pages)
    aws.faults.remove(fault)

    fault = aws.faults.add("token_loop", service=service)
    with pytest.raises(PaginationError, match="same next token"):
        list(paginator.paginate())
    aws.faults.remove(fault)

    aws.faults.add("empty_first_page", service=service)
    assert [len(page[items]) for page in paginator.paginate()] == [0, 1]


def test_a_paging_fault_needs_a_paginated_operation(aws: SimulatedAWS) -> None:
    with pytest.raises(ValueError, match="not paginated"):
        aws.faults.add("page_two_fails", service="cloudtrail", operation="DescribeTrails")


# overlays ----------------------------------------------------------------------------------------------------------


def test_an_overlay_answers_what_nobody_emulates(aws: SimulatedAWS) -> None:
    aws.overlay("compute-optimizer", "GetEnrollmentStatus", {"status": "Active"}, account=OTHER)
    assert aws.client("compute-optimizer", account_id=OTHER).get_enrollment_status()["status"] == "Active"


@pytest.mark.parametrize("service", ["backup", "rds", "ec2", "cloudfront", "support"])
def test_overlays_are_written_in_every_protocol(aws: SimulatedAWS, service: str) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    cases: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "backup": ("ListRestoreJobs", {"RestoreJobs": [{"RestoreJobId": "1", "CreationDate": moment}]}, {}),
        "rds": ("DescribeReservedDBInstances", {"ReservedDBInstances": [{"StartTime": moment}]}, {}),
        "ec2": ("DescribeReservedInstances", {"ReservedInstances": [{"State": "active", "Start": moment}]}, {}),
        "cloudfront": ("GetDistribution", {"Distribution": distribution(moment), "ETag": "e"}, {"Id": "E1"}),
        "support": (
            "DescribeTrustedAdvisorChecks",
            {"checks": [{"id": "1", "name": "n", "description": "d", "category": "c", "metadata": []}]},
            {"language": "en"},
        ),
    }
    operation, response, params = cases[service]
    aws.overlay(service, operation, response)
    answer = getattr(aws.client(service), xform_name(operation))(**params)
    assert {name: answer[name] for name in response} == response


def distribution(moment: datetime) -> dict[str, Any]:
    config = {
        "CallerReference": "1",
        "Comment": "",
        "Enabled": True,
        "Origins": {"Quantity": 1, "Items": [{"Id": "o", "DomainName": "o.example.com"}]},
        "DefaultCacheBehavior": {"TargetOriginId": "o", "ViewerProtocolPolicy": "redirect-to-https"},
    }
    return {
        "Id": "E1",
        "ARN": "arn",
        "Status": "Deployed",
        "LastModifiedTime": moment,
        "InProgressInvalidationBatches": 0,
        "DomainName": "d.cloudfront.net",
        "DistributionConfig": config,
    }


def test_an_overlay_that_aws_could_not_give_is_refused(aws: SimulatedAWS) -> None:
    with pytest.raises(ValueError, match="Unknown parameter"):
        aws.overlay("compute-optimizer", "GetEnrollmentStatus", {"state": "Active"})


def test_an_overlay_may_depend_on_the_call_and_may_be_an_error(aws: SimulatedAWS) -> None:
    def jobs(params: Any) -> dict[str, Any]:
        if params.get("ByStatus") == "FAILED":
            raise AWSError("InvalidParameterValueException", "no such status")
        return {"RestoreJobs": []}

    aws.overlay("backup", "ListRestoreJobs", jobs)
    assert aws.client("backup").list_restore_jobs()["RestoreJobs"] == []
    with pytest.raises(ClientError, match="no such status"):
        aws.client("backup").list_restore_jobs(ByStatus="FAILED")
