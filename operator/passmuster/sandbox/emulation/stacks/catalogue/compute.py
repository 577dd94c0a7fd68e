"""Resource types that run code: clusters, services, functions, instances and what scales them."""

from typing import Any

from passmuster.sandbox.emulation.stacks.catalogue.network import EC2_TAGS
from passmuster.sandbox.emulation.stacks.kinds import Api, Kind, Simple, Step, Tagging, Work, zipped
from passmuster.sandbox.emulation.stacks.model import Properties

_ECS_TAGS = Tagging(
    param="tags",
    put=Api("tag_resource", {"resourceArn": "@arn", "tags": "@tags"}),
    take=Api("untag_resource", {"resourceArn": "@arn", "tagKeys": "@keys"}),
)


class Service(Simple):
    """AWS::ECS::Service; Ref is the ARN."""

    def delete(self, work: Work, properties: Properties) -> None:
        cluster = {"cluster": properties["Cluster"]} if "Cluster" in properties else {}
        if self._read(work, properties) is not None:
            work.client("ecs").delete_service(service=work.physical_id, force=True, **cluster)


class Function(Simple):
    """AWS::Lambda::Function; Ref is the name. Inline code is kept as a zip, as CloudFormation makes it."""

    def create(self, work: Work, properties: Properties) -> str:
        return super().create(work, {**properties, "Code": _code(properties["Code"])})

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        if old["Code"] != new["Code"]:
            work.client("lambda").update_function_code(FunctionName=work.physical_id, **_code(new["Code"]))
        plain = ({name: value for name, value in p.items() if name != "Code"} for p in (old, new))
        super().update(work, *plain)


def _code(code: Properties) -> dict[str, Any]:
    if "ZipFile" not in code:
        return dict(code)
    return {"ZipFile": zipped("index.py", str(code["ZipFile"]))}


class Instance(Simple):
    """AWS::EC2::Instance; Ref is the id."""

    def create(self, work: Work, properties: Properties) -> str:
        plain = {name: value for name, value in properties.items() if name != "Tags"}
        return super().create(work, {**plain, "MinCount": 1, "MaxCount": 1, "Tags": properties.get("Tags", [])})


class AutoScalingGroup(Simple):
    """AWS::AutoScaling::AutoScalingGroup; Ref is the name."""

    def create(self, work: Work, properties: Properties) -> str:
        return super().create(work, {**properties, "VPCZoneIdentifier": _zones(properties)})

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        joined = ({**p, "VPCZoneIdentifier": _zones(p)} for p in (old, new))
        super().update(work, *joined)

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("autoscaling").delete_auto_scaling_group(
                AutoScalingGroupName=work.physical_id, ForceDelete=True
            )


def _zones(properties: Properties) -> str:
    zones = properties.get("VPCZoneIdentifier", [])
    return ",".join(zones) if isinstance(zones, list) else str(zones)


class ScalingPolicy(Simple):
    """AWS::AutoScaling::ScalingPolicy; Ref is the ARN, which moto tells only when it describes the policy."""

    def create(self, work: Work, properties: Properties) -> str:
        super().create(work, properties)
        group, name = properties["AutoScalingGroupName"], properties["PolicyName"]
        answer = work.client("autoscaling").describe_policies(AutoScalingGroupName=group, PolicyNames=[name])
        return work.made(str(answer["ScalingPolicies"][0]["PolicyARN"]))


