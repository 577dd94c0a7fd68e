"""The shop two years later: its team has worked through the whole plan, and every check passes or does not apply.

It begins as the account of the review. What its team made since lies in stacks of its own; what the pipeline and people
had made, they changed. What no emulator has (backups that were taken, restores that worked, people on call, a support
plan) is laid as overlays in AWS's own shapes by ready_facts.py.

    with SimulatedAWS() as aws:
        account = ready.seed(aws)
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from passmuster.sandbox.accounts import ready_facts, review, shop, templates
from passmuster.sandbox.accounts.seeded import Seeded, manifest
from passmuster.sandbox.accounts.shop import DATABASE, LOWER, REPLICA, UPPER, Account, Outputs
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS

STANDBY_REGION = "eu-west-1"
RUNBOOKS = ("dr", "deploy", "rollback", "scaling", "troubleshooting", "security-ir", "incident")
NAMESPACE, METRIC = "Shop", "Orders"
OPTIONAL = ["advanced-security", "caching-layer", "cdn-in-front", "global-accelerator-enabled", "service-mesh"]
POLICY = {
    "level": "Enterprise",
    "interval": "1h",
    "checks": {
        "optional": OPTIONAL,
        "parameters": {"business-metric-alarms": {"metrics": [{"namespace": NAMESPACE, "metric": METRIC}]}},
    },
    "recovery": {"rto": "4h", "rpo": "24h", "secondaryRegion": STANDBY_REGION},
}
AUDIT_DAYS = 400
PER_SESSION = {
    "Name": "rate-limit-by-session",
    "Priority": 10,
    "Action": {"Block": {}},
    "Statement": {
        "RateBasedStatement": {
            "Limit": 500,
            "EvaluationWindowSec": 300,
            "AggregateKeyType": "CUSTOM_KEYS",
            "CustomKeys": [
                {"Cookie": {"Name": "session_id", "TextTransformations": [{"Priority": 0, "Type": "NONE"}]}},
            ],
        }
    },
    "VisibilityConfig": {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": "session"},
}


def seed(aws: SimulatedAWS, account_id: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION) -> Seeded:
    """Build the account; takes a quarter of a minute. Raises RuntimeError if one of its stacks cannot be made."""
    before = review.seed(aws, account_id, region)
    account = Account(aws, account_id, region)
    standby = account.in_region(STANDBY_REGION).deploy("shop-standby", templates.read("standby"))
    network, data = account.outputs("shop-network"), account.outputs("shop-data")
    _spare_the_zone(account, network, data)
    _lead_users(account, before, standby)
    _limit_sessions(account)
    watch = _watch(account, data)
    _show_databases(account, watch)
    _show_service(account)
    audit = account.deploy("shop-audit", templates.read("audit"))
    account.deploy("shop-recovery", templates.read("recovery"), Key=data["Key"], StandbyVault=standby["Vault"])
    account.deploy("shop-runbooks", templates.runbooks(RUNBOOKS))
    _keep_logs(account)
    _replicate_images(account)
    _ask_for_approval(account)
    _set_account_up(account)
    for place in (region, shop.EDGE_REGION):
        aws.confirm(account_id=account_id, region=place)
    buckets = [data["LogBucket"], data["ArtifactBucket"], data["InvoiceBucket"], audit["LogBucket"]]
    ready_facts.lay(account, buckets, standby["Vault"], RUNBOOKS, STANDBY_REGION)
    roles = account.outputs("passmuster-access")
    return Seeded(
        account_id=account_id,
        regions=(region,),
        inspection_role_arn=before.inspection_role_arn,
        remediation_role_arn=before.remediation_role_arn,
        external_id=before.external_id,
        manifest=manifest(account, "ready", (region,), POLICY, roles),
    )


def _spare_the_zone(account: Account, network: Outputs, data: Outputs) -> None:
    """A second NAT gateway for the second zone, and a cache."""
    spare = account.deploy(
        "shop-spare",
        templates.read("spare"),
        PublicSubnet=network["PublicSubnets"].split(",")[1],
        DataSubnets=network["DataSubnets"],
        CacheGroup=network["DatabaseGroup"],
        Key=data["Key"],
    )
    account.client("ec2").replace_route(
        RouteTableId=network["ServiceRoutes"].split(",")[1],
        DestinationCidrBlock="0.0.0.0/0",
        NatGatewayId=spare["NatGateway"],
    )


def _lead_users(account: Account, before: review.ReviewAccount, standby: Outputs) -> None:
    """The name, its certificate and its health check; TLS on the load balancer, and nothing in clear text."""
    elb = account.client("elbv2")
    balancer = elb.describe_load_balancers(LoadBalancerArns=[before.load_balancer_arn])["LoadBalancers"][0]
    front = account.deploy(
        "shop-front",
        templates.read("front"),
        Domain=review.DOMAIN,
        HostedZoneId=account.outputs("shop-dns")["Zone"],
        LoadBalancer=balancer["LoadBalancerArn"],
        LoadBalancerName=balancer["DNSName"],
        LoadBalancerZone=balancer["CanonicalHostedZoneId"],
        StandbyBalancer=standby["LoadBalancer"],
        StandbyRegion=STANDBY_REGION,
    )
    account.in_region(shop.EDGE_REGION).deploy(
        "shop-health", templates.read("health"), Domain=review.DOMAIN, Mail=review.MAIL
    )
    group = elb.describe_target_groups(LoadBalancerArn=balancer["LoadBalancerArn"])["TargetGroups"][0]
    clear = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"][0]
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTPS",
        Port=443,
        SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
        Certificates=[{"CertificateArn": front["Certificate"]}],
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}],
        Tags=UPPER,
    )
    away = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    elb.modify_listener(ListenerArn=clear["ListenerArn"], DefaultActions=[{"Type": "redirect", "RedirectConfig": away}])
    elb.modify_target_group(TargetGroupArn=group["TargetGroupArn"], HealthCheckPath="/health")
    account.client("ec2").authorize_security_group_ingress(
        GroupId=account.outputs("shop-network")["BalancerGroup"],
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        ],
    )


def _limit_sessions(account: Account) -> None:
    for place, scope in ((account, "REGIONAL"), (account.in_region(shop.EDGE_REGION), "CLOUDFRONT")):
        waf = place.client("wafv2")
        for listed in waf.list_web_acls(Scope=scope)["WebACLs"]:
            found = waf.get_web_acl(Name=listed["Name"], Id=listed["Id"], Scope=scope)
            acl = found["WebACL"]
            waf.update_web_acl(
                Name=acl["Name"],
                Id=acl["Id"],
                Scope=scope,
                DefaultAction=acl["DefaultAction"],
                VisibilityConfig=acl["VisibilityConfig"],
                Rules=[*acl["Rules"], PER_SESSION],
                LockToken=found["LockToken"],
            )


def _watch(account: Account, data: Outputs) -> Outputs:
    """Canaries, orders that are counted, and the rotation of the one secret that nobody else rotates."""
    topics = account.client("sns").list_topics()["Topics"]
    secrets = account.client("secretsmanager").list_secrets()["SecretList"]
    made = account.deploy(
        "shop-watch",
        templates.read("watch"),
        ArtifactBucket=data["ArtifactBucket"],
        Topic=next(one["TopicArn"] for one in topics if one["TopicArn"].endswith(":shop-alarms")),
        Names=f"{review.DOMAIN} {review.INVOICE_DOMAIN}",
        PaymentSecret=next(one["ARN"] for one in secrets if one["Name"] == "shop/payment"),
    )
    account.client("cloudwatch").put_metric_data(
        Namespace=NAMESPACE,
        MetricData=[{"MetricName": METRIC, "Timestamp": datetime.now(UTC) - timedelta(minutes=10), "Value": 42.0}],
    )
    return made


def _show_databases(account: Account, watch: Outputs) -> None:
    """What the databases do: their logs, their operating system and their slowest statements."""
    rds = account.client("rds")
    for name in (DATABASE, REPLICA):
        rds.modify_db_instance(
            DBInstanceIdentifier=name,
            MonitoringInterval=60,
            MonitoringRoleArn=watch["MonitoringRole"],
            EnablePerformanceInsights=True,
            DatabaseInsightsMode="standard",
            CloudwatchLogsExportConfiguration={"EnableLogTypes": ["upgrade"]},
            ApplyImmediately=True,
        )


def _show_service(account: Account) -> None:
    """What the service and the function do: insights of the cluster, and traces."""
    ecs = account.client("ecs")
    ecs.update_cluster_settings(cluster="shop", settings=[{"name": "containerInsights", "value": "enhanced"}])
    old = ecs.describe_task_definition(taskDefinition="shop-web")["taskDefinition"]
    web = old["containerDefinitions"][0]
    collector = {
        "name": "aws-otel-collector",
        "image": "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3",
        "essential": False,
        "logConfiguration": web["logConfiguration"],
    }
    kept = ("family", "networkMode", "requiresCompatibilities", "cpu", "memory", "executionRoleArn", "taskRoleArn")
    made: Any = ecs.register_task_definition(
        **{name: old[name] for name in kept if name in old}, containerDefinitions=[web, collector], tags=LOWER
    )
    ecs.update_service(cluster="shop", service="web", taskDefinition=made["taskDefinition"]["taskDefinitionArn"])
    account.client("lambda").update_function_configuration(
        FunctionName="shop-invoices", TracingConfig={"Mode": "Active"}
    )


def _keep_logs(account: Account) -> None:
    for group in ("/shop/flow-logs", "aws-waf-logs-shop"):
        account.client("logs").put_retention_policy(logGroupName=group, retentionInDays=AUDIT_DAYS)


def _replicate_images(account: Account) -> None:
    there = {"region": STANDBY_REGION, "registryId": account.id}
    account.client("ecr").put_replication_configuration(replicationConfiguration={"rules": [{"destinations": [there]}]})


def _ask_for_approval(account: Account) -> None:
    """Somebody has to agree before the pipeline deploys."""
    pipelines = account.client("codepipeline")
    pipeline = pipelines.get_pipeline(name="shop-web")["pipeline"]
    asked = {
        "name": "Agree",
        "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"},
        "runOrder": 1,
    }
    source, deployment = pipeline["stages"]
    pipeline["stages"] = [source, {"name": "Agree", "actions": [asked]}, deployment]
    pipelines.update_pipeline(pipeline=pipeline)


def _set_account_up(account: Account) -> None:
    """What is true of the account as a whole."""
    for kind in ("SECURITY", "OPERATIONS"):
        account.client("account").put_alternate_contact(
            AlternateContactType=kind,
            Name="The shop's team",
            Title="On call",
            EmailAddress=review.MAIL,
            PhoneNumber="+49 30 1234567",
        )
    account.client("compute-optimizer").update_enrollment_status(status="Active")
    account.client("accessanalyzer").create_analyzer(
        analyzerName="shop-unused", type="ACCOUNT_UNUSED_ACCESS", tags=shop.TAGS
    )
    account.client("inspector2").enable(resourceTypes=["EC2", "ECR", "LAMBDA"])
    account.client("macie2").enable_macie(status="ENABLED")
