"""Resource types on the way of a request: load balancers, DNS, certificates. The HTTPS chain is made of them."""

from collections.abc import Mapping
from typing import Any

from passmuster.sandbox.emulation import wire
from passmuster.sandbox.emulation.services import acm
from passmuster.sandbox.emulation.stacks.kinds import Api, Kind, Refused, Simple, Step, Tagging, Work, conform
from passmuster.sandbox.emulation.stacks.model import Properties

_ELB_TAGS = Tagging(
    param="Tags",
    put=Api("add_tags", {"ResourceArns": ["@"], "Tags": "@tags"}),
    take=Api("remove_tags", {"ResourceArns": ["@"], "TagKeys": "@keys"}),
)


def _attributes(op: str, argument: str, property_name: str) -> Step:
    return Step(
        property_name,
        put=lambda elb, arn, value: getattr(elb, op)(
            **{argument: arn}, Attributes=[{"Key": item["Key"], "Value": str(item["Value"])} for item in value]
        ),
    )


class HostedZone(Simple):
    """AWS::Route53::HostedZone; a zone is deleted only when its own records are all that is left."""

    def create(self, work: Work, properties: Properties) -> str:
        config = properties.get("HostedZoneConfig", {})
        vpcs = properties.get("VPCs", [])
        client = work.client("route53")
        first = {"VPC": dict(vpcs[0])} if vpcs else {}
        answer = client.create_hosted_zone(
            Name=properties["Name"],
            CallerReference=work.generated_name(64),
            HostedZoneConfig={"Comment": config.get("Comment", ""), "PrivateZone": bool(vpcs)},
            **first,
        )
        zone = work.made(answer["HostedZone"]["Id"].removeprefix("/hostedzone/"))
        self._tag(work, work.all_tags(properties.get("HostedZoneTags"), system=False), properties)
        return zone

    def live(self, work: Work, properties: Properties) -> Mapping[str, Any] | None:
        found = super().live(work, properties)
        return found and {**found, "Name": properties["Name"]}


class RecordSet(Kind):
    """AWS::Route53::RecordSet, with alias targets and routing policies; Ref is the name."""

    type_name = "AWS::Route53::RecordSet"

    def create(self, work: Work, properties: Properties) -> str:
        _change(work, "CREATE", properties)
        return work.made(str(properties["Name"]).rstrip("."))

    def read(self, work: Work) -> Any:
        for zone in work.client("route53").list_hosted_zones()["HostedZones"]:
            answer = work.client("route53").list_resource_record_sets(HostedZoneId=zone["Id"])
            for record in answer["ResourceRecordSets"]:
                if record["Name"].rstrip(".") == work.physical_id and record["Type"] not in ("NS", "SOA"):
                    return record
        return None

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        if (old["Name"], old["Type"]) != (new["Name"], new["Type"]):
            _change(work, "DELETE", old)
        _change(work, "UPSERT", new)
        work.made(str(new["Name"]).rstrip("."))

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is not None:
            _change(work, "DELETE", properties)


class RecordSetGroup(Kind):
    """AWS::Route53::RecordSetGroup: several record sets of one zone."""

    type_name = "AWS::Route53::RecordSetGroup"

    def create(self, work: Work, properties: Properties) -> str:
        work.made(work.generated_name(128))
        for record in _grouped(properties):
            _change(work, "CREATE", record)
        return work.physical_id

    def read(self, work: Work) -> Any:
        return {"Id": work.physical_id}

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        before, after = _grouped(old), _grouped(new)
        for record in before:
            if record not in after:
                _change(work, "DELETE", record)
        for record in after:
            _change(work, "UPSERT", record)

    def delete(self, work: Work, properties: Properties) -> None:
        for record in _grouped(properties):
            _change(work, "DELETE", record)


def _grouped(properties: Properties) -> list[Properties]:
    zone: Properties = {name: properties[name] for name in ("HostedZoneId", "HostedZoneName") if name in properties}
    return [{**zone, **record} for record in properties.get("RecordSets", [])]