KINDS: tuple[Kind, ...] = (
    Simple(
        type_name="AWS::ECS::Cluster",
        service="ecs",
        create_op="create_cluster",
        made="cluster.clusterName",
        by={"cluster": "@"},
        read_api=Api(
            "describe_clusters",
            {"clusters": ["@"], "include": ["SETTINGS", "CONFIGURATIONS", "TAGS"]},
            "clusters[?status=='ACTIVE'] | [0]",
        ),
        update_op="update_cluster",
        delete_op="delete_cluster",
        name_property="ClusterName",
        name_limit=255,
        renamed={"ClusterSettings": "settings"},
        steps=(
            Step(
                "ClusterSettings",
                put=lambda ecs, cluster, value: ecs.update_cluster_settings(
                    cluster=cluster, settings=[{"name": s["Name"], "value": s["Value"]} for s in value]
                ),
                after_creation=False,
            ),
        ),
        tagging=_ECS_TAGS,
        arn="arn:aws:ecs:{region}:{account}:cluster/{id}",
        attribute_paths={"Arn": "clusterArn"},
    ),
    Simple(
        type_name="AWS::ECS::TaskDefinition",
        service="ecs",
        create_op="register_task_definition",
        made="taskDefinition.taskDefinitionArn",
        by={"taskDefinition": "@"},
        read_api=Api("describe_task_definition", {"taskDefinition": "@"}, "taskDefinition"),
        delete_op="deregister_task_definition",
        name_property="Family",
        name_limit=255,
        tagging=Tagging(param="tags"),
        attribute_paths={"TaskDefinitionArn": "@"},
    ),
    Service(
        type_name="AWS::ECS::Service",
        service="ecs",
        create_op="create_service",
        made="service.serviceArn",
        by={"service": "@", "cluster": "$Cluster"},
        read_api=Api(
            "describe_services", {"services": ["@"], "cluster": "$Cluster"}, "services[?status!='INACTIVE'] | [0]"
        ),
        update_op="update_service",
        name_property="ServiceName",
        name_limit=255,
        tagging=Tagging(param="tags"),
        attribute_paths={"ServiceArn": "@", "Name": "serviceName"},
    ),
    Function(
        type_name="AWS::Lambda::Function",
        service="lambda",
        create_op="create_function",
        made="@name",
        by={"FunctionName": "@"},
        read_api=Api("get_function_configuration", {"FunctionName": "@"}),
        update_op="update_function_configuration",
        delete_op="delete_function",
        name_property="FunctionName",
        name_limit=64,
        steps=(
            Step(
                "ReservedConcurrentExecutions",
                put=lambda function, name, value: function.put_function_concurrency(
                    FunctionName=name, ReservedConcurrentExecutions=int(value)
                ),
                drop=lambda function, name: function.delete_function_concurrency(FunctionName=name),
            ),
        ),
        tagging=Tagging(
            param="Tags",
            put=Api("tag_resource", {"Resource": "@arn", "Tags": "@tags"}),
            take=Api("untag_resource", {"Resource": "@arn", "TagKeys": "@keys"}),
        ),
        arn="arn:aws:lambda:{region}:{account}:function:{id}",
        attribute_paths={"Arn": "FunctionArn"},
    ),
    Simple(
        type_name="AWS::Lambda::Permission",
        service="lambda",
        create_op="add_permission",
        made="$FunctionName|StatementId",
        by={"FunctionName": "@1", "StatementId": "@2"},
        read_api=Api("get_policy", {"FunctionName": "@1"}, "Policy"),
        delete_op="remove_permission",
        name_property="StatementId",
        attribute_paths={"Id": "@2"},
    ),
    Instance(
        type_name="AWS::EC2::Instance",
        service="ec2",
        create_op="run_instances",
        made="Instances[0].InstanceId",
        by={"InstanceIds": ["@"]},
        read_api=Api(
            "describe_instances",
            {"InstanceIds": ["@"]},
            "Reservations[0].Instances[?State.Name!='terminated'] | [0]",
        ),
        delete_op="terminate_instances",
        tagging=EC2_TAGS,
        attribute_paths={
            "InstanceId": "@",
            "PrivateIp": "PrivateIpAddress",
            "PrivateDnsName": "PrivateDnsName",
            "PublicDnsName": "PublicDnsName",
            "PublicIp": "PublicIpAddress",
            "AvailabilityZone": "Placement.AvailabilityZone",
            "VpcId": "VpcId",
        },
    ),
    AutoScalingGroup(
        type_name="AWS::AutoScaling::AutoScalingGroup",
        service="autoscaling",
        create_op="create_auto_scaling_group",
        made="@name",
        by={"AutoScalingGroupName": "@"},
        read_api=Api("describe_auto_scaling_groups", {"AutoScalingGroupNames": ["@"]}, "AutoScalingGroups[0]"),
        update_op="update_auto_scaling_group",
        name_property="AutoScalingGroupName",
        name_limit=255,
        attribute_paths={"AutoScalingGroupARN": "AutoScalingGroupARN"},
    ),
    ScalingPolicy(
        type_name="AWS::AutoScaling::ScalingPolicy",
        service="autoscaling",
        create_op="put_scaling_policy",
        made="PolicyARN",
        by={"PolicyName": "$PolicyName", "AutoScalingGroupName": "$AutoScalingGroupName"},
        read_api=Api("describe_policies", {}, "ScalingPolicies[?PolicyARN=='{id}'] | [0]"),
        update_op="put_scaling_policy",
        update_by={},
        delete_op="delete_policy",
        name_property="PolicyName",
        attribute_paths={"Arn": "@", "PolicyName": "PolicyName"},
    ),
    Simple(
        type_name="AWS::ApplicationAutoScaling::ScalableTarget",
        service="application-autoscaling",
        create_op="register_scalable_target",
        made="$ResourceId|ScalableDimension|ServiceNamespace",
        by={"ResourceId": "@1", "ScalableDimension": "@2", "ServiceNamespace": "@3"},
        read_api=Api(
            "describe_scalable_targets",
            {"ServiceNamespace": "@3", "ResourceIds": ["@1"], "ScalableDimension": "@2"},
            "ScalableTargets[0]",
        ),
        update_op="register_scalable_target",
        delete_op="deregister_scalable_target",
        attribute_paths={"Id": "@"},
    ),
    Simple(
        type_name="AWS::ApplicationAutoScaling::ScalingPolicy",
        service="application-autoscaling",
        create_op="put_scaling_policy",
        made="PolicyARN",
        by={
            "PolicyName": "$PolicyName",
            "ResourceId": "$ResourceId",
            "ScalableDimension": "$ScalableDimension",
            "ServiceNamespace": "$ServiceNamespace",
        },
        read_api=Api(
            "describe_scaling_policies",
            {"ServiceNamespace": "$ServiceNamespace"},
            "ScalingPolicies[?PolicyARN=='{id}'] | [0]",
        ),
        update_op="put_scaling_policy",
        delete_op="delete_scaling_policy",
        attribute_paths={"Arn": "@"},
    ),
)
