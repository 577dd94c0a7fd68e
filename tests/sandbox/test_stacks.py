"""Every resource type that stacks can hold really makes, changes and removes what it names.

One row per type: what the template says, how plain boto3 sees it after creation and after an update, and that it is
gone after the stack is deleted. Rows share the prerequisites they name.
"""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import jmespath
import pytest
from botocore.exceptions import ClientError

from passmuster.sandbox.emulation.stacks import catalogue
from passmuster.sandbox.simulated_aws import SimulatedAWS

pytestmark = pytest.mark.slow

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
READ_ONLY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:List*", "Resource": "*"}]}
NETWORK: dict[str, Any] = {
    "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
    "SubnetA": {
        "Type": "AWS::EC2::Subnet",
        "Properties": {
            "VpcId": {"Ref": "Vpc"},
            "CidrBlock": "10.0.1.0/24",
            "AvailabilityZone": {"Fn::Select": [0, {"Fn::GetAZs": ""}]},
        },
    },
    "SubnetB": {
        "Type": "AWS::EC2::Subnet",
        "Properties": {
            "VpcId": {"Ref": "Vpc"},
            "CidrBlock": "10.0.2.0/24",
            "AvailabilityZone": {"Fn::Select": [1, {"Fn::GetAZs": ""}]},
        },
    },
    "Group": {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {"GroupDescription": "web", "VpcId": {"Ref": "Vpc"}},
    },
    "Table": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": {"Ref": "Vpc"}}},
    "Gateway": {"Type": "AWS::EC2::InternetGateway"},
    "Attached": {
        "Type": "AWS::EC2::VPCGatewayAttachment",
        "Properties": {"VpcId": {"Ref": "Vpc"}, "InternetGatewayId": {"Ref": "Gateway"}},
    },
    "Address": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc"}},
}
BALANCED: dict[str, Any] = NETWORK | {
    "Balancer": {
        "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "Properties": {"Subnets": [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}]},
    },
    "Targets": {
        "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
        "Properties": {"VpcId": {"Ref": "Vpc"}, "Port": 80, "Protocol": "HTTP"},
    },
    "Http": {
        "Type": "AWS::ElasticLoadBalancingV2::Listener",
        "Properties": {
            "LoadBalancerArn": {"Ref": "Balancer"},
            "Port": 80,
            "Protocol": "HTTP",
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}],
        },
    },
}
ROLE: dict[str, Any] = {
    "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
}
RECORDER: dict[str, Any] = ROLE | {
    "Recorder": {
        "Type": "AWS::Config::ConfigurationRecorder",
        "Properties": {"RoleARN": {"Fn::GetAtt": ["Role", "Arn"]}, "RecordingGroup": {"AllSupported": True}},
    }
}
FUNCTION: dict[str, Any] = ROLE | {
    "Code": {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Code": {"ZipFile": "def handler(event, context): pass"},
        },
    }
}
TOPIC: dict[str, Any] = {"Topic": {"Type": "AWS::SNS::Topic"}}
BUCKET: dict[str, Any] = {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {}}}
ZONE: dict[str, Any] = {"Zone": {"Type": "AWS::Route53::HostedZone", "Properties": {"Name": "example.com"}}}

ACCELERATED: dict[str, Any] = {
    "Accelerator": {"Type": "AWS::GlobalAccelerator::Accelerator", "Properties": {"Name": "front"}},
}
TESTING_PLAN: dict[str, Any] = {
    "Plan": {
        "Type": "AWS::Backup::RestoreTestingPlan",
        "Properties": {
            "RestoreTestingPlanName": "monthly",
            "ScheduleExpression": "cron(0 5 1 * ? *)",
            "RecoveryPointSelection": {
                "Algorithm": "LATEST_WITHIN_WINDOW",
                "IncludeVaults": ["*"],
                "RecoveryPointTypes": ["SNAPSHOT"],
            },
        },
    }
}


def topic_policy(action: str) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": action,
        "Resource": {"Ref": "Topic"},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


PACK = """
Resources:
  Encrypted:
    Type: AWS::Config::ConfigRule
    Properties:
      ConfigRuleName: encrypted
      Source: {Owner: AWS, SourceIdentifier: ENCRYPTED_VOLUMES}
"""


@dataclass(frozen=True)
class Row:
    """`sees` and `then` map JMESPath expressions on the probe's answer to what they must give.

    In the probe's parameters `{id}` is the physical id, `{1}` and `{2}` its parts between bars.
    """

    type: str
    properties: dict[str, Any]
    probe: tuple[str, str, dict[str, Any]]
    sees: dict[str, Any]
    changed: dict[str, Any] = field(default_factory=dict)
    then: dict[str, Any] = field(default_factory=dict)
    needs: dict[str, Any] = field(default_factory=dict)
    gone: str = ""
    depends: str = ""
    attributes: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.type.removeprefix("AWS::")