def _change(work: Work, action: str, properties: Properties) -> None:
    change = {"Action": action, "ResourceRecordSet": _record(properties)}
    work.client("route53").change_resource_record_sets(
        HostedZoneId=_zone_id(work, properties), ChangeBatch={"Changes": [change]}
    )


def _record(properties: Properties) -> dict[str, Any]:
    record = {
        name: value
        for name, value in properties.items()
        if name not in ("HostedZoneId", "HostedZoneName", "Comment", "TTL", "ResourceRecords", "Weight", "AliasTarget")
    }
    if "TTL" in properties:
        record["TTL"] = int(properties["TTL"])
    if "Weight" in properties:
        record["Weight"] = int(properties["Weight"])
    if "ResourceRecords" in properties:
        record["ResourceRecords"] = [{"Value": value} for value in properties["ResourceRecords"]]
    if "AliasTarget" in properties:
        alias = properties["AliasTarget"]
        evaluated = str(alias.get("EvaluateTargetHealth", False)).lower() == "true"
        record["AliasTarget"] = {**alias, "EvaluateTargetHealth": evaluated}
    return record


def _zone_id(work: Work, properties: Properties) -> str:
    if "HostedZoneId" in properties:
        return str(properties["HostedZoneId"])
    name = str(properties["HostedZoneName"]).rstrip(".")
    for zone in work.client("route53").list_hosted_zones()["HostedZones"]:
        if zone["Name"].rstrip(".") == name:
            return str(zone["Id"]).removeprefix("/hostedzone/")
    raise Refused(f"No hosted zones named {name} found")


class HealthCheck(Kind):
    """AWS::Route53::HealthCheck."""

    type_name = "AWS::Route53::HealthCheck"

    def create(self, work: Work, properties: Properties) -> str:
        client = work.client("route53")
        answer = client.create_health_check(
            CallerReference=work.generated_name(64), HealthCheckConfig=_health_config(properties["HealthCheckConfig"])
        )
        work.made(str(answer["HealthCheck"]["Id"]))
        client.change_tags_for_resource(
            ResourceType="healthcheck",
            ResourceId=work.physical_id,
            AddTags=work.all_tags(properties.get("HealthCheckTags"), system=False) or [{"Key": "Name", "Value": ""}],
        )
        return work.physical_id

    def read(self, work: Work) -> Any:
        checks = work.client("route53").list_health_checks()["HealthChecks"]
        return next((check for check in checks if check["Id"] == work.physical_id), None)

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        fixed = ("Type", "MeasureLatency", "RequestInterval")
        config = {name: value for name, value in _health_config(new["HealthCheckConfig"]).items() if name not in fixed}
        work.client("route53").update_health_check(HealthCheckId=work.physical_id, **config)

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("route53").delete_health_check(HealthCheckId=work.physical_id)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        return {"HealthCheckId": work.physical_id}


def _health_config(config: Mapping[str, Any]) -> dict[str, Any]:
    numbers = ("Port", "RequestInterval", "FailureThreshold", "HealthThreshold")
    switches = ("MeasureLatency", "Inverted", "Disabled", "EnableSNI")
    return {
        name: int(value) if name in numbers else str(value).lower() == "true" if name in switches else value
        for name, value in config.items()
    }


