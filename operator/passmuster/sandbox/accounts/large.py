"""An account of a company that grew: thousands of resources in two regions, made by scripts that nobody remembers.

It is there to see what an inspection costs: how many requests, how much memory, how long. What it is made of is what
accounts are full of, and what the checks must look at one by one.

    with SimulatedAWS() as aws:
        account = large.seed(aws)
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from passmuster.sandbox.accounts import bill
from passmuster.sandbox.accounts.seeded import Seeded, seeded
from passmuster.sandbox.accounts.shop import TAGS, UPPER, Account
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS

SECOND_REGION = "eu-west-1"
TEAMS = ("orders", "billing", "search", "stock", "mail")

NUMBERS = {
    "log groups": 500,
    "alarms": 200,
    "security groups": 150,
    "functions": 120,
    "secrets": 80,
    "topics": 60,
    "queues": 80,
    "buckets": 60,
    "tables": 40,
    "volumes": 100,
    "databases": 20,
    "repositories": 30,
    "documents": 20,
}
"""How many of each there are in each of the two regions."""

ROLES = 200
"""Roles of the account, whatever the region."""

NOBODY = '{"Version": "2012-10-17", "Statement": []}'
"""Whom these roles trust."""


def seed(aws: SimulatedAWS, account_id: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION) -> Seeded:
    """Build the account; takes about half a minute."""
    regions = (region, SECOND_REGION)
    for place in regions:
        for kind, make in _MAKERS.items():
            make(_Region(aws, account_id, place), NUMBERS[kind])
    iam = aws.direct("iam", account_id=account_id)
    for number in range(ROLES):
        iam.create_role(RoleName=f"{_name(number)}-task", AssumeRolePolicyDocument=NOBODY)
    account = Account(aws, account_id, region)
    databases = len(regions) * NUMBERS["databases"]
    usage = bill.Usage(
        hours={bill.DATABASES: databases * bill.HOURS},
        computing=212.0,
        saved_by={bill.DATABASES: 1480.0, "COMPUTE_SP": 1270.0},
    )
    bill.lay(account, usage)
    return seeded(account, "large", regions, {"level": "Production", "interval": "1h"})


class _Region:
    """One region of the account."""

    def __init__(self, aws: SimulatedAWS, account_id: str, name: str) -> None:
        self._aws = aws
        self.account_id = account_id
        self.name = name

    def client(self, service: str) -> Any:
        return self._aws.direct(service, self.name, account_id=self.account_id)


def _name(number: int) -> str:
    return f"{TEAMS[number % len(TEAMS)]}-{number:03}"


def _tags(number: int, tags: list[dict[str, str]]) -> list[dict[str, str]]:
    """Three of four things are tagged as agreed; the fourth was made in a hurry."""
    return tags if number % 4 else tags[:1]


def _log_groups(region: _Region, count: int) -> None:
    logs = region.client("logs")
    for number in range(count):
        name = f"/aws/lambda/{_name(number)}" if number < NUMBERS["functions"] else f"/{_name(number)}/web"
        logs.create_log_group(logGroupName=name, tags=TAGS)
        if number % 3:
            logs.put_retention_policy(logGroupName=name, retentionInDays=30)


def _alarms(region: _Region, count: int) -> None:
    cloudwatch = region.client("cloudwatch")
    topic = f"arn:aws:sns:{region.name}:{region.account_id}:{_name(0)}-alarms"
    for number in range(count):
        cloudwatch.put_metric_alarm(
            AlarmName=f"{_name(number)}-errors",
            Namespace="AWS/Lambda",
            MetricName="Errors" if number % 2 else "Throttles",
            Dimensions=[{"Name": "FunctionName", "Value": _name(number // 2)}],
            Statistic="Sum",
            Period=300,
            EvaluationPeriods=1,
            Threshold=0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
            AlarmActions=[topic] if number % 5 else [],
        )


def _security_groups(region: _Region, count: int) -> None:
    ec2 = region.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    for number in range(count):
        group = ec2.create_security_group(GroupName=_name(number), Description=_name(number), VpcId=vpc)["GroupId"]
        world = {"CidrIp": "0.0.0.0/0"} if number % 50 == 0 else {"CidrIp": "10.0.0.0/8"}
        ingress = [{"IpProtocol": "tcp", "FromPort": 8443, "ToPort": 8443, "IpRanges": [world]}]
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=ingress)
        if number % 3 == 0:
            ec2.create_network_interface(SubnetId=subnet, Groups=[group], Description=_name(number))


def _functions(region: _Region, count: int) -> None:
    role_name = f"functions-{region.name}"
    role = region.client("iam").create_role(RoleName=role_name, AssumeRolePolicyDocument=NOBODY)["Role"]["Arn"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as code:
        code.writestr("index.py", "def handler(event, context):\n    return None\n")
    functions = region.client("lambda")
    for number in range(count):
        functions.create_function(
            FunctionName=_name(number),
            Runtime="python3.13" if number % 10 else "python3.9",
            Role=role,
            Handler="index.handler",
            Code={"ZipFile": packed.getvalue()},
            Environment={"Variables": {"STAGE": "production"}},
            Tags=TAGS,
        )


def _secrets(region: _Region, count: int) -> None:
    secrets = region.client("secretsmanager")
    for number in range(count):
        secrets.create_secret(Name=f"{_name(number)}/password", SecretString="x", Tags=_tags(number, UPPER))


def _topics(region: _Region, count: int) -> None:
    sns = region.client("sns")
    for number in range(count):
        encrypted = {"KmsMasterKeyId": "alias/aws/sns"} if number % 2 else {}
        sns.create_topic(Name=f"{_name(number)}-alarms", Attributes=encrypted, Tags=_tags(number, UPPER))


def _queues(region: _Region, count: int) -> None:
    sqs = region.client("sqs")
    for number in range(count):
        sqs.create_queue(QueueName=f"{_name(number)}-jobs", tags=TAGS)


def _buckets(region: _Region, count: int) -> None:
    s3 = region.client("s3")
    place = {"CreateBucketConfiguration": {"LocationConstraint": region.name}}
    for number in range(count):
        name = f"{_name(number)}-{region.name}-{region.account_id}"
        s3.create_bucket(Bucket=name, **place)
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": _tags(number, UPPER)})
        if number % 2:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


def _tables(region: _Region, count: int) -> None:
    tables = region.client("dynamodb")
    for number in range(count):
        tables.create_table(
            TableName=_name(number),
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=_tags(number, UPPER),
        )


def _volumes(region: _Region, count: int) -> None:
    ec2 = region.client("ec2")
    zone = f"{region.name}a"
    for number in range(count):
        given = {"ResourceType": "volume", "Tags": _tags(number, UPPER)}
        ec2.create_volume(
            AvailabilityZone=zone, Size=50, VolumeType="gp3", Encrypted=bool(number % 5), TagSpecifications=[given]
        )


def _databases(region: _Region, count: int) -> None:
    rds = region.client("rds")
    for number in range(count):
        rds.create_db_instance(
            DBInstanceIdentifier=_name(number),
            Engine="postgres",
            EngineVersion="17.4",
            DBInstanceClass="db.m7g.large",
            AllocatedStorage=100,
            StorageEncrypted=bool(number % 4),
            MultiAZ=bool(number % 2),
            MasterUsername="owner",
            MasterUserPassword="unused-in-here",
            BackupRetentionPeriod=7 if number % 3 else 1,
            Tags=_tags(number, UPPER),
        )


def _repositories(region: _Region, count: int) -> None:
    ecr = region.client("ecr")
    for number in range(count):
        ecr.create_repository(repositoryName=_name(number), tags=UPPER)


def _documents(region: _Region, count: int) -> None:
    ssm = region.client("ssm")
    content = '{"schemaVersion": "0.3", "mainSteps": [{"name": "wait", "action": "aws:sleep", "inputs": {}}]}'
    for number in range(count):
        ssm.create_document(
            Name=f"{_name(number)}-restart", Content=content, DocumentType="Automation", DocumentFormat="JSON"
        )


_MAKERS: Mapping[str, Callable[[_Region, int], None]] = {
    "log groups": _log_groups,
    "alarms": _alarms,
    "security groups": _security_groups,
    "functions": _functions,
    "secrets": _secrets,
    "topics": _topics,
    "queues": _queues,
    "buckets": _buckets,
    "tables": _tables,
    "volumes": _volumes,
    "databases": _databases,
    "repositories": _repositories,
    "documents": _documents,
}
