"""What pipelines and people made in the account of the review, beside its stacks.

review.py calls these in order. They speak to the simulated AWS as the account itself; where AWS would need time or a
past (a database of last year, a task that came up), the emulator's record is set, because no API can.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.rds.models import rds_backends

from passmuster.aws.stacks import MOST_TEMPLATE_BYTES
from passmuster.sandbox.emulation.overlays import Response
from passmuster.sandbox.simulated_aws import SimulatedAWS

TAGS = {"Environment": "production", "Project": "shop", "Owner": "shop-team"}
"""What everything in the account carries; the stacks give it to their resources."""

UPPER = [{"Key": key, "Value": value} for key, value in TAGS.items()]
LOWER = [{"key": key, "value": value} for key, value in TAGS.items()]

DATABASE, REPLICA = "shop", "shop-replica"
REPOSITORY, IMAGE_TAG = "shop/web", "1.4.2"
AGE = timedelta(days=400)
"""How long ago the database was made."""

NO_CACHING = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
"""CloudFront's managed policy CachingDisabled."""

CLOUDFRONT_ZONE = "Z2FDTNDATAQYW2"
"""The hosted zone of every distribution's own name."""

EDGE_REGION = "us-east-1"
"""Where CloudFront and Route 53 keep what belongs to them."""

Outputs = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Account:
    """One account and region of the simulated AWS, with how its owners change it."""

    aws: SimulatedAWS
    id: str
    region: str

    def client(self, service: str) -> Any:
        return self.aws.client(service, self.region, account_id=self.id)

    def in_region(self, region: str) -> Account:
        return Account(self.aws, self.id, region)

    def deploy(self, name: str, template: str, **parameters: str) -> Outputs:
        """Make a stack whose resources carry the shop's tags; its outputs."""
        client = self.client("cloudformation")
        with self._given(template) as given:
            stack = client.create_stack(
                StackName=name,
                **given,
                Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
                Tags=UPPER,
                Capabilities=["CAPABILITY_NAMED_IAM"],
                DisableRollback=True,
            )["StackId"]
        made = self._stack(stack)
        if made["StackStatus"] != "CREATE_COMPLETE":
            events = client.describe_stack_events(StackName=stack)["StackEvents"]
            reasons = [f"{e['LogicalResourceId']}: {e['ResourceStatusReason']}" for e in events if _has_failed(e)]
            raise RuntimeError(f"the stack {name} is {made['StackStatus']}: {'; '.join(reasons)}")
        return _outputs(made)

    @contextmanager
    def _given(self, template: str) -> Iterator[dict[str, str]]:
        """The template as a request takes it: by way of a bucket, which then goes again, if it is too long."""
        if len(template.encode()) <= MOST_TEMPLATE_BYTES:
            yield {"TemplateBody": template}
            return
        s3, bucket = self.client("s3"), f"cf-templates-{self.region}-{self.id}"
        elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        s3.create_bucket(Bucket=bucket, **({} if self.region == "us-east-1" else elsewhere))
        s3.put_object(Bucket=bucket, Key="template", Body=template.encode())
        yield {"TemplateURL": f"https://{bucket}.s3.{self.region}.amazonaws.com/template"}
        s3.delete_object(Bucket=bucket, Key="template")
        s3.delete_bucket(Bucket=bucket)

    def lay(self, answers: Mapping[tuple[str, str], Response]) -> None:
        """Let operations, each a service and a name, answer with facts that no emulator has."""
        for (service, operation), answer in answers.items():
            self.aws.overlay(service, operation, answer, account=self.id)

    def outputs(self, name: str) -> Outputs:
        """What a stack that was made before tells of itself."""
        return _outputs(self._stack(name))

    def _stack(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        return found


def _outputs(stack: Mapping[str, Any]) -> Outputs:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _has_failed(event: Mapping[str, Any]) -> bool:
    return str(event["ResourceStatus"]).endswith("_FAILED") and "ResourceStatusReason" in event


@dataclass(frozen=True, slots=True)
class Parts:
    """The outputs of the stacks that the rest stands on."""

    network: Outputs
    data: Outputs
    edge: Outputs
    service: Outputs


def route_through_nat(account: Account, parts: Parts) -> None:
    """Both zones' private subnets leave through the one NAT gateway; nothing is left in the default groups."""
    ec2 = account.client("ec2")
    for table in parts.network["ServiceRoutes"].split(","):
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=parts.network["NatGateway"])
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["default"]}])["SecurityGroups"]
    for group in groups:
        if group["IpPermissions"]:
            ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=group["IpPermissions"])
        if group["IpPermissionsEgress"]:
            ec2.revoke_security_group_egress(GroupId=group["GroupId"], IpPermissions=group["IpPermissionsEgress"])
    ec2.enable_ebs_encryption_by_default()