class Certificate(Kind):
    """AWS::CertificateManager::Certificate. Ref is the ARN.

    The stack waits until the certificate is issued. With a HostedZoneId for a domain, CloudFormation writes the
    validation record into that zone, which must be in the stack's account, and takes it out again on deletion; without
    one, somebody else has to write it.
    """

    type_name = "AWS::CertificateManager::Certificate"
    _KEPT = ("DomainName", "SubjectAlternativeNames", "ValidationMethod", "KeyAlgorithm")

    def create(self, work: Work, properties: Properties) -> str:
        wanted = {name: properties[name] for name in self._KEPT if name in properties}
        wanted.setdefault("ValidationMethod", "EMAIL")
        tags = work.all_tags(properties.get("Tags"), system=False)
        answer = work.client("acm").request_certificate(**wanted, **({"Tags": tags} if tags else {}))
        work.made(str(answer["CertificateArn"]))
        for zone, name, value in self._records(work, properties):
            self._write(work, "UPSERT", zone, name, value)
        return work.physical_id

    def _records(self, work: Work, properties: Properties) -> list[tuple[str, str, str]]:
        """(zone, name, value) of the validation records that CloudFormation looks after."""
        records = []
        for option in properties.get("DomainValidationOptions", []):
            if "HostedZoneId" in option:
                name, value = acm.validation_record(work.place.account, option["DomainName"])
                records.append((str(option["HostedZoneId"]), name, value))
        return records

    def _write(self, work: Work, action: str, zone: str, name: str, value: str) -> None:
        record = {"Name": name, "Type": "CNAME", "TTL": 300, "ResourceRecords": [{"Value": value}]}
        work.client("route53").change_resource_record_sets(
            HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]}
        )

    def waits_for(self, work: Work, properties: Properties) -> str:
        certificate = self.read(work)
        if certificate is None or certificate["Status"] == "ISSUED":
            return ""
        if certificate["Status"] != "PENDING_VALIDATION":
            raise Refused(f"Certificate is {certificate['Status']}")
        options = certificate["DomainValidationOptions"]
        records = [option["ResourceRecord"] for option in options if "ResourceRecord" in option]
        if not records:
            return f"Validation mail for {properties['DomainName']} must be answered"
        told = ",".join(f"{name}: {value}" for name, value in records[0].items())
        return f"Content of DNS Record is: {{{told}}}"

    def read(self, work: Work) -> Any:
        if not work.physical_id.startswith("arn:"):
            return None
        arns = [c["CertificateArn"] for c in work.client("acm").list_certificates()["CertificateSummaryList"]]
        if work.physical_id not in arns:
            return None
        return work.client("acm").describe_certificate(CertificateArn=work.physical_id)["Certificate"]

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        tags = work.all_tags(new.get("Tags"), system=False)
        if tags:
            work.client("acm").add_tags_to_certificate(CertificateArn=work.physical_id, Tags=tags)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        return {"CertificateArn": work.physical_id}

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is None:
            return
        work.client("acm").delete_certificate(CertificateArn=work.physical_id)
        for zone, name, value in self._records(work, properties):
            if _has_record(work, zone, name):
                self._write(work, "DELETE", zone, name, value)


def _has_record(work: Work, zone: str, name: str) -> bool:
    try:
        records = work.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    except work.client("route53").exceptions.NoSuchHostedZone:
        return False
    return any(record["Name"].rstrip(".") == name.rstrip(".") for record in records)


class LoadBalancer(Simple):
    """AWS::ElasticLoadBalancingV2::LoadBalancer; subnets and security groups can change in place."""

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        elb = work.client("elbv2")
        if old.get("Subnets") != new.get("Subnets") and new.get("Subnets"):
            elb.set_subnets(LoadBalancerArn=work.physical_id, Subnets=new["Subnets"])
        if old.get("SecurityGroups") != new.get("SecurityGroups") and new.get("SecurityGroups"):
            elb.set_security_groups(LoadBalancerArn=work.physical_id, SecurityGroups=new["SecurityGroups"])
        done = ("Subnets", "SecurityGroups")
        super().update(
            work,
            {name: value for name, value in old.items() if name not in done},
            {name: value for name, value in new.items() if name not in done},
        )

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        told = super().attributes(work, properties)
        return told | {"LoadBalancerFullName": work.physical_id.partition(":loadbalancer/")[2]}


class TargetGroup(Simple):
    """AWS::ElasticLoadBalancingV2::TargetGroup with its targets and attributes."""

    def create(self, work: Work, properties: Properties) -> str:
        arn = super().create(work, properties)
        if targets := properties.get("Targets"):
            work.client("elbv2").register_targets(TargetGroupArn=arn, Targets=targets)
        return arn

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        told = super().attributes(work, properties)
        return told | {"TargetGroupFullName": work.physical_id.split(":")[-1]}


