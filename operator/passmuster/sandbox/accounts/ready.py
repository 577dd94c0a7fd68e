"""The shop two years later: its team has worked through the whole plan, and every check passes or does not apply.

::

    begin (the account of the review) > PRODUCTION > STABLE > HARDENED > ENTERPRISE

Each step closes the gaps of one phase and no other, so that the account stands at each level once; a test goes along.
What the team made lies in stacks of its own; what the pipeline and people had made, they changed. What no emulator has
(backups that were taken, restores that worked, people on call, a support plan) is laid as overlays by ready_facts.py.

    with SimulatedAWS() as aws:
        account = ready.seed(aws)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from passmuster.model.verdict import Phase
from passmuster.sandbox.accounts import ready_facts, review, shop, templates
from passmuster.sandbox.accounts.seeded import Seeded, manifest
from passmuster.sandbox.accounts.shop import DATABASE, LOWER, REPLICA, UPPER, Account, Outputs
from passmuster.sandbox.simulated_aws import DEFAULT_ACCOUNT, DEFAULT_REGION, SimulatedAWS

STANDBY_REGION = "eu-west-1"
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


@dataclass(frozen=True, slots=True)
class Shop:
    """The account on its way, and what its first stacks tell of themselves."""

    account: Account
    before: review.ReviewAccount
    network: Outputs
    data: Outputs

    @property
    def topic(self) -> str:
        """The topic of the shop's alarms."""
        topics = self.account.client("sns").list_topics()["Topics"]
        return next(str(one["TopicArn"]) for one in topics if one["TopicArn"].endswith(":shop-alarms"))

    @property
    def buckets(self) -> list[str]:
        """Every bucket that something is kept in."""
        kept = (self.data["LogBucket"], self.data["ArtifactBucket"], self.data["InvoiceBucket"])
        return [*kept, self.account.outputs("shop-trail")["LogBucket"]]


def seed(aws: SimulatedAWS, account_id: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION) -> Seeded:
    """Build the account; takes a quarter of a minute. Raises RuntimeError if one of its stacks cannot be made."""
    began = begin(aws, account_id, region)
    for close in STEPS.values():
        close(began)
    return seeded(began)


def begin(aws: SimulatedAWS, account_id: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION) -> Shop:
    """The account as the review found it."""
    before = review.seed(aws, account_id, region)
    account = Account(aws, account_id, region)
    return Shop(account, before, account.outputs("shop-network"), account.outputs("shop-data"))


def seeded(began: Shop) -> Seeded:
    """What whoever inspects the account must know of it."""
    account, before = began.account, began.before
    return Seeded(
        account_id=account.id,
        regions=(account.region,),
        inspection_role_arn=before.inspection_role_arn,
        remediation_role_arn=before.remediation_role_arn,
        external_id=before.external_id,
        manifest=manifest(account, "ready", (account.region,), POLICY, account.outputs("passmuster-access")),
    )


# production -----------------------------------------------------------------------------------------------------------


def _production(began: Shop) -> None:
    """A way out of each zone, a name, TLS and nothing in clear text, and a trail."""
    _spare_the_zone(began)
    _lead_users(began)
    began.account.deploy("shop-trail", templates.read("trail"))
    _confirm(began)


def _spare_the_zone(began: Shop) -> None:
    subnet = began.network["PublicSubnets"].split(",")[1]
    egress = began.account.deploy("shop-egress", templates.read("egress"), PublicSubnet=subnet)
    began.account.client("ec2").replace_route(
        RouteTableId=began.network["ServiceRoutes"].split(",")[1],
        DestinationCidrBlock="0.0.0.0/0",
        NatGatewayId=egress["NatGateway"],
    )


def _lead_users(began: Shop) -> None:
    elb, balancer = began.account.client("elbv2"), began.before.load_balancer_arn
    told = elb.describe_load_balancers(LoadBalancerArns=[balancer])["LoadBalancers"][0]
    name = began.account.deploy(
        "shop-name",
        templates.read("name"),
        Domain=review.DOMAIN,
        HostedZoneId=began.account.outputs("shop-dns")["Zone"],
        LoadBalancerName=told["DNSName"],
        LoadBalancerZone=told["CanonicalHostedZoneId"],
    )
    began.account.in_region(shop.EDGE_REGION).deploy(
        "shop-health", templates.read("health"), Domain=review.DOMAIN, Mail=review.MAIL
    )
    group = elb.describe_target_groups(LoadBalancerArn=balancer)["TargetGroups"][0]["TargetGroupArn"]
    clear = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"][0]["ListenerArn"]
    elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTPS",
        Port=443,
        SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
        Certificates=[{"CertificateArn": name["Certificate"]}],
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        Tags=UPPER,
    )
    away = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    elb.modify_listener(ListenerArn=clear, DefaultActions=[{"Type": "redirect", "RedirectConfig": away}])
    elb.modify_target_group(TargetGroupArn=group, HealthCheckPath="/health")
    everybody = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    began.account.client("ec2").authorize_security_group_ingress(
        GroupId=began.network["BalancerGroup"], IpPermissions=[everybody]
    )


def _confirm(began: Shop) -> None:
    for place in (began.account.region, shop.EDGE_REGION):
        began.account.aws.confirm(account_id=began.account.id, region=place)


# stable ---------------------------------------------------------------------------------------------------------------