def restore_database(account: Account, parts: Parts) -> tuple[str, str]:
    """The database, its replica and its proxy; the names of the two instances."""
    rds = account.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier=DATABASE,
        DBName="shop",
        Engine="postgres",
        EngineVersion="17.4",
        DBInstanceClass="db.m7g.large",
        AllocatedStorage=100,
        StorageType="gp3",
        StorageEncrypted=True,
        KmsKeyId=parts.data["Key"],
        MultiAZ=True,
        DBSubnetGroupName="shop",
        VpcSecurityGroupIds=[parts.network["DatabaseGroup"]],
        MasterUsername="shop",
        ManageMasterUserPassword=True,
        MasterUserSecretKmsKeyId=parts.data["Key"],
        BackupRetentionPeriod=7,
        DeletionProtection=True,
        EnableCloudwatchLogsExports=["postgresql"],
        CopyTagsToSnapshot=True,
        PubliclyAccessible=False,
        Tags=UPPER,
    )
    rds.create_db_instance_read_replica(
        DBInstanceIdentifier=REPLICA,
        SourceDBInstanceIdentifier=DATABASE,
        DBInstanceClass="db.m7g.large",
        EnableCloudwatchLogsExports=["postgresql"],
        Tags=UPPER,
    )
    _age_databases(account)
    secret = rds.describe_db_instances(DBInstanceIdentifier=DATABASE)["DBInstances"][0]["MasterUserSecret"]
    rds.create_db_proxy(
        DBProxyName="shop",
        EngineFamily="POSTGRESQL",
        Auth=[{"AuthScheme": "SECRETS", "SecretArn": secret["SecretArn"], "IAMAuth": "REQUIRED"}],
        RoleArn=parts.service["ProxyRole"],
        VpcSubnetIds=parts.network["DataSubnets"].split(","),
        VpcSecurityGroupIds=[parts.network["DatabaseGroup"]],
        RequireTLS=True,
        Tags=UPPER,
    )
    rds.register_db_proxy_targets(DBProxyName="shop", TargetGroupName="default", DBInstanceIdentifiers=[DATABASE])
    rds.describe_db_proxy_targets(DBProxyName="shop")  # the first look sees it registering
    _attach(account, parts, "DataSubnets", "DatabaseGroup", "RDSNetworkInterface")
    _report_connections(account)
    return DATABASE, REPLICA


def _attach(account: Account, parts: Parts, subnets: str, group: str, description: str) -> list[str]:
    """One network interface in each of these subnets, which AWS makes for what it runs there; their addresses."""
    ec2 = account.client("ec2")
    made = [
        ec2.create_network_interface(SubnetId=subnet, Groups=[parts.network[group]], Description=description)
        for subnet in parts.network[subnets].split(",")
    ]
    return [str(answer["NetworkInterface"]["PrivateIpAddress"]) for answer in made]


def _age_databases(account: Account) -> None:
    for instance in rds_backends[account.id][account.region].databases.values():
        instance.instance_create_time = datetime.now(UTC) - AGE