class Listener(Simple):
    """AWS::ElasticLoadBalancingV2::Listener; an HTTPS listener takes an issued certificate only."""

    def create(self, work: Work, properties: Properties) -> str:
        _refuse_unissued(work, properties)
        return super().create(work, properties)

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        _refuse_unissued(work, new)
        super().update(work, old, new)


def _refuse_unissued(work: Work, properties: Properties) -> None:
    for presented in properties.get("Certificates", []):
        arn = presented["CertificateArn"]
        if ":acm:" not in arn:
            continue
        status = work.client("acm").describe_certificate(CertificateArn=arn)["Certificate"]["Status"]
        if status != "ISSUED":
            message = f"The certificate '{arn}' must have a fully-qualified domain name, a supported signature, and a "
            raise wire.AWSError("UnsupportedCertificate", f"{message}supported key size. (status {status})", 400)


class Distribution(Kind):
    """AWS::CloudFront::Distribution; Ref is the id."""

    type_name = "AWS::CloudFront::Distribution"

    def create(self, work: Work, properties: Properties) -> str:
        client = work.client("cloudfront")
        tags = {"Items": work.all_tags(properties.get("Tags"))}
        answer = client.create_distribution_with_tags(
            DistributionConfigWithTags={"DistributionConfig": _distribution(client, work, properties), "Tags": tags}
        )
        return work.made(str(answer["Distribution"]["Id"]))

    def read(self, work: Work) -> Any:
        client = work.client("cloudfront")
        try:
            return client.get_distribution(Id=work.physical_id)["Distribution"]
        except client.exceptions.NoSuchDistribution:
            return None

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        client = work.client("cloudfront")
        told = client.get_distribution_config(Id=work.physical_id)
        config = _distribution(client, work, new) | {"CallerReference": told["DistributionConfig"]["CallerReference"]}
        client.update_distribution(Id=work.physical_id, IfMatch=told["ETag"], DistributionConfig=config)

    def delete(self, work: Work, properties: Properties) -> None:
        if self.read(work) is None:
            return
        client = work.client("cloudfront")
        self.update(work, properties, {"DistributionConfig": {**properties["DistributionConfig"], "Enabled": False}})
        etag = client.get_distribution_config(Id=work.physical_id)["ETag"]
        client.delete_distribution(Id=work.physical_id, IfMatch=etag)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        return {"Id": work.physical_id, "DomainName": self.read(work)["DomainName"]}


def _distribution(client: Any, work: Work, properties: Properties) -> dict[str, Any]:
    """A distribution's configuration as the API has it: counted lists, and some other names."""
    given = dict(properties["DistributionConfig"])
    behaviors = [given["DefaultCacheBehavior"], *given.get("CacheBehaviors", [])]
    default, *others = [_behavior(behavior) for behavior in behaviors]
    config = {**given, "DefaultCacheBehavior": default, "CallerReference": work.logical_id}
    if others:
        config["CacheBehaviors"] = others
    config.setdefault("Comment", "")
    if "IPV6Enabled" in config:
        config["IsIPV6Enabled"] = config.pop("IPV6Enabled")
    if "Logging" in config:
        config["Logging"] = {"IncludeCookies": False, "Prefix": "", **config["Logging"], "Enabled": True}
    if "Restrictions" in config:
        limits = config["Restrictions"]["GeoRestriction"]
        places = list(limits.get("Locations", []))
        counted = {"RestrictionType": limits["RestrictionType"], "Quantity": len(places), "Items": places}
        config["Restrictions"] = {"GeoRestriction": counted}
    config["Origins"] = [_origin(origin) for origin in given.get("Origins", [])]
    shape = client.meta.service_model.operation_model("CreateDistribution").input_shape.members["DistributionConfig"]
    made: dict[str, Any] = conform(config, shape, "AWS::CloudFront::Distribution")
    return made