CHILD = "https://templates.s3.eu-central-1.amazonaws.com/child.yaml"
ROWS = [
    Row(
        "AWS::CloudFormation::Stack",
        {"TemplateURL": CHILD, "Parameters": {"Retention": "30"}},
        ("cloudformation", "describe_stacks", {"StackName": "{id}"}),
        {"Stacks[0].StackStatus": "CREATE_COMPLETE", "Stacks[0].Parameters[0].ParameterValue": "30"},
        {"Parameters": {"Retention": "60"}},
        {"Stacks[0].StackStatus": "UPDATE_COMPLETE", "Stacks[0].Parameters[0].ParameterValue": "60"},
    ),
    Row(
        "AWS::EC2::VPC",
        {"CidrBlock": "10.1.0.0/16", "EnableDnsHostnames": True},
        ("ec2", "describe_vpcs", {"Filters": [{"Name": "vpc-id", "Values": ["{id}"]}]}),
        {"Vpcs[0].CidrBlock": "10.1.0.0/16"},
        {"Tags": [{"Key": "a", "Value": "b"}]},
        {"Vpcs[0].Tags[?Key=='a'].Value": ["b"]},
        gone="Vpcs",
    ),
    Row(
        "AWS::EC2::Subnet",
        {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.9.0/24"},
        ("ec2", "describe_subnets", {"Filters": [{"Name": "subnet-id", "Values": ["{id}"]}]}),
        {"Subnets[0].MapPublicIpOnLaunch": False},
        {"MapPublicIpOnLaunch": True},
        {"Subnets[0].MapPublicIpOnLaunch": True},
        needs=NETWORK,
        gone="Subnets",
    ),
    Row(
        "AWS::EC2::InternetGateway",
        {},
        ("ec2", "describe_internet_gateways", {"Filters": [{"Name": "internet-gateway-id", "Values": ["{id}"]}]}),
        {"length(InternetGateways)": 1},
        gone="InternetGateways",
    ),
    Row(
        "AWS::EC2::VPCGatewayAttachment",
        {"VpcId": {"Ref": "Vpc"}, "InternetGatewayId": {"Ref": "Gateway"}},
        ("ec2", "describe_internet_gateways", {}),
        {"InternetGateways[].Attachments[].State": ["available"]},
        needs={name: NETWORK[name] for name in ("Vpc", "Gateway")},
        gone="InternetGateways[].Attachments[]",
    ),
    Row(
        "AWS::EC2::RouteTable",
        {"VpcId": {"Ref": "Vpc"}},
        ("ec2", "describe_route_tables", {"Filters": [{"Name": "route-table-id", "Values": ["{id}"]}]}),
        {"length(RouteTables)": 1},
        needs={"Vpc": NETWORK["Vpc"]},
        gone="RouteTables",
    ),
    Row(
        "AWS::EC2::Route",
        {"RouteTableId": {"Ref": "Table"}, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": {"Ref": "Gateway"}},
        ("ec2", "describe_route_tables", {"Filters": [{"Name": "route-table-id", "Values": ["{1}"]}]}),
        {"length(RouteTables[0].Routes[?DestinationCidrBlock=='0.0.0.0/0'])": 1},
        needs=NETWORK,
        gone="RouteTables[0].Routes[?DestinationCidrBlock=='0.0.0.0/0']",
        depends="Attached",
    ),
    Row(
        "AWS::EC2::SubnetRouteTableAssociation",
        {"RouteTableId": {"Ref": "Table"}, "SubnetId": {"Ref": "SubnetA"}},
        ("ec2", "describe_route_tables", {}),
        {"length(RouteTables[].Associations[?SubnetId][])": 1},
        needs=NETWORK,
        gone="RouteTables[].Associations[?SubnetId][]",
    ),
    Row(
        "AWS::EC2::EIP",
        {"Domain": "vpc"},
        ("ec2", "describe_addresses", {}),
        {"Addresses[0].Domain": "vpc"},
        gone="Addresses",
    ),
    Row(
        "AWS::EC2::NatGateway",
        {"SubnetId": {"Ref": "SubnetA"}, "AllocationId": {"Fn::GetAtt": ["Address", "AllocationId"]}},
        ("ec2", "describe_nat_gateways", {"NatGatewayIds": ["{id}"]}),
        {"NatGateways[0].State": "available"},
        needs=NETWORK,
        gone="NatGateways[?State!='deleted']",
    ),
    Row(
        "AWS::EC2::SecurityGroup",
        {
            "GroupDescription": "web",
            "VpcId": {"Ref": "Vpc"},
            "SecurityGroupIngress": [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "0.0.0.0/0"}],
        },
        ("ec2", "describe_security_groups", {"Filters": [{"Name": "group-id", "Values": ["{id}"]}]}),
        {"SecurityGroups[0].IpPermissions[].FromPort": [80]},
        {"SecurityGroupIngress": [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"}]},
        {"SecurityGroups[0].IpPermissions[].FromPort": [443]},
        needs={"Vpc": NETWORK["Vpc"]},
        gone="SecurityGroups",
    ),
    Row(
        "AWS::EC2::SecurityGroupIngress",
        {"GroupId": {"Ref": "Group"}, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"},
        ("ec2", "describe_security_groups", {"Filters": [{"Name": "group-name", "Values": ["*Group*"]}]}),
        {"SecurityGroups[].IpPermissions[].FromPort": [443]},
        needs=NETWORK,
        gone="SecurityGroups[].IpPermissions[]",
    ),
    Row(
        "AWS::EC2::SecurityGroupEgress",
        {"GroupId": {"Ref": "Group"}, "IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "CidrIp": "10.0.0.0/8"},
        ("ec2", "describe_security_groups", {}),
        {"SecurityGroups[].IpPermissionsEgress[?FromPort==`5432`][].ToPort": [5432]},
        needs=NETWORK,
        gone="SecurityGroups[].IpPermissionsEgress[?FromPort==`5432`][]",
    ),
    Row(
        "AWS::EC2::VPCEndpoint",
        {
            "VpcId": {"Ref": "Vpc"},
            "ServiceName": {"Fn::Sub": "com.amazonaws.${AWS::Region}.s3"},
            "RouteTableIds": [{"Ref": "Table"}],
        },
        ("ec2", "describe_vpc_endpoints", {"VpcEndpointIds": ["{id}"]}),
        {"VpcEndpoints[0].ServiceName": "com.amazonaws.eu-central-1.s3"},
        needs=NETWORK,
        gone="VpcEndpoints",
    ),
    Row(
        "AWS::EC2::FlowLog",
        {
            "ResourceId": {"Ref": "Vpc"},
            "ResourceType": "VPC",
            "TrafficType": "ALL",
            "LogDestinationType": "s3",
            "LogDestination": {"Fn::GetAtt": ["Bucket", "Arn"]},
        },
        ("ec2", "describe_flow_logs", {}),
        {"FlowLogs[0].LogDestinationType": "s3"},
        needs={"Vpc": NETWORK["Vpc"], **BUCKET},
        gone="FlowLogs",
    ),
    Row(
        "AWS::EC2::LaunchTemplate",
        {"LaunchTemplateData": {"InstanceType": "t3.micro"}},
        ("ec2", "describe_launch_templates", {}),
        {"length(LaunchTemplates)": 1},
        gone="LaunchTemplates",
    ),
    Row(
        "AWS::EC2::Instance",
        {"ImageId": "ami-12345678", "InstanceType": "t3.micro", "SubnetId": {"Ref": "SubnetA"}},
        ("ec2", "describe_instances", {}),
        {"Reservations[].Instances[?State.Name=='running'][].InstanceType": ["t3.micro"]},
        needs=NETWORK,
        gone="Reservations[].Instances[?State.Name!='terminated'][]",
    ),
    Row(
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        {"Subnets": [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}], "Scheme": "internal"},
        ("elbv2", "describe_load_balancers", {}),
        {"LoadBalancers[0].Scheme": "internal", "length(LoadBalancers[0].AvailabilityZones)": 2},
        {"LoadBalancerAttributes": [{"Key": "deletion_protection.enabled", "Value": "false"}]},
        needs=NETWORK,
        gone="LoadBalancers",
    ),
    Row(
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        {"VpcId": {"Ref": "Vpc"}, "Port": 80, "Protocol": "HTTP", "HealthCheckPath": "/"},
        ("elbv2", "describe_target_groups", {}),
        {"TargetGroups[0].HealthCheckPath": "/"},
        {"HealthCheckPath": "/healthz"},
        {"TargetGroups[0].HealthCheckPath": "/healthz"},
        needs={"Vpc": NETWORK["Vpc"]},
        gone="TargetGroups",
    ),
    Row(
        "AWS::ElasticLoadBalancingV2::Listener",
        {
            "LoadBalancerArn": {"Ref": "Balancer"},
            "Port": 8080,
            "Protocol": "HTTP",
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}],
        },
        ("elbv2", "describe_listeners", {"ListenerArns": ["{id}"]}),
        {"Listeners[0].DefaultActions[0].Type": "forward"},
        {
            "DefaultActions": [
                {
                    "Type": "redirect",
                    "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"},
                }
            ]
        },
        {"Listeners[0].DefaultActions[0].RedirectConfig.Protocol": "HTTPS"},
        needs=BALANCED,
    ),
    Row(
        "AWS::ElasticLoadBalancingV2::ListenerRule",
        {
            "ListenerArn": {"Ref": "Http"},
            "Priority": 10,
            "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/api/*"]}}],
            "Actions": [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}],
        },
        ("elbv2", "describe_rules", {"RuleArns": ["{id}"]}),
        {"Rules[0].Priority": "10"},
        {"Priority": 20},
        {"Rules[0].Priority": "20"},
        needs=BALANCED,
    ),
    Row(
        "AWS::Route53::HostedZone",
        {"Name": "example.org", "HostedZoneConfig": {"Comment": "ours"}},
        ("route53", "list_hosted_zones", {}),
        {"HostedZones[].Name": ["example.org."]},
        gone="HostedZones",
    ),
    Row(
        "AWS::Route53::RecordSet",
        {
            "HostedZoneId": {"Ref": "Zone"},
            "Name": "www.example.com",
            "Type": "A",
            "AliasTarget": {
                "DNSName": {"Fn::GetAtt": ["Balancer", "DNSName"]},
                "HostedZoneId": {"Fn::GetAtt": ["Balancer", "CanonicalHostedZoneID"]},
                "EvaluateTargetHealth": True,
            },
        },
        ("route53", "list_resource_record_sets", {"HostedZoneId": "{Zone}"}),
        {"ResourceRecordSets[?Type=='A'].AliasTarget.EvaluateTargetHealth": [True]},
        {
            "AliasTarget": {
                "DNSName": {"Fn::GetAtt": ["Balancer", "DNSName"]},
                "HostedZoneId": {"Fn::GetAtt": ["Balancer", "CanonicalHostedZoneID"]},
                "EvaluateTargetHealth": False,
            }
        },
        {"ResourceRecordSets[?Type=='A'].AliasTarget.EvaluateTargetHealth": [False]},
        needs=BALANCED | ZONE,
    ),
    Row(
        "AWS::Route53::RecordSetGroup",
        {
            "HostedZoneId": {"Ref": "Zone"},
            "RecordSets": [{"Name": "a.example.com", "Type": "CNAME", "TTL": 60, "ResourceRecords": ["b.example.com"]}],
        },
        ("route53", "list_resource_record_sets", {"HostedZoneId": "{Zone}"}),
        {"ResourceRecordSets[?Type=='CNAME'].TTL": [60]},
        needs=ZONE,
    ),
    Row(
        "AWS::Route53::HealthCheck",
        {
            "HealthCheckConfig": {
                "Type": "HTTPS",
                "FullyQualifiedDomainName": "www.example.com",
                "ResourcePath": "/",
                "Port": 443,
                "FailureThreshold": 3,
            }
        },
        ("route53", "list_health_checks", {}),
        {"HealthChecks[0].HealthCheckConfig.ResourcePath": "/"},
        {
            "HealthCheckConfig": {
                "Type": "HTTPS",
                "FullyQualifiedDomainName": "www.example.com",
                "ResourcePath": "/healthz",
                "Port": 443,
                "FailureThreshold": 2,
            }
        },
        {
            "HealthChecks[0].HealthCheckConfig.ResourcePath": "/healthz",
            "HealthChecks[0].HealthCheckConfig.FailureThreshold": 2,
        },
        gone="HealthChecks",
    ),
    Row(
        "AWS::CertificateManager::Certificate",
        {
            "DomainName": "www.example.com",
            "ValidationMethod": "DNS",
            "DomainValidationOptions": [{"DomainName": "www.example.com", "HostedZoneId": {"Ref": "Zone"}}],
        },
        ("acm", "describe_certificate", {"CertificateArn": "{id}"}),
        {"Certificate.Status": "ISSUED", "Certificate.DomainValidationOptions[0].ValidationMethod": "DNS"},
        needs=ZONE,
    ),
    Row(
        "AWS::S3::Bucket",
        {
            "VersioningConfiguration": {"Status": "Enabled"},
            "ObjectLockEnabled": True,
            "ObjectLockConfiguration": {
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}},
            },
            "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        },
        ("s3", "get_object_lock_configuration", {"Bucket": "{id}"}),
        {"ObjectLockConfiguration.Rule.DefaultRetention.Days": 30},
        {
            "ObjectLockConfiguration": {
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 60}},
            }
        },
        {"ObjectLockConfiguration.Rule.DefaultRetention.Days": 60},
    ),
    Row(
        "AWS::S3::BucketPolicy",
        {
            "Bucket": {"Ref": "Bucket"},
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": {"Fn::Sub": "${Bucket.Arn}/*"},
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    }
                ],
            },
        },
        ("s3", "get_bucket_policy", {"Bucket": "{id}"}),
        {"contains(Policy, 'SecureTransport')": True},
        needs=BUCKET,
    ),
    Row(
        "AWS::ECR::Repository",
        {"ImageScanningConfiguration": {"ScanOnPush": False}},
        ("ecr", "describe_repositories", {}),
        {"repositories[0].imageScanningConfiguration.scanOnPush": False},
        {"ImageScanningConfiguration": {"ScanOnPush": True}},
        {"repositories[0].imageScanningConfiguration.scanOnPush": True},
        gone="repositories",
    ),
    Row(
        "AWS::EFS::FileSystem",
        {"Encrypted": True, "BackupPolicy": {"Status": "ENABLED"}},
        ("efs", "describe_file_systems", {}),
        {"FileSystems[0].Encrypted": True},
        gone="FileSystems",
    ),
    Row(
        "AWS::CloudTrail::Trail",
        {
            "S3BucketName": {"Ref": "Bucket"},
            "IsLogging": True,
            "IsMultiRegionTrail": True,
            "EnableLogFileValidation": False,
        },
        ("cloudtrail", "describe_trails", {}),
        {"trailList[0].LogFileValidationEnabled": False, "trailList[0].IsMultiRegionTrail": True},
        {
            "EnableLogFileValidation": True,
            "EventSelectors": [
                {
                    "ReadWriteType": "All",
                    "IncludeManagementEvents": True,
                    "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}],
                }
            ],
        },
        {"trailList[0].LogFileValidationEnabled": True, "trailList[0].HasCustomEventSelectors": True},
        needs=BUCKET
        | {
            "BucketPolicy": {
                "Type": "AWS::S3::BucketPolicy",
                "Properties": {
                    "Bucket": {"Ref": "Bucket"},
                    "PolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"Service": "cloudtrail.amazonaws.com"},
                                "Action": ["s3:GetBucketAcl", "s3:PutObject"],
                                "Resource": [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}],
                            }
                        ],
                    },
                },
            }
        },
        gone="trailList",
        depends="BucketPolicy",
    ),
    Row(
        "AWS::KMS::Key",
        {"Description": "logs", "EnableKeyRotation": False},
        ("kms", "describe_key", {"KeyId": "{id}"}),
        {"KeyMetadata.KeyState": "Enabled"},
        {"EnableKeyRotation": True},
        gone="KeyMetadata[?KeyState=='Enabled']",
    ),
    Row(
        "AWS::KMS::Alias",
        {"AliasName": "alias/logs", "TargetKeyId": {"Ref": "Key"}},
        ("kms", "list_aliases", {}),
        {"Aliases[?AliasName=='alias/logs'] | length(@)": 1},
        needs={"Key": {"Type": "AWS::KMS::Key", "Properties": {}}},
        gone="Aliases[?AliasName=='alias/logs']",
    ),
    Row(
        "AWS::SecretsManager::Secret",
        {"GenerateSecretString": {"SecretStringTemplate": '{"username": "app"}', "GenerateStringKey": "password"}},
        ("secretsmanager", "list_secrets", {}),
        {"length(SecretList)": 1},
        {"Description": "the application's"},
        {"SecretList[0].Description": "the application's"},
        gone="SecretList",
    ),
    Row(
        "AWS::SecretsManager::RotationSchedule",
        {
            "SecretId": {"Ref": "Secret"},
            "RotationLambdaARN": {"Fn::GetAtt": ["Code", "Arn"]},
            "RotationRules": {"AutomaticallyAfterDays": 30},
        },
        ("secretsmanager", "describe_secret", {"SecretId": "{id}"}),
        {"RotationEnabled": True, "RotationRules.AutomaticallyAfterDays": 30},
        {"RotationRules": {"AutomaticallyAfterDays": 60}},
        {"RotationRules.AutomaticallyAfterDays": 60},
        needs=FUNCTION
        | {
            "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"SecretString": "x"}},
            "Invocable": {
                "Type": "AWS::Lambda::Permission",
                "Properties": {
                    "FunctionName": {"Ref": "Code"},
                    "Action": "lambda:InvokeFunction",
                    "Principal": "secretsmanager.amazonaws.com",
                },
            },
        },
        gone="RotationEnabled",
        depends="Invocable",
    ),
    Row(
        "AWS::GuardDuty::Detector",
        {"Enable": True, "FindingPublishingFrequency": "SIX_HOURS"},
        ("guardduty", "get_detector", {"DetectorId": "{id}"}),
        {"Status": "ENABLED", "FindingPublishingFrequency": "SIX_HOURS"},
        {
            "FindingPublishingFrequency": "FIFTEEN_MINUTES",
            "Features": [{"Name": "S3_DATA_EVENTS", "Status": "ENABLED"}],
        },
        {
            "FindingPublishingFrequency": "FIFTEEN_MINUTES",
            "Features[?Name=='S3_DATA_EVENTS'].Status": ["ENABLED"],
        },
    ),
    Row(
        "AWS::SecurityHub::Hub",
        {"EnableDefaultStandards": False},
        ("securityhub", "describe_hub", {}),
        {"contains(HubArn, 'hub/default')": True},
    ),
    Row(
        "AWS::SecurityHub::Standard",
        {
            "StandardsArn": {
                "Fn::Sub": "arn:aws:securityhub:${AWS::Region}::standards/cis-aws-foundations-benchmark/v/3.0.0",
            }
        },
        ("securityhub", "get_enabled_standards", {}),
        {"StandardsSubscriptions[].StandardsStatus": ["READY"]},
        needs={"Hub": {"Type": "AWS::SecurityHub::Hub", "Properties": {"EnableDefaultStandards": False}}},
        gone="StandardsSubscriptions",
        depends="Hub",
    ),
    Row(
        "AWS::Config::ConfigurationRecorder",
        {
            "RoleARN": {"Fn::GetAtt": ["Role", "Arn"]},
            "RecordingGroup": {"AllSupported": True, "IncludeGlobalResourceTypes": True},
        },
        ("config", "describe_configuration_recorders", {}),
        {"ConfigurationRecorders[0].recordingGroup.allSupported": True},
        needs=ROLE,
        gone="ConfigurationRecorders",
    ),
    Row(
        "AWS::Config::DeliveryChannel",
        {"S3BucketName": {"Ref": "Bucket"}},
        ("config", "describe_configuration_recorder_status", {}),
        {"ConfigurationRecordersStatus[].recording": [True]},
        needs=RECORDER | BUCKET,
        gone="ConfigurationRecordersStatus[?recording]",
        depends="Recorder",
    ),
    Row(
        "AWS::Config::ConfigRule",
        {"Source": {"Owner": "AWS", "SourceIdentifier": "REQUIRED_TAGS"}, "InputParameters": {"tag1Key": "owner"}},
        ("config", "describe_config_rules", {}),
        {"ConfigRules[0].Source.SourceIdentifier": "REQUIRED_TAGS"},
        needs=RECORDER,
        gone="ConfigRules",
        depends="Recorder",
    ),
    Row(
        "AWS::WAFv2::WebACL",
        {
            "Scope": "REGIONAL",
            "DefaultAction": {"Allow": {}},
            "VisibilityConfig": {
                "SampledRequestsEnabled": True,
                "CloudWatchMetricsEnabled": True,
                "MetricName": "web",
            },
            "Rules": [],
        },
        ("wafv2", "get_web_acl", {"Name": "{1}", "Id": "{2}", "Scope": "REGIONAL"}),
        {"WebACL.Rules": []},
        {
            "Rules": [
                {
                    "Name": "rate",
                    "Priority": 1,
                    "Action": {"Count": {}},
                    "Statement": {"RateBasedStatement": {"Limit": 1000, "AggregateKeyType": "IP"}},
                    "VisibilityConfig": {
                        "SampledRequestsEnabled": True,
                        "CloudWatchMetricsEnabled": True,
                        "MetricName": "rate",
                    },
                }
            ]
        },
        {"WebACL.Rules[0].Statement.RateBasedStatement.Limit": 1000},
    ),
    Row(
        "AWS::WAFv2::WebACLAssociation",
        {"ResourceArn": {"Ref": "Balancer"}, "WebACLArn": {"Fn::GetAtt": ["Acl", "Arn"]}},
        ("wafv2", "get_web_acl_for_resource", {"ResourceArn": "{1}"}),
        {"contains(WebACL.ARN, 'webacl')": True},
        needs=BALANCED
        | {
            "Acl": {
                "Type": "AWS::WAFv2::WebACL",
                "Properties": {
                    "Scope": "REGIONAL",
                    "DefaultAction": {"Allow": {}},
                    "VisibilityConfig": {
                        "SampledRequestsEnabled": True,
                        "CloudWatchMetricsEnabled": True,
                        "MetricName": "web",
                    },
                },
            }
        },
        gone="WebACL",
    ),
    Row(
        "AWS::WAFv2::LoggingConfiguration",
        {
            "ResourceArn": {"Fn::GetAtt": ["Acl", "Arn"]},
            "LogDestinationConfigs": [{"Fn::GetAtt": ["Logs", "Arn"]}],
        },
        ("wafv2", "list_logging_configurations", {"Scope": "REGIONAL"}),
        {"length(LoggingConfigurations)": 1},
        needs={
            "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "aws-waf-logs-web"}},
            "Acl": {
                "Type": "AWS::WAFv2::WebACL",
                "Properties": {
                    "Scope": "REGIONAL",
                    "DefaultAction": {"Allow": {}},
                    "VisibilityConfig": {
                        "SampledRequestsEnabled": True,
                        "CloudWatchMetricsEnabled": True,
                        "MetricName": "web",
                    },
                },
            },
        },
        gone="LoggingConfigurations",
    ),
    Row(
        "AWS::CloudWatch::Alarm",
        {
            "MetricName": "HTTPCode_ELB_5XX_Count",
            "Namespace": "AWS/ApplicationELB",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 3,
            "Threshold": 10,
            "ComparisonOperator": "GreaterThanThreshold",
            "AlarmActions": [{"Ref": "Topic"}],
        },
        ("cloudwatch", "describe_alarms", {}),
        {"MetricAlarms[0].Threshold": 10.0, "length(MetricAlarms[0].AlarmActions)": 1},
        {"Threshold": 5},
        {"MetricAlarms[0].Threshold": 5.0},
        needs=TOPIC,
        gone="MetricAlarms",
    ),
    Row(
        "AWS::CloudWatch::Dashboard",
        {"DashboardBody": '{"widgets": []}'},
        ("cloudwatch", "list_dashboards", {}),
        {"length(DashboardEntries)": 1},
        gone="DashboardEntries",
    ),
    Row(
        "AWS::SNS::Topic",
        {"DisplayName": "alarms"},
        ("sns", "get_topic_attributes", {"TopicArn": "{id}"}),
        {"Attributes.DisplayName": "alarms"},
        {"KmsMasterKeyId": "alias/aws/sns"},
        {"Attributes.KmsMasterKeyId": "alias/aws/sns"},
    ),
    Row(
        "AWS::SNS::TopicPolicy",
        {"Topics": [{"Ref": "Topic"}], "PolicyDocument": topic_policy("sns:Publish")},
        ("sns", "get_topic_attributes", {"TopicArn": "{Topic}"}),
        {"contains(Attributes.Policy, 'cloudwatch.amazonaws.com')": True},
        needs=TOPIC,
    ),
    Row(
        "AWS::SNS::Subscription",
        {"TopicArn": {"Ref": "Topic"}, "Protocol": "email", "Endpoint": "ops@example.com"},
        ("sns", "list_subscriptions", {}),
        {"Subscriptions[0].Endpoint": "ops@example.com"},
        needs=TOPIC,
        gone="Subscriptions",
    ),
    Row(
        "AWS::Logs::LogGroup",
        {"RetentionInDays": 14},
        ("logs", "describe_log_groups", {}),
        {"logGroups[0].retentionInDays": 14},
        {"RetentionInDays": 365},
        {"logGroups[0].retentionInDays": 365},
        gone="logGroups",
    ),
    Row(
        "AWS::Logs::MetricFilter",
        {
            "LogGroupName": {"Ref": "Logs"},
            "FilterPattern": "ERROR",
            "MetricTransformations": [
                {"MetricName": "Errors", "MetricNamespace": "App", "MetricValue": "1"},
            ],
        },
        ("logs", "describe_metric_filters", {}),
        {"metricFilters[0].filterPattern": "ERROR"},
        {"FilterPattern": "FATAL"},
        {"metricFilters[0].filterPattern": "FATAL"},
        needs={"Logs": {"Type": "AWS::Logs::LogGroup"}},
        gone="metricFilters",
    ),
    Row(
        "AWS::Logs::ResourcePolicy",
        {"PolicyName": "dns", "PolicyDocument": json.dumps(READ_ONLY)},
        ("logs", "describe_resource_policies", {}),
        {"resourcePolicies[].policyName": ["dns"]},
        gone="resourcePolicies",
    ),
    Row(
        "AWS::SQS::Queue",
        {"VisibilityTimeout": 60},
        ("sqs", "get_queue_attributes", {"QueueUrl": "{id}", "AttributeNames": ["All"]}),
        {"Attributes.VisibilityTimeout": "60"},
        {"VisibilityTimeout": 90},
        {"Attributes.VisibilityTimeout": "90"},
    ),
    Row(
        "AWS::Events::Rule",
        {
            "EventPattern": {"source": ["aws.guardduty"]},
            "Targets": [{"Id": "topic", "Arn": {"Ref": "Topic"}}],
        },
        ("events", "list_rules", {}),
        {"contains(Rules[0].EventPattern, 'guardduty')": True},
        {"State": "DISABLED"},
        {"Rules[0].State": "DISABLED"},
        needs=TOPIC,
        gone="Rules",
    ),
    Row(
        "AWS::Synthetics::Canary",
        {
            "Name": "front",
            "ArtifactS3Location": {"Fn::Sub": "s3://${Bucket}/canary"},
            "ExecutionRoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
            "RuntimeVersion": "syn-nodejs-puppeteer-9.1",
            "Code": {"Handler": "index.handler", "Script": "exports.handler = async () => {}"},
            "Schedule": {"Expression": "rate(5 minutes)"},
            "StartCanaryAfterCreation": True,
        },
        ("synthetics", "describe_canaries", {}),
        {"Canaries[0].Status.State": "RUNNING"},
        needs=ROLE | BUCKET,
        gone="Canaries",
    ),
    Row(
        "AWS::IAM::Role",
        {
            "AssumeRolePolicyDocument": TRUST,
            "Policies": [{"PolicyName": "inline", "PolicyDocument": READ_ONLY}],
        },
        ("iam", "get_role_policy", {"RoleName": "{id}", "PolicyName": "inline"}),
        {"PolicyName": "inline"},
        {"Description": "changed"},
    ),
    Row(
        "AWS::IAM::Policy",
        {"PolicyName": "reads", "PolicyDocument": READ_ONLY, "Roles": [{"Ref": "Role"}]},
        ("iam", "list_role_policies", {"RoleName": "{Role}"}),
        {"PolicyNames": ["reads"]},
        {"PolicyName": "writes"},
        {"PolicyNames": ["writes"]},
        needs=ROLE,
    ),
    Row(
        "AWS::IAM::RolePolicy",
        {"PolicyName": "reads", "PolicyDocument": READ_ONLY, "RoleName": {"Ref": "Role"}},
        ("iam", "list_role_policies", {"RoleName": "{Role}"}),
        {"PolicyNames": ["reads"]},
        needs=ROLE,
    ),
    Row(
        "AWS::IAM::ManagedPolicy",
        {"PolicyDocument": READ_ONLY, "Roles": [{"Ref": "Role"}]},
        ("iam", "list_attached_role_policies", {"RoleName": "{Role}"}),
        {"length(AttachedPolicies)": 1},
        {"Roles": []},
        {"length(AttachedPolicies)": 0},
        needs=ROLE,
    ),
    Row(
        "AWS::IAM::InstanceProfile",
        {"Roles": [{"Ref": "Role"}]},
        ("iam", "list_instance_profiles", {}),
        {"length(InstanceProfiles[0].Roles)": 1},
        needs=ROLE,
        gone="InstanceProfiles",
    ),
    Row(
        "AWS::IAM::User",
        {"UserName": "robot"},
        ("iam", "list_users", {}),
        {"Users[].UserName": ["robot"]},
        gone="Users",
    ),
    Row(
        "AWS::RDS::DBInstance",
        {
            "Engine": "postgres",
            "DBInstanceClass": "db.t3.medium",
            "AllocatedStorage": "20",
            "MasterUsername": "app",
            "MasterUserPassword": "not-a-real-one",
            "StorageEncrypted": True,
            "MultiAZ": False,
            "DeletionProtection": False,
            "BackupRetentionPeriod": 1,
        },
        ("rds", "describe_db_instances", {}),
        {
            "DBInstances[0].MultiAZ": False,
            "DBInstances[0].StorageEncrypted": True,
            "DBInstances[0].PerformanceInsightsEnabled": False,
        },
        {
            "MultiAZ": True,
            "BackupRetentionPeriod": 7,
            "MonitoringInterval": 60,
            "MonitoringRoleArn": "arn:aws:iam::123456789012:role/monitoring",
            "EnablePerformanceInsights": True,
            "PerformanceInsightsRetentionPeriod": 7,
            "EnableCloudwatchLogsExports": ["postgresql"],
        },
        {
            "DBInstances[0].MultiAZ": True,
            "DBInstances[0].BackupRetentionPeriod": 7,
            "DBInstances[0].MonitoringInterval": 60,
            "DBInstances[0].PerformanceInsightsEnabled": True,
            "DBInstances[0].EnabledCloudwatchLogsExports": ["postgresql"],
        },
        gone="DBInstances",
    ),
    Row(
        "AWS::RDS::DBCluster",
        {
            "Engine": "aurora-postgresql",
            "MasterUsername": "app",
            "MasterUserPassword": "not-a-real-one",
            "DeletionProtection": False,
        },
        ("rds", "describe_db_clusters", {}),
        {"DBClusters[0].Engine": "aurora-postgresql"},
        {"BackupRetentionPeriod": 14},
        {"DBClusters[0].BackupRetentionPeriod": 14},
        gone="DBClusters",
    ),
    Row(
        "AWS::RDS::DBSubnetGroup",
        {"DBSubnetGroupDescription": "db", "SubnetIds": [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}]},
        ("rds", "describe_db_subnet_groups", {}),
        {"length(DBSubnetGroups[0].Subnets)": 2},
        needs=NETWORK,
        gone="DBSubnetGroups",
    ),
    Row(
        "AWS::RDS::DBParameterGroup",
        {"Description": "db", "Family": "postgres16", "Parameters": {"log_statement": "ddl"}},
        ("rds", "describe_db_parameter_groups", {}),
        {"DBParameterGroups[0].DBParameterGroupFamily": "postgres16"},
        gone="DBParameterGroups",
    ),
    Row(
        "AWS::RDS::DBProxy",
        {
            "DBProxyName": "pool",
            "EngineFamily": "POSTGRESQL",
            "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
            "VpcSubnetIds": [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}],
            "Auth": [
                {"AuthScheme": "SECRETS", "SecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x"}
            ],
        },
        ("rds", "describe_db_proxies", {}),
        {"DBProxies[0].EngineFamily": "POSTGRESQL"},
        needs=NETWORK | ROLE,
        gone="DBProxies",
    ),
    Row(
        "AWS::RDS::DBProxyTargetGroup",
        {"DBProxyName": {"Ref": "Proxy"}, "TargetGroupName": "default", "DBInstanceIdentifiers": [{"Ref": "Database"}]},
        ("rds", "describe_db_proxy_targets", {"DBProxyName": "pool"}),
        {"length(Targets)": 1},
        needs=NETWORK
        | ROLE
        | {
            "Proxy": {
                "Type": "AWS::RDS::DBProxy",
                "Properties": {
                    "DBProxyName": "pool",
                    "EngineFamily": "POSTGRESQL",
                    "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                    "VpcSubnetIds": [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}],
                    "Auth": [
                        {
                            "AuthScheme": "SECRETS",
                            "SecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x",
                        }
                    ],
                },
            },
            "Database": {
                "Type": "AWS::RDS::DBInstance",
                "Properties": {"Engine": "postgres", "DBInstanceClass": "db.t3.medium", "AllocatedStorage": "20"},
            },
        },
        gone="Targets",
    ),
    Row(
        "AWS::DynamoDB::Table",
        {
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
        ("dynamodb", "describe_continuous_backups", {"TableName": "{id}"}),
        {"ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus": "DISABLED"},
        {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}},
        {"ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus": "ENABLED"},
    ),
    Row(
        "AWS::ElastiCache::ReplicationGroup",
        {
            "ReplicationGroupDescription": "cache",
            "Engine": "redis",
            "CacheNodeType": "cache.t3.micro",
            "NumCacheClusters": 2,
            "AutomaticFailoverEnabled": True,
            "SnapshotRetentionLimit": 7,
        },
        ("elasticache", "describe_replication_groups", {}),
        {"ReplicationGroups[0].AutomaticFailover": "enabled"},
        gone="ReplicationGroups",
    ),
    Row(
        "AWS::ElastiCache::SubnetGroup",
        {"Description": "cache", "SubnetIds": [{"Ref": "SubnetA"}]},
        ("elasticache", "describe_cache_subnet_groups", {}),
        {"length(CacheSubnetGroups)": 1},
        needs=NETWORK,
        gone="CacheSubnetGroups",
    ),
    Row(
        "AWS::ECS::Cluster",
        {"ClusterSettings": [{"Name": "containerInsights", "Value": "disabled"}]},
        ("ecs", "describe_clusters", {"clusters": ["{id}"], "include": ["SETTINGS"]}),
        {"clusters[0].settings[0].value": "disabled"},
        {"ClusterSettings": [{"Name": "containerInsights", "Value": "enhanced"}]},
        {"clusters[0].settings[0].value": "enhanced"},
        gone="clusters[?status=='ACTIVE']",
    ),
    Row(
        "AWS::ECS::TaskDefinition",
        {"ContainerDefinitions": [{"Name": "app", "Image": "app", "Memory": 256}]},
        ("ecs", "list_task_definitions", {}),
        {"length(taskDefinitionArns)": 1},
        gone="taskDefinitionArns",
    ),
    Row(
        "AWS::ECS::Service",
        {
            "Cluster": {"Ref": "Cluster"},
            "TaskDefinition": {"Ref": "Task"},
            "DesiredCount": 2,
            "DeploymentConfiguration": {"DeploymentCircuitBreaker": {"Enable": False, "Rollback": False}},
        },
        ("ecs", "describe_services", {"cluster": "{Cluster}", "services": ["{id}"]}),
        {"services[0].deploymentConfiguration.deploymentCircuitBreaker.enable": False},
        {"DeploymentConfiguration": {"DeploymentCircuitBreaker": {"Enable": True, "Rollback": True}}},
        {"services[0].deploymentConfiguration.deploymentCircuitBreaker.rollback": True},
        needs={
            "Cluster": {"Type": "AWS::ECS::Cluster"},
            "Task": {
                "Type": "AWS::ECS::TaskDefinition",
                "Properties": {"ContainerDefinitions": [{"Name": "app", "Image": "app", "Memory": 256}]},
            },
        },
        gone="services[?status!='INACTIVE']",
    ),
    Row(
        "AWS::Lambda::Function",
        {
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Code": {"ZipFile": "def handler(event, context): pass"},
        },
        ("lambda", "list_functions", {}),
        {"Functions[0].Runtime": "python3.13"},
        {"TracingConfig": {"Mode": "Active"}},
        {"Functions[0].TracingConfig.Mode": "Active"},
        needs=ROLE,
        gone="Functions",
    ),
    Row(
        "AWS::Lambda::Permission",
        {"FunctionName": {"Ref": "Code"}, "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com"},
        ("lambda", "get_policy", {"FunctionName": "{1}"}),
        {"contains(Policy, 'events.amazonaws.com')": True},
        needs=FUNCTION,
    ),
    Row(
        "AWS::AutoScaling::AutoScalingGroup",
        {
            "MinSize": "1",
            "MaxSize": "2",
            "HealthCheckType": "EC2",
            "VPCZoneIdentifier": [{"Ref": "SubnetA"}],
            "LaunchTemplate": {
                "LaunchTemplateId": {"Ref": "Launch"},
                "Version": {"Fn::GetAtt": ["Launch", "LatestVersionNumber"]},
            },
        },
        ("autoscaling", "describe_auto_scaling_groups", {}),
        {"AutoScalingGroups[0].HealthCheckType": "EC2"},
        {"HealthCheckType": "ELB", "HealthCheckGracePeriod": 60},
        {"AutoScalingGroups[0].HealthCheckType": "ELB"},
        needs=NETWORK
        | {
            "Launch": {
                "Type": "AWS::EC2::LaunchTemplate",
                "Properties": {"LaunchTemplateData": {"InstanceType": "t3.micro", "ImageId": "ami-12345678"}},
            }
        },
        gone="AutoScalingGroups",
    ),
    Row(
        "AWS::AutoScaling::ScalingPolicy",
        {
            "AutoScalingGroupName": {"Ref": "Fleet"},
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingConfiguration": {
                "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
                "TargetValue": 60,
            },
        },
        ("autoscaling", "describe_policies", {}),
        {"ScalingPolicies[0].PolicyType": "TargetTrackingScaling"},
        needs=NETWORK
        | {
            "Launch": {
                "Type": "AWS::EC2::LaunchTemplate",
                "Properties": {"LaunchTemplateData": {"InstanceType": "t3.micro", "ImageId": "ami-12345678"}},
            },
            "Fleet": {
                "Type": "AWS::AutoScaling::AutoScalingGroup",
                "Properties": {
                    "MinSize": "0",
                    "MaxSize": "2",
                    "VPCZoneIdentifier": [{"Ref": "SubnetA"}],
                    "LaunchTemplate": {
                        "LaunchTemplateId": {"Ref": "Launch"},
                        "Version": {"Fn::GetAtt": ["Launch", "LatestVersionNumber"]},
                    },
                },
            },
        },
        gone="ScalingPolicies",
    ),
    Row(
        "AWS::ApplicationAutoScaling::ScalableTarget",
        {
            "ServiceNamespace": "dynamodb",
            "ResourceId": "table/orders",
            "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
            "MinCapacity": 1,
            "MaxCapacity": 4,
            "RoleARN": "arn:aws:iam::123456789012:role/scaling",
        },
        ("application-autoscaling", "describe_scalable_targets", {"ServiceNamespace": "dynamodb"}),
        {"ScalableTargets[0].MaxCapacity": 4},
        {"MaxCapacity": 8},
        {"ScalableTargets[0].MaxCapacity": 8},
        gone="ScalableTargets",
    ),
    Row(
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        {
            "PolicyName": "reads",
            "PolicyType": "TargetTrackingScaling",
            "ServiceNamespace": "dynamodb",
            "ResourceId": "table/orders",
            "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
            "TargetTrackingScalingPolicyConfiguration": {
                "PredefinedMetricSpecification": {"PredefinedMetricType": "DynamoDBReadCapacityUtilization"},
                "TargetValue": 70,
            },
        },
        ("application-autoscaling", "describe_scaling_policies", {"ServiceNamespace": "dynamodb"}),
        {"ScalingPolicies[0].TargetTrackingScalingPolicyConfiguration.TargetValue": 70.0},
        needs={
            "Target": {
                "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
                "Properties": {
                    "ServiceNamespace": "dynamodb",
                    "ResourceId": "table/orders",
                    "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
                    "MinCapacity": 1,
                    "MaxCapacity": 4,
                    "RoleARN": "arn:aws:iam::123456789012:role/scaling",
                },
            }
        },
        gone="ScalingPolicies",
        depends="Target",
    ),
    Row(
        "AWS::Budgets::Budget",
        {
            "Budget": {
                "BudgetName": "monthly",
                "BudgetType": "COST",
                "TimeUnit": "MONTHLY",
                "BudgetLimit": {"Amount": 100, "Unit": "USD"},
            },
            "NotificationsWithSubscribers": [
                {
                    "Notification": {
                        "NotificationType": "ACTUAL",
                        "ComparisonOperator": "GREATER_THAN",
                        "Threshold": 80,
                    },
                    "Subscribers": [{"SubscriptionType": "EMAIL", "Address": "ops@example.com"}],
                }
            ],
        },
        ("budgets", "describe_budgets", {"AccountId": "123456789012"}),
        {"Budgets[0].BudgetName": "monthly"},
        {
            "Budget": {
                "BudgetName": "monthly",
                "BudgetType": "COST",
                "TimeUnit": "MONTHLY",
                "BudgetLimit": {"Amount": 200, "Unit": "USD"},
            }
        },
        {"Budgets[0].BudgetLimit.Amount": "200"},
        gone="Budgets",
    ),
    Row(
        "AWS::CE::AnomalyMonitor",
        {"MonitorName": "services", "MonitorType": "DIMENSIONAL", "MonitorDimension": "SERVICE"},
        ("ce", "get_anomaly_monitors", {}),
        {"AnomalyMonitors[0].MonitorName": "services"},
        gone="AnomalyMonitors",
    ),
    Row(
        "AWS::CE::AnomalySubscription",
        {
            "SubscriptionName": "daily",
            "Frequency": "DAILY",
            "MonitorArnList": [{"Ref": "Monitor"}],
            "Subscribers": [{"Type": "EMAIL", "Address": "ops@example.com"}],
            "Threshold": 10,
        },
        ("ce", "get_anomaly_subscriptions", {}),
        {"AnomalySubscriptions[0].Frequency": "DAILY"},
        needs={
            "Monitor": {
                "Type": "AWS::CE::AnomalyMonitor",
                "Properties": {
                    "MonitorName": "services",
                    "MonitorType": "DIMENSIONAL",
                    "MonitorDimension": "SERVICE",
                },
            }
        },
        gone="AnomalySubscriptions",
    ),
    Row(
        "AWS::SSM::Document",
        {
            "DocumentType": "Automation",
            "Content": {
                "schemaVersion": "0.3",
                "description": "restore",
                "mainSteps": [{"name": "wait", "action": "aws:sleep", "inputs": {"Duration": "PT1S"}}],
            },
        },
        ("ssm", "list_documents", {"Filters": [{"Key": "Owner", "Values": ["Self"]}]}),
        {"DocumentIdentifiers[0].DocumentType": "Automation"},
        {
            "Content": {
                "schemaVersion": "0.3",
                "description": "restore all",
                "mainSteps": [{"name": "wait", "action": "aws:sleep", "inputs": {"Duration": "PT2S"}}],
            }
        },
        {"DocumentIdentifiers[0].DocumentVersion": "2"},
        gone="DocumentIdentifiers",
    ),
    Row(
        "AWS::SSM::Parameter",
        {"Name": "/recovery/rto", "Type": "String", "Value": "4h"},
        ("ssm", "get_parameters", {"Names": ["/recovery/rto"]}),
        {"Parameters[0].Value": "4h"},
        {"Value": "1h"},
        {"Parameters[0].Value": "1h"},
        gone="Parameters",
    ),
    Row(
        "AWS::Backup::BackupVault",
        {"BackupVaultName": "vault"},
        ("backup", "list_backup_vaults", {}),
        {"BackupVaultList[].BackupVaultName": ["vault"]},
        gone="BackupVaultList",
    ),
    Row(
        "AWS::Backup::BackupPlan",
        {
            "BackupPlan": {
                "BackupPlanName": "daily",
                "BackupPlanRule": [
                    {
                        "RuleName": "daily",
                        "TargetBackupVault": {"Ref": "Vault"},
                        "ScheduleExpression": "cron(0 5 * * ? *)",
                        "Lifecycle": {"DeleteAfterDays": 30},
                    }
                ],
            }
        },
        ("backup", "list_backup_plans", {}),
        {"BackupPlansList[].BackupPlanName": ["daily"]},
        needs={"Vault": {"Type": "AWS::Backup::BackupVault", "Properties": {"BackupVaultName": "vault"}}},
        gone="BackupPlansList",
    ),
    Row(
        "AWS::Backup::BackupSelection",
        {
            "BackupPlanId": {"Ref": "Plan"},
            "BackupSelection": {
                "SelectionName": "tagged",
                "IamRoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                "ListOfTags": [
                    {"ConditionType": "STRINGEQUALS", "ConditionKey": "backup", "ConditionValue": "daily"},
                ],
            },
        },
        ("backup", "list_backup_selections", {"BackupPlanId": "{2}"}),
        {"BackupSelectionsList[].SelectionName": ["tagged"]},
        needs=ROLE
        | {
            "Vault": {"Type": "AWS::Backup::BackupVault", "Properties": {"BackupVaultName": "vault"}},
            "Plan": {
                "Type": "AWS::Backup::BackupPlan",
                "Properties": {
                    "BackupPlan": {
                        "BackupPlanName": "daily",
                        "BackupPlanRule": [{"RuleName": "daily", "TargetBackupVault": {"Ref": "Vault"}}],
                    }
                },
            },
        },
    ),
    Row(
        "AWS::Backup::RestoreTestingPlan",
        TESTING_PLAN["Plan"]["Properties"],
        ("backup", "list_restore_testing_plans", {}),
        {"RestoreTestingPlans[].ScheduleExpression": ["cron(0 5 1 * ? *)"]},
        {"ScheduleExpression": "cron(0 5 * * ? *)"},
        {"RestoreTestingPlans[].ScheduleExpression": ["cron(0 5 * * ? *)"]},
        gone="RestoreTestingPlans",
    ),
    Row(
        "AWS::Backup::RestoreTestingSelection",
        {
            "RestoreTestingPlanName": {"Ref": "Plan"},
            "RestoreTestingSelectionName": "databases",
            "IamRoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
            "ProtectedResourceType": "RDS",
            "ProtectedResourceArns": ["*"],
        },
        ("backup", "list_restore_testing_selections", {"RestoreTestingPlanName": "monthly"}),
        {"RestoreTestingSelections[].ProtectedResourceType": ["RDS"]},
        needs=TESTING_PLAN | ROLE,
    ),
    Row(
        "AWS::FIS::ExperimentTemplate",
        {
            "Description": "fail over the database",
            "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
            "StopConditions": [{"Source": "none"}],
            "Targets": {
                "Databases": {
                    "ResourceType": "aws:rds:db",
                    "SelectionMode": "ALL",
                    "ResourceTags": {"failover": "tested"},
                }
            },
            "Actions": {
                "Failover": {
                    "ActionId": "aws:rds:reboot-db-instances",
                    "Parameters": {"forceFailover": "true"},
                    "Targets": {"DBInstances": "Databases"},
                }
            },
            "Tags": {"purpose": "test"},
        },
        ("fis", "list_experiment_templates", {}),
        {"experimentTemplates[].description": ["fail over the database"]},
        needs=ROLE,
        gone="experimentTemplates",
    ),
    Row(
        "AWS::Organizations::Policy",
        {"Name": "tags", "Type": "TAG_POLICY", "Content": {"tags": {"owner": {"tag_key": {"@@assign": "owner"}}}}},
        ("organizations", "list_policies", {"Filter": "TAG_POLICY"}),
        {"Policies[].Name": ["tags"]},
        gone="Policies",
    ),
    Row(
        "AWS::GlobalAccelerator::Accelerator",
        {"Name": "front", "Enabled": True},
        ("globalaccelerator", "list_accelerators", {}),
        {"Accelerators[].Enabled": [True]},
        {"Enabled": False},
        {"Accelerators[].Enabled": [False]},
        gone="Accelerators",
    ),
    Row(
        "AWS::GlobalAccelerator::Listener",
        {
            "AcceleratorArn": {"Ref": "Accelerator"},
            "Protocol": "TCP",
            "PortRanges": [{"FromPort": 443, "ToPort": 443}],
        },
        ("globalaccelerator", "list_listeners", {"AcceleratorArn": "{Accelerator}"}),
        {"Listeners[].PortRanges[].FromPort": [443]},
        needs=ACCELERATED,
        gone="Listeners",
    ),
    Row(
        "AWS::GlobalAccelerator::EndpointGroup",
        {
            "ListenerArn": {"Ref": "Listener"},
            "EndpointGroupRegion": {"Ref": "AWS::Region"},
            "EndpointConfigurations": [{"EndpointId": {"Ref": "Balancer"}, "Weight": 100}],
        },
        ("globalaccelerator", "list_endpoint_groups", {"ListenerArn": "{Listener}"}),
        {"EndpointGroups[].EndpointDescriptions[].HealthState": ["HEALTHY"]},
        {"TrafficDialPercentage": 50},
        {"EndpointGroups[].TrafficDialPercentage": [50.0]},
        needs=BALANCED
        | ACCELERATED
        | {
            "Listener": {
                "Type": "AWS::GlobalAccelerator::Listener",
                "Properties": {
                    "AcceleratorArn": {"Ref": "Accelerator"},
                    "Protocol": "TCP",
                    "PortRanges": [{"FromPort": 443, "ToPort": 443}],
                },
            }
        },
        gone="EndpointGroups",
    ),
    Row(
        "AWS::Config::ConformancePack",
        {"ConformancePackName": "ready", "TemplateBody": PACK},
        ("config", "describe_config_rules", {}),
        {"length(ConfigRules)": 1, "ConfigRules[0].Source.SourceIdentifier": "ENCRYPTED_VOLUMES"},
        {"TemplateBody": PACK.replace("ENCRYPTED_VOLUMES", "RDS_STORAGE_ENCRYPTED")},
        {"length(ConfigRules)": 1, "ConfigRules[0].Source.SourceIdentifier": "RDS_STORAGE_ENCRYPTED"},
        needs=RECORDER,
        gone="ConfigRules",
        depends="Recorder",
    ),
    Row(
        "AWS::CloudFormation::LambdaHook",
        {
            "Alias": "Our::Tags::Required",
            "LambdaFunction": "arn:aws:lambda:eu-central-1:123456789012:function:tags",
            "ExecutionRole": {"Fn::GetAtt": ["Role", "Arn"]},
            "FailureMode": "FAIL",
            "HookStatus": "ENABLED",
            "TargetOperations": ["RESOURCE"],
        },
        ("cloudformation", "list_types", {"Type": "HOOK", "Visibility": "PRIVATE"}),
        {"TypeSummaries[].TypeName": ["Our::Tags::Required"]},
        {"FailureMode": "WARN"},
        {"TypeSummaries[].TypeName": ["Our::Tags::Required"]},
        needs=ROLE,
        gone="TypeSummaries",
    ),
    Row(
        "AWS::Macie::Session",
        {"Status": "ENABLED", "FindingPublishingFrequency": "ONE_HOUR"},
        ("macie2", "get_macie_session", {}),
        {"status": "ENABLED", "findingPublishingFrequency": "ONE_HOUR"},
        gone="status",
    ),
    Row(
        "AWS::ElastiCache::ServerlessCache",
        {"ServerlessCacheName": "reads", "Engine": "valkey", "MajorEngineVersion": "8"},
        ("elasticache", "describe_serverless_caches", {}),
        {"ServerlessCaches[].[Engine, Status]": [["valkey", "available"]]},
        {"Description": "answers repeated reads"},
        {"ServerlessCaches[].Description": ["answers repeated reads"]},
        gone="ServerlessCaches",
    ),
    Row(
        "AWS::AccessAnalyzer::Analyzer",
        {"Type": "ACCOUNT"},
        ("accessanalyzer", "list_analyzers", {}),
        {"analyzers[].status": ["ACTIVE"]},
        gone="analyzers",
    ),
    Row(
        "AWS::ECR::RegistryScanningConfiguration",
        {
            "ScanType": "ENHANCED",
            "Rules": [
                {
                    "ScanFrequency": "CONTINUOUS_SCAN",
                    "RepositoryFilters": [{"Filter": "*", "FilterType": "WILDCARD"}],
                }
            ],
        },
        ("ecr", "get_registry_scanning_configuration", {}),
        {"scanningConfiguration.scanType": "ENHANCED"},
    ),
    Row(
        "AWS::CloudFront::Distribution",
        {
            "DistributionConfig": {
                "Enabled": True,
                "Aliases": ["www.example.com"],
                "Origins": [
                    {
                        "Id": "balancer",
                        "DomainName": {"Fn::GetAtt": ["Balancer", "DNSName"]},
                        "CustomOriginConfig": {"OriginProtocolPolicy": "https-only"},
                    }
                ],
                "DefaultCacheBehavior": {
                    "TargetOriginId": "balancer",
                    "ViewerProtocolPolicy": "redirect-to-https",
                    "AllowedMethods": ["GET", "HEAD"],
                    "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
                },
            }
        },
        ("cloudfront", "list_distributions", {}),
        {"DistributionList.Items[].DefaultCacheBehavior.ViewerProtocolPolicy": ["redirect-to-https"]},
        needs=BALANCED,
        gone="DistributionList.Items",
    ),
    Row(
        "AWS::CloudFront::OriginAccessControl",
        {
            "OriginAccessControlConfig": {
                "Name": "bucket",
                "OriginAccessControlOriginType": "s3",
                "SigningBehavior": "always",
                "SigningProtocol": "sigv4",
            }
        },
        ("cloudfront", "list_origin_access_controls", {}),
        {"OriginAccessControlList.Items[].Name": ["bucket"]},
        gone="OriginAccessControlList.Items",
    ),
    Row(
        "AWS::ResilienceHub::ResiliencyPolicy",
        {
            "PolicyName": "critical",
            "Tier": "Critical",
            "Policy": {
                name: {"RpoInSecs": 3600, "RtoInSecs": 14400} for name in ("Software", "Hardware", "AZ", "Region")
            },
        },
        ("resiliencehub", "list_resiliency_policies", {}),
        {"resiliencyPolicies[].policyName": ["critical"]},
        gone="resiliencyPolicies",
    ),
]


def template(row: Row, properties: dict[str, Any], *, with_row: bool = True) -> str:
    resource: dict[str, Any] = {"Type": row.type, "Properties": properties}
    if row.depends:
        resource["DependsOn"] = row.depends
    return json.dumps({"Resources": {**row.needs, **({"Subject": resource} if with_row else {})}})


def look(aws: SimulatedAWS, row: Row, ids: dict[str, str]) -> Any:
    service, operation, params = row.probe
    text = json.dumps(params)
    parts = ids["Subject"].split("|")
    for name, value in {**ids, "id": ids["Subject"], **{str(n + 1): part for n, part in enumerate(parts)}}.items():
        text = text.replace(f"{{{name}}}", value)
    return getattr(aws.client(service), operation)(**json.loads(text))


def found(expression: str, answer: Any) -> Any:
    try:
        return jmespath.search(expression, answer)
    except jmespath.exceptions.JMESPathTypeError:
        return None


def outcome(aws: SimulatedAWS, name: str = "row") -> str:
    cloudformation = aws.client("cloudformation")
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    failed = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
        for event in cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        if event["ResourceStatus"].endswith("_FAILED")
    ]
    return "; ".join([stack["StackStatus"], *failed])


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_type_creates_updates_and_deletes_what_it_names(aws: SimulatedAWS, row: Row) -> None:
    cloudformation = aws.client("cloudformation")
    if row.type == "AWS::Organizations::Policy":
        aws.client("organizations").create_organization(FeatureSet="ALL")
    if row.type == "AWS::CloudFormation::Stack":
        store(aws, LOGS)
    capabilities = ["CAPABILITY_NAMED_IAM"]
    cloudformation.create_stack(StackName="row", TemplateBody=template(row, row.properties), Capabilities=capabilities)
    assert outcome(aws) == "CREATE_COMPLETE"
    resources = cloudformation.describe_stack_resources(StackName="row")["StackResources"]
    ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    answer = look(aws, row, ids)
    assert {expression: found(expression, answer) for expression in row.sees} == row.sees

    if row.changed:
        cloudformation.update_stack(
            StackName="row", TemplateBody=template(row, row.properties | row.changed), Capabilities=capabilities
        )
        assert outcome(aws) == "UPDATE_COMPLETE"
        answer = look(aws, row, ids)
        assert {expression: found(expression, answer) for expression in row.then} == row.then

    detection = cloudformation.detect_stack_drift(StackName="row")["StackDriftDetectionId"]
    drift = cloudformation.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
    drifts = cloudformation.describe_stack_resource_drifts(StackName="row")["StackResourceDrifts"]
    differing = [(d["LogicalResourceId"], d["PropertyDifferences"]) for d in drifts if d["PropertyDifferences"]]
    gone = [d["LogicalResourceId"] for d in drifts if d["StackResourceDriftStatus"] == "DELETED"]
    assert (drift["StackDriftStatus"], differing, gone) == ("IN_SYNC", [], [])

    cloudformation.delete_stack(StackName=resources[0]["StackId"])
    assert outcome(aws, resources[0]["StackId"]) == "DELETE_COMPLETE"
    left = {expression: found(expression, seen_after(aws, row, ids)) for expression in row.sees}
    assert left != row.sees
    if row.gone:
        assert not found(row.gone, seen_after(aws, row, ids))


def store(aws: SimulatedAWS, body: str) -> str:
    """A template in a bucket; its URL."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="templates", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="templates", Key="child.yaml", Body=body.encode())
    return CHILD


def seen_after(aws: SimulatedAWS, row: Row, ids: dict[str, str]) -> dict[str, Any]:
    """What the probe says once the stack is gone; an error of AWS's means that there is nothing."""
    try:
        answer: dict[str, Any] = look(aws, row, ids)
    except ClientError:
        return {}
    return answer


# how stacks behave -------------------------------------------------------------------------------------------------

LOGS = """
Parameters:
  Retention: {Type: Number, Default: 14}
Resources:
  Group:
    Type: AWS::Logs::LogGroup
    Properties: {RetentionInDays: !Ref Retention}
  Topic:
    Type: AWS::SNS::Topic
    DependsOn: Group
Outputs:
  Name: {Value: !Ref Group, Export: {Name: !Sub "${AWS::StackName}-group"}}
"""
KEPT = """
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: RetainExceptOnCreate
    Properties: {BucketName: audit-logs, VersioningConfiguration: {Status: Enabled}}
  Topic:
    Type: AWS::SNS::Topic
"""
WITH_ROLE = {
    "Resources": {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
    }
}


@dataclass
class Stack:
    """A stack by name, driven by change sets as the engine drives it."""

    aws: SimulatedAWS
    name: str = "ours"

    @property
    def client(self) -> Any:
        return self.aws.client("cloudformation")

    def propose(self, body: str, change_set: str = "one", **more: Any) -> dict[str, Any]:
        more.setdefault("ChangeSetType", "CREATE")
        self.client.create_change_set(StackName=self.name, ChangeSetName=change_set, TemplateBody=body, **more)
        told: dict[str, Any] = self.client.describe_change_set(
            StackName=self.name, ChangeSetName=change_set, IncludePropertyValues=True
        )
        return told

    def execute(self, change_set: str = "one", **more: Any) -> str:
        self.client.execute_change_set(StackName=self.name, ChangeSetName=change_set, **more)
        return self.status

    def deploy(self, body: str, **more: Any) -> str:
        self.propose(body, **more)
        return self.execute()

    def described(self) -> dict[str, Any]:
        told: dict[str, Any] = self.client.describe_stacks(StackName=self.name)["Stacks"][0]
        return told

    @property
    def status(self) -> str:
        return str(self.described()["StackStatus"])

    def happened(self) -> list[str]:
        events = reversed(self.client.describe_stack_events(StackName=self.name)["StackEvents"])
        return [f"{event['LogicalResourceId']} {event['ResourceStatus']}" for event in events]


@pytest.fixture
def stack(aws: SimulatedAWS) -> Stack:
    return Stack(aws)


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def groups(aws: SimulatedAWS) -> list[str]:
    return [group["logGroupName"] for group in aws.client("logs").describe_log_groups()["logGroups"]]


def test_a_change_set_for_a_new_stack_leaves_it_in_review(stack: Stack) -> None:
    told = stack.propose(LOGS, Tags=[{"Key": "owner", "Value": "us"}], Description="first")
    assert (told["Status"], told["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    assert told["Parameters"] == [{"ParameterKey": "Retention", "ParameterValue": "14"}]
    assert (told["Tags"], told["Capabilities"]) == ([{"Key": "owner", "Value": "us"}], [])
    changes = [change["ResourceChange"] for change in told["Changes"]]
    assert [(c["Action"], c["LogicalResourceId"], c["ResourceType"]) for c in changes] == [
        ("Add", "Group", "AWS::Logs::LogGroup"),
        ("Add", "Topic", "AWS::SNS::Topic"),
    ]
    assert stack.status == "REVIEW_IN_PROGRESS"
    assert groups(stack.aws) == []
    body = stack.client.get_template(StackName="ours", ChangeSetName="one")["TemplateBody"]
    assert body == LOGS


def test_executed_it_creates_resources_outputs_exports_and_events(stack: Stack) -> None:
    assert stack.deploy(LOGS, Tags=[{"Key": "owner", "Value": "us"}]) == "CREATE_COMPLETE"
    (group,) = groups(stack.aws)
    assert group.startswith("ours-Group-")
    assert stack.described()["Outputs"] == [{"OutputKey": "Name", "OutputValue": group, "ExportName": "ours-group"}]
    assert stack.described()["Tags"] == [{"Key": "owner", "Value": "us"}]
    assert stack.happened() == [
        "ours REVIEW_IN_PROGRESS",
        "ours CREATE_IN_PROGRESS",
        "Group CREATE_IN_PROGRESS",
        "Group CREATE_IN_PROGRESS",
        "Group CREATE_COMPLETE",
        "Topic CREATE_IN_PROGRESS",
        "Topic CREATE_IN_PROGRESS",
        "Topic CREATE_COMPLETE",
        "ours CREATE_COMPLETE",
    ]
    arn = f"arn:aws:logs:eu-central-1:123456789012:log-group:{group}"
    tags = stack.aws.client("logs").list_tags_for_resource(resourceArn=arn)["tags"]
    assert (tags["owner"], tags["aws:cloudformation:stack-name"]) == ("us", "ours")


def test_executing_a_change_set_twice_is_refused_unless_it_is_the_same_call(stack: Stack) -> None:
    stack.propose(LOGS)
    assert stack.execute(ClientRequestToken="a") == "CREATE_COMPLETE"
    assert stack.execute(ClientRequestToken="a") == "CREATE_COMPLETE"
    for token in ({}, {"ClientRequestToken": "b"}):
        with pytest.raises(ClientError) as error:
            stack.execute(**token)
        assert code_of(error) == "InvalidChangeSetStatus"
    assert len(groups(stack.aws)) == 1


def test_a_change_set_name_is_taken_unless_the_token_is_the_same(stack: Stack) -> None:
    stack.propose(LOGS, ClientToken="a")
    stack.propose(LOGS, ClientToken="a")
    with pytest.raises(ClientError) as error:
        stack.propose(LOGS, ClientToken="b")
    assert code_of(error) == "AlreadyExistsException"


def test_an_unknown_type_is_refused_by_name(stack: Stack) -> None:
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::Shop::Cart\]"):
        stack.propose("Resources: {Cart: {Type: 'AWS::Shop::Cart'}}")
    with pytest.raises(ClientError, match="does not exist"):
        stack.described()


def test_an_unknown_property_fails_the_resource(stack: Stack) -> None:
    body = "Resources: {Topic: {Type: 'AWS::SNS::Topic', Properties: {Colour: red}}}"
    assert stack.deploy(body) == "ROLLBACK_COMPLETE"
    assert any("extraneous key [Colour]" in reason for reason in reasons(stack))


def reasons(stack: Stack) -> list[str]:
    events = stack.client.describe_stack_events(StackName=stack.name)["StackEvents"]
    return [event["ResourceStatusReason"] for event in events if "ResourceStatusReason" in event]


@pytest.mark.parametrize(
    ("properties", "given", "needed"),
    [
        ({}, [], "CAPABILITY_IAM"),
        ({}, ["CAPABILITY_IAM"], ""),
        ({"RoleName": "named"}, ["CAPABILITY_IAM"], "CAPABILITY_NAMED_IAM"),
        ({"RoleName": "named"}, ["CAPABILITY_NAMED_IAM"], ""),
    ],
)
def test_iam_resources_need_their_capability(
    stack: Stack, properties: dict[str, str], given: list[str], needed: str
) -> None:
    template = json.loads(json.dumps(WITH_ROLE))
    template["Resources"]["Role"]["Properties"] |= properties
    if not needed:
        assert stack.deploy(json.dumps(template), Capabilities=given) == "CREATE_COMPLETE"
        return
    with pytest.raises(ClientError, match=needed) as error:
        stack.propose(json.dumps(template), Capabilities=given)
    assert code_of(error) == "InsufficientCapabilitiesException"


def test_a_failed_creation_rolls_back(stack: Stack) -> None:
    stack.aws.fail_resource("create", logical_id="Topic", reason="no topics today")
    assert stack.deploy(LOGS) == "ROLLBACK_COMPLETE"
    assert groups(stack.aws) == []
    assert "no topics today" in reasons(stack)
    assert stack.happened()[-5:] == [
        "Topic CREATE_FAILED",
        "ours ROLLBACK_IN_PROGRESS",
        "Group DELETE_IN_PROGRESS",
        "Group DELETE_COMPLETE",
        "ours ROLLBACK_COMPLETE",
    ]
    with pytest.raises(ClientError, match="already exists"):
        stack.propose(LOGS, "two")
    stack.client.delete_stack(StackName="ours")
    assert stack.deploy(LOGS) == "CREATE_COMPLETE"


def test_a_failed_creation_deletes_the_stack_if_asked_to(stack: Stack) -> None:
    stack.aws.fail_resource("create", logical_id="Topic")
    told = stack.propose(KEPT, OnStackFailure="DELETE")
    stack.client.execute_change_set(ChangeSetName=told["ChangeSetId"])
    (deleted,) = stack.client.describe_stacks(StackName=told["StackId"])["Stacks"]
    assert deleted["StackStatus"] == "DELETE_COMPLETE"
    assert stack.aws.client("s3").list_buckets()["Buckets"] == []
    with pytest.raises(ClientError, match="does not exist"):
        stack.described()


def test_a_failure_of_an_api_fails_the_stack_that_calls_it(stack: Stack) -> None:
    stack.aws.faults.add("denied", service="sns", operation="CreateTopic", inside_stacks=True)
    assert stack.deploy(LOGS) == "ROLLBACK_COMPLETE"
    assert any("HandlerErrorCode: AccessDenied" in reason for reason in reasons(stack))
    stack.aws.client("sns").list_topics()


def test_a_connection_that_breaks_fails_the_resource(stack: Stack) -> None:
    stack.aws.faults.add("reset", service="sns", operation="CreateTopic", inside_stacks=True)
    assert stack.deploy(LOGS) == "ROLLBACK_COMPLETE"


def test_names_and_sizes_are_limited(stack: Stack) -> None:
    with pytest.raises(ClientError, match="changeSetName"):
        stack.propose(LOGS, "1-starts-with-a-digit")
    with pytest.raises(ClientError, match="51200"):
        stack.propose(LOGS + "#" * 51200)


def test_an_update_without_changes_fails_with_amazons_sentence(stack: Stack) -> None:
    stack.deploy(LOGS)
    told = stack.propose(LOGS, "two", ChangeSetType="UPDATE")
    assert (told["Status"], told["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert told["StatusReason"].startswith("The submitted information didn't contain changes.")


def test_an_update_tells_what_changes_why_and_to_what(stack: Stack) -> None:
    stack.deploy(LOGS)
    parameters = [{"ParameterKey": "Retention", "ParameterValue": "90"}]
    told = stack.propose(LOGS, "two", ChangeSetType="UPDATE", Parameters=parameters)
    ((change,),) = [[line["ResourceChange"] for line in told["Changes"]]]
    assert (change["Action"], change["Replacement"], change["Scope"]) == ("Modify", "False", ["Properties"])
    (detail,) = change["Details"]
    assert (detail["ChangeSource"], detail["CausingEntity"]) == ("ParameterReference", "Retention")
    assert (detail["Target"]["BeforeValue"], detail["Target"]["AfterValue"]) == ("14", "90")
    assert json.loads(change["AfterContext"])["Properties"] == {"RetentionInDays": "90"}
    assert stack.execute("two") == "UPDATE_COMPLETE"


def test_a_create_only_property_replaces_the_resource_and_what_refers_to_it(stack: Stack) -> None:
    body = """
    Resources:
      Group: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: NAME}}
      Filter:
        Type: AWS::Logs::MetricFilter
        Properties:
          LogGroupName: !Ref Group
          FilterPattern: ERROR
          MetricTransformations: [{MetricName: Errors, MetricNamespace: App, MetricValue: "1"}]
    """
    stack.deploy(body.replace("NAME", "old"))
    told = stack.propose(body.replace("NAME", "new"), "two", ChangeSetType="UPDATE")
    group, filter_ = (change["ResourceChange"] for change in told["Changes"])
    assert (group["Replacement"], group["PolicyAction"]) == ("True", "ReplaceAndDelete")
    assert group["Details"][0]["Target"]["RequiresRecreation"] == "Always"
    assert (filter_["Replacement"], filter_["Details"][0]["Evaluation"]) == ("True", "Dynamic")
    assert stack.execute("two") == "UPDATE_COMPLETE"
    assert groups(stack.aws) == ["new"]


def test_removed_resources_are_deleted_and_kept_ones_stay(stack: Stack) -> None:
    stack.deploy(KEPT)
    told = stack.propose("Resources: {Queue: {Type: 'AWS::SQS::Queue'}}", "two", ChangeSetType="UPDATE")
    lines = [change["ResourceChange"] for change in told["Changes"]]
    assert [(line["LogicalResourceId"], line["Action"], line.get("PolicyAction")) for line in lines] == [
        ("Queue", "Add", None),
        ("Bucket", "Remove", "Retain"),
        ("Topic", "Remove", "Delete"),
    ]
    assert stack.execute("two") == "UPDATE_COMPLETE"
    assert [b["Name"] for b in stack.aws.client("s3").list_buckets()["Buckets"]] == ["audit-logs"]
    assert stack.aws.client("sns").list_topics()["Topics"] == []


def test_a_failed_update_gives_everything_its_old_values_back(stack: Stack) -> None:
    stack.deploy(LOGS)
    before = groups(stack.aws)
    stack.aws.fail_resource("create", logical_id="Queue")
    body = LOGS.replace("Default: 14", "Default: 30").replace(
        "Outputs:", "  Queue: {Type: AWS::SQS::Queue, DependsOn: [Group, Topic]}\nOutputs:"
    )
    stack.propose(body, "two", ChangeSetType="UPDATE")
    assert stack.execute("two") == "UPDATE_ROLLBACK_COMPLETE"
    (group,) = stack.aws.client("logs").describe_log_groups()["logGroups"]
    assert ([group["logGroupName"]], group["retentionInDays"]) == (before, 14)
    assert "QueueUrls" not in stack.aws.client("sqs").list_queues()
    assert stack.client.get_template(StackName="ours")["TemplateBody"] == LOGS


def test_a_rollback_that_fails_says_so(stack: Stack) -> None:
    stack.deploy(LOGS)
    stack.aws.fail_resource("create", logical_id="Queue")
    body = LOGS.replace("Default: 14", "Default: 30").replace(
        "Outputs:", "  Queue: {Type: AWS::SQS::Queue, DependsOn: Group}\nOutputs:"
    )
    stack.propose(body, "two", ChangeSetType="UPDATE")
    blocked = stack.aws.faults.add(
        "denied", service="logs", operation="PutRetentionPolicy", inside_stacks=True, when=sets(14)
    )
    assert stack.execute("two") == "UPDATE_ROLLBACK_FAILED"
    stack.aws.faults.remove(blocked)
    with pytest.raises(ClientError, match="can not be updated"):
        stack.propose(LOGS, "three", ChangeSetType="UPDATE")


def test_a_rollback_that_failed_is_continued(stack: Stack) -> None:
    stack.deploy(LOGS)
    failure = stack.aws.fail_resource("update", logical_id="Group", count=None)
    stack.propose(LOGS.replace("Default: 14", "Default: 30"), "two", ChangeSetType="UPDATE")
    assert stack.execute("two") == "UPDATE_ROLLBACK_FAILED"
    stack.client.continue_update_rollback(StackName="ours")
    assert stack.status == "UPDATE_ROLLBACK_FAILED"
    failure.count = 0
    stack.client.continue_update_rollback(StackName="ours")
    assert stack.status == "UPDATE_ROLLBACK_COMPLETE"
    assert stack.aws.client("logs").describe_log_groups()["logGroups"][0]["retentionInDays"] == 14
    with pytest.raises(ClientError, match="can not continue rollback"):
        stack.client.continue_update_rollback(StackName="ours")


def test_a_nested_stack_is_waited_for_names_its_parent_and_goes_with_it(stack: Stack) -> None:
    url = store(stack.aws, LOGS.partition("Outputs:")[0] + "Outputs:\n  Name: {Value: !Ref Group}\n")
    body = """
    Resources:
      Child:
        Type: AWS::CloudFormation::Stack
        Properties: {TemplateURL: "%s"}
    Outputs:
      Name: {Value: !GetAtt Child.Outputs.Name}
    """
    stack.aws.stacks_take(0.2)
    stack.client.create_stack(StackName="ours", TemplateBody=body % url)
    assert stack.status == "CREATE_IN_PROGRESS"
    deadline = time.monotonic() + 20
    while stack.status != "CREATE_COMPLETE" and time.monotonic() < deadline:
        time.sleep(0.05)
    stack.aws.stacks_take(0)
    (child,) = (s for s in stack.client.describe_stacks()["Stacks"] if s["StackName"] != "ours")
    assert child["ParentId"] == child["RootId"] == stack.described()["StackId"]
    assert "ParentId" not in stack.described()
    assert [output["OutputValue"] for output in stack.described()["Outputs"]] == groups(stack.aws)
    stack.client.delete_stack(StackName="ours")
    assert stack.client.describe_stacks()["Stacks"] == []
    assert groups(stack.aws) == []


def sets(days: int) -> Any:
    return lambda call: call.params.get("retentionInDays") == days


def test_what_is_kept_survives_deletion_and_a_second_stack_takes_it_back(stack: Stack) -> None:
    stack.deploy(KEPT)
    stack.client.delete_stack(StackName="ours")
    s3 = stack.aws.client("s3")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["audit-logs"]
    assert stack.aws.client("sns").list_topics()["Topics"] == []

    refused = Stack(stack.aws, "refused")
    assert refused.deploy(KEPT) == "ROLLBACK_COMPLETE"
    assert any("already exists" in reason for reason in reasons(refused))

    again = Stack(stack.aws, "again")
    told = again.propose(KEPT, ImportExistingResources=True)
    actions = {c["ResourceChange"]["LogicalResourceId"]: c["ResourceChange"]["Action"] for c in told["Changes"]}
    assert actions == {"Bucket": "Import", "Topic": "Add"}
    assert again.execute() == "CREATE_COMPLETE"
    resource = again.client.describe_stack_resource(StackName="again", LogicalResourceId="Bucket")
    assert resource["StackResourceDetail"]["PhysicalResourceId"] == "audit-logs"


def test_a_name_made_by_a_function_is_not_taken_back(stack: Stack) -> None:
    stack.aws.client("s3").create_bucket(
        Bucket="audit-logs", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    told = stack.propose(KEPT.replace("audit-logs", '!Sub "audit-logs"'), ImportExistingResources=True)
    assert {change["ResourceChange"]["Action"] for change in told["Changes"]} == {"Add"}


def test_a_resource_nobody_owns_is_adopted_by_an_import_and_then_changed(stack: Stack) -> None:
    stack.aws.client("logs").create_log_group(logGroupName="theirs")
    body = """
    Resources:
      Group:
        Type: AWS::Logs::LogGroup
        DeletionPolicy: Retain
        Properties: {LogGroupName: theirs}
    """
    wanted = {
        "ResourceType": "AWS::Logs::LogGroup",
        "LogicalResourceId": "Group",
        "ResourceIdentifier": {"LogGroupName": "theirs"},
    }
    told = stack.propose(body, ChangeSetType="IMPORT", ResourcesToImport=[wanted])
    assert [change["ResourceChange"]["Action"] for change in told["Changes"]] == ["Import"]
    assert stack.execute() == "IMPORT_COMPLETE"
    changed = body.replace("LogGroupName: theirs", "LogGroupName: theirs, RetentionInDays: 30")
    stack.propose(changed, "two", ChangeSetType="UPDATE")
    assert stack.execute("two") == "UPDATE_COMPLETE"
    (group,) = stack.aws.client("logs").describe_log_groups()["logGroups"]
    assert group["retentionInDays"] == 30
    stack.client.delete_stack(StackName="ours")
    assert groups(stack.aws) == ["theirs"]


def test_deletion_that_fails_leaves_the_stack_and_can_be_repeated(stack: Stack) -> None:
    stack.deploy(LOGS)
    stack.aws.fail_resource("delete", logical_id="Group")
    stack.client.delete_stack(StackName="ours", ClientRequestToken="a")
    assert stack.status == "DELETE_FAILED"
    stack.client.delete_stack(StackName="ours")
    assert groups(stack.aws) == []


def test_a_protected_stack_is_not_deleted(stack: Stack) -> None:
    stack.deploy(LOGS)
    stack.client.update_termination_protection(StackName="ours", EnableTerminationProtection=True)
    with pytest.raises(ClientError, match="TerminationProtection"):
        stack.client.delete_stack(StackName="ours")
    assert stack.status == "CREATE_COMPLETE"


def test_stacks_can_take_their_time(stack: Stack) -> None:
    stack.propose(LOGS)
    stack.aws.stacks_take(0.2)
    assert stack.execute(ClientRequestToken="a") == "CREATE_IN_PROGRESS"
    with pytest.raises(ClientError) as error:
        stack.execute(ClientRequestToken="b")
    assert code_of(error) == "InvalidChangeSetStatus"
    time.sleep(0.25)
    assert stack.status == "CREATE_COMPLETE"


def test_a_certificate_without_a_zone_waits_for_somebody_to_write_its_record(stack: Stack) -> None:
    zone = stack.aws.client("route53").create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"]
    body = """
    Resources:
      Certificate:
        Type: AWS::CertificateManager::Certificate
        Properties: {DomainName: www.example.com, ValidationMethod: DNS}
    """
    assert stack.deploy(body) == "CREATE_IN_PROGRESS"
    (told,) = [reason for reason in reasons(stack) if reason.startswith("Content of DNS Record is")]
    name, value = (told.split(f"{part}: ")[1].split(",")[0].rstrip("}") for part in ("Name", "Value"))
    record = {"Name": name, "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": value}]}
    stack.aws.client("route53").change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    )
    assert stack.status == "CREATE_COMPLETE"


def test_a_zone_of_another_account_cannot_validate_a_certificate(stack: Stack) -> None:
    route53 = stack.aws.client("route53", account_id="222222222222")
    zone = route53.create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"]
    body = f"""
    Resources:
      Certificate:
        Type: AWS::CertificateManager::Certificate
        Properties:
          DomainName: www.example.com
          ValidationMethod: DNS
          DomainValidationOptions:
            - {{DomainName: www.example.com, HostedZoneId: {zone.removeprefix("/hostedzone/")}}}
    """
    assert stack.deploy(body) == "ROLLBACK_COMPLETE"
    assert stack.aws.client("acm").list_certificates()["CertificateSummaryList"] == []


def test_drift_is_what_somebody_changed_by_hand(stack: Stack) -> None:
    stack.deploy(LOGS)
    (group,) = groups(stack.aws)
    stack.aws.client("logs").put_retention_policy(logGroupName=group, retentionInDays=1)
    detection = stack.client.detect_stack_drift(StackName="ours")["StackDriftDetectionId"]
    told = stack.client.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
    assert (told["StackDriftStatus"], told["DriftedStackResourceCount"]) == ("DRIFTED", 1)
    (drift,) = stack.client.describe_stack_resource_drifts(
        StackName="ours", StackResourceDriftStatusFilters=["MODIFIED"]
    )["StackResourceDrifts"]
    (difference,) = drift["PropertyDifferences"]
    assert (difference["ExpectedValue"], difference["ActualValue"]) == ("14", "1")
    stack.aws.client("logs").delete_log_group(logGroupName=group)
    stack.client.detect_stack_drift(StackName="ours")
    drifts = stack.client.describe_stack_resource_drifts(StackName="ours")["StackResourceDrifts"]
    assert {drift["LogicalResourceId"]: drift["StackResourceDriftStatus"] for drift in drifts} == {
        "Group": "DELETED",
        "Topic": "IN_SYNC",
    }


def test_a_stack_can_do_no_more_than_its_role(stack: Stack) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "cloudformation.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    iam = stack.aws.client("iam")
    role = iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="deploy", PolicyName="logs", PolicyDocument=json.dumps(policy))
    with stack.aws.enforce_iam():
        assert stack.deploy(LOGS, RoleARN=role) == "ROLLBACK_COMPLETE"
    assert any("sns:CreateTopic" in reason for reason in reasons(stack))
    assert groups(stack.aws) == []


def test_changed_stack_tags_reach_the_resources(stack: Stack) -> None:
    stack.deploy(LOGS, Tags=[{"Key": "owner", "Value": "us"}])
    told = stack.propose(LOGS, "two", ChangeSetType="UPDATE", Tags=[{"Key": "owner", "Value": "them"}])
    assert {tuple(change["ResourceChange"]["Scope"]) for change in told["Changes"]} == {("Tags",)}
    assert stack.execute("two") == "UPDATE_COMPLETE"
    (topic,) = stack.aws.client("sns").list_topics()["Topics"]
    tags = stack.aws.client("sns").list_tags_for_resource(ResourceArn=topic["TopicArn"])["Tags"]
    assert {"Key": "owner", "Value": "them"} in tags


def test_parameters_are_checked(stack: Stack) -> None:
    body = "Parameters: {Name: {Type: String, AllowedPattern: '[a-z]+'}}\n" + KEPT.lstrip()
    with pytest.raises(ClientError, match="must have values"):
        stack.propose(body)
    with pytest.raises(ClientError, match="must match pattern"):
        stack.propose(body, Parameters=[{"ParameterKey": "Name", "ParameterValue": "A1"}])
    with pytest.raises(ClientError, match="do not exist in the template"):
        stack.propose(KEPT, Parameters=[{"ParameterKey": "Name", "ParameterValue": "x"}])


def test_functions_resolve_as_in_cloudformation(stack: Stack) -> None:
    stack.aws.client("ssm").put_parameter(Name="/size", Type="String", Value="big")
    body = """
    Parameters:
      Ports: {Type: CommaDelimitedList, Default: "80,443"}
    Mappings:
      Sizes: {eu-central-1: {disk: "20"}}
    Conditions:
      Here: !Equals [!Ref AWS::Region, eu-central-1]
      Nowhere: !Not [!Condition Here]
    Resources:
      Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: named}}
      Never: {Type: AWS::SNS::Topic, Condition: Nowhere}
    Outputs:
      A: {Value: !Sub ["${Prefix}-${Topic.TopicName}-${!literal}", {Prefix: !Select [1, !Ref Ports]}]}
      B: {Value: !Join [":", [!FindInMap [Sizes, !Ref AWS::Region, disk], !If [Here, x, y]]]}
      C: {Value: !Select [2, !Cidr [10.0.0.0/16, 4, 8]]}
      D: {Value: !Base64 text}
      E: {Value: "{{resolve:ssm:/size}}"}
      F: {Value: !Select [0, !GetAZs ""]}
      G: {Value: !GetAtt Topic.TopicArn}
      H: {Value: nothing, Condition: Nowhere}
    """
    assert stack.deploy(body) == "CREATE_COMPLETE"
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.described()["Outputs"]}
    assert outputs == {
        "A": "443-named-${literal}",
        "B": "20:x",
        "C": "10.0.2.0/24",
        "D": "dGV4dA==",
        "E": "big",
        "F": "eu-central-1a",
        "G": "arn:aws:sns:eu-central-1:123456789012:named",
    }


def test_every_type_of_the_catalogue_has_a_row() -> None:
    assert set(catalogue.kinds()) == {row.type for row in ROWS}


def test_every_type_of_the_catalogue_is_one_of_cloudformation() -> None:
    assert [name for name, kind in catalogue.kinds().items() if kind.schema.type_name != name] == []