def _stable(began: Shop) -> None:
    """Intruders are looked for, secrets rotate, and what is kept can be had again after a disaster."""
    account = began.account
    account.deploy("shop-detection", templates.read("detection"))
    _limit_sessions(account)
    secrets = account.client("secretsmanager").list_secrets()["SecretList"]
    account.deploy(
        "shop-rotation",
        templates.read("rotation"),
        Topic=began.topic,
        PaymentSecret=next(one["ARN"] for one in secrets if one["Name"] == "shop/payment"),
    )
    account.client("ecs").update_cluster_settings(
        cluster="shop", settings=[{"name": "containerInsights", "value": "enhanced"}]
    )
    for name in (DATABASE, REPLICA):
        account.client("rds").modify_db_instance(
            DBInstanceIdentifier=name,
            EnablePerformanceInsights=True,
            DatabaseInsightsMode="standard",
            ApplyImmediately=True,
        )
    standby = account.in_region(STANDBY_REGION).deploy("shop-standby", templates.read("standby"))
    account.deploy("shop-recovery", templates.read("recovery"), Key=began.data["Key"], StandbyVault=standby["Vault"])
    there = {"region": STANDBY_REGION, "registryId": account.id}
    account.client("ecr").put_replication_configuration(replicationConfiguration={"rules": [{"destinations": [there]}]})
    account.deploy("shop-disaster", templates.runbooks(["dr"]))
    ready_facts.lay_recovery(account, began.buckets, standby["Vault"])
    _confirm(began)


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


# hardened -------------------------------------------------------------------------------------------------------------

RUNBOOKS = ("deploy", "rollback", "scaling", "troubleshooting", "security-ir", "incident")


def _hardened(began: Shop) -> None:
    """Everything is recorded, watched from outside and written down, and somebody is responsible for it."""
    account = began.account
    account.deploy("shop-configuration", templates.read("configuration"), LogBucket=began.buckets[-1])
    observation = account.deploy(
        "shop-observation",
        templates.read("observation"),
        ArtifactBucket=began.data["ArtifactBucket"],
        Topic=began.topic,
        Names=f"{review.DOMAIN} {review.INVOICE_DOMAIN}",
    )
    orders = {"MetricName": METRIC, "Timestamp": datetime.now(UTC) - timedelta(minutes=10), "Value": 42.0}
    account.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[orders])
    for name in (DATABASE, REPLICA):
        account.client("rds").modify_db_instance(
            DBInstanceIdentifier=name,
            MonitoringInterval=60,
            MonitoringRoleArn=observation["MonitoringRole"],
            CloudwatchLogsExportConfiguration={"EnableLogTypes": ["upgrade"]},
            ApplyImmediately=True,
        )
    _trace(account)
    _keep_logs(account)
    _ask_for_approval(account)
    account.deploy("shop-runbooks", templates.runbooks(RUNBOOKS))
    for kind in ("SECURITY", "OPERATIONS"):
        account.client("account").put_alternate_contact(
            AlternateContactType=kind,
            Name="The shop's team",
            Title="On call",
            EmailAddress=review.MAIL,
            PhoneNumber="+49 30 1234567",
        )
    account.client("compute-optimizer").update_enrollment_status(status="Active")
    ready_facts.lay_operations(account, RUNBOOKS)


def _trace(account: Account) -> None:
    ecs = account.client("ecs")
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
    for function in ("shop-invoices", "shop-rotation"):
        account.client("lambda").update_function_configuration(FunctionName=function, TracingConfig={"Mode": "Active"})


def _keep_logs(account: Account) -> None:
    """Audit logs for longer than a year, and who read which object."""
    for group in ("/shop/flow-logs", "aws-waf-logs-shop"):
        account.client("logs").put_retention_policy(logGroupName=group, retentionInDays=AUDIT_DAYS)
    objects = {"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}
    selector = {"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": [objects]}
    account.client("cloudtrail").put_event_selectors(TrailName="shop", EventSelectors=[selector])


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


# enterprise -----------------------------------------------------------------------------------------------------------


def _enterprise(began: Shop) -> None:
    """A second region to go to, a cache, more eyes on security, and what always runs is paid for in advance."""
    account = began.account
    account.deploy(
        "shop-cache",
        templates.read("cache"),
        DataSubnets=began.network["DataSubnets"],
        CacheGroup=began.network["DatabaseGroup"],
        Key=began.data["Key"],
    )
    account.deploy(
        "shop-accelerator",
        templates.read("accelerator"),
        LoadBalancer=began.before.load_balancer_arn,
        StandbyBalancer=account.in_region(STANDBY_REGION).outputs("shop-standby")["LoadBalancer"],
        StandbyRegion=STANDBY_REGION,
    )
    account.client("accessanalyzer").create_analyzer(
        analyzerName="shop-unused", type="ACCOUNT_UNUSED_ACCESS", tags=shop.TAGS
    )
    account.client("inspector2").enable(resourceTypes=["EC2", "ECR", "LAMBDA"])
    account.client("macie2").enable_macie(status="ENABLED")
    ready_facts.lay_foresight(account, STANDBY_REGION)


STEPS: Mapping[Phase, Callable[[Shop], None]] = {
    Phase.PRODUCTION: _production,
    Phase.STABLE: _stable,
    Phase.HARDENED: _hardened,
    Phase.ENTERPRISE: _enterprise,
}
"""What closes the gaps of a phase, in the order in which they are closed."""