def _behavior(behavior: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: value for name, value in behavior.items() if name not in ("AllowedMethods", "CachedMethods")}
    if "AllowedMethods" in behavior:
        cached = list(behavior.get("CachedMethods", ["GET", "HEAD"]))
        allowed = list(behavior["AllowedMethods"])
        counted = {"Quantity": len(cached), "Items": cached}
        made["AllowedMethods"] = {"Quantity": len(allowed), "Items": allowed, "CachedMethods": counted}
    return made


def _origin(origin: Mapping[str, Any]) -> dict[str, Any]:
    made = {"CustomHeaders" if name == "OriginCustomHeaders" else name: value for name, value in origin.items()}
    if "CustomOriginConfig" in made:
        made["CustomOriginConfig"] = {"HTTPPort": 80, "HTTPSPort": 443, **made["CustomOriginConfig"]}
    if "S3OriginConfig" in made:
        made["S3OriginConfig"] = {"OriginAccessIdentity": "", **made["S3OriginConfig"]}
    return made


class OriginAccessControl(Kind):
    """AWS::CloudFront::OriginAccessControl; Ref is the id."""

    type_name = "AWS::CloudFront::OriginAccessControl"

    def create(self, work: Work, properties: Properties) -> str:
        given = dict(properties["OriginAccessControlConfig"])
        answer = work.client("cloudfront").create_origin_access_control(OriginAccessControlConfig=given)
        return work.made(str(answer["OriginAccessControl"]["Id"]))

    def read(self, work: Work) -> Any:
        client = work.client("cloudfront")
        try:
            return client.get_origin_access_control(Id=work.physical_id)["OriginAccessControl"]
        except client.exceptions.NoSuchOriginAccessControl:
            return None

    def update(self, work: Work, old: Properties, new: Properties) -> None:
        del old
        work.client("cloudfront").update_origin_access_control(
            Id=work.physical_id, OriginAccessControlConfig=dict(new["OriginAccessControlConfig"])
        )

    def delete(self, work: Work, properties: Properties) -> None:
        del properties
        if self.read(work) is not None:
            work.client("cloudfront").delete_origin_access_control(Id=work.physical_id)

    def attributes(self, work: Work, properties: Properties) -> dict[str, Any]:
        del properties
        return {"Id": work.physical_id}