def _report_connections(account: Account) -> None:
    """Yesterday's peak of connections, which is far from what the instances accept."""
    at = datetime.now(UTC) - timedelta(days=1)
    account.client("cloudwatch").put_metric_data(
        Namespace="AWS/RDS",
        MetricData=[
            {
                "MetricName": "DatabaseConnections",
                "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": name}],
                "Timestamp": at,
                "Value": 84.0,
            }
            for name in (DATABASE, REPLICA)
        ],
    )


def deploy_web(account: Account, parts: Parts, *, note: str) -> str:
    """What the pipeline deploys: the web service behind the load balancer's HTTP listener; its target group."""
    elb = account.client("elbv2")
    group: str = elb.create_target_group(
        Name="shop-web",
        Protocol="HTTP",
        Port=8080,
        TargetType="ip",
        VpcId=parts.network["Vpc"],
        HealthCheckPath="/",
        Matcher={"HttpCode": "200"},
        Tags=UPPER,
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.create_listener(
        LoadBalancerArn=parts.edge["LoadBalancer"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        Tags=UPPER,
    )
    addresses = _attach(account, parts, "ServiceSubnets", "ServiceGroup", "Task of the web service")
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": address} for address in addresses])
    _run_service(account, parts, group, note)
    return group


def _run_service(account: Account, parts: Parts, group: str, note: str) -> None:
    ecs = account.client("ecs")
    ecs.create_cluster(clusterName="shop", settings=[{"name": "containerInsights", "value": "disabled"}], tags=LOWER)
    definition = ecs.register_task_definition(
        family="shop-web",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="2048",
        memory="4096",
        executionRoleArn=parts.service["ExecutionRole"],
        taskRoleArn=parts.service["TaskRole"],
        containerDefinitions=[_container(account, parts, note)],
        tags=LOWER,
    )["taskDefinition"]["taskDefinitionArn"]
    ecs.create_service(
        cluster="shop",
        serviceName="web",
        taskDefinition=definition,
        desiredCount=2,
        launchType="FARGATE",
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": parts.network["ServiceSubnets"].split(","),
                "securityGroups": [parts.network["ServiceGroup"]],
                "assignPublicIp": "DISABLED",
            }
        },
        loadBalancers=[{"targetGroupArn": group, "containerName": "web", "containerPort": 8080}],
        healthCheckGracePeriodSeconds=60,
        deploymentConfiguration={
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
        },
        propagateTags="SERVICE",
        tags=LOWER,
    )
    _scale_service(account)


def _container(account: Account, parts: Parts, note: str) -> dict[str, Any]:
    return {
        "name": "web",
        "image": f"{parts.data['Repository']}@{_push_image(account)}",
        "essential": True,
        "portMappings": [{"containerPort": 8080}],
        "environment": [{"name": "RELEASE_NOTE", "value": note}],
        "secrets": [{"name": "PAYMENT_TOKEN", "valueFrom": parts.service["PaymentSecret"]}],
        "healthCheck": {"command": ["CMD-SHELL", f"curl -f http://localhost:8080/ -A '{note}'"], "interval": 15},
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": "/shop/web",
                "awslogs-region": account.region,
                "awslogs-stream-prefix": "web",
            },
        },
    }


def _push_image(account: Account) -> str:
    """The digest of the image that the pipeline pushed."""
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    blob = {"mediaType": "application/octet-stream", "size": 7023, "digest": f"sha256:{'5f' * 32}"}
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": blob, "layers": [blob]}
    image = account.client("ecr").put_image(
        repositoryName=REPOSITORY,
        imageTag=IMAGE_TAG,
        imageManifest=json.dumps(manifest),
        imageManifestMediaType=kind,
    )["image"]
    return str(image["imageId"]["imageDigest"])