KINDS: tuple[Kind, ...] = (
    Distribution(),
    OriginAccessControl(),
    Simple(
        type_name="AWS::GlobalAccelerator::Accelerator",
        service="globalaccelerator",
        create_op="create_accelerator",
        made="Accelerator.AcceleratorArn",
        by={"AcceleratorArn": "@"},
        read_api=Api("describe_accelerator", {"AcceleratorArn": "@"}, "Accelerator"),
        update_op="update_accelerator",
        delete_op="delete_accelerator",
        tagging=Tagging(param="Tags"),
        attribute_paths={"AcceleratorArn": "@", "DnsName": "DnsName", "Ipv4Addresses": "IpSets[0].IpAddresses"},
        region="us-west-2",
    ),
    Simple(
        type_name="AWS::GlobalAccelerator::Listener",
        service="globalaccelerator",
        create_op="create_listener",
        made="Listener.ListenerArn",
        by={"ListenerArn": "@"},
        read_api=Api("describe_listener", {"ListenerArn": "@"}, "Listener"),
        update_op="update_listener",
        delete_op="delete_listener",
        attribute_paths={"ListenerArn": "@"},
        region="us-west-2",
    ),
    Simple(
        type_name="AWS::GlobalAccelerator::EndpointGroup",
        service="globalaccelerator",
        create_op="create_endpoint_group",
        made="EndpointGroup.EndpointGroupArn",
        by={"EndpointGroupArn": "@"},
        read_api=Api("describe_endpoint_group", {"EndpointGroupArn": "@"}, "EndpointGroup"),
        update_op="update_endpoint_group",
        delete_op="delete_endpoint_group",
        attribute_paths={"EndpointGroupArn": "@"},
        region="us-west-2",
    ),
    LoadBalancer(
        type_name="AWS::ElasticLoadBalancingV2::LoadBalancer",
        service="elbv2",
        create_op="create_load_balancer",
        made="LoadBalancers[0].LoadBalancerArn",
        by={"LoadBalancerArn": "@"},
        read_api=Api("describe_load_balancers", {"LoadBalancerArns": ["@"]}, "LoadBalancers[0]"),
        delete_op="delete_load_balancer",
        name_property="Name",
        name_limit=32,
        steps=(_attributes("modify_load_balancer_attributes", "LoadBalancerArn", "LoadBalancerAttributes"),),
        tagging=_ELB_TAGS,
        attribute_paths={
            "DNSName": "DNSName",
            "CanonicalHostedZoneID": "CanonicalHostedZoneId",
            "LoadBalancerName": "LoadBalancerName",
            "LoadBalancerArn": "@",
            "SecurityGroups": "SecurityGroups",
        },
    ),
    TargetGroup(
        type_name="AWS::ElasticLoadBalancingV2::TargetGroup",
        service="elbv2",
        create_op="create_target_group",
        made="TargetGroups[0].TargetGroupArn",
        by={"TargetGroupArn": "@"},
        read_api=Api("describe_target_groups", {"TargetGroupArns": ["@"]}, "TargetGroups[0]"),
        update_op="modify_target_group",
        delete_op="delete_target_group",
        name_property="Name",
        name_limit=32,
        apart=("Targets",),
        steps=(_attributes("modify_target_group_attributes", "TargetGroupArn", "TargetGroupAttributes"),),
        tagging=_ELB_TAGS,
        attribute_paths={
            "TargetGroupArn": "@",
            "TargetGroupName": "TargetGroupName",
            "LoadBalancerArns": "LoadBalancerArns",
        },
    ),
    Listener(
        type_name="AWS::ElasticLoadBalancingV2::Listener",
        service="elbv2",
        create_op="create_listener",
        made="Listeners[0].ListenerArn",
        by={"ListenerArn": "@"},
        read_api=Api("describe_listeners", {"ListenerArns": ["@"]}, "Listeners[0]"),
        update_op="modify_listener",
        delete_op="delete_listener",
        steps=(_attributes("modify_listener_attributes", "ListenerArn", "ListenerAttributes"),),
        attribute_paths={"ListenerArn": "@"},
    ),
    Simple(
        type_name="AWS::ElasticLoadBalancingV2::ListenerRule",
        service="elbv2",
        create_op="create_rule",
        made="Rules[0].RuleArn",
        by={"RuleArn": "@"},
        read_api=Api("describe_rules", {"RuleArns": ["@"]}, "Rules[0]"),
        update_op="modify_rule",
        delete_op="delete_rule",
        steps=(
            Step(
                "Priority",
                put=lambda elb, arn, value: elb.set_rule_priorities(
                    RulePriorities=[{"RuleArn": arn, "Priority": int(value)}]
                ),
                after_creation=False,
            ),
        ),
        attribute_paths={"RuleArn": "@", "IsDefault": "IsDefault"},
    ),
    HostedZone(
        type_name="AWS::Route53::HostedZone",
        service="route53",
        create_op="create_hosted_zone",
        made="HostedZone.Id",
        by={"Id": "@"},
        read_api=Api("get_hosted_zone", {"Id": "@"}, "merge(HostedZone, {NameServers: DelegationSet.NameServers})"),
        delete_op="delete_hosted_zone",
        tagging=Tagging(
            put=Api("change_tags_for_resource", {"ResourceType": "hostedzone", "ResourceId": "@", "AddTags": "@tags"})
        ),
        tag_property="HostedZoneTags",
        attribute_paths={"Id": "@", "NameServers": "NameServers"},
    ),
    RecordSet(),
    RecordSetGroup(),
    HealthCheck(),
    Certificate(),
)