def _scale_service(account: Account) -> None:
    scaling = account.client("application-autoscaling")
    service = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/shop/web",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    scaling.register_scalable_target(**service, MinCapacity=2, MaxCapacity=6)
    scaling.put_scaling_policy(
        **service,
        PolicyName="shop-web-cpu",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 60.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
        },
    )


def make_pipeline(account: Account, parts: Parts) -> None:
    """The pipeline that deploys the web service; that it ran is a fact."""
    pipeline = account.client("codepipeline")
    pipeline.create_pipeline(
        pipeline={
            "name": "shop-web",
            "roleArn": parts.service["PipelineRole"],
            "artifactStore": {"type": "S3", "location": parts.data["ArtifactBucket"]},
            "stages": [_stage("Source", "S3", _SOURCE), _stage("Deploy", "ECS", _DEPLOYMENT)],
        },
        tags=LOWER,
    )


_SOURCE = {"S3Bucket": "shop-artifacts", "S3ObjectKey": "web.zip"}
_DEPLOYMENT = {"ClusterName": "shop", "ServiceName": "web", "FileName": "images.json"}


def _stage(name: str, provider: str, configuration: Mapping[str, str]) -> dict[str, Any]:
    action: dict[str, Any] = {
        "name": name,
        "actionTypeId": {"category": name, "owner": "AWS", "provider": provider, "version": "1"},
        "configuration": dict(configuration),
        "runOrder": 1,
    }
    side = "outputArtifacts" if name == "Source" else "inputArtifacts"
    return {"name": name, "actions": [{**action, side: [{"name": "release"}]}]}


def distribute_invoices(account: Account, parts: Parts, edge: Outputs, *, domain: str, zone: str) -> None:
    """The distribution in front of the invoices, and the name that leads to it."""
    bucket = parts.data["InvoiceBucket"]
    cloudfront = account.client("cloudfront")
    made = cloudfront.create_distribution_with_tags(
        DistributionConfigWithTags={
            "DistributionConfig": {
                "CallerReference": domain,
                "Comment": "Invoices of customers",
                "Enabled": True,
                "Aliases": {"Quantity": 1, "Items": [domain]},
                "Origins": {
                    "Quantity": 1,
                    "Items": [
                        {
                            "Id": "invoices",
                            "DomainName": f"{bucket}.s3.{account.region}.amazonaws.com",
                            "S3OriginConfig": {"OriginAccessIdentity": ""},
                        }
                    ],
                },
                "DefaultCacheBehavior": {
                    "TargetOriginId": "invoices",
                    "ViewerProtocolPolicy": "https-only",
                    "CachePolicyId": NO_CACHING,
                },
                "ViewerCertificate": {
                    "CloudFrontDefaultCertificate": False,
                    "ACMCertificateArn": edge["Certificate"],
                    "SSLSupportMethod": "sni-only",
                    "MinimumProtocolVersion": "TLSv1.2_2021",
                },
                "WebACLId": edge["WebAcl"],
            },
            "Tags": {"Items": UPPER},
        }
    )["Distribution"]
    cloudfront.get_distribution(Id=made["Id"])  # the first look sees it in progress
    target = {"HostedZoneId": CLOUDFRONT_ZONE, "DNSName": made["DomainName"], "EvaluateTargetHealth": False}
    record = {"Name": domain, "Type": "A", "AliasTarget": target}
    account.client("route53").change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    )


def set_account_up(account: Account, *, note: str) -> None:
    """What is true of the account as a whole."""
    account.client("ssm").put_parameter(Name="/shop/flag", Type="SecureString", Value=note, Tags=UPPER)
    account.client("accessanalyzer").create_analyzer(analyzerName="shop", type="ACCOUNT", tags=TAGS)
    account.client("ce").update_cost_allocation_tags_status(
        CostAllocationTagsStatus=[{"TagKey": key, "Status": "Active"} for key in TAGS]
    )
    for region in (account.region, EDGE_REGION):
        account.aws.confirm(account_id=account.id, region=region)
